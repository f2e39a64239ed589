"""The five questions as an analyst would ask them of the same Parquet files with DuckDB, each a query; the peers of `analyses.py`.

Of every visit the newest version counts, and a message that two packs hold counts once; replaced pseudonyms, invalid days and
ranges in unusual words are left out of account. Prints rows as JSON.
"""

from __future__ import annotations

import json
import sys

NEWEST = r"""
    newest AS (
        SELECT message_id, patient, start, "end", sex, age, rpad(left(regexp_extract(start, '^\d*'), 14), 14, '0') AS moment
        FROM read_parquet('$store/rows/visits/*/*/*.parquet')
        QUALIFY row_number() OVER (PARTITION BY mdc_visit ORDER BY received DESC, message_id DESC) = 1
    ),
    period AS (SELECT * FROM newest WHERE regexp_matches(start, '^\d{8}') AND left(start, 8) BETWEEN '$first' AND '$last')
"""
CODED = r"""
    coded AS (
        SELECT DISTINCT message_id, series.name AS code
        FROM read_parquet('$store/rows/diagnoses/*/*/*.parquet') AS d, series
        WHERE system IN ('2.16.840.1.113883.6.3', '2.16.840.1.113883.6.90') AND starts_with(plain, prefix)
    )
"""
AGES = r"""
    WITH $newest,
    first_visit AS (SELECT DISTINCT ON (patient) patient, age FROM period ORDER BY patient, moment, age NULLS LAST)
    SELECT CASE WHEN age IS NULL THEN 'unknown' WHEN age >= 75 THEN '75 and over' WHEN age >= 60 THEN '60 to 74'
        WHEN age >= 45 THEN '45 to 59' WHEN age >= 30 THEN '30 to 44' WHEN age >= 18 THEN '18 to 29' ELSE '0 to 17' END AS age,
        count(*) AS patients
    FROM first_visit GROUP BY 1
"""
SEXES = r"""
    WITH $newest,
    first_visit AS (
        SELECT DISTINCT ON (patient) patient, sex FROM period
        ORDER BY patient, moment, CASE sex WHEN 'F' THEN 0 WHEN 'M' THEN 1 WHEN 'UN' THEN 2 WHEN '' THEN 4 ELSE 3 END, sex
    )
    SELECT sex, count(*) AS patients FROM first_visit GROUP BY 1
"""
CASES = r"""
    WITH series AS (FROM (VALUES ('I50', 'I50'), ('J12, J18', 'J12'), ('J12, J18', 'J18')) AS _(name, prefix)), $newest, $coded
    SELECT left(start, 4) || '-' || substr(start, 5, 2) AS period, code, count(DISTINCT patient) AS patients
    FROM period JOIN coded USING (message_id) GROUP BY ALL
    UNION ALL SELECT 'total', code, count(DISTINCT patient) FROM period JOIN coded USING (message_id) GROUP BY ALL
"""
ABNORMAL = r"""
    WITH series AS (FROM (VALUES ('I50', 'I50'), ('E11', 'E11')) AS _(name, prefix)), $newest, $coded,
    measured AS (
        SELECT DISTINCT chosen.code, r.message_id, r.number, interpretation, value, unit, low, high, low_inclusive, high_inclusive,
            list_distinct(list_transform(string_split(printed, ';'), lambda piece: trim(piece))) AS pieces
        FROM read_parquet('$store/rows/results/*/*/*.parquet') AS r
        JOIN (SELECT message_id, coded.code FROM period JOIN coded USING (message_id)) AS chosen USING (message_id)
    ),
    bounds AS (
        SELECT *, regexp_extract(
            CASE WHEN len(pieces) = 1 THEN pieces[1] ELSE '' END,
            '^[\s(]*(?:([\d,.]+)\s*(?:-|–|do)\s*([\d,.]+)|(<=|>=|<|>|do|od)\s*([\d,.]+))([^\d,.].*)?$',
            ['least', 'most', 'sign', 'bound', 'unit']
        ) AS parts FROM measured
    ),
    printed AS (
        SELECT *, lower(trim(parts['unit'], ' ()')) IN ('', lower(unit)) OR unit = '' AS same,
            replace(CASE WHEN parts['sign'] IN ('>', '>=', 'od') THEN parts['bound'] ELSE parts['least'] END, ',', '.') AS text_low,
            replace(CASE WHEN parts['sign'] IN ('<', '<=', 'do') THEN parts['bound'] ELSE parts['most'] END, ',', '.') AS text_high
        FROM bounds
    ),
    edges AS (
        SELECT *, CASE WHEN same THEN TRY_CAST(text_low AS DOUBLE) END AS printed_low,
            CASE WHEN same THEN TRY_CAST(text_high AS DOUBLE) END AS printed_high, parts['sign'] NOT IN ('<', '>') AS included
        FROM printed
    ),
    rules AS (
        SELECT code,
            CASE WHEN interpretation <> '' THEN interpretation IN ('L', 'LL', 'H', 'HH', 'A', 'AA', '<', '>') END AS coded,
            CASE WHEN value IS NOT NULL AND (low IS NOT NULL OR high IS NOT NULL)
                THEN coalesce(value < low OR (value = low AND NOT low_inclusive), false)
                    OR coalesce(value > high OR (value = high AND NOT high_inclusive), false) END AS ranged,
            CASE WHEN value IS NOT NULL AND (printed_low IS NOT NULL OR printed_high IS NOT NULL)
                THEN coalesce(value < printed_low OR (value = printed_low AND NOT included), false)
                    OR coalesce(value > printed_high OR (value = printed_high AND NOT included), false) END AS printed
        FROM edges
    ),
    judged AS (SELECT code, CASE WHEN coded THEN true ELSE coalesce(ranged, printed, coded) END AS abnormal FROM rules)
    SELECT code AS icd10, count(*) AS results, count(abnormal) AS judged, count(*) FILTER (abnormal) AS abnormal FROM judged GROUP BY 1
"""
STAY = r"""
    WITH series AS (FROM (VALUES ('I50', 'I50'), ('J12, J18', 'J12'), ('J12, J18', 'J18')) AS _(name, prefix)), $newest, $coded,
    stays AS (
        SELECT code, start, "end", strptime(left(start, 8), '%Y%m%d') AS first_day, strptime(left("end", 8), '%Y%m%d') AS last_day,
            strptime(moment, '%Y%m%d%H%M%S') AS began,
            strptime(rpad(left(regexp_extract("end", '^\d*'), 14), 14, '0'), '%Y%m%d%H%M%S') AS ended,
            regexp_extract(start, '[+-]\d{4}$') AS zone, regexp_extract("end", '[+-]\d{4}$') AS other
        FROM period JOIN coded USING (message_id) WHERE regexp_matches("end", '^\d{8}')
    ),
    lengths AS (
        SELECT code, CASE
            WHEN NOT regexp_matches(start, '^\d{10}') OR NOT regexp_matches("end", '^\d{10}')
                THEN epoch(last_day) - epoch(first_day)
            WHEN zone = '' OR other = '' THEN epoch(ended) - epoch(began)
            ELSE epoch(ended) - epoch(began) + 3600 * (left(zone, 3)::INT - left(other, 3)::INT) END AS seconds
        FROM stays
    )
    SELECT code AS icd10, count(*) AS stays, avg(seconds) / 86400 AS mean, stddev_samp(seconds) / 86400 AS standard_deviation,
        median(seconds) / 86400 AS median
    FROM lengths WHERE seconds >= 0 GROUP BY 1
"""
QUERIES = {"ages": AGES, "sexes": SEXES, "cases": CASES, "abnormal": ABNORMAL, "stay": STAY}


def main(question: str, store: str, first: str, last: str) -> None:
    import duckdb

    sql = QUERIES[question]
    for name, value in (("newest", NEWEST), ("coded", CODED), ("store", store), ("first", first), ("last", last)):
        sql = sql.replace(f"${name}", value)
    found = duckdb.sql(sql)
    print(json.dumps([dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]))


if __name__ == "__main__":
    main(*sys.argv[1:])

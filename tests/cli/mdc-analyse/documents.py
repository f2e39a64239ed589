"""Write the visits of a list on standard input as documents into the directory ``visits``.

A line is a file's name, patient, visit, time of the document, start, end, sex, age and diagnoses with commas between, then results as
VALUE/LOW/HIGH/INTERPRETATION/PRINTED RANGE, where _ is a space; - is nothing. A code of digits alone is one of ICD-9-CM.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.analyses.documents import document


def result(text: str) -> dict[str, object]:
    value, low, high, interpretation, printed = ("" if word == "-" else word.replace("_", " ") for word in text.split("/", 4))
    return {
        **{"code": "718-7", "system": "2.16.840.1.113883.6.1", "time": "", "text": "", "unit": "g/dl", "value": float(value)},
        **{"low": float(low) if low else None, "high": float(high) if high else None, "low_inclusive": True, "high_inclusive": True},
        **{"interpretation": interpretation, "printed": printed},
    }


Path("visits").mkdir()
for line in sys.stdin:
    words = ["" if word == "-" else word for word in line.split("#")[0].split()]
    if words:
        name, patient, visit, received, start, end, sex, age, codes, *results = words
        row = {"patient": f"k1.{patient}", "mdc_visit": f"k1.{visit}", "received": received, "start": start, "end": end, "sex": sex}
        more = {"age": float(age) if age else None, "city": "", "kind": "", "accessions": []}
        systems = {code: "2.16.840.1.113883.6." + ("103" if code.isdigit() else "3") for code in codes.split(",") if code}
        diagnoses = [{"code": code, "system": system} for code, system in systems.items()]
        Path("visits", f"{name}.xml").write_bytes(document({**row, **more}, diagnoses, [], [result(one) for one in results]))

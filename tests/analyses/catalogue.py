"""What hospitals write, most frequent first: codes of diseases, procedures and laboratory tests, and how they are written."""

from __future__ import annotations

from typing import NamedTuple

from tests.visits.generate import CITIES, ICD_9_PL, ICD_10

ICD_10_CM = "2.16.840.1.113883.6.90"
ICD_9_CM = "2.16.840.1.113883.6.103"
ICD_9_PROCEDURES = "2.16.840.1.113883.6.104"
ICD_10_PCS = "2.16.840.1.113883.6.4"
SYSTEMS = (ICD_10, ICD_10_CM, ICD_9_CM)


def _codes(*lines: str) -> list[str]:
    return " ".join(lines).split()


# ICD-10, WHO: of a general hospital. Those that begin with O or Z38 are given to women of 15 to 49, and to newborns, only.
WHO = _codes(
    "I10 I50.9 E11.9 O80 J18.9 Z38.0 I25.1 I48.9 N39.0 K80.2 I50.0 J44.1 I63.9 N18.5 E78.5 M54.5 A41.9 I21.4 S72.0 R07.4 N17.9",
    "C34.9 K35.8 J15.9 E11.7 C50.9 D64.9 I20.0 F32.9 G40.9 R55 I11.0 K57.3 N20.0 S06.0 H25.1 C18.9 J45.9 I70.2 K85.9 E86 I26.9",
    "M16.1 M17.1 J20.9 K29.7 O82 E66.9 G20 F10.2 C61 I83.9 N40 R10.4 B34.9 A09 K40.9 I69.3 S52.5 J06.9 E03.9 G45.9 L03.1 T81.4 C20",
    "O34.2 N13.2 D50.9 K56.6 H40.1 I80.2 F20.0 E10.9 C67.9 K92.2 P59.9 S82.6 C16.9 B18.2 J35.3 I44.2 O14.1 K70.3 G35 M06.9 U07.1",
    "K50.9 C91.0 Q21.1 P07.3 T50.9 A15.0 A46 B02.9 Z51.1 Z03.9 V43.5 E84.9 X60",
)
WITH_SIGNS = (("A18.0†", "M49.0*"), ("E11.4†", "G63.2*"), ("B02.2†", "G53.0*"), ("I50.1†", "J99.8*"), ("E10.3†", "H36.0*"))
CM = _codes(
    "I50.9 I10 E11.65 E11.9 J18.9 I50.22 I25.10 N39.0 A41.9 S72.001A I48.91 J44.1 N17.9 I63.9 K80.20 O80 Z38.00 I11.0 E78.5 M54.50",
    "F32.A I21.4 C34.90 V43.52XA U07.1",
)
ICD_9 = _codes(
    "428.0 401.9 250.00 486 414.01 599.0 427.31 496 V30.00 584.9 V58.61 E885.9 E849.0 V45.81 E878.1 410.71 038.9 V27.0 E950.0 I50",
)  # of which some would be another disease in ICD-10
_PROCEDURES = _codes(
    "87.440 89.522 C55 88.714 C53 88.761 99.253 I81 47.09 M45 88.900 57.94 81.51 36.07 74.1 00.66 93.39 51.23 L43 99.04 89.00",
    "45.23 79.35 13.41",
)
PROCEDURES = tuple((code, ICD_9_PL) for code in _PROCEDURES)
OTHER_PROCEDURES = (("51.23", ICD_9_PROCEDURES), ("02.91", ICD_9_PROCEDURES), ("0FT44ZZ", ICD_10_PCS), ("4A023N7", ICD_10_PCS))
TOWNS = (*(name for name, _ in CITIES), "Zgierz", "Nowy Sącz", "Hel", "")
KINDS = ("18842-5", "34133-9", "11488-4", "")


class Test(NamedTuple):
    """A laboratory test (LOINC): its usual unit and range, another unit and what one of the usual is in it, and decimal places."""

    code: str
    unit: str
    low: float | None
    high: float | None
    other: str
    factor: float
    places: int


TESTS = (
    Test("718-7", "g/dl", 12.0, 16.0, "g/l", 10.0, 1), Test("2823-3", "mmol/l", 3.5, 5.1, "mEq/l", 1.0, 1),
    Test("2951-2", "mmol/l", 136.0, 145.0, "mEq/l", 1.0, 0), Test("2160-0", "mg/dl", 0.6, 1.2, "umol/l", 88.4, 2),
    Test("6690-2", "10*3/ul", 4.0, 10.0, "10*9/l", 1.0, 1), Test("1988-5", "mg/l", None, 5.0, "mg/dl", 0.1, 1),
    Test("2345-7", "mg/dl", 70.0, 99.0, "mmol/l", 0.0555, 1), Test("777-3", "10*3/ul", 150.0, 400.0, "10*9/l", 1.0, 0),
    Test("1742-6", "U/l", None, 41.0, "ukat/l", 0.0167, 0), Test("1920-8", "U/l", None, 40.0, "ukat/l", 0.0167, 0),
    Test("3016-3", "mIU/l", 0.27, 4.2, "uIU/ml", 1.0, 2), Test("2093-3", "mg/dl", None, 190.0, "mmol/l", 0.0259, 0),
    Test("33914-3", "ml/min/{1.73_m2}", 60.0, None, "ml/s", 0.0167, 0), Test("6301-6", "{INR}", 0.8, 1.2, "", 1.0, 2),
    Test("4548-4", "%", 4.0, 6.0, "mmol/mol", 10.93, 1), Test("1975-2", "mg/dl", 0.3, 1.2, "umol/l", 17.1, 1),
    Test("10839-9", "ng/l", None, 14.0, "ng/ml", 0.001, 1), Test("30934-4", "pg/ml", None, 100.0, "ng/l", 1.0, 0),
    Test("2524-7", "mmol/l", 0.5, 2.2, "mg/dl", 9.01, 1), Test("2276-4", "ng/ml", 15.0, 150.0, "ug/l", 1.0, 0),
)  # fmt: skip
TEXTS = ("ujemny", "dodatni", "nie wykryto", "< 0,5", "liczne", "obecne")
JUDGED_TEXTS = ("N", "A", "N", "<", "A", "POS")  # beside them, where anything is
RIGHT = ("N", "L", "H")  # of values within, below and above
OTHER_JUDGEMENTS = ("LL", "HH", "A", "AA", "<", ">", "U", "N", "N", "N")


def printed(test: Test) -> tuple[str, ...]:
    """How reports print a test's range: with and without its unit, with another one, for several groups, or not at all as one."""

    def number(value: float) -> str:
        return f"{value:.{test.places}f}".replace(".", ",")

    if test.low is None or test.high is None:
        edge, signs = (test.high, ("< ", "<= ", "do ")) if test.low is None else (test.low, ("> ", ">= ", "od "))
        assert edge is not None
        plain = tuple(sign + number(edge) for sign in signs)
        wider = signs[0] + number(edge * 1.5)
    else:
        low, high = number(test.low), number(test.high)
        plain = f"{low} - {high}", f"{low}-{high}", f"({low} – {high})"
        wider = f"{low} - {number(test.high * 1.25)}"
    return (
        *plain, f"{plain[0]} {test.unit}", f"{plain[0]}{test.unit}", f"{plain[0]} {test.other or 'g/l'}", f"{plain[0]}; {wider}",
        f"{plain[0]}; {plain[0]}", f"K: {plain[0]}", "patrz opis",
    )  # fmt: skip


PRINTINGS = len(printed(TESTS[0]))

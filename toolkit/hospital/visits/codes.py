"""Whether a code has the form of a code, so that no name and no number of a person can stand in its place."""

from __future__ import annotations

import re

from toolkit.hospital.visits.profile import listed

_CODE = re.compile(r"[A-Za-z0-9<>+-][A-Za-z0-9.+*†/_:^#<>-]{0,39}")
_INTERPRETATION = re.compile(r"[A-Z<>+-]{1,4}")
_SYSTEM = re.compile(r"[0-9.]{3,64}")
# Systems whose codes have one form, so that a name can never stand in one (ICD-10: WHO volume 2; LOINC and SNOMED CT: their manuals).
_FORMS = {
    "2.16.840.1.113883.6.3": re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z-]{1,4})?[*+†]?"),
    "2.16.840.1.113883.6.90": re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?"),
    "2.16.840.1.113883.6.1": re.compile(r"(L[A-Z])?\d{1,7}-\d"),
    "2.16.840.1.113883.6.96": re.compile(r"\d{6,18}"),
    "2.16.840.1.113883.3.4424.11.2.6": re.compile(r"[A-Z0-9]{1,3}(\.[0-9A-Z]{1,4}){0,3}"),
}
_SNOMED = "2.16.840.1.113883.6.96"


def is_code(code: str, system: str, name: str, systems: tuple[str, ...]) -> bool:
    """Whether `code` of the coding system `system` (an OID) has a form that may stay in an element `name`; `systems` are those kept."""
    if not system:
        return name == "interpretationCode" and bool(_INTERPRETATION.fullmatch(code))
    if not (_SYSTEM.fullmatch(system) and listed(systems, system) and _FORMS.get(system, _CODE).fullmatch(code)):
        return False
    return system == _SNOMED or not is_pesel(code)


def is_pesel(text: str) -> bool:
    """Whether `text` is a number of the Polish register PESEL: 11 digits, the last of which checks the others."""
    if len(text) != 11 or not (text.isascii() and text.isdigit()):
        return False
    return sum(int(digit) * weight for digit, weight in zip(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True)) % 10 == 0

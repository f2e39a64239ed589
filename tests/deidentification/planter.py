"""Identifiers planted in an object wherever they occur in practice, and the search for what of them is left in an output.

Every planted string is unique, so that one found in the output names the place that leaked. There are two kinds: values in places that
the table names, and texts of the kind ``s31 KOWALSKA`` in places that nobody's table names (descriptions that are kept, private text):
there the object's own name, id, date or telephone number has to be recognised.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from pydicom.charset import python_encoding
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

DEFLATED = b"1.2.840.10008.1.2.1.99"
LATIN = "BDFGKLMNPRSTVWZ", "AEIOU"
# Letters of names in each character set: the name is to be hidden, whatever it is written in.
SCRIPTS: dict[str, str] = {
    "": "",
    "ISO_IR 100": "ÄÖÜÉÈÑÇÅØ",
    "ISO_IR 101": "ĄĆĘŁŃŚŹŻŐ",
    "ISO_IR 109": "ĈĜĤĴŜŬ",
    "ISO_IR 110": "ĀĒĪŠŽĶĻ",
    "ISO_IR 144": "БВГДЖЗИКЛМНОПРСТУФ",
    "ISO_IR 127": "ابتثجحخدذرزسشصض",
    "ISO_IR 126": "ΑΒΓΔΕΖΗΘΚΛΜΝΞΟΠΡ",
    "ISO_IR 138": "אבגדהוזחטיכלמנס",
    "ISO_IR 148": "ĞİŞÇÖÜ",
    "ISO_IR 13": "ｱｲｳｴｵｶｷｸｹｺｻｼｽ",
    "ISO_IR 166": "กขคฆงจฉชซฌญฎฏ",
    "ISO_IR 192": "ŁБΩדض山田김จŞ",
    "GB18030": "王李张刘陈杨赵黄周吴",
    "GBK": "王李张刘陈杨赵黄周吴",
    "\\ISO 2022 IR 87": "山田太郎鈴木佐藤高橋",
    "\\ISO 2022 IR 149": "김희중이박최정강조윤",
}


@dataclass(frozen=True)
class Plant:
    """`text` must not be found in the output, unless the option `kept_by` was given."""

    place: str
    text: str
    kept_by: str = ""


@dataclass(frozen=True)
class Person:
    """A made-up patient whose every datum is a string that occurs nowhere else."""

    character_set: str
    family: str
    given: str
    native: str  # the family name in the script of the character set, "" where that is ASCII
    patient_id: str
    accession: str
    study_id: str
    birth: str  # YYYYMMDD
    study: str
    physician: str
    operator: str
    institution: str
    phone: str

    @property
    def name(self) -> str:
        plain = f"{self.family}^{self.given}"
        return f"{plain}={self.native}^{self.native[::-1]}" if self.native and self.character_set.startswith("\\") else plain


def person(serial: int, character_set: str = "") -> Person:
    chance = random.Random(f"patient {serial}")

    def word(syllables: int) -> str:
        return "".join(chance.choice(LATIN[0]) + chance.choice(LATIN[1]) for _ in range(syllables)) + chance.choice(LATIN[0])

    letters = SCRIPTS[character_set]
    native = "".join(chance.choice(letters) for _ in range(7)) if letters else ""
    digits = f"{chance.randrange(10**8):08}"
    if character_set == "ISO_IR 13":
        family = native  # pydicom writes no mixture of kana and letters
    elif native and not character_set.startswith("\\"):
        family = native + word(2)
    else:
        family = word(4)
    return Person(
        character_set=character_set,
        family=family,
        given=word(3),
        native=native,
        patient_id=f"{word(1)}{digits[:6]}-{serial % 100}",
        accession=f"A{chance.randrange(10**11):011}",
        study_id=f"S{chance.randrange(10**9):09}",
        birth=f"{chance.randrange(1925, 1975)}{chance.randrange(1, 13):02}{chance.randrange(13, 28)}",
        study=f"{chance.randrange(1991, 2019)}{chance.randrange(1, 13):02}{chance.randrange(13, 28)}",
        physician=word(5),
        operator=word(5),
        institution=word(5),
        phone=f"+48 {digits[:3]} {digits[3:6]} {chance.randrange(100, 1000)}",
    )


def plant(data: Dataset, who: Person, everywhere: bool = True) -> list[Plant]:
    """Write the identifiers of `who` into `data` (in place). `everywhere`: also into each item of the sequences that it has."""
    plants: list[Plant] = []
    number = 0

    def put(into: Dataset, tag: int, vr: str, text: str, place: str, kept_by: str = "", token: str | None = None) -> None:
        into[tag] = DataElement(tag, vr, text)
        plants.append(Plant(place, text if token is None else token, kept_by))

    def mention(what: str) -> str:
        """A text that nobody knows to be identifying, but for what it mentions."""
        nonlocal number
        number += 1
        return f"s{number} {what}"

    if who.character_set:
        data.SpecificCharacterSet = who.character_set.split("\\")
    elif "SpecificCharacterSet" in data:
        del data.SpecificCharacterSet
    old_sequences = [element.tag for element in data if element.VR == "SQ"]

    # Where the table names the attribute.
    put(data, 0x00100010, "PN", who.name, "PatientName family", token=who.family)
    plants.append(Plant("PatientName given", who.given))
    if who.native:
        plants.append(Plant("PatientName in its script", who.native))
    put(data, 0x00100020, "LO", who.patient_id, "PatientID")
    put(data, 0x00080050, "SH", who.accession, "AccessionNumber")
    put(data, 0x00200010, "SH", who.study_id, "StudyID")
    put(data, 0x00100030, "DA", who.birth, "PatientBirthDate")
    put(data, 0x00080020, "DA", who.study, "StudyDate", "retain_dates")
    put(data, 0x0008002A, "DT", who.study + "101112.5", "AcquisitionDateTime", "retain_dates", token=who.study)
    put(data, 0x00080090, "PN", f"{who.physician}^Dr", "ReferringPhysicianName", token=who.physician)
    put(data, 0x00081070, "PN", f"{who.operator}", "OperatorsName")
    put(data, 0x00080080, "LO", f"{who.institution} Hospital", "InstitutionName", "retain_institution", token=who.institution)
    for tag, vr, name, option in (
        (0x00080081, "ST", "InstitutionAddress", "retain_institution"),
        (0x00081040, "LO", "InstitutionalDepartmentName", "retain_institution"),
        (0x00101040, "LO", "PatientAddress", ""),
        (0x00101000, "LO", "OtherPatientIDs", ""),
        (0x00101060, "PN", "PatientMotherBirthName", ""),
        (0x00321032, "PN", "RequestingPhysician", ""),
        (0x00081010, "SH", "StationName", "retain_device"),
        (0x00181000, "LO", "DeviceSerialNumber", "retain_device"),
        (0x00380300, "LO", "CurrentPatientLocation", ""),
        (0x00100033, "LO", "PatientBirthDateInAlternativeCalendar", ""),
    ):
        put(data, tag, vr, f"Q{chance_word(who, name)}", name, option)
    put(data, 0x00102154, "SH", who.phone, "PatientTelephoneNumbers")

    # Texts that are cleaned by an option, or named by no table: the object's own identifiers are mentioned in them.
    latin = f"{who.given} {who.family}"
    birth = f"{who.birth[6:]}.{who.birth[4:6]}.{who.birth[:4]}"
    for tag, vr, what, place in (
        (0x00104000, "LT", f"{who.family} called", "PatientComments"),
        (0x00204000, "LT", f"pt {who.patient_id}", "ImageComments"),
        (0x00081030, "LO", who.family, "StudyDescription"),
        (0x0008103E, "LO", who.accession, "SeriesDescription"),
        (0x001021B0, "LT", f"born {birth}", "AdditionalPatientHistory"),
        (0x00181030, "LO", who.family.lower(), "ProtocolName"),
        (0x00181020, "LO", who.family, "SoftwareVersions"),
        (0x0018003A, "ST", who.patient_id, "InterventionDescription"),
        (0x00189910, "UT", latin, "ProtocolDesignRationale"),
        (0x00180024, "SH", who.given, "SequenceName"),
        (0x00187006, "LT", f"{who.birth[:4]}-{who.birth[4:6]}-{who.birth[6:]}", "DetectorDescription"),
        (0x00185020, "LO", who.physician.title(), "ProcessingFunction"),
        (0x00185021, "LO", who.phone.replace(" ", ""), "PostprocessingFunction"),
        (0x00181040, "LO", who.study_id, "ContrastBolusRoute"),
        (0x0018702A, "LO", f"of {who.operator}", "DetectorManufacturerName"),
        (0x00189901, "UT", who.native if "=" in who.name else who.family, "ReferenceLocationDescription"),
    ):
        text = mention(what)
        put(data, tag, vr, text, f"{place} mentions")
    text = mention(who.institution)
    put(data, 0x00181061, "LO", text, "TriggerSourceOrType mentions", "retain_institution")
    token = f"pacs/{who.patient_id}/s{number + 1}"
    put(data, 0x00081190, "UR", f"https://{token}", "RetrieveURL mentions", token=token)

    # Private attributes: text, bytes, a sequence, and one inside a public sequence.
    put(data, 0x00991010, "LO", f"SECRET {who.study_id}", "private creator")
    put(data, 0x00991001 | 0x20, "LO", f"QL{who.study_id[1:]}", "private LO")
    data.add(DataElement(0x00991022, "OB", f"QB{who.study_id[1:]} ".encode().ljust(14)))
    plants.append(Plant("private OB", f"QB{who.study_id[1:]}"))
    inner = Dataset()
    put(inner, 0x00104000, "LT", f"QS{who.study_id[1:]}", "private sequence's text")
    data.add(DataElement(0x00991023, "SQ", Sequence([inner])))

    # Nested in public sequences, to a depth of four, and in a second character set.
    request = Dataset()
    put(request, 0x00400007, "LO", mention(who.family), "RequestAttributesSequence ScheduledProcedureStepDescription mentions")
    put(request, 0x00080050, "SH", f"N{who.accession[1:]}", "RequestAttributesSequence AccessionNumber")
    put(request, 0x00991011, "LO", f"QN{who.study_id[1:]}", "private LO in a public sequence")
    level: Dataset = request
    for _ in range(3):
        deeper = Dataset()
        level.add(DataElement(0x0040A730, "SQ", Sequence([deeper])))
        level = deeper
    put(level, 0x0040A160, "UT", mention(latin), "TextValue four levels down mentions")
    put(level, 0x0040A123, "PN", f"QP{chance_word(who, 'person')}", "PersonName four levels down")
    put(level, 0x0040A121, "DA", _day_before(who.birth), "Date four levels down", "retain_dates")
    other = Dataset()
    other.SpecificCharacterSet = "ISO_IR 192"
    text = mention(who.family)
    put(other, 0x00081090, "LO", f"{text} 山", "ManufacturerModelName in a second character set mentions", token=text)
    data.add(DataElement(0x00400275, "SQ", Sequence([request, other])))

    # Beyond the data set's dictionary.
    data.add(DataElement(0x0018FF01, "LO", f"QU{who.study_id[1:]}"))
    plants.append(Plant("an attribute that PS3.6 does not know", f"QU{who.study_id[1:]}"))
    data.add(DataElement(0x60204000, "LT", f"QO{who.study_id[1:]}"))
    plants.append(Plant("OverlayComments of the 17th group", f"QO{who.study_id[1:]}"))
    meta = getattr(data, "file_meta", None)
    if meta is not None:
        meta.add(DataElement(0x00020016, "AE", f"QA{who.study_id[1:]}"))
        plants.append(Plant("SourceApplicationEntityTitle in the file meta header", f"QA{who.study_id[1:]}"))
        data.preamble = f"QM{who.study_id[1:]}".encode().ljust(128, b"\0")
        plants.append(Plant("preamble", f"QM{who.study_id[1:]}"))
    uid = data.get("StudyInstanceUID")
    if isinstance(uid, UID) and len(uid) > 12 and not isinstance(uid, MultiValue):
        text = mention(str(uid))
        if len(text) <= 64:
            put(data, 0x00181261, "LO", text, "PhosphorType mentions the StudyInstanceUID", "retain_uids")
    if everywhere:
        for tag in old_sequences:
            for place, item in enumerate(data[tag].value or []):
                where = f"item {place} of ({tag >> 16:04x},{tag & 0xFFFF:04x})"
                put(item, 0x00104000, "LT", mention(who.patient_id), f"PatientComments in {where}")
                put(item, 0x00181020, "LO", mention(who.family), f"SoftwareVersions in {where}")
    return plants


def chance_word(who: Person, place: str) -> str:
    """A word of its own for each patient and place."""
    chance = random.Random(f"{who.patient_id} {place}")
    return "".join(chance.choice("BCDFGHKLMNPRSTVWXZ") for _ in range(9))


def _day_before(date: str) -> str:
    return f"{date[:6]}{int(date[6:]) - 1:02}"


def encodings(character_set: str) -> set[str]:
    found = {"utf-8", "utf-16-le", "utf-16-be", "latin-1"}
    for term in character_set.split("\\"):
        found.add(python_encoding.get(term, "latin-1"))
    return found


def leaks(output: bytes, plants: list[Plant], character_set: str = "", options: frozenset[str] = frozenset()) -> list[Plant]:
    """The plants that are still in `output`, in any encoding and, for ASCII, in any case; deflated data sets are inflated.

    Some strings do not get into a file as they are (pydicom writes some mixtures of scripts in its own way): callers look for the plants
    in their input first, and go on with those that were found.
    """
    haystack = output + inflated(output)
    folded = haystack.lower()
    found = []
    for one in plants:
        if one.kept_by and one.kept_by in options:
            continue
        for encoding in encodings(character_set):
            try:
                needle = one.text.encode(encoding)
            except UnicodeEncodeError:
                continue
            if needle in haystack or needle.lower() in folded:
                found.append(one)
                break
    return found


def inflated(data: bytes) -> bytes:
    """The data set behind the meta header of a deflated object; nothing for other objects."""
    if data[128:132] != b"DICM" or DEFLATED not in data[:2000]:
        return b""
    start = 144 + int.from_bytes(data[140:144], "little")
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:])

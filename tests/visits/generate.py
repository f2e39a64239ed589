"""Synthetic Polish visits as hospitals write them (HL7 CDA R2), full of personal data, with the list of what must not get out.

Everything is invented; the same number, seed and size give the same bytes on every machine. As a program it fills a directory:

    python tests/visits/generate.py visits/ --count 20 --size 90000 --seed 1
"""

from __future__ import annotations

import argparse
import base64
import functools
import random
import re
import struct
import sys
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

PESEL = "2.16.840.1.113883.3.4424.1.1.616"
VISITS = "2.16.840.1.113883.3.4424.2.7.999.15.1"
ACCESSIONS = "2.16.840.1.113883.3.4424.2.7.999.4.1"
DOCTORS = "2.16.840.1.113883.3.4424.1.6.2"
ICD_10 = "2.16.840.1.113883.6.3"
ICD_9_PL = "2.16.840.1.113883.3.4424.11.2.6"
LOINC = "2.16.840.1.113883.6.1"
HOSPITAL = "Szpital Miejski im. Ignacego Testowego"

FAMILIES = (
    "Brzęczyszczykiewicz", "Wiśniewsk_", "Żółkiewsk_", "Dąbrowsk_", "Kościałkowsk_", "Gżegżółka", "Łęczyck_", "Śliwińsk_", "Źrebiec",
    "Ćwiklińsk_", "Ósmak", "Pędziwiatr", "Jaźwińsk_", "Bończyk-Świątek",
)  # fmt: skip
WOMEN = ("Małgorzata", "Świętosława", "Grażyna", "Bożena", "Łucja", "Żaneta", "Wacława", "Róża")
MEN = ("Przemysław", "Łukasz", "Władysław", "Świętopełk", "Błażej", "Żegota", "Grzegorz", "Józef")
CITIES = (("Łódź", "90-001"), ("Gdańsk", "80-001"), ("Kraków", "30-001"), ("Częstochowa", "42-200"), ("Świętochłowice", "41-600"))
STREETS = ("ul. Żwirki i Wigury", "al. Jaśminowa", "ul. Śniadeckich", "os. Piastów Śląskich", "ul. Źródlana")
DIAGNOSES = (
    ("I50.9", "Niewydolność serca, nieokreślona"), ("I10", "Nadciśnienie samoistne (pierwotne)"), ("J18.9", "Zapalenie płuc"),
    ("E11.9", "Cukrzyca insulinoniezależna"), ("K35.8", "Ostre zapalenie wyrostka robaczkowego"), ("S72.0", "Złamanie szyjki kości udowej"),
    ("G20", "Choroba Parkinsona"), ("N17.9", "Ostra niewydolność nerek"),
)  # fmt: skip
PROCEDURES = (("87.440", "RTG klatki piersiowej"), ("88.714", "USG naczyń szyi"), ("89.522", "EKG"), ("47.09", "Wycięcie wyrostka"))
TESTS = (  # LOINC, name, unit, low, high
    ("718-7", "Hemoglobina", "g/dl", 12.0, 16.0), ("2823-3", "Potas", "mmol/l", 3.5, 5.1), ("2951-2", "Sód", "mmol/l", 136.0, 145.0),
    ("2160-0", "Kreatynina", "mg/dl", 0.6, 1.2), ("1988-5", "Białko C-reaktywne", "mg/l", 0.0, 5.0),
    ("6690-2", "Leukocyty", "10*3/ul", 4.0, 10.0),
)  # fmt: skip
PARAGRAPHS = (
    "Chory przyjęty w trybie pilnym z powodu duszności i obrzęków kończyn dolnych.",
    "W badaniu przedmiotowym szmer pęcherzykowy, trzeszczenia u podstawy płuc.",
    "Zastosowano leczenie zachowawcze, uzyskując poprawę stanu ogólnego.",
    "Wypisany do domu w stanie dobrym z zaleceniem kontroli w poradni.",
)


@dataclass(frozen=True)
class Result:
    """A laboratory result: LOINC code, value and its unit, low and high of its reference range."""

    code: str
    value: str
    unit: str
    low: str
    high: str


@dataclass(frozen=True)
class Person:
    """Somebody with a national number, an address and a telephone."""

    given: str
    family: str
    sex: str
    born: date
    pesel: str
    street: str
    city: str
    postcode: str
    phone: str
    mail: str


@dataclass(frozen=True)
class Generated:
    """One document and what is known of it. `personal`: texts none of which may be found in anything that leaves the hospital."""

    name: str  # a file name
    document: bytes
    visit_id: str
    patient_id: str  # a PESEL
    patient: Person
    doctor: Person
    accession_numbers: tuple[str, ...]
    start: str  # as in effectiveTime
    end: str
    sex: str  # F or M
    born: date
    city: str
    diagnoses: tuple[str, ...]  # ICD-10
    procedures: tuple[str, ...]  # ICD-9-PL
    results: tuple[Result, ...]
    personal: tuple[str, ...]


def visit(number: int, seed: int = 1, size: int = 0, *, patients: int = 1000, scan: int = 2000, signed: bool = True,
          encoding: str = "UTF-8", prefix: str = "") -> Generated:  # fmt: skip
    """The visit `number`, 0 and up, of the hospital `seed`.

    `size`: bytes to reach with further results (0: no more than a few); the document ends within 1.5 kB of it. `patients`: how many share
    the visits. `scan`: bytes of a scanned page, 0 for none. `signed`: with an XAdES signature whose certificate names the PESEL.
    `encoding`: UTF-8 or ISO-8859-2. `prefix`: of the namespace, none by default.
    """
    chance = random.Random(f"{seed} visit {number}")
    patient = person(seed, "patient", chance.randrange(patients))
    doctor, nurse = (person(seed, "staff", chance.randrange(40)) for _ in range(2))
    family = person(seed, "family", number)
    began = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(500_000))
    ended = began + timedelta(minutes=chance.randrange(60, 20_000))
    start, end = began.strftime("%Y%m%d%H%M%S+0000"), ended.strftime("%Y%m%d%H%M%S+0000")
    visit_id, accession = f"KG/{began.year}/{seed}-{number:07d}", f"ACC{seed % 100:02d}{number:08d}"
    diagnoses = chance.sample(DIAGNOSES, 2)
    procedure = chance.choice(PROCEDURES)
    head = _header(patient, doctor, nurse, family, number, seed, visit_id, accession, start, end, diagnoses[0])
    narrative = _narrative(patient, doctor, chance)
    codes = _diagnoses(diagnoses, start) + _procedure(procedure, accession, nurse, start)
    media = _media(chance, scan) if scan else ""
    signature = _signature(doctor, patient) if signed else ""
    rest = len((head + narrative + codes + media + signature).encode(encoding)) + 900
    results: list[Result] = []
    entries: list[str] = []
    rows: list[str] = []
    while len(results) < 3 or rest < size:
        result, entry, row = _result(chance, len(results), start)
        results.append(result)
        entries.append(entry)
        rows.append(row)
        rest += len((entry + row).encode(encoding))
    text = f"""<?xml version="1.0" encoding="{encoding}"?>
<?xml-stylesheet type="text/xsl" href="CDA_PL_{patient.family}.xsl"?>
<!-- Wydruk: {patient.given} {patient.family}, PESEL {patient.pesel} -->
{head}<component><structuredBody>
{narrative}{codes}{_laboratory(entries, rows)}{media}</structuredBody></component>
{signature}</ClinicalDocument>
"""
    if prefix:
        text = re.sub(r"<(/?)(?=[A-Za-z]+[\s/>])", rf"<\1{prefix}:", text).replace(' xmlns="urn', f' xmlns:{prefix}="urn')
    people = (patient, doctor, nurse, family)
    personal = [word for one in people for word in (one.pesel, one.family, one.phone, one.mail, one.street)]
    personal += [visit_id, accession, f"{patient.given} {patient.family}", HOSPITAL]
    return Generated(
        f"visit-{seed}-{number:07d}.xml", text.encode(encoding), visit_id, patient.pesel, patient, doctor, (accession,), start, end,
        patient.sex, patient.born, patient.city, tuple(code for code, _ in diagnoses), (procedure[0],), tuple(results),
        tuple(dict.fromkeys(personal)),
    )  # fmt: skip


def write(directory: Path, count: int, seed: int = 1, size: int = 0, **options: object) -> list[Generated]:
    """The visits 0 to `count` - 1 as files in `directory`, which is made; `options` are those of `visit`."""
    directory.mkdir(parents=True, exist_ok=True)
    visits = [visit(number, seed, size, **options) for number in range(count)]  # type: ignore[arg-type]
    for one in visits:
        (directory / one.name).write_bytes(one.document)
    return visits


def pesel(born: date, serial: int) -> str:
    """The number of a person born then: date with the century in the month, four digits (the last one odd for men), check digit."""
    month = born.month + {18: 80, 19: 0, 20: 20, 21: 40, 22: 60}[born.year // 100]
    digits = f"{born.year % 100:02d}{month:02d}{born.day:02d}{serial % 10_000:04d}"
    weighted = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True))
    return digits + str(-weighted % 10)


@functools.lru_cache(maxsize=10_000)
def person(seed: int, role: str, number: int) -> Person:
    """The person `number` of those with a role in the hospital `seed`: patient, staff, family."""
    chance = random.Random(f"{seed} {role} {number}")
    sex = chance.choice("FM")
    given = chance.choice(WOMEN if sex == "F" else MEN)
    family = chance.choice(FAMILIES).replace("_", "a" if sex == "F" else "i")
    born = date(1930, 1, 1) + timedelta(days=chance.randrange(33_000 if role == "patient" else 22_000))
    serial = chance.randrange(1000) * 10 + 2 * chance.randrange(5) + (sex == "M")
    city, postcode = chance.choice(CITIES)
    street = f"{chance.choice(STREETS)} {chance.randrange(1, 200)}/{chance.randrange(1, 99)}"
    phone = f"+48 {chance.randrange(500, 900)} {chance.randrange(1000):03d} {chance.randrange(1000):03d}"
    return Person(given, family, sex, born, pesel(born, serial), street, city, postcode, phone, f"{role}{number}.{seed}@poczta.example")


def _name(who: Person) -> str:
    return f"<name><given>{who.given}</given><family>{who.family}</family></name>"


def _address(who: Person) -> str:
    return (
        f"<addr><streetAddressLine>{who.street}</streetAddressLine><city>{who.city}</city>"
        f'<postalCode>{who.postcode}</postalCode><country>Polska</country></addr><telecom value="tel:{who.phone}"/>'
        f'<telecom value="mailto:{who.mail}"/>'
    )


def _header(patient: Person, doctor: Person, nurse: Person, family: Person, number: int, seed: int, visit_id: str, accession: str,
            start: str, end: str, diagnosis: tuple[str, str]) -> str:  # fmt: skip
    organisation = (
        '<id root="2.16.840.1.113883.3.4424.2.3.1" extension="000000999999"/><name>Szpital Miejski im. Ignacego Testowego</name>'
        '<telecom value="tel:+48 42 000 00 00"/>'
    )
    staff = f'<id root="{DOCTORS}" extension="%s"/>%s<assignedPerson>%s</assignedPerson>'
    physician = staff % (doctor.pesel, _address(doctor), _name(doctor))
    return f"""<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xmlns:extPL="http://www.csioz.gov.pl/xsd/extPL/r2">
<realmCode code="PL"/>
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<templateId root="2.16.840.1.113883.3.4424.13.10.1.14" extension="1.3"/>
<id root="2.16.840.1.113883.3.4424.2.7.999.1" extension="{seed}.{number}"/>
<code code="18842-5" codeSystem="{LOINC}" displayName="Discharge summary"/>
<title>Karta informacyjna leczenia szpitalnego: {patient.given} {patient.family}</title>
<effectiveTime value="{end}"/>
<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
<languageCode code="pl-PL"/>
<setId root="2.16.840.1.113883.3.4424.2.7.999.2" extension="{patient.pesel}.{number}"/>
<versionNumber value="1"/>
<recordTarget><patientRole><id root="{PESEL}" extension="{patient.pesel}"/>{_address(patient)}
<patient>{_name(patient)}<administrativeGenderCode code="{patient.sex}" codeSystem="2.16.840.1.113883.5.1"/>\
<birthTime value="{patient.born:%Y%m%d}"/></patient>
<providerOrganization>{organisation}</providerOrganization></patientRole></recordTarget>
<author><time value="{end}"/><assignedAuthor>{physician}</assignedAuthor></author>
<dataEnterer><assignedEntity>{staff % (nurse.pesel, _address(nurse), _name(nurse))}</assignedEntity></dataEnterer>
<informant><relatedEntity classCode="PRS">{_address(family)}<relatedPerson>{_name(family)}</relatedPerson></relatedEntity></informant>
<custodian><assignedCustodian><representedCustodianOrganization>{organisation}</representedCustodianOrganization></assignedCustodian></custodian>
<legalAuthenticator><time value="{end}"/><signatureCode code="S"/><assignedEntity>{physician}</assignedEntity></legalAuthenticator>
<participant typeCode="IND"><associatedEntity classCode="NOK"><id root="{PESEL}" extension="{family.pesel}"/>{_address(family)}\
<associatedPerson>{_name(family)}</associatedPerson></associatedEntity></participant>
<inFulfillmentOf><order><id root="{ACCESSIONS}" extension="{accession}"/></order></inFulfillmentOf>
<componentOf><encompassingEncounter><id root="{VISITS}" extension="{visit_id}"/>
<code code="IMP" codeSystem="2.16.840.1.113883.5.4"/><effectiveTime><low value="{start}"/><high value="{end}"/></effectiveTime>
<responsibleParty><assignedEntity>{physician}</assignedEntity></responsibleParty></encompassingEncounter></componentOf>
"""


def _section(code: str, title: str, text: str, entries: str) -> str:
    return (
        f'<component><section><code code="{code}" codeSystem="{LOINC}"/><title>{title}</title>\n'
        f"<text>{text}</text>\n{entries}</section></component>\n"
    )


def _narrative(patient: Person, doctor: Person, chance: random.Random) -> str:
    """Free text with the patient's name whole, upper case, and split over elements, and so with the PESEL."""
    cut = len(patient.family) // 2
    split = f"<content>{patient.family[:cut]}</content><content>{patient.family[cut:]}</content>"
    number = f"<content>{patient.pesel[:4]}</content> <content>{patient.pesel[4:]}</content>"
    told = " ".join(chance.sample(PARAGRAPHS, 3))
    words = (
        f"<paragraph>Pacjent {patient.given} {patient.family} (PESEL {patient.pesel}), zam. {patient.street}. {told}</paragraph>"
        f'<paragraph styleCode="xCaps">{patient.family.upper()} {patient.given[0]}. {split}, {number}</paragraph>'
        f"<paragraph>Lekarz prowadzący: {doctor.given} {doctor.family}, tel. {doctor.phone}</paragraph>"
    )
    return _section("8648-8", "Przebieg leczenia", words, "")


def _diagnoses(diagnoses: list[tuple[str, str]], start: str) -> str:
    entries = "".join(
        f'<entry><observation classCode="OBS" moodCode="EVN"><code code="29308-4" codeSystem="{LOINC}"/><statusCode code="completed"/>'
        f'<effectiveTime><low value="{start}"/></effectiveTime>'
        f'<value xsi:type="CD" code="{code}" codeSystem="{ICD_10}" displayName="{escape(words)}"/></observation></entry>\n'
        for code, words in diagnoses
    )
    return _section("11535-2", "Rozpoznania", "; ".join(f"{code} {escape(words)}" for code, words in diagnoses), entries)


def _procedure(procedure: tuple[str, str], accession: str, nurse: Person, start: str) -> str:
    entry = (
        f'<entry><procedure classCode="PROC" moodCode="EVN"><id root="{ACCESSIONS}" extension="{accession}"/>'
        f'<code code="{procedure[0]}" codeSystem="{ICD_9_PL}" displayName="{procedure[1]}"/><statusCode code="completed"/>'
        f'<effectiveTime value="{start}"/><performer><assignedEntity><id root="{DOCTORS}" extension="{nurse.pesel}"/>'
        f"<assignedPerson>{_name(nurse)}</assignedPerson></assignedEntity></performer></procedure></entry>\n"
    )
    return _section("47519-4", "Procedury", f"{procedure[1]}, wykonała {nurse.given} {nurse.family}", entry)


def _decimal(value: float) -> str:
    return f"{value:.1f}"


def _result(chance: random.Random, number: int, start: str) -> tuple[Result, str, str]:
    """A result, its entry, and its row of the printed table with decimal commas."""
    code, name, unit, low, high = chance.choice(TESTS)
    value = _decimal(max(0.0, chance.uniform(low - (high - low) / 3, high + (high - low) / 2)))
    result = Result(code, value, unit, _decimal(low), _decimal(high))
    flag = "L" if float(value) < low else "H" if float(value) > high else "N"
    entry = (
        f'<component><observation classCode="OBS" moodCode="EVN"><code code="{code}" codeSystem="{LOINC}" displayName="{name}"/>'
        f'<text><reference value="#w{number}"/></text><statusCode code="completed"/><effectiveTime value="{start}"/>'
        f'<value xsi:type="PQ" value="{value}" unit="{unit}"/><interpretationCode code="{flag}" codeSystem="2.16.840.1.113883.5.83"/>'
        f'<referenceRange><observationRange><value xsi:type="IVL_PQ"><low value="{result.low}" unit="{unit}"/>'
        f'<high value="{result.high}" unit="{unit}"/></value></observationRange></referenceRange></observation></component>\n'
    )
    shown, printed = value.replace(".", ","), f"{result.low} - {result.high}".replace(".", ",")
    return result, entry, f'<tr ID="w{number}"><td>{name}</td><td>{shown} {unit}</td><td>{printed}</td></tr>\n'


def _laboratory(entries: list[str], rows: list[str]) -> str:
    table = f"<table><thead><tr><th>Badanie</th><th>Wynik</th><th>Norma</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    organizer = (
        f'<entry><organizer classCode="BATTERY" moodCode="EVN"><code code="26436-6" codeSystem="{LOINC}"/><statusCode code="completed"/>\n'
        f"{''.join(entries)}</organizer></entry>\n"
    )
    return _section("30954-2", "Wyniki badań", table, organizer)


def _media(chance: random.Random, size: int) -> str:
    """A scanned page: a real grey PNG of about `size` bytes."""
    side = max(8, int(size**0.5))
    rows = b"".join(b"\0" + chance.randbytes(side) for _ in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    media = (
        '<entry><observationMedia classCode="OBS" moodCode="EVN" ID="skan1"><value mediaType="image/png" representation="B64">'
        f"{base64.b64encode(image).decode()}</value></observationMedia></entry>\n"
    )
    return _section("55108-5", "Skan skierowania", '<renderMultiMedia referencedObject="skan1"/>', media)


@functools.lru_cache(maxsize=1000)
def certificate(given: str, family: str, number: str) -> bytes:
    """A signer's certificate (DER) as Polish trust services issue them: the subject's serialNumber is PNOPL- and the PESEL."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509.oid import NameOID

    key = Ed25519PrivateKey.from_private_bytes(number.encode().ljust(32, b"\0"))  # its own for each person, the same in every run
    words = {NameOID.COUNTRY_NAME: "PL", NameOID.COMMON_NAME: f"{given} {family}", NameOID.GIVEN_NAME: given, NameOID.SURNAME: family}
    subject = x509.Name([x509.NameAttribute(oid, word) for oid, word in (words | {NameOID.SERIAL_NUMBER: f"PNOPL-{number}"}).items()])
    made = x509.CertificateBuilder(subject, subject, key.public_key(), int(number), datetime(2024, 1, 1), datetime(2034, 1, 1))
    from cryptography.hazmat.primitives.serialization import Encoding

    return made.sign(key, None).public_bytes(Encoding.DER)


def _signature(doctor: Person, patient: Person) -> str:
    """The shape of an enveloped XAdES signature (ETSI EN 319 132-1); its value is no signature of this document."""
    certified = base64.b64encode(certificate(doctor.given, doctor.family, doctor.pesel)).decode()
    value = base64.b64encode(random.Random(patient.pesel).randbytes(64)).decode()
    return (
        '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Id="xades"><ds:SignedInfo/>'
        f"<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509SubjectName>"
        f"CN={doctor.given} {doctor.family},SERIALNUMBER=PNOPL-{doctor.pesel},C=PL</ds:X509SubjectName>"
        f"<ds:X509Certificate>{certified}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>\n"
    )


def main() -> None:
    """Fill a directory."""
    parser = argparse.ArgumentParser(description="Write synthetic visits, one file each.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=20, help="documents [20]")
    parser.add_argument("--size", type=int, default=0, help="bytes of each [about 12000]")
    parser.add_argument("--seed", type=int, default=1, help="another one is another hospital [1]")
    choice = parser.parse_args()
    written = write(choice.directory, choice.count, choice.seed, choice.size)
    print(f"{len(written)} visits in {choice.directory}", file=sys.stderr)


if __name__ == "__main__":
    main()

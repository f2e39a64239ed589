"""Polish documents of visits, with people planted wherever a document can hold them."""

from __future__ import annotations

from datetime import UTC, datetime

from toolkit.core.keys import Key
from toolkit.core.xml import parse_safely
from toolkit.hospital.visits.profile import Profile, read_profile
from toolkit.hospital.visits.rebuild import Rebuilt, rebuild

KEY = Key("k1", datetime(2026, 1, 1, tzinfo=UTC), b"s" * 32)
PESEL = "44051401359"
# Whatever a rebuilt document must not hold, in any case.
PLANTED = (
    PESEL, "Brzęczyszczykiewicz", "Grzegorz", "Żółkiewska", "Łucja", "Kowalczyk", "Szczęsna", "600123456", "Polna", "00-950",
    "1944-05-14", "19440514", "HIS-77001", "PAC-4242", "ACC-2026-17", "Szpital", "PNOPL", "JVBERi0xLjQK", "set-11", "doc-99",
)  # fmt: skip
HEAD = """<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<templateId root="2.16.840.1.113883.3.4424.13.10.1.1" extension="1.3"/>
<id root="2.16.840.1.113883.3.4424.2.7.1" extension="doc-99"/>
<code code="18842-5" codeSystem="2.16.840.1.113883.6.1" displayName="Karta Grzegorza Brzęczyszczykiewicza"/>
<title>Karta: Grzegorz Brzęczyszczykiewicz</title>
<effectiveTime value="20260312101500+0100"/>
<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="pl-PL"/>
<setId root="2.16.840.1.113883.3.4424.2.7.1" extension="set-11"/>
<recordTarget><patientRole>
<id root="2.16.840.1.113883.3.4424.1.1.616" extension="44051401359"/><id root="2.16.840.1.113883.3.4424.2.7.2" extension="PAC-4242"/>
<addr><streetName>Polna</streetName><postalCode>00-950</postalCode><city>Łódź</city></addr><telecom value="tel:600123456"/>
<patient><name><given>Grzegorz</given><family>Brzęczyszczykiewicz</family></name>
<administrativeGenderCode code="M" codeSystem="2.16.840.1.113883.5.1"/><birthTime value="19440514"/></patient></patientRole></recordTarget>
<author><time value="2026"/><assignedAuthor><id root="2.1" extension="1234567"/><assignedPerson><name><given>Łucja</given>
<family>Żółkiewska</family></name></assignedPerson></assignedAuthor></author>
<custodian><assignedCustodian><representedCustodianOrganization><id root="2.1"/><name>Szpital Kowalczyk</name>
</representedCustodianOrganization></assignedCustodian></custodian>
<informationRecipient><intendedRecipient><informationRecipient><name>Anna Szczęsna</name></informationRecipient></intendedRecipient>
</informationRecipient>
<inFulfillmentOf><order><id root="2.16.840.1.113883.3.4424.2.7.9" extension="ACC-2026-17"/></order></inFulfillmentOf>
<relatedDocument typeCode="RPLC"><parentDocument><id root="2.1" extension="doc-99"/></parentDocument></relatedDocument>
<componentOf><encompassingEncounter><id root="2.16.840.1.113883.3.4424.2.7.8" extension="HIS-77001"/>
<effectiveTime><low value="20260310"/><high value="20260312"/></effectiveTime>
<location><healthCareFacility><location><name>Szpital</name></location></healthCareFacility></location></encompassingEncounter></componentOf>
"""
DIAGNOSIS = """<component><section><!-- pan Grzegorz --><?his 44051401359?>
<code code="29548-5" codeSystem="2.16.840.1.113883.6.1"/><title>Rozpoznanie: Brzęczyszczykiewicz</title>
<text><paragraph>Pacjent Grzegorz Brz<content>ęczyszczykiewicz</content>, PESEL 44051401359</paragraph></text>
<entry><observation classCode="OBS" moodCode="EVN"><id root="2.1" extension="44051401359"/>
<code code="29308-4" codeSystem="2.16.840.1.113883.6.1"/><effectiveTime value="19440514"/>
<value xsi:type="CD" code="I50.9" codeSystem="2.16.840.1.113883.6.3" displayName="chory Grzegorz"><originalText>Łucja</originalText>
<translation code="428.0" codeSystem="2.16.840.1.113883.6.103"/></value>
<performer><assignedEntity><id root="2.1" extension="7"/>
<assignedPerson><name>Łucja Żółkiewska</name></assignedPerson></assignedEntity></performer>
</observation></entry></section></component>
"""
RESULTS = """<component><section><code code="30954-2" codeSystem="2.16.840.1.113883.6.1"/>
<text><table><thead><tr><th>Badanie</th><th>Wynik</th><th>Zakres referencyjny</th></tr></thead><tbody>
<tr><td><content ID="b1"/>Hemoglobina</td><td>7,8 g/dl</td><td>K: 12,0 - 16,0; M: 14,0 - 18,0</td></tr>
<tr><td><content ID="b2"/>Sód</td><td>141 mmol/l</td><td>wg dr Kowalczyk</td></tr>
<tr><td><content ID="b3"/>Leukocyty</td><td>5,2 tys/ul</td><td>0-14 lat: 5,0 - 14,5; &gt;14 lat: 4,0 - 10,0</td></tr></tbody></table></text>
<entry><organizer classCode="BATTERY" moodCode="EVN"><statusCode code="completed"/>
<component><observation classCode="OBS" moodCode="EVN"><code code="C53" codeSystem="2.16.840.1.113883.3.4424.11.2.6"/>
<text><reference value="#b1"/></text><value xsi:type="ST">7,8 g/dl</value></observation></component>
<component><observation classCode="OBS" moodCode="EVN"><code code="2951-2" codeSystem="2.16.840.1.113883.6.1"/>
<text><reference value="#b2"/></text><value xsi:type="PQ" value="141" unit="mmol/l"/>
<interpretationCode code="N" codeSystem="2.16.840.1.113883.5.83"/></observation></component>
<component><observation classCode="OBS" moodCode="EVN"><code code="6690-2" codeSystem="2.16.840.1.113883.6.1"/>
<text><reference value="#b3"/></text></observation></component>
<component><observation classCode="OBS" moodCode="EVN"><code code="5778-6" codeSystem="2.16.840.1.113883.6.1"/>
<value xsi:type="ST">zlecił dr Kowalczyk</value></observation></component>
</organizer></entry></section></component>
"""
SCAN = """<component><section><code code="18748-4" codeSystem="2.16.840.1.113883.6.1"/><entry>
<observationMedia classCode="OBS" moodCode="EVN">
<value mediaType="application/pdf" representation="B64">JVBERi0xLjQK</value></observationMedia>
</entry></section></component>
"""
SIGNATURE = """<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:KeyInfo><ds:X509Data>
<ds:X509SubjectName>SERIALNUMBER=PNOPL-44051401359, CN=Łucja Żółkiewska</ds:X509SubjectName></ds:X509Data></ds:KeyInfo></ds:Signature>
"""


def document(*sections: str, head: str = HEAD, after: str = SIGNATURE, encoding: str = "UTF-8") -> bytes:
    """A document of these sections, by default of all kinds."""
    body = "".join(sections or (DIAGNOSIS, RESULTS, SCAN))
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<!-- dla: Anna Szczęsna -->\n<ClinicalDocument xmlns="urn:hl7-org:v3" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:extPL="http://www.csioz.gov.pl/xsd/extPL/r2">\n{head}'
        f"<component><structuredBody>{body}</structuredBody></component>{after}</ClinicalDocument>"
    )
    return text.encode(encoding)


def large_document(size: int) -> bytes:
    """A document of about `size` bytes: diagnoses and results again and again."""
    part = DIAGNOSIS + RESULTS
    return document(part * max(1, (size - len(HEAD)) // len(part.encode())), SCAN)


def rebuilt(content: bytes, profile: Profile | None = None) -> Rebuilt:
    return rebuild(parse_safely(content, "visit.xml"), KEY, profile or read_profile(None), "visit.xml")

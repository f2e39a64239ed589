"""The gateway's own check: what it must find, wherever it stands, and what it must let pass."""

from __future__ import annotations

import pytest
from lxml import etree

from toolkit.datacentre.personal_data import find_personal_data, is_pesel

PESEL = "44051401359"
SEALED = "k1.ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def document(entry: str = "", head: str = "", text: str = "", visit: str = SEALED) -> str:
    return (
        '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/><id root="2.25.44051401359"/>'
        f'<recordTarget><patientRole><id root="2.25.1" extension="{SEALED}"/>{head or "<addr><city>Nowy Sącz</city></addr>"}</patientRole>'
        f'</recordTarget><componentOf><encompassingEncounter><id extension="{visit}"/><effectiveTime><low value="20260131101500"/>'
        f"</effectiveTime></encompassingEncounter></componentOf><component><structuredBody><component><section><text>{text}</text>"
        f"<entry>{entry}</entry></section></component></structuredBody></component></ClinicalDocument>"
    )


def found(xml: str) -> str:
    return "\n".join(find_personal_data(etree.ElementTree(etree.fromstring(xml))))


@pytest.mark.parametrize(
    "fine",
    [
        document(),
        document('<observation><code code="10676511000119104" codeSystem="2.16.840.1.113883.6.96"/></observation>'),
        document('<observation><id extension="ABCDEFGHIJKLMNOP"/><value xsi:type="ST">Escherichia coli 12,0 - 16,0</value></observation>'),
        document('<observation><value xsi:type="PQ" value="44051401358" unit="1"/></observation>'),  # no PESEL: its checksum is wrong
        document(text="Stan ogólny dobry. Mars 2 mg"),
        document(head="<patient><birthTime value='1961'/></patient>"),
    ],
)
def test_documents_as_they_should_be(fine: str) -> None:
    assert found(fine) == ""


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (document(visit=PESEL), "no pseudonym"),
        (document(f'<act><id root="2.16.840.1.113883.3.4424.1.1.616" extension="{PESEL}"/></act>'), "a PESEL"),
        (document(f'<observation><code code="{PESEL}"/></observation>'), "a PESEL"),
        (document(text=f"nr {PESEL}."), "a PESEL"),
        (document(text="nr 440514-01359"), "a PESEL"),
        (document(text="<content>440514</content><content>01359</content>"), "a PESEL"),
        (document(text="&#52;4051401359"), "a PESEL"),
        (document(text="Pacjentka Żaneta, lek. Wąs"), "title"),
        (document(text="badał Łukasz Żółć"), "a name"),
        (document(text="KOWALSKI-NOWAK, JAN"), "a name"),
        (document(text="<content>Łu</content><content>kasz</content> Źrebak"), "a name"),
        (document('<observation><value xsi:type="ST" displayName="Jan Kowalski"/></observation>'), "a name"),
        (document(head="<patient><name><given>X</given></name></patient>"), "a name"),
        (document(head="<telecom value='x'/>"), "telecom"),
        (document(head="<addr><streetName>Lipowa</streetName></addr>"), "streetName"),
        (document(head="<patient><birthTime value='19610203'/></patient>"), "date of birth"),
        (document(text="jan@szpital.pl"), "mail"),
        (document(text="tel. 22 123 45 67"), "telephone"),
        (document(text="zam. ul. Długa 5"), "street"),
        (document("<observationMedia><value>AA</value></observationMedia>"), "media"),
        (document('<observation><value mediaType="image/png"/></observation>'), "media"),
        (document('<observation><value representation="B64">AAAA</value></observation>'), "media"),
        (document(f"<observation><value>{'MIIC+' * 40}</value></observation>"), "embedded data"),
        (document('<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/>'), "another namespace"),
        (document(text=f"SERIALNUMBER=PNOPL-{PESEL}"), "PNOPL"),
        (document(text="<!-- x -->"), "comment"),
        ("<!-- Jan -->" + document(), "comment"),
        ("<?print Jan?>" + document(), "processing instruction"),
        (document() + "<!-- x -->", "comment"),
    ],
)
def test_what_is_found_and_never_repeated(bad: str, kind: str) -> None:
    assert kind in found(bad)
    assert PESEL not in found(bad) and "Kowalski" not in found(bad)


def test_the_checksum_and_the_date_of_a_pesel() -> None:
    assert is_pesel(PESEL) and is_pesel("02070803628")
    assert not any(is_pesel(f"4405140135{digit}") for digit in "012345678")
    assert not is_pesel("00000000000") and not is_pesel("4405140135") and not is_pesel("٤٤٠٥١٤٠١٣٥٩")

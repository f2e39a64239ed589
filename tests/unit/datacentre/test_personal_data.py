"""The gateway's own check: what it must find, wherever it stands, and what it must let pass."""

from __future__ import annotations

import base64
import random
import textwrap
import time
import unicodedata
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.visits import generate
from toolkit.core.errors import BadData
from toolkit.core.keys import Key
from toolkit.core.xml import parse_safely
from toolkit.datacentre.personal_data import _FIRST_NAMES, find_personal_data, is_pesel
from toolkit.hospital.visits.profile import read_profile
from toolkit.hospital.visits.rebuild import rebuild

GIVEN = Path(__file__).parents[4] / "shared" / "data" / "hl7" / "visits"
KEY = Key("k1", datetime(2026, 1, 1, tzinfo=UTC), b"s" * 32)
V3 = "{urn:hl7-org:v3}"

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


def row(*cells: str) -> str:
    return f"<table><tbody><tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr></tbody></table>"


def found(xml: str) -> str:
    return "\n".join(find_personal_data(etree.ElementTree(etree.fromstring(xml))))


@pytest.mark.parametrize(
    "fine",
    [
        document(),
        document('<observation><code code="11000315107" codeSystem="2.16.840.1.113883.6.96"/></observation>'),  # SNOMED CT, eleven digits
        document('<observation><code code="10676511000119109" codeSystem="2.16.840.1.113883.6.96"/></observation>'),
        document('<observation><id extension="ABCDEFGHIJKLMNOP"/><value xsi:type="ST">Escherichia coli 12,0 - 16,0</value></observation>'),
        document('<observation><value xsi:type="PQ" value="44051401358" unit="1"/></observation>'),  # no PESEL: its checksum is wrong
        document(text="Stan ogólny dobry. Mars 2 mg"),
        document(text="Na turnusie, zamiast Aspiryny; kultura. 5 dni"),
        document(text="<list><item>198108</item><item>29046</item></list>"),  # with a PESEL's checksum, but two codes
        document('<observation><value xsi:type="CD" code="A46" displayName="Róża"/><value xsi:type="ST">Róża</value></observation>'),
        document(text="<table><tbody><tr><td>Róża</td><td>Obecna</td></tr><tr><td>Płytki 10*3/ul.</td><td>Norma</td></tr></tbody></table>"),
        document(head="<addr><city>Kazimierz Dolny</city></addr>"),
        document(head="<addr><city>Helena</city><country>US</country></addr>"),
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
        (document(text="nr 440514 \n 01359"), "a PESEL"),
        (document(text="44 05 14 / 01359"), "a PESEL"),
        (document(text="440514\u20110135\u20119"), "a PESEL"),
        (document(text="4\u00a04\u00a00\u00a05\u00a01\u00a04\u00a00\u00a01\u00a03\u00a05\u00a09"), "a PESEL"),
        (document(text="４４０５１４０１３５９"), "a PESEL"),
        (document(text="440514\u200b01359"), "a PESEL"),
        (document(text="1234567 4405 1401359"), "a PESEL"),
        (document(text=row("Nr", "440514", "01359", "")), "a PESEL"),
        (document(text=row("440514", " ", "0135", "9", "12")), "a PESEL"),
        (document(text=row(*"44051401359")), "a PESEL"),
        (document(text=row("44", "05", "14", "01359")), "a PESEL"),
        (document(text="<paragraph><b>440514</b>01359</paragraph>"), "a PESEL"),
        (document(text="<paragraph>nr <content><sub>44051</sub>40</content><content>1359</content></paragraph>"), "a PESEL"),
        (document('<observation><code code="44051401359" codeSystem="2.16.840.1.113883.6.96"/></observation>'), "a PESEL"),
        (document('<observation><id root="2.16.840.1.113883.3.4424.1.1.616.1"/></observation>'), "a PESEL"),
        (document().replace("<ClinicalDocument ", f'<ClinicalDocument xmlns:p="urn:{PESEL}" '), "a PESEL"),
        (document(text=row("Imię", "Żegota")), "label"),
        (document(text=row("Łukasz", "Źrebak")), "a name"),
        (document(text=row("ŹREBAK", "JAN")), "a name"),
        (document(text=row("Jan")), "a name"),
        (document(text="<paragraph><b>Łu</b><b>kasz</b> <b>Źrebak</b></paragraph>"), "a name"),
        (document(text="Łu\u00adkasz Źre\u00adbak"), "a name"),
        (document(text="rozmowa z Janem Kowalskim"), "a name"),
        (document(text="dla Anny Źrebak"), "a name"),
        (document(text=unicodedata.normalize("NFD", "Bożena Źrebak")), "a name"),
        (document(text="<title>ŻÓŁĆ GRZEGORZ</title>"), "a name"),
        (document('<act><code><originalText><reference value="Jan Źrebak"/></originalText></code></act>'), "a name"),
        (document("<act><code><originalText>Jan <sub>Źrebak</sub></originalText></code></act>"), "a name"),
        (document(text='<content title="Jan&#10;Źrebak"/>'), "a name"),
        (document(head="<addr><city>Jan Źrebak</city></addr>"), "a name"),
        (document(head="<addr><city>Nowy Sącz, ul. Długa 5</city></addr>"), "a street"),
        (document(head="<patient><birthTime>19610203</birthTime></patient>"), "date of birth"),
        (document(text="Pacjentka Żaneta"), "title"),
        (document(text="LEK. WĄS"), "title"),
        (document(text="zam. Długa 5"), "address"),
        (document(text="ZAMIESZKAŁA: ŁÓDŹ"), "address"),
        (document(text="ur. 14.05.1944"), "date of birth"),
        (document(text="Data urodzenia: 1944-05-14"), "date of birth"),
        (document(text="zam. UL. DŁUGA 5"), "street"),
        (document(text=f"<list><item>{'MIIC+' * 13}</item><item>{'MIIC+' * 13}</item></list>"), "embedded data"),
        (document('<observation><value mediaType="">AAAA</value></observation>'), "media"),
        ("<name xmlns='urn:hl7-org:v3'>X</name>", "a name"),
        ("<observation/>", "another namespace"),
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


def test_a_certificate_is_found_wherever_it_is_hidden() -> None:
    """Its serialNumber is PNOPL- and the PESEL, which no expression sees in base64."""
    certified = base64.b64encode(generate.certificate("Łucja", "Żółkiewska", PESEL)).decode()
    for text in (certified, "\n".join(textwrap.wrap(certified, 64)), f"podpis: {certified}"):
        assert "embedded data" in found(document(text=text))
        assert "embedded data" in found(document(f'<observation><value displayName="{text}"/></observation>'))
    parts = "".join(f"<content>{certified[at : at + 40]}</content>" for at in range(0, len(certified), 40))
    assert "embedded data" in found(document(text=f"<paragraph>{parts}</paragraph>"))


@pytest.mark.parametrize(
    "text",
    [
        "1 " * 50_000, "Jan " * 50_000, "tel " + " " * 200_000, "A" * 200_000, "@a." * 60_000, "<item>Jan</item>" * 20_000,
        "<content>" * 150 + "<content>1</content>" * 10_000 + "</content>" * 150, "<content>ab" * 150 + "x" * 200_000 + "</content>" * 150,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_no_document_takes_long(text: str) -> None:
    """What is made to be slow takes time that grows with its length and no faster: seconds where squares would be minutes."""
    begin = time.process_time()
    found(document(text=text))
    assert time.process_time() - begin < 8


def test_declared_entities_never_get_here() -> None:
    declared = f'<!DOCTYPE ClinicalDocument [<!ENTITY who "{PESEL}">]>' + document(text="&who;")
    with pytest.raises(BadData, match="DOCTYPE"):
        parse_safely(declared.encode(), "visit")


def test_the_checksum_and_the_date_of_a_pesel() -> None:
    assert is_pesel(PESEL) and is_pesel("02070803628")
    assert not any(is_pesel(f"4405140135{digit}") for digit in "012345678")
    assert not is_pesel("00000000000") and not is_pesel("4405140135") and not is_pesel("٤٤٠٥١٤٠١٣٥٩")


def check_digit(digits: str) -> str:
    """Verhoeff's, as SNOMED CT has it (Release File Specification, 6.4)."""
    permuted = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        permuted.append([permuted[-1][permuted[1][place]] for place in range(10)])

    def product(one: int, other: int) -> int:
        return (one % 5 + (other % 5 if one < 5 else -other % 5)) % 5 + 5 * ((one < 5) != (other < 5))

    check = 0
    for place, digit in enumerate(reversed(digits), 1):
        check = product(check, permuted[place % 8][int(digit)])
    return str(next(digit for digit in range(10) if product(check, digit) == 0))


def test_no_id_of_snomed_ct_is_taken_for_a_pesel() -> None:
    assert [check_digit(number) for number in ("7321100", "8014600", "2229800")] == ["9", "2", "6"]  # diabetes, appendicectomy, infarction
    chance = random.Random(1)
    for namespace in chance.sample(range(1000000, 1001000), 300):
        for partition in ("10", "11", "12"):
            number = f"{chance.randrange(1, 10)}{namespace}{partition}"
            assert not is_pesel(number + check_digit(number))


@cache
def rebuilt_visit(number: int, size: int = 0) -> bytes:
    made = generate.visit(number, size=size)
    return rebuild(parse_safely(made.document, made.name), KEY, read_profile(None), made.name).document


NAMES = st.sampled_from(_FIRST_NAMES.split())
FAMILIES = st.builds(
    str.__add__, st.sampled_from("ABCĆDEFGHIJKLŁMNOÓPRSŚTUWZŹŻ"), st.text("aąbcćdeęfghijklłmnńoóprsśtuwyzźż", min_size=2, max_size=12)
)
PEOPLE = st.one_of(
    st.builds("{} {}".format, NAMES, FAMILIES),
    st.builds("{}, {}".format, FAMILIES, NAMES),
    st.builds(lambda name, family: f"{family} {name}".upper(), NAMES, FAMILIES),
    st.builds("{}\u00a0{}".format, NAMES, FAMILIES),
    st.builds(generate.pesel, st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.integers(0, 9999)),
)
PLANTS = (lambda old, new: new, lambda old, new: f"{old} {new}", lambda old, new: f"{new} {old}")


@settings(max_examples=300)
@given(person=PEOPLE, number=st.integers(0, 5), place=st.integers(min_value=0), how=st.sampled_from(PLANTS), data=st.data())
def test_whoever_is_planted_anywhere_is_found(person, number, place, how, data) -> None:  # type: ignore[no-untyped-def]
    """As a whole text or attribute of what was rebuilt, or at either end of one."""
    tree = parse_safely(rebuilt_visit(number), "visit")
    elements = list(tree.iter())
    element = elements[place % len(elements)]
    where = data.draw(st.sampled_from([*element.attrib, "", "behind"]))
    if where == "behind" and element.getparent() is not None:
        element.tail = how(element.tail or "", person)
    elif where in ("", "behind"):
        element.text = how(element.text or "", person)
    else:
        element.set(where, how(element.get(where), person))
    assert find_personal_data(parse_safely(etree.tostring(tree, encoding="UTF-8"), "visit")) != []


@settings(max_examples=100)
@given(person=PEOPLE, cuts=st.lists(st.integers(min_value=1), min_size=1, max_size=3))
def test_whoever_is_split_over_elements_is_found(person: str, cuts: list[int]) -> None:
    ends = sorted({cut % len(person) for cut in cuts} | {0, len(person)})
    parts = [f"<content>{person[begin:end]}</content>" for begin, end in zip(ends, ends[1:], strict=False)]
    assert found(document(text=f"<paragraph>zbadano: {''.join(parts)}.</paragraph>")) != ""


def test_tables_of_results_pass() -> None:
    """Whole numbers side by side, dates, times, codes and pain scales: about one row in 10,000 may look like a PESEL."""
    chance = random.Random(2)
    refused, others = 0, ["2026-03-04", "12.03.2026", "14:30", "10*3/ul", "Leukocyty", "N"]
    for _ in range(2000):
        cells = [
            chance.choice([*(str(chance.randrange(below)) for below in (10, 1000, 300_000)), f"{chance.uniform(0, 9):.1f}", *others])
            for _ in range(chance.randrange(3, 30))
        ]
        refused += bool(found(document(text=row(*cells))))
    assert refused <= 4


@pytest.mark.parametrize("number", range(6))
def test_what_is_generated_and_rebuilt_passes(number: int) -> None:
    assert find_personal_data(parse_safely(rebuilt_visit(number, 90_000), "visit")) == []


def test_given_documents_pass_rebuilt_and_are_refused_as_they_came(tmp_path: Path) -> None:
    if not GIVEN.is_dir():
        return  # only where the documents for development are
    shipped = read_profile(None)
    (tmp_path / "profile.toml").write_text('version = 1\n[visit]\nwithout_encounter = "document"\n')
    profiles = (shipped, read_profile(str(tmp_path / "profile.toml")))
    passed = [0, 0]
    paths = sorted(GIVEN.glob("*.xml"))
    for path in paths:
        tree = parse_safely(path, path.name)
        assert find_personal_data(tree) != [], path.name
        for at, profile in enumerate(profiles):
            try:
                kept = rebuild(tree, KEY, profile, path.name).document
            except BadData as error:
                assert at == 0 and "no id of the visit" in str(error)
                continue
            assert find_personal_data(parse_safely(kept, path.name)) == [], path.name
            passed[at] += 1
    assert passed == [len([path for path in paths if path.name.startswith("ccda")]), len(paths)]


def test_a_document_of_90_kb_takes_little_time() -> None:
    """The gateway's bar is 200 documents/s with everything: 10 ms here is a wide margin for a busy machine."""
    trees = [parse_safely(rebuilt_visit(number, 115_000), "visit") for number in range(4)]
    find_personal_data(trees[0])
    begin = time.process_time()
    for tree in trees * 5:
        find_personal_data(tree)
    assert (time.process_time() - begin) / 20 < 0.010

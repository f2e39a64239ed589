"""People planted at random places of generated visits: nothing of them may be found in what leaves."""

from __future__ import annotations

import re
from datetime import date

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.unit.hospital.visits.documents import KEY, PLANTED, document
from tests.visits.generate import FAMILIES, MEN, WOMEN, pesel, visit
from toolkit.core.xml import parse_safely
from toolkit.hospital.visits.document import V3
from toolkit.hospital.visits.profile import read_profile
from toolkit.hospital.visits.rebuild import rebuild

# The content of each and the words that it says of its patient, staff and hospital.
GENERATED = [visit(number, seed=11, size=9000) for number in range(4)]
VISITS = [(made.document, tuple(word for word in made.personal if len(word) > 5)) for made in GENERATED]
VISITS.append((document(), tuple(word for word in PLANTED if len(word) > 5 and word != "JVBERi0xLjQK")))
# Where everything said is meant to be kept: towns, the visit's dates, and what tells the visit and the patient.
MEANT = {V3 + name for name in ("ClinicalDocument", "city", "low", "high")}
TIMES = {V3 + name for name in ("effectiveTime", "time", "birthTime")}
POLISH = "ąćęłńóśźż"
# With a letter that English has not, for "Sectio" is found in every document.
names = st.one_of(
    st.sampled_from([*WOMEN, *MEN, *(family.replace("_", "i") for family in FAMILIES)]),
    st.text(st.sampled_from(POLISH + "abcdefghijklmnoprstuwyz"), min_size=6, max_size=12).map(str.title),
).filter(lambda name: any(letter in POLISH for letter in name.lower()) and len(name) > 5)


def plant(tree: etree._ElementTree, word: str, data: st.DataObject, *, known: bool) -> None:
    """Put `word` somewhere: as text, split over elements, as a comment, an attribute, an instruction, an element of another namespace."""
    places = [element for element in tree.iter(f"{V3}*") if element.tag not in MEANT | TIMES]
    element = data.draw(st.sampled_from(places), "element")
    ways = ["text", "split", "comment", "instruction", "foreign", "tail", "name"]
    if known and element.attrib and element.tag != f"{V3}id":
        ways.append("attribute")
    way = data.draw(st.sampled_from(ways), "way")
    if way == "text":
        element.text = f"{element.text or ''} {word}"
    elif way == "tail":
        element.tail = f"{element.tail or ''} {word}"
    elif way == "comment":
        element.append(etree.Comment(f" {word} ".replace("--", "- ")))
    elif way == "instruction":
        element.append(etree.ProcessingInstruction("his", word))
    elif way == "foreign":
        etree.SubElement(element, "{http://www.csioz.gov.pl/xsd/extPL/r2}osoba", kto=word).text = word
    elif way == "name":
        etree.SubElement(etree.SubElement(element, f"{V3}name"), f"{V3}family").text = word
    elif way == "attribute":
        element.set(data.draw(st.sampled_from(sorted(map(str, element.attrib))), "attribute"), word)
    else:
        middle = data.draw(st.integers(1, max(1, len(word) - 1)), "middle")
        for part in (word[:middle], word[middle:]):
            etree.SubElement(element, f"{V3}content").text = part


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(VISITS), names, st.data())
def test_a_stranger_s_name_in_any_text(made: tuple[bytes, tuple[str, ...]], name: str, data: st.DataObject) -> None:
    check(*made, name, data, known=False)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(VISITS), st.data())
def test_the_document_s_people_anywhere(made: tuple[bytes, tuple[str, ...]], data: st.DataObject) -> None:
    check(*made, data.draw(st.sampled_from(made[1]), "word"), data, known=True)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(VISITS), st.dates(date(1900, 1, 1), date(2099, 12, 31)), st.integers(0, 9999), st.data())
def test_a_stranger_s_pesel_anywhere(made: tuple[bytes, tuple[str, ...]], born: date, serial: int, data: st.DataObject) -> None:
    check(*made, pesel(born, serial), data, known=True)


def check(content: bytes, personal: tuple[str, ...], word: str, data: st.DataObject, *, known: bool) -> None:
    tree = parse_safely(content, "visit.xml")
    plant(tree, word, data, known=known)
    written = rebuild(parse_safely(etree.tostring(tree, encoding="UTF-8"), "visit.xml"), KEY, read_profile(None), "visit.xml")
    # Tokens are random letters and digits, in which no word of six letters is to be found.
    text = re.sub(r"k1\.[a-z2-7]+|2\.25\.\d+", "", written.document.decode().casefold())
    assert [found for found in (word, *personal) if found.casefold() in text] == []
    assert not any(word.casefold() in path.casefold() for path in written.dropped)

"""What is read from the text at once is what is read from the tree, however a document differs from what hl7-send writes."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime

import pytest
from lxml import etree

from tests.unit.datacentre.visits import document
from tests.visits.generate import visit
from toolkit.core.errors import BadData
from toolkit.core.keys import Key
from toolkit.core.xml import parse_safely
from toolkit.datacentre.as_sent import read_as_sent
from toolkit.datacentre.cda import rows

KEY = Key("k1", datetime(2026, 1, 1, tzinfo=UTC), b"s" * 32)


def rebuilt(number: int, size: int = 0) -> bytes:
    from toolkit.hospital.visits.profile import read_profile
    from toolkit.hospital.visits.rebuild import rebuild

    return rebuild(parse_safely(visit(number, size=size).document, "document"), KEY, read_profile(None), "document").document


def same(body: bytes) -> bool:
    """Whether both ways read the same."""
    tree = parse_safely(body, "document")
    return rows(tree, "document", body) == rows(tree, "document")


@pytest.mark.parametrize("made", [*(rebuilt(number, 40_000) for number in range(5)), document(1, 20_000)])
def test_what_hl7_send_writes_is_read_at_once(made: bytes) -> None:
    tree = parse_safely(made, "document")
    sent = read_as_sent(made)
    assert sent is not None and sent.plain
    assert [one for one in sent.results if one is not None] == list(rows(tree).results)
    assert len(rows(tree).results) > 20 and same(made)


CHANGES = [
    (' unit="[^"]*"', ""),
    (' unit="[^"]*"', ' unit=""'),
    (' unit="[^"]*"', ' unit="G / dL"'),
    (' unit="[^"]*"', ' unit="&#181;g"'),
    (' unit="[^"]*"', " unit='g/l'"),
    (' value="[0-9.]*"', ' value="12,5"'),
    (' value="[0-9.]*"', ' value="1 250"'),
    (' value="[0-9.]*"', ' value="many"'),
    (' value="[0-9.]*"', ' value=""'),
    (' value="[0-9.]*"', ' value="' + "9" * 70 + '"'),
    (' value="[0-9.]*"', ' nullFlavor="UNK"'),
    ("<interpretationCode[^>]*/>", ""),
    ("<interpretationCode[^>]*/>", '<interpretationCode nullFlavor="NI"/>'),
    ("<interpretationCode[^>]*/>", '<interpretationCode code=" H "/><interpretationCode code="L"/>'),
    ("<low [^>]*/>", ""),
    ("<high [^>]*/>", ""),
    ("<low [^>]*/><high [^>]*/>", ""),
    ("<low ", '<low inclusive="false" '),
    ("<high ([^>]*)/>", '<high \\1 inclusive="false"/>'),
    ("<referenceRange>.*?</referenceRange>", ""),
    ("(<referenceRange>.*?</referenceRange>)", "\\1\\1"),
    ("<observationRange>", "<observationRange><text>12,0 - 16,0</text>"),
    ('<statusCode code="completed"/>', ""),
    ('<statusCode code="completed"/>', '<statusCode code="cancelled"/>'),
    ('<effectiveTime value="[^"]*"/>', ""),
    ('<effectiveTime value="([^"]*)"/>', '<effectiveTime><low value="\\1"/></effectiveTime>'),
    ('<observation classCode="OBS" moodCode="EVN">', '<observation classCode="OBS" moodCode="INT">'),
    ('<observation classCode="OBS" moodCode="EVN">', '<observation classCode="OBS" moodCode="EVN" negationInd="true">'),
    ('<observation classCode="OBS" moodCode="EVN">', '<observation moodCode="EVN" classCode="OBS">'),
    ('<observation classCode="OBS" moodCode="EVN">', "<observation classCode='OBS' moodCode = 'INT'>"),
    ('<observation classCode="OBS" moodCode="EVN">', '<observation classCode="OBS" moodCode="&#73;NT">'),
    ('<organizer classCode="BATTERY" moodCode="EVN">', '<organizer classCode="BATTERY" moodCode="RQO">'),
    ('<organizer classCode="BATTERY" moodCode="EVN">', '<organizer classCode="BATTERY" moodCode="EVN"><subject/>'),
    ('<organizer classCode="BATTERY" moodCode="EVN">', '<organizer classCode="BATTERY" moodCode="EVN"><statusCode code="nullified"/>'),
    ('<organizer classCode="BATTERY" moodCode="EVN">', '<organizer classCode="BATTERY" moodCode="EVN"><statusCode code="&#99;ancelled"/>'),
    (
        '<organizer classCode="BATTERY" moodCode="EVN">',
        '<organizer classCode="B" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.45"/>',
    ),
    (
        '<organizer classCode="BATTERY" moodCode="EVN">',
        '<organizer classCode="B" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.22.4.8"/>',
    ),
    ("</order>", '<code code="87.440" codeSystem="2.16.840.1.113883.3.4424.11.2.6"/></order>'),
    ('<procedure classCode="PROC" moodCode="EVN">', '<procedure classCode="PROC" moodCode="INT">'),
    ('<procedure classCode="PROC" moodCode="EVN">', '<procedure classCode="PROC" moodCode="EVN" negationInd="true">'),
    ('<observation classCode="OBS" moodCode="EVN">', '<observation classCode="OBS" moodCode="EVN"><templateId root="1"/>'),
    ('<observation classCode="OBS" moodCode="EVN">', '<observation xmlns="urn:other" classCode="OBS" moodCode="EVN">'),
    ('<organizer classCode="BATTERY" moodCode="EVN">', '<organizer classCode="BATTERY" moodCode="EVN" negationInd="true">'),
    ('<organizer classCode="BATTERY" moodCode="EVN">', '<organizer classCode="BATTERY" moodCode="EVN" xmlns="urn:other">'),
    ('<code code="[^"]*"', '<code code="30525-0"'),
    ('<code code="[^"]*"', '<code code="ASSERTION"'),
    ('<code code="[^"]*"', '<code code=" 718-7 "'),
    ('<code code="[^"]*" codeSystem="[^"]*"/>', '<code nullFlavor="UNK"><translation code="C55" codeSystem="1.2"/></code>'),
    ('<code code="[^"]*" codeSystem="[^"]*"/>', '<code code="C55" codeSystem="2.16.840.1.113883.3.4424.11.2.6"/>'),
    ("<value ", "<!-- <observation/> --><value "),
    ("<value ", "<?stop here?><value "),
    ("</observation>", "<!-- </observation> --></observation>"),
    ("</observation>", '<value xsi:type="ST">7,8 g/dl</value></observation>'),
    ("</observation>", "\n</observation>"),
    ('xsi:type="PQ"', 'xsi:type="REAL"'),
    ('xsi:type="PQ"', 'xsi:type="ST"'),
    ('xsi:type="PQ"', 'xmlns:xsi="urn:other" xsi:type="ST"'),
    ("<text>", "<text><![CDATA[<observation/>]]>Uwaga! Co to? "),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: " becomes ".join(change)[:60])
def test_a_change_anywhere_is_read_alike(change: tuple[str, str]) -> None:
    dice = random.Random(change[0])
    for number in range(3):
        text = rebuilt(number, 8000).decode()
        places = list(re.finditer(change[0], text))
        for chosen in (places, [dice.choice(places)], [dice.choice(places)]):
            changed = text
            for found in reversed(chosen):
                changed = changed[: found.start()] + found.expand(change[1]) + changed[found.end() :]
            assert same(changed.encode())
            assert chosen != places or changed != text


def test_changes_together_are_read_alike() -> None:
    dice = random.Random(7)
    read = 0
    for number in range(300):
        changed = rebuilt(number % 5, 6000).decode()
        for pattern, replacement in dice.sample(CHANGES, dice.randrange(1, 5)):
            if places := list(re.finditer(pattern, changed)):
                found = dice.choice(places)
                changed = changed[: found.start()] + found.expand(replacement) + changed[found.end() :]
        try:
            assert same(changed.encode()), changed
            read += 1
        except BadData as error:
            assert "well-formed" in error.problem
    assert read > 200


def test_other_ways_to_write_a_document_are_left_to_the_tree() -> None:
    text = document(1, 3000).decode()
    prefixed = re.sub(r"<(/?)(?=[A-Za-z]+[\s/>])", r"<\1cda:", text).replace(' xmlns="urn', ' xmlns:cda="urn')
    for body in (
        prefixed.encode(),
        text.replace("UTF-8", "ISO-8859-2").encode("iso-8859-2"),
        text.replace("><", "><!-- -->\n<", 5).encode(),
        text.replace(' xmlns:xsi="', ' xmlns:ext="urn:ext" xmlns:xsi="').encode(),
        etree.tostring(etree.fromstring(text.encode()), encoding="UTF-8", pretty_print=True),
    ):
        sent = read_as_sent(body)
        assert (sent is None or not any(sent.results)) and same(body)

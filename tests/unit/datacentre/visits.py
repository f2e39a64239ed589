"""Documents as they leave a hospital: small, without personal data, each different."""

from __future__ import annotations

import random


def document(number: int, size: int = 0, entries: str = "") -> bytes:
    """Visit `number`, always the same, filled with results up to about `size` bytes."""
    dice = random.Random(number)
    month, day = dice.randrange(1, 3), dice.randrange(1, 28)
    sex, code = dice.choice("MF"), dice.choice(CODES)
    parts = [_HEAD.format(number=number, patient=number // 3, month=month, day=day, end=day + 1, sex=sex, code=code), entries]
    length = len(parts[0])
    while length < size:
        parts.append(_RESULT.format(value=dice.randrange(80, 200) / 10, month=month, day=day))
        length += len(parts[-1])
    parts.append("</section></component></structuredBody></component></ClinicalDocument>")
    return "".join(parts).encode()


CODES = ("I50.9", "J18.1", "E11.9", "N18.3")

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/><code code="18842-5" codeSystem="2.16.840.1.113883.6.1"/>\
<recordTarget><patientRole><id extension="k1.P{patient}"/><addr><city>Łódź</city></addr>\
<patient><administrativeGenderCode code="{sex}"/><birthTime value="1961"/></patient></patientRole></recordTarget>\
<inFulfillmentOf><order><id extension="ACC{number}"/></order></inFulfillmentOf>\
<componentOf><encompassingEncounter><id extension="k1.V{number}"/><effectiveTime><low value="2026{month:02}{day:02}"/>\
<high value="2026{month:02}{end:02}"/></effectiveTime></encompassingEncounter></componentOf>\
<component><structuredBody><component><section>\
<entry><observation classCode="OBS" moodCode="EVN"><code code="29308-4" codeSystem="2.16.840.1.113883.6.1"/>\
<value xsi:type="CD" code="{code}" codeSystem="2.16.840.1.113883.6.3"/></observation></entry>\
<entry><procedure classCode="PROC" moodCode="EVN"><code code="87.440" codeSystem="2.16.840.1.113883.3.4424.11.2.6"/>\
<effectiveTime value="2026{month:02}{day:02}"/></procedure></entry>"""
_RESULT = """<entry><observation classCode="OBS" moodCode="EVN"><code code="718-7" codeSystem="2.16.840.1.113883.6.1"/>\
<effectiveTime value="2026{month:02}{day:02}"/><value xsi:type="PQ" value="{value}" unit="g/dl"/><interpretationCode code="N"/>\
<referenceRange><observationRange><value xsi:type="IVL_PQ"><low value="12.0" unit="g/dl"/><high value="16.0" unit="g/dl"/></value>\
</observationRange></referenceRange></observation></entry>"""

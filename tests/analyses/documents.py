"""A CDA document that says what rows of the row tables say: `toolkit.datacentre.cda` reads the same rows from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from tests.visits.generate import LOINC

_NULL_FLAVORS = ("UNK", "NI", "ASKU", "NA", "OTH", "MSK", "NASK", "NAV")

Row = dict[str, Any]


def document(visit: Row, diagnoses: Sequence[Row], procedures: Sequence[Row], results: Sequence[Row]) -> bytes:
    """As hl7-send would send it, without prose. Its own time is when it was received."""
    entries = [f'<entry><observation classCode="OBS" moodCode="EVN"><code code="29308-4" codeSystem="{LOINC}"/>'
               f'<value xsi:type="CD"{_attributes(code=one["code"], codeSystem=one["system"])}/></observation></entry>'
               for one in diagnoses]  # fmt: skip
    entries += [f'<entry><procedure classCode="PROC" moodCode="EVN"><code{_attributes(code=one["code"], codeSystem=one["system"])}/>'
                f"{_time(one['time'])}</procedure></entry>" for one in procedures]  # fmt: skip
    if visit["age"] is not None:
        entries.append(f'<entry><observation classCode="OBS" moodCode="EVN"><code code="30525-0" codeSystem="{LOINC}"/>'
                       f'<value xsi:type="PQ" value="{visit["age"]!r}" unit="a"/></observation></entry>')  # fmt: skip
    entries += map(_result, results)
    sex = visit["sex"]
    gender = f"<administrativeGenderCode {'nullFlavor' if sex in _NULL_FLAVORS else 'code'}={quoteattr(sex)}/>" if sex else ""
    city = f"<addr><city>{visit['city']}</city></addr>" if visit["city"] else ""
    orders = "".join(f"<id extension={quoteattr(one)}/>" for one in visit["accessions"])
    orders = f"<inFulfillmentOf><order>{orders}</order></inFulfillmentOf>" if orders else ""
    low, high = (f"<{name}{_attributes(value=visit[key])}/>" if visit[key] else "" for name, key in (("low", "start"), ("high", "end")))
    kind = f"<code{_attributes(code=visit['kind'], codeSystem=LOINC)}/>" if visit["kind"] else ""
    text, received = "\n".join(entries), re.sub(r"[^\d.]", "", visit["received"])
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>{kind}{_time(received)}
<recordTarget><patientRole><id{_attributes(extension=visit["patient"])}/>{city}<patient>{gender}</patient></patientRole></recordTarget>
{orders}
<componentOf><encompassingEncounter><id{_attributes(extension=visit["mdc_visit"])}/>\
<effectiveTime>{low}{high}</effectiveTime></encompassingEncounter></componentOf>
<component><structuredBody><component><section>
{text}
</section></component></structuredBody></component></ClinicalDocument>
""".encode()


def _result(one: Row) -> str:
    number = one["value"] is not None
    value = f'<value xsi:type="PQ"{_attributes(value=repr(one["value"]), unit=one["unit"])}/>'
    if not number:
        value = f'<value xsi:type="ST">{_escaped(one["text"])}</value>'
    judged = f"<interpretationCode{_attributes(code=one['interpretation'])}/>" if one["interpretation"] else ""
    limits = "".join(
        f"<{edge}{_attributes(value=repr(one[edge]), **({} if one[edge + '_inclusive'] else {'inclusive': 'false'}))}/>"
        for edge in ("low", "high")
        if one[edge] is not None
    )
    shown = f"<text>{_escaped(one['printed'])}</text>" if one["printed"] else ""
    limits = f'<value xsi:type="IVL_PQ">{limits}</value>' if limits else ""
    reference = f"<referenceRange><observationRange>{shown}{limits}</observationRange></referenceRange>" if shown or limits else ""
    return (
        f'<entry><observation classCode="OBS" moodCode="EVN"><code{_attributes(code=one["code"], codeSystem=one["system"])}/>'
        f"{_time(one['time'])}{value}{judged}{reference}</observation></entry>"
    )


def _time(text: str) -> str:
    return f"<effectiveTime{_attributes(value=text)}/>" if text else ""


def _attributes(**values: str) -> str:
    return "".join(f" {name}={quoteattr(value)}" for name, value in values.items())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")

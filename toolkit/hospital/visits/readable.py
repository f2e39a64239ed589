"""The narrative text of a rebuilt section, made from its codes alone, so that a viewer of CDA documents shows something."""

from __future__ import annotations

from lxml import etree

from toolkit.hospital.visits.document import V3

_ENTRIES = {V3 + name for name in ("act", "encounter", "observation", "organizer", "procedure", "substanceAdministration", "supply")}


def write_text(section: etree._Element) -> None:
    """Give `section` the element text: a list with one item for each coded statement, as ``718-7: 7.8 g/dl [12.0; 16.0]``."""
    items = [line for entry in section.findall(f"{V3}entry") for element in entry.iter(*_ENTRIES) if (line := _line(element))]
    if not items:
        return
    text = etree.Element(f"{V3}text")
    listed = etree.SubElement(text, f"{V3}list")
    for line in items:
        etree.SubElement(listed, f"{V3}item").text = line
    place = next(at for at, child in enumerate(section) if child.tag in (f"{V3}entry", f"{V3}component"))
    section.insert(place, text)


def _line(element: etree._Element) -> str:
    code = element.find(f"{V3}code")
    codes = _codes(code)
    if not codes and (material := element.find(f"{V3}consumable//{V3}manufacturedMaterial/{V3}code")) is not None:
        codes = _codes(material)
    values = [shown for value in element.findall(f"{V3}value") if (shown := _value(value))]
    if not codes and not values:
        return ""
    ranges = [_value(value) for value in element.findall(f"{V3}referenceRange/{V3}observationRange/{V3}value")]
    return (codes or "-") + (f": {', '.join(values)}" if values else "") + "".join(f" {shown}" for shown in ranges if shown)


def _codes(code: etree._Element | None) -> str:
    """A code and its translations."""
    if code is None:
        return ""
    return " = ".join(found for element in (code, *code.findall(f"{V3}translation")) if (found := element.get("code")))


def _value(value: etree._Element) -> str:
    if value.get("value") is not None:
        return _number(value)
    if value.get("code") is not None or value.find(f"{V3}translation") is not None:
        return _codes(value)
    low, high = value.find(f"{V3}low"), value.find(f"{V3}high")
    if low is None and high is None:
        return (value.text or "").strip()
    return f"[{_number(low)}; {_number(high)}]"


def _number(end: etree._Element | None) -> str:
    if end is None or end.get("value") is None:
        return ""
    unit = end.get("unit")
    return str(end.get("value")) + (f" {unit}" if unit and unit != "1" else "")

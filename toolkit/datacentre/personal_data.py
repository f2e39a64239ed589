"""A second look at what arrives: does a visit's document still hold personal data? Independent of the code that removed it.

The hospital's software rebuilds documents from an allow-list. Should that be wrong, old or missing, this check stands between
the document and the disk. It knows the places where CDA R2 holds persons, media and signatures, and what PESEL numbers,
contacts and Polish names look like. In doubt a document is refused. Answers name the kind and the line, never the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

PESEL_ROOT = "2.16.840.1.113883.3.4424.1.1.616"
_V3 = "{urn:hl7-org:v3}"
_COMMENT = "a comment or processing instruction, in which anything may stand"
_SEALED = re.compile(r"k[1-9][0-9]*\.[A-Z2-7]{26,}")  # AES-SIV of at least nothing: 16 bytes (RFC 5297)
_TOKEN = re.compile(r"[A-Z2-7]{16}")  # 80 bits
_PERSONS = [
    "given", "family", "prefix", "suffix", "telecom", "streetAddressLine",
    "streetName", "streetNameBase", "houseNumber", "houseNumberNumeric", "additionalLocator", "unitID",
    "postalCode", "postBox", "deliveryAddressLine", "buildingNumberSuffix", "birthplace",
]
_MEDIA = ["nonXMLBody", "observationMedia", "renderMultiMedia", "regionOfInterest"]
_SUSPECTS = frozenset([*_PERSONS, *_MEDIA, "name", "birthTime"])
# Polish first names that most people bear (register of PESEL, about 4 in 5 living persons), without inflected forms.
_FIRST_NAMES = """Adam Adrian Agata Agnieszka Aleksander Aleksandra Alicja Amelia Andrzej Aneta Anita Anna Antoni Antonina Arkadiusz
    Artur Barbara Bartłomiej Bartosz Beata Bogdan Bogumiła Bogusław Bogusława Bożena Cecylia Czesław Czesława Damian Daniel Danuta
    Dariusz Dawid Dominik Dominika Dorota Edward Edyta Elżbieta Emilia Eugeniusz Ewa Ewelina Filip Franciszek Gabriela Genowefa
    Grażyna Grzegorz Halina Hanna Helena Henryk Ignacy Ilona Irena Iwona Izabela Jacek Jadwiga Jakub Jan Janina Janusz Jarosław
    Jerzy Joanna Jolanta Józef Józefa Julia Julian Justyna Kacper Kamil Kamila Karol Karolina Katarzyna Kazimierz Kazimiera
    Kinga Klaudia Krystian Krystyna Krzysztof Lech Lena Leszek Lidia Lucyna Ludwik Łukasz Maciej Maja Małgorzata Magdalena Marcel
    Marcin Marek Maria Marian Marianna Mariola Mariusz Marta Martyna Mateusz Michał Mieczysław Mikołaj Milena Mirosław Mirosława
    Monika Natalia Nikola Oliwia Oskar Patrycja Patryk Paulina Paweł Piotr Przemysław Radosław Rafał Regina Renata Robert Roman
    Róża Ryszard Sabina Sebastian Sławomir Stanisław Stanisława Stefan Stefania Sylwia Szymon Tadeusz Teresa Tomasz Urszula
    Waldemar Wanda Wacław Weronika Wiesław Wiesława Wiktor Wiktoria Witold Władysław Władysława Wojciech Zbigniew Zdzisław
    Zofia Zuzanna Zygmunt"""
_NAMES = frozenset([*_FIRST_NAMES.split(), *_FIRST_NAMES.upper().split()])
_CAPITAL = "[A-ZĄĆĘŁŃÓŚŹŻ]"
_ELEVEN = re.compile(r"(?<![0-9A-Za-z.])\d(?:[ -]?\d){10}(?![0-9A-Za-z]|\.\d)")
_CAPITALISED = re.compile(rf"{_CAPITAL}[^\W\d_]+")
_BEHIND = re.compile(rf"\s+{_CAPITAL}[^\W\d_]")
_BEFORE = re.compile(rf"{_CAPITAL}[^\W\d_]+(?:-{_CAPITAL}[^\W\d_]+)?,?\s+\Z")
_LOOKS = (
    ("a person's title", re.compile(rf"(?:lek\.(?: med\.)?|dr(?: n\. med\.| hab\.)?|prof\.|mgr|Pani?|Pana)\s+{_CAPITAL}[^\W\d_]")),
    ("the word PESEL", re.compile(r"PESEL|pesel|Pesel")),
    ("a certificate's PNOPL", re.compile(r"PNOPL")),
    ("a mail address", re.compile(r"@[\w-]+\.[\w.-]*[A-Za-z]")),
    ("a telephone number", re.compile(r"[Tt]el(?:efon|\.)?:?\s*[+(\d]|\+48[ -]?\d{3}")),
    ("a street", re.compile(rf"(?<![^\W_])(?:ul|al|os|pl)\.\s*{_CAPITAL}")),
    ("embedded data", re.compile(r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{120}|[A-Za-z0-9+/]{60,}+\s+[A-Za-z0-9+/]{20})|data:[a-z]+/")),
)  # fmt: skip
_SNOMED = "2.16.840.1.113883.6.96"


def find_personal_data(tree: Any) -> list[str]:
    """What personal data an lxml tree of a CDA document still holds, as ``line 12: a name``; empty when none is found."""
    root = tree.getroot() if hasattr(tree, "getroot") else tree
    found = [f"line {line}: {kind}" for line, kind in (*_structure(root), *_identifiers(root), *_texts(root))]
    return list(dict.fromkeys(found))


def is_pesel(digits: str) -> bool:
    """Whether eleven digits are a PESEL: a date that exists with its century (months 1-12 plus 0, 20, 40, 60 or 80)
    and the checksum with the weights 1 3 7 9."""
    if len(digits) != 11 or not digits.isascii() or not digits.isdigit():
        return False
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    weighted = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True))
    return 1 <= month <= 12 and 1 <= day <= 31 and weighted % 10 == 0


def _structure(root: Any) -> Iterator[tuple[int, str]]:
    """Elements that only persons, media and signatures have."""
    for node in (*root.itersiblings(preceding=True), *root.itersiblings()):
        yield node.sourceline, _COMMENT
    suspects = [tag for tag in {element.tag for element in root.iter()} if not (isinstance(tag, str) and _innocent(tag))]
    for element in root.iter(*suspects) if suspects else ():
        if not isinstance(element.tag, str):
            yield element.sourceline, _COMMENT
        elif not element.tag.startswith(_V3):
            yield element.sourceline, "an element of another namespace, such as a signature"
        elif (name := element.tag[len(_V3) :]) in _MEDIA:
            yield element.sourceline, f"media ({name})"
        elif name == "birthTime":
            if len(element.get("value", "")) > 4:
                yield element.sourceline, "a date of birth"
        elif name == "name":
            if _filled(element) and element.getparent().tag != f"{_V3}manufacturedMaterial":
                yield element.sourceline, "a name"
        elif _filled(element):
            yield element.sourceline, f"a person's {name}"
    for element in _xpath("//*[@representation='B64' or (@mediaType and not(starts-with(@mediaType, 'text/')))]")(root):
        yield element.sourceline, "media"


def _innocent(tag: str) -> bool:
    return tag.startswith(_V3) and tag[len(_V3) :] not in _SUSPECTS


def _filled(element: Any) -> bool:
    return bool(element.get("value") or "".join(element.itertext()).strip())


def _identifiers(root: Any) -> Iterator[tuple[int, str]]:
    """Ids that are neither pseudonyms nor tokens, wherever they stand."""
    for element in _xpath("//v:id[@extension] | //v:setId[@extension]")(root):
        if not _pseudonym(element.get("extension")):
            yield element.sourceline, "a PESEL" if element.get("root") == PESEL_ROOT else "an id that is no pseudonym"


def _pseudonym(text: str) -> bool:
    return bool(_SEALED.fullmatch(text) or _TOKEN.fullmatch(text))


def _texts(root: Any) -> Iterator[tuple[int, str]]:
    """What reads like personal data: in attributes, in text, and in text that is split over elements within a line. Most values
    repeat, so each is looked at once; only a hit is looked for again, to tell its line."""
    values = {text for text in _xpath("//@* | //text()")(root) if len(text) > 2 and not _pseudonym(text)}
    kinds = dict.fromkeys(kind for kind, _ in _looked("\n\n".join(values)))
    for element in root.iter() if kinds else ():
        texts = [*(text for text in element.values() if not _pseudonym(text)), element.text or "", element.tail or ""]
        if element.get("codeSystem") == _SNOMED and re.fullmatch(r"\d{8}10\d", element.get("code", "")):
            texts.remove(element.get("code"))  # an id of SNOMED CT in the long format, partition 10
        for kind, _ in _looked("\n\n".join(texts)):
            yield element.sourceline, kind
    for block in _xpath("//*[v:content or v:sub or v:sup or v:br or v:linkHtml or v:footnote]")(root):
        for kind, _ in _looked("".join(block.itertext())):
            yield block.sourceline, kind


def _looked(text: str) -> Iterator[tuple[str, int]]:
    for match in _ELEVEN.finditer(text):
        if is_pesel(re.sub(r"[ -]", "", match[0])):
            yield "a PESEL", match.start()
    for match in _CAPITALISED.finditer(text):
        if match[0] in _NAMES and (_BEHIND.match(text, match.end()) or _BEFORE.search(text[max(0, match.start() - 60) : match.start()])):
            yield "a name", match.start()
    for kind, pattern in _LOOKS:
        for match in pattern.finditer(text):
            yield kind, match.start()


@cache
def _xpath(expression: str) -> Any:
    from lxml import etree

    return etree.XPath(expression, namespaces={"v": _V3[1:-1]}, smart_strings=False)

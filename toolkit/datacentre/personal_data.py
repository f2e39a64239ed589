"""A second look at what arrives: does a visit's document still hold personal data? Independent of the code that removed it.

The hospital's software rebuilds documents from an allow-list. Should that be wrong, old or missing, this check stands between
the document and the disk. It knows the places where CDA R2 holds persons, media and signatures, and what PESEL numbers,
contacts and Polish names look like. In doubt a document is refused. Answers name the kind and the line, never the value.

Nearly every document is as it should be, so each is first looked at as a whole: its distinct values in one string, by few
expressions. Only where one of them finds something is it looked for again, element by element, to tell its line.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate, filterfalse, islice
from typing import Any

PESEL_ROOT = "2.16.840.1.113883.3.4424.1.1.616"
_V3 = "{urn:hl7-org:v3}"
_SPACES = {"v": _V3[1:-1]}
_COMMENT = "a comment or processing instruction, in which anything may stand"
_SEALED = re.compile(r"k[1-9][0-9]*\.[A-Z2-7]{26,}")  # AES-SIV of at least nothing: 16 bytes (RFC 5297)
_TOKEN = re.compile(r"[A-Z2-7]{16}")  # 80 bits
_PERSONS = [
    "given", "family", "prefix", "suffix", "telecom", "streetAddressLine",
    "streetName", "streetNameBase", "houseNumber", "houseNumberNumeric", "additionalLocator", "unitID",
    "postalCode", "postBox", "deliveryAddressLine", "buildingNumberSuffix", "birthplace",
]  # fmt: skip
_MEDIA = ["nonXMLBody", "observationMedia", "renderMultiMedia", "regionOfInterest"]
_SUSPECTS = [_V3 + name for name in (*_PERSONS, *_MEDIA, "name", "birthTime")]
_INLINE = [_V3 + name for name in ("content", "sub", "sup", "br", "linkHtml", "footnote", "footnoteRef")]
# Common Polish first names. Others are found by the words around them or not at all: this is the second look, not the rule.
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
_WORDS_TOO = {"Róża"}  # erysipelas
# Towns that read like a person.
_TOWNS = re.compile(r"(?i)(?:Kazimierz|Stanisław) (?:Dolny|Górny|Biskupi|Wielki|Mały)|Róża Wielka|Święta (?:Anna|Katarzyna)")
_CAPITAL = "[A-ZĄĆĘŁŃÓŚŹŻ]"
# Eleven digits, wherever they begin. Ids of SNOMED CT need no exception: one of eleven digits is a digit, a namespace (1000000 and up),
# a partition and a check digit, so as a PESEL it would be of month 00.
_ELEVEN = re.compile(r"(?<![0-9A-Za-z.])(?=([0-9](?:[ -]?[0-9]){10})(?![0-9A-Za-z]|\.[0-9]))")
# The same printed in parts: the date, the serial number and the check digit apart, or each digit by itself.
_APART = "[ /-]{1,9}"
_PARTS = re.compile(
    rf"(?<![0-9A-Za-z.,])(?=((?:[0-9]{{6}}|[0-9]{{2}}(?:{_APART}[0-9]{{2}}){{2}}){_APART}(?:[0-9]{{5}}|[0-9]{{4}}{_APART}[0-9])"
    rf"|[0-9](?:{_APART}[0-9]){{10}})(?![0-9A-Za-z]|[.,][0-9]))"
)
_NO_SPACES = dict.fromkeys(map(ord, " /-"))
_DIGITS = bytes(ord("0") if chr(byte) in "0123456789" else ord("x") for byte in range(256))
# The same in the cells of a row, of which those that hold only digits are written between strokes.
_CELLS = re.compile(r"(?=\|((?:[0-9]{6}|[0-9]{2}\|[0-9]{2}\|[0-9]{2}|[0-9]{4}\|[0-9]{2})\|(?:[0-9]{5}|[0-9]{4}\|[0-9]))\|)")
_BOXES = re.compile(r"(?<!\|[0-9])\|([0-9](?:\|[0-9]){10})\|(?![0-9]\|)")
_CAPITALISED = re.compile(rf"{_CAPITAL}(?:[^\W\d_A-ZĄĆĘŁŃÓŚŹŻ]+|{_CAPITAL}+)")
_BEHIND = re.compile(rf"\s+{_CAPITAL}[^\W\d_]")
_BEFORE = re.compile(rf"{_CAPITAL}[^\W\d_]+(?:-{_CAPITAL}[^\W\d_]+)?,?(\s+)\Z")
_BEGINS, _ENDS = re.compile(r"(?:\A|\n) *\Z"), re.compile(r" *(?:\n|\Z)")
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_TITLES = r"[Ll]ek\.(?: med\.)?|LEK\.(?: MED\.)?|[Dd]r(?: n\. med\.| hab\.)?|[Pp]rof\.|PROF\.|[Mm]gr|MGR|Pan[ia]?|PAN[IA]?"
_LABELS = r"imi(?:ę|ona)|nazwisk[oa]"
# A kind, words of which a text holds one wherever the expression finds something, and the expression.
_LOOKS = (
    ("a person's title", ("ek.", "EK.", "dr", "Dr", "rof.", "ROF.", "gr", "GR", "Pan", "PAN"), rf"(?:{_TITLES})\s+{_CAPITAL}[^\W\d_]"),
    ("a person's title", ("acjent", "ACJENT"), rf"(?i:pacjent(?:k[aiąę]|ce|a|owi|em)?)\s+{_CAPITAL}[^\W\d_]"),
    ("the word PESEL", ("PESEL", "esel"), r"PESEL|[Pp]esel"),
    ("a PESEL", (PESEL_ROOT,), rf"{re.escape(PESEL_ROOT)}\.[0-9]"),
    ("a certificate's PNOPL", ("PNOPL",), r"PNOPL"),
    ("a form's label", ("mię", "MIĘ", "mion", "MION", "azwisk", "AZWISK"), rf"(?i)(?<![^\W_])(?:{_LABELS})(?![^\W_])"),
    ("a mail address", ("@",), r"@[\w-]+\.[\w.-]*[A-Za-z]"),
    ("a telephone number", ("tel", "Tel"), r"[Tt]el(?:efon|\.)?:? *[+(\d]"),
    ("a telephone number", ("tel", "Tel", "TEL"), r"(?<![^\W_])(?i:tel(?:efon|\.)?):?\s*[+(\d]"),
    ("a telephone number", ("+48",), r"\+48[ -]?\d{3}"),
    ("a street", ("l.", "L.", "s.", "S."), rf"(?<![^\W_])(?i:ul|al|os|pl)\. *{_CAPITAL}"),
    ("an address", ("am.", "AM.", "amiesz", "AMIESZ"), rf"(?<![^\W_])(?i:zam\.|zamieszka(?:ł[yae]?|li)(?: w)?):? +{_CAPITAL}[^\W\d_]"),
    ("a date of birth", ("ur", "UR", "Ur"), r"(?i)(?<![^\W_])(?:ur\.|urodz(?:enia|on[yae]j?)):? *(?:dnia|w dniu)? *[0-9]"),
    ("embedded data", ("data:",), r"data:[a-z]+/"),
)
_MOST = 500  # findings of a sort
_LAYERS = 20  # of elements in which a text may run on; documents have three or four
_TEXTS = "//text()[not(parent::v:city)]"
_LONG = 60  # letters of base64 in a line: MIME writes 76, PEM 64
_EMBEDDED = re.compile(r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{120}|[A-Za-z0-9+/]{60,}+\s+[A-Za-z0-9+/]{20})")


def find_personal_data(tree: Any) -> list[str]:
    """What personal data an lxml tree of a CDA document still holds, as ``line 12: a name``; empty when none is found.

    Only the first findings of a document that is full of them are told, so that it takes no longer than others.
    """
    from lxml import etree

    root = tree.getroot() if hasattr(tree, "getroot") else tree
    parts = (_structure(root), _identifiers(root), _attributes(root), _texts(root), _running_texts(root))
    try:
        return list(dict.fromkeys(f"line {line}: {kind}" for part in parts for line, kind in islice(part, _MOST)))
    except etree.XPathError:  # libxml2 takes ten million nodes at once
        return [f"line {root.sourceline}: more than can be looked through"]


def is_pesel(digits: str) -> bool:
    """Whether eleven digits are a PESEL: a month with its century (1-12 plus 0, 20, 40, 60 or 80), a day from 1 to 31, and the
    checksum with the weights 1 3 7 9."""
    if len(digits) != 11 or not digits.isascii() or not digits.isdigit():
        return False
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    weighted = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True))
    return 1 <= month <= 12 and 1 <= day <= 31 and weighted % 10 == 0


def _structure(root: Any) -> Iterator[tuple[int, str]]:
    """Elements that only persons, media and signatures have."""
    from lxml import etree

    for node in (*root.itersiblings(preceding=True), *root.itersiblings(), *root.iter(etree.Comment, etree.PI, etree.Entity)):
        yield node.sourceline, _COMMENT
    if not _xpath("count(//*) = count(//v:*)")(root):
        for element in _xpath("//*[namespace-uri() != 'urn:hl7-org:v3']")(root):
            yield element.sourceline, "an element of another namespace, such as a signature"
    for element in root.iter(*_SUSPECTS):
        if (name := element.tag[len(_V3) :]) in _MEDIA:
            yield element.sourceline, f"media ({name})"
        elif name == "birthTime":
            if any(len(part.get("value", "")) > 4 for part in element.iter("*")) or "".join(element.itertext()).strip():
                yield element.sourceline, "a date of birth"
        elif name == "name":
            if _filled(element) and ((parent := element.getparent()) is None or parent.tag != f"{_V3}manufacturedMaterial"):
                yield element.sourceline, "a name"
        elif _filled(element):
            yield element.sourceline, f"a person's {name}"
    if _xpath("boolean(//@mediaType)")(root) or "B64" in _xpath("//@representation")(root):
        for element in _xpath("//*[@representation='B64' or (@mediaType and not(starts-with(@mediaType, 'text/')))]")(root):
            yield element.sourceline, "media"


def _filled(element: Any) -> bool:
    return bool(element.get("value") or "".join(element.itertext()).strip())


def _identifiers(root: Any) -> Iterator[tuple[int, str]]:
    """Ids that are neither pseudonyms nor tokens, wherever they stand."""
    for element in root.iter(f"{_V3}id", f"{_V3}setId"):
        extension = element.get("extension")
        if extension is not None and not _pseudonym(extension):
            yield element.sourceline, "a PESEL" if element.get("root") == PESEL_ROOT else "an id that is no pseudonym"


def _pseudonym(text: str) -> bool:
    return len(text) >= 16 and bool(_SEALED.fullmatch(text) or _TOKEN.fullmatch(text))


def _attributes(root: Any) -> Iterator[tuple[int, str]]:
    """What reads like personal data in attributes and in the names of namespaces. Most values repeat, so each is looked at once."""
    spaces = [text for pair in root.nsmap.items() for text in pair if text]
    for kind, _ in _looked(_lines(spaces)):
        yield root.sourceline, kind
    distinct = dict.fromkeys(_xpath("//@*")(root))
    for element in root.iter("*") if any(_looked(_lines(distinct))) else ():
        for kind, _ in _looked(_lines(element.values())):
            yield element.sourceline, kind


def _texts(root: Any) -> Iterator[tuple[int, str]]:
    """What reads like personal data in text, in neighbouring texts, and in the cells of a row."""
    lines = _lines(_xpath(_TEXTS)(root))
    found = list(islice(_looked(lines), _MOST))
    if split := list(islice(_names(lines.replace("\n", "")), _MOST)):
        ends = list(accumulate(map(len, lines.split("\n"))))
        found += [("a name", bisect_right(ends, at)) for at in split]
    if found:
        nodes = list(filterfalse(_pseudonym, root.xpath(_TEXTS, namespaces=_SPACES)))
        for kind, number in found:
            yield nodes[number].getparent().sourceline, kind
    for element in root.iter(f"{_V3}city"):
        town = _lines(["".join(element.itertext())]).strip()
        if not _TOWNS.fullmatch(town):
            for kind, _ in _looked(f"{town}."):  # Helena is a town as well: a first name alone is none here
                yield element.sourceline, kind
    for row in root.iter(f"{_V3}tr"):
        if _in_cells([_lines(["".join(cell.itertext())]).strip() for cell in row.iterchildren("*")]):
            yield row.sourceline, "a PESEL"


def _running_texts(root: Any) -> Iterator[tuple[int, str]]:
    """What reads like personal data in text that runs on through the elements in it."""
    blocks = {parent: None for element in root.iter(*_INLINE) if (parent := element.getparent()) is not None}
    left: int | None = None
    for block in blocks | dict.fromkeys(_xpath("//text()[../*][normalize-space()]/..")(root)):
        text = "".join(block.itertext())
        left = (_xpath("string-length(/)")(root) * _LAYERS if left is None else left) - len(text)
        if left < 0:
            yield block.sourceline, "text in too many layers"
            return
        for kind, _ in _looked(_lines([text])):
            yield block.sourceline, kind


def _in_cells(cells: Iterable[str]) -> bool:
    """Whether digits in neighbouring cells are a PESEL. Only the usual parts count: results are numbers side by side as well."""
    digits = [re.sub("[ -]+", "|", cell) if re.fullmatch("[0-9](?:[ -]*[0-9])*", cell) else "-" for cell in cells if cell]
    row = f"|{'|'.join(digits)}|"
    return any(is_pesel(match[1].replace("|", "")) for cut in (_CELLS, _BOXES) for match in cut.finditer(row))


def _lines(texts: Iterable[str]) -> str:
    """The texts that are no pseudonyms, a line each, as a reader sees them: in composed letters, without invisible ones."""
    joined = "\0".join(filterfalse(_pseudonym, texts))
    if not joined.isascii():
        joined = _DASHES.sub("-", _INVISIBLE.sub("", unicodedata.normalize("NFKC", joined)))
    return joined.replace("\n", " ").replace("\r", " ").replace("\t", " ").replace("\0", "\n")


def _looked(text: str) -> Iterator[tuple[str, int]]:
    """Kinds of personal data in lines of text, and the number of each line, from 0 up."""
    for digits in (_ELEVEN, _PARTS) if b"0" * 11 in text.encode().translate(_DIGITS, b" /-") else ():
        for number in _numbers(text, (match.start() for match in digits.finditer(text) if is_pesel(match[1].translate(_NO_SPACES)))):
            yield "a PESEL", number
    for number in _numbers(text, _names(text)):
        yield "a name", number
    for kind, words, expression in _LOOKS:
        if any(word in text for word in words):
            for number in _numbers(text, (match.start() for match in re.finditer(expression, text))):
                yield kind, number
    if max(map(len, text.split()), default=0) >= _LONG:
        for number in _numbers(text, (match.start() for match in _EMBEDDED.finditer(text))):
            yield "embedded data", number


def _numbers(text: str, places: Iterable[int]) -> Iterator[int]:
    """The lines in which rising places in a text are, each line once."""
    number, before = -1, 0
    for at in places:
        passed = text.count("\n", before, at)
        if passed or number < 0:
            number = max(number, 0) + passed
            yield number
        before = at


def _names(text: str) -> Iterator[int]:
    """Where there is a first name with another capitalised word beside it, or with nothing else in its line."""
    known, forms = _first_names()
    if forms.isdisjoint(_CAPITALISED.findall(text)):
        return
    line = 0  # where the next one begins: one name in each is enough
    for match in _CAPITALISED.finditer(text):
        if match[0] not in forms or match.start() < line:
            continue
        front = text[max(0, match.start() - 60) : match.start()]
        behind, before = _BEHIND.match(text, match.end()), _BEFORE.search(front) if front[-1:].isspace() else None
        beside = (behind and "\n" not in behind[0]) or (before and "\n" not in before[1])
        alone = _ENDS.match(text, match.end()) and _BEGINS.search(front)
        if beside or (match[0] in known and (behind or before or alone)):
            yield match.start()
            line = text.find("\n", match.end()) % (len(text) + 1)


@cache
def _first_names() -> tuple[frozenset[str], frozenset[str]]:
    """First names in the nominative that mean nothing else, and all in all cases, as far as their endings are regular."""
    names = _FIRST_NAMES.split()
    forms = set(names)
    for name in set(names) - _WORDS_TOO:
        endings: tuple[str, ...]
        if name.endswith("a"):
            stem, endings = name[:-1], ("y", "i", "ę", "ą", "ie")
        elif name.endswith(("y", "i")):
            stem, endings = name.removesuffix("y"), ("ego", "emu", "m" if name.endswith("i") else "ym")
        else:
            stem, endings = re.sub("e(?=[kł]$)", "", name), ("a", "owi", "em", "iem", "ie", "u")
        forms |= {stem + ending for ending in endings}
    known = set(names) - _WORDS_TOO
    return frozenset(known | {name.upper() for name in known}), frozenset(forms | {name.upper() for name in forms})


@cache
def _xpath(expression: str) -> Any:
    from lxml import etree

    return etree.XPath(expression, namespaces=_SPACES, smart_strings=False)

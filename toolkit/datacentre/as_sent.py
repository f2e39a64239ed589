"""Results that stand in a document exactly as hl7-send writes them, read from its text at once: much faster than from the tree.

Only what this text cannot mean otherwise is read so, and tests hold that it is what `toolkit.datacentre.observations` reads: the
document has been parsed, its only namespaces are those of its first tag, and it holds no comments, CDATA sections or processing
instructions, so that every observation in the text is one of the tree, in the same order. All others are left to the tree.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from toolkit.datacentre.observations import NO_EDGE, NO_RESULTS, UNLIMITED, Result, range_of
from toolkit.datacentre.quantities import parse_number

_BEGINNING = re.compile(
    rb"(?:<\?xml version=[\"']1\.0[\"'] encoding=[\"']UTF-8[\"']\?>\s*)?"
    rb'<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
)
_OTHERWISE = ((b"!", b"<!"), (b"?", b"<?"), (b"xmlns", b"xmlns"))  # single letters first: looking for one is twenty times as fast
_WORD = '[^"&<\\s]{1,60}'
_EDGES = "".join(f'(?:<{name} value="({_WORD})" unit="({_WORD})"/>)?' for name in ("low", "high"))
_CODE = f'code="({_WORD})" codeSystem="({_WORD})"'
_MEASURED = (
    f'<value xsi:type="PQ" value="({_WORD})" unit="({_WORD})"/>(?:<interpretationCode code="({_WORD})"(?: codeSystem="{_WORD}")?/>)?'
    f'(?:<referenceRange><observationRange><value xsi:type="IVL_PQ">{_EDGES}</value></observationRange></referenceRange>)?'
)
_PARTS = re.compile(f"{_CODE} {_MEASURED}")
_OBSERVATION = re.compile(
    f'<observation(?=[\\s/>])(?: classCode="OBS" moodCode="EVN"><code ({_CODE.replace("(", "(?:")})/>(?:<statusCode code="completed"/>)?'
    f'<effectiveTime value="({_WORD})"/>({_MEASURED.replace("(?:", "(").replace("(", "(?:")})</observation>)?'
)
# What a document may tell that is none of the patient's (negated, planned, cancelled, of others, allergies), or what may spell it.
_EXCLUDING = ("negationInd", "cancelled", "nullified", "<subject", "2.16.840.1.113883.10.20.22.4.", "&#")
_ORDER = re.compile('<order classCode="ACT" moodCode="RQO"><id [^<>]*/></order>')  # planned, and nothing in it
_new = tuple.__new__


class Sent(NamedTuple):
    """For each observation of a document its result, or None where the tree is to be asked; whether all is the patient's."""

    results: list[Result | None]
    plain: bool


def read_as_sent(body: bytes) -> Sent | None:
    """What the text of a document that has been parsed tells; None when it is not such as hl7-send writes."""
    beginning = _BEGINNING.match(body)
    if beginning is None or any(body.find(sign, beginning.end()) >= 0 <= body.find(word, beginning.end()) for sign, word in _OTHERWISE):
        return None
    pieces = _OBSERVATION.split(body.decode())
    found: list[Result | None] = []
    for code, time, measured in zip(pieces[1::4], pieces[2::4], pieces[3::4], strict=True):
        parts = _read(code, measured) if code else None
        found.append(None if parts is None else _new(Result, (*parts[0], time, *parts[1])))
    rest = "".join(pieces[::4])
    happened = rest.count("moodCode") == rest.count('moodCode="EVN"') + len(_ORDER.findall(rest))
    return Sent(found, happened and not any(word in rest for word in _EXCLUDING))


@lru_cache(maxsize=1 << 14)
def _read(code: str, measured: str) -> tuple[tuple[str, str], tuple[object, ...]] | None:
    """Code and system, and what follows the time in a result, from the texts of both; None where it is no result with a number."""
    parts = _PARTS.fullmatch(f"{code} {measured}")
    if parts is None:
        return None
    name, system, value, unit, judged, low, low_unit, high, high_unit = parts.groups(default="")
    number = parse_number(value)
    if number is None or name in NO_RESULTS:
        return None
    first, last = (low, low_unit, True) if low else NO_EDGE, (high, high_unit, True) if high else NO_EDGE
    limits, printed = range_of(first, last, unit) if low or high else UNLIMITED
    return (name, system), (number, unit, "", *limits, judged, printed)

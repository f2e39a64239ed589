"""Visits in documents as hospitals write them, for analyses of files that no gateway has seen; the gateway stays strict.

Whose visit a document tells, in this order: that of its encompassing encounter, by its first id; where that has no id, that of the only
encounter in its body; else the document's own id stands for the visit. A visit without a start of its own begins when the service
that the document tells of began, else at the document's time; neither ends it, since a service of years is no stay.

**The history of a patient.** A document without an encompassing encounter that lists several encounters in its body is no visit:
each of those is one, with its own time and all that stands in its entry. What stands elsewhere (problems, results, procedures) belongs to
the last of them that had begun on the day that it tells: a result of the next morning is the visit's, a problem found between two
visits is known since the one before. What is older than all of them or tells no day is the patient's past and none of these visits'.

**Ids.** Those that hl7-send made are taken as they are, so that a visit is the same whether it comes as a document or from a store. Others
are root and extension; with the day of birth for patients, since template systems leave the same id in everybody's documents, and with
the patient's for visits, since a visit is one patient's. An id that several encounters of a document share is told apart by their starts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from toolkit.core.errors import BadData
from toolkit.datacentre import cda
from toolkit.datacentre.as_sent import read_as_sent
from toolkit.datacentre.cda import Items, VisitRow, VisitRows, read_items
from toolkit.datacentre.hl7 import child, digits, named, period

_PSEUDONYM = re.compile(r"k[1-9][0-9]*\..+")  # as keys of his-mdc make them
_TIME = re.compile(r"(\d{4,14})(?:\.\d+)?([+-]\d{4})?")
_ENTRY, _ENCOUNTER, _MOMENT = map(named, ("entry", "encounter", "effectiveTime"))


def raw_visits(tree: Any, place: str, body: bytes = b"") -> list[VisitRows]:
    """The visits of a document (an lxml tree or its root), each once; `received` is the document's own time, as `moment` writes it.
    With the `body` that the tree was parsed from this is faster.

    Raises BadData, naming `place`, when it is no ClinicalDocument, or tells no patient or neither a visit's id nor its own.
    """
    root = cda.root_of(tree, place)
    role = child(root, "recordTarget", "patientRole")
    known = _identifier(role) if role is not None else ""
    if not known:
        raise BadData(place, "has no patient id", "export it with recordTarget/patientRole/id")
    patient = known if _PSEUDONYM.fullmatch(known) else f"{known}|{cda.birth_of(role)[:8]}"
    sent = read_as_sent(body)
    without, received = cda.excluded(root, sent), moment(_time(root)[0])
    encounter = cda.encompassing(root)
    if encounter is None or not (_identifier(encounter) or _time(encounter)[0]):
        encounters = _encounters(root)
        if len(encounters) > 1:
            return [found._replace(received=received) for found in _history(root, role, patient, encounters, without, place)]
        encounter = encounters[0] if encounters else None
    own = (_identifier(encounter) if encounter is not None else "") or _document_id(root, place)
    start, end = _time(encounter) if encounter is not None else ("", "")
    if not _PSEUDONYM.fullmatch(own):
        own = f"{own}|{patient}"
        start = start or _time(child(root, "documentationOf", "serviceEvent"))[0] or _time(root)[0]
    items = read_items(root, without, sent)
    visit = cda.visit_row(root, role, own, patient, start, end, items.ages)
    return [VisitRows(visit, tuple(items.diagnoses), tuple(items.procedures), tuple(items.results), received=received)]


def moment(time: str) -> str:
    """The digits of an HL7 time, in UTC where it tells its zone: of two such texts the later time is the greater one. "" for no time."""
    found = _TIME.fullmatch(time.strip())
    if found is None or not found[2] or len(found[1]) < 10 or found[2][1:] == "0000":
        return digits(time.strip())
    try:
        whole = found[1].ljust(14, "0")
        return datetime.strptime(whole + found[2], "%Y%m%d%H%M%S%z").astimezone(UTC).strftime("%Y%m%d%H%M%S")[: len(found[1])]
    except (ValueError, OverflowError):
        return found[1]


def _history(root: Any, role: Any, patient: str, encounters: list[Any], without: cda.Excluded, place: str) -> list[VisitRows]:
    """The visits of a whole history, by the start."""
    ids = [_identifier(one) or _document_id(root, place) for one in encounters]
    often, birth = Counter(ids), cda.birth_of(role)
    found: dict[str, tuple[VisitRow, Items]] = {}
    whole = cda.visit_row(root, role, "", patient, "", "", [])
    for identifier, encounter in zip(ids, encounters, strict=True):
        start, end = _time(encounter)
        key = identifier if often[identifier] == 1 else f"{identifier}|{start}"
        key = key if _PSEUDONYM.fullmatch(key) else f"{key}|{patient}"
        items = read_items(encounter, without)
        if key in found:  # told twice
            row, before = found[key]
            found[key] = row._replace(end=max(row.end, end)), _together(before, items)
        else:
            age = items.ages[0] if items.ages else cda.age_at(birth, start)
            found[key] = whole._replace(mdc_visit=key, start=start, end=end, age=age), items
    visits = sorted(found.values(), key=lambda one: one[0].start)
    _spread(root, frozenset(encounters), visits, without)
    return [VisitRows(row, tuple(items.diagnoses), tuple(items.procedures), tuple(items.results)) for row, items in visits]


def _spread(root: Any, encounters: frozenset[Any], visits: list[tuple[VisitRow, Items]], without: cda.Excluded) -> None:
    """Add what stands outside the encounters to the visits that it belongs to."""
    days = [digits(row.start)[:8] for row, _ in visits]

    def at(time: str) -> Items:
        day = digits(time)[:8]
        place = bisect_right(days, day) - 1 if len(day) == 8 else -1
        return visits[place][1] if place >= 0 else Items([], [], [], [])

    for entry in root.iter(_ENTRY):
        if any(one in encounters for one in entry):
            continue
        time = next((period(one)[0] for one in entry.iter(_MOMENT)), "")
        items = read_items(entry, without)
        at(time).diagnoses.extend(items.diagnoses)
        for procedure in items.procedures:
            at(procedure.time or time).procedures.append(procedure)
        for result in items.results:
            at(result.time or time).results.append(result)


def _together(one: Items, other: Items) -> Items:
    return Items(*(first + second for first, second in zip(one, other, strict=True)))  # type: ignore[operator]


def _encounters(root: Any) -> list[Any]:
    """The encounters of the body's entries that happened and tell when."""
    return [one for one in root.iter(_ENCOUNTER) if one.getparent().tag == _ENTRY and _happened(one) and len(digits(_time(one)[0])) >= 8]


def _happened(act: Any) -> bool:
    status = child(act, "statusCode")
    cancelled = status is not None and status.get("code") in ("cancelled", "nullified")
    return act.get("moodCode", "EVN") == "EVN" and act.get("negationInd") != "true" and not cancelled


def _time(act: Any) -> tuple[str, str]:
    return period(child(act, "effectiveTime")) if act is not None else ("", "")


def _document_id(root: Any, place: str) -> str:
    if own := _identifier(root):
        return own
    raise BadData(place, "has neither a visit's id nor one of its own", "export it with componentOf/encompassingEncounter/id")


def _identifier(parent: Any) -> str:
    """The first id (HL7 data type II) right below `parent`: a pseudonym as it is, another one with its root; "" where there is none."""
    return next(filter(None, map(_text_of, _ids(parent))), "")


def _ids(parent: Any) -> Iterable[Any]:
    return parent.iterchildren(named("id"))


def _text_of(identifier: Any) -> str:
    root, extension = (identifier.get(name, "").strip() for name in ("root", "extension"))
    if identifier.get("nullFlavor") or not (root or extension):
        return ""
    return extension if _PSEUDONYM.fullmatch(extension) else f"{root}|{extension}"

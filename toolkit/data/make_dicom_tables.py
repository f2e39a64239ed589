"""Make the DICOM tables of this directory (see README): run with their sources whenever one has a new edition.

    python -m toolkit.data.make_dicom_tables [-o DIRECTORY] [SOURCES]

SOURCES is a directory with PS3.15 Table E.1-1 as `confidentiality_profile_2024e.json` and `basic_profile_2026c.csv`, and TCIA's list of
private attributes as `tcia_private_tags.csv`. Without it only the tables that come from the packages pydicom (dictionary) and highdicom
(attribute types) are made. Reading them takes some seconds; nothing here is used when objects are de-identified.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolkit.hospital.dicom.rules.confidentiality_table import IDENTIFYING

HERE = Path(__file__).resolve().parent
# Columns of dicom_profile.csv, with their names in the JSON of edition 2024e.
OPTIONS = {
    "retain_uids": "rtnUIDsOpt",
    "retain_dates": "rtnLongFullDatesOpt",
    "modified_dates": "rtnLongModifDatesOpt",
    "retain_device": "rtnDevIdOpt",
    "retain_institution": "rtnInstIdOpt",
    "retain_patient": "rtnPatCharsOpt",
    "safe_private": "rtnSafePrivOpt",
    "clean_descriptors": "cleanDescOpt",
    "clean_structured": "cleanStructContOpt",
    "clean_graphics": "cleanGraphOpt",
}
# How the editions write their masks, and how we do: x is any digit, g an odd group.
MASKS = {
    "5000,0000 mask FF00,0000": "50xxxxxx",
    "6000,3000 mask FF00,FFFF": "60xx3000",
    "6000,4000 mask FF00,FFFF": "60xx4000",
    "ggggeeee-where-gggg-is-odd": "ggggeeee",
}
UNDECIDED = {"DA", "DT", "TM", "PN", "UR"}  # decided by type even where the table does not list them
STRICTNESS = {"1": 1, "1C": 1, "2": 2, "2C": 2, "3": 3, "None": 3}  # types that ask for the same action, under one digit

Node = tuple[tuple[str, int, str], ...]  # (tag, type, number of the node of its items or nothing), in order


def dictionary() -> Iterator[tuple[str, str, str]]:
    """(tag or mask, VR, keyword) of PS3.6, from pydicom; of "US or SS" the first, as the dictionary of PS3.5 8.2 suggests for bulk data."""
    from pydicom.datadict import DicomDictionary, RepeatersDictionary

    named = [(f"{tag:08x}", entry) for tag, entry in DicomDictionary.items()]
    for tag, entry in sorted(named) + sorted((mask.lower(), entry) for mask, entry in RepeatersDictionary.items()):
        vr, keyword = entry[0].split(" ")[0], entry[4]
        if vr != "NONE" and keyword:  # items and delimiters have no VR
            yield tag, vr, keyword


def profile(sources: Path) -> Iterator[list[str]]:
    """Rows of Table E.1-1: tag or mask, name, code in 2024e, code in 2026c, and one column for each option."""
    old = {MASKS.get(row["id"], row["id"]): row for row in json.loads((sources / "confidentiality_profile_2024e.json").read_text())}
    with open(sources / "basic_profile_2026c.csv", newline="") as file:
        new = {MASKS.get(row["tag"], row["tag"].replace(",", "").lower()): row["basic_profile"] for row in csv.DictReader(file)}
    new.setdefault("ggggeeee", old["ggggeeee"]["basicProfile"])  # its row has no tag, so the extract of 2026c leaves it out
    names = {tag: keyword for tag, _, keyword in dictionary()}
    for tag in sorted(old.keys() | new.keys()):
        row = old.get(tag, {})
        options = [row.get(column, "") for column in OPTIONS.values()]
        yield [tag, names.get(tag) or row.get("name", ""), row.get("basicProfile", ""), new.get(tag, ""), *options]


def private(sources: Path) -> Iterator[tuple[str, str]]:
    """(disposition, signature) of the private attributes that TCIA keeps (k) or keeps moved in time (o), by signature.

    A signature is the path of tags, `ggggeeee` or `gggg[creator]ee`, with tabs between. The list has a row for each VR that was seen; where
    rows of one signature disagree, none counts.
    """
    found = defaultdict(set)
    with open(sources / "tcia_private_tags.csv", newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            found[signature(row["element_sig_pattern"])].add(row["private_disposition"].strip().lower())
    for path, dispositions in sorted(found.items()):
        if dispositions in ({"k"}, {"o"}) and "[]" not in path:
            yield dispositions.pop(), path


def signature(pattern: str) -> str:
    """TCIA writes ``(0029,"SIEMENS CSA HEADER",10)[<0>](0008,1150)``, here and there without a quotation mark."""
    parts = []
    for part in re.split(r"\[<\d+>\]", pattern):
        group, *creator, element = part.strip().removeprefix("(").removesuffix(")").split(",")
        name = ",".join(creator).strip('" ')
        parts.append(f"{group}[{name}]{element}".lower() if not creator else f"{group.lower()}[{name}]{element.lower()}")
        if not creator:
            parts[-1] = (group + element).lower()
    return "\t".join(parts)


class Types:
    """Attribute types of composite IODs as a forest without repetitions; a node is what the items of one sequence may hold."""

    def __init__(self, wanted: set[str]) -> None:
        self.wanted = wanted
        self.nodes: dict[Node, int] = {(): 0}

    def node(self, tree: dict[str, Any]) -> int:
        """The number of the node for `tree`: tag -> [type, tree of its items or None]."""
        entries = []
        for tag, (kind, items) in sorted(tree.items()):
            if items is not None:
                entries.append((tag, kind, str(self.node(items))))
            elif tag in self.wanted:
                entries.append((tag, kind, ""))
        return self.nodes.setdefault(tuple(entries), len(self.nodes))


def types(wanted: set[str]) -> Iterator[str]:
    """Lines of dicom_types.txt (toolkit/hospital/dicom/rules/attribute_types.py tells their form) for `wanted` and all sequences, from
    highdicom."""
    iods, modules, sop_classes = highdicom_maps()
    tags = {keyword: tag for tag, _, keyword in dictionary() if "x" not in tag}
    sequences = {tag for tag, vr, _ in dictionary() if vr == "SQ"}
    forest = Types(wanted | sequences)
    anywhere: dict[str, dict[str, Any]] = defaultdict(dict)
    roots = {}
    for iod, used in iods.items():
        tree: dict[str, Any] = {}
        for attribute in (row for module in used for row in modules.get(module["key"], ())):
            place = tree
            path = [tags.get(keyword, "") for keyword in (*attribute["path"], attribute["keyword"])]
            if not all(path):  # a keyword that pydicom does not know: no tag to decide about
                continue
            for tag in path[:-1]:
                entry = place.setdefault(tag, [3, {}])
                entry[1] = place = {} if entry[1] is None else entry[1]
            kind = STRICTNESS[attribute["type"]]
            items: dict[str, Any] | None = {} if path[-1] in sequences else None
            for entry in (
                place.setdefault(path[-1], [kind, items]),
                anywhere[path[-2] if path[1:] else ""].setdefault(path[-1], [kind, None]),
            ):
                entry[0] = min(entry[0], kind)
        roots[iod] = forest.node(tree)
    fallback = {tag: forest.node(tree) for tag, tree in sorted(anywhere.items())}
    yield " ".join(f"{uid}:{roots[iod]}" for uid, iod in sorted(sop_classes.items()))
    yield " ".join(f"{tag or '00000000'}:{number}" for tag, number in fallback.items())
    for entries in forest.nodes:
        yield " ".join(f"{tag}{kind}{items}" for tag, kind, items in entries)


def highdicom_maps() -> tuple[Any, Any, Any]:
    """IODs and their modules, modules and their attributes, SOP classes and their IODs, as highdicom extracts them from PS3.3 and PS3.4."""
    found = importlib.util.find_spec("highdicom")
    if found is None or found.origin is None:
        raise SystemExit("the package highdicom is needed: pip install highdicom")
    folder = Path(found.origin).parent / "_standard"
    names = "iod_module_map", "module_attribute_map", "sop_class_iod_map"
    iods, modules, sop_classes = (json.loads((folder / f"{name}.json").read_text()) for name in names)
    return iods, modules, sop_classes


def undecided(profile_table: Path) -> set[str]:
    """The tags whose action depends on the attribute's type: compound codes, Z, and values that are treated as if they were listed."""
    with open(profile_table, newline="") as file:
        listed = {row["tag"] for row in csv.DictReader(file) if re.search("[/Z]", row["basic_2024e"] + row["basic_2026c"])}
    return listed | {tag for tag, vr, keyword in dictionary() if vr in UNDECIDED or keyword in IDENTIFYING.split()}


def write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def make(directory: Path, sources: Path | None) -> None:
    """Write the tables into `directory`."""
    table = directory / "dicom_profile.csv"
    if sources is not None:
        with open(table, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["tag", "name", "basic_2024e", "basic_2026c", *OPTIONS])
            writer.writerows(profile(sources))
        write(directory / "dicom_private.txt", (f"{disposition}\t{path}" for disposition, path in private(sources)))
    write(directory / "dicom_dictionary.txt", (" ".join(entry) for entry in dictionary()))
    write(directory / "dicom_types.txt", types(undecided(table if table.exists() else HERE / table.name)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", nargs="?", type=Path, help="directory of the tables of PS3.15 and TCIA")
    parser.add_argument("-o", dest="directory", type=Path, default=HERE, help="where to write (default: beside this script)")
    arguments = parser.parse_args()
    make(arguments.directory, arguments.sources)

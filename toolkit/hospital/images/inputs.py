"""Which files a run takes, and what stands in its way before anything leaves."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator

from toolkit.core.errors import BadData, NoInput
from toolkit.core.progress import progress
from toolkit.core.streams import open_input
from toolkit.hospital.dicom.batch.files import Finder, OwnFiles, is_directory_file
from toolkit.hospital.images.objects import Directory, Identified, Image, look_at
from toolkit.hospital.images.outcome import Outcome, State

logger = logging.getLogger(__name__)


def expand(paths: Iterable[str]) -> Iterator[str]:
    """The paths, and instead of ``-`` those that standard input lists, ended by NUL or by newlines.

    Raises NoInput for one that was named and is not there.
    """
    for path in paths:
        if path != "-":
            if not os.path.lexists(path):
                raise NoInput(path, "No such file or directory", "name files and directories that exist")
            yield path
            continue
        with open_input("-") as stream:
            listed = stream.read()
        for name in listed.split(b"\0" if b"\0" in listed else b"\n"):
            if name:
                yield os.fsdecode(name)


def images(paths: Iterable[str], own: Iterable[str], outcome: Outcome) -> list[Image]:
    """Look at every file below `paths` but the run's `own`; the images that may be sent. What may not is entered into `outcome`."""
    indexes = [path for path in paths if is_directory_file(path) and not os.path.isdir(path)]
    finder = Finder([path for path in paths if path not in indexes], OwnFiles(own))
    found: list[Image] = []
    seen: set[str] = set()
    for path in indexes:
        outcome.enter(path, State.SKIPPED, "an index of other files")
    with progress("looking", 0, " files") as bar:
        for item in bar.each(finder):
            if item.path in seen:
                continue
            seen.add(item.path)
            try:
                found.append(look_at(item.path))
            except Directory:
                indexes.append(item.path)
                outcome.enter(item.path, State.SKIPPED, "an index of other files")
            except Identified as error:
                outcome.enter(item.path, State.REFUSED_HERE, error.problem, remedy=error.remedy)
            except BadData as error:
                outcome.enter(item.path, State.FAILED, error.problem, remedy=error.remedy)
    passed = len(indexes) + finder.directories
    if passed:
        example = f"{indexes[0]}: " if len(indexes) == 1 and not finder.directories else ""
        logger.warning("%s%d DICOMDIR left out: an index with names in clear is no image", example, passed)
    return found


def each_once(found: Iterable[Image], outcome: Outcome) -> list[Image]:
    """One file for each instance UID: of several with the same content the first; where the content differs, none."""
    by_instance: dict[str, list[Image]] = defaultdict(list)
    for image in found:
        by_instance[image.instance].append(image)
    chosen = []
    for same in by_instance.values():
        if len(same) == 1:
            chosen.append(same[0])
            continue
        try:
            contents = {(image.digest(), image.pair) for image in same}
        except BadData as error:
            for image in same:
                outcome.enter(image.path, State.FAILED, error.problem, image.instance, remedy=error.remedy)
            continue
        if len(contents) == 1:
            chosen.append(same[0])
            for image in same[1:]:
                outcome.enter(image.path, State.DUPLICATE, f"the same as {same[0].path}", image.instance)
            continue
        for image in same:
            other = next(each.path for each in same if each is not image)
            what = f"has the instance UID of {other} and other content"
            outcome.enter(image.path, State.REFUSED_HERE, what, image.instance, remedy="find out which one is right")
    return chosen

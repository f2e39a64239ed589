"""Where a file that a command knew by some path lies in a crate, and again where its commands are repeated.

What was below the experiment's root keeps its place below it; everything else lies below ``external/`` by its absolute path. Nothing
leads out of either: a path is made absolute and free of ``..`` before it is looked at.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

INSIDE, OUTSIDE, RECORDS, CODE = "files", "external", "records", "code"
METADATA = "ro-crate-metadata.json"


@dataclass(frozen=True)
class Root:
    """The directory, absolute and without ``..``, below which an experiment's files keep their places."""

    path: str

    def contains(self, path: str) -> bool:
        """Whether an absolute path is this directory or lies below it."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")

    def place(self, path: str) -> str:
        """Where an absolute path is laid out: ``files/...`` or ``external/...``, any bytes that a name can have."""
        area, within = (INSIDE, os.path.relpath(path, self.path)) if self.contains(path) else (OUTSIDE, path.lstrip("/"))
        return area if within in ("", ".") else f"{area}/{within}"


def absolute(directory: str, path: str) -> str:
    """A path as a command in `directory` understood it, absolute and without ``..``; symbolic links are not looked at."""
    return os.path.normpath("/" + os.path.join(directory, path).lstrip("/"))


def payload_name(place: str) -> str:
    """The name in a bag of what is laid out at `place`: each byte that is no printable UTF-8, and each ``%`` and ``~``, becomes ``~XX``.

    Manifests hold one name a line, and readers differ in how they undo percent signs (RFC 8493, 2.1.3): such names do not arise.
    """
    name = "".join(character if _plain(character) else _escaped(character) for character in place)
    return name[:-1] + "~20" if name.endswith(" ") else name


def _plain(character: str) -> bool:
    return character.isprintable() and character not in "%~\\"


def _escaped(character: str) -> str:
    half = "\ud800" <= character < "\udc80" or character > "\udcff"  # half of a pair, as no name has it but a record's text can
    return "".join(f"~{byte:02X}" for byte in character.encode(errors="surrogatepass" if half else "surrogateescape"))

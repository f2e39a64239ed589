"""Which names are left out: shell patterns, one a line, as rsync and gitignore have them in their simple form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from toolkit.core.streams import open_input


def read_patterns(path: str) -> list[str]:
    """The patterns of a file: empty lines and lines that begin with ``#`` or ``;`` say nothing. Raises NoInput."""
    with open_input(path) as stream:
        lines = [line.rstrip(b"\r\n").decode("utf-8", "surrogateescape") for line in stream]
    return [line for line in lines if line.strip() and line[0] not in "#;"]


def excluder(patterns: Iterable[str]) -> Callable[[bytes, bool], bool]:
    """A function of a path in the tree, and whether it is a directory: is it left out?

    ``*`` and ``?`` match no slash, ``**`` does. A pattern with a slash in it (but for a last one) is held against the whole path, one
    without against the last name; one that ends with a slash matches directories only. What is in a directory left out is too.
    """
    checks = [(_compiled(pattern), pattern.endswith("/")) for pattern in patterns]

    def left_out(path: bytes, directory: bool) -> bool:
        return any(expression.fullmatch(path) for expression, only_directories in checks if directory or not only_directories)

    return left_out


def matches(pattern: str) -> Callable[[bytes], bool]:
    """A function of a path: does it, or a directory above it, match the pattern? Here all patterns are held against whole paths."""
    expression = re.compile(_expression(pattern.strip("/").encode("utf-8", "surrogateescape")) + rb"(?:/.*)?", re.DOTALL)
    return lambda path: expression.fullmatch(path) is not None


def _compiled(pattern: str) -> re.Pattern[bytes]:
    text = pattern.rstrip("/").encode("utf-8", "surrogateescape")
    above = b"" if b"/" in text else rb"(?:.*/)?"
    return re.compile(above + _expression(text.lstrip(b"/")), re.DOTALL)


def _expression(pattern: bytes) -> bytes:
    """A shell pattern as a regular expression."""
    found, place = b"", 0
    while place < len(pattern):
        rest = pattern[place:]
        closing = rest.find(b"]", 2)
        if rest.startswith(b"**/"):
            part, length = rb"(?:.*/)?", 3
        elif rest.startswith(b"**"):
            part, length = rb".*", 2
        elif rest.startswith(b"*"):
            part, length = rb"[^/]*", 1
        elif rest.startswith(b"?"):
            part, length = rb"[^/]", 1
        elif rest.startswith(b"[") and closing > 0:
            inside = rest[1:closing].replace(b"\\", rb"\\").replace(b"[", rb"\[")
            part = b"[" + (b"^/" + inside[1:] if inside[:1] in (b"!", b"^") else inside) + b"]"
            length = closing + 1
        elif rest.startswith(b"\\") and len(rest) > 1:
            part, length = re.escape(rest[1:2]), 2
        else:
            part, length = re.escape(rest[:1]), 1
        found, place = found + part, place + length
    return found

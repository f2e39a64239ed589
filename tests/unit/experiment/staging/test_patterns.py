"""Which names a pattern matches."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.experiment.staging.patterns import excluder, matches, read_patterns


@pytest.mark.parametrize(
    ("pattern", "path", "directory", "expected"),
    [
        ("*.npy", b"a.npy", False, True),
        ("*.npy", b"deep/er/a.npy", False, True),
        ("*.npy", b"a.npyz", False, False),
        ("cache/", b"a/cache", True, True),
        ("cache/", b"a/cache", False, False),
        ("a/b", b"a/b", False, True),
        ("/b", b"a/b", False, False),
        ("/b", b"b", False, True),
        ("a/*/c", b"a/x/c", False, True),
        ("a/*/c", b"a/x/y/c", False, False),
        ("a/**/c", b"a/x/y/c", False, True),
        ("a/**/c", b"a/c", False, True),
        ("a/**", b"a/x/y", False, True),
        ("[!a]b", b"cb", False, True),
        ("[!a]b", b"ab", False, False),
        ("[]]b", b"]b", False, True),
        ("[a", b"[a", False, True),
        (r"\*", b"*", False, True),
        (r"\*", b"a", False, False),
        ("?", b"\n", False, True),
        ("\udcff*", b"\xffx", False, True),
    ],
)
def test_what_a_pattern_leaves_out(pattern: str, path: bytes, directory: bool, expected: bool) -> None:
    assert excluder([pattern])(path, directory) is expected


@given(st.text(alphabet="ab*?.", min_size=1, max_size=6), st.text(alphabet="ab.", min_size=1, max_size=6))
def test_names_without_slashes_match_as_in_a_shell(pattern: str, name: str) -> None:
    assert excluder([pattern])(name.encode(), False) is fnmatch.fnmatchcase(name, pattern)


def test_a_result_is_wanted_whole() -> None:
    wanted = matches("out*/")
    assert [path for path in (b"out", b"out1/a/b", b"in/out", b"ou") if wanted(path)] == [b"out", b"out1/a/b"]


def test_patterns_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "patterns").write_bytes(b"# scratch\n*.tmp\r\n\n; and\n\xff/\n")
    assert read_patterns(str(tmp_path / "patterns")) == ["*.tmp", "\udcff/"]

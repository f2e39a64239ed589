"""Addresses of the far side."""

from __future__ import annotations

import pytest

from toolkit.core.errors import UsageError
from toolkit.experiment.staging.places import Place, is_place, parse_place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cluster:data/in", Place("", "cluster", None, b"data/in")),
        ("me@cluster:/scratch/", Place("me", "cluster", None, b"/scratch")),
        ("cluster:", Place("", "cluster", None, b".", False)),
        ("cluster:.", Place("", "cluster", None, b".")),
        ("cluster:/", Place("", "cluster", None, b"/")),
        ("cluster:~/data", Place("", "cluster", None, b"data")),
        ("cluster:a:b/c\n", Place("", "cluster", None, b"a:b/c\n")),
        ("me@[fe80::1%eth0]:data", Place("me", "fe80::1%eth0", None, b"data")),
        ("cluster:\udcff", Place("", "cluster", None, b"\xff")),
        ("sftp://cluster", Place("", "cluster", None, b".", False)),
        ("sftp://me@cluster:2222/scratch/a%20b%ff", Place("me", "cluster", 2222, b"/scratch/a b\xff")),
        ("sftp://cluster/~/data", Place("", "cluster", None, b"data")),
        ("sftp://[::1]:22/data", Place("", "::1", 22, b"/data")),
    ],
)
def test_addresses(text: str, expected: Place) -> None:
    assert is_place(text)
    assert parse_place(text) == expected


@pytest.mark.parametrize("text", ["cluster", "./a:b", "/a:b", ":data", "-oProxyCommand=x:data", "-o@cluster:data", "::1:data", "a@b@c:d"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_place(text)


@pytest.mark.parametrize("text", ["http://cluster/data", "sftp://cluster:0/a", "sftp://cluster:99999/a", "sftp:///data", "sftp://c/a%00b"])
def test_other_urls_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_place(text)


def test_a_host_alone() -> None:
    assert parse_place("me@cluster", path_needed=False) == Place("me", "cluster", None, b".", False)
    assert not is_place("cluster") and not is_place("./a:b")

"""The manifest, held against sha256sum."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from toolkit.experiment.staging import manifest

NAMES = [
    b"plain",
    b"line\nfeed",
    b"back\\slash",
    b"carriage\rreturn",
    b"\xff\xfe",
    b" space ",
    b"-",
    b"-dash",
    b"deep/er",
    b"\\n",
    b"\xc5\xbc",
]


def test_sha256sum_reads_it_and_it_reads_sha256sum(tmp_path: Path) -> None:
    top = str(tmp_path).encode()
    (tmp_path / "deep").mkdir()
    digests = {}
    for name in NAMES:
        with open(top + b"/" + name, "wb") as file:
            file.write(name * 3)
        digests[name] = hashlib.sha256(name * 3).hexdigest()
    written = manifest.write(digests)
    checked = subprocess.run(["sha256sum", "-c", "--strict", "-"], input=written, cwd=tmp_path, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")
    theirs = subprocess.run(
        ["sha256sum", "--", *(name.replace(b"-", b"./-", 1) if name == b"-" else name for name in NAMES)],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    ).stdout
    assert manifest.read(theirs) == digests


@given(st.dictionaries(st.binary(min_size=1).filter(lambda name: b"\0" not in name and not name.startswith(b"./")), st.just("0" * 64)))
def test_what_was_written_is_read(digests: dict[bytes, str]) -> None:
    assert manifest.read(manifest.write(digests)) == digests


def test_torn_and_foreign_lines_are_passed_over() -> None:
    good = manifest.line(b"a", "1" * 64)
    assert manifest.read(b"# a comment\n" + good + b"2" * 64 + b"\nabc") == {b"a": "1" * 64}

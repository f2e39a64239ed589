"""Scripts that the far side's shell runs, whatever shell the user has there: names reach them by standard input, never as words."""

from __future__ import annotations

import re
from pathlib import Path

GREETING = b"sftp-stage\n"  # the first line that every script writes: what does not begin with it was not run by a shell


def script(body: str) -> str:
    """A command that runs `body` by sh in the directory that the first line of its standard input names (see `directory_line`).

    Login shells differ (csh, fish), but for words in single quotes without a quote, an exclamation mark or a line feed. Raises
    ValueError for a body that is not so.
    """
    if set(body) & set("'!\n"):
        raise ValueError("no quotes, exclamation marks or line feeds")
    return f"""sh -c 'IFS= read -r d && d=$(printf "%bx" "$d") && cd -- "${{d%x}}" && echo sftp-stage && {body}'"""


def directory_line(path: bytes) -> bytes:
    """The line that names the directory of a script, in the escapes of printf's %b."""
    return escaped_line(path if path.startswith(b"/") else b"./" + path)


def escaped_line(text: bytes) -> bytes:
    """A line that stands for any text, in the escapes of printf's %b."""
    return re.sub(rb"[^A-Za-z0-9_./+:@-]", lambda found: b"\\0%03o" % found[0][0], text) + b"\n"


def check_line() -> bytes:
    """The line with the program that CHECK gives to a Python."""
    return Path(__file__).with_name("far_check.py").read_bytes().hex().encode() + b"\n"


CHECK = script(
    "IFS= read -r p && LC_ALL=C && export LC_ALL && "
    'if python3 -c "import hashlib" </dev/null >/dev/null 2>&1; '
    'then exec python3 -c "import sys; exec(bytes.fromhex(sys.argv[1]))" "$p" 2>/dev/null; '
    "elif command -v sha256sum >/dev/null 2>&1; then exec sha256sum -c - 2>/dev/null; else exec shasum -a 256 -c - 2>/dev/null; fi"
)
"""Reads `check_line`, then lines of a manifest; writes ``NAME: OK`` or ``NAME: FAILED`` for each. sha256sum, where it has no help of
OpenSSL, is slower than a good network, and so a Python is taken where there is one."""

PREFIXES = script(
    "if command -v sha256sum >/dev/null 2>&1; then s=sha256sum; else s=\"shasum -a 256\"; fi && "
    'xargs -0 -n 2 sh -c "head -c \\"\\$0\\" < \\"\\$1\\" | $s"'
)
"""Reads pairs of a number of bytes and a name, each with a NUL behind it; writes the digest of so many first bytes for each pair."""

RUN = script('IFS= read -r c && c=$(printf "%bx" "$c") && c=${c%x} && echo $$ && eval "$c"')
"""Runs the second line of its standard input (an `escaped_line`), which the rest is for; writes its process number first."""

INTERRUPT = script('IFS= read -r p && kill -s INT -- "-$p"')
"""Interrupts the process group whose number is the second line: what RUN started and all that it started."""


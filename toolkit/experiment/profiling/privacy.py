"""What a record may tell of a command line and an environment: never what looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HIDDEN = "***"

_ALLOWED = {"PATH", "LANG", "LANGUAGE", "TZ", "HOSTNAME", "SHELL", "TERM", "TMPDIR", "CI", "GOMAXPROCS", "LD_LIBRARY_PATH", "LD_PRELOAD"}
_ALLOWED |= {"VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "JOB_ID", "MODULEPATH", "LOADEDMODULES", "MAKEFLAGS", "DISPLAY"}
_ALLOWED |= {"ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "PYOPENGL_PLATFORM", "SOURCE_DATE_EPOCH"}
_ALLOWED_BEGINS = (
    *("LC_", "OMP_", "KMP_", "GOMP_", "MALLOC_", "NUMBA_", "CUDA_", "NVIDIA_", "MESA_", "PYTHON"),
    *("SLURM_", "PBS_", "LSB_", "OAR_", "TOOLKIT_"),
)
_ALLOWED_ENDS = "_NUM_THREADS"
_SECRET = re.compile(
    r"pass(word|wd|phrase)|(?<![a-z])(pass|pwd|auth|authorization)(?![a-z])|secret|token|(api|access|private)[-_]?key|credential|cookie",
    re.I,
)
_FILE_ENDS = tuple(f"{sign}{word}" for sign in "-_" for word in ("file", "path", "dir", "fd"))  # --password-file names a file: no secret
# Expressions that are needed seldom: compiling them takes longer than all else here.
_IN_URL = r"(?i)(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^/@\s:]*):[^/@\s]*@"
_QUERY = r"(?i)(?P<name>[?&][^=&\s]*(?:password|secret|token|signature|api[-_]?key)[^=&\s]*=)[^&\s]+"
_HEADER = r"(?is)(?P<name>(?:proxy-)?authorization|cookie|x-[a-z-]*(?:token|key|auth)[a-z-]*)\s*:.*"
_TOKENS = {  # Amazon, GitHub, GitLab, Slack, JSON web tokens, private keys: by what each begins with
    "AKIA": r"\bAKIA[0-9A-Z]{16}\b",
    "gh": r"\bgh[pousr]_\w{20,}",
    "glpat-": r"\bglpat-[\w-]{20,}",
    "xox": r"\bxox[abprs]-[\w-]{10,}",
    "eyJ": r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    "-----BEGIN": r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*",
}


def environment_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that can change what a command does or takes, by a list; without those that look like a secret."""
    chosen = {name: value for name, value in environment.items() if _is_allowed(name) and not _SECRET.search(name)}
    return {name: hide(value) for name, value in sorted(chosen.items())}


def arguments_of(argv: Sequence[str]) -> tuple[list[str], list[int]]:
    """The words of a command line with what looks secret as ``***``, and the numbers of the words that were changed."""
    shown: list[str] = []
    follows = False
    for word in argv:
        name, equals, _ = word.partition("=")
        if follows and not word.startswith("--"):
            shown.append(HIDDEN)
            follows = False
            continue
        secret = bool(_SECRET.search(name)) and not name.lower().endswith(_FILE_ENDS)
        follows = secret and word.startswith("-") and not equals
        is_setting = equals and (name.startswith("-") or name.isidentifier())
        shown.append(f"{name}={HIDDEN}" if secret and is_setting else hide(word))
    return shown, [number for number, (was, now) in enumerate(zip(argv, shown, strict=True)) if was != now]


def tags_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Names and values that a user gave, without what looks secret."""
    return {name: HIDDEN if _SECRET.search(name) else hide(value) for name, value in tags.items()}


def hide(text: str) -> str:
    """`text` without passwords in URLs, headers that authorise, and tokens that show by their form."""
    if "://" in text:
        text = re.sub(_IN_URL, rf"\g<scheme>\g<user>:{HIDDEN}@", text)
        text = re.sub(_QUERY, rf"\g<name>{HIDDEN}", text)
    for begin, expression in _TOKENS.items():
        if begin in text:
            text = re.sub(expression, HIDDEN, text)
    header = re.fullmatch(_HEADER, text) if ":" in text and text[:1] in "PpAaCcXx" else None
    return f"{header['name']}: {HIDDEN}" if header else text


def _is_allowed(name: str) -> bool:
    known = name in _ALLOWED or name.startswith(_ALLOWED_BEGINS) or name.endswith(_ALLOWED_ENDS)
    return known and not name.startswith("TOOLKIT_STAGES")

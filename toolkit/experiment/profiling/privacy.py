"""What a record may tell of a command line and an environment: never what looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HIDDEN = "***"

_ALLOWED = re.compile(
    r"PATH|LANG|LANGUAGE|LC_[A-Z]+|TZ|HOSTNAME|SHELL|TERM|TMPDIR|CI|OMP_\w+|\w+_NUM_THREADS|KMP_\w+|GOMP_\w+|GOMAXPROCS|MALLOC_\w+"
    r"|NUMBA_\w+|CUDA_\w+|NVIDIA_\w+|ROCR_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|LD_LIBRARY_PATH|LD_PRELOAD|PYTHON\w+|VIRTUAL_ENV|CONDA_PREFIX"
    r"|CONDA_DEFAULT_ENV|SLURM_\w+|PBS_\w+|LSB_\w+|JOB_ID|OAR_\w+|MODULEPATH|LOADEDMODULES|MAKEFLAGS|DISPLAY|MESA_\w+|PYOPENGL_PLATFORM"
    r"|TOOLKIT_(?!STAGES)\w+|SOURCE_DATE_EPOCH"
)
_SECRET = re.compile(
    r"pass(word|wd|phrase)|(?<![a-z])(pass|pwd|auth|authorization)(?![a-z])|secret|token|(api|access|private)[-_]?key|credential|cookie",
    re.I,
)
_FILE_OPTION = re.compile(r"[-_](file|path|dir|fd)$", re.I)  # --password-file names a file, which is no secret
_IN_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^/@\s:]*):[^/@\s]*@", re.I)
_QUERY = re.compile(r"(?P<name>[?&][^=&\s]*(?:password|secret|token|signature|api[-_]?key)[^=&\s]*=)[^&\s]+", re.I)
_HEADER = re.compile(r"(?P<name>(?:proxy-)?authorization|cookie|x-[a-z-]*(?:token|key|auth)[a-z-]*)\s*:.*", re.I | re.S)
_RECOGNISABLE = re.compile(
    r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{20,}|\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.S)


def environment_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that can change what a command does or takes, by a list; without those that look like a secret."""
    chosen = {name: value for name, value in environment.items() if _ALLOWED.fullmatch(name) and not _SECRET.search(name)}
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
        secret = bool(_SECRET.search(name)) and not _FILE_OPTION.search(name)
        follows = secret and word.startswith("-") and not equals
        is_setting = equals and (name.startswith("-") or name.isidentifier())
        shown.append(f"{name}={HIDDEN}" if secret and is_setting else hide(word))
    return shown, [number for number, (was, now) in enumerate(zip(argv, shown, strict=True)) if was != now]


def tags_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Names and values that a user gave, without what looks secret."""
    return {name: HIDDEN if _SECRET.search(name) else hide(value) for name, value in tags.items()}


def hide(text: str) -> str:
    """`text` without passwords in URLs, headers that authorise, and tokens that show by their form."""
    text = _IN_URL.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", text)
    text = _QUERY.sub(rf"\g<name>{HIDDEN}", text)
    text = _PEM.sub(HIDDEN, text)
    text = _RECOGNISABLE.sub(HIDDEN, text)
    header = _HEADER.fullmatch(text)
    return f"{header['name']}: {HIDDEN}" if header else text

"""Files that a crate keeps by reference: fetched by HTTP, taken only where length and digests are right."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from toolkit.core.progress import progress
from toolkit.core.streams import atomic_output
from toolkit.experiment.preserving.tags import Finding

_BLOCK = 1 << 20
_PATIENCE = 60  # seconds without a byte


def fetch_files(bag: str, files: Mapping[str, tuple[str, int | None]], manifests: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Fetch each of `files`, path to URL and length, into the bag; what cannot be had, or is not what it should be, is a finding."""
    findings = []
    with progress("fetch", len(files), "file") as bar:
        for path, (url, size) in bar.each(sorted(files.items())):
            digests = {algorithm: manifest[path] for algorithm, manifest in manifests.items() if path in manifest}
            problem = _fetch(bag, path, url, size, digests) if digests else "is in no manifest, so it is not fetched"
            findings += [Finding(path, problem)] if problem else []
    return findings


def _fetch(bag: str, path: str, url: str, size: int | None, digests: Mapping[str, str]) -> str:
    """Fetch one file; an empty text, or what went wrong."""
    from http.client import HTTPException
    from urllib.request import urlopen

    target = os.path.join(bag, path)
    if os.path.realpath(os.path.dirname(target)) != os.path.join(os.path.realpath(bag), os.path.dirname(path)):
        return "would lie behind a symbolic link"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with urlopen(url, timeout=_PATIENCE) as response, atomic_output(target) as stream:
            hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in digests}
            length = 0
            while block := response.read(_BLOCK):
                length += len(block)
                if size is not None and length > size:
                    break
                for one in hashes.values():
                    one.update(block)
                stream.write(block)
            if size is not None and length != size:
                raise ValueError(f"{url} has {'more' if length > size else f'{length}'} bytes, not {size}")
            if any(hashes[algorithm].hexdigest() != digest for algorithm, digest in digests.items()):
                raise ValueError(f"{url} has other content than the crate's digest says")
    except (OSError, HTTPException, ValueError) as error:
        return f"could not be fetched: {error}"
    return ""

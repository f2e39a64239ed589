"""How fast visits are made fit to leave: documents of 90 KB a second and sealed ids a second, on one core.

    python -m tests.benchmarks.visits [DIRECTORY]

DIRECTORY holds documents to rebuild instead of the generated one. Bars: 150 documents/s, 50,000 ids/s.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.unit.hospital.visits.documents import large_document
from toolkit.core.errors import BadData
from toolkit.core.keys import Key
from toolkit.core.xml import parse_safely
from toolkit.hospital.visits.profile import read_profile
from toolkit.hospital.visits.rebuild import rebuild
from toolkit.hospital.visits.validate import validate

KEY = Key("k1", datetime(2026, 1, 1, tzinfo=UTC), b"s" * 32)
DOCUMENTS, IDS = 150.0, 50_000.0  # a second: the bars


def documents_per_second(documents: list[bytes], seconds: float = 3.0, with_validation: bool = False) -> float:
    """Documents parsed and rebuilt (and validated) in a second of processor time."""
    profile, done = read_profile(None), 0
    rebuild(parse_safely(documents[0], "warm-up"), KEY, profile, "warm-up")
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        found = rebuild(parse_safely(documents[done % len(documents)], "document"), KEY, profile, "document")
        if with_validation and validate(found.document):
            raise SystemExit("the rebuilt document is not valid")
        done += 1
    return done / spent


def ids_per_second(count: int = 50_000) -> float:
    """Ids of 19 characters sealed in a second of processor time."""
    KEY.seal("visit", "warm-up")
    start = time.process_time()
    for number in range(count):
        KEY.seal("visit", f"2.16.840.1.113|{number:019}")
    return count / (time.process_time() - start)


def _usable(directory: str) -> list[bytes]:
    """Those that describe one visit."""
    found = []
    for path in sorted(Path(directory).glob("*.xml")):
        content = path.read_bytes()
        try:
            rebuild(parse_safely(content, str(path)), KEY, read_profile(None), str(path))
        except BadData as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        found.append(content)
    return found


def main() -> int:
    documents = _usable(sys.argv[1]) if len(sys.argv) > 1 else [large_document(90_000)]
    size = sum(map(len, documents)) / len(documents) / 1000
    plain, validated, ids = documents_per_second(documents), documents_per_second(documents, with_validation=True), ids_per_second()
    print(f"rebuild, documents of {size:.0f} KB:            {plain:8.0f}/s  (bar {DOCUMENTS:.0f})")
    print(f"rebuild and validate:                    {validated:8.0f}/s")
    print(f"ids sealed:                              {ids:8.0f}/s  (bar {IDS:.0f})")
    return 0 if plain >= DOCUMENTS and ids >= IDS else 1


if __name__ == "__main__":
    sys.exit(main())

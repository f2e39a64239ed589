"""Records as text: JSON lines for programs, tab-separated values with a heading for awk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO


def write_records(stream: BinaryIO, records: Sequence[dict[str, Any]], form: str) -> None:
    """Write records of the same keys, UTF-8, as ``jsonl`` or ``tsv``. Bytes of a file's name that are no UTF-8 become JSON's \\udcXX."""
    if form == "jsonl":
        encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make one for each record
        lines = [encode(record) for record in records]
    else:
        lines = ["\t".join(records[0])] if records else []
        lines += ["\t".join("" if value is None else str(value) for value in record.values()) for record in records]
    stream.write("".join(line + "\n" for line in lines).encode(errors="backslashreplace"))

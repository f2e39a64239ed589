"""Receive two invented visits and an image into the spool and the index of the directory where this runs, as the receivers do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.unit.datacentre.images.collection import Collection
from tests.unit.datacentre.visits import document
from toolkit.datacentre.index import Document, open_index
from toolkit.datacentre.spool import Entry, Spool

with open_index("index.db") as index, Spool("spool", writing=True) as spool:
    for number in (1, 2):
        entry = Entry(f"m{number}", f"k1.V{number}", "CN=hospital", f"2026-11-22T10:00:0{number}Z", document(number))
        receipt = spool.add(entry)
        index.add([Document(entry.message_id, entry.mdc_visit, entry.digest, len(entry.body), entry.client, entry.received, receipt.place)])
Collection(Path()).receive([1])

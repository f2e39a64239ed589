"""The receiver: what it acknowledges is in spool and index; what it refuses is in neither."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.datacentre.test_personal_data import SEALED, document
from toolkit.datacentre.gateway import Receiver
from toolkit.datacentre.index import open_index
from toolkit.datacentre.spool import Spool


def test_new_known_false_and_personal_documents(tmp_path: Path) -> None:
    body, other = document().encode(), document(text="5").encode()
    with Spool(str(tmp_path / "spool"), writing=True) as spool, open_index(str(tmp_path / "index.db")) as index:

        async def send() -> list[int]:
            receiver = Receiver(spool, index)
            sent = [("message-1", body), ("message-1", body), ("message-1", other), ("message-2", document(text="Jan Nowak").encode())]
            statuses = [(await receiver.receive(name, "CN=h", data))[0] for name, data in sent]
            many = [receiver.receive(f"many-{n:04}", "CN=h", document(text=str(n + 10)).encode()) for n in range(20)]
            return statuses + [status for status, _ in await asyncio.gather(*many)]

        assert asyncio.run(send()) == [201, 200, 409, 422] + [201] * 20
        held = index.find(SEALED)
        assert sorted(one.message_id for one in held) == sorted(entry.message_id for _, entry in spool)
        assert len(held) == 21 and all(spool.read(one.place).digest == one.digest for one in held)

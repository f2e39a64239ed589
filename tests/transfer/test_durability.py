"""What a kill -9 cannot show, because the system keeps what was written: that everything is on disk before an image is acknowledged."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.unit.datacentre.images.collection import image
from toolkit.datacentre.images.instances import Outcome, read_instance
from toolkit.datacentre.images.receiving import ImageKeeper
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.index import open_index


def test_the_file_then_its_name_then_the_index_are_on_disk_before_the_acknowledgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    fsync, link = os.fsync, os.link

    def synchronised(number: int) -> None:
        fsync(number)
        done.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))

    def linked(source: Path, target: Path) -> None:
        link(source, target)
        done.append(("link", str(target)))

    index = str(tmp_path / "index.db")
    with ImageSpool(str(tmp_path / "spool"), writing=True) as spool, open_index(index) as opened:
        keeper = ImageKeeper(spool, opened)
        incoming = keeper.begin()
        incoming.write(image(1))
        incoming.flush()
        instance = read_instance(incoming.path)
        monkeypatch.setattr(os, "fsync", synchronised)
        monkeypatch.setattr(os, "link", linked)
        received, kept = str(incoming.path), spool.path(instance.instance_uid)
        assert keeper.receive(incoming, instance, "st-anna") is Outcome.NEW
        monkeypatch.undo()
        assert done == [("fsync", received), ("link", str(kept)), ("fsync", str(kept.parent))]
        assert kept.read_bytes() == image(1)
        connection = sqlite3.connect(index)  # another one: it sees what was committed
        assert connection.execute("SELECT instance_uid, place FROM instances").fetchall() == [(instance.instance_uid, "spool:")]
        connection.close()


def test_commits_of_the_index_wait_for_the_disk(tmp_path: Path) -> None:
    """PRAGMA synchronous is of a connection: 2 is FULL, which in WAL mode brings each commit to disk."""
    from sqlalchemy import text

    with open_index(str(tmp_path / "index.db")) as index, index.writing() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2

"""Receivers whose words are damaged: whatever comes, the sender ends in words of its own and takes nothing for stored that is not."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.hospital.images.receivers import CT, EXPLICIT, receiver
from tests.unit.hospital.images.samples import image
from toolkit.core.errors import Unavailable
from toolkit.hospital.images.association import Association, Lost
from toolkit.hospital.images.objects import look_at
from toolkit.hospital.images.peer import Peer


class Canned(Peer):
    """A receiver that says what it was told to, whatever it hears, and hangs up."""

    words = b""
    heard: list[threading.Thread] = []

    def connect(self) -> socket.socket:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        theirs.sendall(self.words)
        theirs.shutdown(socket.SHUT_WR)
        thread = threading.Thread(target=drain, args=(theirs,))
        thread.start()
        self.heard.append(thread)
        return ours


def drain(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


def recorded(path: Path) -> tuple[bytes, bytes]:
    """What a real receiver says: when it accepts an association, and when it has stored the file."""
    found, said = look_at(str(path)), []

    class Listening(Association):
        def _pdu(self, end: float = 0.0) -> tuple[int, bytes]:
            kind, body = super()._pdu(end)
            said.append(body)
            return kind, body

    with receiver() as there, Listening(there.peer(), [(CT, EXPLICIT)]) as association, path.open("rb") as file:
        association.store(found.pair, found.instance, file.fileno(), found.start, found.length)
    return said[0], said[1]


def damaged(words: bytes, chance: random.Random) -> Iterator[bytes]:
    for _ in range(250):
        made = bytearray(words)
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(made))
            kind = chance.randrange(3)
            if kind == 0:
                made[place] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
            elif kind == 1:
                del made[place : place + chance.randrange(1, 20)]
            else:
                made[place:place] = chance.randbytes(chance.randrange(1, 20))
        yield bytes(made or b"\0")


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_damaged_words(tmp_path: Path) -> None:
    path, chance = tmp_path / "one.dcm", random.Random(11)
    image(path)
    found = look_at(str(path))
    accepts, stored = recorded(path)
    peer = Canned("127.0.0.1", 1, "THERE", "HERE", None, 1.0)
    outcomes = set()
    with path.open("rb") as file:
        for words in [
            accepts + stored,
            *(one + stored for one in damaged(accepts, chance)),
            *(accepts + one for one in damaged(stored, chance)),
        ]:
            Canned.words = words
            try:
                association = Association(peer, [(CT, EXPLICIT)])
            except Unavailable as error:
                assert "\n" not in str(error)
                outcomes.add("no association")
                continue
            if found.pair not in association.accepted:
                outcomes.add("no context")
            else:
                try:
                    answer, _ = association.store(found.pair, found.instance, file.fileno(), found.start, found.length)
                    outcomes.add("stored" if answer.status == 0 else "not stored")
                except Lost as error:
                    assert "\n" not in str(error)
                    outcomes.add("lost")
            association.abort()
    for thread in Canned.heard:
        thread.join()
    assert outcomes - {"not stored"} == {"no association", "no context", "stored", "lost"}


ENDLESS = {
    "empty PDUs": b"\4\0\0\0\0\0",
    "empty fragments of a command": b"\4\0\0\0\0\6\0\0\0\2\1\1",
    "empty fragments of a data set": b"\4\0\0\0\0\6\0\0\0\2\1\0",
}


@pytest.mark.parametrize("words", ENDLESS.values(), ids=ENDLESS)
def test_words_without_end(tmp_path: Path, words: bytes) -> None:
    """A receiver that always says something and never an answer is left as one that says nothing."""
    path = tmp_path / "one.dcm"
    image(path)
    found, (accepts, _) = look_at(str(path)), recorded(path)
    ended = threading.Event()

    class Talking(Peer):
        def connect(self) -> socket.socket:
            listener = socket.create_server(("127.0.0.1", 0))
            made = socket.create_connection(listener.getsockname())
            other, _ = listener.accept()
            listener.close()
            other.sendall(accepts)
            threading.Thread(target=drain, args=(other.dup(),), daemon=True).start()
            threading.Thread(target=talk, args=(other,), daemon=True).start()
            return made

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while not ended.wait(0.01):
                connection.sendall(words * 10)

    begun = time.monotonic()
    try:
        association = Association(Talking("127.0.0.1", 1, "THERE", "HERE", None, 1.0), [(CT, EXPLICIT)])
        with path.open("rb") as file, pytest.raises(Lost):
            association.store(found.pair, found.instance, file.fileno(), found.start, found.length)
        association = Association(Talking("127.0.0.1", 1, "THERE", "HERE", None, 1.0), [(CT, EXPLICIT)])
        association.release()
    finally:
        ended.set()
    assert time.monotonic() - begun < 6

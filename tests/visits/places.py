"""What the hospital's links and the data centre's spool, store, archive and index hold, read from their files and tables themselves."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")
_DISTINCT = 8  # letters or digits that do not meet by chance


@dataclass(frozen=True)
class Places:
    """Message id -> digest (sha256: and hexadecimal digits) of the documents in each place, as far as each place knows."""

    queued: dict[str, str]
    acknowledged: dict[str, str]
    spool: dict[str, str]
    store: dict[str, str]
    archive: dict[str, str]
    index: dict[str, str]
    index_places: dict[str, str]
    doubled: list[str]

    def problems(self) -> list[str]:
        """What does not agree; empty when every acknowledged document exists exactly once wherever it must."""
        found = [f"doubled: {one}" for one in self.doubled]
        for message, digest in self.acknowledged.items():
            if self.index.get(message) != digest:
                found.append(f"{message}: acknowledged, and the index has {self.index.get(message)}")
        for message, place in self.index_places.items():
            digest = self.index[message]
            holders = (self.spool,) if place.startswith("spool:") else (self.store, self.archive)
            found += [f"{message}: {place}, and it is not there" for holder in holders if holder.get(message) != digest]
        if self.store != self.archive:
            found.append(f"store and archive differ in {sorted(set(self.store.items()) ^ set(self.archive.items()))[:3]}")
        found += [f"{message}: in the store and not in the index" for message in self.store if message not in self.index]
        return found


def read_places(links: str, index: str, spool: Path, store: Path, archive: Path) -> Places:
    """All of them; `links` and `index` are paths of SQLite or URLs of PostgreSQL. What does not exist yet holds nothing."""
    doubled: list[str] = []
    queue = rows(links, "link_message", "message_id, state, digest, acknowledged")
    acknowledged = {row[0]: "sha256:" + bytes(row[3]).hex() for row in queue if row[1] == "acknowledged"}
    queued = {row[0]: "sha256:" + bytes(row[2]).hex() for row in queue if row[1] != "acknowledged"}
    known = rows(index, "documents", "message_id, digest, place, mdc_visit")
    doubled += [f"{one} in the index" for one, count in Counter(row[3] + row[1] for row in known).items() if count > 1]
    return Places(
        queued, acknowledged, _spooled(spool), _packed(store, doubled), _packed(archive, doubled),
        {row[0]: row[1] for row in known}, {row[0]: row[2] for row in known}, doubled,
    )  # fmt: skip


def rows(database: str, table: str, columns: str) -> list[tuple]:  # type: ignore[type-arg]
    """These columns of a table in the database at a path or URL; nothing where database or table is missing."""
    with _connected(database) as connection:
        from sqlalchemy import inspect, text

        if connection is None or not inspect(connection).has_table(table):
            return []
        return [tuple(row) for row in connection.execute(text(f"SELECT {columns} FROM {table}"))]


def leaks(words: Iterable[str], held: Iterable[bytes]) -> list[str]:
    """Which of `words` stand in anything of `held`: as they are, in any case, without diacritics, split over elements, in base64."""
    texts = {text for piece in set(held) for text in _texts(piece)}  # documents repeat themselves: each text once
    everything = "\n".join(texts)
    asked = list(dict.fromkeys(words))
    bare = {word: _squeezed(word) for word in asked}
    as_written = _standing({word: word.casefold() for word in asked}, everything)
    squeezed = _standing({word: one for word, one in bare.items() if len(one) >= _DISTINCT}, _squeezed(everything))
    return [word for word in asked if word in as_written | squeezed]


def _standing(forms: dict[str, str], text: str) -> set[str]:
    """The words whose form stands in the text; thousands of them in one pass."""
    begins = {form[:_DISTINCT] for form in forms.values() if len(form) >= _DISTINCT}
    met = begins.intersection(text[at : at + _DISTINCT] for at in range(len(text)))
    return {word for word, form in forms.items() if (len(form) < _DISTINCT or form[:_DISTINCT] in met) and form in text}


def held_by_the_data_centre(index: str, spool: Path, stores: Iterable[Path], files: Iterable[Path]) -> Iterator[bytes]:
    """All bytes that it has: documents as they came, every column of the tables in the stores, every table of the index, `files`."""
    from pyarrow import parquet

    for store in stores:
        for path in _files(store):
            if path.suffix == ".parquet":
                for column in parquet.read_table(path).itercolumns():
                    values = column.to_pylist()
                    yield from (value for value in values if isinstance(value, bytes))
                    yield "\n".join(str(value) for value in values if not isinstance(value, bytes)).encode()
            else:
                yield path.read_bytes()
            yield path.name.encode()
    yield from (path.read_bytes() for path in [*_files(spool), *files] if path.exists())
    with _connected(index) as connection:
        from sqlalchemy import inspect, text

        for table in inspect(connection).get_table_names() if connection is not None else ():
            yield "\n".join(str(tuple(row)) for row in connection.execute(text(f"SELECT * FROM {table}"))).encode()


@contextlib.contextmanager
def _connected(database: str):  # type: ignore[no-untyped-def]
    """A SQLAlchemy connection that only reads, or None where there is no such file."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    if "://" not in database and not Path(database).exists():
        yield None
        return
    url = database.replace("postgresql://", "postgresql+psycopg://") if "://" in database else f"sqlite:///file:{database}?mode=ro&uri=true"
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file()) if directory.exists() else iter(())


def _spooled(directory: Path) -> dict[str, str]:
    from toolkit.core.errors import NoInput
    from toolkit.datacentre.spool import Spool

    if not directory.exists():
        return {}
    found = {}
    with Spool(str(directory)) as spool:
        for segment in spool.segments():
            with contextlib.suppress(NoInput):  # the packer was quicker
                found.update({entry.message_id: entry.digest for _, entry in spool.entries(segment)})
    return found


def _bodies(store: Path) -> Iterator[tuple[str, bytes]]:
    """Message id and document of every row of the packs whose list is there."""
    from pyarrow import parquet

    for manifest in sorted((store / "packs").glob("*.json")):
        table = parquet.read_table(manifest.with_suffix(".parquet"), columns=["message_id", "document"])
        yield from zip(table["message_id"].to_pylist(), table["document"].to_pylist(), strict=True)


def _packed(store: Path, doubled: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for message, body in _bodies(store):
        if message in found:
            doubled.append(f"{message} in {store.name}")
        found[message] = "sha256:" + hashlib.sha256(body).hexdigest()
    return found


def _texts(piece: bytes) -> Iterator[str]:
    """The texts that a person could read in these bytes, in lower case: in both encodings, tag by tag and without tags, base64 decoded."""
    for encoding in ("utf-8", "iso-8859-2"):
        text = piece.decode(encoding, "replace").casefold()
        yield from (part for line in text.split("\n") for part in re.split(r"[<>]", line))
        yield re.sub(r"<[^<>]*>|\n", "", text)
    for found in _BASE64.findall(piece):
        with contextlib.suppress(ValueError):
            yield base64.b64decode(found + b"=" * (-len(found) % 4)).decode("utf-8", "replace").casefold()


def _squeezed(text: str) -> str:
    """Letters without case and diacritics, and digits, alone; line by line."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return re.sub(r"[^\w\n]+|_+", "", "".join(one for one in apart if not unicodedata.combining(one)).replace("ł", "l"))

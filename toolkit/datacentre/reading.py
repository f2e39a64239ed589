"""Reading back what was received: from the spool, the store or its archive, wherever a document is at that moment."""

from __future__ import annotations

import hashlib
import re

from toolkit.core.errors import BadData, NoInput, TryLater, UsageError
from toolkit.datacentre.index import Document, Index
from toolkit.datacentre.packs import PackReader
from toolkit.datacentre.spool import Spool

LARGEST_PAGE = 1000  # visits
_MOVES = 3  # a document moves once, from spool to pack; a verified copy may replace another
_TIME = re.compile(r"[0-9]{4,14}")
_FILTERS = ("patient", "diagnosis", "accession", "since", "until", "after")


class Reader:
    """Finds documents through `index` and reads them out of `spool` and `packs`. For several threads."""

    def __init__(self, index: Index, spool: Spool, packs: PackReader) -> None:
        self._index, self._spool, self._packs = index, spool, packs

    def find(self, mdc_visit: str, message_id: str = "") -> Document:
        """The newest document of a visit, or the one that came with `message_id`. Raises NoInput when there is none."""
        found = [one for one in self._index.find(mdc_visit) if message_id in ("", one.message_id)]
        if not found:
            raise NoInput(mdc_visit[:200], "there is no such document", "search with GET /visits")
        return found[-1]

    def read(self, document: Document) -> bytes:
        """Its bytes. When the packer moves it between look-up and reading, it is looked up again.

        Raises what store and spool raise, BadData when it is not there or not what was received.
        """
        for _ in range(_MOVES):
            try:
                body = self._spool.read(document.place).body if document.place.startswith("spool:") else self._packs.read(document.place)
            except NoInput as error:
                again = self._index.message(document.message_id)
                if again is None or again.place == document.place:
                    raise BadData(document.place, "is not where the index says", "run mdc-store verify") from error
                document = again
                continue
            if "sha256:" + hashlib.sha256(body).hexdigest() != document.digest:
                raise BadData(document.place, "holds another document than the index says", "run mdc-store verify")
            return body
        raise TryLater(document.place, "moves all the time", "try again")

    def search(self, filters: dict[str, str]) -> tuple[list[str], str]:
        """A page of pseudonyms of visits, and behind which one the next page begins (empty when this is the last).

        `filters`: patient, diagnosis, accession, since, until, after, limit as `Index.search` has them, in text. Raises UsageError
        for another one, or for a time or a limit that is none.
        """
        unknown = sorted(set(filters) - {*_FILTERS, "limit"})
        if unknown:
            raise UsageError("query", f"{unknown[0][:40]!r} is no filter", f"there are {', '.join(_FILTERS)} and limit")
        limit = filters.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= LARGEST_PAGE):
            raise UsageError("query", "the limit is no number", f"give one from 1 to {LARGEST_PAGE}")
        for name in ("since", "until"):
            if filters.get(name) and not _TIME.fullmatch(filters[name]):
                raise UsageError("query", f"{name} is no time", "write YYYY, YYYYMM, YYYYMMDD or longer, as HL7 does")
        found = self._index.search(limit=int(limit) + 1, **{name: filters.get(name, "") for name in _FILTERS})
        page = found[: int(limit)]
        return page, page[-1] if len(found) > len(page) else ""

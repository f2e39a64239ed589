"""Any order of receiving, packing, kills and losses: what was acknowledged is there, once, or kept apart for a person to look at."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.unit.datacentre.images.collection import CT, Collection, image, uid
from tests.unit.datacentre.images.test_packing import _dies
from toolkit.core.storage import digest_of
from toolkit.datacentre.images.instances import Outcome
from toolkit.datacentre.images.receiving import ImageKeeper
from toolkit.datacentre.images.rows import SPOOLED, held
from toolkit.datacentre.images.spool import ImageSpool
from toolkit.datacentre.images.verifying import verify_image_spool, verify_images
from toolkit.datacentre.index import open_index
from toolkit.datacentre.reindex import reindex

NUMBERS = st.integers(0, 1)
CONTENTS = st.sampled_from(["", "another"])


class Mishaps(RuleBasedStateMachine):
    """`promised`: the contents that were acknowledged, by number."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.mkdtemp(prefix="mishaps-")
        self.collection = Collection(Path(self.home))
        self.promised: dict[int, set[str]] = defaultdict(set)
        self.indexed = True  # the index knows all that the stores hold
        self.collection.receive([])

    @rule(number=NUMBERS, content=CONTENTS)
    def receive(self, number: int, content: str) -> None:
        (outcome,) = self.collection.receive([number], content)
        before = self.promised[number]
        if self.indexed:
            expected = {(): Outcome.NEW, (content,): Outcome.KNOWN}.get(tuple(before), Outcome.CONFLICT)
            assert outcome in (expected, Outcome.NEW) if content in before else outcome == expected
        if outcome is not Outcome.CONFLICT:
            before.add(content)

    @rule(number=NUMBERS, content=CONTENTS, step=st.integers(1, 25))
    def receive_and_die(self, number: int, content: str, step: int) -> None:
        """Nothing was promised; it may be there all the same."""
        if not self.promised[number] or content in self.promised[number]:
            if not _dies(lambda: self.collection.receive([number], content), step):
                self.promised[number].add(content)
            elif not self.promised[number]:
                assert self.collection.receive([number], content) != [Outcome.CONFLICT] or not self.indexed
                self.promised[number].add(content)

    @rule()
    def pack(self) -> None:
        self.collection.pack(list_instances=2)

    @rule(step=st.integers(1, 60))
    def pack_and_die(self, step: int) -> None:
        _dies(lambda: self.collection.pack(list_instances=2), step)

    @rule()
    def lose_the_index(self) -> None:
        for path in Path(self.home).glob("index.db*"):
            path.unlink()
        open_index(self.collection.url).close()
        self.indexed = False

    @rule(number=NUMBERS, content=CONTENTS)
    def come_after_the_index_was_lost(self, number: int, content: str) -> None:
        """The stores may hold other content of that UID, which nobody knows then."""
        self.pack()
        self.lose_the_index()
        self.receive(number, content)
        self.pack()

    @rule()
    @precondition(lambda self: not self.indexed)
    def index_again(self) -> None:
        reindex(self.collection.places)
        self.indexed = not any(len(contents) > 1 for contents in self.promised.values())

    @rule(copy=st.sampled_from([0, 1]))
    def lose_a_copy(self, copy: int) -> None:
        shutil.rmtree(self.collection.urls[copy], ignore_errors=True)
        with open_index(self.collection.url) as index:
            verify_images(index, self.collection.stores)

    @rule()
    @precondition(lambda self: self.indexed)
    def damage_the_spool(self) -> None:
        """What was only there is lost, and is taken again, never answered as known."""
        with open_index(self.collection.url) as index:
            known = held(index, map(uid, range(2)))
        for number, contents in self.promised.items():
            path = self.collection.spool.path(uid(number))
            if contents and known[uid(number)].place == SPOOLED and path.exists():
                (content,) = contents
                path.write_bytes(b"damaged")
                assert self.collection.receive([number], content) == [Outcome.NEW]
                assert path.read_bytes() == image(number, content)

    def teardown(self) -> None:
        try:
            self.all_is_there()
        finally:
            shutil.rmtree(self.home)

    def all_is_there(self) -> None:
        collection = self.collection
        collection.pack()
        reindex(collection.places)
        assert collection.pack().instances == 0
        apart = {digest_of((collection.spool.conflicts / f"{name}.dcm").read_bytes()) for name in collection.spool.conflicting()}
        promised = {number: contents for number, contents in self.promised.items() if contents}
        with ImageSpool(collection.places.spool, writing=True) as spool, open_index(collection.url) as index:
            keeper = ImageKeeper(spool, index)
            assert not list(spool.uids())
            known = held(index, map(uid, range(2)))
            assert set(known) == set(map(uid, promised))
            for number, contents in promised.items():
                assert keeper.held(uid(number), CT)
                instance = known[uid(number)].instance
                for store in collection.stores:
                    assert store.digest(instance.name) == instance.digest
                digests = {digest_of(image(number, content)) for content in contents}
                assert instance.digest in digests and digests - {instance.digest} <= apart
            assert (
                verify_images(index, collection.stores).unsolved == 0
            )  # a list that a killed packer left in one copy comes into the other
            found = verify_images(index, collection.stores)
            assert (found.damaged, found.unsolved, verify_image_spool(index, spool)) == (0, 0, 0)


TestMishaps = Mishaps.TestCase
TestMishaps.settings = settings(
    max_examples=25, stateful_step_count=10, deadline=None, derandomize=True, database=None, phases=(Phase.generate,)
)

"""The queue against a simple model: any order of calls by two senders that restart, on a clock that jumps both ways."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.hospital.links.conftest import Ids, mdc_ids
from toolkit.core.keys import create_keys
from toolkit.hospital.links.check import check
from toolkit.hospital.links.database import Links, open_links

SENDERS = 2
WAITING = ("queued", "sent")


@dataclass
class Model:
    """What a message must be: `holder` is the sender that has it."""

    order: int
    visit: int
    document: bytes
    state: str = "queued"
    attempts: int = 0
    due: float = 0.0
    taken: float | None = None
    holder: int | None = None
    took: list[int] = field(default_factory=list)


class Queue(RuleBasedStateMachine):
    """Nothing is lost, nothing has two holders, and what ended stays so."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.keyring = create_keys(str(Path(self.directory.name) / "hospital.key"))
        self.now, self.count = 1_800_000_000.0, 0
        self.messages: dict[str, Model] = {}

    @initialize()
    def open(self) -> None:
        self.url = str(Path(self.directory.name) / "links.db")
        self.senders: list[Links] = [open_links(self.url, self.keyring) for _ in range(SENDERS)]

    def teardown(self) -> None:
        for links in getattr(self, "senders", []):
            links.close()
        self.directory.cleanup()

    @rule(sender=st.integers(0, SENDERS - 1), visit=st.integers(0, 3), version=st.integers(0, 2))
    def queue(self, sender: int, visit: int, version: int) -> None:
        ids, name, document = Ids(f"V{visit}"), f"{visit}/{version}", f"<v{version}/>".encode()
        new = self.senders[sender].queue(ids, *mdc_ids(ids, self.keyring.current), name, document, "")
        model = self.messages.get(name)
        assert new == (model is None or model.state == "dead")
        if model is None:
            self.count += 1
            self.messages[name] = Model(self.count, visit, document)
        elif new:
            self.messages[name] = Model(model.order, visit, document)

    @rule(sender=st.integers(0, SENDERS - 1), limit=st.integers(1, 4))
    def take(self, sender: int, limit: int) -> None:
        expected = []
        for name, model in sorted(self.messages.items(), key=lambda item: item[1].order):
            first = not any(o.visit == model.visit and o.state in WAITING and o.order < model.order for o in self.messages.values())
            due = model.due <= self.now or (model.taken is not None and model.taken > self.now)
            if model.state in WAITING and model.holder is None and first and due:
                expected.append(name)
        got = self.senders[sender].take(limit, self.now, 9999)
        assert [message.message_id for message in got] == expected[:limit]
        for message in got:
            model = self.messages[message.message_id]
            assert (message.document, message.attempts) == (model.document, model.attempts)
            model.holder, model.taken = sender, self.now

    def held(self, sender: int) -> list[str]:
        return sorted(name for name, model in self.messages.items() if model.holder == sender)

    @precondition(lambda self: any(model.holder is not None for model in self.messages.values()))
    @rule(data=st.data(), answer=st.sampled_from(["sent", "acknowledged", "retry", "dead"]), delay=st.integers(0, 100))
    def answer(self, data: st.DataObject, answer: str, delay: int) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, model in self.messages.items() if model.holder is not None)))
        self.tell(name, self.messages[name].holder or 0, answer, delay)

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), sender=st.integers(0, SENDERS - 1), answer=st.sampled_from(["sent", "acknowledged", "retry", "dead"]))
    def late_answer(self, data: st.DataObject, sender: int, answer: str) -> None:
        self.tell(data.draw(st.sampled_from(sorted(self.messages))), sender, answer, 5)

    def tell(self, name: str, sender: int, answer: str, delay: int) -> None:
        links, model = self.senders[sender], self.messages[name]
        if answer == "sent":
            links.sent(name)
            model.state = "sent" if model.state == "queued" else model.state
        elif answer == "acknowledged":
            links.acknowledged(name, hashlib.sha256(model.document).digest(), "201")
            model.state, model.holder = "acknowledged", None
        elif answer == "dead":
            links.dead(name, "422")
            if model.state in WAITING:
                model.state, model.holder = "dead", None
        else:
            links.retry(name, "503", self.now + delay)
            if model.state in WAITING and model.holder in (None, sender):
                model.attempts, model.due, model.holder = model.attempts + 1, self.now + delay, None

    @rule(sender=st.integers(0, SENDERS - 1))
    def restart(self, sender: int) -> None:
        self.senders[sender].close()
        self.senders[sender] = open_links(self.url, self.keyring)
        for name in self.held(sender):
            self.messages[name].holder = None

    @rule(jump=st.sampled_from([1.0, 50.0, 1e3, 1e9, -1.0, -50.0, -1e3, -1e9]))
    def jump(self, jump: float) -> None:
        self.now += jump

    @invariant()
    def counts_agree_and_all_is_sound(self) -> None:
        if not hasattr(self, "senders"):
            return
        counts = dict.fromkeys(("queued", "sent", "acknowledged", "dead"), 0)
        for model in self.messages.values():
            counts[model.state] += 1
        assert self.senders[0].status().counts == counts
        assert list(check(self.senders[1])) == []


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=25, stateful_step_count=30, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

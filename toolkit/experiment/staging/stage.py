"""A tree brought to another machine or from it, however often the connection breaks."""

from __future__ import annotations

import os
from collections.abc import Callable

from toolkit.experiment.staging.connection import Access, Host
from toolkit.experiment.staging.ledger import Ledger, Outcome
from toolkit.experiment.staging.patterns import excluder
from toolkit.experiment.staging.places import Place
from toolkit.experiment.staging.plan import Plan
from toolkit.experiment.staging.pulling import Pull, Wanted
from toolkit.experiment.staging.pushing import Push
from toolkit.experiment.staging.retrying import retrying
from toolkit.experiment.staging.session import Session
from toolkit.experiment.staging.attempt import Wishes, transfer
from toolkit.experiment.staging.tree import Tree, local_tree

Report = Callable[[Outcome], None]


def push(
    local: bytes, place: Place, access: Access, wishes: Wishes, report: Report, read: Callable[[], Tree] | None = None
) -> tuple[Plan, int]:
    """Bring a directory's contents, or a file, into the directory of `place`; gives the plan of the last attempt, and how much failed.

    `read` gives the tree to send where it is not all of `local`. Raises Unreached, TryLater when given up, NotPermitted, NoInput,
    CannotCreate: what makes all of it impossible.
    """
    ledger = Ledger(report)
    left_out = excluder(wishes.exclude)

    def attempt() -> Plan:
        with Session(host(place), access, wishes.connections) as session:
            tree = read() if read is not None else local_tree(local, left_out, wishes.follow)
            top = local if tree.complete or read is not None else _directory(local)
            return transfer(session, Push(session, tree, top, place.path, wishes, ledger.advance), wishes, ledger)

    return retrying(attempt, wishes.retries, lambda: ledger.done), ledger.failed


def pull(place: Place, local: bytes, access: Access, wishes: Wishes, report: Report, wanted: Wanted | None = None) -> tuple[Plan, int]:
    """Bring the contents of the directory of `place`, or the file, into the directory `local`; as `push`."""
    ledger = Ledger(report)

    def attempt() -> Plan:
        with Session(host(place), access, wishes.connections) as session:
            return transfer(session, Pull(session, place.path, local, wishes, ledger.advance, wanted), wishes, ledger)

    return retrying(attempt, wishes.retries, lambda: ledger.done), ledger.failed


def host(place: Place) -> Host:
    """The machine of a place."""
    return Host(place.host, place.port, place.user or None)


def _directory(local: bytes) -> bytes:
    """The directory that a file is in; a directory itself."""
    return local if os.path.isdir(local) else os.path.dirname(local) or b"."

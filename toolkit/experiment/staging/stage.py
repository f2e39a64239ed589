"""A tree brought to another machine or from it, however often the connection breaks."""

from __future__ import annotations

import os
from collections.abc import Callable

from toolkit.experiment.staging.attempt import transfer
from toolkit.experiment.staging.ledger import Ledger, Outcome
from toolkit.experiment.staging.patterns import excluder
from toolkit.experiment.staging.plan import Plan
from toolkit.experiment.staging.pulling import Pull, Wanted
from toolkit.experiment.staging.pushing import Push
from toolkit.experiment.staging.retrying import retrying
from toolkit.experiment.staging.session import Machine
from toolkit.experiment.staging.tree import Tree, chosen_tree, local_tree
from toolkit.experiment.staging.wishes import Wishes

Report = Callable[[Outcome], None]


def push(local: bytes, machine: Machine, far: bytes, wishes: Wishes, report: Report) -> tuple[Plan, int]:
    """Bring a directory's contents, or a file, into the directory `far`; gives the plan of the last attempt, and how much failed.

    Raises Unreached, TryLater when given up, NotPermitted, NoInput, CannotCreate: what makes all of it impossible.
    """
    top = local if os.path.isdir(local) else os.path.dirname(local) or b"."
    return _push(lambda: local_tree(local, excluder(wishes.exclude), wishes.follow), top, machine, far, wishes, report)


def push_chosen(names: list[bytes], machine: Machine, far: bytes, wishes: Wishes, report: Report) -> tuple[Plan, int]:
    """Bring files and directories below the present directory to the same names in the directory `far`; as `push`."""
    return _push(lambda: chosen_tree(names), b".", machine, far, wishes, report)


def _push(read: Callable[[], Tree], top: bytes, machine: Machine, far: bytes, wishes: Wishes, report: Report) -> tuple[Plan, int]:
    ledger = Ledger(report)

    def attempt() -> Plan:
        with machine.attempt() as session:  # connects while the tree is read
            return transfer(session, Push(session, read(), top, far, wishes, ledger.advance), wishes, ledger)

    return retrying(attempt, wishes.retries, lambda: ledger.done), ledger.failed


def pull(
    local: bytes, machine: Machine, far: bytes, wishes: Wishes, report: Report, wanted: Wanted | None = None
) -> tuple[Plan, int]:
    """Bring the contents of the directory `far`, or the file, into the directory `local`; as `push`. `wanted` chooses by path."""
    ledger = Ledger(report)

    def attempt() -> Plan:
        with machine.attempt() as session:
            return transfer(session, Pull(session, far, local, wishes, ledger.advance, wanted), wishes, ledger)

    return retrying(attempt, wishes.retries, lambda: ledger.done), ledger.failed

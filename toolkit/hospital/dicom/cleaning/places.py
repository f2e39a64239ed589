"""What decides about the attributes of one level of a data set: the policy's rule for that place, or that of what stands around it."""

from __future__ import annotations

from typing import Protocol

from toolkit.hospital.dicom.rules.actions import Action, Rule
from toolkit.hospital.dicom.rules.profile import Policy


class Place(Protocol):
    """What decides about the attributes of one level: a Context of the policy, or one of the two below."""

    def rule(self, tag: int, vr: str, creator: str | None = None) -> Rule: ...

    def child(self, tag: int, creator: str | None = None) -> Place: ...


class Dropped:
    """Within a sequence that goes: nothing is decided, but what identifies is still collected: it may stand in a text that stays."""

    def __init__(self, policy: Policy) -> None:
        self._any = policy.context("")

    def rule(self, tag: int, vr: str, creator: str | None = None) -> Rule:
        if vr == "SQ":
            return Rule(Action.DESCEND)
        return Rule(Action.KEEP, identifying=self._any.rule(tag, vr, creator).identifying)

    def child(self, tag: int, creator: str | None = None) -> Dropped:
        return self


class Dummies:
    """Within a sequence whose content becomes dummies."""

    def __init__(self, within: Place, code: str) -> None:
        self._within, self._code = within, code

    def rule(self, tag: int, vr: str, creator: str | None = None) -> Rule:
        stated = self._within.rule(tag, vr, creator)
        if stated.action in (Action.REMOVE, Action.UID) or (vr == "UI" and stated.action is Action.KEEP):
            return stated  # UIDs of classes and coding schemes name nobody, and without them the item means nothing
        if vr == "SQ":
            return Rule(Action.DESCEND_DUMMY, code=self._code)
        return Rule(Action.DUMMY, stated.identifying, self._code)

    def child(self, tag: int, creator: str | None = None) -> Dummies:
        return Dummies(self._within.child(tag, creator), self._code)

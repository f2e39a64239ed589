"""What can happen to an attribute, in the words of PS3.15 E.3.1 where it has one."""

from dataclasses import dataclass
from enum import IntEnum


class Action(IntEnum):
    """The decided action for one attribute at one place in one kind of object."""

    KEEP = 0  # copied byte for byte, never looked at (numbers, codes, UIDs of classes)
    SCRUB = 1  # text that is kept; the object's own identifying values are cut out of it (also the table's C)
    REMOVE = 2  # X
    EMPTY = 3  # Z as zero length
    DUMMY = 4  # D: a dummy valid for its VR
    UID = 5  # U: keyed, consistent
    SHIFT = 6  # the date moved by the patient's number of days
    PATIENT = 7  # the keyed pseudonym of the patient id
    TOKEN = 8  # a keyed 16-character token (accession number, study id)
    HASH = 9  # recipe: keyed hash that fits the VR
    REPLACE = 10  # recipe: the rule's `value`
    DESCEND = 11  # sequence kept, every item's attributes decided one by one
    DESCEND_DUMMY = 12  # D for a sequence: items kept, every leaf made a dummy (UIDs are mapped)


@dataclass(frozen=True)
class Rule:
    """The decision for one attribute.

    `identifying`: the original value is to be searched for in every text that is kept. `code`: the table's code for the report ("X/Z/D",
    "X", "recipe", "private", "" for unlisted). `value`: bytes for REPLACE, already encoded and padded.
    """

    action: Action
    identifying: bool = False
    code: str = ""
    value: bytes = b""

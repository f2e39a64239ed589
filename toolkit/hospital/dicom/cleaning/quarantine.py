"""Why an object does not leave the hospital. Whatever cannot be cleaned with certainty raises `Quarantine`; nothing else does."""

from enum import StrEnum


class Reason(StrEnum):
    """Reasons as they stand in reports, summaries and beside the quarantined file."""

    EMPTY = "empty"
    NOT_DICOM = "not-dicom"
    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    BROKEN_NESTING = "broken-nesting"
    TOO_DEEP = "too-deep"
    BROKEN_ELEMENT = "broken-element"
    UNKNOWN_TRANSFER_SYNTAX = "unknown-transfer-syntax"
    NO_IDENTITY = "no-sop-instance"
    DIRECTORY_RECORD = "directory-record"
    ENCAPSULATED_DOCUMENT = "encapsulated-document"
    BURNED_IN = "burned-in-risk"
    PIXELS = "pixels-not-decodable"
    SAME_OUTPUT = "same-output-name"
    VERIFICATION = "verification-failed"
    INTERNAL = "internal-error"


class Quarantine(Exception):
    """An object that must not leave.

    Attributes: `reason` (for counting), `detail` (a line for a person: the place and what is wrong, never a value), `remedy` (what to do).
    """

    def __init__(self, reason: Reason, detail: str, remedy: str = "look at it by hand") -> None:
        super().__init__(f"{detail}; {remedy}")
        self.reason, self.detail, self.remedy = reason, detail, remedy

    def __reduce__(self) -> tuple[type["Quarantine"], tuple[Reason, str, str]]:
        """Exceptions cross from worker processes to their parent by pickle."""
        return Quarantine, (self.reason, self.detail, self.remedy)

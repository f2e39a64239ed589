"""What becomes of files, counted, and told to a person."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from toolkit.hospital.dicom.cleaning.quarantine import Reason


@dataclass
class Outcome:
    """What became of some files: `counts` by result (written, unchanged, duplicate, quarantined), `reasons` of quarantine, lines for the
    report and for the listing of a dry run. `last`: why the last of the quarantined did not pass, for a person."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    report: bytearray = field(default_factory=bytearray)
    listing: bytearray = field(default_factory=bytearray)
    last: str = ""

    def add(self, other: Outcome) -> None:
        """Count the files of `other` as well; its lines are its own."""
        self.counts.update(other.counts)
        self.reasons.update(other.reasons)


def summary(total: Outcome, quarantine: str, dry: bool = False) -> list[str]:
    """The lines that tell a person how a run ended: what went to quarantine and why, then all counts."""
    counts, lines = total.counts, []
    files = sum(counts[name] for name in ("written", "unchanged", "duplicate", "quarantined", "would be written"))
    if held := counts["quarantined"]:
        reasons = ", ".join(f"{number} {reason.value}" for reason, number in sorted(total.reasons.items()))
        if dry:
            lines.append(f"{held} of {files} files would go to quarantine ({reasons}); the list says which")
        else:
            lines.append(f"{quarantine}: {held} of {files} files went to quarantine ({reasons}); the .json file beside each says why")
    told = [f"{counts[name]} {name}" for name in ("written", "would be written", "unchanged", "duplicate", "quarantined") if counts[name]]
    told += [f"{counts['directory']} DICOMDIR passed over"] if counts["directory"] else []
    told += [f"{counts['skipped']} left out"] if counts["skipped"] else []
    lines.append(f"{files} files: " + (", ".join(told) or "nothing to do"))
    return lines

"""Who gets a name in the output, and what is remembered of it."""

from __future__ import annotations

from pathlib import Path

from toolkit.hospital.dicom.batch.journal import Claim, Journal, Verdict

GRANTED, DUPLICATE, TAKEN = Verdict.GRANTED, Verdict.DUPLICATE, Verdict.TAKEN


def claim(owner: bytes, content: bytes = b"content", instance: bytes = b"1.2.3", output: bytes = b"a.dcm", same: bool = False) -> Claim:
    return Claim(instance, output, owner, content, lambda: same)


def nothing(output: bytes) -> bool:
    return False


def everything(output: bytes) -> bool:
    return True


def test_the_first_gets_the_name(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    asked = [claim(b"first"), claim(b"second"), claim(b"third", b"other"), claim(b"first")]
    assert journal.claim(asked, nothing) == [GRANTED, DUPLICATE, TAKEN, GRANTED]


def test_an_owner_may_replace_its_own(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    assert journal.claim([claim(b"first"), claim(b"first", b"changed")], everything) == [TAKEN, TAKEN]
    assert journal.claim([claim(b"first"), claim(b"first", b"changed")], nothing) == [GRANTED, GRANTED]


def test_a_file_of_unknown_origin_is_not_replaced_unless_it_is_the_same(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    assert journal.claim([claim(b"first"), claim(b"first", same=True)], everything) == [TAKEN, GRANTED]


def test_one_instance_under_two_names(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    asked = [claim(b"first"), claim(b"second", output=b"b.dcm"), claim(b"third", b"other", output=b"c.dcm")]
    assert journal.claim(asked, nothing) == [GRANTED, GRANTED, TAKEN]


def test_a_name_whose_file_is_gone_goes_to_the_next_copy(tmp_path: Path) -> None:
    earlier = Journal(str(tmp_path))
    assert earlier.claim([claim(b"first")], nothing) == [GRANTED]
    earlier.close()
    later = Journal(str(tmp_path))
    assert later.run == earlier.run + 1
    assert later.claim([claim(b"second", b"other"), claim(b"second")], nothing) == [TAKEN, GRANTED]
    assert later.claim([claim(b"first")], everything) == [DUPLICATE]


def test_what_is_done_is_remembered_with_its_stamp(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.done([(b"key", b"stamp", b"a.dcm"), (b"other", b"old", b"b.dcm")])
    journal.close()
    assert Journal(str(tmp_path), 1).unchanged({b"key": b"stamp", b"other": b"new", b"unknown": b"stamp"}) == {b"key": b"a.dcm"}

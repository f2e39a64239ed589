"""A fault of ours is one line that names the place and none of the words."""

from __future__ import annotations

import logging

import pytest

from toolkit.datacentre.faults import place_of, report


def test_a_fault_is_one_line_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    try:
        {}["Jan Kowalski"]
    except KeyError as error:
        with caplog.at_level(logging.INFO):
            report(logging.getLogger("toolkit.test"), error, "it is tried again")
        line = error.__traceback__.tb_lineno if error.__traceback__ else 0
    (record,) = caplog.records
    assert record.getMessage() == f"KeyError in test_faults.py, line {line}: a fault of this program; it is tried again"
    assert record.exc_info is None


def test_its_traceback_is_there_for_those_who_ask(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("x")
    with caplog.at_level(logging.DEBUG, "toolkit.test"):
        report(logging.getLogger("toolkit.test"), error, "")
    assert [record.levelname for record in caplog.records] == ["ERROR", "DEBUG"] and caplog.records[1].exc_info
    assert place_of(error) == "ValueError"

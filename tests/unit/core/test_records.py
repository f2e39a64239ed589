"""Records as lines of text."""

import io
import json
import os

import pytest

from toolkit.core.records import write_records


@pytest.mark.parametrize("name", ["plain.npy", 'a "quoted" \\ name\n', "Größe.npy", os.fsdecode(b"\xff\xfe.npy")])
def test_any_name_of_a_file_comes_back(name):
    stream = io.BytesIO()
    write_records(stream, [{"panorama": name, "rank": 1}], "jsonl")
    assert stream.getvalue().count(b"\n") == 1
    assert json.loads(stream.getvalue().decode()) == {"panorama": name, "rank": 1}


def test_a_table_has_a_heading_and_empty_cells():
    stream = io.BytesIO()
    write_records(stream, [{"a": 1, "b": None}, {"a": 2.5, "b": "x"}], "tsv")
    assert stream.getvalue() == b"a\tb\n1\t\n2.5\tx\n"

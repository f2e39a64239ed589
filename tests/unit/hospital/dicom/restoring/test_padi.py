"""The predecessor's side files: Java properties, and where they are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes

from toolkit.hospital.dicom.restoring.padi import encode_values, read_properties, read_side_file, side_file


def test_what_java_writes() -> None:
    text = rb"""#PADI
#Mon Nov 23 10:00:00 CET 2015
1048592=Kowalska-\u0141ozi\u0144ska^Ma\u0142gorzata
1048608: 4711
  524416\tSzpital \
     Wojew\u00F3dzki
! a comment
2097168=a\\b\=c
1048624=
""".replace(b"\\t", b"\t")
    assert read_side_file(text) == {
        0x00100010: "Kowalska-Łozińska^Małgorzata",
        0x00100020: "4711",
        0x00080080: "Szpital Wojewódzki",
        0x00200010: "a\\b=c",
        0x00100030: "",
    }


def java(text: str) -> str:
    """A value as java.util.Properties.store writes it."""
    units = text.encode("utf-16-be")
    found = ""
    for unit in (int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)):
        plain = {9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}.get(unit)
        found += plain or (("\\" if chr(unit) in "\\=:#! " else "") + chr(unit) if 0x20 <= unit <= 0x7E else f"\\u{unit:04X}")
    return found


@given(st.dictionaries(st.integers(0x00080000, 0xFFFFFFFF), st.text(), min_size=1), st.sampled_from(["\n", "\r\n", "\r"]))
def test_every_text_comes_back(values: dict[int, str], end: str) -> None:
    data = "".join(f"{tag}={java(value)}{end}" for tag, value in values.items()).encode("latin-1")
    assert read_side_file(data) == values


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no values"),
        (b"PatientName=x", "decimal"),
        (b"1=x", "decimal"),
        (rb"1048592=\u00g1", "character"),
        (rb"1048592=\ud800", "half"),
    ],
)
def test_what_is_no_side_file(data: bytes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_side_file(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_properties_or_a_value_error(data: bytes) -> None:
    try:
        assert all(isinstance(key, str) for key, _ in read_properties(data))
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 101", "Łozińska^Żaneta"),
        ("ISO_IR 192", "Δημήτρης^山田"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎"),
    ],
)
def test_text_is_written_in_the_objects_character_set(name: str, text: str) -> None:
    raw = encode_values({0x00100010: text}, name.encode(), {}, False, False)
    value = raw[8 : 8 + int.from_bytes(raw[6:8], "little")]
    assert raw[:6] == b"\x10\x00\x10\x00PN" and len(value) % 2 == 0
    assert decode_bytes(value, convert_encodings(name.split("\\")), {"^", "="}).rstrip(" ") == text


def test_values_are_written_with_their_vr_and_order() -> None:
    values = {0x00280010: "512", 0x00080018: "1.2.3", 0x00189087: "1.5\\2"}
    raw = encode_values(values, b"", {0x00280010: "US"}, False, True)
    assert raw == (
        b"\x00\x08\x00\x18UI\x00\x061.2.3\0" + b"\x00\x18\x90\x87FD\x00\x10" + bytes.fromhex("3ff80000000000004000000000000000")
        + b"\x00\x28\x00\x10US\x00\x02\x02\x00"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({0x00100010: "山田"}, "character set"),
        ({0x00081140: "x"}, "SQ"),
        ({0x00280010: "many"}, "US"),
        ({0x00100020: "山", 0x00080005: "ISO_IR 100"}, "character set"),
    ],
)
@pytest.mark.filterwarnings("ignore:Failed to encode")
def test_values_that_cannot_be_written(values: dict[int, str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        encode_values(values, b"ISO_IR 100", {}, False, False)


def test_where_a_side_file_is_looked_for(tmp_path: Path) -> None:
    image = tmp_path / "IM0001.dcm"
    image.write_bytes(b"image")
    assert side_file(str(tmp_path), str(image), "1.2.3") is None
    for name in ("IM0001.txt", "IM0001.properties", "IM0001.dcm.properties", "1.2.3.properties", "1.2.3"):
        (tmp_path / name).write_text("1048608=1")
        assert side_file(str(tmp_path), str(image), "1.2.3") == str(tmp_path / name)
    assert side_file(str(tmp_path / "IM0001.txt"), str(image), "9") == str(tmp_path / "IM0001.txt")
    assert side_file(str(tmp_path / "absent"), str(image), "9") is None

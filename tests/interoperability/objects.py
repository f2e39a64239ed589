"""Part 10 files whose data sets are made by patching bytes: an encoder of pydicom's would write them in its own way."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.data.data_manager import DATA_ROOT, external_data_sources
from pydicom.filereader import read_dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

DEFLATED = {f"1.2.840.10008.1.2.{one}" for one in ("1.99", "4.95", "4.205")}
ROOT_UID = "1.2.826.0.1.3680043.8.498.7"
_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
_NATIVE = {str(ImplicitVRLittleEndian): "MR_small_implicit.dcm", str(ExplicitVRBigEndian): "MR_small_bigendian.dcm"}
SOP_CLASS, INSTANCE, REMOVED, STUDY, SERIES = 0x00080016, 0x00080018, 0x00120062, 0x0020000D, 0x0020000E


def part_10(instance: str, sop_class: str, syntax: str, body: bytes) -> bytes:
    """A file of a data set that is encoded already."""

    def element(number: int, vr: bytes, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        length = struct.pack("<2xL", len(value)) if vr == b"OB" else struct.pack("<H", len(value))
        return struct.pack("<HH", 2, number) + vr + length + value

    group = element(1, b"OB", b"\0\1")
    for number, uid in ((2, sop_class), (3, instance), (0x10, syntax), (0x12, ROOT_UID)):
        group += element(number, b"UI", uid.encode())
    return bytes(128) + b"DICM" + element(0, b"UL", struct.pack("<L", len(group))) + group + body


def body(path: Path) -> bytes:
    """The data set's bytes: what follows group 2."""
    data = path.read_bytes()
    assert data[128:140] == b"DICM\2\0\0\0UL\4\0"
    return data[144 + struct.unpack("<L", data[140:144])[0] :]


def put(plain: bytes, encoding: tuple[bool, bool], tag: int, value: str) -> bytes:
    """A data set, not deflated, with an element of the top level in place of the one that is there, or where it belongs.

    `encoding`: implicit VR? little-endian?
    """
    implicit, little = encoding
    ends = []
    for bound in (tag, tag + 1):
        stream = io.BytesIO(plain)
        read_dataset(stream, implicit, little, stop_when=lambda found, vr, length, bound=bound: found >= bound)
        ends.append(stream.tell())
    raw = value.encode() + (b" " if tag == REMOVED else b"\0") * (len(value) % 2)
    vr, order = b"CS" if tag == REMOVED else b"UI", "<" if little else ">"
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    head += struct.pack("<L", len(raw)) if implicit else vr + struct.pack(order + "H", len(raw))
    return plain[: ends[0]] + head + raw + plain[ends[1] :]


def named(plain: bytes, encoding: tuple[bool, bool], sop_class: str, instance: str) -> bytes:
    """A data set, not deflated, as that of an instance of its own, whose identity was removed."""
    for tag, value in (
        (SOP_CLASS, sop_class), (INSTANCE, instance), (REMOVED, "YES"), (STUDY, f"{ROOT_UID}.2"), (SERIES, f"{ROOT_UID}.3"),
    ):  # fmt: skip
        plain = put(plain, encoding, tag, value)
    return plain


def from_pydicom(directory: Path) -> dict[str, Path]:
    """pydicom's test files as objects whose identity was removed, each an instance of its own: the file by instance UID.

    Those that pydicom itself cannot walk through are left out, and indices of media.
    """
    made: dict[str, Path] = {}
    places = [Path(str(DATA_ROOT)) / "test_files", *(Path(str(one.data_path)) for one in external_data_sources().values())]
    for source in sorted(path for place in places for path in place.rglob("*.dcm")):  # get_testdata_files would download others
        found = _data_set(source)
        if found is None:
            continue
        plain, encoding, syntax, sop_class = found
        instance = f"{ROOT_UID}.1.{len(made) + 1}"
        plain = named(plain, encoding, sop_class, instance)
        path = directory / f"{len(made):03}-{source.name}"
        path.write_bytes(part_10(instance, sop_class, syntax, _deflated(plain) if syntax in DEFLATED else plain))
        made[instance] = path
    return made


def in_every_syntax(directory: Path, sop_classes: list[str], syntaxes: list[str]) -> dict[str, Path]:
    """Objects of each SOP class in each transfer syntax: the file by instance UID.

    Framed as the syntax wants it; all compressed ones hold the same JPEG 2000 frame, which neither sender nor receiver may look into.
    """
    samples = {name: _data_set(Path(str(get_testdata_file(name)))) for name in ("CT_small.dcm", *_NATIVE.values(), "JPEG2000.dcm")}
    made: dict[str, Path] = {}
    for syntax in syntaxes:
        uid = UID(syntax)
        encapsulated = uid.is_private or uid.is_encapsulated  # pydicom takes those it does not know for private
        sample = samples["JPEG2000.dcm" if encapsulated else _NATIVE.get(syntax, "CT_small.dcm")]
        assert sample is not None
        for sop_class in sop_classes:
            instance = f"{ROOT_UID}.4.{len(made) + 1}"
            plain = named(sample[0], sample[1], sop_class, instance)
            path = directory / f"{len(made):04}.dcm"
            path.write_bytes(part_10(instance, sop_class, syntax, _deflated(plain) if syntax in DEFLATED else plain))
            made[instance] = path
    return made


def _data_set(path: Path) -> tuple[bytes, tuple[bool, bool], str, str] | None:
    """Its bytes, not deflated, whether its VRs are implicit and it is little-endian, its transfer syntax and its SOP class."""
    try:
        dataset = pydicom.dcmread(path)
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        sop_class = str(dataset.get("SOPClassUID") or _CT_CLASS)
        with open(path, "rb") as file:
            pydicom.filereader.read_preamble(file, False)
            pydicom.filereader._read_file_meta_info(file)
            raw = file.read()
    except (pydicom.errors.InvalidDicomError, AttributeError, ValueError, EOFError, OSError, NotImplementedError):
        return None
    if sop_class == pydicom.uid.MediaStorageDirectoryStorage:
        return None
    plain = zlib.decompress(raw, -zlib.MAX_WBITS) if syntax in DEFLATED else raw
    implicit = not plain[4:6].isalpha()  # one has implicit VRs where its transfer syntax has none
    return plain, (implicit, syntax != ExplicitVRBigEndian), syntax, sop_class


def _deflated(plain: bytes) -> bytes:
    """As PS3.5, annex A.5 wants it; at another level than usual, so that deflating anew would be seen."""
    packer = zlib.compressobj(2, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(plain) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)

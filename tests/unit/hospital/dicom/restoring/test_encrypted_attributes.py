"""The Encrypted Attributes Sequence: ours is opened by gdcmanon and openssl, theirs by us."""

from __future__ import annotations

import datetime
import struct
import subprocess
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from pydicom.data import get_testdata_file

from toolkit.hospital.dicom.encoding.transcoding import EXPLICIT_LITTLE, Encoding, elements, transcode
from toolkit.hospital.dicom.restoring.encrypted_attributes import WrongKey, decrypt_attributes, encrypted_attributes

EXPLICIT = [(0x00080018, "UI", b"1.2.840.99.1"), (0x00100010, "PN", "Łukasz^Żak".encode()), (0x00100020, "LO", b"4711")]


def explicit(parts: list[tuple[int, str, bytes]]) -> bytes:
    return b"".join(struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value for tag, vr, value in parts)


def certificate(key) -> bytes:  # type: ignore[no-untyped-def]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "recipient")])
    today = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(today).not_valid_after(today + datetime.timedelta(days=9999))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(65537, 2048) for _ in range(3)]


@pytest.fixture
def pem(keys, tmp_path: Path) -> tuple[Path, Path]:  # type: ignore[no-untyped-def]
    """The files of the first key and its certificate."""
    private, public = tmp_path / "key.pem", tmp_path / "certificate.pem"
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(keys[0].private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    public.write_bytes(certificate(keys[0]))
    return private, public


def with_sequence(dataset: pydicom.Dataset, value: bytes) -> bytes:
    """The file of `dataset` with the encoded `value` as its Encrypted Attributes Sequence, as a writer of bytes puts it there."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    whole = buffer.getvalue()
    meta = 144 + struct.unpack_from("<I", whole, 140)[0]
    spans = elements(whole, EXPLICIT_LITTLE, meta)
    place = next(start for tag, start, _ in spans if tag > 0x04000500)
    sequence = struct.pack("<HH2sHI", 0x0400, 0x0500, b"SQ", 0, len(value)) + value
    return whole[:place] + sequence + whole[place:]


@pytest.mark.parametrize("encoding", [(False, False), (True, False), (False, True)])
def test_what_is_encrypted_is_decrypted_in_the_objects_encoding(keys, encoding: tuple[bool, bool]) -> None:  # type: ignore[no-untyped-def]
    original = transcode(explicit(EXPLICIT), EXPLICIT_LITTLE, Encoding(*encoding))
    value = encrypted_attributes(original, [certificate(key) for key in keys[:2]], *encoding)
    for key in keys[:2]:
        assert decrypt_attributes(value, key, *encoding) == original
    with pytest.raises(WrongKey):
        decrypt_attributes(value, keys[2], *encoding)


def test_nothing_of_the_original_can_be_read(keys) -> None:  # type: ignore[no-untyped-def]
    value = encrypted_attributes(explicit(EXPLICIT), [certificate(keys[0])])
    assert all(part not in value for _, _, part in EXPLICIT)
    assert encrypted_attributes(explicit(EXPLICIT), [certificate(keys[0])]) != value


def test_gdcmanon_restores_what_we_encrypt(keys, pem, program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    gdcmanon = program("gdcmanon", "libgdcm-tools")
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientID, dataset.PatientName, dataset.SOPInstanceUID = "token", "Anonymous", "2.25.1"
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "test"
    value = encrypted_attributes(explicit(EXPLICIT), [certificate(key) for key in reversed(keys)])
    (tmp_path / "in.dcm").write_bytes(with_sequence(dataset, value))
    done = subprocess.run([gdcmanon, "-d", "-k", pem[0], "in.dcm", "out.dcm"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    restored = pydicom.dcmread(tmp_path / "out.dcm")
    assert [restored[tag].VR for tag, _, _ in EXPLICIT] == [vr for _, vr, _ in EXPLICIT]
    assert (restored.PatientID, restored.SOPInstanceUID) == ("4711", "1.2.840.99.1")
    assert restored["PatientName"].value.original_string == EXPLICIT[1][2]
    assert "EncryptedAttributesSequence" not in restored
    assert restored.PixelData == dataset.PixelData


@pytest.mark.parametrize("algorithm", ["--aes128", "--aes192", "--aes256", "--des3"])
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "SC_rgb_dcmtk_+eb+cr.dcm"])
def test_we_decrypt_what_gdcmanon_encrypts(name: str, algorithm: str, keys, pem, program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    gdcmanon = program("gdcmanon", "libgdcm-tools")
    source = get_testdata_file(name)
    done = subprocess.run([gdcmanon, "-e", algorithm, "-c", pem[1], source, tmp_path / "out.dcm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    anonymised, original = pydicom.dcmread(tmp_path / "out.dcm"), pydicom.dcmread(source)
    assert anonymised.SOPInstanceUID != original.SOPInstanceUID
    implicit = anonymised.file_meta.TransferSyntaxUID.is_implicit_VR
    whole = (tmp_path / "out.dcm").read_bytes()
    encoding = Encoding(implicit, False)
    spans = {tag: whole[start:end] for tag, start, end in elements(whole, encoding, 144 + struct.unpack_from("<I", whole, 140)[0])}
    value = spans[0x04000500][8 if implicit else 12 :]
    restored = decrypt_attributes(value, keys[0], implicit)
    got = pydicom.filereader.read_dataset(BytesIO(restored), implicit, True)
    assert got.SOPInstanceUID == original.SOPInstanceUID
    assert got.PatientID == original.PatientID
    for element in got:
        if element.VR != "SQ":
            assert element == original[element.tag]
    with pytest.raises(WrongKey):
        decrypt_attributes(value, keys[1], implicit)


def test_openssl_opens_ours_and_streamed_envelopes_of_openssl_are_opened(keys, pem, program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from cryptography.x509 import load_pem_x509_certificate

    from toolkit.hospital.dicom.restoring.cms import envelop, open_envelope

    openssl = program("openssl", "openssl")
    secret = bytes(range(256)) * 300
    ours = envelop(secret, [load_pem_x509_certificate(pem[1].read_bytes())])
    command = [openssl, "cms", "-decrypt", "-binary", "-inform", "DER", "-inkey", pem[0]]
    assert subprocess.run(command, input=ours, capture_output=True, check=True).stdout == secret
    command = [openssl, "cms", "-encrypt", "-binary", "-stream", "-outform", "DER", "-aes-192-cbc", pem[1]]
    theirs = subprocess.run(command, input=secret, capture_output=True, check=True).stdout
    assert theirs[1] == 0x80, "a stream has an indefinite length"
    assert open_envelope(theirs + b"\0", keys[0]) == secret


def test_damaged_content_is_an_error_of_one_line(keys) -> None:  # type: ignore[no-untyped-def]
    value = encrypted_attributes(explicit(EXPLICIT), [certificate(keys[0])])
    start = value.index(b"\x30\x82")
    for place in [*range(0, start + 80), *range(len(value) - 120, len(value), 7)]:
        broken = value[:place] + bytes([value[place] ^ 0x55]) + value[place + 1 :]
        try:
            assert len(decrypt_attributes(broken, keys[0])) >= 0
        except ValueError as error:
            assert "\n" not in str(error)
    for length in range(0, len(value), 13):
        with pytest.raises(ValueError):
            decrypt_attributes(value[:length], keys[0])


def test_certificates_that_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="RSA"):
        encrypted_attributes(b"", [certificate(ec.generate_private_key(ec.SECP256R1()))])
    with pytest.raises(ValueError, match="PEM"):
        encrypted_attributes(b"", [b"nonsense"])
    with pytest.raises(ValueError, match="recipient"):
        encrypted_attributes(b"", [])

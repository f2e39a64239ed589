"""Synthetic imaging studies as a hospital's devices write them (DICOM), full of personal data, each belonging to a synthetic visit.

Patient, accession number and dates are those of the visit of the same number and seed (tests/visits/generate.py). Everything is invented;
the same number and seed give the same bytes. As a program it fills a directory:

    python tests/transfer/generate.py images/ --count 20 --seed 1
"""

from __future__ import annotations

import argparse
import functools
import io
import random
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset, FileDataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.visits import generate as visits
from tests.visits.generate import HOSPITAL, Generated, Person

MODALITIES = ("CT", "MR", "US", "CR")  # of studies 0, 1, 2, 3, 4 ...
STORAGE = "1.2.840.10008.5.1.4.1.1."
CLASSES = {"CT": "2", "MR": "4", "US": "6.1", "CR": "1"}
SYNTAXES = {"CT": ExplicitVRLittleEndian, "MR": ImplicitVRLittleEndian, "US": ExplicitVRLittleEndian, "CR": JPEGLSLossless}
DEVICES = {
    "CT": ("Siemens", "Sensation 64"),
    "MR": ("GE MEDICAL SYSTEMS", "HDxt"),
    "US": ("Philips", "iU22"),
    "CR": ("Agfa", "CR 85"),
}
EXAMINATIONS = {"CT": "TK głowy", "MR": "MR głowy", "US": "USG naczyń szyi", "CR": "RTG klatki piersiowej"}
IMAGE_TYPES = {"CT": ("AXIAL",), "MR": ("OTHER",)}
SIDE = 128  # pixels of a picture's edge: 33 KB as CT; 512 gives 525 KB
BANNER = 28  # rows of an ultrasound picture that show whose it is
HEAD = (  # an ellipse each: centre, half axes, brightness added, all in thousandths of half the picture's edge
    (0, 0, 690, 920, 900), (0, -18, 662, 874, -500), (220, 0, 110, 310, -250), (-220, 0, 160, 410, -250), (0, 350, 210, 250, 160),
    (0, 100, 46, 46, 200), (-80, -605, 46, 23, 250), (60, -605, 23, 46, 250),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One object: a Part 10 file as the hospital's archive holds it."""

    name: str  # a file name
    instance_uid: str
    series_uid: str
    content: bytes


@dataclass(frozen=True)
class Study:
    """The pictures of one examination of a visit. `personal`: texts none of which may be found in anything that leaves the hospital."""

    visit: Generated
    study_uid: str
    accession: str
    modality: str
    pictures: tuple[Picture, ...]
    personal: tuple[str, ...]


def study(number: int, seed: int = 1, side: int = SIDE, **options: object) -> Study:
    """The examination of the visit `number`, 0 and up, of the hospital `seed`: two or three series of one to three pictures.

    `side`: the edge of a picture, pixels, 64 to 512. `options` are those of `visits.visit`, with which the visit was made.
    """
    if not 64 <= side <= 512:
        raise ValueError(f"side: {side} is not within 64 to 512")
    chance = random.Random(f"{seed} study {number}")
    visit = visits.visit(number, seed, **options)  # type: ignore[arg-type]
    modality = MODALITIES[number % len(MODALITIES)]
    study_uid = _uid(chance)
    pictures = []
    for series in range(1, chance.choice((2, 3)) + 1):
        series_uid = _uid(chance)
        for instance in range(1, chance.choice((1, 2, 3)) + 1):
            made = _described(visit, modality, study_uid, series_uid, series, instance, chance)
            _pixels(made, visit.patient, modality, side, chance)
            name = f"{modality}-{seed}-{number:07d}-{series}-{instance}.dcm"
            pictures.append(Picture(name, made.SOPInstanceUID, series_uid, _file(made, SYNTAXES[modality])))
    return Study(visit, study_uid, visit.accession_numbers[0], modality, tuple(pictures), _personal(visit, study_uid, pictures))


def write(directory: Path, count: int, seed: int = 1, side: int = SIDE, **options: object) -> list[Study]:
    """The studies 0 to `count` - 1, a sub-directory each in `directory`, which is made; the others are as for `study`."""
    studies = [study(number, seed, side, **options) for number in range(count)]
    for number, one in enumerate(studies):
        folder = directory / f"{number:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        for picture in one.pictures:
            (folder / picture.name).write_bytes(picture.content)
    return studies


def _uid(chance: random.Random) -> str:
    return f"1.2.826.0.1.3680043.8.498.{chance.getrandbits(96)}"


def _personal(visit: Generated, study_uid: str, pictures: list[Picture]) -> tuple[str, ...]:
    uids = [uid for one in pictures for uid in (one.series_uid, one.instance_uid)]
    words = [_ascii(visit.patient.family).upper(), f"{visit.patient.family}^{visit.patient.given}", visit.patient.postcode]
    return tuple(dict.fromkeys([*visit.personal, *words, study_uid, *uids]))


def _described(
    visit: Generated, modality: str, study_uid: str, series_uid: str, series: int, instance: int, chance: random.Random
) -> Dataset:
    """Everything but the pixels. Whoever wrote it put the patient's data wherever there was room."""
    patient, doctor = visit.patient, visit.doctor
    day, time = visit.start[:8], visit.start[8:14]
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192" if series % 2 else "ISO_IR 101"  # UTF-8, ISO-8859-2
    made.ImageType = ["ORIGINAL", "PRIMARY", *IMAGE_TYPES.get(modality, ())]
    made.SOPClassUID, made.SOPInstanceUID = STORAGE + CLASSES[modality], _uid(chance)
    made.StudyDate = made.SeriesDate = made.ContentDate = made.AcquisitionDate = day
    made.StudyTime = made.SeriesTime = made.ContentTime = made.AcquisitionTime = time
    made.AccessionNumber, made.Modality = visit.accession_numbers[0], modality
    made.Manufacturer, made.ManufacturerModelName = DEVICES[modality]
    made.InstitutionName, made.InstitutionAddress = HOSPITAL, f"{patient.city}, {patient.postcode}"
    made.StationName = f"PRACOWNIA{series}"
    made.ReferringPhysicianName = made.PerformingPhysicianName = f"{doctor.family}^{doctor.given}"
    made.OperatorsName = f"{doctor.family}^{doctor.given}"
    made.StudyDescription = f"{EXAMINATIONS[modality]} {patient.family} {patient.pesel}"
    made.SeriesDescription = f"seria {series}"
    made.PatientName, made.PatientID = f"{patient.family}^{patient.given}", patient.pesel
    made.IssuerOfPatientID, made.OtherPatientIDs = "PESEL", [patient.pesel, f"HIS{patient.pesel[:6]}"]
    made.PatientBirthDate, made.PatientSex = f"{patient.born:%Y%m%d}", patient.sex
    made.PatientAge = f"{(int(day[:4]) - patient.born.year):03d}Y"
    made.PatientAddress, made.PatientTelephoneNumbers = f"{patient.street}, {patient.postcode} {patient.city}", patient.phone
    made.AdditionalPatientHistory = f"Pacjent {patient.given} {patient.family}, {patient.pesel}, zam. {patient.street}, {patient.mail}"
    made.PatientComments = f"Tel. {patient.phone}; lekarz {doctor.given} {doctor.family} ({doctor.pesel}), {doctor.mail}"
    made.ImageComments = f"{patient.family.upper()} {patient.given}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.StudyID = study_uid, series_uid, visit.visit_id.rpartition("-")[2]
    made.SeriesNumber, made.InstanceNumber = series, instance
    order = Dataset()
    order.AccessionNumber, order.RequestedProcedureID = visit.accession_numbers[0], visit.visit_id.rpartition("/")[2][-16:]
    order.RequestedProcedureDescription = f"{EXAMINATIONS[modality]}: {patient.given} {patient.family}"
    made.RequestAttributesSequence = [order]
    private = made.private_block(0x0029, "SZPITAL TESTOWY", create=True)
    private.add_new(0x01, "LO", f"{patient.family} {patient.pesel}")
    note = f"{patient.given} {patient.family};{visit.visit_id}".encode()
    private.add_new(0x02, "UN", note + b" " * (len(note) % 2))
    _geometry(made, modality, study_uid, series, instance)
    return made


def _geometry(made: Dataset, modality: str, study_uid: str, series: int, instance: int) -> None:
    """What the picture's class demands."""
    if modality in ("CT", "MR"):
        made.FrameOfReferenceUID, made.PositionReferenceIndicator = f"{study_uid}.1", ""
        made.ImageOrientationPatient, made.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-110, -110, 5 * instance]
        made.PixelSpacing, made.SliceThickness, made.PatientPosition = [0.86, 0.86], 5, "HFS"
    if modality == "CT":
        made.RescaleIntercept, made.RescaleSlope, made.KVP, made.AcquisitionNumber = -1024, 1, 120, series
    elif modality == "MR":
        made.ScanningSequence, made.SequenceVariant, made.ScanOptions, made.MRAcquisitionType = "SE", "NONE", "", "2D"
        made.EchoTime, made.RepetitionTime, made.EchoTrainLength = 15, 600, 1
    elif modality == "US":
        made.PatientOrientation = ""
    elif modality == "CR":
        made.BodyPartExamined, made.ViewPosition, made.PatientOrientation = "CHEST", "PA", ["L", "F"]


def _pixels(made: Dataset, patient: Person, modality: str, side: int, chance: random.Random) -> None:
    picture = _head(side) + np.random.default_rng(chance.getrandbits(32)).integers(0, 60, (side, side), dtype=np.int16)
    made.Rows = made.Columns = side
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    if modality == "US":
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
        made.BitsAllocated = made.BitsStored = 8
        made.HighBit, made.BurnedInAnnotation = 7, "YES"
        made.SequenceOfUltrasoundRegions = [_region(side)]
        grey = (picture >> 3).astype(np.uint8)
        grey[:BANNER] = _banner(patient, side)
        made.PixelData = np.repeat(grey[:, :, None], 3, axis=2).tobytes()
        return
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelData = picture.astype("<u2").tobytes()
    made["PixelData"].VR = "OW"


def _region(side: int) -> Dataset:
    """Where the picture stands; the banner is outside (PS3.3 C.8.5.5)."""
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, BANNER
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = side - 1, side - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # centimetres
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.02
    return region


@functools.cache
def _head(side: int) -> np.ndarray:
    """A head in section, as Shepp and Logan drew it, simplified; whole numbers only, so that all machines draw the same. 0 to 1984."""
    across = (2 * np.arange(side, dtype=np.int64) + 1 - side) * 1000 // side
    picture = np.zeros((side, side), np.int64)
    for x, y, a, b, brightness in HEAD:
        inside = ((across[None, :] - x) * b) ** 2 + ((across[:, None] - y) * a) ** 2 <= (a * b) ** 2
        picture += inside * brightness
    return (picture * 2).astype(np.int16)


def _banner(patient: Person, side: int) -> np.ndarray:
    """What an ultrasound scanner writes above its picture, in white on black."""
    strip = Image.new("L", (side, BANNER))
    ImageDraw.Draw(strip).text((2, 0), f"{_ascii(patient.family).upper()}\n{patient.pesel}", fill=255, spacing=1)
    return np.asarray(strip)


def _ascii(word: str) -> str:
    """As devices write it that know no Polish letters."""
    apart = unicodedata.normalize("NFKD", word.replace("ł", "l").replace("Ł", "L"))
    return "".join(one for one in apart if one.isascii())


def _file(made: Dataset, syntax: str) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == JPEGLSLossless else syntax
    whole = FileDataset("", made, preamble=bytes(128), file_meta=meta)
    if syntax == JPEGLSLossless:
        whole.compress(syntax, generate_instance_uid=False)
    stream = io.BytesIO()
    dcmwrite(stream, whole, enforce_file_format=True)
    return stream.getvalue()


def main() -> None:
    """Fill a directory."""
    parser = argparse.ArgumentParser(description="Write synthetic imaging studies, one directory each.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=20, help="studies [20]")
    parser.add_argument("--seed", type=int, default=1, help="another one is another hospital [1]")
    parser.add_argument("--side", type=int, default=SIDE, help=f"pixels of a picture's edge, 64 to 512 [{SIDE}]")
    choice = parser.parse_args()
    if not 64 <= choice.side <= 512:
        parser.error(f"--side: {choice.side} is not within 64 to 512")
    written = write(choice.directory, choice.count, choice.seed, choice.side)
    print(f"{sum(len(one.pictures) for one in written)} pictures of {len(written)} studies in {choice.directory}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""dicom-anon beside five other de-identifiers in one run: speed, and what each leaves of the original.

Speed: CT slices of 39 KB with 179 private elements (pydicom's CT_small.dcm) and of 525 KB (the same, 512 x 512), several patients, series
of 50; runs are interleaved, medians count. Python libraries run warm inside a process, dicom-anon and gdcmanon are timed as whole commands.
Quality: pydicom's and pydicom-data's files against Table E.1-1 at every depth (basic profile; characteristics of patients and shifted
dates may stay), new errors of dciodvfy, files without an output, and planted identifiers found in the output.

JSON lines go to standard output, a table in Markdown to build/deidentification.md; the exit status is 1 when a bar is missed.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import pydicom  # noqa: E402
from pydicom.data import get_testdata_file  # noqa: E402

from tests.deidentification import corpus, planter, programs, table_checker, validity  # noqa: E402

OURS = "dicom-anon"
# Ours must not be slower than what Python users can install; dcmanon is Rust inside. gdcmanon is a C++ program, shown for comparison.
PYTHON = ("dicognito", "dicom-anonymizer", "deid", "dcmanon")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SMALL, LARGE = "39 KB", "525 KB"
# Files a run: enough for some seconds each, and for start-up to weigh on a command as in a short batch.
FILES = {(OURS, SMALL): 4000, (OURS, LARGE): 400, ("peer", SMALL): 100, ("peer", LARGE): 40}
BARS = {SMALL: 1000.0, LARGE: 250.0, "vault": 400.0}
JOBS_GAIN = 1.7
PEAK_MB = 200.0
HUGE = int(os.environ.get("BENCH_HUGE_BYTES", str(1 << 30)))
JUDGED_BY = frozenset({"retain_patient", "modified_dates"})
NEW_ERRORS_ALLOWED = 0.02


@dataclass
class Line:
    """One row of the table."""

    speed: dict[str, list[float]] = field(default_factory=dict)  # files/s by size
    violations: int = 0
    broken: int = 0  # files with a violation
    leaks: int = 0
    invalid: int = 0
    checked: int = 0  # outputs that dciodvfy could judge
    failed: int = 0


def main() -> int:
    warnings.simplefilter("ignore")
    table: dict[str, Line] = {}
    with tempfile.TemporaryDirectory(prefix="deidentification-") as name:
        folder = Path(name)
        certificate = programs.write_certificate(folder / "certificate.pem")
        key = folder / "key"
        ours = (ROOT / "bin" / "dicom-anon").exists()
        if ours:
            subprocess.run([sys.executable, str(ROOT / "bin" / "hospital-key"), "new", str(key)], check=True, stdout=subprocess.DEVNULL)
        bad = measure_speed(folder, certificate, key if ours else None, table)
        planted = measure_quality(folder, certificate, key if ours else None, table)
        if ours:
            bad += measure_memory(folder, key)
    for program, row in table.items():
        if not row.checked:
            continue
        line = {"benchmark": f"{program}: quality", "ours_s": 0, "violations": row.violations, "files_with_violations": row.broken}
        line |= {"leaks": row.leaks, "planted": planted, "invalid": row.invalid, "judged": row.checked, "failed": row.failed}
        print(json.dumps(line), flush=True)
        if is_ours(program) and row.checked:
            bad += bool(row.violations or row.leaks or row.invalid > NEW_ERRORS_ALLOWED * row.checked)
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "deidentification.md").write_text(markdown(table, planted))
    return 1 if bad else 0


def measure_speed(folder: Path, certificate: Path, key: Path | None, table: dict[str, Line]) -> int:
    variants = {OURS: ["--no-vault"], f"{OURS} with vault": ["--vault", "VAULT"], f"{OURS} --jobs 2": ["--no-vault", "--jobs", "2"]}
    for size in (SMALL, LARGE):
        many = make_slices(folder / f"many-{size}", FILES[OURS, size] if key else FILES["peer", size], size)
        few = folder / f"few-{size}"
        few.mkdir()
        for path in sorted(many.iterdir())[: FILES["peer", size]]:
            os.link(path, few / path.name)
        warm_up = folder / f"warm-up-{size}"
        warm_up.mkdir()
        for path in sorted(few.iterdir())[:2]:
            os.link(path, warm_up / path.name)
        for number in range(ROUNDS):
            for program in [*(variants if key else ()), *programs.LIBRARIES, "gdcmanon"]:
                # Nothing is removed before the end: ext4 is slow at making files for a minute after many were deleted.
                out = folder / f"speed-{size}-{number}-{program}".replace(" ", "-")
                out.mkdir()
                if program in variants:
                    assert key is not None
                    vault = out.parent / f"{out.name}.db"
                    options = [str(vault) if word == "VAULT" else word for word in variants[program]]
                    seconds = programs.run_ours(many, out, key, *options).seconds
                elif program == "gdcmanon":
                    seconds = programs.run_gdcmanon(few, out, certificate).seconds
                else:
                    seconds = programs.run_library(program, few, out, warm_up).seconds
                source = many if program in variants else few
                made = sum(1 for path in out.rglob("*") if path.is_file())
                speed = len(list(source.iterdir())) / seconds
                table.setdefault(program, Line()).speed.setdefault(size, []).append(speed)
                figures = {"benchmark": f"{program}, {size}, one run", "ours_s": seconds, "files_per_s": round(speed, 1), "outputs": made}
                print(json.dumps({**figures, "load_average": round(os.getloadavg()[0], 2)}), flush=True)
    return hold_bars(table) if key else 0


def hold_bars(table: dict[str, Line]) -> int:
    """One line for each bar and each peer, in seconds per 1,000 files; how many are missed."""
    bad = 0
    median = {(program, size): statistics.median(runs) for program, row in table.items() for size, runs in row.speed.items()}
    held = [(OURS, SMALL, BARS[SMALL]), (OURS, LARGE, BARS[LARGE]), (f"{OURS} with vault", SMALL, BARS["vault"])]
    held.append((f"{OURS} --jobs 2", SMALL, JOBS_GAIN * median[OURS, SMALL]))
    for program, size, bar in held:
        bad += median[program, size] < bar
        print(json.dumps({"benchmark": f"{program}, {size}, 1,000 files", "ours_s": 1000 / median[program, size], "bar_s": 1000 / bar}))
    for program in filter(is_ours, table):
        for peer in (*programs.LIBRARIES, "gdcmanon"):
            for size in (SMALL, LARGE):
                line = {"benchmark": f"{program}, {size}, 1,000 files", "peer": peer}
                print(json.dumps({**line, "ours_s": 1000 / median[program, size], "peer_s": 1000 / median[peer, size]}), flush=True)
                bad += peer in PYTHON and median[program, size] < median[peer, size]
    return bad


def measure_quality(folder: Path, certificate: Path, key: Path | None, table: dict[str, Line]) -> int:
    """Every program over the odd files, and over one slice full of planted identifiers. Returns how many were planted."""
    source = folder / "odd"
    source.mkdir()
    readable = {}
    seen: set[str] = set()
    rules = folder / "passing.toml"
    rules.write_text(corpus.PASSING)  # the others do not look at pixels at all
    for number, path in enumerate(corpus.paths()):
        name = f"{number:03}-{path.stem.replace('+', '_')}.dcm"
        content = corpus.told_apart(path.read_bytes(), number, seen)
        try:
            data = table_checker.read(content)
            sound = "SOPInstanceUID" in data and len(data) > 1
        except Exception:
            sound = False
        if sound:  # the others are no objects; that they are refused is for the tests
            (source / name).write_bytes(content)
            readable[name] = data
    slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    plants = planter.plant(slice_, planter.person(0))
    slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = "1.2.840.113619.2.176.1.1.1"
    (source / "planted.dcm").write_bytes(corpus.as_file(slice_))
    runs = {program: [] for program in (*programs.LIBRARIES, "gdcmanon")}
    if key:
        runs = {OURS: ["--no-vault"], f"{OURS} --profile basic": ["--no-vault", "--profile", "basic"]} | runs
    warm_up = folder / "warm-up"
    warm_up.mkdir(exist_ok=True)
    for program, options in runs.items():
        row = table.setdefault(program, Line())
        out = folder / "out"
        out.mkdir()
        if is_ours(program):
            assert key is not None
            programs.run_ours(source, out, key, "--keep-names", "--pixel-rules", str(rules), *options)
        elif program == "gdcmanon":
            programs.run_gdcmanon(source, out, certificate, one_by_one=True)
        else:
            programs.run_library(program, source, out, warm_up)
        outputs = {path.name: path for path in out.rglob("*.dcm")}
        uids = table_checker.UidMap()
        for name, data in readable.items():
            path = outputs.get(name)
            if path is None:
                row.failed += 1
                continue
            try:
                # gdcmanon keeps its map of UIDs for one process, and had one for each file.
                known = None if program == "gdcmanon" else uids
                found = table_checker.check(data, table_checker.read(path.read_bytes()), options=JUDGED_BY, uids=known)
            except Exception:
                row.failed += 1
                continue
            row.violations += len(found)
            row.broken += bool(found)
            row.checked += 1
            row.invalid += bool(validity.new_errors(source / name, path))
        planted = outputs.get("planted.dcm")
        assert planted is not None, f"{program} does nothing with a plain CT"
        row.leaks = len(planter.leaks(planted.read_bytes(), plants))
        for left in folder.glob("out*"):
            shutil.rmtree(left)
    return len(plants)


def is_ours(program: str) -> bool:
    return program.split(" ")[0] == OURS


def measure_memory(folder: Path, key: Path) -> int:
    """The peak of one object of a gigabyte (its zeros take no disk before they are copied)."""
    source, out = folder / "huge", folder / "out"
    source.mkdir()
    out.mkdir()
    make_huge(source / "huge.dcm", HUGE)
    run = programs.run_ours(source, out, key, "--no-vault")
    made = sum(path.stat().st_size for path in out.rglob("*.dcm"))
    line = {"benchmark": f"{OURS}, one object of {HUGE >> 20} MB", "ours_s": run.seconds, "ours_mb": run.peak_mb, "bar_mb": PEAK_MB}
    print(json.dumps({**line, "output_bytes": made, "load_average": os.getloadavg()[0]}), flush=True)
    return int(run.peak_mb > PEAK_MB or made < HUGE)


def make_huge(path: Path, size: int) -> None:
    """CT_small's header with pixel data of `size` zero bytes."""
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data.Rows = data.Columns = 1024
    data.NumberOfFrames = size // (2 << 20)
    data.PixelData = b"\0\0"
    for tag in [tag for tag in tuple(data.keys()) if tag > 0x7FE00010]:
        del data[tag]
    header = corpus.as_file(data)
    with open(path, "wb") as stream:
        stream.write(header[:-6] + (size // (2 << 20) * (2 << 20)).to_bytes(4, "little"))
        stream.truncate(len(header) - 2 + size // (2 << 20) * (2 << 20))


def make_slices(folder: Path, count: int, size: str) -> Path:
    """`count` slices: studies of two series of 50, each its own patient and dates, written as plain files."""
    folder.mkdir()
    template = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    if size == LARGE:
        pixels = template.PixelData
        row = template.Columns * 2
        wide = b"".join(pixels[start : start + row] * 4 for start in range(0, len(pixels), row))
        template.PixelData, template.Rows, template.Columns = wide * 4, 512, 512
    for number in range(count):
        data = copy.copy(template)
        series, study = number // 50, number // 100
        who = planter.person(study)
        data.file_meta = copy.copy(template.file_meta)
        data.PatientName, data.PatientID, data.PatientBirthDate = who.name, who.patient_id, who.birth
        data.AccessionNumber, data.StudyID, data.StudyDate = who.accession, who.study_id, who.study
        data.SeriesDate = data.AcquisitionDate = data.ContentDate = who.study
        data.StudyInstanceUID = f"1.2.840.113619.2.176.{study + 1}"
        data.SeriesInstanceUID = f"{data.StudyInstanceUID}.{series + 1}"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SeriesInstanceUID}.{number + 1}"
        data.InstanceNumber = number % 50 + 1
        (folder / f"{number:05}.dcm").write_bytes(corpus.as_file(data))
    return folder


def markdown(table: dict[str, Line], planted: int) -> str:
    """The table as the README shows it."""
    columns = f"{SMALL}, files/s|{LARGE}, files/s|breaks of Table E.1-1 (files)|leaks of {planted} planted|newly invalid|without output"
    text = [f"| | {columns.replace('|', ' | ')} |", "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for program, row in table.items():
        speeds = [f"{statistics.median(row.speed[size]):,.0f}" if size in row.speed else "" for size in (SMALL, LARGE)]
        quality = [f"{row.violations:,} ({row.broken} of {row.checked})", str(row.leaks)]
        quality += [f"{row.invalid} of {row.checked}", str(row.failed)]
        text.append(f"| {program} | {' | '.join(speeds)} | {' | '.join(quality if row.checked else [''] * 4)} |")
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""Every de-identifier that is compared, ours included, behind one interface: folder in, folder out, seconds, files that failed.

Python libraries run warm in a process of their own (`python programs.py NAME IN OUT WARM-UP`), so that neither their start-up nor that of
Python is counted against them; commands are timed as a whole. Each is used with its most complete settings.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("dicognito", "dicom-anonymizer", "deid", "dcmanon")
Handle = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_mb: float = 0.0


def run_library(name: str, source: Path, target: Path, warm_up: Path) -> Run:
    """Seconds spent in the library for every file of `source`, those it cannot do included; outputs keep their names."""
    command = [sys.executable, __file__, name, str(source), str(target), str(warm_up)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return Run(json.loads(result.stdout.splitlines()[-1])["seconds"])


def run_gdcmanon(source: Path, target: Path, certificate: Path, one_by_one: bool = False) -> Run:
    """Debian's gdcmanon over a folder; `one_by_one` where a file that it cannot do would end the run."""
    options = ["gdcmanon", "--de-identify", "--certificate", str(certificate)]
    began = time.perf_counter()
    if one_by_one:
        for path in sorted(source.iterdir()):
            _quietly([*options, "--input", str(path), "--output", str(target / path.name)])
    else:
        _quietly([*options, "--recursive", "--continue", "--input", str(source), "--output", str(target)])
    return Run(time.perf_counter() - began)


def run_ours(source: Path, target: Path, key: Path, *options: str) -> Run:
    """bin/dicom-anon as the whole command. The launcher between measures its peak: a process starts with the peak of its parent."""
    command = [sys.executable, str(ROOT / "bin" / "dicom-anon"), str(source), "-o", str(target), "--key", str(key), *options]
    launcher = (
        "import json, os, subprocess, sys, time\n"
        "began = time.perf_counter()\n"
        "process = subprocess.Popen(sys.argv[1:], stderr=subprocess.DEVNULL)\n"
        "_, status, usage = os.wait4(process.pid, 0)\n"
        "print(json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - began, usage.ru_maxrss]))"
    )
    result = subprocess.run([sys.executable, "-S", "-c", launcher, *command], capture_output=True, text=True, check=True)
    status, seconds, peak = json.loads(result.stdout.splitlines()[-1])
    if status not in (0, 1):
        raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return Run(seconds, peak / 1000)


def write_certificate(path: Path) -> Path:
    """A self-signed certificate for gdcmanon, which encrypts what it removes; its key is thrown away."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    certificate = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _quietly(command: list[str]) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _dicognito() -> Handle:
    import pydicom
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer()

    def handle(source: Path, target: Path) -> None:
        with pydicom.dcmread(source) as data:
            anonymizer.anonymize(data)
            data.save_as(target)

    return handle


def _dicom_anonymizer() -> Handle:
    from dicomanonymizer import anonymize_dicom_file

    def handle(source: Path, target: Path) -> None:
        anonymize_dicom_file(str(source), str(target), delete_private_tags=True)

    return handle


def _deid() -> Handle:
    from deid.config import DeidRecipe
    from deid.dicom import replace_identifiers
    from deid.logger import bot

    bot.level = -5  # nothing is printed
    recipe = DeidRecipe()

    def handle(source: Path, target: Path) -> None:
        replace_identifiers(
            [str(source)],
            deid=recipe,
            save=True,
            overwrite=True,
            output_folder=str(target.parent),
            strip_sequences=True,
            remove_private=True,
        )

    return handle


def _dcmanon() -> Handle:
    from dcmanon import Anonymizer

    anonymizer = Anonymizer()

    def handle(source: Path, target: Path) -> None:
        target.write_bytes(anonymizer.anonymize(str(source)))

    return handle


MAKERS: dict[str, Callable[[], Handle]] = {
    "dicognito": _dicognito,
    "dicom-anonymizer": _dicom_anonymizer,
    "deid": _deid,
    "dcmanon": _dcmanon,
}


def main(name: str, source: str, target: str, warm_up: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    handle = MAKERS[name]()
    paths = sorted(Path(source).iterdir())
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for path in sorted(Path(warm_up).iterdir()):
            handle(path, Path(target) / path.name)
            (Path(target) / path.name).unlink()
        began = time.perf_counter()
        for path in paths:
            try:
                handle(path, Path(target) / path.name)
            except Exception:  # whatever a library raises, a file without output is what counts
                (Path(target) / path.name).unlink(missing_ok=True)
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])

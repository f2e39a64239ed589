"""Images over mutual TLS on loopback: dicom-send and mdc-pacs beside DCMTK's storescu and storescp, and beside Orthanc as receiver.

Whole commands with their start; senders and receivers share the processors. Every run meets a receiver that is started anew and empty;
the pairs take turns, in another order each time, and the median of the rounds counts. mdc-pacs and Orthanc have objects on disk when they
acknowledge them, storescp does not wait for it. DCMTK's programs are measured as they come and with TCP_NODELAY=1 in their environment,
which turns Nagle's algorithm off. At the end one object of 500 MB, with the peak memory of both sides.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import pydicom  # noqa: E402
from pydicom.data import get_testdata_file  # noqa: E402

from tests.interoperability import ours  # noqa: E402
from tests.peers import dcmtk, orthanc  # noqa: E402
from tests.peers.dcmtk import Tls  # noqa: E402
from tests.visits import certificates  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SIZES = {"39 KB": (39_000, 300, 60.0), "525 KB": (525_000, 150, 40.0)}  # bytes, files, files a second: the bar
LARGE = int(os.environ.get("LARGE", "500")) * 1_000_000  # bytes
MEMORY = 300.0  # megabytes, the bar for either side
OURS, DCMTK = ("dicom-send", "mdc-pacs"), ("storescu", "storescp")
TUNED = ("storescu, no delay", "storescp, no delay")
OTHERS = [("storescu, no delay", "mdc-pacs"), ("dicom-send", "storescp, no delay"), ("storescu, no delay", "Orthanc"), TUNED]
PAIRS = [OURS, DCMTK, ("dicom-send", "Orthanc"), ("storescu", "Orthanc"), *OTHERS]


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder:
        home = Path(folder)
        made = certificates.make(home / "pki")
        receiver, sender = Tls(made.server, made.ca), Tls(made.client, made.ca)
        for name, (size, count, bar) in SIZES.items():
            directory = home / name.replace(" ", "-")
            images(directory, size, count)
            measured = rounds(home, directory, count, receiver, sender)
            for jobs in (1, 2):
                show(name, count, jobs, bar, {pair: taken for (pair, one), taken in measured.items() if one == jobs})
            alone, together = (statistics.median(measured[OURS, jobs]) for jobs in (1, 2))
            report(f"{name}, dicom-send -> mdc-pacs: --jobs 2 against 1", together, bar_s=alone)
        large(home, receiver, sender)


def rounds(home: Path, directory: Path, count: int, receiver: Tls, sender: Tls) -> dict[tuple[tuple[str, str], int], list[float]]:
    """Seconds of each round, for each pair and each number of associations at once."""
    cells = [(pair, jobs) for jobs in (1, 2) for pair in PAIRS]
    taken: dict[tuple[tuple[str, str], int], list[float]] = {cell: [] for cell in cells}
    for number in range(ROUNDS):
        random.Random(number).shuffle(cells)
        for pair, jobs in cells:
            with tempfile.TemporaryDirectory(dir=home) as place, listening(pair[1], Path(place), receiver) as (port, held):
                words = commands(pair[0], port, title(pair[1]), directory, jobs, sender)
                begun = time.perf_counter()
                environment = {**os.environ, **(dcmtk.NO_DELAY if pair[0].endswith("no delay") else {})}
                running = [subprocess.Popen(command, env=environment) for command in words]
                assert [one.wait() for one in running] == [0] * len(running), pair
                taken[pair, jobs].append(time.perf_counter() - begun)
                assert held() == count, (pair, held())
    return taken


@contextlib.contextmanager
def listening(name: str, place: Path, tls: Tls) -> Iterator[tuple[int, Callable[[], int]]]:
    """A receiver: its port, and how many objects it holds."""
    if name == "mdc-pacs":
        with ours.mdc_pacs(place, tls) as pacs:
            yield pacs.port, lambda: len(pacs.kept())
    elif name.startswith("storescp"):
        with dcmtk.storescp(place / "got", tls, environment=dcmtk.NO_DELAY if name.endswith("no delay") else None) as server:
            yield server.port, lambda: len(list(server.directory.iterdir()))
    else:
        with orthanc.server(tls) as there:
            yield there.port, there.instances


def title(name: str) -> str:
    return {"mdc-pacs": "MDC", "Orthanc": orthanc.TITLE}.get(name, "STORESCP")


def commands(name: str, port: int, called: str, directory: Path, jobs: int, tls: Tls) -> list[list[str]]:
    """dicom-send with --jobs; storescu knows no such thing: as many of it, each with its part of the files."""
    if name == "dicom-send":
        return [[*ours.sending(port, tls, called), "--jobs", str(jobs), str(directory)]]
    head = [dcmtk.binary("storescu") or "storescu", *tls.words, "-aec", called, "localhost", str(port)]
    files = sorted(map(str, directory.iterdir()))
    return [[*head, *files[number::jobs]] for number in range(jobs)]


def images(directory: Path, size: int, count: int) -> None:
    """CT images of about `size` bytes of one series, noise as pixels."""
    directory.mkdir()
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientIdentityRemoved = "YES"
    dataset.Columns = 128 if size < 100_000 else 512
    dataset.Rows = (size - 6_000) // 2 // dataset.Columns
    chance = random.Random(1)
    for number in range(count):
        dataset.PixelData = chance.randbytes(2 * dataset.Rows * dataset.Columns)
        dataset.InstanceNumber = number + 1
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.8.498.9.{size}.{number + 1}"
        dataset.save_as(directory / f"{number:04}.dcm")


def show(name: str, count: int, jobs: int, bar: float, taken: dict[tuple[str, str], list[float]]) -> None:
    """A line for each sender and receiver of ours against DCMTK's and Orthanc's."""
    seconds = {pair: statistics.median(rounds) for pair, rounds in taken.items()}
    how = f"{name}, {jobs} at once"
    for ours_pair, peer in ((OURS, DCMTK), (("dicom-send", "Orthanc"), ("storescu", "Orthanc")), (OURS, ("storescu", "Orthanc"))):
        ours_s, peer_s = seconds[ours_pair], seconds[peer]
        limit = min(peer_s, count / bar) if ours_pair == OURS else peer_s
        report(
            f"{how}, {' -> '.join(ours_pair)}", ours_s, bar_s=round(limit, 2), peer=" -> ".join(peer), peer_s=round(peer_s, 2),
            ratio=round(ours_s / peer_s, 3), files_per_second=round(count / ours_s, 1), peer_files_per_second=round(count / peer_s, 1),
        )  # fmt: skip
    for pair in OTHERS:
        report(f"{how}, {' -> '.join(pair)}", seconds[pair], files_per_second=round(count / seconds[pair], 1))


def large(home: Path, receiver: Tls, sender: Tls) -> None:
    """One object of 500 MB: seconds, and the peak memory of sender and receiver."""
    path = home / "large.dcm"
    with open(path, "wb") as file:
        for piece in large_object(LARGE):
            file.write(piece)
    with ours.mdc_pacs(home / "large", receiver) as pacs:
        begun = time.perf_counter()
        sent = ours.dicom_send(home / "large", pacs.port, path, tls=sender)
        seconds = time.perf_counter() - begun
        assert (sent.status, len(pacs.kept())) == (0, 1), sent.stderr
        peaks = {"dicom-send": sent.peak, "mdc-pacs": ours.peak_memory(pacs.process.pid)}
    for name, peak in peaks.items():
        report(f"an object of {LARGE // 1_000_000} MB: {name}", seconds, ours_mb=round(peak / 1e6), bar_mb=MEMORY)


def large_object(size: int) -> Iterator[bytes]:
    """A Part 10 file with pixels of `size` bytes, in pieces; every MB differs."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientIdentityRemoved = "YES"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.9.1"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 1000, 1000, size // 2_000_000
    for element in [element for element in dataset if element.tag > 0x7FE00010]:
        del dataset[element.tag]
    del dataset.PixelData
    with tempfile.SpooledTemporaryFile() as head:
        dataset.save_as(head)
        head.seek(0)
        yield head.read()
    yield b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little")
    chance = random.Random(2)
    block = chance.randbytes(1_000_000 - 8)
    for number in range(size // 1_000_000):
        yield number.to_bytes(8, "little") + block


def report(name: str, ours_s: float, **more: object) -> None:
    print(json.dumps({"benchmark": name, "ours_s": round(ours_s, 2), **more, "load_average": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()

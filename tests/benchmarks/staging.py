"""sftp-stage, the whole command, beside rsync, OpenSSH's sftp and paramiko's put and get: a real sshd, near and 50 ms away.

All are measured in one run, one after another in turn, over the same delaying proxy, each to an empty target that is then compared.
Where sftp and paramiko take minutes, they get one file and then some more of the same kind, and their time is extrapolated:
``peer_files`` says how many were sent. RUNS: how often ours and rsync are measured (medians count); SCALE: what part of the files there is.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.peers import delaying, sshd  # noqa: E402

RUNS = int(os.environ.get("RUNS", "3"))
SCALE = float(os.environ.get("SCALE", "1"))
TRANSPORT = os.environ.get("TRANSPORT", "auto")
ONLY = os.environ.get("ONLY", "")
FAR = 0.05  # s, round trip


@dataclass(frozen=True)
class Work:
    """What is sent, and how fast: the bars are ratios of ours to the peer's time."""

    name: str
    count: int
    sizes: tuple[int, int]  # bytes
    round_trip: float
    rsync: float
    others: float | None = None  # for sftp and paramiko
    other_files: int = 0  # so many of them are given to those


WORKS = (
    Work("132 MB in 120 files, 50 ms", 120, (1_100_000, 1_100_000), FAR, 1 / 1.4, 1 / 7, 24),
    Work("1,000 files of 0.5-8 KB, 50 ms", 1000, (500, 8000), FAR, 1.1, 1 / 50, 60),
    Work("132 MB in 120 files, loopback", 120, (1_100_000, 1_100_000), 0.0, 1.1),
)


@dataclass(frozen=True)
class Place:
    """A server behind a port, and a directory for what is sent."""

    server: sshd.Server
    port: int
    home: Path

    def ours(self, action: str, here: Path, there: Path) -> None:
        access = self.server.access("ssh", self.port)
        words = ["--port", self.port, "--identity", access.identities[0], "--known-hosts", access.known_hosts[0], "--transport", TRANSPORT]
        _run(sys.executable, ROOT / "bin/sftp-stage", *words, action, here, f"127.0.0.1:{there}")

    def rsync(self, action: str, here: Path, there: Path) -> None:
        ends = [f"{here}/", f"127.0.0.1:{there}/"]
        _run("rsync", "-a", "-e", " ".join(self.server.ssh(self.port)), *(ends if action == "push" else ends[::-1]))

    def sftp(self, action: str, here: Path, there: Path) -> None:
        target, copy = (there, f"put -r {here}/. {there}") if action == "push" else (here, f"get -r {there}/. {here}")
        target.mkdir()
        words = self.server.ssh(self.port)[1:]
        words[words.index("-p")] = "-P"
        _run("sftp", "-q", "-b", "-", *words, "127.0.0.1", given=copy.encode())

    def paramiko(self, action: str, here: Path, there: Path) -> None:
        access = self.server.access("paramiko", self.port)
        source, target = (here, there) if action == "push" else (there, here)
        target.mkdir()
        program = (
            "import os, paramiko, sys\n"
            "action, port, key, known, source, target = sys.argv[1:]\n"
            "client = paramiko.SSHClient(); client.load_host_keys(known)\n"
            "client.connect('127.0.0.1', int(port), key_filename=key, allow_agent=False, look_for_keys=False)\n"
            "sftp = client.open_sftp()\n"
            "names = os.listdir(source) if action == 'push' else sftp.listdir(source)\n"
            "move = sftp.put if action == 'push' else sftp.get\n"
            "for name in names: move(f'{source}/{name}', f'{target}/{name}')\n"
            "client.close()\n"
        )
        _run(sys.executable, "-c", program, action, self.port, access.identities[0], access.known_hosts[0], source, target)

    def seconds(self, do: Callable[[str, Path, Path], None], action: str, full: Path) -> float:
        """How long one takes to bring the files of `full` to an empty place; wrong copies are no result."""
        empty = self.home / "target"
        begin = time.perf_counter()
        do(action, *((full, empty) if action == "push" else (empty, full)))
        taken = time.perf_counter() - begin
        shutil.rmtree(empty / ".sftp-stage", ignore_errors=True)
        subprocess.run(["diff", "-r", full, empty], check=True)
        shutil.rmtree(empty)
        return taken


def _run(*words: object, given: bytes = b"") -> None:
    done = subprocess.run([str(word) for word in words], input=given, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stderr.decode(errors='replace')}")


def files(directory: Path, work: Work, count: int) -> Path:
    """Files of random bytes."""
    directory.mkdir()
    random_bytes = random.Random(1)
    for number in range(count):
        (directory / f"{number:04}").write_bytes(random_bytes.randbytes(random_bytes.randint(*work.sizes)))
    return directory


@contextlib.contextmanager
def near_or_far(server: sshd.Server, round_trip: float) -> Iterator[int]:
    with delaying.process(server.port, round_trip) if round_trip else contextlib.nullcontext(server.port) as port:
        yield port


def tell(name: str, ours: float, peer: str, theirs: float, bar: float, **more: object) -> None:
    line = {"benchmark": name, "ours_s": round(ours, 3), "peer": peer, "peer_s": round(theirs, 3), "ratio": round(ours / theirs, 4)}
    line |= {"bar_ratio": round(bar, 4), "bar_s": round(theirs * bar, 3), "load_average": round(os.getloadavg()[0], 2), **more}
    print(json.dumps(line), flush=True)


def measure(place: Place, work: Work) -> None:
    count = round(work.count * SCALE)
    full = files(place.home / "full", work, count)
    few = files(place.home / "few", work, min(count, work.other_files)) if work.others else full
    one = files(place.home / "one", work, 1) if work.others else full
    for action in ("push", "pull"):
        taken: dict[str, list[float]] = {"ours": [], "rsync": []}
        for _ in range(RUNS):
            taken["ours"].append(place.seconds(place.ours, action, full))
            taken["rsync"].append(place.seconds(place.rsync, action, full))
        ours, rsync = statistics.median(taken["ours"]), statistics.median(taken["rsync"])
        name, runs = f"sftp-stage {action}, {work.name}", {key: [round(one, 3) for one in values] for key, values in taken.items()}
        tell(name, ours, "rsync -a", rsync, work.rsync, files=count, runs=runs)
        if work.others:
            if os.environ.get("SLOW_PEERS") == "0":
                continue
            part = min(count, work.other_files)
            for peer, do in {"sftp": place.sftp, "paramiko": place.paramiko}.items():
                first = place.seconds(do, action, one)  # with connecting, which is done once however many there are
                theirs = first + (place.seconds(do, action, few) - first) / (part - 1) * (count - 1)
                tell(name, ours, peer, theirs, work.others, files=count, peer_files=part)
    for directory in {full, few, one}:
        shutil.rmtree(directory)


def nothing_to_do(place: Place) -> None:
    full = files(place.home / "full", WORKS[1], round(1000 * SCALE))
    for action in ("push", "pull"):
        other = place.home / "target"
        ends = (full, other) if action == "push" else (other, full)
        place.ours(action, *ends)
        taken = []
        for _ in range(RUNS):
            begin = time.perf_counter()
            place.ours(action, *ends)
            taken.append(time.perf_counter() - begin)
        line = {"benchmark": f"sftp-stage {action}, nothing to do, 1,000 files, 50 ms", "ours_s": round(statistics.median(taken), 3)}
        print(json.dumps(line | {"bar_s": 1.5, "load_average": round(os.getloadavg()[0], 2)}), flush=True)
        shutil.rmtree(other)
    shutil.rmtree(full)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_DIR")) as folder, sshd.server(Path(folder) / "sshd") as server:
        for work in WORKS:
            if ONLY in work.name:
                with near_or_far(server, work.round_trip) as port:
                    measure(Place(server, port, Path(folder)), work)
        if ONLY in "nothing to do, 50 ms":
            with near_or_far(server, FAR) as port:
                nothing_to_do(Place(server, port, Path(folder)))


if __name__ == "__main__":
    main()

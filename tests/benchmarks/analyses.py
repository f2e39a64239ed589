"""mdc-analyse over the row tables of 1,000,000 generated visits, each question beside a DuckDB query of it.

Both are whole processes with two threads and nothing kept from before but the pages of the files; ours also writes CSV, JSON and both
charts. Each is run three times, in turn, and the median counts; ``ours_mb`` and ``peer_mb`` are the largest process,
``ours_cpu_s`` and ``peer_cpu_s`` the least that a run took of the processors. What both found is compared. At the end the five run
one after the other as by default, where the later ones know what the first has found out. The visits are made once and stay in
build/.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PEER = Path(__file__).with_name("_analyses_in_duckdb.py")
VISITS = int(os.environ.get("VISITS", "1000000"))
RUNS = int(os.environ.get("RUNS", "3"))
FIRST, LAST = "2023-01-01", "2025-12-31"
QUESTIONS = {  # the options, and columns of the answer: what tells rows apart, what is compared
    "ages": (["--edges", "0,18,30,45,60,75"], ("age", "patients")),
    "sexes": ([], ("sex", "patients")),
    "cases": (["--icd10", "I50", "--icd10", "J12,J18", "--periods", "month", "--count", "patients"], ("period", "patients")),
    "abnormal": (["--icd10", "I50", "--icd10", "E11", "--trust", "either"], ("icd10", "results", "judged", "abnormal")),
    "stay": (["--icd10", "I50", "--icd10", "J12,J18"], ("icd10", "stays", "mean", "standard_deviation", "median")),
}


def main() -> None:
    store = visits()
    ours_all = peers_all = largest = 0.0
    for question, (options, columns) in QUESTIONS.items():
        times: dict[str, list[float]] = {"ours": [], "peer": []}
        memory, busy = {"ours": 0.0, "peer": 0.0}, {"ours": float("inf"), "peer": float("inf")}
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory() as folder:
                asked = [question, str(store), "--from", FIRST, "--to", LAST, *options]
                ours = [str(ROOT / "bin/mdc-analyse"), *asked, "-o", f"{folder}/out", "--no-cache"]
                peer = [str(PEER), question, str(store), FIRST.replace("-", ""), LAST.replace("-", "")]
                for who, words in (("ours", ours), ("peer", peer)):
                    seconds, most, used = run(words, f"{folder}/{who}")
                    times[who].append(seconds)
                    memory[who], busy[who] = max(memory[who], most), min(busy[who], used)
                compare(question, columns, Path(folder, "out.json"), Path(folder, "peer"))
                assert all(Path(folder, f"out.{kind}").stat().st_size for kind in ("csv", "svg", "png"))
        ours_s, peer_s = (statistics.median(times[who]) for who in ("ours", "peer"))
        ours_all, peers_all, largest = ours_all + ours_s, peers_all + peer_s, max(largest, memory["ours"])
        used = {f"{who}_cpu_s": round(seconds, 2) for who, seconds in busy.items()}
        report(f"mdc-analyse {question}, {VISITS} visits", ours_s, peer_s, memory["ours"], peer_mb=round(memory["peer"]), **used)
    report(f"mdc-analyse, all five, {VISITS} visits, nothing kept", ours_all, peers_all, largest)
    rounds = [one_after_the_other(store) for _ in range(RUNS)]
    seconds, most = statistics.median(taken for taken, _ in rounds), max(memory for _, memory in rounds)
    bar = 10.0 * max(1.0, VISITS / 1e6)
    report(f"mdc-analyse, all five, {VISITS} visits, as by default", seconds, peers_all, most, bar_s=bar)


def one_after_the_other(store: Path) -> tuple[float, float]:
    """Seconds of all five, and MB of the largest: nothing is kept from before the first, which visits are the newest from then on."""
    with tempfile.TemporaryDirectory() as folder:
        asked = [str(store), "--from", FIRST, "--to", LAST, "--cache", f"{folder}/cache", "-o", f"{folder}/out"]
        command = str(ROOT / "bin/mdc-analyse")
        runs = [run([command, question, *asked, *options], os.devnull) for question, (options, _) in QUESTIONS.items()]
    return sum(seconds for seconds, _, _ in runs), max(memory for _, memory, _ in runs)


def compare(question: str, columns: tuple[str, ...], ours: Path, peer: Path) -> None:
    """What the query found stands in the answer, under names that people read, where it is not hidden."""
    answer = {row[columns[0]]: row for row in json.loads(ours.read_text())["rows"]}
    for row in json.loads(peer.read_text()):
        key = row[columns[0]]
        found = answer.get(key) or next((one for name, one in answer.items() if f"({key})" in name), None) or answer["nothing said"]
        for name in columns[1:]:
            value = found[row["code"].lower().replace(", ", "_")] if question == "cases" else found[name]
            assert value is None or abs(value - row[name]) <= 1e-9 * abs(row[name]), (question, found, row)


def visits() -> Path:
    """The store, made by a process of its own where it is not there or was made by another generator."""
    sources = [ROOT / "tests/analyses" / f"{name}.py" for name in ("catalogue", "dice", "generate", "store")]
    made_by = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    place = ROOT / "build" / f"visits-{VISITS}-{made_by}"
    if not place.exists():
        for old in (ROOT / "build").glob("visits-*"):
            shutil.rmtree(old)
        half = place.with_name(f".{place.name}")
        shutil.rmtree(half, ignore_errors=True)
        half.parent.mkdir(exist_ok=True)
        run([str(ROOT / "tests/analyses/generate.py"), str(half), "--visits", str(VISITS)], os.devnull)
        half.rename(place)
    return place


def run(words: list[str], output: str) -> tuple[float, float, float]:
    """Seconds, MB and seconds of processors of a Python process of its own; what it prints goes to a file. This process
    is small: a child's memory counts from its size on."""
    began = time.perf_counter()
    to_file = [(os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
    child = os.posix_spawn(sys.executable, [sys.executable, *words], os.environ, file_actions=to_file)
    _, status, usage = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, words
    return time.perf_counter() - began, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def report(name: str, ours: float, peer: float, memory: float, **more: Any) -> None:
    """Within twice the query and a second is the goal."""
    figures = {"ours_s": round(ours, 3), "peer": "DuckDB", "peer_s": round(peer, 3), "ratio": round(ours / peer, 2)}
    bars = {"goal_s": round(2 * peer + 1, 3), "ours_mb": round(memory), "bar_mb": 500, "load_average": os.getloadavg()[0]}
    print(json.dumps({"benchmark": name, **figures, **bars, **more}), flush=True)


if __name__ == "__main__":
    main()

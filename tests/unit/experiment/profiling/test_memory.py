"""The peak of memory is the kernel's, at any interval; processes that share memory, and those that left, are counted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.experiment.profiling.conftest import Run, Wrap
from toolkit.experiment.profiling.sampling import Rhythm, Series, Tree, peak_of, reset_peak
from toolkit.experiment.run_record import read_run_records

ROOT = Path(__file__).resolve().parents[4]
MB = 1_000_000
SPIKE = "spike = bytearray(200_000_000); del spike"


def kernels_peak(words: list[str]) -> int:
    """What the kernel tells of a large command, asked by an interpreter without packages, which is small beside it."""
    ask = "import os, resource, sys; os.spawnvp(os.P_WAIT, sys.argv[1], sys.argv[1:])"
    tell = "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"
    return int(subprocess.run([sys.executable, "-I", "-S", "-c", f"{ask}; {tell}", *words], capture_output=True, check=True).stdout)


@pytest.mark.parametrize("interval", ["1", "50", "60000"])
def test_a_short_spike_is_seen_at_any_interval(wrap: Wrap, interval: str) -> None:
    words = [sys.executable, "-I", "-S", "-c", SPIKE]
    _, [command] = wrap("--interval", interval, *words)
    assert command.exit is not None and command.exit.peak_rss_bytes is not None
    assert command.exit.peak_rss_bytes == pytest.approx(kernels_peak(words), rel=0.02)
    assert command.exit.peak_source in ("ru_maxrss", "VmHWM")
    assert command.interval_ns == int(interval) * MB


def test_a_small_command_is_small_though_its_launcher_is_large(wrap: Wrap) -> None:
    """The wrapper is an interpreter of 20 MB and more; `true` has about one."""
    _, [command] = wrap("true")
    assert command.exit is not None and command.exit.peak_rss_bytes is not None
    assert 200_000 < command.exit.peak_rss_bytes < 4 * MB


def test_a_shell_that_spells_no_descriptors_is_no_matter(run: Run, environment: dict[str, str], wrap: Wrap) -> None:
    """With all descriptors of one digit taken the command starts without a gate, and its peak is still its own."""
    taken = " ".join(f"{number}</dev/null" for number in range(3, 10))
    words = f'profile-wrap -o run.jsonl {sys.executable} -I -S -c "{SPIKE}" {taken}'
    assert run("bash", "-c", words).returncode == 0
    _, [command, _] = wrap("true")
    assert command.exit is not None and command.exit.peak_rss_bytes is not None
    assert 200 * MB < command.exit.peak_rss_bytes < 230 * MB


def test_shared_pages_count_once_in_pss_and_for_each_process_in_rss(wrap: Wrap) -> None:
    """Four forked workers share 60 MB: RSS says 300 MB, PSS what they have. They end when a sample has been taken."""
    code = """
import os, time
shared = bytearray(60_000_000)
shared[::4096] = bytes([1]) * len(shared[::4096])
read, write = os.pipe()
for _ in range(4):
    if not os.fork():
        os.close(write)
        os.read(read, 1)
        os._exit(0)
time.sleep(1.5)
os.close(write)
for _ in range(4):
    os.wait()
"""
    _, [command] = wrap(sys.executable, "-c", code)
    assert command.exit is not None
    assert command.exit.peak_tree_rss_bytes is not None and command.exit.peak_tree_rss_bytes > 300 * MB
    most = max(
        (sample for sample in command.samples if sample.pss_bytes is not None and sample.processes == 5), key=lambda one: one.time_ns
    )
    assert most.pss_bytes is not None and 60 * MB < most.pss_bytes < 120 * MB
    assert command.exit.peak_rss_bytes is not None and command.exit.peak_rss_bytes < 120 * MB


def test_a_daemon_is_counted_while_the_command_runs_and_when_it_ends(wrap: Wrap, tmp_path: Path) -> None:
    """A grandchild in a session of its own uses 100 MB and computes; its parent has ended long before."""
    daemon = "import os; x = bytearray(100_000_000); [i for i in range(1_500_000)]; open('done', 'w').close()"
    code = f"""
import os, subprocess, sys, time
subprocess.run(["setsid", "sh", "-c", '"$0" -c "$1" </dev/null >/dev/null 2>&1 &', sys.executable, {daemon!r}])
while not os.path.exists("done"):
    time.sleep(0.01)
time.sleep(0.3)
"""
    _, [command] = wrap(sys.executable, "-c", code)
    assert command.exit is not None and command.exit.peak_rss_bytes is not None
    assert command.exit.peak_rss_bytes > 100 * MB
    assert command.exit.left_running == 0


def test_times_faults_switches_and_bytes(wrap: Wrap, tmp_path: Path) -> None:
    code = "import os, time; d = open('f', 'wb'); d.write(bytes(3_000_000)); d.flush(); os.fsync(d.fileno()); [0 for _ in range(3_000_000)]"
    _, [command] = wrap(sys.executable, "-c", code)
    told = command.exit
    assert told is not None
    assert told.wall_ns > 0 and 20 * MB < told.user_ns + told.system_ns < 60_000 * MB
    assert told.minor_faults and told.minor_faults > 100
    assert told.voluntary_switches is not None and told.involuntary_switches is not None and told.major_faults is not None
    assert told.written_call_bytes is not None and 3_000_000 <= told.written_call_bytes < 3_100_000
    assert told.read_call_bytes and (told.written_bytes or 0) >= 0
    if os.path.exists("/proc/pressure/cpu"):
        assert told.pressure is not None and told.pressure["cpu"]["some_ns"] >= 0


def test_bytes_and_stages_without_privileges(run: Run, tmp_path: Path) -> None:
    """Root may read what is closed to others; where the tests are root's, this one is nobody's."""
    code = """
import ctypes, os, resource, sys
from toolkit.commands import profile_wrap
from toolkit.experiment.profiling import measuring, request
if not os.getuid():
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as if it had been started so
profile_wrap.profile_wrap()
"""
    tmp_path.chmod(0o777)
    stage = """printf '{"stage":"copy","event":"%s","pid":%d}\\n' begin $$ >&$TOOLKIT_STAGES_FD"""
    words = ["-o", "run.jsonl", "sh", "-c", f"{stage}; sleep 1; head -c 1000000 /dev/zero > /dev/null; id -u"]
    result = run(sys.executable, "-c", code, *words, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (result.returncode, result.stderr) == (0, b"") and result.stdout != b"0\n"
    [command] = read_run_records([tmp_path / "run.jsonl"])
    assert command.exit is not None and (command.exit.read_call_bytes or 0) > 1_000_000
    assert any(sample.pss_bytes for sample in command.samples)
    [stage_read] = command.stages
    assert (stage_read.stage, stage_read.peak_source) == ("copy", "VmHWM")


def test_a_process_that_ended_is_no_fault() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        tree = Tree(lambda: [process.pid])
        rss, processes = tree.read()
        assert rss > 0 and processes == 1 and list(tree) == [process.pid]
        assert (tree.read_pss() or 0) > 0
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert tree.read() == (0, 0)
        assert tree.peak_bytes >= rss
        assert (peak_of(process.pid), reset_peak(process.pid)) == (None, False)
        tree.close()


def test_the_children_of_all_threads_are_found() -> None:
    code = """
import subprocess, threading, time
threads = [threading.Thread(target=subprocess.run, args=(["cat"],), kwargs={"stdin": 0}) for _ in range(3)]
[thread.start() for thread in threads]
while len(open(f"/proc/self/task/{threading.get_native_id()}/children").read().split()) > 0: pass
print("started", flush=True)
[thread.join() for thread in threads]
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        tree = Tree(lambda: [process.pid])
        while tree.read()[1] < 4:
            assert process.poll() is None
        tree.close()
        process.stdin.close()


def test_the_rhythm_slows_down_and_never_weighs() -> None:
    rhythm = Rhythm(None)
    assert [rhythm.after(0) // MB for _ in range(8)] == [1, 2, 4, 8, 16, 32, 50, 50]
    assert rhythm.after(10 * MB) == 250 * MB
    rhythm.restart()
    assert rhythm.after(0) == MB
    assert [Rhythm(7).after(cost) for cost in (0, 1000)] == [7, 7]


def test_long_runs_are_thinned_and_keep_their_peaks() -> None:
    series = Series()
    for number in range(100_000):
        series.add({"time_ns": number, "rss_bytes": 5000 if number == 70_001 else number % 100, "processes": 1, "pss_bytes": number % 7})
    series.flush()
    assert 4000 < len(series.samples) <= 8193
    assert max(sample["rss_bytes"] for sample in series.samples) == 5000
    assert max(sample["pss_bytes"] for sample in series.samples) == 6
    times = [sample["time_ns"] for sample in series.samples]
    assert times == sorted(times)


def test_without_a_graphics_processor_nothing_is_claimed(wrap: Wrap) -> None:
    _, [command] = wrap("true")
    assert command.exit is not None and (command.exit.nvml_bytes is None or shutil.which("nvidia-smi"))

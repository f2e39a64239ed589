"""sftp-stage as a whole command against a real sshd, on links and machines as bad as they come."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers import delaying, sshd
from toolkit.commands.sftp_stage import sftp_stage
from toolkit.experiment.staging import retrying, stage
from toolkit.experiment.staging.ledger import Outcome
from toolkit.experiment.staging.session import Machine
from toolkit.experiment.staging.wishes import Wishes

ROOT = Path(__file__).resolve().parents[4]
ODD = b"new\nline \xff 'quoted' $(id)"
NO_RECORD = ": has no profile-wrap in PATH: there is no run record\n"
each_transport = pytest.mark.parametrize("transport", ["ssh", "paramiko"])


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The far side's own programs: a queue that really runs its jobs, in the background."""
    directory = tmp_path_factory.mktemp("tools")
    scripts = {
        "sbatch": 'test "$1" = --parsable && cd "$PWD" && (sh "$2" >"$(sed -n s/.*--output=//p "$2")" '
        '2>"$(sed -n s/.*--error=//p "$2")" & echo $! >job.pid) && echo "17;cluster"',
        "squeue": 'kill -0 "$(cat job.pid)" 2>/dev/null && echo "17 running"',
        "scancel": 'kill "$(cat job.pid)"',
    }
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tools: Path) -> Iterator[sshd.Server]:
    with sshd.server(tmp_path_factory.mktemp("sshd"), f"SetEnv PATH={tools}:/usr/bin:/bin") as running:
        yield running


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """A tree with what can be in one, and where a copy of it may go."""
    here = tmp_path / "here"
    (here / "deep" / "er").mkdir(parents=True)
    for name, content in {b"a": b"a" * 1000, b"deep/er/b": b"", b"deep/c": os.urandom(300_000), ODD: b"odd", b"-": b"dash"}.items():
        with open(os.fsencode(here) + b"/" + name, "wb") as file:
            file.write(content)
    os.utime(here / "a", (1_000_000_000, 1_000_000_000))
    (here / "a").chmod(0o640)
    (here / "deep" / "link").symlink_to("../a")
    return here, tmp_path / "there" / "new"


def words(server: sshd.Server, port: int | None = None, transport: str = "ssh") -> list[str]:
    access = server.access(transport, port)
    keys = ["--identity", str(access.identities[0]), "--known-hosts", str(access.known_hosts[0])]
    return [sys.executable, str(ROOT / "bin/sftp-stage"), "--port", str(port or server.port), *keys, "--transport", transport]


def run(server: sshd.Server, *more: object, port: int | None = None, transport: str = "ssh") -> subprocess.CompletedProcess[str]:
    """The command in this process: it starts quicker so."""
    command = [*words(server, port, transport), *(str(word) for word in more)]
    output, messages = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(messages), pytest.raises(SystemExit) as end:
        sftp_stage.main(command[2:])
    told, said = (stream.buffer.getvalue().decode() for stream in (output, messages))  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(command, int(str(end.value.code)), told, said)


def start(server: sshd.Server, *more: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    command = [*words(server), *(str(word) for word in more)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **{"input": "", **settings})


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {line["path"]: line["status"] for line in map(json.loads, done.stdout.splitlines())}


def tree(top: Path) -> dict[bytes, tuple[object, ...]]:
    """All there is in a tree but the manifest."""
    found: dict[bytes, tuple[object, ...]] = {}
    for directory, directories, names in os.walk(os.fsencode(top)):
        for name in [*directories, *names]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if os.path.islink(path):
                found[path] = (os.readlink(path),)
            elif name in names:
                with open(path, "rb") as file:
                    found[path] = (file.read(), status.st_mode, int(status.st_mtime))
            else:
                found[path] = (status.st_mode, int(status.st_mtime))
    top_name = os.fsencode(top) + b"/"
    return {path.removeprefix(top_name): value for path, value in found.items() if not path.startswith(top_name + b".sftp-stage")}


def manifest_holds(top: Path) -> None:
    checked = subprocess.run(["sha256sum", "-c", "--quiet", ".sftp-stage/manifest.sha256"], cwd=top, capture_output=True)
    assert (checked.returncode, checked.stdout) == (0, b""), checked
    lines = (top / ".sftp-stage" / "manifest.sha256").read_bytes().splitlines()
    assert len(lines) == sum(1 for value in tree(top).values() if len(value) == 3)


@each_transport
def test_there_and_back_and_then_nothing_to_do(server: sshd.Server, trees: tuple[Path, Path], transport: str, tmp_path: Path) -> None:
    here, there = trees
    for words in (("push", here, f"127.0.0.1:{there}"), ("pull", tmp_path / "back", f"127.0.0.1:{there}")):
        done = run(server, *words, "--json", transport=transport)
        assert (done.returncode, done.stderr) == (0, "")
        assert set(statuses(done).values()) == {"sent"} and len(statuses(done)) == 6
        line = next(one for one in map(json.loads, done.stdout.splitlines()) if one["path"] == "a")
        assert (line["bytes"], line["sha256"], line["error"]) == (1000, hashlib.sha256(b"a" * 1000).hexdigest(), None)
        again = run(server, *words, "--json", transport=transport)
        assert (again.returncode, again.stderr, set(statuses(again).values())) == (0, "", {"skipped"})
    assert tree(here) == tree(there) == tree(tmp_path / "back")
    for top in (there, tmp_path / "back"):
        manifest_holds(top)


def test_a_tree_is_changed_only_as_asked(server: sshd.Server, trees: tuple[Path, Path]) -> None:
    here, there = trees
    target = f"127.0.0.1:{there}"
    assert run(server, "push", here, target).returncode == 0
    (there / "more").mkdir()
    (there / "more" / "x").touch()
    (there.parent / "beside").touch()
    before = (there / "a").stat()
    (there / "a").write_bytes(b"b" * 1000)  # of the same size and time: only its contents tell
    os.utime(there / "a", (before.st_mtime, before.st_mtime))
    assert run(server, "push", here, target).returncode == 0
    assert (there / "a").read_bytes() == b"b" * 1000
    planned = run(server, "push", here, target, "--delete", "--checksum", "--exclude", "deep/", "--dry-run")
    assert (planned.returncode, planned.stdout) == (0, "send a\ndelete more/x\ndelete more\n")
    assert (there / "more" / "x").exists()
    done = run(server, "push", here, target, "--delete", "--checksum", "--exclude", "deep/", "--json")
    changed = {path: status for path, status in statuses(done).items() if status != "skipped"}
    assert changed == {"a": "sent", "more/x": "deleted", "more": "deleted"}
    assert (there / "a").read_bytes() == b"a" * 1000
    assert (there.parent / "beside").exists() and (there / "deep" / "c").exists()
    manifest_holds(there)


def test_a_single_file_deletes_nothing(server: sshd.Server, trees: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = trees
    assert run(server, "push", here / "a", f"127.0.0.1:{there}").returncode == 0
    assert run(server, "push", here / "deep" / "c", f"sftp://127.0.0.1{there}", "--delete").returncode == 0
    assert set(tree(there)) == {b"a", b"c"}
    assert run(server, "pull", f"127.0.0.1:{there}/c", tmp_path / "back", "--delete").returncode == 0
    assert set(tree(tmp_path / "back")) == {b"c"}


def test_links_out_of_the_tree_are_refused_on_both_sides(server: sshd.Server, trees: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = trees
    (here / "out").symlink_to("../../etc/passwd")
    done = run(server, "push", here, f"127.0.0.1:{there}", "--json")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "sftp-stage: out: is a link out of the tree" in done.stderr
    assert {path for path, status in statuses(done).items() if status == "failed"} == {"out"} and len(statuses(done)) == 7
    (there / "evil").symlink_to("/etc/passwd")
    back = run(server, "pull", f"127.0.0.1:{there}", tmp_path / "back")
    assert back.returncode == 1 and "evil: is a link out of the tree, to /etc/passwd" in back.stderr
    assert not (tmp_path / "back" / "evil").is_symlink() and (tmp_path / "back" / "a").exists()


def test_nothing_is_written_through_a_link_here(server: sshd.Server, trees: tuple[Path, Path], tmp_path: Path) -> None:
    here, _ = trees
    (tmp_path / "back").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "back" / "deep").symlink_to(tmp_path / "elsewhere")
    done = run(server, "pull", f"127.0.0.1:{here}", tmp_path / "back")
    assert done.returncode == 1 and "deep: is a link there, and a directory here" in done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(("transport", "action"), [("ssh", "push"), ("paramiko", "pull")])
def test_a_link_that_breaks_ten_times(
    server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str, action: str
) -> None:
    """At ten random bytes for each direction, the handshake's among them: every file is whole and right, and told of once."""
    chance = random.Random(7)
    full, empty = tmp_path / "full", tmp_path / "empty"
    full.mkdir()
    for number in range(30):
        (full / f"{number:02}").write_bytes(chance.randbytes(chance.randint(0, 400_000)))
    (full / "large").write_bytes(chance.randbytes(4_000_000))
    monkeypatch.setattr(retrying, "pause", lambda failed: 0.0)
    outcomes: list[Outcome] = []
    cuts = [*(chance.randint(1, 5000) for _ in range(2)), *(chance.randint(5000, 1_500_000) for _ in range(8))]
    chance.shuffle(cuts)
    with delaying.Proxy(server.port, cuts=cuts) as proxy:
        access = server.access(transport, proxy.port)
        host = type(server.host)("127.0.0.1", proxy.port, server.host.user)
        with Machine(host, access) as machine:
            wishes = Wishes(retries=1000)
            if action == "push":
                _, failed = stage.push(os.fsencode(full), machine, os.fsencode(empty), wishes, outcomes.append)
            else:
                _, failed = stage.pull(os.fsencode(empty), machine, os.fsencode(full), wishes, outcomes.append)
    assert proxy.connections >= 8
    assert failed == 0 and tree(full) == tree(empty)
    told = {outcome.path: outcome.status for outcome in outcomes}
    assert len(outcomes) == len(told) == 31
    assert set(told.values()) <= {"sent", "resumed", "skipped"}  # skipped: whole, but the answer that said so was lost
    manifest_holds(empty)


def test_killed_and_run_again(server: sshd.Server, tmp_path: Path) -> None:
    full, there = tmp_path / "full", tmp_path / "there"
    full.mkdir()
    (full / "large").write_bytes(os.urandom(12_000_000))
    with delaying.Proxy(server.port) as proxy:
        command = [*words(server, proxy.port), "push", str(full), f"127.0.0.1:{there}", "--limit", "12M"]
        with subprocess.Popen(command) as process:
            wait_for(lambda: proxy.passed > 6_000_000)
            process.kill()
    assert [path.name for path in there.iterdir() if path.is_file()] == [".large.part"]
    done = run(server, "push", full, f"127.0.0.1:{there}", "--json")
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr, line["status"]) == (0, "", "resumed") and line["bytes"] < 11_000_000
    assert tree(full) == tree(there)


def test_what_is_partly_there_and_wrong_is_sent_anew(server: sshd.Server, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "a").write_bytes(os.urandom(100_000))
    (there / ".a.part").write_bytes(b"x" * 50_000)
    done = run(server, "push", here, f"127.0.0.1:{there}", "--json")
    assert statuses(done) == {"a": "sent"} and tree(here) == tree(there)


def test_a_file_that_changes_while_it_is_sent(server: sshd.Server, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "log").write_bytes(bytes(8_000_000))
    (here / "quiet").write_bytes(b"quiet")
    with delaying.Proxy(server.port) as proxy:
        command = [*words(server, proxy.port), "push", str(here), f"127.0.0.1:{there}", "--limit", "4M"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: proxy.passed > 2_000_000)
            with open(here / "log", "ab") as log:
                log.write(b"more")
            assert process.stderr is not None
            message = process.stderr.read()
    assert process.returncode == 1 and message.count("\n") == 1 and "log" in message and "changed" in message
    assert set(tree(there)) == {b"quiet"}


@pytest.mark.skipif(os.geteuid() != 0 and os.environ.get("CI") != "true", reason="needs root to mount a small file system")
@pytest.mark.parametrize("action", ["push", "pull"])
def test_a_full_disk(server: sshd.Server, tmp_path: Path, action: str) -> None:
    full, small = tmp_path / "full", tmp_path / "small"
    full.mkdir()
    small.mkdir()
    (full / "a").write_bytes(b"a")
    (full / "large").write_bytes(os.urandom(3_000_000))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=True)
    try:
        ends = (full, f"127.0.0.1:{small}") if action == "push" else (small, f"127.0.0.1:{full}")
        done = run(server, action, *ends)
        assert done.returncode == 1 and "large: the disk is full" in done.stderr.replace("cannot be written: ", "")
        assert set(tree(small)) <= {b"a"}  # it may have come too late too
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_server_that_runs_no_commands(tmp_path: Path, trees: tuple[Path, Path]) -> None:
    here, there = trees
    with sshd.server(tmp_path / "sshd", "ForceCommand internal-sftp") as poor:
        done = run(poor, "push", here, f"127.0.0.1:{there}")
        assert done.returncode == 0 and done.stderr.count("\n") == 1 and "--verify read-back" in done.stderr
        assert tree(here) == tree(there)
        (here / "a").write_bytes(b"A" * 100_000)
        (there / ".a.part").write_bytes(b"A" * 60_000)
        again = run(poor, "push", here, f"127.0.0.1:{there}", "--verify", "read-back", "--json")
        assert (again.returncode, again.stderr, statuses(again)["a"]) == (0, "", "resumed")
        assert tree(here) == tree(there)
        compared = run(poor, "push", here, f"127.0.0.1:{there}", "--checksum")
        assert compared.returncode == 69 and "--checksum" in compared.stderr
        command = run(poor, "run", f"127.0.0.1:{there}", "--", "true")
        assert command.returncode == 69 and "runs no commands" in command.stderr


def test_a_server_without_extensions(tmp_path: Path, trees: tuple[Path, Path]) -> None:
    here, there = trees
    extensions = "posix-rename,statvfs,fstatvfs,hardlink,fsync,lsetstat,limits,expand-path,copy-data"
    with sshd.server(tmp_path / "sshd", subsystem=f"{sshd.SFTP_SERVER} -P {extensions}") as poor:
        for _ in range(2):
            done = run(poor, "push", here, f"127.0.0.1:{there}", "--fsync")
            assert (done.returncode, done.stderr) == (0, "")
            assert tree(here) == tree(there)
            (here / "a").write_bytes(b"another")


@each_transport
def test_whose_key_is_not_known(server: sshd.Server, trees: tuple[Path, Path], transport: str, tmp_path: Path) -> None:
    here, there = trees
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.touch()
    sshd.make_key(tmp_path / "key")
    other.write_text(f"[127.0.0.1]:{server.port} " + (tmp_path / "key.pub").read_text())
    public = subprocess.run(["ssh-keygen", "-lf", server.directory / "host_key.pub"], capture_output=True, text=True, check=True)
    fingerprint = public.stdout.split()[1]
    identity = ["--identity", str(server.directory / "user_key"), "--port", str(server.port), "--transport", transport]
    program = [sys.executable, str(ROOT / "bin/sftp-stage"), *identity, "push", str(here), f"127.0.0.1:{there}"]
    unknown = subprocess.run([*program, "--known-hosts", str(empty)], capture_output=True, text=True)
    assert unknown.returncode == 77 and unknown.stderr.count("\n") == 1 and fingerprint in unknown.stderr
    changed = subprocess.run([*program, "--known-hosts", str(other), "--accept-key", fingerprint], capture_output=True, text=True)
    assert changed.returncode == 77 and changed.stderr.count("\n") == 1
    assert not there.exists()
    accepted = subprocess.run([*program, "--known-hosts", str(empty), "--accept-key", fingerprint], capture_output=True, text=True)
    assert (accepted.returncode, accepted.stderr) == (0, "")


@each_transport
def test_who_is_not_let_in(server: sshd.Server, trees: tuple[Path, Path], transport: str, tmp_path: Path) -> None:
    sshd.make_key(tmp_path / "key")
    program = [word.replace(str(server.directory / "user_key"), str(tmp_path / "key")) for word in words(server, None, transport)]
    alone = {**os.environ, "HOME": str(tmp_path), "SSH_AUTH_SOCK": ""}
    done = subprocess.run([*program, "push", str(trees[0]), f"127.0.0.1:{trees[1]}"], capture_output=True, text=True, env=alone)
    assert done.returncode == 77 and done.stderr.count("\n") == 1, done.stderr


def test_where_nothing_may_be_written(server: sshd.Server, trees: tuple[Path, Path]) -> None:
    done = run(server, "push", trees[0], "127.0.0.1:/proc/new")
    assert done.returncode in (73, 77) and done.stderr.count("\n") == 1 and "/proc/new" in done.stderr


def test_a_directory_that_cannot_be_made(server: sshd.Server, tmp_path: Path) -> None:
    here, there = tmp_path / "here", f"{tmp_path}/there"
    for name in ("fits", "n" * 250):  # the one of these makes a path of more than Linux's 4,096 bytes
        (here / name / "inner").mkdir(parents=True)
        (here / name / "inner" / "file").write_text(name)
    while len(there) < 3850:
        there += "/" + "t" * min(200, 3899 - len(there))
    done = run(server, "push", here, f"127.0.0.1:{there}")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and sum("its directory cannot be made" in line for line in lines) == 1, done.stderr
    assert Path(there, "fits/inner/file").read_text() == "fits"
    assert Path(there, ".sftp-stage/manifest.sha256").read_text().endswith("  fits/inner/file\n")
    assert sorted(os.listdir(there)) == [".sftp-stage", "fits"]


def test_what_is_not_there(server: sshd.Server, tmp_path: Path) -> None:
    assert run(server, "push", tmp_path / "nowhere", "127.0.0.1:x").returncode == 66
    assert run(server, "pull", tmp_path / "back", f"127.0.0.1:{tmp_path}/nowhere").returncode == 66
    assert run(server, "push", tmp_path, "127.0.0.1:x", "--retries", "0", port=1).returncode == 69


def test_a_command_between_its_inputs_and_outputs(server: sshd.Server, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data").write_text("data")
    work = tmp_path / "work"
    script = 'cat in/data - > "out 1"; echo said; echo complained >&2; exit 7'
    options = ["--in", "in", "--out", "out*", "run", f"127.0.0.1:{work}"]
    done = start(server, *options, "--", "sh", "-c", script, input="given", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (7, "said\n")
    assert done.stderr.startswith("complained\nsftp-stage: ") and done.stderr.endswith(NO_RECORD) and done.stderr.count("\n") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out 1", "work"}
    assert (tmp_path / "out 1").read_text() == "datagiven"
    missing = start(server, "run", f"127.0.0.1:{work}", "--out", "*.png", "--", "sh", "-c", "kill -TERM $$", cwd=tmp_path)
    assert missing.returncode == 128 + signal.SIGTERM and "nothing in" in missing.stderr


def test_a_run_record_comes_back(server: sshd.Server, tools: Path, tmp_path: Path) -> None:
    wrap = tools / "profile-wrap"
    wrap.write_text('#!/bin/sh\necho "{}" > "$2"\nshift 3\nexec "$@"\n')
    wrap.chmod(0o755)
    try:
        done = start(server, "--record", "record.jsonl", "run", f"127.0.0.1:{tmp_path}/work", "--", "echo", "a  b", cwd=tmp_path)
    finally:
        wrap.unlink()
    assert (done.returncode, done.stdout, done.stderr) == (0, "a  b\n", "")
    assert (tmp_path / "record.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_the_far_side(server: sshd.Server, tmp_path: Path, number: signal.Signals) -> None:
    """What runs there is ended, with all that it started."""
    command = [*words(server), "run", f"127.0.0.1:{tmp_path}/work", "--", "sh", "-c", "echo $$ > pid; sleep 600; true"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        pid = tmp_path / "work" / "pid"
        wait_for(lambda: pid.exists() and pid.read_text())
        process.send_signal(number)
    assert process.returncode == -number
    wait_for(lambda: not Path(f"/proc/{int(pid.read_text())}").exists())


def test_a_job_of_a_queue(server: sshd.Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data")
    template = ["--template", "sbatch", "--poll", "0.2", "--in", "data", "--out", "result"]
    script = "sleep 0.3; cat data > result; echo said; echo complained >&2; exit 3"
    done = start(server, *template, "run", f"127.0.0.1:{tmp_path}/a work", "--", "sh", "-c", script, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "said\n")
    assert done.stderr.startswith("complained\nsftp-stage: ") and done.stderr.endswith(NO_RECORD) and done.stderr.count("\n") == 2
    assert (tmp_path / "result").read_text() == "data"
    assert [path.name for path in (tmp_path / "a work" / ".sftp-stage").iterdir()] == ["manifest.sha256"]


def test_a_job_is_cancelled(server: sshd.Server, tmp_path: Path) -> None:
    """By Ctrl-C; and where somebody else does it, that is found out."""
    script = f"echo $$ > {shlex.quote(str(tmp_path))}/pid; exec sleep 600"
    queue = ["--template", "sbatch", "--poll", "0.1", "-v"]
    command = [*words(server), "run", f"127.0.0.1:{tmp_path}/work", *queue, "--", "sh", "-c", script]
    for interrupt in (True, False):
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
            assert process.stderr is not None
            while "job 17" not in process.stderr.readline():
                pass
            if interrupt:
                process.send_signal(signal.SIGINT)
            else:
                os.kill(int((tmp_path / "work" / "job.pid").read_text()), signal.SIGKILL)
            message = process.stderr.read()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        (tmp_path / "pid").unlink()
        assert (process.returncode, "cancelled" in message) == (-signal.SIGINT if interrupt else 1, True), message


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

"""Whose key is accepted, and what is said otherwise; commands and channels on one connection."""

from __future__ import annotations

import dataclasses
import io
import os
import queue
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.peers import sshd
from tests.unit.experiment.staging.conftest import TRANSPORTS
from tests.unit.experiment.staging.transfers import put
from toolkit.core.errors import NotPermitted, ToolError, Unavailable, UsageError
from toolkit.experiment.staging.channel import GONE, Channel
from toolkit.experiment.staging.connection import Access, Connection, Host, Lost, connect
from toolkit.experiment.staging.engine import push
from toolkit.experiment.staging.protocol import NAME, REALPATH, Fields, text
from toolkit.experiment.staging.remote_tree import make_directories, real_path, walk

both = pytest.mark.parametrize("transport", TRANSPORTS)


def refused(host: Host, access: Access, kind: type[ToolError]) -> str:
    """The words with which a connection is refused."""
    with pytest.raises(kind) as refusal:
        connect(host, access).close()
    return str(refusal.value)


def key_of(server: sshd.Server) -> str:
    """The fingerprint of a server's key, by OpenSSH."""
    command = ["ssh-keygen", "-l", "-f", str(server.directory / "host_key.pub")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[1]


@both
def test_an_unknown_host_is_named_and_accepted_once(server: sshd.Server, tmp_path: Path, transport: str) -> None:
    known = tmp_path / "new" / "known_hosts"
    access = dataclasses.replace(server.access(transport), known_hosts=(known,))
    words = refused(server.host, access, NotPermitted)
    assert key_of(server) in words and "--accept-key" in words
    other = dataclasses.replace(access, accept_key="SHA256:" + "A" * 43)
    assert key_of(server) in refused(server.host, other, NotPermitted)
    assert not known.exists()
    with connect(server.host, dataclasses.replace(access, accept_key=key_of(server))):
        pass
    assert known.read_text() == (server.directory / "known_hosts").read_text().replace("\n", "").strip() + "\n"
    connect(server.host, access).close()


@both
def test_a_changed_key_never_passes(server: sshd.Server, tmp_path: Path, transport: str) -> None:
    known = tmp_path / "known_hosts"
    line = f"[127.0.0.1]:{server.port} " + (server.directory / "user_key.pub").read_text()
    known.write_text(line)
    access = dataclasses.replace(server.access(transport), known_hosts=(known,), accept_key=key_of(server))
    assert "another one than known_hosts has" in refused(server.host, access, NotPermitted)
    assert known.read_text() == line


@both
def test_a_revoked_key_never_passes(server: sshd.Server, tmp_path: Path, transport: str) -> None:
    known = tmp_path / "known_hosts"
    line = (server.directory / "known_hosts").read_text()
    known.write_text(line + "@revoked " + line)
    refused(server.host, dataclasses.replace(server.access(transport), known_hosts=(known,)), NotPermitted)


@both
def test_known_hosts_with_hashed_names_and_patterns(server: sshd.Server, tmp_path: Path, transport: str) -> None:
    known = tmp_path / "known_hosts"
    line = (server.directory / "known_hosts").read_text()
    access = dataclasses.replace(server.access(transport), known_hosts=(tmp_path / "none", known))
    known.write_text("# comment\n\nother.example ssh-ed25519 AAAA\n" + line)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known)], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    connect(server.host, access).close()
    key = line.split(maxsplit=1)[1]
    known.write_text(f"[127.0.0.*]:{server.port} {key}")
    connect(server.host, access).close()
    known.write_text(f"![127.0.0.1]:{server.port},[127.0.0.*]:{server.port} {key}")
    refused(server.host, access, NotPermitted)


@both
def test_a_known_key_of_another_kind_is_the_one_that_is_asked_for(tmp_path: Path, transport: str) -> None:
    directory = tmp_path / "sshd"
    directory.mkdir()
    sshd.make_key(directory / "second_key", "ecdsa")
    with sshd.server(directory, f"HostKey {directory}/host_key", f"HostKey {directory}/second_key") as server:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} " + (directory / "second_key.pub").read_text())
        connect(server.host, dataclasses.replace(server.access(transport), known_hosts=(known,))).close()


@both
def test_keys_of_users(server: sshd.Server, tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    sshd.make_key(tmp_path / "other")
    words = refused(server.host, dataclasses.replace(server.access(transport), identities=(tmp_path / "other",)), NotPermitted)
    assert words.startswith("127.0.0.1: ") and "--identity" in words


@both
def test_a_key_of_the_agent(server: sshd.Server, tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while subprocess.run(["ssh-add", "-q", str(server.directory / "user_key")], capture_output=True).returncode:
            assert agent.poll() is None
        connect(server.host, dataclasses.replace(server.access(transport), identities=())).close()
    finally:
        agent.terminate()
        agent.wait()


@both
def test_nobody_there(server: sshd.Server, transport: str) -> None:
    access = server.access(transport)
    assert "refused" in refused(Host("127.0.0.1", 1), access, Lost)
    refused(Host("no.such.host.invalid"), access, ToolError)


@both
def test_commands(connection: Connection, tmp_path: Path, transport: str) -> None:
    (tmp_path / "in").write_bytes(b"\0\xff\n" * 100_000)
    with open(tmp_path / "in", "rb") as stdin, open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        assert connection.execute("cat; echo words >&2; exit 3", stdin, out, err) == 3
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()
    assert (tmp_path / "err").read_bytes() == b"words\n"
    assert connection.execute("true") == 0
    assert connection.execute("kill -9 $$") == 255


@both
def test_a_server_with_sftp_and_nothing_else(tmp_path: Path, transport: str) -> None:
    """As for a user who may only bring files; and as one who is not root, who may not write everywhere."""
    user = "nobody" if os.geteuid() == 0 else None
    limits = ("ForceCommand internal-sftp", "MaxSessions 2")
    with tempfile.TemporaryDirectory() as base, sshd.server(Path(base), *limits, subsystem="internal-sftp") as server:
        host = dataclasses.replace(server.host, user=user or server.host.user)
        with connect(host, server.access(transport)) as connection:
            channel = connection.channels(1)[0]
            assert real_path(channel, b"/").startswith(b"/")
            (tmp_path / "file").write_bytes(b"x")
            secret = Path(base) / "secret"
            secret.mkdir(mode=0o700 if user else 0o000)
            (result,) = push([channel], [put(tmp_path / "file", secret / "file")])
            assert isinstance(result.error, NotPermitted)
            (made,) = make_directories(channel, [(os.fsencode(secret / "d"), 0o755)])
            assert isinstance(made, NotPermitted)
            with pytest.raises(NotPermitted):
                list(walk(channel, os.fsencode(secret)))


@both
def test_a_server_without_sftp(tmp_path: Path, transport: str) -> None:
    with sshd.server(tmp_path / "sshd", "Subsystem other /bin/true", subsystem="/bin/false") as server:
        refused(server.host, server.access(transport), ToolError)


def test_a_server_that_refuses_further_sessions_has_fewer(server: sshd.Server, tmp_path: Path) -> None:
    for transport in TRANSPORTS:
        with connect(server.host, server.access(transport)) as connection:
            assert len(connection.channels(3)) == 3
            assert len({id(channel) for channel in connection.channels(3)}) == 3


def test_configurations_of_ssh(server: sshd.Server, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host far\n HostName 127.0.0.1\n Port {server.port}\n User {server.host.user}\n RequestTTY force\n RemoteCommand false\n"
        f" IdentityFile {server.directory}/user_key\n UserKnownHostsFile {server.directory}/known_hosts\n StrictHostKeyChecking no\n"
        " ForwardX11 yes\n LocalForward 127.0.0.1:1 127.0.0.1:1\n"
    )
    with connect(Host("far"), Access("ssh", ssh_config=config)) as connection:
        assert connection.execute("exit 4") == 4
        assert len(connection.channels(2)) == 2
    jump = Access("ssh", ssh_config=config, ssh_options=("ProxyJump=far",))
    inner = server.access("ssh")
    with connect(server.host, dataclasses.replace(jump, identities=inner.identities, known_hosts=inner.known_hosts)) as connection:
        assert real_path(connection.channels(1)[0], b"/") == b"/"
    config.write_text("NoSuchOption yes\n")
    assert "nosuchoption" in refused(Host("far"), Access("ssh", ssh_config=config), UsageError)


def test_without_an_ssh_there_is_paramiko(server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "--transport paramiko" in refused(server.host, server.access("ssh"), Unavailable)
    with connect(server.host, server.access("auto")) as connection:
        assert connection.execute("exit 5", io.BytesIO()) == 5


@both
def test_questions_before_the_greeting_are_answered(server: sshd.Server, transport: str) -> None:
    answers: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()

    def ask(channel: Channel) -> None:
        channel.request(REALPATH, text(b"/"), lambda kind, answer: answers.put((kind, bytes(answer))))

    with connect(server.host, server.access(transport), ask) as connection:
        kind, answer = answers.get(timeout=60)
        assert (kind, Fields(answer[4:], "test").text()) == (NAME, b"/")
        assert real_path(connection.channels(1)[0], b"/") == b"/"
    if transport == "ssh":
        with pytest.raises(Lost):
            connect(Host("127.0.0.1", 1), server.access(transport), ask)
        assert answers.get(timeout=60)[0] == GONE

"""Certificates for tests, made by the program that the first night's page tells people to run: good ones and each kind of bad one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT


@dataclass(frozen=True)
class Pair:
    """PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    """The server answers at localhost, 127.0.0.1 and ::1. `stranger`: a client of another authority, whose certificate is `other_ca`."""

    ca: Path
    server: Pair
    client: Pair
    expired_server: Pair
    expired_client: Pair
    wrong_host: Pair
    stranger: Pair
    other_ca: Path


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """make-certs with these words."""
    return subprocess.run([sys.executable, ROOT / "examples/hospital/make-certs", *words], capture_output=True, text=True, timeout=60)


def make(home: Path) -> Certificates:
    """All of them, in directories below `home`."""
    good, other = home / "certs", home / "other"
    here: list[str | Path] = ["--server", "127.0.0.1=::1=localhost"]
    asked: tuple[list[str | Path], ...] = (
        [good, *here, "--server", "elsewhere.example", "--client", "st-anna"],
        [good, "--server", "127.0.0.1=::1=localhost=expired-server", "--client", "expired-client", "--days=-1"],
        [other, "--client", "stranger"],
    )
    for words in asked:
        done = run(*words)
        if done.returncode:
            raise RuntimeError(done.stderr)

    def pair(directory: Path, name: str) -> Pair:
        return Pair(directory / f"{name}.pem", directory / f"{name}.key")

    return Certificates(
        good / "ca.pem", pair(good, "localhost"), pair(good, "st-anna"), pair(good, "expired-server"), pair(good, "expired-client"),
        pair(good, "elsewhere.example"), pair(other, "stranger"), other / "ca.pem",
    )  # fmt: skip

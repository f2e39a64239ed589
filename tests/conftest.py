"""What all tests share: where the checkout is, the environment its commands run in, and what a skip means."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST = ("test_storage", "test_acceptance", "crashes", "test_runners", "cli/", "chain/", "test_pack", "end_to_end", "examples/")

hypothesis.settings.register_profile("default", deadline=None)  # a busy machine is no fault of an example
hypothesis.settings.load_profile("default")
# What a shell's background jobs ignore, and those of nohup, the commands under test would ignore too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="write what the commands of tests/cli print as what they should print")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: of several that run at a time none is then waited for at the end."""
    files = {item: item.nodeid.partition("::")[0] for item in items}  # a file's tests stay together: they share what was started
    items.sort(key=lambda item: next((place for place, name in enumerate(LONGEST) if name in files[item]), len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):  # type: ignore[no-untyped-def]
    """Where CI=true everything is installed: a test that skips there would silently check nothing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped although CI=true: {call.excinfo.value if call.excinfo else ''}"
    return report


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a user's shell: the commands and this interpreter first in PATH, nothing of the test run's own."""
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "USER") if name in os.environ}
    path = f"{ROOT / 'bin'}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return {**kept, "PATH": path, "LC_ALL": "C.UTF-8", "COLUMNS": "100"}


@pytest.fixture(scope="session")
def program():  # type: ignore[no-untyped-def]
    """A function that returns the path of a program, or skips the test, naming the package that brings it."""

    def find(name: str, package: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"needs {name}: apt-get install {package}")
        return path

    return find

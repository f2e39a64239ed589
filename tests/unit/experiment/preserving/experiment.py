"""An experiment as profile-wrap records it: three commands, two of them one pipe, in a directory of their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.experiment.preserving.crate import Agent, Description

DESCRIPTION = Description(
    "Correlation at 32",
    "A test.",
    "CC0-1.0",
    [Agent("Jan Kowalski", "https://orcid.org/0000-0002-1825-0097")],
    Agent("An institute", "https://institute.example/"),
)


@dataclass
class Experiment:
    """Files below `place`, and the lines of the run records of the commands that read and wrote them."""

    place: Path
    lines: list[dict[str, Any]] = field(default_factory=list)
    seconds: int = 0

    def file(self, name: str, content: bytes) -> str:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    def ran(
        self, argv: Sequence[str], inputs: Sequence[str] = (), outputs: Sequence[str] = (), run: str = "", status: int = 0, **more: Any
    ) -> str:
        """Record a command that began a second after the one before; its files are taken as they are now."""
        self.seconds += 1
        name = f"c{self.seconds}"
        directory = more.pop("directory", str(self.place))
        head = {"record": "run", "schema": 1, "run": run or f"r{self.seconds}", "command": name, "argv": list(argv), "directory": directory}
        machine = {"host": "here", "system": "Linux", "kernel": "6.1", "cpu": {"model": "A processor"}, "memory_bytes": 1 << 30}
        software = {"toolkit": "0.1.0", "python": "3.11.7", "program": {"path": "/bin/true", "sha256": "ab" * 32}, "packages": {"a": "2.4"}}
        told = {"began": f"2026-11-23T07:00:{self.seconds:02}.123456789Z", "machine": machine, "software": software}
        self.lines.append({**head, **told, "environment": {"OMP_NUM_THREADS": "2"}, **more})
        for role, paths in (("input", inputs), ("output", outputs)):
            for path in paths:
                content = (Path(directory) / path).read_bytes()
                file = {"role": role, "path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                self.lines.append({"record": "file", "command": name, **file})
        taken = {"status": status, "wall_ns": 500_000_000, "user_ns": 400_000_000, "system_ns": 10_000_000, "peak_rss_bytes": 30_000_000}
        self.lines.append({"record": "exit", "command": name, **taken})
        return name

    def records(self, name: str = "run.jsonl") -> str:
        path = self.place / name
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return str(path)

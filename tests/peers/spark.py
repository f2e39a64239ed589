"""A real Spark for tests: pyspark's own, on loopback, all that it writes in one directory, and started as quickly as it can be.

``local[2]`` runs everything in one Java process; ``local-cluster[2,1,1024]`` is a real master with two workers, each of them and of their
executors a Java process of its own: what tasks need has to reach them as on any cluster.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

EXTRA = "spark"  # of setup.cfg
LOCAL, CLUSTER = "local[2]", "local-cluster[2,1,1024]"
_QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"  # two thirds of the time; no files in /tmp
_LOG = """rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d %p %c{1}: %m%n%ex
"""


def missing() -> str:
    """What has to be installed before Spark can run; empty when it can."""
    if shutil.which("java") is None:
        return "apt-get install default-jre-headless"
    return "" if importlib.util.find_spec("pyspark") else f"pip install 'scape-toolkit[{EXTRA}]'"


@dataclass(frozen=True)
class Spark:
    """An installation of Spark below `home` with its configuration; `environment` has commands use it, as it would a user's."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that Spark's own programs read."""
        return {
            "SPARK_HOME": str(self.home),
            "SPARK_CONF_DIR": str(self.home / "conf"),
            "SPARK_LAUNCHER_OPTS": _QUICK,  # of the Java that only finds out how to start the next one
            "SPARK_LOCAL_HOSTNAME": "localhost",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.home / "local"),
            "SPARK_WORKER_DIR": str(self.home / "work"),
            "TMPDIR": str(self.home / "tmp"),
        }

    def left(self) -> list[str]:
        """Files that jobs left behind, but for what a cluster's workers keep of each: names below `home`."""
        places = (self.home / "tmp", self.home / "local")
        return sorted(str(path.relative_to(self.home)) for place in places for path in place.rglob("*") if path.is_file())


def install(directory: Path) -> Spark:
    """Spark below `directory`, which is made: links to pyspark's files, and a configuration. Raises FileNotFoundError: see `missing`."""
    if missing():
        raise FileNotFoundError(missing())
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None and spec.origin is not None
    package, made = Path(spec.origin).parent, Spark(directory)
    for name in ("conf", "local", "tmp", "work", "python/lib/pyspark.zip"):
        (directory / name).mkdir(parents=True)
    for name in ("bin", "jars"):
        (directory / name).symlink_to(package / name)
    # Spark has Python import itself out of a zip file, which is compiled again by every process: a second each
    (directory / "python/lib/pyspark.zip/pyspark").symlink_to(package)
    for archive in (package / "python/lib").glob("py4j-*.zip"):
        (directory / "python/lib" / archive.name).symlink_to(archive)
    (directory / "conf/log4j2.properties").write_text(_LOG)
    java = f"{_QUICK} -Djava.io.tmpdir={directory}/tmp"
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": java,
        "spark.driver.host": "localhost",
        "spark.driver.memory": "512m",
        "spark.executor.extraJavaOptions": java,
        "spark.executor.memory": "512m",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    (directory / "conf/spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    return made

"""What the commands that run map-reduce jobs share: the options that say where, and the runner they choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from toolkit.core.mapreduce.running import Runner

RUNNERS = ["inline", "local", "spark", "hadoop"]
_OPTIONS = (
    click.option("-r", "--runner", type=click.Choice(RUNNERS), default="inline", help="Where the job runs. [inline]"),
    click.option("--spark-master", "master", metavar="URL", default="", help="spark: local[2], spark://HOST:PORT, yarn. [this machine]"),
    click.option("--hadoop-streaming-jar", "jar", metavar="FILE", default="", help="hadoop: the jar, where it is not found by itself."),
    click.option("--cluster-tmp", metavar="URL", default="", help="spark, hadoop: a directory that all workers reach."),
    click.option("--python-bin", metavar="FILE", default="", help="local, spark, hadoop: the workers' Python. [this one's path]"),
    click.option("--setting", "settings", metavar="NAME=VALUE", multiple=True, help="spark, hadoop: a setting of the job."),
)


def runner_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add them to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def chosen_runner(given: dict[str, Any]) -> Runner:
    """The runner that the options in `given` ask for."""
    from toolkit.core.mapreduce.running import Runner

    return Runner(given["runner"], given["master"], given["python_bin"], given["cluster_tmp"], given["settings"], given["jar"])

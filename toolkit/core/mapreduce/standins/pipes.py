"""What mrjob 0.7.4 uses of a module that Python 3.13 removed."""

from shlex import quote  # noqa: F401 - mrjob imports it from here

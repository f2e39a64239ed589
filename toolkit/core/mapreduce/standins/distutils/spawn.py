"""Where a program is."""

from shutil import which as find_executable  # noqa: F401 - mrjob imports it from here

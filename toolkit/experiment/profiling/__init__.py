"""Measuring a command while it runs: memory, time, stages, files, and the machine it ran on."""

"""Experiments that can be repeated: measuring commands, reporting, preserving, staging to machines one does not own."""

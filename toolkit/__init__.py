"""Unix commands for work done in data centres that one does not own; see toolkit(7)."""

__version__ = "0.1.0"

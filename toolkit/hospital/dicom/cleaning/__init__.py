"""Doing it to one object: identifiers, dates and texts; the check afterwards; what is held back and why."""

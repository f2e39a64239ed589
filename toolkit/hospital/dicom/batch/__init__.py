"""Many objects: finding them, several processes, names, the journal of what is done, quarantine, reports."""

"""Names on the peaks of a photograph whose pose is known."""

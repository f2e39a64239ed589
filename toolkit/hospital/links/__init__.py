"""The link database: which visit and patient of the hospital is which id of the data centre, and what waits to be sent."""

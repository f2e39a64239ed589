"""Stand-ins for modules that newer Pythons have removed, as far as mrjob 0.7.4 uses them."""

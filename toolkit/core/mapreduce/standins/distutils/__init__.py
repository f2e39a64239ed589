"""What mrjob 0.7.4 uses of a package that Python 3.12 removed."""

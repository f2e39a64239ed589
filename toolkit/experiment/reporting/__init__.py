"""Reports over run records: tables, fitted laws, forecasts, comparisons, figures and one page.

`report` has the whole; `job` is the map-reduce over any number of files, `observations` what one command says, `collected` what all say.
"""

"""Questions that researchers ask of all visits, answered by map-reduce over the row tables; see ADDING AN ANALYSIS in mdc-analyse(1).

`questions` holds one file an analysis. `plan` finds what the stores hold, `versions` decides which rows count, `job` is the map-reduce
job that works for every question, `run` puts them together; `ingest` makes row tables out of documents, `answers`,
`suppression`, `writing` and `charts` are the way to the reader.
"""

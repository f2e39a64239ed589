"""Print OUT.json, a key a line, without what differs from run to run and from version to version."""

import json
import sys

with open(sys.argv[1]) as stream:
    report = json.load(stream)
del report["input"]["digest"]
for key in report:
    if key not in ("version", "seconds", "columns"):
        print(key, json.dumps(report[key]))

"""Run a command, drop what it writes to standard output, and print a JSON object: `s`, its wall time, and `mb`, its memory at the peak.

In a small process of its own: what a process holds when it starts another counts as the other's memory too.
"""

import json
import os
import subprocess
import sys
import time

began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
assert process.stdout is not None
while process.stdout.read(1 << 20):
    pass
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps({"s": time.perf_counter() - began, "mb": usage.ru_maxrss * 1024 / 1e6}))
sys.exit(process.returncode)

"""One module per command: its options, its help and one call into the packages below."""

import os
import sys

# A command started straight from a checkout (PATH, a symlink, cron) finds the packages that `make` installed
# beside it, whichever python3 the environment's PATH happens to name.
_python = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), ".venv", "bin", "python3")
if sys.prefix == sys.base_prefix and os.path.basename(os.path.dirname(sys.argv[0])) == "bin" and os.access(_python, os.X_OK):
    os.execv(_python, [_python, *sys.argv])

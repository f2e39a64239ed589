"""One module per command: its options, its help and one call into the packages below."""

import os
import sys

# A command started straight from a checkout (PATH, a symlink, cron) finds the packages that `make` installed
# beside it, whichever python3 the environment's PATH happens to name.
_checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_venv = os.path.join(_checkout, ".venv")
_python = os.path.join(_venv, "bin", "python3")
if os.path.dirname(os.path.realpath(sys.argv[0])) == os.path.join(_checkout, "bin"):
    if os.access(_python, os.X_OK):
        if sys.executable != _python and os.path.realpath(sys.prefix) != os.path.realpath(_venv):
            try:  # Python sets LC_CTYPE where the locale is C (PEP 538); a command that runs others must not find it set
                with open("/proc/self/environ", "rb") as _stream:
                    _environment = dict(_pair.split(b"=", 1) for _pair in _stream.read().split(b"\0") if b"=" in _pair)
            except OSError:
                _environment = dict(os.environb)
            os.execve(_python, [_python, *sys.orig_argv[1:]], _environment)
    else:
        try:
            import click  # noqa: F401 - every command needs it, and a newcomer a plain word where it is missing
        except ModuleNotFoundError:
            print(f"{os.path.basename(sys.argv[0])}: {_checkout}: no packages are installed yet; run `make` there", file=sys.stderr)
            sys.exit(69)

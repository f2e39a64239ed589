"""Where to listen or connect, as options say it."""

from __future__ import annotations

from toolkit.core.errors import UsageError


def parse_address(option: str, text: str, examples: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; an address of IPv6 stands in brackets. Raises UsageError, which names `option` and `examples`."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536) or (":" in host) != host.startswith("["):
        raise UsageError(option, f"{text!r} is no HOST:PORT", f"write {examples}")
    return host.strip("[]"), int(port)

"""One SFTP channel: requests go out as they come, answers are matched by their number."""

from __future__ import annotations


class Channel:
    """An open channel; made by a Connection."""

    name: str  # of the host, for messages
    extensions: dict[bytes, bytes]  # that the server offers, with their versions

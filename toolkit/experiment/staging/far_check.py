"""What ``sha256sum -c`` does, for any Python 3: its text is sent to the far side, where OpenSSL's SHA-256 is several times as fast."""

import hashlib
import sys

ESCAPES = ((b"\\\\", b"\0"), (b"\\n", b"\n"), (b"\\r", b"\r"), (b"\0", b"\\"))  # no name has a NUL


def main() -> None:
    """Read lines of a manifest, write ``NAME: OK``, ``NAME: FAILED`` or ``NAME: FAILED open or read`` for each."""
    for line in sys.stdin.buffer:
        escaped = line.startswith(b"\\")
        digest, name = line[escaped:-1].split(b"  ", 1)
        sys.stdout.buffer.write(b"\\" * escaped + name + b": " + verdict(name, escaped, digest.decode()) + b"\n")


def verdict(path: bytes, escaped: bool, digest: str) -> bytes:
    """Whether a file is as it must be."""
    for written, meant in ESCAPES if escaped else ():
        path = path.replace(written, meant)
    sha256 = hashlib.sha256()
    try:
        with open(path, "rb", 0) as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                sha256.update(piece)
    except OSError:
        return b"FAILED open or read"
    return b"OK" if sha256.hexdigest() == digest else b"FAILED"


if __name__ == "__main__":
    main()

"""Receive images from hospitals over the DICOM protocol and keep them durably; see mdc-pacs(1)."""

from __future__ import annotations

import click

from toolkit.core.command import command


@command(
    "mdc-pacs",
    examples="""
    mdc-pacs serve --listen 0.0.0.0:2762 --spool /var/lib/mdc/spool --cert mdc.pem --key mdc.key --client-ca ca.pem
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(["serve"]))
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:2762", help="Where to wait for senders. [127.0.0.1:2762]")
@click.option("--spool", metavar="DIR", required=True, help="Where objects are kept: a local disk.")
@click.option("--title", metavar="AE", default="MDC", help="This receiver's application entity title. [MDC]")
@click.option("--cert", metavar="FILE", help="This receiver's certificate and those above it, PEM.")
@click.option("--key", metavar="FILE", help="Its private key, PEM, not encrypted.")
@click.option("--client-ca", metavar="FILE", help="The authority of the senders' certificates, PEM.")
@click.option("--associations", metavar="N", type=click.IntRange(1, 900), default=100, help="Associations at once. [100]")
def mdc_pacs(
    action: str, listen: str, spool: str, title: str, cert: str | None, key: str | None, client_ca: str | None, associations: int
) -> int:
    """Receive images from hospitals.

    ACTION serve takes objects over the DICOM protocol, whose identity was removed, and acknowledges each when it is on disk. With
    certificates on both sides it listens anywhere, without any on loopback only. It runs until SIGTERM ends it.
    """
    from toolkit.core.dicom_network import server_context
    from toolkit.core.errors import UsageError
    from toolkit.datacentre.pacs.keeping import PlainDirectory
    from toolkit.datacentre.pacs.receiver import Receiver, until_signal

    host, colon, port = listen.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536) or (":" in host) != host.startswith("["):
        raise UsageError("--listen", f"{listen!r} is no HOST:PORT", "write 0.0.0.0:2762, localhost:2762 or [::]:2762")
    if not (0 < len(title) <= 16 and title.isascii() and title.isprintable() and title.strip() == title and "\\" not in title):
        raise UsageError("--title", "is no application entity title", "write 1 to 16 characters of ASCII")
    if cert and key and client_ca:
        context = server_context(cert, key, client_ca)
    elif cert or key or client_ca:
        raise UsageError("--cert", "goes with --key and --client-ca", "name all three, or none on loopback")
    else:
        context = None
    with Receiver(host.strip("[]"), int(port), PlainDirectory(spool), context, title, associations):
        until_signal()
    return 0

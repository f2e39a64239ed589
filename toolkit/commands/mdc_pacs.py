"""Receive images from hospitals over the DICOM protocol and keep them durably; see mdc-pacs(1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.core.command import command

if TYPE_CHECKING:
    from toolkit.datacentre.pacs.commitment import Peer


@command(
    "mdc-pacs",
    examples="""
    mdc-pacs serve --listen 0.0.0.0:2762 --spool /var/lib/mdc/spool --index /var/lib/mdc/index.db
        --cert mdc.pem --key mdc.key --client-ca ca.pem
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(["serve"]))
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:2762", help="Where to wait for senders. [127.0.0.1:2762]")
@click.option("--spool", metavar="DIR", required=True, help="Where objects are kept until mdc-store packs them: a local disk.")
@click.option("--index", "index_url", metavar="URL", required=True, help="The index: a file of SQLite or postgresql://...")
@click.option("--store", metavar="URL", help="Where to look for packed objects before a sender is told that they are kept.")
@click.option("--title", metavar="AE", default="MDC", help="This receiver's application entity title. [MDC]")
@click.option("--cert", metavar="FILE", help="This receiver's certificate and those above it, PEM.")
@click.option("--key", metavar="FILE", help="Its private key, PEM, not encrypted.")
@click.option("--client-ca", metavar="FILE", help="The authority of the senders' certificates, PEM.")
@click.option("--associations", metavar="N", type=click.IntRange(1, 2000), default=100, help="Associations at once. [100]")
@click.option("--peer", "peers", metavar="AE=HOST:PORT", multiple=True, help="Where a sender takes reports of commitment; repeatable.")
@click.option("--audit", metavar="FILE", help="Append who did what and when, JSON lines. [nowhere]")
def mdc_pacs(
    action: str,
    listen: str,
    spool: str,
    index_url: str,
    store: str | None,
    title: str,
    cert: str | None,
    key: str | None,
    client_ca: str | None,
    associations: int,
    peers: tuple[str, ...],
    audit: str | None,
) -> int:
    """Receive images from hospitals.

    ACTION serve takes objects over the DICOM protocol, whose identity was removed, and acknowledges each when spool and index hold it on
    disk; it answers queries, and says which objects it keeps. With certificates on both sides it listens anywhere, without any on
    loopback only. It runs until SIGTERM ends it.
    """
    from toolkit.core.addresses import parse_address
    from toolkit.core.dicom_network import is_title
    from toolkit.core.errors import UsageError

    place = parse_address("--listen", listen, "0.0.0.0:2762, localhost:2762 or [::]:2762")
    if not is_title(title):
        raise UsageError("--title", "is no application entity title", "write 1 to 16 characters of ASCII")
    if (cert or key or client_ca) and not (cert and key and client_ca):
        raise UsageError("--cert", "goes with --key and --client-ca", "name all three, or none on loopback")
    from toolkit.datacentre.pacs.receiver import Place
    from toolkit.datacentre.pacs.running import Certificates, Kept, run

    certificates = Certificates(cert, key, client_ca) if cert and key and client_ca else None
    known = dict(_peer(text) for text in peers)
    run(Place(*place, title, associations), Kept(spool, index_url, store, audit), known, certificates)
    return 0


def _peer(text: str) -> tuple[str, Peer]:
    from toolkit.core.addresses import parse_address
    from toolkit.core.dicom_network import is_title
    from toolkit.core.errors import UsageError
    from toolkit.datacentre.pacs.commitment import Peer

    title, equals, address = text.partition("=")
    if not equals or not is_title(title):
        raise UsageError("--peer", f"{text!r} is no AE=HOST:PORT", "write STANNA=dicom.stanna.example:11112")
    return title, Peer(*parse_address("--peer", address, "0.0.0.0:2762, localhost:2762 or [::]:2762"))

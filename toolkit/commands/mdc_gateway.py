"""Receive visits from hospitals over mutual TLS and keep them durably; see mdc-gateway(1)."""

from __future__ import annotations

import click

from toolkit.core.command import command


@command(
    "mdc-gateway",
    examples="""
    mdc-gateway serve --listen 0.0.0.0:8443 --spool /var/lib/mdc/spool --store hdfs://nn:8020/visits
        --index /var/lib/mdc/index.db --cert mdc.pem --key mdc.key --client-ca ca.pem
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(["serve"]))
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8443", help="Where to wait for clients. [127.0.0.1:8443]")
@click.option("--spool", metavar="DIR", required=True, help="Where documents are kept until mdc-store packs them: a local disk.")
@click.option("--store", metavar="URL", required=True, help="Where packs are read: a directory, hdfs://, webhdfs:// or s3://.")
@click.option("--archive", metavar="URL", help="Where their copies are read when the store fails.")
@click.option("--index", "index_url", metavar="URL", required=True, help="The index: a file of SQLite or postgresql://...")
@click.option("--cert", metavar="FILE", required=True, help="This server's certificate and those above it, PEM.")
@click.option("--key", metavar="FILE", required=True, help="Its private key, PEM, not encrypted.")
@click.option("--client-ca", metavar="FILE", required=True, help="The authority of the clients' certificates, PEM.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 256), help="Processes that look at documents. [one a processor]")
@click.option("--largest", metavar="BYTES", type=click.IntRange(1, 64 << 20), default=64 << 20, help="Refuse larger documents. [67108864]")
@click.option("--rate", metavar="N", type=click.FloatRange(0, min_open=True), help="Documents a second from each client. [no limit]")
@click.option("--connections", metavar="N", type=click.IntRange(1), default=256, help="Connections at once. [256]")
@click.option("--audit", metavar="FILE", help="Append who did what and when, JSON lines. [nowhere]")
def mdc_gateway(
    action: str,
    listen: str,
    spool: str,
    store: str,
    archive: str | None,
    index_url: str,
    cert: str,
    key: str,
    client_ca: str,
    workers: int | None,
    largest: int,
    rate: float | None,
    connections: int,
    audit: str | None,
) -> int:
    """Receive visits from hospitals.

    ACTION serve takes documents that hl7-send made, over HTTPS with certificates on both sides, and acknowledges each when spool and
    index hold it on disk. It runs until SIGTERM ends it.
    """
    import os

    from toolkit.core.errors import UsageError
    from toolkit.core.storage import open_store
    from toolkit.datacentre.running import Kept, Limits, run
    from toolkit.datacentre.serving import Door

    if store == archive:
        raise UsageError("--archive", "is the store itself", "name another place for the copy")
    door = Door(*address_of(listen), cert, key, client_ca, connections)
    kept = Kept(spool, index_url, open_store(store), open_store(archive) if archive else None, audit)
    run(door, kept, Limits(workers or len(os.sched_getaffinity(0)), largest, rate or 0.0))
    return 0


def address_of(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; an address of IPv6 stands in brackets."""
    from toolkit.core.addresses import parse_address

    return parse_address("--listen", text, "0.0.0.0:8443, localhost:8443 or [::]:8443")

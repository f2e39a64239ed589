"""Send visits to the data centre; see hl7-send(1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from toolkit.core.command import command
from toolkit.core.errors import UsageError
from toolkit.core.stages import stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toolkit.hospital.links.database import Links
    from toolkit.hospital.sending.sources import Source

_SQL = ("from_sql", "query", "template")


@command(
    "hl7-send",
    examples="""
    hl7-send /his/export --to https://mdc:8443 --links links.db --key hospital.key --cert has.pem --ca ca.pem
    hl7-send --drain --to https://mdc:8443 --links links.db --key hospital.key --cert has.pem --ca ca.pem
    hl7-send /his/export --queue-only --links postgresql:///links --key hospital.key
    hl7-send --status --links links.db --key hospital.key --format json
    """,
)
@click.argument("paths", metavar="PATH...", nargs=-1)
@click.option("--to", metavar="URL", help="The data centre's gateway, https://HOST:PORT.")
@click.option("--links", metavar="URL", required=True, help="The link database, a file or postgresql://...")
@click.option("--key", metavar="KEYFILE", required=True, help="The hospital's key, made by hospital-key.")
@click.option("--cert", metavar="CERT.pem", help="This hospital's client certificate.")
@click.option("--client-key", metavar="KEY.pem", help="Its private key. [in CERT.pem]")
@click.option("--ca", metavar="CA.pem", help="The data centre's certificate authority. [the system's]")
@click.option("--timeout", type=click.FloatRange(1, 3600), metavar="SECONDS", default=60.0, help="Silence that ends a connection. [60]")
@click.option("--queue-only", is_flag=True, help="Put documents into the queue and send nothing.")
@click.option("--drain", is_flag=True, help="Send what waits in the queue.")
@click.option("--status", is_flag=True, help="Show what waits, what was acknowledged and what was refused.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How --status is written. [text]")
@click.option("--profile", metavar="FILE", help="What is kept of a document, see visit-profile(5).")
@click.option("--xsd", metavar="FILE", help="Check each rebuilt document against this XML schema too.")
@click.option("--from-sql", metavar="URL", help="Make the documents from this database: a file or postgresql://...")
@click.option("--query", metavar="FILE", help="With --from-sql: a SELECT whose first column is the visit.")
@click.option("--template", metavar="FILE", help="With --from-sql: the document that a visit's rows are put into.")
def hl7_send(paths: tuple[str, ...], **given: Any) -> int:
    """Send visit documents (HL7 CDA) in PATH... to the data centre, without personal data: files, directories, or - for standard input.

    Each document is rebuilt from an allow-list, its ids encrypted, and put into a queue; the queue is sent over mutual TLS. Exit
    status 75: something waits, --drain sends it later; 1: something was refused.
    """
    _check(paths, given)
    from toolkit.core.keys import read_keys
    from toolkit.hospital.links.database import open_links

    keyring = read_keys(given["key"])
    if given["status"]:
        with open_links(given["links"], keyring, create=False) as links:
            return _show(links, given["form"])
    from toolkit.hospital.sending.client import Gateway, tls_context
    from toolkit.hospital.sending.run import Tally, drain, finish, queue_documents
    from toolkit.hospital.visits.profile import read_profile

    gateway = None
    if not given["queue_only"]:  # a wrong address or certificate is told before any work
        context = tls_context(given["cert"], given["client_key"], given["ca"])
        gateway = Gateway(given["to"], context, given["timeout"], has_certificate=given["cert"] is not None)
    tally = Tally(queued_only=given["queue_only"])
    with open_links(given["links"], keyring) as links:
        if not given["drain"]:
            profile = read_profile(given["profile"])
            with stage("queue"):
                queue_documents(_sources(paths, given), links, keyring.current, profile, given["xsd"], tally)
        if gateway is not None:
            with stage("send"), gateway:
                drain(links, gateway, tally, timeout=given["timeout"])
        return finish(links, tally)


def _check(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    modes = [name for name in ("queue_only", "drain", "status") if given[name]]
    if len(modes) > 1:
        raise UsageError(" and ".join("--" + name.replace("_", "-") for name in modes), "are different modes", "choose one")
    sql = [given[name] is not None for name in _SQL]
    if any(sql) and not all(sql):
        raise UsageError("--from-sql, --query and --template", "belong together", "give all three")
    takes_documents = not (given["drain"] or given["status"])
    if not takes_documents and (paths or any(sql) or given["profile"] or given["xsd"]):
        raise UsageError("--drain" if given["drain"] else "--status", "takes no documents", "leave out paths and what rebuilds documents")
    if takes_documents and bool(paths) == any(sql):
        raise UsageError("PATH", "is missing" if not paths else "and --from-sql are two sources", "name documents, or give --from-sql")
    if paths.count("-") > 1:
        raise UsageError("PATH -", "is given twice", "give it once")
    sends = not (given["queue_only"] or given["status"])
    if sends and given["to"] is None:
        raise UsageError("--to", "is missing", "name the data centre's gateway, or say --queue-only")
    if not sends and any(given[name] is not None for name in ("to", "cert", "client_key", "ca")):
        raise UsageError("--" + modes[0].replace("_", "-"), "sends nothing", "leave out --to, --cert, --client-key and --ca")


def _sources(paths: tuple[str, ...], given: dict[str, Any]) -> Iterator[Source]:
    from toolkit.hospital.sending.from_sql import documents_from_sql
    from toolkit.hospital.sending.sources import read_sources

    return documents_from_sql(*(given[name] for name in _SQL)) if given["from_sql"] is not None else read_sources(paths)


def _show(links: Links, form: str) -> int:
    import sys

    from toolkit.hospital.sending.status import as_json, as_text, exit_status

    status = links.status()
    sys.stdout.write(as_json(status) if form == "json" else as_text(status))
    return exit_status(status)

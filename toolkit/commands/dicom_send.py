"""Send de-identified images to the data centre; see dicom-send(1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from toolkit.core.command import command
from toolkit.core.errors import NotPermitted, UsageError

if TYPE_CHECKING:
    from toolkit.hospital.images.journal import Journal
    from toolkit.hospital.images.objects import Image
    from toolkit.hospital.images.outcome import Outcome
    from toolkit.hospital.images.peer import Peer


@command(
    "dicom-send",
    examples="""
    dicom-send /outbox --to mdc:2762 --cert has.pem --key has.key --ca ca.pem --journal sent.db
    dicom-send /outbox --to mdc:2762 --cert has.pem --key has.key --ca ca.pem --journal sent.db --commit
    find /outbox -name '*.dcm' -print0 | dicom-send - --to 127.0.0.1:2762
    dicom-send --echo --to mdc:2762 --cert has.pem --key has.key --ca ca.pem
    """,
)
@click.argument("paths", metavar="PATH...", nargs=-1)
@click.option("--to", metavar="HOST:PORT", required=True, help="The receiver.")
@click.option("--called", metavar="AE", default="MDC", help="The receiver's application entity title. [MDC]")
@click.option("--calling", metavar="AE", default="DICOM_SEND", help="Our own. [DICOM_SEND]")
@click.option("--cert", metavar="FILE", help="This hospital's certificate, PEM.")
@click.option("--key", metavar="FILE", help="Its private key, PEM, not encrypted.")
@click.option("--ca", metavar="FILE", help="The authority of the receiver's certificate, PEM.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, metavar="N", help="Associations at once. [1]")
@click.option("--journal", metavar="FILE", help="What was sent is kept here, and not sent again.")
@click.option("--report", metavar="FILE", help="What became of each file, JSON lines; - is standard output.")
@click.option("--commit", is_flag=True, help="Ask the receiver to say that it keeps what was sent (storage commitment).")
@click.option("--listen", metavar="HOST:PORT", help="With --commit: take what it says on associations of its own, too.")
@click.option("--timeout", type=click.FloatRange(1, 3600), metavar="SECONDS", default=120.0, help="Silence that ends a connection. [120]")
@click.option("--echo", is_flag=True, help="Only ask whether the receiver is there, and how fast it answers.")
def dicom_send(paths: tuple[str, ...], **given: Any) -> int:
    """Send the images in PATH... to the data centre (C-STORE): files, directories, or - for a list of them on standard input.

    Only images whose identity was removed leave, over mutual TLS, or plain to this machine. Exit status 75: something waits, the next
    run sends it; 1: something was refused.
    """
    if given["echo"] == bool(paths):
        raise UsageError("PATH" if paths else "PATH...", "does not go with --echo" if paths else "is missing", "give paths or --echo")
    if given["listen"] and not given["commit"]:
        raise UsageError("--listen", "is for what --commit asks", "give --commit too")
    peer = _peer(given)
    if given["echo"]:
        return _echo(peer)
    from toolkit.hospital.dicom.batch.report import report_to
    from toolkit.hospital.images.journal import open_journal
    from toolkit.hospital.images.outcome import Outcome
    from toolkit.hospital.images.run import send

    own = [path for path in (given["key"], given["cert"], given["ca"]) if path]
    for name, ending in (("journal", ".lock"), ("report", ".partial")):
        if given[name] and given[name] != "-":
            own += [given[name], given[name] + ending]
    with open_journal(given["journal"], f"{peer.called}@{peer.place}") as journal, report_to(given["report"]) as report:
        outcome = Outcome(report)
        sent = send(paths, own, peer, journal, outcome, given["jobs"])
        if given["commit"] and sent:
            _commit(sent, peer, journal, outcome, given)
        return outcome.finish()


def _peer(given: dict[str, Any]) -> Peer:
    """The receiver; a wrong address or certificate is told before any work."""
    from toolkit.core.dicom_network import client_context, is_loopback
    from toolkit.hospital.images.peer import Peer, check_title, parse_place

    host, port = parse_place(given["to"], "--to")
    files = [given[name] for name in ("cert", "key", "ca")]
    if any(files) and not all(files):
        raise UsageError("--cert, --key and --ca", "belong together", "name all three, or none on loopback")
    if not any(files) and not is_loopback(host):
        raise NotPermitted(given["to"], "images would travel unencrypted", "name certificates with --cert, --key and --ca")
    context = client_context(*files) if any(files) else None
    called, calling = check_title(given["called"], "--called"), check_title(given["calling"], "--calling")
    return Peer(host, port, called, calling, context, given["timeout"])


def _commit(sent: list[Image], peer: Peer, journal: Journal, outcome: Outcome, given: dict[str, Any]) -> None:
    import contextlib

    from toolkit.core.dicom_network import server_context
    from toolkit.core.stages import stage
    from toolkit.hospital.images.commitment import Commitment, listening
    from toolkit.hospital.images.peer import parse_place

    with contextlib.ExitStack() as stack:
        stack.enter_context(stage("commit"))
        reports = None
        if given["listen"]:
            tls = server_context(given["cert"], given["key"], given["ca"]) if given["cert"] else None
            reports = stack.enter_context(listening(*parse_place(given["listen"], "--listen"), peer.calling, tls))
        Commitment(peer, journal, outcome, reports).ask(sent)


def _echo(peer: Peer) -> int:
    import time

    from toolkit.core.errors import Unavailable
    from toolkit.hospital.images.association import IMPLICIT_LITTLE, VERIFICATION, Association, Lost

    begun = time.perf_counter()
    with Association(peer, [(VERIFICATION, IMPLICIT_LITTLE)]) as association:
        for why in association.refused.values():
            raise Unavailable(peer.place, f"does not answer C-ECHO: {why}", "look into the receiver's log")
        agreed = time.perf_counter()
        try:
            answer = association.echo()
        except Lost as error:
            raise Unavailable(error.place, error.problem, error.remedy) from error
        answered = time.perf_counter()
    if answer.status:
        raise Unavailable(peer.place, f"answers C-ECHO with status 0x{answer.status:04X}", "look into the receiver's log")
    click.echo(f"{peer.place}: {peer.called} answers in {(answered - agreed) * 1e3:.1f} ms, association {(agreed - begun) * 1e3:.1f} ms")
    return 0

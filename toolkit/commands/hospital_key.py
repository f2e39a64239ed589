"""Make, look at and rotate the key file of the hospital's commands; see hospital-key(1)."""

from __future__ import annotations

import sys

import click

from toolkit.core.command import command


@command(
    "hospital-key",
    examples="""
    hospital-key new hospital.key
    hospital-key show hospital.key
    hospital-key rotate hospital.key
    """,
)
@click.argument("action", metavar="ACTION", type=click.Choice(["new", "show", "rotate"]))
@click.argument("keyfile", metavar="KEYFILE")
def hospital_key(action: str, keyfile: str) -> None:
    """Make, show or rotate KEYFILE, the secret of pseudonyms and vault.

    ACTION new makes a file with one key, show lists its keys, rotate adds a newer key and keeps the older ones. Each prints
    ids, fingerprints and times as tab-separated values, never a secret.
    """
    from toolkit.core.errors import UsageError
    from toolkit.core.keys import create_keys, read_keys, rotate_keys
    from toolkit.core.records import write_records

    if keyfile == "-":
        raise UsageError("-", "secrets do not pass through standard input or output", "name a file")
    work = {"new": create_keys, "show": read_keys, "rotate": rotate_keys}[action]
    keys = work(keyfile).keys
    shown = keys if action == "show" else keys[-1:]
    records = [{"id": key.id, "fingerprint": key.fingerprint, "created": key.created_text} for key in shown]
    write_records(sys.stdout.buffer, records, "tsv")

"""Restore anonymised DICOM objects; see dicom-personalise(1)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from toolkit.core.command import command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from toolkit.hospital.dicom.restoring.personalise import Access


@command(
    "dicom-personalise",
    examples="""
    dicom-personalise results/ --vault vault.db --key hospital.key -o personal/
    dicom-personalise --key hospital.key - < result.dcm > original.dcm
    dicom-personalise results/ --private-key recipient.pem -o personal/
    """,
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", help="Write the originals below DIR; - is standard output, the default for PATH -.")
@click.option("--vault", metavar="URL", help="The vault, a file or postgresql://...; vault.db is the default with --key.")
@click.option("--key", metavar="KEYFILE", help="The hospital's key file, which opens the vault.")
@click.option("--private-key", metavar="KEY.pem", help="Restore from the objects' encrypted attributes with this RSA key.")
@click.option("--passphrase-file", metavar="FILE", help="The first line is the private key's passphrase; default: ask the terminal.")
@click.option("--padi", metavar="PLACE", help="Restore from PADI's side files: a directory, or one side file.")
@click.option("--keep-names", is_flag=True, help="Name the outputs as the inputs; default: STUDY/SERIES/INSTANCE.dcm.")
@click.option("--mixed-patients", is_flag=True, help="Allow objects of several patients in one run.")
@click.option("--dry-run", is_flag=True, help="Check everything, write nothing.")
@click.option("--report", metavar="FILE", help="Write what became of each object here, JSON lines; - is standard output.")
@click.option("--jobs", type=click.IntRange(1, 256), metavar="N", default=1, help="Processes. [1]")
def dicom_personalise(
    paths: tuple[str, ...],
    output: str | None,
    vault: str | None,
    key: str | None,
    private_key: str | None,
    passphrase_file: str | None,
    padi: str | None,
    keep_names: bool,
    mixed_patients: bool,
    dry_run: bool,
    report: str | None,
    jobs: int,
) -> int:
    """Restore the original of each anonymised object in PATH: files, directories, or - for one object on standard input.

    The originals come from the hospital's vault (--key), from the objects themselves (--private-key) or from PADI's side
    files (--padi). An object that the vault does not know or that was changed is refused. All objects must be of one
    patient. Who restored what is written to the vault's audit.
    """
    from toolkit.core.errors import UsageError
    from toolkit.hospital.dicom.restoring.personalise import Settings, personalise

    if "-" in paths and (len(paths) > 1 or keep_names or jobs > 1):
        raise UsageError("PATH -", "is one object without a name", "leave out other inputs, --keep-names and --jobs")
    if output is None and not dry_run:
        if paths != ("-",):
            raise UsageError("-o", "is missing", "name a directory for the originals")
        output = "-"
    if output == "-" and (len(paths) > 1 or report == "-"):
        raise UsageError("standard output", "takes one object and nothing else", "give -o DIR")
    if output == "-" and sys.stdout.isatty():
        raise UsageError("standard output", "is a terminal, and the object is binary", "give -o FILE or a pipe")
    access = _access(vault, key, private_key, passphrase_file, padi)
    return personalise(paths, access, Settings(output or "-", keep_names, mixed_patients, dry_run, report, jobs))


def _access(vault: str | None, key: str | None, private_key: str | None, passphrase_file: str | None, padi: str | None) -> Access:
    """Where the originals come from: one way, and the vault for its audit where it is named with another."""
    from toolkit.core.errors import NoInput, UsageError
    from toolkit.hospital.dicom.restoring.personalise import Access

    if private_key is not None and padi is not None:
        raise UsageError("--private-key and --padi", "are two ways", "choose one")
    if key is None and private_key is None and padi is None:
        raise UsageError("--key", "is missing", "name the key file that opens the vault, or another way: --private-key, --padi")
    if (vault is not None) and key is None:
        raise UsageError("--vault", "is opened with a key", "name its key file with --key")
    if passphrase_file is not None and private_key is None:
        raise UsageError("--passphrase-file", "is for a private key", "name that with --private-key")
    if key is not None and vault is None and private_key is None and padi is None:
        vault = "vault.db"
    elif key is not None and vault is None:
        raise UsageError("--key", "opens no vault here", "name the vault that takes the audit, or leave --key out")
    if padi is not None:
        import os

        if not os.path.exists(padi):
            raise NoInput(padi, "No such file or directory", "name the directory of the side files")
    return Access(vault, key, _private_key(private_key, passphrase_file) if private_key is not None else None, padi)


def _private_key(path: str, passphrase_file: str | None) -> RSAPrivateKey:
    """The RSA key in a PEM file; a passphrase comes from a file or the terminal, never from the command line."""
    from toolkit.core.streams import open_input
    from toolkit.hospital.dicom.restoring.private_key import needs_passphrase, read_private_key

    with open_input(path) as stream:
        pem = stream.read()
    passphrase = None
    if passphrase_file is not None:
        with open_input(passphrase_file) as stream:
            passphrase = stream.readline().rstrip(b"\r\n")
    elif needs_passphrase(pem):
        passphrase = _asked(path)
    return read_private_key(pem, passphrase, path)


def _asked(path: str) -> bytes:
    import getpass

    from toolkit.core.errors import UsageError

    try:
        with open("/dev/tty", "rb"):
            pass
    except OSError as error:
        raise UsageError(path, "needs a passphrase, and there is no terminal to ask", "give --passphrase-file FILE") from error
    return getpass.getpass(f"Passphrase of {path}: ").encode()

"""De-identify DICOM files; see dicom-anon(1)."""

from __future__ import annotations

import sys
from typing import Any

import click

from toolkit.core.command import command
from toolkit.core.errors import UsageError
from toolkit.core.stages import stage
from toolkit.core.streams import open_input

_FLAGS = {  # the ten options of PS3.15 E.3, in the order of its table's columns
    "retain-uids": "Keep UIDs.",
    "retain-dates": "Keep dates and times.",
    "modified-dates": "Shift dates by each patient's number of days (hospital: on).",
    "retain-device": "Keep what identifies devices.",
    "retain-institution": "Keep what identifies the institution.",
    "retain-patient": "Keep patient characteristics: age, sex, size, weight ... (hospital: on).",
    "safe-private": "Keep private attributes that are known to be safe.",
    "clean-descriptors": "Keep descriptions, cleaned.",
    "clean-structured": "Keep structured content, cleaned.",
    "clean-graphics": "Keep graphic annotations, cleaned; overlays go.",
    "clean-pixels": "Blank text that is burned into pixels, where a rule knows its place.",
}


def _profile_options(function: Any) -> Any:
    for name, text in reversed(_FLAGS.items()):
        function = click.option(f"--{name}", is_flag=True, help=text)(function)
    return function


@command(
    "dicom-anon",
    examples="""
    dicom-anon study/ --key hospital.key -o anonymised/
    dicom-anon /pacs/2026-11-22 --key hospital.key --vault postgresql:///vault -o /outbox --jobs 4
    dicom-anon - --key hospital.key -o - < original.dcm > anonymised.dcm
    dicom-anon study/ --key hospital.key --dry-run -o anonymised/
    """,
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="DIR", required=True, help="Directory for anonymised files; - with input - is a pipe.")
@click.option("--key", metavar="KEYFILE", required=True, help="The hospital's key, made by hospital-key.")
@click.option("--profile", type=click.Choice(["hospital", "basic"]), default="hospital", help="What is kept. [hospital]")
@_profile_options
@click.option("--edition", type=click.Choice(["2024e", "2026c"]), default="2026c", help="Edition of PS3.15 table E.1-1. [2026c]")
@click.option("--recipe", metavar="FILE", help="Rules of your own, see dicom-recipe(5).")
@click.option("--keep", metavar="TAG", multiple=True, help="Keep this attribute: keyword or gggg,eeee; repeatable.")
@click.option("--pixel-rules", metavar="FILE", help="Where text is burned in, see pixel-rules(5); implies --clean-pixels.")
@click.option("--vault", metavar="URL", help="What restores the originals is stored here. [vault.db]")
@click.option("--no-vault", is_flag=True, help="One way: no vault.")
@click.option("--reversible", type=click.Choice(["cms"]), help="Originals travel along, encrypted for the recipients.")
@click.option("--recipient", metavar="CERT.pem", multiple=True, help="Certificate for --reversible; repeatable.")
@click.option("--uid-map", metavar="FILE", help="Add original and new UIDs to this CSV file.")
@click.option("--patient-map", metavar="FILE", help="Add original and new patient ids to this CSV file.")
@click.option("--keep-names", is_flag=True, help="Name files as in the input, not by their new UIDs.")
@click.option("--quarantine", metavar="DIR", help="What must not leave is copied here. [OUTPUT.quarantine]")
@click.option("--report", metavar="FILE", help="What was done to each object, JSON lines; - is standard output.")
@click.option("--verify", is_flag=True, help="Check each file by a second, independent pass.")
@click.option("--dry-run", is_flag=True, help="Write nothing but the report; list what would be done.")
@click.option("--jobs", type=click.IntRange(1, 256), default=1, metavar="N", help="Processes. [1]")
def dicom_anon(paths: tuple[str, ...], **given: Any) -> int:
    """De-identify DICOM files (PS3.15 Annex E): PATH... are files, directories or a DICOMDIR.

    Each file goes to STUDY/SERIES/INSTANCE.dcm by its new UIDs, or into quarantine with a reason.
    """
    from toolkit.hospital.dicom.batch.outcome import summary
    from toolkit.hospital.dicom.batch.run import default_quarantine, run, run_stream

    output = given["output"]
    _check(paths, given)
    stream = output == "-"
    with stage("set-up"):
        settings = _settings(given, "" if stream else default_quarantine(output))
    with stage("de-identify"):
        if stream:
            with open_input("-") as source:
                total = run_stream(source, sys.stdout.buffer, settings)
        else:
            own = [given["key"], *given["recipient"], *filter(None, (given["recipe"], given["pixel_rules"]))]
            total = run(list(paths), settings, output, own, sys.stdout.buffer.write)
    lines = [f"standard input: {total.last}"] if stream and total.last else summary(total, settings.quarantine, settings.dry_run)
    return _tell(lines, bool(total.counts["quarantined"]))


def _check(paths: tuple[str, ...], given: dict[str, Any]) -> None:
    if ("-" in paths or given["output"] == "-") and (paths != ("-",) or given["output"] != "-"):
        raise UsageError("-", "stands for standard input and output together, with no other input", "give - -o - or files and a directory")
    if given["output"] == "-":
        if sys.stdout.isatty():
            raise UsageError("standard output", "is a terminal, and DICOM is binary", "pipe it or give -o DIR and a file")
        for name in ("dry_run", "keep_names"):
            if given[name]:
                raise UsageError("--" + name.replace("_", "-"), "does not go with standard output", "give files and -o DIR")
        if given["report"] == "-":
            raise UsageError("--report -", "standard output is taken by the object", "give --report FILE")
    if given["dry_run"] and given["report"] == "-":
        raise UsageError("--report -", "standard output is taken by the list of --dry-run", "give --report FILE")
    if given["no_vault"] and given["vault"]:
        raise UsageError("--no-vault", "contradicts --vault", "give one of them")
    if given["retain_dates"] and given["modified_dates"]:
        raise UsageError("--retain-dates", "contradicts --modified-dates", "give one of them")
    if bool(given["reversible"]) != bool(given["recipient"]):
        raise UsageError("--reversible", "and --recipient need each other", "give --reversible cms --recipient CERT.pem")


def _settings(given: dict[str, Any], quarantine: str) -> Any:
    """The options as the library takes them; files among them are read here, so that a fault in one is told before any work."""
    from toolkit.core.keys import read_keys
    from toolkit.hospital.dicom.batch.settings import Settings, read_certificate, read_file, read_options

    switches = {name.replace("-", "_"): given[name.replace("-", "_")] for name in _FLAGS}
    switches["clean_pixels"] |= given["pixel_rules"] is not None  # who names rules wants them followed
    options = read_options(given["profile"], given["edition"], switches, given["recipe"], given["keep"])
    return Settings(
        options=options,
        keyring=read_keys(given["key"]),
        quarantine=given["quarantine"] or quarantine,
        vault=None if given["no_vault"] else given["vault"] or "vault.db",
        recipients=tuple(map(read_certificate, given["recipient"])),
        rule_files=tuple(read_file(path) if path else b"" for path in (given["recipe"], given["pixel_rules"])),
        **{name: given[name] for name in ("pixel_rules", "uid_map", "patient_map", "report", "keep_names", "verify", "dry_run", "jobs")},
    )


def _tell(lines: list[str], held: bool) -> int:
    """What went to quarantine is always said; counts are for those who want to hear more."""
    import logging

    logger = logging.getLogger(__name__)
    if held:
        logger.warning(lines.pop(0))
    for line in lines:
        logger.info(line)
    return 1 if held else 0

"""All that a run of dicom-anon is asked to do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit import __version__
from toolkit.core.errors import BadData, UsageError
from toolkit.core.streams import open_input
from toolkit.hospital.dicom.rules.profile import Options

if TYPE_CHECKING:
    from toolkit.core.keys import Keyring


@dataclass(frozen=True)
class Settings:
    """How objects are de-identified and what is kept of them.

    `vault`: URL or path, None for one-way. `pixel_rules`, `report`, `uid_map`, `patient_map`: paths or None. `recipients`: PEM.
    `rule_files`: the contents of the recipe and of the pixel rules, to notice that they changed.
    """

    options: Options
    keyring: Keyring
    quarantine: str
    vault: str | None = None
    recipients: tuple[bytes, ...] = ()
    pixel_rules: str | None = None
    rule_files: tuple[bytes, ...] = ()
    uid_map: str | None = None
    patient_map: str | None = None
    report: str | None = None
    keep_names: bool = False
    verify: bool = False
    dry_run: bool = False
    jobs: int = 1

    def stamp(self) -> bytes:
        """A hash of all that an output depends on, 32 bytes: where it differs, an input is not done, however old its output is."""
        options = dataclasses.asdict(dataclasses.replace(self.options, recipe=None))
        told = [
            __version__,
            {name: sorted(value) if isinstance(value, frozenset) else value for name, value in options.items()},
            self.vault,
            [hashlib.sha256(content).hexdigest() for content in (*self.recipients, *self.rule_files)],
            [len(self.recipients), self.uid_map is not None, self.patient_map is not None, self.keep_names, self.verify],
        ]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).digest()


def read_options(profile: str, edition: str, switches: dict[str, bool], recipe: str | None, keep: Iterable[str]) -> Options:
    """The options of the profile as words: `switches` are the options of PS3.15 E.3 by name, `recipe` a path, `keep` keywords or tags.

    Raises UsageError for a word of `keep` that is no attribute, and what reading the recipe raises.
    """
    from toolkit.hospital.dicom.rules.recipe import read_recipe, tag_from

    try:
        tags = frozenset(map(tag_from, keep))
    except BadData as error:
        raise UsageError(error.place, error.problem, error.remedy) from error
    return Options(profile=profile, edition=edition, recipe=read_recipe(recipe) if recipe else None, keep=tags, **switches)


def read_certificate(path: str) -> bytes:
    """The certificate of a recipient, PEM. Raises BadData when it cannot serve, before any object is opened."""
    from toolkit.hospital.dicom.restoring.encrypted_attributes import recipient

    pem = read_file(path)
    try:
        recipient(pem)
    except ValueError as error:
        raise BadData(path, str(error), "give the certificate of an RSA key, PEM") from error
    return pem


def read_file(path: str) -> bytes:
    """The content of a small file that an option names."""
    with open_input(path) as stream:
        return stream.read()

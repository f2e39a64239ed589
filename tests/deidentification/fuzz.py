"""Spoilt files through the whole engine: each is held back with a reason, or leaves restorable and clean.

    python -m tests.deidentification.fuzz SECONDS [FIRST-SEED]

Files are the corpus and planted objects of up to 60 kB, spoilt by `mutation.mutated` with rising seeds; whatever finds a fault is written
to build/fuzz, to be kept in tests/deidentification/seeds.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections import Counter
from io import BytesIO
from pathlib import Path

from tests.deidentification import corpus, mutation, planter, table_checker
from toolkit.core.keys import create_keys, read_keys
from toolkit.hospital.dicom.cleaning.deidentify import Deidentifier
from toolkit.hospital.dicom.cleaning.pseudonyms import Pseudonyms
from toolkit.hospital.dicom.cleaning.quarantine import Quarantine
from toolkit.hospital.dicom.encoding import part10
from toolkit.hospital.dicom.encoding.patch import restore
from toolkit.hospital.dicom.pixels.pixel_rules import read_pixel_rules
from toolkit.hospital.dicom.rules.profile import Options, compile_policy

LARGEST = 60_000
POLICIES = (
    (Options(), frozenset({"retain_patient", "modified_dates"})),
    (Options(profile="basic"), frozenset[str]()),
    (
        Options(profile="basic", clean_descriptors=True, clean_structured=True, safe_private=True),
        frozenset({"clean_descriptors", "clean_structured", "safe_private"}),
    ),
)


class Fuzzer:
    """Engines under three policies and one key, all in a directory of their own."""

    def __init__(self, folder: Path) -> None:
        create_keys(str(folder / "key"))
        (folder / "passing.toml").write_text(corpus.PASSING)
        pseudonyms, rules = Pseudonyms(read_keys(str(folder / "key")).current), read_pixel_rules(str(folder / "passing.toml"))
        self.engines = [Deidentifier(compile_policy(options), pseudonyms, rules) for options, _ in POLICIES]

    def trial(self, content: bytes, policy: int, deep: bool) -> tuple[str, str]:
        """(what became of `content`, what is wrong with that or nothing); `deep` has pydicom compare the output with the original."""
        try:
            source = part10.from_bytes(content)
            done = self.engines[policy](source)
            with tempfile.TemporaryFile() as stream:
                done.write_to(stream.fileno())
                stream.seek(0)
                output = stream.read()
            back = BytesIO()
            restore(part10.from_bytes(output), done.patch(), back)
        except Quarantine as why:
            return why.reason.value, ""
        except Exception as error:
            return "exception", f"{type(error).__name__}: {error}"
        if back.getvalue() != content and not source.deflated:
            return "out", "the original is not restored"
        return "out", self.difference(content, output, policy) if deep else ""

    @staticmethod
    def difference(content: bytes, output: bytes, policy: int) -> str:
        """Rules that the output breaks, as pydicom reads both. What it could not read of the original, the output may have more of."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                before, after = table_checker.read(content), table_checker.read(output)
                found = table_checker.check(before, after, options=POLICIES[policy][1])
            except Exception:  # pydicom does not get through every spoilt file
                return ""
        bad = [one for one in found if one.what in ("kept", "kept UID", "date kept", "inconsistent UID") or one.code == "private"]
        return "; ".join(f"{one.path} {one.what}" for one in bad[:3])


def bases() -> list[bytes]:
    """Objects that are worth spoiling: small ones of the corpus, and the same with identifiers in every place."""
    found = []
    for number, path in enumerate(corpus.paths()):
        content = path.read_bytes()
        if len(content) > LARGEST:
            continue
        found.append(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                data = table_checker.read(content)
                planter.plant(data, planter.person(number))
                found.append(corpus.as_file(data))
            except Exception:  # no object, or none that pydicom can write
                continue
    return found


def main(seconds: float, first: int = 0) -> int:
    build = Path(__file__).resolve().parents[2] / "build" / "fuzz"
    contents, fates, faults = bases(), Counter[str](), Counter[str]()
    end, seed = time.monotonic() + seconds, first
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder))
        while time.monotonic() < end:
            spoilt = mutation.mutated(contents[seed % len(contents)], contents, seed)
            fate, fault = fuzzer.trial(spoilt, seed % len(POLICIES), seed % 4 == 0)
            fates[fate] += 1
            if fault:
                faults[fault] += 1
                if faults[fault] == 1:
                    build.mkdir(parents=True, exist_ok=True)
                    (build / f"{seed}.dcm").write_bytes(spoilt)
                    print(f"{seed}: {fault}", flush=True)
            seed += 1
    print(f"{seed - first} files: {dict(fates)}; {sum(faults.values())} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

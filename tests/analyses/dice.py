"""Random numbers that depend on what they are for alone, and columns of texts made of them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow

Numbers = np.ndarray[Any, Any]
DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
BASE_32 = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz234567", np.uint8)
# How many digits of a time are written, and whether an offset follows; the first is the most frequent.
PRECISIONS = ((14, True), (12, False), (8, False), (14, False), (12, True), (10, False), (6, False), (4, False), (0, False))


@dataclass(frozen=True)
class Plan:
    """What is generated: visits from the year `first` on, in `packs` packs. `renamed`: the share of visits and patients that two lists of
    new pseudonyms name. `ties`: whether versions may have been received at the same moment."""

    visits: int
    seed: int
    packs: int
    first: int
    years: int
    renamed: float
    ties: bool

    def dice(self, stream: str, *numbers: Numbers | int) -> Numbers:
        """64 random bits for each of the numbers, which are drawn from by name."""
        mixed: Numbers = np.array([zlib.crc32(f"{self.seed} {stream}".encode()) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF], np.uint64)
        for number in numbers:
            mixed = _mixed(np.asarray(number).astype(np.uint64) * np.uint64(0xD1342543DE82EF95) + mixed)
        return mixed

    def share(self, stream: str, *numbers: Numbers | int) -> Numbers:
        """A random number in [0, 1) for each."""
        return (self.dice(stream, *numbers) >> np.uint64(11)) * 2.0**-53

    def normal(self, stream: str, *numbers: Numbers | int) -> Numbers:
        """A number from a normal distribution for each: the sum of four in place of a function that differs from machine to machine."""
        bits = self.dice(stream, *numbers)
        total = sum(((bits >> np.uint64(16 * part)) & np.uint64(0xFFFF)) for part in range(4))
        return (total.astype(np.float64) / 65536 - 2) * 3.0**0.5  # type: ignore[union-attr]


def _mixed(bits: Numbers) -> Numbers:
    """splitmix64's last steps: https://prng.di.unimi.it/splitmix64.c."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def times(plan: Plan, v: Numbers, seconds: Numbers, form: Numbers) -> pyarrow.Array:
    """Local times as HL7 writes them, as precisely as `form` says."""
    digits = np.strings.replace(seconds.astype("datetime64[s]").astype("S19"), b"T", b"-")
    text = np.zeros((len(seconds), 19), np.uint8)
    text[:, :14] = digits.view(np.uint8).reshape(-1, 19)[:, (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)]
    month = (seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)) % 12
    offsets = np.where((month >= 3) & (month < 9), b"+0200", b"+0100")
    offsets = np.where(plan.share("offset", v) < 0.01, b"-0500", offsets)
    shown = offsets.astype("S5").view(np.uint8).reshape(-1, 5)
    for number, (length, has_offset) in enumerate(PRECISIONS):
        these = form == number
        text[these, length:] = 0
        if has_offset:
            text[these, length : length + 5] = shown[these]
    return pyarrow.array(text.view("S19").ravel()).cast(pyarrow.string())


def pseudonyms(plan: Plan, kind: str, number: Numbers, document: Numbers) -> pyarrow.Array:
    """AES-SIV's look: k1. and 56 characters. Those that were renamed have up to three, one a document."""
    name = (plan.dice("name used", number, document) % names(plan, kind, number).astype(np.uint64)).astype(np.int64)
    return fixed(names_of(plan, kind, number, name))


def names(plan: Plan, kind: str, number: Numbers) -> Numbers:
    """How many pseudonyms each has had: one list of new names has twice as many as the next."""
    share = plan.share(f"{kind} renamed", number)
    return 1 + (share < plan.renamed).astype(np.int64) + (share < plan.renamed / 2)


def names_of(plan: Plan, kind: str, number: Numbers, name: Numbers) -> Numbers:
    key = np.frombuffer(b"k1.", np.uint8)
    random = characters(plan, kind, BASE_32, 5, 56, number, name)
    return np.concatenate([np.broadcast_to(key, (len(number), 3)), random], axis=1)


def message_ids(plan: Plan, v: Numbers, k: Numbers) -> pyarrow.Array:
    """UUIDs of version 8."""
    text = np.full((len(v), 36), ord("-"), np.uint8)
    text[:, [at for at in range(36) if at not in (8, 13, 18, 23)]] = characters(plan, "message", DIGITS, 4, 32, v, k)
    text[:, 14] = ord("8")
    text[:, 19] = np.frombuffer(b"89ab", np.uint8)[(plan.dice("variant", v, k) % np.uint64(4)).astype(np.int64)]
    return fixed(text)


def characters(plan: Plan, stream: str, alphabet: Numbers, bits: int, length: int, *numbers: Numbers) -> Numbers:
    """So many random characters for each, a row each."""
    each = 60 // bits
    shifts = np.arange(each, dtype=np.uint64) * np.uint64(bits)
    words = [plan.dice(f"{stream} {part}", *numbers) for part in range(-(-length // each))]
    picked = [(word[:, None] >> shifts) & np.uint64((1 << bits) - 1) for word in words]
    return alphabet[np.concatenate(picked, axis=1)[:, :length].astype(np.uint8)]


def moments(microseconds: Numbers) -> pyarrow.Array:
    """As the gateway writes them."""
    text = np.full((len(microseconds), 27), ord("Z"), np.uint8)
    text[:, :26] = microseconds.astype("datetime64[us]").astype("S26").view(np.uint8).reshape(-1, 26)
    return fixed(text)


def fixed(text: Numbers) -> pyarrow.Array:
    """Strings of one length, from an array with a row each."""
    number, length = text.shape
    offsets = pyarrow.py_buffer(np.arange(number + 1, dtype=np.int32) * np.int32(length))
    return pyarrow.StringArray.from_buffers(number, offsets, pyarrow.py_buffer(np.ascontiguousarray(text)))


def chosen(words: Any, which: Numbers) -> pyarrow.Array:
    return pyarrow.array(list(words), pyarrow.string()).take(pyarrow.array(which))

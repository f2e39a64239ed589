"""Presentation contexts out of what is to be sent (PS3.8 7.1.1.13)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from toolkit.hospital.images.objects import Image

Pair = tuple[str, str]  # SOP class, transfer syntax
MOST_CONTEXTS = 128  # ids are the odd numbers below 256


def grouped(images: Iterable[Image]) -> list[tuple[list[Pair], list[Image]]]:
    """The images in groups whose pairs of SOP class and transfer syntax fit into one association: each pair has a context of its own,
    because an object is sent as it stands and in no other transfer syntax."""
    by_pair: dict[Pair, list[Image]] = defaultdict(list)
    for image in images:
        by_pair[image.pair].append(image)
    pairs = sorted(by_pair)
    starts = range(0, len(pairs), MOST_CONTEXTS)
    slices = [pairs[start : start + MOST_CONTEXTS] for start in starts]
    return [(some, sorted((image for pair in some for image in by_pair[pair]), key=lambda image: image.path)) for some in slices]

"""An annotated photograph as a file: PNG, JPEG or SVG by the ending of its name; and the list of what it shows as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
from typing import Any

import numpy as np

from toolkit.core.errors import UsageError
from toolkit.core.streams import atomic_output
from toolkit.geo.annotate.drawing import Annotation, draw_image, draw_svg

LARGEST_SIDE = 12_000  # pixels of the longer side; larger photos are halved, for each copy of them takes 400 MB
_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".svg": "SVG"}


def kind_of(path: str) -> str:
    """"PNG", "JPEG" or "SVG"; ``-``, standard output, is PNG. Raises UsageError for other endings."""
    ending = os.path.splitext(path)[1].lower()
    if path == "-":
        return "PNG"
    if ending not in _KINDS:
        raise UsageError("--output", f"{path!r} ends in none of .png, .jpg, .jpeg and .svg", "the ending says what is written")
    return _KINDS[ending]


def encode(kind: str, pixels: np.ndarray, annotation: Annotation, metadata: dict[str, Any]) -> bytes:
    """The file's content. `pixels`: the photograph, uint8, shape (rows, columns, 3); `metadata`: of `toolkit.geo.annotate.metadata`."""
    if kind == "SVG":
        return draw_svg(pixels, annotation)
    from PIL import PngImagePlugin

    image, packed = draw_image(pixels, annotation), io.BytesIO()
    if kind == "JPEG":
        image.save(packed, "JPEG", quality=92, subsampling=0, **metadata)  # letters in colour fray when colours are subsampled
        return packed.getvalue()
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", metadata["xmp"].decode())  # XMP specification part 3, 1.1.5
    rest = {name: value for name, value in metadata.items() if name != "xmp"}
    image.save(packed, "PNG", compress_level=3, pnginfo=texts, **rest)  # level 3 is three times as fast as the usual 6
    return packed.getvalue()


def write_outputs(path: str, content: bytes, json_path: str | None, record: dict[str, Any]) -> None:
    """Both files become visible when both are complete."""
    with contextlib.ExitStack() as outputs:
        outputs.enter_context(atomic_output(path)).write(content)
        if json_path:
            text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
            outputs.enter_context(atomic_output(json_path)).write(text.encode(errors="backslashreplace"))

"""The contact sheet of an evaluation: each photograph in the pose that was found and in the true one, as HTML and as a picture."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from table import Result

COLOURS = {"accepted": "#2a7d2a", "doubtful": "#b07800", "rejected": "#b02020", "failed": "#666666"}
THUMBNAIL = 480  # pixels of the longer side
_STYLE = """
body { font: 14px/1.4 sans-serif; margin: 1.5em; background: #fff; color: #111; }
figure { display: inline-block; margin: 0 1em 1.5em 0; vertical-align: top; border-left: 6px solid; padding-left: .6em; }
img { max-width: 100%; } pre { font-size: 13px; } .wrong { font-weight: bold; }
"""


def write_sheet(folder: Path, title: str, tables: Mapping[str, str], results: Sequence[Result], pictures: Mapping[int, np.ndarray]) -> None:
    """Write sheet.html and sheet.png; `pictures`: uint8 (rows, columns, 3) by the result's place, found and true pose side by side."""
    name = html.escape(title)
    parts = [f"<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><title>{name}</title><style>{_STYLE}</style></head>"]
    parts.append(f"<body><h1>{name}</h1>")
    for heading, text in tables.items():
        parts.append(f"<h2>{html.escape(heading)}</h2><pre>{html.escape(text)}</pre>")
    parts.append("<h2>Photographs</h2><p>Contours of the terrain in the pose that was found, left, and in the true one, right.</p>")
    for place, result in enumerate(results):
        picture = ""
        if place in pictures:
            picture = f"<img alt='contours over {html.escape(result.photo)}' src='data:image/jpeg;base64,{_jpeg(pictures[place])}'>"
        wrong = " class='wrong'" if result.error > 1.0 else ""
        parts.append(
            f"<figure style='border-color:{COLOURS[result.verdict]}'>{picture}<figcaption{wrong}>{html.escape(caption(result))}"
            f"<br>{html.escape(result.note or result.failure)}</figcaption></figure>"
        )
    parts.append("</body></html>")
    (folder / "sheet.html").write_text("\n".join(parts), encoding="utf-8")
    write_picture(folder / "sheet.png", results, pictures)


def caption(result: Result) -> str:
    """One line."""
    told = f", confidence {result.confidence:.2f}" if result.confidence is not None else ""
    return f"{result.photo}, {result.source}: {result.verdict}{told}; {result.error:.2f} degrees off, {result.seconds:.1f} s"


def side_by_side(found: np.ndarray | None, true: np.ndarray) -> np.ndarray:
    """Two pictures as one, reduced; the first may be missing."""
    from PIL import Image

    images = []
    for pixels in (found, true):
        image = Image.fromarray(np.zeros_like(true) if pixels is None else pixels)
        image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        images.append(np.asarray(image))
    rows = min(image.shape[0] for image in images)
    return np.concatenate([image[:rows] for image in images], axis=1)


def write_picture(path: Path, results: Sequence[Result], pictures: Mapping[int, np.ndarray]) -> None:
    """All pictures in one, three to a row, with their captions."""
    from PIL import Image, ImageDraw

    if not pictures:
        return
    wide, high, columns = 2 * THUMBNAIL + 12, THUMBNAIL + 30, 2
    sheet = Image.new("RGB", (columns * wide, -(-len(pictures) // columns) * high), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (place, pixels) in enumerate(sorted(pictures.items())):
        x, y = number % columns * wide, number // columns * high
        pen.rectangle((x, y, x + wide - 6, y + high - 6), outline=COLOURS[results[place].verdict], width=3)
        sheet.paste(Image.fromarray(pixels), (x + 4, y + 24))
        pen.text((x + 6, y + 6), caption(results[place]), fill="black", font_size=14)
    sheet.save(path)


def _jpeg(pixels: np.ndarray) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85)
    return base64.b64encode(stream.getvalue()).decode()



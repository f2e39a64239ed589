"""A picture for people of what was found in a photograph and what was dropped, and why."""

from __future__ import annotations

import numpy as np

from toolkit.geo.edges import REASONS, Dropped, Edges

# Told apart also by those who see red and green alike (Okabe, Ito 2008): light for what was kept, dull for what was dropped.
SKYLINE, STRONG, WEAK = (255, 255, 255), (240, 228, 66), (150, 105, 0)
DROPPED = {"sky": (60, 126, 163), "texture": (0, 80, 58), "faint": (90, 90, 90), "short": (130, 77, 107)}
_DARKER = 0.4  # share of the photo's light that is left under the lines


def edge_preview(edges: Edges, dropped: Dropped, pixels: np.ndarray) -> np.ndarray:
    """Kept and dropped lines over the darkened photo with a legend: uint8, shape (rows, columns, 3), of `pixels`' size, but not larger
    than about twice what the lines were found in.

    `pixels`: the photo, uint8, shape (edges.height, edges.width, 3).
    """
    from PIL import Image

    share = min(1.0, 2.0 * edges.parameters.working_size / max(edges.width, edges.height))
    columns, rows = max(1, round(edges.width * share)), max(1, round(edges.height * share))
    small = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX) if share < 1.0 else pixels
    preview = (np.asarray(small, np.float32) * _DARKER).astype(np.uint8)
    # What was kept is three pixels wide where there is room for that, and stands out from the many lines that were not.
    reach = 1 if max(columns, rows) >= 500 else 0
    for number, reason in enumerate(REASONS):
        chosen = dropped.reason == number
        _dots(preview, dropped.x[chosen] * share, dropped.y[chosen] * share, np.array(DROPPED[reason], np.uint8), 0)
    order = np.argsort(edges.strength, kind="stable")  # strong lines over weak ones
    _dots(preview, edges.x[order] * share, edges.y[order] * share, _colours(edges)[order], reach)
    return _with_legend(preview)


def _colours(edges: Edges) -> np.ndarray:
    """Ridges from dull to bright by their strength, the skyline white by its certainty: uint8, shape (N, 3)."""
    ridges = edges.strength[edges.skyline < 0.5]
    share = np.clip(edges.strength / max(float(ridges.max(initial=0.0)), 1e-30), 0.0, 1.0)[:, None]
    sky = edges.skyline[:, None]
    ridge = np.array(WEAK) + share * (np.array(STRONG) - np.array(WEAK))
    return (sky * np.array(SKYLINE) + (1.0 - sky) * ridge).astype(np.uint8)


def _dots(picture: np.ndarray, x: np.ndarray, y: np.ndarray, colours: np.ndarray, reach: int) -> None:
    column, row = np.round(x).astype(np.intp), np.round(y).astype(np.intp)
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            picture[np.clip(row + down, 0, picture.shape[0] - 1), np.clip(column + across, 0, picture.shape[1] - 1)] = colours


def _with_legend(preview: np.ndarray) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    size = max(8, round(max(preview.shape[:2]) / 80))
    entries = [("skyline", SKYLINE), ("ridge, strong", STRONG), ("ridge, weak", WEAK)]
    entries += [(f"dropped: {reason}", DROPPED[reason]) for reason in REASONS]
    font = ImageFont.load_default(size)
    width = 2 * size + round(max(font.getlength(text) for text, _ in entries))
    height = round(1.4 * size) * len(entries) + size
    if width > preview.shape[1] or height > preview.shape[0]:
        return preview  # a picture smaller than its legend
    picture = Image.fromarray(preview)
    draw = ImageDraw.Draw(picture)
    top = preview.shape[0] - height  # at the bottom, where near ground is
    draw.rectangle((0, top, width + size, preview.shape[0]), fill=(0, 0, 0))
    for number, (text, colour) in enumerate(entries):
        middle = top + size // 2 + round(1.4 * size * number) + round(0.7 * size)
        draw.line((size // 2, middle, round(1.5 * size), middle), fill=colour, width=max(1, size // 5))
        draw.text((2 * size, middle), text, fill=(220, 220, 220), font=font, anchor="lm")
    return np.asarray(picture)

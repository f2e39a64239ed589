"""Type for names in any script: Noto's faces from two packages, then DejaVu Sans; each text gets those that have its signs.

What no face has is told once for each sign, and drawn as the box that the first face has for it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.core.errors import Unavailable

if TYPE_CHECKING:
    from PIL import ImageFont

_log = logging.getLogger(__name__)

_NOTO = (
    "Sans", "SansArabic", "SansArmenian", "SansBengali", "SansDevanagari", "SansEthiopic", "SansGeorgian", "SansGujarati", "SansGurmukhi",
    "SansHebrew", "SansKannada", "SansKhmer", "SansLao", "SansMalayalam", "SansMyanmar", "SansOriya", "SansSinhala", "SansTamil",
    "SansTelugu", "SansThai", "SansSymbols",
)  # fmt: skip
# The same Han sign is written differently in these languages; the collection has a face for each.
_HAN = {"ja": 0, "ko": 1, "zh": 2, "zh-hans": 2, "zh-hant": 3, "zh-tw": 3, "zh-hk": 4}
_WEIGHT = 500  # of variable faces: what is thinner drowns in a photograph


@dataclass(frozen=True)
class Face:
    """A face in a font file; `index` within a collection, `family` as style sheets call it."""

    path: str
    index: int
    family: str

    @property
    def signs(self) -> frozenset[int]:
        """The code points that it has."""
        return _signs(self.path, self.index)

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """It at `size` pixels."""
        return _load(self.path, self.index, size)


@dataclass(frozen=True)
class Run:
    """A piece of text that one face has, and its width in pixels at the size that was asked for."""

    text: str
    face: Face
    width: float


class Faces:
    """All faces, in the order in which they are asked; `language` chooses among the Han faces ("ja", "ko", "zh", "zh-Hant")."""

    def __init__(self, language: str | None = None) -> None:
        tag = (language or "").lower()
        han = _HAN.get(tag, _HAN.get(tag.split("-")[0], 0))
        noto, cjk = _folder("manimgx_fonts"), _folder("manimgx_fonts_cjk")
        self.all = [Face(os.path.join(noto, f"Noto{name}[wght].ttf"), 0, _spaced(f"Noto{name}")) for name in _NOTO]
        families = ("Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK HK")
        self.all.append(Face(os.path.join(cjk, "NotoSansCJK-VF.otf.ttc"), han, families[han]))
        self.all.append(Face(os.path.join(_folder("matplotlib"), "mpl-data", "fonts", "ttf", "DejaVuSans.ttf"), 0, "DejaVu Sans"))
        self._missing: set[str] = set()

    def runs(self, text: str, size: int) -> list[Run]:
        """The text in pieces, from left to right as they are drawn, each in one face; the whole in one where one has all of it."""
        text = unicodedata.normalize("NFC", " ".join(text.split()))
        wanted = {ord(sign) for sign in text if not _ignorable(sign)}
        whole = next((face for face in self.all if wanted <= face.signs), None)
        pieces = [(text, whole)] if whole else self._pieces(text)
        if len(pieces) > 1 and next((d for d in map(unicodedata.bidirectional, text) if d in ("L", "R", "AL")), "L") != "L":
            pieces.reverse()  # within a piece the shaping engine orders
        return [Run(piece, face, face.font(size).getlength(piece)) for piece, face in pieces]

    def _pieces(self, text: str) -> list[tuple[str, Face]]:
        pieces: list[tuple[str, Face]] = []
        for sign in text:
            code = ord(sign)
            if pieces and (code in pieces[-1][1].signs or _ignorable(sign)):
                pieces[-1] = (pieces[-1][0] + sign, pieces[-1][1])
                continue
            face = next((face for face in self.all if code in face.signs), None)
            if face is None:
                self._miss(sign, text)
                face = pieces[-1][1] if pieces else self.all[0]
            if pieces and pieces[-1][1] is face:
                pieces[-1] = (pieces[-1][0] + sign, face)
            else:
                pieces.append((sign, face))
        return pieces

    def _miss(self, sign: str, text: str) -> None:
        if sign not in self._missing:
            self._missing.add(sign)
            name = unicodedata.name(sign, "a sign without a name")
            _log.warning("%r: no face has U+%04X, %s; a box stands for it", text, ord(sign), name)


def line_height(size: int, runs: Sequence[Run]) -> tuple[float, float]:
    """Pixels above and below the base line that hold the runs at `size`, and at least those of Latin letters with accents."""
    boxes = [run.face.font(size).getbbox(run.text, anchor="ls") for run in runs]
    return max(0.95 * size, *(-box[1] for box in boxes)), max(0.25 * size, *(box[3] for box in boxes))


@functools.cache
def _signs(path: str, index: int) -> frozenset[int]:
    from fontTools.ttLib import TTFont

    with TTFont(path, fontNumber=index, lazy=True) as font:
        return frozenset(font.getBestCmap())


@functools.lru_cache(maxsize=128)
def _load(path: str, index: int, size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.truetype(path, size, index=index)
    with contextlib.suppress(OSError):  # not a variable face
        font.set_variation_by_axes([_WEIGHT])
    return font


@functools.cache
def _folder(package: str) -> str:
    found = importlib.util.find_spec(package)  # found, not imported: matplotlib would take a third of a second
    if found is None or found.origin is None:
        raise Unavailable(f"Python package {package}", "is not installed", "run `make` in the checkout or pip install scape-toolkit")
    return os.path.dirname(found.origin)


def _spaced(name: str) -> str:
    """``NotoSansArabic`` as ``Noto Sans Arabic``."""
    return "".join(" " + sign if sign.isupper() else sign for sign in name).strip()


def _ignorable(sign: str) -> bool:
    """Signs without a picture of their own: joiners, marks of direction, variation selectors."""
    return unicodedata.category(sign) == "Cf" or "\ufe00" <= sign <= "\ufe0f"

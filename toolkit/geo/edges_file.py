"""The edge file, see edges(5): a TIFF whose first page is a picture of the lines and whose second page holds the numbers.

Page 1: 8-bit grey picture for people, metadata as JSON in its ImageDescription. Page 2: float32 table, shape (N, 7): x, y,
angle, strength, length, skyline, chain as in `toolkit.geo.edges.Edges`. Without any edge there is no second page.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
from typing import Any, BinaryIO

import numpy as np

from toolkit.core.errors import BadData
from toolkit.core.streams import open_input, stream_name
from toolkit.geo.edges import EdgeParameters, Edges
from toolkit.geo.photo import PhotoFacts

log = logging.getLogger(__name__)

FORMAT = "scape-toolkit edges"
SCHEMA = 2
_COLUMNS = ("x", "y", "angle", "strength", "length", "skyline", "chain")
_MADE_BY = "make it with edges(1)"


def write_edges(edges: Edges, stream: BinaryIO, place: str = "photo") -> None:
    """Write `edges` as an edge file; `stream` need not be seekable. An empty edge map is written and warned of; `place` names the photo."""
    import tifffile

    if not edges.x.size:
        log.warning("%s: no line was found: the edge file is empty, and projmap will refuse it", place)
    description = json.dumps(
        {
            "format": FORMAT,
            "schema": SCHEMA,
            "width": edges.width,
            "height": edges.height,
            "points": int(edges.x.size),
            "columns": list(_COLUMNS),
            "facts": dataclasses.asdict(edges.facts),
            "parameters": dataclasses.asdict(edges.parameters),
        }
    )
    whole = io.BytesIO()  # TIFF is written back and forth, a pipe is not
    with tifffile.TiffWriter(whole) as tiff:
        tiff.write(edge_picture(edges), photometric="minisblack", compression="zlib", description=description, metadata=None, software="")
        if edges.x.size:
            table = np.stack([getattr(edges, name) for name in _COLUMNS], axis=1).astype(np.float32)
            tiff.write(table, photometric="minisblack", metadata=None)
    stream.write(whole.getbuffer())


def read_edges(path: str) -> Edges:
    """Read an edge file; ``-`` is standard input. It may hold no edge.

    Raises NoInput when there is no such file, BadData when it is no edge file, is cut short or holds impossible values.
    """
    import tifffile

    place = stream_name(path)
    with open_input(path) as stream:
        content = io.BytesIO(stream.read())
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what is raised below anyway
    try:
        with tifffile.TiffFile(content) as tiff:
            metadata = json.loads(tiff.pages[0].description)  # type: ignore[union-attr]
            _check_format(metadata, place)
            table = tiff.pages[1].asarray() if metadata["points"] else np.empty((0, len(_COLUMNS)), np.float32)
        facts = _known(PhotoFacts, metadata["facts"])
        parameters = _known(EdgeParameters, metadata["parameters"])
        width, height, points = int(metadata["width"]), int(metadata["height"]), int(metadata["points"])
    except BadData:
        raise
    except Exception as error:  # tifffile raises anything on damaged files, struct.error to MemoryError
        raise BadData(place, "is no edge file, or is cut short", _MADE_BY) from error
    if table.shape != (points, len(_COLUMNS)) or table.dtype != np.float32 or width < 1 or height < 1:
        raise BadData(place, f"holds a table of shape {table.shape}, not ({points}, {len(_COLUMNS)})", _MADE_BY)
    if not np.isfinite(table).all() or (table.size and table[:, 3:].min() < 0):
        raise BadData(place, "holds edge points that are not finite numbers, or negative strengths", _MADE_BY)
    columns = {name: np.ascontiguousarray(table[:, place]) for place, name in enumerate(_COLUMNS)}
    columns["chain"] = columns["chain"].astype(np.int32)
    if (np.diff(columns["chain"], prepend=0) < 0).any():
        raise BadData(place, "holds lines out of order", _MADE_BY)
    return Edges(width, height, **columns, facts=facts, parameters=parameters)


def edge_picture(edges: Edges) -> np.ndarray:
    """The lines as white on black, grey by strength: uint8, shape (rows, columns), at most the size they were found at."""
    share = min(1.0, edges.parameters.working_size / max(edges.width, edges.height))
    picture = np.zeros((max(1, round(edges.height * share)), max(1, round(edges.width * share))), np.uint8)
    if edges.x.size:
        column = np.clip(np.round((edges.x + 0.5) * share - 0.5), 0, picture.shape[1] - 1).astype(np.intp)
        row = np.clip(np.round((edges.y + 0.5) * share - 0.5), 0, picture.shape[0] - 1).astype(np.intp)
        strongest = max(float(edges.strength.max()), 1e-30)
        np.maximum.at(picture, (row, column), np.ceil(255.0 * edges.strength / strongest).astype(np.uint8))
    return picture


def _check_format(metadata: Any, place: str) -> None:
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise BadData(place, "is a TIFF, but no edge file", _MADE_BY)
    if metadata.get("schema") != SCHEMA:
        raise BadData(place, f"is an edge file of schema {metadata.get('schema')}, not {SCHEMA}", "make it again with edges(1)")


def _known(kind: Any, values: dict[str, Any]) -> Any:
    """An object of the dataclass `kind` from the values that it knows: a later version may have written more."""
    names = {entry.name for entry in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})

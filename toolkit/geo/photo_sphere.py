"""A photograph's edges on the sphere grid, in camera axes: what projmap(1) does."""

from __future__ import annotations

import numpy as np

from toolkit.core.errors import BadData
from toolkit.geo.camera import Camera, camera_from_hfov
from toolkit.geo.edges import Edges, edge_segments
from toolkit.geo.sphere import splat

# A grid whose cells are this many times smaller than an edge point's piece of line shows the pixels, not the mountains.
_FINEST = 8.0


def camera_of(edges: Edges, hfov: float | None, place: str) -> Camera:
    """The camera with the field of view `hfov`, degrees, or the one that the photo's EXIF tells.

    Raises BadData when neither is known or it is 170 degrees or more; `place` names the photo's edges in the message.
    """
    if hfov is None:
        hfov = edges.facts.hfov
    if hfov is None:
        raise BadData(place, "comes from a photo without a focal length in its EXIF", "give --hfov or --camera")
    return camera_from_hfov(edges.width, edges.height, hfov)


def sphere_of_edges(edges: Edges, camera: Camera, bandwidth: int, place: str) -> np.ndarray:
    """The edges on the grid of `bandwidth` B: float32, shape (2B, 2B, 3), see `toolkit.geo.sphere.splat`.

    Raises BadData when there are no edges, or B is finer by far than they are; `place` names them in the message.
    """
    if not edges.x.size:
        raise BadData(place, "holds no line at all", "take another photo, or find edges with a lower --contrast")
    segments = edge_segments(edges, camera)
    piece = float(np.median(np.linalg.norm(segments.end - segments.start, axis=1)))
    finest = int(_FINEST * np.pi / (2.0 * piece))
    if bandwidth > finest:
        raise BadData(place, f"is too coarse for bandwidth {bandwidth}", f"give at most {finest}, or a larger --working-size to edges")
    return splat(segments, bandwidth)

"""What goes with the pixels: the photograph's own EXIF, colour profile and XMP, and in both of these the pose that was found.

XMP: Google's photo sphere schema, GPano (developers.google.com/streetview/spherical-metadata): Pose*Degrees and InitialView*Degrees,
without ProjectionType, since it is no panorama. EXIF 2.32: GPSImgDirection from true north.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import ExifTags

from toolkit.core.errors import BadData
from toolkit.core.streams import open_input
from toolkit.core.xml import parse_safely
from toolkit.geo.pose import Pose

if TYPE_CHECKING:
    from lxml import etree
    from PIL import Image

_log = logging.getLogger(__name__)

_RDF, _GPANO = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://ns.google.com/photos/1.0/panorama/"
_META = "adobe:ns:meta/"
# Tags of a TIFF that say how its pixels are stored (TIFF 6.0 and its supplements), or hold what is written elsewhere: XMP, IPTC, ICC.
_OF_PIXELS = frozenset({254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 330, 338, 339, 347})
_ELSEWHERE = frozenset({700, 33723, 34377, 34675})
_SEGMENT = 65_500  # bytes of EXIF or XMP that one segment of a JPEG file holds


@dataclass(frozen=True)
class Metadata:
    """What a photograph's file says beside its pixels; None where it says nothing. `icc`: only where the pixels' colours are RGB."""

    exif: Image.Exif | None
    icc: bytes | None
    xmp: bytes | None


def read_metadata(path: str) -> Metadata:
    """Of a picture that `toolkit.geo.photo.read_photo` has read; what is damaged is left out, with a warning."""
    from toolkit.geo.decode import opened

    with open_input(path) as stream, opened(stream, path) as image:
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        try:
            exif = image.getexif()
            for tag in (_OF_PIXELS | _ELSEWHERE) & set(exif):
                del exif[tag]
            exif.tobytes()  # reads all of it, as long as the file is open
        except Exception as error:  # Pillow's EXIF reader raises anything on damaged blocks
            _log.warning("%s: its EXIF is damaged and is not kept (%s)", path, error)
            exif = None
        icc = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    return Metadata(exif or None, icc, xmp.encode() if isinstance(xmp, str) else xmp)


def with_pose(metadata: Metadata, pose: Pose, hfov: float, width: int, height: int, place: str) -> dict[str, Any]:
    """The metadata of the upright picture of `width` x `height` pixels in that pose, as Pillow's save takes it for JPEG.

    `hfov`: degrees; `place` names the photograph in warnings.
    """
    saved: dict[str, Any] = {"exif": _exif(metadata.exif, pose, width, height, place), "xmp": _xmp(metadata.xmp, pose, hfov, place)}
    if metadata.icc:
        saved["icc_profile"] = metadata.icc
    return saved


def _exif(exif: Image.Exif | None, pose: Pose, width: int, height: int, place: str) -> bytes:
    from PIL import Image

    exif = exif if exif is not None else Image.Exif()
    if ExifTags.Base.Orientation in exif:
        exif[ExifTags.Base.Orientation] = 1  # the pixels are upright
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, value in ((ExifTags.Base.ExifImageWidth, width), (ExifTags.Base.ExifImageHeight, height)):
        if tag in inner:
            inner[tag] = value
    gps = dict(exif.get_ifd(ExifTags.IFD.GPSInfo))
    gps.setdefault(ExifTags.GPS.GPSVersionID, b"\2\3\0\0")
    gps[ExifTags.GPS.GPSImgDirectionRef] = "T"
    gps[ExifTags.GPS.GPSImgDirection] = round(pose.yaw % 360.0, 2) % 360.0
    exif[ExifTags.IFD.GPSInfo] = gps
    written = exif.tobytes()
    if len(written) > _SEGMENT and ExifTags.Base.MakerNote in inner:
        _log.warning("%s: the maker's note in its EXIF is too long to be kept", place)
        del inner[ExifTags.Base.MakerNote]
        written = exif.tobytes()
    return written


def _xmp(old: bytes | None, pose: Pose, hfov: float, place: str) -> bytes:
    """The old packet with the pose in it, or a new one."""
    from lxml import etree

    root = None
    if old:
        try:
            root = parse_safely(old.rstrip(b"\0"), place).getroot()
        except BadData:
            _log.warning("%s: its XMP is damaged and is not kept", place)
    rdf = None if root is None else root if root.tag == f"{{{_RDF}}}RDF" else root.find(f".//{{{_RDF}}}RDF")
    if root is None or rdf is None:
        root = etree.Element(f"{{{_META}}}xmpmeta", nsmap={"x": _META})
        rdf = etree.SubElement(root, f"{{{_RDF}}}RDF", nsmap={"rdf": _RDF})
    properties = _properties(pose, hfov)
    for description in rdf.findall(f"{{{_RDF}}}Description"):
        for name in properties:
            description.attrib.pop(f"{{{_GPANO}}}{name}", "")
            for element in description.findall(f"{{{_GPANO}}}{name}"):
                description.remove(element)
    added = etree.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""}, nsmap={"GPano": _GPANO})
    for name, value in properties.items():
        added.set(f"{{{_GPANO}}}{name}", value)
    packet = _packet(root)
    if len(packet) > _SEGMENT and old:
        _log.warning("%s: its XMP is too long to be kept", place)
        return _xmp(None, pose, hfov, place)
    return packet


def _properties(pose: Pose, hfov: float) -> dict[str, str]:
    """GPano's names and values; its roll is ours: as it grows the horizon turns counterclockwise in the picture."""
    yaw, roll = pose.yaw % 360.0, (pose.roll + 180.0) % 360.0 - 180.0
    return {
        "PoseHeadingDegrees": f"{round(yaw, 3) % 360.0:.3f}",
        "PosePitchDegrees": f"{pose.pitch:.3f}",
        "PoseRollDegrees": f"{roll:.3f}",
        "InitialViewHeadingDegrees": f"{round(yaw) % 360}",  # whole numbers by the schema
        "InitialViewPitchDegrees": f"{round(pose.pitch)}",
        "InitialViewRollDegrees": f"{round(roll)}",
        "InitialHorizontalFOVDegrees": f"{hfov:.3f}",
    }


def _packet(root: etree._Element) -> bytes:
    """With the wrapper that XMP specification part 1, 7.3.2, asks for."""
    from lxml import etree

    return b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>\n' + etree.tostring(root) + b'\n<?xpacket end="w"?>'

"""Pictures of any kind and size as upright 8-bit colours, in bounded memory.

Large ones are reduced while they are decoded: JPEG in its cosine transform (libjpeg's scaled decoding), others band by band, so that no
more than one copy of the whole picture exists, in the decoder's own form.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from toolkit.core.errors import BadData, Unavailable

# Longer side, in pixels, to which search and pictures for people are reduced: lines are looked for at 1200, pictures drawn at 2000. With a
# field of view of 50 degrees a pixel is then at most 0.025 degrees wide.
LARGEST_SIDE = 4096
# What a decoder may take: 250 million pixels of a PNG, 4000 million of a JPEG that is reduced, 200 million of a progressive one.
_MOST_BYTES = 1_000_000_000
_BAND_PIXELS = 1 << 22
# ISO/IEC 23008-12, annex B: brands of still pictures and sequences coded with HEVC.
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_UPRIGHT = {  # EXIF 2.32, 4.6.4 A: how the stored picture is turned so that its top is up
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


@contextlib.contextmanager
def opened(stream: BinaryIO, place: str) -> Iterator[Image.Image]:
    """The picture in `stream`, not yet decoded. What Pillow warns of, and its limit of 178 million pixels, are left to `upright_rgb`.

    Raises BadData when it is no picture or damaged, there or in the body; Unavailable for HEIC when pillow-heif is not installed.
    """
    source = stream if stream.seekable() else io.BytesIO(stream.read())
    limit = Image.MAX_IMAGE_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF; what matters is said by us
            _prepare(source, place)
            Image.MAX_IMAGE_PIXELS = None
            with Image.open(source) as image:
                yield image
    except Image.UnidentifiedImageError as error:
        raise BadData(place, "is no picture that can be read", "convert it to JPEG, PNG or TIFF") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise on damaged files
        raise BadData(place, f"is damaged or cut short ({error})", "copy it again from the camera") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def upright_rgb(image: Image.Image, place: str, largest: int | None = None) -> np.ndarray:
    """Decode `image`: red, green, blue, uint8, shape (rows, columns, 3), upright as its EXIF says.

    With `largest` the longer side is halved until it is no larger than that; of what does not divide, up to half a pixel of the result
    is lost at the right and the bottom. Raises BadData when decoding would take more than 1 GB.
    """
    factor = 1
    while largest and max(image.size) / factor > largest:
        factor *= 2
    width, height = image.size
    _check_memory(image, place, factor)
    image.draft(None, (max(1, width // factor), max(1, height // factor)))
    left = factor // round(max(width, height) / max(image.size))
    image.load()
    if left == factor:
        width, height = image.size  # a decoder that reduces does not turn as well, but other ones may
    columns, rows = max(1, width // factor), max(1, height // factor)
    white = _white(image)
    pixels = np.empty((rows, columns, 3), np.uint8)
    for first, last in _bands(rows, columns * left * left):
        band = _rgb(image.crop((0, first * left, columns * left, last * left)), white)
        pixels[first:last] = np.asarray(band.reduce(left) if left > 1 else band)
    turn = _orientation(image)  # only now: decoders of TIFF and HEIC turn the picture themselves
    return np.asarray(Image.fromarray(pixels).transpose(turn)) if turn is not None else pixels


def _prepare(source: BinaryIO, place: str) -> None:
    """Teach Pillow HEIC when that is what the stream holds."""
    start = source.tell()
    head = source.read(12)
    source.seek(start)
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF_BRANDS:
        return
    try:
        import pillow_heif
    except ImportError as error:
        remedy = "pip install 'scape-toolkit[heif]', or convert it to JPEG"
        raise Unavailable(place, "is HEIC, which needs the package pillow-heif", remedy) from error
    pillow_heif.register_heif_opener()


def _check_memory(image: Image.Image, place: str, factor: int) -> None:
    """What decoding will take, before it is taken: a file of a few bytes may claim any size."""
    pixels = image.width * image.height
    needed = pixels * {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}.get(image.mode, 4)
    if image.format in ("JPEG", "MPO"):
        needed //= min(factor, 8) ** 2
        if image.info.get("progressive"):  # all coefficients are held, two bytes each, chroma as it was thinned out
            factors = [across * down for _, across, down, *_ in getattr(image, "layer", [])] or [1]
            needed += 2 * pixels * sum(factors) // max(factors)
    if needed > _MOST_BYTES:
        problem = f"has {image.width} x {image.height} pixels, too many to decode in {_MOST_BYTES / 1e9:.0f} GB of memory"
        raise BadData(place, problem, "make it smaller first, or save it as JPEG that is not progressive")


def _orientation(image: Image.Image) -> Image.Transpose | None:
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's EXIF reader raises anything on damaged blocks
        return None


def _bands(rows: int, pixels_a_row: int) -> Iterator[tuple[int, int]]:
    step = max(1, _BAND_PIXELS // pixels_a_row)
    return ((first, min(rows, first + step)) for first in range(0, rows, step))


def _white(image: Image.Image) -> float:
    """The value that means white in a picture of more than 8 bits or of real numbers: the end of the range that its values fill."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return 255.0
    highest = 0.0
    for first, last in _bands(image.height, image.width):
        values = np.asarray(image.crop((0, first, image.width, last)))
        highest = max(highest, float(values.max(initial=0, where=np.isfinite(values))))
    if image.mode == "F" and highest <= 1.0:
        return 1.0
    # Sensors have 10, 12 or 14 bits, and some files keep their values as they are.
    return float(next((white for white in (255, 1023, 4095, 16383) if highest <= white), 65535))


def _rgb(image: Image.Image, white: float) -> Image.Image:
    """8-bit red, green, blue of a picture of any kind; transparent parts become black, as a frame does."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        return Image.fromarray(np.clip(values * np.float32(255.0 / white), 0.0, 255.0).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")

"""Pictures of mountains before a sky, whose border between both is known, drawn from nothing but numbers."""

import numpy as np
from scipy import ndimage

ROWS, COLUMNS = 480, 720


def smooth_noise(random, scale, shape):
    noise = ndimage.gaussian_filter(random.normal(size=shape), scale, mode="wrap")
    return noise / noise.std()


def crest(random, columns, height, rough=1.0):
    """Heights of a rugged crest, in pixels: noise whose power falls with the cube of the frequency, as profiles of mountains do."""
    frequency = np.fft.rfftfreq(2 * columns)
    frequency[0] = 1.0
    power = frequency**-1.5 * np.exp(-((frequency * 4.0) ** 2) / rough)
    line = np.fft.irfft(power * np.exp(2j * np.pi * random.random(len(frequency))))[:columns]
    line -= np.linspace(line[0], line[-1], columns)
    return height * line / np.abs(line).max()


def clear_sky(rows, columns):
    down = np.linspace(0, 1, rows)[:, None, None]
    return np.array([0.30, 0.48, 0.80]) * (1 - down) + np.array([0.72, 0.80, 0.90]) * down + np.zeros((rows, columns, 1))


def white_sky(rows, columns):
    down = np.linspace(0, 1, rows)[:, None, None]
    return np.array([0.86, 0.87, 0.89]) - 0.03 * down + np.zeros((rows, columns, 1))


def clouds(random, sky, cover, scale=25.0):
    rows, columns = sky.shape[:2]
    share = np.clip(0.6 * smooth_noise(random, (0.5 * scale, scale), (rows, columns)) + cover, 0, 1)[:, :, None]
    light = 0.93 + 0.03 * smooth_noise(random, scale, (rows, columns))[:, :, None]
    return sky * (1 - share) + light * share


def ground(random, rows, columns, colour, grain):
    """Land of one colour with light and shade at several scales; `grain`: the share by which it varies."""
    light = sum(smooth_noise(random, scale, (rows, columns)) for scale in (1.0, 3.0, 12.0))
    return np.clip(np.array(colour) * (1 + grain * light[:, :, None] / 3**0.5), 0.02, 0.98)


def lay(picture, land, top):
    """`land` where the row is below `top`, shape (columns,), with exact shares of pixels at the border."""
    share = np.clip(np.arange(picture.shape[0])[:, None] - top + 0.5, 0, 1)[:, :, None]
    return picture * (1 - share) + land * share


def sharpened(picture, random, noise=0.006):
    """As a camera sees it: a lens as wide as half a pixel, noise, eight bits."""
    seen = ndimage.gaussian_filter(picture, (0.6, 0.6, 0)) + noise * random.normal(size=picture.shape)
    return np.round(255 * np.clip(seen, 0, 1)).astype(np.uint8)


ROCK, SNOW, WOODS, HAZE = (0.33, 0.30, 0.27), (0.94, 0.95, 0.97), (0.16, 0.22, 0.10), (0.72, 0.80, 0.90)


def mountains(kind="clear", seed=0, rows=ROWS, columns=COLUMNS, slope=0.0):
    """A photograph, uint8, shape (rows, columns, 3), and the row above which its sky lies in each column.

    `kind`: clear, cloudy, hazy, snow, touching, fog, trees; `slope`: rows per column that everything is tilted by.
    """
    random = np.random.default_rng(seed)
    lean = slope * (np.arange(columns) - 0.5 * columns)
    tops = [rows * level + lean - crest(random, columns, rows * height) for level, height in ((0.34, 0.10), (0.45, 0.08), (0.66, 0.08))]
    sky = white_sky(rows, columns) if kind in ("snow", "fog") else clear_sky(rows, columns)
    if kind in ("cloudy", "touching"):
        sky = clouds(random, sky, 0.35 if kind == "touching" else -0.1)
    lands = [ground(random, rows, columns, colour, grain) for colour, grain in ((ROCK, 0.15), (WOODS, 0.2), (WOODS, 0.3))]
    veil = {"hazy": (0.85, 0.6, 0.2), "snow": (0.3, 0.2, 0.0), "fog": (0.6, 0.3, 0.0)}.get(kind, (0.4, 0.2, 0.0))
    airlight = sky[int(0.3 * rows)].mean(axis=0) if kind in ("snow", "fog") else np.array(HAZE)
    if kind == "snow":  # a snowfield with rocks in it, a twentieth brighter than the sky
        rocks = np.clip(smooth_noise(random, 6.0, (rows, columns)) - 1.0, 0, 1)[:, :, None]
        lands[0] = ground(random, rows, columns, SNOW, 0.03) * (1 - rocks) + lands[0] * rocks
    picture = sky
    for land, top, share in zip(lands, tops, veil, strict=True):
        picture = lay(picture, land * (1 - share) + airlight * share, top)
    if kind == "fog":  # a bank of fog in the valley, as bright as the sky
        bank = np.exp(-(((np.arange(rows)[:, None] - lean - 0.52 * rows) / (0.06 * rows)) ** 2))[:, :, None]
        picture = picture * (1 - 0.95 * bank) + 0.86 * 0.95 * bank
    border = np.minimum(np.minimum(tops[0], tops[1]), tops[2])
    if kind == "touching":  # clouds hang over parts of the crest
        over = np.clip(1.5 * smooth_noise(random, (10.0, 40.0), (rows, columns)) - 1.6, 0, 0.97)[:, :, None]
        near = np.exp(-(((np.arange(rows)[:, None] - border) / 40.0) ** 2))[:, :, None]
        picture = picture * (1 - over * near) + 0.93 * over * near
    if kind == "trees":
        for at in random.uniform(0, columns, 9):
            height, width = random.uniform(0.3, 0.75) * rows, random.uniform(0.012, 0.03) * columns
            x = np.arange(columns)
            ragged = np.abs(smooth_noise(random, 1.5, (columns,))) * 6
            top = np.where(np.abs(x - at) < width, rows - height * (1 - np.abs(x - at) / width) + ragged, rows + 1.0)
            picture = lay(picture, ground(random, rows, columns, (0.07, 0.10, 0.05), 0.4), top)
            border = np.minimum(border, top)
    return sharpened(picture, random), border


def turned(seed, degrees, rows=ROWS, columns=COLUMNS):
    """A clear photograph of a camera that was rolled by `degrees`, and its border, NaN where none is in the picture."""
    size = 2 * max(rows, columns)
    pixels, border = mountains("clear", seed, size, size)
    tall = np.repeat(np.arange(size)[:, None] > border, 1, axis=1).astype(float)
    out, land = (ndimage.rotate(values, degrees, reshape=False, order=1, mode="nearest") for values in (pixels, tall))
    middle = int(np.median(border)) + rows // 8
    top, left = max(0, size // 2 + int((middle - size // 2) * np.cos(np.radians(degrees))) - rows // 2), size // 2 - columns // 2
    left += int((middle - size // 2) * np.sin(np.radians(degrees)))
    window = slice(top, top + rows), slice(left, left + columns)
    land = land[window] > 0.5
    first = np.where(land.any(axis=0), land.argmax(axis=0) - 0.5, rows - 0.5)
    return np.ascontiguousarray(out[window]), first


def indoors(seed=0, rows=ROWS, columns=COLUMNS):
    """A room: a lit wall with a picture and a door, a shelf, a table with things on it; no sky."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns] / [[[rows]], [[columns]]]
    light = 0.75 + 0.25 * np.exp(-(((x - random.uniform(0.2, 0.8)) / 0.5) ** 2 + (y / 0.7) ** 2))
    picture = np.array([0.80, 0.74, 0.62]) * light[:, :, None]
    for _ in range(14):
        left, top = random.uniform(0, 0.9), random.uniform(0.0, 0.8)
        box = (x > left) & (x < left + random.uniform(0.05, 0.3)) & (y > top) & (y < top + random.uniform(0.05, 0.5))
        picture[box] = random.uniform(0.05, 0.9, 3) * light[box][:, None]
    table = y > 0.72
    picture[table] = np.array([0.40, 0.26, 0.15]) * light[table][:, None]
    return sharpened(picture, random)


def forest(seed=0, rows=ROWS, columns=COLUMNS):
    """Leaves and trunks all over the picture, with gaps of sky."""
    random = np.random.default_rng(seed)
    leaves = ground(random, rows, columns, (0.22, 0.30, 0.12), 0.5)
    gaps = (smooth_noise(random, 2.5, (rows, columns)) > 1.5)[:, :, None]
    picture = np.where(gaps, 0.9, leaves)
    for at in random.uniform(0, columns, 8):
        trunk = np.abs(np.arange(columns) - at) < random.uniform(4, 16)
        picture[:, trunk] = ground(random, rows, int(trunk.sum()), (0.20, 0.15, 0.10), 0.3)
    return sharpened(picture, random)

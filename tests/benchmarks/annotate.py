"""annotate, whole command: a photograph of 12 megapixels and 10,000 peaks, rendering the panorama of 100 km included, against 5 s.

The peaks are strewn over the fractal of the panorama's benchmark, and the eye is above its summits: hundreds are in the picture.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.panorama import EYE, report, write_fractal  # noqa: E402

PEAKS, BAR_S = 10_000, 5.0


def main() -> None:
    from PIL import Image

    random = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as folder:
        terrain, photo, table = (Path(folder) / name for name in ("fractal.tif", "photo.jpg", "peaks.csv"))
        write_fractal(terrain)
        coarse = Image.fromarray(random.integers(0, 256, (75, 100, 3), np.uint8))
        coarse.resize((4000, 3000), Image.Resampling.BICUBIC).save(photo, quality=92)
        places = np.stack([EYE[0] + random.uniform(-0.8, 0.8, PEAKS), EYE[1] + random.uniform(-1.1, 1.1, PEAKS)], axis=1)
        rows = [f"Mount {number},{latitude:.5f},{longitude:.5f}\n" for number, (latitude, longitude) in enumerate(places)]
        table.write_text("name,lat,lon\n" + "".join(rows))
        command = [sys.executable, str(ROOT / "bin" / "annotate"), str(photo), "--pose", "60,-3,1", "--hfov", "60", "--dem", str(terrain)]
        command += ["--at", f"{EYE[0]},{EYE[1]},4500", "--peaks", str(table), "--json", str(Path(folder) / "named.json")]
        for ending in ("jpg", "png", "svg"):
            whole = [*command, "-o", str(Path(folder) / f"named.{ending}")]
            report(f"annotate, 12 MP, 10,000 peaks, {ending}", BAR_S, lambda whole=whole: subprocess.run(whole, check=True))


if __name__ == "__main__":
    main()

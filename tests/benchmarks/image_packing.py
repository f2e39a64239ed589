"""mdc-store pack over 2,000 images of 39 KB, and over 200 of 525 KB; spool, store and archive are directories on the same disk.

The images are spooled and entered before the clock starts. ``ours_mb`` is the largest process.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.datacentre.images.collection import Collection  # noqa: E402
from toolkit.datacentre.images.rows import image_counts  # noqa: E402
from toolkit.datacentre.index import open_index  # noqa: E402

# images, bytes of each, images a second
CELLS = ((2000, 39_000, 200.0), (200, 525_000, 40.0))


def main() -> None:
    for number, size, bar in CELLS:
        with tempfile.TemporaryDirectory() as folder:
            collection = Collection(Path(folder))
            collection.receive(range(number), "." * size)
            os.sync()  # what was spooled long ago is on disk
            places = collection.places
            words = ["pack", "--index", places.index, "--spool", places.spool, "--store", places.stores[0], "--archive", places.stores[1]]
            began = time.perf_counter()
            child = os.posix_spawn(sys.executable, [sys.executable, str(ROOT / "bin/mdc-store"), *words], os.environ)
            _, status, usage = os.wait4(child, 0)
            seconds = time.perf_counter() - began
            assert os.waitstatus_to_exitcode(status) == 0
            with open_index(collection.url) as index:
                assert image_counts(index).images_stored == number
            line = {"benchmark": f"mdc-store pack, {number} images of {size // 1000} KB", "ours_s": seconds, "bar_s": number / bar}
            print(json.dumps({**line, "ours_mb": usage.ru_maxrss / 1024, "load_average": os.getloadavg()[0]}), flush=True)


if __name__ == "__main__":
    main()

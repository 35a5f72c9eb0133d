"""What a data set of shards costs: making its index, drawing batches, and memory, on many tiny
pictures that are written for it.

    python bench/shards.py [--pictures 100000] [--shards 100] [--json FILE]

Times are of the processor, of one thread, which survive a busy machine.
"""

import argparse
import io
import json
import resource
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from simulacra.data.webdataset import INDEX, Options, Shards

SIZE, BATCH, STEPS = 32, 64, 100


def written(folder: Path, pictures: int, shards: int) -> None:
    """Shards of JPEG pictures, 256 different ones again and again."""
    dice, kinds = np.random.default_rng(0), []
    for _ in range(256):
        file = io.BytesIO()
        low = dice.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(low).resize((SIZE, SIZE)).save(file, "jpeg")
        kinds.append(file.getvalue())
    each = pictures // shards
    for i in range(shards):
        with tarfile.open(folder / f"{i:06d}.tar", "w") as archive:
            for j in range(each):
                info = tarfile.TarInfo(f"{i * each + j:09d}.jpg")
                info.size = len(kinds[j % 256])
                archive.addfile(info, io.BytesIO(kinds[j % 256]))


def rss() -> float:
    """Most memory until now, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(folder: Path) -> dict[str, Any]:
    """What it cost."""
    options = Options(path=str(folder), size=SIZE)
    empty, begun = rss(), time.process_time()
    Shards(options, None)
    index, begun = time.process_time() - begun, time.process_time()
    data = Shards(options, None)
    again, begun = time.process_time() - begun, time.process_time()
    for k in range(STEPS):
        data.draw(k * 7, BATCH, 0)
    drawn = (time.process_time() - begun) / STEPS / BATCH
    return {
        "pictures": data.size("train") + data.size("held_out"),
        "shards": len(data.paths),
        "index_microseconds_a_picture": 1e6 * index / len(data.places),
        "index_bytes_a_picture": (folder / INDEX).stat().st_size / len(data.places),
        "open_again_seconds": again,
        "draw_microseconds_a_picture": 1e6 * drawn,
        "memory_mb": rss() - empty,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        written(Path(place), asked.pictures, asked.shards)
        found = measured(Path(place))
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The frames of a GIF, which browsers show but cannot stop, side by side in one picture that a page
plays frame by frame."""

import io
import math
from typing import Any

from PIL import Image

from simulacra.studies._shelf import LARGEST, Shelf

PIXELS = 2**24  # of all frames together
FRAMES = 400


def strip(shelf: Shelf, step: int, name: str) -> dict[str, Any]:
    """{"frames": ...} for a page's player, if the picture of a step is a GIF of several frames;
    {} otherwise, and where it is too large."""
    if not name.endswith(".gif"):
        return {}
    found = shelf.attempt(f"pictures/{step:08d}/{name}", lambda: _strip(shelf, step, name))
    return {"frames": found} if found else {}


def _strip(shelf: Shelf, step: int, name: str) -> dict[str, Any] | None:
    with Image.open(shelf.file(f"pictures/{step:08d}/{name}", LARGEST), formats=["GIF"]) as film:
        count, (w, h) = getattr(film, "n_frames", 1), film.size
        if count < 2 or count > FRAMES or count * w * h > PIXELS:
            return None
        across = min(count, max(1, math.isqrt(PIXELS) // w))
        board = Image.new("RGB", (across * w, -(-count // across) * h))
        lasting = []
        for i in range(count):
            film.seek(i)
            board.paste(film.convert("RGB"), (i % across * w, i // across * h))
            lasting.append(int(film.info.get("duration", 100)) or 100)
    content = io.BytesIO()
    # frames of a GIF have few colours: a palette makes the file a third as large
    board.save(content, "PNG", compress_level=3)
    return {
        "path": shelf.made(f"{step}-{name}.frames.png", content.getvalue()),
        "count": count,
        "across": across,
        "width": w,
        "height": h,
        "ms": lasting,
    }

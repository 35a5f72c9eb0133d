"""Makes docs/pictures/studio.png: a clip of the data set `layered`, whose photographs are those of
scikit-learn (CC BY), in the studio, its object painted by GrabCut from a box and followed.
Minutes; in the same folder again, a moment.

    python scripts/studio_picture.py FOLDER
"""

import io
import sys
import threading
import time
from pathlib import Path
from shutil import which

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from simulacra.data.layered import Layered, Options
from simulacra.io import paint
from simulacra.studies.studio import studio

CLIP = Options(height=240, width=432, frames=20, count=1, held_out=12, seed=4)
NUMBER = 0  # of the held-out clips, looked at
MARGIN = 8  # pixels between the object and the box
OUT = Path(__file__).parents[1] / "docs" / "pictures" / "studio.png"


def made(place: Path) -> np.ndarray:
    """Write the clip's frames, and return where the object is in the first (H, W) bool."""
    batch = Layered(CLIP, None).take("held_out", NUMBER + 1)
    paint.save_pngs(batch["video"][NUMBER], place)
    return np.asarray(batch["mask"][NUMBER, 0] > 0)


def work(tab: Page, address: str, mask: np.ndarray) -> bytes:
    """Paint, follow, and take a picture of the page at the frame to correct."""
    tab.goto(address)
    tab.wait_for_selector("body.ready")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    over = tab.locator("#over").bounding_box()
    assert over
    scale = over["width"] / CLIP.width
    ends = [(columns[0] - MARGIN, rows[0] - MARGIN), (columns[-1] + MARGIN, rows[-1] + MARGIN)]
    (x, y), (right, bottom) = [(over["x"] + scale * a, over["y"] + scale * b) for a, b in ends]
    if "no mask" in tab.locator("#about").inner_text():  # else it goes on where it was
        tab.keyboard.press("g")
        tab.mouse.move(x, y)
        tab.mouse.down()
        tab.mouse.move(right, bottom, steps=4)
        tab.mouse.up()
        expect(tab.locator("#saved")).to_have_text("saved")
        tab.keyboard.press("r")
    expect(tab.locator("#export")).to_be_enabled(timeout=3_600_000)
    tab.keyboard.press("a")
    tab.keyboard.press("b")
    time.sleep(1)
    return tab.screenshot()


def main(place: Path) -> None:
    """Make the picture; FOLDER keeps the clip and the studio's work."""
    mask = made(place / "clip")
    server, own = studio(place / "clip", place / "work", 0)
    threading.Thread(target=server.run, daemon=True).start()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1180, "height": 760})
        shot = Image.open(io.BytesIO(work(tab, server.address, mask))).convert("RGB")
        browser.close()
    server.stop()
    own.end()
    few = shot.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(OUT, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

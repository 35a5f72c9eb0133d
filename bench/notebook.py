"""How long a notebook of many runs takes to make and to open.

    python bench/notebook.py --runs 500 --open

Makes run folders of a config that have logs of 1,000 rows, pictures of some steps and measured
values, then the notebook of them, and opens its pages in Chromium. Prints seconds and megabytes as
JSON.
"""

import argparse
import json
import math
import random
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image

from simulacra.core import config
from simulacra.studies.notebook import notebook

ROWS = 1000
SIDE = 8 * 30 + 2
SHEETS = 24  # pictures that differ; runs share them
NAMES = ("loss_D", "loss_G", "E_real", "E_fake", "hinge_active", "diversity", "pull_away")


def sheets(folder: Path, dice: random.Random) -> list[bytes]:
    """PNG files like those of 64 small pictures."""
    found = []
    for i in range(SHEETS):
        small = Image.frombytes("L", (60, 60), dice.randbytes(3600))
        path = folder / f"{i}.png"
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
        found.append(path.read_bytes())
    return found


def run(folder: Path, seed: int, pictures: list[bytes], steps: list[int]) -> None:
    """A run folder as a training leaves it."""
    dice = random.Random(seed)
    margin = [1.0, 10.0, 20.0][seed % 3]
    changes = [f"hyper.margin={margin}", f"seed={seed}", f"steps={10 * ROWS}"]
    told = config.plain(config.resolve("ebgan_digits", "laptop", changes))
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(told))
    log, clock = [], []
    for step in range(10, 10 * ROWS + 1, 10):
        row = {name: 1 + dice.random() + math.exp(-step / 900) for name in NAMES}
        log.append(json.dumps({"step": step, "images": 64 * step, **row}))
        clock.append(json.dumps({"step": step, "images": 64 * step, "seconds": step / 21}))
    (folder / "log.jsonl").write_text("\n".join(log) + "\n")
    (folder / "clock.jsonl").write_text("\n".join(clock) + "\n")
    values = [
        {"metric": name, "value": dice.random(), "step": steps[-1]}
        for name in ("coverage", "frechet")
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in values))
    (folder / "health.json").write_text('{"states": []}\n')
    for i, step in enumerate(steps):
        place = folder / "pictures" / f"{step:08d}"
        place.mkdir(parents=True)
        for k, name in enumerate(("samples", "reconstructed_real")):
            (place / f"{name}.png").write_bytes(pictures[(seed + i + k) % len(pictures)])
    (folder / "done").write_text("{}\n")


def opened(site: Path) -> dict[str, float]:
    """Seconds until each page of all runs is drawn in Chromium."""
    from playwright.sync_api import sync_playwright

    found = {}
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto("about:blank")
        for name in "index", "pictures", "curves", "compare":
            start = time.monotonic()
            page.goto((site / f"{name}.html").as_uri())
            page.wait_for_selector("body.ready")
            # two frames: laid out and painted
            page.evaluate(
                "() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))"
            )
            found[name] = time.monotonic() - start
        browser.close()
    return found


def main() -> None:
    """Make, measure, print, remove."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=500)
    asked.add_argument("--moments", type=int, default=10, help="steps with pictures of each run")
    asked.add_argument("--open", action="store_true", help="also in Chromium")
    asked.add_argument("--keep", type=Path, help="keep the folders here")
    words = asked.parse_args()
    place = words.keep or Path(tempfile.mkdtemp())
    place.mkdir(exist_ok=True)
    try:
        pictures = sheets(place, random.Random(0))
        steps = [10 * ROWS * (i + 1) // words.moments for i in range(words.moments)]
        for i in range(words.runs):
            if not (place / "runs" / f"margin{i % 3}" / f"seed={i}").exists():
                run(place / "runs" / f"margin{i % 3}" / f"seed={i}", i, pictures, steps)
        start, busy = time.monotonic(), time.process_time()
        made = notebook([place / "runs"], place / "site")
        seconds, busy = time.monotonic() - start, time.process_time() - busy
        size = sum(path.stat().st_size for path in (place / "site").rglob("*") if path.is_file())
        told = {"runs": made.runs, "made": seconds, "processor": busy, "megabytes": size / 1e6}
        told |= opened(place / "site") if words.open else {}
        print(json.dumps(told))
    finally:
        if not words.keep:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()

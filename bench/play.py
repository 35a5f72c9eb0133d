"""How long a page of `simulacra play` needs for a frame.

    python bench/play.py zoo/racing

Writes the page, opens it in Chromium and lets it step and paint, by WebAssembly and by plain
JavaScript in turns, so that both see the same machine. Prints milliseconds a frame and their ratio
as JSON; of several rounds the one in the middle.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from simulacra.core.load import reopen
from simulacra.studies.play import play

EXPECTED = """() => {
    const from = performance.now();
    for (let i = 0; i < 30; i++) { play.step(); play.look(); play.expect(); }
    return (performance.now() - from) / 30;
}"""


def measured(page: Path, frames: int, rounds: int) -> dict[str, float]:
    """Of a page of a world: milliseconds of a step and its picture, and of both with a future."""
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page()
        tab.goto(page.resolve().as_uri())
        told = [tab.evaluate("(n) => play.time(n)", frames) for _ in range(rounds)]
        futures = [tab.evaluate(EXPECTED) for _ in range(rounds)]
        browser.close()
    fast, plain = (statistics.median(one[name] for one in told) for name in ("vectors", "plain"))
    ratio = statistics.median(one["plain"] / one["vectors"] for one in told)
    return {
        "webassembly": fast,
        "plain_javascript": plain,
        "ratio": ratio,
        "with_a_future": statistics.median(futures),
        "megabytes": page.stat().st_size / 1e6,
    }


def main() -> None:
    """Measure each run that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="of worlds")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for run in asked.runs:
            made = play(reopen(run, None), Path(folder) / "page.html")
            rows.append({"run": str(run), **measured(made.path, asked.frames, asked.rounds)})
    print(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()

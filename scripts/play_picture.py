"""Makes docs/pictures/play.png: the page of zoo/racing, the agent at the wheel.

python scripts/play_picture.py
"""

import io
import tempfile
from pathlib import Path
from shutil import which

from PIL import Image
from playwright.sync_api import sync_playwright

from simulacra.core.load import reopen
from simulacra.studies.play import play

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "play.png"
DRIVEN = """() => {
    play.drive("agent");
    for (let i = 0; i < 9; i++) play.again();
    for (let i = 0; i < 150; i++) play.step();
    for (let i = 0; i < 6; i++) play.expect();
    play.look();
    play.go();
}"""


def main() -> None:
    """Make the picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        made = play(reopen(Path("zoo/racing"), None), Path(folder) / "racing.html")
        browser = started.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1180, "height": 940})
        tab.goto(made.path.resolve().as_uri())
        tab.evaluate(DRIVEN)
        tab.wait_for_timeout(3000)
        shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
        browser.close()
    few = shot.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(OUT, optimize=True)


if __name__ == "__main__":
    main()

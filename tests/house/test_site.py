"""The site: built strictly, opened from disk on a phone and on a desk, in light and in dark."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra import metrics
from simulacra.core import config

HOME = Path(config.__file__).parents[2]
BUILDER = importlib.util.find_spec("properdocs") and importlib.util.find_spec("mkdocstrings")
WIDTHS = 390, 1280


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a broken link, a missing page or a name that is gone ends the build."""
    if not BUILDER:
        pytest.skip("properdocs is not installed")
    place = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "properdocs", "build", "--strict", "-d", str(place)]
    said = subprocess.run(words, cwd=HOME, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr[-3000:]
    return place


def test_pages_ask_for_nothing_outside(site):
    """No address in what a page loads, and no script at all."""
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 50
    for page in pages:
        text = page.read_text()
        loads = re.findall(r"""(?:\bsrc=|<link [^>]*href=|url\(|@import )["']?([^"')\s>]+)""", text)
        outside = [one for one in loads if re.match(r"(\w+:)?//", one)]
        assert not outside and "<script" not in text, (page.name, outside)


SEEN = """() => ({
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    ground: getComputedStyle(document.body).backgroundColor,
    broken: [...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute("src")),
    text: document.body.innerText.length})"""


def look(tab, width, scheme):
    """The page as a screen of this width shows it, "light" or "dark"."""
    tab.set_viewport_size({"width": width, "height": 800})
    tab.emulate_media(color_scheme=scheme)
    return tab.evaluate(SEEN)


def test_every_page_opens_in_a_browser(site, tab):
    """No error, nothing fetched elsewhere, no picture missing, nothing wider than the screen."""
    for page in sorted(site.rglob("*.html")):
        tab.goto(page.as_uri())
        grounds = set()
        for width in WIDTHS:
            for scheme in "light", "dark":
                seen = look(tab, width, scheme)
                where = f"{page.relative_to(site)} at {width}, {scheme}: {seen}"
                assert seen["over"] <= 0 and not seen["broken"] and seen["text"] > 100, where
                grounds.add(seen["ground"])
        assert len(grounds) == 2, f"{page.name}: light and dark look alike, {grounds}"
    assert not tab.errors, tab.errors
    assert not [url for url in tab.asked if not url.startswith(("file:", "data:", "about:"))]


def test_the_browser_notices_what_is_wrong(tab, tmp_path):
    """A page that is too wide, lacks a picture, complains and asks elsewhere is seen to do so."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<body><p style='width: 900px'>wide</p><img src='gone.png'>"
        "<script>console.error('alas')</script>"
    )
    tab.goto(page.as_uri())
    seen = look(tab, 390, "dark")
    assert seen["over"] > 400 and seen["broken"] == ["gone.png"]
    assert any("alas" in one for one in tab.errors)
    assert any("gone.png" in one for one in tab.asked)


@pytest.mark.skipif(not (HOME / "docs").exists(), reason="another place without the documents")
def test_the_reference_has_every_metric():
    """docs/api/metrics.md lists what simulacra.metrics offers, where it is."""
    text = (HOME / "docs" / "api" / "metrics.md").read_text()
    listed = re.findall(r"^## (\w+)\n\n::: simulacra\.(\S+)$", text, re.M)
    assert listed == list(metrics.FACE.items())

"""The notebook: pages that open from disk, show what runs and experiments hold, and nothing that is not theirs."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from test_sweep import TEXT, Quick, asked
from tiny import needed, of_room

from simulacra import run
from simulacra.verbs import sweep
from simulacra.verbs.table import table


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("href", "src")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a trained run, and a swept sheet whose runs are pictures of it."""
    folder = tmp_path_factory.mktemp("book")
    needed(of_room("ebgan"), "ebgan").train(folder / "runs" / "one", "steps=4", "save_every=2")
    text = TEXT.replace("A higher margin", "A <b>higher</b> margin")
    found = asked(folder, text)
    sweep.sweep(found, text.encode(), folder / "runs" / "swept", crew=Quick())
    for place in (folder / "runs" / "swept").glob("margin*/"):
        for name in "pictures", "log.jsonl", "machine.json", "curves.png":
            source = folder / "runs" / "one" / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)
    table(found, folder / "runs" / "swept")
    (folder / "runs" / "one" / "remarks.md").write_text("Digits & <script>alert(1)</script> at step 4")
    return folder / "runs"


def pages(out):
    return {path.name: path.read_text() for path in out.glob("*.html")}


def test_every_link_leads_to_a_file_and_none_to_a_network(simulacra, runs, tmp_path):
    text = simulacra("notebook", runs, "-o", tmp_path / "book").success()
    assert "5 runs, 1 experiments" in text
    found = pages(tmp_path / "book")
    assert len(found) == 7
    for name, text in found.items():
        links = Links()
        links.feed(text)
        assert links.found, name
        for link in links.found:
            assert not re.match(r"[a-z]+:|//|/", link), link
            assert (tmp_path / "book" / unquote(link)).is_file(), link
    reached, todo = set(), ["index.html"]
    while todo:
        page = todo.pop()
        reached.add(page)
        links = Links()
        links.feed(found[page])
        todo += [link for link in links.found if link.endswith(".html") and link not in reached]
    assert reached == set(found), "every page is reached from the first"


def test_pages_show_what_is_in_the_folders(simulacra, runs, tmp_path):
    simulacra("notebook", runs, "-o", tmp_path / "book", "--title", "Margins").success()
    found = pages(tmp_path / "book")
    index = found["index.html"]
    assert "<h1>Margins</h1>" in index and "✓ supported" in index and "A &lt;b&gt;higher&lt;/b&gt; margin covers more" in index
    (one,) = [text for text in found.values() if "alert(1)" in text]
    assert "&lt;script&gt;" in one and "<script>" not in one, "what people write is text"
    assert "step 4 of 4" in one and "Through training" in one and "step 2" in one
    (told,) = [text for name, text in found.items() if name.startswith("sheet")]
    for row in json.loads((runs / "swept" / "table.json").read_text())["rows"]:
        assert row["cell"] in told and f"{row['numbers']['coverage']['mean']:.3g}" in told
    assert told.count("<figure>") == 4 and "seed 1" in told
    sheets = sorted((tmp_path / "book" / "files").glob("*samples.png"))
    assert (runs / "one" / "pictures" / "00000004" / "samples.png").read_bytes() in [path.read_bytes() for path in sheets]


def test_it_is_made_again_in_place_and_takes_nothing_elses_place(simulacra, runs, tmp_path):
    book = tmp_path / "book"
    simulacra("notebook", runs, "-o", book).success()
    before = pages(book)
    simulacra("notebook", runs, "-o", book).success()
    assert pages(book) == before, "the same runs, the same bytes"
    simulacra("notebook", runs / "one", "-o", book).success()
    assert len(pages(book)) == 2, "pages of runs that are gone are gone"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    assert "is no notebook" in simulacra("notebook", runs, "-o", mine).refusal()
    assert (mine / "thesis.txt").read_text() == "years"
    assert "no folder" in simulacra("notebook", tmp_path / "none", "-o", book).refusal()
    assert "no run folder" in simulacra("notebook", mine, "-o", book).refusal()
    assert len(pages(book)) == 2, "a mistake costs nothing"
    assert not list(tmp_path.glob("*.partial"))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "table.json").write_text("{")
    assert "cannot read" in simulacra("notebook", broken, "-o", book).refusal()
    assert len(pages(book)) == 2 and not list(tmp_path.glob("*.partial"))


def test_a_run_that_has_just_begun_has_a_page(simulacra, runs, tmp_path):
    """No picture, no metric, no checkpoint yet."""
    place = tmp_path / "begun"
    place.mkdir()
    shutil.copy(runs / "one" / "config.json", place)
    run.write_text(place / "log.jsonl", "")
    simulacra("notebook", place, "-o", tmp_path / "book").success()
    (text,) = [text for name, text in pages(tmp_path / "book").items() if name != "index.html"]
    assert "Not done" in text and "step 0 of 4" in text


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium")
def test_a_browser_shows_it_from_disk(simulacra, runs, tmp_path):
    """Pictures are loaded, in the order of the page, with no script and no network."""
    simulacra("notebook", runs, "-o", tmp_path / "book").success()
    page = tmp_path / "book" / "probe.html"
    page.write_text(
        (tmp_path / "book" / "index.html").read_text().replace('loading="lazy"', "")
        + "<script>onload = () => document.title = [...document.images].map(i => i.naturalWidth).join()</script>"
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"]
    command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120)
    widths = re.search(r"<title>([\d,]+)</title>", said.stdout)
    assert widths and len(widths[1].split(",")) == 5 and all(int(width) > 0 for width in widths[1].split(",")), said.stderr[
        -500:
    ]

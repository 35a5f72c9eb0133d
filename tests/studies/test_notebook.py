"""The notebook: pages that open from disk, show what runs and experiments hold,
and nothing that is not theirs."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from hashlib import blake2b
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from studies.test_sweep import TEXT, Quick, asked
from tiny import needed, of_model

from simulacra.core import config, run
from simulacra.studies import _log_lines, sweep
from simulacra.studies._book import Book, found_in, lineage
from simulacra.studies._shelf import Shelf
from simulacra.studies.notebook import notebook
from simulacra.studies.table import table

HOME = Path(config.__file__).parents[2]


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
    needed(of_model("ebgan"), "ebgan").train(folder / "runs" / "one", "steps=4", "save_every=2")
    text = TEXT.replace("A higher margin", "A <b>higher</b> margin")
    found = asked(folder, text)
    sweep.sweep(found, text.encode(), folder / "runs" / "swept", crew=Quick())
    for place in (folder / "runs" / "swept").glob("margin*/"):
        for name in "pictures", "log.jsonl", "machine.json", "curves.png":
            source = folder / "runs" / "one" / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, place / name)
    table(found, folder / "runs" / "swept")
    (folder / "runs" / "one" / "remarks.md").write_text(
        "Digits & <script>alert(1)</script> at step 4"
    )
    return folder / "runs"


ALL = {"pictures.html", "curves.html", "compare.html"}  # of all runs, drawn by the script


def pages(out, but=ALL):
    return {path.name: path.read_text() for path in out.glob("*.html") if path.name not in but}


def linked(text):
    """The files that a page refers to."""
    links = Links()
    links.feed(text)
    return [link.partition("#")[0] for link in links.found if not link.startswith("#")]


def test_every_link_leads_to_a_file_and_none_to_a_network(simulacra, runs, tmp_path):
    text = simulacra("notebook", runs, "-o", tmp_path / "book").success()
    assert "5 runs, 1 experiments" in text
    found = pages(tmp_path / "book", set())
    assert len(found) == 7 + len(ALL)
    for name, text in found.items():
        assert linked(text), name
        for link in linked(text):
            assert not re.match(r"[a-z]+:|//|/", link), link
            assert (tmp_path / "book" / unquote(link)).is_file(), link
    reached, todo = set(), ["index.html"]
    while todo:
        page = todo.pop()
        reached.add(page)
        todo += [one for one in linked(found[page]) if one.endswith(".html") and one not in reached]
    assert reached == set(found), "every page is reached from the first"


def test_pages_show_what_is_in_the_folders(simulacra, runs, tmp_path):
    simulacra("notebook", runs, "-o", tmp_path / "book", "--title", "Margins").success()
    found = pages(tmp_path / "book")
    index = found["index.html"]
    assert (
        "<h1>Margins</h1>" in index
        and "? undecided" in index
        and "A &lt;b&gt;higher&lt;/b&gt; margin covers more" in index
    )
    (one,) = [text for text in found.values() if "alert(1)" in text]
    assert "&lt;script&gt;" in one and "<script>" not in one, "what people write is text"
    assert "step 4 of 4" in one and "Through training" in one and "step 2" in one
    (told,) = [text for name, text in found.items() if name.startswith("sheet")]
    for row in json.loads((runs / "swept" / "table.json").read_text())["rows"]:
        assert row["cell"] in told and f"{row['numbers']['coverage']['mean']:.3g}" in told
    assert told.count("<figure>") == 4 and "seed 1" in told
    sheets = sorted((tmp_path / "book" / "files").glob("*samples.png"))
    assert (runs / "one" / "pictures" / "00000004" / "samples.png").read_bytes() in [
        path.read_bytes() for path in sheets
    ]


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


# Odd neighbours

SECRET = "what nobody shares"


def put(name, content):
    """Spoil a run by this content of a file."""

    def spoil(place):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            path.unlink()
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        )

    return spoil


def setting(key, text):
    """Spoil a run by this value of a key in its config, as JSON."""
    return lambda place: put(
        "config.json",
        re.sub(
            rf'"{key}": [^,]*',
            lambda found: f'"{key}": {text}',
            (place / "config.json").read_text(),
            count=1,
        ),
    )(place)


def dropping(key):
    def spoil(place):
        kept = {
            name: value
            for name, value in json.loads((place / "config.json").read_text()).items()
            if name != key
        }
        put("config.json", json.dumps(kept))(place)

    return spoil


def folder(name):
    """Spoil a run by a folder where a file belongs."""

    def spoil(place):
        if (place / name).is_dir():
            shutil.rmtree(place / name)
        else:
            (place / name).unlink(missing_ok=True)
        (place / name).mkdir(parents=True)

    return spoil


def link(name, target):
    """Spoil a run by a link; a target of two points and a name is the secret beside it."""

    def spoil(place):
        if (place / name).is_dir() and not (place / name).is_symlink():
            shutil.rmtree(place / name)
        else:
            (place / name).unlink(missing_ok=True)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(
            place.parent.parent / "secret" / target if target[0] not in "/." else target
        )

    return spoil


def pipe(name):
    def spoil(place):
        (place / name).unlink(missing_ok=True)
        os.mkfifo(place / name)

    return spoil


def gone(name):
    return lambda place: (place / name).unlink()


DEEP = "[" * 100_000
HUGE = "9" * 6000
SPOILT = {  # what is spoilt, and whether the run is still shown
    "config empty": (put("config.json", ""), False),
    "config of another tool": (put("config.json", '{"model_type": "bert"}'), False),
    "config a list": (put("config.json", "[1, 2]"), False),
    "config a number": (put("config.json", "7"), False),
    "config null": (put("config.json", "null"), False),
    "config cut short": (put("config.json", '{"room": "ebg'), False),
    "config binary": (put("config.json", bytes(range(256))), False),
    "config UTF-16": (put("config.json", '{"room": "x"}'.encode("utf-16")), False),
    "config nested deeply": (put("config.json", DEEP), False),
    "config of huge numbers": (setting("steps", HUGE), False),
    "config without model": (dropping("room"), False),
    "config without name": (dropping("name"), False),
    "config without steps": (dropping("steps"), False),
    "config without seed": (dropping("seed"), False),
    "model a list": (setting("room", '["x"]'), False),
    "model null": (setting("room", "null"), False),
    "name a number": (setting("name", "3"), False),
    "steps a word": (setting("steps", '"many"'), False),
    "steps null": (setting("steps", "null"), False),
    "steps a truth": (setting("steps", "true"), False),
    "steps infinite": (setting("steps", "Infinity"), False),
    "seed a table": (setting("seed", "{}"), False),
    "a model that is not there": (setting("room", '"no_such_room"'), True),
    "a model that is a file": (setting("room", '"evil_room.py"'), True),
    "a model that is half a character": (setting("room", '"\\ud800"'), True),
    "a name that is a script": (setting("name", '"<script>alert(2)</script>"'), True),
    "config a folder": (folder("config.json"), False),
    "config a link out": (link("config.json", "config.json"), False),
    "config a link to itself": (link("config.json", "./config.json"), False),
    "config a link to nothing": (link("config.json", "gone"), False),
    "config a device": (link("config.json", "/dev/zero"), False),
    "config a pipe": (pipe("config.json"), False),
    "log a folder": (folder("log.jsonl"), False),
    "log a pipe": (pipe("log.jsonl"), False),
    "log a device": (link("log.jsonl", "/dev/zero"), False),
    "log a link out": (link("log.jsonl", "log.jsonl"), False),
    "log a link to itself": (link("log.jsonl", "./log.jsonl"), False),
    "log binary": (put("log.jsonl", bytes(range(256)) * 9), True),
    "log of lists": (put("log.jsonl", '[1]\n[2]\n3\nnull\n"x"\n'), True),
    "log without steps": (put("log.jsonl", '{"loss": 1}\n{"loss": 2}\n'), True),
    "log of words": (put("log.jsonl", '{"step": "ten"}\n'), True),
    "log of no numbers": (
        put("log.jsonl", '{"step": NaN}\n{"step": Infinity}\n{"step": 1.5}\n{"step": true}\n'),
        True,
    ),
    "log of huge numbers": (
        put("log.jsonl", f'{{"step": {HUGE}}}\n{{"step": {"9" * 4000}}}\n'),
        True,
    ),
    "log nested deeply": (put("log.jsonl", DEEP + "\n" + DEEP + "\n"), True),
    "log of foreign rows": (put("log.jsonl", '{"step": 10, "images": 10}\n'), True),
    "clock of words": (put("clock.jsonl", '{"step": 2, "seconds": "long"}\n'), True),
    "clock without seconds": (put("clock.jsonl", '{"step": 2}\n'), True),
    "clock null": (put("clock.jsonl", '{"step": 2, "seconds": null}\n'), True),
    "machine a table": (put("machine.json", '{"commit": "x"}'), True),
    "machine a list of numbers": (put("machine.json", "[1, 2]"), True),
    "machine of odd values": (
        put("machine.json", '[{"commit": {"a": [1, null]}, "torch": 3, "arguments": 7}]'),
        True,
    ),
    "machine cut short": (put("machine.json", '[{"commit'), True),
    "machine a folder": (folder("machine.json"), True),
    "metrics of lists": (put("metrics.jsonl", "[1]\n{}\n"), True),
    "metrics without values": (put("metrics.jsonl", '{"metric": "coverage"}\n'), True),
    "metrics named by a table": (
        put("metrics.jsonl", '{"metric": {"a": 1}, "value": 1, "step": 4}\n'),
        True,
    ),
    "metrics of odd values": (
        put(
            "metrics.jsonl",
            '{"metric": "x", "value": NaN, "step": [], "n": {"a": 1}, "low": null}\n',
        ),
        True,
    ),
    "metrics that are a script": (
        put("metrics.jsonl", '{"metric": "<script>alert(3)</script>", "value": 1}\n'),
        True,
    ),
    "metrics a folder": (folder("metrics.jsonl"), True),
    "metrics a link out": (link("metrics.jsonl", "metrics.jsonl"), True),
    "remarks binary": (put("remarks.md", bytes(range(256))), True),
    "remarks a link out": (link("remarks.md", "remarks.md"), True),
    "remarks a folder": (folder("remarks.md"), True),
    "remarks a pipe": (pipe("remarks.md"), True),
    "curves a link out": (link("curves.png", "samples.png"), True),
    "curves a folder": (folder("curves.png"), True),
    "pictures a file": (
        lambda place: (shutil.rmtree(place / "pictures"), put("pictures", "x")(place)),
        True,
    ),
    "pictures a link out": (link("pictures", "."), True),
    "pictures a link to themselves": (link("pictures", "./pictures"), True),
    "pictures of no step": (lambda place: (place / "pictures" / "last").mkdir(), True),
    "pictures of a step that is none": (
        lambda place: (place / "pictures" / "00000004 (copy)").mkdir(),
        True,
    ),
    "pictures of a step out of here": (link("pictures/00000004", "."), True),
    "pictures of an empty step": (lambda place: (place / "pictures" / "00000009").mkdir(), True),
    "a picture that is none": (
        put("pictures/00000004/samples.png", "<html><script>alert(4)</script>"),
        True,
    ),
    "a picture that is empty": (put("pictures/00000004/samples.png", ""), True),
    "a picture that is a folder": (folder("pictures/00000004/samples.png"), True),
    "a picture out of here": (link("pictures/00000004/samples.png", "samples.png"), True),
    "a picture of this machine": (link("pictures/00000004/samples.png", "/etc/passwd"), True),
    "a picture that is a pipe": (pipe("pictures/00000004/samples.png"), True),
    "a film that is none": (put("pictures/00000004/film.mp4", "no film"), True),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_one_odd_run_keeps_no_other_from_its_page(simulacra, runs, tmp_path, kind):
    spoil, shown = SPOILT[kind]
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("config.json", "log.jsonl", "metrics.jsonl", "machine.json"):
        shutil.copy(runs / "one" / name, secret) if (runs / "one" / name).exists() else None
    (secret / "metrics.jsonl").write_text(
        json.dumps({"metric": SECRET, "value": 1, "step": 4}) + "\n"
    )
    (secret / "remarks.md").write_text(SECRET)
    (secret / "samples.png").write_bytes(b"\x89PNG\r\n\x1a\n" + SECRET.encode())
    for name in ("good", "odd"):
        shutil.copytree(runs / "one", tmp_path / "runs" / name)
    (tmp_path / "runs" / "odd" / "evil_room.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    spoil(tmp_path / "runs" / "odd")
    said = simulacra("notebook", tmp_path / "runs", "-o", tmp_path / "book")
    assert said.code == 0 and "Traceback" not in said.out + said.err, said.err
    found = pages(tmp_path / "book")
    assert f"{1 + shown} runs" in said.out and len(found) == 2 + shown
    (good,) = [
        text for name, text in found.items() if name.startswith("run") and "/good</h1>" in text
    ]
    assert "Through training" in good and "Not all could be read" not in good
    assert ("<h2>Broken</h2>" in found["index.html"]) == (not shown)
    if not shown:
        assert (
            f"note: not shown: {tmp_path / 'runs' / 'odd'}: " in said.err
            and str(tmp_path / "runs" / "odd") in found["index.html"]
        )
    assert not any("<script>" in text for text in found.values())
    everything = b"".join(
        path.read_bytes() for path in (tmp_path / "book").rglob("*") if path.is_file()
    )
    assert SECRET.encode() not in everything and b"root:" not in everything, (
        "no link is followed out of a run"
    )
    assert not (tmp_path / "ran").exists() and not list(tmp_path.glob(".*partial"))


def test_what_is_left_out_of_a_page_is_said_there(simulacra, runs, tmp_path):
    place = tmp_path / "runs" / "odd"
    shutil.copytree(runs / "one", place)
    link("remarks.md", "remarks.md")(place)
    put("pictures/00000004/samples.png", "no picture")(place)
    put("log.jsonl", '{"step": 1}\n[]\n{"step": 3}\n{"step"')(place)
    said = simulacra("notebook", tmp_path / "runs", "-o", tmp_path / "book")
    (page,) = [text for name, text in pages(tmp_path / "book").items() if name.startswith("run")]
    for text in (page, said.err):
        assert "remarks.md: is a link that leads out of the folder, which is not followed" in text
        assert "pictures/00000004/samples.png: is no PNG, and left out" in text
        assert "log.jsonl: 1 of 4 lines are no rows, and left out" in text, (
            "what a kill cut short is nothing odd"
        )


WORDS = ["name", "source", "base", "preset", "measure", "protocol"]
LISTS = ["claims", "rows", "metrics", "commits", "missing"]


def row(number: object) -> dict[str, object]:
    """A row of a table whose mean coverage is this."""
    return {"cell": "a", "runs": [], "seeds": [], "numbers": {"coverage": {"mean": number}}}


TABLES = {
    "empty": "",
    "a list": "[]",
    "of another tool": '{"columns": [], "data": []}',
    "nested deeply": DEEP,
    "of words": json.dumps(dict.fromkeys([*WORDS, *LISTS], "x")),
    "of odd claims": ("claims", [{"verdict": "true"}]),
    "of claims that are numbers": ("claims", [1]),
    "of rows without numbers": ("rows", [{"cell": "a", "runs": []}]),
    "of rows with odd numbers": ("rows", [row("x")]),
    "of rows that are null": ("rows", [None]),
    "of runs that are tables": ("rows", [row(None) | {"runs": [{}], "seeds": [0]}]),
    "of metrics that are lists": ("metrics", [[1]]),
    "without a name": ("name", None),
    "half a character": ("name", "\ud800"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_one_odd_experiment_keeps_no_other_from_its_page(simulacra, runs, tmp_path, kind):
    shutil.copytree(runs, tmp_path / "runs")
    odd = tmp_path / "runs" / "odd"
    shutil.copytree(runs / "swept", odd)
    spoil = TABLES[kind]
    told = json.loads((odd / "table.json").read_text())
    (odd / "table.json").write_text(
        spoil if isinstance(spoil, str) else json.dumps(told | {spoil[0]: spoil[1]})
    )
    said = simulacra("notebook", tmp_path / "runs", "-o", tmp_path / "book")
    shown = kind == "half a character"
    assert said.code == 0 and f"9 runs, {1 + shown} experiments" in said.out, (said.out, said.err)
    assert shown or f"note: not shown: {odd / 'table.json'}: " in said.err
    assert "A &lt;b&gt;higher&lt;/b&gt; margin" in pages(tmp_path / "book")["index.html"]


def test_nothing_but_odd_ones(simulacra, tmp_path):
    """A folder of another tool alone: one line, and no notebook."""
    place = tmp_path / "foreign"
    place.mkdir()
    (place / "config.json").write_text('{"model_type": "bert"}')
    (place / "log.jsonl").write_text('{"step": 10, "images": 10}\n')
    text = simulacra("notebook", tmp_path, "-o", tmp_path / "book").refusal()
    assert (
        f"nothing to show: {place}: config.json is no run's config: it has no model, "
        "name, preset, seed, steps" in text
    )
    assert not (tmp_path / "book").exists() and sorted(
        path.name for path in tmp_path.iterdir()
    ) == ["foreign"]


def test_no_model_is_imported(runs, tmp_path):
    """Said to a fresh interpreter: the modules of models stay where they are."""
    text = (
        "import sys; from pathlib import Path; from simulacra.studies.notebook import notebook; "
        f"notebook([Path({str(runs)!r})], Path({str(tmp_path / 'book')!r})); "
        "print([name for name in sys.modules if name.startswith('simulacra.models.')])"
    )
    env = os.environ | {"PYTHONPATH": str(HOME)}
    said = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=env)
    assert said.stdout == "[]\n", said.stdout + said.stderr


# Nothing of others


def everything(place):
    """Every file below and its content."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def test_nothing_of_others_is_removed(simulacra, runs, tmp_path):
    """Neither beside the notebook, nor in it, whatever it is called."""
    others = {
        "mine.partial/thesis.txt",
        ".mine.partial/thesis.txt",
        "mine.part",
        "files/thesis.txt",
        "mine.old/thesis.txt",
    }
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("years")
    simulacra("notebook", runs, "-o", tmp_path / "mine").success()
    inside = {"thesis.txt", "files/thesis.png", "probe.html", "run-mine.html", "more/notes.md"}
    for name in inside:
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text("years")
    simulacra("notebook", runs / "one", "-o", tmp_path / "mine").success()
    left = everything(tmp_path)
    assert all(left[name] == b"years" for name in others) and all(
        left[f"mine/{name}"] == b"years" for name in inside
    )
    pages_left = [name for name in pages(tmp_path / "mine") if left[f"mine/{name}"] != b"years"]
    assert len(pages_left) == 2, "pages of runs that are gone are gone"
    assert not list(tmp_path.glob(".mine.*.partial"))


@pytest.mark.parametrize(
    "mark",
    [
        "{}",
        '{"runs": 1, "sheets": 0}',
        '{"made by": "somebody", "files": {"thesis.txt": ["x"]}}',
        '{"made by": "simulacra notebook"}',
        '{"made by": "simulacra notebook", "files": ["thesis.txt"]}',
        "[]",
        "no JSON",
        "",
        DEEP,
    ],
)
def test_a_notebook_json_of_others_makes_no_notebook(simulacra, runs, tmp_path, mark):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notebook.json").write_text(mark)
    (mine / "thesis.txt").write_text("years")
    before = everything(mine)
    assert (
        "is no notebook whose notebook.json tells which files are its own"
        in simulacra("notebook", runs, "-o", mine).refusal()
    )
    assert everything(mine) == before


def test_a_mark_that_lies_removes_nothing(simulacra, runs, tmp_path):
    """It names files that are not what was written, lie elsewhere, or are reached by a link."""
    mine, away = tmp_path / "mine", tmp_path / "away"
    simulacra("notebook", runs, "-o", mine).success()
    away.mkdir()
    for path in (tmp_path / "thesis.txt", away / "thesis.txt", mine / "thesis.txt"):
        path.write_text("years")
    (mine / "link").symlink_to(away)
    told = json.loads((mine / "notebook.json").read_text())
    own = blake2b(b"years", digest_size=16).hexdigest()
    lies = {
        "../thesis.txt": [own],
        str(away / "thesis.txt"): [own],
        "link/thesis.txt": [own],
        "thesis.txt": ["0" * 32],
        ".": [own],
    }
    (mine / "notebook.json").write_text(json.dumps(told | {"files": told["files"] | lies}))
    simulacra("notebook", runs, "-o", mine).success()
    assert all(
        path.read_text() == "years"
        for path in (tmp_path / "thesis.txt", away / "thesis.txt", mine / "thesis.txt")
    )


def test_a_page_that_was_changed_is_not_written_over(simulacra, runs, tmp_path):
    book = tmp_path / "book"
    simulacra("notebook", runs, "-o", book).success()
    (book / "index.html").write_text("my own words")
    before = everything(book)
    assert (
        f"{book / 'index.html'} is not as it was written here"
        in simulacra("notebook", runs, "-o", book).refusal()
    )
    assert everything(book) == before and not list(tmp_path.glob(".*partial"))
    (book / "index.html").unlink()
    simulacra("notebook", runs, "-o", book).success()
    (book / "files").rename(tmp_path / "files")
    (book / "files").symlink_to(tmp_path / "files")
    before = everything(tmp_path / "files")
    assert "is not as it was written here" in simulacra("notebook", runs, "-o", book).refusal()
    assert everything(tmp_path / "files") == before


def test_a_kill_between_two_files_is_mended_by_the_next_notebook(runs, tmp_path, monkeypatch):
    """Both what was there and what comes are known before the first file is moved."""
    book = tmp_path / "book"
    notebook([runs], book, "One")
    replace, moved = Path.replace, []

    def killed(self, target):
        if Path(target).suffix == ".html":
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        notebook([runs], book, "Two")
    monkeypatch.undo()
    notebook([runs / "one"], book, "Three")
    assert len(pages(book)) == 2 and "<h1>Three</h1>" in pages(book)["index.html"]


def test_captions_are_words(model_name):
    """Of whatever a model paints."""
    from simulacra.studies._notebook_pages import WORDS, in_words

    painted = set(
        re.findall(r'^ +"([a-z_]+)": ', config.model_files()[model_name].read_text(), re.M)
    )
    assert all(" " in words for words in WORDS.values()) and in_words("samples") == "samples"
    assert all("_" not in in_words(name) for name in painted)
    assert in_words("one_more") == "one more"


@pytest.mark.parametrize(("kind", "plot"), [("series", "plot"), ("image", "")])
def test_plots_fit_dark_pages(tmp_path, kind, plot):
    place, fresh = tmp_path / "run", tmp_path / "fresh"
    (fresh / "files").mkdir(parents=True)
    place.mkdir()
    (place / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(16))
    shelf = Shelf(place, fresh)
    assert shelf.picture(place / "a.png", "a", "")["kind"] == "", "nothing is known of it"
    (place / "shapes.json").write_text(json.dumps({kind: [[4, 1], "float32"]}))
    assert Shelf(place, fresh).picture(place / "a.png", "a", "")["kind"] == plot


# What the pages are told


def test_a_long_log_keeps_its_extremes():
    """At most a thousand points, the first, the last and the one peak among them."""
    rows = [{"step": k, "images": 8 * k, "loss": math.sin(k / 50)} for k in range(1, 20_001)]
    rows[12_345]["loss"], rows[77]["loss"], rows[88]["loss"] = 9.0, math.nan, 10**400
    clock = [{"step": row["step"], "seconds": row["step"] / 4} for row in rows]
    log = json.loads(_log_lines.lines(rows, clock))
    steps, values = log["lines"]["loss"]
    assert 500 < len(values) <= 1002 and max(values) == 9 and min(values) == -1
    assert steps[values.index(9)] == 12_346 and (steps[0], steps[-1]) == (1, 20_000)
    assert log["rows"] == 20_000 and log["images"] == 8 and len(log["clock"][0]) <= 1000


def test_a_short_log_is_drawn_as_it_is():
    """Six digits a value; what is no number, or not there, is left out."""
    rows = [
        {"step": 3, "a": 1.23456789e-7, "b": 2},
        {"step": 1, "a": -7654321.0},
        {"step": 5, "b": "x"},
    ]
    log = json.loads(_log_lines.lines(rows, []))
    assert log["steps"] == [1, 3, 5] and log["clock"] == [[], []]
    assert log["lines"] == {"a": [[1, 3], [-7654320.0, 1.23457e-07]], "b": [[3], [2]]}
    assert "<" not in _log_lines.lines([{"step": 1, "</script>": 1.0}], [])


def test_experiments_stand_beneath_what_led_to_them():
    """By the name or the folder of the first that is here; circles and strangers do no harm."""

    def sheet(name, *follows):
        return {"name": name.upper(), "folder": name, "page": name, "follows": list(follows)}

    told = lineage([sheet("d", "c", "a"), sheet("b", "A"), sheet("a"), sheet("c", "b", "gone")])
    assert [(one["sheet"]["folder"], one["depth"]) for one in told] == [
        *(("a", 0), ("b", 1), ("c", 2), ("d", 3))
    ]
    assert [one["also"] for one in told] == [[], [], ["gone"], ["a"]]
    assert len(lineage([sheet("a", "b"), sheet("b", "a")])) == 2


def test_a_sheet_says_what_it_follows(simulacra, runs, tmp_path):
    """The key of the sheet comes by the table to the first page."""
    text = 'follows = ["Does the margin matter?"]\n' + TEXT.replace("Does the", "Why does the")
    shutil.copytree(runs, tmp_path / "runs")
    shutil.copytree(runs / "swept", tmp_path / "runs" / "second")
    table(asked(tmp_path, text), tmp_path / "runs" / "second")
    simulacra("notebook", tmp_path / "runs", "-o", tmp_path / "book").success()
    index = pages(tmp_path / "book")["index.html"]
    assert re.search(r'depth1"><h3><span class="faint">led to</span> <a [^>]*>Why does the', index)


def test_only_what_has_changed_is_read_again(runs, tmp_path):
    place, given = shutil.copytree(runs, tmp_path / "runs"), {}
    book = Book("Notebook", given.__setitem__, live=True)
    assert book.make(found_in([place])) and not book.make(found_in([place]))
    given.clear()
    (place / "one" / "remarks.md").write_text("tags: new, old")
    assert book.make(found_in([place])) and book.version == 2
    written = {name for name in given if name.startswith("run-")}
    assert len(written) == 1 and "data/runs.js" in given and "notebook.js" not in given
    assert b'"tags": ["new", "old"]' in given["data/runs.js"]
    shutil.rmtree(place / "one")
    assert book.make(found_in([place])) and len(book.runs) == 4


def test_moments_are_bounded(simulacra, runs, tmp_path):
    """The first and the last are kept."""
    place = shutil.copytree(runs / "one", tmp_path / "runs" / "one")
    for step in range(5, 60):
        shutil.copytree(place / "pictures" / "00000004", place / "pictures" / f"{step:08d}")
    simulacra("notebook", place, "-o", tmp_path / "book", "--moments", 5).success()
    found = sorted((tmp_path / "book" / "files").glob("*-samples.png"))
    steps = sorted(int(path.name.split("-")[-2]) for path in found)
    assert len(steps) == 5 and (steps[0], steps[-1]) == (2, 59)


def test_a_training_leaves_what_its_monitor_saw(runs):
    """The states of the log, as the pages mark them."""
    assert json.loads((runs / "one" / "health.json").read_text()) == {"states": []}
    spells = [{"name": "nan", "began": 2, "ended": 3, "says": "not finite: loss"}]
    place = runs / "one" / "health.json"
    place.write_text(json.dumps({"states": spells}))
    (found,) = _log_lines.events(Shelf(runs / "one", lambda name, source: None), [])
    place.write_text(json.dumps({"states": []}))
    assert found["name"] == "lost its numbers" and (found["began"], found["ended"]) == (2, 3)

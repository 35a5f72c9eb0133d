"""Cards: a run, or an experiment, in one file, and what a person wrote into it stays."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from house.test_site import look
from studies.test_sweep import TEXT, Quick, asked
from tiny import needed, of_model

from simulacra.core import external, run
from simulacra.studies import sweep
from simulacra.studies.card import card
from simulacra.studies.table import table
from simulacra.tasks import _card

ROW = {"metric": "coverage", "value": 0.51234, "low": 0.4, "high": 0.6, "floor": 0.9}
ROW |= {"step": 4, "split": "held_out", "n_real": 50, "commit": "abc", "over": "samples"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a trained and measured run, and a swept sheet of three seeds."""
    folder = tmp_path_factory.mktemp("cards")
    few = "steps=4", "save_every=2", "log_every=1", "hyper.margin=7.5"
    needed(of_model("ebgan"), "ebgan").train(folder / "one", *few)
    run.append_rows(folder / "one" / "metrics.jsonl", [ROW])
    (folder / "one" / "remarks.md").write_text(
        "Digits & <script>alert(1)</script>\n\n## Conclusions"
    )
    text = TEXT.replace("seeds = [0, 1]", "seeds = [0, 1, 2]") + (
        '[[claim]]\nsays = "No | difference"\nmetric = "coverage"\nexpect = "no difference"\n'
        'within = 0.01\ncompare = [{ "hyper.margin" = 0.6 }, { "hyper.margin" = 0.5 }]\n'
    )
    found = asked(folder, text)
    sweep.sweep(found, text.encode(), folder / "swept", crew=Quick())
    shutil.copytree(folder / "one" / "pictures", folder / "swept/margin=0.5,seed=1/pictures")
    table(found, folder / "swept")
    return folder


@pytest.fixture
def own(made, tmp_path) -> Path:
    """A copy, for a test to do with as it likes."""
    return Path(shutil.copytree(made, tmp_path / "own"))


def test_the_card_of_a_run_has_the_form_of_the_notes(simulacra, own):
    assert simulacra("card", own / "one").success().strip() == str(own / "one" / "card.md")
    text = (own / "one" / "card.md").read_text()
    assert re.findall(r"^## (\w+)$", text, re.M)[:5] == list(_card.SECTIONS)
    for words in (
        "## Name\n\n`one`",
        "Model `ebgan`, config `ebgan_digits`, preset `tiny`, step 4.",
        "| hyper.margin | 7.5 |",
        "Data `digits`, image 1x28x28",
        "| coverage | 0.5123 [0.4, 0.6] | 0.9 | held_out, 50 | 4 | abc |",
        "95 % intervals over samples",
        "![samples, step 4](<pictures/00000004/samples.png>)",
        "Digits & <script>alert(1)</script>",
    ):
        assert words in text, words
    assert re.search(r"^- [✓✗·] ", text, re.M), "health"
    for link in re.findall(r"\]\(<(.*?)>\)", text):
        assert (own / "one" / link).is_file(), link
    far = own / "far" / "report.md"
    simulacra("card", own / "one", "-o", far).success()
    for link in re.findall(r"\]\(<(.*?)>\)", far.read_text()):
        assert (far.parent / link).is_file(), link


def test_the_card_of_an_experiment_has_claims_table_and_conclusions(simulacra, own):
    simulacra("card", own / "swept").success()
    text = (own / "swept" / "card.md").read_text()
    for words in (
        "## Name\n\nDoes the margin matter?",
        "Compared: margin = 0.5; margin = 0.6; seeds 0, 1, 2.",
        "- ✓ A higher margin covers more (coverage: first is higher; difference 0.1 [0.1, 0.1], "
        "P(first > second) 0.667",
        "- ✗ No | difference (coverage: no difference within 0.01; ",
        "| margin = 0.5 | 3 | 1.5 [",
        "![margin = 0.5, step 4](<margin=0.5,seed=1/pictures/00000004/samples.png>)",
        "Supported: A higher margin covers more.",
        "Refuted: No | difference.",
    ):
        assert words in text, words


@pytest.mark.parametrize("which", ["one", "swept"])
def test_what_a_person_wrote_stays(own, which):
    """Under Conclusions, wherever there, and elsewhere between the comments; all else is made
    anew."""
    path = card(own / which)
    first = path.read_text()
    ours = "- It works. [Experiment 4]\n\n## Next\n\nTry `margin = 20`.\n\n```\n## Results\n```"
    text = first.replace(
        "## Results\n", f"{_card.KEEP}\nSeen by me.\n{_card.END_KEEP}\n## Results\n"
    )
    text = text.replace("## Name", "## Name\n\nnot mine").rstrip("\n") + f"\n\n{ours}\n"
    path.write_text(text)
    again = card(own / which).read_text()
    assert again.endswith(f"\n{ours}\n") and again.count("Seen by me.") == 1
    assert "not mine" not in again
    details = again.partition("## Details")[2].partition("## Results")[0]
    assert f"{_card.KEEP}\nSeen by me.\n{_card.END_KEEP}" in details
    assert card(own / which).read_text() == again, "and as often as one likes"
    assert first in again.replace(f"{_card.KEEP}\nSeen by me.\n{_card.END_KEEP}\n\n", "")


class Kinds(HTMLParser):
    """What a page refers to, and the scripts in it."""

    def __init__(self):
        super().__init__()
        self.found, self.scripts = [], 0

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script"
        self.found += [value for name, value in attributes if name in ("href", "src")]


def test_a_page_holds_its_pictures_and_asks_for_nothing(own):
    md = card(own / "one")
    md.write_text(md.read_text() + "\nMy <i>own</i> words.\n")
    path = card(own / "one", html=True)
    path.write_text(path.read_text().replace(f"{_card.KEEP}\n", f"{_card.KEEP}\n<p>Kept <b>so</b>"))
    text = card(own / "one", html=True).read_text()
    seen = Kinds()
    seen.feed(text)
    assert len(seen.found) >= 3 and all(one.startswith("data:image/") for one in seen.found)
    assert seen.scripts == 0 and "&lt;script&gt;" in text
    assert "My &lt;i&gt;own&lt;/i&gt; words." in text, "of the card in Markdown"
    assert f"{_card.KEEP}\n<p>Kept <b>so</b>" in text
    assert card(own / "one", own / "page.html").read_text().startswith("<!doctype html>")


def test_pages_are_readable_on_a_phone_and_in_the_dark(own, tab):
    for which in "one", "swept":
        tab.goto(card(own / which, html=True).resolve().as_uri())
        for width in 390, 1280:
            light, dark = (look(tab, width, scheme) for scheme in ("light", "dark"))
            assert light["over"] <= 0 and not light["broken"] and light["text"] > 300
            assert light["ground"] != dark["ground"] or "0, 0, 0, 0" in light["ground"]
    assert not tab.errors
    assert all(url.startswith(("file:", "data:", "about:")) for url in tab.asked)


def test_a_mistake_is_one_line_and_costs_nothing(simulacra, own):
    one, swept = own / "one", own / "swept"
    (own / "empty").mkdir()
    assert "neither config.json nor table.json" in simulacra("card", own / "empty").refusal()
    assert "no run folder and no sheet" in simulacra("card", own / "none").refusal()
    assert "ebgan_pull_away" in simulacra("card", "ebgan_pull_awy").refusal()
    assert "simulacra table" in simulacra("card", "ebgan_pull_away").refusal()
    letter = own / "letter.md"
    letter.write_text("Dear,")
    said = simulacra("card", one, "-o", letter).refusal()
    assert "something else than a card" in said and letter.read_text() == "Dear,"
    simulacra("card", one, "-o", own / "a.md").success()
    assert "the card of one" in simulacra("card", swept, "-o", own / "a.md").refusal()
    assert "cannot write" in simulacra("card", one, "-o", letter / "card.md").refusal()
    assert "something else" in simulacra("card", one, "-o", own / "empty").refusal()
    assert "--html writes no" in simulacra("card", one, "-o", own / "b.md", "--html").refusal()
    for name, content, words in (
        ("log.jsonl", "[1]\n", "log.jsonl: it holds [1], which is no row"),
        ("log.jsonl", '{"step": 1, "loss_D": {}}\n', ""),
        ("metrics.jsonl", '{"metric": "x"}\n', "metrics.jsonl: it holds"),
        ("machine.json", "{}", "machine.json"),
        ("shapes.json", "[]", "shapes.json"),
        ("data.json", "[]", "data.json"),
        ("config.json", "{}", "config.json is no run's config: model is missing"),
        ("config.json", "{", "cannot read"),
    ):
        before = (one / name).read_bytes() if (one / name).exists() else None
        (one / name).write_text(content)
        if words:
            assert words in simulacra("card", one).refusal(), name
        else:
            simulacra("card", one).success()
        if before is None:
            (one / name).unlink()
        else:
            (one / name).write_bytes(before)
    for content in "{", "[]", '{"name": "x"}', "\xff":
        (swept / "table.json").write_bytes(content.encode("latin-1"))
        assert "table.json is no table of an experiment" in simulacra("card", swept).refusal()
    assert not (swept / "card.md").exists()


def test_a_run_whose_weights_cannot_be_opened_has_a_card_that_says_why(own):
    """Damaged ones, and those of a model from outside, whose code no card runs."""
    one = own / "one"
    config = json.loads((one / "config.json").read_text())
    code = b"raise SystemExit('it was run')"
    (one / "model.py").write_bytes(code)
    theirs = f"net.py@{external.hash_of(code)}"
    (one / "config.json").write_text(json.dumps({**config, "name": "mine", "room": theirs}))
    text = card(one).read_text()
    assert "Model `net.py`, config `mine`" in text and "| hyper.margin | 7.5 |" in text
    assert re.search("^- ✗ .*trust", text, re.M)
    (one / "config.json").write_text(json.dumps({**config, "name": "mine"}))
    text = card(one).read_text()
    assert "Beside the defaults of model `ebgan`:" in text and "- ✗ cannot" not in text
    for path in (one / "checkpoints").iterdir():
        path.write_bytes(b"nothing")
    assert re.search(r"^- ✗ .*00000004\.pt", card(one).read_text(), re.M)


def test_a_table_of_an_older_version_has_a_card(own):
    """It says that its verdicts were given by an older rule."""
    path = own / "swept" / "table.json"
    told = json.loads(path.read_text())
    new = "within", "p", "p_holm", "level", "decides_low", "decides_high", "more_seeds", "why"
    for claim in told["claims"]:
        for key in (*new, "improvement", "improvement_low", "improvement_high"):
            del claim[key]
    for row in told["rows"]:
        for number in row["numbers"].values():
            for key in "iqm", "iqm_low", "iqm_high":
                del number[key]
    path.write_text(json.dumps(told))
    text = card(own / "swept").read_text()
    assert "by an older rule" in text and "- ✓ A higher margin" in text


def test_a_run_that_has_just_begun_and_one_of_the_zoo_have_cards(own, monkeypatch):
    begun = own / "begun"
    begun.mkdir()
    shutil.copy(own / "one" / "config.json", begun)
    text = card(begun).read_text()
    assert "step 0 of 4; not done" in text and "Nothing was logged" in text
    monkeypatch.chdir(own)
    path = card("zoo/vae_faces")
    assert path == Path("runs/zoo/vae_faces/card.md") and "step 1,200." in path.read_text()

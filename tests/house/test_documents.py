"""The numbers of the documents: written by commands, of today's configs and measures, and what was
pasted by hand only becomes less."""

import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import prose_numbers  # noqa: E402
import results_files  # noqa: E402

import docs  # noqa: E402
from simulacra.core import config, packed, run, zoo  # noqa: E402
from simulacra.core.errors import Mistake  # noqa: E402

PAGE = """# Does it hold?

**Coverage 0.667 of 0.95.**

<!-- state -->
<!-- end -->

<!-- table toy#results -->
<!-- end -->
"""
TOLD = {"extractor": "mnist_cnn", "extractor_hash": "e039b22d2210", "n_fake": 100}


@pytest.mark.skipif(not (docs.HOME / "docs").exists(), reason="another place without the documents")
def test_documents_hold_to_their_results():
    """Every table is its results file's, made with today's configs and measures; unverified numbers
    are as many as the ledger says."""
    assert docs.complaints() == []
    print(docs.told(docs.counts()))


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Documents of one page, and a run that was measured."""
    for module in docs, prose_numbers, results_files:
        monkeypatch.setattr(module, "RESULTS", tmp_path / "docs" / "results", raising=False)
        monkeypatch.setattr(module, "HOME", tmp_path, raising=False)
    monkeypatch.setattr(docs, "LEDGER", tmp_path / "docs" / "unverified.json")
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "README.md").write_text("# Toy\n")
    (tmp_path / "properdocs.yml").write_text("nav:\n  - Toy: results/toy.md\n")
    (tmp_path / "docs" / "results" / "toy.md").write_text(PAGE)
    measured(
        tmp_path / "runs" / "one", {"coverage": (0.66712, 0.656, 0.679), "frechet": (2.0, 1, 3)}
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measured(folder: Path, values: dict[str, tuple[float, float, float]], **told: object) -> None:
    """A run folder as `train` and `measure` leave it, as far as tables look at it."""
    plain = config.plain(config.resolve("ebgan_digits", "tiny", ["hyper.pull_away=0.25", "seed=3"]))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(plain))
    plain = config.plain(config.resolve(str(folder)))
    shared = TOLD | {"step": 5, "commit": "abc", "config": run.digest(plain)[:12]} | told
    rows = [
        {"metric": name, "value": value, "low": low, "high": high, "floor": 0.95, **shared}
        for name, (value, low, high) in values.items()
    ]
    run.append_rows(folder / "metrics.jsonl", rows)


def say(*words: str) -> list[str]:
    """Lines of a command."""
    return docs.done(docs.parsed([*words]))


ADD = ("add", "toy#results", "--from", "runs/one", "--command", "simulacra measure runs/one")


def test_a_table_is_written_by_a_command(toy):
    """Numbers come from the run in full precision; prose that rounds from them is verified."""
    say(*ADD, "--columns", "coverage:covered:.3f", "frechet:Fréchet:.2f")
    page = (toy / "docs" / "results" / "toy.md").read_text()
    assert "| one | 0.667 [0.656, 0.679] | 2.00 [1.00, 3.00] |" in page
    assert "(`simulacra measure runs/one`; commit abc; measured 20" in page
    file = results_files.read(toy / "docs" / "results" / "toy.json")
    table = file.tables["results"]
    assert table.rows[0].cells[1]["value"] == 0.66712
    made = table.made[0]
    assert (made.run, made.seeds, made.step, made.versions["coverage"]) == ("one", [3], 5, 1)
    assert made.protocol == TOLD
    trained = file.configs[made.config]
    assert (trained.name, trained.preset) == ("ebgan_digits", "tiny")
    assert sorted(trained.set) == ["hyper.pull_away=0.25", "seed=3"]
    count = docs.count(toy / "docs" / "results" / "toy.md")
    assert count.examples == [] and count.verified > 2, "0.95 is the floor, 0.667 rounds"
    assert docs.complaints() == []


def test_made_again_a_table_keeps_its_columns(toy):
    """Later numbers need no more than the run."""
    say(*ADD, "--labels", "ours", "--columns", "coverage:covered:.2f")
    measured(toy / "runs" / "one", {"coverage": (0.71, 0.7, 0.72)})
    say("add", "toy#results", "--from", "runs/one")
    assert "| ours | 0.71 [0.70, 0.72] |" in (toy / "docs" / "results" / "toy.md").read_text()
    assert docs.count(toy / "docs" / "results" / "toy.md").examples == ["0.667"], "it was of before"


def test_a_row_a_metric(toy):
    """With interval and floor, and again without naming the metrics."""
    say(*ADD, "--by-metric", "--columns", "coverage::.1f %", "frechet:Fréchet")
    page = toy / "docs" / "results" / "toy.md"
    first = page.read_text()
    assert "| coverage | 66.7 % | 65.6 to 67.9 % | 95.0 % |" in first
    assert "| Fréchet | 2 | 1 to 3 | 0.95 |" in first
    say(*ADD)
    assert page.read_text() == first


def test_a_run_of_the_zoo_is_taken(toy):
    """From where `measure` wrote of it; held to the config that comes along."""
    folder = toy / "runs" / "zoo" / "racing"
    told = config.check(run.config_of(zoo.place_of("zoo/racing")), "racing")
    opened = config.settled(packed.beside(told, zoo.place_of("zoo/racing")))
    hashed = run.digest(config.plain(opened))[:12]
    measured(folder, {"return": (827.7, 803, 850)}, config=hashed)
    (folder / "config.json").unlink()
    say("add", "toy#results", "--from", "zoo/racing", "--command", "simulacra score zoo/racing")
    file = results_files.read(toy / "docs" / "results" / "toy.json")
    (trained,) = file.configs.values()
    assert (trained.name, file.tables["results"].made[0].run) == ("zoo/racing", "zoo/racing")
    assert results_files.faults(toy / "docs" / "results" / "toy.json", file) == []


def change(toy: Path, alter) -> results_files.Results:
    """Alter the results file as a merge or a hand might."""
    path = toy / "docs" / "results" / "toy.json"
    file = results_files.read(path)
    alter(file)
    for table in file.tables.values():
        for made in table.made:
            if made.config in file.configs:
                trained = file.configs.pop(made.config)
                made.config = results_files.hash_of(trained.resolved)
                file.configs[made.config] = trained
    results_files.save(path, file)
    docs.write()
    return file


def resealed(file: results_files.Results) -> None:
    """As if a command of before had written it."""
    for table in file.tables.values():
        table.digest = table.content()


def test_a_changed_config_is_found(toy):
    """A key with another value today is named; the table is made again or said to be old."""
    say(*ADD)
    file = change(
        toy, lambda f: next(iter(f.configs.values())).resolved["hyper"].update(margin=0.1)
    )
    resealed(file)
    results_files.save(toy / "docs" / "results" / "toy.json", file)
    docs.write()
    (found,) = [one for one in docs.complaints() if "config" in one]
    assert "config ebgan_digits changed: hyper.margin was 0.1, is 0.65" in found
    say("outdated")
    text = (toy / "docs" / "results" / "toy.md").read_text()
    assert "**Outdated**, not made again: config ebgan_digits changed" in text
    count = docs.count(toy / "docs" / "results" / "toy.md")
    assert count.outdated == 8 and count.verified == 0 and count.examples == ["0.667", "0.95"]
    say("add", "toy#results", "--from", "runs/one")
    assert "Outdated" not in (toy / "docs" / "results" / "toy.md").read_text()


def test_a_key_that_is_new_is_no_change(toy):
    """A config of before a hyperparameter came holds if that stands at its default."""
    say(*ADD)
    resealed(change(toy, lambda f: next(iter(f.configs.values())).resolved["hyper"].pop("margin")))
    file = results_files.read(toy / "docs" / "results" / "toy.json")
    assert not [why for why in results_files.stale(file, file.tables["results"])]


def test_a_mended_measure_is_found(toy):
    """Numbers of an older version of a measure are refused."""
    measured(toy / "runs" / "one", {"memorisation": (1.0, 0.9, 1.1)}, version=1)
    say(*ADD)
    assert any(
        "memorisation is of version 1, its measure of 2 now" in one for one in docs.complaints()
    )


@pytest.mark.parametrize("what", ["page", "file"])
def test_a_hand_is_noticed(toy, what):
    """In the page or in the results file."""
    say(*ADD)
    path = toy / "docs" / "results" / ("toy.md" if what == "page" else "toy.json")
    path.write_text(path.read_text().replace("0.656", "0.646"))
    said = "differs from its results file" if what == "page" else "changed by hand"
    assert any(said in one for one in docs.complaints())


def test_the_ledger_only_falls(toy):
    """More unverified numbers are refused, and fewer too until the ledger says so."""
    page = toy / "docs" / "results" / "toy.md"
    page.write_text(
        "# Toy\n\n**A.**\n\n| a | b |\n|---|---|\n| x | 0.5, 0.7 |\n| y | 0.6 |\n\n"
        "It took 12 minutes.\n"
    )
    shown = page.read_text()
    say("import", str(page))
    assert (
        shown.replace("| x", "\n| x") != page.read_text() and "| x | 0.5, 0.7 |" in page.read_text()
    )
    assert say("ledger") == ["0 numbers verified, 4 unverified, 0 outdated"]
    assert docs.complaints() == []
    page.write_text(page.read_text() + "And 13 minutes more.\n")
    (found,) = docs.complaints()
    assert "toy.md: 5 unverified numbers, allowed 4" in found and "13 minutes" in found
    with pytest.raises(Mistake, match="5 unverified numbers, allowed 4"):
        say("ledger")
    page.write_text(
        page.read_text().replace("And 13 minutes more.\n", "").replace("12 min", "12 m")
    )
    (found,) = docs.complaints()
    assert "3 unverified numbers, the ledger says 4" in found
    say("ledger")
    assert docs.complaints() == []


def test_what_is_given_is_not_measured_here(toy):
    """A paper's number is named in the results file, with whose it is, and stands in the prose."""
    say(*ADD)
    page = toy / "docs" / "results" / "toy.md"
    page.write_text(page.read_text() + "\nThe paper has 906 points.\n")
    assert docs.count(page).examples == ["906 points"]
    change(toy, lambda f: f.given.update({"906 points": "arXiv 1803.10122, table 1"}))
    assert docs.count(page).examples == []


SWEPT = {
    "name": "Does pulling away help?",
    "source": "",
    "base": "ebgan_digits",
    "preset": "laptop",
    "measure": "measure --samples 1000",
    "seeds": [0, 1],
    "metrics": ["coverage"],
    "rows": [
        {
            "cell": f"pull_away = {weight}",
            "seeds": [0, 1],
            "numbers": {
                "coverage": {
                    "values": [0.4, 0.5],
                    "mean": 0.45,
                    "low": 0.1,
                    "high": 0.8,
                    "iqm": 0.44,
                }
            },
            "runs": [],
        }
        for weight in (0.0, 0.1)
    ],
    "claims": [
        {
            "says": "It helps",
            "metric": "coverage",
            "expect": "first is higher",
            "verdict": "undecided",
        }
        | {"difference": 0.01, "low": -0.1, "high": 0.12, "n": 2, "p_holm": 0.3}
    ],
    "protocol": "extractor mnist_cnn",
    "commits": ["abc"],
    "missing": [],
}


def test_a_sweep_is_taken(toy):
    """Its cells with what else is there, its claims; configs by its sheet where runs are away."""
    (toy / "table.json").write_text(json.dumps(SWEPT))
    say(
        "add",
        "toy#results",
        "--from",
        "table.json",
        "--columns",
        "seeds",
        "coverage:coverage:.2f",
        "coverage.iqm:IQM",
    )
    page = toy / "docs" / "results" / "toy.md"
    assert "| pull_away = 0.1 | 2 | 0.45 [0.10, 0.80] | 0.44 |" in page.read_text()
    assert "`simulacra sweep ebgan_pull_away`" in page.read_text()
    file = results_files.read(toy / "docs" / "results" / "toy.json")
    sets = [one.set for one in file.configs.values()]
    assert [("hyper.pull_away=0.1" in one, "seed=0" in one) for one in sets].count(
        (True, True)
    ) == 1
    assert file.tables["results"].rows[0].cells[2]["values"] == [0.4, 0.5]
    say(
        "add",
        "toy#results",
        "--from",
        "table.json",
        "--claims",
        "--columns",
        "says:claim",
        "difference:difference:.2f",
        "p_holm:p",
    )
    assert (
        "| ? undecided | It helps (first is higher) | 0.01 [-0.10, 0.12] | 0.3 |"
        in page.read_text()
    )
    assert [one for one in docs.complaints() if "allowed" not in one] == []


def test_json_of_a_command_is_taken(toy):
    """A row an object; the command has to be named."""
    (toy / "bench.json").write_text('[{"config": "gan", "speed": {"steps": 3.14159}, "n": 1200}]')
    with pytest.raises(Mistake, match="--command is missing"):
        say("add", "toy#results", "--from", "bench.json")
    say(
        "add",
        "toy#results",
        "--from",
        "bench.json",
        "--columns",
        "speed.steps:speed:.1f /s",
        "n",
        "--command",
        "bench",
    )
    assert "| gan | 3.1 /s | 1,200 |" in (toy / "docs" / "results" / "toy.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "toy#results", "--from", "runs/two"], "no run folder and no file runs/two"),
        (["add", "tyo#results", "--from", "runs/one"], "unknown page 'tyo'"),
        (["add", "results", "--from", "runs/one"], "expected PAGE#ID"),
        ([*ADD, "--columns", "coverage", "speed"], "no speed there; there is: coverage, frechet"),
        ([*ADD, "--where", "n_fake=7"], "has no metrics.jsonl with such rows"),
        ([*ADD, "--labels", "a", "b"], "2 labels for 1 rows"),
    ],
)
def test_mistakes_are_one_line(toy, words, said, monkeypatch, capsys):
    """And leave everything as it was."""
    monkeypatch.setattr(sys, "argv", ["docs.py", *words])
    with pytest.raises(SystemExit) as end:
        docs.main()
    told = capsys.readouterr().err
    assert end.value.code == 2 and said in told and told.count("\n") == 1
    assert not (toy / "docs" / "results" / "toy.json").exists()


def test_a_run_of_another_config_is_refused(toy):
    """Its rows were measured before its config changed, or its config names a path of a machine."""
    path = toy / "runs" / "one" / "config.json"
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"steps": 7}))
    with pytest.raises(Mistake, match="; measure it again"):
        say(*ADD)
    plain["init_from"] = "/data/runs/one"
    path.write_text(json.dumps(plain))
    with pytest.raises(Mistake, match="init_from is a path of this machine"):
        say(*ADD)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Coverage 0.667 where 5,000 reals have 0.948.", ["0.667", "0.948"]),
        (
            "31.9 dB, 8 to 40\nprocessor minutes, 99.6 %, 1,004 steps/s",
            ["31.9 dB", "8 minutes", "40 minutes", "99.6 %", "1,004 /s"],
        ),
        ("100 to 165 frames/s; -9 [-102, 84]", ["100 /s", "165 /s", "-9", "-102", "84"]),
        (
            "pixels in [-1, 1], 64x64, arXiv 1609.03126, section 3.4, 95 % of it, torch 2.13.0, "
            "127.0.0.1",
            [],
        ),
        ("`--set a=0.5`, [3.4](x_3.5.md), commit 8df55d4, ![0.4](p.png), <!-- 0.3 -->", ["3.4"]),
        ("```\n0.5\n```\nseed 0 of 20 pages, 8 epochs", []),
        ("| 0.97 | 1e-3 |", ["0.97", "1e-3"]),
    ],
)
def test_numbers_of_results_in_prose(text, found):
    """Those with decimals, a unit or an interval; none of code, names and versions."""
    assert [one.text for one in prose_numbers.loose(text)] == found


def test_rounding_is_by_the_last_place():
    """In either direction, of the same unit; a share is told in per cent."""
    say = prose_numbers.number
    assert say("0.667").of(0.66712, "") and not say("0.667").of(0.6676, "")
    assert say("1.5").of(-1.549, "dB") and say("46.0", "%").of(0.46, "%")
    assert not say("46", "%").of(46.0, "") and not say("0.46").of(0.46, "%")


def test_a_statement_takes_its_verdict_from_a_sheet(toy):
    """With its numbers; another's is told by hand and its numbers count."""
    (toy / "table.json").write_text(json.dumps(SWEPT))
    say("add", "toy#results", "--from", "table.json", "--claims")
    page = toy / "docs" / "notes.md"
    page.write_text(
        "# N\n\n<!-- state -->\n<!-- end -->\n\n[toy](results/toy.md)\n\n"
        "<!-- statements The_notes -->\n<!-- end -->\n"
    )
    told = {"id": "A-1", "of": "The notes", "says": "It helps", "claim": "toy#results/0"}
    other = {
        "id": "A-2",
        "of": "The notes",
        "says": "Or so",
        "verdict": "refuted",
        "found": "by 0.7",
    }
    (toy / "docs" / "notes.json").write_text(json.dumps({"statements": [told, other]}))
    docs.write()
    text = page.read_text()
    assert "1 refuted, 1 undecided." in text and "*Unverified: " in text
    assert not [one for one in docs.complaints() if "differs" in one]
    assert "| A-1 | It helps | **? undecided**. 0.01 [-0.1, 0.12]. |" in text
    assert "| A-2 | Or so | **✗ refuted**. by 0.7. |" in text
    assert docs.count(page).examples == ["0.7"]
    (toy / "docs" / "notes.json").write_text(
        json.dumps({"statements": [told | {"claim": "toy#results/5"}]})
    )
    with pytest.raises(Mistake, match="A-1: no claim toy#results/5"):
        docs.write()

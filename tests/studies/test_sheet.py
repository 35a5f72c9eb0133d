"""Sheets: what is a mistake in one, which runs it means,
and what follows for a claim from numbers."""

import msgspec
import pytest

from simulacra.core import config
from simulacra.core.errors import Mistake
from simulacra.studies import sheet, verdicts
from simulacra.studies.sheet import Sheet

TEXT = """
name = "Does the margin matter?"
base = "ebgan_digits"
preset = "tiny"
seeds = [0, 1, 2]
[set]
steps = 6
[grid]
"hyper.margin" = [1.0, 10.0, [[0, 1.0], [5, 2.0]]]
"hyper.pull_away" = [0.0, 0.1]
[[claim]]
says = "A higher margin covers more"
metric = "coverage"
compare = [{ "hyper.margin" = 10.0 }, { "hyper.margin" = 1.0 }]
expect = "first is higher"
"""


def read(tmp_path, text):
    path = tmp_path / "asked.toml"
    path.write_text(text)
    return sheet.read(path)


@pytest.mark.parametrize("name", sheet.sheets())
def test_every_sheet_resolves_and_says_what_it_takes(name):
    """Its configs, its claims; the first line is a command with the time it takes."""
    path = sheet.find(name)
    found = sheet.read(path)
    assert found.claim and found.source and len(found.seeds) >= 3
    assert path.read_text().startswith(f"# simulacra sweep {name}")


def test_cells_are_every_combination_and_runs_differ_by_nothing_else(tmp_path):
    found = read(tmp_path, TEXT)
    cells = found.cells()
    assert [str(cell) for cell in cells[:3]] == [
        "margin = 1.0, pull_away = 0.0",
        "margin = 1.0, pull_away = 0.1",
        "margin = 10.0, pull_away = 0.0",
    ]
    names = {cell.folder(seed) for cell in cells for seed in found.seeds}
    assert len(names) == 18 and "margin=1.0,pull_away=0.1,seed=2" in names
    assert all("/" not in name and " " not in name and "[" not in name for name in names)
    run = found.resolved(cells[3], 2)
    assert (run.hyper.margin, run.hyper.pull_away, run.seed, run.steps, run.preset) == (
        10.0,
        0.1,
        2,
        6,
        "tiny",
    )
    assert config.plain(found.resolved(cells[4], 0))["hyper"]["margin"] == [[0, 1.0], [5, 2.0]]


def test_a_grid_may_name_configs(tmp_path):
    text = TEXT.replace(
        '"hyper.pull_away" = [0.0, 0.1]', 'config = ["ebgan_digits", "ebgan_folder"]'
    )
    found = read(tmp_path, text)
    assert {found.resolved(cell, 0).name for cell in found.cells()} == {
        "ebgan_digits",
        "ebgan_folder",
    }


def test_long_names_stay_names_of_files(tmp_path):
    long = [[k, 1.0 + k] for k in range(60)]
    found = read(tmp_path, TEXT.replace("[[0, 1.0], [5, 2.0]]", f"{long}, {[*long, [60, 0.5]]}"))
    names = {cell.folder(seed) for cell in found.cells() for seed in found.seeds}
    assert len(names) == 24 and max(map(len, names)) < 150


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("margin", "margni", "unknown key hyper.margni"),
        ('base = "ebgan_digits"', 'base = "ebgan_digit"', "unknown config 'ebgan_digit'"),
        ('base = "ebgan_digits"\n', "", "base"),
        ("seeds = [0, 1, 2]", "seeds = []", "length"),
        ("seeds = [0, 1, 2]", "seeds = [0, 0]", "names a seed twice"),
        ("[0.0, 0.1]", "[0.1, 0.1]", "names a value twice"),
        ("[0.0, 0.1]", '["much"]', "hyper.pull_away"),
        ("steps = 6", "seed = 6", "belongs into seeds"),
        ('{ "hyper.margin" = 10.0 }', '{ "hyper.margin" = 11.0 }', "11.0 is not in the grid"),
        ('{ "hyper.margin" = 10.0 }', '{ "hyper.rate_D" = 10.0 }', "name the same keys"),
        ('{ "hyper.margin" = 10.0 }', '{ "hyper.margin" = 1.0 }', "no two cells differ"),
        ("first is higher", "best", "first is higher"),
        ('expect = "first is higher"', 'expect = "no difference"', "within"),
        ('expect = "first is higher"', 'expect = "first is higher"\nwithin = 0.1', "within"),
        ('says = "A higher', 'syas = "A higher', "syas"),
        ("name =", 'measure = "paint"\nname =', "unknown verb in measure"),
        ("[grid]", "[grid", "cannot read"),
    ],
)
def test_a_mistake_in_a_sheet_is_told_before_anything_is_trained(tmp_path, old, new, words):
    assert old in TEXT
    with pytest.raises(Mistake, match=words.replace(".", r"\.")):
        read(tmp_path, TEXT.replace(old, new, 1) if old != "margin" else TEXT.replace(old, new))


def test_pairs_agree_in_what_the_claim_does_not_name_and_seeds_are_what_is_repeated(tmp_path):
    """Margin 10 against 1 within each pull_away and seed;
    a seed of which a run is missing does not count."""
    found = read(tmp_path, TEXT)
    pairs = list(sheet.pairs(found.claim[0], found))
    assert [(str(a), str(b)) for a, b in pairs] == [
        (f"margin = 10.0, pull_away = {p}", f"margin = 1.0, pull_away = {p}") for p in (0.0, 0.1)
    ]
    value = {"margin = 1.0, pull_away = 0.0": 1, "margin = 1.0, pull_away = 0.1": 2}
    value |= {"margin = 10.0, pull_away = 0.0": 4, "margin = 10.0, pull_away = 0.1": 9}
    known = {
        (cell, seed): {"coverage": {"value": v + 100 * seed}}
        for cell, v in value.items()
        for seed in (0, 1, 2)
    }
    (one,) = verdicts.verdicts(found, known)
    assert one[:5] == ("supported", 5, 5, 5, 3)
    del known["margin = 1.0, pull_away = 0.1", 1]
    (one,) = verdicts.verdicts(found, known)
    assert one[:5] == ("undecided", 5, 5, 5, 2) and one.more == 1


def test_numbers_that_were_not_measured_alike_do_not_compare():
    row = {
        "metric": "coverage",
        "value": 0.5,
        "extractor_hash": "a",
        "n_fake": 50,
        "step": 6,
        "commit": "x",
        "seconds": 1.0,
    }
    alike = {
        ("one", 0): {"coverage": row},
        ("two", 0): {"coverage": row | {"value": 0.6, "step": 9, "commit": "y"}},
    }
    sheet.same_protocol(alike, "coverage")
    for key, value in ("extractor_hash", "b"), ("n_fake", 51), ("split", "train"):
        other = alike | {("two", 1): {"coverage": row | {key: value}}}
        with pytest.raises(
            Mistake,
            match=f"coverage was not measured alike: {key} is .* for one, seed 0, and .* for two, "
            "seed 1",
        ):
            sheet.same_protocol(other, "coverage")


def test_fields_are_what_the_documents_say():
    assert {f.name for f in msgspec.structs.fields(Sheet)} == {
        *(
            "name",
            "source",
            "base",
            "preset",
            "seeds",
            "set",
            "grid",
            "measure",
            "columns",
            "claim",
            "follows",
        )
    }

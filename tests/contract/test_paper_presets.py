"""Every `paper` preset is built at its true size, and the quick ones play a step at a small batch;
the others do in bench/paper_presets.py, whose results are bench/paper_presets.json."""

import json
import sys
from pathlib import Path

import pytest
import torch

from simulacra.core import config, data_sets, optim
from simulacra.core.errors import Mistake
from simulacra.core.load import build, data_root

HOME = Path(config.__file__).parents[2]
RESULTS = HOME / "bench" / "paper_presets.json"
ROWS = {row["config"]: row for row in json.loads(RESULTS.read_text())["rows"]}
QUICK = 0.35  # processor seconds of a step at a batch of 2, up to which one is played here
PAPER = [name for name in config.configs() if "paper" in config.based(config.find(name))["preset"]]
sys.path.insert(0, str(HOME / "bench"))


def drawn(name, n):
    """The config, and a batch of n examples shaped as its data are."""
    from paper_presets import stand_in

    checked = config.resolve(name, "paper")
    try:
        return checked, stand_in(checked, n)
    except Mistake:  # they are generated
        return checked, data_sets.load(checked.data, data_root(None)).draw(0, n, 0)


def test_every_paper_preset_has_been_played():
    """The committed results are of all of them, and of their steps and batches as they are; those
    that were only built are named here."""
    assert set(ROWS) == set(PAPER)
    unplayed = {name for name, row in ROWS.items() if row.get("played") == []}
    assert unplayed <= {"gan_folder"}
    for name in PAPER:
        checked, row = config.resolve(name, "paper"), ROWS[name]
        if "generations" in row:
            assert row["generations"] == checked.steps
        else:
            assert (row["batch"], row["steps"]) == (checked.batch, checked.steps), name


@pytest.mark.parametrize("preset", [name for name in PAPER if "numbers" in ROWS.get(name, {})])
def test_a_paper_preset_is_built_at_its_true_size_on_any_device(preset):
    """On the meta device, which holds no numbers: no part is made elsewhere."""
    from paper_presets import numbers

    checked, batch = drawn(preset, 2)
    model = build(checked, batch, torch.device("meta"))
    assert numbers(model) == ROWS[preset]["numbers"]


@pytest.mark.parametrize(
    "preset", [n for n in PAPER if ROWS.get(n, {}).get("seconds_small", 9) < QUICK]
)
def test_a_quick_paper_preset_plays_a_step(preset):
    checked, batch = drawn(preset, 2)
    model = build(checked, batch, torch.device("cpu"))
    optim.set_rates(model, 0)
    assert all(torch.as_tensor(value).isfinite().all() for value in model.step(batch, 0).values())

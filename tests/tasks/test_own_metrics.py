"""Metrics that a model brings itself: rows beside the others, with the same provenance."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from core.test_external import BASE, trained, written

from simulacra.core import external, run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.tasks._judges import Protocol
from simulacra.tasks._own_metrics import numbers
from simulacra.tasks.measure import measure

OWN = """
    def measure(self, held_out, samples):
        self.net.train()
        self.net(samples)  # which moves batch norm
        assert held_out["image"].shape == samples.shape == (20, 1, 28, 28)
        return {"mean": samples.mean(), "held": float(held_out["image"].mean()), "n": len(samples),
                "chance": torch.rand(())}
    def sample(self, batch):
        return {"samples": (torch.rand_like(batch["image"]) * 2 - 1)}
"""


@pytest.fixture
def opened(tmp_path):
    """A run whose model has a measure of its own."""
    external.forget()
    trained(written(tmp_path, BASE + OWN), tmp_path / "run", "steps=1")
    return reopen(tmp_path / "run", None)


def test_rows_of_its_own(opened):
    before = run.digest(run.states(opened.model))
    protocol = Protocol(20, 3, 5, "pixels")
    rows, _ = measure(opened, protocol)
    found = {row["metric"]: row for row in rows}
    mean = found["model.mean"]
    assert mean["low"] < mean["value"] < mean["high"] and abs(mean["value"]) < 0.1
    train = opened.data().take("train", 20)["image"].mean()
    assert mean["floor"] == pytest.approx(float(train)), "training examples in place of samples"
    assert mean["over"] == "sampling of samples, one training"
    held = found["model.held"]
    assert held["value"] == pytest.approx(float(opened.data().take("held_out", 20)["image"].mean()))
    assert held["low"] is held["high"] is held["over"] is None, "no sample moves it"
    digest = opened.config.model.partition("@")[2]
    assert mean["extractor"] == "model" and mean["extractor_hash"] == digest[:12]
    for key in "step", "seed", "split", "weights", "repeats", "config", "version":
        assert mean[key] == rows[0][key], key
    assert run.digest(run.states(opened.model)) == before, "it changes nothing"
    kept = run.read_rows(opened.folder / "metrics.jsonl")
    assert json.dumps(kept) == json.dumps(rows)
    again, _ = measure(opened, protocol)
    chance = [row["value"] for row in [*rows, *again] if row["metric"] == "model.chance"]
    assert chance[0] == chance[1], "a function of the seed"


def test_other_numbers_are_the_same_without_it(opened):
    protocol = Protocol(20, 2, 5, "pixels")
    rows, _ = measure(opened, protocol)
    del type(opened.model).measure
    without, _ = measure(opened, protocol)
    kept = {row["metric"]: row["value"] for row in rows if row["extractor"] != "model"}
    assert kept == {row["metric"]: row["value"] for row in without} and kept


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "returned NoneType; allowed: a dict of names and numbers"),
        ({}, "returned dict; allowed: a dict of names and numbers, one or more"),
        ({"a b": 1.0}, "returned the name 'a b'; allowed: letters"),
        ({3: 1.0}, "returned the name 3"),
        ({"a": "x"}, "returned str as 'a'; allowed: one number"),
        ({"a": True}, "returned bool as 'a'"),
        ({"a": torch.zeros(2)}, "a tensor of shape (2,) as 'a'; allowed: one number"),
        ({"a": math.nan}, "returned nan as 'a'; allowed: finite numbers"),
    ],
)
def test_what_is_no_measure_is_one_line(found, words):
    with pytest.raises(Mistake) as refused:
        numbers(found, "mine")
    assert words in str(refused.value) and str(refused.value).startswith("model mine: its measure ")


def test_names_stay_the_same(opened, monkeypatch):
    calls = SimpleNamespace(n=0)

    def measured(self, held_out, samples):
        calls.n += 1
        return {f"a{min(calls.n, 3)}": 1.0}

    monkeypatch.setattr(type(opened.model), "measure", measured)
    with pytest.raises(Mistake, match="allowed: the same names"):
        measure(opened, Protocol(20, 2, 0, "pixels"))
    assert not (opened.folder / "metrics.jsonl").exists()

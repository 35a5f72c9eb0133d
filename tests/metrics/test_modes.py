"""The collapse monitor: what it calls a collapse, what it does not,
and that looking changes nothing."""

import json
import os
import signal
from functools import cache
from pathlib import Path

import pytest
import torch
from tiny import ROOT, assert_same, of_model
from torch import Tensor

from simulacra.core import data_sets, run
from simulacra.core.contract import Data
from simulacra.data import digits, folder
from simulacra.metrics.health.health import Settings, events, healthy
from simulacra.metrics.health.verdict import summary
from simulacra.metrics.images import modes
from simulacra.tasks import _monitor
from simulacra.tasks._monitor import Monitor

needs_faces = pytest.mark.skipif(
    not ROOT or not (ROOT / "faces").is_dir(), reason="no faces in SIMULACRA_DATA"
)


class Unlabelled:
    """Digits of which no classifier knows anything."""

    classes, extractor = 0, "efficientnet_lite0"

    def __init__(self, few: int | None = None) -> None:
        self.real, self.few = digits.Data(digits.Options(), None), few

    def size(self, split: str) -> int:
        return (
            self.real.size(split)
            if self.few is None
            else {"train": self.few - 5, "held_out": 5}[split]
        )

    def take(self, split: str, n: int) -> dict[str, Tensor]:
        return {"image": self.real.take(split, n)["image"]}


def looked(source: Data, images: Tensor) -> dict[str, float]:
    """What the monitor sees of these samples."""
    monitor = watching(source)
    return modes.look(*monitor.look(images), monitor.real[1])


@cache
def watching(source: Data) -> Monitor:
    """One that has looked at the reals."""
    return Monitor(source)


def some(source: Data, n: int, seed: int) -> Tensor:
    """n of the training pictures, none of which the monitor knows."""
    x = source.take("train", source.size("train"))["image"]
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]]


SOURCES = [digits.Data(digits.Options(), None), Unlabelled()]


@pytest.mark.parametrize("n", [64, 128])
@pytest.mark.parametrize("source", SOURCES, ids=["classes", "pixels"])
def test_real_digits_are_no_collapse(source: Data, n: int):
    for seed in range(8):
        found = looked(source, some(source, n, seed))
        assert modes.collapse(found) == "" and found["distinct"] > 0.85 and found["covered"] > 0.8
        assert found.get("classes_shown", 1) > 0.85


@pytest.mark.parametrize("n", [64, 128])
@pytest.mark.parametrize("jitter", [0.0, 0.1])
@pytest.mark.parametrize("source", SOURCES, ids=["classes", "pixels"])
def test_few_pictures_again_and_again_are_a_collapse(source: Data, n: int, jitter: float):
    for seed in range(2):
        for few in 1, 2, 4, 16:
            samples = some(source, few, seed).repeat(n // few, 1, 1, 1)
            static = torch.randn(samples.shape, generator=torch.Generator().manual_seed(seed))
            found = looked(source, (samples + jitter * static).clamp(-1, 1))
            assert "repeat each other" in modes.collapse(found), (few, found)
            assert found["distinct"] == pytest.approx(few / n / 0.98, abs=0.03)


@pytest.mark.parametrize("n", [64, 128])
def test_one_class_alone_is_a_collapse(n: int):
    source = SOURCES[0]
    x = source.take("train", 4000)
    for c in range(10):
        found = looked(source, x["image"][x["label"] == c][:n])
        assert (
            "few classes" in modes.collapse(found)
            and found["class_missing"] >= 7
            and found[f"class_{c}"] > 0.9
        )
    half = looked(source, x["image"][x["label"] < 5][:n])
    assert "few classes" in modes.collapse(half)
    most = looked(source, x["image"][x["label"] < 9][:n])
    assert modes.collapse(most) == "" and most["class_missing"] == 1 and most["class_9"] < 0.05


@pytest.mark.parametrize("c", [0, 1])
def test_a_part_of_the_data_is_a_collapse_without_a_classifier_too(c: int):
    x = SOURCES[0].take("train", 4000)
    found = looked(SOURCES[1], x["image"][x["label"] == c][:128])
    assert "like few of the real ones" in modes.collapse(found) and "classes_shown" not in found


def test_samples_unlike_any_picture_are_poor_and_no_collapse():
    noise = torch.rand(128, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = looked(SOURCES[1], noise)
    assert modes.collapse(found) == "" and found["like_reals"] == found["covered"] == 0


def test_fifty_pictures_learnt_by_heart_are_no_collapse_and_four_of_them_are():
    source = Unlabelled(few=50)
    train = source.take("train", 45)["image"]
    for seed in range(8):
        drawn = train[torch.randint(45, (128,), generator=torch.Generator().manual_seed(seed))]
        assert modes.collapse(looked(source, drawn)) == ""
        four = drawn[:4].repeat(32, 1, 1, 1)
        assert "repeat each other" in modes.collapse(looked(source, four))


@needs_faces
@pytest.mark.parametrize("mode", ["grey", "colour"])
def test_faces(mode: str):
    source = folder.Data(folder.Options(path="faces", size=32, mode=mode), ROOT)
    for seed in range(8):
        assert modes.collapse(looked(source, some(source, 128, seed))) == ""
        for few in 1, 2, 4, 16:
            assert "repeat" in modes.collapse(
                looked(source, some(source, few, seed).repeat(128 // few, 1, 1, 1))
            )


def test_series():
    source = data_sets.load(of_model("rgan_series").config().data, ROOT)
    x = source.take("train", source.size("train"))["series"]
    monitor = Monitor(source)
    real = x[torch.randint(len(x), (128,), generator=torch.Generator().manual_seed(0))]
    assert modes.collapse(modes.look(*monitor.look(real), monitor.real[1])) == ""
    assert "repeat" in modes.collapse(
        modes.look(*monitor.look(x[:2].repeat(64, 1, 1)), monitor.real[1])
    )


# The verdict of a run


GOOD = {
    "distinct": 1.0,
    "covered": 0.9,
    "like_reals": 0.8,
    "classes_shown": 0.95,
    "class_missing": 0.0,
}
BAD = GOOD | {"classes_shown": 0.1, "class_missing": 9.0}


def rows(*looks: tuple[int, dict]) -> list[dict]:
    logged = [
        {"step": k, "loss_D": 0.69, "diversity": 0.95} for k in range(100, looks[-1][0] + 1, 100)
    ]
    return sorted(
        [*logged, *({"step": k, **seen} for k, seen in looks)], key=lambda row: row["step"]
    )


def test_a_collapse_is_dated_at_the_checkpoint_where_it_was_seen():
    told = rows((1000, GOOD), (2000, BAD), (3000, BAD), (4000, GOOD))
    assert [(e.name, e.step) for e in events(told)] == [("collapse", 2000), ("collapse_over", 4000)]
    assert [healthy(told, step=k) for k in (1000, 2000, 3999, 4000)] == [True, False, False, True]
    assert not healthy([row for row in told if row["step"] <= 2000])
    assert summary(told[:-1], {})[0].startswith(
        "collapsed at step 2,000, not over by 4,000 (samples show few classes, 10 %"
    )


def test_samples_that_never_were_otherwise_have_time_to_begin():
    young = rows((500, BAD), (1000, BAD))
    assert healthy(young) and summary(young, {})[0].startswith(
        "collapsed, or not begun yet: at step 1,000, samples show few"
    )
    assert not healthy(rows((1000, BAD), (2000, BAD))) and healthy(
        rows((1000, BAD), (2000, BAD)), step=1999
    )
    assert healthy(rows((500, BAD), (1000, GOOD))) and not healthy(rows((500, GOOD), (1000, BAD)))


def test_more_rows_move_no_event():
    told = rows((1000, GOOD), (2000, BAD), (3000, GOOD), (4000, BAD))
    for end in range(100, 4001, 100):
        part = events([row for row in told if row["step"] <= end])
        assert part == [event for event in events(told) if event.step <= end]


def test_words_for_a_run_without_collapse():
    told = summary(rows((1000, GOOD), (2000, GOOD)), {})
    assert told[0] == "no collapse seen in 20 logged steps, nor in samples of 2 checkpoints"


def test_a_model_without_a_game_is_not_told_about_collapse():
    told = summary(
        [{"step": 100, "loss": 3.0, "KL": 2.0}, {"step": 200, "loss": 2.0, "KL": 2.0}], {}
    )
    assert not any("collapse" in line for line in told)
    assert "no collapse seen" in summary([{"step": 100, "loss_D": 0.6}], {})[0]
    assert "no collapse seen" in summary([{"step": 100, "loss": 0.6}], {"loss": 0.7})[0], (
        "an equilibrium makes a game"
    )


@pytest.mark.parametrize("model_name", ["vae", "visual_dynamics"])
def test_models_without_a_game(model_name: str, tmp_path: Path):
    outcome = of_model(model_name).train(tmp_path / "run", "steps=4", "save_every=2", "log_every=1")
    assert (
        not any("collapse" in line for line in outcome.health)
        and not (tmp_path / "run" / "monitor.jsonl").exists()
    )


@pytest.mark.parametrize("model_name", ["ebgan", "gan", "rgan", "rgan_series", "vaegan"])
def test_games_are_looked_at_at_each_painted_checkpoint(model_name: str, tmp_path: Path):
    tiny = of_model(model_name)
    settings = "steps=6", "save_every=2", "log_every=1"
    tiny.train(tmp_path / "whole", *settings)
    seen = _monitor.rows(tmp_path / "whole")
    assert [row["step"] for row in seen] == [2, 4, 6]
    labelled = model_name != "rgan_series"
    for row in seen:
        assert {"distinct", "covered"} <= row.keys() and ("classes_shown" in row) == labelled
        assert not labelled or sum(row[f"class_{i}"] for i in range(10)) == pytest.approx(
            1, abs=1e-4
        )
    stop = lambda step, _: os.kill(os.getpid(), signal.SIGINT) if step == 3 else None  # noqa: E731
    assert not tiny.train(tmp_path / "broken", *settings, tick=stop).done
    assert [row["step"] for row in _monitor.rows(tmp_path / "broken")] == [2]
    assert tiny.train(tmp_path / "broken", *settings).done
    assert_same(tmp_path / "whole", tmp_path / "broken")
    names = "monitor.jsonl", "log.jsonl"
    assert all(
        (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
        for name in names
    )


def test_looking_changes_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = "steps=6", "save_every=2", "log_every=1"
    of_model("gan").train(tmp_path / "looked", *settings)
    monkeypatch.setattr(Monitor, "note", lambda self, opened, counts: None)
    of_model("gan").train(tmp_path / "blind", *settings)
    assert_same(tmp_path / "looked", tmp_path / "blind")
    assert json.loads((tmp_path / "looked" / "done").read_text()) == json.loads(
        (tmp_path / "blind" / "done").read_text()
    )


@pytest.fixture
def two_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are real digits until step 9, and two of them from 10 on;
    after a rollback they are as they should be."""
    x = SOURCES[0].take("train", 128)["image"]

    def samples(self: Monitor, opened: object) -> Tensor:
        turned = (opened.folder / "rollbacks.jsonl").exists()
        return x if opened.step < 10 or turned else x[:2].repeat(64, 1, 1, 1)

    monkeypatch.setattr(Monitor, "samples", samples)


def test_a_collapse_of_samples_is_told_and_rolled_back(two_digits: None, tmp_path: Path):
    settings = "steps=15", "save_every=5", "log_every=1", "keep=9"
    tiny = of_model("gan")
    outcome = tiny.train(tmp_path / "plain", *settings)
    assert outcome.health[0].startswith(
        "collapsed at step 10, not over by 15 (samples repeat each other"
    )
    assert tiny.train(tmp_path / "rolled", *settings, "rollback=1").done
    assert run.read_rows(tmp_path / "rolled" / "rollbacks.jsonl") == [
        {"at": 10, "to": 5, "why": "collapsed"}
    ]
    assert [row["step"] for row in _monitor.rows(tmp_path / "rolled")] == [5, 10, 15]
    assert min(row["distinct"] for row in _monitor.rows(tmp_path / "rolled")) > 0.9
    assert healthy(_monitor.with_log(tmp_path / "rolled"), Settings())

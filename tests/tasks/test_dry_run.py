"""`train --dry-run`: what a training would do, without doing it."""

import json
import re
from pathlib import Path

import pytest
import torch
from core.test_external import WHOLE, written
from tiny import needed, of_model

from simulacra.core import config, load, run
from simulacra.core.parts import weights


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files of a folder, with their times."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_says_what_training_would_do_and_writes_nothing(simulacra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "ebgan_digits", "--preset", "tiny", "--set", "hyper.margin=7", "--dry-run"]
    text = simulacra(*words).success()
    plain = config.plain(config.resolve("ebgan_digits", "tiny"))
    assert re.search(rf"hyper\.margin +7\.0  \* {plain['hyper']['margin']} in the file", text), text
    assert text.count("  * ") == 1 and 'model                        "ebgan"' in text
    assert (
        "4000 to train on, 1000 held out" in text and "runs/ebgan_digits; there is nothing" in text
    )
    assert re.search(r"time +about .* an estimate from \d+ steps on this machine", text)
    found = json.loads(simulacra(*words, "--json").success())
    assert found["changed"] == {"hyper.margin": [plain["hyper"]["margin"], 7.0]}
    assert found["config"] == plain | {"hyper": plain["hyper"] | {"margin": 7.0}}
    training = found["training"]
    assert training["examples"] == training["steps"] * training["batch"] == 16 * plain["steps"]
    assert training["epochs"] == round(training["examples"] / 4000, 2)
    checked = config.resolve("ebgan_digits", "tiny")
    like = {"image": torch.zeros(2, 1, 28, 28), "label": torch.zeros(2, dtype=torch.long)}
    model = load.build(checked, like, torch.device("cpu"))
    count = sum(one.numel() for one in weights(model).values() if one.requires_grad)
    assert sum(one["learnt"] for one in found["parts"]) == count > 0
    time = found["time"]
    assert 0 < time["timed_steps"] <= 10 and time["seconds_a_step"] > 0
    assert time["seconds_left"] == pytest.approx(
        time["seconds_a_step"] * plain["steps"], rel=0.05, abs=0.1
    )
    assert found["memory"]["kept_bytes"] >= 3 * 4 * count, "weights and two moments"
    assert not list(tmp_path.iterdir())


def test_it_leaves_a_run_alone_and_knows_where_it_stands(simulacra, tmp_path):
    tiny = needed(of_model("ebgan"), "ebgan")
    folder = tmp_path / "run"
    tiny.train(folder, "steps=4", "save_every=2")
    before = everything(folder)
    words = tiny.arguments(folder, "save_every=2")
    found = json.loads(simulacra(*words, "--set", "steps=4", "--dry-run", "--json").success())
    assert found["folder"] == {
        "path": str(folder),
        "there": "this run, finished",
        "step": 4,
        "finished": True,
    }
    assert found["time"]["timed_steps"] == found["training"]["left"] == 0
    longer = [*words, "--set", "steps=9", "--dry-run", "--json"]
    found = json.loads(simulacra(*longer, "--extend").success())
    assert (found["folder"]["there"], found["training"]["left"]) == ("this run, at step 4", 5)
    assert found["time"]["timed_steps"] == 4, "no more steps than are left, the first not timed"
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("hyper.margni=3", "unknown key hyper.margni"),
        ("hyper.classes=3", "hyper.classes"),
        ("init_from=nowhere", "init_from = nowhere: no run folder nowhere"),
        ("steps=2", "holds a run of another config: steps is 4 there, 2 asked"),
    ],
)
def test_mistakes_are_those_of_training(simulacra, tmp_path, change, words):
    tiny = needed(of_model("ebgan"), "ebgan")
    if change == "steps=2":
        tiny.train(tmp_path / "run", "steps=4")
    command = tiny.arguments(tmp_path / "run", change)
    text = simulacra(*command, "--dry-run").refusal()
    assert words in text and simulacra(*command).refusal() == text


def test_a_folder_of_something_else_and_json_alone_are_refused(simulacra, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letters.txt").touch()
    words = ["train", "ebgan_digits", "--preset", "tiny", "--run", tmp_path / "run"]
    assert "holds letters.txt and no run" in simulacra(*words, "--dry-run").refusal()
    assert "allowed: with --dry-run" in simulacra(*words, "--json").refusal()


def test_a_model_from_outside(simulacra, tmp_path):
    """Parts of all kinds are counted; what is left out or begun from is noted."""
    toml = written(tmp_path, WHOLE["a module with parameters and buffers of its own"])
    words = ["train", toml, "--run", tmp_path / "run", "--no-tensorboard"]
    simulacra(*words).success()
    begun = ["--run", tmp_path / "two", "--set", f"init_from={tmp_path / 'run'}"]
    found = json.loads(simulacra(*words[:2], *begun, "--dry-run", "--json").success())
    assert {one["part"]: one["learnt"] for one in found["parts"]} == {
        "opt": 0,
        "net": 784 * 4 + 4 + 8 + 4 * 784 + 784,
        "scale": 3,
        "seen": 0,
    }
    assert found["notes"][0].startswith(f"begins with the weights of {tmp_path / 'run'} at step 8")
    assert not (tmp_path / "two").exists() and run.checkpoints(tmp_path / "run")

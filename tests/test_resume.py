"""Resuming is exact: however a run is broken, its end is that of an unbroken one, bit for bit."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from tiny import assert_same

from simulacra import run
from simulacra.errors import Mistake
from simulacra.measure import health
from simulacra.verbs import train as verb

USUAL = "steps=60", "save_every=20", "log_every=5"
DENSE = "steps=50", "save_every=5", "log_every=1"
SHORT = "steps=30", "save_every=10", "log_every=1"


def interrupt_at(when):
    """A tick that presses Ctrl-C at a step."""
    return lambda step, row: os.kill(os.getpid(), signal.SIGINT) if step == when else None


@pytest.fixture(scope="session")
def unbroken(room, tmp_path_factory):
    """A run of 60 steps in one go."""
    from tiny import needed, of_room

    folder = tmp_path_factory.mktemp(room) / "unbroken"
    needed(of_room(room), f"room {room}").train(folder, *USUAL)
    return folder


def test_newest_checkpoint_lost(tiny, unbroken, tmp_path):
    outcome = tiny.train(tmp_path / "run", *USUAL, tick=interrupt_at(37))
    assert (outcome.step, outcome.done) == (37, False)
    newest = run.checkpoints(tmp_path / "run")[-1]
    assert newest.name == "00000037.pt" and not (tmp_path / "run" / "done").exists()
    newest.unlink()
    steps = []
    outcome = tiny.train(tmp_path / "run", *USUAL, tick=lambda step, row: steps.append(step))
    assert steps == list(range(21, 61)) and outcome.done and not outcome.already
    assert_same(unbroken, tmp_path / "run")


def test_how_often_one_looks_changes_nothing(tiny, unbroken, tmp_path):
    tiny.train(tmp_path / "run", "steps=60", "save_every=60", "log_every=7", tensorboard=True)
    assert (tmp_path / "run" / "done").read_text() == (unbroken / "done").read_text()


def test_longer(tiny, tmp_path):
    """A run extended from where it ended is the run that was made that long."""
    cadence = "save_every=15", "log_every=4"
    tiny.train(tmp_path / "long", "steps=40", *cadence)
    tiny.train(tmp_path / "run", "steps=27", *cadence)
    with pytest.raises(Mistake, match="steps is 27 there, 40 asked"):
        tiny.train(tmp_path / "run", "steps=40", *cadence)
    with pytest.raises(Mistake, match="seed is 0 there, 1 asked"):
        tiny.train(tmp_path / "run", "steps=40", "seed=1", *cadence, extend=True)
    assert (tmp_path / "run" / "done").exists()
    tiny.train(tmp_path / "run", "steps=40", *cadence, extend=True)
    assert_same(tmp_path / "long", tmp_path / "run")
    with pytest.raises(Mistake, match="steps is 40 there, 27 asked"):
        tiny.train(tmp_path / "run", "steps=27", *cadence, extend=True)


def test_another_seed_is_another_run(tiny, unbroken, tmp_path):
    tiny.train(tmp_path / "run", "seed=1", *USUAL)
    first, other = (json.loads((folder / "log.jsonl").read_text().splitlines()[0]) for folder in (unbroken, tmp_path / "run"))
    assert first.keys() == other.keys() and first != other


# Killed


def rows(folder: Path) -> int:
    """How many whole rows the log has."""
    path = folder / "log.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(child, folder: Path, count: int) -> None:
    """Wait until the log has that many rows, or the child has ended."""
    while rows(folder) < count and child.alive():
        time.sleep(0.001)


def assert_whole(folder: Path) -> None:
    """Every checkpoint can be read to its last tensor."""
    for path in run.checkpoints(folder):
        saved = torch.load(path, weights_only=True)
        assert saved["step"] == int(path.stem) and run.digest(saved["parts"])


def test_killed_at_random_moments(tiny, room, launch, tmp_path):
    """Every kill comes a few rows, and then a moment, after the process took over, so that it lands in training, logging,
    saving or painting."""
    tiny.train(tmp_path / "unbroken", *DENSE)
    dice, broken = random.Random(room), tmp_path / "broken"
    for _ in range(12):
        begun = run.checkpoints(broken)[-1:]
        child = launch(*tiny.arguments(broken, *DENSE))
        wait_for(child, broken, (int(begun[0].stem) if begun else 0) + dice.randrange(7))
        time.sleep(dice.choice([0, dice.uniform(0, 0.02), dice.uniform(0, 0.3)]))
        child.signal(signal.SIGKILL)
        said = child.wait()
        assert (said.code, said.err) == (-signal.SIGKILL, "")
        assert_whole(broken)
    assert not (broken / "done").exists()
    assert f"{broken} is done: 50 steps" in launch(*tiny.arguments(broken, *DENSE)).wait().success()
    assert_same(tmp_path / "unbroken", broken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop(tiny, unbroken, launch, tmp_path, number):
    folder = tmp_path / "run"
    child = launch(*tiny.arguments(folder, *USUAL))
    wait_for(child, folder, 2)
    child.signal(number)
    said = child.wait()
    step = int(run.checkpoints(folder)[-1].stem)
    assert said.code == 130 and 10 <= step < 60
    assert said.err == f"stopped and saved at step {step}; the same command goes on from there\n"
    launch(*tiny.arguments(folder, *USUAL)).wait().success()
    assert_same(unbroken, folder)
    said = launch(*tiny.arguments(folder, *USUAL)).wait()
    assert "60 steps (nothing was left to do)" in said.success()
    assert_same(unbroken, folder)

"""Two processes with half the batch each do what one does with the whole,
through the command line and gloo."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from commands import Said
from tiny import Tiny

from simulacra.core import config, run
from simulacra.core.errors import Mistake

SETTINGS = "steps=4", "save_every=4", "log_every=1"
# between logged numbers, which rounding moves by 0.0011 on one kind of processor; weights are held
# to 1e-3
LOOSE = 3e-3
HOME = Path(config.__file__).parents[2]


def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def together(arguments: list[str], count: int = 2) -> list[Said]:
    """How the command line ended in each of the processes that torchrun would start."""
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port()),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "simulacra", *arguments]
    started = []
    for rank in range(count):
        env = {
            **os.environ,
            **shared,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "PYTHONPATH": str(HOME),
        }
        started.append(
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    said = [process.communicate(timeout=300) for process in started]
    return [Said(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


def without_batch_statistics(model_name: str) -> list[str]:
    """Changes that switch off what sees only a process's own half: batch normalisation."""
    hints = get_type_hints(config.model(model_name).Hyper)
    kinds = {name: get_args(kind) for name, kind in hints.items() if get_origin(kind) is Literal}
    return [
        f"hyper.{name}=none"
        for name, values in kinds.items()
        if name.startswith("norm") and "none" in values
    ]


def vectors(parts: dict[str, dict]) -> dict[str, torch.Tensor]:
    """Every module's numbers as one vector,
    and every optimizer's as one for each kind (means of gradients, of squares)."""
    found: dict[str, list[torch.Tensor]] = {}
    for name, part in parts.items():
        memory = part.get("state", {}) if "param_groups" in part else {"": part}
        for numbers in memory.values():
            for kind, value in numbers.items():
                key = f"{name} {kind}" if "param_groups" in part else name
                found.setdefault(key, []).append(value.double().flatten())
    return {key: torch.cat(values) for key, values in found.items() if values}


def apart(one: torch.Tensor, two: torch.Tensor) -> float:
    """The distance of two vectors relative to their length."""
    return float((one - two).norm() / (one.norm() + two.norm()).clamp_min(1e-30))


def test_two_halves_are_a_whole(tiny, model_name, tmp_path):
    changes = [*SETTINGS, *without_batch_statistics(model_name)]
    if model_name == "world_controller":
        changes.append("data.start=any")  # one held-out sequence cannot be shared by two
    if model_name == "projected_gan":
        changes.append("hyper.rate_G=2e-4")  # at the preset's, rounding grows
    tiny.train(tmp_path / "one", *changes)
    first, second = together(tiny.arguments(tmp_path / "two", *changes))
    assert f"{tmp_path / 'two'} is done" in first.success() and second.success() == ""
    saved = [
        torch.load(run.checkpoints(tmp_path / name)[-1], weights_only=True)["parts"]
        for name in ("one", "two")
    ]
    one, two = map(vectors, saved)
    assert one.keys() == two.keys()
    far = {name: apart(one[name], two[name]) for name in one}
    assert max(far.values()) < 1e-3, max(far, key=far.get)
    rows, others = (run.read_rows(tmp_path / name / "log.jsonl") for name in ("one", "two"))
    assert len(rows) == len(others) == 4
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=LOOSE), (
            "Adam's first steps turn rounding into steps"
        )


def test_a_mistake_of_the_first_process_ends_all(tiny, model_name, tmp_path):
    if model_name != config.models()[0]:
        pytest.skip("one model is enough")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("")
    for said in together(tiny.arguments(tmp_path / "run", *SETTINGS)):
        assert "holds thesis.tex and no run" in said.refusal()


def test_a_batch_that_cannot_be_shared(simulacra, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = simulacra(
        "train", "ebgan_digits", "--preset", "tiny", "--set", "batch=15", "--run", tmp_path / "run"
    )
    assert "batch = 15 cannot be shared equally by 2 processes" in said.refusal()
    assert not (tmp_path / "run").exists()


def two_nodes(arguments: list[str]) -> list[Said]:
    """How two agents of torchrun ended that find each other, each with one process: as on two
    machines."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}
    meets = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port()}", "--rdzv-id", "one"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", *meets]
    command += ["--nproc-per-node", "1", "--local-addr", "127.0.0.1", "-m", "--", "simulacra"]
    command += arguments
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, env=env, **pipes) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in started]
    return [Said(process.returncode, *texts) for process, texts in zip(started, said, strict=True)]


def test_two_nodes_are_one_training_that_one_process_can_go_on_with(tmp_path):
    """Two torchruns with a rendezvous do what one process does; one process goes on with their run
    where nothing in it depends on how many there are, and is refused where something does."""
    tiny = Tiny("ebgan_digits", ("hyper.norm_G=none",))
    for said in two_nodes(tiny.arguments(tmp_path / "two", *SETTINGS)):
        assert said.code == 0, said.err
    tiny.train(tmp_path / "one", *SETTINGS)
    saved = [
        vectors(torch.load(run.checkpoints(tmp_path / name)[-1], weights_only=True)["parts"])
        for name in ("one", "two")
    ]
    assert max(apart(saved[0][name], saved[1][name]) for name in saved[0]) < 1e-3
    assert run.starts(tmp_path / "two")[-1]["processes"] == 2
    notes: list[str] = []
    longer = "steps=6", *SETTINGS[1:]
    tiny.train(tmp_path / "two", *longer, extend=True, notify=notes.append)
    assert [note for note in notes if note.startswith("processes = 1, where 2 were at work")]

    normed = Tiny("ebgan_digits")
    normed.train(tmp_path / "normed", *SETTINGS)
    start = run.starts(tmp_path / "normed")[-1] | {"processes": 2}
    run.write_text(tmp_path / "normed" / "machine.json", json.dumps([start]))
    with pytest.raises(Mistake, match=r"trained by 2 processes.*hyper\.norm_G = batch.*allowed: 2"):
        normed.train(tmp_path / "normed", *longer, extend=True)

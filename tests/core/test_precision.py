"""bfloat16, compiled nets and the device: options that change no config and no bit while they are
off."""

import pytest
import torch
from tiny import Tiny
from torch import nn

from simulacra.core import config, precision, run
from simulacra.core.errors import Mistake
from simulacra.core.load import chosen_device

VAE = Tiny("vae_mnist", ("data.name=digits",))
SHORT = "steps=2", "save_every=2", "log_every=1"


def test_configs_of_before_keep_their_hashes():
    """Off, the keys are nowhere; on, they are part of the config."""
    checked = VAE.config()
    plain = config.plain(checked)
    assert not {"autocast", "compile"} & set(plain) and not checked.autocast
    on = config.plain(VAE.config("autocast=true", "compile=true"))
    assert run.differences(plain, on) == {
        "autocast": ("absent", True), "compile": ("absent", True),
    }  # fmt: skip
    assert run.digest(on) != run.digest(plain)


def test_steps_are_cast_where_that_is_asked_for(tmp_path, monkeypatch):
    """A matrix product inside a step is bfloat16, weights stay float32, the run is another one."""
    kinds, linear = set(), nn.functional.linear
    monkeypatch.setattr(
        nn.functional, "linear", lambda *a: kinds.add((found := linear(*a)).dtype) or found
    )
    VAE.train(tmp_path / "plain", *SHORT)
    assert kinds == {torch.float32}
    kinds.clear()
    VAE.train(tmp_path / "cast", *SHORT, "autocast=true")
    assert torch.bfloat16 in kinds
    done = [(tmp_path / name / "done").read_text() for name in ("plain", "cast")]
    assert done[0] != done[1]
    one, two = (run.read_rows(tmp_path / name / "log.jsonl")[-1] for name in ("plain", "cast"))
    assert one["loss"] == pytest.approx(two["loss"], rel=0.05) and one["loss"] != two["loss"]
    saved = torch.load(run.checkpoints(tmp_path / "cast")[-1], weights_only=True)["parts"]
    assert {t.dtype for t in saved["net"].values()} == {torch.float32}
    with pytest.raises(Mistake, match="autocast is absent there, True asked"):
        VAE.train(tmp_path / "plain", *SHORT, "autocast=true")


def test_nets_are_compiled_where_that_is_asked_for(tmp_path, monkeypatch):
    """By a compiler that leaves the operations as they are: the same weights under the same names,
    and an open run goes on without it."""
    compiled, compile_net = [], nn.Module.compile

    def eager(net):
        compiled.append(net)
        compile_net(net, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", eager)
    VAE.train(tmp_path / "plain", *SHORT)
    assert not compiled
    VAE.train(tmp_path / "compiled", *SHORT, "compile=true")
    assert compiled
    done = [(tmp_path / name / "done").read_text() for name in ("plain", "compiled")]
    assert done[0] == done[1]


def test_a_penalty_on_a_gradient_is_not_compiled():
    with pytest.raises(Mistake, match="allowed: compile = false"), precision.compilable(True):
        raise RuntimeError("torch.compile does not currently support double backward")
    with pytest.raises(RuntimeError), precision.compilable(False):
        raise RuntimeError("torch.compile does not currently support double backward")


@pytest.mark.parametrize(("gpus", "found"), [(0, "cpu"), (1, "cuda"), (4, "cuda:3")])
def test_auto_takes_the_best_device_and_each_process_its_own(monkeypatch, gpus, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch, "zeros", lambda *size, device: None)
    monkeypatch.setenv("LOCAL_RANK", "7")
    assert str(chosen_device("auto")) == found

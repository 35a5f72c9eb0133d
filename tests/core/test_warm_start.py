"""A new run begins with another run's weights:
which, from where, and what is refused before a folder is made."""

import json
import shutil

import pytest
import torch
from tiny import Tiny, assert_same, equal

from simulacra.core import config, run
from simulacra.core.errors import Mistake
from simulacra.core.load import build, reopen
from simulacra.tasks.train import train

SHORT = "steps=4", "save_every=2", "log_every=1"
GAN, VAE = Tiny("gan_digits", SHORT), Tiny("vae_mnist", ("data.name=digits", *SHORT))
GOES_ON = Tiny("vaegan_mnist", ("data.name=digits", *SHORT))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A finished run of gan."""
    folder = tmp_path_factory.mktemp("gan") / "first"
    GAN.train(folder)
    return folder


def parts_of(folder, which=-1):
    """What is in a checkpoint."""
    return run.contents(run.checkpoints(folder)[which])["parts"]


def test_all_nets_and_averages_are_taken_and_optimizers_are_new(first, tmp_path):
    said = []
    GAN.train(
        tmp_path / "second",
        f"init_from={first}",
        "hyper.rate_G=0.0",
        "hyper.rate_D=0.0",
        "steps=1",
        notify=said.append,
    )
    there, here = parts_of(first), parts_of(tmp_path / "second")
    assert all(equal(there[name], here[name]) for name in ("G", "D"))
    assert said == [
        f"begins with the weights of {first} at step 4: G, D, average; new: opt_G, opt_D"
    ]
    assert all(state["step"] == 1 for state in here["opt_G"]["state"].values())
    start = json.loads((tmp_path / "second" / "machine.json").read_text())[0]
    assert (start["init_from"]["run"], start["init_from"]["step"]) == (str(first), 4)


def test_it_is_broken_and_moved_as_any_other(first, tmp_path):
    """The old run is needed at the first start alone."""
    old = shutil.copytree(first, tmp_path / "old")
    for name in "one", "two":
        GAN.train(tmp_path / name, f"init_from={old}")
    shutil.rmtree(old)
    run.checkpoints(tmp_path / "two")[-1].unlink()
    (tmp_path / "two" / "done").unlink()
    GAN.train(tmp_path / "two", f"init_from={old}")
    assert_same(tmp_path / "one", tmp_path / "two")
    assert reopen(tmp_path / "two", None).step == 4
    assert not equal(parts_of(tmp_path / "one"), parts_of(first))


def refusal(tiny, tmp_path, *changes):
    with pytest.raises(Mistake) as refused:
        tiny.train(tmp_path / "new", *changes)
    assert not (tmp_path / "new").exists(), "before a folder is made"
    assert str(refused.value).startswith("init_from = ")
    return str(refused.value)


def test_what_is_refused(first, tmp_path):
    assert "no run folder" in refusal(GAN, tmp_path, f"init_from={tmp_path / 'nowhere'}")
    (tmp_path / "empty").mkdir()
    assert "is no run folder" in refusal(GAN, tmp_path, f"init_from={tmp_path / 'empty'}")
    bare = shutil.copytree(first, tmp_path / "bare")
    shutil.rmtree(bare / "checkpoints")
    assert "has no checkpoint yet" in refusal(GAN, tmp_path, f"init_from={bare}")
    assert "is a run of model gan; allowed: model vae" in refusal(
        VAE, tmp_path, f"init_from={first}"
    )
    text = refusal(GAN, tmp_path, f"init_from={first}", "hyper.z_size=5")
    assert "part G has another shape: " in text and "in the run" in text
    damaged = shutil.copytree(first, tmp_path / "damaged")
    path = run.checkpoints(damaged)[-1]
    path.write_bytes(path.read_bytes()[:-100])
    assert "damaged checkpoint" in refusal(GAN, tmp_path, f"init_from={damaged}")
    text = refusal(GAN, tmp_path, f"init_from={tmp_path / 'new'}")
    assert "the run folder itself" in text


def test_from_a_packed_run(simulacra, first, tmp_path):
    """Its average is the last weights too; what it has not is new."""
    simulacra("export", first, "-o", tmp_path / "packed").success()
    said = []
    still = "hyper.rate_G=0.0", "hyper.rate_D=0.0", "steps=1"
    GAN.train(tmp_path / "second", f"init_from={tmp_path / 'packed'}", *still, notify=said.append)
    there, here = parts_of(first), parts_of(tmp_path / "second")
    assert equal(dict(here["G"]), dict(there["average"])) and not equal(
        dict(here["D"]), dict(there["D"])
    )
    assert "at step 4: average; new: G, D, opt_G, opt_D" in said[0]


def test_the_older_name(tmp_path):
    """hyper.begin is init_from: in TOML, --set and old config.json;
    and runs of it open and go on."""
    VAE.train(tmp_path / "vae")
    named = GOES_ON.config(f"hyper.begin={tmp_path / 'vae'}")
    assert named == GOES_ON.config(f"init_from={tmp_path / 'vae'}") and named.init_from == str(
        tmp_path / "vae"
    )
    assert GOES_ON.config("hyper.begin=").init_from == ""
    for name in "one", "old":
        GOES_ON.train(tmp_path / name, f"init_from={tmp_path / 'vae'}")
    plain = json.loads((tmp_path / "old" / "config.json").read_text())
    plain["hyper"]["begin"] = plain.pop("init_from")
    (tmp_path / "old" / "config.json").write_text(json.dumps(plain))
    assert reopen(tmp_path / "old", None).config.init_from == str(tmp_path / "vae")
    run.checkpoints(tmp_path / "old")[-1].unlink()
    (tmp_path / "old" / "done").unlink()
    train(config.resolve(str(tmp_path / "old")), tmp_path / "old", None)
    GOES_ON.train(tmp_path / "old", f"hyper.begin={tmp_path / 'vae'}")
    assert_same(tmp_path / "one", tmp_path / "old")
    toml = tmp_path / "mine.toml"
    toml.write_text('base = "vaegan_mnist"\ninit_from = "a"\n[hyper]\nbegin = "b"\n')
    with pytest.raises(
        Mistake,
        match=r"hyper\.begin = 'b', the older name of init_from, "
        "and init_from = 'a'; allowed: one of them",
    ):
        config.resolve(str(toml), "tiny")
    assert config.resolve(str(tmp_path / "old"), None, ["hyper.begin=c"]).init_from == "c"
    with pytest.raises(Mistake, match=r"unknown key hyper\.begin"):
        GAN.config("hyper.begin=x")


MODEL = """
import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, hyper, like):
        super().__init__()
        self.net, self.head = nn.Linear(784, 784), nn.Linear(784, WIDTH)
        self.scale = nn.Parameter(torch.ones(()))
        self.opt = torch.optim.SGD(self.parameters(), 0.1)

    def step(self, batch, k):
        loss = self.head(self.scale * self.net(batch["image"].flatten(1))).square().mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return {"loss": loss}

    def sample(self, batch):
        return {"samples": self.net(batch["image"].flatten(1)).view_as(batch["image"])}
"""


def test_a_model_from_outside_says_what_it_takes(tmp_path):
    """Also after its source was edited, and without running the old one."""
    toml = tmp_path / "mine.toml"
    toml.write_text(
        'model = "mine.py"\nbatch = 4\nsteps = 2\n[data]\nname = "digits"\n[preset.laptop]\n'
    )
    source = tmp_path / "mine.py"
    source.write_text(MODEL.replace("WIDTH", "3"))
    train(config.resolve(str(toml)), tmp_path / "old", None)
    from_old = [f"init_from={tmp_path / 'old'}"]
    source.write_text(MODEL.replace("WIDTH", "4"))
    with pytest.raises(
        Mistake,
        match=r"part head has another shape: "
        r"weight is \(3, 784\) in the run, \(4, 784\) in this config",
    ):
        train(config.resolve(str(toml), None, from_old), tmp_path / "new", None)
    source.write_text(
        MODEL.replace("WIDTH", "4").replace(
            "Module):", "Module):\n    INIT_PARTS = 'net', 'scale'\n", 1
        )
    )
    said = []
    train(config.resolve(str(toml), None, from_old), tmp_path / "new", None, notify=said.append)
    assert said == [
        f"begins with the weights of {tmp_path / 'old'} at step 2: net, scale; new: opt, head"
    ]


def test_every_model_can_be_begun_from_itself(model_name, trained, tmp_path):
    """And then has the weights that one looks at."""
    checked = config.resolve(str(trained), None, [f"init_from={trained}"])
    from simulacra.core.warm_start import begin

    model = build(checked, run.like_of(trained, 2), torch.device("cpu"))
    begun = begin(checked, model, tmp_path / "new", torch.device("cpu"))
    there = reopen(trained, None).model
    taken = [name for name in begun.record["parts"] if name in ("average", "G", "Gf", "search")]
    assert taken and all(
        equal(
            run.states(model)[name]["mean"] if name == "search" else dict(run.states(model)[name]),
            run.states(there)[name]["mean"] if name == "search" else dict(run.states(there)[name]),
        )
        for name in taken
    )

"""Models as most people would write one:
nothing they learn or count is lost, or building them says what would be."""

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from core.test_distributed import together
from tiny import assert_same, equal, scribble

import simulacra as simulacra_face
from simulacra.core import config, external, parts, run
from simulacra.core.errors import Mistake
from simulacra.core.load import build, reopen
from simulacra.io import paint
from simulacra.tasks.export import export
from simulacra.tasks.train import train

CPU = torch.device("cpu")
HEAD = """
import collections, copy, random
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


def net():
    first = [nn.Flatten(), nn.Linear(784, 4), nn.BatchNorm1d(4)]
    return nn.Sequential(*first, nn.Linear(4, 784), nn.Tanh())


def moved(out, x, *optimizers):
    loss = F.mse_loss(out.view_as(x), x)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss


class Plain:
    def step(self, batch, k):
        return {"loss": moved(self.net(batch["image"]), batch["image"], self.opt)}

    def sample(self, batch):
        return {"samples": self.net(batch["image"]).view_as(batch["image"])}
"""
MADE = (
    "        self.net = net()\n"
    "        self.opt = torch.optim.Adam(self.net.parameters(), lr=1e-2)\n"
)
INIT = "    def __init__(self, hyper, like):\n"
STEP = "    def step(self, batch, k):\n        x = batch['image']\n"
BASE = "class Model(Plain):\n" + INIT + MADE
MODULE = "class Model(nn.Module, Plain):\n" + INIT + "        super().__init__()\n"

WHOLE = {
    "a module": MODULE + MADE,
    "a module with parameters and buffers of its own": MODULE
    + MADE.replace("self.net.parameters()", "[*self.net.parameters(), self.scale]").replace(
        "self.opt",
        "self.scale = nn.Parameter(torch.ones(3))\n        self.register_buffer('seen', "
        "torch.zeros(()))\n        self.opt",
    )
    + STEP
    + "        self.seen += len(x)\n"
    + "        return {'loss': moved(self.net(x) * self.scale.mean(), x, self.opt), 'seen': "
    "self.seen}\n",
    "a list of nets": BASE.replace("self.net = net()", "self.nets = [net(), net()]").replace(
        "self.net.", "self.nets[0]."
    )
    + "        self.opts = [self.opt, torch.optim.SGD(self.nets[1].parameters(), lr=0.1, "
    "momentum=0.9)]\n        del self.opt\n"
    + STEP
    + "        return {'loss': moved(self.nets[1](x) + self.nets[0](x), x, *self.opts)}\n"
    + "    def sample(self, batch):\n        return {'samples': "
    "self.nets[0](batch['image']).view_as(batch['image'])}\n",
    "a dict of nets": BASE.replace("self.net = net()", "self.nets = {'G': net()}").replace(
        "self.net.", "self.nets['G']."
    )
    + STEP
    + "        return {'loss': moved(self.nets['G'](x), x, self.opt)}\n"
    + "    def sample(self, batch):\n        return {'samples': "
    "self.nets['G'](batch['image']).view_as(batch['image'])}\n",
    "a shared module": BASE + "        self.generator = self.net\n"
    "        self.both = [self.net, nn.Sequential(self.net)]\n",
    "a tensor that learns": BASE.replace(
        "self.net.parameters()", "[*self.net.parameters(), self.scale]"
    ).replace("self.opt", "self.scale = torch.ones(3, requires_grad=True)\n        self.opt")
    + STEP
    + "        return {'loss': moved(self.net(x) * self.scale.mean(), x, self.opt)}\n",
    "an average, a schedule, a scaler": BASE
    + "        self.ema = copy.deepcopy(self.net)\n"
    + "        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, 20)\n"
    + "        self.steps = torch.optim.lr_scheduler.MultiStepLR(self.opt, [3, 5])\n"
    + "        self.scaler = torch.amp.GradScaler('cpu', enabled=False)\n"
    + STEP
    + "        loss = moved(self.net(x), x, self.opt)\n        self.schedule.step()\n        "
    "self.steps.step()\n"
    + "        for a, b in zip(self.ema.parameters(), self.net.parameters()):\n            "
    "a.data.lerp_(b.data, 0.1)\n"
    + "        return {'loss': loss, 'rate': self.opt.param_groups[0]['lr']}\n",
    "counters, histories, pools, generators": BASE
    + "        self.n, self.best, self.mean = 0, float('inf'), torch.zeros(())\n"
    + "        self.history = []\n"
    + "        self.recent, self.told = collections.deque(maxlen=3), "
    "collections.defaultdict(list)\n"
    + "        self.rng, self.numpy = torch.Generator().manual_seed(3), np.random.default_rng(3)\n"
    + "        self.python = random.Random(3)\n"
    + "        self.counts, self.pool = np.zeros(3), Pool()\n"
    + STEP
    + "        self.n += 1\n        self.recent.append(self.n)\n        self.counts[self.n % 3] += "
    "1\n" + "        noise = torch.randn((), generator=self.rng) + self.numpy.normal() + "
    "self.python.random()\n"
    + "        loss = moved(self.net(x) * (1 + 0.01 * noise * self.n) + self.pool.mean(), x, "
    "self.opt)\n"
    + "        self.best, self.mean = min(self.best, loss.item()), 0.9 * self.mean + 0.1 * "
    "loss.detach()\n"
    + "        self.history.append(loss.item())\n        self.told['loss'].append(loss.item())\n"
    + "        self.pool.add(x)\n"
    + "        return {'loss': loss.item(), 'n': self.n, 'mean': self.mean, 'counts': "
    "float(self.counts[0]),\n"
    + "                'recent': sum(self.recent), 'told': len(self.told['loss'])}\n"
    + "class Pool:\n    def __init__(self):\n        self.images = []\n"
    + "    def mean(self):\n        return sum(image.mean() for image in self.images) * 0.01\n"
    + "    def add(self, x):\n        self.images = [*self.images, x[:2]][-3:]\n",
    "chance of Python and numpy": BASE
    + STEP
    + "        noise = random.random() + np.random.rand()\n"
    + "        return {'loss': moved(self.net(x) * noise, x, self.opt), 'noise': noise}\n",
    "what modules remember by themselves": BASE.replace("net()", "nn.Sequential(net(), Counting())")
    + STEP
    + "        return {'loss': moved(self.net(x), x, self.opt)}\n"
    + "class Counting(nn.Module):\n    def __init__(self):\n        super().__init__()\n        "
    "self.seen = 0\n"
    + "        self.register_buffer('mean', torch.zeros(()), persistent=False)\n"
    + "    def forward(self, y):\n        if self.training:\n            self.seen += 1\n"
    + "            self.mean = 0.5 * self.mean + 0.5 * y.mean().detach()\n"
    + "        return y * (1 + self.mean) / (1 + self.seen)\n",
    "objects in lists and tables": BASE
    + "        self.pools, self.named = [Pool(), Pool()], {'a': Pool()}\n"
    + "        self.old = np.random.RandomState(3)\n"
    + STEP
    + "        pool = self.pools[k % 2]\n        pool.n += 1\n        self.named['a'].n += "
    "self.old.rand()\n"
    + "        return {'loss': moved(self.net(x) / (1 + pool.n + self.named['a'].n), x, "
    "self.opt)}\n" + "class Pool:\n    def __init__(self):\n        self.n = 0\n",
    "a counter that turns rarely": BASE
    + "        self.turns = 0\n"
    + STEP
    + "        self.turns += k % 4 == 3\n"
    + "        return {'loss': moved(self.net(x), x / (1 + self.turns), self.opt)}\n",
    "an average of its own making": BASE
    + "        self.ema = EMA(self.net)\n"
    + STEP
    + "        loss = moved(self.net(x), x, self.opt)\n        self.ema.update(self.net)\n"
    + "        return {'loss': loss, 'average': self.ema.shadow['1.bias'].sum()}\n"
    + "class EMA:\n    def __init__(self, net):\n"
    + "        self.shadow = {name: w.detach().clone() for name, w in net.named_parameters()}\n"
    + "    def update(self, net):\n        for name, w in net.named_parameters():\n"
    + "            self.shadow[name] = self.shadow[name] * 0.9 + w.detach() * 0.1\n",
    "hyperparameters in a dataclass": "from dataclasses import dataclass, "
    "field\n@dataclass(frozen=True)\nclass Hyper:\n"
    + "    rate: float = 1e-2\n    widths: tuple[int, ...] = (4, 5)\n    more: list[int] = "
    "field(default_factory=list)\n"
    + BASE.replace("lr=1e-2", "lr=hyper.rate * (hyper == Hyper(hyper.rate))"),
    "hyperparameters that it changes": "import msgspec\nclass Hyper(msgspec.Struct):\n    rate: "
    "float = 1e-2\n" + BASE + "        hyper.rate = 7.0\n",
}
LOST = {
    "an optimizer in a closure": (
        BASE
        + "        other = net()\n        self.opt2 = torch.optim.Adam(other.parameters())\n       "
        " self.go = lambda: other\n",
        "optimizer opt2 moves a weight of shape (4, 784) that is in no part",
    ),
    "a net in an object": (
        BASE + "        self.trainer = Trainer()\nclass Trainer:\n    def __init__(self):\n        "
        "self.net = net()\n",
        "module trainer.net has a weight of shape (4, 784) that is in no part",
    ),
    "an optimizer in an object": (
        BASE
        + "        self.trainer = Trainer(self.net)\nclass Trainer:\n    def __init__(self, net):\n"
        "        self.opt = torch.optim.Adam(net.parameters())\n",
        "optimizer trainer.opt is in no part",
    ),
    "an optimizer that only its schedule knows": (
        BASE + "        self.rate = "
        "torch.optim.lr_scheduler.ExponentialLR(torch.optim.SGD(self.net.parameters(), 0.1), "
        "0.9)\n",
        "optimizer rate.optimizer is in no part",
    ),
    "nets in a list of a module": (
        MODULE + MADE + "        self.net.extra = [nn.Linear(2, 3)]\n",
        "module net.extra.0 has a weight of shape (3, 2) that is in no part",
    ),
    "no sample": (
        "class Model:\n" + INIT + "        pass\n" + STEP,
        "its Model has no method sample",
    ),
}
LATE = {
    "what a slotted class holds": (
        "import dataclasses\n@dataclasses.dataclass(slots=True)\nclass Nets:\n    net: object\n    "
        "opt: object\n"
        + BASE.replace("net()", "nn.Identity()").replace(
            "self.net.parameters()", "[nn.Parameter(torch.ones(1))]"
        )
        + "        del self.opt\n        made = net()\n"
        + "        self.nets = Nets(made, torch.optim.Adam(made.parameters()))\n"
        + STEP
        + "        return {'loss': moved(self.nets.net(x), x, self.nets.opt)}\n",
        "an optimizer (Adam) is in no part",
    ),
    "a net in a closure": (
        BASE
        + "        made = net()\n        opt = torch.optim.Adam(made.parameters())\n"
        + "        self.moved = lambda x: moved(made(x), x, opt)\n"
        + STEP
        + "        return {'loss': self.moved(x)}\n",
        "an optimizer (Adam) is in no part",
    ),
    "a group added in a step": (
        BASE
        + STEP
        + "        if k == 0:\n            self.net.more = nn.Linear(2, 2)\n"
        + "            self.opt.add_param_group({'params': list(self.net.more.parameters())})\n"
        + "        return {'loss': moved(self.net[:5](x), x, self.opt)}\n",
        "a step changes which weights opt moves",
    ),
    "an optimizer made in a step": (
        BASE + STEP + "        self.late = torch.optim.SGD(self.net.parameters(), 0.1)\n"
        "        return {'loss': moved(self.net(x), x, self.opt)}\n",
        "makes or drops the part late",
    ),
    "a frozen net that a step moves": (
        BASE + "        self.ema = EMA()\n" + STEP + "        self.ema.net[1].bias += 1\n"
        "        return {'loss': moved(self.net(x), x, self.opt)}\n"
        "class EMA:\n    def __init__(self):\n        self.net = net().requires_grad_(False)\n",
        "a step changes the module ema.net",
    ),
    "a loss for each picture": (
        BASE + STEP + "        return {'loss': x.mean((1, 2, 3))}\n",
        "shape (4,) as 'loss'; allowed: one number",
    ),
    "no loss": (
        BASE + STEP + "        moved(self.net(x), x, self.opt)\n",
        "step returned nothing; wanted: step(batch, k) -> a dict of names and numbers to log",
    ),
}


def written(folder: Path, source: str) -> Path:
    """A config beside the model's file."""
    (folder / "mine.py").write_text(HEAD + source)
    toml = (
        'model = "mine.py"\nbatch = 4\nsteps = 8\nlog_every = 1\nsave_every = 4\n'
        '[data]\nname = "digits"\n[preset.laptop]\n'
    )
    (folder / "mine.toml").write_text(toml)
    return folder / "mine.toml"


def trained(toml: Path, folder: Path, *changes: str, stop: int = 0, said: list[str] | None = None):
    """Train it, to the end or until Ctrl-C at a step."""

    def tick(step, row):
        if step == stop:
            os.kill(os.getpid(), signal.SIGINT)

    checked = config.resolve(str(toml), None, list(changes))
    with mock.patch.object(paint, "curves", scribble):
        return train(
            checked, folder, None, tick=tick, notify=(said if said is not None else []).append
        )


@pytest.mark.parametrize("case", WHOLE)
def test_nothing_is_lost(tmp_path, case):
    """Broken and unbroken end with the same bits, and what is reopened is what was trained."""
    toml, said = written(tmp_path, WHOLE[case]), []
    trained(toml, tmp_path / "one", said=said)
    assert trained(toml, tmp_path / "two", stop=5).step == 5
    trained(toml, tmp_path / "two")
    assert_same(tmp_path / "one", tmp_path / "two")
    opened = reopen(tmp_path / "two", None)
    assert (
        run.digest(run.states(opened.model))
        == json.loads((tmp_path / "one" / "done").read_text())["weights"]
    )
    saved = run.contents(run.checkpoints(tmp_path / "one")[-1])["parts"]
    tensors = [
        name
        for name, state in saved.items()
        for one in state.values()
        if isinstance(one, torch.Tensor)
    ]
    assert len(tensors) >= 4 and not said, "weights are in it, not the optimizer alone"


@pytest.mark.parametrize("case", LOST)
def test_what_would_be_lost_is_refused(tmp_path, case):
    source, words = LOST[case]
    with pytest.raises(Mistake) as refused:
        trained(written(tmp_path, source), tmp_path / "run")
    assert words in str(refused.value) and "model mine.py@" in str(refused.value)
    assert not (tmp_path / "run").exists(), "before a folder is made"


@pytest.mark.parametrize("case", LATE)
def test_what_shows_at_the_first_step_is_refused_there(tmp_path, case):
    source, words = LATE[case]
    with pytest.raises(Mistake, match="step") as refused:
        trained(written(tmp_path, source), tmp_path / "run")
    assert words in str(refused.value) and not run.checkpoints(tmp_path / "run")


@pytest.mark.parametrize(
    ("path", "made", "step"),
    [
        ("thing", "self.thing = (lambda: 0)", "self.thing = (lambda: k)"),
        ("count", "import itertools; self.count = itertools.count()", "next(self.count)"),
        ("box", "import types; self.box = types.SimpleNamespace(n=0)", "self.box.n += k % 3 == 1"),
        ("which weights learn", "pass", "self.net[1].weight.requires_grad_(k < 5)"),
        ("Model.turns", "Model.turns = 0", "Model.turns += 1"),
        ("TURNS of its file", "global TURNS; TURNS = [0]", "TURNS[0] += k % 3 == 1"),
    ],
)
def test_what_no_checkpoint_can_hold_is_said_once(tmp_path, path, made, step):
    source = BASE + f"        {made}\n" + STEP + f"        {step}\n"
    said = []
    trained(
        written(tmp_path, source + "        return {'loss': moved(self.net(x), x, self.opt)}\n"),
        tmp_path / "run",
        said=said,
    )
    assert len(said) == 1 and said[0].startswith(
        f"steps change {path}, which no checkpoint can hold"
    )


def test_a_forgotten_optimizer_is_said_once(tmp_path):
    """Not where weights were put aside on purpose, and not of weights that no loss reaches."""
    aside = "        self.still = net().requires_grad_(False)\n        self.idle = net()\n"
    lacking = "        self.head = net()\n"
    step = STEP + "        y = self.net(x) + self.still(x){}\n"
    step += "        return {{'loss': moved(y, x, self.opt)}}\n"
    for source, more, wanted in (aside, "", []), (aside + lacking, " + self.head(x)", ["head"]):
        said = []
        folder = tmp_path / (wanted or ["none"])[0]
        folder.mkdir()
        trained(written(folder, BASE + source + step.format(more)), folder / "run", said=said)
        assert [line.partition(".")[0] for line in said] == [
            f"the loss reaches {w}" for w in wanted
        ]


def test_states_that_could_not_be_loaded_are_refused_before_training(tmp_path):
    source = (
        BASE
        + "        self.odd = Odd()\nclass Odd:\n    def state_dict(self):\n        return {'odd': "
        "Odd()}\n"
    )
    with pytest.raises(Mistake, match=r"the state of part 'odd' holds .*Odd.* never loaded"):
        trained(
            written(tmp_path, source + "    def load_state_dict(self, state):\n        pass\n"),
            tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_changed_hyperparameters_do_not_reach_the_config(tmp_path):
    trained(written(tmp_path, WHOLE["hyperparameters that it changes"]), tmp_path / "run")
    assert run.config_of(tmp_path / "run")["hyper"] == {"rate": 0.01}


@pytest.mark.parametrize(
    "case", ["hyperparameters in a dataclass", "hyperparameters that it changes", "a module"]
)
def test_hyperparameters_are_checked(tmp_path, case):
    with pytest.raises(Mistake, match=r"unknown key hyper\.rat"):
        trained(written(tmp_path, WHOLE[case]), tmp_path / "run", "hyper.rat=3")
    if case != "a module":
        with pytest.raises(Mistake, match=r"hyper\.rate = 'x': expected"):
            trained(written(tmp_path, WHOLE[case]), tmp_path / "run", "hyper.rate=x")


def test_parts_name_everything(tmp_path):
    toml = written(tmp_path, WHOLE["a module with parameters and buffers of its own"])
    model = build(config.resolve(str(toml)), {"image": torch.zeros(2, 1, 28, 28)}, CPU)
    assert list(parts.parts(model)) == ["opt", "net", "scale", "seen"]
    toml = written(tmp_path, WHOLE["a list of nets"])
    model = build(config.resolve(str(toml)), {"image": torch.zeros(2, 1, 28, 28)}, CPU)
    assert list(parts.parts(model)) == ["nets.0", "nets.1", "opts.0", "opts.1"]


@pytest.mark.parametrize(
    "case", ["a module with parameters and buffers of its own", "a shared module", "a list of nets"]
)
def test_packed_and_unpacked(tmp_path, case):
    """All weights that one looks at, shared ones too."""
    trained(written(tmp_path, WHOLE[case]), tmp_path / "run")
    export(reopen(tmp_path / "run", None), tmp_path / "packed")
    whole, packed = (
        parts.weights(reopen(tmp_path / name, None).model) for name in ("run", "packed")
    )
    assert whole and equal(dict(whole), dict(packed))


@pytest.mark.parametrize("own", [True, False])
def test_processes_that_come_apart_are_told_of(tmp_path, own):
    """A step with a backward of its own averages no gradients; one through descend does."""
    descends = (
        STEP + "        loss = F.mse_loss(self.net(x).view_as(x), x)\n        descend((loss, "
        "self.opt))\n"
    )
    source = (
        "from simulacra.core.optim import descend\n"
        + BASE
        + ("" if own else descends + "        return {'loss': loss}\n")
    )
    toml = written(tmp_path, source)
    said = together(["train", str(toml), "--run", str(tmp_path / "run"), "--no-tensorboard"])
    if own:
        assert (
            "the processes have different weights; allowed: steps that go through descend"
            in said[0].refusal()
        )
    else:
        assert "is done: 8 steps" in said[0].success()


# Where the code is from


def said_path(simulacra, tmp_path, *words):
    """A finished run of a model from a path."""
    return simulacra(
        "train",
        written(tmp_path, WHOLE["a module"]),
        "--run",
        tmp_path / "run",
        "--no-tensorboard",
        *words,
    )


@pytest.fixture
def copied(simulacra, tmp_path):
    """A run whose model's file is gone."""
    said_path(simulacra, tmp_path).success()
    (tmp_path / "mine.py").unlink()
    return tmp_path / "run"


@pytest.mark.parametrize(
    "verb",
    [["sample", "-o", "a.png"], ["paint"], ["measure"], ["export", "-o", "packed"], ["train"]],
)
def test_nobodys_code_runs_unasked(simulacra, copied, tmp_path, monkeypatch, verb):
    """The copy in a run folder is not imported without --trust,
    and with it only if it is the one."""
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "executed"
    model_name = copied / "model.py"
    words = [verb[0], copied, *verb[1:]]
    if verb == ["measure"]:
        words += ["--samples", 20, "--repeats", 2, "--extractor", "pixels"]
    text = simulacra(*words).refusal()
    assert "--trust" in text and "mine.py" in text
    simulacra(*words, "--trust").success()
    assert "--trust" in simulacra(*words).refusal(), "trust ends with the command"
    model_name.write_text(model_name.read_text() + f"\nopen({str(mark)!r}, 'w')\n")
    assert "is not the source" in simulacra(*words, "--trust").refusal()
    model_name.unlink()
    assert "model.py" in simulacra(*words, "--trust").refusal()
    assert not mark.exists()


def test_the_notebook_imports_no_model(simulacra, copied, tmp_path):
    (copied / "model.py").write_text("raise SystemExit('imported')")
    simulacra("notebook", copied, "-o", tmp_path / "book").success()


def test_a_packed_run_brings_its_model(simulacra, copied, tmp_path):
    simulacra("export", copied, "-o", tmp_path / "packed", "--trust").success()
    for folder in copied, tmp_path / "packed":
        simulacra(
            "sample", folder, "-n", 4, "-o", tmp_path / f"{folder.name}.png", "--trust"
        ).success()
    assert (tmp_path / "run.png").read_bytes() == (tmp_path / "packed.png").read_bytes()
    assert (
        "--trust" in simulacra("sample", tmp_path / "packed", "-o", tmp_path / "no.png").refusal()
    )


def test_a_changed_source_is_refused(simulacra, tmp_path):
    said_path(simulacra, tmp_path).success()
    (tmp_path / "run" / "done").unlink()
    said_path(simulacra, tmp_path).success()
    source = (tmp_path / "mine.py").read_text()
    (tmp_path / "mine.py").write_text(source.replace("1e-2", "1e-3"))
    words = ["train", tmp_path / "mine.toml", "--run", tmp_path / "run"]
    text = simulacra(*words).refusal()
    assert "the source of the model mine.py has changed since" in text and "init_from" in text
    (tmp_path / "elsewhere").mkdir()
    for name in "mine.py", "mine.toml":
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "mine.py").write_text(source)
    simulacra("train", tmp_path / "elsewhere" / "mine.toml", "--run", tmp_path / "run").success()


def test_where_a_path_is_looked_for(simulacra, tmp_path, monkeypatch):
    """In the config's own folder, else in the working directory;
    --set in the working directory first."""
    toml = written(tmp_path, WHOLE["a module"])
    (tmp_path / "sub").mkdir()
    shutil.copy(toml, tmp_path / "sub")
    monkeypatch.chdir(tmp_path)
    how = "--no-tensorboard", "--set", "steps=1"
    simulacra("train", "sub/mine.toml", "--run", "one", *how).success()
    monkeypatch.chdir(tmp_path / "sub")
    simulacra("train", tmp_path / "mine.toml", "--run", "two", *how).success()
    simulacra(
        "train",
        "ebgan_digits",
        "--set",
        "model=../mine.py",
        "--run",
        "three",
        "--preset",
        "tiny",
        *how,
    ).refusal()
    assert (
        "there is no such file" in simulacra("train", "mine.toml", "--run", "four", *how).refusal()
    )
    assert (
        "or the path of a .py file"
        in simulacra("train", "mine.toml", "--set", "model=mine", "--run", "four", *how).refusal()
    )
    simulacra(
        "train", "mine.toml", "--set", f"model={tmp_path}/mine.py", "--run", "four", *how
    ).success()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def broken(:", "line "),
        ("import nothing_of_this_name", "imports nothing_of_this_name"),
        ("import beside", "imports beside"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "has no Model"),
        ("class Hyper:\n    a = 1\nclass Model: pass", "its Hyper is no class of fields"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, monkeypatch, source, words):
    toml = written(tmp_path, source)
    (tmp_path / "beside.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Mistake, match=words):
        config.resolve(str(toml))
    assert not any(external.is_outside(name) for name in config.models())


def test_a_model_is_trained_from_its_own_folder(tmp_path, monkeypatch):
    """Torch has modules whose file is a name without a folder,
    which is no file beside the model."""
    monkeypatch.chdir(tmp_path)
    source = (
        "import sys, types\n"
        "sys.modules['late'] = types.ModuleType('late')\n"
        "sys.modules['late'].__file__ = '_late.py'\n"
    )
    toml = written(tmp_path, source + HEAD + WHOLE["a module"])
    try:
        assert config.resolve(str(toml)).model.endswith(tuple("0123456789abcdef"))
    finally:
        sys.modules.pop("late", None)


PLAIN = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from dataclasses import dataclass
from msgspec import Struct


class Hyper(Struct):
    lr: float = 1e-3


class AE(nn.Module):
    def __init__(self, hyper, like):
        super().__init__()
        first = [nn.Flatten(), nn.Linear(784, 32), nn.ReLU()]
        self.net = nn.Sequential(*first, nn.Linear(32, 784), nn.Tanh())
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=hyper.lr)

    def step(self, batch, k):
        x = batch["image"]
        loss = F.mse_loss(self.net(x).view_as(x), x)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

    def sample(self, batch):
        x = batch["image"]
        return {"samples": self.net(x).view_as(x)}


Model = AE
"""


def test_the_plain_model(simulacra, tmp_path):
    """As a newcomer wrote it, who skipped the fine print."""
    (tmp_path / "plain_room.py").write_text(PLAIN)
    toml = tmp_path / "plain.toml"
    toml.write_text(
        'model = "plain"\nbatch = 16\nsteps = 20\n[data]\nname = "digits"\n[preset.laptop]\n'
    )
    assert "such as plain_room.py" in simulacra("train", toml, "--run", tmp_path / "run").refusal()
    toml.write_text(toml.read_text().replace('"plain"', '"plain_room.py"'))
    simulacra("train", toml, "--run", tmp_path / "run", "--no-tensorboard").success()
    assert sorted(run.contents(run.checkpoints(tmp_path / "run")[-1])["parts"]) == [
        "net",
        "optimizer",
    ]
    simulacra("sample", tmp_path / "run", "-o", tmp_path / "a.png", "--trust").success()


OLDER = """
import torch
from torch import nn
from simulacra import layers, play
from simulacra.contract import Batch
from simulacra.core import seeds
from simulacra.core.play import quiet
from simulacra.play import descend, noise


class Model:
    def __init__(self, hyper, like):
        size = like["image"].shape[1:].numel()
        self.net = nn.Sequential(nn.Flatten(), layers.mlp([size, 4, size]))
        self.average = play.Average(self.net)
        self.opt = play.adam(self.net, play.at(1e-3, 0), 0.9, 0.999)

    def step(self, batch: Batch, k):
        x = batch["image"]
        loss = (self.net(x).view_as(x) - x + 0.01 * noise(x, *x.shape[1:])).square().mean()
        descend((loss, self.opt))
        self.average.update(len(x) * play.processes(), (k + 1) * len(x), 10.0)
        return {"loss": loss}

    @torch.no_grad()
    def sample(self, batch):
        with quiet(self.average.module):
            return {"samples": self.average.module(batch["image"]).view_as(batch["image"]).tanh()}
"""


def test_a_model_of_before_imports_what_it_imported(simulacra, tmp_path):
    """A run folder brings its model, whose imports are those of the day that it was written."""
    toml = written(tmp_path, OLDER)
    simulacra("train", toml, "--run", tmp_path / "run", "--no-tensorboard").success()
    wanted = "-n", 2, "-o", tmp_path / "two.png"
    simulacra("sample", tmp_path / "run", *wanted, "--trust").success()
    (tmp_path / "run" / "model.py").rename(tmp_path / "run" / "room.py")  # as it was called then
    simulacra("sample", tmp_path / "run", *wanted, "--trust").success()
    with pytest.raises(ImportError):
        import simulacra.play


LOOKED_AT = """
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, hyper, like):
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)
        self.norm, self.drop = nn.BatchNorm2d(1), nn.Dropout(0.5)
        self.register_buffer("looks", torch.zeros(()))
        self.opt = torch.optim.Adam(self.parameters(), 1e-3)

    def forward(self, x):
        if self.training:
            self.looks += 1  # as a codebook that averages does
        return self.drop(self.norm(self.net(x))).tanh()

    def step(self, batch, k):
        loss = (self(batch["image"]) - batch["image"]).square().mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        return {"loss": loss.detach()}

    def sample(self, batch):
        return {"samples": self(batch["image"]).detach()}
"""


def test_looking_at_an_opened_run_changes_nothing(tmp_path):
    """A model of one's own is in evaluation mode when it is opened: codebooks, batch statistics and
    dropout stand still, and two looks are alike."""
    opened = simulacra_face.train(written(tmp_path, LOOKED_AT), run=tmp_path / "run")
    before = {name: one.clone() for name, one in opened.model.state_dict().items()}
    one, two = opened.sample(4, seed=0), opened.sample(4, seed=0)
    assert torch.equal(one, two) and not opened.model.training
    after = opened.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert before["looks"] > 0


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("import sys; sys.exit(0)", "ends the program when it is imported"),
        ("        import sys; sys.exit(3)", "step 0 of the model ends the program"),
    ],
)
def test_a_model_does_not_end_the_program(tmp_path, where, says):
    source = (
        LOOKED_AT.replace("        loss = (self(", where + "\n        loss = (self(")
        if where.startswith(" ")
        else where + LOOKED_AT
    )
    with pytest.raises(Mistake, match=re.escape(says)):
        simulacra_face.train(written(tmp_path, source), run=tmp_path / "run")

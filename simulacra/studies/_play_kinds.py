"""What the pages of `simulacra play` are told of a run: its nets, where it begins, what may be done.

One function a kind of page: `world` (a dream to drive), `futures` (six of a picture), `walk` (a
generator). Each returns what goes to the page as JSON, weights and other numbers going into a blob.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from simulacra.core import contract, parts
from simulacra.core.contract import option
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.core.random import fold, reseed
from simulacra.envs import controls
from simulacra.envs.carracing import keys
from simulacra.envs.carracing.view import RATE, View, same
from simulacra.models.world import seeing
from simulacra.models.world.agent import agent_of, eye_for, same_codes
from simulacra.models.world.artefacts import same_eye
from simulacra.models.world.memory_nets import Memory, State, bins
from simulacra.studies._play_graph import BYTE, FLOAT, Blob, graph

STARTS = 12  # places where dreams begin
EXAMPLES = 12  # pictures to begin with
BANK = 256  # motions of a prior that does not depend on the picture
PACE = 30  # steps a second, at first


class Told(NamedTuple):
    """What a page is told, and what a person should know."""

    page: dict[str, Any]
    notes: list[str]


# --- worlds ---------------------------------------------------------------------------------------


class Step(nn.Module):
    """A memory's step: code, action and state to the next state, and all that the head says."""

    def __init__(self, memory: Memory):
        super().__init__()
        self.memory = memory

    def forward(self, z: Tensor, a: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = self.memory.advance(z, a, State(h, c))
        return state.h, state.c, self.memory.head(state.h)


class Called(nn.Module):
    """A method of a model as a net, whose weights are those of the model's parts."""

    def __init__(self, model: Any, method: Any):
        super().__init__()
        self.held, self.method = nn.ModuleList(parts.modules(model)), method

    def forward(self, x: Tensor) -> Any:
        return self.method(x)


def world(opened: Opened, blob: Blob, eye: Path | None, keys_told: str | None) -> Told:
    """Of a run of world_controller, with its agent, or of world_memory: the memory in float32, the
    eye's decoder in float16, states that the memory was in after recorded steps."""
    model: Any = opened.model
    agent, notes = None, []
    if isinstance(model, contract.Agent):
        found = agent_of(opened, eye)
        memory, seen, view = found.memory, found.senses.eye, found.view
        notes += list(found.notes)
        batch = opened.examples(STARTS)
        same_codes(batch, found.eye)
        context, tau, noise = model.hyper.context, model.hyper.tau, model.hyper.noise
        if found.senses.memory in (None, memory):
            agent = _agent(found.centre, memory, found.senses.memory, found.senses.squash, blob)
        else:
            notes.append("the agent sees the state of another memory, so that nobody else drives")
    else:
        known = eye_for(opened, eye)
        same(seeing.of_run(opened).view, str(opened.folder), known.view, "its eye")
        memory, seen, view = model.average.module, known.eye, known.view
        same_eye(memory, known)
        notes += list(known.notes)
        batch = opened.examples(STARTS)
        same_codes(batch, known.hash)
        context, tau, noise = model.shown(batch), model.hyper.tau, 1.0
    hands = _hands(memory.form.a_size, view, keys_told)
    page = _dreamt(memory, seen, batch, context, blob)
    rate = RATE if view is None or view.rate is None else view.rate
    page |= {"kind": "world", "agent": agent, "tau": tau, "noise": noise, "controls": hands}
    page |= {"rate": rate, "pace": min(PACE, rate), "ahead": max(1, round(rate / 2))}
    return Told(page, notes)


def _agent(
    centre: Tensor, memory: Memory, senses: Memory | None, squash: str, blob: Blob
) -> dict[str, Any]:
    A = memory.form.a_size
    weight, bias = centre.split([len(centre) - A, A])
    told = {"weight": blob.add(weight), "bias": blob.add(bias), "squash": squash}
    return told | {"state": senses is not None}


@torch.no_grad()
def _dreamt(
    memory: Memory, eye: Any, batch: contract.Batch, context: int, blob: Blob
) -> dict[str, Any]:
    """Of the memory and the eye."""
    form, coder = memory.form, eye.model
    z = batch["mean"].float()
    state = memory.start(z[:, 0])
    if context:
        state = memory.remember(z[:, :context], batch["action"][:, :context], state)[1]
    starts = {"z": z[:, context], "h": state.h, "c": state.c}
    inputs = {"z": z[:1, 0], "a": batch["action"][:1, 0].float(), "h": state.h[:1]}
    inputs["c"] = state.c[:1]
    step = graph(Step(memory), inputs, ["h", "c", "head"], blob, FLOAT)
    decoder = graph(Called(coder, coder.decode), {"z": z[:1, 0]}, ["x"], blob)
    return {
        "memory": step,
        "decoder": decoder,
        "form": form._asdict(),
        "picture": list(eye.decode(z[:1, 0]).shape[1:]),
        "starts": {name: blob.add(x) for name, x in starts.items()} | {"count": len(z)},
        "bins": blob.add(bins(z)),
    }


def _hands(size: int, view: View | None, keys_told: str | None) -> dict[str, Any]:
    """How a person acts: as was said, as CarRacing has it, or whatever keys there are."""
    if keys_told is not None:
        found = controls.controls(keys_told, size, "--controls")
    elif size == controls.controls(keys.CONTROLS, 3).size and (view is None or view.crop):
        found = controls.controls(keys.CONTROLS, size)
    else:
        found = controls.unnamed(size)
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(found)
    return told


# --- futures --------------------------------------------------------------------------------------


class Painted(nn.Module):
    """A picture and a motion to a future."""

    def __init__(self, painter: nn.Module, sharpen: float):
        super().__init__()
        self.painter, self.sharpen = painter, sharpen

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        made: Tensor = self.painter(x, z, self.sharpen)
        return made


class Motion(nn.Module):
    """A picture to the mean and standard deviation of its motions."""

    def __init__(self, net: Any):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, s = self.net.learned(x)
        return mean, self.net.std(s)


@torch.no_grad()
def futures(opened: Opened, blob: Blob) -> Told:
    """Of a run of visual_dynamics: painter, motions of its prior, and pictures to begin with."""
    model: Any = opened.model
    net, h, notes = model.average.module, model.hyper, []
    x = opened.like(1)["image"]
    z = torch.zeros(1, h.z_size)
    page: dict[str, Any] = {"kind": "futures", "picture": list(x.shape[1:]), "z_size": h.z_size}
    page["painter"] = graph(Painted(net.painter, h.sharpen), {"x": x, "z": z}, ["x"], blob)
    page |= {"prior": None, "bank": None, "pictures": None}
    if h.prior == "learned":
        page["prior"] = graph(Motion(net), {"x": x}, ["mean", "std"], blob)
    elif h.prior != "normal":
        reseed(fold(0, "play"))
        page["bank"] = blob.add(model.sample_prior(x.expand(BANK, -1, -1, -1)))
    try:
        pictures = opened.examples(EXAMPLES)["image"]
        numbers = ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        page["pictures"] = {"numbers": blob.add(numbers, BYTE), "count": len(pictures)}
    except Mistake as missing:
        notes.append(f"there are no examples to begin with: {missing}")
    return Told(page, notes)


# --- generators -----------------------------------------------------------------------------------


class Made(nn.Module):
    """z, and a class where the model has some, to pictures."""

    def __init__(self, model: Any):
        super().__init__()
        self.net, self.model = model.average.module, model

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        if hasattr(self.model, "make"):  # whose published versions have other ranges
            made: Tensor = self.model.make(self.net, z, y)[0]
            return made
        made = self.net(z)
        return made


class Rebuilt(nn.Module):
    """A picture to what an auto-encoder that is a discriminator makes of it."""

    def __init__(self, D: nn.Module):
        super().__init__()
        self.D = D

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.D(x)[0]
        return made


@torch.no_grad()
def walk(opened: Opened, blob: Blob) -> Told:
    """Of a generator: z to pictures, its numbers in the order of what they change; and pictures to
    codes or to reconstructions, if the model can."""
    model: Any = opened.model
    x = opened.like(1)["image"]
    page: dict[str, Any] = {"kind": "walk", "picture": list(x.shape[1:])}
    page |= {"encoder": None, "rebuilder": None, "classes": 0}
    if isinstance(model, contract.AutoEncoder):
        made: nn.Module = Called(model, model.decode)
        page["encoder"] = graph(Called(model, model.encode), {"x": x}, ["mean"], blob)
        given = {"z": torch.zeros_like(_code(model, x))}
    else:
        made = Made(model)
        given = {"z": torch.zeros(1, model.hyper.z_size)}
        page["classes"] = option(model.hyper, "classes", 0)
        if page["classes"]:
            given["y"] = torch.eye(page["classes"])[:1]
        if opened.config.model == "ebgan":
            page["rebuilder"] = graph(Rebuilt(model.D), {"x": x}, ["x"], blob)
    page["generator"] = graph(made, given, ["x"], blob)
    page["z_size"] = given["z"].shape[1]
    page["order"] = _order(made, given)
    return Told(page, [])


def _code(model: contract.AutoEncoder, x: Tensor) -> Tensor:
    told = model.encode(x)
    return told if isinstance(told, Tensor) else told[0]


def _order(made: nn.Module, given: dict[str, Tensor]) -> list[int]:
    """Numbers of z, those first between whose -1.5 and 1.5 pictures differ most."""
    rest = [x for name, x in given.items() if name != "z"]
    changes = []
    for step in torch.eye(given["z"].shape[1]) * 1.5:
        changes.append(float((made(step[None], *rest) - made(-step[None], *rest)).abs().mean()))
    return sorted(range(len(changes)), key=lambda i: -changes[i])

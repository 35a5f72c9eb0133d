"""What the pages of `simulacra play` are told of a run: nets, where it begins, what may be done.

One function a kind of page: `world` (a dream to drive), `futures` (six of a picture), `walk` (a
generator). Each returns what goes to the page as JSON, weights and other numbers going into a blob.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from simulacra.core import contract, parts
from simulacra.core.answers import encoded
from simulacra.core.contract import option
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.core.random import fold, reseed
from simulacra.envs import controls
from simulacra.envs.carracing import keys
from simulacra.envs.carracing.view import RATE
from simulacra.envs.view import Actions, View, same
from simulacra.models.world import seeing
from simulacra.models.world.agent import agent_of, eye_for, same_codes
from simulacra.models.world.artefacts import same_eye
from simulacra.models.world.memory_nets import Memory, State, bins
from simulacra.studies._play_graph import BYTE, FLOAT, HALF, Blob, graph

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

    def forward(self, *given: Tensor) -> Any:
        return self.method(*given)


def world(opened: Opened, blob: Blob, eye: Path | None, keys_told: str | None) -> Told:
    """Of a run of world_controller, with its agent, or of world_memory: the memory in float32, the
    eye's decoder in float16, states that the memory was in after recorded steps."""
    model: Any = opened.model
    agent, notes = None, []
    if isinstance(opened.model, contract.Agent):
        found = agent_of(opened, eye)
        memory, seen, view = found.memory, found.senses.eye, found.view
        notes += list(found.notes)
        batch = _some(opened, STARTS)
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
        batch = _some(opened, STARTS)
        same_codes(batch, known.hash)
        context, tau, noise = model.shown(batch), model.hyper.tau, 1.0
    hands = _hands(memory.form.a_size, view, keys_told)
    page = _dreamt(memory, seen, batch, context, blob)
    rate = RATE if view is None or view.rate is None else view.rate
    page |= {"kind": "world", "agent": agent, "tau": tau, "noise": noise, "controls": hands}
    page |= {"rate": rate, "pace": min(PACE, rate), "ahead": max(1, round(rate / 2))}
    return Told(page, notes)


def _some(opened: Opened, count: int) -> contract.Batch:
    """So many held-out examples, or as many of a half, a quarter ... as there are."""
    while True:
        try:
            return opened.examples(count)
        except Mistake:
            if count == 1:
                raise
            count //= 2


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
    """How a person acts: as was said, as the game has it, or whatever keys there are."""
    if keys_told is not None:
        found = controls.controls(keys_told, size, "--controls")
    elif view is not None and isinstance(view.actions, Actions):
        found = controls.of_game(view.actions)
    elif size == controls.controls(keys.CONTROLS, 3).size and (view is None or view.crop):
        found = controls.controls(keys.CONTROLS, size)
    else:
        found = controls.unnamed(size)
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told


# --- futures --------------------------------------------------------------------------------------


@torch.no_grad()
def futures(opened: Opened, blob: Blob) -> Told:
    """Of a model with motions: its painter, motions of its prior, and pictures to begin with."""
    model: Any = opened.model
    x, notes = opened.like(1)["image"], []
    z = torch.zeros(1, z_size(opened))
    page: dict[str, Any] = {"kind": "futures", "picture": list(x.shape[1:]), "z_size": z.shape[1]}
    page["painter"] = graph(Called(model, model.future), {"x": x, "z": z}, ["x"], blob)
    page |= {"prior": None, "bank": None, "pictures": None}
    if model.motion(x) is not None:
        page["prior"] = graph(Called(model, model.motion), {"x": x}, ["mean", "std"], blob)
    else:
        reseed(fold(0, "play"))
        page["bank"] = blob.add(model.sample_prior(x.expand(BANK, -1, -1, -1)), HALF)
    try:
        pictures = _some(opened, EXAMPLES)["image"]
        numbers = ((pictures + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        page["pictures"] = {"numbers": blob.add(numbers, BYTE), "count": len(pictures)}
    except Mistake as missing:
        notes.append(f"there are no examples to begin with: {missing}")
    return Told(page, notes)


# --- generators -----------------------------------------------------------------------------------


@torch.no_grad()
def walk(opened: Opened, blob: Blob) -> Told:
    """Of a generator: z to pictures, its numbers in the order of what they change; and pictures to
    codes or to reconstructions, if the model can."""
    model: Any = opened.model
    x = opened.like(1)["image"]
    page: dict[str, Any] = {"kind": "walk", "picture": list(x.shape[1:])}
    page |= {"encoder": None, "rebuilder": None, "classes": 0}
    if isinstance(model, contract.AutoEncoder):
        made = Called(model, model.decode)
        page["encoder"] = graph(Called(model, model.encode), {"x": x}, ["mean"], blob)
        given = {"z": torch.zeros_like(encoded(model, x)[0])}
    else:
        made = Called(model, model.generate)
        given = {"z": torch.zeros(1, z_size(opened))}
        page["classes"] = option(opened.config.hyper, "classes", 0)
        if page["classes"]:
            given["y"] = torch.eye(page["classes"])[:1]
    if isinstance(model, contract.HasRebuild) and page["encoder"] is None:
        page["rebuilder"] = graph(Called(model, model.rebuild), {"x": x}, ["x"], blob)
    page["generator"] = graph(made, given, ["x"], blob)
    page["z_size"] = given["z"].shape[1]
    page["order"] = _order(made, given)
    return Told(page, [])


def z_size(opened: Opened) -> int:
    """Numbers of a model's z."""
    found: int = option(opened.config.hyper, "z_size", 0)
    if not found:
        raise Mistake(f"{opened.folder} does not say how many numbers its z has (hyper.z_size)")
    return found


def _order(made: nn.Module, given: dict[str, Tensor]) -> list[int]:
    """Numbers of z, those first between whose -1.5 and 1.5 pictures differ most."""
    rest = [x for name, x in given.items() if name != "z"]
    changes = []
    for step in torch.eye(given["z"].shape[1]) * 1.5:
        changes.append(float((made(step[None], *rest) - made(-step[None], *rest)).abs().mean()))
    return sorted(range(len(changes)), key=lambda i: -changes[i])

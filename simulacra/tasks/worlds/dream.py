"""Dream: a film of what a memory makes up, seen through its eye:
with a controller at the wheel, or along recorded actions."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace
from torch import Tensor

from simulacra.core import data_sets, random
from simulacra.core.contract import Agent, Memory
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, able
from simulacra.envs.game import ENDLESS
from simulacra.envs.view import same
from simulacra.models.world import seeing
from simulacra.models.world.acting import LIMIT
from simulacra.models.world.agent import agent_of, eye_for, same_codes
from simulacra.models.world.artefacts import is_own, same_eye
from simulacra.tasks._picture import within
from simulacra.tasks.worlds._film import Screen
from simulacra.tasks.worlds.drive import decoded

MOST = 64  # dreams on one film


@dataclass(frozen=True)
class Asked:
    """Which dreams."""

    steps: int = 300  # longest; along recorded actions no longer than the recordings
    count: int = 4
    tau: float | None = None  # temperature; None: the run's own
    eye: Path | None = None  # run folder; None: the config's
    seed: int = 0


class Dreams(NamedTuple):
    """What came of them."""

    clips: Tensor  # (count, T, C, H, W)
    tau: float  # temperature
    returns: tuple[float, ...] = ()  # that a controller dreamt, where the memory knows of rewards
    lengths: tuple[int, ...] = ()  # steps until a controller's dreams ended
    notes: tuple[str, ...] = ()  # what had to be assumed


def dream(opened: Opened, out: Path, asked: Asked, screen: Screen) -> Dreams:
    """Write a film, .mp4 or .gif, of dreams side by side that begin with the run's held-out codes.
    In those of a run of world_controller its mean acts; what would follow on a dream's end is shown
    half as bright. Those of a run of world_memory go along recorded actions, and have the
    recording, as the eye has it, on their left."""
    screen.check(out)
    found = dreamt(opened, asked)
    screen.show(found.clips, out)
    return found


def dreamt(opened: Opened, asked: Asked) -> Dreams:
    """The same without a film."""
    most = ENDLESS if is_own(seeing.of_run(opened).view) else LIMIT
    within(steps=(asked.steps, most), count=(asked.count, MOST))
    if asked.tau is not None and not 0 <= asked.tau < math.inf:
        raise Mistake(f"tau = {asked.tau}; allowed: 0 and more")
    if isinstance(opened.model, Agent):
        return acted(opened, asked)
    if isinstance(opened.model, Memory):
        return followed(opened, asked)
    raise Mistake(
        f"{opened.folder} is a run of model {opened.config.model}; allowed: models "
        f"{able(Agent)}, {able(Memory)}"
    )


def acted(opened: Opened, asked: Asked) -> Dreams:
    """What the mean of a search distribution does in the dreams of the memory
    that its run carries."""
    model: Any = opened.model
    agent = agent_of(opened, asked.eye)
    batch = opened.examples(asked.count)
    same_codes(batch, agent.eye)
    seed, tau = (
        random.fold(asked.seed, "dream"),
        model.hyper.tau if asked.tau is None else asked.tau,
    )
    dreamt = model.dream(agent.centre[None], batch, seed, asked.steps, keep=True, tau=tau)
    codes, lengths = dreamt.codes[0], dreamt.lengths[0].int().tolist()
    clips = (
        decoded(agent.senses.eye, codes.flatten(0, 1)).unflatten(0, codes.shape[:2]).clamp(-1, 1)
    )
    for clip, length in zip(clips, lengths, strict=True):
        clip[length:].sub_(1).div_(2)
    returns = () if agent.memory.form.reward == "none" else tuple(dreamt.returns[0].tolist())
    return Dreams(clips, tau, returns, tuple(lengths), agent.notes)


def followed(opened: Opened, asked: Asked) -> Dreams:
    """What a memory makes of recorded actions once it was shown the first few codes."""
    model: Any = opened.model
    seen = eye_for(opened, asked.eye)
    same(seeing.of_run(opened).view, str(opened.folder), seen.view, "its eye")
    same_eye(model.average.module, seen)
    source: Any = opened.data()
    longest = min(
        max(source.episodes[place.episode].frames for place in some)
        for some in source.places.values()
    )
    options = replace(opened.config.data, length=max(2, min(asked.steps, longest)))
    batch = data_sets.load(options, opened.root).take("held_out", asked.count)
    same_codes(batch, seen.hash)
    random.reseed(random.fold(asked.seed, "dream"))
    tau = model.hyper.tau if asked.tau is None else asked.tau
    made = model.imagine(model.sample_codes(batch)[:, : model.shown(batch)], batch["action"], tau)
    films = [
        decoded(seen.eye, codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        for codes in (batch["mean"], made)
    ]
    return Dreams(torch.cat(films, -1).clamp(-1, 1), tau, notes=seen.notes)

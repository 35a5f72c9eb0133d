"""Collect: drive CarRacing with a mixture of policies and keep what was seen, done and paid.

An episode follows from the store's seed and its own number, however many are driven at once and
however often the work was stopped, so that a store can be stopped, resumed and enlarged without a
difference.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from simulacra.core.errors import Mistake, choose
from simulacra.core.random import fold
from simulacra.envs import episodes as store
from simulacra.envs.carracing.game import HALF_WIDTH, Truth, needed
from simulacra.envs.carracing.policies import (
    AGENTS,
    POLICIES,
    Ghosts,
    Learnt,
    Policy,
    Scripted,
    generator,
    policy,
)
from simulacra.envs.carracing.racing import LARGEST, LIMIT, SIMULATORS, Pool
from simulacra.envs.carracing.tracks import training
from simulacra.envs.carracing.view import of_frames
from simulacra.envs.view import same
from simulacra.models.world.acting import Hands
from simulacra.models.world.agent import Agent

MIXTURE = {"brownian": 0.25, "scripted": 0.75}
SPEEDS = 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, math.inf  # units per second
OFFS = [*(i / 10 for i in range(1000)), math.inf]  # units from the middle, to a tenth
Notify = Callable[[str, float], None]  # hears what is being done and the share of it that is


def unheard(what: str, share: float) -> None:
    """Tell nobody."""


class Plan(NamedTuple):
    """Where an episode is driven, and by whom."""

    number: int
    track: int
    policy: str
    lead: int  # steps that a steady driver drives before recording begins


def plan(spec: store.Spec, number: int) -> Plan:
    """What the episode of this number is to be."""
    stream = generator(fold(spec.seed, "plan", number))
    names = sorted(spec.mixture)
    shares = np.array([spec.mixture[name] for name in names])
    chosen = names[int(stream.choice(len(names), p=shares / shares.sum()))]
    return Plan(number, training(spec.seed, number), chosen, int(stream.integers(spec.lead + 1)))


class Tape:
    """An episode while it is recorded."""

    def __init__(self, plan: Plan, spec: store.Spec) -> None:
        self.plan, self.spec, self.length = plan, spec, 0
        shapes = store.shapes(spec.steps, spec.size)
        self.arrays: dict[str, Any] = {
            name: np.zeros(shape, store.BYTES[store.KINDS[name]]) for name, shape in shapes.items()
        }
        self.terminated = self.lap_finished = False

    def add(self, **row: object) -> None:
        """Note one step."""
        for name, value in row.items():
            self.arrays[name][self.length] = value
        self.length += 1

    def episode(self) -> store.Episode:
        """What was recorded."""
        number, track, name, lead = self.plan
        facts = store.Facts(
            number=number,
            track=track,
            simulator=self.spec.simulator,
            policy=name,
            hud=self.spec.hud,
            start=lead,
            terminated=self.terminated,
            lap_finished=self.lap_finished,
        )
        return store.Episode(
            **{name: array[: self.length] for name, array in self.arrays.items()}, facts=facts
        )


def record(spec: store.Spec, plans: list[Plan], agent: Agent | None = None) -> list[store.Episode]:
    """The episodes of these plans, driven at once.
    One that ends before its recording begins is recorded from its start."""
    tapes, ghosts = [Tape(one, spec) for one in plans], Ghosts([one.track for one in plans])
    drivers: list[Policy] = [
        policy(one.policy, fold(spec.seed, "policy", one.number)) for one in plans
    ]
    steady, leads = Scripted(60, 65), np.array([one.lead for one in plans])
    hands = Hands(agent.centre, agent.senses, len(plans)) if agent else None
    with Pool(
        spec.simulator, [one.track for one in plans], size=spec.size, hud=spec.hud, limit=LIMIT
    ) as pool:
        seen = pool.reset()
        for t in range(LIMIT):
            pool.retire(t >= leads + spec.steps)
            if not pool.alive.any():
                break
            rows, actions = np.flatnonzero(pool.alive), np.zeros((len(plans), 3), np.float32)
            for driver, wanted in zip(
                drivers,
                hands.wanted(seen, torch.from_numpy(pool.alive)) if hands else [],
                strict=False,
            ):
                if isinstance(driver, Learnt):
                    driver.wanted = wanted
            truths = {i: ghosts.games[i].truth() for i in rows if t >= leads[i]}
            for i in rows:
                actions[i] = (drivers[i] if t >= leads[i] else steady).act(ghosts.games[i])
            if hands:
                hands.took(actions)
            ghosts.step(actions, pool.alive)
            step = pool.step(actions)
            for i, truth in truths.items():
                paid, ended = step.rewards[i], step.terminated[i]
                tapes[i].add(
                    frames=seen[i], actions=actions[i], rewards=paid, ends=ended, truths=truth
                )
                tapes[i].terminated, tapes[i].lap_finished = bool(ended), bool(step.lap_finished[i])
            seen = step.frames
    short = [tape.plan._replace(lead=0) for tape in tapes if not tape.length]
    again = iter(record(spec, short, agent) if short else [])
    return [tape.episode() if tape.length else next(again) for tape in tapes]


def driven(spec: store.Spec, agent: Agent | None, numbers: list[int]) -> list[store.Episode]:
    """The episodes of these numbers: a function of nothing else, on whatever machine."""
    return record(spec, [plan(spec, number) for number in numbers], agent)


def checked(
    seed: int,
    mixture: Mapping[str, float],
    simulator: str,
    steps: int,
    lead: int,
    size: int,
    hud: bool,
    agent: Agent | None = None,
) -> store.Spec:
    """The spec of a store; a Mistake names what is out of range."""
    choose("simulator", simulator, SIMULATORS)
    for name in mixture:
        choose("policy", name, list(POLICIES))
    shares = list(mixture.values())
    if not all(math.isfinite(one) and one >= 0 for one in shares) or sum(shares) <= 0:
        raise Mistake(
            f"mixture = {dict(mixture)}; allowed: shares of 0 or more, one of them above 0"
        )
    if any(mixture.get(name, 0) > 0 for name in AGENTS) != (agent is not None):
        raise Mistake(
            f"drivers {', '.join(mixture)}; "
            f"allowed: {' or '.join(AGENTS)} with an agent (--agent RUN), others without"
        )
    bounds = (
        ("seed", seed, 0, LARGEST),
        ("steps", steps, 1, LIMIT),
        ("lead", lead, 0, LIMIT - 1),
        ("size", size, 8, 96),
    )
    for name, value, least, most in bounds:
        if not least <= value <= most:
            raise Mistake(f"{name} = {value}; allowed: {least} to {most}")
    versions = {}
    for package in sorted({"gymnasium", simulator}):  # whose undrawn game knows the truths
        needed(package)
        versions[package] = version(package)
    return store.Spec(
        seed=seed,
        simulator=simulator,
        size=size,
        hud=hud,
        steps=steps,
        lead=lead,
        mixture={name: float(share) for name, share in sorted(mixture.items())},
        agent=agent.hash if agent else "",
        versions=versions,
    )


def collect(
    out: Path,
    episodes: int,
    seed: int = 0,
    mixture: Mapping[str, float] = MIXTURE,
    simulator: str = "envpool",
    steps: int = LIMIT,
    *,
    lead: int = 0,
    size: int = 64,
    hud: bool = False,
    at_once: int = 8,
    # who drives as policies `AGENTS`; to rounding, its episodes follow from the store's seed too
    agent: Agent | None = None,
    notify: Notify = unheard,
    # what drives some numbers for each list of them, in order: here, or on many machines
    over: Callable[..., Iterable[list[store.Episode]]] = map,
) -> dict[str, object]:
    """Fill the store `out` to `episodes` episodes of at most `steps` frames and say what is in it;
    see `report`. With `lead`, a steady driver first drives up to so many steps, so that recordings
    begin all over the tracks."""
    if episodes < 1 or at_once < 1:
        raise Mistake(f"episodes = {episodes}, at once {at_once}; allowed: 1 or more")
    spec = checked(seed, mixture, simulator, steps, lead, size, hud, agent)
    if agent:
        advice = "; --hud shows the bar" if agent.view and agent.view.hud else ""
        same(
            agent.view,
            "this agent's eye",
            of_frames(spec.size, spec.hud),
            "what is to be recorded",
            advice,
        )
    with store.filling(out, spec):
        missing = [number for number in range(episodes) if not store.place(out, number).exists()]
        some = [missing[first : first + at_once] for first in range(0, len(missing), at_once)]
        notify("episodes", 1 - (left := len(missing)) / episodes)
        for found in over(partial(driven, spec, agent), some):
            for episode in found:
                store.write(out, episode)
            notify("episodes", 1 - (left := left - len(found)) / episodes)
        return report(store.Store(out))


def report(full: store.Store) -> dict[str, object]:
    """Of a store: counts, share of frames on the road, shares of frames by speed, by how many units
    the car is off the road's middle, mean return of each policy, and how episodes end. One episode
    is in memory at a time."""
    speeds, offs, near = np.zeros(len(SPEEDS) - 1), np.zeros(len(OFFS) - 1), 0
    returns: dict[str, list[float]] = {}
    for i, one in enumerate(full.entries):
        truths = full.read(i, "truths")
        lateral, speed = (truths[:, Truth._fields.index(name)] for name in ("lateral", "speed"))
        speeds += np.histogram(speed, SPEEDS)[0]
        offs += np.histogram(np.abs(lateral), OFFS)[0]
        near += int((np.abs(lateral) <= HALF_WIDTH).sum())
        returns.setdefault(one.facts.policy, []).append(float(full.read(i, "rewards").sum()))
    frames, below = int(speeds.sum()), offs.cumsum() / offs.sum()
    bins = [f"{low}-{high}" if math.isfinite(high) else f"{low}-" for low, high in pairwise(SPEEDS)]
    return {
        "episodes": len(full),
        "frames": frames,
        "on_road": round(near / frames, 4),
        "speed": {
            name: round(float(count) / frames, 4) for name, count in zip(bins, speeds, strict=True)
        },
        "lateral": {
            f"{q}%": round(float(OFFS[1 + np.searchsorted(below, q / 100)]), 1)
            for q in (50, 90, 99)
        },
        "returns": {
            name: round(float(np.mean(found)), 1) for name, found in sorted(returns.items())
        },
        "drivers": {name: len(found) for name, found in sorted(returns.items())},
        "terminated": sum(one.facts.terminated for one in full.entries),
        "laps_finished": sum(one.facts.lap_finished for one in full.entries),
    }

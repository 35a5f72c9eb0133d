"""Record: plays of any game by a mixture of players, kept as stores of envs/episodes.py.

An episode follows from the store's seed and its own number, however many are played at once. One in
which the game breaks is kept as far as it came, and marked.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from simulacra.core.errors import Mistake, choose
from simulacra.core.random import fold
from simulacra.envs import episodes as store
from simulacra.envs.carracing.tracks import training
from simulacra.envs.game import ENDLESS, SIZE, Game
from simulacra.envs.plays import Plays
from simulacra.envs.view import UNSET, Actions, same
from simulacra.models.world.acting import Hands
from simulacra.models.world.agent import Agent
from simulacra.tasks.worlds.collect import Notify, unheard

PLAYERS = {
    "random": "another action at each step",
    "sticky": "a random action that is held for 1 to 8 steps",
    "agent": "a run of world_controller, as it is",
    "learnt": "the same with lapses, in which it is sticky",
}
AGENTS = "agent", "learnt"  # who need one
MIXTURE = {"random": 0.5, "sticky": 0.5}
LAPSES = 0.04  # share of the steps at which a lapse begins
HELD = 8  # steps that a sticky action is held for at most


class Player:
    """Who acts in one episode, by numbers of its own."""

    def __init__(self, name: str, actions: Actions, seed: int) -> None:
        self.name, self.actions = name, actions
        self.dice, self.left = np.random.Generator(np.random.PCG64(seed)), 0
        self.held = np.zeros(actions.size, np.float32)

    def act(self, wanted: np.ndarray | None) -> np.ndarray:
        """The action (A,), where an agent wants this one."""
        if self.left:  # of one that is held
            self.left -= 1
            return self.held
        lapse = self.name == "learnt" and self.dice.random() < LAPSES
        if self.name in AGENTS and not lapse:
            assert wanted is not None
            return wanted
        self.held = self.any()
        self.left = 0 if self.name == "random" else int(self.dice.integers(HELD))
        return self.held

    def any(self) -> np.ndarray:
        """A random action: a choice, or numbers between their bounds."""
        A = self.actions.size
        if self.actions.kind == "discrete":
            return np.eye(A, dtype=np.float32)[self.dice.integers(A)]
        return self.dice.uniform(self.actions.low, self.actions.high).astype(np.float32)


def spec_for(
    game: Game,
    seed: int,
    mixture: Mapping[str, float],
    steps: int,
    agent: Agent | None,
) -> store.Spec:
    """The spec of a store; a Mistake names what is out of range."""
    for name in mixture:
        choose(f"player of {game.name}", name, list(PLAYERS))
    shares = list(mixture.values())
    if min(shares, default=-1) < 0 or not 0 < sum(shares) < float("inf"):
        raise Mistake(f"mixture = {dict(mixture)}; allowed: shares of 0 or more, one above 0")
    if any(mixture.get(name, 0) > 0 for name in AGENTS) != (agent is not None):
        raise Mistake(
            f"players {', '.join(mixture)}; allowed: {' or '.join(AGENTS)} with an agent "
            "(--agent RUN), others without"
        )
    for what, value, least, most in ("seed", seed, 0, 2**31 - 1), ("steps", steps, 1, game.steps):
        if not least <= value <= most:
            raise Mistake(f"{what} = {value}; allowed: {least} to {most}")
    view = game.view()
    if agent:
        same(agent.view, "this agent's eye", view, "what is to be recorded")
    return store.Spec(
        seed=seed,
        simulator="gymnasium",
        size=SIZE,
        hud=False,
        steps=steps,
        lead=0,
        mixture={name: float(share) for name, share in sorted(mixture.items())},
        agent=agent.hash if agent else "",
        versions=game.versions(),
        view=view,
    )


def record(
    out: Path,
    game: Game,
    episodes: int,
    seed: int = 0,
    mixture: Mapping[str, float] = MIXTURE,
    steps: int | None = None,  # of an episode at most; None: as the game has it
    *,
    agent: Agent | None = None,
    at_once: int = 8,
    notify: Notify = unheard,
) -> dict[str, object]:
    """Fill the store `out` to `episodes` episodes and say what is in it; see `report`."""
    if not 1 <= episodes <= ENDLESS:
        raise Mistake(f"episodes = {episodes}; allowed: 1 to {ENDLESS:,}")
    spec = spec_for(game, seed, mixture, steps or game.steps, agent)
    with store.filling(out, spec):
        missing = [number for number in range(episodes) if not store.place(out, number).exists()]
        notify("episodes", 1 - (left := len(missing)) / episodes)
        for first in range(0, len(missing), at_once):
            some = missing[first : first + at_once]
            for episode in played(spec, game, some, agent):
                store.write(out, episode)
            notify("episodes", 1 - (left := left - len(some)) / episodes)
        return report(store.Store(out))


def played(
    spec: store.Spec, game: Game, numbers: list[int], agent: Agent | None = None
) -> list[store.Episode]:
    """The episodes of these numbers, played at once."""
    assert spec.view is not UNSET and spec.view.actions is not UNSET
    actions = spec.view.actions
    seeds = [training(spec.seed, number) for number in numbers]
    players = [
        Player(player_of(spec, number), actions, fold(spec.seed, "player", number))
        for number in numbers
    ]
    hands = Hands(agent.centre, agent.senses, len(numbers)) if agent else None
    kept: list[list[tuple[np.ndarray, np.ndarray, float, bool]]] = [[] for _ in numbers]
    with Plays(game, seeds, spec.steps) as plays:
        seen = plays.reset()
        while plays.alive.any() or not kept[0]:
            before, wanted = plays.alive.copy(), None
            if hands:
                wanted = hands.wanted(seen, torch.from_numpy(before))
            rows = np.zeros((len(numbers), actions.size), np.float32)
            for i, player in enumerate(players):
                rows[i] = player.act(wanted[i] if wanted is not None else None)
            if hands:
                hands.took(rows)
            step = plays.step(rows)
            for i in range(len(numbers)):
                if before[i] or not kept[i]:  # a play that could not begin has one black frame
                    ended = bool(step.terminated[i])
                    kept[i].append((seen[i], rows[i], float(step.rewards[i]), ended))
            seen = step.frames
        faults = dict(plays.faults)
    return [
        episode_of(kept[i], number, seeds[i], players[i].name, faults.get(i))
        for i, number in enumerate(numbers)
    ]


def player_of(spec: store.Spec, number: int) -> str:
    """Who plays the episode of this number."""
    names = sorted(spec.mixture)
    shares = np.array([spec.mixture[name] for name in names])
    dice = np.random.Generator(np.random.PCG64(fold(spec.seed, "plan", number)))
    return names[int(dice.choice(len(names), p=shares / shares.sum()))]


def episode_of(
    rows: list[tuple[np.ndarray, np.ndarray, float, bool]],
    number: int,
    seed: int,
    player: str,
    fault: str | None,
) -> store.Episode:
    """What was recorded, as a store has it."""
    frames, actions, rewards, ends = zip(*rows, strict=True)
    facts = store.Facts(
        number=number,
        track=seed,
        simulator="gymnasium",
        policy=player,
        hud=False,
        start=0,
        terminated=ends[-1],
        lap_finished=False,
        fault=fault or UNSET,
    )
    return store.Episode(
        np.stack(frames),
        np.stack(actions).astype(np.float32),
        np.array(rewards, np.float32),
        np.array(ends),
        np.zeros((len(rows), 0), np.float32),
        facts,
    )


def report(full: store.Store) -> dict[str, object]:
    """Of a store: counts, mean return of each player, and how episodes end."""
    returns: dict[str, list[float]] = {}
    for i, one in enumerate(full.entries):
        returns.setdefault(one.facts.policy, []).append(float(full.read(i, "rewards").sum()))
    lengths = [one.length for one in full.entries]
    return {
        "game": full.view.world,
        "episodes": len(full),
        "frames": sum(lengths),
        "steps": {"least": min(lengths), "most": max(lengths)},
        "returns": {
            name: round(float(np.mean(found)), 1) for name, found in sorted(returns.items())
        },
        "players": {name: len(found) for name, found in sorted(returns.items())},
        "ended_by_the_game": sum(one.facts.terminated for one in full.entries),
        "broken": sum(one.facts.fault is not UNSET for one in full.entries),
    }

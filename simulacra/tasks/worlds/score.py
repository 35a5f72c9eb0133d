"""Score: an agent, or a driver for comparison, on fixed tracks to the official end.

What is scored is the mean of the search distribution. The number is a mean over tracks with its
interval, never a best episode.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from simulacra.core import config, run, zoo
from simulacra.core.errors import Mistake, choose
from simulacra.core.load import Opened, commit
from simulacra.core.random import fold
from simulacra.envs.carracing import policies
from simulacra.envs.carracing.tracks import OFFICIAL, SELECTION
from simulacra.envs.view import View
from simulacra.metrics.intervals import versions
from simulacra.metrics.world.returns import Row, Score, paired, read_csv, save_csv
from simulacra.metrics.world.returns import score as scored
from simulacra.models.world import artefacts
from simulacra.models.world.acting import LIMIT, World
from simulacra.models.world.agent import agent_of
from simulacra.tasks._picture import within
from simulacra.tasks.worlds._film import writable
from simulacra.tasks.worlds.collect import Notify, unheard

JUDGED = 100  # episodes that a game counts as solved by

ANCHORS: dict[str, Callable[[int], policies.Policy]] = {
    "idle": lambda seed: policies.Idle(),
    "brownian": policies.Brownian,
    "scripted": lambda seed: policies.Scripted(),
}


@dataclass(frozen=True)
class Course:
    """Where it is driven."""

    simulator: str = "gymnasium"  # or envpool
    count: int | None = None  # tracks, from the first of the list on; None: all
    selection: bool = False  # the tracks on which checkpoints are chosen, not the official ones
    threads: int = 1  # of envpool, or processes of gymnasium

    def tracks(self) -> Sequence[int]:
        """Their seeds; a Mistake for more than there are, or none."""
        listed = SELECTION if self.selection else OFFICIAL
        within(
            tracks=(len(listed) if self.count is None else self.count, len(listed)),
            threads=(self.threads, 1024),
        )
        return listed[: self.count]

    def kind(self) -> str:
        """Of the tracks, in a word."""
        return "selection" if self.selection else "official"

    def path(self, opened: Opened) -> Path:
        """Where the table goes if nobody says otherwise."""
        kind = "selection_" if self.selection else ""
        name = f"{self.simulator}_{kind}{len(self.tracks())}_{opened.step}.csv"
        return zoo.results(opened.folder)[0] / "scores" / name


class Heard:
    """A world whose steps are told, as the share of all that is to be driven."""

    def __init__(
        self, world: World, before: float, share: float, notify: Notify, limit: int = LIMIT
    ):
        self.world, self.before, self.share, self.notify = world, before, share, notify
        self.steps, self.most = 0, limit

    def reset(self) -> Any:
        """As the world's."""
        return self.world.reset()

    def step(self, actions: Any) -> Any:
        """As the world's."""
        self.steps += 1
        self.notify("tracks", self.before + self.share * self.steps / self.most)
        return self.world.step(actions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)


def score(
    opened: Opened,
    course: Course,
    out: Path | None = None,  # the table; None: scores/ in the run folder
    *,
    eye: Path | None = None,  # run folder; None: the config's
    against: Path | None = None,  # another score's table
    notify: Notify = unheard,
) -> dict[str, Any]:
    """What was found, as numbers and words for a person or JSON. metrics.jsonl gets a row each for
    the return, the share of laps finished and the mean share of tiles."""
    seeds, path = course.tracks(), out or course.path(opened)
    writable(path, ".csv")
    place, said = zoo.results(opened.folder)
    writable(place / "metrics.jsonl", ".jsonl")
    agent = agent_of(opened, eye)
    factory = artefacts.world(course.simulator, agent.view, course.threads)
    limit = longest(agent.view)
    rival, begun, spent, before = rival_of(against, seeds), time.monotonic(), processor(), 0
    broken: dict[int, str] = {}

    def watched(some: Sequence[int]) -> World:
        nonlocal before
        made, share = factory(some), len(some) / len(seeds)
        world = Heard(made, before / len(seeds), share, notify, limit)
        before += len(some)
        faults.append((list(some), getattr(made, "faults", {})))
        return world

    faults: list[tuple[list[int], dict[int, str]]] = []
    found = scored(agent.centre, agent.senses, watched, seeds, limit=limit)
    for played, of in faults:
        broken |= {played[i]: fault for i, fault in of.items()}
    notify("tracks", 1.0)
    numbers = told_of(found, course, rival, processor() - spent)
    save_csv(found, path)
    seconds = round(time.monotonic() - begun, 1)
    provenance = {
        "step": opened.step,
        "agent": agent.hash,
        "eye": agent.eye,
        "seed": 0,
        "seconds": seconds,
    }
    provenance |= {"config": run.digest(config.plain(opened.config))[:12], "commit": commit()}
    run.add_results(place, [row | provenance for row in rows_of(numbers)])
    marked = [f"the game broke on seed {seed}: {fault}" for seed, fault in broken.items()]
    told = [*agent.notes, *said, *marked]
    notes = {"notes": told} if told else {}
    return (
        {"step": opened.step} | numbers | solved(agent.view, numbers) | {"table": str(path)} | notes
    )


def longest(view: View | None) -> int:
    """Steps of the longest episode of the world that is seen."""
    return artefacts.game_of(view).steps if view and artefacts.is_own(view) else LIMIT


def solved(view: View | None, numbers: dict[str, Any]) -> dict[str, Any]:
    """Of another game than CarRacing, what a score is there and whether it counts as solved: by the
    mean of at least 100 episodes."""
    if view is None or not artefacts.is_own(view):
        return {}
    game = artefacts.game_of(view)
    told: dict[str, Any] = {"game": game.name, "score": game.score}
    if game.solved is not None:
        told["solved_from"] = game.solved
        told["solved"] = numbers["mean"] >= game.solved if numbers["n"] >= JUDGED else None
    return told


def rows_of(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """A row each for the return and both shares, without where they come from."""
    shared = {
        name: numbers[name]
        for name in ("n", "tracks", "simulator", "simulator_version", "processor_seconds")
    }
    ends = {name: numbers[name] for name in ("low", "high", "std", "standard_error")}
    rows = [{"metric": "return", "value": numbers["mean"], **ends, "floor": None}]
    alone = {"low": None, "high": None, "floor": None}
    rows += [
        {"metric": name, "value": numbers[name], **alone} for name in ("lap_finished", "progress")
    ]
    return [versions.stamped(row | shared) for row in rows]


def anchor(
    name: str,  # idle, brownian or scripted
    course: Course,
    out: Path | None = None,  # the table; None: none
    *,
    against: Path | None = None,  # another score's table
    notify: Notify = unheard,
) -> dict[str, Any]:
    """The same of a driver that sees the game itself, in undrawn games of gymnasium."""
    choose("driver", name, list(ANCHORS))
    if course.simulator != "gymnasium":
        raise Mistake(
            f"simulator = {course.simulator}; "
            "allowed: gymnasium, in whose undrawn games drivers drive"
        )
    seeds, rows = course.tracks(), list[Row]()
    artefacts.factory(course.simulator)
    if out:
        writable(out, ".csv")
    rival, spent = rival_of(against, seeds), processor()
    for seed in seeds:
        notify("tracks", len(rows) / len(seeds))
        value, steps, finished, progress = policies.lap(
            ANCHORS[name](fold(0, "anchor", seed)), seed, LIMIT
        )
        rows.append(Row(seed, value, steps, float(finished), progress))
    notify("tracks", 1.0)
    found = Score(tuple(rows))
    numbers = {"driver": name} | told_of(found, course, rival, processor() - spent)
    return numbers | ({"table": str(save_csv(found, out))} if out else {})


def rival_of(table: Path | None, seeds: Sequence[int]) -> Score | None:
    """The score to compare with; a Mistake, before anything is driven, if it is of other tracks."""
    rival = read_csv(table) if table else None
    if rival and (there := {row.track for row in rival.rows}) != set(seeds):
        raise Mistake(
            f"{table} holds {len(there)} tracks, {len(there & set(seeds))} of them among these; "
            f"allowed: these {len(seeds)}"
        )
    return rival


def told_of(found: Score, course: Course, rival: Score | None, seconds: float) -> dict[str, Any]:
    """The numbers of a score; None where there is none, as for an interval of one track."""
    told = asdict(found.summary()) | found.shares()
    if rival:
        told["difference"] = asdict(paired(found, rival))
        told["difference"] = {name: finite(value) for name, value in told["difference"].items()}
    where = {
        "tracks": course.kind(),
        "simulator": course.simulator,
        "simulator_version": version(course.simulator),
    }
    numbers = {
        name: value if isinstance(value, dict) else finite(value) for name, value in told.items()
    }
    return numbers | where | {"processor_seconds": round(seconds, 1)}


def finite(number: float) -> float | None:
    """The number if it is one: JSON has no other."""
    return number if math.isfinite(number) else None


def processor() -> float:
    """Seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])

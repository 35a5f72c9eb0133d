"""World: all of World Models in one go. Record drives, train an eye, encode, train a memory, a controller in its dream and then
in the world, and score it. Every stage is a folder that goes on where it stands, and is left alone once it is done.

    OUT/racing                recorded drives, for eyes
    OUT/distracted            recorded drives with arbitrary actions in between, for memories
    OUT/EYE/eye               run of vae_racing or vaegan_racing
    OUT/EYE/codes             what the eye makes of the distracted drives
    OUT/EYE/memory            run of memory_racing
    OUT/EYE/dream[_SEED]      run of controller_racing, in the dream
    OUT/EYE/controller[_SEED] run of controller_racing, in the world, from where the dream ended
    OUT/EYE/score[_SEED].csv  a row a track

Reference: Ha, Schmidhuber, "World Models", arXiv 1803.10122, section 3.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from simulacra import config
from simulacra.config import Config
from simulacra.errors import choose
from simulacra.reopen import reopen
from simulacra.verbs.collect import collect
from simulacra.verbs.encode import Stored, encode
from simulacra.verbs.train import train
from simulacra.world import parts
from simulacra.world.agent import agent_of
from simulacra.world.score import Score, read_csv, save_csv, score
from simulacra.world.store import Store
from simulacra.world.tracks import OFFICIAL

EYES = "vae", "vaegan"


MIXTURES = {  # who drives, by recording; a memory that saw only actions that fit dreams that any will do
    "racing": {"brownian": 0.25, "scripted": 0.75},
    "distracted": {"distracted": 7.0, "scripted": 2.0, "brownian": 1.0},
}
SEEDS = {"racing": 0, "distracted": 2}


class Extent(NamedTuple):
    """What the configs of a preset do not say."""

    episodes: dict[str, int]  # by recording
    steps: int  # of each, at most
    tracks: int  # scored on


EXTENTS = {
    "tiny": Extent({"racing": 4, "distracted": 8}, 60, 2),
    "laptop": Extent({"racing": 300, "distracted": 240}, 1000, 100),
    "paper": Extent({"racing": 10_000, "distracted": 10_000}, 1000, 100),
}


class Stopped(Exception):
    """A signal stopped a training; the same command goes on."""


class Shown(AbstractContextManager["Shown"]):
    """Whoever watches a training; this one does not look."""

    def tick(self, step: int, row: dict[str, float]) -> None:
        """Hear of a step."""

    def saved(self, path: Path) -> None:
        """Hear of a checkpoint."""

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Site:
    """Where the stages of one eye are."""

    out: Path
    eye: str
    preset: str = "laptop"
    seed: int = 0  # of the controllers; drives, eye and memory have theirs from the config
    told: Callable[[str, float], None] = lambda stage, share: None
    shown: Callable[[Config, str], Any] = lambda checked, stage: Shown()
    changes: dict[str, list[str]] = field(default_factory=dict)  # by stage, KEY=VALUE

    @property
    def folder(self) -> Path:
        """Of this eye."""
        return self.out / self.eye

    def path(self, stage: str) -> Path:
        """Of a stage; those that depend on the controllers' seed carry it, unless it is 0."""
        seeded = self.seed and stage in ("dream", "controller", "score")
        return self.folder / (f"{stage}_{self.seed}" if seeded else stage)

    def train(self, stage: str, source: str, root: Path, *changes: str) -> Path:
        """The finished run folder of a stage."""
        checked = self.checked(stage, source, *changes)
        with self.shown(checked, f"{stage} of {self.eye}") as shown:
            outcome = train(checked, self.path(stage), root, tick=shown.tick, saved=shown.saved)
        if not outcome.done:
            raise Stopped(f"stopped in stage {stage} at step {outcome.step:,}; the same command goes on from there")
        return self.path(stage)

    def checked(self, stage: str, source: str, *changes: str) -> Config:
        """The config of a stage."""
        return config.resolve(source, self.preset, [*changes, *self.changes.get(stage, [])])


def changes(texts: list[str]) -> dict[str, list[str]]:
    """By stage, from STAGE.KEY=VALUE; a Mistake if there is no such stage."""
    found: dict[str, list[str]] = {}
    for text in texts:
        stage, _, change = text.partition(".")
        found.setdefault(choose("stage", stage, ["eye", "memory", "dream", "controller"]), []).append(change)
    return found


# --- stages, in order -------------------------------------------------------------------------------------------------


def recorded(site: Site) -> None:
    """The drives."""
    extent = EXTENTS[site.preset]
    for name, mixture in MIXTURES.items():
        told = partial(_under, site.told, f"drives: {name}")
        collect(site.out / name, extent.episodes[name], SEEDS[name], mixture, steps=extent.steps, told=told)


def _under(told: Callable[[str, float], None], name: str, _: str, share: float) -> None:
    told(name, share)


def eye(site: Site) -> Path:
    """V."""
    return site.train("eye", f"{site.eye}_racing", site.out)


def codes(site: Site) -> Path:
    """The drives as V sees them."""

    def told(done: int, of: int) -> None:
        site.told(f"codes of {site.eye}", done / of)

    encode(reopen(site.path("eye"), None), Stored(Store(site.out / "distracted")), site.path("codes"), told=told)
    return site.path("codes")


def memory(site: Site) -> Path:
    """M, which learns V's codes."""
    return site.train("memory", "memory_racing", site.folder)


def dream(site: Site) -> Path:
    """C, in M's dream."""
    return _controller(site, "dream", *([] if site.preset == "tiny" else ["experiment=dream"]))  # tiny dreams as it is


def controller(site: Site) -> Path:
    """C, in the world, from where the dream ended."""
    return _controller(site, "controller", "hyper.world=envpool", f"hyper.begin={site.path('dream')}")


def _controller(site: Site, stage: str, *changes: str) -> Path:
    seen = f"hyper.memory={site.path('memory')}", f"hyper.eye={site.path('eye')}"
    return site.train(stage, "controller_racing", site.folder, *changes, *seen, f"seed={site.seed}")


def scored(site: Site, stage: str = "controller") -> Score:
    """The mean of the search distribution on official tracks, gymnasium's drawing; read from its table if that is there."""
    place = site.path("score").with_suffix(".csv")
    if place.exists():
        return read_csv(place)
    agent = agent_of(reopen(site.path(stage), None), site.path("eye"))
    found = score(
        agent.centre,
        agent.senses,
        parts.factory("gymnasium"),
        OFFICIAL[: EXTENTS[site.preset].tracks],
        told=lambda done, of: site.told("score", done / of),
    )
    save_csv(found, place)
    return found


def world(site: Site) -> Score:
    """All stages."""
    choose("eye", site.eye, list(EYES))
    choose("preset", site.preset, list(EXTENTS))
    for stage in recorded, eye, codes, memory, dream, controller:
        stage(site)
    return scored(site)

"""World: all of World Models in one go. Record drives, train an eye, encode, train a memory, a
controller in its dream and then in the world, and score it. Every stage is a folder that goes on
where it stands, and is left alone once it is done.

    OUT/racing                  recorded drives, for eyes
    OUT/distracted              recorded drives with arbitrary actions in between, for memories
    OUT/EYE/eye                 run of vae_racing, or of vaegan_racing, which goes on from
                                OUT/vae/eye
    OUT/EYE/codes               what the eye makes of the distracted drives
    OUT/EYE/memory              run of memory_racing
    OUT/EYE/dream               run of controller_racing, in the dream, on codes alone
    OUT/EYE/controller          run of controller_racing, on short drives in the world, from the
                                best dream; it sees M's state
    OUT/EYE/refined             run of controller_racing, on whole drives and more tracks, from
                                where that ended
    OUT/EYE/score.csv           a row a track
    OUT/EYE/stages.md           what each took, and what those who drive are worth on the selection
                                tracks

In between are rounds, the paper's iterative procedure: learnt_1 are drives of the agent, codes_1
all codes so far, memory_1 goes on from memory, and dream_1 is a search of its own in it; and so on.
In the last memory there are searches of several seeds, which their names tell, and whoever of them
drives best on the selection tracks (selection_dream_2.csv) goes on. Since rounds follow from the
agent, each seed has its own; those of another than 0 carry it in their names (learnt_1_seed1).

Reference: Ha, Schmidhuber, "World Models", arXiv 1803.10122, sections 3 and 5.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from simulacra.core import config, run
from simulacra.core.config import Config
from simulacra.core.contract import AutoEncoder, option
from simulacra.core.errors import choose
from simulacra.core.load import able, reopen
from simulacra.envs.carracing.tracks import SELECTION
from simulacra.envs.episodes import Store, spec_of
from simulacra.io.paint import write
from simulacra.metrics.world.returns import Score, read_csv
from simulacra.models.world.agent import agent_of
from simulacra.tasks.train import train
from simulacra.tasks.worlds import _ledger, _rehearsal, _watched
from simulacra.tasks.worlds._watched import Shown, Stopped
from simulacra.tasks.worlds.collect import collect
from simulacra.tasks.worlds.compare_encoders import Arm
from simulacra.tasks.worlds.encode import Stored, encode
from simulacra.tasks.worlds.score import Course, score

STAGES = "eye", "memory", "dream", "controller", "refined"  # that are trained
# that each seed has its own of
OF_CONTROLLERS = "dream", "controller", "refined", "score", "stages"
OF_ROUNDS = "learnt", "codes", "memory"  # that each seed has its own of after the first dream

# who drives, by recording; a memory that saw only actions that fit, or no fast bend, dreams that
# anything will do
MIXTURES = {
    "racing": {"brownian": 0.25, "scripted": 0.75},
    "distracted": {"distracted": 7.0, "careless": 5.0, "scripted": 2.0, "brownian": 1.0},
}
SEEDS = {"racing": 0, "distracted": 2}
FIRST = 10  # seed of the drives before the first round's
AT_ONCE = 20  # cars that an agent drives at once when it is recorded


class Extent(NamedTuple):
    """What the configs of a preset do not say."""

    episodes: dict[str, int]  # by recording
    steps: int  # of each, at most
    tracks: int  # scored on
    rounds: int  # of recording with the agent
    learnt: int  # episodes recorded in each
    # in the last memory, of which the best goes on: a dream is minutes, and one is worth twice
    # another
    searches: int
    # stage that is scored: where members drive whole tracks anyway, nothing is left to refine
    last: str
    # arm of those who dream: codes alone are few numbers, and no state of the dream can be led
    # astray by them
    dreamer: str


EXTENTS = {
    "tiny": Extent({"racing": 4, "distracted": 8}, 60, 2, 1, 2, 2, "refined", "z_only"),
    "laptop": Extent({"racing": 300, "distracted": 360}, 1000, 100, 2, 100, 4, "refined", "z_only"),
    "paper": Extent(
        {"racing": 10_000, "distracted": 10_000}, 1000, 100, 2, 1000, 1, "controller", "full"
    ),
}


@dataclass(frozen=True)
class Site:
    """Where the stages of one eye are."""

    out: Path
    eye: str
    preset: str = "laptop"
    seed: int = 0  # of the controllers; drives, eye and memory have theirs from the config
    notify: Callable[[str, float], None] = lambda stage, share: None
    shown: Callable[[Config, str], Any] = lambda checked, stage: Shown()
    changes: dict[str, list[str]] = field(default_factory=dict)  # by stage, KEY=VALUE
    # seed of a search in the last memory, of which a seed makes several; None: the seed itself
    search: int | None = None

    @property
    def folder(self) -> Path:
        """Of this eye."""
        return self.out / self.eye

    def path(self, stage: str, turn: int = 0) -> Path:
        """Of a stage in a round; controllers carry the seed of their search,
        rounds that of the site, unless it is 0."""
        plain = f"{stage}{f'_{turn}' * (turn > 0)}"
        if stage in OF_CONTROLLERS:
            seed = self.seed if self.search is None else self.search
            return self.folder / f"{plain}{f'_seed{seed}' * bool(seed)}"
        if turn and stage in OF_ROUNDS and not self.owns(turn):
            return self.folder / f"{plain}_seed{self.seed}"
        return self.folder / plain

    def owns(self, turn: int) -> bool:
        """Whether the folders of a round that carry no seed are of this one: those of the seed 0,
        unless there are older ones, which any seed may have made first; then they are of whoever
        drove them."""
        drives = self.folder / f"learnt_{turn}"
        if not (drives / "store.json").exists():
            return not self.seed
        dream = replace(self, search=None).path("dream", turn - 1)
        return (dream / "done").exists() and _watched.agent_at(dream) == spec_of(drives).agent

    def timed(self, place: Path) -> AbstractContextManager[None]:
        """Note what is spent on a folder that is no run, whose clock would tell."""
        return _ledger.timed(self.out / "stages.jsonl", str(place.relative_to(self.out)), place)

    def minutes(self, *places: Path) -> float | None:
        """Spent on folders and tables; None if nobody measured them."""
        ledger = self.out / "stages.jsonl"
        known = [
            _ledger.minutes(ledger, str(place.relative_to(self.out)), place) for place in places
        ]
        return (
            sum(each for each in known if each is not None)
            if any(each is not None for each in known)
            else None
        )

    def resolved(self, stage: str, *changes: str) -> Config:
        """The config of a stage, with the changes that are its own."""
        source = {"eye": f"{self.eye}_racing", "memory": "memory_racing"}.get(
            stage, "controller_racing"
        )
        return config.resolve(source, self.preset, [*changes, *self.changes.get(stage, [])])

    def train(self, stage: str, root: Path, *changes: str, turn: int = 0) -> None:
        """Finish the run of a stage."""
        checked = self.resolved(stage, *changes)
        with self.shown(checked, f"{stage} of {self.eye}") as shown:
            outcome = train(
                checked, self.path(stage, turn), root, tick=shown.tick, saved=shown.saved
            )
        if not outcome.done:
            stopped = Stopped(
                f"stopped in stage {stage} at step {outcome.step:,}; "
                "the same command goes on from there"
            )
            stopped.status = outcome.status or Stopped.status
            raise stopped


def changes(texts: list[str], stages: Sequence[str] = STAGES) -> dict[str, list[str]]:
    """By stage, from STAGE.KEY=VALUE; a Mistake if no such stage is trained."""
    found: dict[str, list[str]] = {}
    for text in texts:
        stage, _, change = text.partition(".")
        found.setdefault(choose("stage", stage, list(stages)), []).append(change)
    return found


def validate(site: Site, last: str) -> None:
    """A Mistake if a stage does not allow a change, if stages do not fit each other, or if what is
    there was made otherwise: told before the hours of the stages before it. `last` is the last that
    is trained."""
    for stage in STAGES:
        site.resolved(stage)
    plans = {stage: planned(site, stage) for stage in until(last)}
    _rehearsal.unchanged({site.path(stage): plan for stage, plan in plans.items()})
    _rehearsal.rehearse(EXTENTS[site.preset].steps, plans)


def until(last: str) -> tuple[str, ...]:
    """The stages that are trained, up to the last one."""
    return STAGES[: STAGES.index(last) + 1]


def planned(site: Site, stage: str) -> Config:
    """The config that a stage will have the first time, but for the run that it goes on from."""
    if stage == "eye":
        return site.resolved(stage, *(_kind(site, "onward") if precursor(site) else []))
    if stage == "memory":
        return site.resolved(stage, *_memory(site, 0))
    if stage == "dream":
        return site.resolved(stage, *_seen(site, 0), *_dream(site))
    kind = {"controller": "short", "refined": "refined"}[stage]
    return site.resolved(
        stage, *_seen(site, EXTENTS[site.preset].rounds), *_kind(site, kind), "hyper.world=envpool"
    )


# --- stages, in order -----------------------------------------------------------------------------


def recorded(site: Site) -> None:
    """The drives."""
    extent = EXTENTS[site.preset]
    for name, mixture in MIXTURES.items():
        notify = partial(_under, site.notify, f"drives: {name}")
        with site.timed(site.out / name):
            collect(
                site.out / name,
                extent.episodes[name],
                SEEDS[name],
                mixture,
                steps=extent.steps,
                notify=notify,
            )


def _under(notify: Callable[[str, float], None], name: str, _: str, share: float) -> None:
    notify(name, share)


def eyes() -> list[str]:
    """The models that can be the eye of a world: auto-encoders with a config of its pictures."""
    return [one for one in able(AutoEncoder).split(", ") if f"{one}_racing" in config.configs()]


def precursor(site: Site) -> Site | None:
    """Where the eye of another model is that this one goes on from, as a VAE-GAN from a VAE; None
    for one that begins by itself, and where the nets are others, as published."""
    model = config.model(site.eye).Model
    others = [name for name in option(model, "INIT_MODELS", ()) if name != site.eye]
    if not others or site.preset == "paper":
        return None
    kept = [change for change in site.changes.get("eye", []) if not change.startswith("hyper.")]
    return replace(site, eye=others[0], changes=site.changes | {"eye": kept})


def eye(site: Site) -> None:
    """V."""
    own: list[str] = []
    if first := precursor(site):
        eye(first)
        own = [*_kind(site, "onward"), f"hyper.begin={first.path('eye')}"]
    site.train("eye", site.out, *own)


def codes(site: Site, turn: int = 0) -> None:
    """The distracted drives as V sees them; in a round, all codes so far and those of the round."""
    place, target = (
        site.path("learnt", turn) if turn else site.out / "distracted",
        site.path("codes", turn),
    )

    def notify(done: int, of: int) -> None:
        site.notify(f"codes of {place.name} by {site.eye}", done / of)

    if turn:
        target.mkdir(exist_ok=True)
        for path in sorted(site.path("codes", turn - 1).glob("*.safetensors")):
            mine, data = target / path.name, path.read_bytes()
            if not mine.exists() or mine.read_bytes() != data:  # or they were encoded anew since
                write(mine, data)
    drives = Stored(Store(place), f"{place.name}_" if turn else "")
    with site.timed(target):
        encode(reopen(site.path("eye"), None), drives, target, notify=notify)


def learnt(site: Site, turn: int) -> None:
    """Drives of the agent that dreamt last."""
    place, extent = site.path("learnt", turn), EXTENTS[site.preset]
    agent = agent_of(reopen(site.path("dream", turn - 1), None), site.path("eye"))
    notify = partial(_under, site.notify, f"drives: {place.name} of {site.eye}")
    with site.timed(place):
        collect(
            place,
            extent.learnt,
            FIRST + turn,
            {"agent": 1.0},
            steps=extent.steps,
            agent=agent,
            at_once=AT_ONCE,
            notify=notify,
        )


def memory(site: Site, turn: int = 0) -> None:
    """M, which learns V's codes; in a round, from where it was.
    It is dreamt in, so it has heads, which the paper's has not."""
    own = [f"hyper.begin={site.path('memory', turn - 1)}"] if turn else []
    site.train("memory", site.folder, *_memory(site, turn), *own, turn=turn)


def _memory(site: Site, turn: int) -> list[str]:
    heads = "hyper.weight_reward=1.0", "hyper.weight_end=1.0", f"hyper.reward={head(site)}"
    return [
        *_kind(site, "more" if turn else "long"),
        f"data.path={site.path('codes', turn).name}",
        *heads,
    ]


def head(site: Site) -> str:
    """Which reward head memories have: that of the first one where it is there,
    since the others go on from it."""
    first = site.path("memory")
    there = (
        run.config_of(first)["hyper"] if (first / "config.json").exists() else {"reward": "twohot"}
    )
    return str(there.get("reward", "value"))


def dream(site: Site, turn: int = 0) -> None:
    """C, in M's dream."""
    _controller(site, "dream", turn, *_dream(site))


def _dream(site: Site) -> list[str]:
    return [*_kind(site, "whole"), "hyper.world=dream", f"hyper.arm={EXTENTS[site.preset].dreamer}"]


def searches(site: Site) -> dict[Path, Site]:
    """Of several seeds, in the last memory, by their runs."""
    extent = EXTENTS[site.preset]
    sites = [replace(site, search=site.seed * extent.searches + i) for i in range(extent.searches)]
    return {mine.path("dream", extent.rounds): mine for mine in sites}


def chosen(site: Site) -> Path:
    """The search that drives best on the selection tracks, of several in the last memory."""
    runs, course = searches(site), selection(site)
    for mine in runs.values():
        dream(mine, EXTENTS[site.preset].rounds)
    return (
        max(runs, key=lambda run: scored(site, run, course).summary().mean)
        if len(runs) > 1
        else next(iter(runs))
    )


def selection(site: Site) -> Course:
    """Where searches are chosen, and the worth of stages is measured."""
    count = min(EXTENTS[site.preset].tracks, len(SELECTION))
    return Course("envpool", count, selection=True, threads=torch.get_num_threads())


def controller(site: Site, begin: Path) -> None:
    """C, in the world on short drives, from where a dream ended; it sees M's state from here on."""
    begun = "hyper.world=envpool", f"hyper.begin={begin}"
    _controller(site, "controller", EXTENTS[site.preset].rounds, *_kind(site, "short"), *begun)


def refined(site: Site) -> None:
    """C, in the world on whole drives and more tracks, from where that ended."""
    begun = "hyper.world=envpool", f"hyper.begin={site.path('controller')}"
    _controller(site, "refined", EXTENTS[site.preset].rounds, *_kind(site, "refined"), *begun)


def _kind(site: Site, experiment: str) -> list[str]:
    """Only laptops have experiments: the other presets say all that is needed."""
    return [f"experiment={experiment}"] if site.preset == "laptop" else []


def _controller(site: Site, stage: str, last: int, *changes: str) -> None:
    """With the codes and the memory of the round `last`."""
    turn = last if stage == "dream" else 0
    site.train(stage, site.folder, *changes, *_seen(site, last), turn=turn)


def _seen(site: Site, last: int) -> list[str]:
    seen = f"data.path={site.path('codes', last).name}", f"hyper.memory={site.path('memory', last)}"
    own = (
        f"hyper.eye={site.path('eye')}",
        f"seed={site.seed if site.search is None else site.search}",
    )
    return [*seen, *own]


def table(site: Site, run: Path, course: Course) -> Path:
    """Where a run's score is: a row a track."""
    if run == site.path(EXTENTS[site.preset].last) and not course.selection:
        return site.path("score").with_suffix(".csv")
    return site.folder / f"{'selection' if course.selection else 'score'}_{run.name}.csv"


def scored(site: Site, run: Path, course: Course) -> Score:
    """The mean of a run's search distribution on some tracks, as `simulacra score` has it;
    read from its table if that is there."""
    place = table(site, run, course)
    if not place.exists():

        def notify(_: str, share: float) -> None:
            site.notify(f"{place.stem.partition('_')[0]} of {run.name} of {site.eye}", share)

        with site.timed(place):
            score(reopen(run, None), course, place, eye=site.path("eye"), notify=notify)
    return read_csv(place)


def world(site: Site) -> Score:
    """All stages."""
    choose("eye", site.eye, eyes())
    choose("preset", site.preset, list(EXTENTS))
    validate(site, EXTENTS[site.preset].last)
    for stage in recorded, eye, codes, memory:
        stage(site)
    for turn in range(1, EXTENTS[site.preset].rounds + 1):
        dream(site, turn - 1)
        for again in learnt, codes, memory:
            again(site, turn)
    controller(site, best := chosen(site))
    if (last := EXTENTS[site.preset].last) == "refined":
        refined(site)
    course = Course("gymnasium", EXTENTS[site.preset].tracks, threads=torch.get_num_threads())
    found = scored(site, site.path(last), course)
    write(site.path("stages").with_suffix(".md"), stages(site, best, course).encode())
    return found


def stages(site: Site, best: Path, course: Course) -> str:
    """What each took; and what the chosen dream and the stages in the world are worth,
    on the selection tracks."""
    extent, seen = EXTENTS[site.preset], selection(site)
    places = [site.out / name for name in MIXTURES]
    if first := precursor(site):
        places.append(first.path("eye"))
    places += [site.path(name) for name in ("eye", "codes", "memory")]
    for turn in range(1, extent.rounds + 1):
        places += [
            site.path("dream", turn - 1),
            *(site.path(name, turn) for name in ("learnt", "codes", "memory")),
        ]
    dreams = searches(site)
    places += [run for run in dreams if run != best]
    rows = [
        _ledger.Stage(str(place.relative_to(site.out)), site.minutes(place)) for place in places
    ]
    drive, before = [best, site.path("controller"), site.path(extent.last)], None
    for one in dict.fromkeys(drive):
        found = scored(site, one, seen)
        rows.append(_ledger.Stage(str(one.relative_to(site.out)), site.minutes(one), found, before))
        before = found
    tables = {table(site, run, seen) for run in (*dreams, *drive)} | {
        table(site, drive[-1], course)
    }
    rows.append(_ledger.Stage("scores", site.minutes(*tables)))
    return _ledger.table(rows, f"{seen.count} selection tracks, {seen.simulator}")


def arm(site: Site, seeds: int) -> Arm:
    """An eye for a comparison, with its memory and the scores of controllers of so many seeds,
    trained in dreams alone. They drive in envpool, which is faster, on the official tracks."""
    validate(site, "dream")
    for stage in recorded, eye, codes, memory:
        stage(site)
    scores, course = (
        [],
        Course("envpool", EXTENTS[site.preset].tracks, threads=torch.get_num_threads()),
    )
    for seed in range(seeds):
        mine = replace(site, seed=seed)
        dream(mine)
        scores.append(scored(mine, mine.path("dream"), course))
    seen, remembered = reopen(site.path("eye"), None), reopen(site.path("memory"), None)
    return Arm(site.eye, seen, remembered, store=site.out / "distracted", scores=scores)

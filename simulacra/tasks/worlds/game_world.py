"""World Models of any game, from nothing to a score: as world.py has it of CarRacing, with fewer
stages, and an eye that learns again from what the agent has come to see.

    OUT/EYE/episodes            recorded by players that know nothing
    OUT/EYE/eye, codes, memory  V on those, what it makes of them, M on that
    OUT/EYE/dream               C in M's dream
    OUT/EYE/learnt_1            recorded with that agent, with and without lapses
    OUT/EYE/eye_1, codes_1, memory_1, dream_1
                                the same of all recordings; V goes on, M begins anew, since codes
                                are others; and so on, a round each
    OUT/EYE/controller          C in the game itself, from the last dream; not in games whose agents
                                are trained in dreams alone
    OUT/EYE/score.csv           a row an episode, on seeds that nothing was chosen on
    OUT/EYE/stages.jsonl        seconds that each took

Another seed than 0 has all of it in a folder of its own, OUT/EYE_seed1, since nothing is shared.

Reference: Ha, Schmidhuber, "World Models", arXiv 1803.10122, sections 4 and 5.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from simulacra.core import config
from simulacra.core.config import Config
from simulacra.core.contract import AutoEncoder
from simulacra.core.errors import Mistake, choose
from simulacra.core.load import able, reopen
from simulacra.envs.carracing.tracks import OFFICIAL
from simulacra.envs.episodes import Store
from simulacra.envs.game import ENDLESS, Game
from simulacra.models.world.agent import agent_of
from simulacra.tasks.train import train
from simulacra.tasks.worlds import _ledger, _rehearsal
from simulacra.tasks.worlds._watched import Shown, Stopped
from simulacra.tasks.worlds.encode import Stored, encode
from simulacra.tasks.worlds.record import record
from simulacra.tasks.worlds.score import Course, score

TRAINED = "eye", "memory", "dream", "controller"
STAGES = "record", *TRAINED
FIRST = 10  # seed of the recordings before the first round's


class Extent(NamedTuple):
    """What the configs of a preset do not say; `record.KEY=VALUE` changes it."""

    episodes: int = 200
    steps: int = 0  # of each at most; 0: as the game has it
    rounds: int = 1  # of recording with the agent
    learnt: int = 60  # episodes recorded in each
    judged: int = 100  # episodes that are scored


EXTENTS = {
    "tiny": Extent(6, 40, 1, 3, 2),
    "laptop": Extent(),
}


@dataclass(frozen=True)
class GameSite:
    """Where the stages of a game are."""

    out: Path
    game: Game
    eye: str = "vae"
    preset: str = "laptop"
    seed: int = 0  # of everything that is trained, and of the recordings
    notify: Callable[[str, float], None] = lambda stage, share: None
    shown: Callable[[Config, str], Any] = lambda checked, stage: Shown()
    changes: dict[str, list[str]] = field(default_factory=dict)  # by stage, KEY=VALUE

    @property
    def folder(self) -> Path:
        """Of this eye and seed."""
        return self.out / f"{self.eye}{f'_seed{self.seed}' * bool(self.seed)}"

    def path(self, stage: str, turn: int = 0) -> Path:
        """Of a stage in a round."""
        return self.folder / f"{stage}{f'_{turn}' * bool(turn)}"

    def asked(self, stage: str) -> list[str]:
        """Changes of a stage: the game's own, then a person's."""
        return [*self.game.stages.get(stage, ()), *self.changes.get(stage, [])]

    @property
    def extent(self) -> Extent:
        """Of the recordings; a Mistake names what is no number or out of range."""
        own = self.game.stages.get("record", ()) if self.preset == "laptop" else ()
        found = EXTENTS[self.preset]
        for text in (*own, *self.changes.get("record", [])):
            name, _, value = text.partition("=")
            choose("record", name, list(Extent._fields))
            least = 0 if name in ("rounds", "steps") else 2
            most = len(OFFICIAL) if name == "judged" else ENDLESS
            if not value.isdecimal() or not least <= int(value) <= most:
                raise Mistake(f"record.{name} = {value}; allowed: {least} to {most:,}")
            found = found._replace(**{name: int(value)})
        return found

    def resolved(self, stage: str, *own: str) -> Config:
        """The config of a stage, with the changes that are its own."""
        source = {"eye": f"{self.eye}_game", "memory": "memory_game"}.get(stage, "controller_game")
        mine = self.game.stages.get(stage, ()) if self.preset == "laptop" else ()
        return config.resolve(
            source, self.preset, [*own, *mine, *self.changes.get(stage, []), f"seed={self.seed}"]
        )

    def train(self, stage: str, *own: str, turn: int = 0) -> None:
        """Finish the run of a stage."""
        checked = self.resolved(stage, *own)
        with self.shown(checked, f"{stage} of {self.game.name}") as shown:
            outcome = train(
                checked, self.path(stage, turn), self.folder, tick=shown.tick, saved=shown.saved
            )
        if not outcome.done:
            stopped = Stopped(
                f"stopped in stage {stage} at step {outcome.step:,}; "
                "the same command goes on from there"
            )
            stopped.status = outcome.status or Stopped.status
            raise stopped


def changes(texts: list[str]) -> dict[str, list[str]]:
    """By stage, from STAGE.KEY=VALUE; a Mistake if there is no such stage."""
    found: dict[str, list[str]] = {}
    for text in texts:
        stage, _, change = text.partition(".")
        found.setdefault(choose("stage", stage, list(STAGES)), []).append(change)
    return found


def eyes() -> list[str]:
    """The models that can be the eye of a game: auto-encoders with a config of its pictures."""
    return [one for one in able(AutoEncoder).split(", ") if f"{one}_game" in config.configs()]


# --- stages ---------------------------------------------------------------------------------------


def stores(site: GameSite, turn: int) -> list[Path]:
    """The recordings that there are in a round."""
    return [site.path("episodes"), *(site.path("learnt", i + 1) for i in range(turn))]


def recorded(site: GameSite, turn: int = 0) -> None:
    """Episodes: of players that know nothing, or of the agent that dreamt last."""
    extent, place = site.extent, stores(site, turn)[-1]
    how: dict[str, Any] = {"steps": extent.steps or None}
    how["notify"] = lambda _, share: site.notify(f"recording {place.name}", share)
    if not turn:
        record(place, site.game, extent.episodes, FIRST * site.seed, **how)
        return
    agent = agent_of(reopen(site.path("dream", turn - 1), None), site.path("eye", turn - 1))
    mixture = {"agent": 0.3, "learnt": 0.7}
    seed = FIRST * site.seed + turn
    record(place, site.game, extent.learnt, seed, mixture, agent=agent, **how)


def eye(site: GameSite, turn: int = 0) -> None:
    """V, of all frames so far."""
    site.train("eye", *_eye(site, turn), turn=turn)


def _eye(site: GameSite, turn: int) -> list[str]:
    first, *others = (place.name for place in stores(site, turn))
    names = ", ".join(f'"{name}"' for name in others)
    own = [f"data.path={first}", *([f"data.more=[{names}]"] if others else [])]
    return [*own, *([f"init_from={site.path('eye', turn - 1)}"] if turn else [])]


def codes(site: GameSite, turn: int = 0) -> None:
    """All recordings so far as the round's V sees them."""
    opened, target = reopen(site.path("eye", turn), None), site.path("codes", turn)

    def notify(done: int, of: int) -> None:
        site.notify(target.name, done / of)

    for place in stores(site, turn):
        encode(opened, Stored(Store(place), f"{place.name}_"), target, notify=notify)


def memory(site: GameSite, turn: int = 0) -> None:
    """M, of the round's codes."""
    site.train("memory", f"data.path={site.path('codes', turn).name}", turn=turn)


def dream(site: GameSite, turn: int = 0) -> None:
    """C, in the round's dream."""
    kind = ["experiment=dream"] if site.preset == "laptop" else []
    site.train("dream", *kind, *_agent(site, turn), "hyper.world=dream", turn=turn)


def controller(site: GameSite, turn: int) -> None:
    """C, in the game itself, from the last dream."""
    own = "hyper.world=gymnasium", f"init_from={site.path('dream', turn)}"
    site.train("controller", *_agent(site, turn), *own)


def _agent(site: GameSite, turn: int) -> list[str]:
    return [
        f"data.path={site.path('codes', turn).name}",
        f"hyper.memory={site.path('memory', turn)}",
        f"hyper.eye={site.path('eye', turn)}",
        f"hyper.squash={squash(site.game)}",
    ]


def squash(game: Game) -> str:
    """How a controller's numbers become actions of a game."""
    return "argmax" if game.does().kind == "discrete" else "tanh"


def judged(site: GameSite) -> Path:
    """The run that is scored."""
    last = site.extent.rounds
    return site.path("dream", last) if site.game.dream_only else site.path("controller")


def scored(site: GameSite) -> dict[str, Any]:
    """The mean of the search distribution over the first official seeds."""
    run, target = judged(site), site.folder / "score.csv"
    course = Course("gymnasium", site.extent.judged)
    opened = reopen(run, None)
    return score(
        opened,
        course,
        target,
        eye=site.path("eye", site.extent.rounds),
        notify=lambda _, share: site.notify(f"score of {run.name}", share),
    )


def game_world(site: GameSite) -> dict[str, Any]:
    """All stages; what was scored, as numbers and words."""
    choose("eye", site.eye, eyes())
    choose("preset", site.preset, list(EXTENTS))
    validate(site)
    ledger, rounds = site.folder / "stages.jsonl", site.extent.rounds
    for turn in range(rounds + 1):
        for stage in recorded, eye, codes, memory, dream:
            place = stores(site, turn)[-1] if stage is recorded else site.path(stage.__name__, turn)
            with _ledger.timed(ledger, place.name, place):
                stage(site, turn)
    if not site.game.dream_only:
        with _ledger.timed(ledger, "controller", site.path("controller")):
            controller(site, rounds)
    with _ledger.timed(ledger, "score", site.folder / "score.csv"):
        return scored(site)


def validate(site: GameSite) -> None:
    """A Mistake if the game cannot be played, a stage does not allow a change, or stages do not fit
    each other: told before the hours of the stages before it."""
    actions, extent = site.game.does(), site.extent
    last = ("eye", "memory", "dream") if site.game.dream_only else TRAINED
    if site.game.dream_only and (lost := site.changes.get("controller")):
        raise Mistake(
            f"controller.{lost[0]}: agents of {site.game.name} are trained in dreams alone; "
            f"allowed stages: record, {', '.join(last)}"
        )
    asked = {stage: [f"hyper.squash={squash(site.game)}"] for stage in ("dream", "controller")}
    if site.preset == "laptop":
        asked["dream"].append("experiment=dream")
    asked["dream"].append("hyper.world=dream")
    plans = {stage: site.resolved(stage, *asked.get(stage, [])) for stage in last}
    _rehearsal.rehearse(extent.steps or site.game.steps, plans, actions.size, padded=True)

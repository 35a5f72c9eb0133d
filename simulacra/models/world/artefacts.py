"""The parts of an agent, taken from their run folders, each with the hash of its checkpoint."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from simulacra.core import answers, contract, packed, run
from simulacra.core.contract import AutoEncoder
from simulacra.core.errors import Mistake, choose
from simulacra.core.load import Opened, able, reopen
from simulacra.envs.carracing.view import ACTIONS, WORLD
from simulacra.envs.game import Game, find
from simulacra.envs.plays import Plays
from simulacra.envs.view import RACING, Actions, View, same
from simulacra.models.world import seeing
from simulacra.models.world.acting import Eye, Factory
from simulacra.models.world.memory_nets import Memory, check_eye

# what each simulator is imported from
PACKAGES = {"envpool": "envpool", "gymnasium": "gymnasium.envs.box2d.car_racing"}


class Coder:
    """A model that codes pictures, as an eye. The size of its codes is that of an example's."""

    def __init__(self, model: AutoEncoder, example: Tensor):
        with torch.no_grad():
            self.z_size = answers.encoded(model, example)[0].shape[1]
        self.model = model
        self.encode = partial(answers.encoded, model)
        self.decode = partial(answers.decoded, model)


class Seen(NamedTuple):
    """An eye, its hash, and what it sees."""

    eye: Eye
    hash: str  # 32 letters 0 to f
    view: View | None = None  # None: nobody asked
    notes: tuple[str, ...] = ()  # what had to be assumed of it


def hash_of(opened: Opened) -> str:
    """The digest of an opened run's weights, as its file `done` has it;
    of a packed run, what it was before."""
    if packed.is_packed(opened.folder):
        return packed.facts(opened.folder)[1]
    return run.digest(run.states(opened.model))


def eye_of(opened: Opened) -> Seen:
    """The run's model as an eye; a Mistake if it encodes no pictures."""
    if not isinstance(opened.model, AutoEncoder):
        raise Mistake(
            f"{opened.folder} is a run of model {opened.config.model}, which has no codes; "
            f"allowed: models {able(AutoEncoder)}"
        )
    eye: Eye = Coder(opened.model, opened.like(1)["image"])
    return Seen(eye, hash_of(opened))


def eye_seen(opened: Opened) -> Seen:
    """The same with what it sees; for whoever shows it frames."""
    seen, known = eye_of(opened), seeing.of_run(opened)
    return seen._replace(view=known.view, notes=known.notes)


def eye_of_world(opened: Opened) -> Seen:
    """The run's model as an eye for the world;
    a Mistake if it sees other pictures than the world can show."""
    seen = eye_seen(opened)
    able = msgspec.structs.replace(WORLD, hud=None, crop=None)
    if is_own(seen.view):  # whose rate is its own
        able = msgspec.structs.replace(able, rate=None)
    same(seen.view, str(opened.folder), able, "the world")
    return seen


def memory_of(folder: str, key: str = "hyper.memory") -> Memory:
    """M of a run of world_memory, as one looks at it: averaged where the run averages.
    `key` is what named it."""
    opened = reopen(Path(folder).expanduser(), None)
    if not isinstance(opened.model, contract.Memory):
        raise Mistake(
            f"{key}: {folder} is a run of model {opened.config.model}; allowed: model "
            f"{able(contract.Memory)}"
        )
    memory: Memory = opened.model.average.module
    return memory


def eye_at(folder: str) -> Seen:
    """The eye of a run folder."""
    if not folder:
        raise Mistake(
            "hyper.eye is empty; allowed: the run folder of an eye, "
            "since agents of this world see pictures"
        )
    return eye_of_world(reopen(Path(folder).expanduser(), None))


def same_eye(memory: Memory, seen: Seen) -> None:
    """A Mistake with both hashes if the memory was trained on codes of another eye."""
    check_eye(memory, torch.tensor([list(bytes.fromhex(seen.hash))], dtype=torch.uint8))


def is_own(view: View | None) -> bool:
    """Whether what is seen is another game than CarRacing."""
    return view is not None and view.world not in (None, RACING)


def actions_of(view: View | None) -> Actions | None:
    """What can be done in the world that is seen; None: it is not known which world that is."""
    if view is None or view.world is None:
        return None
    return view.actions if isinstance(view.actions, Actions) else ACTIONS


def game_of(view: View) -> Game:
    """The game that is seen; a Mistake if it is not known here, or not the one that was seen."""
    assert view.world
    try:
        game = find(view.world)
    except Mistake as error:
        raise Mistake(f"{error}; a game of your own is named by its file, --game FILE") from None
    same(view, "what was learnt", game.view(), f"game {game.name}")
    return game


def world(name: str, view: View | None, *threads: int) -> Factory:
    """The world as this view has it: the game that it is of, in this process, or else CarRacing as
    the simulator of this name plays it, in so many threads or processes."""
    if view is None or not is_own(view):
        return seeing.shown(factory(name, *threads), view)
    choose(f"simulator of {view.world}", name, ["gymnasium"])
    return partial(Plays, game_of(view))


def factory(name: str, threads: int = 0) -> Factory:
    """The world of this name: CarRacing as envpool or as gymnasium plays it, in so many threads or
    processes (0: as many as torch has threads); a Mistake if its package is not there."""
    module = PACKAGES[choose("world", name, list(PACKAGES))]
    racing = import_module("simulacra.envs.carracing.racing")
    racing.needed(module)
    made: Factory = partial(racing.Pool, name, threads=threads or torch.get_num_threads())
    return made

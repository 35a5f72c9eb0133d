"""A game that is not CarRacing: what one file says of it, and how it is found.

A file ends with `GAME = Game(...)`. It lies in envs/games, or anywhere and is named by its path;
any environment that gymnasium knows is a game by its ID.

    game = find("cartpole")          # or "CartPole-v1", or "mine/snake.py"
    with Plays(game, seeds=[1, 2]) as plays: ...      # envs/plays.py
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core import extras
from simulacra.core.errors import Mistake, meant, shown
from simulacra.envs import RACING
from simulacra.envs.view import Actions, View

SIZE = 64  # pixels, height and width, of what eyes see
FOLDER = Path(__file__).parent / "games"
WIDE = 1e6  # a bound beyond it is none
ENDLESS = 100_000  # steps of an episode at most


@dataclass(frozen=True, eq=False)
class Game:
    """One game. Only the first two must be said."""

    name: str  # by which views, stores and runs know it
    # a new environment of gymnasium, with render_mode = "rgb_array" or pictures as observations
    make: Callable[[], Any]
    packages: tuple[str, ...] = ("gymnasium",)  # modules that it needs
    extra: str = "worlds"  # of this package, which installs them
    # a picture (H, W, 3) uint8 of (environment, observation); None: the observation if it is one,
    # else what is rendered
    see: Callable[[Any, Any], Any] | None = None
    # first row, end row, first column, end column that are shown, shrunk by areas to 64 x 64
    crop: tuple[int, int, int, int] | None = None
    steps: int = 1000  # of the longest episode, each one action
    repeat: int = 1  # steps of the environment that one action lasts; their rewards are summed
    rate: int | None = None  # steps of the environment in a second; None: not known
    names: tuple[str, ...] = ()  # of the choices, or of the numbers of an action
    # of a choice's name, or of a number's "NAME -" and "NAME +", the key; as browsers call it
    keys: Mapping[str, str] = field(default_factory=dict)
    score: str = "the sum of rewards"  # what an episode is worth, in words
    solved: float | None = None  # the mean score of 100 episodes from which it counts as solved
    dream_only: bool = False  # whether agents are trained in dreams alone
    # by stage of `simulacra world` (record, eye, memory, dream, controller): KEY=VALUE
    stages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def environment(self) -> Any:
        """A new environment; a Mistake if something that it needs is not installed."""
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pictures need no window
        for package in self.packages:
            needed(package, self)
        try:
            return self.make()
        except Exception as error:
            if type(error).__name__ == "DependencyNotInstalled":
                raise lacking(self, error) from None
            raise Mistake(f"game {self.name} cannot be made: {plain(error)}") from None

    def versions(self) -> dict[str, str]:
        """Of the packages that it needs."""
        found = {}
        for package in self.packages:
            try:
                found[package] = version(package)
            except PackageNotFoundError:  # a module that has another name than its package
                found[package] = ""
        return found

    def view(self) -> View:
        """What its frames show and what can be done; a Mistake if that is nothing an agent can."""
        return _view(self)

    def does(self) -> Actions:
        """What can be done."""
        actions = self.view().actions
        assert isinstance(actions, Actions)
        return actions


@cache
def _view(game: Game) -> View:
    environment = game.environment()
    try:
        space, metadata = environment.action_space, getattr(environment, "metadata", {})
    finally:
        environment.close()
    rate = game.rate or metadata.get("render_fps")
    return View(
        size=SIZE,
        channels=3,
        crop=game.crop,
        rate=None if rate is None else max(1, round(rate / game.repeat)),
        range=(-1.0, 1.0),
        game=game.name,
        actions=actions(game, space),
    )


def actions(game: Game, space: Any) -> Actions:
    """What can be done in a space of actions; a Mistake if it is neither choices nor numbers."""
    kind = type(space).__name__
    if kind not in ("Discrete", "Box"):
        raise Mistake(
            f"game {game.name} has actions of kind {kind}; allowed: Discrete, Box "
            "(a wrapper in the game's file can make one of the other)"
        )
    size = int(space.n) if kind == "Discrete" else int(np.prod(space.shape))
    names = game.names or tuple(str(i) for i in range(size))
    if len(names) != size or len(set(names)) != size:
        raise Mistake(f"game {game.name}: {len(set(names))} names; allowed: {size}, as its actions")
    keys = dict(game.keys) or {name: str(i + 1) for i, name in enumerate(names[:9])}
    able = set(names) if kind == "Discrete" else {f"{name} {end}" for name in names for end in "-+"}
    if game.keys and (strange := sorted(set(keys) - able)):
        raise Mistake(
            f"game {game.name}: keys of '{strange[0]}'; allowed: {', '.join(sorted(able))}"
        )
    if kind == "Discrete":
        return Actions(kind="discrete", size=size, names=names, keys=keys, repeat=game.repeat)
    ends = {"low": (-1.0,) * size, "high": (1.0,) * size}
    keys = keys if game.keys else {}
    return Actions(kind="box", size=size, names=names, keys=keys, repeat=game.repeat, **ends)


def taken(space: Any, action: np.ndarray) -> Any:
    """What an environment takes for an action (A,) of ours: the choice whose number is largest, or
    numbers of which -1 and 1 are its bounds; a number without bounds stays as it is."""
    if type(space).__name__ == "Discrete":
        return int(space.start) + int(np.argmax(action))
    low, high = np.asarray(space.low, float), np.asarray(space.high, float)
    bounded = (low > -WIDE) & (high < WIDE)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    found = low + (np.clip(action.reshape(space.shape), -1, 1) + 1) / 2 * (high - low)
    return found.astype(space.dtype)


def needed(module: str, game: Game) -> Any:
    """The module; a Mistake that names the extra if it is not there."""
    try:
        return import_module(module)
    except ImportError as error:
        raise lacking(game, error) from None


def lacking(game: Game, error: Exception) -> Mistake:
    """What to say if something is not installed."""
    return Mistake(
        f"game {game.name} needs the extra `{game.extra}` ({plain(error)}); install it with: "
        f"{extras.install(game.extra)}"
    )


def plain(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


# --- finding --------------------------------------------------------------------------------------

LOADED: dict[
    str, Game
] = {}  # by name: games of files that were named, as long as the process lives


def files() -> dict[str, Path]:
    """The games of the package, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("[!_]*.py"))}


def find(text: str) -> Game:
    """The game of a name, of a file, or of an ID of gymnasium; a Mistake if there is none."""
    if text in LOADED:
        return LOADED[text]
    if text in files():
        return of_module(import_module(f"simulacra.envs.games.{text}"), text)
    if text.endswith(".py"):
        return of_file(Path(text).expanduser())
    return of_id(text)


def of_file(path: Path) -> Game:
    """The game of a file, which is run; from then on it is known by its name too."""
    if not path.is_file():
        raise Mistake(f"game = {path}: there is no such file; simulacra new game NAME writes one")
    spec = spec_from_file_location(f"simulacra_game_{path.stem}", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Mistake(f"{path} does not run: {plain(error)}") from None
    game = of_module(module, str(path))
    if game.name in files():
        raise Mistake(f"{path}: name = {game.name} is that of a game of the package")
    LOADED[game.name] = game
    return game


def of_module(module: Any, source: str) -> Game:
    """What a file says; a Mistake if it is not whole."""
    game = getattr(module, "GAME", None)
    if not isinstance(game, Game):
        raise Mistake(f"{source} ends without GAME = Game(...), so it is no game")
    bounds = ("steps", game.steps, ENDLESS), ("repeat", game.repeat, 1000)
    for name, value, most in bounds:
        if not 1 <= value <= most:
            raise Mistake(f"{source}: {name} = {value}; allowed: 1 to {most:,}")
    if (crop := game.crop) and not (0 <= crop[0] < crop[1] and 0 <= crop[2] < crop[3]):
        raise Mistake(f"{source}: crop = {crop}; allowed: first row, end row, first, end column")
    return game


def of_id(text: str) -> Game:
    """The environment that gymnasium knows by this ID, with nothing said of it."""
    known = f"{', '.join(files())}, a file NAME.py, or an ID of gymnasium such as CartPole-v1"
    plain_game = Game(text, lambda: None)
    gymnasium = needed("gymnasium", plain_game)
    try:
        spec = gymnasium.spec(text)
    except Exception as error:
        near = meant(text, [*files(), RACING]) or f" ({plain(error)})"
        raise Mistake(f"game = {shown(text)}{near}; allowed: {known}") from None
    steps = min(spec.max_episode_steps or 1000, ENDLESS)

    def make() -> Any:
        return gymnasium.make(text, render_mode="rgb_array", disable_env_checker=True)

    return Game(text, make, steps=steps, solved=spec.reward_threshold)

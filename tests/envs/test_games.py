"""Games that are not CarRacing: one file each, found by name, file or ID; plays that end, break and
close; what memories are told of actions."""

import gc
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import gymnasium
import numpy as np
import pytest

from simulacra.core.errors import Mistake
from simulacra.envs import RACING, WORLDS, game
from simulacra.envs.carracing.view import WORLD
from simulacra.envs.game import Game, actions, files, find, taken
from simulacra.envs.plays import Plays
from simulacra.envs.view import Actions, View, read, same, written

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete


class Stripes(gymnasium.Env):
    """Pictures 20 x 30 whose left third is bright; ends after `steps`, or breaks at `breaks`."""

    open = 0
    render_mode = None
    metadata: ClassVar[dict] = {}
    action_space = Discrete(2)
    observation_space = Box(0, 255, (20, 30, 3), np.uint8)

    def __init__(self, steps: int = 5, breaks: int = -1):
        self.steps, self.breaks, self.t = steps, breaks, 0
        Stripes.open += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.breaks == 0:
            raise RuntimeError("no map")
        return self.seen(), {}

    def step(self, action):
        self.t += 1
        if self.t == self.breaks:
            raise ValueError("lost\nits way")
        return self.seen(), 1.0 + action, self.t == self.steps, False, {}

    def seen(self):
        picture = np.zeros((20, 30, 3), np.uint8)
        picture[:, :10] = 50 + self.t
        return picture

    def close(self):
        Stripes.open -= 1


STRIPES = Game("stripes", Stripes, steps=8, names=("less", "more"))


def one(n: int, choice: int) -> np.ndarray:
    """The same choice for n plays."""
    return np.tile(np.eye(2, dtype=np.float32)[choice], (n, 1))


def test_plays_end_by_themselves_by_limit_and_by_a_fault():
    lengths = iter([(5, -1), (100, -1), (9, 3), (5, 0)])
    mixed = replace(STRIPES, make=lambda: Stripes(*next(lengths)))
    STRIPES.view()
    with Plays(mixed_with(mixed), [1, 2, 3, 4]) as plays:
        first = plays.reset()
        assert first.shape == (4, 3, 64, 64) and first[0, :, :, :20].min() == 50
        assert first[0, :, :, 22:].max() == 0 and not first[3].any()
        assert plays.faults == {3: "RuntimeError: no map"} and Stripes.open == 3
        paid = np.zeros(4)
        for t in range(8):
            step = plays.step(one(4, 1))
            paid += step.rewards
            assert step.alive.tolist() == [t < 4, t < 7, t < 2, False]
        assert step.terminated.tolist() == [True, False, False, False]
        assert paid.tolist() == [10, 16, 4, 0]
        assert plays.faults[2] == "ValueError: lost its way"
        assert Stripes.open == 0, "an environment is closed when its play has ended"


def mixed_with(mixed: Game) -> Game:
    """The game whose view is known already, so that no environment is made to ask for it."""
    object.__setattr__(mixed, "view", STRIPES.view)
    return mixed


def test_repeated_actions_are_summed_and_stop_at_the_end():
    with Plays(replace(STRIPES, repeat=3), [1]) as plays:
        plays.reset()
        assert plays.step(one(1, 0)).rewards.tolist() == [3] and plays.actions.repeat == 3
        last = plays.step(one(1, 0))
        assert last.rewards.tolist() == [2] and last.terminated.all()


def test_a_hundred_games_that_nobody_closes_are_closed():
    plays = Plays(STRIPES, range(100))
    plays.reset()
    assert Stripes.open == 100
    del plays
    gc.collect()
    assert Stripes.open == 0


def test_a_game_in_which_nothing_begins_says_so():
    with pytest.raises(Mistake, match="stripes cannot begin: RuntimeError: no map"):
        Plays(mixed_with(replace(STRIPES, make=lambda: Stripes(5, 0))), [1, 2]).reset()
    gc.collect()
    assert Stripes.open == 0


def test_pictures_are_cropped_then_shrunk():
    cropped = replace(STRIPES, crop=(0, 20, 0, 10))
    with Plays(cropped, [1]) as plays:
        assert plays.reset().min() == 50, "the dark part is left out"
    with pytest.raises(Mistake, match=r"crop = \(0, 21, 0, 10\); allowed: .* 20 rows and 30 col"):
        Plays(replace(STRIPES, crop=(0, 21, 0, 10)), [1]).reset()
    blind = replace(STRIPES, see=lambda environment, seen: None)
    with pytest.raises(Mistake, match="stripes shows nothing; allowed: pictures"):
        Plays(blind, [1]).reset()
    with pytest.raises(Mistake, match=r"game FrozenLake-v1 shows|cannot be made|shows"):
        Plays(replace(STRIPES, see=lambda environment, seen: np.zeros(3)), [1]).reset()


@pytest.mark.parametrize(
    ("space", "action", "wanted"),
    [
        (Discrete(3), [0, 1, 0], 1),
        (Discrete(3, start=5), [0, 0, 1], 7),
        (Box(np.float32([0, -2]), np.float32([1, 2])), [-1, 0.5], [0, 1]),
        (Box(-np.inf, np.inf, (2,)), [0.5, -3], [0.5, -1]),
    ],
)
def test_actions_as_environments_take_them(space, action, wanted):
    assert np.allclose(taken(space, np.float32(action)), wanted)
    assert space.contains(taken(space, np.float32(action)))


def test_actions_that_no_agent_has_are_refused():
    for space in gymnasium.spaces.MultiBinary(3), gymnasium.spaces.Dict({}):
        with pytest.raises(Mistake, match=r"actions of kind \w+; allowed: Discrete, Box"):
            actions(STRIPES, space)
    with pytest.raises(Mistake, match="2 names; allowed: 3, as its actions"):
        actions(STRIPES, Discrete(3))
    with pytest.raises(Mistake, match="keys of 'up'; allowed: less, more"):
        actions(replace(STRIPES, keys={"up": "w"}), Discrete(2))
    bent = replace(STRIPES, names=("bend",), keys={"bend -": "a", "bend +": "d"})
    found = actions(bent, Box(-2, 2, (1,)))
    assert (found.kind, found.low, found.high, found.keys["bend -"]) == ("box", (-1,), (1,), "a")


def test_views_say_which_game_and_what_can_be_done_there():
    view = STRIPES.view()
    assert read(written(view), "here") == view and view.world == "stripes"
    assert view.actions == Actions(
        kind="discrete", size=2, names=("less", "more"), keys={"less": "1", "more": "2"}
    )
    assert WORLD.world == RACING and View(size=64).world is None
    assert "game" not in written(WORLD) and "actions" not in written(WORLD), "as it always was"
    with pytest.raises(Mistake, match="eye is of game stripes, store of game racing; allowed: one"):
        same(view, "eye", WORLD, "store")
    longer = replace(STRIPES, repeat=4).view()
    with pytest.raises(Mistake, match=r"actions of 2 choices, each for 1 step, .* for 4 steps"):
        same(view, "eye", longer, "store")
    same(view, "eye", View(size=64), "pictures of anything")


def test_games_are_found_by_name_file_and_id(tmp_path):
    assert set(WORLDS) == {RACING, *files()} and all(WORLDS.values())
    for name in files():
        found = find(name)
        assert found.name == name and found.solved is not None and found.keys
    assert find("Pendulum-v1").steps == 200
    for text in "nosuch", "NoSuch-v3":
        with pytest.raises(Mistake, match=f"game = '{text}' .*; allowed: acrobot, .*CartPole-v1"):
            find(text)
    with pytest.raises(Mistake, match=r"no such file; simulacra new game NAME writes one"):
        find(str(tmp_path / "gone.py"))
    (tmp_path / "half.py").write_text("GAME = 1 / 0")
    with pytest.raises(Mistake, match=r"half.py does not run: ZeroDivisionError"):
        find(str(tmp_path / "half.py"))
    (tmp_path / "half.py").write_text("GAME = 1")
    with pytest.raises(Mistake, match=r"half.py ends without GAME = Game"):
        find(str(tmp_path / "half.py"))


def test_a_game_that_is_not_installed_names_its_extra(monkeypatch):
    with pytest.raises(Mistake, match=r"game x needs the extra `doom` .*install it with: .*doom"):
        Game("x", Stripes, packages=("no_such_module",), extra="doom").environment()

    class DependencyNotInstalled(Exception):
        pass

    def make():
        raise DependencyNotInstalled("pygame")

    with pytest.raises(Mistake, match="needs the extra `worlds`"):
        Game("x", make).environment()
    with pytest.raises(Mistake, match="game x cannot be made: TypeError: an odd one"):
        Game("x", lambda: (_ for _ in ()).throw(TypeError("an odd one"))).environment()


def test_every_game_of_the_package_shows_what_it_says():
    for name in sorted(set(files()) - {"take_cover"}):
        with Plays(find(name), [3], limit=4) as plays:
            first = plays.reset()
            A = plays.actions.size
            for _ in range(4):
                last = plays.step(np.eye(A, dtype=np.float32)[[A - 1]]).frames
        assert first.any() and first.std() > 5 and not np.array_equal(first, last), name
        assert plays.actions.names == find(name).names and set(plays.actions.keys) <= set(
            plays.actions.names
        )


def test_take_cover_is_survived_tic_by_tic():
    pytest.importorskip("vizdoom", reason="the extra `doom` is not installed")
    with Plays(find("take_cover"), [3]) as plays:
        assert plays.reset().std() > 5
        step = plays.step(np.eye(3, dtype=np.float32)[[1]])
        assert step.rewards.tolist() == [4], "an action lasts four tics, and each pays 1"
        assert plays.actions.names == ("none", "right", "left")
        buttons = plays.environments[0].unwrapped.button_map
        left = [str(one) for one in plays.environments[0].unwrapped.game.get_available_buttons()]
        assert "LEFT" in left[int(np.argmax(buttons[2]))].upper()


def test_a_game_is_known_by_its_name_once_its_file_was_named(tmp_path, monkeypatch):
    monkeypatch.setattr(game, "LOADED", {})
    (tmp_path / "own.py").write_text(
        "from simulacra.envs.game import Game\nGAME = Game('own', lambda: None)\n"
    )
    with pytest.raises(Mistake):
        find("own")
    assert find(str(tmp_path / "own.py")) is find("own")
    (tmp_path / "twice.py").write_text(
        "from simulacra.envs.game import Game\nGAME = Game('cartpole', lambda: None)\n"
    )
    with pytest.raises(Mistake, match="name = cartpole is that of a game of the package"):
        find(str(tmp_path / "twice.py"))


def test_what_a_wrong_game_file_says_is_told():
    wrong = {"steps = 0; allowed: 1 to": {"steps": 0}, "crop = ": {"crop": (5, 5, 0, 9)}}
    for words, said in wrong.items():
        with pytest.raises(Mistake, match=words):
            game.of_module(SimpleNamespace(GAME=replace(STRIPES, **said)), "x.py")

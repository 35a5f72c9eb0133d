"""The fast drawing of CarRacing shows what gymnasium's own shows, to the pixel."""

import numpy as np
import pytest

from simulacra.envs.carracing import drawing
from simulacra.envs.carracing.drawing import Drawing
from simulacra.envs.carracing.game import TESTED, Game
from simulacra.envs.carracing.policies import Brownian, Scripted, generator
from simulacra.envs.carracing.racing import Pool, small
from simulacra.envs.carracing.tracks import OFFICIAL

for package in "gymnasium", "Box2D", "pygame":
    pytest.importorskip(package, reason=f"CarRacing needs {package}, of the extra worlds")


def slow(seed: int, tracks: str = "shared") -> Game:
    """A game that gymnasium draws."""
    one = Game(seed, tracks=tracks)
    one.env._render = one.env._render.own
    assert one.env._render.__func__ is type(one.env)._render
    return one


def trio(seed: int, tracks: str = "shared") -> list[Game]:
    """Drawn by gymnasium, here, here without the bar."""
    found = [slow(seed, tracks), Game(seed, tracks=tracks), Game(seed, tracks=tracks, hud=False)]
    assert [type(one.env._render) is Drawing for one in found] == [False, True, True]
    return found


def same(frames: list[np.ndarray]) -> bool:
    """Whether the three frames are one, the last above the bar and black there."""
    own, ours, cut = frames
    assert [(one.shape, one.dtype) for one in frames] == [((96, 96, 3), np.uint8)] * 3
    return np.array_equal(own, ours) and np.array_equal(own[:84], cut[:84]) and not cut[84:].any()


class Wild:
    """Steers and brakes at full strength, off the road and on."""

    def __init__(self, seed: int) -> None:
        self.stream, self.action = generator(seed), np.zeros(3)

    def act(self, game: Game) -> np.ndarray:
        """Anew every sixth of a second."""
        if self.stream.random() < 0.12:
            self.action = np.array(
                [
                    self.stream.choice([-1, 0, 1]),
                    self.stream.random(),
                    self.stream.choice([0, 0, 0.8, 1]),
                ]
            )
        return self.action


@pytest.mark.parametrize(
    ("seed", "tracks", "driver", "steps"),
    [
        (OFFICIAL[0], "shared", Scripted(), 160),
        (3, "own", Brownian(1), 110),
        (11, "shared", Wild(2), 160),
    ],
)
def test_whole_drives_are_drawn_alike(seed, tracks, driver, steps):
    """From the zoom of the first 50 steps on; the second time on the same track too."""
    games = trio(seed, tracks)
    offs, pictures = [], set()
    for length in (steps, 3):
        assert same([one.reset() for one in games])
        for k in range(length):
            action = driver.act(games[0])
            told = [one.step(action) for one in games]
            assert same([frame for frame, *_ in told]), f"step {k}"
            assert told[0][1:] == told[1][1:] == told[2][1:]
            pictures.add(told[0][0].tobytes())
            offs.append(abs(games[0].truth().lateral))
    assert len(pictures) > steps / 2
    if isinstance(driver, Wild):
        assert max(offs) > 20, "it leaves the road, which is 6.7 wide on either side"


@pytest.mark.parametrize("angle", [0, np.pi / 2, -np.pi, 2.5, 40.1])
@pytest.mark.parametrize("place", [(0, 0), (-320, 320), (331, 17), (333, -333)])
def test_any_place_and_direction_is_drawn_alike(place, angle):
    """At the field's end too, beyond which all is black."""
    games = trio(5)
    for one in games:
        one.reset()
        one.env.t = 3.0
        one.env.car.hull.position, one.env.car.hull.angle = place, angle
    assert same([one.env._render("state_pixels") for one in games])


@pytest.mark.parametrize("wheel", [0, 3])
def test_gauges_that_leave_the_bar_are_drawn_alike(wheel):
    games = trio(5)
    seen = []
    for one in games:
        one.reset()
        one.env.car.wheels[wheel].omega, one.env.reward = 640.0, -1234.5
        seen.append(one.env._render("state_pixels"))
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0][:84], seen[2][:84])
    one = games[0]
    one.env.car.wheels[wheel].omega = 0.0
    assert not np.array_equal(one.env._render("state_pixels")[:84], seen[0][:84]), (
        "it stood above the bar"
    )


def test_a_game_that_was_driven_too_far_is_drawn_alike():
    """After the end it can be driven on."""
    games = trio(6)
    for one in games:
        one.reset()
        one.env.t = 3.0
        one.env.car.hull.position, one.env.car.hull.angle = (0, 420), 0.4
    assert same([one.step(np.zeros(3))[0] for one in games])


def test_a_pool_without_the_bar_sees_the_same():
    pools = [Pool("gymnasium", [8], size=84, hud=False), Pool("gymnasium", [8], size=96, hud=True)]
    cut, whole = [pool.reset() for pool in pools]
    assert [pool._simulator.games[0].env._render.hud for pool in pools] == [False, True]
    assert whole.shape == (1, 3, 96, 96) and cut.shape == (1, 3, 84, 84)
    wanted = slow(8).reset()[None]
    assert np.array_equal(whole, wanted.transpose(0, 3, 1, 2)) and np.array_equal(
        cut, small(wanted, 84, False)
    )


def test_other_pictures_are_gymnasiums():
    """Those of people, at 600 x 400."""
    own, ours, _ = trio(5)
    for one in (own, ours):
        one.reset()
        one.env.render_mode = "rgb_array"
    assert np.array_equal(own.env.render(), ours.env.render()) and ours.env.render().shape == (
        400,
        600,
        3,
    )


def test_another_version_draws_itself_and_says_so(monkeypatch):
    assert TESTED["gymnasium"] == drawing.KNOWN
    wanted = Game(2).reset()
    monkeypatch.setattr(drawing, "version", lambda package: "1.5.0")
    with pytest.warns(RuntimeWarning, match=r"gymnasium is 1\.5\.0; how 1\.4\.0 draws is known"):
        one = Game(2)
    assert not isinstance(one.env._render, Drawing) and np.array_equal(one.reset(), wanted)
    with (
        pytest.warns(RuntimeWarning, match="drawn by gymnasium itself"),
        Pool("gymnasium", [1, 2], threads=2) as pool,
    ):
        assert pool.reset().shape == (2, 3, 64, 64)

"""Drivers: what they do follows from their seed, truths are geometry,
and the scripted one stays on the road."""

import math

import numpy as np
import pytest

from simulacra.core.errors import Mistake
from simulacra.envs.carracing.game import HALF_WIDTH, SPAN, TILE, Game, Road, wrapped
from simulacra.envs.carracing.policies import (
    POLICIES,
    Brownian,
    Ghosts,
    Idle,
    Lapses,
    Learnt,
    Random,
    Scripted,
    Tremor,
    generator,
    policy,
    solo,
    varied,
)
from simulacra.envs.carracing.racing import HIGH, LOW

for package in "gymnasium", "Box2D":
    pytest.importorskip(package, reason=f"CarRacing needs {package}, of the extra worlds")


@pytest.fixture
def game() -> Game:
    """An undrawn game at its start."""
    one = Game(3, drawn=False)
    one.reset()
    return one


def circle(radius: float = 100.0) -> Road:
    """A road that turns left around the origin, tiles of the game's length."""
    n = round(2 * math.pi * radius / TILE)
    around = 2 * math.pi * np.arange(n) / n
    return Road([(a, a, radius * math.cos(a), radius * math.sin(a)) for a in around])


def put(game: Game, x: float, y: float, angle: float) -> None:
    """Put the car there."""
    game.env.car.hull.position, game.env.car.hull.angle = (x, y), angle


def test_wrapped():
    assert [wrapped(a) for a in (0, math.pi, -math.pi, 7 * math.pi / 2)] == pytest.approx(
        [0, -math.pi, -math.pi, -math.pi / 2]
    )


def test_truth_by_hand(game):
    """On a circle of radius 100 driven counter-clockwise: left is inside."""
    game.road = circle()
    put(game, 97, 0, 0.2)
    truth = game.truth()
    assert truth.lateral == pytest.approx(3) and truth.heading == pytest.approx(0.2)
    assert truth.curvature == pytest.approx(1 / 100, rel=0.01) and truth.tile == 0
    put(game, 0, 104.5, math.pi / 2 - 0.3 + 2 * math.pi)
    truth = game.truth()
    assert truth.lateral == pytest.approx(-4.5, abs=0.1) and truth.heading == pytest.approx(
        -0.3, abs=0.02
    )
    assert truth.tile == pytest.approx(len(game.road) / 4, abs=1)


def test_truth_at_the_start_and_after_steering_right(game):
    start = game.truth()
    assert (
        abs(start.lateral) < 0.1
        and abs(start.heading) < 0.05
        and start.speed < 1
        and start.tile in (0, 1)
    )
    assert start.share == pytest.approx(2 / len(game.road)), "two tiles are visited at the start"
    straight = Game(3, drawn=False)
    straight.reset()
    for _ in range(35):
        game.step([0.3, 0.4, 0])
        straight.step([0, 0.4, 0])
    assert (
        game.truth().heading < straight.truth().heading - 0.1
        and game.truth().lateral < straight.truth().lateral - 0.3
    )
    assert 5 < game.truth().speed < 60


def test_road_sees_the_sharpest_bend():
    beta = np.zeros(100)
    beta[50:] = np.minimum(0.3 * np.arange(1, 51), 0.9)  # three tiles turn 0.3 each
    road = Road([(0, b, float(i), 0.0) for i, b in enumerate(beta)])
    assert road.sharpest(40, 20) == pytest.approx(0.9) and road.sharpest(20, 20) == pytest.approx(0)
    assert road.sharpest(95, 30) == pytest.approx(0.9, abs=0.01), "the road is a ring"
    assert road.turn[45] == pytest.approx(0.3) and SPAN == 5


def test_tracks_begin_where_the_car_is(game):
    x, y, angle, _ = game.pose()
    road = game.road
    assert math.hypot(x - road.x[0], y - road.y[0]) < 1 and abs(angle - road.beta[0]) < 0.05
    gaps = np.hypot(np.diff(road.x), np.diff(road.y))
    assert np.allclose(gaps, TILE, atol=1e-6)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_follows_from_its_seed_and_stays_in_bounds(name):
    drives = []
    for seed in 1, 1, 2:
        one, driver = Game(3, drawn=False), policy(name, seed)
        one.reset()
        actions = []
        for _ in range(120):
            actions.append(driver.act(one))
            one.step(actions[-1])
        drives.append(np.stack(actions))
    assert drives[0].shape == (120, 3) and drives[0].dtype == np.float32
    assert np.array_equal(drives[0], drives[1]) and (name in ("idle", "agent")) == np.array_equal(
        drives[0], drives[2]
    )
    assert all((drive >= [-1, 0, 0]).all() and (drive <= 1).all() for drive in drives)


def test_unknown_policy():
    with pytest.raises(
        Mistake, match="unknown policy 'drunk'; there is: idle, brownian, random, scripted"
    ):
        policy("drunk", 0)


def test_brownian_steps_have_the_variance_of_their_time(game):
    actions = np.stack(
        [action for seed in range(40) for action in _hand(Brownian(seed), game)]
    ).reshape(40, 50, 3)
    steps = np.diff(actions[:, :, 0], axis=1)
    inside = np.abs(actions[:, :-1, 0]) < 0.5  # four standard deviations from the bounds
    assert steps[inside].std() == pytest.approx(math.sqrt(1 / 50), rel=0.1)
    assert actions[:, 0].min(0) == pytest.approx([-1, 0, 0], abs=0.15) and actions[:, 0].max(
        0
    ) == pytest.approx(1, abs=0.15)


def _hand(driver: Brownian, game: Game) -> list[np.ndarray]:
    return [driver.act(game) for _ in range(50)]


def test_random_presses_what_the_public_codes_press():
    """400 drives of 10 actions: 10 % nothing, 40 % gas, 20 % left,
    20 % right, 10 % brake, U(0, 1) hard, 20 steps each."""
    actions = np.stack(
        [[driver.act(None) for _ in range(220)] for driver in map(Random, range(400))]
    ).reshape(400, 11, 20, 3)
    assert np.allclose(actions[:, 0], [-0.1, 1, 0]) and (actions == actions[:, :, :1]).all()
    kept = actions[:, 1:, 0].reshape(-1, 3)
    assert ((kept != 0).sum(1) <= 1).all()
    pressed = {"gas": kept[:, 1], "left": -kept[:, 0], "right": kept[:, 0], "brake": kept[:, 2]}
    for (name, value), share in zip(pressed.items(), (0.4, 0.2, 0.2, 0.1), strict=True):
        hard = value[value > 0]
        assert len(hard) / 4000 == pytest.approx(
            share, abs=4 * math.sqrt(share * (1 - share) / 4000)
        ), name
        assert (
            hard.mean() == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / len(hard)))
            and hard.std() > 0.27
        ), name
    assert (kept == 0).all(1).mean() == pytest.approx(0.1, abs=0.02)


def test_tremor_is_stationary_noise():
    """AR(1): the variance of what is left is that of a step over 1 - 0.95 squared."""
    driver = Scripted(tremor=Tremor(generator(0)))
    driver._aimed = lambda game: (0.0, 0.0, 0.0)
    noise = np.stack([driver.act(None) * 0 + driver.noise for _ in range(20_000)])[200:]
    assert noise.std(0) == pytest.approx(
        np.array([0.06, 0.05, 0.02]) / math.sqrt(1 - 0.95**2), rel=0.1
    )
    assert np.corrcoef(noise[1:, 0], noise[:-1, 0])[0, 1] == pytest.approx(0.95, abs=0.01)


def test_scripted_rules_by_hand(game):
    """Standing on a straight at the start: full gas, no brake; too fast before a bend: brake, no
    gas; car turned left of the road: steer right."""
    game.road = circle(1e4)
    put(game, 1e4, 0, 0)
    steer, gas, brake = Scripted()._aimed(game)
    assert abs(steer) < 0.01 and gas == 1 and brake == 0
    put(game, 1e4, 0, 0.1)
    error = -0.1  # the aim is straight ahead on the road
    assert Scripted()._aimed(game)[0] == pytest.approx(-1.5 * error, abs=0.01)
    put(game, 1e4, 0, 1.0)
    assert Scripted()._aimed(game)[0] == 0.4
    game.env.car.hull.linearVelocity = (0, 50)
    assert Scripted()._aimed(game)[1] == pytest.approx(0.1), "hardly any gas while steering hard"
    game.road = circle(15)  # five tiles turn 1.2 and more
    put(game, 15, 0, 0)
    target = 120 * (1 - 0.55 * game.road.sharpest(0, 20))
    steer, gas, brake = Scripted()._aimed(game)
    assert (
        game.road.sharpest(0, 20) > 1
        and gas == 0
        and brake == pytest.approx(min(-0.03 * (target - 50), 0.6))
    )


def test_scripted_driver_comes_round():
    """Three of gymnasium's own tracks: 879 on average over 12, standard deviation 31."""
    drives = [solo(Scripted(), seed, tracks="own") for seed in (0, 1, 3)]
    assert np.mean([pay for pay, *_ in drives]) > 800, drives


def test_slow_is_slow_and_idle_stands():
    fast, slow = (solo(Scripted(v, k), 0, 400)[0] for v, k in ((100, 120), (45, 60)))
    assert fast > slow + 50 > 150
    assert solo(Idle(), 0, 30)[0] == pytest.approx(2000 / 288 - 3)


def test_varied_drivers_differ_and_stay_near_the_road():
    """Of the notes: |lateral| has its median at 2.2, nine tenths are below 6.0."""
    offs, speeds = [], []
    for seed in range(6):
        one, driver = Game(seed, drawn=False), varied(seed)
        one.reset()
        for k in range(400):
            one.step(driver.act(one))
            if k >= 50:
                offs.append(abs(one.truth().lateral))
        speeds.append(driver.v_max)
    assert 40 <= min(speeds) < max(speeds) < 100 and max(speeds) - min(speeds) > 15
    assert 0.8 < np.median(offs) < 4 and np.percentile(offs, 90) < 10
    assert np.mean(np.array(offs) < HALF_WIDTH) > 0.8


def test_ghosts_drive_only_who_is_alive():
    ghosts = Ghosts([1, 1])
    for _ in range(30):
        ghosts.step(np.tile([0, 1, 0], (2, 1)), np.array([True, False]))
    moving, waiting = ghosts.truths()
    assert moving.speed > 5 > 1 > waiting.speed


def test_lapses_are_short_rare_and_arbitrary():
    lapses, wanted = Lapses(generator(5)), np.array([0.1, 0.2, 0.3], np.float32)
    done = np.stack([lapses.over(wanted) for _ in range(40_000)])
    off = (done != wanted).any(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], off, [False]]).astype(int)))
    lengths = np.diff(edges.reshape(-1, 2), axis=1)[:, 0]
    assert lengths.min() == 3 and lengths.max() < 40 and abs(off.mean() - 8.5 / 47.5) < 0.02
    assert (done[off] >= LOW).all() and (done[off] <= HIGH).all()
    assert (
        abs((done[off, 1] == 0).mean() - 1 / 2) < 0.05
        and abs((done[off, 2] == 0).mean() - 2 / 3) < 0.05
    )
    again = Lapses(generator(5))
    assert (np.stack([again.over(wanted) for _ in range(1000)]) == done[:1000]).all()


def test_a_learnt_driver_does_what_it_is_told_but_for_lapses():
    driver, told = Learnt(2), np.array([0.5, 0.4, 0.0], np.float32)
    driver.wanted = told
    done = np.stack([driver.act(None) for _ in range(500)])
    assert 0.6 < (done == told).all(1).mean() < 0.95
    itself = policy("agent", 2)
    itself.wanted = told
    assert all((itself.act(None) == told).all() for _ in range(500))


def test_careless_drivers_take_bends_too_fast_and_leave_the_road():
    """Speeds where the road turns by 0.5 or more within five of the next ten tiles:
    95 % are below 51, 46 and 60 units/s."""
    on, fast = {}, {}
    for name in "scripted", "distracted", "careless":
        offs, speeds = [], []
        for seed in range(12):
            one, driver = Game(seed, drawn=False), policy(name, seed)
            one.reset()
            for _ in range(300):
                one.step(driver.act(one))
                truth = one.truth()
                offs.append(abs(truth.lateral) < HALF_WIDTH)
                if one.road.sharpest(one.road.nearest(*one.pose()[:2]), 10) > 0.5:
                    speeds.append(truth.speed)
        on[name], fast[name] = np.mean(offs), np.percentile(speeds, 95)
    assert fast["careless"] > max(fast["scripted"], fast["distracted"]) + 5
    assert 0.4 < on["careless"] < 0.75 < on["scripted"]

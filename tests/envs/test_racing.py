"""CarRacing in batches: two simulators are one game, what ends stays ended,
and every trap of either is settled here."""

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from simulacra.core.errors import Mistake
from simulacra.envs.carracing import game, racing
from simulacra.envs.carracing.game import TESTED, Game, Mersenne
from simulacra.envs.carracing.policies import Scripted, solo
from simulacra.envs.carracing.racing import LARGEST, SIMULATORS, Pool, small

for package in "gymnasium", "Box2D", "pygame", "envpool":
    pytest.importorskip(package, reason=f"CarRacing needs {package}, of the extra worlds")

STRAIGHT = np.array([0.0, 0.3, 0.0], np.float32)


PROGRAM = """
import numpy as np
from simulacra.envs.carracing.racing import Pool
print("begun", flush=True)
with Pool("gymnasium", [5, 6]) as one, Pool("gymnasium", [5, 6], threads=2) as two:
    seen = [(pool.reset(), pool.step(np.full((2, 3), 0.3))) for pool in (one, two)]
steps = zip(seen[0][1], seen[1][1])
same = np.array_equal(seen[0][0], seen[1][0]) and all(np.array_equal(a, b) for a, b in steps)
print("equal" if same else "unequal", flush=True)
"""


def resident() -> float:
    """Megabytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def wiggle(steps: int, cars: int, seed: int = 0) -> np.ndarray:
    """Actions (steps, cars, 3) that keep for ten steps, with more gas than brake."""
    stream = np.random.default_rng(seed)
    few = stream.uniform((-0.4, 0, -0.5), (0.4, 1, 0.3), (steps // 10 + 1, cars, 3))
    return few.repeat(10, 0)[:steps].astype(np.float32)


def refusal(*arguments, **options) -> str:
    """What the Mistake says."""
    with pytest.raises(Mistake) as caught:
        Pool(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Versions and packages


@pytest.mark.parametrize("package", TESTED)
def test_versions_whose_rules_are_known(package):
    assert version(package) == TESTED[package], (
        f"{package} is {version(package)}; rules and pictures were compared with gymnasium "
        f"{TESTED['gymnasium']} and envpool {TESTED['envpool']}: if the other tests of this "
        "file pass, change TESTED in world/game.py, otherwise scores are no longer comparable"
    )


@pytest.mark.parametrize("kind", SIMULATORS)
@pytest.mark.parametrize(
    "error",
    [ImportError("No module named x"), type("DependencyNotInstalled", (Exception,), {})("box2d")],
)
def test_a_missing_package_names_the_extra(monkeypatch, kind, error):
    def fails(name):
        raise error

    monkeypatch.setattr(game, "import_module", fails)
    with pytest.raises(Mistake, match=r"-m pip install --editable .*\[worlds\]"):
        Pool(kind, [1]).reset()


def test_no_display_is_needed(monkeypatch):
    """An X server (W19, W15) is not asked for."""
    monkeypatch.setenv("DISPLAY", ":77")
    monkeypatch.setenv("SDL_VIDEODRIVER", "nothing of this name")
    assert Pool("gymnasium", [1]).reset().std() > 10


# One game


def test_equal_shapes_and_nearly_equal_pictures():
    """W19: the first frame is a picture at once, and that of a second game on the same track."""
    seen = {}
    for kind in SIMULATORS:
        with Pool(kind, [3, 8, 3]) as pool:
            first = pool.reset()
            for action in np.tile(STRAIGHT, (60, 3, 1)):
                step = pool.step(action)
        assert (
            first.shape == step.frames.shape == (3, 3, 64, 64)
            and first.dtype == step.frames.dtype == np.uint8
        )
        kinds = [(part.dtype, part.shape) for part in step[1:]]
        assert kinds == [
            (np.dtype(t), (3,)) for t in (np.float32, bool, bool, bool, np.int64, np.float64)
        ]
        assert np.array_equal(first[0], first[2]) and not np.array_equal(first[0], first[1])
        assert (step.steps == 60).all() and not step.zooming.any()
        seen[kind] = first, step
    for i, limit in (0, 8.0), (1, 5.0):  # the zoomed-out first frame has finer lines
        one, two = (
            np.float64(seen[kind][i] if i == 0 else seen[kind][i].frames) for kind in SIMULATORS
        )
        assert 0.1 < np.abs(one - two).mean() < limit
    assert np.allclose(seen["envpool"][1].progress, seen["gymnasium"][1].progress, atol=1e-5)


def test_mt19937_draws_as_the_standard_library_of_cpp_does():
    """std::mt19937(5489) is the default; its first outputs are 3499211612 and 581869302."""
    assert Mersenne(5489).uniform(-1, 3) == -1 + 4 * (3499211612 + 581869302 * 2**32) / 2**64


def test_shared_tracks_have_equal_tiles_and_returns():
    seeds = [0, 1, 77, 2**20 + 3, LARGEST]
    actions = wiggle(150, len(seeds))
    games = [Game(seed, drawn=False) for seed in seeds]
    for one in games:
        one.reset()
    with Pool("envpool", seeds) as pool:
        pool.reset()
        steps = [pool.step(action) for action in actions]
    returns = sum(step.rewards.astype(float) for step in steps)
    told = [
        sum(one.step(np.clip(a[i], [-1, 0, 0], 1))[1] for a in actions)
        for i, one in enumerate(games)
    ]
    # W22: the two tiles at the start are paid for at the first step
    tiles = 2000 / (steps[0].rewards + 0.1)
    assert np.allclose(tiles, [len(one.road) for one in games], atol=1e-2)
    assert len(set(tiles.round())) > 2
    assert np.allclose(returns, told, atol=0.05)
    assert np.allclose(steps[-1].progress, [one.truth().share for one in games], atol=4.1e-3), (
        "a tile more or less"
    )


def test_the_field_is_the_official_one():
    """W8: another copy of the game had a larger field."""
    module = pytest.importorskip("gymnasium.envs.box2d.car_racing")
    assert pytest.approx(2000 / 6) == module.PLAYFIELD
    assert type(Game(0, drawn=False).env) is module.CarRacing


@pytest.mark.parametrize("kind", SIMULATORS)
def test_idle_return(kind):
    """Two tiles less a tenth a step."""
    steps = 40 if kind == "gymnasium" else 200
    with Pool(kind, [4, 5]) as pool:
        pool.reset()
        rewards = [pool.step(np.zeros((2, 3))).rewards for _ in range(steps)]
    tiles = [len(_road(seed)) for seed in (4, 5)]
    assert np.allclose(np.sum(rewards, 0), 2000 / np.array(tiles) - 0.1 * steps, atol=1e-3)
    assert np.allclose(rewards[1], -0.1, atol=1e-4), "only the first step pays for them"


def _road(seed: int) -> game.Road:
    one = Game(seed, drawn=False)
    one.reset()
    return one.road


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_straight_on_leaves_the_field(seed):
    """W22 on gymnasium's own tracks: at gas 0.3 the field is left after 220 to 312 steps, which
    costs 100 in place of that step's reward."""
    one = Game(seed, drawn=False, tracks="own")
    one.reset()
    rewards, ended = [], False
    while not ended:
        _, reward, ended, info = one.step(STRAIGHT)
        rewards.append(reward)
    assert 220 <= len(rewards) <= 312 and rewards[-1] == -100 and info == {"lap_finished": False}
    assert max(abs(one.pose().x), abs(one.pose().y)) > 2000 / 6


# Ends


def test_an_ended_episode_stays_ended():
    """W21: envpool's call after an end ignores its action and begins anew; here no such step
    exists, and the other cars feel nothing of it."""
    both, alone = Pool("envpool", [1, 2]), Pool("envpool", [2])
    both.reset(), alone.reset()
    actions = np.stack([STRAIGHT, np.zeros(3, np.float32)])
    while both.alive[0]:
        step, other = both.step(actions), alone.step(actions[1:])
    assert 150 < step.steps[0] < 400 and step.rewards[0] == -100
    assert step.terminated.tolist() == [True, False] and not step.lap_finished.any()
    for action in wiggle(30, 1):
        after, other = both.step(np.concatenate([actions[:1], action])), alone.step(action)
        assert after.rewards[0] == 0 and after.steps[0] == step.steps[0] and not after.alive[0]
        assert np.array_equal(after.frames[0], step.frames[0])
        assert (
            np.array_equal(after.frames[1], other.frames[0])
            and after.rewards[1] == other.rewards[0]
        )
        assert after.progress[0] == step.progress[0]


def test_what_envpool_does_on_its_own_account():
    """W21, on the raw simulator: a seed given to reset is ignored, the call after an end is no
    step, and it does not tell whether a lap was finished. If this fails, the wrapper can become
    simpler."""
    import envpool

    raw, other = (
        envpool.make_gymnasium("CarRacing-v3", num_envs=1, env_seed=[1], num_threads=1)
        for _ in range(2)
    )
    with pytest.warns(UserWarning, match="ignored"):
        first, _ = raw.reset(seed=99)
    assert np.array_equal(first, other.reset()[0])
    ended = False
    while not ended:
        _, reward, ended, _, info = raw.step(STRAIGHT[None])
    assert reward == -100 and "lap_finished" not in info and info["elapsed_step"] > 150
    _, reward, ended, _, info = raw.step(STRAIGHT[None])
    assert reward == 0 and not ended and info["elapsed_step"] == 0


class Told:
    """A simulator of one car that pays what it was told to."""

    def __init__(self, rewards: list[float], ends: bool = False) -> None:
        self.rewards, self.ends = rewards, ends

    def reset(self) -> np.ndarray:
        return np.zeros((1, 96, 96, 3), np.uint8)

    def step(self, actions, rows):
        reward = self.rewards.pop(0)
        return (
            self.reset(),
            np.array([reward], np.float32),
            np.array([self.ends and not self.rewards]),
        )

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("rewards", "ends", "terminated", "finished"),
    [
        ([499.9, 499.9], True, True, True),
        ([499.9, 499.9], False, True, True),  # at the limit envpool does not say so
        ([499.9, -100.0], True, True, False),
        ([499.9, -100.0], False, True, False),
        ([499.9, 496.0], False, False, False),  # the limit, one tile of 256 short
        # were the rule changed, the simulator's word would count
        ([499.9, 496.0], True, True, True),
    ],
)
def test_how_an_episode_ended(monkeypatch, rewards, ends, terminated, finished):
    monkeypatch.setattr(Pool, "_made", lambda self: Told(list(rewards), ends))
    pool = Pool("envpool", [1], limit=2)
    pool.reset()
    assert pool.step(np.zeros((1, 3))).alive[0]
    step = pool.step(np.zeros((1, 3)))
    assert (step.alive[0], step.terminated[0], step.lap_finished[0]) == (
        False,
        terminated,
        finished,
    )


def test_a_finished_lap_in_envpool():
    """All tiles, in fewer than 1,000 steps: 1000 - 0.1 a step (W22: 95 % are not enough)."""
    pay, steps, finished = solo(Scripted(), 7)
    assert finished and pay == pytest.approx(1000 - 0.1 * steps)
    driver, ghost = Scripted(), Game(7, drawn=False)
    ghost.reset()
    with Pool("envpool", [7]) as pool:
        pool.reset()
        total, seen95 = 0.0, False
        while pool.alive[0]:
            action = driver.act(ghost)
            ghost.step(action)
            step = pool.step(action[None])
            total += float(step.rewards[0])
            seen95 |= 0.96 < step.progress[0] < 0.98 and bool(step.alive[0])
    assert step.lap_finished[0] and step.terminated[0] and seen95
    assert abs(int(step.steps[0]) - steps) <= 2 and total == pytest.approx(pay, abs=0.3)


@pytest.mark.parametrize("limit", [1, 30])
def test_the_limit_is_1000_unless_asked_for(limit):
    """W17: a cap belongs to whoever asks for it."""
    assert Pool("envpool", [1]).limit == 1000
    with Pool("envpool", [1], limit=limit) as pool:
        pool.reset()
        for k in range(limit):
            assert pool.alive[0], k
            step = pool.step(np.zeros((1, 3)))
    assert not step.alive[0] and not step.terminated[0] and step.steps[0] == limit


# Actions and seeds


@pytest.mark.parametrize("kind", SIMULATORS)
def test_actions_are_clipped(kind):
    """Neither simulator clips steer and brake: a brake of -1, or of 5, would be its own action."""
    wild, tame = [[-7, 3, -1], [9, 0.5, 5]], [[-1, 1, 0], [1, 0.5, 1]]
    pools = [Pool(kind, [6, 6]), Pool(kind, [6, 6])]
    for pool, actions in zip(pools, (wild, tame), strict=True):
        pool.reset()
        for _ in range(12):
            step = pool.step(actions)
        pool.last = step
    assert np.array_equal(pools[0].last.frames, pools[1].last.frames)
    assert not np.array_equal(pools[0].last.frames[0], pools[0].last.frames[1])


def test_actions_that_are_none():
    pool = Pool("envpool", [6, 6])
    with pytest.raises(Mistake, match="was not reset"):
        pool.step(np.zeros((2, 3)))
    pool.reset()
    with pytest.raises(Mistake, match=r"actions of shape \(2, 2\); allowed: \(2, 3\)"):
        pool.step(np.zeros((2, 2)))
    with pytest.raises(Mistake, match="actions of car 1 are no numbers"):
        pool.step([[0, 0, 0], [0, np.nan, 0]])


@pytest.mark.parametrize("kind", SIMULATORS)
def test_equal_tracks_and_actions_are_equal_drives(kind):
    """W5, and a pool that is reset drives the same tracks again."""
    pool, steps = Pool(kind, [9, 9, 10]), 25
    actions = wiggle(steps, 1).repeat(3, 1)
    drives = []
    for _ in range(2):
        first = pool.reset()
        told = [pool.step(action) for action in actions]
        drives.append(
            [first, *(step.frames for step in told), np.stack([step.rewards for step in told])]
        )
    assert all(np.array_equal(one, two) for one, two in zip(*drives, strict=True))
    assert all(np.array_equal(frames[0], frames[1]) for frames in drives[0][:-1])
    assert np.array_equal(drives[0][-1][:, 0], drives[0][-1][:, 1])
    assert not np.array_equal(drives[0][0][0], drives[0][0][2])


def test_own_tracks_are_gymnasiums():
    module = pytest.importorskip("gymnasium.envs.box2d.car_racing")
    official = module.CarRacing()
    frame, _ = official.reset(seed=12)
    assert np.array_equal(
        Pool("gymnasium", [12], tracks="own", size=96, hud=True).reset()[0],
        frame.transpose(2, 0, 1),
    )
    assert not np.array_equal(
        Pool("gymnasium", [12], size=96, hud=True).reset()[0], frame.transpose(2, 0, 1)
    )


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        (("dosbox", [1]), {}, "unknown simulator 'dosbox'; there is: envpool, gymnasium"),
        (("envpool", [1]), {"tracks": "own"}, "unknown kind of tracks 'own'; there is: shared"),
        (("envpool", []), {}, "seed of a track: none; allowed: one or more, 0 to 2147483647"),
        (("envpool", [1, 2**31]), {}, "seed of a track: 2147483648; allowed"),
        (("gymnasium", [-1]), {}, "seed of a track: -1; allowed"),
        (("envpool", [1]), {"limit": 1001}, "limit = 1001; allowed: 1 to 1000"),
        (("envpool", [1]), {"size": 0}, "size = 0; allowed: 1 to 96"),
    ],
)
def test_refusals(arguments, options, told):
    assert told in refusal(*arguments, **options)


# Frames


def share(n: int, m: int) -> np.ndarray:
    """How much of each of n pixels lies in each of m, (m, n)."""
    i, j, s = np.arange(m)[:, None], np.arange(n)[None], n / m
    return np.clip(np.minimum(j + 1, (i + 1) * s) - np.maximum(j, i * s), 0, None) / s


@pytest.mark.parametrize("hud", [False, True])
def test_frames_are_means_over_areas(hud):
    frames = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
    rows = 96 if hud else 84
    wanted = np.einsum(
        "ai,bj,nijc->ncab", share(rows, 64), share(96, 64), frames[:, :rows].astype(float)
    )
    got = small(frames, 64, hud)
    assert got.shape == (2, 3, 64, 64) and np.abs(got - wanted).max() <= 0.51


def test_without_hud_the_bar_is_not_seen():
    """Rows 84 to 95 hold score and speed."""
    frames = np.full((1, 96, 96, 3), 200, np.uint8)
    frames[:, 84:] = 0
    assert (small(frames, 64, False) == 200).all() and (
        small(frames, 64, True)[:, :, -8:] == 0
    ).all()
    with Pool("envpool", [1], hud=True) as shown, Pool("envpool", [1]) as hidden:
        assert shown.reset()[0, :, -2:].mean() < 20 < hidden.reset()[0, :, -2:].mean()


# Processes and memory


def test_processes_drive_as_one_does():
    actions = wiggle(6, 3)
    with Pool("gymnasium", [1, 2, 3]) as one, Pool("gymnasium", [1, 2, 3], threads=2) as two:
        assert np.array_equal(one.reset(), two.reset())
        for action in actions:
            here, there = one.step(action), two.step(action)
        assert np.array_equal(here.frames, there.frames) and np.array_equal(
            here.rewards, there.rewards
        )
        two.retire(np.array([True, True, False]))
        assert two.step(actions[0]).steps.tolist() == [6, 6, 7]


def test_processes_begin_from_a_program_that_has_no_guard(tmp_path):
    """As `python -m simulacra` has none: what begins a process must not begin the program again."""
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "__main__.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tool"]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(game.__file__).parents[3]}"}
    said = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (said.returncode, said.stdout) == (0, "begun\nequal\n"), said.stderr


@pytest.mark.parametrize("before", ["asked", "heard"])
def test_a_killed_process_is_an_error_within_seconds(before, monkeypatch):
    """W15: workers of other programs died in silence.
    Here they die before they are asked, or before they are heard."""
    pool = Pool("gymnasium", [1, 2], threads=2)
    pool.reset()
    team = pool._simulator
    victim, other = team.workers[1].process, team.workers[0].process

    def die():
        os.kill(victim.pid, signal.SIGKILL)
        victim.join(30)

    if before == "asked":
        die()
    else:
        hear = team.workers[0].receive
        monkeypatch.setattr(team.workers[0], "receive", lambda: (die(), hear())[1])
        os.kill(victim.pid, signal.SIGSTOP)  # so that it cannot have answered
    start = time.monotonic()
    with pytest.raises(Mistake, match="racing worker 1, tracks 2 to 2, ended with status -9"):
        pool.step(np.zeros((2, 3)))
    assert time.monotonic() - start < 30
    assert not other.is_alive(), "nor does the rest stay behind"


def test_the_last_words_of_a_process_are_told():
    """Beyond what Pool allows, so that it fails inside."""
    team = racing.Team([1, -5], "shared", False, 2)
    with pytest.raises(Mistake, match=r"racing worker 1, .*ended with status 1 \(.*ValueError"):
        team.reset()


@pytest.mark.parametrize("end", ["closed", "left"])
def test_processes_leave_no_files(end, tmp_path, monkeypatch):
    """Neither if the pool is closed nor if it is left open, as by a process that is killed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    pool = Pool("gymnasium", [1, 2], threads=2)
    pool.reset()
    assert end == "closed" or not list(tmp_path.iterdir()), "what has begun is nobody's to remove"
    pool.close()
    assert not list(tmp_path.iterdir())


def test_memory_is_flat():
    """The old game leaked at every reset."""

    def some(games: Game) -> float:
        for _ in range(12):
            games.reset()
            with Pool("envpool", [1, 2], limit=3) as pool:
                pool.reset()
                pool.step(np.zeros((2, 3)))
        return resident()

    one = Game(1, drawn=False)
    before = [some(one), some(one)][1]
    after = [some(one) for _ in range(4)][-1]
    assert after - before < 32, f"{after - before:.1f} MB in 48 resets of both"

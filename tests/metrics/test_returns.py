"""Scores: fixed tracks apart from those learnt on,
the official end whatever the training cap, statistics by hand."""

import math

import coded
import numpy as np
import pytest
import torch

from simulacra.core.errors import Mistake
from simulacra.core.random import fold
from simulacra.envs.carracing import tracks
from simulacra.metrics.world.returns import Row, Score, paired, read_csv, save_csv, score, summary
from simulacra.models.world.acting import Senses


class Road:
    """A world that pays what its track's seed says, once, and what the second action says;
    it ends after `ends` steps."""

    made: list[list[int]]

    def __init__(self, seeds, ends=3):
        self.seeds, self.ends, self.t, self.closed = torch.tensor(seeds), ends, 0, False
        Road.made.append(list(seeds))

    def reset(self):
        return torch.zeros(len(self.seeds), 3, 8, 8, dtype=torch.uint8)

    def step(self, actions):
        self.t += 1
        paid = (self.seeds % 1000) * (self.t == 1) + 0.01 * torch.as_tensor(actions)[:, 1]
        told = paid.numpy(), np.full(len(self.seeds), self.t < self.ends)
        return coded.Step(
            self.reset().numpy(),
            *told,
            (self.seeds % 2 == 0).numpy(),
            np.full(len(self.seeds), 0.5),
        )

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def fresh():
    Road.made = []


SENSES = Senses(coded.Colours(), None)
ZERO = torch.zeros(12)


def of(*values: float, first: int = 0) -> Score:
    """A score with these returns."""
    return Score(tuple(Row(first + i, value, 1000, 0.0, 0.5) for i, value in enumerate(values)))


def test_tracks_are_the_folded_constants_and_apart():
    for name, listed, n in (
        ("official track", tracks.OFFICIAL, 100),
        ("selection track", tracks.SELECTION, 32),
    ):
        assert (
            list(listed) == [2**30 + fold(0, name, i) % 2**30 for i in range(n)]
            and len(set(listed)) == n
        )
    assert not set(tracks.OFFICIAL) & set(tracks.SELECTION)
    assert all(2**30 <= seed < 2**31 for seed in (*tracks.OFFICIAL, *tracks.SELECTION))
    known = [
        tracks.training(seed, "collect", i) for seed in range(20) for i in range(20)
    ] + tracks.random_tracks(1000)
    assert len(set(known)) > 1390 and all(0 <= seed < 2**30 for seed in known)


def test_a_score_is_every_track_once_and_in_order():
    told = []
    found = score(ZERO, SENSES, Road, notify=lambda *at: told.append(at))
    assert (
        [row.track for row in found.rows]
        == list(tracks.OFFICIAL)
        == [seed for some in Road.made for seed in some]
    )
    assert told[-1] == (100, 100)
    for row in found.rows:
        assert row.value == pytest.approx(row.track % 1000 + 3 * 0.005, abs=1e-4) and row.steps == 3
        assert row.lap_finished == (row.track % 2 == 0) and row.progress == 0.5
    wanted = np.array([row.value for row in found.rows])
    assert found.summary().mean == pytest.approx(
        wanted.mean()
    ) and found.summary().std == pytest.approx(wanted.std(ddof=1))
    assert found.shares() == pytest.approx(
        {"lap_finished": np.mean([s % 2 == 0 for s in tracks.OFFICIAL]), "progress": 0.5}
    )
    assert score(ZERO, SENSES, Road).rows == found.rows


def test_a_score_goes_to_the_official_end():
    """W17: a world that never ends is driven for 1,000 steps;
    one with a cap of its own is refused."""
    assert score(ZERO, SENSES, lambda seeds: Road(seeds, 10**9), [4, 7]).rows[1].steps == 1000

    def capped(seeds):
        world = Road(seeds)
        world.limit = 100
        return world

    with pytest.raises(Mistake, match="after 100 steps; allowed: 1000"):
        score(ZERO, SENSES, capped, [4])
    for seeds in [], [3, 3]:
        with pytest.raises(Mistake, match="each once"):
            score(ZERO, SENSES, Road, seeds)


def test_worlds_are_closed():
    worlds = []

    def factory(seeds):
        worlds.append(Road(seeds))
        return worlds[-1]

    score(ZERO, SENSES, factory, range(30))
    assert len(worlds) == 2 and all(world.closed for world in worlds)


def test_the_noise_of_a_track_is_its_own(monkeypatch):
    """Driven alone, in another order, in other company or in other batches,
    a track is the same drive."""
    eye = coded.Colours()
    eye.encode = lambda x: (x.float().mean((2, 3)), torch.zeros(len(x), 3))
    senses, controller = (
        Senses(eye, None),
        torch.randn(12, generator=torch.Generator().manual_seed(0)),
    )

    def returns(some) -> dict[int, float]:
        return {row.track: row.value for row in score(controller, senses, Road, some).rows}

    whole = returns(range(60))
    assert len({value - track % 1000 for track, value in whole.items()}) == 60, "the noise matters"
    for some in ([59], [40, 3, 27], range(30, 60)):
        assert all(
            value == pytest.approx(whole[track], abs=1e-4) for track, value in returns(some).items()
        )


def test_summary_by_hand():
    found = summary([1.0, 2.0, 3.0, 6.0])
    assert (found.n, found.mean) == (4, 3.0) and found.std == pytest.approx(math.sqrt(14 / 3))
    assert found.standard_error == pytest.approx(found.std / 2)
    reach = 3.182446 * found.standard_error  # Student's t of three degrees of freedom
    assert (found.low, found.high) == pytest.approx((3 - reach, 3 + reach)) and summary(
        [1.0, 2.0, 3.0, 6.0]
    ) == found
    one = summary([5.0])
    assert one.mean == 5 and math.isnan(one.low) and math.isnan(one.std)
    for bad in [], [1.0, math.nan]:
        with pytest.raises(Mistake, match="no numbers"):
            summary(bad)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    dice = np.random.default_rng(0)
    found = [summary(list(dice.normal(0, 1, 50))) for _ in range(200)]
    assert 0.9 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.98
    assert np.mean([one.high - one.low for one in found]) == pytest.approx(
        2 * 1.96 / math.sqrt(50), rel=0.08
    )


def test_paired_differences_see_what_two_intervals_do_not():
    dice = np.random.default_rng(1)
    base = dice.normal(800, 100, 100)
    one, two = of(*base), of(*(base + dice.normal(5, 3, 100)))
    found = paired(two, one)
    assert (
        found.mean == pytest.approx(two.summary().mean - one.summary().mean)
        and 4 < found.low < found.high < 6.5
    )
    assert one.summary().high > two.summary().low
    assert paired(one, two).mean == pytest.approx(-found.mean)
    assert paired(Score(two.rows[::-1]), one) == found, "tracks are matched, not rows"
    with pytest.raises(Mistake, match="differ in 2 tracks"):
        paired(of(1, 2), of(1, 2, first=1))


def test_tables_are_read_back(tmp_path):
    found = Score((*of(1.25, -math.pi).rows, Row(9, 0.1, 7, math.nan, math.nan)))
    path = save_csv(found, tmp_path / "deep" / "score.csv")
    assert path.read_text().splitlines()[0] == "track,return,steps,lap_finished,progress"
    again = read_csv(path)
    assert repr(again) == repr(found)
    for text in "", "a,b\n", "track,return,steps,lap_finished,progress\n1,x,3,0,0\n":
        path.write_text(text)
        with pytest.raises(Mistake, match="no table of a score"):
            read_csv(path)

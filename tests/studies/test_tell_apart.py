"""What experiments/tell_apart.py calls told apart:
drives that differ on tracks it did not learn from, and no others."""

import coded
import numpy as np
import pytest
import tell_apart
import torch

from simulacra.models.world.acting import Senses
from simulacra.models.world.agent import Agent
from simulacra.models.world.memory_nets import Form, Memory


def test_a_drive_is_described_by_hand():
    """Four steps: the wheel goes left and right, the gas stays;
    a tile at the first step is near all of them."""
    actions = torch.tensor([[1.0, 0.5, 0], [-1, 0.5, 0], [1, 0.5, 0], [-1, 0.5, 0]])
    found = dict(
        zip(
            tell_apart.FEATURES,
            tell_apart.described(actions, torch.tensor([3.0, -0.1, -0.1, -0.1])),
            strict=True,
        )
    )
    wanted = {"mean of gas": 0.5, "spread of steer": 1, "change of steer": 2, "return": 2.7}
    assert found == pytest.approx(dict.fromkeys(tell_apart.FEATURES, 0) | wanted, abs=1e-6)
    assert tell_apart.described(actions[:1], torch.tensor([-0.1]))[-1] == 1


@pytest.mark.parametrize(("shift", "least", "most"), [(3.0, 0.95, 1.0), (0.0, 0.3, 0.7)])
def test_only_what_differs_is_told_apart(shift, least, most):
    dice = np.random.Generator(np.random.PCG64(0))
    one, other = (dice.normal(mean, 1, (100, 1, len(tell_apart.FEATURES))) for mean in (shift, 0))
    verdicts = tell_apart.right(one, other)
    assert least <= np.mean(verdicts) <= most and len(verdicts) == 100


def test_what_is_learnt_is_learnt_from_the_other_tracks():
    """One track that differs the other way round is misjudged,
    which it would not be if it had been seen."""
    one, other = np.zeros((9, 1, 11)), np.zeros((9, 1, 11))
    one[:, 0, 0], other[:, 0, 0] = np.linspace(1, 2, 9), -np.linspace(1, 2, 9)
    one[4], other[4] = other[4].copy(), one[4].copy()
    assert tell_apart.right(one, other) == [k != 4 for k in range(9)]


def test_kinds_of_fewer_than_three_drivers_are_undecided(capsys, monkeypatch):
    """And so are kinds of three, of which no split among ten can have a p of 0.05."""
    dice = np.random.default_rng(0)
    drives = dice.normal(0, 1, (6, 3, 1, len(tell_apart.FEATURES)))
    tell_apart.compared(list("ab"), drives[:2], 1)
    said = capsys.readouterr().out
    assert "whether the kinds differ is undecided: 1 driver of a kind; 3 are the least" in said
    monkeypatch.setattr(tell_apart, "by_kind", lambda found, mine: float(mine == (0, 1, 2)))
    tell_apart.compared(list("abcdef"), drives, 3)
    said = capsys.readouterr().out
    assert "1.00, p = 0.100 among 10 splits: undecided" in said


def test_the_interval_is_wilsons():
    """The textbook's 8 of 10."""
    assert tell_apart.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


class Road:
    """One game ends after 2 steps, the others after 4."""

    def __init__(self, seeds):
        self.n, self.t = len(seeds), 0

    def reset(self):
        return np.zeros((self.n, 3, 8, 8), np.uint8)

    def step(self, actions):
        self.t += 1
        alive = np.array([self.t < (2 if i == 0 else 4) for i in range(self.n)])
        return coded.Step(self.reset(), np.ones(self.n), alive, np.zeros(self.n), np.zeros(self.n))


def test_nothing_is_described_of_what_is_over():
    memory = Memory(Form(3, 3, units=4, reward="value", end=True))
    found = tell_apart.drives(
        Agent(torch.zeros(12), Senses(coded.Colours(), None), memory, "", ""), Road, [3, 4, 5], 0, 9
    )
    assert found.shape == (3, 11) and found[:, 9].tolist() == [2, 4, 4]


def test_kinds_are_told_only_if_drivers_of_a_kind_have_something_in_common():
    """Six drivers who all differ; where three share a shift their kind is told of drivers that were
    not learnt from, and no other split is told as well. Drivers alone, however different, are no
    kinds."""
    dice = np.random.default_rng(0)
    drivers = dice.normal(0, 1, (6, 12, 1, len(tell_apart.FEATURES))) + dice.normal(
        0, 0.3, (6, 1, 1, 1)
    )
    alone = tell_apart.by_kind(drivers, [0, 1, 2])
    drivers[:3, ..., 0] += 6
    shares = [tell_apart.by_kind(drivers, split) for split in tell_apart.splits(6, 3)]
    assert shares[0] > 0.95 > max(shares[1:]) and 0.2 < alone < 0.8


def test_splits_count_each_way_to_call_some_a_kind_once():
    assert tell_apart.splits(4, 2) == [(0, 1), (0, 2), (0, 3)]
    assert len(tell_apart.splits(8, 4)) == 35 and len(tell_apart.splits(5, 2)) == 10

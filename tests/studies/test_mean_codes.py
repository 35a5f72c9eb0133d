"""What experiments/mean_codes.py compares:
one agent on the same tracks, with and without the noise of its codes."""

import math

import coded
import mean_codes
import numpy as np
import pytest
import torch

from simulacra.core.errors import one_line
from simulacra.models.world.acting import Senses
from simulacra.models.world.agent import Agent
from simulacra.models.world.memory_nets import Form, Memory


class Steady:
    """One step a track, which pays the track's number less the distance
    of the wheel from the middle."""

    def __init__(self, seeds):
        self.seeds = np.array(seeds)

    def reset(self):
        return np.full((len(self.seeds), 3, 8, 8), 127, np.uint8)

    def step(self, actions):
        n = len(self.seeds)
        return coded.Step(
            self.reset(),
            self.seeds - np.abs(actions[:, 0]),
            np.zeros(n, bool),
            np.zeros(n),
            np.zeros(n),
        )


class Unsure(coded.Colours):
    """Its codes have a standard deviation of e."""

    def encode(self, x):
        mean, log_variance = super().encode(x)
        return mean, torch.full_like(log_variance, 2)


def test_noise_of_codes_is_all_that_differs():
    controller = torch.zeros(12)
    controller[0] = 1  # the wheel turns as the first number of the code
    memory = Memory(Form(3, 3, units=4, reward="value", end=True))
    for eye, differ in ((Unsure(), True), (coded.Colours(), False)):
        agent = Agent(controller, Senses(eye, None), memory, "", "")
        drawn, means, difference = mean_codes.both(agent, Steady, [5, 7, 9])
        assert means.mean == pytest.approx(7, abs=0.01)  # a grey picture is code 0: straight on
        assert difference.mean == pytest.approx(means.mean - drawn.mean) and drawn.n == 3
        assert (difference.mean > 0.1) == differ


def test_the_interval_over_runs_is_students():
    """Of 1, 2, 3: t of 2 degrees of freedom 4.3027, standard deviation 1."""
    assert mean_codes.over_runs([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.302653 / math.sqrt(3)))
    assert math.isnan(mean_codes.over_runs([1.0])[1])


def test_fewer_than_three_runs_decide_nothing():
    """Of 1, 2, 3: t = 2 sqrt(3), two degrees of freedom, p = 0.0742."""
    assert mean_codes.verdict([1.0, 1.1]) == "undecided: 2 runs; 3 are the least that decide"
    assert mean_codes.verdict([1.0, 2.0, 3.0]) == "undecided: p = 0.074 over 3 runs"
    assert mean_codes.verdict([-1.0, -1.1, -1.2]).startswith("means are worse: p = 0.003")


def test_a_mistake_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["mean_codes.py", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as ended, one_line():
        mean_codes.main()
    assert (
        ended.value.code == 2
        and capsys.readouterr().err == f"error: no run folder {tmp_path / 'nowhere'}\n"
    )

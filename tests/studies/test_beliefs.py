"""What experiments/beliefs.py sets side by side:
every reward of the world, and a memory's belief until the drive ends."""

import beliefs
import coded
import numpy as np
import torch

from simulacra.models.world.acting import Senses
from simulacra.models.world.agent import Agent
from simulacra.models.world.memory_nets import Form, Memory


class Road:
    """Two games: one ends after 3 steps, one after 5; step t pays t."""

    def __init__(self):
        self.t = 0

    def reset(self):
        return np.zeros((2, 3, 8, 8), np.uint8)

    def step(self, actions):
        self.t += 1
        alive = np.array([self.t < 3, self.t < 5])
        paid = self.t * np.array([self.t <= 3, self.t <= 5])
        return coded.Step(self.reset(), paid, alive, np.zeros(2, bool), np.zeros(2))

    def close(self):
        pass


def test_beliefs_stand_beside_what_was_earned_and_end_with_the_drive():
    memory = Memory(Form(3, 3, units=4, reward="value", end=True))
    with torch.no_grad():
        for weight in memory.parameters():
            weight.zero_()
        memory.head.bias[sum(memory.sizes[:3])] = 0.5  # the reward's
    agent = Agent(torch.zeros(12), Senses(coded.Colours(), None), memory, "", "")
    earned, believed = beliefs.notify(agent, Road(), memory)
    assert earned.tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5]]
    assert believed.allclose(torch.tensor([[0.5, 0.5, 0.5, 0, 0], [0.5] * 5]))


def test_a_window_is_a_row_and_off_is_far_from_any_tile():
    earned = torch.full((1, 200), -0.1)
    earned[0, :90:10] = 5.0
    rows = beliefs.table(earned, torch.full((1, 200), 0.25))
    assert rows[2:] == ["| 0 to 100 | 35.9 | 25.0 | 0.09 |", "| 100 to 200 | -10.0 | 25.0 | 1.00 |"]

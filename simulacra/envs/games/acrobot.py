"""Acrobot from pixels: two links are swung until their tip is above a line."""

from typing import Any

from simulacra.envs.game import Game


def make() -> Any:
    """The environment, 500 steps long."""
    import gymnasium

    return gymnasium.make("Acrobot-v1", render_mode="rgb_array", disable_env_checker=True)


GAME = Game(
    "acrobot",
    make,
    packages=("gymnasium", "pygame"),
    steps=500,
    rate=15,
    names=("left", "none", "right"),
    keys={"left": "ArrowLeft", "none": "ArrowDown", "right": "ArrowRight"},
    score="minus the steps until the tip is above the line, at least -500",
    solved=-100.0,  # the reward threshold that gymnasium has registered
)

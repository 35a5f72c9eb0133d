"""CartPole of gymnasium from pixels: a pole on a cart is kept upright.

The rows in which nothing moves are left out, or an eye would spend its numbers on a white ground
and miss a pole that is a pixel wide.
"""

from typing import Any

from simulacra.envs.game import Game


def make() -> Any:
    """The environment, 500 steps long."""
    import gymnasium

    return gymnasium.make("CartPole-v1", render_mode="rgb_array", disable_env_checker=True)


GAME = Game(
    "cartpole",
    make,
    packages=("gymnasium", "pygame"),
    crop=(150, 350, 0, 600),
    steps=500,
    rate=50,
    names=("left", "right"),
    keys={"left": "ArrowLeft", "right": "ArrowRight"},
    score="steps until the pole falls or the cart leaves, at most 500",
    solved=475.0,  # the reward threshold that gymnasium has registered
)

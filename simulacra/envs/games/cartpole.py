"""CartPole from pixels: a pole on a cart is kept upright.

It is drawn by gymnasium at half the usual size, where cart and pole are twice as thick beside the
track, and the camera follows the cart: where it moves through the picture, the pole's angle is no
linear function of pixels, and linear agents do not find it. The ends of the track come into the
picture when the cart is near them, grey.
"""

from typing import Any

import numpy as np

from simulacra.envs.game import Game

HALF = 75  # columns that are shown on either side of the cart, half of the track in all
ROW = 110  # of the picture, through the cart below its axle
DARK = 60  # of 255: the cart is, the pole and the track's line above and below are not


def make() -> Any:
    """The environment, 500 steps long."""
    import gymnasium

    made: Any = gymnasium.make("CartPole-v1", render_mode="rgb_array", disable_env_checker=True)
    made.unwrapped.screen_width, made.unwrapped.screen_height = 300, 200
    return made


def see(environment: Any, _: Any) -> np.ndarray:
    """What is drawn, (200, 150, 3) uint8, around the cart, which is found by its black."""
    drawn = environment.render()
    cart = np.flatnonzero(drawn[ROW].max(-1) < DARK)
    middle = round(float(cart.mean())) if len(cart) else drawn.shape[1] // 2
    wide = np.pad(drawn, ((0, 0), (HALF, HALF), (0, 0)), constant_values=128)
    return wide[:, middle : middle + 2 * HALF]


GAME = Game(
    "cartpole",
    make,
    packages=("gymnasium", "pygame"),
    see=see,
    crop=(20, 130, 0, 2 * HALF),
    steps=250,
    repeat=2,  # speeds show twice as well
    rate=50,
    names=("left", "right"),
    keys={"left": "ArrowLeft", "right": "ArrowRight"},
    score="steps until the pole falls or the cart leaves, at most 500",
    solved=475.0,  # the reward threshold that gymnasium has registered
    stages={
        "record": ("episodes=200", "rounds=0"),  # the camera shows all that there is at once
        "eye": (
            "steps=400",
            "save_every=400",
            "log_every=100",
            "batch=32",
            "hyper.width=8",
            "hyper.z_size=8",
            "hyper.rate=[[0, 2e-3], [300, 2e-3], [400, 2e-4]]",
        ),
        "memory": (
            "steps=1000",
            "save_every=1000",
            "log_every=100",
            "data.length=16",
            "hyper.units=32",
            "hyper.rate=[[0, 3e-3], [700, 3e-3], [1000, 2e-4]]",
        ),
        "dream": ("steps=40", "save_every=40", "hyper.steps=100"),
        "controller": ("steps=12", "save_every=4", "hyper.steps=250", "hyper.sigma=0.1"),
    },
)

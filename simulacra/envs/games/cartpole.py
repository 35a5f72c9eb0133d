"""CartPole from pixels: a pole on a cart is kept upright.

It is drawn by gymnasium at half the usual size, where cart and pole are twice as thick beside the
track, and rows in which nothing moves are left out: of a pole that is a pixel wide on a white
ground an eye keeps nothing. It also takes a third of the time.
"""

from typing import Any

from simulacra.envs.game import Game


def make() -> Any:
    """The environment, 500 steps long."""
    import gymnasium

    made: Any = gymnasium.make("CartPole-v1", render_mode="rgb_array", disable_env_checker=True)
    made.unwrapped.screen_width, made.unwrapped.screen_height = 300, 200
    return made


GAME = Game(
    "cartpole",
    make,
    packages=("gymnasium", "pygame"),
    crop=(20, 130, 0, 300),
    steps=500,
    rate=50,
    names=("left", "right"),
    keys={"left": "ArrowLeft", "right": "ArrowRight"},
    score="steps until the pole falls or the cart leaves, at most 500",
    solved=475.0,  # the reward threshold that gymnasium has registered
    stages={
        "record": ("episodes=150", "learnt=40"),
        "eye": (
            "steps=500",
            "save_every=500",
            "log_every=100",
            "batch=32",
            "hyper.width=8",
            "hyper.z_size=8",
            "hyper.rate=[[0, 2e-3], [300, 2e-3], [500, 1e-4]]",
        ),
        "memory": (
            "steps=800",
            "save_every=800",
            "log_every=100",
            "data.length=32",
            "hyper.units=32",
            "hyper.rate=[[0, 4e-3], [500, 4e-3], [800, 2e-4]]",
        ),
        "dream": ("steps=60", "save_every=60"),
        "controller": ("steps=10", "save_every=10", "hyper.sigma=0.1"),
    },
)

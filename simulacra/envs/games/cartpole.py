"""CartPole from pixels: a pole on a cart is kept upright.

It is drawn by gymnasium at half the usual size, where cart and pole are twice as thick beside the
track, of which only the middle half is shown: at 64 pixels for all of it a degree is a fifth
of a pixel, and nobody balances what he cannot see. A picture also takes a third of the time.
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
    crop=(20, 130, 75, 225),
    steps=250,
    repeat=2,  # speeds show twice as well
    rate=50,
    names=("left", "right"),
    keys={"left": "ArrowLeft", "right": "ArrowRight"},
    score="steps until the pole falls or the cart leaves, at most 500",
    solved=475.0,  # the reward threshold that gymnasium has registered
    stages={
        "record": ("episodes=400", "learnt=60"),
        "eye": (
            "steps=600",
            "save_every=600",
            "log_every=100",
            "batch=32",
            "hyper.width=8",
            "hyper.z_size=8",
            "hyper.rate=[[0, 2e-3], [400, 2e-3], [600, 1e-4]]",
        ),
        "memory": (
            "steps=1500",
            "save_every=1500",
            "log_every=100",
            "data.length=16",
            "hyper.units=64",
            "hyper.rate=[[0, 3e-3], [1000, 3e-3], [1500, 1e-4]]",
        ),
        "dream": ("steps=50", "save_every=50", "hyper.steps=100"),
        "controller": (
            "steps=30",
            "save_every=10",
            "batch=4",
            "hyper.population=24",
            "hyper.steps=250",
            "hyper.sigma=0.2",
        ),
    },
)

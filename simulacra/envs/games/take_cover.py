"""VizDoom Take Cover: fireballs are dodged by steps to the left and to the right.

Each tic survived pays 1, 35 tics are a second, and an episode has at most 2,100. An action lasts
4 tics, so that an episode has at most 525 of them. Agents are trained in dreams alone, at a
temperature of 1.15, as in Ha and Schmidhuber, arXiv 1803.10122, section 4.
"""

from typing import Any

from simulacra.envs.game import Game

TICS = 2100


def make() -> Any:
    """The environment, which has no window, of the scenario that the package brings."""
    import gymnasium
    from vizdoom import gymnasium_wrapper  # noqa: F401  registers the environments

    return gymnasium.make("VizdoomTakeCover-v1", max_episode_steps=TICS, disable_env_checker=True)


GAME = Game(
    "take_cover",
    make,
    packages=("gymnasium", "vizdoom"),
    extra="doom",
    see=lambda environment, seen: seen["screen"],
    crop=(60, 180, 0, 320),  # the wall with the monsters, and fireballs until they are near
    steps=525,
    repeat=4,
    rate=35,
    names=("none", "right", "left"),  # in the order of its choices
    keys={"none": "ArrowDown", "left": "ArrowLeft", "right": "ArrowRight"},
    score="tics survived, at most 2,100",
    solved=750.0,  # as the paper counts it
    dream_only=True,
    stages={
        "record": ("episodes=200",),
        "eye": ("steps=3000", "hyper.z_size=32"),
        "dream": ("hyper.tau=1.15",),
    },
)

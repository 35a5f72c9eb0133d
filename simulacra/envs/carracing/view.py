"""What CarRacing shows, as a view of envs/view.py: its frames, with or without the bar of score and
speed."""

from torch import Tensor

from simulacra.envs.view import Actions, View

# rows and columns of a simulator's frame; rows above its bar of score and speed
SIDE, SCENE = 96, 84
RATE = 50  # steps a second, of which each is a frame
DARK = -0.8  # of [-1, 1]: a pixel below it is black


ACTIONS = Actions(
    kind="box",
    size=3,
    names=("steer", "gas", "brake"),
    low=(-1.0, 0.0, 0.0),
    high=(1.0, 1.0, 1.0),
    keys={
        "steer -": "ArrowLeft",
        "steer +": "ArrowRight",
        "gas +": "ArrowUp",
        "brake +": "ArrowDown",
    },
)
"""What can be done, which its views do not say: they are older than other games."""


def of_frames(size: int, hud: bool) -> View:
    """That of frames which carracing/racing.py makes."""
    crop = SIDE if hud else SCENE, SIDE
    return View(size=size, channels=3, hud=hud, crop=crop, rate=RATE, range=(-1.0, 1.0))


WORLD = of_frames(64, False)
"""What the world shows unless something else is asked of it."""


def of_pictures(x: Tensor) -> View:
    """Of pictures (n, C, H, W) in [-1, 1] that nobody described:
    their size and colours, and whether they show the bar."""
    return View(size=x.shape[-1], channels=x.shape[1], hud=barred(x), range=(-1.0, 1.0))


def barred(x: Tensor) -> bool:
    """Whether pictures (n, C, H, W) show the bar: in most of them its rows, the lowest eighth, are
    mostly black, while those above are not."""
    first = x.shape[2] * SCENE // SIDE + 1  # the row above mixes both
    black = (x.amax(1) < DARK).float()
    below, above = black[:, first:].mean((1, 2)), black[:, : first - 1].mean((1, 2))
    return bool(((below > 0.5) & (above < 0.5)).float().mean() > 0.5)

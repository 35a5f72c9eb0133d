"""What is shown of the world: whatever changes it is a part of the identity of the eye that was
trained on it.

Recordings have it in store.json, codes in the header of each file, runs in view.json, packed runs
beside their weights. Wherever an eye meets recordings, codes, a memory, an agent or the world, both
views are compared (`same`), and what is not known of one of them is not. The views of runs:
world/seeing.py.
"""

from typing import Any

import msgspec
from torch import Tensor

from simulacra.core.errors import Mistake

# rows and columns of a simulator's frame; rows above its bar of score and speed
SIDE, SCENE = 96, 84
RATE = 50  # steps a second, of which each is a frame
DARK = -0.8  # of [-1, 1]: a pixel below it is black


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a frame of the world became a picture; None: not known."""

    size: int | None = None  # pixels, height and width
    channels: int | None = None  # 3: red, green, blue
    hud: bool | None = None  # whether the bar of score and speed is shown
    # rows and columns of the simulator's frame, from its upper left, that are shown
    crop: tuple[int, int] | None = None
    rate: int | None = None  # pictures of a second of the game
    range: tuple[float, float] | None = None  # numbers of a picture, from black to full


def of_frames(size: int, hud: bool) -> View:
    """That of frames which world/racing.py makes."""
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


def same(one: View | None, who: str, other: View | None, whom: str, advice: str = "") -> None:
    """A Mistake with both values of the first thing in which two views differ;
    what is not known of one is not compared."""
    for name in View.__struct_fields__:
        a, b = getattr(one, name, None), getattr(other, name, None)
        if a is not None and b is not None and a != b:
            meant = " (the bar of score and speed)" if name == "hud" else ""
            told = f"{who} has view.{name} = {_plain(a)}{meant}, {whom} has {_plain(b)}"
            raise Mistake(
                f"{told}; allowed: one view for eye, recordings, codes, memory and agent{advice}"
            )


def _plain(value: Any) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()


def read(text: str, source: str) -> View:
    """A view that was written down; a Mistake if it is none."""
    try:
        return msgspec.json.decode(text.encode(), type=View)
    except msgspec.MsgspecError as error:
        raise Mistake(f"cannot read the view of {source}: {error}") from None


def written(view: View) -> str:
    """The view as text that `read` reads."""
    return msgspec.json.encode(view).decode()

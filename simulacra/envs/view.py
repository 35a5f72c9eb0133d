"""What is shown of a world, and what can be done in it: whatever changes it is a part of the
identity of the eye that was trained on it.

Recordings have it in store.json, codes in the header of each file, runs in view.json, packed runs
beside their weights. Wherever an eye meets recordings, codes, a memory, an agent or the world, both
views are compared (`same`), and what is not known of one of them is not. The views of runs:
models/world/seeing.py. What is older than other games than CarRacing names none.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from simulacra.core.errors import Mistake
from simulacra.envs import RACING


class Actions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What can be done in a game, as memories and controllers have it, and how a person does it."""

    # one of `size` choices, of which the chosen one's number is 1 and the others 0 | `size` numbers
    kind: Literal["discrete", "box"]
    size: int  # A, numbers of an action
    names: tuple[str, ...]  # of each
    low: tuple[float, ...] = ()  # least and largest of each number; empty: 0 and 1
    high: tuple[float, ...] = ()
    # by name the key of a keyboard, as browsers call it; of a number "NAME -" and "NAME +", which
    # are its least and its largest
    keys: dict[str, str] = {}
    repeat: int = 1  # steps of the game that one action lasts

    def told(self) -> str:
        """What has to be alike, in words."""
        kind = "choices" if self.kind == "discrete" else "numbers"
        return f"{self.size} {kind}, each for {self.repeat} step{'s' * (self.repeat > 1)}"


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a frame of the world became a picture; None: not known."""

    size: int | None = None  # pixels, height and width
    channels: int | None = None  # 3: red, green, blue
    hud: bool | None = None  # whether the bar of score and speed is shown
    # rows and columns of the simulator's frame, from its upper left, that are shown
    crop: tuple[int, ...] | None = None
    rate: int | None = None  # pictures of a second of the game
    range: tuple[float, float] | None = None  # numbers of a picture, from black to full
    # UNSET, of which nothing is written: CarRacing, or pictures of anything
    game: str | UnsetType = UNSET
    actions: Actions | UnsetType = UNSET  # what can be done there

    @property
    def world(self) -> str | None:
        """The game that is shown; None: not known."""
        if self.game is not UNSET:
            return self.game
        return RACING if self.crop is not None else None


def same(one: View | None, who: str, other: View | None, whom: str, advice: str = "") -> None:
    """A Mistake with both values of the first thing in which two views differ;
    what is not known of one is not compared."""
    if one is None or other is None:
        return
    of, alike = f"{advice or ''}", "one view for eye, recordings, codes, memory and agent"
    if one.world and other.world and one.world != other.world:
        told = f"{who} is of game {one.world}, {whom} of game {other.world}"
        raise Mistake(f"{told}; allowed: one game for eye, recordings, codes, memory and agent{of}")
    if one.actions is not UNSET and other.actions is not UNSET:
        a, b = one.actions.told(), other.actions.told()
        if a != b:
            raise Mistake(f"{who} has actions of {a}, {whom} of {b}; allowed: {alike}{of}")
    for name in "size", "channels", "hud", "crop", "rate", "range":
        a, b = getattr(one, name), getattr(other, name)
        if a is not None and b is not None and a != b:
            meant = " (the bar of score and speed)" if name == "hud" else ""
            told = f"{who} has view.{name} = {_plain(a)}{meant}, {whom} has {_plain(b)}"
            raise Mistake(f"{told}; allowed: {alike}{of}")


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

"""How a person acts in a world: what each number of an action is called, how far it goes, and which
keys, buttons and sticks move it. A game says it in one dictionary, which is checked here:

    {"axes": [{"name": "steer", "low": -1, "stick": 0,
               "ends": [{"name": "left", "keys": ["ArrowLeft", "a"], "value": -1}, ...]}, ...]}

or, where an action is one of some choices (a 1 among zeros),

    {"choices": [{"name": "left", "keys": ["ArrowLeft"]}, ...], "rest": 0}

Keys are named as browsers name them (KeyboardEvent.key, letters small), buttons and sticks of a
gamepad by their numbers in the standard layout of browsers.
"""

from typing import Annotated, Any

import msgspec

from simulacra.core.errors import Mistake
from simulacra.envs.view import Actions

Count = Annotated[int, msgspec.Meta(ge=0)]


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that is held to move a number to a value."""

    name: str  # on the button for fingers
    keys: tuple[str, ...]
    value: float
    pad: Count | None = None  # button of a gamepad


class Axis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One number of an action."""

    name: str
    ends: tuple[End, ...]
    low: float = -1.0
    high: float = 1.0
    rest: float = 0.0  # where nothing is held
    stick: Count | None = None  # axis of a gamepad


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One action of several."""

    name: str
    keys: tuple[str, ...]
    pad: Count | None = None


class Controls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of a world: either axes or choices."""

    axes: tuple[Axis, ...] = ()
    choices: tuple[Choice, ...] = ()
    rest: Count = 0  # the choice where nothing is held

    @property
    def size(self) -> int:
        """Numbers of an action."""
        return len(self.axes or self.choices)


PAIRS = ("ArrowLeft", "ArrowRight"), ("ArrowDown", "ArrowUp"), ("a", "d"), ("s", "w"), ("j", "l")


def controls(
    told: dict[str, Any] | str, size: int, source: str = "the game's controls"
) -> Controls:
    """Checked controls of a dictionary, or of JSON; a Mistake if they are none, or not for actions
    of `size` numbers."""
    try:
        if isinstance(told, str):
            found = msgspec.json.decode(told.encode(), type=Controls)
        else:
            found = msgspec.convert(told, Controls)
    except msgspec.MsgspecError as error:
        raise Mistake(f"{source}: {error}") from None
    if bool(found.axes) == bool(found.choices):
        raise Mistake(
            f"{source} have {len(found.axes)} axes and {len(found.choices)} choices; "
            "allowed: one kind of both"
        )
    if found.size != size:
        raise Mistake(
            f"{source} are for {found.size} numbers of an action; allowed: {size}, "
            "as the memory takes"
        )
    if found.rest >= max(1, len(found.choices)):
        raise Mistake(f"{source}: rest = {found.rest}; allowed: below {max(1, found.size)}")
    return found


def unnamed(size: int) -> Controls:
    """Those of a world of which nothing is known: numbers from -1 to 1, a pair of keys each; a
    Mistake if there are more numbers than pairs."""
    if size > len(PAIRS):
        raise Mistake(
            f"nobody named the {size} numbers of this world's actions; say which keys move them "
            "with --controls FILE.json"
        )
    axes = [
        Axis(
            name=f"action {i + 1}",
            stick=i,
            ends=(
                End(name=f"{i + 1} less", keys=(PAIRS[i][0],), value=-1),
                End(name=f"{i + 1} more", keys=(PAIRS[i][1],), value=1),
            ),
        )
        for i in range(size)
    ]
    return Controls(axes=tuple(axes))


def of_game(actions: Actions) -> Controls:
    """Those of a game of one's own: its keys; where it names none, digits for choices and pairs of
    keys for numbers, of which -1 and 1 are the least and the largest."""
    if actions.kind == "discrete":
        choices = [
            Choice(name=name, keys=(actions.keys.get(name, str(i + 1)),))
            for i, name in enumerate(actions.names)
        ]
        return Controls(choices=tuple(choices))
    if not actions.keys:
        return unnamed(actions.size)
    axes = [
        Axis(
            name=name,
            stick=i,
            ends=tuple(
                End(name=f"{name} {sign}", keys=(actions.keys[f"{name} {sign}"],), value=value)
                for sign, value in (("-", -1.0), ("+", 1.0))
                if f"{name} {sign}" in actions.keys
            ),
        )
        for i, name in enumerate(actions.names)
    ]
    return Controls(axes=tuple(axes))

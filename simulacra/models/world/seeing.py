"""What runs see of the world: as they have recorded it, or, of runs that are older than the record,
as their config and data tell: a store, codes, or pictures, which show the bar of score and speed by
its black.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from safetensors import SafetensorError, safe_open
from torch import Tensor

from simulacra.core import packed, run
from simulacra.core.contract import Agent, AutoEncoder, HasView, option
from simulacra.core.errors import Mistake
from simulacra.core.files import write_text
from simulacra.core.load import Opened
from simulacra.data.folder import locate
from simulacra.envs.carracing.view import WORLD, of_pictures
from simulacra.envs.episodes import spec_of
from simulacra.envs.view import View, read, same, written
from simulacra.models.world.acting import Factory, World

NAME = "view.json"
LOOKED = 64  # pictures that are looked at
WORLDS = "envpool", "gymnasium"  # where controllers drive, if not in dreams


class Known(NamedTuple):
    """A view, and what had to be assumed, in sentences."""

    view: View
    notes: tuple[str, ...] = ()


def shown(factory: Factory, view: View | None) -> Factory:
    """The worlds of a factory as this view has them."""
    racing: Callable[..., World] = factory
    return partial(racing, hud=True) if view and view.hud else factory


def recorded(folder: Path) -> View | None:
    """What a run folder or a packed run says of its view, if anything."""
    path, text = folder / NAME, None
    try:
        if path.is_file():
            text = path.read_text("utf-8")
        elif packed.is_packed(folder):
            with safe_open(folder / packed.WEIGHTS, "pt") as file:
                text = (file.metadata() or {}).get("view")
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise Mistake(
            f"cannot read the view of {folder}: {' '.join(str(error).split())[:100]}"
        ) from None
    return read(text, str(folder)) if text else None


def of_run(opened: Opened) -> Known:
    """What a run sees: as it was recorded, or else as its config and data tell."""
    found = recorded(opened.folder)
    return Known(found) if found else derived(opened)


def derived(opened: Opened) -> Known:
    """What a run that is older than the record must have seen."""
    options = option(opened.config, "data", None)
    if option(option(opened.config, "hyper", None), "world", "") in WORLDS:
        return Known(WORLD)  # which was shown so, whatever an eye had seen
    if options is None or not (opened.folder / "shapes.json").exists():
        return Known(View())
    image = run.like_of(opened.folder, 1).get("image")
    shape = View() if image is None else View(size=image.shape[-1], channels=image.shape[1])
    try:
        if packed.is_packed(opened.folder):
            raise Mistake("whoever packed it had the data")
        if option(options, "skip", None) is not None:  # of recorded drives
            spec = spec_of(locate(options.path, opened.root))
            return Known(spec.shown)
        source: Any = opened.data()
    except Mistake:
        if shape.size != WORLD.size or shape.channels != WORLD.channels:
            return Known(shape)
        assumed = (
            f"{opened.folder} does not say whether its pictures show the bar of score and speed, "
            "and its data are not there"
        )
        return Known(
            msgspec.structs.replace(shape, hud=False), (f"{assumed}; assumed: they do not",)
        )
    if image is None:
        return Known(_told(source) or View())
    return Known(of_pictures(source.take("train", min(LOOKED, source.size("train")))["image"]))


def begun(folder: Path, model: Any, source: Any, like: dict[str, Tensor]) -> View | None:
    """What a run sees that is to be trained in a folder, if that is known; a Mistake if its parts
    see different things, or if it began with another view."""
    view = found(model, source, like)
    if view is None:
        return None
    same(_told(source), "its data", view, "what it is shown")
    before = recorded(folder)
    if before is None and run.checkpoints(folder) and _drives(model):
        before = WORLD  # of a run that is older than the record
    same(
        before,
        str(folder),
        view,
        "what it would be shown now",
        "; choose another folder with --run",
    )
    return view


def keep(folder: Path, view: View | None) -> None:
    """Write into a run's folder what it sees, once."""
    if view is not None and recorded(folder) is None:
        write_text(folder / NAME, written(view) + "\n")


def found(model: Any, source: Any, like: dict[str, Tensor]) -> View | None:
    """What a model sees in training: as it says itself, as its data say, or, of an eye, as its
    pictures show."""
    if _drives(model):
        return model.view()
    if (view := _told(source)) is not None:
        return view
    if isinstance(model, AutoEncoder) and "image" in like and like["image"].shape[1] == 3:
        return of_pictures(source.take("train", min(LOOKED, source.size("train")))["image"])
    return None


def _drives(model: Any) -> bool:
    """Whether a model is an agent that is trained in the world."""
    return isinstance(model, Agent) and model.drives


def _told(source: Any) -> View | None:
    """What data say of their view, if anything."""
    view: View | None = source.view if isinstance(source, HasView) else None
    return view

"""What predict, transfer and traverse share:
a run of the right model, and a person's picture in the form that it takes."""

import contextlib
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from simulacra.core.contract import Futures, option
from simulacra.core.errors import Mistake, choose
from simulacra.core.load import Opened, able
from simulacra.data._pictures import floats
from simulacra.io.listing import fault
from simulacra.io.pictures import decode, header, is_grey, top
from simulacra.models.visual_dynamics.visual_dynamics import PRIORS


def imaginer(opened: Opened) -> Futures:
    """The run's model, if it imagines futures of a picture; otherwise a Mistake that says what
    fits."""
    if not isinstance(opened.model, Futures):
        raise Mistake(
            f"{opened.folder} is a run of model {opened.config.model}, which imagines no futures "
            f"of a picture; use `simulacra sample`, or a run of a model that does: {able(Futures)}"
        )
    return opened.model


def brightest(paths: Iterable[Path], opened: Opened) -> int:
    """The value that is white in those of the pictures that have more than 8 bits a channel: as the
    run's data say, or as the brightest of them needs. What is no picture counts for nothing
    here."""
    if bits := option(opened.config.data, "bits", 0):
        return int(2**bits - 1)
    peaks = [0]
    for path in paths:
        # what decoders raise on damaged files is beyond listing
        with contextlib.suppress(Exception):
            peaks.append(header(path).peak)
    return top(peaks)


def picture(path: Path, opened: Opened, white: int = 0) -> tuple[Tensor, str]:
    """The picture (1, C, H, W) in [-1, 1] as the run's frames are, and what was done to it ("" if
    nothing). `white` is the value that is white if there are more than 8 bits a channel; 0: found
    out."""
    _, C, H, W = opened.like(1)["image"].shape
    if H != W or C not in (1, 3):
        raise Mistake(
            f"the run's frames are {C} channels of {H}x{W}; "
            "pictures of one's own need squares, grey or colour"
        )
    mode = "L" if C == 1 else "RGB"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            found = header(path)
            white = white or brightest([path], opened)
            pixels = decode(path, mode, H, "crop", white)
    except FileNotFoundError:
        raise Mistake(f"no picture {path}") from None
    except IsADirectoryError:
        raise Mistake(f"{path} is a folder; it must be a picture") from None
    except Exception as error:  # what decoders raise on damaged files is beyond listing
        raise Mistake(f"cannot read {path} as a picture: {fault(error).reason}") from None
    done = []
    if found.size != (W, H):
        done.append(f"centre crop of {found.size[0]}x{found.size[1]}, resized to {W}x{H}")
    if is_grey(found.mode) != (C == 1):
        done.append("made grey" if C == 1 else "made colour")
    if found.peak:
        done.append(f"0 to {white} became 0 to 255")
    return floats(np.array(pixels))[None].to(opened.device), ", ".join(done)


def check_prior(opened: Opened, prior: str | None) -> None:
    """A Mistake if the run cannot draw its z from this prior; None is the run's own."""
    if prior is not None:
        choose("prior", prior, list(PRIORS))
        if prior == "learned" and option(opened.config.hyper, "prior", "") != "learned":
            raise Mistake("this run has no learned prior (hyper.prior = learned trains one)")


def no_file(out: Path) -> None:
    """A Mistake if the folder for results is a file."""
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file; results go into a folder")


def within(**asked: tuple[int, int]) -> None:
    """A Mistake if one of these numbers, each with the most that is allowed, is out of range."""
    for name, (value, most) in asked.items():
        if not 1 <= value <= most:
            raise Mistake(f"{name} = {value}; allowed: 1 to {most}")

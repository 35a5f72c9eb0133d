"""Interpolate: the way from one picture to another through what a run has learnt,
as a strip or an animation."""

from pathlib import Path

import torch

from simulacra.core import answers
from simulacra.core.errors import Mistake, choose
from simulacra.core.load import Opened
from simulacra.io import paint as easel
from simulacra.nn import latent
from simulacra.tasks._picture import within
from simulacra.tasks.reconstruct import coder, pictures

FPS = 8
SUFFIXES = ".png", ".gif"


def interpolate(
    opened: Opened,
    first: Path,
    second: Path,
    out: Path,
    *,
    steps: int = 8,
    kind: str = "spherical",
    scale: int = 2,
) -> tuple[Path, list[str]]:
    """The file `out`, a PNG strip (the first picture, `steps` decoded codes from its code to the
    other's, the other picture) or a GIF of the decoded codes there and back, and what was done to
    the pictures. `kind` is the path: see latent.path."""
    within(steps=(steps, 1000), scale=(scale, 16))
    if steps < 2:
        raise Mistake(f"steps = {steps}; allowed: 2 to 1000, both ends included")
    choose("path", kind, list(latent.PATHS))
    if out.suffix not in SUFFIXES or out.is_dir():
        raise Mistake(
            f"cannot write an interpolation as '{out.name}'; give the name of a .png or a .gif"
        )
    model = coder(opened)
    x, notes = pictures([first, second], opened) if first != second else _same(first, opened)
    mean, _ = answers.encoded(model, x)
    made = answers.decoded(model, latent.path(mean[0], mean[1], steps, kind)).clamp(-1, 1)
    if out.suffix == ".png":
        return easel.save_sheet(torch.cat([x[:1], made, x[1:]]), out, steps + 2, scale=scale), notes
    there = torch.cat([made, made[1:-1].flip(0)])
    return easel.save_table(there[None, None], out, fps=FPS, scale=scale), notes


def _same(path: Path, opened: Opened) -> tuple[torch.Tensor, list[str]]:
    x, notes = pictures([path], opened)
    return x.repeat(2, 1, 1, 1), notes

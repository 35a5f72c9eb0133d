"""Predict: many possible futures of one picture."""

from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import answers, random
from simulacra.core.contract import Futures
from simulacra.core.load import Opened
from simulacra.io import paint as easel
from simulacra.tasks._picture import check_prior, imaginer, no_file, picture, within


def predict(
    opened: Opened,
    path: Path,
    out: Path,
    *,
    count: int = 6,
    roll: int = 1,
    prior: str | None = None,
    seed: int = 0,
    scale: int = 2,
) -> tuple[list[Path], str]:
    """Files in the folder `out`: each future as 00000.png, 00001.png, ...; all of them beside the
    picture as futures.png; and futures.gif, which moves between now and each future, or plays
    `roll` steps into it. Also what was done to the picture."""
    within(futures=(count, 1000), roll=(roll, 1000), scale=(scale, 16))
    model = imaginer(opened)
    check_prior(opened, prior)
    now, done = picture(path, opened)
    no_file(out)
    random.reseed(random.fold(seed, "predict"))
    films = rolled(model, now, count, roll, prior)
    paths = easel.save_pngs(films[:, -1], out)
    table = films[:, :, None] if roll > 1 else beside(films)
    paths.append(easel.save_table(table, out / "futures", scale=scale))
    paths.append(
        easel.save_table(films[None], out / "futures", fps=4 if roll > 1 else 2, scale=scale)
    )
    return paths, done


def rolled(model: Futures, now: Tensor, count: int, roll: int, prior: str | None) -> Tensor:
    """`count` films (count, 1 + roll, C, H, W) that begin with the picture; each frame is imagined
    from the one before."""
    frames = [now.expand(count, -1, -1, -1), answers.imagined(model, now, count, prior)[0]]
    for _ in range(roll - 1):
        frames.append(answers.imagined(model, frames[-1], 1, prior)[:, 0])
    return torch.stack(frames, 1).cpu()


def beside(films: Tensor) -> Tensor:
    """One row (1, 1 + count, 1, C, H, W): the picture, then its futures."""
    return torch.cat([films[:1, 0], films[:, 1]])[None, :, None]

"""Traverse: what the most active dimensions of the motion do to a picture, one at a time."""

from pathlib import Path

import torch

from simulacra.core import answers
from simulacra.core.load import Opened
from simulacra.io import paint as easel
from simulacra.tasks._picture import imaginer, no_file, picture, within


def traverse(
    opened: Opened, path: Path, out: Path, *, dimensions: int = 6, steps: int = 9, scale: int = 2
) -> tuple[list[Path], list[int], str]:
    """Files in the folder `out`: traverse.png, a row a dimension; traverse.gif, all of them to and
    fro. Also which dimensions they are, the most active first, and what was done to the picture."""
    within(dimensions=(dimensions, 64), steps=(steps, 101), scale=(scale, 16))
    model = imaginer(opened)
    I1, done = picture(path, opened)
    no_file(out)
    films, chosen = answers.traversed(model, I1, dimensions, steps)
    films = films.cpu()
    paths = [easel.save_table(films[:, :, None], out / "traverse", scale=scale)]
    if steps > 1:
        fro = torch.cat([films, films[:, 1:-1].flip(1)], 1)
        paths.append(easel.save_table(fro[None], out / "traverse", fps=8, scale=scale))
    return paths, chosen, done

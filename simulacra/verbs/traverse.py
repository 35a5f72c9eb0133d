"""Traverse: what the most active dimensions of the motion do to a picture, one at a time."""

from pathlib import Path

import torch

from simulacra import paint as easel
from simulacra.errors import Mistake
from simulacra.reopen import Opened
from simulacra.verbs._picture import empty_or_new, imaginer, picture

MOST = {"dimensions": 64, "steps": 101, "scale": 16}


def traverse(
    opened: Opened, path: Path, out: Path, *, dimensions: int = 6, steps: int = 9, scale: int = 2
) -> tuple[list[Path], list[int], str]:
    """Files in the folder `out`: traverse.png, a row a dimension; traverse.gif, all of them to and fro. Also which dimensions
    they are, the most active first, and what was done to the picture."""
    for name, value in (("dimensions", dimensions), ("steps", steps), ("scale", scale)):
        if not 1 <= value <= MOST[name]:
            raise Mistake(f"{name} = {value}; allowed: 1 to {MOST[name]}")
    model = imaginer(opened)
    I1, done = picture(path, opened)
    empty_or_new(out)
    films, chosen = model.traverse(I1, dimensions, steps)
    films = films.cpu()
    paths = [easel.save_table(films[:, :, None], out / "traverse", scale=scale)]
    if steps > 1:
        fro = torch.cat([films, films[:, 1:-1].flip(1)], 1)
        paths.append(easel.save_table(fro[None], out / "traverse", fps=8, scale=scale))
    return paths, chosen, done

"""Transfer: the motion between two frames, given to another picture."""

from pathlib import Path

import torch

from simulacra.core import answers
from simulacra.core.load import Opened
from simulacra.io import paint as easel
from simulacra.tasks._picture import imaginer, no_file, picture, within


def transfer(
    opened: Opened, first: Path, second: Path, to: Path, out: Path, *, scale: int = 2
) -> tuple[list[Path], list[str]]:
    """Files in the folder `out`: moved.png, the other picture's future; transfer.png, all four in a
    row; transfer.gif, both pairs moving. Also what was done to each picture."""
    within(scale=(scale, 16))
    model = imaginer(opened)
    (I1, a), (I2, b), (other, c) = (picture(path, opened) for path in (first, second, to))
    no_file(out)
    moved = answers.transferred(model, I1, I2, other)
    four = torch.cat([I1, I2, other, moved]).cpu()
    pairs = four.unflatten(0, (1, 2, 2))
    paths = [easel.save_sheet(four[3:], out / "moved.png", pad=0)]
    paths.append(easel.save_table(four[None, :, None], out / "transfer", scale=scale))
    paths.append(easel.save_table(pairs, out / "transfer", scale=scale))
    return paths, [f"{path}: {done}" for path, done in ((first, a), (second, b), (to, c)) if done]

"""Sample a run: as many of its pictures as a person wants, without needing its data."""

from pathlib import Path

import torch
from torch import Tensor

from simulacra import paint as easel
from simulacra import seeds
from simulacra.errors import Mistake
from simulacra.reopen import Opened

CHUNK = 250  # pictures generated at once


def samples(opened: Opened, count: int, seed: int) -> Tensor:
    """`count` samples (count, C, H, W) on the CPU, a function of the weights and the seed."""
    if count < 1:
        raise Mistake(f"the number of samples is {count}; it must be at least 1")
    parts = []
    for start in range(0, count, CHUNK):
        seeds.reseed(seeds.fold(seed, "sample", start))
        parts.append(opened.model.sample(opened.like(min(CHUNK, count - start)))["samples"].cpu())
    return torch.cat(parts)


def sample(opened: Opened, count: int, out: Path, seed: int) -> list[Path]:
    """Samples as .npz, as one sheet (.png), or as single PNGs in a folder (any other name)."""
    if out.suffix not in ("", ".png", ".npz") and not out.is_dir():
        raise Mistake(f"cannot write samples as '{out.suffix}'; give a .png, an .npz or the name of a folder")
    pictures = samples(opened, count, seed)
    if out.suffix == ".npz":
        return [easel.save_npz(pictures, out)]
    if out.suffix == ".png":
        return [easel.save_sheet(pictures, out)]
    return easel.save_pngs(pictures, out)

"""Sample a run: as many of its pictures as a person wants, without needing its data."""

from pathlib import Path

import torch
from torch import Tensor

from simulacra import paint as easel
from simulacra import seeds
from simulacra.errors import Mistake
from simulacra.reopen import Opened

CHUNK = 250  # pictures generated at once


def samples(opened: Opened, count: int, seed: int, labels: Tensor | None = None) -> Tensor:
    """`count` samples, (count, C, H, W) or (count, T, C), on the CPU, a function of the weights, the seed and, where the room
    is conditional, `labels` (count,)."""
    if count < 1:
        raise Mistake(f"the number of samples is {count}; it must be at least 1")
    if "mean" in opened.like(1):
        raise Mistake(f"{opened.folder} imagines on from codes of its data; look at them with `simulacra paint`")
    if hasattr(opened.model, "imagine"):
        raise Mistake(f"{opened.folder} imagines futures of a picture; give it one with `simulacra predict`")
    if "video" in opened.like(1):
        raise Mistake(f"{opened.folder} paints on from clips of its data; look at them with `simulacra paint`")
    if labels is None:
        labels = cycling(opened, count)
    parts = []
    for start in range(0, count, CHUNK):
        like = opened.like(min(CHUNK, count - start))
        if "label" in like:
            like["label"] = labels[start : start + CHUNK].to(opened.device)
        seeds.reseed(seeds.fold(seed, "sample", start))
        parts.append(opened.model.sample(like)["samples"].cpu())
    return torch.cat(parts)


def classes(opened: Opened) -> int:
    """How many classes the run's room was told of; 0 if its samples have none."""
    return int(getattr(opened.config.hyper, "classes", 0))


def cycling(opened: Opened, count: int) -> Tensor:
    """Labels (count,) that go through the classes in turn."""
    return torch.arange(count) % max(1, classes(opened))


def of_class(opened: Opened, count: int, wanted: int) -> Tensor:
    """`count` labels of one class; a Mistake if the room has no such class."""
    there = classes(opened)
    if not 0 <= wanted < there:
        known = f"allowed: 0 to {there - 1}" if there else "this run has none (hyper.classes)"
        raise Mistake(f"{opened.folder} has no class {wanted}; {known}")
    return torch.full((count,), wanted)


def sample(opened: Opened, count: int, out: Path, seed: int, wanted: int | None = None) -> list[Path]:
    """Samples, of one class if `wanted` says so, as .npz, as one sheet (.png; of series the first sixteen), or singly, pictures
    as .png and series as .csv, in a folder (any other name). Series are in [-1, 1], not in the units of their file."""
    if out.suffix not in ("", ".png", ".npz") and not out.is_dir():
        raise Mistake(f"cannot write samples as '{out.suffix}'; give a .png, an .npz or the name of a folder")
    made = samples(opened, count, seed, None if wanted is None else of_class(opened, count, wanted))
    if out.suffix == ".npz":
        return [easel.save_npz(made, out)]
    if out.suffix == ".png":
        return [easel.save_plots(made, out) if made.ndim == 3 else easel.save_sheet(made, out)]
    return easel.save_csvs(made, out) if made.ndim == 3 else easel.save_pngs(made, out)

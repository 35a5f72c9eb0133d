"""Sample a run: as many of its pictures as a person wants, without needing its data."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import answers, random
from simulacra.core.contract import Futures, option
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.io import paint as easel

CHUNK = 250  # pictures generated at once

# the labels of the samples from one number to before another, (n,)
Labels = Callable[[int, int], Tensor]


def samples(opened: Opened, count: int, seed: int, labels: Tensor | None = None) -> Tensor:
    """`count` samples, (count, C, H, W) or (count, T, C), on the CPU, a function of the weights,
    the seed and, where the model is conditional, `labels` (count,)."""
    return torch.cat(
        list(parts(opened, count, seed, None if labels is None else lambda a, b: labels[a:b]))
    )


def parts(opened: Opened, count: int, seed: int, labels: Labels | None = None) -> Iterator[Tensor]:
    """The same a part at a time, so that no more than a part has to be kept.
    A Mistake at once if there can be none."""
    if count < 1:
        raise Mistake(f"the number of samples is {count}; it must be at least 1")
    if why := needs_data(opened):
        raise Mistake(f"{opened.folder} {why}")
    return _drawn(opened, count, seed, labels or in_turn(opened))


def needs_data(opened: Opened) -> str:
    """Why a run's samples cannot be had without its data, and what to do instead; "" if they
    can."""
    like = opened.like(1)
    if "mean" in like:
        return "imagines on from codes of its data; look at them with `simulacra paint`"
    if isinstance(opened.model, Futures):
        return "imagines futures of a picture; give it one with `simulacra predict`"
    if "video" in like:
        return "paints on from clips of its data; look at them with `simulacra paint`"
    return ""


def _drawn(opened: Opened, count: int, seed: int, labels: Labels) -> Iterator[Tensor]:
    for start in range(0, count, CHUNK):
        like = opened.like(min(CHUNK, count - start))
        if "label" in like:
            like["label"] = labels(start, min(start + CHUNK, count)).to(opened.device)
        random.reseed(random.fold(seed, "sample", start))
        yield answers.only_samples(opened.model, like).cpu()


def classes(opened: Opened) -> int:
    """How many classes the run's model was told of; 0 if its samples have none."""
    return int(option(opened.config.hyper, "classes", 0))


def cycling(opened: Opened, count: int) -> Tensor:
    """Labels (count,) that go through the classes in turn."""
    return in_turn(opened)(0, count)


def in_turn(opened: Opened) -> Labels:
    """Labels that go through the classes in turn."""
    return lambda start, end: torch.arange(start, end) % max(1, classes(opened))


def of_class(opened: Opened, wanted: int) -> Labels:
    """Labels of one class; a Mistake if the model has no such class."""
    there = classes(opened)
    if not 0 <= wanted < there:
        known = f"allowed: 0 to {there - 1}" if there else "this run has none (hyper.classes)"
        raise Mistake(f"{opened.folder} has no class {wanted}; {known}")
    return lambda start, end: torch.full((end - start,), wanted)


def sample(
    opened: Opened, count: int, out: Path, seed: int, wanted: int | None = None
) -> list[Path]:
    """Samples, of one class if `wanted` says so, as .npz, as one sheet (.png; of series the first
    sixteen), or singly, pictures as .png and series as .csv, in a folder (any other name). Series
    are in [-1, 1], not in the units of their file. Each part is written before the next one is
    made."""
    if out.suffix not in ("", ".png", ".npz") and not out.is_dir():
        raise Mistake(
            f"cannot write samples as '{out.suffix}'; give a .png, an .npz or the name of a folder"
        )
    made = parts(opened, count, seed, None if wanted is None else of_class(opened, wanted))
    if out.suffix == ".npz":
        return [easel.stream_npz(made, count, out)]
    first = next(made)
    series, made = first.ndim == 3, chain([first], made)
    if series and out.suffix == ".png":
        return [easel.save_plots(first, out)]
    del first
    if series:
        return easel.stream_csvs(made, count, out)
    return (
        [easel.stream_sheet(made, count, out)]
        if out.suffix == ".png"
        else easel.stream_pngs(made, count, out)
    )

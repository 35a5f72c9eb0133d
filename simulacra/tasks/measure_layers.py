"""Measure the masks of a decomposed clip against true ones: J and F, of several objects each alone,
and whether the confidence tells which frames are wrong."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.io.given_masks import in_words
from simulacra.metrics.video import mask_scores
from simulacra.metrics.video.mask_scores import Scores
from simulacra.tasks import _layer_folder

FEWEST = 3  # frames whose ranks can be compared

Said = Callable[[str, bool], None]  # hears what masks were taken for, and whether that is a doubt
Ranks = dict[str, float | None]


def measure_layers(folder: Path, truth: Path, said: Said) -> tuple[dict[str, Scores], Ranks]:
    """The scores of a decomposed clip by its name, of several objects by CLIP/OBJECT; and by the
    same names Spearman's rank correlation of confidence and J over the frames that J counts, none
    of them with a given mask; None where it is undefined. A Mistake as of `compare_folders`, or if
    the true masks lack an object."""
    try:
        told = _layer_folder.read(folder / _layer_folder.QUALITY)
    except (ValueError, OSError):
        told = {}
    each = told.get("objects", [])
    if len(each) > 1:
        pairs = of_objects(folder, truth, [one["name"] for one in each], said)
        results = {name: mask_scores.sequence(*pair) for name, pair in pairs.items()}
    else:
        results = mask_scores.compare_folders(folder, truth, said)
        found, wanted = (mask_scores.read_masks(one)[1] for one in (folder, truth))
        pairs = {name: (found, wanted) for name in results}
    ranks: Ranks = {}
    for k, (name, (masks, true)) in enumerate(pairs.items()):
        j = mask_scores.jaccard(masks, true).numpy()
        ranks[name] = rank(each[k]["confidence"], j, told["given"]) if each else None
    return results, ranks


def of_objects(
    folder: Path, truth: Path, names: list[int], said: Said
) -> dict[str, tuple[Tensor, Tensor]]:
    """The masks of each object and the true ones, (T, H, W) bool, by CLIP/OBJECT; in the true ones
    an object is its index, and what is nobody's counts as surroundings."""
    ((title, _),) = mask_scores.paired(folder, truth).items()
    for note in mask_scores.matched(folder, truth):
        said(note, True)
    files, readings = mask_scores.read(truth)
    for i, note in enumerate(mask_scores.understood(truth, readings)):
        said(note, i > 0)
    bare = [file for file, one in zip(files, readings, strict=True) if one.indices is None]
    known = {int(i) for one in readings if one.indices is not None for i in np.unique(one.indices)}
    if bare or not known.issuperset(names):
        have = f"{bare[0]}.png has no indices" if bare else f"they have {in_words(sorted(known))}"
        raise Mistake(
            f"true masks {truth}: {have}; needed: indices that are the objects' names, "
            f"{in_words(names)}"
        )
    found = {}
    for name in names:
        _, masks = mask_scores.read_masks(folder / _layer_folder.OBJECTS / str(name) / "mask")
        true = torch.from_numpy(np.stack([one.indices == name for one in readings]))
        found[f"{title}/{name}"] = masks, true
    return found


def rank(confidence: list[float], j: np.ndarray, given: list[int]) -> float | None:
    """Spearman's rank correlation of confidence and J (T,) over the frames between the first and
    the last whose masks were not given; None where either is constant, or frames are too few."""
    from scipy.stats import spearmanr

    inner = [t for t in range(1, len(j) - 1) if t not in given]
    a, b = np.array(confidence)[inner], j[inner]
    if len(inner) < FEWEST or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def mean(ranks: Ranks) -> float | None:
    """Over those that are defined."""
    found = [one for one in ranks.values() if one is not None]
    return math.fsum(found) / len(found) if found else None

"""Nearest: samples of a run, and beneath each the training pictures that are most like it in the
features by which the run is measured. Copies show themselves."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import random, zoo
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.io import paint
from simulacra.metrics.images import extractors
from simulacra.metrics.images.extractors import Extractor
from simulacra.tasks._judges import Protocol, mirrors, whole
from simulacra.tasks.sample import samples

COUNT = 12  # samples, one a column
NEIGHBOURS = 3  # training pictures beneath each


def nearest(opened: Opened, protocol: Protocol) -> Path:
    """The path of the sheet, pictures/<step>/nearest.png of the run. The samples are the first of
    those that are measured. A Mistake if the run makes no pictures."""
    source = opened.data()
    batch = source.take("train", 1)
    if "image" not in batch or "next" in batch:
        raise Mistake(
            f"model {opened.config.model}: nearest training pictures are shown of models that make "
            "pictures alone"
        )
    made = samples(opened, COUNT, random.fold(protocol.seed, "measure", 0))
    extractor = extractors.load(protocol.extractor or source.extractor)
    parts = (part["image"] for part in whole(source, "train"))
    found = closest(made, parts, extractor, mirror=mirrors(source))
    place, _ = zoo.results(opened.folder)
    path = place / "pictures" / f"{opened.step:08d}" / "nearest.png"
    board = torch.cat([made[None], found.transpose(0, 1)]).flatten(0, 1)
    return paint.save_sheet(board, path, columns=len(made))


def closest(
    images: Tensor, parts: Iterable[Tensor], extractor: Extractor, *, mirror: bool = False
) -> Tensor:
    """Of pictures (n, C, H, W) that come in parts the NEIGHBOURS that are nearest to each of the
    images (N, C, H, W), or to its mirror image, nearest first, (N, NEIGHBOURS, C, H, W)."""
    seen = [extractor.features(one) for one in ([images, images.flip(-1)] if mirror else [images])]
    apart, kept = torch.empty(len(images), 0), images[:, None][:, :0]
    for part in parts:
        features = extractor.features(part)
        distances = torch.stack([torch.cdist(one, features) for one in seen]).amin(0)
        apart = torch.cat([apart, distances], 1)
        near = apart.topk(min(NEIGHBOURS, apart.shape[1]), largest=False)
        old = kept.shape[1]
        rows = [
            torch.stack([kept[i, j] if j < old else part[j - old] for j in chosen])
            for i, chosen in enumerate(near.indices.tolist())
        ]
        apart, kept = near.values, torch.stack(rows)
    return kept

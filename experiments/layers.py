"""How good are the layers of `decompose`? Four tables, each beside what needs no learning; masks
have their own (`masks.py`).

    python experiments/layers.py [--data FOLDER] [--sequences 6] [--clips 10]
                                 [--parts backgrounds generated effects mattes]

backgrounds  The true mask of each sequence in the DAVIS layout, mirrored left to right, hides a
             second place; its true mask stays hidden too. Held out are the pixels under the
             mirrored mask that do not belong to the object and that the plate fetched from another
             frame; there the frame itself is the truth. Telea's inpainting of both holes beside it.
generated    Clips of data set `layered`, held-out split, from the first mask alone: J, and PSNR of
             background (under the object: all, and what another frame reveals), matte and
             composite, all against the exact layers.
effects      Clips of data set `layered` with a shadow, and with a reflection, held-out split, with
             their true mattes: PSNR of the clean plate in dB against the true background where the
             object changes its light by 3 % or more beside it, with effects taken off and without
             ("before"); all of that, and what another frame shows bare. Found and spilt: shares of
             it, of the place where effects were found that are so, and that are not changed at all.
mattes       The standard errors of mattes (`metrics/video/matting.py`) in a band of 4 pixels around
             the true edge, of generated clips: ours from the true mask, and closed form (package
             pymatting, not installed with this one) from the true trimap of that band.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simulacra.core import allocator
from simulacra.core.load import data_root
from simulacra.data import davis, layered
from simulacra.data._pictures import floats
from simulacra.metrics.video import classical, mask_scores, matting
from simulacra.nn.maths import psnr
from simulacra.video import effects, layers
from simulacra.video.follow import follow
from simulacra.video.plate import COVERED, clean_plate, hidden_by

Row = dict[str, float]


def sequences(root: Path | None, most: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, frames (T, 3, H, W) and true masks (T, H, W) bool of every sequence."""
    found = davis.Davis(davis.Options(frames=2, roll=1), root)
    for name in sorted(found.names)[:most]:
        files = davis.pictures(found.frames / name)
        masks = np.stack(
            [davis.read_mask(found.masks / name / f"{file.stem}.png") for file in files]
        )
        yield (
            name,
            floats(np.stack([davis.read_frame(file) for file in files])),
            torch.from_numpy(masks),
        )


def inside(one: Tensor, two: Tensor, where: Tensor) -> float:
    """PSNR in dB over the pixels (T, 1, H, W)."""
    error = (one - two).square().mean(1, keepdim=True)[where].double().mean()
    return float(10 * (4 / error).log10())


def of_backgrounds(frames: Tensor, true: Tensor) -> Row:
    """What a second, mirrored hole is filled with, against what is there."""
    mirrored = true.flip(-1)
    both = (true | mirrored)[:, None]
    plate = clean_plate(frames, both.float())
    held_out = mirrored[:, None] & ~hidden_by(true[:, None].float())
    seen = held_out & (plate.known > 0)
    plain = classical.inpainted(frames, both)
    ours, telea = inside(plate.background, frames, seen), inside(plain, frames, seen)
    return {
        "revealed": float(seen.sum() / held_out.sum()),
        "ours": ours,
        "telea": telea,
        "gain": ours - telea,
    }


def of_generated(truth: layered.Truth) -> Row:
    """All layers of a generated clip against the exact ones."""
    frames, mask = truth.layers.frames, truth.mask
    soft = follow(frames, {0: mask[0, 0].long()}).soft
    matte = layers.mattes(frames, soft)
    plate, plain = clean_plate(frames, matte), classical.inpainted(frames, soft > 0.5)
    matte = layers.explained(frames, matte, plate.background, plate.known)
    colours = layers.foregrounds(frames, matte, plate.background)
    revealed, hole = mask & truth.revealed, mask
    row = {"J": float(mask_scores.jaccard(soft[:, 0] > 0.5, mask[:, 0]).mean())}
    for name, where in (("revealed", revealed), ("all", hole)):
        row |= {f"{name} ours": inside(plate.background, truth.layers.background, where)}
        row |= {f"{name} telea": inside(plain, truth.layers.background, where)}
    row |= {"matte L1": float((matte - truth.layers.matte).abs().mean())}
    row |= {"colours": inside(colours, truth.layers.foreground, truth.layers.matte > 0.5)}
    return row | {
        "composite": float(psnr(layers.over(colours, matte, plate.background), frames).mean())
    }


def of_effects(truth: layered.Truth) -> Row:
    """What is left of a shadow or a reflection in the plate."""
    frames, matte, _, background = truth.layers
    beside = matte < COVERED
    where = (truth.gain < 0.97) & beside
    bare = layered.revealed(truth.scene, where, bare=True)
    start = time.process_time()
    plate, light = effects.cleaned(frames, matte)
    seconds = time.process_time() - start
    before = clean_plate(frames, matte).background
    found = ((light.gain < 1) | (light.add > 0).any(1, keepdim=True)) & beside
    row: Row = {}
    for name, part in (("all", where), ("bare", bare)):
        one, two = inside(plate.background, background, part), inside(before, background, part)
        row |= {f"{name} ours": one, f"{name} before": two, f"{name} gain": one - two}
    spilt = found & (truth.gain > 0.999)
    row |= {"bare": float(bare.sum() / where.sum())}
    row |= {"found": float((found & where).sum() / where.sum())}
    return row | {"spilt": float(spilt.sum() / where.sum()), "seconds": seconds}


def of_mattes(truth: layered.Truth) -> Row:
    """Errors of ours and of closed form."""
    from pymatting import estimate_alpha_cf

    frames, true, _, _ = truth.layers
    where = matting.unknown(true, 3)
    trimaps = torch.where(where, torch.tensor(0.5), (true > 0.5).float())[:, 0].double().numpy()
    pictures = ((frames + 1) / 2).permute(0, 2, 3, 1).double().numpy()
    closed = np.stack([estimate_alpha_cf(*one) for one in zip(pictures, trimaps, strict=True)])
    ways = {
        "ours": layers.mattes(frames, truth.mask.float()),
        "closed": torch.from_numpy(closed).float()[:, None].clamp(0, 1),
    }
    told = {name: matting.measures(one, true, where) for name, one in ways.items()}
    return {f"{error} {name}": told[name][error] for error in told["ours"] for name in ways}


def printed(title: str, rows: Iterator[tuple[str, Row]]) -> None:
    """One table, a row as soon as it is known, and the mean."""
    found: list[Row] = []
    for name, row in rows:
        if not found:
            print(f"\n| {title} | " + " | ".join(row) + " |\n" + "|---" * (len(row) + 1) + "|")
        found.append(row)
        print(
            f"| {name} | " + " | ".join(f"{value:.3g}" for value in row.values()) + " |", flush=True
        )
    mean = {name: np.mean([row[name] for row in found]) for name in found[0]}
    print("| mean | " + " | ".join(f"{value:.3g}" for value in mean.values()) + " |", flush=True)


def generated(
    options: layered.Options, count: int, of: Callable[[layered.Truth], Row]
) -> Iterator[tuple[str, Row]]:
    """Rows of so many held-out clips, one at a time."""
    source = layered.Layered(options, None)
    for i, number in enumerate(source.order.take("held_out", count)):
        yield f"clip {i}", of(layered.ground_truth(source.scene("held_out", number)))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sequences", type=int, default=1000, help="the first so many")
    parser.add_argument("--clips", type=int, default=10, help="generated ones")
    parser.add_argument("--parts", nargs="+", default=["backgrounds", "generated"])
    asked = parser.parse_args()
    allocator.keep()
    torch.set_num_threads(1)
    root = data_root(asked.data)
    if "backgrounds" in asked.parts:
        printed(
            "backgrounds",
            ((name, of_backgrounds(*clip)) for name, *clip in sequences(root, asked.sequences)),
        )
    if "generated" in asked.parts:
        printed("generated", generated(layered.Options(), asked.clips, of_generated))
    if "effects" in asked.parts:
        for kind in ("shadow", "reflection"):
            options = layered.Options(**{kind: 0.6}, speed=(4.0, 6.0))
            printed(kind, generated(options, asked.clips, of_effects))
    if "mattes" in asked.parts:
        printed("mattes", generated(layered.Options(), asked.clips, of_mattes))


if __name__ == "__main__":
    main()

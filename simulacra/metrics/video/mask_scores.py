"""How well masks of a clip agree with the true ones: region J and boundary F, as the DAVIS
benchmark counts them (Perazzi et al., CVPR 2016, section 4; the conventions that the paper leaves
open are those of the official davis2017-evaluation).

Masks are (T, H, W) bool, one object or several as one, scored at their own size. The first and the
last frame do not count.
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.io import paint
from simulacra.io.clip import blaming, natural
from simulacra.io.mask import Reading, read_file
from simulacra.io.mask import objects as objects

# how far apart matching boundaries may be, share of the frame's diagonal, rounded up to whole
# pixels
TOLERANCE = 0.008
LEAST = 3  # frames, so that one is left to count

Scores = dict[str, float]  # what a metric gave, by name


# Frame by frame


def checked(mask: Tensor, true: Tensor) -> None:
    """A Mistake unless both are (T, H, W) bool of one shape, none of them 0."""
    for one in mask, true:
        if one.ndim != 3 or 0 in one.shape or one.dtype != torch.bool:
            raise Mistake(
                f"masks {tuple(one.shape)} of {one.dtype}; "
                "allowed: (T, H, W) of torch.bool, none of them 0"
            )
    if mask.shape != true.shape:
        raise Mistake(
            f"masks {tuple(mask.shape)} and true masks {tuple(true.shape)}; "
            "allowed: of one shape (T, H, W)"
        )


def jaccard(mask: Tensor, true: Tensor) -> Tensor:
    """Region similarity J (T,) float64, 0 to 1:
    the intersection of masks (T, H, W) bool over their union; 1 if both are empty."""
    checked(mask, true)
    shared, either = (mask & true).sum((1, 2)).double(), (mask | true).sum((1, 2)).double()
    return torch.where(either == 0, 1.0, shared / either.clamp(min=1))


def boundary(mask: Tensor) -> Tensor:
    """Where masks (T, H, W) bool differ from their right, lower or lower right neighbour, (T, H, W)
    bool. Beyond the frame everything goes on as at its border, so that the frame's border is no
    boundary."""
    right = torch.cat([mask[:, :, 1:], mask[:, :, -1:]], 2)
    below, diagonal = (torch.cat([one[:, 1:], one[:, -1:]], 1) for one in (mask, right))
    return (mask ^ right) | (mask ^ below) | (mask ^ diagonal)


def tolerance(height: int, width: int) -> int:
    """How many pixels apart boundaries of frames of this size may be and match:
    4 at 432x240, 8 at 854x480."""
    return math.ceil(TOLERANCE * math.hypot(height, width))


def near(edges: Tensor, far: int) -> Tensor:
    """Where an edge (T, H, W) bool is at most `far` pixels away, (T, H, W) bool: dilation by a
    disc, which is a Euclidean distance transform, exact and cut off."""
    import cv2  # a fifth of a second that most verbs need not pay

    y, x = np.ogrid[-far : far + 1, -far : far + 1]
    disc = (y * y + x * x <= far * far).astype(np.uint8)
    return torch.from_numpy(
        np.stack([cv2.dilate(one, disc) for one in edges.byte().cpu().numpy()])
    ).bool()


def boundary_f(mask: Tensor, true: Tensor) -> Tensor:
    """Boundary measure F (T,) float64, 0 to 1, of masks (T, H, W) bool: 2PR / (P + R), where
    precision P is the share of the mask's boundary that is within `tolerance` of the true one, and
    recall R the reverse. 1 if neither has a boundary, 0 if one has none (the official P = 1 and R =
    0, or the reverse); a mask that fills the frame has none."""
    checked(mask, true)
    found, wanted = boundary(mask.cpu()), boundary(true.cpu())
    far = tolerance(*mask.shape[1:])
    n_found, n_wanted = found.sum((1, 2)).double(), wanted.sum((1, 2)).double()
    precision = (found & near(wanted, far)).sum((1, 2)) / n_found.clamp(min=1)
    recall = (wanted & near(found, far)).sum((1, 2)) / n_wanted.clamp(min=1)
    both = precision + recall
    f = torch.where(both > 0, 2 * precision * recall / both.clamp(min=1e-300), 0.0)
    return torch.where(n_found + n_wanted == 0, 1.0, f)


# Over a sequence


class Score(NamedTuple):
    """A measure of frames, summed up over a sequence."""

    mean: float
    recall: float  # share of the frames above 0.5
    decay: float  # mean of the first quarter minus that of the last: above 0 if it gets worse


def score(values: Tensor) -> Score:
    """Of a measure (T,) of every frame, T at least 3, the first and the last left out. The n frames
    that are left are cut as the official script cuts them: at c_i = round(linspace(1, n, 5)_i),
    halves upwards, counted from 1, and quarter i runs from c_i to c_i+1 with both ends, so that
    neighbouring quarters share a frame. (The script keeps c in eight bits and errs from 257 frames
    on; this does not.)"""
    if values.ndim != 1 or len(values) < LEAST:
        raise Mistake(
            f"a measure of frames {tuple(values.shape)}; "
            f"allowed: (T,), T at least {LEAST}, since the first and the last do not count"
        )
    inner = values[1:-1].double()
    first_end, last_start = ((i * (len(inner) - 1) + 2) // 4 for i in (1, 3))  # c_1 - 1 and c_3 - 1
    decay = inner[: first_end + 1].mean() - inner[last_start:].mean()
    return Score(float(inner.mean()), float((inner > 0.5).double().mean()), float(decay))


def sequence(masks: Tensor, true: Tensor) -> Scores:
    """J_mean, J_recall, J_decay, F_mean, F_recall, F_decay and JF_mean, the mean of both means, of
    a sequence's masks (T, H, W) bool."""
    j, f = score(jaccard(masks, true)), score(boundary_f(masks, true))
    found = {
        f"{name}_{field}": value
        for name, one in (("J", j), ("F", f))
        for field, value in one._asdict().items()
    }
    return found | {"JF_mean": (j.mean + f.mean) / 2}


# Over sequences


def table(results: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Scores]]:
    """Each sequence and its numbers, as they come,
    and last "mean" and the mean over sequences, whatever their lengths."""
    if not results:
        raise Mistake("no sequences to report; needed: at least one")
    rows = [(name, dict(scores)) for name, scores in results.items()]
    first, names = rows[0][0], list(rows[0][1])
    for name, scores in rows:
        if list(scores) != names:
            raise Mistake(
                f"sequence '{name}' has {', '.join(scores)}; "
                f"allowed: as '{first}' has, {', '.join(names)}"
            )
    return [
        *rows,
        ("mean", {key: math.fsum(scores[key] for _, scores in rows) / len(rows) for key in names}),
    ]


def text(results: Mapping[str, Mapping[str, float]]) -> str:
    """The `table` to be printed, three decimals, names to the left and numbers to the right."""
    rows = table(results)
    cells = [
        ["sequence", *rows[0][1]],
        *([name, *(f"{value:.3f}" for value in scores.values())] for name, scores in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells)
    return "\n".join("  ".join(line) for line in lines)


def write_csv(results: Mapping[str, Mapping[str, float]], path: Path) -> Path:
    """The path of the `table` as comma-separated text, every digit kept."""
    rows, buffer = table(results), io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["sequence", *rows[0][1]])
    writer.writerows([name, *scores.values()] for name, scores in rows)
    return paint.write(path, buffer.getvalue().encode())


# From files


def inside(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in natural order of the names."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise Mistake(
            f"{folder} is {found}; allowed: a folder of .png masks, "
            "or of such folders, one a sequence"
        )
    with blaming(folder):
        return sorted(
            (path for path in folder.iterdir() if not path.name.startswith(".")),
            key=lambda path: natural(path.name),
        )


def pictures(folder: Path) -> list[Path]:
    """The .png files in a folder, in natural order of their names; there may be none. Of a folder
    that `decompose` made, those in its folder `mask`."""
    folder = folder / "mask" if (folder / "quality.json").is_file() else folder
    return [path for path in inside(folder) if path.suffix.lower() == ".png" and path.is_file()]


def read(folder: Path) -> tuple[list[str], list[Reading]]:
    """The names, without .png, and what was read of a folder's .png files, in natural order.
    A Mistake if sizes differ."""
    files = pictures(folder)
    if not files:
        raise Mistake(f"{folder} holds no masks; needed: .png files, one a frame")
    found: list[Reading] = []
    for path in files:
        found.append(read_file(path))
        one, first = found[-1].mask, found[0].mask
        if one.shape != first.shape:
            here, there = (f"{mask.shape[1]}x{mask.shape[0]}" for mask in (one, first))
            raise Mistake(
                f"mask {path} is {here}, {files[0].name} is {there}; "
                "allowed: masks of one size in a folder"
            )
    return [path.stem for path in files], found


def stacked(readings: list[Reading]) -> Tensor:
    """Masks (T, H, W) bool."""
    return torch.from_numpy(np.stack([one.mask for one in readings]))


def read_masks(folder: Path) -> tuple[list[str], Tensor]:
    """The names, without .png, and the masks (T, H, W) bool that are a folder's .png files, in
    natural order; `objects` says what counts as object."""
    names, found = read(folder)
    return names, stacked(found)


def understood(folder: Path, readings: list[Reading]) -> list[str]:
    """What a folder's masks were taken for, in a line, and what makes one doubt it, in another."""
    count, share = len(readings), np.mean([one.mask.mean() for one in readings])
    rules = Counter(one.rule for one in readings)
    each = [
        rule if len(rules) == 1 else f"{rule} ({n} of {count})" for rule, n in rules.most_common()
    ]
    told = [
        f"{folder}: {count} masks, which cover {share:.1%} of the frame on average; "
        f"{'; '.join(each)}"
    ]
    doubted = [one for one in readings if one.notes]
    if doubted:
        told.append(f"{folder}: of {len(doubted)} of {count} masks: {doubted[0].notes[0]}")
    return told


def by_sequence(folder: Path) -> dict[str, Path]:
    """The folders of masks in a folder by their names; empty if it holds masks itself."""
    if pictures(folder):
        return {}
    found = {path.name: path for path in inside(folder) if path.is_dir()}
    if not found:
        raise Mistake(
            f"{folder} holds no masks; needed: .png files, or folders of them, one a sequence"
        )
    return found


def numbers(names: list[str]) -> list[int] | None:
    """The last number in each of the names; None if one has none."""
    found = [re.findall(r"\d+", name) for name in names]
    return [int(one[-1]) for one in found] if all(found) else None


def fits_in_order(mine: list[str], wanted: list[str]) -> bool:
    """Whether masks of other names, as many, may be of the same frames one by one: the names'
    numbers are shifted, or the one side's are as if it had been numbered anew."""
    here, there = numbers(mine), numbers(wanted)
    if len(mine) != len(wanted) or here is None or there is None:
        return False
    shifts = {one - other for one, other in zip(here, there, strict=True)}
    anew = any(
        one[0] in (0, 1) and one == list(range(one[0], one[0] + len(one))) for one in (here, there)
    )
    return (
        len(shifts) == 1 or (anew and not set(mine) & set(wanted)) or here == list(range(len(here)))
    )


def matched(found: Path, true: Path) -> list[str]:
    """What is said of two folders of masks whose names differ and that fit by their order. A
    Mistake unless both hold masks of the same frames, enough of them."""
    mine, wanted = ({path.stem: path for path in pictures(folder)} for folder in (found, true))
    if not wanted:
        raise Mistake(f"{true} holds no masks; needed: .png files, one a frame")
    ranges = [
        f"{next(iter(names))} to {list(names)[-1]}, {len(names)} masks"
        for names in (mine, wanted)
        if names
    ]
    said = []
    if list(mine) != list(wanted) and fits_in_order(list(mine), list(wanted)):
        said = [
            f"{found} ({ranges[0]}) and {true} ({ranges[1]}) have other names; "
            "they are compared in order"
        ]
    for here, names, there, others in (
        ((found, mine, true, wanted), (true, wanted, found, mine)) if not said else ()
    ):
        missing = [name for name in others if name not in names]
        if missing:
            more = f" and {len(missing) - 1} more are" if missing[1:] else " is"
            have = f"; found {ranges[0]}, true {ranges[-1]}" if mine else ""
            raise Mistake(
                f"{here / missing[0]}.png{more} missing, which {there} has; "
                f"allowed: the same names in both{have}"
            )
    if len(wanted) < LEAST:
        raise Mistake(
            f"{true} holds {len(wanted)} masks; "
            f"needed: {LEAST}, since the first and the last do not count"
        )
    return said


def paired(found: Path, true: Path) -> dict[str, tuple[Path, Path]]:
    """Which folder of masks belongs to which true one, by the sequence's name."""
    mine, wanted = by_sequence(found), by_sequence(true)
    if bool(mine) != bool(wanted):
        holds = {True: "folders, one a sequence", False: "masks"}
        raise Mistake(
            f"{found} holds {holds[bool(mine)]}, {true} holds {holds[bool(wanted)]}; "
            "allowed: the same in both"
        )
    for folder, names, others in (found, mine, wanted), (true, wanted, mine):
        missing = next((name for name in others if name not in names), None)
        if missing is not None:
            raise Mistake(
                f"{folder} has no sequence '{missing}', only {', '.join(names)}; "
                "allowed: the same in both folders"
            )
    return {name: (mine[name], wanted[name]) for name in wanted} or {
        true.resolve().name: (found, true)
    }


def unheard(note: str, doubt: bool) -> None:
    """Tell nobody."""


def compare_folders(
    found: Path, true: Path, notify: Callable[[str, bool], None] = unheard
) -> dict[str, Scores]:
    """What `sequence` gives, by the sequence's name, for the masks in one folder and the true ones
    in another: .png files in both, or in both a folder of them for each sequence, as DAVIS has it.
    `notify` hears what the masks were taken for, and whether that is a doubt. A Mistake if a mask
    or a sequence is in one of them only, or sizes differ. Names are compared before anything is
    read."""
    pairs = paired(found, true)
    for note in [note for pair in pairs.values() for note in matched(*pair)]:
        notify(note, True)
    results = {}
    for name, (mine, wanted) in pairs.items():
        (names, masks), (_, truth) = read(mine), read(wanted)
        if masks[0].mask.shape != truth[0].mask.shape:
            here, there = (
                f"{one[0].mask.shape[1]}x{one[0].mask.shape[0]}" for one in (masks, truth)
            )
            raise Mistake(
                f"mask {mine / names[0]}.png is {here}, the true one {there}; "
                "allowed: masks of the true size"
            )
        for folder, readings in (mine, masks), (wanted, truth):
            for i, note in enumerate(understood(folder, readings)):
                notify(note, i > 0)
        results[name] = sequence(stacked(masks), stacked(truth))
    return results

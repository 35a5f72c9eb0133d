"""What a picture of a mask shows: the one reader of masks, and its rule.

1. Transparency decides if it varies: an alpha channel, a palette's or a colour's. What is opaque is
   the object, whatever its colour, black included.
2. Else a palette decides, as in DAVIS: index 0 is the ground, all others are objects, whatever
   their colours; but if index 0 has a colour and black is in use, black is the ground. A palette of
   greys with black is read as brightness.
3. Else brightness does, the largest of the channels: what is not black is the object, be it 1 of
   255 or of 65,535. A few even levels are a label each. Edges between them, which belong to
   neither, count from half of the level beside them.
4. Pictures that are soft (more than FEW levels), that lost something in compression (JPEG and the
   like), or in which nothing is black: what is brighter than half of the brightest.

Several objects are told apart by their index alone: that of a palette, or a grey of at most FEW,
which nobody sees. What belongs to VOID is nobody's if others are there (as in DAVIS 2017). Colours
and brighter greys are one object, which is said where there are several even ones.

Pictures are turned as their EXIF orientation says; of several frames the first is read. A mask that
is black on white is not told from one that is white on black: it covers most of the frame, which is
said.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from simulacra.io.clip import blaming
from simulacra.io.pictures import is_deep, is_grey, opened, shades, turned_as, values

FEW = 16  # levels up to which each may be a label; values up to which all are
# share of a level's pixels, of few levels, that have only their like around them, from which it is
# a label
EVEN = 0.25
LABELS = 0.5  # the same share of all that is between black and the brightest, of many levels
LOSSY = "JPEG", "MPO"  # formats that keep no value
OFTEN_LOSSY = "WEBP", "AVIF", "HEIF", "JPEG2000"  # those that may
# a photograph has this share of its pixels between these shares of the brightest
MIDDLE, TONES = (0.1, 0.9), 0.25
COLOURS = 200  # or so many colours, of 4,096
MOST = 0.5  # share of the frame from which a mask covers most of it
# share of the brightest that is not black, and of the frame from which what is evenly so dark is
# told of
DIM = 1 / 8, 0.005
MANY = 64  # colours of a palette that a mask rarely uses
FAINT = 32  # of 255: brightest values up to which a lossy mask is nearly nothing
VOID = 255  # index of what is nobody's
NEARLY = 8  # by which a mixture of two colours may differ from them, of 255

TRANSPARENCY = "its transparency decides: what is opaque is the object"
INDEX = "its palette decides: index 0 is the ground"
BLACK = "its palette decides: black is the ground"
BRIGHT = "what is not black is the object"
HALF = "what is brighter than half of its brightest is the object"
PHOTOGRAPH = "it looks like a photograph, not like a mask"


class Reading(NamedTuple):
    """What a picture was taken for."""

    mask: np.ndarray  # (H, W) bool
    rule: str  # what decided
    notes: list[str]  # what a person should be told besides
    # (H, W) uint8: which object, 0 none; None: the picture has no indices, and shows one object
    indices: np.ndarray | None = None


def around(values: np.ndarray) -> np.ndarray:
    """The 3 x 3 values around each of (H, W), the border's going on beyond it: (H, W, 3, 3)."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, 1, mode="edge"), (3, 3))


def parted(values: np.ndarray, lossy: bool) -> tuple[np.ndarray, str]:
    """Where brightness or opacity (H, W), 0 or more, is an object's, bool of that shape,
    and which rule found it."""
    levels, most = np.unique(values), values.max()
    half = 2 * values.astype(np.float64) > most
    if lossy or levels[0] > 0:
        return half & (values > 0), HALF
    between = (values > 0) & (values < most)
    if most <= FEW or not between.any():
        return values > 0, BRIGHT
    near = around(values)
    highest = near.max((2, 3))
    even = near.min((2, 3)) == highest
    if len(levels) > FEW:
        return (values > 0, BRIGHT) if even[between].mean() >= LABELS else (half, HALF)
    labels = [
        level for level in levels[1:] if level == most or even[values == level].mean() >= EVEN
    ]
    # not what compression left somewhere
    beside = np.isin(highest, labels) | (FEW * values.astype(np.float64) > most)
    edges = beside & (2 * values.astype(np.float64) >= highest)
    return (values > 0) & (np.isin(values, labels) | edges), BRIGHT


def opacity(image: Image.Image, deep: np.ndarray | None = None) -> np.ndarray | None:
    """The alpha of a picture (H, W), be it a channel, a palette's or a colour's; None without any.
    `deep` are the values of colours of 16 bits, of which Pillow keeps 8."""
    if deep is not None:
        return deep[..., 3] if deep.ndim == 3 and deep.shape[2] == 4 else None
    if image.mode[0] in "IF" or not image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"))


def brightness(image: Image.Image, deep: np.ndarray | None = None) -> np.ndarray:
    """The largest of the channels of a picture (H, W), in its own range, or of its `deep` values. A
    ValueError if it has no sense as such."""
    if deep is not None:
        return shades(deep).max(-1) if deep.ndim == 3 else deep
    values = np.asarray(
        image if image.mode in ("1", "L") or image.mode[0] in "IF" else image.convert("RGB")
    )
    values = values.astype(np.uint8) if values.dtype == bool else values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("some values are no finite numbers")
    if values.min() < 0:
        raise ValueError(f"values from {values.min()}; allowed: 0 and more")
    return values.max(-1) if values.ndim == 3 else values


def palette(image: Image.Image) -> np.ndarray:
    """The colours (n, 3) uint8 of a picture's palette."""
    return np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)


def indexed(image: Image.Image) -> tuple[np.ndarray, str] | None:
    """Where a palette's objects are, and by which rule;
    None if it is one of greys with black, whose brightness tells more."""
    values, colours = np.asarray(image), palette(image)
    used = np.unique(values)
    used = used[used < len(colours)]
    shown = colours[used]
    grey = (shown == shown[:, :1]).all() and len(np.unique(shown[:, 0])) == len(shown)
    if grey and shown.min(initial=255) == 0:
        return None
    black = np.flatnonzero(~colours.any(1))
    if 0 not in black and np.isin(values, black).any():
        return np.isin(values, black, invert=True), BLACK
    return values != 0, INDEX


def told_apart(values: np.ndarray, colours: np.ndarray) -> np.ndarray | None:
    """Which object is where, (H, W) uint8, of the indices (H, W) of a mask, 0 the ground, whose
    colours (n, 3) say which of them are but shades along an edge: hardly even anywhere, and a
    mixture of others. None if there are more objects than FEW, as many as a picture has."""
    from scipy.optimize import nnls

    used = [int(i) for i in np.unique(values)]
    if len(used) > MANY:
        return None
    near = around(values)
    even = near.min((2, 3)) == near.max((2, 3))
    solid = [i for i in used if i == 0 or even[values == i].mean() >= EVEN]
    owner = np.arange(256, dtype=np.uint8)
    if len(solid) > 1 and max(used) < len(colours):
        # weights that sum to 1
        mixed = np.vstack([colours[solid].T.astype(float), np.full(len(solid), 255.0)])
        for i in (i for i in used if i not in solid):
            weights, off = nnls(mixed, np.append(colours[i].astype(float), 255.0))
            if off <= NEARLY:
                owner[i] = max(solid[1:], key=lambda one: weights[solid.index(one)])
    found = owner[values]
    objects = np.setdiff1d(found, [0])
    if len(objects) > 1:
        found[values == VOID] = 0
    return found if len(np.setdiff1d(objects, [VOID])) <= FEW else None


def several(image: Image.Image, mask: np.ndarray) -> int:
    """How many even colours, greys among them, a picture without indices has where its mask
    (H, W) bool is; 1 if more than FEW."""
    plain = np.asarray(image.convert("RGB"), np.int32) @ [65536, 256, 1]
    levels = np.unique(plain[mask])
    if not 1 < len(levels) <= FEW:
        return 1
    near = around(plain)
    even = near.min((2, 3)) == near.max((2, 3))
    return max(1, sum(even[plain == one].mean() >= EVEN for one in levels))


def dim(bright: np.ndarray) -> float:
    """The share of a picture of this brightness (H, W) that is evenly dark, but not black, and not
    half as bright as the brightest: another object in a darker grey, maybe."""
    near, most = around(bright.astype(np.float32)), float(bright.max())
    lowest, highest = near.min((2, 3)), near.max((2, 3))
    return float(
        ((lowest > DIM[0] * most) & (2 * highest <= most) & (highest - lowest <= most / 64)).mean()
    )


def is_photograph(image: Image.Image, bright: np.ndarray) -> bool:
    """Whether a picture of this brightness (H, W) has too many tones for a mask."""
    if len(np.unique(bright)) <= FEW:
        return False
    low, high = (share * float(bright.max()) for share in MIDDLE)
    tones = ((bright > low) & (bright < high)).mean()
    colours = (
        np.asarray(image.convert("RGB"), np.int32) >> 4
        if image.mode[0] not in "1LIF"
        else np.zeros((1, 1, 3), int)
    )
    return bool(tones > TONES or len(np.unique(colours @ [256, 16, 1])) > COLOURS)


def read(image: Image.Image, kind: str | None = None, deep: np.ndarray | None = None) -> Reading:
    """The mask that a picture, stored in a format of Pillow's name `kind`, is taken for, and what a
    person should be told. `deep`: its values, if it has more than 8 bits of colours."""
    kind = kind or image.format
    alpha = opacity(image, deep)
    if alpha is not None:
        mask, _ = parted(alpha, lossy=False)
        if mask.any() and not mask.all():
            found = np.where(mask, np.asarray(image), 0) if image.mode == "P" else None
            if found is not None and not found[mask].all():
                found = None  # index 0 is what is seen
            colours = palette(image) if found is not None else None
            return of_indices(mask, TRANSPARENCY, doubts(mask), found, colours)
    told = indexed(image) if image.mode == "P" else None
    if told is not None:
        values, colours = np.asarray(image), palette(image)
        many = [PHOTOGRAPH] * int(len(np.unique(values)) > MANY)
        if told[1] == BLACK:  # index 0, which is an object, takes that of the ground
            black = int(values[~told[0]].min())
            values, colours[[0, black]] = np.where(values == 0, black, values), colours[[black, 0]]
        return of_indices(*told, many + doubts(told[0]), np.where(told[0], values, 0), colours)
    bright = brightness(image, deep)
    lossy = kind in LOSSY or (kind in OFTEN_LOSSY and bright.max() > FEW)
    mask, rule = parted(bright, lossy)
    notes = [PHOTOGRAPH] if is_photograph(image, bright) else []
    if rule == HALF and not notes and dim(bright) > DIM[1]:
        notes.append(
            f"{dim(bright):.1%} of it is evenly dark, but not black, and is not taken for an object"
        )
    if lossy and 0 < bright.max() <= FAINT:
        notes.append(
            f"its brightest value is {bright.max()} of 255, "
            "of which compression may have left little; use PNG"
        )
    if rule == BRIGHT and bright.max() <= FEW and image.mode in ("1", "L", "P", "I;16", "I"):
        return Reading(mask, rule, notes + doubts(mask), bright.astype(np.uint8))
    if rule == BRIGHT and deep is None and image.mode[0] not in "IF":
        count = several(image, mask)
        notes += [f"its {count} colours are one object; indices would be several"] * int(count > 1)
    return Reading(mask, rule, notes + doubts(mask))


def of_indices(
    mask: np.ndarray,
    rule: str,
    notes: list[str],
    values: np.ndarray | None,
    colours: np.ndarray | None,
) -> Reading:
    """What a picture was taken for whose indices are `values` (H, W), 0 the ground, if it has any,
    and their colours; its mask is without what is VOID."""
    none = values is None or colours is None
    indices = None if none else told_apart(values, colours)  # type: ignore[arg-type]
    if indices is not None and (indices > 0).any():
        mask = mask & (indices > 0)
    return Reading(mask, rule, notes, indices)


def doubts(mask: np.ndarray) -> list[str]:
    """What makes one doubt that a mask (H, W) shows the object."""
    share = mask.mean()
    if share <= MOST or mask.all():
        return []
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    inverted = "; if the object is what was left out, invert it" if border > MOST else ""
    return [
        f"it covers {share:.1%} "
        f"of the frame{' and most of its border' if border > MOST else ''}{inverted}"
    ]


def objects(image: Image.Image) -> np.ndarray:
    """Where a picture of a mask shows any object, (H, W) bool."""
    return read(image).mask


def read_file(path: Path) -> Reading:
    """The mask that a file holds. A Mistake if it is no picture."""
    with blaming(path), opened(path) as image:
        kind, count = image.format, getattr(image, "n_frames", 1)
        if is_deep(image) and not is_grey(image.mode):
            found = read(image, kind, values(path, image))
            turned = turned_as(image, Image.fromarray(found.mask))
            found = found._replace(mask=np.asarray(turned))
        else:
            found = read(ImageOps.exif_transpose(image), kind)
    more = [f"it holds {count} pictures, of which the first is read"] if count > 1 else []
    return found._replace(notes=more + found.notes)

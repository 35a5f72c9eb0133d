"""The masks that a person gives of some frames of a clip: which frame each is of, which objects
they show, and what is wrong with them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.io.clip_and_mask import Clip, Shown, read_mask
from simulacra.io.mask import VOID


class Objects(NamedTuple):
    """What the masks of a clip show."""

    masks: dict[int, Tensor]  # (H, W) int64 by frame: 0 the surroundings, 1 to K the objects
    names: tuple[int, ...]  # of the K objects: their indices in the pictures
    notes: list[str]  # what the masks were taken for


def frames_of(words: Iterable[str]) -> dict[int, Path]:
    """Which frame, from 0, each picture is of: FRAME=PICTURE, or PICTURE alone for frame 0. A file
    of that whole name is a picture. A Mistake if two are of one frame."""
    found: dict[int, Path] = {}
    for word in words:
        number, equals, rest = word.partition("=")
        framed = equals and number.isascii() and number.isdigit() and not Path(word).is_file()
        frame, path = (int(number), Path(rest)) if framed else (0, Path(word))
        if framed and not rest:
            raise Mistake(f"--mask {word} names no picture; allowed: FRAME=PICTURE, or PICTURE")
        if frame in found:
            raise Mistake(
                f"masks {found[frame]} and {path} are both of frame {frame}; "
                "allowed: one mask a frame, --mask FRAME=PICTURE"
            )
        found[frame] = path
    return found


def in_words(items: Iterable[object]) -> str:
    """1, 2 and 3."""
    *most, last = (str(item) for item in items)
    return f"{', '.join(most)} and {last}" if most else last


def names_of(masks: Mapping[int, Path], shown: Mapping[int, Shown]) -> tuple[int, ...]:
    """The objects' indices in all masks together. A Mistake if there is none, or if a mask without
    indices stands beside masks of several objects."""
    names = {int(one) for mask in shown.values() for one in mask.labels.unique() if one}
    if len(names) > 1:
        names -= {VOID}
    if not names:
        which = f"mask {next(iter(masks.values()))} is empty"
        if len(masks) > 1:
            which = f"masks {in_words(masks.values())} are empty"
        raise Mistake(
            f"{which}; needed: the object in any colour on black or on transparency, in one frame "
            "at least"
        )
    indexed = {int(one) for m in shown.values() if m.indexed for one in m.labels.unique() if one}
    bare = [t for t, mask in shown.items() if not mask.indexed and mask.labels.any()]
    if bare and len(indexed - {VOID}) > 1:
        raise Mistake(
            f"mask {masks[bare[0]]} has no indices, others have objects {in_words(sorted(names))}; "
            "allowed: indices in all of them (a palette), or --merge"
        )
    return tuple(sorted(indexed if bare and len(indexed) == 1 else names))


def read_masks(masks: Mapping[int, Path], clip: Clip, merge: bool) -> Objects:
    """The masks of a clip's frames; `merge` takes all their objects as one. A Mistake if a frame is
    not there, a mask is broken, or no mask shows an object."""
    T, _, H, W = clip.frames.shape
    for t, path in masks.items():
        if t >= T:
            raise Mistake(
                f"mask {path} is of frame {t}; the clip has {T} frames, allowed: 0 to {T - 1}"
            )
    shown = {t: read_mask(masks[t], H, W, clip.stored) for t in sorted(masks)}
    if merge:
        shown = {
            t: mask._replace(labels=(mask.labels > 0).long(), indexed=False)
            for t, mask in shown.items()
        }
    names = names_of(masks, shown)
    found, notes = {}, []
    for t, mask in shown.items():
        labels = mask.labels
        if len(names) == 1:  # one object, be it with an index or without
            labels = torch.where(labels == VOID, VOID * (names[0] == VOID), labels)
            found[t] = (labels > 0).long()
        else:
            found[t] = sum(
                ((labels == name).long() * k for k, name in enumerate(names, 1)),
                torch.zeros_like(labels),
            )
        of = masks[t] if list(masks) == [0] else f"frame {t}, {masks[t]}"
        notes += [f"{of}: {one}" for one in [*mask.notes, *objects_in(found[t], names)]]
    return Objects(found, names, notes)


def objects_in(mask: Tensor, names: tuple[int, ...]) -> list[str]:
    """Which objects a mask (H, W), 1 to K, shows, for a person; nothing of one that is there."""
    there = [name for k, name in enumerate(names, 1) if bool((mask == k).any())]
    if not there:
        return ["the object is not there"]
    if len(names) == 1:
        return []
    shares = [
        f"{name} ({float((mask == k).float().mean()):.1%})"
        for k, name in enumerate(names, 1)
        if name in there
    ]
    gone = [name for name in names if name not in there]
    lacking = f"; {in_words(gone)} {'is' if len(gone) == 1 else 'are'} not there" if gone else ""
    return [
        f"{len(there)} object{'s' * (len(there) > 1)}: {in_words(shares)}{lacking}; "
        "--merge takes all as one"
    ]

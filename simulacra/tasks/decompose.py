"""Decompose: a clip and masks of some of its frames into foreground, matte and clean background,
frame by frame.

What is done is kept in the folder `work` inside the results until all is written, so that a stopped
run goes on. A correction, the same masks and more into the same folder, writes the frames alone
whose masks become others."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import Mistake, choose
from simulacra.core.stack import Each, Frames, Kind, Stack, Store, kept, made
from simulacra.io import origin
from simulacra.io import paint as easel
from simulacra.io.clip_and_mask import FAST, SLOW, Clip, paced, read_clip
from simulacra.io.given_masks import Objects, read_masks
from simulacra.nn.maths import psnr
from simulacra.tasks import _layer_folder
from simulacra.tasks._layer_folder import Facts
from simulacra.video import depth, doubts, layers
from simulacra.video._background_flow import at_size
from simulacra.video.follow import smaller, working_size

FEATURES = ["imagenet", "none"]
VERSION = 6  # of what `work` holds; another one is not gone on with
LONGEST = 1920  # of the sides of frames that are not reduced
Notify = Callable[[str, float], None]  # hears what is being done and the share of it that is
Said = Callable[[str], None]  # hears at once what is returned as notes, too
Arrived = Callable[[int, Tensor, Tensor], None]  # frame, soft (K, H, W), confidence (K,)


def unheard(*_: object) -> None:
    """Tell nobody."""


class How(NamedTuple):
    """What else than clip and masks the layers depend on."""

    seed: int
    fast: bool = False
    features: str = FEATURES[0]


class Work(NamedTuple):
    """What is to be made, and who hears of it."""

    out: Path
    frames: Stack  # (T, 3, H, W) in [-1, 1]
    objects: Objects
    facts: Facts
    earlier: str  # the fingerprint that an earlier version gives the same; "": none
    notify: Notify
    note: Callable[[list[str]], None]
    arrived: Arrived

    @property
    def inner(self) -> Path:
        """The folder of what only a run needs."""
        return (self.out / _layer_folder.OF).parent


def decompose(
    path: Path,
    masks: Mapping[int, Path] | Path,  # by frame, from 0; one alone is of frame 0
    out: Path,
    *,
    longest: int = LONGEST,
    frames: int = 0,
    fps: float | None = None,
    seed: int = 0,
    fast: bool = False,
    features: str = "imagenet",  # of a frozen network trained on it, which help to find masks; none
    merge: bool = False,  # take all objects of the masks as one
    anew: bool = False,  # layers of other masks of this clip give way
    notify: Notify = unheard,
    said: Said = unheard,
    arrived: Arrived = unheard,  # hears of masks as they come; again if better
) -> tuple[Facts, list[str]]:
    """Into the folder `out`: mask_on_first_frame.png, at once, what the mask was taken for; mask/
    (black or white, what J and F are of), matte/ (soft, with what else of the object shows),
    foreground/ (RGBA), background/ and composite/ with a PNG a frame, of several objects also
    objects/NAME/ with mask/, matte/ and foreground/ of each; overlay.mp4 and overlay.gif,
    background.mp4, and quality.json, written last. Returns what quality.json holds, and what was
    done to the clip and the masks. In a folder that holds these layers already only what is lost or
    damaged is made again, and films of another rate; in one that holds those of fewer masks, the
    frames whose masks become others."""
    if longest < 0 or frames < 0 or (fps is not None and not SLOW <= fps <= FAST):
        raise Mistake(
            f"longest = {longest}, frames = {frames}, fps = {fps}; "
            f"allowed: 0 or more, and fps {SLOW:g} to {FAST:g}"
        )
    choose("features", features, FEATURES)
    if out.exists() and not out.is_dir():
        raise Mistake(f"{out} is a file; layers go into a folder")
    masks = {0: masks} if isinstance(masks, Path) else dict(sorted(masks.items()))
    if not masks:
        raise Mistake("no mask; needed: one that shows the object, of any frame")
    notes: list[str] = []

    def note(lines: list[str]) -> None:
        notes.extend(lines)
        for line in lines:
            said(line)

    clip = read_clip(path, longest, frames, list(masks.values()), _layer_folder.home_of(out))
    objects = read_masks(masks, clip, merge)
    note([*clip.notes, *objects.notes])
    rate, lines = (fps, []) if fps else paced(clip.fps)
    note([f"{path}: {line}" for line in lines])
    facts, earlier = facts_of(clip, objects, How(seed, fast, features), path, masks)
    note(_layer_folder.claim(out, facts, earlier, anew))
    note(origin.keep(out, clip.origin, len(clip.frames), rate))
    seen, told = clip.frames.seen_as("colours"), facts | {"fps": rate}
    work = Work(out, seen, objects, told, earlier, notify, note, arrived)
    for t in masks:
        show(work, t)
    return done(work), notes


def show(work: Work, t: int) -> None:
    """Paint what the mask of a frame was taken for, at once."""
    path = work.out / _layer_folder.seen_at(t)
    there = one_hot(work.objects)[t][None]
    seen = easel.to_bytes(_layer_folder.tinted(work.frames[t : t + 1], there))[0]
    _layer_folder.put(path, easel.png(easel.picture(seen)))
    which = "mask" if list(work.objects.masks) == [0] else f"mask of frame {t}"
    work.note([f"what the {which} was taken for: {path}"])


def one_hot(objects: Objects) -> dict[int, Tensor]:
    """The masks (K, H, W) float by frame."""
    numbers = torch.arange(1, len(objects.names) + 1)[:, None, None]
    return {t: (mask[None] == numbers).float() for t, mask in objects.masks.items()}


def done(work: Work) -> Facts:
    """Make whatever the folder lacks of the layers, and what it then says of them."""
    out, facts, names = work.out, work.facts, work.objects.names
    found = _layer_folder.finished(out, facts, work.earlier)
    size, T = (work.frames.shape[3], work.frames.shape[2]), len(work.frames)
    lost, films = _layer_folder.lacking(out, size, T, names) if found else (set(), set())
    if found and lost:
        work.note(
            [f"{out}: {len(lost)} layers are not there or damaged, such as {min(lost)}; made again"]
        )
    if found is None or lost:
        only = lost if found and found["of"] == facts["of"] else None
        found = layered(work, only)
    elif films or found["fps"] != facts["fps"]:
        why = (
            "are not there or damaged"
            if films
            else f"had {found['fps']:.4g} frames per second, and now have {facts['fps']:.4g}"
        )
        work.note([f"{out}: films {why}; written again"])
        found = {**found, "fps": facts["fps"]}
    else:
        if not _layer_folder.unfinished(out, facts):
            _layer_folder.swept(out)
        older = "" if "confidence" in found else ", made by an earlier version, without confidence"
        work.note([f"{out} holds these layers already{older}"])
        return found
    work.note(_layer_folder.films(out, work.frames, facts["fps"], names))
    _layer_folder.write(out / _layer_folder.QUALITY, found)
    if not _layer_folder.unfinished(out, facts):
        _layer_folder.swept(out)
    return found


class Sought(NamedTuple):
    """What was found of the objects."""

    masks: Frames  # (T, K, H, W) bool
    confidence: Tensor  # (T, K)
    warned: list[doubts.Doubt]
    places: list[int]  # how deep each is
    area: np.ndarray  # (T, K) pixels of the masks
    digests: list[str]  # of the masks of each frame


class Plates(NamedTuple):
    """The background behind the objects."""

    background: Frames  # (T, 3, H, W)
    known: Frames  # (T, 1, H, W) bool


def layered(work: Work, lost: set[Path] | None) -> Facts:
    """Make layers and write those that are lost, or, if that is None, all that differ from those
    that are there; returns what is said of them."""
    work.inner.mkdir(parents=True, exist_ok=True)
    found, (T, _, H, W) = found_in(work), work.frames.shape

    def common(t: int) -> Tensor:
        """The matte of all objects, from their masks alone."""
        mask = found.masks[t : t + 1].any(1, keepdim=True).float()
        return layers.mattes(work.frames[t : t + 1], mask)

    def make(stacks: Mapping[str, Store]) -> None:
        for t in range(T):
            stacks["matte"][t] = common(t)[0]
        plates = plated(work.frames, stacks["matte"], work.notify, work.inner)
        for name in Plates._fields:
            for t in range(T):
                stacks[name][t] = plates[name][t]

    wanted: dict[str, tuple[tuple[int, ...], Kind]] = {
        "matte": ((T, 1, H, W), "half"),
        "background": ((T, 3, H, W), "colours"),
        "known": ((T, 1, H, W), "flags"),
    }
    stacks, lines = kept(work.out / _layer_folder.PLATE, work.facts["of"], wanted, make)
    work.note(lines)
    lost = to_write(work, found.digests, lost)
    each = []
    for t in range(T):
        work.notify("writing", t / T)
        made, one = frame_of(work, found, stacks, t)
        _layer_folder.write_layers(work.out, made, t, lost)
        each.append(one)
    return report(work, found) | layers.quality(each)


def frame_of(
    work: Work, found: Sought, stacks: Mapping[str, Frames], t: int
) -> tuple[dict[str, np.ndarray], layers.Told]:
    """The layers of frame t, bytes (H, W, C) by their folders, and what is told of them."""
    frame, masks, names = work.frames[t : t + 1], found.masks[t : t + 1], work.objects.names
    background, known = stacks["background"][t : t + 1], stacks["known"][t : t + 1].float()
    matte = layers.explained(frame, stacks["matte"][t : t + 1], background, known)
    foreground = layers.foregrounds(frame, matte, background)
    opacity = easel.to_bytes(2 * matte - 1)
    made = {
        "mask": easel.to_bytes(2 * masks.any(1, keepdim=True).float() - 1),
        "matte": opacity,
        "background": easel.to_bytes(background),
        "foreground": np.concatenate([easel.to_bytes(foreground), opacity], 3),
    }
    one = layers.told(frame, matte, foreground, background, known)
    if len(names) == 1:
        composite = layers.over(foreground, matte, background)
    else:
        own, composite = apart(frame, masks.float(), matte, background, names, found.places)
        made |= own
        one = one._replace(again=float(psnr(composite, frame)))
    made["composite"] = easel.to_bytes(composite)
    return {part: pixels[0] for part, pixels in made.items()}, one


def found_in(work: Work) -> Sought:
    """Where the objects are, with which confidence, and what is doubtful, of which is said at once
    what is known when masks arrive."""
    frames, facts, names = work.frames, work.facts, work.objects.names
    (T, _, H, W), K = frames.shape, len(names)
    watch = doubts.Watch(T, names, facts["given"], lambda line: work.note([line]))
    size, fresh = working_size(work.objects.masks), False
    given = one_hot(work.objects)

    def own(t: int, soft: Tensor) -> Tensor:
        """At the clip's own size, along the edges of its picture."""
        if size == (H, W):
            return soft
        hard = (at_size(soft[None], (H, W))[0] > 0.5).float()
        return layers.mattes(frames[t : t + 1].expand(K, 3, H, W), hard[:, None])[:, 0]

    def heard(t: int, soft: Tensor, confidence: Tensor) -> None:
        nonlocal fresh
        fresh = True
        watch.arrived(t, soft, confidence)
        work.arrived(t, own(t, soft), confidence)

    small = Each((T, 3, *size), lambda t: at_size(frames[t : t + 1], size)[0])
    labels = {t: smaller(mask, size) for t, mask in work.objects.masks.items()}

    def make(stacks: Mapping[str, Store]) -> None:
        how = How(*(facts[key] for key in How._fields))
        nets = work.out / _layer_folder.NETS, str(facts["of"])
        found = segmented(small, labels, how, work.notify, heard, nets)
        for name, one in found.items():
            for t in range(T):
                stacks[name][t] = one[t]

    wanted: dict[str, tuple[tuple[int, ...], Kind]] = {
        "soft": ((T, K, *size), "half"),
        "confidence": ((T, K), "exact"),
    }
    stacks, lines = kept(work.out / _layer_folder.SOFT, str(facts["of"]), wanted, make)
    work.note(lines)
    soft, confidence = stacks["soft"], stacks["confidence"][:]
    for t in range(T) if not fresh else ():  # a stopped run had found them
        heard(t, soft[t], confidence[t])
    places = depth.order(small, Each(soft.shape, lambda t: soft[t] > 0.5))
    hard = made((T, K, H, W), "flags", work.inner)
    area, digests = np.zeros((T, K), np.int64), []
    for t in range(T):
        one = (given[t] if t in given else own(t, soft[t])) > 0.5
        hard[t], area[t] = one, one.sum((1, 2)).numpy()
        digests.append(digest(np.packbits(one.numpy()).tobytes()))
    warned = doubts.doubts(doubts.of_clip(soft, confidence), names, facts["given"])
    return Sought(hard, confidence, warned, places, area, digests)


def apart(
    frame: Tensor,
    masks: Tensor,
    matte: Tensor,
    background: Tensor,
    names: tuple[int, ...],
    places: list[int],
) -> tuple[dict[str, np.ndarray], Tensor]:
    """The layers of each of several objects in a frame (1, 3, H, W) by their folders, and the
    composite of all. Mattes are shares of the common one; the opacity of a foreground is what makes
    the frame again if the layers are laid over one another, the nearest last."""
    each = [layers.mattes(frame, one) for one in masks.split(1, 1)]
    shares = depth.parts(torch.cat(each, 1), matte)
    colours, composite = depth.colours_of(frame, shares, places, background)
    opacity = depth.opacities(shares, places)
    made = {}
    for k, name in enumerate(names):
        own = f"{_layer_folder.OBJECTS}/{name}"
        made[f"{own}/mask"] = easel.to_bytes(2 * masks[:, k : k + 1] - 1)
        made[f"{own}/matte"] = easel.to_bytes(2 * shares[:, k : k + 1] - 1)
        bare = easel.to_bytes(colours[:, k]), easel.to_bytes(2 * opacity[:, k : k + 1] - 1)
        made[f"{own}/foreground"] = np.concatenate(bare, 3)
    return made, composite


def to_write(work: Work, now: list[str], lost: set[Path] | None) -> set[Path]:
    """The layers that are lost, or, if that is None, those of the frames whose masks, of digests
    `now`, are not what the folder's were, and what else it lacks."""
    if lost is not None:
        return lost
    out, names, (_, _, H, W) = work.out, work.objects.names, work.frames.shape
    was = _layer_folder.before(out) or {}
    same = _layer_folder.names_of(was) == names and len(was.get("mask_digests", ())) == len(now)
    changed = [t for t, one in enumerate(now) if not (same and was["mask_digests"][t] == one)]
    lost = set(_layer_folder.layers(out, changed, names))
    lost |= _layer_folder.lacking(out, (W, H), len(now), names)[0]
    if was:
        work.note([f"{out}: the masks of {len(changed)} of {len(now)} frames are others"])
        _layer_folder.begin_writing(out, work.facts)
        given = work.facts["given"]
        _layer_folder.cleared(out, _layer_folder.left_over(out, was, names, given))
    return lost


def report(work: Work, found: Sought) -> Facts:
    """What quality.json says of the masks, and of what they are."""
    names, given = work.objects.names, work.facts["given"]
    _, confidence, warned, places, area, digests = found

    def rounded(values: Tensor) -> list[float]:
        return [round(float(value), 4) for value in values]

    each = [
        {
            "name": name,
            "depth": places[k],
            "confidence": rounded(confidence[:, k]),
            "without_object": doubts.without(area[:, k : k + 1]),
        }
        for k, name in enumerate(names)
    ]
    return {
        "confidence_mean": round(float(confidence.mean()), 4),
        "without_object": doubts.without(area),
        "advised": doubts.advised(confidence.numpy(), given),
        "warnings": [one._asdict() for one in warned],
        "confidence": rounded(confidence.mean(1)),
        **work.facts,
        "objects": each,
        "mask_digests": digests,
    }


def facts_of(
    clip: Clip,
    objects: Objects,
    how: How,
    path: Path,
    masks: Mapping[int, Path],
) -> tuple[Facts, str]:
    """All that the layers depend on: `of`, its fingerprint, and what tells a person how two differ;
    and the fingerprint that an earlier version gave the same."""
    T, _, H, W = clip.frames.shape
    given = {
        str(t): {
            "name": masks[t].name,
            "digest": digest(mask.to(torch.uint8).numpy().tobytes()),
        }
        for t, mask in objects.masks.items()
    }
    source = {
        "clip": {"name": path.name, "digest": digest(*map(clip.frames.raw, range(T)))},
        "mask": next(iter(given.values())),
        "masks": given,
    }
    facts = {
        "of": fingerprint(clip, objects, (VERSION, *how, objects.names)),
        "frames": T,
        "height": H,
        "width": W,
        **how._asdict(),
        "source": source,
        "given": list(objects.masks),
        "objects": [{"name": name} for name in objects.names],
    }
    alone = list(objects.masks) == [0] and len(objects.names) == 1
    usual = how == How(how.seed)
    return facts, fingerprint(clip, objects, (2, how.seed)) if alone and usual else ""


def digest(*data: bytes) -> str:
    """A short hash."""
    found = hashlib.blake2b(digest_size=8)
    for one in data:
        found.update(one)
    return found.hexdigest()


def fingerprint(clip: Clip, objects: Objects, more: tuple[object, ...]) -> str:
    """Of clip, masks and what else layers depend on."""
    shape = tuple(clip.frames.shape)
    found = hashlib.blake2b(repr((*more, shape)).encode(), digest_size=8)
    for t in range(len(clip.frames)):
        found.update(clip.frames.raw(t))
    for t, mask in objects.masks.items():
        found.update(f"frame {t}".encode() if t else b"")
        found.update(mask.to(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def segmented(
    frames: Frames,
    masks: Mapping[int, Tensor],
    how: How,
    notify: Notify,
    arrived: Arrived,
    nets: tuple[Path, str],
) -> dict[str, Frames]:
    """How probable the objects are, and how sure that is. The nets that find them are left at a
    place, with the fingerprint of the work, as soon as each is whole."""
    from simulacra.video.follow import Kept, follow

    # what an earlier result of fewer masks could spare is not handed over: `follow` takes none yet
    found = follow(
        frames,
        masks,
        seed=how.seed,
        notify=lambda share: notify("object", share),
        arrived=arrived,
        kept=Kept(*nets),
        fast=how.fast,
        pretrained=how.features != "none",
        place=nets[0].parent,
    )
    return {"soft": found.soft, "confidence": found.confidence}


def plated(frames: Frames, matte: Frames, notify: Notify, place: Path) -> dict[str, Frames]:
    """The background, and how much of it other frames show."""
    from simulacra.video.plate import clean_plate

    plate = clean_plate(frames, matte, notify=lambda t, T: notify("background", t / T), place=place)
    return {"background": plate.background, "known": plate.known}

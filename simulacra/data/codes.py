"""Codes of recorded episodes: a folder of .safetensors that `simulacra encode` wrote, one an
episode, all of one eye.

Each file holds mean and log_variance (n, Z) float16, action (n, A) and reward (n,) float32 and done
(n,) uint8 of n frames: the action taken on seeing a frame, the reward that it earned, and whether
the episode ended with it. Its header names the eye and, unless it is older than that, what the eye
sees, of which recording of which store the codes are, and a digest of the contents, which is
checked when an episode is first read. Which episodes are held out follows from a hash of their
names, so that adding one moves no other. Windows are read from disk as they are drawn: memory does
not grow with the number of episodes.
"""

import json
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.data._order import Order
from simulacra.data.folder import held_out, locate
from simulacra.envs import checksums, view
from simulacra.envs.view import View

KINDS = {"mean": "F16", "log_variance": "F16", "action": "F32", "reward": "F32", "done": "U8"}
SUFFIX = ".safetensors"
MAKER = "simulacra encode RUN STORE -o"  # and the folder
HEX = 32  # letters of an eye's hash
THERE = "there"  # 1 at the steps of a batch that were recorded, 0 where they were filled up


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="codes",
):
    """Which codes, and how long the sequences are."""

    path: str = "codes"  # the folder, absolute or inside the data folder
    # T, steps of a sequence; shorter episodes are left out
    length: Annotated[int, msgspec.Meta(ge=2)] = 32
    # sequences from all over an episode | its first frames alone
    start: Literal["any", "first"] = "any"
    # frames from one sequence's beginning to the next one's; 0: half a sequence
    stride: Annotated[int, msgspec.Meta(ge=0)] = 0
    # fill shorter episodes up instead, with what is told apart by "there" and learnt by nobody
    pad: bool = False
    eye: str = ""  # hash of the eye that they must be of; empty: any
    # share of episodes held out, but at least one in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1


class Episode(NamedTuple):
    """What the header of a file says."""

    path: Path
    frames: int  # n
    sizes: tuple[int, int]  # Z, A
    eye: str
    view: View | None = None  # what the eye sees; None: older than that
    store: str = ""  # identity of the store that was encoded; empty: older than that
    recording: str = ""  # that of the episode there
    identity: str = ""  # of the contents


class Place(NamedTuple):
    """Where a sequence begins."""

    episode: int
    frame: int


def header(path: Path) -> Episode:
    """What a file holds, of which no number is read; a Mistake if it is not whole or no episode."""
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {
                name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()
            }
            told: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise Mistake(
            f"cannot read {path} ({' '.join(str(error).split())[:100]}); encode it again"
        ) from None
    (n, Z), (_, A) = ((*found.get(name, ("", ()))[1], 0, 0)[:2] for name in ("mean", "action"))
    wanted = {
        "mean": (n, Z),
        "log_variance": (n, Z),
        "action": (n, A),
        "reward": (n,),
        "done": (n,),
    }
    if 0 in (n, Z, A) or found != {name: (KINDS[name], shape) for name, shape in wanted.items()}:
        shapes = (
            ", ".join(f"{name} {kind} {shape}" for name, (kind, shape) in found.items())
            or "nothing"
        )
        raise Mistake(
            f"{path} holds {shapes}; "
            f"allowed: {', '.join(f'{name} {kind}' for name, kind in KINDS.items())}, alike long"
        )
    eye = told.get("eye", "")
    if len(eye) != HEX or set(eye) - set("0123456789abcdef"):
        raise Mistake(
            f"{path} names the eye '{eye}' that made it; allowed: a hash of {HEX} letters 0 to f"
        )
    try:
        store, recording = json.loads(told.get("origin", '["", ""]'))
    except ValueError:
        raise Mistake(
            f"{path} does not say of which recording it is, as it should; encode it again"
        ) from None
    seen = view.read(told["view"], str(path)) if "view" in told else None
    return Episode(path, n, (Z, A), eye, seen, store, recording, told.get("identity", ""))


def sound(episode: Episode) -> None:
    """A Mistake if the contents of a file are not those that were written;
    an older file has no digest."""
    if not episode.identity:
        return
    try:
        found = checksums.of_arrays(load_file(episode.path))
    except (SafetensorError, OSError) as error:
        raise Mistake(
            f"cannot read {episode.path} ({' '.join(str(error).split())[:100]}); encode it again"
        ) from None
    if found != episode.identity:
        raise Mistake(
            f"{episode.path} is damaged: its contents are not those that were encoded; "
            "remove it and encode it again"
        )


def read(folder: Path, eye: str) -> list[Episode]:
    """The folder's episodes in order of their names, all of one eye and of one size."""
    found = [header(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if len(found) < 2:
        raise Mistake(
            f"{folder} holds {len(found)} encoded episodes; needed: 2 or more, one of them held out"
        )
    for one in found:
        if one.eye != (eye or found[0].eye):
            where = "data.eye asks for" if eye else f"{found[0].path.name} is of"
            raise Mistake(
                f"{one.path} is of eye {one.eye}, {where} {eye or found[0].eye}; "
                "allowed: one eye for all"
            )
        if one.sizes != found[0].sizes:
            raise Mistake(
                f"{one.path} has codes and actions of {one.sizes} numbers, "
                f"{found[0].path.name} of {found[0].sizes}; allowed: one size for all"
            )
        first = next((other for other in found if other.view is not None), one)
        view.same(first.view, first.path.name, one.view, str(one.path))
    return found


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The encoded episodes, by their names."""
    return {path.name: path for path in locate(options.path, root, MAKER).glob(f"*{SUFFIX}")}


def places(episodes: list[Episode], options: Options) -> dict[str, list[Place]]:
    """Where the sequences of each split begin; each long episode's last sequence ends with it."""
    held = held_out([one.path.stem for one in episodes], options.held_out)
    found: dict[str, list[Place]] = {"train": [], "held_out": []}
    for number, one in enumerate(episodes):
        last = one.frames - options.length
        if last < 0 and not options.pad:
            continue
        last = max(last, 0)
        starts = (
            [*range(0, last, options.stride or max(1, options.length // 2)), last]
            if options.start == "any"
            else [0]
        )
        found["held_out" if one.path.stem in held else "train"] += [
            Place(number, start) for start in starts
        ]
    for split, some in found.items():
        if not some:
            longest = max(one.frames for one in episodes)
            raise Mistake(
                f"data.length = {options.length}: no episode of split '{split}' is that long; "
                f"the longest has {longest}"
            )
    return found


class Codes:
    """Sequences of codes, actions, rewards and ends."""

    classes = 0
    extractor = "codes"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options, self.folder = options, locate(options.path, root, MAKER)
        self.episodes = read(self.folder, options.eye)
        self.places = places(self.episodes, options)
        self.order = Order({split: len(some) for split, some in self.places.items()}, "sequences")
        self.size = self.order.size
        self.eye = torch.tensor(list(bytes.fromhex(self.episodes[0].eye)), dtype=torch.uint8)
        self.view = next((one.view for one in self.episodes if one.view is not None), None)
        # episodes whose contents are known to be those that were encoded
        self._sound: set[int] = set()

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: "mean", "log_variance" (B, T, Z), "action" (B, T, A), "reward",
        "done" (B, T) float32 and "eye" (B, 16) uint8, the hash of the eye in each row; with `pad`
        also "there" (B, T), 0 where a sequence was filled up."""
        return self._at("train", self.order.draw(k, batch, seed))

    def take(self, split: str, n: int) -> Batch:
        """The first n sequences of the split's fixed shuffled order."""
        return self._at(split, self.order.take(split, n))

    def whole(self, split: str, n: int) -> dict[str, Batch]:
        """The first n episodes of the split, or all of fewer, by their names: as `take` has
        sequences, with B = 1 and T = all frames."""
        numbers = sorted({place.episode for place in self.places[split]})[:n]
        found = {}
        for number in numbers:
            one = self.episodes[number]
            row = self._sequence(Place(number, 0), one.frames)
            found[one.path.stem] = {name: value[None].float() for name, value in row.items()} | {
                "eye": self.eye[None].clone()
            }
        return found

    def describe(self) -> dict[str, str]:
        """What was found in the folder."""
        options, frames = self.options, [one.frames for one in self.episodes]
        short = 0 if options.pad else sum(n < options.length for n in frames)
        Z, A = self.episodes[0].sizes
        return {
            "folder": f"{self.folder}: {len(frames)} episodes of {min(frames)} to {max(frames)} "
            f"frames, {sum(frames):,} in all",
            "eye": self.episodes[0].eye,
            "sequences": f"{self.size('train'):,} to train on, {self.size('held_out'):,} held out; "
            f"{short} episodes too short",
            "shape": f"{options.length} steps, codes of {Z} numbers, actions of {A}",
            "split": f"{options.held_out:.0%} of the episodes held out by a hash of their names",
        }

    def _at(self, split: str, chosen: np.ndarray) -> Batch:
        rows = [self._sequence(self.places[split][int(place)]) for place in chosen]
        names = [*KINDS, *([THERE] if self.options.pad else [])]
        batch = {name: torch.stack([row[name] for row in rows]).float() for name in names}
        return batch | {"eye": self.eye.expand(len(rows), -1).clone()}

    def _sequence(self, place: Place, length: int | None = None) -> Batch:
        path = self.episodes[place.episode].path
        if place.episode not in self._sound:
            sound(self.episodes[place.episode])
            self._sound.add(place.episode)
        here = slice(place.frame, place.frame + (length or self.options.length))
        try:
            with safe_open(path, "pt") as file:
                row = {name: file.get_slice(name)[here] for name in KINDS}
        except (SafetensorError, OSError) as error:
            raise Mistake(
                f"cannot read {path} ({' '.join(str(error).split())[:100]}); "
                "it was whole when training began"
            ) from None
        for name, value in row.items():
            if not value.isfinite().all():
                raise Mistake(
                    f"{path}: {name} is not finite in frames {here.start} to {here.stop - 1}; "
                    "encode it again"
                )
        return padded(row, self.options.length) if self.options.pad and length is None else row


def padded(row: Batch, length: int) -> Batch:
    """A sequence of so many steps whose last one is repeated where the episode is shorter; "there"
    (T,) is 1 where it is not."""
    frames = len(row["reward"])
    steps = torch.arange(length).clamp_max(frames - 1)
    return {name: value[steps] for name, value in row.items()} | {
        THERE: (torch.arange(length) < frames).float()
    }


Data = Codes

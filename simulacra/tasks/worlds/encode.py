"""Encode recorded episodes: every frame as the mean and log-variance that an eye gives it, one file
an episode.

A stopped call goes on: an episode is there whole or not at all. Each file carries the hash of its
eye, what that eye sees, and the identities of its recording and of the store; a folder holds codes
of one eye only, and under one name those of one store. Codes of a recording that was made anew are
made anew.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from simulacra.core import run
from simulacra.core.contract import HasOrigin, HasView
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.data.codes import SUFFIX, Episode, header, sound
from simulacra.envs import checksums, view
from simulacra.models.world.acting import Eye, pictures
from simulacra.models.world.artefacts import eye_of, eye_seen

CHUNK = 256  # frames encoded at once
MOST = 6e4  # of float16, less a little


class Recorded(NamedTuple):
    """One episode of n frames: on seeing frame i the action i was taken,
    which earned the reward i."""

    frames: Any  # (n, C, H, W) uint8, an array or a memory map
    actions: Any  # (n, A)
    rewards: Any  # (n,)
    # (n,), whether the episode ended with this step; a recording that was cut has no such step
    done: Any


class Recordings(Protocol):
    """Episodes by name. `view`, what their frames show, and `origin(name)`, the identities of a
    store and of an episode, are asked for if they are there."""

    names: Sequence[str]

    def episode(self, name: str) -> Recorded:
        """Read one."""


@runtime_checkable
class Identified(Protocol):
    """A store that knows its episodes by more than their names."""

    id: str

    def identity(self, i: int) -> str:
        """Of the i-th episode."""


class Stored:
    """Recordings of a store that `simulacra collect` filled; an episode is named as its file is,
    after a prefix that keeps stores apart."""

    def __init__(self, store: Any, prefix: str = ""):
        self.store, self.view = store, store.view if isinstance(store, HasView) else None
        self.names: Sequence[str] = [prefix + entry.path.stem for entry in store.entries]

    def origin(self, name: str) -> tuple[str, str]:
        """The identities of the store and of an episode; empty for a store that has none."""
        if not isinstance(self.store, Identified):
            return "", ""
        return self.store.id, self.store.identity(self.names.index(name))

    def episode(self, name: str) -> Recorded:
        """Read one, its frames mapped from disk."""
        found = self.store.episode(self.names.index(name))
        return Recorded(found.frames, found.actions, found.rewards, found.ends)


class Encoded(NamedTuple):
    """What was done."""

    written: int  # episodes
    already: int  # episodes that were there
    frames: int  # of those written
    eye: str  # hash
    notes: tuple[str, ...] = ()  # what was assumed or made anew, in sentences


def encode(
    opened: Opened,  # a run of an eye
    recordings: Recordings,
    out: Path,  # a folder
    *,
    notify: Callable[[int, int], None] = lambda done, of: None,  # told of episodes done
) -> Encoded:
    """Write the codes of all episodes into `out`; those that are there are left as they are, unless
    their recording was made anew. A Mistake, and nothing written, if codes that are there are of
    another eye or store, or the eye sees other frames."""
    eye, name, *_ = eye_of(opened)
    if not recordings.names:
        raise Mistake("there are 0 episodes to encode; allowed: 1 and more")
    seen, notes = recordings.view if isinstance(recordings, HasView) else None, list[str]()
    if seen is not None:
        known = eye_seen(opened)
        whose = recordings.store.folder if isinstance(recordings, Stored) else "recordings"
        view.same(known.view, str(opened.folder), seen, f"{whose}")
        notes += known.notes
    stale, told_of = outdated(recordings, out, name)
    notes += told_of
    out.mkdir(parents=True, exist_ok=True)
    written = frames = 0
    for count, episode in enumerate(recordings.names, 1):
        path = out / f"{episode}{SUFFIX}"
        if not path.exists() or path in stale:
            facts = {"eye": name, "run": opened.folder.name, "step": str(opened.step)}
            if isinstance(recordings, HasOrigin):
                facts["origin"] = json.dumps(recordings.origin(episode))
            if seen is not None:
                facts["view"] = view.written(seen)
            tensors = codes(eye, recordings.episode(episode), episode)
            facts["identity"] = checksums.of_arrays(
                {key: value.numpy() for key, value in tensors.items()}
            )
            data = save(tensors, facts)
            with run.full_disk(out):
                run.write(path, lambda file, data=data: file.write(data))
            written, frames = written + 1, frames + len(tensors["mean"])
        notify(count, len(recordings.names))
    return Encoded(written, len(recordings.names) - written, frames, name, tuple(notes))


def outdated(recordings: Recordings, out: Path, eye: str) -> tuple[set[Path], list[str]]:
    """Files of codes whose recordings were made anew since, and what is to be told of those that
    are there; a Mistake if one is of another eye or of another store."""
    stale, older, others = set[Path](), 0, 0
    names = set(recordings.names)
    for path in sorted(out.glob(f"*{SUFFIX}")):
        there = header(path)
        if there.eye != eye:
            raise Mistake(
                f"{path} is of eye {there.eye}, this eye is {eye}; "
                "allowed: one eye a folder, choose another with -o"
            )
        if path.stem not in names:
            others += 1
            continue
        sound(there)
        if not isinstance(recordings, HasOrigin):
            continue
        store, recording = recordings.origin(path.stem)
        if not recording:
            continue
        if not there.recording:
            older += 1
            _alike(there, recordings.episode(path.stem), store)
        elif there.recording != recording:
            if there.store != store:
                raise Mistake(
                    f"{path} is of an episode of store {there.store}, this store is {store}; "
                    "allowed: one store under these names, choose another folder with -o"
                )
            stale.add(path)
    told = [
        (
            len(stale),
            "of these episodes were recorded anew since they were encoded, and are encoded anew",
        ),
        (
            older,
            "codes are older than identities of recordings; "
            "their actions, rewards and ends are those of these recordings",
        ),
        (others, f"other episodes' codes stay in {out}"),
    ]
    return stale, [f"{count:,} {what}" for count, what in told if count]


def _alike(there: Episode, recorded: Recorded, store: str) -> None:
    """A Mistake if codes that do not say of what they are, are not of this recording,
    as far as actions, rewards, ends tell."""
    found = load_file(there.path)
    wanted = moved(recorded)
    if any(not torch.equal(found[name], wanted[name]) for name in wanted):
        raise Mistake(
            f"{there.path} is of another episode than that of this name in store {store}, "
            "whose actions or rewards differ; "
            "allowed: one store under these names, choose another folder with -o"
        )


def moved(recorded: Recorded) -> dict[str, Tensor]:
    """What is kept of an episode beside its codes."""
    return {
        "action": torch.from_numpy(np.array(recorded.actions, np.float32)),
        "reward": torch.from_numpy(np.array(recorded.rewards, np.float32)),
        "done": torch.from_numpy(np.array(recorded.done, bool)).byte(),
    }


@torch.inference_mode()
def codes(eye: Eye, recorded: Recorded, name: str) -> dict[str, Tensor]:
    """The tensors of one episode's file, as data/codes.py reads them."""
    n = len(recorded.frames)
    if not n or not n == len(recorded.actions) == len(recorded.rewards) == len(recorded.done):
        lengths = (
            f"{n} frames, {len(recorded.actions)} actions, {len(recorded.rewards)} rewards, "
            f"{len(recorded.done)} ends"
        )
        raise Mistake(f"episode {name} has {lengths}; allowed: 1 and more, equally many")
    made = [eye.encode(pictures(recorded.frames[i : i + CHUNK])) for i in range(0, n, CHUNK)]
    mean, log_variance = (torch.cat(part) for part in zip(*made, strict=True))
    # which is also not so where one is no number
    if not (mean.abs().max() < MOST and log_variance.abs().max() < MOST):
        raise Mistake(
            f"episode {name}: its codes do not fit float16 or are not finite; is the eye trained?"
        )
    return {"mean": mean.half(), "log_variance": log_variance.half()} | moved(recorded)

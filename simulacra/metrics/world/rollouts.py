"""Memories on held-out drives: how well one step is predicted, and how far many steps are imagined.

    alone(opened, codes)                          in the space of codes: no store is needed
    foresight(opened, opened_eye, codes, store)   also as pictures, as what probes read, and what
                                                  M's state adds to a probe

Everything is grouped by drive. Likelihoods of codes of two eyes are not comparable, nor are errors
in code space; pictures and probes are. An open-loop error shows M as many steps as it is looked at
with (hyper.context), then feeds back its expectation. `_copy`: the last frame or code shown, as if
the world stood still; `_eye`: the true code, which no memory can beat by much.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.core.random import fold, reseed
from simulacra.data.codes import Codes
from simulacra.envs.episodes import Store
from simulacra.envs.view import same
from simulacra.metrics.intervals import jackknife
from simulacra.metrics.intervals.jackknife import Grouped
from simulacra.metrics.world import probes
from simulacra.metrics.world.encoders import decoded
from simulacra.metrics.world.linear import Linear
from simulacra.models.world import world_memory
from simulacra.models.world.acting import Eye, pictures
from simulacra.models.world.artefacts import eye_seen, same_eye
from simulacra.models.world.dreaming import earning
from simulacra.models.world.memory_nets import Memory
from simulacra.models.world.world_memory import AHEAD

DRIVES = 100  # of each split, at most
CRASH = -50.0  # a reward below it: the car left the field, which costs 100
EVERY = 4  # steps from one that a probe of drives sees to the next
TOLD = "lateral", "heading", "speed"  # what probes read in imagined codes

Drives = dict[str, Batch]
"""Whole episodes of codes by name, B = 1 each."""


class Ahead(NamedTuple):
    """W windows of drives, and what M imagines k steps after the last frame it is shown."""

    k: list[int]
    names: list[str]  # (W,) of the drives
    last: list[int]  # (W,) the frame of its drive that is shown last
    true: Tensor  # (W, K, Z) mean codes of the frames k later
    shown: Tensor  # (W, Z) that of the last frame shown
    imagined: Tensor  # (W, K, Z)


def alone(
    opened: Opened, source: Codes, *, drives: int = DRIVES, windows: int = 500, seed: int = 0
) -> dict[str, Grouped]:
    """One-step losses and open-loop errors of a run
    of world_memory on the held-out episodes of its codes."""
    held = source.whole("held_out", drives)
    return losses(opened, held, source.whole("train", drives), seed) | code_errors(
        ahead(opened, held, windows)
    )


def losses(opened: Opened, held: Drives, train: Drives, seed: int = 0) -> dict[str, Grouped]:
    """One-step losses over whole episodes: of the code in nats a number (`nll`), of one normal
    distribution and of the last code, fitted to training episodes (`nll_normal`, `nll_copy`); of
    reward and end, where M has such heads. The reward's is the squared error of the reward as it
    was paid, whatever M learns of it (of a memory of signs: the cross-entropy), and `reward_crash`
    what M believes it was where the world paid less than -50."""
    model: Any = opened.model
    seen = [sample_codes(model, batch, fold(seed, "seen", name)) for name, batch in train.items()]
    middle = torch.cat(seen, 1).mean(1)
    spread, change = (
        torch.cat([z - middle for z in seen], 1),
        torch.cat([z.diff(dim=1) for z in seen], 1),
    )
    rows: dict[str, list[tuple[str, float, int]]] = {}
    for name, batch in held.items():
        z, T = sample_codes(model, batch, fold(seed, "drawn", name)), batch["mean"].shape[1]
        with torch.no_grad():
            told = model.losses(model.average.module, z.to(opened.device), moved(opened, batch))
            believed = priced(model.average.module, z.to(opened.device), moved(opened, batch))
        if believed is not None:
            paid = batch["reward"][0]
            told["loss_reward"] = (believed - paid).square().mean()
            if len(crash := believed[paid < CRASH]):
                rows.setdefault("reward_crash", []).append((name, float(crash.mean()), len(crash)))
        nll = {
            "nll": told.pop("loss_z"),
            "nll_normal": world_memory.normal_nll(z[:, 1:] - middle, spread),
        }
        nll["nll_copy"] = world_memory.normal_nll(z.diff(dim=1), change)
        for what, value in nll.items():
            rows.setdefault(what, []).append((name, float(value), T - 1))
        for what, value in told.items():
            rows.setdefault(what.removeprefix("loss_"), []).append((name, float(value), T))
    return {what: _weighted(values) for what, values in rows.items()}


def priced(M: Memory, z: Tensor, batch: Batch) -> Tensor | None:
    """The rewards (T,) that M believes were paid along one drive, B = 1;
    None if it has no head for their values."""
    if M.form.reward not in ("value", "twohot"):
        return None
    follows, _ = M(z, batch["action"])
    return earning(M, follows)[0].cpu()


def _weighted(values: Sequence[tuple[str, float, int]]) -> Grouped:
    """The mean over steps of each drive's mean, by its name."""
    names, means, counts = zip(*values, strict=True)
    mean, steps = (torch.tensor(one, dtype=torch.float64) for one in (means, counts))
    return jackknife.ratio(mean * steps, steps, names)


def sample_codes(model: Any, batch: Batch, seed: int) -> Tensor:
    """Codes of a batch as M is trained on them, from a seed."""
    reseed(seed)
    z: Tensor = model.sample_codes(batch)
    return z


def moved(opened: Opened, batch: Batch) -> Batch:
    """The batch on the run's device."""
    return {name: value.to(opened.device) for name, value in batch.items()}


# Many steps


def ahead(opened: Opened, held: Drives, windows: int = 500) -> Ahead:
    """What M imagines in windows of drives,
    their forecasts one after the other, evenly thinned to at most `windows`."""
    model: Any = opened.model
    C, longest = model.hyper.context, max(batch["mean"].shape[1] for batch in held.values())
    ks = [k for k in AHEAD if C + k <= longest]
    if not ks:
        raise Mistake(
            f"hyper.context = {C}: held-out episodes have at most {longest} steps; "
            f"allowed: up to {longest - 1}"
        )
    T = C + ks[-1]
    places = [
        (name, t)
        for name, batch in held.items()
        for t in range(0, batch["mean"].shape[1] - T + 1, ks[-1])
    ]
    places = places[:: -(-len(places) // windows)]
    cut = {
        key: torch.cat([held[name][key][:, t : t + T] for name, t in places])
        for key in ("mean", "action")
    }
    cut = moved(opened, cut)
    made = model.imagine(cut["mean"][:, :C], cut["action"], None).cpu()
    at, mean = [C - 1 + k for k in ks], cut["mean"].cpu()
    names, last = [name for name, _ in places], [t + C - 1 for _, t in places]
    return Ahead(ks, names, last, mean[:, at], mean[:, C - 1], made[:, at])


def code_errors(found: Ahead) -> dict[str, Grouped]:
    """`open_k`: the root mean square error of codes relative to that of the last code shown,
    as the model logs it."""
    off = (found.imagined - found.true).double().square().mean(2)
    still = (found.shown[:, None] - found.true).double().square().mean(2)
    return {
        f"open_{k}": jackknife.root_ratio(off[:, i], still[:, i], found.names)
        for i, k in enumerate(found.k)
    }


def picture_errors(found: Ahead, eye: Eye, store: Store, device: Any = None) -> dict[str, Grouped]:
    """`picture_k`: PSNR in dB, of the mean squared error,
    of decoded codes against the frames that were recorded."""
    number = numbers(store)

    def frame(name: str, t: int) -> Tensor:
        return pictures(store.read(number[name], "frames", t, 1))[0]

    last = torch.stack([frame(*place) for place in zip(found.names, found.last, strict=True)])
    told: dict[str, Grouped] = {}
    for i, k in enumerate(found.k):
        true = torch.stack(
            [frame(name, t + k) for name, t in zip(found.names, found.last, strict=True)]
        )
        made = {
            "": decoded(eye, found.imagined[:, i], device),
            "_copy": last,
            "_eye": decoded(eye, found.true[:, i], device),
        }
        for end, one in made.items():
            squares = (one.clamp(-1, 1) - true).double().square().mean((1, 2, 3))
            told[f"picture_{k}{end}"] = jackknife.decibels(squares, found.names)
    return told


def probe_errors(
    found: Ahead, fits: dict[str, Linear], of: dict[str, probes.Known]
) -> dict[str, Grouped]:
    """`lateral_k` and so on: the root mean square error, in the truth's units, of what the probes
    read in imagined codes, where the car is near its road. `of`: what is known of whole drives, by
    name."""
    told: dict[str, Grouped] = {}
    for name in (name for name in TOLD if name in fits):
        for i, k in enumerate(found.k):
            places = zip(found.names, found.last, strict=True)
            true = torch.stack([of[drive].targets[name][t + k] for drive, t in places]).double()
            for end, z in (
                ("", found.imagined[:, i]),
                ("_copy", found.shown),
                ("_eye", found.true[:, i]),
            ):
                off = (fits[name](z) - true).square()
                told[f"{name}_{k}{end}"] = jackknife.root_ratio(
                    off, torch.ones_like(off).where(~off.isnan(), torch.nan), found.names
                )
    return told


# With the recordings


def rollout_scores(
    opened: Opened,  # a run of world_memory
    eye: Opened,  # the run whose codes these are
    source: Codes,
    store: Store,  # of the recordings that were encoded
    *,
    drives: int = DRIVES,  # of each split, at most
    windows: int = 500,  # of held-out drives, at most
    seed: int = 0,
) -> dict[str, Grouped]:
    """All measures of a memory, by name, over held-out drives of its codes."""
    seen = eye_seen(eye)
    same(seen.view, str(eye.folder), store.view, str(store.folder))
    same(seen.view, str(eye.folder), source.view, str(source.folder))
    same_eye(opened.model.average.module, seen)  # type: ignore[attr-defined]
    train, held = source.whole("train", drives), unseen(source, store, drives)
    same_recordings(source, store, held | train)
    of = truths(store, held | train)
    found = ahead(opened, held, windows)
    fits = probes.fit(*thinned(train, of, None))
    told = (
        losses(opened, held, train, seed)
        | code_errors(found)
        | picture_errors(found, seen.eye, store, eye.device)
    )
    return told | probe_errors(found, fits, of) | stateful(opened, held, train, of)


def stateful(
    opened: Opened, held: Drives, train: Drives, of: dict[str, probes.Known]
) -> dict[str, Grouped]:
    """R2 of probes from what a controller sees on held-out drives: `drive_lateral_z` and so on from
    codes, `_zh` from codes and M's state before each was read."""
    found = {}
    for end, memory in ("z", None), ("zh", opened.model.average.module):  # type: ignore[attr-defined]
        fits = probes.fit(*thinned(train, of, memory))
        for name, one in probes.judged(fits, *thinned(held, of, memory)).items():
            found[f"drive_{name}_{end}"] = one
    return found


@torch.no_grad()
def thinned(
    drives: Drives, of: dict[str, probes.Known], memory: Any
) -> tuple[Tensor, probes.Known]:
    """Some steps of all drives: codes (n, Z), with a memory codes and states (n, Z + H),
    and what is known of them."""
    codes: list[Tensor] = []
    for batch in drives.values():
        z = batch["mean"]
        if memory is not None:
            weight = memory.head.weight
            h, _ = memory.remember(z.to(weight), batch["action"].to(weight), memory.start(z))
            z = torch.cat([z, torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1).to(z)], 2)
        codes.append(z[0, ::EVERY])
    targets = {
        name: torch.cat([of[drive].targets[name][::EVERY] for drive in drives])
        for name in probes.TARGETS
    }
    return torch.cat(codes), probes.Known(
        targets, [group for drive in drives for group in of[drive].groups[::EVERY]]
    )


def unseen(source: Codes, store: Store, drives: int) -> Drives:
    """Held-out episodes on tracks of which no episode trains."""
    track = {entry.path.stem: entry.facts.track for entry in store.entries}
    trained = {
        track.get(source.episodes[place.episode].path.stem) for place in source.places["train"]
    }
    held = source.whole("held_out", len(source.episodes))
    found = {name: batch for name, batch in held.items() if track.get(name) not in trained - {None}}
    if not found:
        raise Mistake(
            f"{len(held)} held-out episodes of codes, all on tracks of training episodes; "
            "needed: 1 on another"
        )
    return dict(list(found.items())[:drives])


def truths(store: Store, drives: Drives) -> dict[str, probes.Known]:
    """What is known of whole drives, by name;
    a Mistake if the store's drive of that name is another, by its actions."""
    number, roads = numbers(store), probes.turns(store)
    found = {}
    for name, batch in drives.items():
        actions = torch.from_numpy(store.read(number[name], "actions")) if name in number else None
        if actions is None or not torch.equal(actions, batch["action"][0]):
            told = "no such episode" if actions is None else "another episode of that name"
            raise Mistake(
                f"codes of episode {name}: {store.folder} has {told}; "
                "allowed: the store that was encoded"
            )
        entry, truth = (
            store.entries[number[name]],
            torch.from_numpy(store.read(number[name], "truths")),
        )
        steps = entry.facts.start + torch.arange(len(truth))
        found[name] = probes.ground_truth(truth, steps, [entry.facts.track] * len(truth), roads)
    return found


def same_recordings(source: Codes, store: Store, drives: Drives) -> None:
    """A Mistake if codes are of other recordings than the store's of these names,
    as far as they say of which they are."""
    number, told = (
        numbers(store),
        {one.path.stem: one.recording for one in source.episodes if one.recording},
    )
    for name in drives:
        if name in told and name in number and told[name] != store.identity(number[name]):
            raise Mistake(
                f"codes of episode {name}: {store.folder} has another episode of that name; "
                "allowed: the store that was encoded"
            )


def numbers(store: Store) -> dict[str, int]:
    """The places of a store's episodes by the names of their files."""
    return {entry.path.stem: i for i, entry in enumerate(store.entries)}

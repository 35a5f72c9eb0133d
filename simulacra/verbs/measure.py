"""Measure a run: numbers with their provenance and an interval."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from simulacra import config, run, seeds
from simulacra.contract import Batch, Data
from simulacra.errors import Mistake
from simulacra.measure import clips_report, extractors, pairs_report, series_report, world_report
from simulacra.measure.downstream import Labelled, downstream
from simulacra.measure.extractors import Extractor
from simulacra.measure.interval import interval
from simulacra.measure.report import compare, look, notes
from simulacra.reopen import Opened, commit
from simulacra.verbs._picture import check_prior
from simulacra.verbs.sample import classes, samples

CHUNK = 250  # pictures whose futures are imagined at once
LEAST = 6  # samples, since coverage looks at five neighbours


@dataclass(frozen=True)
class Protocol:
    """How a run is measured."""

    count: int  # samples in a set
    repeats: int = 5  # independent sets of samples, over which the interval is taken
    seed: int = 0
    extractor: str | None = None  # None: the one that fits the data set
    weights: str = "average"  # which generator weights: average or raw
    downstream: bool = False  # also train classifiers on samples and on reals (minutes)
    prior: str | None = None  # of futures: from where z is drawn; None: the run's own


@dataclass(frozen=True)
class _Judge:
    """What samples are held against."""

    compare: Callable[[Any], dict[str, float]]  # metrics by name of samples (N, ...), or of layers
    floor: dict[str, float]  # the same of real training examples
    extractor: Extractor | None  # None: series and futures are compared as they are
    told: dict[str, Any]  # of the eyes and the reals, for every row
    notes: list[str]  # for the reader
    draw: Callable[[int], Any]  # samples that follow from a seed
    baseline: dict[str, float] = field(default_factory=dict)  # what simpler means score


def measure(opened: Opened, protocol: Protocol) -> tuple[list[dict[str, Any]], list[str]]:
    """One row a metric, appended to metrics.jsonl, and notes for the reader. `floor` is what real training examples get
    in place of samples."""
    if protocol.count < LEAST or protocol.repeats < 1:
        raise Mistake(f"samples = {protocol.count}, repeats = {protocol.repeats}: at least {LEAST} samples and 1 repeat")
    start, source = time.monotonic(), opened.data()
    if protocol.prior is not None and source.extractor != pairs_report.NAME:
        raise Mistake(f"prior = {protocol.prior} is for futures of pictures, and room {opened.config.room} imagines none")
    if source.extractor == "codes":
        _no_extractor(protocol, "codes")
        return _of_codes(opened, source, protocol)
    kinds = {
        series_report.NAME: _judge_of_series,
        pairs_report.NAME: _judge_of_futures,
        clips_report.NAME: _judge_of_clips,
    }
    judge = kinds.get(source.extractor, _judge_of_pictures)(opened, source, protocol)
    if protocol.downstream:
        _check_downstream(opened, source, judge.extractor)
    seeds_of = [seeds.fold(protocol.seed, "measure", i) for i in range(protocol.repeats)]
    sets = [judge.compare(judge.draw(seed)) for seed in seeds_of]
    provenance = _provenance(opened, protocol, judge.told, time.monotonic() - start)
    rows, of_series = [], source.extractor == series_report.NAME
    for name in sets[0]:
        mean, low, high = interval([values[name] for values in sets])
        numbers = {"value": mean, "low": low, "high": high, "floor": judge.floor.get(name)}
        count = series_report.counts(name, protocol.count, judge.told["n_real"]) if of_series else {}
        rows.append({"metric": name} | {key: _finite(number) for key, number in numbers.items()} | provenance | count)
    alone = {"low": None, "high": None, "floor": None}
    rows += [{"metric": name, "value": _finite(value)} | alone | provenance for name, value in judge.baseline.items()]
    if protocol.downstream:
        rows += _downstream(opened, protocol, source, judge.extractor, provenance)
    if world_report.sees(opened, source):
        seen, told = world_report.of_eye(opened, source, protocol.count, protocol.seed)
        rows += [_plain(provenance | row) for row in seen]
        judge.notes.extend(told)
    run.append_rows(opened.folder / "metrics.jsonl", rows)
    return rows, judge.notes


def _of_codes(opened: Opened, source: Data, protocol: Protocol) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of a memory; `count` stretches of drives at most are imagined."""
    start = time.monotonic()
    if protocol.downstream:
        _check_downstream(opened, source, None)
    found, notes = world_report.of_memory(opened, source, protocol.count, protocol.seed)  # type: ignore[arg-type]
    told = {"extractor": world_report.NAME, "extractor_hash": world_report.HASH_OF_MEMORIES, "resize": None, "repeats": 1}
    provenance = _provenance(opened, protocol, {"n_real": found[0]["n_groups"]}, time.monotonic() - start) | told
    rows = [_plain(provenance | row) for row in found]
    run.append_rows(opened.folder / "metrics.jsonl", rows)
    return rows, notes


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row that begins with its metric, without floor; numbers that are none are null."""
    first = {"metric": row["metric"], "value": row["value"], "low": row["low"], "high": row["high"], "floor": None}
    return {key: _finite(value) if isinstance(value, float) else value for key, value in (first | row).items()}


def _judge_of_pictures(opened: Opened, source: Data, protocol: Protocol) -> _Judge:
    extractor = extractors.load(protocol.extractor or source.extractor)
    real, train = (look(batch["image"], extractor) for batch in _reals(source, protocol.count))
    told = {"extractor": extractor.name, "extractor_hash": extractor.hash, "resize": extractor.resize}
    return _Judge(
        lambda fake: compare(look(fake, extractor), real, train=train.features, seed=protocol.seed),
        compare(train, real, seed=protocol.seed),
        extractor,
        told | {"n_real": len(real.features)},
        notes(train, real),
        partial(samples, opened, protocol.count),
    )


def _judge_of_series(opened: Opened, source: Data, protocol: Protocol) -> _Judge:
    _no_extractor(protocol, series_report.NAME)
    real, train = (batch["series"] for batch in _reals(source, protocol.count))
    reals = series_report.Reals(real, train, source, protocol.seed)
    told = {"extractor": series_report.NAME, "extractor_hash": series_report.HASH, "resize": None, "n_real": len(real)}
    look_at = partial(series_report.compare, reals=reals)
    draw = partial(samples, opened, protocol.count)
    return _Judge(look_at, look_at(train), None, told, series_report.notes(source), draw)


def _judge_of_futures(opened: Opened, source: Data, protocol: Protocol) -> _Judge:
    """`count` futures in all, the same number for each of the first held-out pictures."""
    _no_extractor(protocol, pairs_report.NAME)
    if not hasattr(opened.model, "imagine"):
        raise Mistake(f"room {opened.config.room} imagines no futures, and these data are pairs of frames")
    check_prior(opened, protocol.prior)
    k = pairs_report.FUTURES
    wanted = -(-protocol.count // k)
    batch = source.take("held_out", min(wanted, source.size("held_out")))
    reals = pairs_report.Reals(batch["image"], batch["next"], source, protocol.seed)
    told = {"extractor": pairs_report.NAME, "extractor_hash": pairs_report.HASH, "resize": None, "n_real": len(reals.image)}
    notes = [f"{wanted} pictures were asked for, {len(reals.image)} are held out"] if wanted > len(reals.image) else []
    return _Judge(
        partial(pairs_report.compare, reals=reals),
        pairs_report.floor(reals),
        None,
        told | {"n_fake": k * len(reals.image), "prior": protocol.prior or opened.model.hyper.prior},  # type: ignore[attr-defined]
        notes,
        lambda seed: futures(opened, reals.image, k, seed, protocol.prior),
        pairs_report.baseline(reals),
    )


def _judge_of_clips(opened: Opened, source: Data, protocol: Protocol) -> _Judge:
    """`count` clips at most, all of them painted anew for each set, since a hole may be filled with noise."""
    _no_extractor(protocol, clips_report.NAME)
    if not hasattr(opened.model, "unroll"):
        raise Mistake(f"room {opened.config.room} paints no layers, and these data are clips with a first mask")
    reals = clips_report.reals(source, protocol.count)
    told = {"extractor": clips_report.NAME, "extractor_hash": clips_report.HASH, "resize": None, "n_real": len(reals.known)}
    return _Judge(
        partial(clips_report.compare, reals=reals),
        clips_report.perfect(reals),
        None,
        told | {"n_fake": len(reals.known)},
        clips_report.notes(reals),
        lambda seed: layers(opened, reals.batch, seed),
        clips_report.baseline(reals),
    )


def layers(opened: Opened, batch: Batch, seed: int) -> list[dict[str, Tensor]]:
    """What is painted for each clip, by the layer's name (S, C, H, W), on the CPU."""
    found: list[dict[str, Tensor]] = []
    for i in range(len(batch["video"])):
        seeds.reseed(seeds.fold(seed, "layers", i))
        one = {name: values[i : i + 1].to(opened.device) for name, values in batch.items()}
        with torch.no_grad():
            made = opened.model.unroll(one)._asdict()  # type: ignore[attr-defined]
        found.append({name: values[0].cpu() for name, values in made.items()})
    return found


def futures(opened: Opened, images: Tensor, count: int, seed: int, prior: str | None = None) -> Tensor:
    """`count` futures of each picture, (N, count, C, H, W) on the CPU, a function of the weights and the seed."""
    parts = []
    for start, some in enumerate(images.split(CHUNK)):
        seeds.reseed(seeds.fold(seed, "futures", start))
        parts.append(opened.model.imagine(some.to(opened.device), count, prior).cpu())  # type: ignore[attr-defined]
    return torch.cat(parts)


def _no_extractor(protocol: Protocol, kind: str) -> None:
    """A Mistake if a feature extractor was asked for."""
    if protocol.extractor not in (None, kind):
        name = extractors.load(protocol.extractor or "").name
        raise Mistake(f"extractor '{name}' sees pictures, and these data are {kind}; allowed: '{kind}'")


def _reals(source: Data, count: int) -> tuple[Batch, Batch]:
    """Held-out and training examples, at most `count` of each."""
    held_out, train = (source.take(split, min(count, source.size(split))) for split in ("held_out", "train"))
    return held_out, train


def _check_downstream(opened: Opened, source: Data, extractor: Extractor | None) -> None:
    """A Mistake if the samples would have no labels; before minutes of measuring."""
    if not source.classes:
        raise Mistake("--downstream needs labelled data, and these have no labels")
    if not classes(opened) and not (extractor and extractor.own_classes):
        name = extractor.name if extractor else "series"
        raise Mistake(f"--downstream of an unconditional room needs a classifier of these data; {name} is none")


def _downstream(
    opened: Opened, protocol: Protocol, source: Data, extractor: Extractor | None, provenance: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of what classifiers learn from one sample for each training label. An unconditional room's samples get the label
    that the extractor sees in them, which is weaker, and the row says so."""
    train, test = (source.take(split, source.size(split)) for split in ("train", "held_out"))
    fake = samples(opened, len(train["label"]), seeds.fold(protocol.seed, "downstream"), train["label"])
    if classes(opened) or extractor is None:
        labels, seen = train["label"], "the condition"
    else:
        labels, seen = extractor.posteriors(extractor.features(fake)).argmax(1), extractor.name
    kind = "image" if extractor else "series"
    real, held_out = (Labelled(batch[kind], batch["label"]) for batch in (train, test))
    found = downstream(Labelled(fake, labels), real, held_out, classes=source.classes, seed=protocol.seed)
    rest = {"low": None, "high": None, "floor": None, "labels": seen}
    count = {"n_real": len(held_out.y), "n_fake": len(fake), "repeats": 1}
    return [{"metric": name, "value": value} | rest | provenance | count for name, value in found.items()]


def _finite(number: float | None) -> float | None:
    """The number if it is one: JSON has no other."""
    return number if number is not None and math.isfinite(number) else None


def _provenance(opened: Opened, protocol: Protocol, told: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "step": opened.step,
        "n_fake": protocol.count,
        **told,
        "split": "held_out",
        "repeats": protocol.repeats,
        "seed": protocol.seed,
        "weights": protocol.weights,
        "config": run.digest(config.plain(opened.config))[:12],
        "commit": commit(),
        "seconds": round(seconds, 1),
    }

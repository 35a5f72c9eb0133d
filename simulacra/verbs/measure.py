"""Measure a run: numbers with their provenance and an interval."""

import math
import time
from dataclasses import dataclass
from typing import Any

from simulacra import config, run, seeds
from simulacra.contract import Data
from simulacra.errors import Mistake
from simulacra.measure import extractors
from simulacra.measure.downstream import Labelled, downstream
from simulacra.measure.extractors import Extractor
from simulacra.measure.interval import interval
from simulacra.measure.report import Features, compare, look, notes
from simulacra.reopen import Opened, commit
from simulacra.verbs.sample import classes, samples

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


def measure(opened: Opened, protocol: Protocol) -> tuple[list[dict[str, Any]], list[str]]:
    """One row a metric, appended to metrics.jsonl, and notes for the reader. `floor` is what real training pictures get
    in place of samples."""
    if protocol.count < LEAST or protocol.repeats < 1:
        raise Mistake(f"samples = {protocol.count}, repeats = {protocol.repeats}: at least {LEAST} samples and 1 repeat")
    start = time.monotonic()
    source = opened.data()
    extractor = extractors.load(protocol.extractor or source.extractor)
    real, train = _real(source, extractor, protocol.count)
    sets = [_report(opened, protocol, extractor, real, train, i) for i in range(protocol.repeats)]
    floor = compare(train, real, seed=protocol.seed)
    provenance = _provenance(opened, protocol, extractor, len(real.features), time.monotonic() - start)
    rows = []
    for name in sets[0]:
        mean, low, high = interval([values[name] for values in sets])
        numbers = {"value": mean, "low": low, "high": high, "floor": floor.get(name)}
        rows.append({"metric": name} | {key: _finite(number) for key, number in numbers.items()} | provenance)
    if protocol.downstream:
        rows += _downstream(opened, protocol, source, extractor, provenance)
    run.append_rows(opened.folder / "metrics.jsonl", rows)
    return rows, notes(train, real)


def _downstream(
    opened: Opened, protocol: Protocol, source: Data, extractor: Extractor, provenance: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of what classifiers learn from one sample for each training label. An unconditional room's samples get the label
    that the extractor sees in them, which is weaker, and the row says so."""
    train, test = (source.take(split, source.size(split)) for split in ("train", "held_out"))
    if not source.classes:
        raise Mistake("--downstream needs labelled data, and these have no labels")
    own = classes(opened) > 0
    if not own and not extractor.own_classes:
        raise Mistake(f"--downstream of an unconditional room needs a classifier of these data; {extractor.name} is none")
    fake = samples(opened, len(train["label"]), seeds.fold(protocol.seed, "downstream"), train["label"])
    labels = train["label"] if own else extractor.posteriors(extractor.features(fake)).argmax(1)
    real, held_out = (Labelled(batch["image"], batch["label"]) for batch in (train, test))
    found = downstream(Labelled(fake, labels), real, held_out, classes=source.classes, seed=protocol.seed)
    rest = {"low": None, "high": None, "floor": None, "labels": "the condition" if own else extractor.name}
    count = {"n_real": len(held_out.y), "n_fake": len(fake), "repeats": 1}
    return [{"metric": name, "value": value} | rest | provenance | count for name, value in found.items()]


def _finite(number: float | None) -> float | None:
    """The number if it is one: JSON has no other."""
    return number if number is not None and math.isfinite(number) else None


def _real(source: Data, extractor: Extractor, count: int) -> tuple[Features, Features]:
    held_out = source.take("held_out", min(count, source.size("held_out")))["image"]
    train = source.take("train", min(count, source.size("train")))["image"]
    return look(held_out, extractor), look(train, extractor)


def _report(
    opened: Opened, protocol: Protocol, extractor: Extractor, real: Features, train: Features, i: int
) -> dict[str, float]:
    fake = samples(opened, protocol.count, seeds.fold(protocol.seed, "measure", i))
    return compare(look(fake, extractor), real, train=train.features, seed=protocol.seed)


def _provenance(opened: Opened, protocol: Protocol, extractor: Extractor, n_real: int, seconds: float) -> dict[str, Any]:
    return {
        "step": opened.step,
        "extractor": extractor.name,
        "extractor_hash": extractor.hash,
        "resize": extractor.resize,
        "split": "held_out",
        "n_real": n_real,
        "n_fake": protocol.count,
        "repeats": protocol.repeats,
        "seed": protocol.seed,
        "weights": protocol.weights,
        "config": run.digest(config.plain(opened.config))[:12],
        "commit": commit(),
        "seconds": round(seconds, 1),
    }

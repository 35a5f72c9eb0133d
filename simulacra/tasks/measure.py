"""Measure a run: numbers with their provenance and an interval."""

import math
import time
from collections.abc import Callable
from typing import Any

from simulacra.core import config, random, run, zoo
from simulacra.core.contract import AutoEncoder, Data, HasWhence
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, commit
from simulacra.metrics.futures import pairs_report
from simulacra.metrics.images.downstream import Labelled, downstream
from simulacra.metrics.images.extractors import Extractor
from simulacra.metrics.intervals import versions
from simulacra.metrics.intervals.interval import combined
from simulacra.tasks import _own_metrics
from simulacra.tasks._judges import Judge, Protocol, judge, no_extractor
from simulacra.tasks.sample import classes, samples

__all__ = ["Protocol", "measure"]

Rows = list[dict[str, Any]]
LEAST = 6  # samples, since coverage looks at five neighbours


def measure(
    opened: Opened,
    protocol: Protocol,
    # before anything is written: a disk may be full
    tell: Callable[[Rows, list[str]], None] = lambda rows, notes: None,
) -> tuple[Rows, list[str]]:
    """One row a metric, appended to metrics.jsonl, and notes for the reader. `floor` is what real
    training examples get in place of samples."""
    rows, notes = measured(opened, protocol)
    rows = [versions.stamped(row) for row in rows]
    place, said = zoo.results(opened.folder)
    notes = [*notes, *said]
    tell(rows, notes)
    run.add_results(place, rows)
    return rows, notes


def measured(opened: Opened, protocol: Protocol) -> tuple[Rows, list[str]]:
    """The same, not yet written."""
    if protocol.count < LEAST or protocol.repeats < 1:
        raise Mistake(
            f"samples = {protocol.count}, repeats = {protocol.repeats}: "
            f"at least {LEAST} samples and 1 repeat"
        )
    start, source = time.monotonic(), opened.data()
    if protocol.prior is not None and source.extractor != pairs_report.NAME:
        raise Mistake(
            f"prior = {protocol.prior} is for futures of pictures, "
            f"and model {opened.config.model} imagines none"
        )
    if source.extractor == "codes":
        no_extractor(protocol, "codes")
        return _of_codes(opened, source, protocol)
    against = judge(opened, source, protocol)
    if protocol.downstream:
        _check_downstream(opened, source, against.extractor)
    own, told = _own_metrics.of(opened, source, protocol)
    numbers, notes = judged(own.heard(against) if own else against, protocol)
    notes = [*notes, *told]
    provenance = _provenance(opened, protocol, against.provenance, time.monotonic() - start)
    rows = rows_of(numbers, against, provenance) + (own.rows(provenance) if own else [])
    if protocol.downstream:
        rows += _downstream(opened, protocol, source, against.extractor, provenance)
    if sees_a_world(opened, source):
        from simulacra.metrics.world import world_report

        seen, told = world_report.of_eye(opened, source, protocol.count, protocol.seed)
        rows += [_plain(provenance | row) for row in seen]
        notes = [*notes, *told]
    return rows, notes


def sees_a_world(opened: Opened, source: Data) -> bool:
    """Whether the run is of an eye, and its data are frames of which truths are known."""
    recorded = isinstance(source, HasWhence) and isinstance(opened.model, AutoEncoder)
    return recorded and "image" in source.take("train", 1)


def rows_of(numbers: Rows, against: Judge, provenance: dict[str, Any]) -> Rows:
    """A row a metric, with where it comes from."""
    rows = [
        {"metric": row["metric"]} | row | provenance | against.own(row["metric"]) for row in numbers
    ]
    alone = {"low": None, "high": None, "floor": None, "over": None}
    rows += [
        {"metric": name, "value": _finite(value)} | alone | provenance
        for name, value in against.baseline.items()
    ]
    return rows


def judged(against: Judge, protocol: Protocol) -> tuple[Rows, list[str]]:
    """Value, interval and floor of each metric over independent sets of samples, and notes. What
    the choice of the reals adds to the variance is estimated on the first set."""
    seeds_of = [random.fold(protocol.seed, "measure", i) for i in range(protocol.repeats)]
    first = against.see(against.draw(seeds_of[0]))
    spread = against.spread(first)
    sets = [against.compare(first, protocol.seed)]
    sets += [against.compare(against.see(against.draw(seed)), seed) for seed in seeds_of[1:]]
    rows, means = [], {}
    for name in sets[0]:
        further = spread.variances.get(name, 0.0)
        means[name], low, high = combined(
            [values[name] for values in sets], further, spread.freedom
        )
        numbers = {"value": means[name], "low": low, "high": high, "floor": against.floor.get(name)}
        known = {key: _finite(number) for key, number in numbers.items()}
        rows.append(
            {"metric": name} | known | {"over": against.over if known["low"] is not None else None}
        )
    return rows, [*against.notes, *against.verdict(means)]


def _of_codes(opened: Opened, source: Data, protocol: Protocol) -> tuple[Rows, list[str]]:
    """Rows of a memory; `count` stretches of drives at most are imagined."""
    from simulacra.metrics.world import world_report

    start = time.monotonic()
    if protocol.downstream:
        _check_downstream(opened, source, None)
    found, notes = world_report.of_memory(opened, source, protocol.count, protocol.seed)  # type: ignore[arg-type]
    told = {
        "extractor": world_report.NAME,
        "extractor_hash": world_report.HASH_OF_MEMORIES,
        "resize": None,
        "repeats": 1,
    }
    provenance = (
        _provenance(opened, protocol, {"n_real": found[0]["n_groups"]}, time.monotonic() - start)
        | told
    )
    return [_plain(provenance | row) for row in found], notes


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row that begins with its metric, without floor; numbers that are none are null."""
    first = {
        "metric": row["metric"],
        "value": row["value"],
        "low": row["low"],
        "high": row["high"],
        "floor": None,
    }
    return {
        key: _finite(value) if isinstance(value, float) else value
        for key, value in (first | row).items()
    }


def _check_downstream(opened: Opened, source: Data, extractor: Extractor | None) -> None:
    """A Mistake if the samples would have no labels; before minutes of measuring."""
    if not source.classes:
        raise Mistake("--downstream needs labelled data, and these have no labels")
    if not classes(opened) and not (extractor and extractor.own_classes):
        name = extractor.name if extractor else "series"
        raise Mistake(
            "--downstream of an unconditional model needs a classifier of these data; "
            f"{name} is none"
        )


def _downstream(
    opened: Opened,
    protocol: Protocol,
    source: Data,
    extractor: Extractor | None,
    provenance: dict[str, Any],
) -> Rows:
    """Rows of what classifiers learn from one sample for each training label. An unconditional
    model's samples get the label that the extractor sees in them, which is weaker, and the row says
    so."""
    train, test = (source.take(split, source.size(split)) for split in ("train", "held_out"))
    fake = samples(
        opened, len(train["label"]), random.fold(protocol.seed, "downstream"), train["label"]
    )
    if classes(opened) or extractor is None:
        labels, seen = train["label"], "the condition"
    else:
        labels, seen = extractor.posteriors(extractor.features(fake)).argmax(1), extractor.name
    kind = "image" if extractor else "series"
    real, held_out = (Labelled(batch[kind], batch["label"]) for batch in (train, test))
    found = downstream(
        Labelled(fake, labels), real, held_out, classes=source.classes, seed=protocol.seed
    )
    rest = {"low": None, "high": None, "floor": None, "over": None, "labels": seen}
    count = {"n_real": len(held_out.y), "n_fake": len(fake), "repeats": 1}
    return [
        {"metric": name, "value": value} | rest | provenance | count
        for name, value in found.items()
    ]


def _finite(number: float | None) -> float | None:
    """The number if it is one: JSON has no other."""
    return number if number is not None and math.isfinite(number) else None


def _provenance(
    opened: Opened, protocol: Protocol, told: dict[str, Any], seconds: float
) -> dict[str, Any]:
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

"""What samples of a run are held against, by the kind of its data."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from simulacra.core import answers, random
from simulacra.core.contract import Batch, Data, Futures, HasOptions, HasPart, Layered, option
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, able
from simulacra.metrics.futures import pairs_report
from simulacra.metrics.images import extractors, prdc, report
from simulacra.metrics.images.extractors import Extractor
from simulacra.metrics.intervals.jackknife import variance
from simulacra.metrics.series import series_report
from simulacra.metrics.video import clips_report
from simulacra.tasks._picture import check_prior, imaginer
from simulacra.tasks.sample import classes, cycling, samples

CHUNK = 250  # pictures whose futures are imagined at once
PART = 2_000  # training pictures looked at at once


@dataclass(frozen=True)
class Protocol:
    """How a run is measured."""

    count: int  # samples in a set
    repeats: int = 5  # independent sets of samples
    seed: int = 0
    extractor: str | None = None  # None: the one that fits the data set
    weights: str = "average"  # which generator weights: average or raw
    downstream: bool = False  # also train classifiers on samples and on reals (minutes)
    prior: str | None = None  # of futures: from where z is drawn; None: the run's own


class Spread(NamedTuple):
    """What the choice of the reals adds to the variance of each metric."""

    # 0 where it is absent: the reals are not in it; NaN: unknown, so there is no interval
    variances: dict[str, float]
    freedom: int  # degrees of freedom with which they were estimated


@dataclass(frozen=True)
class Judge:
    """What samples are held against."""

    draw: Callable[[int], Any]  # samples that follow from a seed
    see: Callable[[Any], Any]  # what is looked at in them
    # metrics by name of what was seen; the seed is of what is drawn for them
    compare: Callable[[Any, int], dict[str, float]]
    spread: Callable[[Any], Spread]
    over: str  # over what the intervals are
    floor: dict[str, float]  # the same metrics of real training examples
    extractor: Extractor | None  # None: series and futures are compared as they are
    provenance: dict[str, Any]  # of the eyes and the reals, for every row
    notes: list[str]  # for the reader
    own: Callable[[str], dict[str, Any]] = lambda name: {}  # what rows of a metric say otherwise
    baseline: dict[str, float] = field(default_factory=dict)  # what simpler means score
    # sentences on what was found
    verdict: Callable[[dict[str, float]], list[str]] = lambda means: []


def judge(opened: Opened, source: Data, protocol: Protocol) -> Judge:
    """That of the run's data."""
    kinds = {
        series_report.NAME: _of_series,
        pairs_report.NAME: _of_futures,
        clips_report.NAME: _of_clips,
    }
    return kinds.get(source.extractor, _of_pictures)(opened, source, protocol)


def _over(what: str) -> str:
    return f"sampling of {what}, one training"


# --- pictures -------------------------------------------------------------------------------------


def _of_pictures(opened: Opened, source: Data, protocol: Protocol) -> Judge:
    asked = cycling(opened, protocol.count) if classes(opened) else None
    return of_pictures(partial(samples, opened, protocol.count), source, protocol, asked)


def of_pictures(
    draw: Callable[[int], Tensor],  # pictures (count, C, H, W) that follow from a seed
    source: Data,
    protocol: Protocol,
    asked: Tensor | None = None,  # (count,) the classes that were asked for
) -> Judge:
    """What pictures of any origin are held against: those of a data set."""
    extractor = extractors.load(protocol.extractor or source.extractor)
    mirror = mirrors(source)
    held_out, some = reals(source, protocol.count)
    if few := prdc.too_few(source.size("held_out")):
        raise Mistake(few)
    real = report.look(held_out["image"], extractor, mirror)
    own = report.look(some["image"], extractor, asked=some["label"] if asked is not None else None)
    pictures = (batch["image"] for batch in whole(source, "train"))
    train = report.training(pictures, source.size("train"), extractor, real)
    provenance = {
        "extractor": extractor.name,
        "extractor_hash": extractor.hash,
        "resize": extractor.resize,
    }
    of_training = {"n_train": len(train.features), "mirrored": mirror}

    def rows_own(name: str) -> dict[str, Any]:
        memory = of_training if name in ("memorisation", "copied") else {}
        return memory | report.counts(name, protocol.count, len(real.features))

    return Judge(
        draw=draw,
        see=lambda images: report.look(images, extractor, mirror, asked),
        compare=lambda fake, seed: report.compare(fake, real, train=train, seed=seed),
        spread=lambda fake: Spread(report.spread(fake, real, train, protocol.seed), report.FREEDOM),
        over=_over("samples and held-out pictures"),
        floor=report.compare(own, real, seed=protocol.seed),
        extractor=extractor,
        provenance=provenance | {"n_real": len(real.features)},
        notes=report.notes(own, real) + report.blind(some["image"], extractor, real, protocol.seed),
        own=rows_own,
        verdict=lambda means: report.verdict(
            means["memorisation"], means["copied"], len(train.features)
        ),
    )


def mirrors(source: Data) -> bool:
    """Whether training pictures are mirrored at random."""
    return isinstance(source, HasOptions) and bool(option(source.options, "flip", False))


def whole(source: Data, split: str) -> Iterator[Batch]:
    """All examples of a split, part by part where the data set can."""
    size = source.size(split)
    if not isinstance(source, HasPart):
        yield source.take(split, size)
        return
    for start in range(0, size, PART):
        yield source.part(split, start, min(start + PART, size))


def reals(source: Data, count: int) -> tuple[Batch, Batch]:
    """Held-out and training examples, at most `count` of each, to stand for samples."""
    held_out, train = (
        source.take(split, min(count, source.size(split))) for split in ("held_out", "train")
    )
    return held_out, train


# --- series ---------------------------------------------------------------------------------------


def _of_series(opened: Opened, source: Data, protocol: Protocol) -> Judge:
    no_extractor(protocol, series_report.NAME)
    real, train = (batch["series"] for batch in reals(source, protocol.count))
    known = series_report.Reals(real, train, source, protocol.seed)
    provenance = {
        "extractor": series_report.NAME,
        "extractor_hash": series_report.HASH,
        "resize": None,
        "n_real": len(real),
    }
    return Judge(
        draw=partial(samples, opened, protocol.count),
        see=lambda fake: fake,
        compare=lambda fake, seed: series_report.compare(fake, known),
        spread=lambda fake: Spread(series_report.spread(fake, known), series_report.GROUPS - 1),
        over=_over("samples and held-out series"),
        floor=series_report.compare(train, known),
        extractor=None,
        provenance=provenance,
        notes=series_report.notes(source),
        own=lambda name: series_report.counts(name, protocol.count, len(real)),
    )


# --- futures --------------------------------------------------------------------------------------


def _of_futures(opened: Opened, source: Data, protocol: Protocol) -> Judge:
    """`count` futures in all, the same number for each of the first held-out pictures."""
    no_extractor(protocol, pairs_report.NAME)
    if not isinstance(opened.model, Futures):
        raise Mistake(
            f"model {opened.config.model} imagines no futures, and these data are pairs of frames; "
            f"models that do: {able(Futures)}"
        )
    check_prior(opened, protocol.prior)
    k = pairs_report.FUTURES
    wanted = -(-protocol.count // k)
    batch = source.take("held_out", min(wanted, source.size("held_out")))
    known = pairs_report.Reals(batch["image"], batch["next"], source, protocol.seed)
    provenance = {
        "extractor": pairs_report.NAME,
        "extractor_hash": pairs_report.HASH,
        "resize": None,
        "n_real": len(known.image),
    }
    prior = protocol.prior or option(opened.config.hyper, "prior", None)
    return Judge(
        draw=lambda seed: futures(opened, known.image, k, seed, protocol.prior),
        see=lambda made: pairs_report.Seen.of(made, known),
        compare=lambda seen, seed: pairs_report.numbers(seen, known),
        spread=lambda seen: Spread(pairs_report.spread(seen, known), pairs_report.GROUPS - 1),
        over=_over("futures and held-out pictures"),
        floor=pairs_report.floor(known),
        extractor=None,
        provenance=provenance | {"n_fake": k * len(known.image), "prior": prior},
        notes=[f"{wanted} pictures were asked for, {len(known.image)} are held out"]
        if wanted > len(known.image)
        else [],
        baseline=pairs_report.baseline(known),
    )


def futures(
    opened: Opened, images: Tensor, count: int, seed: int, prior: str | None = None
) -> Tensor:
    """`count` futures of each picture, (N, count, C, H, W) on the CPU,
    a function of the weights and the seed."""
    parts = []
    for start, some in enumerate(images.split(CHUNK)):
        random.reseed(random.fold(seed, "futures", start))
        parts.append(answers.imagined(imaginer(opened), some.to(opened.device), count, prior).cpu())
    return torch.cat(parts)


# --- clips ----------------------------------------------------------------------------------------


def _of_clips(opened: Opened, source: Data, protocol: Protocol) -> Judge:
    """`count` clips at most, all of them painted anew for each set,
    since a hole may be filled with noise."""
    no_extractor(protocol, clips_report.NAME)
    if not isinstance(opened.model, Layered):
        raise Mistake(
            f"model {opened.config.model} paints no layers, and these data are clips with a first "
            f"mask; models that do: {able(Layered)}"
        )
    known = clips_report.reals(source, protocol.count)
    n = len(known.known)
    provenance = {
        "extractor": clips_report.NAME,
        "extractor_hash": clips_report.HASH,
        "resize": None,
        "n_real": n,
    }

    def see(made: list[dict[str, Tensor]]) -> list[dict[str, float]]:
        return [
            clips_report.scores(one, true, known.trained)
            for one, true in zip(made, known.known, strict=True)
        ]

    return Judge(
        draw=lambda seed: layers(opened, known.batch, seed),
        see=see,
        compare=lambda rows, seed: clips_report.mean(rows),
        spread=lambda rows: Spread(over_clips(rows), max(1, n - 1)),
        over=_over("clips"),
        floor=clips_report.perfect(known),
        extractor=None,
        provenance=provenance | {"n_fake": n},
        notes=clips_report.notes(known),
        baseline=clips_report.baseline(known),
    )


def over_clips(rows: list[dict[str, float]]) -> dict[str, float]:
    """The variance of the mean of each number over clips, without those that lack it (NaN);
    NaN with fewer than two."""
    found = {}
    for name in rows[0]:
        values = torch.tensor(
            [row[name] for row in rows if not math.isnan(row[name])], dtype=torch.float64
        )
        n = len(values)
        found[name] = variance((values.sum() - values) / (n - 1)) if n > 1 else math.nan
    return found


def layers(opened: Opened, batch: Batch, seed: int) -> list[dict[str, Tensor]]:
    """What is painted for each clip, by the layer's name (S, C, H, W), on the CPU."""
    model, found = opened.model, list[dict[str, Tensor]]()
    assert isinstance(model, Layered)
    for i in range(len(batch["video"])):
        random.reseed(random.fold(seed, "layers", i))
        one = {name: values[i : i + 1].to(opened.device) for name, values in batch.items()}
        with torch.no_grad():
            made = answers.unrolled(model, one)
        found.append({name: values[0].cpu() for name, values in made.items()})
    return found


def no_extractor(protocol: Protocol, kind: str) -> None:
    """A Mistake if a feature extractor was asked for."""
    if protocol.extractor not in (None, kind):
        name = extractors.load(protocol.extractor or "").name
        raise Mistake(
            f"extractor '{name}' sees pictures, and these data are {kind}; allowed: '{kind}'"
        )

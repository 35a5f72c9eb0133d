"""Compare eyes: one table of what they see, what memories of their codes foresee and how agents
with them drive.

    # runs opened with `reopen`
    arms = {"vae": Arm("vae", eye, memory, scores=scores), "vaegan": Arm(...)}
    # rows for a JSON file, text in Markdown
    rows, text = table(arms)
    # held-out frames, reconstructions, differences x4
    sheet(arms, path)

All eyes are looked at on the frames of the first arm's data, so they must share them; a memory's
codes are those of its run. Differences are against the first arm, on the same tracks or episodes,
whatever their sign.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simulacra.core.contract import HasTruth, HasWhence
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened
from simulacra.envs.episodes import Store
from simulacra.envs.view import same
from simulacra.io import paint
from simulacra.metrics.intervals import jackknife, seeds
from simulacra.metrics.intervals.interval import interval
from simulacra.metrics.intervals.jackknife import Estimate, Grouped
from simulacra.metrics.world import encoders, rollouts
from simulacra.metrics.world.returns import Score
from simulacra.models.world import seeing
from simulacra.models.world.artefacts import eye_of

AMPLIFIED = 4  # times that differences are shown
PLAIN = 4  # frames of a sheet that nobody chose; four more are the hard cases
# metrics, or how their names begin, of which less is better
LOWER = (
    "feature_error",
    "frechet",
    "nll",
    "reward",
    "end",
    "open_",
    "lateral_",
    "heading_",
    "speed_",
)
FEW = 10  # tracks, below which a reader is warned
NEITHER = "KL", "active", "aggregate_"  # is better
WORDS = {
    "psnr": "dB, mean code",
    "psnr_drawn": "dB, drawn code",
    "psnr_zoom": "dB, first 50 steps",
    "edge_energy_ratio": "1 is as sharp as the frames",
    "feature_error": "share of the features' variance",
    "KL": "nats a picture",
    "active": "numbers of z that vary",
    "aggregate_mean": "0 is the prior's",
    "aggregate_variance": "1 is the prior's",
    "nll": "nats a number; not comparable between eyes",
    "open_": "relative; not comparable between eyes",
    "reward_crash": "believed where leaving the field was paid -100",
    "picture_": "dB",
    "lateral_": "units, root mean square",
    "heading_": "radians, root mean square",
    "speed_": "units per second, root mean square",
    "probe_": "R2",
    "drive_": "R2",
    "score_over_seeds": "Student interval over CMA seeds",
}
COUNTED = "score_over_seeds"


@dataclass(frozen=True)
class Arm:
    """An eye and what was made with it; a part that is not there has no rows."""

    name: str
    eye: Opened  # a run of a model that encodes pictures, on data set racing
    memory: Opened | None = None  # a run of world_memory on codes of this eye
    store: Path | None = None  # of the drives that the memory's codes are of; None: the eye's
    # one a CMA seed, in the same order in each arm, all on the same tracks
    scores: Sequence[Score] = ()


@dataclass
class Found:
    """What was measured of one arm."""

    measures: dict[str, Grouped] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)


def table(
    arms: Mapping[str, Arm],
    *,
    count: int = 2000,  # held-out frames, at most
    featured: int = 1000,  # of which features are compared, at most; 0: of none
    windows: int = 500,  # of held-out episodes, at most
    notify: Callable[[str], None] = lambda what: None,  # told what is measured next
) -> tuple[list[dict[str, Any]], str]:
    """A row for each measure and arm, and a table of them all. Principal components, as many as the
    first eye's z has numbers, are the last arm: what any eye has to beat."""
    held = _held(arms, count, featured)
    found: dict[str, Found] = {}
    for name, arm in arms.items():
        notify(name)
        found[name] = _examined(arm, held, windows)
    z_size = eye_of(next(iter(arms.values())).eye).eye.z_size
    notify(f"{z_size} principal components")
    linear = encoders.linearly(held, z_size)
    found[f"PCA {z_size}"] = Found(linear.measures, linear.values, linear.told)
    rows = _rows(found, arms)
    return rows, _markdown(rows, found, arms)


def _held(arms: Mapping[str, Arm], count: int, featured: int) -> encoders.Held:
    """The frames that all arms see."""
    first, *others = arms.values()
    for other in others:
        if other.eye.config.data != first.eye.config.data or other.eye.root != first.eye.root:
            raise Mistake(
                f"eyes of {first.name} and {other.name} were trained on other data; "
                "allowed: the same store and split"
            )
    source: Any = first.eye.data()
    recorded = isinstance(source, HasWhence) and isinstance(source, HasTruth)
    if not recorded or "image" not in source.take("train", 1):
        raise Mistake(
            f"data of {first.name} are {first.eye.config.data}; "
            "allowed: single frames of data set racing"
        )
    for arm in arms.values():
        same(
            seeing.of_run(arm.eye).view,
            str(arm.eye.folder),
            source.view,
            f"the data of {first.name}",
        )
    return encoders.Held(source, count, featured=featured)


def _examined(arm: Arm, held: encoders.Held, windows: int) -> Found:
    """Everything about one arm."""
    look = encoders.look(arm.eye, held)
    found = Found(dict(look.measures), dict(look.values), dict(look.told))
    if arm.memory is not None:
        codes: Any = arm.memory.data()
        store = held.source.store if arm.store is None else Store(arm.store)
        found.measures |= rollouts.rollout_scores(
            arm.memory, arm.eye, codes, store, windows=windows
        )
    return Found(found.measures | driven(arm.scores), found.values, found.told)


def driven(scores: Sequence[Score]) -> dict[str, Grouped]:
    """Returns by track: `score`, the mean over seeds, and `score_seed_0` and so on."""
    found = {}
    for i, one in enumerate(scores):
        returns = torch.tensor([row.value for row in one.rows], dtype=torch.float64)
        found[f"score_seed_{i}"] = jackknife.mean(
            returns, [f"{row.track:010d}" for row in one.rows]
        )
    if found:
        first, *others = found.values()
        for other in others:
            jackknife.difference(first, other)  # refuses other tracks
        sums = torch.stack([one.sums for one in found.values()]).mean(0)
        found = {"score": Grouped(first.groups, sums, first.statistic)} | found
    return found


# Tables


def _rows(found: Mapping[str, Found], arms: Mapping[str, Arm]) -> list[dict[str, Any]]:
    """A row for each measure and arm; `difference` is against the first arm."""
    first, rows = next(iter(found)), []
    for measure in dict.fromkeys(name for one in found.values() for name in one.measures):
        for arm, one in found.items():
            if measure in one.measures:
                base = found[first].measures.get(measure) if arm in arms and arm != first else None
                apart = None if base is None else jackknife.difference(one.measures[measure], base)
                rows.append(
                    _row(measure, arm, jackknife.estimate(one.measures[measure]), apart, first)
                )
    for measure in dict.fromkeys(name for one in found.values() for name in one.values):
        for arm, one in found.items():
            if measure in one.values:
                rows.append(
                    _row(measure, arm, Estimate(one.values[measure], nan, nan, 1), None, first)
                )
    return rows + _over_seeds(arms)


def _over_seeds(arms: Mapping[str, Arm]) -> list[dict[str, Any]]:
    """Of each seed's mean over tracks, with the only interval that speaks of another search."""
    means = {
        name: [score.summary().mean for score in arm.scores]
        for name, arm in arms.items()
        if arm.scores
    }
    rows, first = [], next(iter(means), "")
    for name, values in means.items():
        apart = None
        if name != first and len(values) == len(means[first]):
            pairs = [a - b for a, b in zip(values, means[first], strict=True)]
            apart = Estimate(*interval(pairs), len(pairs))
        rows.append(_row(COUNTED, name, Estimate(*interval(values), len(values)), apart, first))
    return rows


def _row(
    measure: str, arm: str, one: Estimate, apart: Estimate | None, first: str
) -> dict[str, Any]:
    """A row; numbers that are none are null."""
    row: dict[str, Any] = {
        "measure": measure,
        "arm": arm,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "n": one.groups,
    }
    if apart is not None:
        row |= {
            "against": first,
            "difference": apart.value,
            "difference_low": apart.low,
            "difference_high": apart.high,
            # between the eyes as configs, of each of which there is one training
            "verdict": "undecided",
        }
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in row.items()
    }


def _markdown(
    rows: Sequence[Mapping[str, Any]], found: Mapping[str, Found], arms: Mapping[str, Arm]
) -> str:
    """The rows as a table, a line a measure, with what a reader has to know."""
    first, *others = arms
    heads = ["measure", "better", *found, *(f"{name} - {first}" for name in others)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    at = {(row["measure"], row["arm"]): row for row in rows}
    for measure in dict.fromkeys(row["measure"] for row in rows):
        cells = [_numbers(at.get((measure, arm)), "value", "low", "high") for arm in found]
        cells += [
            _numbers(at.get((measure, arm)), "difference", "difference_low", "difference_high")
            for arm in others
        ]
        words = next(
            (WORDS[key] for key in (measure, *WORDS) if key in WORDS and measure.startswith(key)),
            "",
        )
        lines.append(
            "| "
            + " | ".join([f"{measure} ({words})" if words else measure, better(measure), *cells])
            + " |"
        )
    return "\n".join([*lines, "", *_notes(found[first].told, at, first)]) + "\n"


def better(measure: str) -> str:
    """Which way a measure is better."""
    if measure.startswith(NEITHER):
        return ""
    return (
        "lower"
        if measure.startswith(LOWER)
        else "near 1"
        if measure.startswith("edge_energy")
        else "higher"
    )


def _numbers(row: Mapping[str, Any] | None, value: str, low: str, high: str) -> str:
    if row is None or row.get(value) is None:
        return ""
    ends = "" if row[low] is None else f" [{row[low]:.4g}, {row[high]:.4g}]"
    return f"{row[value]:.4g}{ends}"


def _notes(
    told: Mapping[str, Any], at: Mapping[tuple[str, str], Mapping[str, Any]], first: str
) -> list[str]:
    tracks = at["psnr", first]["n"]
    few = f" {tracks} tracks are few for an interval." if tracks < FEW else ""
    notes = [
        f"{told['frames']:,} frames of {tracks} held-out tracks; "
        f"{told['frames_of_probes']:,} training frames for probes. Brackets: 95 % "
        "intervals over tracks (nll, open, picture, drive: over held-out episodes of the codes); "
        "differences are paired. They say nothing of another training of the eye or the memory: "
        f"between the two as configs all is {seeds.too_few(1, 'training of each eye')}." + few,
        "Held-out episodes of codes are new to the memories, "
        "most of their tracks are not to the eyes.",
        "`_copy`: the last frame or code shown; `_eye`: the true code. "
        "Likelihoods and errors of codes are not comparable between eyes; pictures and probes are.",
    ]
    if "extractor" in told:
        looked = f"{told['extractor']} {told['extractor_hash']}"
        notes.append(
            f"Features of {told['frames_of_features']:,} frames: {looked}; {told['resize']}."
        )
    if (COUNTED, first) in at:
        notes.append(
            "Scores: means over CMA seeds by track, each seed, "
            "and over seeds, which alone speaks of another search."
        )
    return notes


# Pictures


def sheet(arms: Mapping[str, Arm], path: Path, count: int = 2000) -> Path:
    """The path of a picture: in each row a held-out frame and for each arm its reconstruction from
    the mean code and the difference, four times as strong, grey being none. Below four frames that
    come first: the sharpest curve, the most curb, the farthest from the road, the zoom."""
    held = _held(arms, count, 0)
    x = held.x[hard_cases(held)]
    columns = [x]
    for arm in arms.values():
        eye = eye_of(arm.eye).eye
        made = encoders.decoded(
            eye, encoders.coded(eye, x, arm.eye.device)[0], arm.eye.device
        ).clamp(-1, 1)
        columns += [made, (AMPLIFIED * (made - x)).clamp(-1, 1)]
    return paint.save_sheet(torch.stack(columns, 1).flatten(0, 1), path, len(columns), scale=2)


def hard_cases(held: encoders.Held) -> list[int]:
    """The places of the sheet's frames."""
    truth: Tensor = held.source.truth("held_out", held.n)
    curb = torch.cat(
        [
            (encoders.labels(part) == list(encoders.PALETTE).index("curb")).sum((1, 2))
            for part in held.x.split(encoders.CHUNK)
        ]
    )
    curve = held.known.targets["curvature"].abs().nan_to_num(-1)
    chosen = [
        curve.argmax(),
        curb.argmax(),
        truth[:, 0].abs().argmax(),
        held.zooming.int().argmax(),
    ]
    return [*range(min(PLAIN, held.n)), *(int(place) for place in chosen)]

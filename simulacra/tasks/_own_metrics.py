"""Metrics that a model brings itself, by its method `measure` (see the contract): rows with the
same provenance as all others, named `model.NAME`, so that no name is taken twice."""

import dataclasses
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from simulacra.core import external, random
from simulacra.core.contract import Batch, Data, HasMeasure
from simulacra.core.errors import Mistake, shown
from simulacra.core.load import Opened, to
from simulacra.core.state import untouched
from simulacra.metrics.intervals.interval import interval
from simulacra.tasks._judges import Judge, Protocol

PREFIX = "model."
NAME = re.compile(r"\w+(?:[.-]\w+)*")
EXAMPLES = "image", "series"  # of which samples are others


class OwnMetrics:
    """What a model's own `measure` says of each set of samples that a judge draws."""

    def __init__(self, opened: Opened, source: Data, protocol: Protocol):
        self.opened, self.protocol = opened, protocol
        self.sets: list[dict[str, float]] = []
        self.held_out = source.take("held_out", min(protocol.count, source.size("held_out")))
        train = source.take("train", min(protocol.count, source.size("train")))
        self.kind = next((name for name in EXAMPLES if name in self.held_out), None)
        self.floor = self._asked(train[self.kind], protocol.seed) if self.kind else {}

    def _asked(self, samples: Tensor, seed: int) -> dict[str, float]:
        """Its numbers for one set of samples, a function of them and the seed."""
        opened, model = self.opened, self.opened.model
        random.reseed(random.fold(seed, "own metrics"))
        batch: Batch = to(opened.device, self.held_out)
        with untouched(model, set()):
            found = model.measure(batch, samples.to(opened.device))  # type: ignore[attr-defined]
        return numbers(found, opened.config.model)

    def heard(self, against: Judge) -> Judge:
        """The judge, each of whose sets the model is shown too."""

        def draw(seed: int) -> Any:
            made = against.draw(seed)
            self.sets.append(self._asked(made, seed))
            return made

        return dataclasses.replace(against, draw=draw)

    def rows(self, provenance: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A row a metric; the interval is over sets of samples, the held-out examples being the
        same."""
        names = list(self.sets[0])
        if odd := next((one for one in (*self.sets, self.floor) if list(one) != names), None):
            raise Mistake(
                f"model {self.opened.config.model}: its measure gives {', '.join(odd)} of one set "
                f"and {', '.join(names)} of another; allowed: the same names"
            )
        code = {"extractor": "model", "extractor_hash": _hash(self.opened), "resize": None}
        rows = []
        for name in names:
            each = [values[name] for values in self.sets]
            mean, low, high = interval(each)
            # a number that no sample moves, as of held-out examples alone, has none
            known = math.isfinite(low) and min(each) < max(each)
            row = {
                "metric": f"{PREFIX}{name}",
                "value": mean,
                "low": low if known else None,
                "high": high if known else None,
                "floor": self.floor[name],
                "over": "sampling of samples, one training" if known else None,
            }
            rows.append(row | dict(provenance) | code)
        return rows


def numbers(found: object, model_name: str) -> dict[str, float]:
    """What a model's `measure` returned, as numbers; a Mistake if it is anything else."""
    start = f"model {model_name}: its measure returned"
    if not isinstance(found, Mapping) or not found:
        raise Mistake(
            f"{start} {type(found).__name__}; allowed: a dict of names and numbers, one or more"
        )
    values = {}
    for name, value in found.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Mistake(f"{start} the name {shown(name)}; allowed: letters, digits and _, - or .")
        one = isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()
        if not one and (not isinstance(value, (int, float)) or isinstance(value, bool)):
            kind = (
                f"a tensor of shape {tuple(value.shape)}"
                if isinstance(value, Tensor)
                else type(value).__name__
            )
            raise Mistake(f"{start} {kind} as '{name}'; allowed: one number")
        values[name] = float(value)
        if not math.isfinite(values[name]):
            raise Mistake(f"{start} {values[name]} as '{name}'; allowed: finite numbers")
    return values


def of(opened: Opened, source: Data, protocol: Protocol) -> tuple[OwnMetrics | None, list[str]]:
    """What a model's own measure says, if it has one, and a note if it cannot be asked."""
    if not isinstance(opened.model, HasMeasure):
        return None, []
    shapes = opened.like(1)
    if not any(name in shapes for name in EXAMPLES) or {"next", "video"} & shapes.keys():
        return None, [
            f"model {opened.config.model}: its own measure is not asked; it is for samples that "
            "are pictures or series"
        ]
    return OwnMetrics(opened, source, protocol), []


def _hash(opened: Opened) -> str:
    """That of the source in which the model's class is."""
    name = opened.config.model
    if external.is_outside(name):
        return external.loaded("model", name).digest[:12]
    file = getattr(sys.modules[type(opened.model).__module__], "__file__", None)
    return external.hash_of(Path(file).read_bytes())[:12] if file else ""

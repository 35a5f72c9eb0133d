"""Whether the stages of a chain fit each other, asked before the first of them begins: each model
is built from the shapes that it will have, and what one needs of another is looked up in its
config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from simulacra.core import config, run
from simulacra.core.config import Config
from simulacra.core.contract import Batch, option
from simulacra.core.errors import Mistake
from simulacra.core.load import build
from simulacra.models.world.dreaming import numbers

CPU = torch.device("cpu")
SIDE = 64  # pixels of a frame
ACTIONS = 3


def rehearse(
    steps: int, plans: Mapping[str, Config], actions: int = ACTIONS, padded: bool = False
) -> None:
    """A Mistake if a stage cannot be built, or cannot be made of those before it. `steps`: of the
    longest recording; `padded`: sequences may be longer than that, if they are filled up."""
    eye, memory = plans["eye"], plans["memory"]
    if length := option(eye.data, "length", 0):
        raise Mistake(f"stage eye: data.length = {length}; allowed: 0, single frames")
    _built("eye", eye, {"image": torch.zeros(2, 3, SIDE, SIDE)})
    for stage, plan in plans.items():
        if stage == "eye":
            continue
        if not plan.data.length <= steps and not (padded and plan.data.pad):
            raise Mistake(
                f"stage {stage}: data.length = {plan.data.length}; "
                f"allowed: up to {steps}, as long as recordings are"
            )
        _built(stage, plan, _codes(eye.hyper.z_size, plan.data.length, actions))
    if not memory.hyper.weight_reward:
        raise Mistake(
            "stage memory: hyper.weight_reward = 0; "
            "allowed: above 0, since nothing is earned in dreams without that head"
        )
    sizes = {
        stage: _size(plan, eye, memory, actions)
        for stage, plan in plans.items()
        if stage not in ("eye", "memory")
    }
    alone = numbers(eye.hyper.z_size, actions)
    for before, stage in zip(sizes, list(sizes)[1:], strict=False):
        if sizes[before] not in (alone, sizes[stage]):
            raise Mistake(
                f"stage {stage}: hyper.arm = {plans[stage].hyper.arm} cannot go on "
                f"from stage {before} with hyper.arm = {plans[before].hyper.arm}: controllers of "
                f"{sizes[stage]} and {sizes[before]} numbers; allowed: the same arm, or from z_only"
            )


def _size(plan: Config, eye: Config, memory: Config, actions: int) -> int:
    """Numbers of a controller."""
    units = {"z_only": 0, "full": memory.hyper.units, "untrained": plan.hyper.units}[plan.hyper.arm]
    return numbers(eye.hyper.z_size + units, actions)


def _codes(Z: int, T: int, actions: int) -> Batch:
    """Codes as the eye will make them."""
    told = {name: torch.zeros(2, T) for name in ("reward", "done")}
    codes = {name: torch.zeros(2, T, Z) for name in ("mean", "log_variance")}
    return (
        codes
        | told
        | {"action": torch.zeros(2, T, actions), "eye": torch.zeros(2, 16, dtype=torch.uint8)}
    )


def _built(stage: str, plan: Config, like: Batch) -> None:
    """Build a stage's model without the runs that are not there yet."""
    there = {name: "" for name in ("memory", "eye") if name in plan.hyper.__struct_fields__}
    try:
        build(
            msgspec.structs.replace(plan, hyper=msgspec.structs.replace(plan.hyper, **there)),
            like,
            CPU,
        )
    except Mistake as error:
        raise Mistake(f"stage {stage}: {error}") from None


def unchanged(plans: Mapping[Path, Config]) -> None:
    """A Mistake if a run is there that was made with another config,
    but for what it goes on from."""
    for folder, plan in plans.items():
        if not (folder / "config.json").exists():
            continue
        there, asked = (
            _without(one)
            for one in (config.completed(run.config_of(folder)), config.plain(config.settled(plan)))
        )
        if changed := run.differences(there, asked):
            told = "; ".join(
                f"{key} is {old} there, {new} asked" for key, (old, new) in changed.items()
            )
            raise Mistake(
                f"{folder} holds a run of another config: {told}. Choose another folder with -o"
            )


def _without(plain: dict[str, Any]) -> dict[str, Any]:
    """A config without the runs that it names, whose folders may have been moved."""
    hyper = {key: value for key, value in plain["hyper"].items() if key not in ("memory", "eye")}
    return plain | {"hyper": hyper, "init_from": ""}

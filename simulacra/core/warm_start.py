"""A new run that begins with another run's weights: `init_from`.

A model takes its modules, the tensors that are parts, and its averages, from parts of the same
names of a run of the same model; optimizers, schedules and controllers are new. A model says
otherwise by `INIT_PARTS`, `INIT_MODELS` or its own `begin`: see the contract. From a packed run,
which has averages alone, they are taken as the last weights too.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from simulacra.core import packed, run, zoo
from simulacra.core.config import Config
from simulacra.core.contract import HasBegin, HasInitModels, HasInitParts, HasPacked
from simulacra.core.ema import EMA
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.core.parts import Held, parts


class Begun(NamedTuple):
    """What a run began from."""

    said: str  # for a person
    record: dict[str, Any]  # for machine.json


def begin(checked: Config, model: Any, folder: Path, device: torch.device) -> Begun | None:
    """Put the weights of the run that `init_from` names into a model; None if it names none. A
    Mistake, if it is no run, has no checkpoint, is of another model, or if a part has another
    shape."""
    if not checked.init_from:
        return None
    source, key = zoo.place_of(checked.init_from), f"init_from = {checked.init_from}"
    if source.resolve() == folder.resolve():
        raise Mistake(f"{key} is the run folder itself; choose another one with --run")
    try:
        there = str(run.config_of(source).get("room"))
        allowed = model.INIT_MODELS if isinstance(model, HasInitModels) else (checked.model,)
        if there.partition("@")[0] not in [name.partition("@")[0] for name in allowed]:
            raise Mistake(
                f"{source} is a run of model {there}; allowed: model {', '.join(allowed)}"
            )
        step, states = _states(source)
        taken = (
            _own(model, source, device)
            if isinstance(model, HasBegin)
            else _taken(model, states, packed.is_packed(source))
        )
    except (Mistake, ValueError) as error:
        raise Mistake(f"{key}: {error}") from None
    new = [name for name in parts(model) if name not in taken]
    said = (
        f"begins with the weights of {source} at step {step:,}: {', '.join(taken)}; "
        f"new: {', '.join(new) or 'nothing'}"
    )
    return Begun(
        said, {"run": str(source), "step": step, "weights": run.digest(states), "parts": taken}
    )


def _states(source: Path) -> tuple[int, dict[str, Any]]:
    """Step and state of each part of a run's newest checkpoint, or of a packed run."""
    if packed.is_packed(source):
        return packed.facts(source)[0], packed.states(source)
    files = run.checkpoints(source)
    if not files:
        raise Mistake(f"{source} has no checkpoint yet; train it first")
    saved = run.contents(files[-1])
    return int(saved["step"]), saved["parts"]


def _own(model: Any, source: Path, device: torch.device) -> list[str]:
    """What the model's own `begin` took from the other run's model."""
    return list(model.begin(reopen(source, None, str(device)).model))


def _taken(model: Any, states: dict[str, Any], packed: bool) -> list[str]:
    """The names of the parts that took a state.
    All are looked at before the first one is changed."""
    mine = parts(model)
    usual = {name: name for name, part in mine.items() if isinstance(part, (nn.Module, Held, EMA))}
    wanted = model.INIT_PARTS if isinstance(model, HasInitParts) else usual
    pairs = dict(wanted) if isinstance(wanted, dict) else {name: name for name in wanted}
    found = {name: states[other] for name, other in pairs.items() if other in states}
    if not found:
        raise Mistake(
            f"it has the parts {', '.join(states)}; allowed: one of {', '.join(pairs.values())}"
        )
    for name, state in found.items():
        if told := unlike(mine[name].state_dict(), state):
            raise Mistake(f"part {name} has another shape: {told}")
    for name, state in found.items():
        (
            mine[name].unpack
            if packed and isinstance(mine[name], HasPacked)
            else mine[name].load_state_dict
        )(state)
    return list(found)


def unlike(here: dict[str, Any], there: dict[str, Any]) -> str:
    """The first tensor that two states do not both have in one shape, in words;
    nothing if there is none."""
    shapes = [
        {name: tuple(one.shape) for name, one in state.items() if isinstance(one, Tensor)}
        for state in (there, here)
    ]
    for name in [*shapes[1], *shapes[0]]:
        a, b = (found.get(name, "not there") for found in shapes)
        if a != b and not (isinstance(here.get(name), Tensor) and is_lazy(here[name])):
            return f"{name} is {a} in the run, {b} in this config"
    return ""

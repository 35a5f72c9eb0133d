"""Packed runs: what one looks at of a run, and nothing that only training needs, in a folder of a
few megabytes that is opened as a run is. `simulacra export` writes them.

config.json, shapes.json   as in a run folder
weights.safetensors        named PART/TENSOR, with the step and the hash of the whole run's weights
README.md                  where it comes from and what was measured
examples.safetensors       perhaps: a held-out batch, so that dreams can begin where there are no
                           data
eye/, memory/, ...         the runs that the config names, packed too

What is kept of a part is its `packed()`, if it has one, and put back by `unpack(tensors)`: averages
of weights, frozen nets, the mean of a search. Optimizers and players that are only trained against
have none. Of a model without any such part all modules and tensors that are parts are kept.
"""

from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from simulacra.core import config
from simulacra.core.config import Config
from simulacra.core.contract import Batch, HasPacked, Model
from simulacra.core.errors import Mistake
from simulacra.core.parts import Held, parts
from simulacra.core.zoo import WEIGHTS as WEIGHTS
from simulacra.core.zoo import place_of

EXAMPLES = "examples.safetensors"


def is_packed(folder: Path) -> bool:
    """Whether this is a packed run."""
    return (folder / WEIGHTS).exists()


def has_examples(folder: Path) -> bool:
    """Whether this is a packed run that brings examples."""
    return (folder / EXAMPLES).exists()


def kept(model: Model) -> dict[str, Tensor]:
    """What is kept of a model, by PART/TENSOR."""
    packed = {
        name: part.packed() if isinstance(part, HasPacked) else part.state_dict()
        for name, part in _looked_at(model).items()
    }
    each = {
        f"{name}/{key}": value for name, state in packed.items() for key, value in state.items()
    }
    # copies, so that none is shared
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in each.items()
    }


def _looked_at(model: Model) -> dict[str, Any]:
    """The parts that one looks at."""
    mine = parts(model)
    found = {name: part for name, part in mine.items() if isinstance(part, HasPacked)}
    return found or {
        name: part for name, part in mine.items() if isinstance(part, (nn.Module, Held))
    }


def named(checked: Config) -> dict[str, str]:
    """The run folders that a config names, by hyperparameter, as far as looking needs them."""
    fields = getattr(config.model(checked.model), "RUNS", ())
    return {name: value for name in fields if (value := getattr(checked.hyper, name))}


def beside(checked: Config, folder: Path) -> Config:
    """The config, in which the runs that it names are where they can be found: packed with this
    one, where it says, or next to this one, as after a move."""
    found = {}
    for name, value in named(checked).items():
        places = folder / value, place_of(value), folder.parent / Path(value).name
        found[name] = str(next((place for place in places if place.is_dir()), value))
    return msgspec.structs.replace(checked, hyper=msgspec.structs.replace(checked.hyper, **found))


def states(folder: Path) -> dict[str, dict[str, Tensor]]:
    """What a packed run holds of each part; a Mistake if it cannot be read."""
    found: dict[str, dict[str, Tensor]] = {}
    try:
        for name, value in load_file(folder / WEIGHTS).items():
            part, _, key = name.partition("/")
            found.setdefault(part, {})[key] = value
    except (SafetensorError, OSError) as error:
        raise _unreadable(folder, error) from None
    return found


def facts(folder: Path) -> tuple[int, str]:
    """The step at which a run was packed, and the hash of its weights."""
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            told = file.metadata() or {}
        return int(told["step"]), told["hash"]
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise _unreadable(folder, error) from None


def unpack(folder: Path, model: Model) -> int:
    """Put packed weights into a model and return their step; a Mistake if they do not fit."""
    step, _ = facts(folder)
    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name, part in _looked_at(model).items():
            mine = {
                key.removeprefix(f"{name}/"): value
                for key, value in found.items()
                if key.startswith(f"{name}/")
            }
            (part.unpack if isinstance(part, HasPacked) else part.load_state_dict)(mine)
    except (SafetensorError, OSError, KeyError, RuntimeError, ValueError) as error:
        raise _unreadable(folder, error) from None
    return step


def examples(folder: Path, n: int) -> Batch:
    """The first n of the examples that were packed with a run; a Mistake if there are fewer."""
    try:
        found = load_file(folder / EXAMPLES)
    except (SafetensorError, OSError) as error:
        raise _unreadable(folder, error, EXAMPLES) from None
    if n > (here := min(map(len, found.values()), default=0)):
        raise Mistake(
            f"{n} examples of {folder}, which brings {here}; "
            "allowed: as many, or more from its data (--data)"
        )
    return {name: value[:n] for name, value in found.items()}


def _unreadable(folder: Path, error: Exception, name: str = WEIGHTS) -> Mistake:
    return Mistake(
        f"cannot read {folder / name} ({' '.join(str(error).split())[:100]}); "
        "fetch or export it again"
    )

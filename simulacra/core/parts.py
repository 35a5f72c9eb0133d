"""What a model consists of: the one answer for saving, loading, soundness, export and what a run
begins from.

A part is what has a `state_dict` (module, optimizer, average, schedule, controller), or a tensor
that is learnt. It is an attribute of the model, or lies in a list, tuple or dict that is one; of a
model that is an nn.Module, its children, parameters and buffers are parts too. `complete` refuses a
model that learns anything else.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core.errors import Mistake

INTERNAL = frozenset(vars(nn.Module()))  # attributes that every nn.Module has
DEEP = 8  # so far inside lists, dicts and objects optimizers and modules are looked for


class Held:
    """A tensor of a model that lies in no module, as a part."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def state_dict(self) -> dict[str, Tensor]:
        """The tensor as "value", without its gradient; it shares its memory."""
        return {"value": self.tensor.detach()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put it back; ValueError if it has another shape."""
        if (there := tuple(state["value"].shape)) != (here := tuple(self.tensor.shape)):
            raise ValueError(f"a tensor of shape {there}, not {here}")
        with torch.no_grad():
            self.tensor.copy_(state["value"])


def parts(model: Any) -> dict[str, Any]:
    """Name -> part, in the order of their making; "nets.0", "nets.G" in lists and dicts."""
    found: dict[str, Any] = {}
    for name, value in attributes(model).items():
        _collect(name, value, found, set())
    if isinstance(model, nn.Module):
        found |= {name: child for name, child in model._modules.items() if child is not None}
        kept = {
            name: one
            for name, one in model._buffers.items()
            if name not in model._non_persistent_buffers_set
        }
        found |= {
            name: Held(one) for name, one in (model._parameters | kept).items() if one is not None
        }
    return found


def attributes(model: Any) -> dict[str, Any]:
    """The attributes of an object, without those that every nn.Module has."""
    own = getattr(model, "__dict__", {})
    return {
        name: value
        for name, value in own.items()
        if not (isinstance(model, nn.Module) and name in INTERNAL)
    }


def _collect(
    name: str, value: Any, found: dict[str, Any], above: set[int], nested: bool = False
) -> None:
    if isinstance(value, type) or id(value) in above:
        return
    if hasattr(value, "state_dict"):
        if not nested or not any(value is one for one in found.values()):
            found[name] = value
    elif isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
        found[name] = Held(value)
    elif isinstance(value, (dict, list, tuple)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _collect(f"{name}.{key}", item, found, above | {id(value)}, nested=True)


def weights(model: Any) -> dict[str, Tensor]:
    """PART.NAME -> every parameter of the model's modules,
    and every tensor that is a part itself."""
    found: dict[str, Tensor] = {}
    for name, part in parts(model).items():
        if isinstance(part, nn.Module):
            found |= {f"{name}.{inner}": weight for inner, weight in part.named_parameters()}
        elif isinstance(part, Held):
            found[name] = part.tensor
    return found


class Found(NamedTuple):
    """An optimizer or a module somewhere in a model, but not inside another module."""

    path: str
    value: Any
    saved: bool  # whether it lies in a part whose state is trusted to hold it


ADVICE = (
    "keep it as an attribute of the model, or give what holds it state_dict and load_state_dict"
)


def complete(model: Any, model_name: str) -> None:
    """A Mistake if the model would lose what it learns: an optimizer, a module that can learn, or a
    weight that an optimizer moves, in no part."""
    mine = parts(model)
    own, places = {id(part) for part in mine.values()}, _held(mine)
    for path, value, saved in _walk("", model, set(), 0):
        if isinstance(value, Optimizer):
            lost = [] if saved or id(value) in own else [f"optimizer {path} is"]
            moved = [weight for group in value.param_groups for weight in group["params"]]
            lost += [
                f"optimizer {path} moves a weight of shape {_shape(one)} that is"
                for one in moved
                if _lost(one, places)
            ]
        else:
            learnt = (
                [] if saved else [weight for weight in value.parameters() if weight.requires_grad]
            )
            lost = [
                f"module {path} has a weight of shape {_shape(one)} that is"
                for one in learnt
                if _lost(one, places)
            ]
        if lost:
            told = f"{lost[0]} in no part, so no checkpoint would hold it"
            raise Mistake(f"model {model_name}: {told}; {ADVICE}")


def moved(model: Any, optimizers: Iterable[Optimizer]) -> str:
    """What of optimizers that have moved weights no checkpoint would hold, "" if nothing: the last
    net under `complete`, which does not see into every kind of object."""
    mine = parts(model)
    known = {id(part) for part in mine.values()}
    known |= {id(one.value) for one in _walk("", model, set(), 0) if one.saved}
    places = _held(mine)
    for one in optimizers:
        name = type(one).__name__
        if id(one) not in known:
            return f"an optimizer ({name}) is in no part"
        lost = [
            weight
            for group in one.param_groups
            for weight in group["params"]
            if _lost(weight, places)
        ]
        if lost:
            shape = _shape(lost[0])
            return f"an optimizer ({name}) moves a weight of shape {shape} that is in no part"
    return ""


def unmoved(model: Any) -> list[str]:
    """The weights that a loss has reached by `backward` and that no optimizer of the model holds,
    as where one was forgotten."""
    held = {
        id(weight)
        for one in _walk("", model, set(), 0)
        if isinstance(one.value, Optimizer)
        for group in one.value.param_groups
        for weight in group["params"]
    }
    return [
        name
        for name, weight in weights(model).items()
        if weight.grad is not None and id(weight) not in held
    ]


def groups(model: Any) -> dict[str, tuple[int, ...]]:
    """Of each part how many weights its groups have, if it is an optimizer."""
    return {
        name: tuple(len(group["params"]) for group in part.param_groups)
        if isinstance(part, Optimizer)
        else ()
        for name, part in parts(model).items()
    }


def strays(model: Any) -> dict[str, nn.Module]:
    """Modules that are in no part and cannot learn by gradients, by their paths:
    they have to stay as they were built."""
    places = _held(parts(model))
    found = [
        one
        for one in _walk("", model, set(), 0)
        if isinstance(one.value, nn.Module) and not one.saved
    ]
    return {
        one.path: one.value
        for one in found
        if any(_lost(weight, places) for weight in one.value.parameters())
    }


def _shape(tensor: Tensor) -> tuple[int, ...] | str:
    return "still unknown" if is_lazy(tensor) else tuple(tensor.shape)


def _held(mine: dict[str, Any]) -> set[int]:
    """What tells the tensors of the parts: their ids, and the addresses of their numbers."""
    tensors: list[Tensor] = []
    for part in mine.values():
        inner = [part, *attributes(part).values()]
        tensors += [one.tensor for one in inner if isinstance(one, Held)]
        tensors += [one for one in inner if isinstance(one, Tensor)]
        for module in (one for one in inner if isinstance(one, nn.Module)):
            tensors += [*module.parameters(), *module.buffers()]
        if not isinstance(part, (nn.Module, Optimizer, Held)):
            state = part.state_dict()
            values = state.values() if isinstance(state, dict) else ()
            tensors += [one for one in values if isinstance(one, Tensor)]
    stored = {one.data_ptr() for one in tensors if not is_lazy(one) and one.numel()}
    return {id(one) for one in tensors} | stored


def _lost(weight: Tensor, places: set[int]) -> bool:
    if id(weight) in places:
        return False
    return is_lazy(weight) or not weight.numel() or weight.data_ptr() not in places


def _walk(
    path: str, value: Any, seen: set[int], depth: int, *, saved: bool = False, child: bool = False
) -> Iterator[Found]:
    """Every optimizer in a model, and every module that is no `child` of another one."""
    if (
        isinstance(value, (type, Tensor, str, bytes, int, float))
        or value is None
        or id(value) in seen
        or depth > DEEP
    ):
        return
    seen.add(id(value))
    module = isinstance(value, nn.Module)
    if depth and (isinstance(value, Optimizer) or (module and not child)):
        yield Found(path, value, saved)
    if isinstance(value, Optimizer):
        return
    saved = saved or (
        depth > 0
        and hasattr(value, "state_dict")
        and not module
        and not isinstance(value, LRScheduler)
    )
    for name, item in _inner(value):
        yield from _walk(
            f"{path}.{name}" if path else str(name), item, seen, depth + 1, saved=saved
        )
    for name, item in value._modules.items() if module else ():
        yield from _walk(
            f"{path}.{name}" if path else name, item, seen, max(depth, 1), saved=saved, child=True
        )


def _inner(value: Any) -> list[tuple[Any, Any]]:
    """What lies directly in a container or an object, children of a module excepted."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(enumerate(value))
    return list(attributes(value).items())


def modules(model: Any) -> list[nn.Module]:
    """The modules that are parts of a model, or lie in a part, as that of an average does."""
    found = [one for part in parts(model).values() for one in (part, *attributes(part).values())]
    return [one for one in found if isinstance(one, nn.Module)]


def evaluating(model: Any) -> None:
    """Put every module of a model into evaluation mode, so that whoever looks at it changes nothing
    and two looks are alike."""
    for module in modules(model):
        module.eval()
    if isinstance(model, nn.Module):
        model.eval()


@contextlib.contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Modules in evaluation mode, so that looking at them changes no buffer;
    their modes come back at the end."""
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)


def of_own_rows(model: Any, hyper: Any) -> str:
    """What of a model is computed from the rows of a batch that one process has, and so depends on
    how many there are: a hyperparameter that is "batch", or a layer that normalises over the batch;
    empty if nothing is."""
    for name in getattr(hyper, "__struct_fields__", ()):
        if getattr(hyper, name) == "batch":
            return f"hyper.{name} = batch"
    for name, part in parts(model).items():
        for inner, layer in part.named_modules() if isinstance(part, nn.Module) else ():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                own = not isinstance(layer, nn.SyncBatchNorm)
            else:
                own = bool(getattr(layer, "of_own_rows", False))
            if own:
                return f"the layer {'.'.join(filter(None, (name, inner)))}"
    return ""

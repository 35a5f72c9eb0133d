"""What a model remembers beside its parts: counters, histories, pools of pictures, random
generators.

They are plain attributes of the model, of its modules, or of objects of classes in the model's own
file, and buffers that are in no state_dict. Those that a step changes are kept in the checkpoint,
so that a run goes on exactly; all others follow from building the model.
"""

import contextlib
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from simulacra.core.external import watched
from simulacra.core.fingerprint import digest
from simulacra.core.parts import Held, attributes, modules, parts, strays, weights

DEEP = 4  # objects inside objects that are looked into


class _Unkept(Exception):
    """A value that no checkpoint can hold."""


def plain(value: Any) -> Any:
    """The value as nested dicts, lists, numbers, texts and tensors;
    _Unkept if it is nothing such."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().cpu().clone()
    if isinstance(value, torch.Generator):
        return {"kind": "generator", "value": value.get_state()}
    if isinstance(value, np.random.Generator):
        return {"kind": "generator", "value": plain(value.bit_generator.state)}
    if isinstance(value, np.random.RandomState):
        return {"kind": "generator", "value": plain(value.get_state(legacy=False))}
    if hasattr(value, "getstate") and hasattr(value, "setstate"):  # Python's own generator
        return {"kind": "generator", "value": plain(value.getstate())}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        return {"kind": "array", "value": torch.from_numpy(np.array(value))}
    if isinstance(value, dict):
        return {"kind": "dict", "value": [[plain(key), plain(item)] for key, item in value.items()]}
    for kind, name in (list, "list"), (tuple, "tuple"), (deque, "deque"), (set, "set"):
        if isinstance(value, kind) and not hasattr(value, "_fields"):
            return {"kind": name, "value": [plain(item) for item in value]}
    raise _Unkept


def put(old: Any, saved: Any) -> Any:
    """The value that was `plain`: `old` itself, filled anew,
    where that is such a container or generator."""
    if isinstance(saved, Tensor):
        return saved.clone().to(old.device) if isinstance(old, Tensor) else saved.clone()
    if not isinstance(saved, dict):
        return saved
    kind, value = saved["kind"], saved["value"]
    if kind == "generator":
        return _turned(old, value)
    if kind == "array":
        array = np.array(value.numpy())
        return array if not isinstance(old, np.generic) else array[()]
    if kind == "dict":
        table = {put(None, key): put(None, item) for key, item in value}
        return _filled(old, table) if isinstance(old, dict) else table
    items = [put(None, item) for item in value]
    made = {"list": list, "tuple": tuple, "deque": deque, "set": set}[kind]
    return _filled(old, items) if isinstance(old, made) and kind != "tuple" else made(items)


def _filled(old: Any, items: Any) -> Any:
    """A container that stays the same object, of the same kind and length limit."""
    old.clear()
    (old.extend if isinstance(old, (list, deque)) else old.update)(items)
    return old


def _turned(old: Any, value: Any) -> Any:
    """A generator that goes on from a state."""
    if isinstance(old, torch.Generator):
        old.set_state(value)
    elif isinstance(old, np.random.Generator):
        old.bit_generator.state = put(None, value)
    elif isinstance(old, np.random.RandomState):
        old.set_state(put(None, value))
    elif hasattr(old, "setstate"):
        old.setstate(put(None, value))
    return old


def places(model: Any) -> dict[str, tuple[Any, str]]:
    """PATH -> (object, attribute) of all that is neither a part,
    nor in the state of one, nor a hyperparameter."""
    found: dict[str, tuple[Any, str]] = {}
    own, seen = type(model).__module__, {id(model)}

    def visit(prefix: str, thing: Any, depth: int) -> None:
        for name, value in attributes(thing).items():
            if isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
                continue
            inner = list(_inside(value, own))
            if not inner and not hasattr(value, "state_dict"):
                found[f"{prefix}{name}"] = thing, name
            for key, item in inner if depth < DEEP else ():
                enter(f"{prefix}{name}{key}.", item, depth)
        if isinstance(thing, nn.Module):
            found.update(
                {f"{prefix}{name}": (thing, name) for name in thing._non_persistent_buffers_set}
            )
            for name, child in thing._modules.items():
                enter(f"{prefix}{name}.", child, depth)

    def enter(prefix: str, item: Any, depth: int) -> None:
        if item is not None and id(item) not in seen:
            seen.add(id(item))
            visit(prefix, item, depth + (not isinstance(item, nn.Module)))

    visit("", model, 0)
    return found


def _inside(value: Any, own: str) -> Iterator[tuple[str, Any]]:
    """What of a value is looked into: itself, as a module or an object of a class of the file
    `own`, or all that lies in it, if those are such."""
    many = enumerate(value) if isinstance(value, (list, tuple)) else ()
    items = value.items() if isinstance(value, dict) else many
    each = [(f".{key}", item) for key, item in items] or [("", value)]
    if all(
        isinstance(item, nn.Module) or (_is_own(item, own) and not hasattr(item, "state_dict"))
        for _, item in each
    ):
        yield from each


def _is_own(value: Any, own: str) -> bool:
    return type(value).__module__ == own and hasattr(value, "__dict__")


def shared(model: Any) -> dict[str, Any]:
    """NAME -> value of what a model from outside keeps in its class or its file,
    where no checkpoint looks."""
    own = sys.modules.get(type(model).__module__)
    if own is None or own.__name__ not in watched:
        return {}
    classes = [one for one in type(model).__mro__ if one.__module__ == own.__name__]
    each = {
        f"{one.__name__}.{name}": value
        for one in reversed(classes)
        for name, value in vars(one).items()
    }
    each |= {f"{name} of its file": value for name, value in vars(own).items()}
    return {
        name: value
        for name, value in each.items()
        if isinstance(value, (int, float, list, dict, Tensor, np.ndarray))
    }


def _told(value: Any) -> object:
    """What tells a value that cannot be kept:
    which object it is, and, of iterators, how far it is."""
    if isinstance(value, msgspec.Struct):
        return repr(value)
    try:
        return digest(_plain_state(value))
    except Exception:  # what an object raises that is no copyable one is its own affair
        return id(value)


def _plain_state(value: Any) -> Any:
    """What a copy of an object would be made of, types by their names;
    _Unkept if it is not plain."""
    made = value.__reduce_ex__(2)
    if isinstance(made, str):
        raise _Unkept
    arguments = [repr(one) if isinstance(one, type) else one for one in made[1]]
    state = made[2] if len(made) > 2 else None
    return plain([repr(type(value)), arguments, list(state) if isinstance(state, tuple) else state])


class Looked:
    """What a model remembered at a moment, to be compared with what it remembers later."""

    def __init__(self, model: Any):
        self.prints: dict[str, str] = {}
        # what cannot be kept: which object, or what it says of itself
        self.opaque: dict[str, object] = {}
        for path, (thing, name) in places(model).items():
            value = getattr(thing, name)
            try:
                self.prints[path] = digest(plain(value))
            except _Unkept:
                self.opaque[path] = _told(value)
        self.opaque["which weights learn"] = tuple(
            weight.requires_grad for weight in weights(model).values()
        )
        for path, value in shared(model).items():
            with contextlib.suppress(_Unkept):
                self.opaque[path] = digest(plain(value))
        self.strays = {path: digest(module.state_dict()) for path, module in strays(model).items()}

    def changed(self, before: "Looked") -> list[str]:
        """The paths of what can be kept and is not what it was."""
        return [path for path, told in self.prints.items() if before.prints.get(path) != told]

    def lost(self, before: "Looked") -> list[str]:
        """The paths of what is not what it was and cannot be kept;
        what was None and is opened late does not count."""
        opaque = [
            path for path, told in self.opaque.items() if before.opaque.get(path, told) != told
        ]
        return opaque + [
            path for path, told in self.strays.items() if before.strays.get(path, told) != told
        ]


def kept(model: Any, paths: Mapping[str, Any] | set[str]) -> dict[str, Any]:
    """What the model remembers at these paths, as a checkpoint holds it."""
    found = places(model)
    return {path: plain(getattr(*found[path])) for path in sorted(paths) if path in found}


def restore(model: Any, saved: Mapping[str, Any]) -> None:
    """Put it back into the model, where it is something else: what nobody can change, as a frozen
    dataclass, is not touched."""
    found = places(model)
    for path, value in saved.items():
        if path in found:
            thing, name = found[path]
            if not _is(getattr(thing, name), value):
                setattr(thing, name, put(getattr(thing, name), value))


def _is(now: Any, value: Any) -> bool:
    """Whether a thing is what a checkpoint holds of it."""
    try:
        return digest(plain(now)) == digest(value)
    except _Unkept:
        return False


@contextlib.contextmanager
def untouched(model: Any, paths: set[str]) -> Iterator[None]:
    """Whoever looks at a model changes neither its buffers, as batch normalisation outside
    evaluation mode does, nor what it remembers at these paths: both come back at the end, and so do
    the modes of its modules."""
    mine = parts(model)
    found = modules(model)
    modes = {inner: inner.training for module in found for inner in module.modules()}
    tensors = {id(one): one for module in found for one in module.buffers()}
    tensors |= {id(one.tensor): one.tensor for one in mine.values() if isinstance(one, Held)}
    copies = {place: one.detach().clone() for place, one in tensors.items()}
    saved = kept(model, paths)
    try:
        yield
    finally:
        with torch.no_grad():
            for place, one in tensors.items():
                one.copy_(copies[place])
        for inner, mode in modes.items():
            inner.training = mode
        restore(model, saved)

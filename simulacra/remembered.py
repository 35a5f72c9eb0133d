"""What a room remembers beside its parts: counters, histories, pools of pictures, random generators.

They are plain attributes of the room, or of objects of classes in the room's own file. Those that a step changes are kept in
the checkpoint, so that a run goes on exactly; all others follow from building the room.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from simulacra.fingerprint import digest
from simulacra.parts import Held, attributes, parts, strays

DEEP = 4  # objects inside objects that are looked into


class _Unkept(Exception):
    """A value that no checkpoint can hold."""


def plain(value: Any) -> Any:
    """The value as nested dicts, lists, numbers, texts and tensors; _Unkept if it is nothing such."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        return value.detach().cpu().clone()
    if isinstance(value, torch.Generator):
        return {"kind": "generator", "value": value.get_state()}
    if isinstance(value, np.random.Generator):
        return {"kind": "generator", "value": plain(value.bit_generator.state)}
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
    """The value that was `plain`: `old` itself, filled anew, where that is such a container or generator."""
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
    elif hasattr(old, "setstate"):
        old.setstate(put(None, value))
    return old


def places(model: Any) -> dict[str, tuple[Any, str]]:
    """PATH -> (object, attribute) of all that is neither a part nor a hyperparameter."""
    found: dict[str, tuple[Any, str]] = {}
    own = type(model).__module__

    def visit(prefix: str, thing: Any, seen: set[int]) -> None:
        for name, value in attributes(thing).items():
            if hasattr(value, "state_dict") or (isinstance(value, Tensor) and value.requires_grad and value.is_leaf):
                continue
            if type(value).__module__ == own and hasattr(value, "__dict__") and not isinstance(value, nn.Module):
                if id(value) not in seen and len(seen) < DEEP**2:
                    visit(f"{prefix}{name}.", value, seen | {id(value)})
            else:
                found[f"{prefix}{name}"] = thing, name

    visit("", model, {id(model)})
    return found


class Looked:
    """What a model remembered at a moment, to be compared with what it remembers later."""

    def __init__(self, model: Any):
        self.prints: dict[str, str] = {}
        self.opaque: dict[str, object] = {}  # what cannot be kept: which object, or what it says of itself
        for path, (thing, name) in places(model).items():
            value = getattr(thing, name)
            try:
                self.prints[path] = digest(plain(value))
            except _Unkept:
                self.opaque[path] = repr(value) if isinstance(value, msgspec.Struct) else id(value)
        self.strays = {path: digest(module.state_dict()) for path, module in strays(model).items()}

    def changed(self, before: "Looked") -> list[str]:
        """The paths of what can be kept and is not what it was."""
        return [path for path, told in self.prints.items() if before.prints.get(path) != told]

    def lost(self, before: "Looked") -> list[str]:
        """The paths of what is not what it was and cannot be kept; what was None and is opened late does not count."""
        opaque = [path for path, told in self.opaque.items() if before.opaque.get(path, told) != told]
        return opaque + [path for path, told in self.strays.items() if before.strays.get(path, told) != told]


def kept(model: Any, paths: Mapping[str, Any] | set[str]) -> dict[str, Any]:
    """What the model remembers at these paths, as a checkpoint holds it."""
    found = places(model)
    return {path: plain(getattr(*found[path])) for path in sorted(paths) if path in found}


def restore(model: Any, saved: Mapping[str, Any]) -> None:
    """Put it back into the model."""
    found = places(model)
    for path, value in saved.items():
        if path in found:
            thing, name = found[path]
            setattr(thing, name, put(getattr(thing, name), value))


@contextlib.contextmanager
def untouched(model: Any, paths: set[str]) -> Iterator[None]:
    """Whoever looks at a model changes neither its buffers, as batch normalisation outside evaluation mode does, nor what it
    remembers at these paths: both come back at the end, and so do the modes of its modules."""
    mine = parts(model)
    modules = [one for part in mine.values() for one in (part, *attributes(part).values()) if isinstance(one, nn.Module)]
    modes = {inner: inner.training for module in modules for inner in module.modules()}
    tensors = {id(one): one for module in modules for one in module.buffers()}
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

"""What a model's methods return, held to the contract wherever the house uses it: shapes, and the
range of pictures. A Mistake names the method, what it returned and what was wanted.

Looking costs next to nothing, draws no random number and changes no weight. Nothing is repaired: a
decoder without a bound would else show clipped pictures and too good a distance.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor

from simulacra.core import contract
from simulacra.core.conform import signature
from simulacra.core.contract import AutoEncoder, Batch, Futures, Layered
from simulacra.core.errors import Mistake
from simulacra.core.state import Looked, untouched


@runtime_checkable
class Named(Protocol):
    """A NamedTuple."""

    def _asdict(self) -> dict[str, Any]: ...


CERTAIN = -20.0  # log-variance of a code without spread: a standard deviation of 4.5e-5
ROUNDING = 1e-3  # so far may a picture be beyond [-1, 1]
PICTURES = "pictures are float32 (N, C, H, W), clips (N, T, C, H, W), in [-1, 1]"
AXES = {"image": 4, "series": 3, "video": 4, "mean": 3}  # of samples, by what a batch holds


def encoded(model: AutoEncoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance (N, Z) of pictures x (N, C, H, W); that of codes that a model gives
    without one is CERTAIN."""
    found, wanted = model.encode(x), (AutoEncoder, "encode")
    pair = (found, torch.full_like(found, CERTAIN)) if isinstance(found, Tensor) else found
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        _refuse(model, wanted, found)
    mean, s = pair
    for one in mean, s:
        if not isinstance(one, Tensor) or one.ndim != 2 or len(one) != len(x):
            _refuse(model, wanted, found)
    if mean.shape != s.shape:
        _refuse(model, wanted, found)
    return mean, s


def decoded(model: AutoEncoder, z: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] of codes z (N, Z)."""
    found = model.decode(z)
    if not isinstance(found, Tensor) or found.ndim != 4 or len(found) != len(z):
        _refuse(model, (AutoEncoder, "decode"), found)
    return _in_range(model, (AutoEncoder, "decode"), found)


def sampled(model: contract.Model, batch: Batch) -> dict[str, Tensor]:
    """The named results of `sample`: "samples", if they are there, as many as rows of the batch and
    with the axes of its examples."""
    found, wanted = model.sample(batch), (contract.Model, "sample")
    if not isinstance(found, Mapping) or not found:
        _refuse(model, wanted, found)
    for name, one in found.items():
        if not isinstance(one, Tensor):
            _refuse(model, wanted, {name: one})
    axes = next((axes for kind, axes in AXES.items() if kind in batch), None)
    if (made := found.get("samples")) is not None:
        rows = len(next(iter(batch.values())))
        if len(made.shape) != (axes or made.ndim) or len(made) != rows:
            _refuse(model, wanted, found, f"; the batch has {rows} rows{_of(batch)}")
    return dict(found)


def only_samples(model: contract.Model, batch: Batch) -> Tensor:
    """What `sample` calls "samples", for whoever has no use for anything else."""
    found = sampled(model, batch)
    if "samples" not in found:
        _refuse(model, (contract.Model, "sample"), found)
    return found["samples"]


def imagined(model: Futures, I1: Tensor, count: int, prior: str | None) -> Tensor:
    """Futures (N, count, C, H, W) in [-1, 1] of pictures I1 (N, C, H, W)."""
    found, wanted = model.imagine(I1, count, prior), (Futures, "imagine")
    if not isinstance(found, Tensor) or tuple(found.shape) != (len(I1), count, *I1.shape[1:]):
        _refuse(model, wanted, found)
    return _in_range(model, wanted, found)


def transferred(model: Futures, I1: Tensor, I2: Tensor, to: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1]: the motion from I1 to I2, given to `to`."""
    found, wanted = model.transfer(I1, I2, to), (Futures, "transfer")
    if not isinstance(found, Tensor) or found.shape != to.shape:
        _refuse(model, wanted, found)
    return _in_range(model, wanted, found)


def traversed(model: Futures, I1: Tensor, dimensions: int, steps: int) -> tuple[Tensor, list[int]]:
    """Pictures (dimensions, steps, C, H, W) in [-1, 1] and which dimensions they are; fewer if the
    code has fewer."""
    found, wanted = model.traverse(I1, dimensions, steps), (Futures, "traverse")
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], Tensor):
        _refuse(model, wanted, found)
    films, chosen = found
    if tuple(films.shape) != (len(chosen), steps, *I1.shape[1:]):
        _refuse(model, wanted, found)
    return _in_range(model, wanted, films), chosen


def unrolled(model: Layered, batch: Batch) -> dict[str, Tensor]:
    """Layers (N, S, C or 1, H, W) of clips by their names."""
    found = model.unroll(batch)
    layers = found._asdict() if isinstance(found, Named) else found
    if not isinstance(layers, Mapping) or not layers:
        _refuse(model, (Layered, "unroll"), found)
    rows = len(batch["video"])
    for name, one in layers.items():
        if not isinstance(one, Tensor) or one.ndim != 5 or len(one) != rows:
            _refuse(model, (Layered, "unroll"), {name: one})
    return dict(layers)


def tried(model: contract.Model, like: Batch) -> None:
    """What an untrained model samples, encodes and decodes is looked at, of a batch: a Mistake now,
    not at the first picture an hour later. Weights, buffers and what it remembers stay as they are.
    A method that fails before the first step is left to that first picture."""
    with untouched(model, set(Looked(model).prints)), torch.no_grad():
        with _unless_mistaken():
            sampled(model, like)
        if isinstance(model, AutoEncoder) and "image" in like:
            with _unless_mistaken():
                decoded(model, encoded(model, like["image"])[0])


@contextlib.contextmanager
def _unless_mistaken() -> Iterator[None]:
    """Nothing but a Mistake comes through."""
    try:
        yield
    except Mistake:
        raise
    except Exception:  # of a model that needs its first step first
        return


def drawn_batch(source: contract.Data, k: int, batch: int, seed: int) -> Batch:
    """The k-th training batch of a data set: named tensors with as many rows, pictures and clips in
    [-1, 1], of float32."""
    found, wanted = source.draw(k, batch, seed), (contract.Data, "draw")
    if not isinstance(found, Mapping) or not found:
        _refuse(source, wanted, found)
    for name, one in found.items():
        if not isinstance(one, Tensor) or not one.ndim or len(one) != batch:
            _refuse(source, wanted, {name: one}, f"; batch = {batch}")
    for name, axes in ("image", 4), ("next", 4), ("video", 5):
        if (shown := found.get(name)) is not None:
            if shown.ndim != axes or shown.dtype != torch.float32:
                _refuse(source, wanted, {name: shown}, f" of {shown.dtype}; {PICTURES}")
            _in_range(source, wanted, shown, f"; {PICTURES}")
    return dict(found)


def _of(batch: Batch) -> str:
    """What the examples of a batch are, in words."""
    kind = next((kind for kind in AXES if kind in batch), "")
    return f" of {kind} {tuple(batch[kind].shape[1:])}" if kind else ""


def _in_range(model: Any, wanted: tuple[type, str], found: Tensor, more: str = "") -> Tensor:
    """The pictures; a Mistake if they are beyond [-1, 1]. NaN is no question of range."""
    low, high = (float(one) for one in torch.aminmax(found.detach())) if found.numel() else (0, 0)
    if low < -1 - ROUNDING or high > 1 + ROUNDING:
        _refuse(model, wanted, found, f"; its values are {low:.3g} to {high:.3g}{more}")
    return found


def _refuse(model: Any, wanted: tuple[type, str], found: object, more: str = "") -> NoReturn:
    """A Mistake that names the method, what it returned, and what was wanted."""
    protocol, method = wanted
    raise Mistake(
        f"{type(model).__name__}.{method} returned {described(found)}{more}; wanted: "
        f"{signature(protocol, method)}"
    )


def described(value: object) -> str:
    """What a value is, with shapes, in words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        inner = ", ".join(f"'{name}': {described(one)}" for name, one in list(value.items())[:4])
        return f"a dict of {inner}" if inner else "an empty dict"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(described(one) for one in value[:4])
        return f"a {type(value).__name__} of {len(value)}: {inner}" if inner else "an empty list"
    return f"a {type(value).__name__}"

"""The clock: the one training loop. It knows no loss, no gradient, no metric and no picture."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from simulacra.contract import Batch, Model
from simulacra.play import averaged, processes
from simulacra.run import Run
from simulacra.seeds import reseed


class NotFinite(Exception):
    """A scalar of a step, or a weight after it, is NaN or infinite."""

    def __init__(self, name: str, value: object, step: int):
        super().__init__(f"{name} is {value} at step {step:,}")
        self.step = step


def fit(
    model: Model,
    draw: Callable[[int], Batch],  # the batch of a step: pure in the step
    run: Run,
    *,
    steps: int,  # stop when this many are done
    held_out: Batch,  # fixed examples that no step learns from, for the room's health
    stop: Callable[[], bool] = lambda: False,  # asked between steps; True saves and ends
    tick: Callable[[int, dict[str, float]], None] = lambda step, row: None,  # told of every step, and of each logged row
) -> Iterator[Path]:
    """Play steps until there are `steps`, from wherever the run stands; yield each checkpoint when it is on disk, the one
    resumed from again, since a kill may have come before anyone looked at it."""
    k = run.resume(model)
    if k:
        yield run.path(k)
    while k < steps:
        reseed(run.seed_of(k))
        batch = draw(k)
        scalars = dict(model.step(batch, k))
        k += 1
        row: dict[str, float] = {}
        if run.logs(k):
            scalars |= probe(model, batch, scalars, held_out)
            row = finite(scalars, k)
            run.log(k, row)
        else:
            finite(scalars, k)
        tick(k, row)
        ending = k == steps or everyone(stop())
        if ending or run.saves(k):
            sound(model, k)
            yield run.save(k, model)
        if ending:
            return


def probe(model: Model, batch: Batch, scalars: dict[str, Tensor], held_out: Batch) -> dict[str, Tensor]:
    """What the room's health method has to say of this step, if it has one."""
    health = getattr(model, "health", None)
    return dict(health(batch, scalars, held_out)) if health else {}


def everyone(stop: bool) -> bool:
    """Whether any process wants to stop, so that all stop at the same step."""
    return stop if processes() == 1 else bool(averaged(torch.tensor(float(stop))) > 0)


def finite(scalars: dict[str, Tensor], step: int) -> dict[str, float]:
    """The scalars as numbers, averaged over processes; NotFinite names the first that is none."""
    values = averaged(torch.stack([value.detach().float() for value in scalars.values()]).cpu())
    if not values.isfinite().all():
        bad = int((~values.isfinite()).nonzero()[0])
        raise NotFinite(list(scalars)[bad], float(values[bad]), step)
    return dict(zip(scalars, values.tolist(), strict=True))


def sound(model: Model, step: int) -> None:
    """NotFinite names the first weight that is NaN or infinite: a loss tells of it only one step later."""
    for part, module in vars(model).items():
        if isinstance(module, nn.Module):
            for name, weight in module.named_parameters():
                if not weight.isfinite().all():
                    raise NotFinite(f"weight {part}.{name}", "not finite", step)

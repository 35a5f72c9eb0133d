"""The clock: the one training loop. It knows no loss, no gradient, no metric and no picture."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from simulacra.core.answers import described
from simulacra.core.conform import signature
from simulacra.core.contract import Batch, HasHealth, Model
from simulacra.core.distributed import all_mean, world_size
from simulacra.core.errors import Mistake
from simulacra.core.optim import set_rates
from simulacra.core.parts import ADVICE, groups, moved, unmoved, weights
from simulacra.core.random import reseed
from simulacra.core.run import Run
from simulacra.core.state import Looked


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
    held_out: Batch,  # fixed examples that no step learns from, for the model's health
    stop: Callable[[], bool] = lambda: False,  # asked between steps; True saves and ends
    # told of every step, and of each logged row
    tick: Callable[[int, dict[str, float]], None] = lambda step, row: None,
    notify: Callable[[str], None] = lambda line: None,  # told once of what no checkpoint can hold
    # in which steps are played
    around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Iterator[Path]:
    """Play steps until there are `steps`, from wherever the run stands; yield each checkpoint when
    it is on disk, the one resumed from again, since a kill may have come before anyone looked at
    it."""
    built = Looked(model)
    k = run.resume(model)
    if k:
        yield run.path(k)
    first = k
    while k < steps:
        reseed(run.seed_of(k))
        batch = draw(k)
        set_rates(model, k)
        with watched(model) if k < first + 2 or run.saves(k + 1) else contextlib.nullcontext():
            with around():
                found = stepped(model, batch, k)
            scalars = numbers(found)
        k += 1
        if k == first + 1 and (still := unmoved(model)):
            notify(_forgotten(still))
        logging = run.logs(k)
        row = finite(scalars | (probe(model, batch, scalars, held_out) if logging else {}), k)
        if logging:
            run.log(k, row)
        tick(k, row if logging else {})
        ending = k == steps or everyone(stop())
        if ending or run.saves(k) or k <= first + 2:
            note(model, built, run, notify)
        if ending or run.saves(k):
            sound(model, k)
            alike(model, k)
            yield run.save(k, model)
        if ending:
            return


@contextlib.contextmanager
def watched(model: Model) -> Iterator[None]:
    """A Mistake if a step makes, drops or enlarges a part, or moves what is in none."""
    before, moving = groups(model), list[Optimizer]()
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: moving.append(optimizer))
    try:
        yield
    finally:
        hook.remove()
    now = groups(model)
    if list(now) != list(before):
        which = sorted(now.keys() ^ before.keys()) or list(now)
        raise Mistake(
            f"a step makes or drops the part {which[0]}; "
            "allowed: parts made in __init__, so that a run can go on"
        )
    if grown := next((name for name in now if now[name] != before[name]), ""):
        raise Mistake(
            f"a step changes which weights {grown} moves; "
            "allowed: groups made in __init__, so that a run can go on"
        )
    if lost := moved(model, moving):
        raise Mistake(f"in a step {lost}, so no checkpoint would hold it; {ADVICE}")


def stepped(model: Model, batch: Batch, k: int) -> Any:
    """What step k returns; a Mistake if it would end the program."""
    try:
        return model.step(batch, k)
    except SystemExit as error:
        raise Mistake(
            f"step {k:,} of the model ends the program (sys.exit({error.code!r})); allowed: to "
            "raise an error, or to return"
        ) from None


def _forgotten(still: list[str]) -> str:
    some = ", ".join(still[:3]) + (f" and {len(still) - 3} more" if still[3:] else "")
    return (
        f"the loss reaches {some}, which no optimizer moves: they stay as they were built; if they "
        "are meant to, requires_grad_(False) saves the time"
    )


def note(model: Model, built: Looked, run: Run, notify: Callable[[str], None]) -> None:
    """Note what steps have changed beside the parts since the model was built, be it by every
    hundredth of them, so that checkpoints hold it; a Mistake if they move a module that is in
    none."""
    after = Looked(model)
    run.remembered |= set(after.changed(built))
    for path in after.lost(built):
        if path in after.strays:
            raise Mistake(
                f"a step changes the module {path}, "
                f"which is in no part, so no checkpoint would hold it; {ADVICE}"
            )
        if path not in run.lost:
            run.lost.add(path)
            notify(
                f"steps change {path}, "
                "which no checkpoint can hold: a run that is resumed may not end as an unbroken one"
            )


def numbers(found: object) -> dict[str, Tensor]:
    """What a step returned, as tensors of one number each; a Mistake if it is anything else."""
    if not isinstance(found, Mapping) or not found:
        raise Mistake(f"step returned {described(found)}; wanted: {signature(Model, 'step')}")
    values = on_one_device(found)
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise Mistake(f"step returned {described(value)} as '{name}'; allowed: one number")
    return {name: value.reshape(()) for name, value in values.items()}


def on_one_device(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same with plain numbers as tensors, where the other tensors are."""
    where = next((one.device for one in found.values() if isinstance(one, Tensor)), None)
    return {
        name: torch.as_tensor(value, device=where) if isinstance(value, (int, float)) else value
        for name, value in found.items()
    }


def probe(
    model: Model, batch: Batch, scalars: dict[str, Tensor], held_out: Batch
) -> dict[str, Tensor]:
    """What the model's health method has to say of this step, if it has one."""
    return dict(model.health(batch, scalars, held_out)) if isinstance(model, HasHealth) else {}


def everyone(stop: bool) -> bool:
    """Whether any process wants to stop, so that all stop at the same step."""
    return stop if world_size() == 1 else bool(all_mean(torch.tensor(float(stop))) > 0)


def finite(scalars: dict[str, Tensor], step: int) -> dict[str, float]:
    """The scalars as numbers, averaged over processes; NotFinite names the first that is none."""
    values = all_mean(torch.stack([value.detach().float() for value in scalars.values()]).cpu())
    if not values.isfinite().all():
        bad = int((~values.isfinite()).nonzero()[0])
        raise NotFinite(list(scalars)[bad], float(values[bad]), step)
    return dict(zip(scalars, values.tolist(), strict=True))


def sound(model: Model, step: int) -> None:
    """NotFinite names the first weight that is NaN or infinite:
    a loss tells of it only one step later."""
    for name, weight in weights(model).items():
        if not weight.isfinite().all():
            raise NotFinite(f"weight {name}", "not finite", step)


def alike(model: Model, step: int) -> None:
    """A Mistake if processes that train together have come to other weights,
    as where a model averages no gradients."""
    moved = {name: weight for name, weight in weights(model).items() if weight.requires_grad}
    if world_size() == 1 or not moved:
        return
    own = torch.stack([weight.detach().double().sum() for weight in moved.values()])
    mean = all_mean(own)
    if everyone(bool(((own - mean).abs() > 1e-9 * (1 + mean.abs())).any())):
        raise Mistake(
            f"at step {step:,} the processes have different weights; allowed: steps "
            "that go through descend, which averages gradients over processes, or one process"
        )

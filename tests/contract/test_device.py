"""No model makes a tensor on a device of its own choice: whatever its steps and samples make lies
where their batch does. Random numbers alone are drawn on the CPU and moved, so that they are the
same everywhere (core/random.py)."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from simulacra.core import config, optim

PACKAGE = Path(config.__file__).parents[1]
MAKERS = {
    torch.arange, torch.empty, torch.eye, torch.full, torch.linspace, torch.logspace, torch.ones,
    torch.rand, torch.randint, torch.randn, torch.randperm, torch.tensor, torch.zeros,
    torch.as_tensor, torch.from_numpy,
}  # fmt: skip
# what happens to a tensor whose place is no matter: it is moved, or leaves torch
LEAVES = {torch.Tensor.to, torch.Tensor.numpy, torch.Tensor.tolist}
OURS = "core/random.py"  # draws on the CPU, and moves


class Placed(TorchFunctionMode):
    """Notes where the package makes a tensor of more than one number without saying on which
    device, and does not move it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[str, torch.Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in LEAVES and args:
            self.made.pop(id(args[0]), None)
        found = func(*args, **kwargs)
        if func in MAKERS and kwargs.get("device") is None and found.dim():
            site = _caller()
            if site and not site.startswith(OURS):
                self.made[id(found)] = site, found
        return found


def _caller() -> str:
    """The line of the package that called, without the way through torch; empty if none did."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            return f"{path.relative_to(PACKAGE)}:{frame.f_lineno}"
        if "torch" not in path.parts:
            return ""
        frame = frame.f_back
    return ""


def test_nothing_is_made_on_a_fixed_device(tiny):
    model, batches = tiny.model()
    with Placed() as placed:
        for k in range(2):
            optim.set_rates(model, k)
            model.step(batches[k], k)
        model.sample({name: value[:4] for name, value in batches[0].items()})
    assert not sorted({site for site, _ in placed.made.values()})


def test_a_tensor_on_a_fixed_device_is_found():
    """The net catches what it is for."""
    code = compile(
        "import torch\nmade = torch.zeros(3)\n", str(PACKAGE / "models" / "one.py"), "exec"
    )
    with Placed() as placed:
        exec(code, {})
    assert [site for site, _ in placed.made.values()] == ["models/one.py:2"]

"""Errors of mattes against arithmetic."""

import numpy as np
import pytest
import torch

from simulacra.core.errors import Mistake
from simulacra.metrics.video import matting

ALL = torch.ones(1, 1, 20, 20, dtype=torch.bool)


def flat(value: float) -> torch.Tensor:
    return torch.full((1, 1, 20, 20), value)


def test_sad_and_mse_by_hand() -> None:
    """400 pixels that are 0.25 off: 100 of SAD, 0.0625 of MSE; half of them counted: 50 and the
    same."""
    found, true = flat(0.75), flat(0.5)
    assert matting.sad(found, true, ALL).item() == pytest.approx(0.1)
    assert matting.mse(found, true, ALL).item() == pytest.approx(0.0625)
    half = ALL.clone()
    half[..., 10:] = False
    assert matting.sad(found, true, half).item() == pytest.approx(0.05)
    assert matting.mse(found, true, half).item() == pytest.approx(0.0625)
    assert matting.mse(found, true, ~ALL).isnan().all()


def test_the_gradient_of_a_ramp() -> None:
    """A slope of s a pixel has length s sum(x^2 g(x)) sum(g) / norm; a flat matte has none, so that
    the error is its square, and an offset costs nothing."""
    ramp = (torch.arange(20.0) / 40).expand(1, 1, 20, 20)
    x = np.arange(-4, 5)
    bell = np.exp(-(x**2) / (2 * 1.4**2))
    norm = np.sqrt((bell**2).sum() * ((x * bell) ** 2).sum())
    length = (x**2 * bell).sum() * bell.sum() / norm / 40
    inner = torch.zeros_like(ALL)
    inner[..., 6:14, 6:14] = True
    error = matting.grad(ramp, flat(0.5), inner).item()
    assert error == pytest.approx(64 * length**2 / 1000, rel=1e-6)
    assert matting.grad(ramp, ramp + 0.5, inner).item() == pytest.approx(0, abs=1e-12)


def test_what_is_not_connected_costs() -> None:
    """A second block of 9 pixels at 0.9 that is not true hangs on nothing: its level is 0, and all
    of it counts."""
    true = flat(0.0)
    true[..., 2:8, 2:8] = 1
    found = true.clone()
    assert matting.conn(found, true, ALL).item() == 0
    found[..., 15:18, 15:18] = 0.9
    assert matting.conn(found, true, ALL).item() == pytest.approx(9 * 0.9 / 1000)
    found[..., 15:18, 15:18] = 0.1  # less than 0.15 from its level
    assert matting.conn(found, true, ALL).item() == 0
    both = found.clone()
    both[..., 15:18, 15:18] = 1
    # in both: the smaller part is not the largest, in either; the levels are the same
    assert matting.conn(both, both, ALL).item() == 0
    weaker = true.clone()
    weaker[..., 2:8, 2:4] = 0.55  # 12 pixels still connected at 0.5, and 0.5 from there in truth
    assert matting.conn(weaker, true, ALL).item() == pytest.approx(12 * 0.5 / 1000)


def test_still_errors_do_not_flicker() -> None:
    true = torch.rand(4, 1, 20, 20, generator=torch.Generator().manual_seed(0)) / 2
    where = ALL.expand(4, 1, 20, 20)
    assert matting.dtssd(true + 0.25, true, where).abs().max() < 1e-4
    found = true.clone()
    found[1] += 0.25  # comes and goes
    assert torch.allclose(
        matting.dtssd(found, true, where), torch.tensor([25.0, 25.0, 0.0]).double(), atol=1e-4
    )


def test_the_unknown_is_around_the_edge() -> None:
    true = flat(0.0)
    true[..., 10:] = 1
    columns = matting.unknown(true, 2)[0, 0].any(0).nonzero()[:, 0].tolist()
    assert columns == list(range(7, 13)), "the pixels on both sides of the edge, and 2 more each"
    assert not matting.unknown(flat(1.0), 2).any()


def test_each_is_named_and_shapes_are_checked() -> None:
    found = matting.measures(
        torch.zeros(3, 1, 20, 20), torch.ones(3, 1, 20, 20), ALL.expand(3, 1, 20, 20)
    )
    assert list(found) == ["SAD", "MSE", "Grad", "Conn", "dtSSD"]
    assert found == pytest.approx({"SAD": 0.4, "MSE": 1, "Grad": 0, "Conn": 0.4, "dtSSD": 0})
    with pytest.raises(Mistake, match="mattes"):
        matting.sad(flat(0), flat(0)[0], ALL)
    with pytest.raises(Mistake, match="0 to 1"):
        matting.sad(flat(2), flat(0), ALL)

"""Where an object is while something passes before it."""

import numpy as np
import torch
from torch import Tensor

from simulacra.nn.optical_flow import Flows
from simulacra.video import _lasting
from simulacra.video._lasting import AROUND, alike, carried, motions

T, H, W = 13, 48, 96


def passing(step: int = 3, bar: slice | None = slice(40, 48)) -> tuple[Tensor, Tensor, Flows]:
    """A block that moves right, (T, 1, H, W) bool, what is seen of it beside a bar that stands
    before it, and the flow of what is seen."""
    whole, seen = (
        torch.zeros(T, 1, H, W, dtype=torch.bool),
        torch.zeros(T, 1, H, W, dtype=torch.bool),
    )
    for t in range(T):
        whole[t, 0, 12:32, 8 + step * t : 32 + step * t] = True
    seen |= whole
    if bar is not None:
        seen[..., bar] = False
    forward = torch.zeros(T - 1, 2, H, W)
    forward[:, 0] = step * seen[:-1, 0]
    return whole, seen, Flows(forward, -forward)


def lasting(seen: Tensor, flows: Flows) -> Tensor:
    return _lasting.lasting(seen, flows.forward, torch.zeros_like(seen))[:]


def test_the_part_behind_a_bar_is_found() -> None:
    whole, seen, flows = passing()
    found = lasting(seen, flows)
    assert found.shape == seen.shape and found.dtype == torch.bool
    assert (found | ~seen).all(), "what is seen stays"
    assert (seen[6] != whole[6]).sum() == 8 * 20
    assert torch.equal(found[6], whole[6])
    assert not (found & ~whole).any()


def test_nothing_is_added_where_nothing_is_before_it() -> None:
    whole, seen, flows = passing(bar=None)
    assert torch.equal(lasting(seen, flows), whole)


def test_a_motion_that_leads_elsewhere_is_not_believed() -> None:
    _, seen, flows = passing(step=7, bar=None)
    still = Flows(0 * flows.forward, 0 * flows.backward)
    assert motions(seen, still.forward) == [None] * (T - 1)
    assert torch.equal(lasting(seen, still), seen)


def test_the_motion_of_most_of_it() -> None:
    _, seen, flows = passing(bar=slice(40, 44))
    forward = flows.forward.clone()
    forward[:, :, 12:17] = -20.0  # a fourth of it says otherwise
    for step in motions(seen, forward):
        assert step is not None and np.allclose(step, [[1, 0, 3], [0, 1, 0], [0, 0, 1]], atol=0.05)


def test_too_little_of_it_tells_no_motion() -> None:
    masks = torch.zeros(2, 1, H, W, dtype=torch.bool)
    masks[..., 3:6, 3:6] = True
    assert motions(masks, torch.zeros(1, 2, H, W)) == [None]
    assert motions(masks & False, torch.zeros(1, 2, H, W)) == [None]


def test_one_frame_and_the_same_twice() -> None:
    _, seen, flows = passing()
    assert torch.equal(lasting(seen[:1], Flows(flows.forward[:0], flows.backward[:0])), seen[:1])
    assert torch.equal(lasting(seen, flows), lasting(seen, flows))
    assert AROUND > 1


def test_carried_and_alike() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:8, 5:15] = True
    moved = carried(mask, np.array([[1.0, 0, 5], [0, 1, 0]]))
    assert moved[4:8, 10:20].all() and moved.sum() == 40
    assert alike(mask, moved) == 20 / 60 and alike(mask, mask) == 1

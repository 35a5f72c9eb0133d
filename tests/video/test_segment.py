"""The parts of which an object is followed: windows, examples, clues, and a step of a walk."""

import pytest
import torch
from drawn import square, texture
from torch import Tensor

from simulacra.nn.optical_flow import Flows
from simulacra.video import _appearance, _clues
from simulacra.video._background_flow import Ways
from simulacra.video._examples import example, source
from simulacra.video._net import CLUES
from simulacra.video._windows import around, bilinear, places
from simulacra.video.segment import Sight, beside, corrected, flows_of, searched, walk, whole

AREA = 30_000


class Answers:
    """In the place of what an object looks like: a fixed map of logits, or one made of what is
    told."""

    def __init__(self, logits: Tensor | None = None) -> None:
        self.map = logits

    def logits(self, frame: Tensor, told: Tensor, window: object) -> Tensor:
        """The map, or 8 where the rough mask is."""
        return 8 * told[:, :1] if self.map is None else self.map


def sight(size: tuple[int, int]) -> Sight:
    """A black frame of which nothing is known."""
    return Sight(torch.zeros(1, 3, *size), torch.zeros(1, CLUES, *size))


def test_flows_lead_to_the_neighbour() -> None:
    ground = texture(64, 100, (0.0, 0.0, 0.0), 4)
    # the picture moves 3 right and 1 down
    frames = torch.stack([ground[:, 4:60, 8:88], ground[:, 3:59, 5:85]])
    there, back = flows_of(frames, lambda share: None)
    assert there.shape == back.shape == (1, 2, 56, 80)
    for flow, wanted in (there, (3.0, 1.0)), (back, (-3.0, -1.0)):
        middle = flow[0, :, 8:-8, 8:-8].flatten(1).median(1)[0]
        assert torch.allclose(middle, torch.tensor(wanted), atol=0.1)


def test_distance_beside_a_mask() -> None:
    mask = torch.zeros(1, 1, 9, 12)
    mask[..., 4, 2:5] = 1
    d = beside(mask)
    assert d[4, 3] == 0 and d[4, 4] == 0
    assert d[4, 8] == pytest.approx(4, abs=0.1) and d[1, 3] == pytest.approx(3, abs=0.1)


def test_far_from_the_carried_mask_is_never_the_object() -> None:
    """A net that sees the object everywhere is stopped where its logit meets DOUBT (d / (REACH
    size))^2: logit 4 at d = 0.3 x 20 = 6 pixels."""
    carried = torch.zeros(1, 1, 60, 80)
    carried[..., 20:40, 30:50] = 1
    everywhere = Answers(torch.full_like(carried, 4.0))
    found = corrected(everywhere, sight((60, 80)), carried, 20.0)
    assert found is not None and (found[0, 0, 20:40, 30:50] > 0.98).all()
    assert found[0, 0, 30, 53] > 0.5 and found[0, 0, 30, 57] < 0.5  # 4 and 8 pixels away
    assert corrected(everywhere, sight((60, 80)), 0 * carried, 20.0) is None


def test_what_hides_an_object_does_not_lessen_how_far_it_may_reach() -> None:
    """Of an object of 20 x 20 a stripe is left: its other side may be 6 pixels away, as always."""
    carried = torch.zeros(1, 1, 60, 80)
    carried[..., 20:40, 30:32] = 1
    found = corrected(Answers(torch.full_like(carried, 4.0)), sight((60, 80)), carried, 20.0)
    assert found is not None and found[0, 0, 30, 35] > 0.5


def test_a_speck_is_no_object() -> None:
    """Of 400 pixels 4 percent must be left: 16 stay, 12 do not."""
    for rows, there in ((8, True), (6, False)):
        carried = torch.zeros(1, 1, 60, 80)
        carried[..., 20 : 20 + rows, 40:42] = 1
        assert (corrected(Answers(), sight((60, 80)), carried, 20.0) is not None) == there


def test_the_best_whole_part_is_found() -> None:
    """Not the surest but too small, not the large but unsure."""
    soft = torch.zeros(1, 1, 60, 80)
    soft[..., 2:4, 2:4] = 1.0
    soft[..., 10:30, 10:30] = 0.6
    soft[..., 40:58, 40:60] = 0.9
    found = whole(soft, 20.0)
    assert found is not None and (found > 0).sum() == 18 * 20 and found[0, 0, 50, 50] == 0.9
    assert whole(soft[..., :35, :], 20.0) is None


def test_a_search_widens_with_every_frame() -> None:
    """An object 50 pixels away is in reach of the search after some frames, and not before."""
    seen: list[float] = []

    class Wide(Answers):
        def logits(self, frame: Tensor, told: Tensor, window: object) -> Tensor:
            seen.append(window.right - window.left)  # type: ignore[attr-defined]
            return torch.full_like(told[:, :1], -9.0)

    for lost in (1, 3, 6):
        assert (
            searched(Wide(), sight((90, 200)), torch.tensor([45.0, 100.0]), 20.0, lost, 1.0) is None
        )
    assert seen == [68, 108, 168]


def test_a_lost_object_is_found_again() -> None:
    """It passes behind a wall that is wider than it: no pixel of it is seen for some frames."""
    corners = [(20, 10 + 8 * t) for t in range(14)]
    _, masks = square(corners, side=12, size=(60, 140))
    masks[..., 40:80] = 0
    looks = [10 * (2 * mask[None] - 1) for mask in masks]

    class Known:
        now = 0

        def logits(self, frame: Tensor, told: Tensor, window: object) -> Tensor:
            return looks[int(frame[0, 0, 0, 0])]

    frames = torch.arange(14.0).view(14, 1, 1, 1).expand(14, 3, 60, 140)
    arrive = torch.tensor([-8.0, 0.0]).view(1, 2, 1, 1).expand(13, 2, 60, 140)
    soft = list(walk(Known(), frames, masks[:1], arrive, torch.zeros(14, 4, 60, 140)))
    found = torch.cat(soft) > 0.5
    hidden = [t for t in range(14) if not masks[t].any()]
    assert len(hidden) >= 2 and not found[hidden].any()
    assert (found[-3:] == (masks[-3:] > 0)).all()


def test_a_window_shows_its_part_of_the_frame() -> None:
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., 10:20, 30:50] = 1
    window = around(mask, AREA)
    assert window is not None and around(0 * mask, AREA) is None
    # the box and 0.35 sqrt(10 x 20) + 8 = 12.9 pixels, within the frame
    assert window[:4] == (0, 17, 32, 60)
    assert around(mask, AREA, 20.0)[:4] == (0, 13, 37, 60)  # 0.45 x 20 + 8 = 17
    where = places(window)
    assert where.shape == (window.height, window.width, 2)
    y, x = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    shown = bilinear(torch.stack([x, y])[None], where)[0].permute(1, 2, 0)
    inside = (where > 0.5).all(2) & (where[..., 0] < 59.5)
    assert torch.allclose(shown[inside], where[inside], atol=1e-4)


@pytest.mark.parametrize("own_clues", [False, True])
def test_examples_hold_the_object_under_their_mask(own_clues: bool) -> None:
    """Of a red square on blue, whatever moved: red where the mask is, blue where it is not, unless
    it is blurred; the rough mask is wrong, and absent in a share of examples."""
    frame, mask = torch.zeros(1, 3, 60, 80), torch.zeros(1, 1, 60, 80)
    mask[..., 20:40, 30:50] = 1
    frame[:, 0], frame[:, 2] = 0.6 * mask[:, 0], 0.6 * (1 - mask[:, 0])
    clues = torch.cat([mask, torch.ones_like(mask), mask, torch.ones_like(mask)], 1)
    where = places(around(mask, AREA))
    of = source(frame, mask, clues if own_clues else None, where, torch.Generator().manual_seed(1))
    assert of.size == 20 and of.centre.tolist() == [40, 30]
    assert torch.allclose(of.ground[0, :, 30, 40], torch.tensor([0.0, 0.0, 0.6]), atol=0.1)
    wrong, absent, difference = [], 0, []
    for _ in range(40):
        seen, told, wanted = example(of)
        assert told.shape[1] == 5 and told[:, 1:].min() >= 0 and told[:, 1:].max() <= 1
        redder = (seen[:, :1] - seen[:, 2:3]) > 0
        right = (redder == (wanted > 0.5)) | ((wanted - 0.5).abs() < 0.45)
        assert right.float().mean() > 0.9
        if told[:, :1].any():
            wrong.append(float(((told[:, :1] > 0) != (wanted > 0.5)).float().mean()))
        else:
            absent += 1
        if told[:, 2].mean() > 0.5 and wanted.sum() > 100:
            difference.append(float((told[:, 1:2] * wanted).sum() / wanted.sum()))
    assert 0.005 < sum(wrong) / len(wrong) < 0.3
    assert 2 <= absent <= 16
    assert sum(difference) / len(difference) > 0.5, "inside, the object differs from what is behind"


def motion(flows: Flows) -> Tensor:
    """Of all frames."""
    ways = Ways(*flows)
    return torch.cat([_clues.motion(ways, t) for t in range(len(flows.forward) + 1)])


def test_what_moves_by_itself_and_what_does_not() -> None:
    """A camera's pan is no motion of the object; a square that moves against it is."""
    flow = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1).repeat(4, 1, 48, 64)
    flow += 0.05 * torch.randn(flow.shape, generator=torch.Generator().manual_seed(0))
    assert motion(Flows(flow, -flow)).mean() < 0.1
    flow[:, 0, 10:25, 20:40] -= 6
    moved = motion(Flows(flow, -flow))[:, 0]
    assert moved.shape == (5, 48, 64) and moved[:, 12:23, 22:38].min() == 1
    assert moved[:, 30:].mean() < 0.1


def test_what_differs_from_the_background() -> None:
    """The square's pixels that the first pass missed differ from what other frames show there; the
    ground that it took for the square does not."""
    frames, masks = square([(20, 8 + 6 * t) for t in range(8)], size=(60, 84))
    flows = flows_of(frames, lambda share: None)
    believed = masks.clone()
    believed[3, :, :, 26:32] = 0  # missed: a stripe of the square, which begins at 26
    believed[3, :, 20:40, 46:52] = 1  # spilled: beyond its right side
    clues = _clues.of_background(
        frames, believed, flows, _clues.of_motion(flows), lambda share: None
    )
    differs = clues[3, 0]
    assert clues[3, 1, 22:38, 27:51].min() > 0.9, "known"
    assert differs[22:38, 27:31].mean() > 0.6 and differs[22:38, 48:51].mean() < 0.15


def test_nothing_differs_where_there_is_no_object() -> None:
    frames, _ = square([(20, 30)] * 3)
    flows = flows_of(frames, lambda share: None)
    clues = _clues.of_motion(flows)
    none = torch.zeros(3, 1, 61, 83)
    assert torch.equal(_clues.of_background(frames, none, flows, clues, lambda s: None), clues)


def test_the_mean_answer_of_all_nets_counts() -> None:
    class Says(torch.nn.Module):
        def __init__(self, what: float) -> None:
            super().__init__()
            self.what = what

        def forward(self, colours: Tensor, told: Tensor) -> Tensor:
            return torch.full_like(told[:, :1], self.what)

    looks = _appearance.Looks([Says(1.0), Says(4.0)])  # type: ignore[list-item]
    mask = torch.zeros(1, 1, 60, 80)
    mask[..., 30:34, 30:34] = 1
    window = _appearance.window(mask)
    found = looks.logits(torch.zeros(1, 3, 60, 80), torch.zeros(1, 5, 60, 80), window)
    assert found[0, 0, 31, 31] == 2.5 and found[0, 0, 0, 79] == -_appearance.SURE

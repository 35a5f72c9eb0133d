"""One object through a clip from its first mask,
on clips whose masks are known because the test draws them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

import simulacra
from simulacra.core.errors import Mistake
from simulacra.nn import optical_flow
from simulacra.video import _appearance
from simulacra.video._appearance import around, bilinear, example, places, source
from simulacra.video.segment import arrivals, beside, corrected, segment


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any training, in smaller windows: most tests ask for no good masks."""
    monkeypatch.setattr(_appearance, "STEPS", 6)
    monkeypatch.setattr(_appearance, "NETS", 1)
    monkeypatch.setattr(_appearance, "AREA", 1200)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough training for the easiest clips."""
    monkeypatch.setattr(_appearance, "STEPS", 150)


def texture(height: int, width: int, colour: tuple[float, float, float], seed: int) -> Tensor:
    """A picture (3, height, width) of blurred noise about a colour."""
    noise = np.random.default_rng(seed).standard_normal((3, height, width))
    return (
        torch.tensor(colour).view(3, 1, 1)
        + torch.from_numpy(gaussian_filter(noise, (0, 1.2, 1.2))).float()
    ).clamp(-1, 1)


def square(
    corners: list[tuple[int, int]], side: int = 20, size: tuple[int, int] = (61, 83)
) -> tuple[Tensor, Tensor]:
    """A clip with a textured square whose upper left corner is at these (y, x), which may be
    outside, and its masks (T, 1, H, W)."""
    H, W = size
    ground, thing = texture(H, W, (-0.4, 0.2, 0.0), 1), texture(side, side, (0.5, -0.3, 0.2), 2)
    frames, masks = ground.repeat(len(corners), 1, 1, 1), torch.zeros(len(corners), 1, H, W)
    for frame, mask, (y, x) in zip(frames, masks, corners, strict=True):
        top, left, bottom, right = max(y, 0), max(x, 0), min(y + side, H), min(x + side, W)
        if top < bottom and left < right:
            frame[:, top:bottom, left:right] = thing[:, top - y : bottom - y, left - x : right - x]
            mask[:, top:bottom, left:right] = 1
    return frames, masks


def overlap(soft: Tensor, masks: Tensor) -> list[float]:
    """Intersection over union of each frame; both empty is 1."""
    one, two = soft > 0.5, masks > 0.5
    both, any_ = (one & two).flatten(1).sum(1), (one | two).flatten(1).sum(1)
    return [float(b / a) if a else 1.0 for b, a in zip(both, any_, strict=True)]


def test_a_moving_square_is_followed_until_it_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_appearance, "STEPS", 250)
    monkeypatch.setattr(_appearance, "NETS", 3)
    frames, masks = square([(20, 43 + 4 * t) for t in range(13)])
    assert masks[:6].sum() == 6 * 400 and masks[10:].sum() == 0
    told: list[float] = []
    found = segment(frames, masks[0], notify=told.append)
    assert found.shape == masks.shape and found.min() >= 0 and found.max() <= 1
    assert torch.equal(found[0], masks[0])
    assert min(overlap(found[:6], masks[:6])) > 0.9
    assert (found[11:] > 0.5).sum() == 0
    assert told == sorted(told) and told[-1] == pytest.approx(1) and min(told) > 0


def test_the_result_follows_from_the_seed_alone() -> None:
    """Neither the global generator nor the first mask's type matters,
    and the global generator is left as it was."""
    frames, masks = square([(12, 8), (13, 12), (14, 16)])
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one = segment(frames, masks[0], seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    assert torch.equal(one, segment(frames, masks[0, 0] > 0, seed=3))
    assert not torch.equal(one, segment(frames, masks[0], seed=4))


def test_nothing_but_earlier_frames_matters() -> None:
    """What comes after a frame cannot change its mask."""
    frames, masks = square([(12, 8 + 4 * t) for t in range(4)])
    whole, start = segment(frames, masks[0]), segment(frames[:3], masks[0])
    assert torch.equal(whole[:3], start)


@pytest.mark.usefixtures("trained")
def test_a_still_clip_keeps_the_mask() -> None:
    frames, masks = square([(20, 30)] * 5)
    assert min(overlap(segment(frames, masks[0]), masks)) > 0.95


def test_one_frame() -> None:
    frames, masks = square([(20, 30)])
    soft = masks[0] * 0.75
    assert torch.equal(segment(frames, soft), soft[None])


@pytest.mark.usefixtures("trained")
def test_an_object_at_the_edge() -> None:
    """It comes in from the corner, of which the first mask shows a part."""
    frames, masks = square([(-6 + 2 * t, -6 + 3 * t) for t in range(6)], side=26, size=(48, 70))
    assert min(overlap(segment(frames, masks[0]), masks)) > 0.8


@pytest.mark.usefixtures("trained")
def test_a_mask_of_nearly_everything() -> None:
    frames, masks = square([(0, 0)] * 3, side=90, size=(33, 90))
    masks[:, :, 0, 0] = 0
    assert min(overlap(segment(frames, masks[0]), masks)) > 0.9


@pytest.mark.usefixtures("trained")
def test_a_mask_of_everything() -> None:
    frames, masks = square([(0, 0)] * 3, side=90, size=(16, 16))
    assert min(overlap(segment(frames, masks[0]), masks)) > 0.9


@pytest.mark.usefixtures("trained")
def test_flows_can_be_given() -> None:
    """The true flow of the object carries the mask where a search would say 'still'."""
    frames, masks = square([(12, 8), (12, 20)])
    known = torch.tensor([-12.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 61, 83)
    assert (
        overlap(segment(frames, masks[0], flows=optical_flow.Flows(-known, known)), masks)[1] > 0.9
    )


def test_flows_given_do_what_flows_found_do() -> None:
    frames, masks = square([(12, 8), (13, 11)])
    same = optical_flow.Flows(torch.zeros(1, 2, 61, 83), arrivals(frames))
    assert torch.equal(segment(frames, masks[0]), segment(frames, masks[0], flows=same))


def test_arrivals_go_back_to_the_frame_before() -> None:
    ground = texture(64, 100, (0.0, 0.0, 0.0), 4)
    # the picture moves 3 right and 1 down
    frames = torch.stack([ground[:, 4:60, 8:88], ground[:, 3:59, 5:85]])
    back = arrivals(frames)
    assert back.shape == (1, 2, 56, 80)
    assert torch.allclose(
        back[0, :, 8:-8, 8:-8].median(2)[0].median(1)[0], torch.tensor([-3.0, -1.0]), atol=0.1
    )


def test_distance_beside_a_mask() -> None:
    mask = torch.zeros(1, 1, 9, 12)
    mask[..., 4, 2:5] = 1
    d = beside(mask)
    assert d[4, 3] == 0 and d[4, 4] == 0
    assert d[4, 8] == pytest.approx(4, abs=0.1) and d[1, 3] == pytest.approx(3, abs=0.1)


def test_far_from_the_carried_mask_is_never_the_object() -> None:
    """A net that sees the object everywhere is stopped where its logit meets DOUBT (d / (REACH
    size))^2: logit 4 at d = 0.2 x 20 = 4 pixels."""
    carried = torch.zeros(1, 1, 60, 80)
    carried[..., 20:40, 30:50] = 1

    def everywhere(seen: Tensor) -> Tensor:
        return torch.full_like(seen[:, :1], 4.0)

    found = corrected(everywhere, torch.zeros(1, 3, 60, 80), carried)[0, 0]
    assert (found[20:40, 30:50] > 0.98).all()
    assert found[30, 52] > 0.5 and found[30, 55] < 0.5  # 3 and 6 pixels away
    assert corrected(everywhere, torch.zeros(1, 3, 60, 80), 0 * carried).sum() == 0


def test_a_speck_is_an_object_that_has_left() -> None:
    """Of 400 pixels 2 percent must be left: 8 stay, 4 do not."""
    for rows, left in ((4, 8), (2, 0)):
        # from beyond the lower right corner, which is empty
        flow_in = torch.full((1, 2, 61, 83), 200.0)
        flow_in[:, :, 20 : 20 + rows, 40:42] = 0
        frames, masks = square([(20, 40)] * 2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("simulacra.video.segment.corrected", lambda net, frame, carried: carried)
            found = segment(frames, masks[0], flows=optical_flow.Flows(-flow_in, flow_in))
        assert (found[1] > 0.5).sum() == left


def test_a_window_shows_its_part_of_the_frame() -> None:
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., 10:20, 30:50] = 1
    window = around(mask)
    assert window is not None and around(0 * mask) is None
    # the box and 0.35 sqrt(10 x 20) + 8 = 12.9 pixels, within the frame
    assert window[:4] == (0, 17, 32, 60)
    where = places(window)
    assert where.shape == (window.height, window.width, 2)
    y, x = torch.meshgrid(torch.arange(40) + 0.5, torch.arange(60) + 0.5, indexing="ij")
    shown = bilinear(torch.stack([x, y])[None], where)[0].permute(1, 2, 0)
    inside = (where > 0.5).all(2) & (where[..., 0] < 59.5)
    assert torch.allclose(shown[inside], where[inside], atol=1e-4)


def test_examples_hold_the_object_under_their_mask() -> None:
    """Of a red square on blue, whatever moved: red where the mask is, blue where it is not;
    and the rough mask is wrong."""
    frame, mask = torch.zeros(1, 3, 60, 80), torch.zeros(1, 1, 60, 80)
    mask[..., 20:40, 30:50] = 1
    frame[:, 0], frame[:, 2] = 3 * mask[:, 0], 3 * (1 - mask[:, 0])
    of = source(frame, mask, torch.Generator().manual_seed(1))
    assert of.size == 20 and of.centre.tolist() == [40, 30]
    assert torch.allclose(of.ground[0, :, 30, 40], torch.tensor([0.0, 0.0, 3.0]), atol=0.1)
    wrong = 0.0
    for _ in range(20):
        seen, wanted = example(of)
        redder = (seen[:, :1] - seen[:, 2:3]) > 0
        assert ((redder == (wanted > 0.5)) | ((wanted - 0.5).abs() < 0.45)).float().mean() > 0.97
        wrong += float(((seen[:, 3:] > 0) != (wanted > 0.5)).float().mean()) / 20
    assert 0.005 < wrong < 0.2


@pytest.mark.parametrize(
    ("frames", "mask", "message"),
    [
        (torch.zeros(2, 1, 8, 8), torch.ones(8, 8), r"frames \(2, 1, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), torch.ones(8, 8), r"at least one"),
        (torch.zeros(2, 3, 8, 8), torch.ones(8, 9), r"mask \(8, 9\) of frames 8 x 8"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(8, 8), r"with a pixel above 0.5"),
        (
            torch.zeros(2, 3, 8, 8),
            torch.full((8, 8), 255),
            r"mask from 255 to 255; allowed: 0 to 1",
        ),
    ],
)
def test_mistakes_are_told(frames: Tensor, mask: Tensor, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        segment(frames, mask)


def test_flows_of_another_clip_are_a_mistake() -> None:
    with pytest.raises(
        Mistake, match=r"flows.backward \(3, 2, 8, 8\) of 2 frames; allowed: \(1, 2, 8, 8\)"
    ):
        segment(
            torch.zeros(2, 3, 8, 8),
            torch.ones(8, 8),
            flows=optical_flow.Flows(torch.zeros(3, 2, 8, 8), torch.zeros(3, 2, 8, 8)),
        )


@pytest.mark.parametrize("lost", [3, 2, 1])
def test_a_stopped_training_goes_on_from_its_last_whole_net(lost, monkeypatch, tmp_path):
    """To the same bits, without training those again that are there;
    a damaged file, or one of another work, is not believed."""
    monkeypatch.setattr(_appearance, "NETS", 3)
    frames, masks = square([(20, 30), (22, 33)])
    place = _appearance.Kept(tmp_path / "net.safetensors", "this work")
    whole = segment(frames, masks[0], kept=place)
    assert torch.equal(whole, segment(frames, masks[0])), "what is left changes nothing"
    trained, cycle = [], _appearance.cycle
    monkeypatch.setattr(_appearance, "cycle", lambda *words: trained.append(1) or cycle(*words))
    assert torch.equal(segment(frames, masks[0], kept=place), whole) and not trained
    place.file(lost).write_bytes(place.file(lost).read_bytes()[:-9])
    assert torch.equal(segment(frames, masks[0], kept=place), whole)
    assert len(trained) == 4 - lost
    other = _appearance.Kept(place.path, "another work")
    assert torch.equal(segment(frames, masks[0], kept=other), whole) and len(trained) == 7 - lost


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from simulacra.video import _appearance
from simulacra.video.segment import segment
torch.set_num_threads(1)
_appearance.STEPS, _appearance.NETS, _appearance.AREA = 4, 3, 1200
place, dies = Path(sys.argv[1]), int(sys.argv[2])
frames, masks = torch.load(place / "clip.pt")
keep = _appearance.Kept.keep
def dying(self, n, net, chance):
    keep(self, n, net, chance)
    if n == dies:
        os.kill(os.getpid(), signal.SIGKILL)
_appearance.Kept.keep = dying
found = segment(frames, masks[0], kept=_appearance.Kept(place / "net.safetensors", "this work"))
torch.save(found, place / "soft.pt")
"""


def test_killed_between_nets(monkeypatch, tmp_path):
    """By a signal that nobody hears; the next process ends as one that was never killed."""
    for name, value in ("STEPS", 4), ("NETS", 3), ("AREA", 1200):
        monkeypatch.setattr(_appearance, name, value)
    clip = square([(20, 30), (22, 33)])
    torch.save(clip, tmp_path / "clip.pt")
    env = os.environ | {"PYTHONPATH": str(Path(simulacra.__file__).parents[1])}
    codes = [
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(dies)], env=env).returncode
        for dies in (2, 0)
    ]
    assert codes == [-signal.SIGKILL, 0]
    assert torch.equal(torch.load(tmp_path / "soft.pt"), segment(clip[0], clip[1][0]))

"""Objects through whole clips, from masks of any frames."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn import overlap, square
from torch import Tensor

import simulacra
from simulacra.core.errors import Mistake
from simulacra.video import _appearance
from simulacra.video.follow import Pursuit, confidence, follow
from simulacra.video.segment import flows_of


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly any training, in smaller windows: most tests ask for no good masks."""
    monkeypatch.setattr(_appearance, "STEPS", 4)
    monkeypatch.setattr(_appearance, "NETS", 1)
    monkeypatch.setattr(_appearance, "AREA", 1200)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough training for the easiest clips."""
    monkeypatch.setattr(_appearance, "STEPS", 120)


def one(frames: Tensor, mask: Tensor, **words: object) -> Tensor:
    """The soft masks (T, 1, H, W) of one object from its first mask (1, H, W)."""
    return follow(frames, {0: (mask[0] > 0.5).long()}, **words).soft  # type: ignore[arg-type]


def test_a_moving_square_is_followed_until_it_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_appearance, "STEPS", 100)
    monkeypatch.setattr(_appearance, "NETS", 2)
    frames, masks = square([(20, 43 + 4 * t) for t in range(13)])
    assert masks[:6].sum() == 6 * 400 and masks[10:].sum() == 0
    told: list[float] = []
    heard: list[int] = []
    found = follow(
        frames,
        {0: masks[0, 0].long()},
        notify=told.append,
        arrived=lambda t, soft, sure: heard.append(t),
    )
    soft = found.soft
    assert soft.shape == masks.shape and soft.min() >= 0 and soft.max() <= 1
    assert torch.equal(soft[0], masks[0])
    assert min(overlap(soft[:6], masks[:6])) > 0.85
    assert (soft[11:] > 0.5).sum() == 0
    assert told == sorted(told) and told[-1] == pytest.approx(1) and min(told) > 0
    assert heard == [*range(1, 13), *range(1, 13), *range(13)]
    assert found.confidence.shape == (13, 1) and found.confidence[0] == 1
    assert found.confidence[2:5].min() > found.confidence[11:].max()


def test_the_result_follows_from_the_seed_alone() -> None:
    """The global generator does not matter, and is left as it was."""
    frames, masks = square([(12, 8), (13, 12), (14, 16)])
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = one(frames, masks[0], seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(6)
    assert torch.equal(first, one(frames, masks[0], seed=3))
    assert not torch.equal(first, one(frames, masks[0], seed=4))


def test_in_one_pass_nothing_but_earlier_frames_matters() -> None:
    """What comes after a frame cannot change its mask, but for its motion: that of the last frame
    is told by the one before alone."""
    frames, masks = square([(12, 8 + 4 * t) for t in range(5)])
    long, short = one(frames, masks[0], fast=True), one(frames[:4], masks[0], fast=True)
    assert torch.equal(long[:3], short[:3])


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_still_clip_keeps_the_mask(pretrained: bool) -> None:
    frames, masks = square([(20, 30)] * 4)
    assert min(overlap(one(frames, masks[0], pretrained=pretrained, fast=True), masks)) > 0.85


def test_one_frame() -> None:
    frames, masks = square([(20, 30)])
    assert torch.equal(one(frames, masks[0]), masks)


@pytest.mark.usefixtures("trained")
def test_an_object_at_the_edge() -> None:
    """It comes in from the corner, of which the first mask shows a part."""
    frames, masks = square([(-6 + 2 * t, -6 + 3 * t) for t in range(6)], side=26, size=(48, 70))
    assert min(overlap(one(frames, masks[0], fast=True), masks)) > 0.8


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("size", [(33, 90), (16, 16)])
def test_a_mask_of_nearly_everything_and_of_everything(size: tuple[int, int]) -> None:
    frames, masks = square([(0, 0)] * 3, side=90, size=size)
    masks[:, :, 0, 0] = float(size == (16, 16))
    assert min(overlap(one(frames, masks[0], fast=True), masks)) > 0.6


@pytest.mark.usefixtures("trained")
def test_a_later_mask_is_followed_both_ways_and_two_meet() -> None:
    """From the middle alone; and with one that says that the object is not there at the end."""
    frames, masks = square([(20, 10 + 4 * t) for t in range(7)])
    alone = follow(frames, {3: masks[3, 0].long()}, fast=True)
    assert min(overlap(alone.soft, masks)) > 0.8
    assert torch.equal(alone.soft[3], masks[3]) and alone.confidence[3] == 1
    none = torch.zeros_like(masks[0, 0]).long()
    ended = follow(frames, {3: masks[3, 0].long(), 6: none}, fast=True)
    assert not ended.soft[6].any() and min(overlap(ended.soft[:5], masks[:5])) > 0.8


@pytest.mark.usefixtures("trained")
def test_two_objects_share_no_pixel() -> None:
    frames, masks = square([(20, 10 + 2 * t) for t in range(4)], side=16)
    others, second = square([(20, 60 - 2 * t) for t in range(4)], side=16)
    frames = torch.where(second > 0, others.flip(1), frames)
    labels = (masks[0, 0] + 2 * second[0, 0]).long()
    found = follow(frames, {0: labels}, fast=True)
    assert found.soft.shape == (4, 2, 61, 83) and found.soft.sum(1).max() <= 1 + 1e-5
    for k, true in enumerate((masks, second)):
        assert min(overlap(found.soft[:, k : k + 1], true)) > 0.75


def test_confidence_is_less_where_passes_differ_and_where_masks_are_soft() -> None:
    mask = torch.zeros(4, 1, 10, 10)
    mask[:3, :, 2:8, 2:8] = 1.0
    other = mask.clone()
    other[1, :, 2:5] = 0
    soft = mask.clone()
    soft[2] *= 0.75
    sure = [confidence(*both) for both in zip(soft, other, strict=True)]
    assert sure == pytest.approx([1.0, 0.5**0.8, 0.75**0.8, 0.2])


def test_legs_meet_between_given_masks() -> None:
    """And arrivals lead to the frame before, in the order of the walk."""
    frames, masks = square([(20, 10 + 6 * t) for t in range(7)])
    flows = flows_of(frames, lambda share: None)
    legs = list(Pursuit(frames, {0: masks[:1], 4: masks[4:5]}, flows).legs())
    assert [leg.frames for leg in legs] == [[0, 1, 2, 3], [4, 5, 6], [4, 3, 2, 1]]
    assert [leg.given for leg in legs] == [True, False, True]
    there, back = flows
    for leg, wanted in zip(legs, (back[:3], back[4:], there[[3, 2, 1]]), strict=True):
        assert torch.equal(leg.arrive[:], wanted)


def test_a_way_that_has_lost_the_object_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first mask the object is lost at once, from the last it is followed: it is there."""
    frames, masks = square([(20, 10 + 4 * t) for t in range(5)])
    of = Pursuit(frames, {0: masks[:1], 4: masks[4:]}, flows_of(frames, lambda share: None))

    def walked(looks, frames, start, arrive, clues, rescue):  # type: ignore[no-untyped-def]
        forward = torch.equal(start, masks[:1])
        found = torch.zeros_like(masks[:4]) if forward else masks[1:].flip(0).clone()
        found[0] = start
        return iter(found[:, None])

    monkeypatch.setattr("simulacra.video.follow.walk", walked)
    clues = torch.zeros(5, 4, 61, 83)
    found = of.followed(None, clues, None, lambda share: None, lambda t, soft: None)  # type: ignore[arg-type]
    assert torch.equal(found, masks)


@pytest.mark.parametrize(
    ("frames", "masks", "message"),
    [
        (torch.zeros(2, 1, 8, 8), {0: torch.ones(8, 8).long()}, r"frames \(2, 1, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), {0: torch.ones(8, 8).long()}, "at least one"),
        (torch.zeros(2, 3, 8, 8), {}, "no mask"),
        (torch.zeros(2, 3, 8, 8), {2: torch.ones(8, 8).long()}, "frame 2; the clip has 0 to 1"),
        (torch.zeros(2, 3, 8, 8), {0: torch.ones(8, 9).long()}, r"mask \(8, 9\) of frames 8 x 8"),
        (torch.zeros(2, 3, 8, 8), {1: torch.zeros(8, 8).long()}, "no mask shows an object"),
        (torch.zeros(2, 3, 8, 8), {1: 2 * torch.ones(8, 8).long()}, r"objects \[2\]"),
    ],
)
def test_mistakes_are_told(frames: Tensor, masks: dict[int, Tensor], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        follow(frames, masks)


def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts cycles of training from now on."""
    trained, cycle = [], _appearance.cycle
    monkeypatch.setattr(_appearance, "cycle", lambda *words: trained.append(1) or cycle(*words))
    return trained


@pytest.mark.parametrize(("lost", "again"), [("first_3", 1), ("first_1", 3), ("clip_2", 1)])
def test_a_stopped_training_goes_on_from_its_last_whole_net(lost, again, monkeypatch, tmp_path):
    """To the same bits, without training those again that are there;
    a damaged file, or one of another work, is not believed."""
    monkeypatch.setattr(_appearance, "NETS", 3)
    frames, masks = square([(20, 30), (22, 33)])
    place = _appearance.Kept(tmp_path / "net.safetensors", "this work")
    whole = one(frames, masks[0], kept=place)
    assert torch.equal(whole, one(frames, masks[0])), "what is left changes nothing"
    trained = trainings(monkeypatch)
    assert torch.equal(one(frames, masks[0], kept=place), whole) and not trained
    file = tmp_path / f"net_object1_{lost}.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    assert torch.equal(one(frames, masks[0], kept=place), whole)
    assert len(trained) == again
    other = _appearance.Kept(place.path, "another work")
    assert torch.equal(one(frames, masks[0], kept=other), whole)
    assert len(trained) == again + 5


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from simulacra.video import _appearance
from simulacra.video.follow import follow
torch.set_num_threads(1)
_appearance.STEPS, _appearance.NETS, _appearance.AREA = 4, 2, 1200
place, dies = Path(sys.argv[1]), int(sys.argv[2])
frames, masks = torch.load(place / "clip.pt")
keep, count = _appearance.Kept.keep, 0
def dying(self, n, net, chance):
    global count
    keep(self, n, net, chance)
    count += 1
    if count == dies:
        os.kill(os.getpid(), signal.SIGKILL)
_appearance.Kept.keep = dying
place_of_nets = _appearance.Kept(place / "net.safetensors", "this work")
torch.save(follow(frames, {0: masks[0, 0].long()}, kept=place_of_nets).soft, place / "soft.pt")
"""


def test_killed_between_nets(monkeypatch, tmp_path):
    """By a signal that nobody hears; the next process ends as one that was never killed."""
    monkeypatch.setattr(_appearance, "NETS", 2)
    clip = square([(20, 30), (22, 33)])
    torch.save(clip, tmp_path / "clip.pt")
    env = os.environ | {"PYTHONPATH": str(Path(simulacra.__file__).parents[1])}
    codes = [
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(dies)], env=env).returncode
        for dies in (3, 0)
    ]
    assert codes == [-signal.SIGKILL, 0]
    assert torch.equal(torch.load(tmp_path / "soft.pt"), one(clip[0], clip[1][0]))

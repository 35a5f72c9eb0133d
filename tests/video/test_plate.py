"""The clean plate: what other frames show comes back as it was, the rest is painted,
and nothing else is touched."""

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.nn.optical_flow import of_clip
from simulacra.video._background_flow import camera
from simulacra.video._painting import painted, searched, spread
from simulacra.video.plate import (
    clean_plate,
    closely_hidden,
    flows_of,
    glimpsed,
    grid,
    hidden_by,
    vote,
)

H, W = 72, 96


def canvas(height: int, width: int, seed: int = 0) -> Tensor:
    """A texture (3, height, width) in [-0.8, 0.8], blobs of some pixels."""
    noise = np.random.default_rng(seed).normal(size=(3, height, width))
    smooth = gaussian_filter(noise, (0, 2, 2)) + 2 * gaussian_filter(noise, (0, 6, 6))
    return torch.from_numpy(0.8 * smooth / np.abs(smooth).max()).float()


def square(frames: Tensor, corners: list[tuple[int, int]], side: int = 16) -> tuple[Tensor, Tensor]:
    """Frames with a bright chequered square, its upper left corner (y, x) given for each frame,
    and its mattes."""
    out, mattes = frames.clone(), torch.zeros_like(frames[:, :1])
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    skin = torch.stack(
        [torch.ones(side, side), ((x // 4 + y // 4) % 2) * 1.0, -torch.ones(side, side)]
    )
    for i, (top, left) in enumerate(corners):
        rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
        place = out[i, :, rows, columns]
        place.copy_(
            skin[:, -place.shape[1] :, : place.shape[2]]
            if top < 0
            else skin[:, : place.shape[1], -place.shape[2] :]
        )
        mattes[i, :, rows, columns] = 1
    return out, mattes


def still(t: int = 7, step: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """A square that crosses a still texture; frames, mattes and the truth."""
    truth = canvas(H, W).expand(t, 3, H, W)
    return *square(truth, [(28, 4 + step * i) for i in range(t)]), truth


def psnr(one: Tensor, two: Tensor, mask: Tensor) -> float:
    """Over a mask (T, 1, H, W), dB."""
    return float(10 * torch.log10(4 / (one - two).square().mean(1, keepdim=True)[mask].mean()))


def telea(frames: Tensor, mattes: Tensor) -> Tensor:
    """Each frame inpainted by OpenCV."""
    out = []
    for frame, matte in zip(frames, mattes, strict=True):
        picture = ((frame.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        out.append(
            cv2.inpaint(picture, (matte[0].numpy() > 0.1).astype(np.uint8), 5, cv2.INPAINT_TELEA)
        )
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2) / 127.5 - 1


def sound(frames: Tensor, mattes: Tensor) -> Tensor:
    """A plate that keeps its promises, whatever the clip; its background."""
    plate = clean_plate(frames, mattes)
    hidden = hidden_by(mattes, glimpsed(mattes, flows_of(frames))).expand_as(frames)
    assert plate.background.shape == frames.shape and plate.known.shape == mattes.shape
    assert torch.equal(plate.background[~hidden], frames[~hidden])
    assert (plate.known[~hidden[:, :1]] == 1).all() and (
        (plate.known >= 0) & (plate.known <= 1)
    ).all()
    assert plate.background.isfinite().all() and plate.background.abs().max() <= 1
    return plate.background


def test_a_still_camera_gives_back_what_is_revealed() -> None:
    frames, mattes, truth = still()
    plate = clean_plate(frames, mattes)
    hidden = hidden_by(mattes)
    assert torch.equal(plate.known, torch.ones_like(mattes)), (
        "the square moves by half of itself: all is seen somewhere"
    )
    assert (
        psnr(plate.background, truth, hidden)
        > 45
        > 15 + psnr(telea(frames, mattes), truth, hidden) - 1
    )


def test_a_panning_camera_gives_back_what_is_revealed() -> None:
    wide, pan, t = canvas(H, W + 60), 5, 9
    truth = torch.stack([wide[:, :, pan * i : pan * i + W] for i in range(t)])
    frames, mattes = square(truth, [(30, 40)] * t)  # it moves with the camera
    plate = clean_plate(frames, mattes)
    hidden, seen = hidden_by(mattes), plate.known > 0
    assert seen[t // 2].all() and psnr(plate.background, truth, hidden & seen) > 30
    assert torch.equal(
        plate.background[~hidden.expand_as(frames)], frames[~hidden.expand_as(frames)]
    )


def test_a_known_flow_is_used() -> None:
    frames, mattes, _ = still()
    given, own = clean_plate(frames, mattes, flows=of_clip(frames)), clean_plate(frames, mattes)
    assert torch.equal(given.background, own.background)


def test_pieces_that_masks_miss_are_outvoted() -> None:
    frames, mattes, truth = still(9)
    worse = mattes.clone()
    worse[4] = 0
    worse[4, :, 28:44, 36:44] = 1  # half of the square is missed in one frame
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    plate = clean_plate(frames, worse)
    assert psnr(plate.background[others], truth[others], hidden_by(mattes)[others]) > 28


def test_what_is_never_seen_is_painted_once() -> None:
    truth = canvas(H, W).expand(5, 3, H, W)
    frames, mattes = square(truth, [(30, 40)] * 5)
    plate = clean_plate(frames, mattes)
    hidden = closely_hidden(mattes)
    assert torch.equal(plate.known == 0, hidden)
    inside = plate.background.permute(1, 0, 2, 3)[:, hidden[:, 0]]
    low, high = frames.permute(1, 0, 2, 3)[:, ~hidden[:, 0]].aminmax(dim=1)
    assert (inside >= low[:, None] - 0.05).all() and (inside <= high[:, None] + 0.05).all()
    assert (plate.background - plate.background[:1]).abs().max() < 0.05, "no flicker"


def test_what_only_a_margin_shows_is_taken_from_there() -> None:
    """A block that moves by less than the margin:
    nothing that is far enough from it shows what it hides."""
    truth = canvas(H, W).expand(6, 3, H, W)
    frames, mattes = square(truth, [(30, 40 + i % 2 * 2) for i in range(6)], 8)
    hidden = hidden_by(mattes)
    close = closely_hidden(mattes)
    assert (hidden | ~close).all() and (close | (mattes < 0.1)).all() and close.sum() < hidden.sum()
    plate = clean_plate(frames, mattes)
    ring = (hidden & ~close).expand_as(frames)
    assert (plate.known > 0)[hidden & ~close].all()
    assert (plate.background - truth)[ring].abs().max() < 0.02, (
        "its own pixels, where nothing better is known"
    )
    assert closely_hidden(mattes, torch.ones_like(hidden)).all(), (
        "nothing is taken from where the object is glimpsed"
    )


def test_paint_has_the_surroundings_texture() -> None:
    """Stripes go on across the hole, where a smooth filling would be grey."""
    x = torch.arange(96)
    stripes = torch.where(x // 4 % 2 == 0, 0.8, -0.8).expand(3, 80, 96).contiguous()
    known = torch.ones(80, 96, dtype=torch.bool)
    known[28:52, 36:60] = False
    out = painted(torch.where(known, stripes, torch.zeros(())), known, np.random.default_rng(0))
    assert torch.equal(out[:, known], stripes[:, known])
    assert (out - stripes)[:, ~known].abs().mean() < 0.2


def test_search_finds_the_only_equal_patches() -> None:
    image = canvas(40, 40, 3).permute(1, 2, 0).numpy()
    image = np.concatenate([image, image], 1).copy()  # what is at x is at x + 40
    source = np.zeros((40, 80), bool)
    source[4:-4, 44:-4] = True
    y, x = np.mgrid[10:30, 10:30]
    target, rng = (y * 80 + x).reshape(-1), np.random.default_rng(0)
    match = rng.choice(np.flatnonzero(source), len(target))
    for _ in range(8):
        match = searched(image, target, source, match, rng)
    assert (match == target + 40).mean() > 0.95


@pytest.mark.parametrize("size", [(61, 83), (17, 23), (9, 8)])
def test_odd_sizes(size) -> None:
    frames, mattes = square(canvas(*size).expand(3, 3, *size), [(2, 1), (2, 3), (3, 5)], 4)
    sound(frames, mattes)


def test_at_the_edge() -> None:
    truth = canvas(H, W).expand(5, 3, H, W)
    frames, mattes = square(truth, [(-6, 10 * i) for i in range(5)])
    assert psnr(sound(frames, mattes), truth, mattes > 0) > 30
    sound(*square(truth, [(60, 88)] * 5))


def test_nearly_all_hidden() -> None:
    frames = canvas(H, W).expand(3, 3, H, W)
    mattes = torch.ones(3, 1, H, W)
    mattes[:, :, :, :9] = 0
    sound(frames, mattes)
    assert torch.isfinite(clean_plate(frames, torch.ones(3, 1, H, W)).background).all(), (
        "nothing to see at all"
    )


def test_one_frame() -> None:
    frames, mattes, truth = still(1)
    plate = clean_plate(frames, mattes)
    assert torch.equal(plate.known == 0, closely_hidden(mattes))
    assert (
        psnr(sound(frames, mattes), truth, hidden_by(mattes))
        > psnr(frames, truth, hidden_by(mattes)) + 6
    )


def test_nothing_hidden() -> None:
    frames = canvas(H, W).expand(2, 3, H, W)
    plate = clean_plate(frames, torch.zeros(2, 1, H, W))
    assert torch.equal(plate.background, frames) and (plate.known == 1).all()


def test_soft_mattes_hide_from_a_tenth_on() -> None:
    frames, mattes, truth = still()
    soft = torch.from_numpy(gaussian_filter(mattes.numpy(), (0, 0, 1.5, 1.5))).float()
    assert torch.equal(
        hidden_by(torch.full((1, 1, 40, 40), 0.09)), torch.zeros(1, 1, 40, 40, dtype=torch.bool)
    )
    mixed = soft * frames + (1 - soft) * truth
    assert psnr(sound(mixed, soft), truth, hidden_by(mattes)) > 32


def test_the_seed_decides() -> None:
    frames, mattes, _ = still(3, 2)
    one, two = clean_plate(frames, mattes, seed=1), clean_plate(frames, mattes, seed=1)
    torch.rand(3)
    assert torch.equal(one.background, two.background)
    assert not torch.equal(one.background, clean_plate(frames, mattes, seed=2).background), (
        "some of it is painted"
    )


def test_told_of_each_frame() -> None:
    frames, mattes, _ = still(3)
    heard: list[tuple[int, int]] = []
    clean_plate(frames, mattes, notify=lambda t, n: heard.append((t, n)))
    assert heard == [(0, 3), (1, 3), (2, 3)]


def test_a_membrane_is_harmonic() -> None:
    """Between a wall at 0 and one at 1 it is a ramp."""
    values, known = torch.zeros(1, 1, 20, 33), torch.zeros(1, 1, 20, 33, dtype=torch.bool)
    known[..., 0], known[..., -1], values[..., -1] = True, True, 1
    assert torch.allclose(
        spread(values, known, 200), torch.linspace(0, 1, 33).expand(1, 1, 20, 33), atol=0.02
    )
    assert (spread(values, torch.zeros_like(known)) == 0).all()


def test_the_camera_is_told_from_the_object() -> None:
    x, y = grid(slice(0, 60), slice(0, 80))[0]
    zoom = torch.stack([0.05 * (x - 40) + 2, 0.05 * (y - 30) - 1])
    flow = zoom.clone()
    flow[:, 10:35, 20:50] = 9  # an object that no mask covers
    assert (camera(flow, torch.ones(60, 80, dtype=torch.bool)) - zoom).abs().max() < 0.1


def test_a_vote_is_not_swayed_by_one() -> None:
    colours = torch.tensor([0.1, 0.12, 0.11, 0.9]).view(4, 1, 1).expand(4, 3, 2)
    assert torch.allclose(vote(colours, torch.ones(4, 1, 2)), torch.full((3, 2), 0.11), atol=0.005)


def test_shapes_are_checked() -> None:
    with pytest.raises(Mistake, match="mattes"):
        clean_plate(torch.zeros(2, 3, 20, 20), torch.zeros(2, 20, 20))

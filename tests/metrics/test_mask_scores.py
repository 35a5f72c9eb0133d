"""Overlap: J, F and their statistics hold to arithmetic and to a slow reference, folders are
compared or refused, and the baselines do what their docstrings say."""

import csv
import json
import math
import os
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.metrics.video import mask_scores
from simulacra.metrics.video.classical import by_flow, copy_first, hard, inpainted
from simulacra.metrics.video.mask_scores import boundary, boundary_f, jaccard, score, sequence
from simulacra.nn import optical_flow
from simulacra.nn.optical_flow import Flows

REAL = os.environ.get("SIMULACRA_DATA")
DAVIS = Path(REAL or "", "davis")
needs_davis = pytest.mark.skipif(
    not (REAL and DAVIS.is_dir()), reason="SIMULACRA_DATA names no folder with davis"
)

COPY = {  # J and F of the first mask repeated, from an evaluator written by others
    "bear": (0.650, 0.387),
    "blackswan": (0.543, 0.348),
    "bus": (0.670, 0.442),
    "camel": (0.455, 0.293),
    "dog": (0.327, 0.188),
    "flamingo": (0.401, 0.352),
}
FLOW = {"blackswan": (0.611, 0.622), "dog": (0.537, 0.442)}  # carried by OpenCV's flow, likewise


def square(top: int, left: int, side: int, height: int = 100, width: int = 100) -> Tensor:
    """One mask (1, H, W) with a square in it."""
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, top : top + side, left : left + side] = True
    return mask


EMPTY, FULL = square(0, 0, 0), square(0, 0, 100)


def blobs(seed: int, height: int, width: int, share: float = 0.3) -> Tensor:
    """One mask (1, H, W) of random shapes, some of them at the frame's border."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 4)
    return torch.from_numpy(noise > np.quantile(noise, 1 - share))[None]


def refusal(act, *arguments, **more) -> str:
    """What the Mistake says that this call leads to: one line."""
    with pytest.raises(Mistake) as caught:
        act(*arguments, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# J


def test_jaccard_by_hand():
    one = square(20, 30, 10)
    for (y, x), expected in {(0, 0): 1, (0, 3): 70 / 130, (3, 4): 42 / 158, (0, 10): 0}.items():
        assert jaccard(one, square(20 + y, 30 + x, 10)).tolist() == [expected]
    assert jaccard(one, square(22, 32, 5)).tolist() == [0.25], "one inside the other"
    assert jaccard(
        torch.cat([EMPTY, EMPTY, one, FULL]), torch.cat([EMPTY, one, EMPTY, FULL])
    ).tolist() == [1, 0, 0, 1]
    assert jaccard(one, one).dtype == torch.float64


# F


def test_boundary_by_hand():
    """A square's boundary is the outline of a square larger by one, up and to the left;
    the frame's border is none."""
    edge = boundary(square(10, 20, 5))[0]
    assert edge.sum() == 20 and torch.equal(edge, (square(9, 19, 6) & ~square(10, 20, 4))[0])
    dot = boundary(square(10, 20, 1))[0].nonzero().tolist()
    assert dot == [[9, 19], [9, 20], [10, 19], [10, 20]]
    assert boundary(square(0, 0, 1))[0].nonzero().tolist() == [[0, 0]]
    assert boundary(square(99, 99, 1))[0].nonzero().tolist() == [[98, 98], [98, 99], [99, 98]]
    assert boundary(square(99, 0, 1))[0].nonzero().tolist() == [[98, 0], [99, 0]]
    half = torch.zeros(1, 6, 8, dtype=torch.bool)
    half[:, :, 3:] = True
    assert boundary(half)[0].nonzero().tolist() == [[y, 2] for y in range(6)]
    assert boundary(half.mT)[0].nonzero().tolist() == [[2, x] for x in range(6)]
    assert not boundary(EMPTY).any() and not boundary(FULL).any()


def test_tolerance_by_hand():
    sizes = {
        (240, 432): 4,
        (480, 854): 8,
        (100, 100): 2,
        (1080, 1920): 18,
        (75, 100): 1,
        (76, 100): 2,
        (1, 1): 1,
    }
    assert {size: mask_scores.tolerance(*size) for size in sizes} == sizes, (
        "125 pixels times 0.008 is 1"
    )


def test_f_of_shifted_squares_by_hand():
    """Frames of 100 x 100 tolerate two pixels."""
    one = square(40, 40, 20)
    for y, x in product(range(-2, 3), repeat=2):
        # every boundary pixel finds the one that it was shifted to
        expected = 1 if math.hypot(y, x) <= 2 else None
        value = boundary_f(one, square(40 + y, 40 + x, 20)).item()
        assert value == 1 if expected else value < 1, (y, x)
    # three to the right: of 80 pixels of the outline, 20 above and 20 below match, all but the
    # corner, and of the right side two beside each of the other's horizontal sides
    assert boundary_f(one, square(40, 43, 20)).item() == pytest.approx(44 / 80, abs=1e-12)
    assert boundary_f(one, square(70, 70, 20)).item() == 0


def test_f_of_unequal_precision_and_recall_by_hand():
    """A second square, far away, costs precision alone."""
    one = square(10, 10, 20)
    both = one | square(60, 60, 10)
    # 80 of 120 pixels, and 80 of 80
    assert boundary_f(both, one).item() == pytest.approx(2 * (2 / 3) / (2 / 3 + 1), abs=1e-12)
    assert boundary_f(one, both).item() == boundary_f(both, one).item()


def test_f_of_pixels_by_hand():
    one = square(50, 50, 1)
    shifted = torch.cat([square(50, 50 + x, 1) for x in range(6)])
    assert boundary_f(one.expand(6, -1, -1), shifted).tolist() == [1, 1, 1, 0.5, 0, 0]
    assert jaccard(one.expand(6, -1, -1), shifted).tolist() == [1, 0, 0, 0, 0, 0]


def test_f_where_there_is_no_boundary():
    one = square(40, 40, 20)
    assert boundary_f(torch.cat([EMPTY, EMPTY, one]), torch.cat([EMPTY, one, EMPTY])).tolist() == [
        1,
        0,
        0,
    ]
    assert boundary_f(FULL, FULL).item() == 1 and boundary_f(FULL, one).item() == 0
    assert boundary_f(FULL, EMPTY).item() == 1 and jaccard(FULL, EMPTY).item() == 0, (
        "neither has a boundary"
    )


def edges(mask: Tensor) -> list[tuple[int, int]]:
    """The boundary's pixels, found one by one."""
    grid, (height, width) = mask.tolist(), mask.shape
    found = []
    for y, x in product(range(height), range(width)):
        below, right = min(y + 1, height - 1), min(x + 1, width - 1)
        if any(grid[y][x] != grid[j][i] for j, i in ((y, right), (below, x), (below, right))):
            found.append((y, x))
    return found


def reference_f(mask: Tensor, true: Tensor) -> float:
    """F of masks (H, W) from the distances of all pairs of boundary pixels."""
    ours, theirs, far = (
        edges(mask),
        edges(true),
        math.ceil(0.008 * math.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)),
    )

    def share(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        if not some:
            return 1.0
        return sum(
            any((y - j) ** 2 + (x - i) ** 2 <= far**2 for j, i in others) for y, x in some
        ) / len(some)

    precision, recall = share(ours, theirs), share(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize(("height", "width"), [(40, 60), (80, 100)])
def test_f_is_that_of_the_slow_reference(height, width):
    """Frames that tolerate one pixel and two;
    shapes alike, another, a speck, the same moved, and nothing."""
    one = blobs(0, height, width)
    others = [blobs(0, height, width, 0.2), blobs(1, height, width), blobs(2, height, width, 0.02)]
    others += [one.roll((1, 2), (1, 2)), torch.zeros_like(one)]
    expected = [reference_f(one[0], other[0]) for other in others]
    assert boundary_f(one.expand(5, -1, -1), torch.cat(others)).tolist() == pytest.approx(
        expected, abs=1e-12
    )
    assert expected[-1] == 0 < min(expected[:-1]) and max(expected) < 1


@pytest.mark.parametrize("far", [1, 2, 4, 8, 18])
def test_nearness_is_a_distance_transform(far):
    points = torch.from_numpy(np.random.default_rng(far).random((3, 50, 70)) < 0.002)
    points[1] = False
    found = mask_scores.near(points, far)
    assert not found[1].any() and points[0].any() and not found[0].all()
    assert torch.equal(
        found[0], torch.from_numpy(distance_transform_edt(~points[0].numpy()) <= far)
    )


SEEDS = st.integers(0, 10**6)


@settings(max_examples=30, deadline=None)
@given(
    SEEDS, SEEDS, st.sampled_from([0.0, 0.05, 0.3, 0.9]), st.integers(-12, 12), st.integers(-12, 12)
)
def test_properties(one, two, share, down, right):
    """Bounds, symmetry, 1 only of equal masks for J,
    and no change if both masks move inside the frame."""
    a, b = (torch.zeros(1, 100, 120, dtype=torch.bool) for _ in range(2))
    a[:, 20:80, 20:100], b[:, 20:80, 20:100] = blobs(one, 60, 80), blobs(two, 60, 80, share)
    j, f = jaccard(a, b).item(), boundary_f(a, b).item()
    assert 0 <= j <= 1 and 0 <= f <= 1 and (j == 1) == torch.equal(a, b)
    assert jaccard(b, a).item() == j and boundary_f(b, a).item() == pytest.approx(f, abs=1e-12)
    assert jaccard(a, a).item() == boundary_f(a, a).item() == 1
    moved = a.roll((down, right), (1, 2)), b.roll((down, right), (1, 2))
    assert jaccard(*moved).item() == j and boundary_f(*moved).item() == f


# A sequence


def test_score_by_hand():
    """Eight frames count: their quarters are 0 to 2, 2 to 4, 4 to 5 and 5 to 7."""
    values = torch.tensor([-99, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0, 99], dtype=torch.float64)
    assert score(values) == pytest.approx((4.9 / 8, 5 / 8, 0.9 - 0.3), abs=1e-12)
    assert score(values.flip(0)).decay == pytest.approx(-0.6, abs=1e-12)
    assert score(values[:3]) == (1, 1, 0) and score(torch.full((9,), 0.5)) == (0.5, 0, 0)
    assert score(values[1:6]).decay == pytest.approx((0.9 + 0.8) / 2 - 0.7, abs=1e-12), (
        "three frames: 0 to 1 and 2 to 2"
    )


def test_quarters_are_the_official_ones():
    values = torch.from_numpy(np.random.default_rng(0).random(700))
    for n in range(1, 699):
        cuts = np.floor(np.linspace(1, n, 5) + 0.5 + 1e-10).astype(int) - 1
        inner = values[1 : n + 1].numpy()
        expected = inner[cuts[0] : cuts[1] + 1].mean() - inner[cuts[3] : cuts[4] + 1].mean()
        assert score(values[: n + 2]).decay == pytest.approx(expected, abs=1e-12), n


def test_sequence_by_hand():
    """A square of 20 that is followed, lost by three pixels, then by all;
    the first and last frames are wrong, uncounted."""
    places = [80, 40, 42, 43, 70, 0]
    masks, true = (
        torch.cat([square(40, x, 20) for x in places]),
        square(40, 40, 20).expand(6, -1, -1),
    )
    j, f = [1, 18 / 22, 17 / 23, 0], [1, 1, 44 / 80, 0]
    found = sequence(masks, true)
    expected = {
        "J_mean": sum(j) / 4,
        "J_recall": 0.75,
        "J_decay": (j[0] + j[1]) / 2 - (j[2] + j[3]) / 2,  # cut at 1, 2 and at 3, 4
        "F_mean": sum(f) / 4,
        "F_recall": 0.75,
        "F_decay": (f[0] + f[1]) / 2 - (f[2] + f[3]) / 2,
        "JF_mean": (sum(j) + sum(f)) / 8,
    }
    assert list(found) == list(expected) and found == pytest.approx(expected, abs=1e-12)
    assert all(type(value) is float for value in found.values())


def test_masks_that_cannot_be_scored():
    good = square(40, 40, 20).expand(4, -1, -1)
    for wrong in good[0], good[:, None], good.float(), good.byte(), good[:0], good[:, :, :0]:
        for pair in (wrong, good), (good, wrong):
            for measure in jaccard, boundary_f, sequence:
                assert "allowed: (T, H, W) of torch.bool" in refusal(measure, *pair)
    assert "masks (4, 100, 100) and true masks (4, 100, 90); allowed: of one shape" in refusal(
        sequence, good, good[..., :90]
    )
    assert "true masks (3, 100, 100)" in refusal(boundary_f, good, good[:3])
    assert "frames (2,); allowed: (T,), T at least 3" in refusal(sequence, good[:2], good[:2])
    assert "frames (3, 1)" in refusal(score, torch.ones(3, 1))


# Tables

RESULTS = {"bear": {"J_mean": 0.25, "F_mean": 1 / 3}, 'a, "b"': {"J_mean": 0.75, "F_mean": -0.1}}


def test_table_and_text():
    rows = mask_scores.table(RESULTS)
    assert [name for name, _ in rows] == ["bear", 'a, "b"', "mean"]
    assert (
        rows[2][1] == {"J_mean": 0.5, "F_mean": pytest.approx(7 / 60)}
        and rows[0][1] == RESULTS["bear"]
    )
    assert mask_scores.text(RESULTS).splitlines() == [
        "sequence  J_mean  F_mean",
        "bear       0.250   0.333",
        'a, "b"     0.750  -0.100',
        "mean       0.500   0.117",
    ]


def test_csv_round_trip(tmp_path):
    path = mask_scores.write_csv(RESULTS, tmp_path / "new" / "table.csv")
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["sequence", "J_mean", "F_mean"]
    read = [(name, dict(zip(header[1:], map(float, cells), strict=True))) for name, *cells in lines]
    assert read == mask_scores.table(RESULTS), "every digit"
    assert [one.name for one in path.parent.iterdir()] == ["table.csv"]


def test_tables_refused(tmp_path):
    assert "no sequences to report" in refusal(mask_scores.text, {})
    odd = RESULTS | {"bus": {"J_mean": 1.0}}
    assert "sequence 'bus' has J_mean; allowed: as 'bear' has, J_mean, F_mean" in refusal(
        mask_scores.write_csv, odd, tmp_path / "x"
    )
    (tmp_path / "file").touch()
    assert "cannot write" in refusal(
        mask_scores.write_csv, RESULTS, tmp_path / "file" / "table.csv"
    )


# Folders


def save(masks: Tensor, folder: Path, names: list[str] | None = None) -> Path:
    """The folder, with masks (T, H, W) in it as grey pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, mask in enumerate(masks):
        Image.fromarray(mask.byte().numpy() * 255).save(
            folder / f"{names[i] if names else f'{i:05d}'}.png"
        )
    return folder


def palette(colours: list[int]) -> Image.Image:
    """A picture of 2 x 4 pixels with the indices 0, 1, 2 and 3 in its rows."""
    image = Image.fromarray(np.tile(np.arange(4, dtype=np.uint8), (2, 1)), "L")
    image = image.copy()
    image.putpalette(colours)
    return image


def test_every_kind_of_picture_is_a_mask():
    row = np.tile(np.array([0, 1, 2, 3], np.uint8), (2, 1))
    objects = [[False, True, True, True]] * 2
    davis = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    kinds = {
        "grey": Image.fromarray(row),
        "bits": Image.fromarray(row > 0),
        "deep": Image.fromarray(row.astype(np.uint16)),
        "colour": Image.fromarray(np.stack([0 * row, row, 0 * row], 2)),
        "opaque": Image.fromarray(np.stack([row, 0 * row, 0 * row, 0 * row + 255], 2)),
        "cut out": Image.fromarray(np.stack([0 * row + 9, 0 * row + 9, 0 * row + 9, 80 * row], 2)),
        "grey cut out": Image.fromarray(np.stack([0 * row + 9, 80 * row], 2), "LA"),
        "three objects": palette(davis),
        "dark objects": palette([0] * 12),
        "purple ground": palette([99, 0, 99, 0, 255, 0, 255, 0, 0, 0, 0, 255]),
    }
    found = {name: mask_scores.objects(image).tolist() for name, image in kinds.items()}
    assert found == dict.fromkeys(kinds, objects)
    black_last = palette([255, 255, 255, 0, 255, 0, 255, 0, 0, 0, 0, 0])
    assert mask_scores.objects(black_last).tolist() == [[True, True, True, False]] * 2


def test_reading_masks(tmp_path):
    masks = torch.cat([square(i, 2 * i, 3, 20, 30) for i in range(12)])
    folder = save(masks, tmp_path / "seq", [f"m{i}" for i in range(12)])
    (folder / "notes.txt").write_text("no mask")
    (folder / ".m3.png").write_bytes(b"left by a file system")
    (folder / "more").mkdir()
    names, read = mask_scores.read_masks(folder)
    assert names == [f"m{i}" for i in range(12)], "2 before 10"
    assert torch.equal(read, masks) and read.dtype == torch.bool
    (folder / "m4.png").rename(folder / "m4.PNG")
    assert mask_scores.read_masks(folder)[0] == names


def test_masks_not_read(tmp_path):
    assert "gone is not there; allowed: a folder of .png masks" in refusal(
        mask_scores.read_masks, tmp_path / "gone"
    )
    file = tmp_path / "file.png"
    file.write_bytes(b"")
    assert "file.png is a file; allowed" in refusal(mask_scores.read_masks, file)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "0.jpg").touch()
    assert "none holds no masks; needed: .png files" in refusal(
        mask_scores.read_masks, tmp_path / "none"
    )
    folder = save(square(1, 1, 5).expand(3, -1, -1), tmp_path / "broken")
    whole = (folder / "00001.png").read_bytes()
    for content in b"", b"no picture", whole[: len(whole) // 2], whole[:-20]:
        (folder / "00001.png").write_bytes(content)
        assert f"cannot read {folder / '00001.png'}: " in refusal(mask_scores.read_masks, folder)
    save(square(1, 1, 5, 40, 60), folder, ["00001"])
    text = refusal(mask_scores.read_masks, folder)
    assert (
        "mask" in text
        and "00001.png is 60x40, 00000.png is 100x100; allowed: masks of one size" in text
    )


def clip(shift: int, n: int = 5) -> Tensor:
    """Masks (n, H, W) of a square that moves, `shift` pixels to the right of where it should be."""
    return torch.cat([square(40, 20 + i + shift, 20) for i in range(n)])


def test_folders_of_masks_are_compared(tmp_path):
    found, true = save(clip(3), tmp_path / "found" / "x"), save(clip(0), tmp_path / "true" / "bear")
    results = mask_scores.compare_folders(found, true)
    assert list(results) == ["bear"], "the sequence is named as the truth is"
    assert results["bear"] == sequence(clip(3), clip(0))
    assert results["bear"]["J_mean"] == pytest.approx(17 / 23) and results["bear"][
        "F_mean"
    ] == pytest.approx(44 / 80)


def test_folders_of_sequences_are_compared(tmp_path):
    shifts = {"s10": (3, 5), "s2": (2, 7)}
    for name, (shift, n) in shifts.items():
        save(clip(shift, n), tmp_path / "found" / name)
        save(clip(0, n), tmp_path / "true" / name)
    (tmp_path / "true" / ".cache").mkdir()
    (tmp_path / "found" / "readme.txt").touch()
    results = mask_scores.compare_folders(tmp_path / "found", tmp_path / "true")
    assert list(results) == ["s2", "s10"]
    assert results == {
        name: sequence(clip(shift, n), clip(0, n)) for name, (shift, n) in shifts.items()
    }
    rows = dict(mask_scores.table(results))
    assert rows["mean"]["J_mean"] == pytest.approx((18 / 22 + 17 / 23) / 2), (
        "of sequences, not of frames"
    )


def test_folders_that_do_not_fit(tmp_path):
    found, true = tmp_path / "found", tmp_path / "true"
    for folder in found, true:
        for name in "bear", "bus":
            save(clip(0), folder / name)

    def said(one: Path = found, two: Path = true) -> str:
        return refusal(mask_scores.compare_folders, one, two)

    (found / "bus" / "00003.png").unlink()
    assert said().startswith(f"{found / 'bus' / '00003.png'} is missing, which {true / 'bus'} has")
    (found / "bus" / "00004.png").unlink()
    assert f"{found / 'bus' / '00003.png'} and 1 more are missing" in said(
        found / "bus", true / "bus"
    )
    save(clip(0, 6), found / "bus")
    assert said().startswith(f"{true / 'bus' / '00005.png'} is missing, which {found / 'bus'} has")
    save(clip(0, 6)[:, :, :80], true / "bus")
    assert (
        f"mask {found / 'bus' / '00000.png'} is 100x100, the true one 80x100; "
        "allowed: masks of the true size" in said()
    )
    save(clip(0), found / "camel")
    assert f"{true} has no sequence 'camel', only bear, bus; allowed: the same in both" in said()
    save(clip(0), true / "dog")
    assert f"{found} has no sequence 'dog', only bear, bus, camel" in said()
    assert f"{found} holds folders, one a sequence, {true / 'bear'} holds masks" in said(
        two=true / "bear"
    )
    assert f"{found / 'bear'} holds masks, {true} holds folders, one a sequence" in said(
        one=found / "bear"
    )
    for two in tmp_path / "gone", found / "bear" / "00000.png":
        assert "allowed: a folder of .png masks" in said(
            two=two
        ) and "allowed: a folder of .png masks" in said(one=two)
    (tmp_path / "none").mkdir()
    assert "none holds no masks; needed: .png files, or folders of them" in said(
        one=tmp_path / "none"
    )
    for folder in "short", "none":
        (tmp_path / "more" / folder / "bear").mkdir(parents=True)
    assert f"{tmp_path / 'more' / 'none' / 'bear'} holds no masks" in said(
        tmp_path / "more" / "none", tmp_path / "more" / "none"
    )
    short = save(clip(0, 2), tmp_path / "more" / "short" / "bear")
    assert "holds 2 masks; needed: 3, since the first and the last do not count" in said(
        short, short
    )


def test_other_numbers_fit_in_order(tmp_path):
    """Truth numbered from 1 on, or every fifth, against frames numbered anew;
    nothing that lacks a frame."""
    found, heard = save(clip(3), tmp_path / "found"), []
    for kind, names in {
        "from 1": [f"{i + 1:05d}" for i in range(5)],
        "named": [f"bear {i + 7}" for i in range(5)],
        "every fifth": [f"{5 * i:05d}" for i in range(5)],
    }.items():
        true = save(clip(0), tmp_path / kind, names)
        heard.clear()
        results = mask_scores.compare_folders(
            found, true, lambda note, doubt: heard.append((note, doubt))
        )
        assert results == {kind: sequence(clip(3), clip(0))}
        said = (
            f"{found} (00000 to 00004, 5 masks) and {true} ({names[0]} to {names[-1]}, 5 masks) "
            "have other names"
        )
        assert heard[0] == (f"{said}; they are compared in order", True)
    gap = save(clip(3), tmp_path / "gap", [f"{i:05d}" for i in (0, 1, 2, 4, 5)])
    text = refusal(mask_scores.compare_folders, gap, save(clip(0), tmp_path / "whole"))
    assert (
        "00003.png is missing" in text
        and "found 00000 to 00005, 5 masks, true 00000 to 00004, 5 masks" in text
    )
    text = refusal(
        mask_scores.compare_folders,
        found,
        save(clip(0, 6), tmp_path / "more", [f"{i + 1:05d}" for i in range(6)]),
    )
    assert "found 00000 to 00004, 5 masks, true 00001 to 00006, 6 masks" in text


def test_what_masks_were_taken_for_is_said(tmp_path, simulacra):
    """Black on transparency is the same object; doubts are said beside JSON, too."""
    true = save(clip(0), tmp_path / "true")
    for i, mask in enumerate(clip(0)):
        black = np.zeros((*mask.shape, 4), np.uint8)
        black[..., 3] = mask.numpy() * 255
        (tmp_path / "found").mkdir(exist_ok=True)
        Image.fromarray(black).save(tmp_path / "found" / f"{i:05d}.png")
    said = " ".join(simulacra("measure", tmp_path / "found", "--truth", true).success().split())
    assert (
        "found: 5 masks, which cover 4.0% of the frame on average; "
        "its transparency decides: what is opaque" in said
    )
    assert (
        "true: 5 masks, which cover 4.0% of the frame on average; what is not black is the object"
        in said
    )
    told = json.loads(simulacra("measure", tmp_path / "found", "--truth", true, "--json").success())
    assert told["mean"]["J_mean"] == 1
    save(~clip(0), tmp_path / "inverted")
    done = simulacra("measure", tmp_path / "inverted", "--truth", true, "--json")
    assert json.loads(done.out)["mean"]["J_mean"] < 0.1
    assert "of 5 of 5 masks: it covers 96.0% of the frame and most of its border" in " ".join(
        done.err.split()
    )


# Baselines


def test_copying():
    mask = square(3, 4, 5, 20, 30)
    for first in mask[0], mask, mask[None], mask.float():
        copies = copy_first(first, 7)
        assert copies.shape == (7, 1, 20, 30) and copies.dtype == torch.float32
        assert torch.equal(hard(copies), mask.expand(7, -1, -1))


def test_hard():
    soft = torch.tensor([[0.0, 0.5], [0.51, 1.0]]).expand(3, 1, 2, 2)
    for masks in soft, soft[:, 0]:
        assert hard(masks).tolist() == [[[False, False], [True, True]]] * 3
    assert torch.equal(hard(hard(soft)), hard(soft))


def flows_of(steps: list[tuple[float, float]], height: int, width: int) -> Flows:
    """Flows of a picture that moves as a whole by these dx and dy;
    the forward ones are no numbers."""
    backward = (
        -torch.tensor(steps, dtype=torch.float32).view(-1, 2, 1, 1).expand(-1, 2, height, width)
    )
    return Flows(torch.full_like(backward, torch.nan), backward)


def test_flow_carries_the_mask_by_another_way_each_step():
    soft = by_flow(square(5, 6, 8, 40, 50), flows_of([(1, 0), (3, 2), (0, -4), (9, 5)], 40, 50))
    expected = [
        square(5 + y, 6 + x, 8, 40, 50) for y, x in ((0, 0), (0, 1), (2, 4), (-2, 4), (3, 13))
    ]
    assert soft.shape == (5, 1, 40, 50) and torch.allclose(
        soft[:, 0], torch.cat(expected).float(), atol=1e-4
    )
    assert torch.equal(hard(soft), torch.cat(expected))


def test_carried_masks_stay_soft():
    """Two half steps make 1/4, 3/4, 1, 1, 3/4, 1/4 of the edges;
    a step of the whole would be sharp."""
    row = by_flow(square(2, 4, 4, 10, 12), flows_of([(0.5, 0), (0.5, 0)], 10, 12))[2, 0, 3]
    assert row.tolist() == pytest.approx([0, 0, 0, 0, 0.25, 0.75, 1, 1, 0.75, 0.25, 0, 0], abs=1e-5)
    still = square(2, 4, 4, 10, 12)
    assert torch.equal(
        by_flow(still, Flows(*[torch.zeros(0, 2, 10, 12)] * 2)), still[None].float()
    ), "one frame, no flow"


def test_beyond_the_frame_is_no_object():
    soft = by_flow(torch.ones(6, 12), flows_of([(-5, 0)], 6, 12))
    assert torch.equal(hard(soft)[1], torch.arange(12).expand(6, -1) < 7)


def grown(mask: Tensor, far: int) -> Tensor:
    """Masks (T, 1, H, W) of what is within `far` pixels of those (T, H, W)."""
    return torch.stack(
        [torch.from_numpy(distance_transform_edt(~one.numpy()) <= far) & one.any() for one in mask]
    )[:, None]


def test_inpainting_hides_the_object_and_nothing_else():
    colour, dice = torch.tensor([0.5, -0.5, 0.1])[:, None, None], torch.Generator().manual_seed(0)
    frames = colour + 0.02 * (torch.rand(6, 3, 40, 60, generator=dice) - 0.5)
    places = (10, 20, 6), (0, 55, 5), (0, 0, 7), (35, 30, 5), (20, 2, 1), (0, 0, 0)
    masks = torch.cat([square(*place, 40, 60) for place in places])
    hidden = grown(masks, 3).expand(-1, 3, -1, -1)
    made = inpainted(frames, masks)
    assert torch.equal(made[~hidden], frames[~hidden]), "not changed by a bit"
    poisoned = frames.where(~hidden, torch.tensor(0.9))
    again = poisoned.clone()
    assert torch.equal(inpainted(again, masks[:, None].float()), made), (
        "what is hidden says nothing, at the border either"
    )
    assert torch.equal(again, poisoned), "the frames given are left as they were"
    assert (made - colour).abs().max() < 0.08, (
        "ten bytes, which is Telea's own noise and no trace of 0.9"
    )
    narrow = grown(masks, 1).expand(-1, 3, -1, -1)
    assert (
        torch.equal(inpainted(frames, masks, 1)[~narrow], frames[~narrow])
        and (made[~narrow] != frames[~narrow]).any()
    )


def test_inpainting_goes_on_with_what_is_around():
    """A dark and a bright half stay so under the object."""
    frames = torch.full((1, 3, 40, 60), -0.8)
    frames[..., 30:] = 0.8
    made = inpainted(frames, square(14, 24, 12, 40, 60))
    assert (made[..., :26] < -0.3).all() and (made[..., 34:] > 0.3).all() and made.abs().max() < 0.9


def test_inpainting_without_anything_known():
    frames = torch.full((2, 3, 10, 12), 0.7)
    masks = torch.ones(2, 10, 12, dtype=torch.bool)
    masks[1, :, 6:] = False
    made = inpainted(frames, masks)
    assert (made[0] == 0).all() and (made[1] - 0.7).abs().max() < 0.08


def test_baselines_refused():
    mask, flows = square(1, 1, 3, 20, 30), flows_of([(1, 0)], 20, 30)
    for wrong in torch.ones(20), torch.ones(2, 20, 30), torch.ones(0, 20):
        assert f"a first mask {tuple(wrong.shape)}; allowed: (H, W)" in refusal(
            copy_first, wrong, 2
        )
        assert f"a first mask {tuple(wrong.shape)}; allowed: (H, W)" in refusal(
            by_flow, wrong, flows
        )
    assert "a first mask of 0 to 255; allowed: bool, or 0 to 1" in refusal(
        by_flow, mask.byte() * 255, flows
    )
    assert "of nan to nan" in refusal(copy_first, torch.full((2, 2), torch.nan), 2)
    assert "copied to 0 frames; allowed: 1 and more" in refusal(copy_first, mask, 0)
    text = refusal(by_flow, mask[..., :20], flows)
    assert "a mask (20, 20) and flows (1, 2, 20, 30); allowed: flows (T - 1, 2, 20, 20)" in text
    assert "masks (20, 30); allowed: (T, H, W) or (T, 1, H, W)" in refusal(hard, mask[0])
    frames = torch.zeros(2, 3, 20, 30)
    for wrong in frames[0], frames[:, :1], frames[:0], frames[..., :0]:
        assert f"frames {tuple(wrong.shape)}, radius 3" in refusal(inpainted, wrong, mask)
    assert "radius 0; allowed: (T, 3, H, W), none of them 0, and 1 and more" in refusal(
        inpainted, frames, mask, 0
    )
    assert (
        "frames (2, 3, 20, 30) and masks (1, 20, 30); allowed: one mask a frame, of its size"
        in refusal(inpainted, frames, mask)
    )


# Real clips


@cache
def truth(name: str) -> tuple[list[str], Tensor]:
    """A real sequence's names and true masks."""
    return mask_scores.read_masks(DAVIS / "Annotations" / "240p" / name)


@needs_davis
def test_the_first_mask_copied_scores_what_it_should():
    found = {
        name: sequence(hard(copy_first(truth(name)[1][0], len(truth(name)[1]))), truth(name)[1])
        for name in COPY
    }
    for name, expected in COPY.items():
        assert (found[name]["J_mean"], found[name]["F_mean"]) == pytest.approx(
            expected, abs=0.002
        ), name
    mean = mask_scores.table(found)[-1][1]
    assert (mean["J_mean"], mean["F_mean"]) == pytest.approx((0.508, 0.335), abs=0.002)


@needs_davis
@pytest.mark.parametrize("name", FLOW)
def test_the_first_mask_carried_scores_about_what_it_should(name):
    """Only about, since flows differ between versions of OpenCV."""
    names, true = truth(name)
    paths = [DAVIS / "JPEGImages" / "240p" / name / f"{one}.jpg" for one in names]
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths]).transpose(0, 3, 1, 2)
    frames = torch.from_numpy(pixels.copy()).float() / 127.5 - 1
    backward = optical_flow.between(frames[1:], frames[:-1])
    found = sequence(hard(by_flow(true[0], Flows(backward.new_tensor(torch.nan), backward))), true)
    assert (found["J_mean"], found["F_mean"]) == pytest.approx(FLOW[name], abs=0.03)

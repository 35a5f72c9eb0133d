"""Pairs of frames: both frames keep together, splits share nothing,
and every bad input is told about by name."""

import os
import wave
import zipfile
from contextlib import nullcontext
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from simulacra.core import data_sets
from simulacra.core.contract import Data
from simulacra.core.errors import Mistake
from simulacra.data import pairs, sprites, video
from simulacra.data._pairs import Pairs, Split, decibels
from simulacra.data._pictures import Pictures
from simulacra.data._pictures import Split as PictureSplit
from simulacra.data.folder import FITS
from simulacra.io import paint

REAL = os.environ.get("SIMULACRA_DATA")


def real(name: str) -> pytest.MarkDecorator:
    """Skips a test where the data folder does not hold these data."""
    there = REAL is not None and Path(REAL, name).is_dir()
    return pytest.mark.skipif(not there, reason=f"SIMULACRA_DATA names no folder with {name}")


def noise_of(*shape: int) -> np.ndarray:
    """Random bytes, always the same of a shape."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def numbered(n: int, flip: bool = False) -> Pairs:
    """n training pairs and three held out;
    frame i is i in its left column and 200 elsewhere, pair i shows i, then i + 1."""
    frames = np.full((n + 4, 1, 2, 3), 200, np.uint8)
    frames[..., 0] = np.arange(n + 4)[:, None, None]
    rows = np.arange(n + 3)
    return Pairs(Split(frames, rows[:n], rows[:n] + 1), Split(frames, rows[n:], rows[n:] + 1), flip)


def to_bytes(images: Tensor) -> np.ndarray:
    """Floats in [-1, 1] as the bytes that they were."""
    return ((images + 1) * 127.5).round().to(torch.uint8).numpy()


def numbers(images: Tensor) -> list[int]:
    """Which frames of `numbered` these are, mirrored or not."""
    return to_bytes(images).min((1, 2, 3)).tolist()


def refusal(options: object, root: Path | None) -> str:
    """What the Mistake says that these options lead to."""
    with pytest.raises(Mistake) as caught:
        data_sets.load(options, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(path: Path, pixels: np.ndarray) -> Path:
    """The path of a new picture of these bytes (H, W) or (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def every(source: Data) -> dict[str, Tensor]:
    """All pairs of both splits, "train" first."""
    taken = [source.take(split, source.size(split)) for split in ("train", "held_out")]
    return {name: torch.cat([one[name] for one in taken]) for name in ("image", "next")}


def shown(batch: dict[str, Tensor]) -> set[tuple[bytes, bytes]]:
    """The bytes of the two frames of every pair."""
    return {
        (one.tobytes(), two.tobytes())
        for one, two in zip(*map(to_bytes, batch.values()), strict=True)
    }


# Drawing


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.data(), st.integers(0, 2**62), st.booleans())
def test_an_epoch_holds_every_pair_once_and_frames_keep_together(n, more, seed, flip):
    found, batch = numbered(n, flip), more.draw(st.integers(1, n))
    epoch, steps = more.draw(st.integers(0, 5)), n // batch
    drawn = [found.draw(epoch * steps + i, batch, seed) for i in range(steps)]
    first = [number for one in drawn for number in numbers(one["image"])]
    assert len(set(first)) == len(first) == steps * batch and set(first) <= set(range(n))
    assert [number for one in drawn for number in numbers(one["next"])] == [
        number + 1 for number in first
    ]


@pytest.mark.parametrize("flip", [False, True])
def test_draw_is_a_pure_function(flip):
    found = numbered(20, flip)
    asked = [(k, batch, seed) for seed in (0, 1) for batch in (3, 7) for k in (0, 5, 6, 7, 40)]
    there = [found.draw(*one) for one in asked]
    torch.manual_seed(5)
    back = [numbered(20, flip).draw(*one) for one in reversed(asked)][::-1]
    for one, two in zip(there, back, strict=True):
        assert set(one) == {"image", "next"} and all(
            torch.equal(one[name], two[name]) for name in one
        )


def test_pairs_are_shuffled_as_pictures_are():
    found, pictures = numbered(20), np.arange(20, dtype=np.uint8).repeat(4).reshape(20, 1, 2, 2)
    like = PictureSplit(pictures, None, np.arange(20))
    for k in (0, 3, 11):
        assert numbers(found.draw(k, 6, 3)["image"]) == numbers(
            Pictures(like, like).draw(k, 6, 3)["image"]
        )
    assert numbers(found.take("train", 9)["image"]) == numbers(
        Pictures(like, like).take("train", 9)["image"]
    )


def test_flip_mirrors_about_half_and_both_frames_alike():
    drawn = numbered(200, flip=True).draw(0, 200, 0)
    image, after = (
        (drawn[name][:, 0, 0, 2] < drawn[name][:, 0, 0, 0]) for name in ("image", "next")
    )
    # frame 200 is 200 everywhere
    known = torch.tensor([number < 199 for number in numbers(drawn["image"])])
    assert 70 < image.sum() < 130 and torch.equal(image[known], after[known])


def test_bytes_become_floats():
    batch = numbered(50).take("train", 50)
    for name, later in ("image", 0), ("next", 1):
        assert (
            batch[name].dtype == torch.float32
            and batch[name].shape == (50, 1, 2, 3)
            and batch[name].is_contiguous()
        )
        place = numbers(batch[name]).index(7 + later)
        assert torch.allclose(
            batch[name][place, 0, 0], torch.tensor([7.0 + later, 200, 200]) / 127.5 - 1
        )


def test_asking_for_what_is_not_there():
    found = numbered(20)
    for batch in (0, 21):
        with pytest.raises(
            Mistake, match=f"batch {batch} does not fit the 20 training pairs; allowed: 1 to 20"
        ):
            found.draw(0, batch, 0)
    for n in (0, 4):
        with pytest.raises(Mistake, match=f"{n} pairs of split 'held_out'.*allowed: 1 to 3"):
            found.take("held_out", n)
    with pytest.raises(Mistake, match="unknown split 'test'; there is: train, held_out"):
        found.size("test")


def test_what_copying_scores():
    frames = np.array([[0, 0], [51, 0], [51, 255]], np.uint8).reshape(3, 1, 1, 2)
    split = Split(frames, np.array([0, 1, 2]), np.array([1, 2, 2]))
    assert split.errors() == pytest.approx([0.04 / 2, 0.5, 0])
    told = Pairs(split, split).describe()["copying"]
    assert "MSE 0.17333 in [0, 1], 7.61 dB" in told and "33.3% of them do not change" in told
    assert decibels(0.01) == pytest.approx(20) and decibels(0) == float("inf")


# Folders of pairs


def pair(
    folder: Path,
    name: str,
    values: tuple[int, int],
    size: tuple[int, int] = (8, 8),
    ends: str = ".png .png",
) -> None:
    """Two grey frames of one value each."""
    for i, (value, end) in enumerate(zip(values, ends.split(), strict=True)):
        saved(folder / f"{name}_im{i + 1}{end}", np.full(size, value, np.uint8))


def values(source: Data) -> set[tuple[int, int]]:
    """The first byte of the frames of every pair."""
    found = every(source)
    return set(
        zip(
            *(to_bytes(found[name])[:, 0, 0, 0].tolist() for name in ("image", "next")), strict=True
        )
    )


def test_pairs_of_every_name_and_kind(tmp_path):
    pair(tmp_path, "a cat, sitting", (1, 2))
    pair(tmp_path, "deep/er/a cat, sitting", (3, 4), (20, 12))
    pair(tmp_path, "v1.5_im1", (5, 6), ends=".bmp .png")
    pair(tmp_path, "7", (7, 8))
    saved(tmp_path / "lonely.png", np.zeros((9, 9), np.uint8))
    (tmp_path / "train.txt").write_text("a cat, sitting_im1.png")
    found = pairs.FramePairs(pairs.Options(size=8), tmp_path)
    assert values(found) == {(1, 2), (3, 4), (5, 6), (7, 8)}
    assert (
        found.take("train", 1)["next"].shape == (1, 1, 8, 8)
        and found.classes == 0
        and found.extractor == "pairs"
    )
    facts = found.describe()
    assert (
        "4 pairs used, 2 other files ignored" in facts["folder"]
        and facts["sizes"] == "8x8 to 12x20, 2 different ones"
    )
    assert (
        "centre crop" in facts["treatment"]
        and "grey" in facts["treatment"]
        and "mirrored" not in facts["treatment"]
    )


def test_pairs_keep_every_byte(tmp_path):
    noise = noise_of(2, 2, 8, 8, 3)
    for name, frames in zip("ab", noise, strict=True):
        for i in (0, 1):
            saved(tmp_path / f"{name}_im{i + 1}.png", frames[i])
    found = every(pairs.FramePairs(pairs.Options(size=8), tmp_path))
    assert shown(found) == {
        tuple(frame.transpose(2, 0, 1).tobytes() for frame in frames) for frames in noise
    }


def test_pairs_mode_fit_and_size(tmp_path):
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 32:] = 255
    for name, i in product("ab", (1, 2)):
        saved(tmp_path / f"{name}_im{i}.png", wide)
    mean = {
        fit: every(pairs.FramePairs(pairs.Options(size=16, fit=fit), tmp_path))["next"].mean()
        for fit in FITS
    }
    assert (
        mean["crop"] == -1
        and mean["stretch"] == pytest.approx(-1 / 3, abs=0.05)
        and mean["pad"] > 0.3
    )
    assert pairs.FramePairs(pairs.Options(size=8, mode="colour"), tmp_path).take("train", 1)[
        "image"
    ].shape == (1, 3, 8, 8)


def test_pairs_flip_is_passed_on(tmp_path):
    ramp = np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    for name, i in product(map(str, range(40)), (1, 2)):
        saved(tmp_path / f"{name}_im{i}.png", ramp)
    found = pairs.FramePairs(pairs.Options(size=8, flip=True), tmp_path)
    drawn = found.draw(0, found.size("train"), 0)
    assert torch.equal(drawn["image"], drawn["next"]) and len(drawn["image"].unique(dim=0)) == 2
    assert "mirrored at random, both frames alike" in found.describe()["treatment"]


def test_pairs_splits_do_not_move_when_a_pair_is_added(tmp_path):
    def held(root: Path) -> set[int]:
        found = pairs.FramePairs(pairs.Options(size=8, held_out=0.3), root)
        # disjoint and complete
        assert values(found) == {(2 * i, 2 * i + 1) for i in range(len(values(found)))}
        return set(
            to_bytes(found.take("held_out", found.size("held_out"))["image"])[:, 0, 0, 0].tolist()
        )

    for i in range(30):
        pair(tmp_path, f"clip {i}", (2 * i, 2 * i + 1))
    before = held(tmp_path)
    pair(tmp_path, "clip 30", (60, 61))
    assert held(tmp_path) - {60} == before and 2 < len(before) < 20


def test_pairs_without_a_partner(tmp_path):
    pair(tmp_path, "whole", (1, 2))
    for i in range(7):
        pair(tmp_path, f"half {i}", (1, 2))
        (tmp_path / f"half {i}_im{1 + i % 2}.png").unlink()
    text = refusal(pairs.Options(size=8), tmp_path)
    assert (
        "of 8 pairs 7 lack a partner" in text
        and "half 0_im1, half 1_im2" in text
        and text.endswith("and 2 more")
    )
    assert "whole" not in text and str(tmp_path) in text


def test_pairs_that_are_none(tmp_path):
    assert "holds no pictures; it holds nothing" in refusal(pairs.Options(), tmp_path)
    assert (
        refusal(pairs.Options(path="gone"), tmp_path)
        == f"data.path: {tmp_path / 'gone'} is not there"
    )
    assert "--data or SIMULACRA_DATA" in refusal(pairs.Options(path="gone"), None)
    saved(tmp_path / "a.png", np.zeros((9, 9), np.uint8))
    assert "holds 1 pictures, but no pairs; allowed: NAME_im1.png" in refusal(
        pairs.Options(), tmp_path
    )
    pair(tmp_path, "one", (1, 2))
    assert "holds one pair, one; needed: 2 or more" in refusal(pairs.Options(), tmp_path)
    pair(tmp_path, "two", (1, 2))
    pair(tmp_path, "two", (1, 2), ends=".bmp .png")
    assert "more than one picture is called two_im1; allowed: one kind of each" in refusal(
        pairs.Options(), tmp_path
    )


def test_pairs_of_unequal_frames(tmp_path):
    pair(tmp_path, "good", (1, 2))
    pair(tmp_path, "bad", (1, 2))
    saved(tmp_path / "bad_im2.png", np.zeros((9, 10), np.uint8))
    assert "pair bad has frames of 8x8 and 10x9; allowed: one size for both" in refusal(
        pairs.Options(), tmp_path
    )


def cut_short(path: Path) -> None:
    """A picture whose header is whole and whose pixels are not."""
    saved(path, noise_of(40, 40, 3))
    path.write_bytes(path.read_bytes()[:2500])


def text_in_disguise(path: Path) -> None:
    """A file that is no picture."""
    path.write_text("I am no picture at all, whatever my name says")


@pytest.mark.parametrize(
    ("spoil", "says"), [(text_in_disguise, "not a picture"), (cut_short, "truncated")]
)
def test_pairs_with_a_broken_picture(tmp_path, spoil, says):
    for name in ("a", "b"):
        pair(tmp_path, name, (1, 2), (40, 40))
    spoil(tmp_path / "b_im2.png")
    text = refusal(pairs.Options(), tmp_path)
    assert (
        f"picture {tmp_path / 'b_im2.png'}: " in text
        and says in text
        and text.endswith("; repair it or remove it")
    )
    spoil(tmp_path / "b_im1.png")
    text = refusal(pairs.Options(), tmp_path)
    assert str(tmp_path / "b_im1.png") in text and text.endswith("(2 pictures cannot be used)")


# Sprites

ATTRIBUTES = np.array([(i, 0, i % 3, 1) for i in range(6)], np.uint8)
ANIMATIONS = "walk-left", "walk-front", "slash-left"


def filmed(root: Path, people: int = 6, animations: tuple[str, ...] = ANIMATIONS) -> np.ndarray:
    """Frames (people, animations, 4, 64, 64, 3) in an npz;
    of each animation the last two frames are equal."""
    frames = noise_of(people, len(animations), 4, 64, 64, 3)
    frames[:, :, 3] = frames[:, :, 2]
    (root / "sprites").mkdir(exist_ok=True)
    arrays = {"frames": frames, "attributes": ATTRIBUTES[:people], "actions": np.array(animations)}
    np.savez(root / "sprites" / sprites.NPZ, **arrays)
    return frames


def cast(root: Path, **options: object) -> sprites.Sprites:
    """The sprites in the npz, all six characters unless told."""
    return sprites.Sprites(sprites.Options(**{"characters": 6, **options}), root)


@pytest.mark.parametrize("both_ways", [False, True])
def test_sprites_are_neighbouring_frames_of_one_character_action_and_view(tmp_path, both_ways):
    frames = filmed(tmp_path)
    found = cast(tmp_path, static=not both_ways, both_ways=both_ways)
    people = {"-".join(map(str, row)): i for i, row in enumerate(ATTRIBUTES)}
    seen = set()
    for split in ("train", "held_out"):
        n = found.size(split)
        taken, labels = found.take(split, n), found.labels(split, n)
        for image, after, who, action, view in zip(*taken.values(), *labels.values(), strict=True):
            strip = frames[people[str(who)], ANIMATIONS.index(f"{action}-{view}")].transpose(
                0, 3, 1, 2
            )
            shot = np.stack([to_bytes(image), to_bytes(after)])
            order = range(1 + both_ways)
            (when,) = [
                (t, o)
                for t in range(3)
                for o in order
                if np.array_equal(strip[t : t + 2][:: 1 - 2 * o], shot)
            ]
            seen.add((str(who), str(action), str(view), when))
    assert (
        len(seen) == 6 * 3 * (4 if both_ways else 3) == found.size("train") + found.size("held_out")
    )


def test_sprites_static_pairs_are_left_out_and_told_of(tmp_path):
    filmed(tmp_path)
    moving, still = cast(tmp_path), cast(tmp_path, static=True)
    assert [one.size("train") + one.size("held_out") for one in (moving, still)] == [36, 54]
    assert moving.pairs.train.errors().min() > 0 and (
        still.pairs.train.errors() == 0
    ).mean() == pytest.approx(1 / 3)
    assert moving.describe()["static pairs"] == "18 of 54 do not change: left out"
    assert still.describe()["static pairs"] == "18 of 54 do not change: kept"


def test_sprites_both_ways(tmp_path):
    filmed(tmp_path)
    once, twice = every(cast(tmp_path)), every(cast(tmp_path, both_ways=True))

    assert shown(twice) == shown(once) | {(after, before) for before, after in shown(once)}
    found = cast(tmp_path, both_ways=True)
    n = found.size("train")
    assert (
        len(twice["image"]) == 2 * len(once["image"])
        and "in both orders" in found.describe()["pairing"]
    )
    assert sorted(found.labels("train", n)["action"]) == sorted(
        cast(tmp_path).labels("train", n // 2)["action"].repeat(2)
    )


def test_sprites_are_split_by_character(tmp_path):
    filmed(tmp_path)
    for share in (0.01, 0.2, 0.6, 0.99):
        found = cast(tmp_path, held_out=share, both_ways=True)
        train, held = (
            set(found.labels(s, found.size(s))["character"]) for s in ("train", "held_out")
        )
        assert train and held and not train & held and len(train | held) == 6
        assert f"{len(held)} characters held out" in found.describe()["split"]
    few, many = (cast(tmp_path, characters=n, held_out=0.5) for n in (4, 6))
    assert set(few.cast.names) < set(many.cast.names) and few.held - many.held == set()


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, {("walk", "left"), ("walk", "front"), ("slash", "left")}),
        ({"actions": ("slash",)}, {("slash", "left")}),
        ({"views": ("left",)}, {("walk", "left"), ("slash", "left")}),
        ({"views": ("front", "left"), "actions": ("walk",)}, {("walk", "left"), ("walk", "front")}),
    ],
)
def test_sprites_actions_and_views(tmp_path, options, kinds):
    filmed(tmp_path)
    labels = cast(tmp_path, **options).labels("train", cast(tmp_path, **options).size("train"))
    assert set(zip(labels["action"], labels["view"], strict=True)) == kinds


def test_sprites_averaged_by_area(tmp_path):
    filmed(tmp_path, 2)
    sizes = (cast(tmp_path, characters=2, size=size, static=True) for size in (64, 32, 8))
    whole, half, small = (one.take("train", 9)["image"] for one in sizes)
    for found, by in ((half, 2), (small, 8)):
        assert (found - torch.nn.functional.avg_pool2d(whole, by)).abs().max() <= 0.501 / 127.5


def test_sprites_refusals(tmp_path):
    assert refusal(sprites.Options(), tmp_path) == f"data.path: {tmp_path / 'sprites'} is not there"
    (tmp_path / "sprites").mkdir()
    assert f"{tmp_path / 'sprites' / sprites.NPZ} is not there; allowed:" in refusal(
        sprites.Options(), tmp_path
    )
    filmed(tmp_path)
    assert "data.characters = 160; allowed: 2 to 6, as many as the npz has" in refusal(
        sprites.Options(), tmp_path
    )
    for wish, text in (
        (
            {"actions": ("walk", "thrust")},
            "unknown data.actions of data.source = npz: 'thrust'; there is: walk, slash",
        ),
        (
            {"views": ("back",)},
            "unknown data.views of data.source = npz: 'back'; there is: left, front",
        ),
        (
            {"actions": ("slash",), "views": ("front",)},
            "what data.source = npz does not have together",
        ),
    ):
        assert text in refusal(sprites.Options(characters=6, **wish), tmp_path)


def test_sprites_that_never_move(tmp_path):
    frames = np.zeros((2, 1, 3, 64, 64, 3), np.uint8)
    np.savez(
        tmp_path / sprites.NPZ,
        frames=frames,
        attributes=ATTRIBUTES[:2],
        actions=np.array(["walk-left"]),
    )
    assert "allowed: some that do, or data.static=true" in refusal(
        sprites.Options(path="", characters=2), tmp_path
    )
    assert cast(tmp_path, path="", characters=2, static=True).size("train") == 2


def test_sprites_npz_that_is_none(tmp_path):
    file = tmp_path / sprites.NPZ
    frames = np.zeros((2, 1, 3, 64, 64, 3), np.uint8)
    good = {"frames": frames, "attributes": ATTRIBUTES[:2], "actions": np.array(["walk-left"])}
    for spoilt in (
        {"frames": frames[..., :2]},
        {"frames": frames / 2},
        {"attributes": ATTRIBUTES[:3]},
    ):
        np.savez(file, **(good | spoilt))
        text = refusal(sprites.Options(path=""), tmp_path)
        assert (
            str(file) in text and "allowed: uint8 (characters, actions, frames, 64, 64, 3)" in text
        )
    np.savez(file, frames=frames, actions=good["actions"])
    assert f"cannot read {file}: " in refusal(sprites.Options(path=""), tmp_path)
    text_in_disguise(file)
    assert f"cannot read {file}: " in refusal(sprites.Options(path=""), tmp_path)


def sheet(path: Path, colour: tuple[int, ...], box: tuple[int, int, int, int], **how: int) -> Path:
    """A palette sheet, clear but for one colour at a place of every cell
    that follows the cell's row and column."""
    picture = np.zeros((21, 64, 13, 64), np.uint8)
    x, y, w, h = box
    for row, column in product(range(21), range(13)):
        picture[row, y + row : y + row + h, column, x + column : x + column + w] = 1
    image = Image.fromarray(picture.reshape(1344, 832)).convert("P")
    image.putpalette([0, 0, 0, *colour[:3]])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, transparency=bytes([0, colour[3]]), **how)
    return path


@pytest.fixture
def sheets(tmp_path):
    """Sheets of two bodies and one of each other layer in tmp_path/sprites/sheets;
    shoes/1.png is half transparent."""
    place = tmp_path / "sprites" / "sheets"
    sheet(place / "body" / "0.png", (200, 0, 0, 255), (0, 0, 20, 40))
    sheet(place / "body" / "1.png", (0, 200, 0, 255), (0, 0, 20, 40))
    sheet(place / "bottomwear" / "0.png", (0, 0, 90, 255), (0, 20, 20, 20))
    sheet(place / "topwear" / "0.png", (90, 90, 0, 255), (0, 10, 20, 5))
    sheet(place / "hair" / "0.png", (255, 255, 255, 255), (5, 0, 5, 5))
    sheet(place / "shoes" / "1.png", (0, 100, 0, 128), (0, 35, 20, 10))
    return tmp_path


def test_sprites_composed_of_sheets(sheets):
    found = sprites.Sprites(sprites.Options(source="sheets", characters=2), sheets)
    assert found.size("train") == found.size("held_out") == 4 * (6 + 7 + 8 + 5 + 12) == 152
    assert (
        set(found.cast.names) == {"0-0-0-0", "1-0-0-0"}
        and found.describe()["characters"] == "2 of 2"
    )
    labels = {split: found.labels(split, 152) for split in ("train", "held_out")}
    assert set(labels["train"]["view"]) == set(sprites.VIEWS) and set(
        labels["train"]["action"]
    ) == set(sprites.SHEETS)
    for split, told in labels.items():
        red = told["character"][0] == "0-0-0-0"
        expected = np.zeros((9, 64, 64, 3), np.uint8)  # walk-left: row 9, columns 0 to 8
        for t, frame in enumerate(expected):
            part = frame[9:, t:]
            part[:40, :20] = (200, 0, 0) if red else (0, 200, 0)
            part[20:40, :20] = (0, 0, 90)
            part[10:15, :20] = (90, 90, 0)
            part[:5, 5:10] = (255, 255, 255)
            part[35:40, :20] = (0, 50, 45)  # half of (0, 100, 0) on (0, 0, 90)
            part[40:45, :20] = (0, 50, 0)
        walk = (told["action"] == "walk") & (told["view"] == "left")
        taken = found.take(split, 152)
        got = shown({name: frames[walk] for name, frames in taken.items()})
        strip = [frame.transpose(2, 0, 1).tobytes() for frame in expected]
        assert got == set(pairwise(strip))


def test_sprites_sheets_refusals(sheets):
    place = sheets / "sprites" / "sheets"

    def text(**options: object) -> str:
        return refusal(sprites.Options(source="sheets", **{"characters": 2, **options}), sheets)

    assert "data.characters = 3; allowed: 2 to 2, as many as the sheets has" in text(characters=3)
    saved(place / "hair" / "0.png", np.zeros((64, 32, 3), np.uint8))
    assert f"sheet {place / 'hair' / '0.png'} is 32x64; allowed: 832x1344" in text()
    cut_short(place / "hair" / "0.png")
    assert f"sheet {place / 'hair' / '0.png'}: " in text()
    (place / "hair" / "0.png").unlink()
    assert (
        f"{place / 'hair'} holds no 0.png; "
        "needed: the layers body, bottomwear, topwear, hair, and shoes/1.png" in text()
    )
    sheet(place / "hair" / "0.png", (1, 2, 3, 255), (0, 0, 5, 5))
    (place / "shoes" / "1.png").unlink()
    assert f"sheet {place / 'shoes' / '1.png'}: No such file" in text()


@real("sprites")
def test_sprites_facts():
    """Section 5.5 of the specification: 4.8 % of the neighbouring pairs are static,
    and with them copying scores 19.15 dB."""
    found = sprites.Sprites(sprites.Options(static=True), Path(str(REAL)))
    errors = {
        split: one.errors()
        for split, one in (("train", found.pairs.train), ("held_out", found.pairs.held_out))
    }
    together = np.concatenate(list(errors.values()))
    assert len(together) == 160 * 9 * 7 and (together == 0).mean() == pytest.approx(1 / 21)
    assert together.mean() == pytest.approx(0.01215, abs=5e-6) and decibels(
        together.mean()
    ) == pytest.approx(19.15, abs=0.005)
    assert decibels(together[together > 0].mean()) == pytest.approx(18.94, abs=0.005)
    strips = found.cast.strips
    kind = np.concatenate([found.strip[found.rows[split] % len(found.strip)] for split in errors])
    told = {
        f"{strip.action} {strip.view}": round(decibels(together[kind == i].mean()), 1)
        for i, strip in enumerate(strips)
    }
    assert list(told.values()) == [22.0, 19.6, 22.0, 19.6, 18.9, 19.6, 18.0, 17.1, 18.0], told
    still = {strips[i].action for i in set(kind[together == 0])}
    assert still == {"slash"} and found.describe()["characters"] == "160 of 160"


@real("sprites")
def test_sprites_of_both_sources_are_the_same():
    """The sheets make the npz's frames, byte for byte;
    the npz walks in columns 1 to 8, and its slash repeats frames."""
    root = Path(str(REAL)) / "sprites"
    packed = sprites.from_npz(root, sprites.Options(characters=2))
    had = {"actions": ("spellcast", "walk", "slash"), "views": ("left", "front", "right")}
    wish = sprites.Options(source="sheets", characters=3430, **had)
    made = sprites.from_sheets(root, wish)
    assert (
        made.total == len(set(made.names)) == 3430
        and [s.length for s in made.strips] == [7] * 3 + [9] * 3 + [6] * 3
    )
    columns = (
        [[0, 1, 2, 3, 4, 5, 6, 0]] * 3
        + [[1, 2, 3, 4, 5, 6, 7, 8]] * 3
        + [[0, 1, 2, 3, 4, 5, 5, 0]] * 3
    )
    starts = np.cumsum([0] + [s.length for s in made.strips[:-1]])
    for i, name in enumerate(packed.names):
        frames = made.frames(made.names.index(name))
        for strip, (start, column) in enumerate(zip(starts, columns, strict=True)):
            assert np.array_equal(
                frames[start + np.array(column)], packed.frames(i)[8 * strip : 8 * strip + 8]
            )


# Clips


def clip(folder: Path, n: int, size: tuple[int, int] = (8, 8), name: str = "frame {}.png") -> Path:
    """A folder of n grey frames, each of one value: 10 times its number."""
    for i in range(n):
        saved(folder / name.format(i), np.full(size, 10 * i, np.uint8))
    return folder


def times(source: video.Video, split: str) -> list[tuple[int, int]]:
    """The numbers of the frames of every pair in a split, in order of time."""
    taken = source.take(split, source.size(split))
    seen = (((to_bytes(taken[name])[:, 0, 4, 4] + 4) // 10).tolist() for name in ("image", "next"))
    return sorted(zip(*seen, strict=True))


def watch(root: Path, **options: object) -> video.Video:
    """The clip's pairs, 8x8 unless told."""
    return video.Video(video.Options(**{"size": 8, **options}), root)


@pytest.mark.parametrize(
    ("gap", "share", "cut"), [(1, 0.1, 18), (1, 0.5, 10), (3, 0.1, 16), (9, 0.9, 10), (2, 0.99, 3)]
)
def test_video_is_split_by_time(tmp_path, gap, share, cut):
    found = watch(clip(tmp_path, 20), gap=gap, held_out=share)
    train, held = times(found, "train"), times(found, "held_out")
    assert train == [(t, t + gap) for t in range(cut - gap)] and held == [
        (t, t + gap) for t in range(cut, 20 - gap)
    ]
    assert not {t for one in train for t in one} & {t for one in held for t in one}
    assert (
        f"frames {cut} to 19 held out" in found.describe()["split"]
        and f"t + {gap}" in found.describe()["pairing"]
    )


def test_video_frames_are_in_natural_order():
    names = ["b1.png", "a10.png", "a9.png", "A2.png", "a02.png", "10.png", "9.png", "a.png"]
    assert sorted(names, key=video.natural) == [
        "9.png",
        "10.png",
        "a.png",
        "A2.png",
        "a02.png",
        "a9.png",
        "a10.png",
        "b1.png",
    ]


def test_video_keeps_every_byte_of_a_folder(tmp_path):
    noise = noise_of(6, 8, 8, 3)
    for i, frame in enumerate(noise):
        saved(tmp_path / "my clip" / f"{i + 5}.png", frame)  # 5 to 10
    found = every(watch(tmp_path, path="my clip"))
    strip = [frame.transpose(2, 0, 1).tobytes() for frame in noise]
    assert shown(found) == {(strip[t], strip[t + 1]) for t in (0, 1, 2, 4)}


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_video_of_an_animated_picture(tmp_path, kind):
    frames = [Image.new("RGB", (16, 8), (10 * i, 0, 100)) for i in range(8)]
    how = {"lossless": True} if kind == "webp" else {}
    frames[0].save(
        tmp_path / f"moving.{kind}", save_all=True, append_images=frames[1:], duration=50, **how
    )
    found = watch(tmp_path, path=f"moving.{kind}", gap=2)
    assert times(found, "train") == [(t, t + 2) for t in range(3)] and times(found, "held_out") == [
        (5, 7)
    ]
    image = to_bytes(found.take("train", 1)["image"])[0]
    assert image.shape == (3, 8, 8) and image[1].max() <= 2 and abs(int(image[2].min()) - 100) <= 2
    assert found.describe()["clip"].endswith("8 frames at 20 a second, read at 16x8")


def test_video_of_a_grey_animation_is_grey(tmp_path):
    frames = torch.linspace(-1, 1, 6)[:, None, None, None].expand(6, 1, 8, 8)
    paint.save_gif(frames, tmp_path / "grey.gif", 8)
    assert watch(tmp_path, path="grey.gif").take("train", 1)["image"].shape == (1, 1, 8, 8)
    greys = [Image.new("L", (8, 8), i) for i in range(4)]
    greys[0].save(
        tmp_path / "late.gif",
        save_all=True,
        append_images=[*greys[1:], Image.new("RGB", (8, 8), (9, 8, 9))],
    )
    assert watch(tmp_path, path="late.gif").mode == "RGB"
    assert watch(tmp_path, path="grey.gif", mode="colour").take("train", 1)["image"].shape == (
        1,
        3,
        8,
        8,
    )


def film(path: Path, n: int = 10) -> Path:
    """An MP4 of n frames of 32x16, each of one grey, 10 times its number;
    its upper left quarter is white."""
    frames = (
        torch.full((n, 3, 16, 32), 0.0) + (torch.arange(n) * 10 / 127.5 - 1)[:, None, None, None]
    )
    frames[..., :8, :16] = 1
    return paint.save_mp4(frames, path, 8)


def test_video_of_a_film(tmp_path):
    film(tmp_path / "film.MP4")
    found = watch(tmp_path, path="film.MP4", fit="stretch", held_out=0.3)
    assert times(found, "train") == [(t, t + 1) for t in range(6)] and times(found, "held_out") == [
        (7, 8),
        (8, 9),
    ]
    corners = found.take("train", 6)["next"][:, :, [1, 1, 6, 6], [1, 6, 1, 6]]
    assert (corners[:, :, 0] > 0.9).all() and (corners[:, :, 1:] < 0).all()
    assert found.describe()["clip"].endswith("10 frames at 8 a second, read at 32x16")


def test_video_of_a_film_that_was_held_upright(tmp_path):
    path = film(tmp_path / "film.mp4")
    content = path.read_bytes()
    straight = b"".join(
        (65536 * one).to_bytes(4, "big", signed=True) for one in (1, 0, 0, 0, 1, 0, 0, 0, 16384)
    )
    turned = b"".join(
        (65536 * one).to_bytes(4, "big", signed=True) for one in (0, 1, 0, -1, 0, 0, 0, 0, 16384)
    )
    # the track's matrix: (x, y) goes to (-y, x), a quarter turn clockwise
    place = content.index(b"tkhd")
    assert content.count(straight, place) == 1
    path.write_bytes(content[:place] + content[place:].replace(straight, turned))
    corners = watch(tmp_path, path="film.mp4", fit="stretch").take("train", 1)["image"][
        0, 0, [1, 1, 6, 6], [1, 6, 1, 6]
    ]
    assert (corners > 0.9).tolist() == [False, True, False, False]


def test_video_frames_are_turned_as_exif_says(tmp_path):
    image, tag = Image.new("L", (16, 16)), Image.Exif()
    image.paste(255, (0, 0, 16, 8))  # the upper half; orientation 6 turns it to the right
    tag[0x0112] = 6
    for i in range(4):
        image.save(tmp_path / f"{i}.png", exif=tag)
    turned = watch(tmp_path).take("train", 1)["image"][0, 0]
    assert turned[:, 5:].min() > 0.9 and turned[:, :3].max() < -0.9


def test_video_frames_that_fit_nowhere(tmp_path, monkeypatch):
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        video.tempfile, "TemporaryFile", lambda: nullcontext(SimpleNamespace(write=full))
    )
    text = refusal(video.Options(size=8), clip(tmp_path, 5))
    assert text.startswith("0 frames in ") and text.endswith(
        "No space left on device; set TMPDIR to a larger place"
    )


def test_video_stabilised_large_frames_are_reduced(tmp_path):
    for i in range(4):
        saved(tmp_path / f"{i}.png", np.full((100, 140), 10 * i, np.uint8))
    assert watch(tmp_path, stabilise=True).describe()["clip"].endswith("4 frames, read at 47x34")
    assert watch(tmp_path).describe()["clip"].endswith("4 frames, read at 140x100")


def test_video_flip_and_mode(tmp_path):
    ramp = np.tile(np.arange(8, dtype=np.uint8), (8, 1))
    for i in range(60):
        saved(tmp_path / f"{i}.png", ramp)
    drawn = watch(tmp_path, flip=True).draw(0, 40, 0)
    assert torch.equal(drawn["image"], drawn["next"]) and len(drawn["image"].unique(dim=0)) == 2
    assert watch(tmp_path, mode="colour").take("train", 1)["image"].shape == (1, 3, 8, 8)
    assert watch(tmp_path).take("train", 1)["image"].shape == (1, 1, 8, 8)


# Stabilised


def smooth(height: int, width: int) -> np.ndarray:
    """A scene with detail of many sizes, (height, width) uint8."""
    scene, dice = np.zeros((height, width)), np.random.default_rng(0)
    for scale in (1, 2, 4, 8):
        part = dice.normal(size=(height // scale + 1, width // scale + 1))
        scene += scale * part.repeat(scale, 0).repeat(scale, 1)[:height, :width]
    low, high = np.percentile(scene, (1, 99))
    return (255 * ((scene - low) / (high - low)).clip(0, 1)).astype(np.uint8)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-7, 2), (0, 11), (-12, -12)])
def test_shift_is_found(down, right):
    scene = smooth(100, 120)
    one, two = scene[20:70, 20:90], scene[20 - down : 70 - down, 20 - right : 90 - right]
    assert video.shift(one.astype(np.float32), two.astype(np.float32)) == (down, right)


def test_no_shift_is_seen_where_nothing_is_seen():
    assert video.shift(np.zeros((20, 30), np.float32), np.full((20, 30), 9, np.float32)) == (0, 0)


def panned(folder: Path, n: int, spot: bool = False) -> Path:
    """A camera that moves 2 pixels right and 1 down a frame over a still scene,
    or one in which a white spot stands still."""
    scene = smooth(120, 120)
    for t in range(n):
        frame = scene[10 + t : 74 + t, 10 + 2 * t : 74 + 2 * t].copy()
        if spot:
            frame[28:36, 28:36] = 255
        saved(folder / f"{t}.png", frame)
    return folder


@pytest.mark.parametrize("gap", [1, 3])
def test_stabilised_frames_of_a_still_scene_are_equal(tmp_path, gap):
    shaky = watch(panned(tmp_path, 12), size=32, gap=gap, held_out=0.4)
    firm = watch(tmp_path, size=32, gap=gap, held_out=0.4, stabilise=True)
    assert firm.shifts == [(-gap, -2 * gap)] * (12 - gap)
    assert shaky.pairs.train.errors().min() > 1e-3
    for split in ("train", "held_out"):
        taken = firm.take(split, firm.size(split))
        assert firm.size(split) == shaky.size(split) and torch.equal(taken["image"], taken["next"])
    told = firm.describe()["stabilised"]
    assert (
        told.startswith(f"median shift {gap * 5**0.5:.1f} of those pixels")
        and shaky.describe()["stabilised"] == "no"
    )


def test_stabilised_frames_keep_what_moves_on_its_own(tmp_path):
    found = watch(panned(tmp_path, 6, spot=True), size=64, stabilise=True, held_out=0.4)
    taken = found.take("train", found.size("train"))
    changed = (taken["image"] - taken["next"]).abs().amax((0, 1)) > 0.2
    rows, columns = changed.nonzero().T
    assert (
        found.shifts == [(-1, -2)] * 5
        and rows.min() >= 24
        and rows.max() <= 40
        and columns.min() >= 24
        and columns.max() <= 40
    )


@real("davis")
def test_the_camel():
    """A camera that follows a walking camel:
    stabilising takes most of the change over five frames away."""
    root, path = Path(str(REAL)), "davis/JPEGImages/240p/camel"
    shaky, firm = (watch(root, path=path, size=64, gap=5, stabilise=one) for one in (False, True))
    assert (
        shaky.describe()["clip"].endswith("90 frames, read at 432x240")
        and shaky.size("train") == 76
        and shaky.size("held_out") == 4
    )
    assert shaky.take("train", 1)["image"].shape == (1, 3, 64, 64)
    gain = decibels(firm.pairs.train.errors().mean()) - decibels(shaky.pairs.train.errors().mean())
    assert gain > 2
    jumps = np.abs(np.diff(np.array(firm.shifts), axis=0)).max()  # a camera in a hand does not jump
    assert jumps <= 4 and np.abs(np.array(firm.shifts)).max() == 18


# Clips that are none


@pytest.mark.parametrize(("n", "gap"), [(1, 1), (3, 1), (5, 5), (11, 5)])
@pytest.mark.parametrize("stabilise", [False, True])
def test_video_with_too_few_frames(tmp_path, n, gap, stabilise):
    text = refusal(video.Options(size=8, gap=gap, stabilise=stabilise), clip(tmp_path, n))
    assert (
        f"{tmp_path} has {n} frame{'s' * (n > 1)}; needed: {2 * gap + 2}" in text
        and f"data.gap = {gap}" in text
    )
    clip(tmp_path, 2 * gap + 2)
    assert watch(tmp_path, gap=gap, stabilise=stabilise).size("train") == 1


def test_video_that_is_a_single_picture(tmp_path):
    saved(tmp_path / "still.gif", np.zeros((9, 9), np.uint8))
    assert "still.gif has 1 frame; needed: 4" in refusal(video.Options(path="still.gif"), tmp_path)


def test_video_that_is_not_there(tmp_path):
    assert (
        refusal(video.Options(path="gone.mp4"), tmp_path)
        == f"data.path: {tmp_path / 'gone.mp4'} is not there"
    )
    assert "--data or SIMULACRA_DATA" in refusal(video.Options(path="gone"), None)
    assert "holds no pictures" in refusal(video.Options(), tmp_path)
    (tmp_path / "clip.txt").write_text("")
    text = refusal(video.Options(path="clip.txt"), tmp_path)
    assert "ends in '.txt'; allowed: a folder of frames, .gif" in text and ".mp4" in text


def test_video_path_is_absolute_or_inside_the_data_folder(tmp_path, monkeypatch):
    film(tmp_path / "film.mp4")
    assert watch(None, path=str(tmp_path / "film.mp4")).count == 10
    monkeypatch.chdir(tmp_path)
    assert watch(Path(), path="film.mp4").count == 10
    assert "--data or SIMULACRA_DATA" in refusal(video.Options(path="film.mp4"), None)


def test_video_of_several_folders(tmp_path):
    clip(tmp_path / "a", 5)
    clip(tmp_path / "b", 5)
    assert "holds pictures in 2 folders, a, b ...; allowed: one" in refusal(
        video.Options(), tmp_path
    )


def test_video_of_unequal_frames(tmp_path):
    clip(tmp_path, 12)
    saved(tmp_path / "frame 10.png", np.zeros((9, 10), np.uint8))
    text = refusal(video.Options(size=8), tmp_path)
    assert "frame 10.png is 10x9, those before 8x8; allowed: frames of one size" in text


def test_video_with_a_broken_frame(tmp_path):
    clip(tmp_path, 12, (40, 40))
    cut_short(tmp_path / "frame 5.png")
    text = refusal(video.Options(), tmp_path)
    assert f"cannot read {tmp_path / 'frame 5.png'}: " in text and "truncated" in text
    text_in_disguise(tmp_path / "frame 5.png")
    assert f"picture {tmp_path / 'frame 5.png'}: not a picture" in refusal(
        video.Options(), tmp_path
    )


@pytest.mark.parametrize("name", ["clip.gif", "clip.mp4"])
def test_video_that_is_something_else(tmp_path, name):
    text_in_disguise(tmp_path / name)
    assert f"cannot read {tmp_path / name}: " in refusal(video.Options(path=name), tmp_path)


def test_video_cut_short(tmp_path):
    path = film(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"cannot read {path}: " in refusal(video.Options(path="film.mp4"), tmp_path)


def test_video_without_pictures(tmp_path):
    with wave.open(str(tmp_path / "sound.avi"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(4000))
    assert "sound.avi has no pictures, only sound or text" in refusal(
        video.Options(path="sound.avi"), tmp_path
    )


def lying(shape: str) -> bytes:
    """An array's file whose header tells of another shape."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(1000)


@pytest.mark.parametrize(
    "shape",
    [
        "(-1, 9, 8, 64, 64, 3)",
        "(10**9, 9, 8, 64, 64, 3)",
        "(1000000000000, 9, 8, 64, 64, 3)",
        "('a',)",
    ],
)
def test_sprites_whose_arrays_lie(tmp_path, shape):
    (tmp_path / "sprites").mkdir()
    with zipfile.ZipFile(tmp_path / "sprites" / sprites.NPZ, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("frames", "attributes", "actions"):
            archive.writestr(f"{name}.npy", lying(shape))
    assert f"cannot read {tmp_path / 'sprites' / sprites.NPZ}: " in refusal(
        sprites.Options(), tmp_path
    )


def test_sprites_whose_archive_unpacks_without_end(tmp_path, monkeypatch):
    (tmp_path / "sprites").mkdir()
    np.savez_compressed(tmp_path / "sprites" / sprites.NPZ, frames=np.zeros(10_000, np.uint8))
    monkeypatch.setattr(sprites, "LARGEST", 9000)
    assert "its arrays take 10,128 bytes; allowed: 9,000" in refusal(sprites.Options(), tmp_path)

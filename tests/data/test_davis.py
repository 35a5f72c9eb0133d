"""DAVIS clips: one mask a clip is read and no other,
flow is in pixels of its frames, mistakes are told in a line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import ROOT

from simulacra.core.errors import Mistake
from simulacra.data.davis import Davis, Options, covered

SIZE = 40, 64  # height and width of the files


def textured(seed: int) -> np.ndarray:
    """A smooth random picture (96, 96, 3) uint8, so that flow finds its way."""
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC))


def layout(
    home: Path, names=("cat", "dog"), frames: int = 6, speed: int = 2, masks: int | None = None
) -> Path:
    """A DAVIS folder of clips that pan by `speed` pixels a frame to the left, with a square as the
    first frames' object and nothing but noise in later masks; `masks` of them."""
    height, width = SIZE
    for i, name in enumerate(names):
        picture, clip, notes = (
            textured(i),
            home / "JPEGImages" / "1p" / name,
            home / "Annotations" / "1p" / name,
        )
        clip.mkdir(parents=True)
        notes.mkdir(parents=True)
        for t in range(frames):
            Image.fromarray(picture[:height, speed * t : speed * t + width]).save(
                clip / f"{t:05d}.jpg", quality=95
            )
        for t in range(frames if masks is None else masks):
            mask = (
                np.zeros(SIZE, np.uint8)
                if t == 0
                else np.random.default_rng(t).integers(0, 2, SIZE, np.uint8)
            )
            mask[8:24, 16:40] = 1
            Image.fromarray(mask * 255).convert("1").save(notes / f"{t:05d}.png")
    return home


def refusal(root: Path, **options) -> str:
    """What the Mistake says."""
    with pytest.raises(Mistake) as caught:
        Davis(Options(path=".", **options), root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(one, two) -> bool:
    """Whether two batches hold the same bits."""
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


def test_shapes_and_ranges(tmp_path):
    data = Davis(Options(path=".", frames=3, size=(20, 32)), layout(tmp_path))
    batch = data.draw(0, 2, 0)
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    flows = (2, 2, 2, 20, 32)
    assert shapes == {
        "video": (2, 3, 3, 20, 32),
        "mask": (2, 1, 20, 32),
        "forward": flows,
        "backward": flows,
    }
    assert batch["video"].min() >= -1 and batch["video"].max() <= 1 and batch["video"].std() > 0.1
    assert set(batch["mask"].unique().tolist()) == {0.0, 1.0}
    assert batch["mask"][0].sum() == 8 * 12, "the square at half the size"
    assert batch["mask"][0, 0, 4:12, 8:20].all()
    assert (data.classes, data.extractor) == (0, "clips")


def test_flow_is_in_pixels_of_the_batch(tmp_path):
    """The picture moves 4 pixels to the left in the files, at half the size 2."""
    data = Davis(Options(path=".", frames=3, size=(20, 32)), layout(tmp_path, speed=4))
    batch = data.take("train", 2)
    inner = (slice(None), slice(None), slice(None), slice(5, 15), slice(8, 24))
    for name, dx in ("forward", -2.0), ("backward", 2.0):
        median = batch[name][inner].median(4).values.median(3).values
        assert torch.allclose(median[:, :, 0], torch.tensor(dx), atol=0.2), name
        assert torch.allclose(median[:, :, 1], torch.tensor(0.0), atol=0.2), name


def test_only_the_first_mask_is_read(tmp_path):
    """Other, broken or missing later masks change nothing, neither in training nor held out."""
    clean = Davis(Options(path=".", frames=3), layout(tmp_path / "clean"))
    layout(tmp_path / "poisoned")
    for path in (tmp_path / "poisoned" / "Annotations").rglob("*.png"):
        if path.stem == "00001":
            Image.new("1", (64, 40), 1).save(path)
        elif path.stem == "00002":
            path.write_bytes(b"no picture")
        elif path.stem != "00000":
            path.unlink()
    poisoned = Davis(Options(path=".", frames=3), tmp_path / "poisoned")
    for k in range(4):
        assert same(clean.draw(k, 2, 0), poisoned.draw(k, 2, 0))
    for split in "train", "held_out":
        assert same(clean.take(split, 2), poisoned.take(split, 2))


def test_later_frames_do_not_reach_training(tmp_path):
    """Training sees the first T frames of a video, from the first on."""
    short, long = (
        Davis(Options(path=".", frames=3, roll=r), layout(tmp_path / str(r))) for r in (1, 2)
    )
    assert same(short.draw(1, 2, 0), long.draw(1, 2, 0))
    assert short.take("held_out", 1)["video"].shape[1] == 3
    rolled = long.take("held_out", 2)
    assert rolled["video"].shape[1] == 6 and rolled["forward"].shape[1] == 5
    first, places = (
        long.take("train", 2),
        [long.order.take(split, 2).argsort() for split in ("train", "held_out")],
    )
    for name, length in ("video", 3), ("mask", 1), ("backward", 2):
        assert torch.equal(rolled[name][places[1], :length], first[name][places[0]]), name


def test_the_roll_ends_with_the_shortest_video(tmp_path):
    root = layout(tmp_path, frames=5)
    assert (
        Davis(Options(path=".", frames=3, roll=9), root).take("held_out", 1)["video"].shape[1] == 5
    )


def test_sequences_held_out(tmp_path):
    root = layout(tmp_path, ("ape", "bee", "cow"))
    data = Davis(Options(path=".", frames=3, held_out=("bee",)), root)
    assert (data.size("train"), data.size("held_out")) == (2, 1)
    (unseen,) = data.take("held_out", 1)["video"][:, 0]
    for k in range(3):
        assert not [one for one in data.draw(k, 2, 0)["video"][:, 0] if torch.equal(one, unseen)]
    few = Davis(Options(path=".", frames=3, sequences=("cow", "ape")), root)
    assert few.names == ["cow", "ape"] and few.size("held_out") == 2


def test_draws_follow_from_step_and_seed(tmp_path):
    data = Davis(Options(path=".", frames=2), layout(tmp_path, ("ape", "bee", "cow", "dog")))
    assert same(data.draw(3, 2, 0), data.draw(3, 2, 0))
    epoch = torch.cat([data.draw(k, 2, 0)["video"][:, 0] for k in range(2)])
    assert len(epoch.flatten(1).unique(dim=0)) == 4, "an epoch shows each clip once"
    orders = {
        tuple(torch.cat([data.draw(k, 2, s)["video"][:, 0, 0, 0, 0] for k in range(2)]).tolist())
        for s in range(8)
    }
    assert len(orders) > 1


def test_masks_of_any_kind(tmp_path):
    """1-bit, grey 0 and 255, grey 0 and 1, and palette masks are the same mask."""
    root, found = layout(tmp_path, ("cat",)), []
    path = root / "Annotations" / "1p" / "cat" / "00000.png"
    one = np.zeros(SIZE, np.uint8)
    one[8:24, 16:40] = 1
    palette = Image.fromarray(one, "L").convert("P")
    palette.putdata(one.flatten().tolist())
    for mask in (
        Image.fromarray(one * 255).convert("1"),
        Image.fromarray(one * 255),
        Image.fromarray(one),
        palette,
    ):
        mask.save(path)
        found.append(Davis(Options(path=".", frames=2), root).take("train", 1)["mask"])
    assert all(torch.equal(found[0], other) for other in found[1:]) and found[0].sum() > 0


def test_a_mask_covers_a_pixel_if_it_covers_more_than_half():
    mask = np.zeros((4, 6), bool)
    mask[:2, :3] = True  # of the pixels of 2 x 2: all of the first, half of the second
    assert covered(mask, (2, 3)).tolist() == [[[True, False, False], [False, False, False]]]


def test_what_is_told(tmp_path):
    told = Davis(Options(path=".", frames=3), layout(tmp_path)).describe()
    assert (
        told["clips"] == "2 to train on: cat, dog" and "6 frames from the first" in told["held out"]
    )
    assert "3 frames of 3 x 56 x 104" in told["shape"] and told["masks"].startswith(
        "of each first frame alone, 15"
    )


# Mistakes


def test_missing_folders(tmp_path):
    assert "JPEGImages is not there; the layout is JPEGImages/<res>/<sequence>/*.jpg" in refusal(
        tmp_path
    )
    (tmp_path / "JPEGImages").mkdir()
    assert "holds no folder; choose one resolution with data.resolution" in refusal(tmp_path)
    (tmp_path / "JPEGImages" / "1p" / "cat").mkdir(parents=True)
    assert "Annotations/1p is not there" in refusal(tmp_path)
    (tmp_path / "Annotations" / "1p").mkdir(parents=True)
    assert "holds no masks of the sequences in" in refusal(tmp_path)


def test_which_resolution(tmp_path):
    root = layout(tmp_path)
    (root / "JPEGImages" / "2p").mkdir()
    assert "holds 1p, 2p; choose one resolution with data.resolution" in refusal(root)
    assert "unknown data.resolution '3p'; there is: 1p, 2p" in refusal(root, resolution="3p")
    assert Davis(Options(path=".", resolution="1p"), root).names == ["cat", "dog"]


def test_unknown_sequences(tmp_path):
    root = layout(tmp_path)
    assert "unknown sequence in data.sequences: 'cow'; there is: cat, dog" in refusal(
        root, sequences=("cow",)
    )
    assert "unknown sequence in data.held_out: 'cow'" in refusal(root, held_out=("cow",))
    assert "data.held_out names dog, which data.sequences leaves out" in refusal(
        root, sequences=("cat",), held_out=("dog",)
    )
    assert "data.held_out names all 2 sequences" in refusal(root, held_out=("cat", "dog"))


def test_few_frames(tmp_path):
    assert "cat has 3 frames; needed: data.frames = 4" in refusal(
        layout(tmp_path, frames=3), frames=4
    )


def test_frames_of_two_sizes(tmp_path):
    root = layout(tmp_path)
    Image.new("RGB", (30, 20)).save(root / "JPEGImages" / "1p" / "dog" / "00001.jpg")
    assert "dog holds frames of 2 sizes, 30x20, 64x40; allowed: one" in refusal(root)


def test_bad_first_masks(tmp_path):
    root = layout(tmp_path)
    path = root / "Annotations" / "1p" / "cat" / "00000.png"
    Image.new("1", (64, 40)).save(path)
    assert "00000.png covers no pixel of 104x56; needed: an object in the first frame" in refusal(
        root
    )
    Image.new("1", (32, 20), 1).save(path)
    assert "00000.png is 32x20, its frame 64x40; allowed: the same size" in refusal(root)
    path.write_bytes(b"no picture")
    assert "00000.png: not a picture" in refusal(root)
    path.unlink()
    assert "the first frame of cat has no mask" in refusal(root)


def test_broken_frame(tmp_path):
    root = layout(tmp_path)
    (root / "JPEGImages" / "1p" / "cat" / "00001.jpg").write_bytes(b"no picture")
    assert "00001.jpg: not a picture" in refusal(root)


def test_too_large_a_batch(tmp_path):
    data = Davis(Options(path=".", frames=2), layout(tmp_path))
    with pytest.raises(Mistake, match="batch 3 does not fit the 2 training clips"):
        data.draw(0, 3, 0)


@pytest.mark.skipif(
    ROOT is None or not (ROOT / "davis").is_dir(),
    reason="SIMULACRA_DATA names no folder with davis",
)
def test_the_data_folders_clips():
    """Shares of the frame that first masks have, as counted from the files."""
    data = Davis(
        Options(sequences=("bear", "blackswan", "flamingo"), frames=2, roll=1, size=(56, 104)), ROOT
    )
    area = {name: float(data.clips[name].mask.mean()) for name in data.names}
    assert area == pytest.approx({"bear": 0.120, "blackswan": 0.100, "flamingo": 0.056}, abs=0.004)


def test_a_picture_beside_the_frames_is_no_frame(tmp_path):
    clean = Davis(Options(path=".", frames=3), layout(tmp_path / "clean"))
    layout(tmp_path / "stray")
    Image.new("RGB", (9, 9)).save(tmp_path / "stray" / "JPEGImages" / "1p" / "cat" / "0 mask.png")
    stray = Davis(Options(path=".", frames=3), tmp_path / "stray")
    assert same(clean.draw(0, 2, 0), stray.draw(0, 2, 0))
    assert stray.describe()["left out"] == "not numbered as the other frames are: cat/0 mask.png"
    assert "left out" not in clean.describe()


def test_masks_are_read_by_the_rule_of_all_masks(tmp_path):
    """Black on transparency: the object is what is opaque."""
    layout(tmp_path, names=("cat",))
    path = tmp_path / "Annotations" / "1p" / "cat" / "00000.png"
    clean = Davis(Options(path=".", frames=3), tmp_path).draw(0, 1, 0)
    with Image.open(path) as image:
        mask = image.convert("L")
    black = Image.new("L", mask.size)
    Image.merge("LA", (black, mask)).save(path)
    assert same(clean, Davis(Options(path=".", frames=3), tmp_path).draw(0, 1, 0))

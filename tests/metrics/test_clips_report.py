"""Layers that models paint are held against true masks and plates."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core import data_sets
from simulacra.core.config import check_data
from simulacra.core.errors import Mistake
from simulacra.data import davis
from simulacra.metrics.video import clips_report
from simulacra.metrics.video.clips_report import (
    Known,
    Reals,
    baseline,
    compare,
    mean,
    perfect,
    reals,
    scores,
)
from simulacra.nn.optical_flow import Flows

TINY = {"name": "layered", "height": 48, "width": 64, "frames": 4, "count": 4, "held_out": 3}


@pytest.fixture(scope="module")
def layered() -> Reals:
    return reals(data_sets.load(check_data(TINY, "test"), None), 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips of eight frames in DAVIS layout:
    a bright block goes right over a dark ground with a slope of colour."""
    ground = (
        np.linspace(20, 120, 40)[None, :, None]
        + np.linspace(0, 60, 24)[:, None, None]
        + np.zeros(3)
    )
    for name, step in (("slow", 1), ("fast", 2)):
        frames, masks = (
            tmp_path / "davis/JPEGImages/x" / name,
            tmp_path / "davis/Annotations/x" / name,
        )
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for t in range(8):
            mask = np.zeros((24, 40), bool)
            mask[8:16, 4 + step * t : 12 + step * t] = True
            Image.fromarray(np.where(mask[..., None], 240, ground).astype(np.uint8)).save(
                frames / f"{t:05}.png"
            )
            Image.fromarray(mask).save(masks / f"{t:05}.png")
    return tmp_path


def small(folder: Path, **changes: object) -> davis.Davis:
    return davis.Davis(
        davis.Options(**({"frames": 3, "roll": 2, "size": (24, 40)} | changes)), folder
    )  # type: ignore[arg-type]


def test_perfect_layers(layered: Reals) -> None:
    told = perfect(layered)
    assert told["mask_J"] == told["mask_F"] == told["A_J"] == 1
    assert told["recon"] == told["bg_hole"] == 100
    assert told["fg_in"] == told["fg_bias"] == told["bg_leak"] == told["fg_out"] == 0
    assert not [name for name in told if name.endswith("_beyond")], (
        "these clips have no frames beyond those of training"
    )


def test_worse_layers_score_worse(layered: Reals) -> None:
    made = []
    for known in layered.known:
        a = torch.roll(known.mask[1:, None].float(), 4, 3)
        layer = {
            name: known.frames[:1].expand(3, -1, -1, -1)
            for name in ("composite", "foreground", "background", "warped")
        }
        made.append(layer | {"mask": a, "attention": a})
    told, best = compare(made, layered), perfect(layered)
    assert 0 < told["mask_J"] < 0.9 and told["mask_F"] < best["mask_F"]
    assert (
        told["recon"] < 40
        and told["bg_hole"] < 40
        and told["bg_leak"] > 0.3
        and told["fg_out"] > 0.05
    )


def test_baselines(layered: Reals) -> None:
    told = baseline(layered)
    assert 0 < told["copy_mask_J"] < 1 and told["flow_mask_J"] > 0
    assert 5 < told["telea_bg_hole"] < 60 and 5 < told["copy_recon"] < 60
    J, recon = [], []
    for known in layered.known:  # every frame after the first, the last among them
        for mask, frame in zip(known.mask[1:], known.frames[1:], strict=True):
            J.append(float((mask & known.mask[0]).sum() / (mask | known.mask[0]).sum()))
            recon.append(float(10 * (4 / (frame - known.frames[0]).square().mean()).log10()))
    assert told["copy_mask_J"] == pytest.approx(np.mean(J), rel=1e-5)
    assert told["copy_recon"] == pytest.approx(np.mean(recon), rel=1e-5)


def test_frames_beyond_training_are_told_apart(layered: Reals) -> None:
    known = layered.known[0]
    made = {"mask": known.mask[1:, None].float(), "attention": known.mask[1:, None].float()}
    made |= {name: known.frames[1:] for name in ("composite", "foreground", "background", "warped")}
    made["mask"][2:] = 1 - made["mask"][2:]
    told = scores(made, known, trained=2)
    assert told["mask_J"] == 1 and told["mask_J_beyond"] == 0
    assert told["recon"] == told["recon_beyond"] == 100
    assert not math.isnan(told["fg_motion"]) and "fg_motion_beyond" not in told, (
        "one frame alone has no motion"
    )


def test_mean_leaves_out_what_a_clip_lacks() -> None:
    told = mean([{"a": 1.0, "b": float("nan")}, {"a": 3.0, "b": 5.0}])
    assert told == {"a": 2, "b": 5}
    assert list(mean([{"b": 1.0, "a": 2.0}, {"a": 4.0, "b": 3.0}]).items()) == [
        ("b", 2),
        ("a", 3),
    ], "in the first one's order"


def test_a_cut_keeps_flows_between_its_frames() -> None:
    frames = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    flow = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 2, 2, 2)
    mask = torch.ones(5, 2, 2, dtype=torch.bool)
    cut = Known(frames, mask, frames, mask, Flows(flow, flow)).select(slice(2, 9))
    assert cut.frames[:, 0, 0, 0].tolist() == [2, 3, 4] and cut.flows.forward[
        :, 0, 0, 0
    ].tolist() == [2, 3]


def test_davis_truth_is_longer_than_the_clip(folder: Path) -> None:
    source = small(folder, frames=2, roll=2)
    films = source.truth("held_out", 2)
    assert [tuple(frames.shape) for frames, _ in films] == [(8, 3, 24, 40)] * 2
    assert all(masks.dtype == torch.bool and masks.shape == (8, 24, 40) for _, masks in films)
    batch = source.take("held_out", 2)
    for (frames, masks), video, first in zip(films, batch["video"], batch["mask"], strict=True):
        assert torch.allclose(frames[:4], video, atol=1 / 127) and torch.equal(
            masks[:1].float(), first
        )


def test_davis_plates_come_from_other_frames(folder: Path) -> None:
    known = reals(small(folder), 2).known
    for one in known:
        assert (
            one.frames.shape == (6, 3, 24, 40) and one.seen.any() and (one.mask | ~one.seen).all()
        )
        assert one.plate.permute(0, 2, 3, 1)[one.seen].max() < 0.6, (
            "the block is bright, the ground is not"
        )


def test_davis_without_later_masks(folder: Path) -> None:
    missing = folder / "davis/Annotations/x/fast/00003.png"
    missing.unlink()
    with pytest.raises(Mistake, match="all of the first 6 frames need their masks"):
        small(folder).truth("held_out", 2)
    assert len(small(folder, roll=1).truth("held_out", 2)) == 2, "three frames have theirs"
    small(folder).take("held_out", 2), "training needs none of them"


def test_measure_a_run(simulacra, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = tmp_path / "run"
    own = ["--set", "steps=2", "--set", "save_every=2"]
    simulacra("train", "foregan_davis", "--preset", "tiny", "--run", run, *own, "--no-tensorboard")
    rows = json.loads(simulacra("measure", run, "--samples", 6, "--repeats", 2, "--json").out)
    told = {row["metric"]: row for row in rows}
    assert 0 <= told["mask_J"]["value"] <= 1 and told["mask_J"]["floor"] == 1
    assert (
        told["copy_mask_J"]["low"] is None
        and told["mask_J"]["extractor"] == "clips"
        and told["mask_J"]["n_real"] == 6
    )
    assert "6 samples x 2 against 6 held_out clips" in " ".join(
        simulacra("measure", run, "--samples", 6, "--repeats", 2).out.split()
    )
    assert "these data are clips" in simulacra("measure", run, "--extractor", "mnist_cnn").refusal()


def test_what_the_numbers_depend_on_is_hashed() -> None:
    assert clips_report.HASH and clips_report.NAME == "clips"


def test_data_show_paints_clips(simulacra, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small = [
        "--set",
        "data.height=32",
        "--set",
        "data.width=48",
        "--set",
        "data.frames=5",
        "--set",
        "data.count=3",
    ]
    sheet = tmp_path / "sheet.png"
    assert str(sheet) in simulacra("data", "show", "layered", *small, "-o", sheet).out
    with Image.open(sheet) as image:
        assert image.size == (2 + 5 * 50, 2 + 3 * 34), "a row a clip, a column a frame"


def test_data_show_paints_pairs(simulacra, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    small = ["--set", "data.size=32", "--set", "data.count=20", "--set", "data.held_out=5"]
    sheet = tmp_path / "sheet.png"
    assert str(sheet) in simulacra("data", "show", "shapes", *small, "-o", sheet).out
    with Image.open(sheet) as image:
        assert image.size == (2 + 16 * 34, 2 + 3 * 34), (
            "a picture and its next beside it, eight in a row"
        )

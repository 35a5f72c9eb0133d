"""The data set of recorded drives: splits by track, aligned sequences, flat memory."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from simulacra.core import data_sets
from simulacra.core.errors import Mistake
from simulacra.data.racing import Options, Racing
from simulacra.envs import episodes
from simulacra.envs.carracing.game import Truth

FRAME = 8  # pixels of the frames written here


def written(
    home: Path,
    lengths: list[int],
    tracks: list[int] | None = None,
    start: int = 0,
    size: int = FRAME,
) -> Path:
    """A store whose frames, actions, rewards and truths say
    which step of which episode they are."""
    spec = episodes.Spec(
        seed=0,
        simulator="envpool",
        size=size,
        hud=False,
        steps=1000,
        lead=0,
        mixture={"idle": 1.0},
        versions={},
    )
    with episodes.filling(home, spec):
        for number, length in enumerate(lengths):
            t = np.arange(length)
            facts = episodes.Facts(
                number=number,
                track=tracks[number] if tracks else 1000 + number,
                simulator="envpool",
                policy="idle",
                hud=False,
                start=start,
                terminated=True,
                lap_finished=False,
            )
            frames = np.zeros((length, 3, size, size), np.uint8)
            frames[:, 0], frames[:, 1] = (t % 256)[:, None, None], number % 256
            stamps = np.stack([np.full(length, number), t, t / 10], 1).astype(np.float32)
            truths = np.zeros((length, len(Truth._fields)), np.float32)
            truths[:, 0], truths[:, 1] = number, t
            ends = t == length - 1
            episodes.write(
                home, episodes.Episode(frames, stamps, t.astype(np.float32), ends, truths, facts)
            )
    return home


def opened(home: Path, **options) -> Racing:
    """The data set."""
    return Racing(Options(path=str(home), **options), None)


def stamps(batch: dict[str, torch.Tensor]) -> list[tuple[int, int]]:
    """Episode and step of each picture."""
    pixels = ((batch["image"][:, :2, 0, 0] + 1) * 127.5).round().int()
    return [(int(number), int(t)) for t, number in pixels]


def test_it_is_a_data_set_without_data():
    assert "racing" in data_sets.names() and data_sets.module("racing").Data is Racing
    with pytest.raises(Mistake, match=r"data.path is 'racing', which .* there is no data folder"):
        data_sets.load(Options(), None)


def test_pictures_are_all_frames_but_the_first(tmp_path):
    source = opened(written(tmp_path, [30] * 10))
    assert (source.classes, source.extractor) == (0, "efficientnet_lite0")
    batch = source.draw(0, 4, 0)
    assert (
        list(batch) == ["image"]
        and batch["image"].shape == (4, 3, FRAME, FRAME)
        and batch["image"].dtype == torch.float32
    )
    assert batch["image"][:, 2].eq(-1).all(), "0 is -1"
    seen = {
        split: stamps(source.take(split, source.size(split))) for split in ("train", "held_out")
    }
    assert (
        len({*seen["train"], *seen["held_out"]})
        == source.size("train") + source.size("held_out")
        == 10 * 29
    )
    assert min(t for _, t in seen["train"]) == 1, "step 0 also pays for the start"
    assert not {i for i, _ in seen["train"]} & {i for i, _ in seen["held_out"]}


def test_an_epoch_shows_every_frame_once_and_follows_from_the_step(tmp_path):
    source, other = (opened(written(tmp_path, [11] * 5)) for _ in range(2))
    n = source.size("train")
    epoch = [one for k in range(n // 4) for one in stamps(source.draw(k, 4, 7))]
    assert len(set(epoch)) == len(epoch) == n // 4 * 4
    for k in 5, 0, n // 4 + 1:
        assert torch.equal(other.draw(k, 4, 7)["image"], source.draw(k, 4, 7)["image"])
    assert (
        stamps(source.draw(0, 4, 7))
        != stamps(source.draw(0, 4, 8))
        != stamps(source.draw(n // 4, 4, 8))
    )


@pytest.mark.parametrize("count", [2, 3, 30, 200])
def test_any_number_of_tracks_is_split(tmp_path, count):
    """W23: others needed 601 episodes. The same track is never in both splits,
    and a larger store moves none."""
    tracks = [7 * (i // 2) for i in range(2 * count)]
    source = opened(written(tmp_path, [3] * (2 * count), tracks))
    sides = {name: {tracks[i] for i in split.episodes} for name, split in source.splits.items()}
    assert (
        not sides["train"] & sides["held_out"] and len(sides["train"] | sides["held_out"]) == count
    )
    assert all(sides.values())
    if count == 200:
        assert 8 <= len(sides["held_out"]) <= 34
        fewer = opened(written(tmp_path / "fewer", [3] * 200, tracks[:200]))
        assert {tracks[i] for i in fewer.splits["held_out"].episodes} == sides["held_out"] & set(
            tracks[:200]
        )


@pytest.mark.parametrize(
    ("experiment", "name", "verb"),
    [
        ("vae_racing", "racing", "collect racing --episodes N"),
        ("memory_racing", "codes", "encode RUN STORE"),
    ],
)
def test_what_makes_a_missing_folder_is_told(simulacra, tmp_path, experiment, name, verb):
    said = simulacra(
        "train",
        experiment,
        "--data",
        tmp_path,
        "--run",
        tmp_path / "run",
        "--set",
        f"data.path={name}",
    )
    assert (
        said.refusal() == f"error: data.path: {tmp_path / name} is not there; simulacra {verb} -o "
        f"{tmp_path / name} makes it\n"
    )
    assert not (tmp_path / "run").exists()


def test_one_track_is_not_enough(tmp_path):
    with pytest.raises(Mistake, match="holds drives on 1 track; needed: 2"):
        opened(written(tmp_path, [9, 9], [5, 5]))


def test_sequences_are_aligned(tmp_path):
    """Action, reward and end of step t come with the frame that was seen before it;
    nothing crosses episodes."""
    source = opened(written(tmp_path, [50, 47, 33, 64]), length=8)
    assert source.extractor == "clips"
    for k in range(20):
        batch = source.draw(k, 3, 1)
        assert {name: tuple(value.shape) for name, value in batch.items()} == {
            "video": (3, 8, 3, FRAME, FRAME),
            "action": (3, 8, 3),
            "reward": (3, 8),
            "done": (3, 8),
        }
        assert all(value.dtype == torch.float32 for value in batch.values())
        number, t = (((batch["video"][:, :, i, 0, 0] + 1) * 127.5).round() for i in (1, 0))
        assert torch.equal(batch["action"][:, :, 0], number) and torch.equal(
            batch["action"][:, :, 1], t
        )
        assert (
            torch.equal(batch["reward"], t)
            and (t.diff(dim=1) == 1).all()
            and (number == number[:, :1]).all()
        )
        last = torch.tensor([[50, 47, 33, 64][int(i)] - 1 for i in number[:, 0]])
        assert torch.equal(batch["done"], (t == last[:, None]).float()) and t.min() >= 1


def test_sequences_reach_every_frame_and_the_end(tmp_path):
    source = opened(written(tmp_path, [30, 30]), length=8)
    assert source.size("train") == 3
    batches = [source.draw(k, 3, 0) for k in range(60)]
    starts = {int(t) for batch in batches for t in batch["reward"][:, 0]}
    assert starts == set(range(1, 23)), "29 rows are three sequences of 8 and five rows to spare"
    assert sum(float(batch["done"].sum()) for batch in batches) > 3
    held = source.take("held_out", 3)
    assert sorted(held["reward"][:, -1].tolist()) == [13.0, 21.0, 29.0] and held["done"].sum() == 1
    assert torch.equal(held["video"], source.take("held_out", 3)["video"])


@pytest.mark.parametrize("length", [0, 8])
def test_truth_belongs_to_take(tmp_path, length):
    source = opened(written(tmp_path, [30] * 6), length=length)
    truth, batch = source.truth("train", 9), source.take("train", 9)
    if length:
        assert truth.shape == (9, 8, 6) and torch.equal(truth[:, :, :2], batch["action"][:, :, :2])
    else:
        assert truth.shape == (9, 6) and [(int(i), int(t)) for i, t in truth[:, :2]] == stamps(
            batch
        )


@pytest.mark.parametrize(
    ("skip", "start", "first"), [(0, 0, 0), (1, 0, 1), (20, 0, 20), (20, 5, 15), (20, 90, 0)]
)
def test_skip_counts_from_the_games_start(tmp_path, skip, start, first):
    """Of a recording that begins in the middle of a drive less is left out."""
    source = opened(written(tmp_path, [30] * 3, start=start), skip=skip)
    assert min(t for _, t in stamps(source.take("train", source.size("train")))) == first


def test_drives_that_are_too_short_are_counted_out(tmp_path):
    home = written(tmp_path, [30, 4, 30, 9, 8])
    source = opened(home, length=8)
    assert "2 drives that are too short" in source.describe()["left out"]
    with pytest.raises(
        Mistake,
        match=r"data.length = 40, data.skip = 1: no drive of split '\w+' .*; allowed: up to",
    ):
        opened(home, length=40)


def test_description_and_command_line(tmp_path, simulacra):
    written(tmp_path / "racing", [30] * 4)
    said = simulacra("data", "show", "racing", "--data", tmp_path, "-o", tmp_path / "sheet.png")
    assert (
        said.code == 0 and "4 by idle, 120 frames" in said.out and (tmp_path / "sheet.png").exists()
    )
    said = simulacra(
        "data",
        "show",
        "racing",
        "--data",
        tmp_path,
        "--set",
        "data.length=10",
        "-o",
        tmp_path / "clips.png",
    )
    assert (
        said.code == 0 and "10 steps of 3 x 8 x 8" in said.out and (tmp_path / "clips.png").exists()
    )


def test_options_out_of_range():
    for bad in {"length": -1}, {"length": 1001}, {"held_out": 1.0}, {"skip": -1}:
        with pytest.raises(msgspec.ValidationError, match=next(iter(bad))):
            msgspec.convert({"name": "racing", **bad}, Options)


def resident() -> float:
    """Megabytes of this process that are in memory, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_memory_is_flat_whatever_is_drawn(tmp_path):
    """98 MB of frames are drawn twice over: what is read does not stay."""
    source = opened(written(tmp_path, [200] * 40, size=64))
    source.draw(0, 100, 0)
    before = resident()
    for k in range(150):
        source.draw(k, 100, 0)
    assert resident() - before < 25, f"{resident() - before:.0f} MB"

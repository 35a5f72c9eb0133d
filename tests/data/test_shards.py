"""WebDataset shards: every picture once an epoch, a pure function of the step, in flat memory."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.data import webdataset
from simulacra.data.webdataset import Options, Shards

SIZE = 8


def member(archive, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def png(value):
    file = io.BytesIO()
    Image.fromarray(np.full((SIZE, SIZE), value, np.uint8)).save(file, "png")
    return file.getvalue()


def shard(path, values, classes=True):
    """A shard of pictures of one value each, which is their class too."""
    with tarfile.open(path, "w") as archive:
        for value in values:
            member(archive, f"{value:04d}.json", b"{}")
            if classes:
                member(archive, f"{value:04d}.cls", str(value).encode())
            member(archive, f"{value:04d}.png", png(value))


@pytest.fixture
def folder(tmp_path):
    """Six shards of uneven length, of which one is empty: the values 0 to 59."""
    for i, (start, stop) in enumerate([(0, 9), (9, 20), (20, 20), (20, 33), (33, 45), (45, 60)]):
        shard(tmp_path / f"part-{i}.tar", range(start, stop))
    return tmp_path


def opened(folder, **changes):
    return Shards(Options(path=str(folder), size=SIZE, mode="grey", window=2, **changes), None)


def values(batch):
    return batch["label"].tolist()


def test_pictures_and_classes_belong_together(folder):
    data = opened(folder)
    assert data.classes == 60 and data.size("train") + data.size("held_out") == 60
    for k in range(8):
        batch = data.draw(k, 7, seed=3)
        shown = ((batch["image"] + 1) * 127.5).round()
        assert batch["image"].shape == (7, 1, SIZE, SIZE) and shown.std((1, 2, 3)).max() == 0
        assert shown[:, 0, 0, 0].long().tolist() == values(batch)


def test_an_epoch_holds_every_picture_once_and_another_one_another_order(folder):
    data, n = opened(folder), opened(folder).size("train")
    epochs = [[*values(data.draw(2 * e, n // 2, 0)), *values(data.draw(2 * e + 1, n // 2, 0))]
              for e in range(2)]  # fmt: skip
    assert len(set(epochs[0])) == n // 2 * 2 and epochs[0] != epochs[1]
    held = values(data.take("held_out", data.size("held_out")))
    assert not set(held) & {*epochs[0], *epochs[1]}
    assert epochs[0] != sorted(epochs[0])


def test_draw_is_a_pure_function_of_the_step(folder):
    asked = [(k, batch, seed) for seed in (0, 1) for batch in (5, 13) for k in (0, 3, 7, 40)]
    data = opened(folder, flip=True)
    there = [data.draw(*one) for one in asked]
    torch.manual_seed(5)
    back = [opened(folder, flip=True).draw(*one) for one in reversed(asked)][::-1]
    for one, two in zip(there, back, strict=True):
        assert torch.equal(one["image"], two["image"]) and values(one) == values(two)


def test_a_step_reads_from_the_shards_of_its_window(folder):
    """Two windows of two shards and more: a batch inside of one has the values of two shards."""
    data = opened(folder)
    of = np.searchsorted(data.starts, np.arange(60), "right") - 1
    first = data.draw(0, 5, 0)
    assert len({int(of[value]) for value in values(first)}) <= 2


def test_the_index_is_made_once_and_again_when_a_shard_changes(folder, monkeypatch):
    opened(folder)
    made, places = [], webdataset.places
    monkeypatch.setattr(webdataset, "places", lambda *a: made.append(a) or places(*a))
    assert opened(folder).size("train") and not made
    shard(folder / "part-2.tar", range(60, 64))
    data = opened(folder)
    assert len(made) == 6 and data.classes == 64
    assert data.size("train") + data.size("held_out") == 64


def test_pictures_without_classes(tmp_path):
    for i in range(2):
        shard(tmp_path / f"{i}.tar", range(3), classes=bool(i))
    data = opened(tmp_path)
    assert data.classes == 0 and set(data.take("train", 3)) == {"image"}


def test_mistakes_name_the_shard(folder, tmp_path):
    whole = (folder / "part-4.tar").read_bytes()
    (folder / "part-4.tar").write_bytes(whole[: len(whole) // 2 + 100])
    with pytest.raises(Mistake, match=r"cannot read the shard .*part-4\.tar"):
        opened(folder)
    assert not (folder / webdataset.INDEX).exists(), "no half of an index stays"
    (folder / "part-4.tar").write_bytes(whole)
    with pytest.raises(Mistake, match="allowed: 1 to"):
        opened(folder).draw(0, 61, 0)
    alone = tmp_path / "alone"
    alone.mkdir()
    shard(alone / "a.tar", range(3))
    with pytest.raises(Mistake, match="holds 1 shards"):
        opened(alone)
    with tarfile.open(alone / "b.tar", "w") as archive:
        member(archive, "1.png", b"no picture")
    with pytest.raises(Mistake, match=r"[ab]\.tar, byte \d+: cannot decode the picture"):
        data = opened(alone)
        for split in "train", "held_out":
            data.take(split, 1)

"""A run goes on with the data that it began with, or not at all:
names, sizes and contents count, places and times do not."""

import json
import os
import shutil
import time
from pathlib import Path

import coded
import numpy as np
import pytest
from PIL import Image
from tiny import Tiny, assert_same

from simulacra.core import config, data_sets, fingerprint, run
from simulacra.core.errors import Mistake
from simulacra.studies import sweep
from simulacra.tasks.train import train

SHORT = "steps=4", "save_every=2", "log_every=1"


def picture(path: Path, seed: int, size: int = 32) -> None:
    """A grey picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)).save(path)


@pytest.fixture
def pictures(tmp_path):
    """A folder of twenty pictures, some nested."""
    for i in range(20):
        picture(tmp_path / "data" / ("deep" * (i % 2)) / f"{i}.png", i)
    return tmp_path / "data"


@pytest.fixture
def table(tmp_path):
    """A file of two channels."""
    rows = "".join(f"{np.sin(i / 3):.4f},{np.cos(i / 3):.4f}\n" for i in range(120))
    (tmp_path / "table.csv").write_text("a,b\n" + rows)
    return tmp_path / "table.csv"


def of_pictures(folder: Path) -> Tiny:
    return Tiny("ebgan_folder", (f"data.path={folder}", "data.size=32", *SHORT))


def of_table(file: Path) -> Tiny:
    return Tiny("rgan_series", (f"data.path={file}", "data.length=10", *SHORT))


def go_on(tiny: Tiny, folder: Path, *more: str, **how) -> list[str]:
    """What is said on a start of the run, whose end is lost before."""
    (folder / "done").unlink(missing_ok=True)
    for path in run.checkpoints(folder)[1:]:
        path.unlink()
    said: list[str] = []
    tiny.train(folder, *more, notify=said.append, **how)
    return said


def refusal(tiny: Tiny, folder: Path, *more: str, **how) -> str:
    """Why the run does not go on; nothing of it is changed."""
    there = {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "done"
    }
    with pytest.raises(Mistake) as refused:
        go_on(tiny, folder, *more, **how) if not how else tiny.train(folder, *more, **how)
    assert {path for path in there if path.exists()} >= {
        path for path in there if "checkpoints" not in path.parts
    }
    text = str(refused.value)
    assert "was trained on other data: " in text and f"--set init_from={folder}" in text
    return text


def added(folder):
    picture(folder / "new.png", 99)
    return "1 added (new.png)"


def removed(folder):
    (folder / "0.png").unlink()
    return "1 removed (0.png)"


def repainted(folder):
    """Another picture, of the same size in bytes, as old as before."""
    for i in range(0, 10, 2):
        path = folder / f"{i}.png"
        old, when = path.read_bytes(), path.stat().st_mtime
        path.write_bytes(old[:-30] + bytes(byte ^ 1 for byte in old[-30:]))
        os.utime(path, (when, when))
    return "5 changed (0.png, 2.png, 4.png, ...)"


def renamed(folder):
    (folder / "0.png").rename(folder / "zero.png")
    return "1 added (zero.png); 1 removed (0.png)"


@pytest.mark.parametrize("change", [added, removed, renamed])
def test_other_pictures_are_refused(tmp_path, pictures, change):
    tiny = of_pictures(pictures)
    tiny.train(tmp_path / "run")
    words = change(pictures)
    assert words in refusal(tiny, tmp_path / "run")
    (tmp_path / "run" / "done").write_text("{}")
    assert words in refusal(tiny, tmp_path / "run", "steps=6", extend=True)


def test_repainted_pictures_differ(pictures):
    options = of_pictures(pictures).config().data
    before = data_sets.fingerprint(options, None)
    words = repainted(pictures)
    assert fingerprint.apart(before, data_sets.fingerprint(options, None)) == words


def test_moved_and_touched_pictures_are_the_same(tmp_path, pictures):
    """By --data or by data.path; and the run ends as it would have."""
    of_pictures(pictures).train(tmp_path / "one")
    of_pictures(pictures).train(tmp_path / "two")
    shutil.move(pictures, tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*"):
        os.utime(path, (1, 1))
    few, *said = go_on(of_pictures(tmp_path / "elsewhere"), tmp_path / "two")
    assert "nothing can be measured against fewer than 6" in few
    assert said == [f"the same data are in another place: data.path was {pictures}"]
    assert run.config_of(tmp_path / "two")["data"]["path"] == str(tmp_path / "elsewhere")
    assert_same(tmp_path / "one", tmp_path / "two")
    shutil.move(tmp_path / "elsewhere", tmp_path / "third")
    outcome = of_pictures(tmp_path / "third").train(tmp_path / "two")
    assert outcome.already and run.config_of(tmp_path / "two")["data"]["path"] == str(
        tmp_path / "third"
    )
    within = config.resolve("ebgan_folder", "tiny", ["data.path=", "data.size=32", *SHORT])
    for place in "here", "there":
        shutil.copytree(tmp_path / "third", tmp_path / place)
    train(within, tmp_path / "three", tmp_path / "here")
    (tmp_path / "three" / "done").unlink()
    train(within, tmp_path / "three", tmp_path / "there")
    added(tmp_path / "there")
    (tmp_path / "three" / "done").unlink()
    with pytest.raises(Mistake, match="1 added"):
        train(within, tmp_path / "three", tmp_path / "there")


def test_another_place_with_other_data_is_refused(tmp_path, pictures):
    of_pictures(pictures).train(tmp_path / "run")
    shutil.copytree(pictures, tmp_path / "other")
    words = removed(tmp_path / "other")
    assert words in refusal(of_pictures(tmp_path / "other"), tmp_path / "run")


@pytest.mark.parametrize("extend", [False, True])
def test_a_rewritten_table_is_refused(tmp_path, table, extend):
    """One digit of one number, the size and the time as they were."""
    of_table(table).train(tmp_path / "run")
    when, text = table.stat().st_mtime, table.read_text()
    table.write_text(
        text.replace("0.9999", "0.9998", 1) if "0.9999" in text else text[:-3] + "7\n" + text[-1:]
    )
    os.utime(table, (when, when))
    how = {"extend": True} if extend else {}
    text = refusal(of_table(table), tmp_path / "run", *["steps=6"] * extend, **how)
    assert "1 changed (series)" in text


def test_a_finished_run_is_not_called_done_with_other_data(tmp_path, table):
    tiny, said = of_table(table), []
    tiny.train(tmp_path / "run")
    assert tiny.train(tmp_path / "run", notify=said.append).already and not said
    table.write_text(table.read_text()[:-3] + "7\n")
    with pytest.raises(Mistake, match=r"was trained on other data: 1 changed \(series\)"):
        tiny.train(tmp_path / "run")
    assert (tmp_path / "run" / "done").exists()


def test_a_renamed_table_is_the_same(tmp_path, table):
    of_table(table).train(tmp_path / "run")
    other = table.rename(tmp_path / "other.csv")
    assert "another place" in go_on(of_table(other), tmp_path / "run")[0]


def test_an_older_run_notes_its_data(tmp_path, table):
    of_table(table).train(tmp_path / "one")
    of_table(table).train(tmp_path / "run")
    (tmp_path / "run" / "data.json").unlink()
    said = go_on(of_table(table), tmp_path / "run")
    assert len(said) == 1 and "older than fingerprints" in said[0]
    assert not go_on(of_table(table), tmp_path / "run")
    assert_same(tmp_path / "one", tmp_path / "run")
    table.write_text(table.read_text().replace("0.", "1.", 1))
    assert "1 changed (series)" in refusal(of_table(table), tmp_path / "run")


def test_a_start_that_was_killed_early_binds_nobody(tmp_path, table):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "data.json").write_text(
        json.dumps({"format": 1, "files": {"series": [3, "abc"]}})
    )
    assert of_table(table).train(tmp_path / "run").done
    assert run.fingerprint_of(tmp_path / "run") == data_sets.fingerprint(
        of_table(table).config().data, None
    )


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', "{"])
def test_a_damaged_fingerprint_is_told_of(tmp_path, table, content):
    of_table(table).train(tmp_path / "run")
    (tmp_path / "run" / "data.json").write_text(content)
    with pytest.raises(Mistake, match=r"data\.json"):
        go_on(of_table(table), tmp_path / "run")


def test_generated_data_have_no_fingerprint(tmp_path):
    tiny = Tiny("rgan_sines", SHORT)
    tiny.train(tmp_path / "run")
    assert not (tmp_path / "run" / "data.json").exists() and not go_on(tiny, tmp_path / "run")


# Every data set that reads files


def frames(folder: Path) -> None:
    for i in range(8):
        picture(folder / f"{i}.png", i)


def a_clip(place):
    frames(place / "clip")
    return {"name": "video", "path": "clip"}, "clip/3.png", "3.png"


def a_film(place):
    images = [Image.fromarray(np.full((16, 16), 30 * i, np.uint8)) for i in range(8)]
    images[0].save(place / "clip.gif", save_all=True, append_images=images[1:])
    return {"name": "video", "path": "clip.gif"}, "clip.gif", "film"


def some_pairs(place):
    for i in range(3):
        picture(place / f"{i}_im1.png", i)
        picture(place / f"{i}_im2.png", i + 9)
    picture(place / "no pair.png", 5)
    return {"name": "pairs"}, "1_im2.png", "1_im2.png"


def some_clips(place):
    for kind, end in ("JPEGImages", "png"), ("Annotations", "png"):
        for i in range(12):
            picture(place / "davis" / kind / "low" / "bus" / f"{i:05d}.{end}", i)
    return {"name": "davis", "frames": 3}, "davis/JPEGImages/low/bus/00004.png", "bus/00004.png"


def a_first_mask(place):
    options, _, _ = some_clips(place)
    return options, "davis/Annotations/low/bus/00000.png", "bus/mask of 00000.png"


def an_array(place):
    np.save(place / "series.npy", np.random.default_rng(0).random((6, 5, 2)))
    np.save(place / "classes.npy", np.arange(6))
    return {"name": "series", "path": "series.npy", "label": "classes.npy"}, "classes.npy", "label"


def some_codes(place):
    coded.folder(place / "codes")
    first = sorted((place / "codes").iterdir())[0].name
    return {"name": "codes"}, f"codes/{first}", first


def some_drives(place):
    (place / "racing" / "episodes").mkdir(parents=True)
    (place / "racing" / "store.json").write_text("{}")
    (place / "racing" / "episodes" / "00000001.safetensors").write_bytes(bytes(3_000_000))
    return (
        {"name": "racing"},
        "racing/episodes/00000001.safetensors",
        "episodes/00000001.safetensors",
    )


def some_sheets(place):
    for layer in "body", "bottomwear", "topwear", "hair", "shoes":
        picture(place / "sprites" / "sheets" / layer / "1.png", 3)
    return {"name": "sprites", "source": "sheets"}, "sprites/sheets/hair/1.png", "sheets/hair/1.png"


def an_npz(place):
    (place / "sprites").mkdir()
    np.savez(place / "sprites" / "sprites_160x9x8.npz", frames=np.zeros((3, 2)))
    return {"name": "sprites"}, "sprites/sprites_160x9x8.npz", "sprites_160x9x8.npz"


def photographs(place):
    frames(place / "photos")
    return {"name": "layered", "path": "photos"}, "photos/2.png", "2.png"


MADE = [
    a_clip,
    a_film,
    some_pairs,
    some_clips,
    a_first_mask,
    an_array,
    some_codes,
    some_drives,
    some_sheets,
    an_npz,
    photographs,
]


@pytest.mark.parametrize("made", MADE)
def test_every_data_set_that_reads_files(tmp_path, made):
    """Moved or touched: equal. A byte of what is read: told of by name. What is not read: equal."""
    (tmp_path / "one").mkdir()
    raw, file, name = made(tmp_path / "one")
    options = config.check_data(raw, "here")
    before = data_sets.fingerprint(options, tmp_path / "one")
    assert name in before
    for beside in ".hidden.png", "notes.txt":
        (tmp_path / "one" / beside).write_text("of no data set")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert data_sets.fingerprint(options, tmp_path / "two") == before
    path = tmp_path / "two" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if len(content) < 2**17 else 0] ^= 1
    path.write_bytes(content)
    assert (
        fingerprint.apart(before, data_sets.fingerprint(options, tmp_path / "two"))
        == f"1 changed ({name})"
    )


def test_what_is_not_read_of_clips_does_not_count(tmp_path):
    """Later masks, which only measuring reads, and later frames."""
    raw, _, _ = some_clips(tmp_path)
    options = config.check_data(raw, "here")
    before = data_sets.fingerprint(options, tmp_path)
    picture(tmp_path / "davis/Annotations/low/bus/00005.png", 77)
    picture(tmp_path / "davis/JPEGImages/low/bus/00009.png", 77)
    assert data_sets.fingerprint(options, tmp_path) == before


def test_all_data_sets_with_files_are_here():
    """A new one that takes a folder or a file says which files it reads."""
    with_path = {
        name
        for name in data_sets.names()
        if "path" in data_sets.module(name).Options.__struct_fields__
    }
    assert with_path == {
        name for name in data_sets.names() if hasattr(data_sets.module(name), "files")
    }


def test_ten_thousand_files_take_seconds(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(10_000):
        (folder / f"{i}.png").write_bytes(i.to_bytes(4, "big") * 5_000)
    options = config.check_data({"name": "folder", "path": str(folder)}, "here")
    begun = time.process_time()
    assert len(data_sets.fingerprint(options, None)) == 10_000
    assert time.process_time() - begun < 5


# Sheets


def test_a_finished_cell_is_not_used_with_other_data(tmp_path, table, monkeypatch):
    tiny = of_table(table)
    folder = tmp_path / "sheet" / "cell,seed=0"
    tiny.train(folder)
    job = sweep.Job(None, 0, folder, [], [], tiny.config())
    sweep._same_data([job], None)
    table.write_text(table.read_text().replace("0.", "1.", 1))
    with pytest.raises(Mistake, match=r"was trained on other data: 1 changed \(series\).* -o"):
        sweep._same_data([job], None)
    table.unlink()
    sweep._same_data([job], None)

"""Clips taken apart from several masks: corrections, several objects, warnings, the frame that is
advised, and what true masks say of them."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from simulacra.core import files as core_files
from simulacra.core.stack import Frames
from simulacra.io import paint
from simulacra.tasks import _layer_folder
from simulacra.tasks import decompose as verb
from simulacra.video import _appearance
from tests.video.test_depth import crossing

T = 8
NEAR = 2  # frames around a given mask in which the masks are right


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with frames/, indexed masks/ of two squares of which the first passes before the
    second, and first/ with masks of the first alone."""
    folder = tmp_path_factory.mktemp("clip")
    frames, masks, _ = crossing(0)
    paint.save_pngs(frames, folder / "frames")
    for name in "masks", "first":
        (folder / name).mkdir()
    for t, (one, two) in enumerate(masks.numpy()):
        image = Image.fromarray((one + 2 * (two & ~one)).astype(np.uint8))
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        image.save(folder / "masks" / f"{t:05d}.png")
        Image.fromarray((one * 255).astype(np.uint8)).save(folder / "first" / f"{t:05d}.png")
    return folder


def true_of(K: int) -> Tensor:
    """The masks (T, K, H, W) float of the first K squares."""
    masks = crossing(0)[1].clone()
    masks[:, 1] &= ~masks[:, 0]
    return masks[:, :K].float()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Masks are not sought: they are the true ones NEAR given masks, else three pixels lower and
    with little confidence; given frames are as given. Says which frames were given, call by call.
    Plates show the true ground where the mattes are."""
    calls: list[list[int]] = []

    def sought(
        frames: Frames,
        masks: Mapping[int, Tensor],
        how: verb.How,
        notify: verb.Notify,
        arrived: verb.Arrived,
        place: object,
    ) -> dict[str, Tensor]:
        calls.append(list(masks))
        K = int(max(mask.max() for mask in masks.values()))
        soft, confidence = true_of(K), torch.full((T, K), 0.9)
        for t in range(T):
            if min(abs(t - given) for given in masks) > NEAR:
                soft[t], confidence[t] = soft[t].roll(3, 1), 0.4
        for t, mask in masks.items():
            soft[t] = torch.stack([mask == k for k in range(1, K + 1)]).float()
            confidence[t] = 1
        for t in range(T):
            arrived(t, soft[t], confidence[t])
        return {"soft": soft, "confidence": confidence}

    def bare(frames: Frames, matte: Frames, notify: verb.Notify, place: Path) -> dict[str, Tensor]:
        ground = crossing(0)[2].expand_as(frames[:])
        return {"background": torch.lerp(frames[:], ground, matte[:]), "known": matte[:] > 0}

    monkeypatch.setattr(verb, "segmented", sought)
    monkeypatch.setattr(verb, "plated", bare)
    return calls


def words(clip: Path, out: Path, kind: str, *frames: int) -> list[object]:
    masks = [w for t in frames for w in ("--mask", f"{t}={clip / kind}/{t:05d}.png")]
    return ["decompose", clip / "frames", *masks, "-o", out]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".partial")  # which a kill may leave
    }


def times(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*.png"))
    }


def quality(folder: Path) -> dict:
    return json.loads((folder / "quality.json").read_text())


def stacked(folder: Path, count: int, mode: str) -> np.ndarray:
    pictures = [Image.open(folder / f"{t:05d}.png").convert(mode) for t in range(count)]
    return np.stack([np.asarray(one) for one in pictures])


def line(text: str) -> str:
    return " ".join(text.split())


# Corrections


def test_a_correction_writes_the_frames_alone_whose_masks_change(
    clip: Path, told: list[list[int]], simulacra, tmp_path: Path
) -> None:
    out, kind = tmp_path / "out", "masks"
    first = simulacra(*words(clip, out, kind, 0)).success()
    assert quality(out)["given"] == [0] and told == [[0]]
    before, were = files(out), times(out)
    said = line(simulacra(*words(clip, out, kind, 0, 7)).success())
    assert told == [[0], [0, 7]]
    assert "holds the layers of masks of frames 0, now also with 7" in said
    assert "the masks of 3 of 8 frames are others" in said
    now, are = files(out), times(out)
    frame = {name: int(Path(name).stem) for name in were if Path(name).stem.isdigit()}
    assert len(frame) == T * 11
    for name, t in frame.items():
        if t < 5:
            assert now[name] == before[name] and are[name] == were[name], name
        else:
            assert are[name] != were[name], name
            assert now[name] != before[name] or "composite" in name, name
    assert now["overlay.mp4"] != before["overlay.mp4"]
    assert (out / "mask_on_frame_00007.png").is_file() and not (out / "work").exists()
    found = quality(out)
    assert found["given"] == [0, 7] and list(found["source"]["masks"]) == ["0", "7"]
    assert found["source"]["masks"]["0"] == found["source"]["mask"]
    assert "holds these layers already" in line(simulacra(*words(clip, out, kind, 0, 7)).success())
    assert "a mask of frame" in first and len(told) == 2


@pytest.mark.usefixtures("told")
def test_masks_that_were_given_stay_or_give_way_anew(clip: Path, simulacra, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulacra(*words(clip, out, "first", 0, 7)).success()
    before = files(out)
    shutil.copytree(clip / "first", tmp_path / "first")
    shutil.copy(clip / "first" / "00006.png", tmp_path / "first" / "00007.png")
    for more, says in (
        (words(clip, out, "first", 0), "it has a mask of frame 7, which is not given now"),
        (words(clip, out, "first", 7), "it has a mask of frame 0, which is not given now"),
        (words(clip, out, "masks", 0, 7), "now 00000.png with other contents"),
        ([*words(clip, out, "first", 0, 7), "--seed", 3], "(seed 0, now 3)"),
        ([*words(clip, out, "first", 0, 7), "--fast"], "(fast False, now True)"),
    ):
        assert says in line(simulacra(*more).refusal()) and files(out) == before
    anew = [word for word in words(clip, out, "first", 0)] + [
        "--mask",
        f"7={tmp_path / 'first' / '00007.png'}",
    ]
    refused = line(simulacra(*anew).refusal())
    assert "(mask of frame 7 00007.png, now 00007.png with other contents)" in refused
    assert "or give --anew" in refused
    simulacra(*anew, "--anew").success()
    changed = {name for name, data in files(out).items() if before.get(name) != data}
    assert "mask/00007.png" in changed and "mask/00006.png" not in changed
    simulacra(*words(clip, out, "first", 0), "--anew").success()
    assert not (out / "mask_on_frame_00007.png").exists() and quality(out)["given"] == [0]
    fresh = simulacra(*words(clip, tmp_path / "fresh", "first", 0)).success()
    assert fresh and files(tmp_path / "fresh").keys() == files(out).keys()
    assert "--anew" not in line(
        simulacra(*words(clip, out, "first", 0), "--seed", 2, "--anew").refusal()
    )


@pytest.mark.usefixtures("told")
def test_other_objects_take_the_place_of_the_old_ones(
    clip: Path, simulacra, tmp_path: Path
) -> None:
    """Merged, two objects are one; their own layers are then gone, but not what somebody put
    there."""
    out = tmp_path / "out"
    simulacra(*words(clip, out, "masks", 0)).success()
    assert (out / "objects" / "2" / "matte" / "00003.png").is_file()
    (out / "objects" / "mine.txt").write_text("mine")
    merged = [*words(clip, out, "masks", 0), "--merge"]
    assert "--anew" in line(simulacra(*merged).refusal())
    said = simulacra(*merged, "--anew").success()
    assert [path.name for path in (out / "objects").iterdir()] == ["mine.txt"]
    assert [one["name"] for one in quality(out)["objects"]] == [1] and "object 2" not in said


class Killed(BaseException):
    """Nobody hears of it."""


def killed_at(last: int, patch: pytest.MonkeyPatch) -> list[str]:
    """From the change of a file number `last` on, from 1, none is made any more; lists those that
    were."""
    done: list[str] = []

    def dying(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def change(*given: object, **named: object) -> object:
            if len(done) + 1 >= last:
                raise Killed
            done.append(name)
            return real(*given, **named)

        return change

    patch.setattr(core_files, "put", dying("put", core_files.put))
    for name in "replace", "unlink", "rmdir":
        patch.setattr(os, name, dying(name, getattr(os, name)))
    return done


def masks_of(clip: Path, *frames: int) -> dict[int, Path]:
    return {t: clip / "masks" / f"{t:05d}.png" for t in frames}


@pytest.mark.usefixtures("told")
def test_killed_at_any_change_a_correction_ends_in_the_same_bits(
    clip: Path, tmp_path: Path
) -> None:
    first, whole = tmp_path / "first", tmp_path / "whole"
    verb.decompose(clip / "frames", masks_of(clip, 0), first)
    shutil.copytree(first, whole)
    with pytest.MonkeyPatch.context() as patch:
        done = killed_at(10_000, patch)
        verb.decompose(clip / "frames", masks_of(clip, 0, 7), whole)
    wanted, count = files(whole), len(done)
    assert count > 45
    for last in [1, 3, 5, 7, count // 2, count - 9, count - 5, count - 2, count]:
        part = Path(shutil.copytree(first, tmp_path / f"part {last}"))
        with pytest.MonkeyPatch.context() as patch:
            killed_at(last, patch)
            with pytest.raises(Killed):
                verb.decompose(clip / "frames", masks_of(clip, 0, 7), part)
        told = _layer_folder.QUALITY in files(part)
        if told and quality(part)["given"] == [0]:
            left = {name for name, data in files(first).items() if files(part)[name] != data}
            assert not left, "the earlier layers are whole as long as their quality.json is there"
        verb.decompose(clip / "frames", masks_of(clip, 0, 7), part)
        assert files(part) == wanted, last
        shutil.rmtree(part)


def test_a_stopped_correction_leaves_the_earlier_layers(
    clip: Path, told: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command finds them and leaves the correction's work, which goes on; and yet another
    correction takes its place."""
    out = tmp_path / "out"
    verb.decompose(clip / "frames", masks_of(clip, 0), out)
    before = files(out)
    with monkeypatch.context() as patch:
        patch.setattr(verb, "plated", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            verb.decompose(clip / "frames", masks_of(clip, 0, 7), out)
    more = {name for name in files(out) if name not in before}
    assert {name for name in more if not name.startswith("work/plate.")} == {
        "mask_on_frame_00007.png",
        *(f"work/{name}" for name in ("of.json", "soft.json", "soft.soft", "soft.confidence")),
    }
    _, said = verb.decompose(clip / "frames", masks_of(clip, 0), out)
    assert any("holds these layers already" in one for one in said)
    other = Path(shutil.copytree(out, tmp_path / "other"))
    verb.decompose(clip / "frames", masks_of(clip, 0, 7), out)
    assert told == [[0], [0, 7]], "masks are not sought again"
    verb.decompose(clip / "frames", masks_of(clip, 0, 4), other)
    assert quality(other)["given"] == [0, 4] and told[-1] == [0, 4]


@pytest.mark.usefixtures("told")
def test_a_correction_of_what_was_half_written_writes_all(clip: Path, tmp_path: Path) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    verb.decompose(clip / "frames", masks_of(clip, 0), out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_layer_folder, "films", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            verb.decompose(clip / "frames", masks_of(clip, 0, 7), out)
    assert not (out / "quality.json").exists()
    _, said = verb.decompose(clip / "frames", masks_of(clip, 0, 3, 7), out)
    assert any("holds part of the layers of other masks; all are made anew" in one for one in said)
    verb.decompose(clip / "frames", masks_of(clip, 0, 3, 7), fresh)
    assert files(out) == files(fresh)


@pytest.mark.usefixtures("told")
def test_layers_of_an_earlier_version_are_known_and_corrected(
    clip: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    earlier = ("of", "frames", "height", "width", "seed", "fps", "source")
    with monkeypatch.context() as patch:
        patch.setattr(verb, "VERSION", 2)
        patch.setattr(
            verb,
            "fingerprint",
            lambda clip, objects, more: real(clip, objects, (2, 0)),
        )
        real = verb_fingerprint
        simulacra(*words(clip, out, "first", 0)).success()
    found = quality(out)
    numbers = {key: value for key, value in found.items() if isinstance(value, int | float)}
    kept = {key: found[key] for key in earlier} | numbers
    del kept["source"]["masks"], kept["confidence_mean"]
    kept.pop("advised", None)
    (out / "quality.json").write_text(json.dumps(kept))
    before = files(out)
    said = line(simulacra(*words(clip, out, "first", 0)).success())
    assert "made by an earlier version, without confidence" in said and files(out) == before
    said = line(simulacra(*words(clip, out, "first", 0, 7)).success())
    assert "the masks of 8 of 8 frames are others" in said and "confidence" in quality(out)


verb_fingerprint = verb.fingerprint


# Several objects


@pytest.mark.usefixtures("told")
def test_several_objects(clip: Path, simulacra, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = line(simulacra(*words(clip, out, "masks", 0, 4, 7)).success())
    assert "frame 0" in said and "2 objects: 1 (8.1%) and 2 (11.7%); --merge" in said
    assert "nearest first: objects 1, 2" in said
    found = quality(out)
    assert [(one["name"], one["depth"]) for one in found["objects"]] == [(1, 0), (2, 1)]
    assert np.allclose(
        np.mean([one["confidence"] for one in found["objects"]], 0), found["confidence"]
    )
    read = {
        part: stacked(out / part, T, mode).astype(int)
        for part, mode in [
            ("mask", "L"),
            ("matte", "L"),
            ("background", "RGB"),
            ("composite", "RGB"),
            *((f"objects/{k}/{part}", "L") for k in (1, 2) for part in ("mask", "matte")),
            *((f"objects/{k}/foreground", "RGBA") for k in (1, 2)),
        ]
    }
    both = read["objects/1/mask"] + read["objects/2/mask"]
    assert np.array_equal(both, read["mask"]) and both.max() == 255
    assert np.abs(read["objects/1/matte"] + read["objects/2/matte"] - read["matte"]).max() <= 1
    again = read["background"].astype(float)
    for k in (2, 1):  # the nearest last
        colours, a = np.split(read[f"objects/{k}/foreground"], [3], 3)
        again = a / 255 * colours + (1 - a / 255) * again
    assert np.abs(again - read["composite"]).max() <= 2
    frames = np.stack(
        [np.asarray(Image.open(path)) for path in sorted((clip / "frames").glob("*.png"))]
    )
    right = read["composite"][[0, 1, 2, 4, 5, 6, 7]] - frames[[0, 1, 2, 4, 5, 6, 7]].astype(int)
    assert np.square(right / 255).mean() < 10**-3 and found["composite_psnr_mean"] > 30
    overlay = np.asarray(Image.open(out / "mask_on_first_frame.png")).astype(int) - frames[0]
    one, two = overlay[20:40, 8:28].mean((0, 1)), overlay[16:40, 40:64].mean((0, 1))
    assert one[0] > one[1] and two[1] > two[0], "red and green"


@pytest.mark.usefixtures("told")
def test_measure_scores_each_object_and_the_confidence(
    clip: Path, simulacra, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    simulacra(*words(clip, out, "masks", 0)).success()
    rows = json.loads(simulacra("measure", out, "--truth", clip / "masks", "--json").success())
    assert list(rows) == ["masks/1", "masks/2", "mean"]
    # of frames 1 to 6 the first two are right, the others 3 of 20 rows lower
    j = (2 + 4 * 17 / 23) / 6
    assert rows["masks/1"]["J_mean"] == pytest.approx(j)
    for key in "J_mean", "F_mean":
        assert rows["mean"][key] == pytest.approx((rows["masks/1"][key] + rows["masks/2"][key]) / 2)
    assert rows["masks/1"]["confidence_J_rank"] == pytest.approx(1)
    said = line(simulacra("measure", out, "--truth", clip / "masks").success())
    assert "masks/1: confidence and J over frames have a rank correlation of 1.000" in said
    text = line(simulacra("measure", out, "--truth", clip / "first").refusal())
    assert "00000.png has no indices; needed: indices that are the objects' names, 1 and 2" in text


@pytest.mark.usefixtures("told")
def test_measure_of_one_object_says_what_its_confidence_is_worth(
    clip: Path, simulacra, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    simulacra(*words(clip, out, "first", 0)).success()
    rows = json.loads(simulacra("measure", out, "--truth", clip / "first", "--json").success())
    assert rows["first"]["confidence_J_rank"] == pytest.approx(1)
    constant = quality(out)
    constant["objects"][0]["confidence"] = [0.5] * T
    (out / "quality.json").write_text(json.dumps(constant))
    rows = json.loads(simulacra("measure", out, "--truth", clip / "first", "--json").success())
    assert rows["first"]["confidence_J_rank"] is None
    assert "undefined" in simulacra("measure", out, "--truth", clip / "first").success()


# What is said


def test_the_confidence_comes_first_and_the_advice_last(
    clip: Path, told: list[list[int]], simulacra, tmp_path: Path
) -> None:
    out = tmp_path / "the layers"
    lines = simulacra(*words(clip, out, "first", 0), "--fps", 12).success().splitlines()
    start = lines.index(str(out))
    assert lines[start + 1].startswith("the mask has a confidence of 0.60 on average")
    assert "no frame is without object" in lines[start + 1]
    assert lines[start + 2 : start + 5] == [
        "███▄▄▄▄▄",
        "0      7",
        "look at frames 3 to 7: the object has a confidence below 0.5, down to 0.40",
    ]
    assert "PSNR" in lines[-2] and "PSNR" not in "".join(lines[start : start + 5])
    advised = quality(out)["advised"]
    assert advised in (4, 5, 6) and lines[-1].startswith(f"a mask of frame {advised} would help")
    assert lines[-1].endswith(
        f"simulacra decompose {clip / 'frames'} --mask 0={clip}/first/00000.png "
        f"--mask {advised}=MASK --fps 12.0 -o '{out}'"
    )
    told_json = json.loads(simulacra(*words(clip, out, "first", 0), "--json").success())
    assert list(told_json)[:4] == ["confidence_mean", "without_object", "advised", "warnings"]
    assert told_json["warnings"] == [
        {"kind": "low", "frames": [3, 4, 5, 6, 7], "object": 1, "text": lines[start + 4][8:]}
    ]


def test_a_loss_is_said_at_once_and_at_the_end(
    clip: Path, told: list[list[int]], simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought = verb.segmented

    def losing(frames: Tensor, masks: Mapping[int, Tensor], *rest: object) -> dict[str, Tensor]:
        *how, arrived, place = rest

        def heard(t: int, soft: Tensor, confidence: Tensor) -> None:
            soft = soft * (t not in (5, 6))
            found["soft"][t] = soft
            arrived(t, soft, confidence)  # type: ignore[operator]

        found: dict[str, Tensor] = {"soft": torch.zeros(T, 1, *frames.shape[2:])}
        made = sought(frames, masks, *how, heard, place)  # type: ignore[arg-type]
        return {"soft": found["soft"], "confidence": made["confidence"]}

    monkeypatch.setattr(verb, "segmented", losing)
    out, masks = tmp_path / "out", []
    said: list[str] = []
    verb.decompose(
        clip / "frames",
        {0: clip / "first" / "00000.png"},
        out,
        said=said.append,
        arrived=lambda t, soft, confidence: masks.append((t, tuple(soft.shape))),
    )
    assert masks == [(t, (1, 56, 88)) for t in range(T)]
    assert "frame 5: the object is not found" in said
    text = line(simulacra(*words(clip, out, "first", 0)).success())
    assert "2 of 8 frames show nothing of the object" in text
    assert "look at frames 5 to 6: the object is not found" in text and "▄▄--▄" in text
    assert quality(out)["without_object"] == [5, 6]
    assert told == [[0]]


# With the masks that `follow` finds


def test_a_mask_of_a_later_frame_alone(
    clip: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ("STEPS", 60), ("NETS", 1), ("AREA", 1200):
        monkeypatch.setattr(_appearance, name, value)
    out = tmp_path / "out"
    said = line(simulacra(*words(clip, out, "first", 2), "--frames", 4).success())
    assert "what the mask of frame 2 was taken for: " in said
    assert not (out / "mask_on_first_frame.png").exists()
    found = stacked(out / "mask", 4, "L") > 127
    true = true_of(1)[:4, 0].numpy() > 0
    overlap = (found & true).sum((1, 2)) / (found | true).sum((1, 2))
    assert overlap[2] == 1 and overlap.min() > 0.5
    assert quality(out)["given"] == [2] and quality(out)["confidence"][2] == 1


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        ("0=A 8=A", "is of frame 8; the clip has 8 frames, allowed: 0 to 7"),
        ("0=A 4=A --frames=4", "is of frame 4; the clip has 4 frames, allowed: 0 to 3"),
        ("A 0=A", "are both of frame 0; allowed: one mask a frame"),
        ("3=EMPTY", "empty.png is empty; needed: the object"),
        ("0=EMPTY 3=EMPTY", "empty.png are empty; needed: the object"),
        ("0=A 3=TEXT", "cannot read text.png"),
        ("0=A 3=gone.png", "no mask gone.png"),
        ("0=A 3=", "names no picture"),
    ],
)
def test_mistakes(
    masks: str, says: str, clip: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one line, before anything is written."""
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no picture")
    Image.new("L", (88, 56)).save("empty.png")
    given: list[object] = []
    for word in masks.split():
        word = word.replace("TEXT", "text.png").replace("EMPTY", "empty.png")
        given += [word] if word[0] == "-" else ["--mask", word]
    given = [str(w).replace("A", str(clip / "first" / "00000.png")) for w in given]
    text = simulacra("decompose", clip / "frames", *given, "-o", "out").refusal()
    assert says in line(text) and not Path("out").exists()


@pytest.mark.usefixtures("told")
def test_an_empty_mask_says_that_the_object_is_not_there(
    clip: Path, simulacra, tmp_path: Path
) -> None:
    Image.new("L", (88, 56)).save(tmp_path / "empty.png")
    more = ["--mask", f"7={tmp_path / 'empty.png'}"]
    said = line(simulacra(*words(clip, tmp_path / "out", "first", 0), *more).success())
    assert "the object is not there" in said
    found = quality(tmp_path / "out")
    assert found["without_object"] == [7]
    assert not any(one["kind"] == "lost" for one in found["warnings"])

"""Decompose and edit from the command line, and the layers that they handle."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from simulacra.io import clip_and_mask, paint
from simulacra.io.clip import FILMS
from simulacra.tasks import _layer_folder
from simulacra.tasks import decompose as verb
from simulacra.video import _appearance, layers

T, H, W = 6, 48, 64


def texture(height: int, width: int, seed: int) -> Tensor:
    rough = (
        torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
        * 1.6
        - 0.8
    )
    return F.interpolate(rough, (height, width), mode="bicubic").clamp(-1, 1)[0]


def scene() -> tuple[Tensor, Tensor, Tensor]:
    """A textured square that moves right over a textured ground that stays:
    frames, masks, the ground."""
    ground, block = (
        texture(H, W, 1),
        texture(16, 16, 2) * 0.3 + torch.tensor([0.7, -0.5, -0.5])[:, None, None],
    )
    frames, masks = ground.repeat(T, 1, 1, 1), torch.zeros(T, 1, H, W)
    for t in range(T):
        frames[t, :, 16:32, 6 + 5 * t : 22 + 5 * t] = block.clamp(-1, 1)
        masks[t, :, 16:32, 6 + 5 * t : 22 + 5 * t] = 1
    return frames, masks, ground


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with frames/ and mask.png."""
    folder = tmp_path_factory.mktemp("clip")
    frames, masks, _ = scene()
    paint.save_pngs(frames, folder / "frames")
    Image.fromarray((masks[0, 0] * 255).byte().numpy()).save(folder / "mask.png")
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_appearance, "STEPS", 40)


@pytest.fixture(scope="module")
def taken(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layers of the clip; not to be written into."""
    out = tmp_path_factory.mktemp("layers") / "layers"

    def noted(make: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
        return lambda *given: MADE.setdefault(make.__name__, make(*given))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_appearance, "STEPS", 150)
        for make in verb.segmented, verb.plated:
            patch.setattr(verb, make.__name__, noted(make))
        verb.decompose(film / "frames", film / "mask.png", out)
    return out


MADE: dict[str, dict[str, Tensor]] = {}  # what took long, of the clip of `film`


@pytest.fixture
def remade(taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is not done again, but taken from where it was done."""
    for name in MADE:
        monkeypatch.setattr(verb, name, lambda *_, name=name: MADE[name])


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# Layers


def test_over_and_back_by_hand() -> None:
    """F = (I - (1 - a) B) / a: of a = 0.5, B = -1, I = 0 it is 1;
    and the composite is the frame again."""
    frames, ground = torch.zeros(1, 3, 16, 16), -torch.ones(1, 3, 16, 16)
    matte = torch.zeros(1, 1, 16, 16)
    matte[..., 4:12, 4:12] = 1
    matte[..., 4:12, 12] = 0.5
    frames = torch.where(
        matte > 0.9, torch.tensor(0.3), torch.where(matte > 0.4, torch.tensor(0.0), ground)
    )
    colours = layers.foregrounds(frames, matte, ground)
    assert torch.allclose(colours[..., 4:12, 12], torch.ones(3, 8)) and torch.allclose(
        colours[..., 4:12, 4:12], torch.full((3, 8, 8), 0.3)
    )
    assert torch.allclose(layers.over(colours, matte, ground), frames, atol=1e-6)
    assert torch.allclose(colours[..., 6, 1], torch.full((3,), 0.3)), (
        "beyond: the nearest of the object's colours"
    )
    empty = layers.foregrounds(frames, torch.zeros_like(matte), ground)
    assert empty.isfinite().all()


def test_a_guided_filter_of_a_constant_and_of_itself() -> None:
    guide = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        layers.guided(guide, torch.full((2, 1, 20, 24), 0.4), 3),
        torch.full((2, 1, 20, 24), 0.4),
        atol=1e-4,
    )
    linear = (guide * torch.tensor([0.2, 0.3, 0.5]).view(3, 1, 1)).sum(1, keepdim=True)
    assert (layers.guided(guide, linear, 3, smooth=1e-7) - linear).abs().max() < 1e-2, (
        "what is linear in the guide stays"
    )
    assert (layers.guided(guide, linear, 3, smooth=10.0) - linear).abs().mean() > 0.02


def test_mattes_are_the_mask_but_near_its_edge() -> None:
    frames, masks, _ = scene()
    found = layers.mattes(frames, masks)
    inner = masks.clone()
    inner[:, :, :, :] = -F.max_pool2d(-masks, 5, 1, 2)
    assert (found[inner > 0] == 1).all() and (found[F.max_pool2d(masks, 5, 1, 2) == 0] == 0).all()
    assert ((found > 0.5) == (masks > 0.5)).float().mean() > 0.99
    assert found.min() >= 0 and found.max() <= 1


def test_what_the_background_does_not_explain_is_the_object() -> None:
    ground = torch.zeros(1, 3, 8, 12)
    ground[..., 6:] = 0.5
    frame, matte, known = ground.clone(), torch.zeros(1, 1, 8, 12), torch.ones(1, 1, 8, 12)
    frame[0, :, 2, 2] = torch.tensor([0.0, 0.0, -0.9])  # one colour of three is enough
    frame[0, :, 4, 2] = 0.45  # half way
    frame[0, :, :, 5] = 0.5  # the edge is a pixel off, which explains it
    frame[0, :, 6, 10], known[..., 6, 10] = -0.9, 0  # painted there: no evidence
    matte[..., 7, 0] = 0.7
    found = layers.explained(frame, matte, ground, known)
    wanted = matte.clone()
    wanted[..., 2, 2], wanted[..., 4, 2] = 1, 0.5
    assert torch.allclose(found, wanted, atol=1e-6)


def test_quality_by_hand() -> None:
    frames, masks, ground = scene()

    def quality(*parts: Tensor) -> dict[str, float | int | None]:
        frame_by_frame = zip(*(part.split(1) for part in parts), strict=True)
        return layers.quality([layers.told(*one) for one in frame_by_frame])

    told = quality(frames, masks, frames, ground.expand_as(frames), masks * 0.5)
    assert told["composite_psnr_least"] == 100 and told["frames"] == T
    assert (
        told["object_share_first"] == pytest.approx(256 / (H * W))
        and told["frames_without_object"] == 0
    )
    assert told["background_seen_elsewhere"] == pytest.approx(0.5) and told["matte_soft_share"] == 0
    assert quality(frames, masks * 0, frames, frames, masks)["background_seen_elsewhere"] is None


# Decompose


def test_a_clip_is_taken_apart(taken: Path) -> None:
    frames, masks, ground = scene()
    told = json.loads((taken / "quality.json").read_text())
    assert (
        told["frames"] == T
        and (told["height"], told["width"]) == (H, W)
        and told["composite_psnr_least"] > 28
    )
    names = {
        name: len(list((taken / name).glob("*.png")))
        for name in ("foreground", "matte", "background", "composite")
    }
    assert set(names.values()) == {T} and not (taken / "work").exists()
    found = (
        np.stack([np.asarray(Image.open(path)) for path in sorted((taken / "matte").glob("*.png"))])
        > 127
    )
    both = (found & (masks[:, 0].numpy() > 0)).sum((1, 2)) / (
        found | (masks[:, 0].numpy() > 0)
    ).sum((1, 2))
    assert both.min() > 0.8, both
    plate = (
        np.stack(
            [np.asarray(Image.open(path)) for path in sorted((taken / "background").glob("*.png"))]
        )
        / 127.5
        - 1
    )
    error = np.abs(plate - ground.permute(1, 2, 0).numpy())[masks[:, 0].numpy() > 0]
    assert error.mean() < 0.12, "the ground stays, and other frames show it"
    with Image.open(taken / "foreground" / "00000.png") as image:
        assert image.mode == "RGBA" and image.size == (W, H)
    again = np.asarray(Image.open(taken / "composite" / "00003.png"), float) / 127.5 - 1
    assert np.abs(again - frames[3].permute(1, 2, 0).numpy()).mean() < 0.03
    for name in "overlay.mp4", "overlay.gif", "background.mp4":
        assert (taken / name).stat().st_size > 500


def test_what_is_done_is_not_done_again(
    taken: Path, film: Path, simulacra, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(taken)
    monkeypatch.setattr(verb, "segmented", None)
    assert "holds these layers already" in " ".join(
        simulacra("decompose", film / "frames", "--mask", film / "mask.png", "-o", taken)
        .success()
        .split()
    )
    assert files(taken) == before


@pytest.mark.usefixtures("quick")
def test_a_stopped_run_goes_on(
    film: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the masks: they are not sought again,
    and the files are those of a run that was not stopped."""
    words = "decompose", film / "frames", "--mask", film / "mask.png"
    simulacra(*words, "-o", tmp_path / "whole").success()
    with monkeypatch.context() as patch:
        patch.setattr(verb, "plated", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            verb.decompose(film / "frames", film / "mask.png", tmp_path / "part")
    assert (tmp_path / "part" / "work" / "soft.json").is_file() and not (
        tmp_path / "part" / "quality.json"
    ).exists()
    monkeypatch.setattr(verb, "segmented", None)
    simulacra(*words, "-o", tmp_path / "part").success()
    assert files(tmp_path / "part") == files(tmp_path / "whole")


@pytest.mark.usefixtures("quick")
def test_other_sizes_are_told(film: Path, simulacra, tmp_path: Path) -> None:
    with Image.open(film / "mask.png") as image:
        image.resize((2 * W, 2 * H)).save(tmp_path / "large.png")
    words = (
        "decompose",
        film / "frames",
        "--mask",
        tmp_path / "large.png",
        "--longest",
        40,
        "--frames",
        2,
        "--fps",
        5,
    )
    said = " ".join(simulacra(*words, "-o", tmp_path / "out").success().split())
    assert (
        f"resized from {W}x{H} to 40x30 (--longest 0 keeps its size)" in said
        and "resized from 128x96 to 40x30" in said
    )
    told = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert told["frames"] == 2 and told["fps"] == 5


@pytest.mark.usefixtures("quick")
def test_a_clip_of_one_frame(film: Path, simulacra, tmp_path: Path) -> None:
    words = "decompose", film / "frames", "--mask", film / "mask.png", "--frames", 1, "--json"
    told = json.loads(simulacra(*words, "-o", tmp_path / "one").success())
    assert told["frames"] == 1 and told["background_seen_elsewhere"] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("CLIP --mask gone.png", "no mask"),
        ("CLIP --mask .", "is a folder; it must be a picture"),
        ("CLIP --mask text.png", "cannot read"),
        ("CLIP --mask empty.png", "is empty; needed: the object in any colour"),
        ("CLIP --mask full.png", "covers the whole frame"),
        ("gone --mask MASK", "no clip"),
        ("text.png --mask MASK", "cannot read"),
        ("text.txt --mask MASK", "ends in '.txt'; allowed: a folder of frames"),
        ("nothing --mask MASK", "no pictures"),
        ("unequal --mask MASK", "allowed: frames of one size"),
        ("CLIP --mask MASK --longest -1", "longest = -1"),
        ("CLIP --mask MASK --longest 10", "at least 16 pixels high and wide"),
        ("CLIP --mask MASK --fps 0", "fps = 0"),
        ("CLIP --mask MASK -o text.txt", "text.txt is a file; layers go into a folder"),
        ("CLIP --mask MASK -o other", "holds the layers of another clip, mask or option"),
        ("CLIP", "Missing option"),
    ],
)
def test_mistakes(
    words: str, says: str, film: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is one line, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    for name in "text.png", "text.txt":
        Path(name).write_text("no picture")
    Image.new("L", (W, H)).save("empty.png")
    Image.new("L", (W, H), 255).save("full.png")
    for name in "nothing", "unequal", "other":
        Path(name).mkdir()
    for i, size in enumerate([(W, H), (W, H + 2)]):
        Image.new("RGB", size).save(f"unequal/{i}.png")
    Path("other/quality.json").write_text('{"of": "something else"}')
    before = files(tmp_path)
    parts = (
        words.replace("CLIP", str(film / "frames")).replace("MASK", str(film / "mask.png")).split()
    )
    where = [] if "-o" in parts else ["-o", "out"]
    assert says in " ".join(simulacra("decompose", *parts, *where).refusal().split())
    assert {
        name: content
        for name, content in files(tmp_path).items()
        if not name.startswith("out/work")
    } == before


def test_a_clip_that_does_not_fit_is_refused(
    film: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_and_mask, "frames_that_fit", lambda *_: 4)
    text = simulacra(
        "decompose", film / "frames", "--mask", film / "mask.png", "-o", tmp_path / "out"
    ).refusal()
    assert "more than 4 frames" in text and "--frames 4" in text and not (tmp_path / "out").exists()


# Edit


def frames_of(folder: Path) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.open(path)) for path in sorted((folder / "frames").glob("*.png"))]
    )


def test_edit_removes_moves_and_changes_the_ground(taken: Path, simulacra, tmp_path: Path) -> None:
    simulacra("edit", taken, "--remove", "-o", tmp_path / "gone").success()
    plates = np.stack(
        [np.asarray(Image.open(path)) for path in sorted((taken / "background").glob("*.png"))]
    )
    assert np.array_equal(frames_of(tmp_path / "gone"), plates)

    simulacra("edit", taken, "--move", "0,12", "-o", tmp_path / "moved").success()
    moved = frames_of(tmp_path / "moved")
    assert moved[0, 34:42, 10:18, 0].mean() > 150, "the red square is lower"
    assert np.abs(moved[0, 18:26, 10:18].astype(int) - plates[0, 18:26, 10:18]).mean() < 2, (
        "and no longer where it was"
    )

    Image.new("RGB", (90, 50), (0, 0, 255)).save(tmp_path / "blue.png")
    said = simulacra(
        "edit", taken, "--background", tmp_path / "blue.png", "-o", tmp_path / "blue"
    ).success()
    assert "cropped and resized from 90x50 to 64x48" in " ".join(said.split())
    blue = frames_of(tmp_path / "blue")
    assert (blue[:, :8] == (0, 0, 255)).all() and blue[0, 20:28, 10:18, 0].mean() > 150
    assert (tmp_path / "blue" / "edited.mp4").is_file() and (
        tmp_path / "blue" / "edited.gif"
    ).is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("TAKEN -o out", "nothing to edit; allowed: --remove"),
        ("TAKEN --remove --move 1,1 -o out", "--remove leaves nothing to --move"),
        ("TAKEN --move 1 -o out", "move = 1; allowed: two numbers"),
        ("TAKEN --move nan,1 -o out", "two finite numbers"),
        ("TAKEN --background gone.png -o out", "no background gone.png"),
        ("TAKEN --background text.png -o out", "cannot read text.png"),
        ("TAKEN --remove -o text.png", "text.png is a file"),
        ("gone --remove -o out", "gone holds no layers; `simulacra decompose CLIP"),
    ],
)
def test_mistakes_of_edit(
    words: str, says: str, taken: Path, simulacra, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no picture")
    assert says in " ".join(
        simulacra("edit", *words.replace("TAKEN", str(taken)).split()).refusal().split()
    )
    assert not Path("out").exists()


# Folders that are finished, broken, or somebody's


@pytest.fixture
def mine(taken: Path, tmp_path: Path) -> Path:
    """A copy of the layers, to do with as one likes."""
    return Path(shutil.copytree(taken, tmp_path / "mine"))


def words(film: Path, out: Path, *more: object) -> tuple[object, ...]:
    return "decompose", film / "frames", "--mask", film / "mask.png", "-o", out, *more


def notes(text: str) -> str:
    return " ".join(text.split())


def test_the_mask_is_shown_at_once(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is learnt: the first frame, the object in red."""
    heard: list[str] = []
    monkeypatch.setattr(verb, "segmented", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        verb.decompose(film / "frames", film / "mask.png", tmp_path / "out", said=heard.append)
    shown = np.asarray(Image.open(tmp_path / "out" / "mask_on_first_frame.png")).astype(int)
    frame, mask = (
        np.asarray(Image.open(film / name)).astype(int) for name in ("frames/00000.png", "mask.png")
    )
    assert np.array_equal(shown[mask == 0], frame[mask == 0])
    assert np.abs(shown[mask > 0] - (frame[mask > 0] + [204, 51, 51]) / 2).max() <= 1
    assert any(
        "what is not black is the object; it covers 8.3% of the picture" in line for line in heard
    )
    assert any("24 are assumed" in line for line in heard) and any(
        "mask_on_first_frame.png" in line for line in heard
    )


def test_another_rate_writes_the_films_again(
    mine: Path, film: Path, simulacra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "segmented", None)
    before = files(mine)
    said = notes(simulacra(*words(film, mine, "--fps", 5)).success())
    assert "films had 24 frames per second, and now have 5; written again" in said
    assert json.loads((mine / "quality.json").read_text())["fps"] == 5
    for name in "overlay.mp4", "background.mp4":
        with av.open(str(mine / name)) as container:
            assert (
                container.streams.video[0].average_rate == 5
                and container.streams.video[0].frames == T
            )
    with Image.open(mine / "overlay.gif") as image:
        assert image.info["duration"] == 200
    changed = {"overlay.mp4", "overlay.gif", "background.mp4", "quality.json", "times.json"}
    assert {name for name, data in files(mine).items() if before[name] != data} == changed
    assert "(--fps)" not in said and "holds these layers already" in notes(
        simulacra(*words(film, mine, "--fps", 5)).success()
    )
    simulacra(*words(film, mine)).success()
    assert files(mine) == before, "without --fps: the clip's again"


@pytest.mark.usefixtures("remade")
@pytest.mark.parametrize(
    "lost", ["layers", "folder", "one", "empty", "zeros", "cut short", "another size"]
)
def test_layers_that_are_lost_are_made_again(lost: str, film: Path, mine: Path, simulacra) -> None:
    out = mine
    before, one = files(out), out / "matte" / "00003.png"
    if lost == "layers":
        for path in [*out.rglob("*.png"), *out.glob("*.mp4"), *out.glob("*.gif")]:
            path.unlink()
    elif lost == "folder":
        shutil.rmtree(out / "foreground")
    elif lost == "one":
        one.unlink()
    elif lost == "another size":
        Image.new("L", (5, 5)).save(one)
    else:
        whole = one.read_bytes()
        one.write_bytes(
            {"empty": b"", "zeros": bytes(len(whole)), "cut short": whole[: len(whole) // 2]}[lost]
        )
    said = notes(simulacra(*words(film, out)).success())
    count = {"layers": 5 * T, "folder": T}.get(lost, 1)
    assert f"{count} layers are not there or damaged, such as" in said and "made again" in said
    assert files(out) == before


@pytest.mark.parametrize(
    "name", ["overlay.mp4", "overlay.gif", "background.mp4", "mask_on_first_frame.png"]
)
def test_films_that_are_lost_are_made_of_the_layers(
    name: str, mine: Path, film: Path, simulacra, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "segmented", None)
    before = files(mine)
    for content in None, before[name][: len(before[name]) // 2]:
        (mine / name).unlink() if content is None else (mine / name).write_bytes(content)
        said = notes(simulacra(*words(film, mine)).success())
        assert files(mine) == before and ("films are not there or damaged" in said) == (
            name != "mask_on_first_frame.png"
        )


def test_touched_up_layers_are_kept(mine: Path, film: Path, simulacra) -> None:
    """What a person painted is a whole picture; only what is lost is written."""
    Image.new("L", (W, H), 255).save(mine / "matte" / "00002.png")
    own = (mine / "matte" / "00002.png").read_bytes()
    assert "holds these layers already" in notes(simulacra(*words(film, mine)).success())
    assert (mine / "matte" / "00002.png").read_bytes() == own


def spoilt(says: Path, how: str) -> None:
    """What is left of a run is not to be believed."""
    one = next(path for path in sorted(says.parent.glob(f"{says.stem}.*")) if path != says)
    told = json.loads(says.read_bytes())
    if how == "of another clip":
        says.write_text(json.dumps(told | {"of": "another"}))
    elif how == "no checksum":
        says.write_text(json.dumps({"of": told["of"]}))
    elif how == "gone":
        one.unlink()
    else:
        path = says if how in ("text", "empty") else one
        whole = path.read_bytes()
        path.write_bytes(
            {
                "empty": b"",
                "zeros": bytes(len(whole)),
                "one bit": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
                "cut short": whole[: len(whole) // 2],
                "longer": whole + b"more",
                "text": b"no facts at all, but some text",
            }[how]
        )


SPOILT = [
    "empty",
    "zeros",
    "one bit",
    "cut short",
    "longer",
    "text",
    "no checksum",
    "gone",
    "of another clip",
]


@pytest.mark.usefixtures("remade")
def test_work_that_is_not_to_be_believed_is_done_again(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both files, in all ways; the layers are those of a run that was not stopped."""
    clip_of, mask_of = film / "frames", film / "mask.png"
    verb.decompose(clip_of, mask_of, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(_layer_folder, "films", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            verb.decompose(clip_of, mask_of, tmp_path / "part")
    for name in "soft", "plate":
        for how in SPOILT:
            out = Path(shutil.copytree(tmp_path / "part", tmp_path / f"{name} {how}"))
            spoilt(out / "work" / f"{name}.json", how)
            _, told = verb.decompose(clip_of, mask_of, out)
            said = [line for line in told if "cannot be used" in line]
            assert (
                len(said) == 1
                and f"{name}.json cannot be used (" in said[0]
                and "made again" in said[0]
            ), (how, told)
            assert files(out) == files(tmp_path / "whole"), how


@pytest.mark.parametrize("content", [b"", bytes(30), b"[]", b'{"of": 3}', b'{"of": "x'])
@pytest.mark.usefixtures("remade")
def test_a_broken_note_of_whose_layers_they_are(content: bytes, film: Path, tmp_path: Path) -> None:
    """In the folder of what is being done it means to begin again;
    nothing else in it is removed."""
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "work" / "of.json").write_bytes(content)
    (tmp_path / "out" / "work" / "mine.txt").write_text("somebody's")
    _, told = verb.decompose(film / "frames", film / "mask.png", tmp_path / "out")
    assert any("of.json cannot be read; all is made anew" in line for line in told)
    assert list((tmp_path / "out" / "work").iterdir()) == [tmp_path / "out" / "work" / "mine.txt"]


def test_files_of_somebody_are_not_overwritten(film: Path, simulacra, tmp_path: Path) -> None:
    Image.new("L", (W, H)).save(empty(tmp_path / "out" / "mask") / "00000.png")
    before = files(tmp_path)
    text = notes(simulacra(*words(film, tmp_path / "out")).refusal())
    assert (
        "out holds mask, which would be overwritten; name another folder" in text
        and files(tmp_path) == before
    )


def empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--frames", 3), "(frames 6, now 3)"),
        (("--longest", 40), "(width 64, now 40; height 48, now 30)"),
        (("--seed", 4), "(seed 0, now 4)"),
    ],
)
def test_another_option_names_both_values(
    more: tuple[object, ...], says: str, taken: Path, film: Path, simulacra
) -> None:
    before = files(taken)
    assert f"another clip, mask or option {says}; name another" in notes(
        simulacra(*words(film, taken, *more)).refusal()
    )
    assert files(taken) == before


def test_another_mask_or_clip_is_named(taken: Path, film: Path, simulacra, tmp_path: Path) -> None:
    Image.fromarray(np.pad(np.full((9, 9), 255, np.uint8), ((9, H - 18), (9, W - 18)))).save(
        tmp_path / "other.png"
    )
    text = notes(
        simulacra(
            "decompose", film / "frames", "--mask", tmp_path / "other.png", "-o", taken
        ).refusal()
    )
    assert "(mask mask.png, now other.png with other contents)" in text
    paint.save_pngs(scene()[0].flip(0), tmp_path / "backwards")
    text = notes(
        simulacra(
            "decompose", tmp_path / "backwards", "--mask", film / "mask.png", "-o", taken
        ).refusal()
    )
    assert "(clip frames, now backwards with other contents)" in text


def test_older_folders_are_still_known(
    mine: Path, film: Path, simulacra, monkeypatch: pytest.MonkeyPatch
) -> None:
    """quality.json said less of what the layers are made of."""
    monkeypatch.setattr(verb, "segmented", None)
    told = json.loads((mine / "quality.json").read_text())
    (mine / "quality.json").write_text(
        json.dumps({key: value for key, value in told.items() if key != "source"})
    )
    (mine / "mask_on_first_frame.png").unlink()
    assert "holds these layers already" in notes(simulacra(*words(film, mine)).success())
    assert (mine / "mask_on_first_frame.png").is_file()
    assert "(seed 0, now 2)" in notes(simulacra(*words(film, mine, "--seed", 2)).refusal())


@pytest.mark.usefixtures("remade")
@pytest.mark.parametrize("last", [1, 2, 9, 31, 33])
def test_killed_while_it_writes(
    last: int, film: Path, taken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any write, and started again, it leaves the files of a run that was not."""
    wrote, real = 0, paint.write

    def dying(path: Path, data: bytes) -> Path:
        nonlocal wrote
        wrote += 1
        if wrote == last:
            raise KeyboardInterrupt
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(paint, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            verb.decompose(film / "frames", film / "mask.png", tmp_path / "part")
    assert not (tmp_path / "part" / "quality.json").exists()
    verb.decompose(film / "frames", film / "mask.png", tmp_path / "part")
    assert files(tmp_path / "part") == files(taken)


# Backgrounds


def test_backgrounds_stand_upright(taken: Path, simulacra, tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6  # turned clockwise: what is on the left in the file is above
    image = Image.new("RGB", (H, W), (0, 0, 255))
    image.paste((0, 255, 0), (0, 0, H // 2, W))
    image.save(tmp_path / "turned.png", exif=tag)
    simulacra(
        "edit", taken, "--remove", "--background", tmp_path / "turned.png", "-o", tmp_path / "out"
    ).success()
    frame = frames_of(tmp_path / "out")[0]
    assert (frame[: H // 2 - 2] == (0, 255, 0)).all() and (frame[H // 2 + 2 :] == (0, 0, 255)).all()


def test_backgrounds_of_every_kind_of_clip(taken: Path, simulacra, tmp_path: Path) -> None:
    """All that decompose takes: films by any of its endings, animations, folders;
    and what is done to them is said."""
    ground = torch.tensor([-1.0, 0, 1])[None, :, None, None] * torch.ones(2, 3, H, W)
    ground[1] = -ground[1]
    for end in FILMS:
        # of other containers than the one that is written here
        if end in (".mpeg", ".mpg", ".webm"):
            continue
        paint.save_mp4(ground, tmp_path / "film.mp4", 12).rename(tmp_path / f"film{end}")
    paint.save_gif(ground, tmp_path / "film.gif", 12.5)
    pictures = [Image.fromarray(one) for one in paint.to_bytes(ground)]
    pictures[0].save(
        tmp_path / "film.webp",
        save_all=True,
        append_images=pictures[1:],
        duration=100,
        lossless=True,
    )
    paint.save_pngs(ground, tmp_path / "frames")
    for place in [*tmp_path.glob("film.*"), tmp_path / "frames"]:
        out = tmp_path / "out" / place.name
        said = notes(
            simulacra("edit", taken, "--remove", "--background", place, "-o", out).success()
        )
        made = frames_of(out).astype(int)
        assert (
            np.abs(made[::2, 5, 5] - [0, 128, 255]).max() < 12
            and np.abs(made[1::2, 5, 5] - [255, 128, 0]).max() < 12
        )
        assert "it has 2 frames, of 6, and begins again" in said
        assert ("its frames are taken one by one, at 24 per second" in said) == (
            place.name != "frames"
        )


def test_backgrounds_that_are_none(taken: Path, simulacra, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    text = notes(
        simulacra(
            "edit", taken, "--background", tmp_path / "x.txt", "-o", tmp_path / "out"
        ).refusal()
    )
    assert "ends in '.txt'; allowed: a folder of frames" in text
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        voice = container.add_stream("aac", rate=8000)
        wave = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.float32), format="fltp", layout="mono"
        )
        wave.rate, wave.pts = 8000, 0
        container.mux([*voice.encode(wave), *voice.encode()])
    text = notes(
        simulacra(
            "edit", taken, "--background", tmp_path / "sound.mp4", "-o", tmp_path / "out"
        ).refusal()
    )
    assert "has no pictures, only sound or text" in text and not (tmp_path / "out").exists()

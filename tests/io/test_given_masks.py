"""Masks of several frames and objects: which frame each is of, which objects they show."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.io import mask as reader
from simulacra.io.clip_and_mask import Clip
from simulacra.io.given_masks import frames_of, read_masks

H, W = 40, 60
CLIP = Clip(torch.zeros(5, 3, H, W, dtype=torch.uint8), 24.0, [])
DAVIS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, *([9, 20, 9] * 251), 224, 224, 192]
LABELS = np.zeros((H, W), np.uint8)
LABELS[5:15, 5:25], LABELS[20:35, 5:20], LABELS[20:35, 20:50] = 1, 2, 3


def indexed(labels: np.ndarray, colours: list[int] = DAVIS) -> Image.Image:
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(colours)
    return image


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Saves pictures here by name, and reads them as masks by frame."""
    monkeypatch.chdir(tmp_path)

    def saved(merge: bool = False, **pictures: Image.Image):
        for name, image in pictures.items():
            image.save(f"{name}.png")
        return read_masks({int(name[1:]): Path(f"{name}.png") for name in pictures}, CLIP, merge)

    return saved


def test_which_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert frames_of(["a.png"]) == {0: Path("a.png")}
    assert frames_of(["a.png", "37=b.png"]) == {0: Path("a.png"), 37: Path("b.png")}
    assert frames_of(["3=a=b.png"]) == {3: Path("a=b.png")}
    assert frames_of(["./a=b.png"]) == {0: Path("a=b.png")}
    assert frames_of(["x3=b.png"]) == {0: Path("x3=b.png")}
    assert frames_of(["7=b.png"]) == {7: Path("b.png")}
    Path("7=b.png").touch()
    assert frames_of(["7=b.png"]) == {0: Path("7=b.png")}, "a file of that name is there"
    for words, says in (
        (["a.png", "0=b.png"], "masks a.png and b.png are both of frame 0"),
        (["4=a.png", "04=b.png"], "both of frame 4"),
        (["4="], "4= names no picture"),
    ):
        with pytest.raises(Mistake, match=says):
            frames_of(words)


def test_indices_are_objects_of_these_names(saved) -> None:
    found = saved(m0=indexed(LABELS))
    assert found.names == (1, 2, 3) and torch.equal(found.masks[0], torch.from_numpy(LABELS).long())
    assert "3 objects: 1 (8.3%), 2 (9.4%) and 3 (18.8%); --merge" in found.notes[-1]
    gap = np.where(LABELS == 2, 0, LABELS)
    found = saved(m0=indexed(gap))
    assert found.names == (1, 3) and torch.equal(found.masks[0].unique(), torch.arange(3))
    merged = saved(merge=True, m0=indexed(LABELS))
    assert merged.names == (1,) and torch.equal(merged.masks[0] > 0, torch.from_numpy(LABELS > 0))


def test_an_object_may_come_later_or_be_away(saved) -> None:
    found = saved(
        m0=indexed(np.where(LABELS == 1, 1, 0)), m2=indexed(LABELS), m4=indexed(0 * LABELS)
    )
    assert found.names == (1, 2, 3)
    assert [mask.unique().tolist() for mask in found.masks.values()] == [[0, 1], [0, 1, 2, 3], [0]]
    assert "1 object: 1 (8.3%); 2 and 3 are not there" in " ".join(found.notes)
    assert found.notes[-1].endswith("frame 4, m4.png: the object is not there"[-30:])
    assert "the object is not there" in found.notes[-1] and "m4.png" in found.notes[-1]


def test_what_is_void_is_nobodys(saved) -> None:
    labels = LABELS.copy()
    labels[0:3] = 255
    found = saved(m0=indexed(labels))
    assert found.names == (1, 2, 3) and not found.masks[0][:3].any()
    assert not reader.read(indexed(labels)).mask[:3].any()
    alone = saved(m0=indexed(np.where(LABELS > 0, 255, 0)))
    assert alone.masks[0].sum() == (LABELS > 0).sum(), "alone it is the object"
    later = saved(m0=indexed(LABELS), m1=indexed(np.where(LABELS > 0, 255, 0)))
    assert later.names == (1, 2, 3) and not later.masks[1].any()


def test_one_object_needs_no_index(saved) -> None:
    white = Image.fromarray(np.where(LABELS == 1, 255, 0).astype(np.uint8))
    found = saved(m0=white, m3=indexed(np.where(LABELS == 2, 38, 0)))
    assert found.names == (38,) and [int(m.max()) for m in found.masks.values()] == [1, 1]
    with pytest.raises(Mistake, match=r"m0.png has no indices, others have objects 1, 2 and 3"):
        saved(m0=white, m3=indexed(LABELS))
    assert saved(merge=True, m0=white, m3=indexed(LABELS)).names == (1,)


def test_greys_that_nobody_sees_are_indices_brighter_ones_are_not(saved) -> None:
    assert saved(m0=Image.fromarray(LABELS)).names == (1, 2, 3)
    bright = saved(m0=Image.fromarray(LABELS * 60))
    assert bright.names == (1,) and "its 3 colours are one object" in " ".join(bright.notes)
    red = np.stack([np.where(LABELS == 1, 255, 0), np.where(LABELS == 2, 200, 0), 0 * LABELS], 2)
    coloured = saved(m0=Image.fromarray(red.astype(np.uint8)))
    assert coloured.names == (1,) and "its 2 colours are one object" in " ".join(coloured.notes)


def test_shades_along_an_edge_are_no_objects(saved) -> None:
    """Of a red and a green object, smoothed and saved with a palette; a thin object of a colour of
    its own is one."""
    image = indexed(np.where(LABELS == 3, 0, LABELS)).convert("RGB")
    image = image.resize((2 * W, 2 * H), Image.Resampling.BILINEAR).resize((W, H))
    shaded = image.quantize(12)
    used = reader.told_apart(*swapped(shaded))
    assert len(np.unique(np.asarray(shaded))) > 5 and len(np.unique(used)) == 3
    thin = LABELS.copy()
    thin[2, :] = 4
    assert len(np.unique(reader.read(indexed(thin, [*DAVIS[:12], 0, 0, 128])).indices)) == 5


def swapped(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Indices and colours, black the first."""
    values, colours = np.asarray(image), reader.palette(image)
    black = int(np.flatnonzero(~colours.any(1))[0])
    swap = np.arange(256, dtype=np.uint8)
    swap[[0, black]] = black, 0
    colours[[0, black]] = colours[[black, 0]]
    return swap[values], colours


def test_a_picture_of_many_colours_is_one_object() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (H, W)).astype(np.uint8)
    reading = reader.read(indexed(noise, list(range(256)) * 3))
    assert reading.indices is None


def test_sizes(saved) -> None:
    large = indexed(np.kron(LABELS, np.ones((3, 3))))
    assert torch.equal(saved(m0=large).masks[0], torch.from_numpy(LABELS).long())
    tiny = np.kron(LABELS, np.ones((3, 3)))
    tiny[tiny == 2], tiny[0, 0] = 0, 2
    with pytest.raises(Mistake, match=f"object 2 is empty at {W}x{H}, the clip's size"):
        saved(m0=indexed(tiny))


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        ({"m5": indexed(LABELS)}, "m5.png is of frame 5; the clip has 5 frames, allowed: 0 to 4"),
        ({"m0": indexed(0 * LABELS)}, "mask m0.png is empty; needed: the object"),
        ({f"m{t}": indexed(0 * LABELS) for t in (0, 3)}, "masks m0.png and m3.png are empty"),
        ({"m0": indexed(LABELS), "m1": Image.new("L", (W, H), 255)}, "m1.png covers the whole"),
    ],
)
def test_mistakes(pictures: dict[str, Image.Image], says: str, saved) -> None:
    with pytest.raises(Mistake, match=says):
        saved(**pictures)

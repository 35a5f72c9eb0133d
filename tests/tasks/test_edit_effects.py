"""`edit` takes an object's shadow away with it, along with it, and onto another background."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core.errors import Mistake
from simulacra.tasks.edit import edit
from simulacra.video.effects import Effects, as_layer, of_layer


def folder(path: Path, size: tuple[int, int] = (16, 24)) -> Path:
    """Two frames of a red block at the left, its shadow of half the light below, on a grey."""
    front, ground = np.zeros((*size, 4), np.uint8), np.full((*size, 3), 200, np.uint8)
    front[2:8, 2:8] = 255, 0, 0, 255
    shadow = np.zeros((*size, 4), np.uint8)
    shadow[8:12, 2:8, 3] = 128
    for part, pixels in (("foreground", front), ("background", ground), ("effects", shadow)):
        (path / part).mkdir(parents=True)
        for t in range(2):
            Image.fromarray(pixels).save(path / part / f"{t:05d}.png")
    told = {"of": "these", "frames": 2, "width": size[1], "height": size[0], "fps": 10}
    (path / "quality.json").write_text(json.dumps(told))
    return path


def made(out: Path) -> np.ndarray:
    return np.asarray(Image.open(sorted((out / "frames").glob("*.png"))[0]).convert("RGB"))


def test_a_shadow_goes_with_its_object(tmp_path) -> None:
    layers = folder(tmp_path / "layers")
    edit(layers, tmp_path / "gone", remove=True)
    assert (made(tmp_path / "gone") == 200).all()
    edit(layers, tmp_path / "aside", move=(10, 0))
    there = made(tmp_path / "aside")
    assert (there[8:12, 2:8] == 200).all() and abs(int(there[9, 14, 0]) - 100) <= 1
    assert there[4, 14].tolist() == [255, 0, 0]
    Image.new("RGB", (24, 16), (100, 100, 100)).save(tmp_path / "sky.png")
    edit(layers, tmp_path / "sky", background=tmp_path / "sky.png")
    there = made(tmp_path / "sky")
    assert abs(int(there[9, 4, 0]) - 50) <= 1 and there[14, 4, 0] == 100


def test_layers_of_before_have_none(tmp_path) -> None:
    layers = folder(tmp_path / "layers")
    for file in (layers / "effects").iterdir():
        file.unlink()
    with pytest.raises(Mistake, match="effects"):
        edit(layers, tmp_path / "one", move=(1, 0))
    (layers / "effects").rmdir()
    edit(layers, tmp_path / "two", move=(10, 0))
    assert (made(tmp_path / "two")[9] == 200).all()


def test_light_is_a_layer() -> None:
    """A gain and what is added, as colours with an opacity, and back."""
    dice = torch.Generator().manual_seed(0)
    gain = torch.rand(2, 1, 4, 4, generator=dice)
    light = Effects(gain, 2 * (1 - gain) * torch.rand(2, 3, 4, 4, generator=dice))
    colours, opacity = as_layer(light)
    assert colours.abs().max() <= 1
    again = of_layer(colours, opacity)
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(light, again, strict=True))
    ground = torch.rand(2, 3, 4, 4, generator=dice)
    made = opacity * colours + (1 - opacity) * ground
    assert torch.allclose(made, light.gain * (ground + 1) - 1 + light.add, atol=1e-5)


def test_one_of_several_objects(tmp_path) -> None:
    """It goes, or is moved, alone; what both do to the light stays."""
    layers = folder(tmp_path / "layers")
    told = json.loads((layers / "quality.json").read_text())
    several = [{"name": 2, "depth": 1}, {"name": 5, "depth": 0}]
    (layers / "quality.json").write_text(json.dumps(told | {"objects": several}))
    for name, left in (2, 2), (5, 14):
        (layers / "objects" / str(name) / "foreground").mkdir(parents=True)
        front = np.zeros((16, 24, 4), np.uint8)
        front[2:8, left : left + 6] = 255, name, 0, 255
        for t in range(2):
            place = layers / "objects" / str(name) / "foreground" / f"{t:05d}.png"
            Image.fromarray(front).save(place)
    edit(layers, tmp_path / "gone", remove=True, objects=(2,))
    there = made(tmp_path / "gone")
    assert (there[3, 4] == 200).all() and there[3, 16].tolist() == [255, 5, 0]
    assert there[9, 4, 0] < 120, "the shadow of both"
    edit(layers, tmp_path / "aside", move=(0, 7), objects=(5,))
    there = made(tmp_path / "aside")
    assert there[3, 4].tolist() == [255, 2, 0] and there[10, 16].tolist() == [255, 5, 0]
    with pytest.raises(Mistake, match=r"object 3 is not in .*allowed: 2 and 5"):
        edit(layers, tmp_path / "no", remove=True, objects=(3,))
    with pytest.raises(Mistake, match="goes with --remove or --move"):
        edit(layers, tmp_path / "no", background=layers, objects=(2,))
    with pytest.raises(Mistake, match="holds the layers of one object"):
        edit(folder(tmp_path / "one"), tmp_path / "no", remove=True, objects=(1,))
    assert not (tmp_path / "no").exists()


def test_layers_without_opacity_are_refused(tmp_path) -> None:
    layers = folder(tmp_path / "layers")
    Image.new("RGB", (24, 16)).save(layers / "effects" / "00001.png")
    with pytest.raises(Mistake, match=r"effects/00001.png has colours without opacity; needed: RG"):
        edit(layers, tmp_path / "no", move=(1, 0))

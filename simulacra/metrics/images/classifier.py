"""The small classifier whose penultimate layer is the eye of `mnist_cnn`
and `fashion_cnn` (trained by scripts/train_extractors.py)."""

import torch.nn.functional as F
from torch import Tensor, nn, ones

CLASSES = 10
FEATURES = 64
SIDE = 28


def block(into: int, out: int, stride: int = 1) -> nn.Sequential:
    """Convolution 3x3, normalisation and SiLU:
    (N, into, S, S) to (N, out, S / stride, S / stride)."""
    return nn.Sequential(
        nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.SiLU()
    )


class Classifier(nn.Module):
    """Grey 28x28 pictures in [-1, 1] to 64 features and 10 logits;
    SiLU keeps every feature alive."""

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            block(1, 32),
            block(32, 32, stride=2),
            block(32, 64),
            block(64, 64),
            nn.MaxPool2d(2),
            block(64, 96),
            block(96, 96),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.penultimate = nn.Sequential(
            nn.Linear(96 * 3 * 3, FEATURES, bias=False), nn.BatchNorm1d(FEATURES)
        )
        self.head = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("temperature", ones(()))

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) to (N, 64)."""
        return F.silu(self.penultimate(self.trunk(images)))

    def logits(self, features: Tensor) -> Tensor:
        """(N, 64) features to (N, 10) logits divided by the temperature
        that was fitted on held-out pictures."""
        return self.head(features) / self.temperature

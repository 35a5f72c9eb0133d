"""Auto-encoders of pictures and the generators that go with them, convolutional or dense."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from simulacra.nn import blocks

Shape = tuple[int, int, int]
"""C, H, W of a picture."""


def conv_generator(z_size: int, widths: Sequence[int], norm: str, shape: Shape) -> nn.Module:
    """z (B, z_size) -> coarsest maps -> transposed 4x4 convolutions of stride 2 -> picture
    (B, *shape) in [-1, 1]; `widths` are channels, coarse to fine."""
    C, H, W = shape
    rows, cols = blocks.coarsest(H, W, len(widths))
    start = [
        nn.Linear(z_size, widths[0] * rows * cols),
        blocks.Unflatten(widths[0], rows, cols),
        blocks.norm(norm, widths[0]),
        nn.ReLU(),
    ]
    body = [layer for a, b in pairwise(widths) for layer in blocks.double(a, b, norm)]
    return nn.Sequential(*start, *body, nn.ConvTranspose2d(widths[-1], C, 4, 2, 1), nn.Tanh())


def dense_generator(z_size: int, widths: Sequence[int], shape: Shape) -> nn.Module:
    """z (B, z_size) -> hidden layers of these widths -> picture (B, *shape) in [-1, 1]."""
    C, H, W = shape
    return nn.Sequential(
        blocks.mlp([z_size, *widths, C * H * W]), nn.Tanh(), blocks.Unflatten(*shape)
    )


class AutoEncoder(nn.Module):
    """Picture -> (reconstruction (B, C, H, W), code (B, ...)), by the parts Enc and Dec."""

    def __init__(self, Enc: Sequence[nn.Module], Dec: Sequence[nn.Module]):
        super().__init__()
        self.Enc, self.Dec = nn.Sequential(*Enc), nn.Sequential(*Dec)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.Enc(x)
        return self.Dec(code), code


def dense_autoencoder(
    widths: Sequence[int], dropout: float, last: Sequence[nn.Module], shape: Shape
) -> AutoEncoder:
    """Hidden layers of these widths, the last of which is the code, and one linear map back;
    `last` is what the reconstruction passes through."""
    C, H, W = shape
    down = blocks.mlp([C * H * W, *widths], dropout)
    up = nn.Linear(widths[-1], C * H * W)
    return AutoEncoder([nn.Flatten(), down, nn.ReLU()], [up, blocks.Unflatten(*shape), *last])


def conv_autoencoder(
    widths: Sequence[int], code: int, dense: int, norm: str, last: Sequence[nn.Module], shape: Shape
) -> AutoEncoder:
    """4x4 convolutions of stride 2 through these channels, fine to coarse, and back. With `code`
    a linear map of that many numbers lies between; with `dense` the way back from it is one hidden
    layer of that width."""
    C, H, W = shape
    first, deepest = widths[0], widths[-1]
    rows, cols = blocks.coarsest(H, W, len(widths))
    flat = deepest * rows * cols
    Enc: list[nn.Module] = [nn.Conv2d(C, first, 4, 2, 1), nn.LeakyReLU(blocks.LEAK)]
    Enc += [x for a, b in pairwise(widths) for x in blocks.halve(a, b, norm)]
    Enc += [nn.Flatten(), nn.Linear(flat, code)] if code else []
    if code and dense:
        back = [nn.Linear(code, dense), nn.LeakyReLU(blocks.LEAK), nn.Linear(dense, C * H * W)]
        return AutoEncoder(Enc, [*back, blocks.Unflatten(*shape), *last])
    Dec: list[nn.Module] = []
    if code:
        maps = blocks.Unflatten(deepest, rows, cols)
        Dec = [nn.Linear(code, flat), maps, nn.LeakyReLU(blocks.LEAK)]
    Dec += [x for a, b in pairwise(widths[::-1]) for x in blocks.double(a, b, norm)]
    return AutoEncoder(Enc, [*Dec, nn.ConvTranspose2d(first, C, 4, 2, 1), *last])

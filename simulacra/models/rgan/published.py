"""The networks of the five published RGANs, v1 to v5, as published and repaired.

Reference: atreyasha/mv-temporal-rgan, src/obj/log/RGAN. The layers, their widths and their order
are the published ones, and so is what Keras does by itself: initial weights, "same" padding, batch
statistics, channels-last reshapes. For pictures of 28x28 the layers have exactly the published
shapes; other sizes and channels scale the number of steps and the length of rows.

v1: the picture is a string of H*W positions of C values, read and written by convolutions along it.
v2: the picture is H time steps of W*C values (a row), read by an LSTM and by dilated convolutions.
v3: 2-D convolutions, and an LSTM that passes over the positions in raster order.
v4: v3 with spectral norm on the convolutions and a convolution in front of D's LSTM.
v5: v4 with leaky rectifiers in G, for pictures in [-1, 1].

Published defects, and what the repaired form has instead:
- v1, v2: D takes the largest value anywhere, so it hardly knows where things are. Repaired: a
  linear map of all values.
- v3: D's first convolution leaves out the last row and column. Repaired: it is padded so that every
  pixel is read.
- v3 to v5: D sees the picture through one LSTM unit, in v4 and v5 after a convolution of one
  filter. Repaired: 16 of each.
- v4, v5: batch norm takes back what spectral norm does, up to its epsilon. Repaired: D has spectral
  norm everywhere, also on its LSTMs and last layer, and no batch norm; G has batch norm and no
  spectral norm.
- all: what ends G does not fit the pixels' range. Repaired: a sigmoid or tanh, without batch norm
  before it.

Deviations
- LSTMs have two biases, as the published code has on a GPU; without one it has a single bias, which
  moves half as fast.
- Spectral norm turns its vectors in training only; the published layers turn them at every call.
- Discriminators end in logits; the published ones in a sigmoid.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from simulacra.nn import blocks
from simulacra.nn.stabilise import SpectralLSTM

# of pixels, by version
RANGES = {"v1": (0.0, 1.0), "v2": (0.0, 1.0), "v3": (0.0, 1.0), "v4": (0.0, 1.0), "v5": (-1.0, 1.0)}
FORMS = "published", "repaired"

Conv = nn.Conv1d | nn.Conv2d


def networks(
    version: str, form: str, shape: tuple[int, int, int], z_size: int = 100, dropout: float = 0.25
) -> tuple[nn.Module, nn.Module]:
    """G: z (B, z_size) -> (B, C, H, W); D: (B, C, H, W) -> logit (B, 1)."""
    _, H, W = shape
    if version not in RANGES or form not in FORMS:
        raise ValueError(
            f"no RGAN {version!r} in form {form!r}; versions: {', '.join(RANGES)}; "
            f"forms: {', '.join(FORMS)}"
        )
    if H % 4 or W % 4 or min(H, W) < 16:
        raise ValueError(
            "these nets take pictures whose sides are multiples of 4 and at least 16, "
            f"found {H}x{W}"
        )
    if version == "v1":
        return keras_init(string_G(form, shape, z_size)), keras_init(string_D(form, shape, dropout))
    if version == "v2":
        return keras_init(rows_G(form, shape, z_size)), keras_init(rows_D(form, shape, dropout))
    G = keras_init(raster_G(version, form, shape, z_size))
    D = keras_init(raster_D(version, form, shape, dropout))
    if version == "v3":
        return G, D
    if form == "published":
        return bounded(G, nn.Conv2d, nn.Linear), bounded(D, nn.Conv2d)
    return G, bounded(D, nn.Conv2d, nn.Linear, nn.LSTM)


# --- v1: strings ----------------------------------------------------------------------------------


def string_G(form: str, shape: tuple[int, int, int], z_size: int) -> nn.Module:
    """z -> string of H*W/16 positions, doubled four times -> LSTM of one unit a channel,
    both ways -> picture."""
    C, H, W = shape
    length = H * W // 16
    body: list[nn.Module] = []
    for a, b, k in (128, 128, 12), (128, 64, 8), (64, 32, 4), (32, 16, 2):
        body += [
            nn.Upsample(scale_factor=2),
            nn.ZeroPad1d(same(k)),
            *normed(nn.Conv1d(a, b, k)),
            nn.ReLU(),
        ]
    body[-1] = nn.Tanh()
    first = [
        nn.Linear(z_size, 128 * length),
        nn.ReLU(),
        blocks.Unflatten(length, 128),
        Axes(0, 2, 1),
    ]
    end = [
        Scan(16, C, ways=2),
        nn.Conv1d(2 * C, C, 3, padding=1),
        nn.ReLU() if form == "published" else nn.Sigmoid(),
    ]
    return nn.Sequential(*first, *body, *end, blocks.Unflatten(C, H, W))


def string_D(form: str, shape: tuple[int, int, int], dropout: float) -> nn.Module:
    """Picture -> string -> LSTM of one unit a channel, both ways -> halved four times -> logit."""
    C, H, W = shape
    body: list[nn.Module] = []
    length = H * W
    for a, b, k in (2 * C, 256, 6), (256, 128, 6), (128, 64, 4), (64, 32, 4):
        conv = nn.Conv1d(a, b, k, 2)
        body += [
            *(normed(conv) if body else [conv]),
            nn.LeakyReLU(blocks.LEAK),
            nn.Dropout(dropout),
        ]
        length = (length - k) // 2 + 1
    if form == "published":
        return nn.Sequential(
            nn.Flatten(2),
            Scan(C, C, ways=2),
            *body,
            nn.AdaptiveMaxPool1d(1),
            nn.Flatten(),
            nn.Linear(32, 1),
        )
    return nn.Sequential(
        nn.Flatten(2), Scan(C, C, ways=2), *body, nn.Flatten(), nn.Linear(32 * length, 1)
    )


# --- v2: rows -------------------------------------------------------------------------------------


def rows_G(form: str, shape: tuple[int, int, int], z_size: int) -> nn.Module:
    """z -> maps of a quarter of the side, doubled twice -> one step a row -> LSTM both ways
    -> rows of the picture."""
    C, H, W = shape
    row = W * C
    body: list[nn.Module] = [*start(H // 4, W // 4, z_size, nn.ReLU())]
    for a, b in (128, 128), (128, 64):
        body += [nn.Upsample(scale_factor=2), *normed(nn.Conv2d(a, b, 3, padding=1)), nn.ReLU()]
    body += [
        *normed(nn.Conv2d(64, row, 3, padding=1)),
        nn.Tanh(),
        *to_rows(),
        Scan(W * row, row, ways=2),
    ]
    body += [
        nn.Conv1d(2 * row, row, 3, padding=1),
        nn.ReLU() if form == "published" else nn.Sigmoid(),
    ]
    return nn.Sequential(*body, *from_rows(W, C))


def rows_D(form: str, shape: tuple[int, int, int], dropout: float) -> nn.Module:
    """Picture -> one step a row -> LSTM both ways -> rows
    of a picture -> dilated convolutions -> logit."""
    C, H, W = shape
    row = W * C
    front = [
        *to_rows(),
        Scan(row, row, ways=2),
        nn.ZeroPad1d(same(2, dilation=2)),
        nn.Conv1d(2 * row, row, 2, dilation=2),
    ]
    body: list[nn.Module] = []
    for a, b, k in (C, 256, 4), (256, 128, 3), (128, 64, 2), (64, 32, 2):
        conv = nn.Conv2d(a, b, k, dilation=2)
        body += [
            *(normed(conv) if body else [conv]),
            nn.LeakyReLU(blocks.LEAK),
            nn.Dropout(dropout),
        ]
    if form == "published":
        head = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 1)]
    else:
        head = [nn.Flatten(), nn.Linear(32 * (H - 14) * (W - 14), 1)]
    return nn.Sequential(*front, nn.ReLU(), *from_rows(W, C), *body, *head)


# --- v3, v4, v5: raster scans ---------------------------------------------------------------------


def raster_G(version: str, form: str, shape: tuple[int, int, int], z_size: int) -> nn.Module:
    """z -> maps of a quarter of the side, doubled twice -> LSTM
    in raster order -> three convolutions -> picture."""
    C, H, W = shape
    rectifier = nn.LeakyReLU(blocks.LEAK) if version == "v5" else nn.ReLU()
    body = [
        *start(H // 4, W // 4, z_size, rectifier),
        *normed(nn.Conv2d(128, 256, 3, padding=1)),
        rectifier,
    ]
    body += [nn.Upsample(scale_factor=2), *normed(nn.Conv2d(256, 128, 3, padding=1)), rectifier]
    body += [
        nn.Upsample(scale_factor=2),
        nn.ZeroPad2d(same(4) * 2),
        *normed(nn.Conv2d(128, 64, 4)),
        rectifier,
    ]
    body += [
        Scan(64, 32),
        *normed(nn.Conv2d(32, 32, 3, padding=1)),
        *normed(nn.Conv2d(32, 32, 3, padding=1)),
    ]
    paint = nn.Conv2d(32, C, 3, padding=1)
    if form == "published":
        return nn.Sequential(*body, *normed(paint), rectifier)
    return nn.Sequential(*body, paint, nn.Tanh() if version == "v5" else nn.Sigmoid())


def raster_D(version: str, form: str, shape: tuple[int, int, int], dropout: float) -> nn.Module:
    """Picture -> (v4, v5: convolution) -> LSTM
    in raster order -> convolutions -> LSTM both ways, last states -> logit."""
    C = shape[0]
    width = 1 if form == "published" else 16

    def judged(conv: nn.Conv2d) -> list[nn.Module]:
        # free of batch norm, for spectral norm to bound it
        free = version != "v3" and form == "repaired"
        return [*([conv] if free else normed(conv)), nn.LeakyReLU(blocks.LEAK), nn.Dropout(dropout)]

    body = [] if version == "v3" else judged(nn.Conv2d(C, width, 3, padding=1))
    body.append(Scan(C if version == "v3" else width, width))
    if version == "v3" and form == "repaired":
        # an odd number of windows, for the next convolution to read all
        body.append(nn.ZeroPad2d((1, 2, 1, 2)))
    body += [
        *judged(nn.Conv2d(width, 256, 3, 2)),
        *judged(nn.Conv2d(256, 128, 3, 2)),
        *judged(nn.Conv2d(128, 64, 3)),
    ]
    return nn.Sequential(*body, Last(64, 8), nn.Linear(16, 1))


# --- parts ----------------------------------------------------------------------------------------


def same(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """How many zeros Keras' "same" puts before and behind, at stride 1:
    the odd one comes behind."""
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def normed(conv: Conv) -> list[nn.Module]:
    """The convolution and a batch norm with Keras' epsilon
    and the published momentum 0.8 (of the old mean)."""
    kind = nn.BatchNorm1d if isinstance(conv, nn.Conv1d) else nn.BatchNorm2d
    return [conv, kind(conv.out_channels, eps=1e-3, momentum=0.2)]


def start(rows: int, columns: int, z_size: int, rectifier: nn.Module) -> list[nn.Module]:
    """z -> 128 maps."""
    return [
        nn.Linear(z_size, 128 * rows * columns),
        rectifier,
        blocks.Unflatten(rows, columns, 128),
        Axes(0, 3, 1, 2),
    ]


def to_rows() -> list[nn.Module]:
    """(B, C, H, W) -> (B, W*C, H): the steps are rows, and each lists its columns' channels."""
    return [Axes(0, 3, 1, 2), nn.Flatten(1, 2)]


def from_rows(W: int, C: int) -> list[nn.Module]:
    """(B, W*C, H) -> (B, C, H, W)."""
    return [nn.Unflatten(1, (W, C)), Axes(0, 2, 3, 1)]


class Axes(nn.Module):
    """The axes in another order."""

    def __init__(self, *order: int):
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


class Scan(nn.Module):
    """(B, C, *places) -> (B, ways * units, *places):
    an LSTM's outputs as it passes over the places in raster order."""

    def __init__(self, inputs: int, units: int, ways: int = 1):
        super().__init__()
        self.lstm: nn.Module = nn.LSTM(inputs, units, batch_first=True, bidirectional=ways == 2)

    def forward(self, x: Tensor) -> Tensor:
        outputs, _ = self.lstm(x.flatten(2).transpose(1, 2))
        return outputs.transpose(1, 2).unflatten(2, x.shape[2:])


class Last(nn.Module):
    """(B, C, *places) -> (B, 2 * units): the last states of an LSTM
    that passes over the places forward and backward."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.lstm: nn.Module = nn.LSTM(inputs, units, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        _, (last, _) = self.lstm(x.flatten(2).transpose(1, 2))
        return last.transpose(0, 1).flatten(1)


# --- weights --------------------------------------------------------------------------------------


def keras_init(net: nn.Module) -> nn.Module:
    """The net with Keras' initial weights:
    Glorot-uniform kernels, orthogonal recurrent ones, biases 0, forget biases 1."""
    for layer in net.modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.LSTM):
            for kernel, recurrent, bias, other in layer.all_weights:
                nn.init.xavier_uniform_(kernel)
                nn.init.orthogonal_(recurrent)
                nn.init.zeros_(bias)
                nn.init.zeros_(other)
                # gates: input, forget, cell, output
                nn.init.ones_(bias[layer.hidden_size : 2 * layer.hidden_size])
    return net


def bounded(net: nn.Module, *kinds: type[nn.Module]) -> nn.Module:
    """The net with spectral norm on its layers of these kinds."""
    for layer in list(net.modules()):
        if isinstance(layer, (Scan, Last)) and isinstance(layer.lstm, nn.LSTM) and nn.LSTM in kinds:
            layer.lstm = SpectralLSTM(layer.lstm)
        elif isinstance(layer, kinds) and not isinstance(layer, nn.LSTM):
            spectral_norm(layer)
    return net


@torch.no_grad()
def max_norm(module: nn.Module, limit: float = 3.0) -> None:
    """Shrink what is longer than the limit in every LSTM, after each update: the weights into each
    gate's unit (from inputs; from the state) and the whole bias of each way. Kernels with spectral
    norm are left alone."""
    for layer in module.modules():
        if isinstance(layer, nn.LSTM):
            for kernel, recurrent, *biases in layer.all_weights:
                kernel.renorm_(2, 0, limit)
                recurrent.renorm_(2, 0, limit)
                shorten(biases, limit)
        if isinstance(layer, SpectralLSTM):
            for i in range(0, len(layer.maps), 2):
                shorten(layer.pair(i, "bias"), limit)


def shorten(parts: Sequence[Tensor], limit: float) -> None:
    """Scale the vector made of these parts, in place, to at most this length."""
    length = torch.cat(list(parts)).norm()
    for part in parts:
        part.mul_((limit / length).clamp(max=1))

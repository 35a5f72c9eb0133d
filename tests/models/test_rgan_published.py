"""The published RGANs' networks against their tables, what Keras does by itself,
and the defects that `repaired` removes."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from simulacra.core.random import reseed
from simulacra.models.rgan import published as rgan
from simulacra.models.rgan.published import RANGES, SpectralLSTM, max_norm, networks

MNIST = (1, 28, 28)
FORMS = pytest.mark.parametrize("form", ["published", "repaired"])
VERSIONS = pytest.mark.parametrize("version", list(RANGES))
CONV = nn.Conv1d, nn.Conv2d


def pair(
    version: str, form: str, shape: tuple[int, int, int] = MNIST, seed: int = 0, **more: float
) -> tuple[nn.Module, nn.Module]:
    reseed(seed)
    return networks(version, form, shape, **more)  # type: ignore[arg-type]


def layers(net: nn.Module, *kinds: type) -> list[nn.Module]:
    return [layer for layer in net.modules() if isinstance(layer, kinds)]


def gradient(D: nn.Module, x: Tensor, create: bool = False) -> Tensor:
    x.requires_grad_()
    return torch.autograd.grad(D(x).sum(), x, create_graph=create)[0]


# --- the tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "in_G", "in_D"),
    [
        ("v1", 905_711, 241_633),
        ("v2", 1_058_512, 357_085),
        ("v3", 1_387_171, 377_057),
        ("v4", 1_387_171, 377_069),
        ("v5", 1_387_171, 377_069),
    ],
)
def test_the_published_numbers_of_weights(version: str, in_G: int, in_D: int) -> None:
    assert [sum(w.numel() for w in net.parameters()) for net in pair(version, "published")] == [
        in_G,
        in_D,
    ]


RASTER_G = [(6272,), (256, 7, 7), (128, 14, 14), (64, 28, 28), *[(32, 28, 28)] * 3, (1, 28, 28)]
RASTER_D = [(1, 28, 28), (256, 13, 13), (128, 6, 6), (64, 4, 4), (16,), (1,)]
SHAPES = {
    "v1": (
        [(6272,), (128, 98), (64, 196), (32, 392), (16, 784), (2, 784), (1, 784)],
        [(2, 784), (256, 390), (128, 193), (64, 95), (32, 46), (1,)],
    ),
    "v2": (
        [(6272,), (128, 14, 14), (64, 28, 28), (28, 28, 28), (56, 28), (28, 28)],
        [(56, 28), (28, 28), (256, 22, 22), (128, 18, 18), (64, 16, 16), (32, 14, 14), (1,)],
    ),
    "v3": (RASTER_G, RASTER_D),
    "v4": (RASTER_G, [(1, 28, 28), *RASTER_D]),
    "v5": (RASTER_G, [(1, 28, 28), *RASTER_D]),
}


@VERSIONS
def test_what_the_published_layers_put_out(version: str) -> None:
    """Dense layers, convolutions and LSTMs, in the order in which they are called."""
    x = torch.randn(2, 100)
    for net, table in zip(pair(version, "published"), SHAPES[version], strict=True):
        found: list[tuple[int, ...]] = []
        for layer in layers(net, nn.Linear, *CONV, rgan.Scan, rgan.Last):
            layer.register_forward_hook(
                lambda layer, x, y, found=found: found.append(tuple(y.shape[1:]))
            )
        x = net(x)
        assert found == table


@FORMS
@VERSIONS
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 28, 20)])
def test_other_sizes_and_channels(version: str, form: str, shape: tuple[int, int, int]) -> None:
    """Pictures, logits, a gradient for every weight, and copies that do the same."""
    G, D = pair(version, form, shape, dropout=0.0)
    x = G(torch.randn(2, 100))
    d = D(x)
    assert x.shape == (2, *shape) and d.shape == (2, 1)
    d.sum().backward()
    assert not [name for net in (G, D) for name, w in net.named_parameters() if w.grad is None]
    again = copy.deepcopy(D)
    again.load_state_dict(D.state_dict())
    assert torch.equal(again.eval()(x), D.eval()(x))


@pytest.mark.parametrize("shape", [(1, 30, 28), (1, 28, 27), (1, 12, 28)])
def test_sides_that_do_not_fit(shape: tuple[int, int, int]) -> None:
    with pytest.raises(
        ValueError, match=f"multiples of 4 and at least 16, found {shape[1]}x{shape[2]}"
    ):
        networks("v3", "repaired", shape)


@pytest.mark.parametrize(("version", "form"), [("v6", "published"), ("v1", "fixed")])
def test_unknown_versions_and_forms(version: str, form: str) -> None:
    with pytest.raises(
        ValueError, match="versions: v1, v2, v3, v4, v5; forms: published, repaired"
    ):
        networks(version, form, MNIST)


# --- Keras ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "dilation", "sums"),
    [(2, 1, [3, 5, 7, 4]), (3, 1, [3, 6, 9, 7]), (4, 1, [6, 10, 9, 7]), (2, 2, [2, 4, 6, 3])],
)
def test_same_padding_by_hand(kernel: int, dilation: int, sums: list[float]) -> None:
    """Kernels of ones over 1, 2, 3, 4."""
    x = nn.functional.pad(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]), rgan.same(kernel, dilation))
    assert (
        nn.functional.conv1d(x, torch.ones(1, 1, kernel), dilation=dilation).flatten().tolist()
        == sums
    )


def test_even_kernels_have_the_odd_zero_behind() -> None:
    paddings = [
        [pad.padding for pad in layers(pair(v, "published")[0], nn.ZeroPad1d, nn.ZeroPad2d)]
        for v in ("v1", "v3")
    ]
    assert paddings == [[(5, 6), (3, 4), (1, 2), (0, 1)], [(1, 2, 1, 2)]]
    assert [pad.padding for pad in layers(pair("v2", "published")[1], nn.ZeroPad1d)] == [(1, 1)]


def test_reshapes_are_channels_last() -> None:
    x = torch.randn(2, 3, 4, 5)
    rows = nn.Sequential(*rgan.to_rows())(x)
    assert torch.equal(rows[1, 3 * 2 + 1], x[1, 1, :, 2])  # column 2, channel 1, over the steps
    assert torch.equal(nn.Sequential(*rgan.from_rows(5, 3))(rows), x)
    dense = torch.arange(128.0 * 6)[None]
    maps = nn.Sequential(*rgan.start(2, 3, 1, nn.Identity())[2:])(dense)
    assert maps.shape == (1, 128, 2, 3)
    assert float(maps[0, 7, 1, 2]) == (1 * 3 + 2) * 128 + 7


def test_a_scan_is_causal_in_raster_order() -> None:
    scan, x = (
        rgan.Scan(2, 3).double(),
        torch.randn(1, 2, 4, 5, dtype=torch.double, requires_grad=True),
    )
    (g,) = torch.autograd.grad(scan(x)[:, :, 2, 3].sum(), x)
    assert (g.abs().sum(1).flatten() > 0).tolist() == [i <= 2 * 5 + 3 for i in range(20)]


def test_the_last_states_are_those_of_either_end() -> None:
    last, x = rgan.Last(2, 3), torch.randn(4, 2, 2, 3)
    outputs = last.lstm(x.flatten(2).transpose(1, 2))[0]
    assert torch.equal(last(x), torch.cat([outputs[:, -1, :3], outputs[:, 0, 3:]], 1))


@FORMS
@VERSIONS
def test_initial_weights_and_batch_norms_are_those_of_keras(version: str, form: str) -> None:
    for net in pair(version, form):
        for layer in layers(net, nn.BatchNorm1d, nn.BatchNorm2d):
            assert (layer.eps, layer.momentum) == (1e-3, 0.2)
        for layer in layers(net, nn.LSTM):
            units = layer.hidden_size
            for kernel, recurrent, *biases in layer.all_weights:
                assert float(kernel.detach().abs().max()) <= math.sqrt(6 / sum(kernel.shape))
                assert torch.allclose(recurrent.T @ recurrent, torch.eye(units), atol=1e-5)
                assert sum(biases).tolist() == [0.0] * units + [1.0] * units + [0.0] * 2 * units
        for layer in layers(net, nn.Linear, *CONV):
            if not parametrize.is_parametrized(layer) and layer.weight.shape[0] > 4:
                fan_in, fan_out = layer.weight[0].numel(), layer.weight[:, 0].numel()
                assert float(layer.weight.detach().std()) == pytest.approx(
                    math.sqrt(2 / (fan_in + fan_out)), rel=0.1
                )
            if not parametrize.is_parametrized(layer):
                assert not layer.bias.detach().any()


def test_max_norm_by_hand() -> None:
    """Two inputs, one unit: rows longer than 3 come to 3, the two biases together as well."""
    lstm = nn.LSTM(2, 1, bidirectional=True)
    with torch.no_grad():
        for kernel, recurrent, bias, other in lstm.all_weights:
            kernel.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0], [-6.0, 8.0], [3.0, 0.0]]))
            recurrent.copy_(torch.tensor([[5.0], [-5.0], [2.0], [3.0]]))
            bias.copy_(torch.tensor([2.0, 2.0, -2.0, 0.0]))
            other.copy_(torch.tensor([0.0, 0.0, 0.0, 2.0]))
    max_norm(nn.Sequential(lstm))
    for kernel, recurrent, bias, other in lstm.all_weights:
        assert torch.allclose(
            kernel, torch.tensor([[1.8, 2.4], [0.0, 1.0], [-1.8, 2.4], [3.0, 0.0]])
        )
        assert torch.allclose(recurrent, torch.tensor([[3.0], [-3.0], [2.0], [3.0]]))
        assert torch.allclose(bias, torch.tensor([1.5, 1.5, -1.5, 0.0])) and torch.allclose(
            other, torch.tensor([0, 0, 0, 1.5])
        )


def test_max_norm_leaves_spectral_kernels_alone() -> None:
    lstm = SpectralLSTM(nn.LSTM(2, 3))
    with torch.no_grad():
        for w in lstm.parameters():
            w.fill_(4.0)
    before = {name: w.clone() for name, w in lstm.state_dict().items()}
    max_norm(lstm)
    changed = {name for name, w in lstm.state_dict().items() if not torch.equal(w, before[name])}
    assert changed == {"maps.0.bias", "maps.1.bias"}
    assert float(torch.cat([m.bias for m in lstm.maps]).norm().detach()) == pytest.approx(3)  # type: ignore[arg-type,misc]


# --- the defects ----------------------------------------------------------------------------------


@VERSIONS
@FORMS
@pytest.mark.parametrize("shape", [MNIST, (3, 20, 32)])
def test_A1_dead_pixels(version: str, form: str, shape: tuple[int, int, int]) -> None:
    """Published v3 leaves out the last row and the last pixel of the row above, and only v3."""
    D = pair(version, form, shape)[1].double().eval()
    dead = (gradient(D, torch.rand(3, *shape, dtype=torch.double)) == 0).all(0).all(0)
    _, H, W = shape
    expected = torch.zeros(H, W, dtype=torch.bool)
    if (version, form) == ("v3", "published"):
        expected[-1] = expected[-2, -1] = True
        assert expected.sum() == W + 1
    assert torch.equal(dead, expected)


def clouds(B: int, seed: int) -> Tensor:
    """Soft shapes in the middle of black pictures, (B, 1, 28, 28)."""
    g = torch.Generator().manual_seed(seed)
    centre, size = (
        10 + 8 * torch.rand(B, 3, 2, 1, 1, generator=g),
        1 + 2 * torch.rand(B, 3, 2, 1, 1, generator=g),
    )
    place = torch.stack(torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij"))
    x = torch.exp(-((place - centre) / size).square().sum(2)).sum(1, keepdim=True).clamp(max=1)
    return x * (x > 0.02)


@torch.no_grad()
def shift_felt(version: str, form: str, rows: list[int]) -> Tensor:
    """How much D's logit changes when the picture is rolled down, in standard deviations of the
    logit over pictures: the median over pictures and over untrained nets, for each number of
    rows."""
    felt = []
    for seed in range(6):
        D, x = pair(version, form, seed=seed)[1].eval(), clouds(8, seed)
        d = D(x)
        felt.append(torch.stack([(D(x.roll(r, 2)) - d).abs().median() / d.std() for r in rows]))
    return torch.stack(felt).median(0).values


@pytest.mark.parametrize(("version", "rows"), [("v1", [4, 7, 8]), ("v2", [1, 2, 7])])
def test_A2_the_published_discriminator_hardly_feels_shifts(version: str, rows: list[int]) -> None:
    published, repaired = (shift_felt(version, form, rows) for form in ("published", "repaired"))
    assert (published < repaired / 2).all(), (published, repaired)
    # four rows are 112 places of the string, a multiple of the 16 by which its convolutions step
    if version == "v1":
        assert (published[[0, 2]] < 0.05).all() and (repaired > 0.5).all(), (published, repaired)


def scaled(form: str, eps: float) -> float:
    """By how much v4's D changes, in training mode,
    when the weights of its convolutions are 7.3 times their spectral norm."""
    D = pair("v4", form, dropout=0.0)[1].double()
    x = torch.rand(3, *MNIST, dtype=torch.double)
    for layer in layers(D, nn.BatchNorm2d):
        layer.eps = eps
    for layer in layers(D, nn.Conv2d):
        parametrize.remove_parametrizations(layer, "weight")
    with torch.no_grad():
        before = D(x)
        for layer in layers(D, nn.Conv2d):
            layer.weight.mul_(7.3)
        return float((D(x) - before).abs().max())


def test_A5_batch_norm_takes_back_spectral_norm() -> None:
    """Exactly so without Keras' epsilon of 1e-3,
    which is as large as the variance behind the one-unit LSTM."""
    assert scaled("published", eps=1e-14) < 1e-9
    assert scaled("published", eps=1e-3) > 1e-3
    assert scaled("repaired", eps=1e-14) > 0.01


@pytest.mark.parametrize("version", ["v4", "v5"])
def test_A5_where_spectral_norm_is(version: str) -> None:
    def bounded(net: nn.Module) -> tuple[int, int]:
        kinds = layers(net, nn.Linear, *CONV)
        return sum(parametrize.is_parametrized(layer) for layer in kinds), len(kinds)

    G, D = pair(version, "published")
    assert (bounded(G), bounded(D)) == ((7, 7), (4, 5))
    assert (
        len(layers(G, nn.LSTM)) == 1
        and len(layers(D, nn.LSTM)) == 2
        and len(layers(D, nn.BatchNorm2d)) == 4
    )
    G, D = pair(version, "repaired")
    # four convolutions, six kernels of LSTMs, the last layer
    assert (bounded(G), bounded(D)) == ((0, 7), (11, 11))
    assert len(layers(G, nn.BatchNorm2d)) == 5 and not layers(D, nn.LSTM, nn.BatchNorm2d)
    for layer in layers(D, nn.Linear, *CONV):
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) < 1.1


@pytest.mark.parametrize(("form", "width"), [("published", 1), ("repaired", 16)])
@pytest.mark.parametrize("version", ["v3", "v4", "v5"])
def test_A4_how_many_numbers_D_keeps_of_a_pixel(version: str, form: str, width: int) -> None:
    """The filters of v4's and v5's convolution in front,
    and the units of the raster scan, which the next convolution reads."""
    found = [
        (conv.in_channels, conv.out_channels) for conv in layers(pair(version, form)[1], nn.Conv2d)
    ]
    assert found == [
        *([] if version == "v3" else [(1, width)]),
        (width, 256),
        (256, 128),
        (128, 64),
    ]


@FORMS
@VERSIONS
@torch.no_grad()
def test_A9_the_range_of_the_output(version: str, form: str) -> None:
    """With weights of three times the size, the published nets paint pixels above the range;
    the repaired cannot."""
    G = pair(version, form)[0]
    for w in G.parameters():
        w.mul_(3)
    x, (low, high) = G(torch.randn(4, 100)), RANGES[version]
    assert (float(x.max()) > high) == (form == "published")
    assert float(x.min()) >= low or form == "published"
    if form == "repaired":
        parts = list(G.children())
        paint = max(i for i, layer in enumerate(parts) if isinstance(layer, CONV))
        assert isinstance(parts[paint + 1], nn.Tanh if low < 0 else nn.Sigmoid)


# --- spectral norm in LSTMs -----------------------------------------------------------------------


@pytest.mark.parametrize("both", [False, True])
def test_a_spectral_lstm_is_an_lstm_with_kernels_of_norm_one(both: bool) -> None:
    reseed(0)
    lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=both).double()
    spectral, x = (
        SpectralLSTM(copy.deepcopy(lstm)).double(),
        torch.randn(2, 5, 3, dtype=torch.double),
    )
    for _ in range(100):
        spectral(x)
    with torch.no_grad():
        for kernel, recurrent, *_ in lstm.all_weights:
            for w in kernel, recurrent:
                w.div_(torch.linalg.matrix_norm(w, 2))
    (outputs, (last, cell)), (outputs_, (last_, cell_)) = spectral.eval()(x), lstm(x)
    for a, b in (outputs, outputs_), (last, last_), (cell, cell_):
        assert torch.allclose(a, b, atol=1e-6)


@FORMS
@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4"])
def test_slope_penalties_have_gradients(version: str, form: str) -> None:
    """Along one direction of the weights, the penalty's gradient is its difference quotient.
    Softplus stands in for rectifiers, for the penalty jumps where these bend."""
    D = pair(version, form, (1, 20, 16))[1].double().eval()
    assert isinstance(D, nn.Sequential)
    for i, layer in enumerate(D):
        if isinstance(layer, (nn.ReLU, nn.LeakyReLU)):
            D[i] = nn.Softplus()
    x, weights = torch.rand(2, 1, 20, 16, dtype=torch.double), list(D.parameters())

    def penalty() -> Tensor:
        return gradient(D, x, create=True).square().sum()

    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True)
    # the last layer's bias
    assert [w.shape for w, g in zip(weights, gradients, strict=True) if g is None] == [(1,)]
    way = [torch.randn_like(w) for w in weights]
    slope = sum(float((g * v).sum()) for g, v in zip(gradients, way, strict=True) if g is not None)
    ends = []
    for step in 1e-6, -2e-6:
        with torch.no_grad():
            for w, v in zip(weights, way, strict=True):
                w.add_(step * v)
        ends.append(float(penalty().detach()))
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-3)

"""What steadies a game, and the games' own arithmetic, against hand computation."""

import copy
import math

import pytest
import torch
from torch import nn

from simulacra.core.random import reseed
from simulacra.nn import adversarial, stabilise
from simulacra.nn.stabilise import Stabilisers

LN2 = math.log(2)


def test_cross_entropy_by_hand() -> None:
    """D = 3/4 (logit ln 3): against 1 it costs -ln 3/4,
    against 0 -ln 1/4, against 0.9 the mixture."""
    d = torch.tensor([math.log(3)])
    one, zero = -math.log(3 / 4), -math.log(1 / 4)
    assert float(adversarial.cross_entropy(d, 1.0)) == pytest.approx(one)
    assert float(adversarial.cross_entropy(d, 0.0)) == pytest.approx(zero)
    assert float(adversarial.cross_entropy(d, 0.9)) == pytest.approx(0.9 * one + 0.1 * zero)


@pytest.mark.parametrize(
    ("target", "target_G", "loss_D", "loss_G"),
    [(1.0, 1.0, LN2, LN2), (0.9, 0.9, 0.6881, 0.7784), (0.9, 1.0, 0.6881, 0.7985)],
)
def test_the_equilibrium_of_smoothed_labels(
    target: float, target_G: float, loss_D: float, loss_G: float
) -> None:
    """At equal densities the best D answers target/2; nothing else costs it less."""
    found = adversarial.equilibrium(target, target_G)
    assert found["loss_D"] == pytest.approx(loss_D, abs=1e-4) and found["loss_G"] == pytest.approx(
        loss_G, abs=1e-4
    )
    d = torch.linspace(-3, 3, 601, dtype=torch.float64)
    assert float(adversarial.non_saturating_D(d, d, target).min()) == pytest.approx(
        found["loss_D"], abs=1e-4
    )


def test_what_a_discriminator_that_won_pays() -> None:
    """0 for hard labels, 0.1625 for 0.9: half the label's entropy."""
    assert adversarial.won(1.0) == 0 and adversarial.won(0.9) == pytest.approx(0.1625, abs=1e-4)
    sure = torch.tensor([math.log(9)]), torch.tensor([-40.0])
    assert float(adversarial.non_saturating_D(*sure, 0.9)) == pytest.approx(
        adversarial.won(0.9), abs=1e-6
    )


def test_a_penalty_over_several_sizes_is_the_sum() -> None:
    x, y = torch.randn(3, 1, 4, 4, requires_grad=True), torch.randn(3, 1, 2, 2, requires_grad=True)
    d = 2 * x.flatten(1).sum(1) + 3 * y.flatten(1).sum(1)
    assert adversarial.slope_penalty(d, [x, y]).tolist() == pytest.approx([16 * 4 + 4 * 9] * 3)


def test_labels_of_reals() -> None:
    like = torch.zeros(2000, 1)
    assert stabilise.targets(Stabilisers(real_target=0.9), like).unique().tolist() == pytest.approx(
        [0.9]
    )
    reseed(0)
    drawn = stabilise.targets(Stabilisers(real_target=0.9, target_std=0.05), like)
    assert drawn.shape == (2000,) and drawn.max() <= 1
    assert float(drawn.mean()) == pytest.approx(0.9, abs=0.01) and float(
        drawn.std()
    ) == pytest.approx(0.05, abs=0.01)


def test_instance_noise_fades() -> None:
    h = Stabilisers(noise=((0, 0.5), (100, 0.0)))
    x = torch.zeros(50, 1, 28, 28)
    reseed(0)
    assert float(stabilise.augment(h, x, 0).std()) == pytest.approx(0.5, rel=0.02)
    assert float(stabilise.augment(h, x, 50).std()) == pytest.approx(0.25, rel=0.02)
    reseed(1)
    noise = torch.randn(50, 1, 28, 28)
    reseed(1)
    assert torch.equal(stabilise.augment(h, x + 0.2, 0), x + 0.2 + 0.5 * noise), (
        "added, as the runs there are had it"
    )
    assert torch.equal(stabilise.augment(h, x, 100), x) and torch.equal(
        stabilise.augment(Stabilisers(), x, 0), x
    )


@pytest.mark.parametrize("name", ["translate", "cutout", "colour"])
def test_augmentation_lets_gradients_through(name: str) -> None:
    """Pictures change, differently each, and their gradients are finite and not all zero."""
    x = (torch.rand(16, 3, 20, 28) * 2 - 1).requires_grad_()
    reseed(0)
    y = stabilise.augment(Stabilisers(augment=(name,)), x, 0)  # type: ignore[arg-type]
    assert y.shape == x.shape and (y != x).flatten(1).any(1).sum() > 10
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert gradient.isfinite().all() and (gradient != 0).flatten(1).any(1).all()


def test_translation_moves_whole_pictures() -> None:
    """One lit pixel in the middle stays one lit pixel, at most an eighth of the side away,
    and lands all over that square."""
    x = -torch.ones(400, 1, 16, 16)
    x[:, :, 8, 8] = 1
    reseed(0)
    y = stabilise.translate(x)
    lit = (y == 1).nonzero()
    assert len(lit) == 400 and set(lit[:, 2].tolist()) == set(lit[:, 3].tolist()) == {
        6,
        7,
        8,
        9,
        10,
    }


@pytest.mark.parametrize(("size", "most"), [(28, 4), (16, 2), (64, 8), (12, 2), (20, 3)])
def test_all_translations_are_equally_likely(size: int, most: int) -> None:
    """DiffAugment: whole pixels, -size/8 to size/8, halves rounded up, rows and columns apart;
    what comes in is 0."""
    n = 4500
    # each row tells its number
    x = torch.arange(1.0, size + 1).view(1, 1, size, 1).expand(n, 1, size, size).clone()
    reseed(0)
    y = stabilise.translate(x)
    middle = y.amax(3)[:, 0, size // 2]
    moves, counts = (middle - size // 2 - 1).round().unique(return_counts=True)
    assert moves.tolist() == list(range(-most, most + 1))
    assert counts.min() > 0.75 * n / (2 * most + 1) and counts.max() < 1.25 * n / (2 * most + 1)
    assert set(y[y < 1].tolist()) == {0.0}
    down = y[(middle == size // 2 + 1 - most)][0, 0]
    assert (down[:most] == 0).all() and (down[most] != 0).any()


@pytest.mark.parametrize(("height", "width"), [(28, 28), (16, 16), (64, 48), (9, 11)])
def test_cutout_hides_half_the_sides(height: int, width: int) -> None:
    """DiffAugment: a rectangle of int(side / 2 + 1/2), centred anywhere from border to border, so
    that it sticks out alike on both sides: 14 of 28, at 29 places, in 27 of which more than 7 and
    at 15 of which all 14 are seen."""
    n = 6000
    reseed(0)
    hidden = stabilise.cutout(torch.ones(n, 2, height, width)) == 0
    assert torch.equal(hidden[:, 0], hidden[:, 1])
    for axis, size in (2, height), (1, width):
        cut = int(size / 2 + 0.5)
        seen = hidden[:, 0].any(axis).sum(1)
        assert seen.max() == cut and seen.min() == cut // 2 + (cut % 2)
        places = size + 1 - cut % 2
        whole = size - cut + 1
        assert float((seen == cut).float().mean()) == pytest.approx(whole / places, abs=0.03)
    rows, columns = hidden[:, 0].any(2).sum(1), hidden[:, 0].any(1).sum(1)
    assert torch.equal(hidden[:, 0].sum((1, 2)), rows * columns), "a rectangle"
    shares = hidden[:, 0].float().mean((0, 2))
    assert torch.allclose(shares, shares.flip(0), atol=0.03), "both ends alike"


def test_colour_changes_brightness_saturation_and_contrast() -> None:
    """Each picture by its own three numbers: the mean moves by up to 1/2; colours lie 0 to 2 times
    as far from their grey; what is left of the pattern lies 1/2 to 3/2 times as far from the
    mean."""
    reseed(0)
    pattern = torch.tensor([0.2, -0.2, 0.1, -0.1]).view(1, 1, 2, 2)
    tint = torch.tensor([0.1, 0.0, -0.1]).view(1, 3, 1, 1)
    y = stabilise.colour((pattern + tint).expand(3000, 3, 2, 2))
    grey = y.mean(1)
    moved = grey.mean((1, 2))
    contrast = (grey[:, 0, 0] - moved) / 0.2
    saturation = (y[:, 0] - y[:, 1]).mean((1, 2)) / 0.1 / contrast
    for found, low, high in (moved, -0.5, 0.5), (contrast, 0.5, 1.5), (saturation, 0, 2):
        assert found.min() >= low - 1e-3 and found.max() <= high + 1e-3
        assert float(found.mean()) == pytest.approx((low + high) / 2, abs=0.05)
        assert float(found.std()) == pytest.approx((high - low) / 12**0.5, rel=0.05)
    apart = torch.corrcoef(torch.stack([moved, contrast, saturation])) - torch.eye(3)
    assert apart.abs().max() < 0.06, "drawn apart"


def test_spectral_norm_bounds_convolutions_and_recurrences() -> None:
    """The largest singular value of each weight comes to 1,
    and scaling what lies under it changes nothing."""
    torch.manual_seed(0)
    net = nn.ModuleDict(
        {"conv": nn.Conv2d(3, 8, 3), "lstm": nn.LSTM(5, 4, batch_first=True, bidirectional=True)}
    )
    stabilise.spectral(net)
    x = torch.randn(2, 6, 5)
    for _ in range(50):
        net["lstm"](x), net["conv"](torch.randn(1, 3, 5, 5))
    maps = net["lstm"].maps
    assert (
        isinstance(maps, nn.ModuleList)
        and [layer.weight.shape for layer in maps] == [(16, 5), (16, 4)] * 2
    )
    for layer in (*maps, net["conv"]):
        assert float(
            torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        ) == pytest.approx(1, abs=1e-2)
    net.eval()
    before = net["lstm"](x)[0]
    with torch.no_grad():
        maps[1].parametrizations.weight.original.mul_(7.3)  # type: ignore[union-attr]
    assert torch.allclose(net["lstm"](x)[0], before, atol=1e-5), (
        "the recurrence must use the bounded weight"
    )


def test_a_bounded_recurrence_is_an_lstm_with_smaller_weights() -> None:
    torch.manual_seed(0)
    plain = nn.LSTM(5, 4, batch_first=True, bidirectional=True)
    bounded = stabilise.SpectralLSTM(copy.deepcopy(plain)).eval()
    for layer, name in zip(
        bounded.maps, ("ih_l0", "hh_l0", "ih_l0_reverse", "hh_l0_reverse"), strict=True
    ):
        with torch.no_grad():
            getattr(plain, f"weight_{name}").copy_(layer.weight)
    x = torch.randn(2, 6, 5)
    assert torch.allclose(bounded(x)[0], plain(x)[0], atol=1e-6)


def test_spectral_norm_refuses_batch_norm() -> None:
    with pytest.raises(ValueError, match="batch norm rescales"):
        stabilise.spectral(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))


def test_spectral_norm_of_a_weight_that_begins_at_zero_is_finite() -> None:
    """It has no largest singular value to be divided by: the net answered NaN."""
    last = nn.Conv2d(2, 2, 3, padding=1)
    nn.init.zeros_(last.weight)
    net = stabilise.spectral(nn.Sequential(nn.Conv2d(1, 2, 3), last))
    for _ in range(3):
        found = net(torch.randn(2, 1, 8, 8))
    assert found.isfinite().all()
    assert float(torch.linalg.matrix_norm(last.weight.detach().flatten(1), 2)) == pytest.approx(
        1, abs=0.3
    )


def test_a_shift_keeps_the_edge_and_zero_draws_nothing() -> None:
    """A ramp of five columns moved by at most one: 00123, 01234 or 12344, each a third of the
    time."""
    x = torch.arange(5.0).expand(300, 1, 3, 5)
    y = stabilise.shift(x, 1)
    assert torch.equal(y, y[:, :, :1].expand_as(y)), "rows are alike, so moves along them are seen"
    found = {"".join(str(int(v)) for v in row) for row in y[:, 0, 0]}
    assert found == {"00123", "01234", "12344"}
    assert min(float((y[:, 0, 0, 2] == v).float().mean()) for v in (1, 2, 3)) > 0.2
    before = torch.get_rng_state()
    assert stabilise.shift(x, 0) is x and torch.equal(before, torch.get_rng_state())

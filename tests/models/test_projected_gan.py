"""Projected energies and logits: what is frozen stays so, gradients reach where they should, and
the equations against hand arithmetic."""

import math

import pytest
import torch
from torch import Tensor

from simulacra.core.random import reseed
from simulacra.models import projected_gan
from simulacra.models.projected_gan import Hyper, ProjectedGAN
from simulacra.nn import efficientnet, fastgan, projected

TINY = {"levels": (0, 2), "widths": (8, 8, 8, 8, 8), "width_D": 8, "z_size": 4}


def small(**hyper: object) -> ProjectedGAN:
    reseed(0)
    return ProjectedGAN(Hyper(**{**TINY, **hyper}), {"image": torch.zeros(4, 3, 32, 32)})  # type: ignore[arg-type]


def pictures(seed: int = 0) -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_losses_by_hand() -> None:
    """Two scales; of the first two patches."""
    s_x = [torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0]])]
    s_g = [torch.tensor([[-3.0, 1.0]]), torch.tensor([[-0.5]])]
    # reals 0.5 and 0, mean 0.25, and 1; fakes 0 and 2, mean 1, and 0.5
    assert float(projected_gan.hinge_D(s_x, s_g, 1.0)) == pytest.approx(0.25 + 1 + 1 + 0.5)
    E_x, E_g = [torch.tensor([[0.2], [0.4]])], [torch.tensor([[0.7], [1.9]])]
    assert float(projected_gan.margin_D(E_x, E_g, 1.0)) == pytest.approx(0.3 + 0.15)
    lead = math.log(3)
    both = [torch.tensor([[lead / 2]])] * 2
    none = [torch.zeros(1, 1)] * 2
    assert float(projected_gan.paired(both, none, 2.0)) == pytest.approx(2 * math.log(4 / 3))


@pytest.mark.parametrize("judge", ["energy", "logits"])
def test_a_player_that_leads_pays_less(judge: str) -> None:
    """With low energies, or high logits, of reals D pays less, and G more."""
    model = small(judge=judge, loss="relativistic")
    low, high = [torch.full((4, 1), 0.1)] * 2, [torch.full((4, 1), 2.0)] * 2
    good, bad = (low, high) if judge == "energy" else (high, low)
    assert model.loss_D(good, bad, 0) < model.loss_D(bad, good, 0)
    seen: list[list[Tensor]] = []
    model.D.judge = lambda mixed: seen.pop()  # type: ignore[method-assign, assignment]
    seen[:] = [good, bad]
    lost = model.loss_G([], [])
    seen[:] = [bad, good]
    assert model.loss_G([], []) < lost


def test_shapes_at_every_scale() -> None:
    """What `sizes` says without a look is what the frozen network gives, mixed or not."""
    levels = (0, 2, 4, 10, 14)
    for side in 32, 72:
        told = projected.sizes(levels, side)
        with torch.no_grad():
            seen = projected.look(torch.zeros(1, 1, side, side), levels, 0)
            mixed = projected.Projection([channels for channels, _ in told])(seen)
        assert [(f.shape[1], f.shape[2]) for f in seen] == told
        assert [y.shape for y in mixed] == [f.shape for f in seen]
        for (channels, width), y in zip(told, mixed, strict=True):
            assert projected.Energy(channels, width, 4)(y).shape == (1, 1)
            assert len(projected.Logits(channels, width, 4)(y)) == 1


def test_pictures_are_enlarged_for_the_frozen_network() -> None:
    assert projected.look(pictures(), (2,), 64)[0].shape[2:] == (16, 16)


def test_features_are_standardised_over_what_was_measured() -> None:
    """Part by part as at once; a channel that is constant stays finite."""
    features = [torch.randn(6, 3, 5, 5) * 4 + 7]
    features[0][:, 2] = 1.0
    one, parts = projected.Projection([3]), projected.Projection([3])
    one.measure(lambda: [features])
    parts.measure(lambda: [[features[0][:2]], [features[0][2:]]])
    assert torch.allclose(one.get_buffer("std0"), parts.get_buffer("std0"), rtol=1e-5)
    (mixed,) = one(features)
    assert mixed.isfinite().all()
    assert float(mixed.square().mean(0).sum(0).mean()) == pytest.approx(2, rel=1e-4)


def test_an_energy_is_the_mean_squared_error() -> None:
    """By hand: knowing the mean alone costs the mean square, what is rebuilt costs 0; at first it
    says little, so that the error is near the mean square."""
    energy = projected.Energy(3, 8, 4)
    y = torch.randn(5, 3, 8, 8)
    square = y.square().flatten(1).mean(1, keepdim=True)
    assert torch.allclose(energy(y), square, rtol=0.3)
    energy.rebuild = lambda y: torch.zeros_like(y)  # type: ignore[method-assign]
    assert torch.allclose(energy(y), square)
    energy.rebuild = lambda y: y  # type: ignore[method-assign]
    assert not energy(y).any()


@pytest.mark.parametrize("judge", ["energy", "logits"])
def test_the_frozen_network_and_its_mixtures_stay(judge: str) -> None:
    """A step moves G and every head, and neither what is frozen nor how it is mixed; G's gradient
    comes through both."""
    model, eyes = small(judge=judge), efficientnet.pretrained()
    model.step({"image": pictures()}, 0)  # measures
    frozen = {name: value.clone() for name, value in eyes.state_dict().items()}
    mixed = {name: value.clone() for name, value in model.project.state_dict().items()}
    moving = [w.detach().clone() for net in (model.G, model.D) for w in net.parameters()]
    model.step({"image": pictures(1)}, 1)
    assert all(torch.equal(value, frozen[name]) for name, value in eyes.state_dict().items())
    assert all(torch.equal(v, mixed[name]) for name, v in model.project.state_dict().items())
    now = [w for net in (model.G, model.D) for w in net.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(moving, now, strict=True))
    assert not any(w.requires_grad or w.grad is not None for w in eyes.parameters())
    assert not {"eyes", "net"} & set(vars(model))  # not in the checkpoint


def test_the_projection_keeps_what_was_measured_of_all_data() -> None:
    """Where `look` came before, the first step measures nothing."""
    model = small()
    model.look(lambda: iter([{"image": pictures(i)} for i in range(3)]), 4)
    before = model.project.get_buffer("mean0").clone()
    model.step({"image": pictures(7)}, 0)
    assert torch.equal(model.project.get_buffer("mean0"), before)


def test_coarse_maps_gate_fine_ones() -> None:
    """The excitation is a factor in (0, 1) for each channel of each picture."""
    gate = fastgan.Excite(3, 5)
    coarse, fine = torch.randn(2, 3, 4, 4), torch.rand(2, 5, 8, 8) + 1
    factor = gate(coarse, fine) / fine
    assert torch.allclose(factor, factor[:, :, :1, :1].expand_as(factor), atol=1e-5)
    assert bool(((factor > 0) & (factor < 1)).all())
    net = fastgan.Generator(4, (8, 8, 8, 8, 8), (3, 32, 32))
    assert len(net.excite) == 2 and net(torch.randn(2, 4)).shape == (2, 3, 32, 32)


def test_levels_that_repeat_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hyper.levels = \[2, 2\]; allowed: each greater"):
        small(levels=(2, 2))

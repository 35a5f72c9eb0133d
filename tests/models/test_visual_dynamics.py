"""Visual Dynamics: cross convolution, the loss by hand, layers that move, priors, the weight of KL,
and the three verbs; B1 to B16 are the defects of public codes."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import CPU, Tiny, assert_same, equal
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.optim import SGD

from simulacra.core import config, distributed, optim, run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.core.random import reseed
from simulacra.io import paint
from simulacra.models.visual_dynamics import nets, visual_dynamics
from simulacra.models.visual_dynamics.nets import cross_convolution, shares
from simulacra.models.visual_dynamics.visual_dynamics import (
    PRIORS,
    Hyper,
    KLWeight,
    Memory,
    VisualDynamics,
)
from simulacra.nn import maths
from simulacra.tasks import _picture, predict

SHAPE = 3, 16, 16
SMALL = {
    "widths": (8, 8),
    "layers": 2,
    "kernel": 5,
    "motion": (8, 8),
    "strides": (2, 2),
    "hidden": 8,
    "z_size": 4,
    "memory": 40,
}
OURS = "widths", "layers", "kernel"  # of paint = layers alone
DIFFERENCE = {
    "paint": "difference",
    "scales": (2.0, 1.0, 0.5),
    "maps": 4,
    "image": (4, 4, 4),
    "norm": "batch",
}
VARIANTS: dict[str, dict[str, object]] = {
    "layers": {},
    "difference": DIFFERENCE,
    "paper": DIFFERENCE
    | {
        "z_maps": True,
        "z_size": 50,
        "motion": (8, 4),
        "bound": 0.0,
        "prior": "empirical",
        "average": 0.0,
    },
    "learned": {"prior": "learned", "norm": "none", "clip": 1.0},
}
variants = pytest.mark.parametrize("variant", VARIANTS)


def small_model(**hyper: object) -> VisualDynamics:
    reseed(0)
    small = {
        name: value
        for name, value in SMALL.items()
        if name not in OURS or hyper.get("paint") != "difference"
    }
    return VisualDynamics(Hyper(**{**small, **hyper}), batch())  # type: ignore[arg-type]


def batch(rows: int = 6, seed: int = 0) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {name: torch.rand(rows, *SHAPE, generator=dice) * 2 - 1 for name in ("image", "next")}


def played(m: VisualDynamics, steps: int = 3) -> VisualDynamics:
    for k in range(steps):
        reseed(k)
        m.step(batch(seed=k), k)
    return m


# Cross convolution


def test_each_map_meets_its_own_kernel() -> None:
    maps, kernels = torch.randn(2, 3, 9, 8), torch.randn(2, 3, 5, 5)
    out = cross_convolution(maps, kernels)
    for b in range(2):
        for c in range(3):
            wanted = F.conv2d(maps[b, c][None, None], kernels[b, c][None, None], padding=2)[0, 0]
            assert torch.allclose(out[b, c], wanted, atol=1e-5)


def test_a_delta_at_the_centre_is_the_identity_and_beside_it_a_translation() -> None:
    """Right of the centre: what is there moves left, and nothing comes in from outside."""
    maps, kernels = torch.randn(1, 2, 6, 7), torch.zeros(1, 2, 5, 5)
    kernels[0, 0, 2, 2] = kernels[0, 1, 1, 4] = 1
    out = cross_convolution(maps, kernels)
    assert torch.allclose(out[0, 0], maps[0, 0], atol=1e-6)
    assert torch.allclose(out[0, 1], F.pad(maps[0, 1, :-1, 2:], (0, 2, 1, 0)), atol=1e-6)


def test_its_gradient_is_that_of_finite_differences() -> None:
    maps, kernels = (
        torch.randn(2, 2, 4, 5).double().requires_grad_(),
        torch.randn(2, 2, 3, 3).double().requires_grad_(),
    )
    assert torch.autograd.gradcheck(cross_convolution, (maps, kernels))
    assert torch.autograd.gradgradcheck(cross_convolution, (maps, kernels))


def test_samples_and_maps_do_not_mix() -> None:
    maps, kernels = (
        torch.randn(3, 4, 6, 6, requires_grad=True),
        torch.randn(3, 4, 3, 3, requires_grad=True),
    )
    out = cross_convolution(maps, kernels)[1, 2]
    for gradient in torch.autograd.grad((out * torch.randn_like(out)).sum(), (maps, kernels)):
        own = gradient[1, 2].clone()
        gradient[1, 2] = 0
        assert (own != 0).all() and (gradient.abs() <= 1e-6).all()


@pytest.mark.parametrize("k", [1, 3, 7, 13])
@pytest.mark.parametrize("side", [(8, 8), (7, 9), (16, 5), (13, 14)])
def test_it_agrees_with_a_loop_over_the_batch(k: int, side: tuple[int, int]) -> None:
    """Values and gradients, also of a kernel that the maps share."""
    maps, shared = (
        torch.randn(2, 3, *side).double().requires_grad_(),
        torch.randn(2, 1, k, k).double().requires_grad_(),
    )
    kernels = shared.expand(-1, 3, -1, -1)
    loop = [
        F.conv2d(x[None], y[:, None], padding=k // 2, groups=3)
        for x, y in zip(maps, kernels, strict=True)
    ]
    one, two = cross_convolution(maps, kernels), torch.cat(loop)
    assert one.shape == two.shape and torch.allclose(one, two)
    weight = torch.randn_like(one)
    slopes = [torch.autograd.grad((out * weight).sum(), (maps, shared)) for out in (one, two)]
    assert all(torch.allclose(a, b) for a, b in zip(*slopes, strict=True))


# The posterior


@pytest.mark.parametrize("s", [-3.0, 0.0, 1.5])
def test_B1_the_variance_is_what_the_divergence_takes_it_for(s: float) -> None:
    mean, there = torch.ones(200_000, 1), torch.full((200_000, 1), s)
    for variant, power in ("exact", 1), ("doubled", 2):
        z = small_model(log_variance=variant).net.reparameterize(mean, there)
        assert float(z.var()) == pytest.approx(math.exp(power * s), rel=0.02)
        assert float(z.mean()) == pytest.approx(1, abs=0.01 * math.exp(power * s / 2))


def test_B1_the_divergence_is_the_closed_form() -> None:
    mean, s, other, t = torch.randn(4, 50, 7)
    zero = torch.zeros(1)
    assert (
        float(maths.gaussian_kl(zero, zero))
        == 0
        == float(maths.gaussian_kl(other, t, other, t).abs().max())
    )
    p = Normal(mean, (s / 2).exp())
    assert torch.allclose(
        maths.gaussian_kl(mean, s), kl_divergence(p, Normal(0.0, 1.0)), rtol=1e-4, atol=1e-5
    )
    wanted = kl_divergence(p, Normal(other, (t / 2).exp()))
    assert torch.allclose(maths.gaussian_kl(mean, s, other, t), wanted, rtol=1e-4, atol=1e-5)
    near = torch.linspace(-1e-3, 1e-3, 999)
    assert (maths.gaussian_kl(torch.zeros(999), near) >= 0).all(), "not even rounded below 0"


def test_psnr_by_hand() -> None:
    """An error of 0.2 everywhere is a tenth of the range: 20 dB. Of half the pixels: 3 dB more."""
    true = torch.zeros(3, *SHAPE)
    image = torch.stack([true[0] + 0.2, true[1], true[2]])
    image[2, :, :8] = 0.2
    assert maths.psnr(image, true).tolist() == pytest.approx(
        [20, 100, 20 + 10 * math.log10(2)], abs=1e-3
    )


def test_B3_a_log_variance_of_50_is_survived_with_the_bound() -> None:
    """And not without it."""
    told = {}
    for bound in 8.0, 0.0:
        m = small_model(bound=bound)
        with torch.no_grad():
            m.net.encoder.end.bias[4:] += 50
        told[bound] = {name: float(value.detach()) for name, value in m.step(batch(), 0).items()}
        if bound:
            assert (m.net.posterior(batch()["image"], batch()["next"])[1] <= 8).all()
            assert all(w.isfinite().all() for w in m.net.parameters())
    assert told[8.0]["KL"] < 4 * math.exp(8) and math.isfinite(told[8.0]["loss"])
    assert not told[0.0]["KL"] < 1e15


def test_the_bound_leaves_small_log_variances_alone() -> None:
    s = torch.tensor([-0.1, 0.0, 0.1, 1000.0, -1000.0])
    assert small_model(bound=8.0).net.bounded(s).tolist() == pytest.approx(
        [-0.1, 0, 0.1, 8, -8], abs=1e-4
    )
    assert torch.equal(small_model(bound=0.0).net.bounded(s), s)


@variants
def test_B10_means_log_variances_and_differences_take_both_signs(variant: str) -> None:
    m, found = small_model(**VARIANTS[variant]), batch(32)
    mean, s = m.net.posterior(found["image"], found["next"])
    assert mean.shape == s.shape == (32, m.hyper.z_size)
    for values in mean, s, m.net.painter(found["image"], mean) - found["image"]:
        assert values.min() < 0 < values.max()


@variants
def test_B12_every_weight_feels_the_loss_and_moves(variant: str) -> None:
    m = small_model(**VARIANTS[variant])
    start = {name: weight.detach().clone() for name, weight in m.net.named_parameters()}
    played(m)
    assert not [
        name for name, weight in m.net.named_parameters() if torch.equal(weight, start[name])
    ]


@pytest.mark.parametrize("variant", ["layers", "difference", "paper"])
def test_kernels_are_no_linear_function_of_z(variant: str) -> None:
    kernels = small_model(**VARIANTS[variant]).net.painter.kernels.eval()
    a, b = torch.randn(2, 1, 50 if variant == "paper" else 4)
    with torch.no_grad():
        assert not torch.allclose(
            kernels(a + b) + kernels(0 * a), kernels(a) + kernels(b), atol=1e-3
        )


@variants
def test_the_posterior_reads_both_frames(variant: str) -> None:
    """Every pixel of them; alone in their batch."""
    m, frames = (
        small_model(**VARIANTS[variant]),
        [frame.requires_grad_() for frame in batch(2).values()],
    )
    m.net.eval()
    for told in m.net.posterior(*frames):
        for gradient in torch.autograd.grad(
            (told[0] * torch.randn_like(told[0])).sum(), frames, retain_graph=True
        ):
            assert (gradient[0] != 0).all() and not gradient[1].any()


# The loss


@pytest.mark.parametrize("variant", ["layers", "learned"])
def test_B2_the_loss_is_nats_of_one_pair(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Squared error over 2 sigma^2 and beta times the divergence, both sums; the step descends it a
    number of the frame. With sigma^2 = w C H W / (2 z_size) it is z_size / w times what the sources
    minimise, means weighed by w."""
    m, w, losses, there = small_model(**VARIANTS[variant], beta=0.5, sigma=0.3), 0.05, [], batch()
    monkeypatch.setattr(
        visual_dynamics, "descend", lambda move, clip: losses.append(float(move[0].detach()))
    )
    reseed(1)
    told = {name: float(value.detach()) for name, value in m.step(there, 0).items()}
    reseed(1)
    with torch.no_grad():
        mean, s = m.net.posterior(there["image"], there["next"])
        z = mean + (s / 2).exp() * torch.randn(6, 4)
        error = (m.net.painter(there["image"], z) - there["next"]).square()
        mu, t = m.net.prior(there["image"]) if variant == "learned" else torch.zeros(2, 1)
    KL = kl_divergence(Normal(mean, (s / 2).exp()), Normal(mu, (t / 2).exp()))
    wanted = (error.sum((1, 2, 3)) / (2 * 0.3**2) + 0.5 * KL.sum(1)).mean()
    if variant == "learned":
        # the anchor
        wanted += 0.5 * 0.1 * kl_divergence(Normal(mean, (s / 2).exp()), Normal(0, 1)).sum(1).mean()
    assert told["loss"] == pytest.approx(float(wanted), rel=1e-4) and losses == [
        pytest.approx(told["loss"] / 768, rel=1e-5)
    ]
    assert told["L2"] == pytest.approx(float(error.mean()), rel=1e-4)
    assert told["KL"] == pytest.approx(float(KL.sum(1).mean()), rel=1e-3)
    each = KL.mean(0).sort(descending=True).values.tolist()
    assert [told[f"KL_{i}"] for i in range(1, 5)] == pytest.approx(each, rel=1e-3, abs=1e-6)

    m = small_model(
        **VARIANTS[variant],
        sigma=(w * 768 / (2 * 4)) ** 0.5,
        **({"anchor": 0} if variant == "learned" else {}),
    )
    reseed(1)
    assert float(m.step(there, 0)["loss"].detach()) == pytest.approx(
        4 / w * float(error.mean() + w * KL.mean()), rel=1e-4
    )


def test_schedules_reach_the_step() -> None:
    """B16's schedule: raised after a step, at once."""
    m = small_model(rate=((0, 1e-3), (10, 0.0)), beta=((0, 0.1), (10, 0.1), (10, 1.0)))
    betas = []
    for k in (0, 9, 10, 11):
        optim.set_rates(m, k)
        betas.append(float(m.step(batch(), k)["beta"]))
    assert betas == pytest.approx([0.1, 0.1, 1, 1])
    assert m.opt.param_groups[0]["lr"] == 0


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        ({"strides": (2,)}, "motion has 2 convolutions and strides 1; allowed: as many"),
        ({"paint": "difference", "z_maps": True}, "z_maps makes z_size 100 of 8 channels, found 4"),
        (
            {"paint": "difference", "z_maps": True, "motion": (8, 5), "z_size": 50},
            "z_maps makes z_size 62.5 of 5 channels",
        ),
        (
            {"z_maps": True, "z_size": 100},
            "hyper.z_maps = true changes nothing, since it needs paint = difference",
        ),
        (
            {"widths": (8, 8, 8, 8, 8, 8)},
            r"take frames whose sides are multiples of 32, found 16x16",
        ),
    ],
)
def test_hyperparameters_that_do_not_fit_are_refused(hyper: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        small_model(**hyper)


def test_single_pictures_and_empty_nets_are_refused() -> None:
    with pytest.raises(
        ValueError, match="takes pairs of frames, and the data hold single pictures"
    ):
        VisualDynamics(Hyper(), {"image": torch.zeros(2, *SHAPE)})
    for name in "motion", "strides", "widths", "scales":
        with pytest.raises(Mistake, match=rf"hyper\.{name}"):
            config.resolve("visual_dynamics_shapes", "tiny", [f"hyper.{name}=[]"])


# Layers


def test_kernels_of_layers_sum_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        nets, "cross_convolution", lambda x, k: seen.append(k) or cross_convolution(x, k)
    )
    small_model().net.painter(batch()["image"], 9 * torch.randn(6, 4))
    kernels = seen[0].view(6, 2, 4, 5, 5)
    assert (kernels >= 0).all() and torch.allclose(kernels.sum((3, 4)), torch.ones(6, 2, 4))
    assert torch.equal(kernels, kernels[:, :, :1].expand_as(kernels)), (
        "a layer's opacity and colours move together"
    )


def test_layers_cover_each_other_in_their_order() -> None:
    """A certain order is "over"; an open one shares; the shares add up to 1."""
    m = torch.tensor([0.5, 1.0, 0.2]).view(1, 3, 1, 1, 1)
    # from behind: the third, the first, the second
    ahead = torch.tensor([[[0.5, 0, 1], [1, 0.5, 1], [0, 0, 0.5]]])
    assert torch.allclose(shares(m, ahead).flatten(), torch.tensor([0, 0, 1.0, 0]), atol=1e-5)
    m[0, 1] = 0.4
    assert torch.allclose(
        shares(m, ahead).flatten(),
        torch.tensor([0.6 * 0.5 * 0.8, 0.6 * 0.5, 0.4, 0.6 * 0.5 * 0.2]),
        atol=1e-5,
    )
    assert torch.allclose(
        shares(torch.ones(1, 2, 1, 1, 1), torch.full((1, 2, 2), 0.5)).flatten(),
        torch.tensor([0, 0.5, 0.5]),
        atol=1e-5,
    )
    some = shares(torch.rand(4, 3, 1, 5, 6), torch.rand(4, 3, 3))
    assert some.shape == (4, 4, 1, 5, 6) and torch.allclose(
        some.sum(1), torch.ones(4, 1, 5, 6), atol=1e-4
    )


def test_the_order_of_layers_is_learnt() -> None:
    """Two layers whose order is wrong at first: the gradient turns it."""
    painter, I1 = small_model(norm="none").net.painter, batch()["image"]
    opacity = torch.ones(6, 2, 1, 1, 1)
    _, ahead, _ = painter.opacities(I1)
    (slope,) = torch.autograd.grad(shares(opacity, ahead)[:, 1].sum(), painter.depth.bias)
    assert slope[0] > 0 > slope[1], "the first shows more if it comes forward"


def test_imagined_frames_have_sharper_kernels() -> None:
    """Their squares, made to sum to 1; one of training is as it is."""
    m = small_model(norm="none", sharpen=2.0, average=0.0)
    painter, I1, z = m.average.module.painter, batch()["image"], torch.randn(6, 4)
    with torch.no_grad():
        painter.kernels[-1].bias.normal_()
        plain = painter.kernels(z).view(6, 2, 25).softmax(2)
        twice = plain.square() / plain.square().sum(2, keepdim=True)
        assert torch.allclose((2 * painter.kernels(z)).view(6, 2, 25).softmax(2), twice, atol=1e-6)
        assert not torch.allclose(painter(I1, z), painter(I1, z, 2.0), atol=1e-3)
        moved = m.transfer(I1, I1.flip(0), I1)
        assert torch.equal(
            moved, painter(I1, m.average.module.posterior(I1, I1.flip(0))[0], 2.0).clamp(-1, 1)
        )


def test_layers_are_moved_and_laid_over_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """A white block goes up by 1 and right by 2;
    a black veil in front of it, half transparent, stays."""
    painter, (C, H, W) = small_model().net.painter, SHAPE
    with torch.no_grad():
        painter.kernels[-1].weight.zero_()
        bias = painter.kernels[-1].bias.fill_(-1e4).view(2, 5, 5)
        bias[0, 3, 0] = bias[1, 2, 2] = 0
    opacity, colour = torch.zeros(1, 2, 1, H, W), torch.full((1, 3, C, H, W), 0.2)
    opacity[0, 0, 0, 4:8, 3:5], opacity[0, 1, 0, 5], colour[0, 1], colour[0, 2] = 1, 0.5, 1, -1
    ahead = torch.tensor([[[0.5, 0.0], [1.0, 0.5]]])  # the second is in front of the first
    monkeypatch.setattr(painter, "taken_apart", lambda I1: (opacity, colour, ahead))
    wanted = torch.full((1, C, H, W), 0.2)
    wanted[:, :, 3:7, 5:7] = 1
    wanted[:, :, 5] = 0.5 * wanted[:, :, 5] - 0.5
    assert torch.allclose(painter(torch.zeros(1, C, H, W), torch.randn(1, 4)), wanted, atol=1e-3)


def test_what_the_picture_shows_keeps_its_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is filled in: of opaque layers that stay where they are comes the picture itself."""
    painter, I1 = small_model().net.painter, batch()["image"]
    with torch.no_grad():
        painter.kernels[-1].weight.zero_()
        painter.kernels[-1].bias.fill_(-1e4).view(2, 25)[:, 12] = 0
    opacity = (torch.rand(len(I1), 2, 1, *I1.shape[2:]) > 0.5).float()
    _, ahead, coarse = painter.opacities(I1)
    assert torch.equal(ahead, torch.full_like(ahead, 0.5)), "at first the order is open"
    ahead = torch.tensor([[0.5, 0.0], [1.0, 0.5]]).expand_as(ahead)
    monkeypatch.setattr(painter, "opacities", lambda I1: (opacity, ahead, coarse))
    assert torch.allclose(painter(I1, torch.randn(len(I1), 4)), I1, atol=1e-3)
    shown = painter.taken_apart(I1)[1]
    hidden = (opacity[:, 1] == 1).expand_as(I1)
    assert torch.allclose(shown[:, 2][hidden], I1[hidden], atol=1e-5) and not torch.allclose(
        shown[:, 0][hidden], I1[hidden]
    )


def test_at_first_nothing_moves_far_and_nothing_leaves_the_range() -> None:
    m = small_model(norm="none")
    kernels = m.net.painter.kernels(torch.zeros(1, 4)).view(2, 25).softmax(1)
    assert (kernels.argmax(1) == 12).all()
    for w in m.net.painter.parameters():
        w.data.mul_(20)
    out = m.net.painter(batch()["image"], torch.randn(6, 4))
    assert 0.9 < float(out.detach().abs().max()) <= 1 + 1e-5


# Memory and priors


def test_the_memory_keeps_the_last_posteriors() -> None:
    """It wraps around, and takes batches that are longer than itself."""
    memory, numbers = Memory(5, 1), torch.arange(20.0)[:, None]
    for start, count, wanted in (
        (0, 3, {0, 1, 2}),
        (3, 4, {2, 3, 4, 5, 6}),
        (7, 13, {15, 16, 17, 18, 19}),
    ):
        memory.keep(numbers[start : start + count], -numbers[start : start + count])
        mean, s = memory.filled()
        assert set(mean[:, 0].tolist()) == wanted and torch.equal(s, -mean)
    assert int(memory.seen) == 20


def test_a_step_remembers_what_it_encoded() -> None:
    m, there = small_model(rate=0.0), batch()
    assert equal(m.memory.filled(), (torch.zeros(1, 4), torch.zeros(1, 4))), (
        "before the first step: N(0, 1)"
    )
    m.step(there, 0)
    for kept, own in zip(
        m.memory.filled(), m.net.posterior(there["image"], there["next"]), strict=True
    ):
        assert torch.allclose(kept, own, atol=1e-6) and not kept.requires_grad


def test_B13_a_posterior_with_two_modes_stays_bimodal() -> None:
    """Rather than being averaged away."""
    m = small_model(memory=200, bound=0.0)
    mean = torch.randn(200, 4) * 0.1
    mean[::2, 0] += 6
    mean[1::2, 0] -= 6
    m.memory.keep(mean, torch.full((200, 4), -6.0))
    like, found = batch(300)["image"], {}
    for prior in "empirical", "mixture", "normal":
        reseed(0)
        z = m.sample_prior(like, prior)
        assert z.shape == (300, 4) and int((z[1:, 0].sign() != z[:-1, 0].sign()).sum()) > 100, (
            "in no order"
        )
        found[prior] = [float(((z[:, 0] - mode).abs() < 1).float().mean()) for mode in (-6, 6)]
    assert all(
        share > 0.4 and sum(found[name]) > 0.95
        for name in ("empirical", "mixture")
        for share in found[name]
    )
    assert sum(found["normal"]) < 0.01


def test_the_doubled_variance_is_sampled_as_it_was_trained() -> None:
    """One posterior, of variance exp(2 s)."""
    m = small_model(memory=500, log_variance="doubled")
    m.memory.keep(torch.zeros(500, 4), torch.full((500, 4), 1.0))
    for prior in "empirical", "mixture":
        reseed(0)
        assert float(m.sample_prior(batch(1000)["image"], prior).var()) == pytest.approx(
            math.exp(2), rel=0.15
        )


@pytest.mark.parametrize("prior", PRIORS)
def test_processes_share_what_one_would_draw(prior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    m, like, halves = played(small_model(prior="learned")), batch(8)["image"], []
    reseed(5)
    whole = m.sample_prior(like, prior)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    for rank in 0, 1:
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        reseed(5)
        halves.append(m.sample_prior(like[4 * rank : 4 * rank + 4], prior))
    assert torch.allclose(torch.cat(halves), whole, atol=1e-5) and len(whole.unique(dim=0)) == 8


@pytest.mark.parametrize("prior", ["normal", "empirical", "mixture"])
@pytest.mark.parametrize("rows", [0, 1])
def test_priors_before_there_is_anything_to_remember(prior: str, rows: int) -> None:
    m = small_model()
    if rows:
        m.memory.keep(torch.zeros(1, 4), torch.zeros(1, 4))
    z = m.sample_prior(batch(300)["image"], prior)
    assert z.shape == (300, 4) and abs(float(z.mean())) < 0.1 and abs(float(z.std()) - 1) < 0.1
    with pytest.raises(ValueError, match="this run has no learned prior"):
        m.sample_prior(batch()["image"], "learned")


def test_the_learned_prior_looks_at_the_picture() -> None:
    m = played(small_model(prior="learned", rate=0.1, average=0.0))
    mean, _ = m.average.module.learned(batch()["image"])
    assert len(mean.unique(dim=0)) == 6
    mean, s = small_model().net.learned(batch()["image"])
    assert not mean.any() and not s.any(), "otherwise it is N(0, 1)"


# The weight of KL


def heard(hyper: Hyper, errors: list[float]) -> list[float]:
    """beta after each of these mean squared errors."""
    weight, betas = KLWeight(hyper), []
    for k, error in enumerate(errors):
        weight.hear(torch.tensor(error), k)
        betas.append(weight.now(k + 1))
    return betas


def test_B16_doubling_waits_for_its_turn_and_for_the_error_and_has_a_limit() -> None:
    h = Hyper(weigh="doubling", every=3, target=0.1, beta=2.0, beta_most=10.0)
    assert heard(h, [0.005] * 10) == [2, 2, 4, 4, 4, 8, 8, 8, 10, 10]
    assert heard(h, [0.011] * 10) == [2] * 10, "the error is above 0.1^2"


def test_B16_a_target_pushes_beta_to_both_sides() -> None:
    """By half a percent where the squared error is half its target, by one at most;
    between a floor and the limit."""
    h = Hyper(weigh="target", target=0.1, beta=2.0, beta_most=2.05)
    assert heard(h, [0.005] * 9) == pytest.approx(
        [min(2 * math.exp(0.005 * i), 2.05) for i in range(1, 10)]
    )
    assert heard(h, [0.5] * 3) == pytest.approx([2 * math.exp(-0.01 * i) for i in range(1, 4)])
    assert heard(h, [0.5] * 2000)[-1] == pytest.approx(1e-6)


def test_beta_heeds_an_average_of_the_error() -> None:
    """One bad batch among many does not count as much as itself."""
    h = Hyper(weigh="doubling", every=4, target=0.1)
    assert (
        heard(h, [0.005, 0.005, 0.005, 0.4]) == [1, 1, 1, 2]
        and heard(h, [0.4, 0.005, 0.005, 0.005])[-1] == 1
    )


def test_the_model_weighs_with_what_it_heard() -> None:
    m = small_model(weigh="target", target=10.0)
    betas = [float(m.step(batch(), k)["beta"]) for k in range(3)]
    assert betas[0] == 1 < betas[1] < betas[2] <= 1.03


# What is looked at


@variants
def test_looking_changes_nothing(variant: str) -> None:
    m = played(small_model(**VARIANTS[variant]))
    before = run.digest(run.states(m))
    for rows in 6, 1:
        told = m.health(batch(rows), {}, batch(rows, seed=9))
        assert list(told) == ["psnr", "psnr_sample", "psnr_copy", "active"] and all(
            value.isfinite() for value in told.values()
        )
    m.sample(batch())
    assert run.digest(run.states(m)) == before
    there = batch(1, seed=9)
    copied = 10 * math.log10(4 / float((there["image"] - there["next"]).square().mean()))
    assert float(told["psnr_copy"]) == pytest.approx(copied, rel=1e-4)


def test_active_counts_the_dimensions_whose_mean_varies() -> None:
    m = small_model()
    for scale, wanted in ((0.0, 0), (1e3, 3)):
        m.average.module.encoder.end.weight.data[:3] *= scale
        m.average.module.encoder.end.weight.data[3:] = 0
        assert float(m.health(batch(), {}, batch())["active"]) == wanted
        m = small_model()


@pytest.mark.parametrize("rows", [11, 3, 1])
@pytest.mark.parametrize("prior", ["mixture", "empirical"])
def test_what_is_painted(rows: int, prior: str) -> None:
    m, there = played(small_model(prior=prior)), batch(rows)
    made, few = m.sample(there), min(rows, 8)
    shapes = {
        "samples": (rows,),
        "futures": (few, 8, 1),
        "moving": (few, 8, 2),
        "reconstructed": (few, 3, 1),
    }
    assert {name: tuple(value.shape) for name, value in made.items()} == {
        name: (*s, *SHAPE) for name, s in shapes.items()
    }
    assert all(value.abs().max() <= 1 and not value.requires_grad for value in made.values())
    I1, I2 = there["image"][:few], there["next"][:few]
    assert torch.equal(made["futures"][:, 0, 0], I1) and torch.equal(made["futures"][:, 7, 0], I2)
    assert (
        torch.equal(made["moving"][:, :, 1], made["futures"][:, :, 0])
        and (made["moving"][:, :, 0] == I1[:, None]).all()
    )
    assert torch.equal(made["reconstructed"][:, 1, 0], I2)
    assert len(made["futures"][0, 1:7].flatten(1).unique(dim=0)) == 6, "six different futures"


def test_futures_stay_with_their_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are more than are painted at once."""
    m, I1 = small_model(), batch(30)["image"]
    monkeypatch.setattr(m.average.module.painter, "forward", lambda I1, z, _: I1)
    assert torch.equal(m.imagine(I1, 5, "normal"), I1[:, None].expand(-1, 5, -1, -1, -1))


def test_a_transfer_is_the_mean_motion_on_another_picture() -> None:
    m, there, other = played(small_model()), batch(), batch(seed=9)["image"]
    net = m.average.module.eval()
    wanted = net.painter(other, net.posterior(there["image"], there["next"])[0], m.hyper.sharpen)
    assert torch.allclose(
        m.transfer(there["image"], there["next"], other), wanted.clamp(-1, 1), atol=1e-6
    )


def test_differences_that_leave_the_range_are_clipped_when_looked_at() -> None:
    m, I1 = small_model(**DIFFERENCE), batch(2)["image"]
    m.average.module.painter.decode[-1].bias.data += 3
    assert m.average.module.painter(I1, torch.zeros(2, 4)).max() > 2
    for made in m.imagine(I1, 2), m.transfer(I1, I1, I1), m.traverse(I1[:1], 2, 3)[0]:
        assert made.max() == 1


def test_a_traverse_moves_one_dimension_at_a_time_the_most_active_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    m, mean = small_model(), torch.randn(40, 4) * torch.tensor([0.1, 3.0, 1.0, 0.01]) + 2
    m.memory.keep(mean, torch.zeros(40, 4))
    found: list[Tensor] = []
    monkeypatch.setattr(m.average.module.painter, "forward", lambda I1, z, _: found.append(z) or I1)
    films, chosen = m.traverse(batch(1)["image"], 3, 33)
    assert chosen == [1, 2, 0] and films.shape == (3, 33, *SHAPE)
    z, spread = torch.cat(found).view(3, 33, 4), mean.std(0, correction=0)
    for row, dimension in zip(z, chosen, strict=True):
        away = (row - mean.mean(0)) / spread
        assert torch.allclose(away[:, dimension], torch.linspace(-3, 3, 33), atol=1e-4)
        away[:, dimension] = 0
        assert away.abs().max() < 1e-4
    assert len(m.traverse(batch(1)["image"], 64, 2)[1]) == 4, "no more than there are"


# Clipping


def test_what_moves_is_no_longer_than_clip() -> None:
    """A gradient (3, 4, 0, 12) of norm 13, over two weights;
    and one of norm 5 beside it, clipped on its own."""
    a, b, c = (
        nn.Parameter(torch.zeros(3)),
        nn.Parameter(torch.zeros(1)),
        nn.Parameter(torch.zeros(2)),
    )
    loss = (a * torch.tensor([3.0, 4.0, 0.0])).sum() + 12 * b.sum()
    optim.descend(
        (loss, SGD([a, b], lr=1.0)), (c @ torch.tensor([3.0, 4.0]), SGD([c], lr=1.0)), clip=2.0
    )
    assert [*a.tolist(), *b.tolist()] == pytest.approx([-6 / 13, -8 / 13, 0, -24 / 13])
    assert c.tolist() == pytest.approx([-6 / 5, -8 / 5])


def test_shorter_gradients_are_left_alone() -> None:
    ends = []
    for clip in 0.0, 5.1:
        a = nn.Parameter(torch.zeros(2))
        optim.descend((a @ torch.tensor([3.0, 4.0]), SGD([a], lr=1.0)), clip=clip)
        optim.descend((0 * a.sum(), SGD([a], lr=1.0)), clip=clip)
        ends.append(a.detach())
    assert torch.equal(*ends) and ends[0].tolist() == [-3, -4]


def test_gradients_that_share_memory_are_clipped_once() -> None:
    """Autograd gives the sum of two weights one gradient for both,
    and the weights of a sum one number for all."""
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optim.descend(((a + b).square().sum(), SGD([a, b], lr=1.0)), clip=1.0)
    assert [*a.tolist(), *b.tolist()] == pytest.approx([0.5] * 4)
    optim.descend((a.sum(), SGD([a], lr=1.0)), clip=1.0)
    assert a.tolist() == pytest.approx([0.5 - 0.5**0.5] * 2)


def test_the_model_clips() -> None:
    m = small_model(clip=1e-3)
    start = torch.cat([w.detach().flatten() for w in m.net.parameters()])
    m.opt = SGD(m.net.parameters(), lr=1.0)
    optim.set_rates(m, 0)
    m.step(batch(), 0)
    moved = torch.cat([w.detach().flatten() for w in m.net.parameters()]) - start
    assert m.opt.param_groups[0]["lr"] == 1e-3 and float(moved.norm()) == pytest.approx(
        1e-6, rel=0.02
    )


# Tables


def test_tables_of_pictures_and_of_clips(tmp_path: Path) -> None:
    """Rows and columns as they are given; one frame is a PNG, several are a GIF."""
    table = (torch.arange(24).view(2, 3, 4, 1, 1, 1) * 10 / 127.5 - 1).expand(-1, -1, -1, 1, 5, 7)
    path = paint.save_table(table[:, :, :1], tmp_path / "still", scale=2)
    board = np.asarray(Image.open(path))[:, :, None]
    assert path == tmp_path / "still.png" and board.shape == (2 * 12 + 2, 3 * 16 + 2, 1)
    tiles = paint.cut(board, 10, 14, 2)
    assert (tiles == np.array([[0, 40, 80], [120, 160, 200]])[:, :, None, None, None]).all()
    path = paint.save_table(table, tmp_path / "film", fps=5)
    assert path == tmp_path / "film.gif"
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["duration"]) == (4, (3 * 9 + 2, 2 * 7 + 2), 200)
        for t in range(4):
            film.seek(t)
            found = paint.cut(np.asarray(film.convert("L"))[:, :, None], 5, 7, 2)[:, :, 0, 0, 0]
            assert (found == np.array([[0, 40, 80], [120, 160, 200]]) + 10 * t).all()
    made = paint.pictures({"futures": table[:, :, :1], "moving": table}, tmp_path / "all")
    assert [path.name for path in made] == ["futures.png", "moving.gif"]
    assert all(Image.open(path).size == (3 * 9 + 2, 2 * 7 + 2) for path in made)


# Runs


RUN = "steps=6", "save_every=3", "log_every=1", "data.count=40", "data.held_out=8"
EASY = *RUN, "hyper.z_size=4"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps on shapes of 32x32; not to be written into."""
    folder = tmp_path_factory.mktemp("visual_dynamics") / "run"
    assert Tiny("visual_dynamics_shapes").train(folder, *EASY).done
    return folder


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a learned prior."""
    folder = tmp_path_factory.mktemp("visual_dynamics") / "learned"
    assert Tiny("visual_dynamics_shapes").train(folder, *EASY, "hyper.prior=learned").done
    return folder


def test_memory_and_beta_are_in_the_checkpoint(tmp_path: Path) -> None:
    """Resumed after the memory wrapped around, a run goes on bit for bit."""
    changes = *EASY, "hyper.weigh=target", "hyper.memory=20", "hyper.prior=empirical"
    tiny = Tiny("visual_dynamics_shapes")
    tiny.train(tmp_path / "one", *changes)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "done").unlink()
    run.checkpoints(tmp_path / "two")[-1].unlink()
    assert tiny.train(tmp_path / "two", *changes).done
    assert_same(tmp_path / "one", tmp_path / "two")
    parts = torch.load(run.checkpoints(tmp_path / "one")[-1], weights_only=True)["parts"]
    assert parts["memory"]["mean"].shape == (20, 4) and int(parts["memory"]["seen"]) == 48
    assert float(parts["weight"]["beta"]) != 1 and float(parts["weight"]["told"]) > 0


@pytest.fixture
def now(tmp_path: Path) -> Path:
    """A picture as the run's frames are."""
    pixels = np.full((32, 32, 3), 220, np.uint8)
    pixels[8:20, 10:22] = 200, 30, 60
    Image.fromarray(pixels).save(tmp_path / "now.png")
    return tmp_path / "now.png"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def tiles(path: Path, side: int = 64) -> np.ndarray:
    """The tiles (rows, columns, side, side, 3) of a sheet."""
    return paint.cut(pixels(path), side, side, 2)


def twice(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(2, 0).repeat(2, 1)


def frames(path: Path) -> int:
    with Image.open(path) as film:
        return int(film.n_frames)


def left(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_predict(trained: Path, now: Path, simulacra, tmp_path: Path) -> None:
    out = tmp_path / "futures"
    text = simulacra("predict", trained, now, "-o", out, "-n", 3).success()
    assert text.splitlines() == [
        str(out / name)
        for name in ("00000.png", "00001.png", "00002.png", "futures.png", "futures.gif")
    ]
    assert sorted(left(out)) == sorted(Path(line).name for line in text.splitlines())
    sheet = tiles(out / "futures.png")
    assert sheet.shape[:2] == (1, 4) and (sheet[0, 0] == twice(pixels(now))).all(), (
        "the picture itself comes first"
    )
    for number in range(3):
        assert (sheet[0, 1 + number] == twice(pixels(out / f"0000{number}.png"))).all()
    assert frames(out / "futures.gif") == 2 and Image.open(out / "futures.gif").size == (
        3 * 66 + 2,
        68,
    )


def test_predict_is_a_function_of_the_seed(
    trained: Path, now: Path, simulacra, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        simulacra("predict", trained, now, "-o", tmp_path / name, "-n", 2, "--seed", seed).success()
    a, b, c = (left(tmp_path / name) for name in "abc")
    assert a == b and all(a[name] != c[name] for name in a)


def test_predict_rolls_on(trained: Path, now: Path, simulacra, tmp_path: Path) -> None:
    """A row a future, a column a step."""
    out = tmp_path / "futures"
    simulacra("predict", trained, now, "-o", out, "-n", 2, "--roll", 3, "--scale", 1).success()
    sheet = tiles(out / "futures.png", 32)
    assert sheet.shape[:2] == (2, 4) and (sheet[:, 0] == pixels(now)).all()
    assert (sheet[0, 3] == pixels(out / "00000.png")).all() and (
        sheet[1, 3] == pixels(out / "00001.png")
    ).all()
    assert frames(out / "futures.gif") == 4
    assert all((sheet[0, t] != sheet[0, t + 1]).any() for t in range(3))


def test_each_step_begins_where_the_one_before_ended() -> None:
    """Of a model whose futures are brighter by 1 / 16, and by another 10 / 16 the second of
    two."""
    brighter = SimpleNamespace(
        imagine=lambda I1, count, prior: (
            I1[:, None] + (1 + 10 * torch.arange(count)[:, None, None, None]) / 16
        )
    )
    films = 16 * predict.rolled(brighter, torch.zeros(1, 1, 1, 1), 2, 3, None)
    assert films.flatten(1).tolist() == [[0, 1, 2, 3], [0, 11, 12, 13]]


def test_predict_draws_from_each_prior(learned: Path, now: Path, simulacra, tmp_path: Path) -> None:
    made = {}
    for prior in PRIORS:
        simulacra(
            "predict", learned, now, "-o", tmp_path / prior, "-n", 1, "--prior", prior
        ).success()
        made[prior] = left(tmp_path / prior)
    assert len({found["00000.png"] for found in made.values()}) == 4
    simulacra("predict", learned, now, "-o", tmp_path / "own", "-n", 1).success()
    assert left(tmp_path / "own") == made["learned"], "the run's own, unless another is named"


def test_pictures_of_other_kinds(trained: Path, simulacra, tmp_path: Path) -> None:
    """What was done to them is told, and what is seen is what a person sees."""
    ramp = np.tile(np.arange(32, dtype=np.uint16) * 2056, (32, 1))
    Image.fromarray(ramp).save(tmp_path / "sixteen bits.png")
    clear = np.zeros((32, 32, 4), np.uint8)
    clear[:16] = 10, 20, 30, 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.new("P", (50, 40)).save(tmp_path / "wide.png")
    Image.fromarray(np.pad(np.full((32, 32), 200, np.uint8), ((0, 0), (29, 29)))).save(
        tmp_path / "grey.png"
    )
    notes = {
        "sixteen bits.png": "made colour, 0 to 65535 became 0 to 255",
        "clear.png": "",
        "wide.png": "centre crop of 50x40, resized to 32x32",
        "grey.png": "centre crop of 90x32, resized to 32x32, made colour",
    }
    for name, note in notes.items():
        text = simulacra(
            "predict", trained, tmp_path / name, "-o", tmp_path / "out", "-n", 1
        ).success()
        assert text.splitlines()[:-3] == ([f"note: {tmp_path / name}: {note}"] if note else [])
        seen = tiles(tmp_path / "out" / "futures.png")[0, 0]
        if name == "sixteen bits.png":
            assert (seen == twice(np.repeat(np.arange(32)[None, :, None] * 8, 32, 0))).all()
        if name == "grey.png":
            assert (seen == 200).all(), "the sides are cut off"
        if name == "clear.png":
            assert (seen[:32] == [10, 20, 30]).all() and (seen[32:] == 255).all()


def test_a_run_of_grey_frames_takes_colour_and_one_of_oblong_frames_nothing(now: Path) -> None:
    def opened(*shape: int) -> SimpleNamespace:
        image = {"image": torch.zeros(1, *shape)}
        return SimpleNamespace(
            like=lambda rows: image, device=CPU, config=SimpleNamespace(data=None)
        )

    x, done = _picture.picture(now, opened(1, 32, 32))  # type: ignore[arg-type]
    assert x.shape == (1, 1, 32, 32) and done == "made grey" and -1 <= x.min() < x.max() <= 1
    for shape in (3, 32, 48), (2, 32, 32):
        with pytest.raises(Mistake, match="pictures of one's own need squares, grey or colour"):
            _picture.picture(now, opened(*shape))  # type: ignore[arg-type]


def test_transfer(trained: Path, now: Path, simulacra, tmp_path: Path) -> None:
    """Moved.png, all four in a row, and both pairs moving."""
    Image.fromarray(np.roll(pixels(now), 3, 1)).save(tmp_path / "then.png")
    Image.new("L", (40, 40), 90).save(tmp_path / "other.png")
    out = tmp_path / "moved"
    text = simulacra(
        "transfer", trained, now, tmp_path / "then.png", tmp_path / "other.png", "-o", out
    ).success()
    note = f"note: {tmp_path / 'other.png'}: centre crop of 40x40, resized to 32x32, made colour"
    assert text.splitlines() == [
        note,
        *(str(out / name) for name in ("moved.png", "transfer.png", "transfer.gif")),
    ]
    sheet = tiles(out / "transfer.png")
    assert (
        sheet.shape[:2] == (1, 4)
        and (sheet[0, 2] == 90).all()
        and pixels(out / "moved.png").shape == (32, 32, 3)
    )
    for place, path in ((0, now), (1, tmp_path / "then.png"), (3, out / "moved.png")):
        assert (sheet[0, place] == twice(pixels(path))).all()
    model, (one, two, to) = (
        reopen(trained, None).model,
        (torch.from_numpy(sheet[0, i, ::2, ::2] / 127.5 - 1) for i in range(3)),
    )
    moved = model.transfer(*(picture.permute(2, 0, 1)[None].float() for picture in (one, two, to)))  # type: ignore[attr-defined]
    # of another memory layout: what lies between two bytes may go either way
    again = paint.to_bytes(moved)[0].astype(int)
    assert np.abs(again - pixels(out / "moved.png")).max() <= 1 and np.ptp(again) > 50
    assert frames(out / "transfer.gif") == 2 and Image.open(out / "transfer.gif").size == (
        2 * 66 + 2,
        68,
    )


def test_traverse(trained: Path, now: Path, simulacra, tmp_path: Path) -> None:
    """There and back: of five values, the GIF shows eight."""
    out = tmp_path / "dimensions"
    text = simulacra("traverse", trained, now, "-o", out, "--dimensions", 3, "--steps", 5).success()
    *files, last = text.splitlines()
    assert files == [str(out / "traverse.png"), str(out / "traverse.gif")]
    chosen = last.removeprefix("dimensions, the most active first: ").split(", ")
    assert len(set(chosen)) == 3 and set(chosen) < set("0123")
    assert tiles(out / "traverse.png").shape[:2] == (3, 5) and frames(out / "traverse.gif") == 8
    text = simulacra(
        "traverse", trained, now, "-o", tmp_path / "one", "--dimensions", 64, "--steps", 1
    ).success()
    assert sorted(left(tmp_path / "one")) == ["traverse.png"] and tiles(
        tmp_path / "one" / "traverse.png"
    ).shape[:2] == (4, 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("predict RUN gone.png -o out", "no picture gone.png"),
        ("predict RUN folder -o out", "folder is a folder; it must be a picture"),
        ("predict RUN text.png -o out", "cannot read text.png as a picture: not a picture"),
        ("predict RUN cut.png -o out", "cannot read cut.png as a picture: "),
        ("predict RUN speck.png -o out", "4x4 is too small"),
        ("predict RUN now.png -o out -n 0", "futures = 0; allowed: 1 to 1000"),
        ("predict RUN now.png -o out --roll 0", "roll = 0; allowed: 1 to 1000"),
        ("predict RUN now.png -o out --scale 17", "scale = 17; allowed: 1 to 16"),
        (
            "predict RUN now.png -o out --prior flat",
            "unknown prior 'flat'; there is: normal, empirical, mixture, learned",
        ),
        ("predict RUN now.png -o out --prior learned", "this run has no learned prior"),
        ("predict RUN now.png -o text.png", "text.png is a file; results go into a folder"),
        ("predict RUN now.png -o text.png/out", "cannot write text.png/out"),
        ("predict RUN now.png", "Missing option '-o'"),
        ("predict gone now.png -o out", "no run folder gone"),
        (
            "measure RUN --prior flat",
            "unknown prior 'flat'; there is: normal, empirical, mixture, learned",
        ),
        ("measure RUN --prior learned", "this run has no learned prior"),
        ("predict RUN now.png -o out --step 5", "no checkpoint of step 5; there is: 3, 6"),
        ("transfer RUN now.png gone.png now.png -o out", "no picture gone.png"),
        ("transfer RUN now.png now.png now.png -o text.png", "text.png is a file"),
        ("transfer RUN now.png now.png now.png -o out --scale 0", "scale = 0; allowed: 1 to 16"),
        ("traverse RUN text.png -o out", "cannot read text.png as a picture"),
        ("traverse RUN now.png -o text.png", "text.png is a file"),
        ("traverse RUN now.png -o out --dimensions 0", "dimensions = 0; allowed: 1 to 64"),
        ("traverse RUN now.png -o out --steps 0", "steps = 0; allowed: 1 to 101"),
        ("traverse RUN now.png -o out --scale 0", "scale = 0; allowed: 1 to 16"),
    ],
)
def test_mistakes(
    words: str, says: str, trained: Path, now: Path, simulacra, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.png").write_text("a poem")
    (tmp_path / "cut.png").write_bytes(now.read_bytes()[:60])
    Image.new("RGB", (4, 4)).save(tmp_path / "speck.png")
    before = left(tmp_path)
    assert says in simulacra(*words.replace("RUN", str(trained)).split()).refusal()
    assert left(tmp_path) == before and not (tmp_path / "out").exists()


def test_a_picture_that_is_too_large_is_a_mistake(
    trained: Path, now: Path, simulacra, tmp_path: Path, monkeypatch
) -> None:
    for most, says in (1000, "32x32 is too large; allowed: at most"), (100, "exceeds limit of"):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        assert says in simulacra("predict", trained, now, "-o", tmp_path / "out").refusal()
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_model_is_refused(now: Path, simulacra, tmp_path: Path) -> None:
    Tiny("gan_digits").train(tmp_path / "run", "steps=1", "save_every=1")
    words = {"predict": [now], "transfer": [now] * 3, "traverse": [now]}
    for verb, pictures in words.items():
        text = simulacra(verb, tmp_path / "run", *pictures, "-o", tmp_path / "out").refusal()
        assert (
            "is a run of model gan, which imagines no futures of a picture; use `simulacra sample`"
            in text
        )
    assert not (tmp_path / "out").exists()

"""The two GANs' equations against hand arithmetic, and the defects of public codes (T21, T22)."""

import math

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import optim
from simulacra.core.random import reseed
from simulacra.models import gan
from simulacra.models.gan import GAN, Hyper
from simulacra.nn import adversarial

TINY = {"widths": (16, 8), "group": 8}


def small_model(**hyper: object) -> GAN:
    reseed(0)
    return GAN(Hyper(**{**TINY, **hyper}), {"image": torch.zeros(4, 1, 28, 28)})  # type: ignore[arg-type]


def test_non_saturating_by_hand() -> None:
    """Logits 0 cost ln 2 each; D(x) = 3/4 is the logit ln 3:
    -ln(3/4) for reals, -ln(1/4) for fakes."""
    zero, three = torch.zeros(1), torch.tensor([math.log(3)])
    assert float(adversarial.non_saturating_D(zero, zero)) == pytest.approx(math.log(2))
    assert float(adversarial.non_saturating_G(zero)) == pytest.approx(math.log(2))
    assert float(adversarial.non_saturating_D(three, -three)) == pytest.approx(-math.log(3 / 4))
    assert float(adversarial.non_saturating_G(three)) == pytest.approx(-math.log(3 / 4))


def test_relativistic_by_hand() -> None:
    """Only the difference counts: ln 2 at none, ln(1 + 1/3) where the winner leads by ln 3."""
    assert float(
        adversarial.relativistic(torch.tensor([5.0]), torch.tensor([5.0]))
    ) == pytest.approx(math.log(2))
    assert float(
        adversarial.relativistic(torch.tensor([math.log(3) + 7]), torch.tensor([7.0]))
    ) == pytest.approx(math.log(4 / 3))


def test_T21_the_relativistic_generator_feels_the_real_batch() -> None:
    def loss_G(seed: int) -> float:
        m = small_model()
        x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        reseed(0)
        m.opt_D.param_groups[0]["lr"] = 0.0
        return float(m.step({"image": x}, 0)["loss_G"].detach())

    assert loss_G(0) != loss_G(1)


@pytest.mark.parametrize(("B", "side"), [(1, 4), (3, 4), (3, 8)])
def test_T22_the_penalty_of_a_linear_discriminator_is_its_squared_weight(B: int, side: int) -> None:
    D = nn.Sequential(nn.Flatten(), nn.Linear(side * side, 1))
    w = D[1].weight
    assert isinstance(w, Tensor)
    x = torch.randn(B, 1, side, side, requires_grad=True)
    penalty = adversarial.slope_penalty(D(x), x)
    assert penalty.shape == (B,)
    assert torch.allclose(penalty, (w * w).sum().expand(B), rtol=1e-5)


@pytest.mark.parametrize("loss", ["relativistic", "non_saturating"])
def test_the_penalties_enter_the_loss_halved_and_summed(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[Tensor] = []
    monkeypatch.setattr(gan, "descend", lambda move: losses.append(move[0]))
    m = small_model(loss=loss, gamma=3.0)
    scalars = m.step({"image": torch.rand(4, 1, 28, 28) * 2 - 1}, 0)
    total = scalars["loss_D"] + 1.5 * (scalars["R1"] + scalars["R2"])
    assert float(losses[0].detach()) == pytest.approx(float(total.detach()), rel=1e-5)


def test_lazy_penalties_weigh_as_much_as_steady_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third step costs three times the penalty, the others none,
    and only then is a penalty logged."""
    losses: list[Tensor] = []
    monkeypatch.setattr(gan, "descend", lambda move: losses.append(move[0]))
    m, paid_for = small_model(gamma=2.0, penalty_every=3), []
    judge = m.judge
    monkeypatch.setattr(
        m,
        "judge",
        lambda x, fake, penalties: paid_for.append(penalties) or judge(x, fake, penalties),
    )
    for k in range(6):
        scalars = m.step({"image": torch.rand(4, 1, 28, 28) * 2 - 1}, k)
        assert paid_for[-1] == (k in (2, 5))  # the others do not take the time of one either
        assert ("R1" in scalars) == ("R2" in scalars) == (k in (2, 5))
        paid = scalars["R1"] + scalars["R2"] if "R1" in scalars else torch.zeros(())
        assert float(losses[-2].detach()) == pytest.approx(
            float((scalars["loss_D"] + 3 * paid).detach()), rel=1e-5
        )


def test_reals_and_fakes_judged_together_or_apart_cost_the_same() -> None:
    """Without batch statistics, the joint pass
    with penalties gives the logits of two single passes."""
    m = small_model()
    x, fake = torch.rand(2, 4, 1, 28, 28).unbind()
    together, apart = m.judge(x, fake, penalties=True), m.judge(x, fake, penalties=False)
    for a, b in zip(together[:2], apart[:2], strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert float(together[2].detach().sum()) > 0 == float(apart[2].sum())


def test_equilibrium_is_where_the_discriminator_cannot_tell() -> None:
    m = small_model(gamma=0.0)
    for w in m.D.judge.parameters():  # type: ignore[union-attr]
        nn.init.zeros_(w)
    m.opt_D.param_groups[0]["lr"] = 0.0
    gan_step = m.judge(torch.rand(4, 1, 28, 28), torch.rand(4, 1, 28, 28), penalties=False)
    assert float(adversarial.relativistic(*gan_step[:2]).mean().detach()) == pytest.approx(
        m.equilibrium()["loss_D"]
    )


def test_residual_blocks_begin_as_the_identity() -> None:
    block = gan.Block(16, 8, 4)
    x = torch.randn(2, 16, 7, 7)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize(("nets", "patch"), [("residual", 1), ("residual", 2), ("infogan", 1)])
def test_pictures_of_any_shape(shape: tuple[int, int, int], nets: str, patch: int) -> None:
    batch = {"image": torch.rand(4, *shape) * 2 - 1}
    own = {**TINY, "patch": patch} if nets == "residual" else {}
    m = GAN(Hyper(nets=nets, **own), batch)  # type: ignore[arg-type]
    m.step(batch, 0)
    samples = m.sample(batch)["samples"]
    assert samples.shape == (4, *shape)
    assert float(samples.abs().max()) <= 1


def test_schedules_reach_the_optimizers() -> None:
    m = small_model(rate_G=((0, 1e-3), (10, 0.0)), rate_D=2e-4)
    optim.set_rates(m, 5)
    m.step({"image": torch.rand(4, 1, 28, 28)}, 5)
    assert m.opt_G.param_groups[0]["lr"] == pytest.approx(5e-4)
    assert m.opt_D.param_groups[0]["lr"] == pytest.approx(2e-4)


def test_it_covers_a_ring_of_eight() -> None:
    """Eight Gaussians on a circle, as pictures of two pixels, on fully connected nets:
    every mode gets samples."""
    angles = torch.arange(8) * math.pi / 4
    modes = 0.7 * torch.stack([angles.cos(), angles.sin()], 1)
    reseed(0)
    m = small_model(gamma=0.1, z_size=4, rate_G=1e-3, rate_D=1e-3, average=2000.0)
    m.G = nn.Sequential(
        nn.Linear(4, 64),
        nn.LeakyReLU(),
        nn.Linear(64, 64),
        nn.LeakyReLU(),
        nn.Linear(64, 2),
        nn.Unflatten(1, (2, 1, 1)),
    )
    m.D = nn.Sequential(
        nn.Flatten(),
        nn.Linear(2, 64),
        nn.LeakyReLU(),
        nn.Linear(64, 64),
        nn.LeakyReLU(),
        nn.Linear(64, 1),
    )
    m.average = gan.EMA(m.G)
    m.opt_G, m.opt_D = (gan.optim.adam(net, 1e-3, 0.0, 0.99) for net in (m.G, m.D))
    for k in range(2000):
        g = torch.Generator().manual_seed(k)
        x = modes[torch.randint(8, (128,), generator=g)] + 0.02 * torch.randn(128, 2, generator=g)
        reseed(k)
        m.step({"image": x.view(128, 2, 1, 1)}, k)
    reseed(0)
    points = m.sample({"image": torch.zeros(2000, 2, 1, 1)})["samples"].view(-1, 2)
    distance, nearest = torch.cdist(points, modes).min(1)
    shares = torch.bincount(nearest[distance < 0.15], minlength=8) / len(points)
    assert (distance < 0.15).float().mean() > 0.6
    assert shares.min() > 0.05

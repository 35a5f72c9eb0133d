"""Each step of the games against a second one, written out from the papers' algorithms: what every
player was told to minimise, the gradient that it felt, its rate, and what is logged. The second one
draws the same noise in the same order."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import optim
from simulacra.core.parts import eval_mode
from simulacra.core.random import noise, reseed
from simulacra.core.schedules import value_at
from simulacra.models import ebgan, gan
from simulacra.models.rgan import published, rgan, rgan_series
from simulacra.nn import stabilise
from simulacra.nn.stabilise import Stabilisers

RATES = {"rate_G": ((0, 1e-3), (8, 5e-3)), "rate_D": ((0, 2e-3), (8, 1e-4))}


class Move(NamedTuple):
    """One player's move: what it minimised, what its weights felt, how fast it moved."""

    player: str
    loss: float
    felt: list[Tensor]
    rate: float


class Twin:
    """A copy of a model that plays by the second step."""

    def __init__(self, model: Any):
        self.m, self.moves = copy.deepcopy(model), list[Move]()
        for optimizer in self.m.opt_G, self.m.opt_D:
            # a copied hook would reach into the first model
            optimizer._optimizer_step_post_hooks.clear()

    def move(self, loss: Tensor, player: str) -> None:
        """Descend, and write it down."""
        optimizer = getattr(self.m, player)
        self.moves.append(written(player, loss, optimizer))
        optim.descend((loss, optimizer))


def written(player: str, loss: Tensor, optimizer: torch.optim.Optimizer) -> Move:
    """The move that an optimizer is about to make."""
    felt = torch.autograd.grad(loss, optim.weights(optimizer), retain_graph=True)
    return Move(
        player, float(loss.detach()), [g.clone() for g in felt], optimizer.param_groups[0]["lr"]
    )


def compared(
    module: Any,
    model: Any,
    draw: Callable[[int], dict[str, Tensor]],
    second: Callable[[Twin, dict[str, Tensor], int], dict[str, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
    steps: int = 3,
    near: float = 3e-4,
) -> None:
    """A model's own step and the second one come to the same, step after step;
    gradients by `near`, relative to their norms."""
    real, found = module.descend, list[Move]()
    names = {
        id(part): name
        for name, part in vars(model).items()
        if isinstance(part, torch.optim.Optimizer)
    }

    def watched(*pairs: Any, clip: float = 0.0) -> None:
        found.extend(written(names[id(optimizer)], loss, optimizer) for loss, optimizer in pairs)
        real(*pairs, clip=clip)

    monkeypatch.setattr(module, "descend", watched)
    for k in range(steps):
        twin, batch = Twin(model), draw(k)
        for player in ("opt_G", "opt_D"):
            optim.set_rate(
                getattr(twin.m, player),
                value_at(getattr(model.hyper, player.replace("opt", "rate")), k),
            )
        reseed(k)
        wanted = second(twin, batch, k)
        before = [w.clone() for w in model.average.module.parameters()]
        found.clear()
        reseed(k)
        optim.set_rates(model, k)
        told = model.step(batch, k)
        assert [move.player for move in found] == [move.player for move in twin.moves]
        for mine, theirs in zip(found, twin.moves, strict=True):
            assert mine.loss == pytest.approx(theirs.loss, rel=1e-4, abs=1e-6), (
                f"step {k}: {mine.player}"
            )
            assert mine.rate == pytest.approx(theirs.rate)
            assert any(bool(g.any()) for g in theirs.felt)
            a, b = (torch.cat([g.flatten() for g in move.felt]) for move in (mine, theirs))
            assert float((a - b).norm() / b.norm()) < near, f"step {k}: {mine.player}"
        assert {
            name: float(value.detach()) for name, value in told.items() if name in wanted
        } == pytest.approx(
            {name: float(value.detach()) for name, value in wanted.items()}, rel=1e-4, abs=1e-6
        )
        rows = len(next(iter(batch.values())))
        half_life = min(model.hyper.average, 0.1 * (k + 1) * rows)
        keep = 0.5 ** (rows / half_life) if half_life else 0.0
        for was, now, source in zip(
            before, model.average.module.parameters(), model.G.parameters(), strict=True
        ):
            assert torch.allclose(now, keep * was + (1 - keep) * source, atol=1e-6)


def pictures(k: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(100 + k)
    return {
        "image": torch.rand(6, 1, 16, 16, generator=g) * 2 - 1,
        "label": torch.randint(3, (6,), generator=g),
    }


# --- EBGAN ----------------------------------------------------------------------------------------


def second_ebgan(t: Twin, batch: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """Reals and fakes cost their own energies;
    the generator lowers that of its fakes, as a function of them on both sides."""
    m, h, x = t.m, t.m.hyper, batch["image"]

    def energy(v: Tensor) -> Tensor:
        error = (m.D(v)[0] - v).flatten(1)
        return {
            "l2": error.square().sum(1).sqrt(),
            "l1": error.abs().mean(1),
            "sse": error.square().sum(1),
        }[h.energy]

    if h.rule == "magan" and k < h.warm + 1:
        E_x = energy(x)
        if k < h.warm:
            t.move(E_x.mean(), "opt_D")
        return {"loss_D": E_x.mean(), "E_real": E_x.mean()}
    if h.rule == "margin" and k == 0:
        m.rule.unit.fill_(
            ((x - x.mean(0)).flatten(1).square().sum(1).sqrt()).mean()
            * (len(x) / (len(x) - 1)) ** 0.5
        )
    z = noise(x, h.z_size)
    x, fake = (stabilise.shift(v, h.shift) for v in (x, m.G(z).detach()))
    E_x, E_g = energy(x), energy(fake)
    told = {"E_real": E_x.mean(), "E_fake": E_g.mean()}
    weight = h.penalty_every * value_at(h.penalty, k) if (k + 1) % h.penalty_every == 0 else 0.0
    cost = torch.zeros(())
    if weight:
        told |= {"R1": slopes(energy, x).mean(), "R2": slopes(energy, fake).mean()}
        cost = weight / 2 * (told["R1"] + told["R2"])
    if h.rule == "pairs":
        return told | second_pairs(t, x, E_x, E_g, cost, k)
    margin = (
        value_at(h.margin, k) * m.rule.unit
        if h.rule == "margin"
        else m.rule.margin
        if h.rule == "magan"
        else torch.zeros(())
    )
    balance = E_x.mean() - m.rule.k_t * E_g.mean() if h.rule == "began" else None
    loss_D = E_x.mean() + (margin - E_g).clamp_min(0).mean() if balance is None else balance
    t.move(loss_D + cost, "opt_D")
    for _ in range(h.steps_G):
        fake = m.G(z if h.draws == "shared" else noise(x, h.z_size))
        code = F.normalize(m.D(fake)[1].flatten(1), dim=1)
        PT = (code @ code.T).square().fill_diagonal_(0).sum() / (len(x) * (len(x) - 1))
        error = energy(fake)
        t.move(error.mean() + h.pull_away * PT, "opt_G")
    told |= {"loss_D": loss_D, "loss_G": torch.tensor(t.moves[-1].loss), "pull_away": PT}
    if h.rule == "began":
        k_t = (m.rule.k_t + h.lambda_k * (h.gamma * E_x.mean() - error.mean())).clamp(0, 1)
        return told | {
            "k": k_t,
            "M_global": E_x.mean() + (h.gamma * E_x.mean() - error.mean()).abs(),
        }
    return told | (
        {"margin": margin, "hinge_active": (E_g < margin).float().mean()}
        if h.rule == "margin"
        else {}
    )


def second_pairs(
    t: Twin, x: Tensor, E_x: Tensor, E_g: Tensor, cost: Tensor, k: int
) -> dict[str, Tensor]:
    """Both players compare the fake's energy with that of the real beside it, each by the weights
    that it meets."""
    h = t.m.hyper
    game, fooled = F.softplus(E_x - E_g).mean(), (E_g < E_x).float().mean()
    t.move(game + value_at(h.rebuild, k) * E_x.mean() + cost, "opt_D")
    fake = stabilise.shift(t.m.G(noise(x, h.z_size)), h.shift)
    E_g, E_x_now = ((t.m.D(v)[0] - v).flatten(1).square().sum(1).sqrt() for v in (fake, x))
    loss_G = F.softplus(E_g - E_x_now.detach())
    t.move(loss_G.mean(), "opt_G")
    return {"loss_D": game, "loss_G": loss_G.mean(), "fooled": fooled}


PAIRS = {"rule": "pairs", "start_D": "he", "init_D": 0.02, "pull_away": 0.0}
HALVED = {"penalty": ((0, 0.5), (4, 0.1)), "penalty_every": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {**PAIRS, **HALVED, "rebuild": ((0, 0.3), (4, 0.1)), "dense_Dec": 6, "shift": 2},
        {"rule": "margin", "margin": 0.5, **HALVED},
        {"rule": "margin", "margin": 0.5, "steps_G": 2, "pull_away": 0.7},
        {"rule": "margin", "margin": 0.1, "init_G": 1.0, "draws": "shared", "steps_G": 2},
        {"rule": "magan", "energy": "sse", "epoch": 1, "warm": 1, "pull_away": 0.3},
        {"rule": "began", "energy": "l1", "gamma": 0.7, "lambda_k": 0.5, "pull_away": 0.2},
    ],
)
def test_ebgan(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    reseed(0)
    nets = {"widths_G": (8, 4), "widths_D": (4, 8), "code_size": 5, "init_G": 0.2, "init_D": 0.1}
    model = ebgan.EBGAN(ebgan.Hyper(**{**nets, **RATES, **changes}), pictures(0))
    compared(ebgan, model, pictures, second_ebgan, monkeypatch, 4)


def test_magan_hears_reals_and_fakes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two sums are those of E(x) and of E(G(z)), over the steps of an epoch,
    and the margin follows the rule on them."""
    reseed(0)
    hyper = ebgan.Hyper(
        rule="magan", energy="sse", epoch=3, warm=0, widths_G=(8, 4), widths_D=(4, 8), init_G=0.5
    )
    model = ebgan.EBGAN(hyper, pictures(0))
    sums, before, margin = [0.0, 0.0], 0.0, 0.0
    for k in range(3):
        reseed(k)
        margin += float(model.step(pictures(k), k)["E_real"].detach()) / 3
    for k in range(3, 15):
        reseed(k)
        told = {name: float(value.detach()) for name, value in model.step(pictures(k), k).items()}
        assert abs(told["E_real"] - told["E_fake"]) > 1
        sums = [sums[0] + told["E_real"], sums[1] + told["E_fake"]]
        if k % 3 < 2:
            assert model.rule.sums[:2].tolist() == pytest.approx(sums, rel=1e-5)
            continue
        if 0 < before <= sums[1] and sums[0] < sums[1] and sums[0] / 3 < margin:
            margin = sums[0] / 3
        assert told["margin"] == pytest.approx(margin, rel=1e-5)
        before, sums = sums[1], [0.0, 0.0]


# --- GAN ------------------------------------------------------------------------------------------


def slopes(judge: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The squared norm of a logit's gradient at each example."""
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(judge(x).sum(), x, create_graph=True)
    return g.flatten(1).square().sum(1)


def second_gan(t: Twin, batch: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    m, h, x = t.m, t.m.hyper, batch["image"]

    def judge(v: Tensor) -> Tensor:
        return m.D(v)[:, 0]

    weight = h.penalty_every * value_at(h.gamma, k) if (k + 1) % h.penalty_every == 0 else 0.0
    fake = m.G(noise(x, h.z_size)).detach()
    d_x, d_g = judge(x), judge(fake)
    told = {"D_real": d_x.mean(), "D_fake": d_g.mean()}
    game = (
        F.softplus(d_g - d_x)
        if h.loss == "relativistic"
        else (F.softplus(-d_x) + F.softplus(d_g)) / 2
    )
    cost = torch.zeros(())
    if weight:
        told |= {"R1": slopes(judge, x).mean(), "R2": slopes(judge, fake).mean()}
        cost = weight / 2 * (told["R1"] + told["R2"])
    t.move(game.mean() + cost, "opt_D")
    d_g = judge(m.G(noise(x, h.z_size)))
    loss_G = F.softplus(judge(x).detach() - d_g) if h.loss == "relativistic" else F.softplus(-d_g)
    t.move(loss_G.mean(), "opt_G")
    return told | {"loss_D": game.mean(), "loss_G": loss_G.mean()}


@pytest.mark.parametrize("loss", ["relativistic", "non_saturating"])
def test_gan(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reseed(0)
    hyper = gan.Hyper(
        loss=loss,
        nets="conv",
        widths=(8, 4),
        hidden=8,
        gamma=((0, 1.0), (4, 0.2)),
        penalty_every=2,
        **RATES,
    )
    compared(gan, gan.GAN(hyper, pictures(0)), pictures, second_gan, monkeypatch, 4)


# --- RGAN -----------------------------------------------------------------------------------------

STEADY = Stabilisers(noise=((0, 0.3), (4, 0.1)), augment=("translate", "cutout", "colour"))
LABELS = Stabilisers(noise=0.2, augment=("cutout",), real_target=0.8, target_std=0.05)


def labelled(d: Tensor, target: Tensor | float) -> Tensor:
    """The cross-entropy of logits (B,) against labels, from its definition."""
    p = d.sigmoid()
    return -(target * p.log() + (1 - target) * (1 - p).log())


def labels(h: Stabilisers, x: Tensor) -> Tensor:
    """D's labels of reals."""
    return (
        h.real_target + (h.target_std * noise(x) if h.target_std else torch.zeros(len(x)))
    ).clamp(0, 1)


def second_rgan(t: Twin, batch: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """Whatever D sees, of reals and of fakes,
    in its own step and in G's, is augmented and noisy."""
    m, h, x = t.m, t.m.hyper, batch["image"]
    y = F.one_hot(batch["label"], h.classes).float() if h.classes else None

    def judge(v: Tensor) -> Tensor:
        return m.D(v, y)[:, 0]

    weight = h.penalty_every * value_at(h.gamma, k) if (k + 1) % h.penalty_every == 0 else 0.0
    fake = m.G(noise(x, h.z_size), y)[0].detach()
    x_seen, fake_seen = (
        stabilise.augment(h.stabilise, x, k),
        stabilise.augment(h.stabilise, fake, k),
    )
    d_x, d_g = judge(x_seen), judge(fake_seen)
    if h.loss == "relativistic":
        game = F.softplus(d_g - d_x).mean()
    else:
        game = ((labelled(d_x, labels(h.stabilise, x)) + labelled(d_g, 0.0)) / 2).mean()
    told = {"loss_D": game, "D_real": d_x.mean(), "D_fake": d_g.mean()}
    cost = torch.zeros(())
    if weight:
        told |= {"R1": slopes(judge, x_seen).mean(), "R2": slopes(judge, fake_seen).mean()}
        cost = weight / 2 * (told["R1"] + told["R2"])
    t.move(game + cost, "opt_D")
    fake = m.G(noise(x, h.z_size), y)[0]
    d_g = judge(stabilise.augment(h.stabilise, fake, k))
    if h.loss == "relativistic":
        loss_G = F.softplus(judge(stabilise.augment(h.stabilise, x, k)).detach() - d_g).mean()
    else:
        loss_G = labelled(d_g, h.target_G).mean()
    t.move(loss_G, "opt_G")
    return told | {"loss_G": loss_G}


@pytest.mark.parametrize(
    "changes",
    [
        {"stabilise": STEADY, "gamma": ((0, 1.0), (4, 0.2)), "penalty_every": 2},
        {
            "stabilise": LABELS,
            "gamma": 0.0,
            "loss": "non_saturating",
            "target_G": 0.9,
            "classes": 3,
        },
    ],
)
def test_rgan(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    reseed(0)
    model = rgan.RGAN(
        rgan.Hyper(widths=(8, 4), units=2, hidden=8, z_size=5, **RATES, **changes), pictures(0)
    )
    compared(rgan, model, pictures, second_rgan, monkeypatch, 4)


def second_published(t: Twin, batch: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """D moves on reals, then on fakes of G in evaluation mode, its LSTMs' weights cut after each
    move; G's label is smoothed as D's. Pixels of the nets are in [0, 1]."""
    m, h, x = t.m, t.m.hyper, batch["image"]
    z = noise(x, h.z_size)
    with eval_mode(m.G):
        fake = m.G(z).detach()
    x_seen = (stabilise.augment(h.stabilise, x, k) + 1) / 2
    d_x = m.D(x_seen)[:, 0]
    real = labelled(d_x, labels(h.stabilise, x)).mean()
    t.move(real, "opt_D")
    published.max_norm(m.D)
    d_g = m.D((stabilise.augment(h.stabilise, 2 * fake - 1, k) + 1) / 2)[:, 0]
    made = labelled(d_g, 0.0).mean()
    t.move(made, "opt_D")
    published.max_norm(m.D)
    d = m.D((stabilise.augment(h.stabilise, 2 * m.G(noise(x, h.z_size)) - 1, k) + 1) / 2)[:, 0]
    loss_G = labelled(d, h.target_G).mean()
    t.move(loss_G, "opt_G")
    return {
        "loss_D": (real + made) / 2,
        "loss_G": loss_G,
        "D_real": d_x.mean(),
        "D_fake": d_g.mean(),
    }


def test_rgan_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    reseed(0)
    more = {
        "version": "v2",
        "form": "published",
        "loss": "non_saturating",
        "gamma": 0.0,
        "target_G": 0.9,
        "dropout": 0.0,
    }
    model = rgan.RGAN(rgan.Hyper(z_size=4, stabilise=LABELS, **RATES, **more), pictures(0))  # type: ignore[arg-type]
    # the largest value of a map may be another
    compared(rgan, model, pictures, second_published, monkeypatch, 1, near=5e-3)


# --- RGAN on series -------------------------------------------------------------------------------


def series(k: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(100 + k)
    return {
        "series": torch.rand(6, 5, 2, generator=g) * 2 - 1,
        "label": torch.randint(3, (6,), generator=g),
    }


def second_series(t: Twin, batch: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """D's updates share the batch; so do G's, which have no more examples than one of D's."""
    m, h, x = t.m, t.m.hyper, batch["series"]
    y = F.one_hot(batch["label"], h.classes).float() if h.classes else None
    told: dict[str, Tensor] = {}

    def z(rows: Tensor) -> Tensor:
        T = rows.shape[1]
        return (
            noise(rows, T, h.z_size)
            if h.noise == "each_step"
            else noise(rows, 1, h.z_size).expand(-1, T, -1)
        )

    for i in range(h.steps_D):
        own, its = x[i :: h.steps_D], None if y is None else y[i :: h.steps_D]
        fake = m.G(z(own), its).detach()
        weight = h.penalty_every * value_at(h.gamma, k) if (k + 1) % h.penalty_every == 0 else 0.0
        x_seen, fake_seen = (
            stabilise.augment(h.stabilise, own, k),
            stabilise.augment(h.stabilise, fake, k),
        )
        d_x, d_g = m.D(x_seen, its), m.D(fake_seen, its)
        if h.loss == "relativistic":
            game = F.softplus(d_g - d_x).mean()
        else:
            game = (
                (labelled(d_x, labels(h.stabilise, own)[:, None]) + labelled(d_g, 0.0)) / 2
            ).mean()
        told |= {"loss_D": game, "D_real": d_x.mean(), "D_fake": d_g.mean()}
        cost = torch.zeros(())
        if weight:
            judge = lambda v, its=its: m.D(v, its).mean(1)  # noqa: E731
            told |= {"R1": slopes(judge, x_seen).mean(), "R2": slopes(judge, fake_seen).mean()}
            cost = weight / 2 * (told["R1"] + told["R2"])
        t.move(game + cost, "opt_D")
    for i in range(h.steps_G):
        first = i % h.steps_D
        own, its = x[first :: h.steps_D], None if y is None else y[first :: h.steps_D]
        d_g = m.D(stabilise.augment(h.stabilise, m.G(z(own), its), k), its)
        if h.loss == "relativistic":
            loss_G = F.softplus(
                m.D(stabilise.augment(h.stabilise, own, k), its).detach() - d_g
            ).mean()
        else:
            loss_G = labelled(d_g, 1.0).mean()
        t.move(loss_G, "opt_G")
    return told | {"loss_G": loss_G}


@pytest.mark.parametrize(
    "changes",
    [
        {
            "loss": "relativistic",
            "gamma": 1.0,
            "penalty_every": 2,
            "stabilise": Stabilisers(noise=0.2),
            "batch_mean": True,
        },
        {
            "steps_D": 2,
            "steps_G": 3,
            "classes": 3,
            "noise": "once",
            "stabilise": Stabilisers(noise=0.1, real_target=0.9),
        },
        {
            "steps_D": 2,
            "gamma": 0.5,
            "stabilise": Stabilisers(target_std=0.05),
            "optimizer_D": "adam",
        },
    ],
)
def test_rgan_series(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    reseed(0)
    model = rgan_series.RGANSeries(
        rgan_series.Hyper(units=4, z_size=2, **RATES, **changes), series(0)
    )
    compared(rgan_series, model, series, second_series, monkeypatch)

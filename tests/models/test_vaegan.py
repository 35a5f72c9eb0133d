"""VAE-GAN: losses by hand, who feels what, the gate, the tables of the published nets, and each
defect of public codes beside its repair (V1 to V23)."""

import math
from collections.abc import Callable

import pytest
import torch
from tiny import Tiny, equal
from torch import Tensor, nn
from torch.nn import functional as F

from simulacra.core import config, optim, random
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.core.parts import eval_mode
from simulacra.models.vae import nets, vae, vaegan
from simulacra.models.vae.vaegan import (
    VAEGAN,
    Costs,
    Defects,
    Hyper,
    costs_D,
    feature_loss,
    game_G,
    normal_loss,
    normalised,
    shared,
    turns,
)
from simulacra.nn import maths

SMALL = {"width": 4, "width_D": 4, "z_size": 6, "gate": 0.0}
LN2 = math.log(2)
flavours = pytest.mark.parametrize("kind", ["light", "larsen", "notes"])


def batch(
    rows: int = 6, shape: tuple[int, int, int] = (3, 16, 16), seed: int = 0
) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {"image": torch.rand(rows, *shape, generator=dice) * 2 - 1}


def small_model(like: dict[str, Tensor] | None = None, **hyper) -> VAEGAN:
    random.reseed(0)
    return VAEGAN(Hyper(**(SMALL | hyper)), like or batch())


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def played(model: VAEGAN, k: int = 0, x: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """What the model tells of step k, with the noise of seed k."""
    random.reseed(k)
    return model.step(x or batch(), k)  # at the rates of step 0


def moves(model: VAEGAN, monkeypatch, x: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The losses of the first step by player, E, G and D; no weight moves."""
    found: dict[str, Tensor] = {}
    names = {id(model.opt_E): "E", id(model.opt_G): "G", id(model.opt_D): "D"}
    monkeypatch.setattr(
        vaegan,
        "descend",
        lambda *all_: found.update({names[id(player)]: loss for loss, player in all_}),
    )
    played(model, 0, x)
    return found


def felt(loss: Tensor, module: nn.Module) -> list[Tensor]:
    """The loss's gradient with respect to a module's weights, zero where there is none."""
    weights = list(module.parameters())
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def close(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(one, two, strict=True))


# Nets, against the tables


def test_the_notes_net() -> None:
    """E 9,945,600, G 11,001,411, D 19,247,361;
    chained as meant, D's first layer has 2,432 and its second 102,528."""
    shape = 3, 64, 64
    coder, D = nets.of_notes(shape, 32, 512, True, True), nets.notes_D(shape, 32, True, True, True)
    assert (count(coder.Enc), count(coder.Dec), count(D)) == (9_945_600, 11_001_411, 19_247_361)
    assert count(coder) + count(D) == 40_194_372
    assert D.lower(torch.rand(2, *shape)).flatten(1).shape == (2, 65_536)
    first, second = [
        layer for layer in nets.notes_D(shape, 32).modules() if isinstance(layer, nn.Conv2d)
    ][:2]
    assert (count(first), count(second)) == (2_432, 102_528)


def test_the_authors_net() -> None:
    """ "About 33.7 million", with biases in every layer."""
    shape = 3, 64, 64
    coder, D = nets.of_larsen(shape, 64, 128), nets.larsen_D(shape, 64)
    assert (count(coder.Enc), count(coder.Dec), count(D)) == (18_072_832, 4_709_955, 10_955_009)
    assert D.lower(torch.rand(2, *shape)).shape == (2, 256, 8, 8)


@pytest.mark.parametrize(
    ("w", "sizes"), [(16, (304_176, 240_499, 175_089)), (24, (585_256, 489_771, 391_657))]
)
def test_the_light_net(w: int, sizes: tuple[int, int, int]) -> None:
    model = VAEGAN(Hyper(width=w, width_D=w), batch(shape=(3, 64, 64)))
    assert (count(model.net.Enc), count(model.net.Dec), count(model.D)) == sizes
    assert sum(sizes) <= 5_000_000
    assert model.D.lower(batch(shape=(3, 64, 64))["image"]).shape == (6, 4 * w, 8, 8)


def test_the_default_is_light() -> None:
    model = VAEGAN(Hyper(), batch(shape=(3, 64, 64)))
    assert count(model.net) + count(model.D) <= 5_000_000 and Hyper().z_size == 32


@flavours
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28), (3, 20, 36)])
def test_pictures_of_other_sizes(kind: str, shape: tuple[int, int, int]) -> None:
    x = batch(shape=shape)
    model = small_model(x, nets=kind)
    told = played(model, 0, x)
    assert all(value.isfinite() for value in told.values())
    mean, s = model.encode(x["image"])
    assert mean.shape == s.shape == (6, 6) and model.decode(mean).shape == x["image"].shape
    assert model.sample(x)["reconstructed"].shape == (12, *shape)


def test_spectral_norms_are_one() -> None:
    """Of every layer of our discriminator, once the power iteration has settled."""
    D = small_model().D
    for _ in range(50):
        D(batch()["image"])
    layers = [layer for layer in D.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert len(norms) == 5 and norms == pytest.approx([1.0] * 5, rel=0.02)


# Losses by hand


def test_costs_and_shares() -> None:
    d = torch.tensor([0.0, 2.0]), torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5])
    p = [torch.sigmoid(x).tolist() for x in d]
    by_hand = [-(math.log(p[0][0]) + math.log(p[0][1])) / 2]
    by_hand += [-(math.log(1 - a) + math.log(1 - b)) / 2 for a, b in p[1:]]
    costs = costs_D(*d)
    assert [cost.item() for cost in costs] == pytest.approx(by_hand)
    assert shared(costs, (1.0, 0.5, 0.25)).item() == pytest.approx(
        by_hand[0] + by_hand[1] / 2 + by_hand[2] / 4
    )
    assert shared(costs_D(*(torch.zeros(3),) * 3), (1.0, 0.5, 0.5)).item() == pytest.approx(2 * LN2)


def test_the_game_of_the_decoder() -> None:
    d_r, d_p, shares = torch.tensor([0.3, -1.2]), torch.tensor([2.0, 0.1]), (9.0, 0.5, 0.25)
    log_D, log_not = (
        (lambda d: torch.sigmoid(d).log().mean().item()),
        (lambda d: (1 - torch.sigmoid(d)).log().mean().item()),
    )
    assert game_G(d_r, d_p, shares).item() == pytest.approx(-0.5 * log_D(d_r) - 0.25 * log_D(d_p))
    assert game_G(d_r, d_p, shares, "saturating").item() == pytest.approx(
        0.5 * log_not(d_r) + 0.25 * log_not(d_p)
    )
    assert game_G(d_r, d_p, shares, "helping").item() == pytest.approx(
        -0.5 * log_not(d_r) - 0.25 * log_not(d_p)
    )


def test_features_by_hand() -> None:
    one, two = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [3.0, 0.0]])
    assert feature_loss(one, two).item() == pytest.approx((0.5 * 5 + 0.5 * 9) / 2)
    assert feature_loss(one, two, means=True).item() == pytest.approx(14 / 4)
    like = torch.tensor([[3.0, 1.0], [4.0, 1.0]], requires_grad=True)
    size = math.sqrt((9 + 16) / 2)
    assert torch.allclose(normalised(one, like), one / torch.tensor([size, 1.0]), atol=1e-6)
    assert not normalised(one, like).requires_grad, "the size is told, not felt"


def test_normal_by_hand() -> None:
    u = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    assert normal_loss(u).item() == pytest.approx((4 + 0) / 2 + ((1 - 1) ** 2 + (0 - 1) ** 2) / 2)
    many = torch.randn(100_000, 4, generator=torch.Generator().manual_seed(0))
    assert normal_loss(many).item() < 1e-3


@pytest.mark.parametrize("shares", [(1.0, 0.5, 0.5), (1.0, 1.0, 1.0), (0.5, 0.25, 0.25)])
def test_equilibrium(shares: tuple[float, float, float]) -> None:
    model = small_model(shares=shares)
    with torch.no_grad():
        for weight in model.D.upper[-1].parameters():
            weight.zero_()
    blind = costs_D(*(torch.zeros(6),) * 3)
    assert model.equilibrium()["loss_D"] == pytest.approx(shared(blind, shares).item())


def test_the_losses_of_a_step(monkeypatch) -> None:
    """Every weight in its place: the three losses from the step's own noise,
    by the formulas of the paper."""
    weights = {
        "beta": 0.7,
        "feature": 0.3,
        "pixel": 0.2,
        "gamma": 0.1,
        "adversarial": 5.0,
        "normal": 0.4,
    }
    model = small_model(nets="larsen", shares=(1.0, 0.6, 0.8), **weights)
    found, x = moves(model, monkeypatch), batch()["image"]
    random.reseed(0)
    mean, s = model.net.Enc(x)
    x_r = model.net.Dec(mean + (s / 2).exp() * torch.randn(6, 6))
    x_p = model.net.Dec(torch.randn(6, 6))
    u = mean + (s / 2).exp() * torch.randn(6, 6)
    (d_x, phi_x), (d_r, phi_r), (d_p, _) = model.D(x), model.D(x_r), model.D(x_p)
    KL = 0.5 * (mean.square() + s.exp() - 1 - s).sum(1).mean()
    feat = 0.5 * (phi_r - phi_x).square().flatten(1).sum(1).mean()
    sse = (((x_r + 1) / 2 - (x + 1) / 2) ** 2).flatten(1).sum(1).mean()
    normal = u.mean(0).square().mean() + ((u - u.mean(0)).square().mean(0) - 1).square().mean()
    D = lambda d: torch.sigmoid(d)  # noqa: E731
    loss_D = (
        -D(d_x).log().mean() - 0.6 * (1 - D(d_r)).log().mean() - 0.8 * (1 - D(d_p)).log().mean()
    )
    game = -0.6 * D(d_r).log().mean() - 0.8 * D(d_p).log().mean()
    error = 0.3 * feat + 0.2 * sse
    wanted = {"E": 0.7 * KL + error + 0.4 * normal, "G": 0.1 * error + 5 * game, "D": loss_D}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(
        {n: v.item() for n, v in wanted.items()}, rel=1e-4
    )


# Who feels what


def test_each_player_of_the_paper_feels_its_own_loss_alone() -> None:
    """V23: with plain descent at rate 1 the encoder changes by minus the gradient of KL + feat, the
    decoder by that of gamma feat + its game, the discriminator by that of its own: no game in the
    encoder, no features in the discriminator."""
    model = small_model(
        nets="larsen",
        pixel=0.0,
        gamma=0.01,
        adversarial=1.0,
        feature=1.0,
        shares=(1.0, 1.0, 1.0),
        average=0.0,
    )
    players = {"opt_E": model.net.Enc, "opt_G": model.net.Dec, "opt_D": model.D}
    random.reseed(0)
    x = batch()["image"]
    mean, s = model.net.Enc(x)
    x_r = model.net.Dec(nets.reparameterize(mean, s))
    x_p = model.net.Dec(torch.randn(6, 6))
    (d_x, phi_x), (d_r, phi_r), (d_p, _) = model.D(x), model.D(x_r), model.D(x_p)
    KL, feat = maths.gaussian_kl(mean, s).sum(1).mean(), feature_loss(phi_r, phi_x)
    game = F.softplus(-d_r).mean() + F.softplus(-d_p).mean()
    cost = F.softplus(-d_x).mean() + F.softplus(d_r).mean() + F.softplus(d_p).mean()
    own = {"opt_E": KL + feat, "opt_G": 0.01 * feat + game, "opt_D": cost}
    wanted = {name: felt(loss, players[name]) for name, loss in own.items()}
    assert not close(
        felt(game, model.net.Enc), [torch.zeros_like(w) for w in model.net.Enc.parameters()]
    ), "it could leak"
    before = {
        name: [w.detach().clone() for w in module.parameters()] for name, module in players.items()
    }
    for name, module in players.items():
        setattr(model, name, torch.optim.SGD(module.parameters(), lr=1.0))
    played(model)
    for name, module in players.items():
        changes = [
            old - new.detach() for old, new in zip(before[name], module.parameters(), strict=True)
        ]
        assert close(changes, wanted[name]), name


@pytest.mark.parametrize(("sign", "falls"), [(False, True), (True, False)])
def test_the_decoder_plays_against_the_discriminator(sign: bool, falls: bool) -> None:
    """The sign trap: a small step of the decoder lowers -log D(x~);
    read to the letter, algorithm 1 lets it help D."""
    model = small_model(
        pixel=0.0,
        feature=0.0,
        adversarial=1.0,
        shares=(1.0, 1.0, 0.0),
        average=0.0,
        defects=Defects(sign=sign),
    )
    z = torch.randn(64, 6)

    def cost() -> float:
        with eval_mode(model.D), torch.no_grad():
            return F.softplus(-model.D(model.net.Dec(z))[0]).mean().item()

    before = cost()
    model.opt_D = torch.optim.SGD(model.D.parameters(), lr=0.0)
    model.opt_E = torch.optim.SGD(model.net.Enc.parameters(), lr=0.0)
    optim.set_rate(model.opt_G, 1e-3)
    for k in range(10):
        played(model, k)
    assert (cost() < before) == falls


def test_one_step_of_the_discriminator_lowers_its_cost() -> None:
    """The other half of the sign trap: -log D(x) - log(1 - D(x~)) - log(1 - D(x_p)) falls."""
    model = small_model(rate_E=0.0, rate_G=0.0, rate_D=1e-3, average=0.0)
    told = [played(model, 0)["loss_D"].item() for _ in range(8)]
    assert told[-1] < told[0]


def test_without_features_and_game_it_is_the_VAE() -> None:
    """Bit for bit: the same nets, noise and steps."""
    rates = {"rate_E": 1e-3, "rate_G": 1e-3}
    one = small_model(feature=0.0, adversarial=0.0, **rates)
    random.reseed(0)
    two = vae.VAE(vae.Hyper(width=4, z_size=6, tolerance=0.0), batch())
    assert equal(dict(one.net.state_dict()), dict(two.net.state_dict()))
    for k in range(4):
        told = played(one, k, batch(seed=k))
        random.reseed(k)
        plain = two.step(batch(seed=k), k)
        assert told["SSE"] == plain["SSE"] and torch.equal(told["KL"], plain["KL"])
    assert equal(dict(one.net.state_dict()), dict(two.net.state_dict()))
    assert equal(one.average.state_dict(), two.average.state_dict())


@flavours
def test_every_weight_is_owned_once_and_moves(kind: str) -> None:
    model = small_model(nets=kind, normal=0.1)
    owned = [
        id(w) for player in (model.opt_E, model.opt_G, model.opt_D) for w in optim.weights(player)
    ]
    there = {
        id(w): name for module in (model.net, model.D) for name, w in module.named_parameters()
    }
    assert len(owned) == len(set(owned)) and set(owned) == set(there)
    before = {
        id(w): w.detach().clone() for module in (model.net, model.D) for w in module.parameters()
    }
    for k in range(3):
        played(model, k)
    still = [
        there[id(w)]
        for module in (model.net, model.D)
        for w in module.parameters()
        if torch.equal(before[id(w)], w)
    ]
    assert not still


@pytest.mark.parametrize("mover", ["adam", "rmsprop"])
def test_the_mover(mover: str) -> None:
    model = small_model(mover=mover, decay=0.1, rate_E=2e-4, rate_G=3e-4, rate_D=4e-4)
    played(model)
    players = model.opt_E, model.opt_G, model.opt_D
    assert {type(p).__name__.lower() for p in players} == {mover}
    assert [p.param_groups[0]["lr"] for p in players] == [2e-4, 3e-4, 4e-4]
    assert all(group["weight_decay"] == 0.1 for p in players for group in p.param_groups)


@pytest.mark.parametrize("adversarial", [0.0, 3.0])
def test_the_pull_of_the_game_on_the_decoder(adversarial: float, monkeypatch) -> None:
    """The size of its gradient over that of all else that moves the decoder."""
    losses = []
    for weight in 0.0, adversarial:
        model = small_model(gamma=2.0, adversarial=weight)
        model.net.eval(), model.D.eval()  # so that norms are those of the look
        losses.append(
            torch.cat([g.flatten() for g in felt(moves(model, monkeypatch)["G"], model.net.Dec)])
        )
    errors, both = losses
    random.reseed(0)
    pull = model.pull(batch()["image"], torch.tensor(adversarial))
    assert float(pull) == pytest.approx(float((both - errors).norm() / errors.norm()), rel=1e-3)
    assert (float(pull) > 0) == (adversarial > 0)


# The gate


@pytest.mark.parametrize(
    ("costs", "G", "D"),
    [
        ((0.7, 0.7, 0.7), True, True),  # even
        ((0.2, 0.7, 0.7), True, False),  # D is sure of reals: it waits
        ((0.7, 0.7, 0.3), True, False),  # or of samples
        ((0.7, 1.1, 0.7), False, True),  # D is fooled: the decoder waits
        ((1.1, 0.7, 0.7), False, True),
        ((0.2, 1.1, 0.7), True, True),  # both would wait: both move
        ((0.34, 1.02, 0.7), True, True),  # within 0.35 of 0.68
        ((0.32, 1.02, 0.7), True, False),
        ((0.34, 1.04, 0.7), False, True),
    ],
)
def test_the_gate(costs: tuple[float, float, float], G: bool, D: bool) -> None:
    assert turns(Costs(*map(torch.tensor, costs)), (1.0, 1.0, 1.0), 0.68, 0.35) == (G, D)


def test_the_gate_ignores_what_is_not_played() -> None:
    costs = Costs(*map(torch.tensor, (0.7, 0.1, 0.7)))
    assert turns(costs, (1.0, 0.0, 1.0), 0.68, 0.35) == (True, True)
    assert turns(costs, (1.0, 0.5, 1.0), 0.68, 0.35) == (True, False)


@pytest.mark.parametrize(("G", "D"), [(True, True), (True, False), (False, True)])
def test_who_waits_keeps_its_weights(G: bool, D: bool, monkeypatch) -> None:
    model = small_model(gate=0.35, average=0.0)
    parts = model.net.Enc, model.net.Dec, model.D
    monkeypatch.setattr(vaegan, "turns", lambda *_: (G, D))
    before = [[w.detach().clone() for w in part.parameters()] for part in parts]
    told = played(model)
    moved = [
        not equal(old, [w.detach() for w in part.parameters()])
        for old, part in zip(before, parts, strict=True)
    ]
    assert moved == [True, G, D] and (told["waits_G"], told["waits_D"]) == (
        float(not G),
        float(not D),
    )


# Defects: each property holds without, and does not hold with


def chained(d: Defects) -> bool:
    """V1: four convolutions, each reading the one before."""
    convs = [
        layer
        for layer in small_model(nets="notes", defects=d).D.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    return [(c.in_channels, c.out_channels) for c in convs] == [(3, 4), (4, 16), (16, 32), (32, 32)]


def norms_train(d: Defects) -> bool:
    """V4: statistics move, in all three nets, and training differs from looking."""
    model = small_model(nets="notes", defects=d)
    played(model)
    x, norms = (
        batch()["image"],
        [m for net in (model.net, model.D) for m in net.modules() if isinstance(m, nets.Normed)],
    )
    told = [model.D(x)[0]]
    with eval_mode(model.D):
        told.append(model.D(x)[0])
    moved = [bool((norm.mean != 0).any()) and bool((norm.variance != 1).any()) for norm in norms]
    return all(moved) and len(moved) == 12 and not torch.allclose(*told)


def normal_wants_the_prior(d: Defects) -> bool:
    """V5: a posterior that is N(0, I) costs next to nothing."""
    model = small_model(beta=0.0, feature=0.0, pixel=0.0, normal=1.0, defects=d)
    with torch.no_grad():
        for head in (model.net.Enc.mean, model.net.Enc.log_variance):
            head.weight.zero_()
            head.bias.zero_()
    return played(model, 0, batch(500))["loss_E"].item() < 0.1


def codes_reach_far(d: Defects) -> bool:
    """V6: a wide-range code can be told."""
    model = small_model(nets="notes", defects=d)
    with torch.no_grad():
        model.net.Enc.mean.bias.fill_(5.0)
        model.net.Enc.log_variance.bias.fill_(-7.0)
    mean, s = model.net.Enc(batch()["image"])
    return bool(mean.min() > 2 and s.max() < -4)


def as_many_samples(d: Defects) -> bool:
    """V10: D meets as many samples of the prior as pictures."""
    met: list[int] = []
    model = small_model(defects=d)
    model.D.register_forward_hook(lambda _, x, __: met.append(len(x[0])))
    played(model)
    return met == [6, 6, 6]


def game_slope(d: Defects) -> float:
    """d(loss_G) / d(logit), where D is sure that what is made is fake: all logits are -10."""
    model = small_model(feature=0.0, pixel=0.0, adversarial=1.0, defects=d)
    last = model.D.upper[-1]
    with torch.no_grad():
        last.bias.fill_(-10.0)
    with pytest.MonkeyPatch.context() as patch:
        model.D.upper.register_forward_hook(lambda _, __, out: out * 0 + last.bias)
        (slope,) = torch.autograd.grad(moves(model, patch)["G"], last.bias)
    return abs(slope.item())


def pushed_when_losing(d: Defects) -> bool:
    """V13: the decoder feels a D that is sure."""
    return game_slope(d) == pytest.approx(1.0, rel=1e-3)


def scale_of_features_is_nothing(d: Defects) -> bool:
    """V14: a D that shrinks its features does not shrink their distance."""
    told = []
    for factor in 300.0, 30.0:  # far above the 0.001 that normalisation adds to variances
        model = small_model(nets="notes", defects=d)
        last = [layer for layer in model.D.lower if isinstance(layer, nn.Conv2d)][-1]
        with torch.no_grad():
            last.weight.mul_(factor)
            last.bias.mul_(factor)
        told.append(played(model)["features"].item())
    return told[1] == pytest.approx(told[0], rel=1e-2)


def KL_is_a_sum(d: Defects) -> bool:
    """V15: twice the dimensions of equal statistics cost twice as much."""
    told = []
    for size in 6, 12:
        model = small_model(z_size=size, feature=0.0, pixel=0.0, defects=d)
        with torch.no_grad():
            for head, value in (model.net.Enc.mean, 0.5), (model.net.Enc.log_variance, -1.0):
                head.weight.zero_()
                head.bias.fill_(value)
        told.append(played(model)["loss_E"].item())
    return told[1] == pytest.approx(2 * told[0], rel=1e-5)


def range_of_the_data(d: Defects) -> bool:
    """V16: whatever the decoder makes is a picture."""
    Dec = small_model(nets="notes", defects=d).net.Dec
    last = [layer for layer in Dec if isinstance(layer, nn.Conv2d)][-1]
    ends = []
    for value in -50.0, 50.0:
        with torch.no_grad():
            last.bias.fill_(value)
        ends.append(Dec(torch.randn(4, 6)))
    return bool((ends[0] == -1).all() and (ends[1] == 1).all())


def a_right_answer_is_free(d: Defects) -> bool:
    """V17: D that calls real pictures real, and is sure, pays nothing for them."""
    model = small_model(nets="notes", defects=d)
    with torch.no_grad():
        model.D.upper[-1].bias.fill_(50.0)
    d_x = model.D(batch()["image"])[0]
    return costs_D(d_x, d_x, d_x).real.item() < 1e-3


def nothing_leaks(d: Defects) -> bool:
    """V23: the encoder's gradient is the same whatever the game weighs,
    D's whatever features do."""
    found: dict[str, list[list[Tensor]]] = {"E": [], "D": []}
    for weight in 0.0, 5.0:
        with pytest.MonkeyPatch.context() as patch:
            model = small_model(adversarial=weight, defects=d)
            found["E"].append(felt(moves(model, patch)["E"], model.net.Enc))
            model = small_model(feature=weight, defects=d)
            found["D"].append(felt(moves(model, patch)["D"], model.D))
    return close(*found["E"]) and close(*found["D"])


PROPERTIES: dict[str, tuple[Callable[[Defects], bool], Defects]] = {
    "V1 dead convolution": (chained, Defects(dead_conv=True)),
    "V4 frozen norms": (norms_train, Defects(frozen_norm=True)),
    "V5 normal of means": (normal_wants_the_prior, Defects(normal_of_mean=True)),
    "V6 tanh heads": (codes_reach_far, Defects(tanh_heads=True)),
    "V10 prior batch": (as_many_samples, Defects(prior_batch=100)),
    "V13 saturating": (pushed_when_losing, Defects(saturating=True)),
    "V14 raw features": (scale_of_features_is_nothing, Defects(raw_features=True)),
    "V15 means": (KL_is_a_sum, Defects(means=True)),
    "V16 tanh decoder": (range_of_the_data, Defects(tanh_decoder=True)),
    "V17 squashed logits": (a_right_answer_is_free, Defects(squashed=True)),
    "V23 leak": (nothing_leaks, Defects(leak=True)),
    "sign": (pushed_when_losing, Defects(sign=True)),
}


def test_every_defect_has_its_test() -> None:
    switched = {
        name
        for _, d in PROPERTIES.values()
        for name in Defects.__struct_fields__
        if getattr(d, name)
    }
    assert switched == set(Defects.__struct_fields__)


@pytest.mark.parametrize("name", PROPERTIES)
def test_defects(name: str) -> None:
    holds, defect = PROPERTIES[name]
    assert holds(Defects()) and not holds(defect)


@pytest.mark.parametrize("dead", [True, False])
def test_the_dead_convolution_in_numbers(dead: bool) -> None:
    assert count(nets.notes_D((3, 64, 64), 32, dead=dead)) == (19_247_361 if dead else 6_759_681)


def test_normal_of_means_drives_tanh_to_its_ends() -> None:
    """V5: of means within +-1 only those at +-1 have variance 1."""
    ends = torch.tensor([[1.0], [-1.0]])
    assert normal_loss(ends).item() == 0
    assert all(normal_loss(ends * size).item() > 0 for size in (0.5, 0.9, 0.99))


def test_a_saturating_game_has_no_slope() -> None:
    assert game_slope(Defects(saturating=True)) == pytest.approx(1 / (1 + math.exp(10)), rel=1e-3)


def test_what_tanh_heads_can_say() -> None:
    """V6: a code of means within +-1 and deviations above exp(-1/2) is worth at most 0.95 bit a
    dimension, the capacity of a channel of signal power 1 and noise power 1 / e."""
    assert 0.5 * math.log2(1 + math.e) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        (
            {"defects": Defects(dead_conv=True)},
            "hyper.defects.dead_conv is for nets = notes, found nets = light",
        ),
        (
            {"nets": "larsen", "defects": Defects(tanh_decoder=True)},
            "tanh_decoder is for nets = notes, found nets = larsen",
        ),
        (
            {"defects": Defects(squashed=True)},
            "squashed is for nets = notes or larsen, found nets = light",
        ),
        (
            {"defects": Defects(sign=True, saturating=True)},
            "saturating and sign are two games; allowed: one of them",
        ),
        (
            {"shares": (0.0, 1.0, 1.0)},
            "hyper.shares = [0.0, 1.0, 1.0]; allowed: above 0 for x and for x~ or x_p",
        ),
        ({"shares": (1.0, 0.0, 0.0)}, "hyper.shares = [1.0, 0.0, 0.0]; allowed"),
    ],
)
def test_what_the_model_refuses(hyper: dict, says: str) -> None:
    with pytest.raises(ValueError) as error:
        small_model(**hyper)
    assert says in str(error.value)


# Going on from a VAE


def test_it_goes_on_from_a_vae_with_the_same_nets(tmp_path) -> None:
    Tiny("vae_mnist", ("data.name=digits",)).train(tmp_path / "vae", "steps=2", "save_every=2")
    begun = Tiny("vaegan_mnist", ("data.name=digits", f"hyper.begin={tmp_path / 'vae'}"))
    model, _ = begun.begun(tmp_path)
    wanted = reopen(tmp_path / "vae", None).model.average.module.state_dict()
    for coder in model.net, model.average.module:
        assert equal(dict(coder.state_dict()), dict(wanted))
    with pytest.raises(
        Mistake, match=r"part net has another shape: .* is \(.*\) in the run, \(.*\) in this config"
    ):
        begun.begun(tmp_path, "hyper.width=5")
    Tiny("gan_digits").train(tmp_path / "gan", "steps=2", "save_every=2")
    with pytest.raises(Mistake, match="run of model gan; allowed: model vae, vaegan"):
        begun.begun(tmp_path, f"hyper.begin={tmp_path / 'gan'}")


# Looking, and configs


@flavours
def test_looking_changes_nothing(kind: str) -> None:
    """V4: statistics stand still while pictures are coded, decoded, judged and painted."""
    model = small_model(nets=kind)
    told = played(model)
    before = {
        name: value.clone()
        for net in (model.net, model.D, model.average.module)
        for name, value in net.state_dict().items()
    }
    model.sample(batch())
    health = model.health(batch(), told, batch(seed=1))
    after = {
        name: value
        for net in (model.net, model.D, model.average.module)
        for name, value in net.state_dict().items()
    }
    assert equal(before, after)
    assert all(value.isfinite() for value in health.values())
    assert {
        "D_held_out",
        "diversity",
        "loss_D_from_equilibrium",
        "psnr",
        "active",
        "code_beyond",
        "pull",
    } <= set(health)


@pytest.mark.parametrize("name", ["vaegan_mnist", "vaegan_faces"])
def test_experiments(name: str) -> None:
    """larsen is the paper; notes is what the notes list;
    fixed is that without its defects, which all its nets can have."""
    larsen, notes, fixed = (
        config.resolve(name, None, [f"experiment={e}"]).hyper
        for e in ("larsen", "notes", "notes,fixed")
    )
    assert (larsen.gamma, larsen.shares, larsen.mover, larsen.gate) == (
        1e-6,
        (1.0, 1.0, 1.0),
        "rmsprop",
        0.35,
    )
    wanted = {
        "dead_conv",
        "frozen_norm",
        "normal_of_mean",
        "tanh_heads",
        "saturating",
        "raw_features",
        "means",
    }
    assert {d for d in Defects.__struct_fields__ if getattr(notes.defects, d)} == wanted
    assert {d for d in Defects.__struct_fields__ if getattr(fixed.defects, d)} == {"means"}
    assert (notes.z_size, notes.beta, notes.normal, notes.shares) == (
        512,
        0.01,
        0.1,
        (0.5, 0.25, 0.25),
    )


def test_the_loss_of_the_notes(monkeypatch) -> None:
    """E = feat + 0.01 kl + 0.1 normal, G = feat - gan without the real pictures' part,
    D = gan, with their means."""
    wide = {"width": 4, "width_D": 4, "z_size": 6, "average": 0.0}
    hyper = config.resolve(
        "vaegan_mnist", None, ["experiment=notes", *(f"hyper.{k}={v}" for k, v in wide.items())]
    ).hyper
    random.reseed(0)
    model = VAEGAN(hyper, batch())  # type: ignore[arg-type]
    found, x = moves(model, monkeypatch), batch()["image"]
    random.reseed(0)
    m, l = model.net.Enc(x)
    x_r, x_p = (
        model.net.Dec(m + (l / 2).exp() * torch.randn(6, 6)),
        model.net.Dec(torch.randn(6, 6)),
    )
    (d_x, phi_x), (d_r, phi_r), (d_p, _) = model.D(x), model.D(x_r), model.D(x_p)
    bce, one, zero = F.binary_cross_entropy_with_logits, torch.ones(6), torch.zeros(6)
    feat = (phi_r - phi_x).square().mean()
    kl = -0.5 * (1 + l - m.square() - l.exp()).mean()
    normal = m.mean(0).square().mean() + (m.var(0, correction=0) - 1).square().mean()
    gan = 0.5 * bce(d_x, one) + 0.25 * bce(d_r, zero) + 0.25 * bce(d_p, zero)
    wanted = {"E": feat + 0.01 * kl + 0.1 * normal, "G": feat - gan + 0.5 * bce(d_x, one), "D": gan}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(
        {n: v.item() for n, v in wanted.items()}, rel=1e-4
    )


def test_what_a_step_tells_of_the_discriminator_are_means(monkeypatch) -> None:
    x = batch()
    model = small_model(x)
    seen = model.played(x["image"])
    monkeypatch.setattr(model, "played", lambda x: seen)
    told = model.step(x, 0)
    for name, values in {"D_real": seen.d_x, "D_rebuilt": seen.d_r, "D_fake": seen.d_p}.items():
        assert told[name].item() == pytest.approx(sum(values.tolist()) / 6, abs=1e-6)

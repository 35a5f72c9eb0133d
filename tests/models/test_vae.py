"""VAE: the loss by hand and against torch.distributions, the published nets' tables, what is learnt
where the answer is known, and paths between codes."""

import math

import pytest
import torch
from tiny import ROOT, Tiny, equal, needed, of_config
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from simulacra.core import config, data_sets, optim, random, run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.models.vae import nets, vae
from simulacra.models.vae.vae import VAE, Hyper, calibrated, free_bits, squared_error
from simulacra.nn import latent, maths

SMALL = {"width": 4, "z_size": 6}
SIDES = (3, 64, 64), (1, 28, 28), (3, 40, 56)


def batch(
    rows: int = 6, shape: tuple[int, int, int] = (3, 16, 16), seed: int = 0
) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {"image": torch.rand(rows, *shape, generator=dice) * 2 - 1}


def small_model(like: dict[str, Tensor] | None = None, **hyper) -> VAE:
    random.reseed(0)
    return VAE(Hyper(**(SMALL | hyper)), like or batch())


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def shapes(net: nn.Module, x: Tensor, *kinds: type[nn.Module]) -> list[tuple[int, ...]]:
    """The shapes, without the batch, of what the layers of these kinds make of x, in order."""
    made: list[tuple[int, ...]] = []
    layers = [layer for layer in net.modules() if isinstance(layer, kinds)]
    hooks = [
        layer.register_forward_hook(lambda _, __, out: made.append(tuple(out.shape[1:])))
        for layer in layers
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return made


# Nets, against the tables


def test_the_papers_net_layer_by_layer() -> None:
    """Appendix A.1 at 64x64: 4,348,547 weights."""
    net = nets.of_paper("paper", (3, 64, 64), 32, 32)
    assert (count(net.Enc), count(net.Dec), count(net)) == (755_744, 3_592_803, 4_348_547)
    x, kinds = torch.rand(2, 3, 64, 64), (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    assert shapes(net.Enc, x, *kinds) == [
        (32, 31, 31),
        (64, 14, 14),
        (128, 6, 6),
        (256, 2, 2),
        (32,),
        (32,),
    ]
    wanted = [(1024,), (128, 5, 5), (64, 13, 13), (32, 30, 30), (3, 64, 64)]
    assert shapes(net.Dec, torch.randn(2, 32), *kinds) == wanted
    weights = [count(layer) for layer in net.modules() if isinstance(layer, kinds)]
    assert weights == [
        1568,
        32_832,
        131_200,
        524_544,
        32_800,
        32_800,
        33_792,
        3_276_928,
        204_864,
        73_760,
        3_459,
    ]
    assert isinstance(net.Dec[1], nn.Module) and not any(
        isinstance(layer, nn.ReLU) for layer in net.Dec[:2]
    )


def test_the_net_that_the_notes_compare_with() -> None:
    net = nets.of_paper("adsp", (3, 64, 64), 32, 32)
    assert (count(net.Enc), count(net.Dec), count(net)) == (264_032, 1_851_939, 2_115_971)


def test_the_light_net() -> None:
    net = nets.light((3, 64, 64), 24, 32)
    assert (count(net.Enc), count(net.Dec)) == (585_256, 489_771)
    assert count(VAE(Hyper(), batch(shape=(3, 64, 64))).net) <= 5_000_000


@pytest.mark.parametrize("kind", ["light", "paper", "adsp"])
@pytest.mark.parametrize("shape", SIDES)
def test_pictures_of_other_sizes_come_back_in_their_own(
    kind: str, shape: tuple[int, int, int]
) -> None:
    model = small_model(batch(shape=shape), nets=kind)
    mean, s = model.encode(batch(shape=shape)["image"])
    assert mean.shape == s.shape == (6, 6)
    x = model.decode(mean)
    assert x.shape == (6, *shape) and x.abs().max() <= 1
    assert model.step(batch(shape=shape), 0)["loss"].isfinite()


@pytest.mark.parametrize(("shape", "step"), [((1, 28, 28), 16), ((3, 5, 9), 8), ((3, 64, 64), 64)])
def test_borders_are_black_and_come_off_again(shape: tuple[int, int, int], step: int) -> None:
    grow, shrink, H, W = nets.borders(shape, step)
    x = torch.rand(2, *shape)
    wide = grow(x)
    assert (
        wide.shape == (2, shape[0], H, W)
        and H % step == W % step == 0
        and H - shape[1] < step > W - shape[2]
    )
    assert torch.equal(shrink(wide), x)
    assert (wide == -1).sum() == wide.numel() - x.numel()


def test_the_papers_net_takes_no_larger_pictures() -> None:
    with pytest.raises(
        ValueError,
        match="nets = paper takes pictures of at most 64x64, found 80x64; nets = light takes any",
    ):
        small_model(batch(shape=(3, 80, 64)), nets="paper")


@pytest.mark.parametrize(("kind", "unread"), [("paper", 64 * 64 - 62 * 62), ("light", 0)])
def test_which_pixels_the_encoder_reads(kind: str, unread: int) -> None:
    """The paper's unpadded convolutions leave the last two rows and columns out."""
    net = small_model(batch(shape=(3, 64, 64)), nets=kind, width=8).net
    x = batch(shape=(3, 64, 64))["image"].requires_grad_()
    mean, s = net.Enc(x)
    (gradient,) = torch.autograd.grad((torch.cat([mean, s]) * torch.randn(12, 6)).sum(), x)
    dead = (gradient == 0).all(0).all(0)
    assert int(dead.sum()) == unread and (
        unread == 0 or bool(dead[62:].all() and dead[:, 62:].all())
    )


# The loss


def test_reconstruction_is_a_sum_over_pixels_in_0_1() -> None:
    x, y = torch.tensor([-1.0, 0.0, 1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0, -0.5])
    # 1 + 0 + .25 + .25
    by_hand = sum(
        ((a + 1) / 2 - (b + 1) / 2) ** 2 for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
    assert by_hand == 1.5
    pictures = torch.stack([x, x]).view(2, 1, 2, 2), torch.stack([y, x]).view(2, 1, 2, 2)
    assert squared_error(*pictures).tolist() == [1.5, 0.0]


def test_KL_agrees_with_torch_and_with_sampling() -> None:
    """s is a log-variance, not the log of a standard deviation (V24)."""
    torch.manual_seed(0)
    mean, s = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    posterior, prior = Normal(mean, (s / 2).exp()), Normal(torch.zeros_like(mean), 1.0)
    KL = maths.gaussian_kl(mean, s)
    assert torch.allclose(KL, kl_divergence(posterior, prior))
    z = nets.reparameterize(mean[:1].expand(200_000, -1), s[:1].expand(200_000, -1))
    sampled = Normal(mean[0], (s[0] / 2).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    assert torch.allclose(sampled.mean(0), KL[0], atol=0.02)


def test_free_nats() -> None:
    """The paper's code: the mean of max(sum over z, tolerance z_size);
    or one floor under each dimension's mean."""
    KL = torch.tensor([[0.1, 0.2], [3.0, 1.0]], requires_grad=True)
    assert free_bits(KL, 0.5, "sum").item() == pytest.approx((1.0 + 4.0) / 2)
    assert free_bits(KL, 0.0, "sum").item() == pytest.approx((0.3 + 4.0) / 2)
    assert free_bits(KL, 0.7, "dimension").item() == pytest.approx(1.55 + 0.7)
    (gradient,) = torch.autograd.grad(free_bits(KL, 0.5, "sum"), KL)
    assert gradient.tolist() == [[0.0, 0.0], [0.5, 0.5]]
    (gradient,) = torch.autograd.grad(free_bits(KL, 0.7, "dimension"), KL)
    assert gradient.tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_calibrated_is_the_gaussian_at_its_best_variance() -> None:
    """D/2 log MSE is, but for a constant, the least over sigma^2 of SSE / (2 sigma^2) + D/2 log
    sigma^2; its slope is that of the squared loss of weight 1 / (2 MSE)."""
    sse, D = torch.tensor([3.0, 5.0], dtype=torch.float64, requires_grad=True), 50
    costs = [4.0 / (2 * v) + D / 2 * math.log(v) for v in torch.linspace(0.01, 0.5, 5000).tolist()]
    assert calibrated(sse, D).item() + D / 2 == pytest.approx(min(costs), abs=1e-3)
    (gradient,) = torch.autograd.grad(calibrated(sse, D), sse)
    assert gradient.tolist() == pytest.approx([1 / (2 * 4 / D) / 2] * 2)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {
            "likelihood": "calibrated",
            "floor": "dimension",
            "tolerance": 0.01,
            "beta": ((0, 0.0), (8, 2.0)),
        },
    ],
)
def test_a_step_is_the_loss_and_descends_it(change: dict[str, object]) -> None:
    """The scalars of step 2 are those of the formula,
    with the step's own noise, at the weights before it."""
    model, x = small_model(**change), batch()["image"]
    for k in range(3):
        random.reseed(k)
        with torch.no_grad():
            mean, s = model.net.Enc(x)
            rebuilt = model.net.Dec(mean + (s / 2).exp() * torch.randn(6, 6))
            unit = ((rebuilt + 1) / 2 - (x + 1) / 2).square().flatten(1)
            KL = 0.5 * (mean.square() + s.exp() - 1 - s)
        random.reseed(k)
        told = model.step({"image": x}, k)
    sse, beta = unit.sum(1).mean(), 0.5 if change else 1.0  # step 2 of 8
    wanted = sse + beta * KL.sum(1).clamp_min(3.0).mean()
    if change:
        wanted = 384 * math.log(unit.mean()) + beta * KL.mean(0).clamp_min(0.01).sum()
    assert told["loss"].item() == pytest.approx(float(wanted), rel=1e-5)
    assert told["SSE"].item() == pytest.approx(float(sse), rel=1e-5) and told[
        "MSE"
    ].item() == pytest.approx(float(sse) / 768)
    assert (
        told["KL"].item() == pytest.approx(float(KL.sum(1).mean()), rel=1e-4)
        and told["beta"].item() == beta
    )
    each = KL.mean(0).sort(descending=True).values
    assert [told[f"KL_{i}"].item() for i in range(1, 7)] == pytest.approx(each.tolist(), rel=1e-4)


def test_below_the_floor_the_code_feels_the_pictures_alone(monkeypatch) -> None:
    """A tolerance that no picture reaches: the gradient is that of beta = 0."""
    felt = []
    monkeypatch.setattr(
        vae,
        "descend",
        lambda *moves: felt.append(torch.autograd.grad(moves[0][0], optim.weights(moves[0][1]))),
    )
    for change in {"tolerance": 1e6}, {"beta": 0.0}, {"tolerance": 0.0}:
        model = small_model(**change)
        random.reseed(1)
        model.step(batch(), 0)
    assert equal(felt[0], felt[1]) and not equal(felt[0], felt[2])


def test_doubling_z_doubles_KL() -> None:
    """V15: a sum over dimensions, whatever their number."""
    mean, s = torch.randn(4, 5), torch.randn(4, 5)
    one, two = (
        latent.summary(maths.gaussian_kl(m, t))["KL"]
        for m, t in ((mean, s), (mean.repeat(1, 2), s.repeat(1, 2)))
    )
    assert two.item() == pytest.approx(2 * one.item())


# What it learns, and what it tells


def gradients(rows: int, seed: int) -> Tensor:
    """Pictures with one degree of freedom: a grey ramp of random height."""
    height = torch.rand(rows, 1, 1, 1, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    return height * torch.linspace(-1, 1, 16).expand(rows, 1, 16, 16)


def test_one_degree_of_freedom_takes_one_dimension() -> None:
    """The loss finds the one number that these pictures have,
    and spends nothing on the other dimensions."""
    model = small_model(
        {"image": gradients(4, 0)}, weight=10.0, tolerance=0.0, rate=3e-3, average=0.0, width=8
    )
    for k in range(400):
        random.reseed(k)
        told = model.step({"image": gradients(32, k)}, k)
    unseen = {"image": gradients(64, 10_000)}
    health = model.health(unseen, told, unseen)
    assert told["KL_1"] > 1.5 and told["KL_2"] < 0.3 and health["active"] == 1
    assert health["psnr"] > health["psnr_mean_picture"] + 10


def test_active_dimensions_and_the_baseline() -> None:
    mean = torch.stack(
        [torch.tensor([1.0, -1.0] * 4), torch.zeros(8), torch.tensor([0.05, -0.05] * 4)], 1
    )
    assert latent.active(mean).item() == 1
    x = batch()["image"]
    told = latent.quality(x, x, mean)
    flat = x.mean(0, keepdim=True).expand_as(x)
    assert told["psnr"] == 100 and told["psnr_mean_picture"].item() == pytest.approx(
        maths.psnr(flat, x).mean().item()
    )


def test_samples() -> None:
    model, x = small_model(), batch()
    random.reseed(5)
    named = model.sample(x)
    assert named["samples"].shape == (6, 3, 16, 16) and named["interpolated"].shape == (
        5,
        8,
        1,
        3,
        16,
        16,
    )
    both = named["reconstructed"]
    assert torch.equal(both[::2], x["image"]) and torch.equal(
        both[1::2], model.decode(model.encode(x["image"])[0])
    )
    ends = named["interpolated"][:, [0, -1], 0]
    assert torch.allclose(ends, torch.stack([both[1:10:2], both[3:12:2]], 1), atol=1e-5)
    random.reseed(5)
    assert torch.equal(named["samples"], model.decode(torch.randn(6, 6)))
    assert model.sample({"image": x["image"][:1]})["interpolated"].shape == (1, 8, 1, 3, 16, 16)


def test_looking_changes_nothing() -> None:
    model = small_model()
    model.step(batch(), 0)
    before = {name: value.clone() for name, value in run.states(model)["average"].items()}
    model.sample(batch())
    model.health(batch(), {}, batch(seed=1))
    assert equal(before, run.states(model)["average"]) and model.average.module.training


# Runs


@pytest.fixture(params=["vae_mnist", "vaegan_mnist"])
def tiny(request) -> Tiny:
    return needed(of_config(request.param), request.param)


def test_the_last_checkpoint_holds_the_last_update(tiny: Tiny, tmp_path) -> None:
    """V2, V3: as many updates as steps, each on a batch,
    and what is saved is what the last of them left."""
    assert tiny.train(tmp_path / "run", "steps=7", "save_every=7", "log_every=7").done
    opened = reopen(tmp_path / "run", ROOT)
    checked = tiny.config("steps=7", "save_every=7", "log_every=7")
    model, _ = tiny.model("steps=7", "save_every=7", "log_every=7")
    source, before = data_sets.load(checked.data, ROOT), None
    for k in range(7):
        before = [weight.clone() for weight in model.net.parameters()]  # type: ignore[attr-defined]
        random.reseed(random.fold(checked.seed, "step", k))
        drawn = source.draw(k, checked.batch, checked.seed)
        assert len(drawn["image"]) == checked.batch
        model.step(drawn, k)
    assert equal(run.states(model), run.states(opened.model))
    assert before is not None and not equal(before, list(opened.model.net.parameters()))  # type: ignore[attr-defined]
    optimizer = next(
        part for part in vars(opened.model).values() if isinstance(part, torch.optim.Optimizer)
    )
    assert {int(state["step"]) for state in optimizer.state.values()} == {7}


# Paths between codes


def test_paths() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    round_ = latent.path(a, b, 3)
    assert torch.allclose(
        round_, torch.tensor([[2.0, 0.0], [3 / 2**0.5, 3 / 2**0.5], [0.0, 4.0]]), atol=1e-6
    )
    assert torch.allclose(
        latent.path(a, b, 3, "linear"), torch.tensor([[2.0, 0.0], [1.0, 2.0], [0.0, 4.0]])
    )
    for end in 3 * a, -a, 0 * a:
        assert torch.allclose(latent.path(a, end, 5), latent.path(a, end, 5, "linear"))
    assert latent.path(a, b, 1).tolist() == [[2.0, 0.0]]
    with pytest.raises(Mistake, match="unknown path 'crooked'; there is: spherical, linear"):
        latent.path(a, b, 3, "crooked")


def test_paths_on_a_sphere_stay_there() -> None:
    a, b = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    a, b = a / a.norm(), b / b.norm()
    way = latent.path(a, b, 9)
    assert (
        torch.allclose(way.norm(dim=1), torch.ones(9))
        and torch.allclose(way[0], a)
        and torch.allclose(way[-1], b, atol=1e-6)
    )
    gaps = way.diff(dim=0).norm(dim=1)
    assert torch.allclose(gaps, gaps[:1].expand(8), atol=1e-5)


def test_every_preset_and_experiment_resolves() -> None:
    for name in "vae_mnist", "vae_faces":
        checked = config.resolve(name, "laptop", ["experiment=published"])
        assert (checked.hyper.nets, checked.hyper.tolerance, checked.hyper.z_size) == (
            "paper",
            0.5,
            32,
        )  # type: ignore[attr-defined]

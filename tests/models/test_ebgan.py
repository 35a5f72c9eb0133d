"""EBGAN's equations against hand arithmetic,
and the known defects of public codes (T1 to T23), one test each."""

import math
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import torch
from tiny import Tiny
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import config, data_sets, optim, run
from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.random import reseed
from simulacra.models import ebgan
from simulacra.models.ebgan import EBGAN, Began, Hyper, Magan, hinge_loss, pull_away
from simulacra.nn import maths

TINY = {"widths_G": (16, 8), "widths_D": (8, 16), "code_size": 8}


def images(n: int = 8, side: int = 28, channels: int = 1, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    return {"image": torch.rand(n, channels, side, side, generator=g) * 2 - 1}


def small_model(**hyper: object) -> EBGAN:
    reseed(0)
    return EBGAN(Hyper(**{**TINY, **hyper}), images())  # type: ignore[arg-type]


# --- equations ---


def test_hinge_by_hand() -> None:
    """Eq. 1 on two pairs: mean E(x) = 2; with m = 10,
    max(0, 10 - 4) = 6 and max(0, 10 - 12) = 0, mean 3."""
    assert (
        float(hinge_loss(torch.tensor([1.0, 3.0]), torch.tensor([4.0, 12.0]), torch.tensor(10.0)))
        == 5.0
    )


def test_energies_by_hand() -> None:
    """Two pictures of 2x2, every pixel wrong by 3 and by 1:
    norms 6 and 2, mean absolute errors 3 and 1, sums 36 and 4."""
    x = torch.zeros(2, 1, 2, 2)
    rebuilt = torch.tensor([3.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert ebgan.l2(rebuilt, x).tolist() == [6, 2]
    assert ebgan.l1(rebuilt, x).tolist() == [3, 1]
    assert ebgan.sse(rebuilt, x).tolist() == [36, 4]
    assert float(ebgan.batch_norm_error(rebuilt, x)) == pytest.approx(math.sqrt(40) / 2)


def test_energy_gradient_at_a_perfect_reconstruction_is_finite() -> None:
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    (g,) = torch.autograd.grad(ebgan.l2(x, torch.zeros(1, 1, 2, 2)).sum(), x)
    assert g.isfinite().all()


def test_pull_away_by_hand() -> None:
    """Eq. 14 on codes at 0, 60 and 90 degrees: squared cosines 1/4, 0, 3/4, each twice, over 6."""
    s = torch.tensor([[2.0, 0.0], [0.5, math.sqrt(3) / 2], [0.0, 3.0]])
    assert float(pull_away(s)) == pytest.approx((0.25 + 0 + 0.75) * 2 / 6, abs=1e-6)
    assert float(pull_away(s, "unsquared")) == pytest.approx(
        (0.5 + 0 + math.sqrt(0.75)) * 2 / 6, abs=1e-6
    )


@pytest.mark.parametrize(
    ("codes", "unsquared", "squared"),
    [("opposite", -1 / 63, 1.0), ("identical", 1, 1), ("orthonormal", 0, 0)],
)
def test_T3_T17_pull_away_is_squared_over_features_without_the_diagonal(
    codes: str, unsquared: float, squared: float
) -> None:
    one = torch.ones(1, 100)
    s = {
        "opposite": torch.cat([one, -one]).repeat(32, 1),
        "identical": one.repeat(64, 1),
        "orthonormal": torch.eye(64, 100),
    }[codes]
    assert float(pull_away(s)) == pytest.approx(squared, abs=1e-5)
    assert float(pull_away(s, "unsquared")) == pytest.approx(unsquared, abs=1e-5)


def test_pull_away_has_its_lower_bound_where_codes_outnumber_dimensions() -> None:
    """N = 64 codes in d = 32: at least (N/d - 1)/(N - 1), reached by two orthonormal bases."""
    assert float(pull_away(torch.eye(32).repeat(2, 1))) == pytest.approx(
        (64 / 32 - 1) / 63, abs=1e-6
    )


# --- defects of public codes ---


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(loss, x, retain_graph=True)[0]


def test_T1_the_margin_has_a_gradient_and_the_hinge_a_corner() -> None:
    E_g = torch.tensor([5.0, 30.0], requires_grad=True)
    E_x = torch.tensor([1.0, 1.0])
    by_margin = [
        gradient(hinge_loss(E_x, E_g, torch.tensor(m)), E_g).tolist() for m in (1.0, 20.0, 80.0)
    ]
    assert by_margin == [[0, 0], [-0.5, 0], [-0.5, -0.5]]
    none = [
        gradient(hinge_loss(E_x, E_g, torch.tensor(m), "none"), E_g).tolist()
        for m in (1.0, 20.0, 80.0)
    ]
    assert none[0] == none[1] == none[2] == [-0.5, -0.5]


@pytest.mark.parametrize(("hinge", "same"), [("sample", False), ("none", True)])
def test_T1_margins_1_and_80_train_differently_unless_there_is_no_hinge(
    hinge: str, same: bool
) -> None:
    def after(margin: float) -> Tensor:
        m = small_model(hinge=hinge, margin=margin, margin_unit="energy", init_G=0.5)
        for k in range(3):
            reseed(k)
            m.step(images(seed=k), k)
        return torch.cat([w.flatten() for w in m.D.parameters()])

    assert torch.equal(after(1.0), after(80.0)) == same


@pytest.mark.parametrize(
    ("energy", "same"), [("l2", True), ("l1", True), ("sse", True), ("batch", False)]
)
def test_T2_doubling_the_batch_changes_no_loss(energy: str, same: bool) -> None:
    m = small_model(energy=energy)
    x = images()["image"]
    one, two = m.E(x).mean(), m.E(torch.cat([x, x])).mean()
    assert torch.allclose(one, two, rtol=1e-5) == same


def test_T2_the_notes_energy_falls_with_the_root_of_the_batch() -> None:
    """Standard normal 64x64 pictures against nothing:
    per sample the norm is 64 at any B, the notes' is 64 / sqrt(B)."""
    for B, expected in ((16, 16.0), (64, 8.0), (256, 4.0)):
        x = torch.randn(B, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        assert float(ebgan.batch_norm_error(torch.zeros_like(x), x)) == pytest.approx(
            expected, rel=0.01
        )
        assert float(ebgan.l2(torch.zeros_like(x), x).mean()) == pytest.approx(64, rel=0.01)


def test_T4_a_margin_that_no_energy_can_reach_is_refused() -> None:
    m = small_model(decoder="tanh", margin=60.0, margin_unit="energy")
    with pytest.raises(Mistake, match=r"hyper.margin is 60 .* reaches 56"):
        m.step(images(), 0)
    small_model(decoder="tanh", margin=20.0, margin_unit="energy").step(images(), 0)
    small_model(decoder="linear", margin=60.0, margin_unit="energy").step(images(), 0)


@pytest.mark.parametrize(("norm", "same"), [("none", True), ("group", True), ("batch", False)])
def test_T5_another_picture_in_the_batch_changes_no_energy(norm: str, same: bool) -> None:
    m = small_model(norm_D=norm)
    x = images()["image"]
    other = torch.cat([x[:-1], -x[-1:]])
    assert torch.allclose(m.E(x)[:-1], m.E(other)[:-1], atol=1e-4) == same


@pytest.mark.parametrize(
    ("draws", "steps_G", "expected"), [("fresh", 2, 3), ("shared", 2, 1), ("fresh", 1, 2)]
)
def test_T6_noise_is_drawn_for_every_step(
    draws: str, steps_G: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = small_model(draws=draws, steps_G=steps_G)
    drawn = []
    monkeypatch.setattr(
        ebgan,
        "noise",
        lambda like, *shape: drawn.append(torch.randn(len(like), *shape)) or drawn[-1],
    )
    m.step(images(), 0)
    assert len(drawn) == expected


def test_T8_no_pull_away_without_weight() -> None:
    """Two models, weight 0, whatever the form: equal weights after a step; weight 1 differs."""

    def after(**hyper: object) -> Tensor:
        m = small_model(**hyper)
        reseed(1)
        m.step(images(), 0)
        return torch.cat([w.flatten() for w in m.G.parameters()])

    zero = after(pull_away=0.0)
    assert torch.equal(zero, after(pull_away=0.0, pull_away_form="unsquared"))
    assert not torch.equal(zero, after(pull_away=1.0))


def test_T9_a_zero_code_is_finite() -> None:
    s = torch.zeros(4, 8, requires_grad=True)
    loss = pull_away(s)
    assert loss.isfinite()
    assert gradient(loss, s).isfinite().all()


def test_T13_the_hinge_is_per_sample() -> None:
    """E_fake = [0, 2m]: per sample m/2, of the mean 0."""
    m, E_g, none = torch.tensor(4.0), torch.tensor([0.0, 8.0]), torch.zeros(2)
    assert float(hinge_loss(none, E_g, m)) == 2.0
    assert float(hinge_loss(none, E_g, m, "batch")) == 0.0


def test_T15_the_margin_does_not_depend_on_the_batch_size() -> None:
    margins = []
    for n in (16, 256):
        m = small_model(margin=0.65)
        margins.append(float(m.step(images(n), 0)["margin"]))
    assert margins[0] == pytest.approx(margins[1], rel=0.02)


def test_T16_the_generators_gradient_flows_through_both_sides_of_the_error() -> None:
    m = small_model()
    m.D.double()
    x = images(1)["image"].double().requires_grad_()
    g = gradient(m.E(x).sum(), x)
    step = torch.zeros_like(x)
    step[0, 0, 14, 14] = 1e-5
    assert float(g[0, 0, 14, 14]) == pytest.approx(
        float((m.E(x + step) - m.E(x - step)).detach() / 2e-5), rel=1e-4
    )


def test_T18_one_optimizer_step_per_player(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[object] = []
    real = ebgan.descend
    monkeypatch.setattr(
        ebgan, "descend", lambda *moves: moved.extend(o for _, o in moves) or real(*moves)
    )
    m = small_model()
    m.step(images(), 0)
    assert moved == [m.opt_D, m.opt_G]


@pytest.mark.parametrize("std", [0.02, 0.002])
def test_T19_every_layer_is_initialised(std: float) -> None:
    m = small_model(init_G=std, init_D=std, widths_G=(64, 32), widths_D=(32, 64), code_size=64)
    for net in m.G, m.D:
        weights = [p for name, p in net.named_parameters() if p.ndim > 1]
        assert len(weights) >= 3
        for w in weights:
            assert float(w.detach().std()) == pytest.approx(std, rel=0.1)


# --- rules ---


def test_the_relative_margin_is_the_error_of_predicting_the_mean() -> None:
    x = images(512)["image"]
    m = small_model(margin=0.5)
    scalars = m.step({"image": x}, 0)
    assert float(scalars["margin"]) == pytest.approx(
        0.5 * float((x - x.mean(0)).flatten(1).norm(dim=1).mean()), rel=0.005
    )


def test_the_margins_unit_is_that_of_the_whole_data() -> None:
    """Four pictures of two pixels around (0, 0):
    distances 1, 1, 3, 3, whatever the batches and the first step."""
    corners = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]]).view(4, 1, 2, 1)
    nets = {"nets": "mlp", "widths_G": (4,), "widths_D": (4,), "code_size": 0}
    for energy, unit in ("l2", 2.0), ("l1", 1.0), ("sse", 5.0), ("batch", (5 / 2) ** 0.5):
        for size in 1, 2, 4:
            m = EBGAN(Hyper(**nets, energy=energy, margin=0.5), {"image": corners[:2]})  # type: ignore[arg-type]
            m.look(lambda size=size: ({"image": x} for x in corners.split(size)), 2)  # type: ignore[misc]
            assert float(m.step({"image": corners[:2]}, 0)["margin"]) == pytest.approx(0.5 * unit)
    absolute = EBGAN(Hyper(**nets, margin_unit="energy", margin=0.5), {"image": corners[:2]})  # type: ignore[arg-type]
    absolute.look(lambda: iter(()), 2)
    assert float(absolute.step({"image": corners[:2]}, 0)["margin"]) == 0.5


def test_every_seed_gets_the_same_margin(tmp_path: Path) -> None:
    """0.65 of what predicting the mean picture costs on all training digits,
    as `data show` has it; checkpoints keep it."""
    tiny = Tiny("ebgan_digits")
    wanted = data_sets.load(tiny.config().data, None).pictures.moments.l2  # type: ignore[attr-defined]
    for seed in 0, 1:
        tiny.train(tmp_path / str(seed), "steps=2", "save_every=1", "log_every=1", f"seed={seed}")
        rows = run.read_rows(tmp_path / str(seed) / "log.jsonl")
        assert [row["margin"] for row in rows] == pytest.approx([0.65 * wanted] * 2, rel=1e-4)
    newest = run.checkpoints(tmp_path / "0")[-1]
    changed = run.contents(newest)
    changed["parts"]["rule"]["unit"].fill_(3.0)  # as an older run may have measured it
    torch.save(changed, newest)
    tiny.train(tmp_path / "0", "steps=3", "save_every=1", "log_every=1", "seed=0", extend=True)
    assert run.read_rows(tmp_path / "0" / "log.jsonl")[-1]["margin"] == pytest.approx(0.65 * 3)


def test_the_margin_follows_its_schedule() -> None:
    m = small_model(margin=((0, 10.0), (2, 10.0), (2, 20.0), (4, 0.0)), margin_unit="energy")
    assert [float(m.step(images(), k)["margin"]) for k in range(5)] == [10, 10, 20, 10, 0]


def test_margin_zero_leaves_a_plain_auto_encoder() -> None:
    """With m = 0 the discriminator feels its fakes no more:
    another fake batch, the same step of D."""

    def after(seed: int) -> Tensor:
        m = small_model(margin=0.0)
        reseed(seed)
        m.step(images(), 0)
        return torch.cat([w.flatten() for w in m.D.parameters()])

    assert torch.equal(after(1), after(2))


def test_magan_follows_a_series_worked_by_hand() -> None:
    """Epochs of 10 steps, m = 5. Lowered only when fakes rose,
    reals lie below them and their mean is below m."""
    rule = Magan(Hyper(rule="magan", epoch=10))
    rule.margin.fill_(5.0)
    seen = []
    for real, fake in [(40, 90), (30, 80), (30, 85), (45, 99), (20, 10), (25, 60)]:
        rule.close_epoch(torch.tensor(float(real)), torch.tensor(float(fake)), rule.sums[2].clone())
        seen.append(round(float(rule.margin), 4))
    assert seen == [5, 5, 3, 3, 3, 2.5]


def test_magan_never_raises_the_margin_and_keeps_it_in_the_checkpoint() -> None:
    m = small_model(rule="magan", energy="sse", epoch=2, warm=1)
    margins = []
    for k in range(30):
        reseed(k)
        margins.append(float(m.step(images(seed=k), k)["margin"].detach()))
    assert margins[1] == 0 < margins[3]
    assert all(b <= a for a, b in pairwise(margins[3:]))
    assert "margin" in m.rule.state_dict()


def test_magan_warms_up_on_real_pictures_alone() -> None:
    m = small_model(rule="magan", energy="sse", epoch=2, warm=1)
    G = [w.clone() for w in m.G.parameters()]
    for k in range(4):
        m.step(images(), k)
    assert all(torch.equal(a, b) for a, b in zip(G, m.G.parameters(), strict=True))


def test_began_by_hand() -> None:
    """k starts at 0 and moves by lambda (gamma L(x) - L(G)): 0.1 (0.5 * 4 - 1) = 0.1;
    M = 4 + |2 - 1|."""
    rule = Began(Hyper(rule="began", gamma=0.5, lambda_k=0.1))
    E_x, E_g = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 1.0])
    assert float(rule.loss(E_x, E_g, 0)) == 4.0
    told = rule.update(E_x, E_g, 0)
    assert float(told["k"]) == pytest.approx(0.1)
    assert float(told["M_global"]) == 5.0
    assert float(rule.loss(E_x, E_g, 1)) == pytest.approx(4 - 0.1)


def test_began_hears_what_the_generator_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """k moves by lambda (gamma L(x) - L(G(z_G))),
    of the very energies that the two players minimise, the generator's last."""
    losses: list[float] = []
    real = ebgan.descend
    monkeypatch.setattr(
        ebgan, "descend", lambda move: losses.append(float(move[0].detach())) or real(move)
    )
    m = small_model(
        rule="began", energy="l1", pull_away=0.0, gamma=0.7, lambda_k=0.1, steps_G=2, rate_D=1e-2
    )
    k = 0.0
    for step in range(3):
        losses.clear()
        told = m.step(images(seed=step), step)
        loss_D, _, loss_G = losses
        E_x = float(told["E_real"].detach())
        assert loss_D == pytest.approx(E_x - k * float(told["E_fake"].detach()), rel=1e-5)
        k = min(1.0, max(0.0, k + 0.1 * (0.7 * E_x - loss_G)))
        assert float(told["k"]) == pytest.approx(k, rel=1e-5) and k > 0
        assert float(told["M_global"]) == pytest.approx(E_x + abs(0.7 * E_x - loss_G), rel=1e-5)


@pytest.mark.parametrize(("off", "end"), [(100.0, 1.0), (-100.0, 0.0)])
def test_T23_k_stays_in_the_unit_interval(off: float, end: float) -> None:
    rule = Began(Hyper(rule="began", gamma=1.0, lambda_k=1.0))
    for k in range(3):
        rule.update(torch.tensor([200.0 + off]), torch.tensor([200.0]), k)
        assert 0 <= float(rule.k_t) <= 1
    assert float(rule.k_t) == end


# --- shapes and known answers ---


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 32), (3, 64, 64), (1, 32, 48)])
@pytest.mark.parametrize("nets", ["conv", "mlp"])
def test_pictures_of_any_shape(shape: tuple[int, int, int], nets: str) -> None:
    batch = {"image": torch.rand(4, *shape) * 2 - 1}
    m = EBGAN(Hyper(**{**TINY, "nets": nets, "code_size": 8 if nets == "conv" else 0}), batch)  # type: ignore[arg-type]
    m.step(batch, 0)
    named = m.sample(batch)
    assert named["samples"].shape == (4, *shape)
    assert named["reconstructed_real"].shape == (8, *shape)
    assert torch.equal(named["reconstructed_real"][::2], batch["image"])


def test_sides_that_do_not_halve_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="multiples of 4, found 30x30"):
        EBGAN(Hyper(**TINY), images(side=30))  # type: ignore[arg-type]


def test_it_covers_a_ring_of_eight() -> None:
    """Eight Gaussians on a circle, as pictures of two pixels: every mode gets samples, most samples
    lie at a mode. The modes lie where the reflections of the square carry each into each, so that
    no axis is favoured."""
    angles = (torch.arange(8) + 0.5) * math.pi / 4
    modes = 0.7 * torch.stack([angles.cos(), angles.sin()], 1)
    steps = 2500

    def draw(k: int) -> Batch:
        g = torch.Generator().manual_seed(k)
        which = torch.randint(8, (128,), generator=g)
        return {
            "image": (modes[which] + 0.02 * torch.randn(128, 2, generator=g)).view(128, 2, 1, 1)
        }

    reseed(0)
    falling = ((0, 1e-3), (steps, 1e-5))
    nets = {
        "nets": "mlp",
        "widths_G": (128, 128),
        "widths_D": (64, 64),
        "z_size": 2,
        "init_G": 0.2,
        "init_D": 0.2,
    }
    m = EBGAN(Hyper(**nets, pull_away=0.3, rate_G=falling, rate_D=falling), draw(0))  # type: ignore[arg-type]
    for k in range(steps):
        reseed(k)
        optim.set_rates(m, k)
        m.step(draw(k), k)
    reseed(0)
    points = m.sample({"image": torch.zeros(2000, 2, 1, 1)})["samples"].view(-1, 2)
    distance, nearest = torch.cdist(points, modes).min(1)
    shares = torch.bincount(nearest[distance < 0.1], minlength=8) / len(points)
    assert (distance < 0.1).float().mean() > 0.6
    assert shares.min() > 0.02


def test_energies_are_of_differences():
    """Errors (-3, 4) and (0, 12) of two pictures of two pixels."""
    x, rebuilt = (
        torch.tensor([[3.0, 0], [1, 1]]).view(2, 1, 1, 2),
        torch.tensor([[0.0, 4], [1, 13]]).view(2, 1, 1, 2),
    )
    assert ebgan.l2(rebuilt, x).tolist() == [5, 12]
    assert ebgan.l1(rebuilt, x).tolist() == [3.5, 6]
    assert ebgan.sse(rebuilt, x).tolist() == [25, 144]
    assert ebgan.batch_norm_error(rebuilt, x).tolist() == [6.5], (
        "13, the norm of all errors together, over 2 pictures"
    )


def test_a_slope_is_each_examples_own():
    """Of half the squares: the example itself, of norms 5 and 1, whatever the batch;
    the example stays as it was."""
    x = torch.tensor([[3.0, 4], [0, 1]])
    assert maths.slope(lambda x: x.square().sum(1) / 2, x).tolist() == [5, 1]
    assert not x.requires_grad


def test_the_share_of_active_hinges_is_a_share():
    """With a margin beyond every energy all fakes are active, with one that is nearly 0 none."""
    for margin, share in (50.0, 1.0), (1e-9, 0.0):
        model = small_model(margin=margin, margin_unit="energy")
        assert float(model.step(images(), 1)["hinge_active"]) == share


def test_forms_of_the_hinge_by_hand() -> None:
    """m = 5 and energies 2 and 12 of fakes: each alone 3 and 0, mean 1.5;
    of their mean, 7, nothing; without a hinge -2."""
    E_x, E_g, m = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 12.0]), torch.tensor(5.0)
    assert [float(hinge_loss(E_x, E_g, m, form)) for form in ("sample", "batch", "none")] == [
        3.5,
        2.0,
        0.0,
    ]


# --- pairs ---


def test_pairs_by_hand() -> None:
    """D of (E(x), E(G)) = (1, 1) and (2, 2 - ln 3): softplus(0) = ln 2 and softplus(ln 3) = ln 4,
    mean 1.5 ln 2; in the second pair the fake costs less."""
    E_x, E_g = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2 - math.log(3)])
    assert float(ebgan.Pairs().loss(E_x, E_g, 0)) == pytest.approx(1.5 * math.log(2))
    assert float(ebgan.Pairs().update(E_x, E_g, 0)["fooled"]) == 0.5


def test_in_pairs_D_pulls_reals_down_and_fakes_up_and_slower_where_it_is_sure() -> None:
    E_x, E_g = torch.tensor([1.0, 1.0]).requires_grad_(), torch.tensor([1.0, 1 + math.log(9)])
    E_g.requires_grad_()
    loss = ebgan.Pairs().loss(E_x, E_g, 0)
    assert gradient(loss, E_x).tolist() == pytest.approx([0.25, 0.05])
    assert gradient(loss, E_g).tolist() == pytest.approx([-0.25, -0.05])


def test_the_slope_of_an_energy_by_hand() -> None:
    """Whatever x is, the answer is (0, 0): E(x) = |x|, whose slope is 1, squared 1; a penalty every
    second step."""
    m = small_model(rule="pairs", pull_away=0.0, penalty=0.5, penalty_every=2, init_D=0.0)
    x = images()["image"]
    assert m.judge(x, -x, 0)[2] == {}
    E_x, E_g, slopes = m.judge(x, -x, 1)
    assert torch.allclose(E_x, x.flatten(1).norm(dim=1)) and torch.equal(E_x, E_g)
    assert {name: float(R.detach()) for name, R in slopes.items()} == pytest.approx(
        {"R1": 1.0, "R2": 1.0}
    )
    assert small_model(rule="pairs", pull_away=0.0).judge(x, -x, 1)[2] == {}


def test_in_pairs_a_small_energy_of_reals_keeps_D_an_auto_encoder() -> None:
    """Thirty steps on the same pictures: with the term D reconstructs them better."""
    energy = {}
    for rebuild in 0.0, 1.0:
        m = small_model(rule="pairs", pull_away=0.0, rebuild=rebuild, rate_D=3e-3, start_D="he")
        for k in range(30):
            reseed(k)
            m.step(images(), k)
        energy[rebuild] = float(m.E(images()["image"]).mean().detach())
    assert energy[1.0] < 0.9 * energy[0.0]


def test_pairs_tell_their_distance_from_indifference() -> None:
    m = small_model(rule="pairs", pull_away=0.0)
    scalars = m.step(images(), 0)
    told = m.health(images(), scalars, images(seed=1))
    assert m.equilibrium() == pytest.approx({"loss_D": math.log(2), "loss_G": math.log(2)})
    for name in "loss_D", "loss_G":
        off = float(scalars[name].detach()) - math.log(2)
        assert float(told[f"{name}_from_equilibrium"].detach()) == pytest.approx(off, abs=1e-6)
    assert not small_model().equilibrium() and "hinge_active" not in scalars


def test_he_keeps_the_variance_of_what_passes_D() -> None:
    """Each of D's weights has the deviation that its fan asks for: of 4x4 kernels over 16 channels
    (2 / 1.04 / 256) ** 0.5, and behind the code of 64 a linear last map of 256, 1 / 16."""
    m = small_model(start_D="he", widths_D=(16, 32), code_size=64, dense_Dec=256)
    convolution, last = m.D.Enc[2].weight, m.D.Dec[2].weight
    assert float(convolution.detach().std()) == pytest.approx((2 / 1.04 / 256) ** 0.5, rel=0.05)
    assert float(last.detach().std()) == pytest.approx(1 / 16, rel=0.05)


def test_a_dense_decoder_is_two_linear_maps() -> None:
    m = small_model(dense_Dec=12)
    shapes = [tuple(w.shape) for w in m.D.Dec.parameters()]
    assert shapes == [(12, 8), (12,), (784, 12), (784,)]
    assert m.D(images()["image"])[0].shape == (8, 1, 28, 28)


def test_the_papers_game_is_one_switch_away() -> None:
    """Of each config that plays in pairs."""
    for name in "ebgan_pairs_mnist", "ebgan_pairs_digits":
        assert config.resolve(name, "laptop").hyper.rule == "pairs"
        paper = config.resolve(name, "laptop", ["hyper.rule=margin"]).hyper
        m = EBGAN(msgspec.structs.replace(paper, **TINY), images())
        told = m.step(images(), 0)
        wanted = told["E_real"] + F.relu(told["margin"] - told["E_fake"])
        assert float(told["margin"].detach()) > 1
        assert float(told["loss_D"].detach()) >= float(wanted.detach()) - 1e-4

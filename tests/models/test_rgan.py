"""The recurrent GAN's sixth version: its scans, heads, sizes, conditions,
and the step that all versions share."""

import pytest
import torch
from torch import Tensor

from simulacra.core.random import reseed
from simulacra.models.rgan import rgan
from simulacra.models.rgan.rgan import RGAN, Discriminator, Generator, Hyper, Scan
from simulacra.nn import adversarial

TINY = {"widths": (16, 8), "units": 4, "hidden": 16}


def small_model(shape: tuple[int, int, int] = (1, 28, 28), **hyper: object) -> RGAN:
    reseed(0)
    small = TINY if hyper.get("version", "v6") == "v6" else {}
    like = {"image": torch.zeros(4, *shape), "label": torch.zeros(4, dtype=torch.int64)}
    return RGAN(Hyper(**{**small, **hyper}), like)  # type: ignore[arg-type]


def batch(shape: tuple[int, int, int] = (1, 28, 28), n: int = 4) -> dict[str, Tensor]:
    return {"image": torch.rand(n, *shape) * 2 - 1, "label": torch.arange(n) % 10}


def reached(axes: tuple[str, ...], row: int, col: int) -> Tensor:
    """Which places of the maps (5, 6) feel place (row, col) through the scan."""
    reseed(0)
    x = torch.randn(1, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    scan = Scan(3, axes, 4, start=1.0).double()
    y = scan(x) - x
    felt = torch.zeros(5, 6, dtype=torch.bool)
    for i in range(5):
        for j in range(6):
            (g,) = torch.autograd.grad(y[0, :, i, j].sum(), x, retain_graph=True)
            felt[i, j] = bool((g[0, :, row, col] != 0).any())
    return felt


def test_a_scan_along_rows_reaches_its_row_and_no_other() -> None:
    felt = reached(("rows",), 2, 4)
    assert felt[2].all() and felt.sum() == 6


def test_a_scan_along_columns_reaches_its_column_and_no_other() -> None:
    felt = reached(("columns",), 2, 4)
    assert felt[:, 4].all() and felt.sum() == 5


def test_two_axes_reach_a_cross_and_a_string_reaches_everything() -> None:
    assert reached(("rows", "columns"), 2, 4).sum() == 6 + 5 - 1
    assert reached(("raster",), 2, 4).all()


def test_a_scan_equals_its_unrolled_recurrence() -> None:
    """One LSTM step at a time, by the equations, gives the same as the fused one."""
    reseed(0)
    scan = Scan(3, ("rows",), 4, start=1.0)
    x = torch.randn(2, 3, 5, 6)
    read, back = scan.read[0], scan.back[0]
    assert isinstance(read, torch.nn.LSTM)
    out = x.clone()
    for b in range(2):
        for i in range(5):
            states = []
            for tail, order in ("", range(6)), ("_reverse", range(5, -1, -1)):
                W, U = getattr(read, f"weight_ih_l0{tail}"), getattr(read, f"weight_hh_l0{tail}")
                bias = getattr(read, f"bias_ih_l0{tail}") + getattr(read, f"bias_hh_l0{tail}")
                h, c, told = torch.zeros(4), torch.zeros(4), {}
                for j in order:
                    enter, forget, new, show = (W @ x[b, :, i, j] + U @ h + bias).chunk(4)
                    c = forget.sigmoid() * c + enter.sigmoid() * new.tanh()
                    h = told[j] = show.sigmoid() * c.tanh()
                states.append([told[j] for j in range(6)])
            for j in range(6):
                out[b, :, i, j] += back(torch.cat([states[0][j], states[1][j]]))
    assert torch.allclose(scan(x), out, atol=1e-5)


def test_scans_of_G_begin_as_the_identity() -> None:
    x = torch.randn(2, 3, 5, 6)
    assert torch.equal(Scan(3, ("rows", "columns"), 4, start=0.0)(x), x)


def test_noise_in_the_scan_is_fresh() -> None:
    reseed(0)
    x, scan = torch.randn(2, 3, 5, 6), Scan(3, ("rows",), 4, start=1.0, noise=0.5)
    assert not torch.equal(scan(x), scan(x))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 29, 31), (3, 20, 28), (2, 5, 7)])
@pytest.mark.parametrize(
    "changes", [{}, {"multi_scale": True}, {"head": "attention", "blocks": 1}, {"scan": "raster"}]
)
def test_pictures_of_any_shape(shape: tuple[int, int, int], changes: dict[str, object]) -> None:
    m = small_model(shape, **changes)
    for k in range(2):
        assert all(value.isfinite().all() for value in m.step(batch(shape), k).values())
    assert m.sample(batch(shape))["samples"].shape == (4, *shape)
    x = batch(shape)["image"].requires_grad_()
    (gradient,) = torch.autograd.grad(m.D(x).sum(), x)
    assert (gradient != 0).any(0).all(), "every pixel is read"


def test_a_picture_that_is_too_small() -> None:
    with pytest.raises(ValueError, match="at least 4x4, found 28x3"):
        small_model((1, 28, 3))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scan_G": 3}, "scan_G = 3, but there are 2 stages"),
        (
            {"version": "v2"},
            "v2 takes classes = 0 and loss = non_saturating, found 0 and relativistic",
        ),
        (
            {"multi_scale": True, "stabilise": rgan.Stabilisers(augment=("translate",))},
            "exclude each other",
        ),
        (
            {"version": "v2", "loss": "non_saturating", "form": "published"},
            "as published has no penalties",
        ),
    ],
)
def test_what_does_not_go_together(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        small_model(**changes)


def test_classes_need_labels() -> None:
    with pytest.raises(ValueError, match="classes = 10, but the data have no labels"):
        RGAN(Hyper(**TINY, classes=10), {"image": torch.zeros(4, 1, 28, 28)})  # type: ignore[arg-type]


def test_the_condition_reaches_both_players() -> None:
    m = small_model(classes=10)
    one, two = batch(), batch() | {"label": torch.full((4,), 7)}
    z = torch.randn(4, 64)
    with torch.no_grad():
        made = [m.make(m.G.eval(), z, m.one_hot(b))[0] for b in (one, two)]
        told = [m.judge([one["image"]], m.one_hot(b)) for b in (one, two)]
    assert not torch.equal(*made) and not torch.equal(*told)


def test_every_size_of_a_pyramid_gets_a_gradient() -> None:
    """Multi-scale gradients: D's logit reaches each stage of G directly."""
    m = small_model(multi_scale=True)
    pictures = m.make(m.G, torch.randn(4, 64))
    assert [x.shape[2] for x in pictures] == [28, 14]
    apart = [x.detach().requires_grad_() for x in pictures]
    assert all((g != 0).any() for g in torch.autograd.grad(m.judge(apart).sum(), apart))


def test_smaller_pictures_are_means() -> None:
    x = torch.arange(15.0).view(1, 1, 3, 5)
    half = rgan.pyramid(x, 2)[1]
    assert half.shape == (1, 1, 2, 3)
    assert half[0, 0].tolist() == [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]


@pytest.mark.parametrize("head", ["flatten", "attention", "average"])
def test_penalties_through_recurrences_equal_finite_differences(head: str) -> None:
    """The slope penalty's own gradient, second derivatives of the LSTMs included,
    in double precision."""
    reseed(0)
    D = Discriminator(Hyper(**TINY, head=head), (1, 8, 8)).double()  # type: ignore[arg-type]
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)

    def penalty() -> Tensor:
        y = x.clone().requires_grad_()
        return adversarial.slope_penalty(D(y).squeeze(1), y).sum()

    for weight in (*D.stages[1][1].read[0].parameters(), D.judge.weight):  # type: ignore[index, union-attr]
        (gradient,) = torch.autograd.grad(penalty(), weight, allow_unused=True)
        with torch.no_grad():
            flat, step = weight.view(-1), 1e-6
            place = int(torch.zeros_like(flat).copy_(gradient.reshape(-1)).abs().argmax())
            ends = []
            for sign in 1, -1:
                flat[place] += sign * step
                with torch.enable_grad():
                    ends.append(float(penalty().detach()))
                flat[place] -= sign * step
        assert float(gradient.reshape(-1)[place]) == pytest.approx(
            (ends[0] - ends[1]) / (2 * step), rel=1e-4
        )


def test_a_published_discriminator_moves_twice() -> None:
    """As published: reals, then fakes from a generator in evaluation mode; repaired: once."""
    for form, moves in ("published", 2), ("repaired", 1):
        m = small_model(
            version="v2", form=form, loss="non_saturating", z_size=8, average=0.0, gamma=0.0
        )
        m.step(batch(), 0)
        state = m.opt_D.state_dict()["state"]
        assert {int(s["step"]) for s in state.values()} == {moves}


def test_health_knows_the_smoothed_equilibrium() -> None:
    m = small_model(
        loss="non_saturating", stabilise=rgan.Stabilisers(real_target=0.9), target_G=0.9
    )
    assert m.equilibrium()["loss_D"] == pytest.approx(0.6881, abs=1e-4)
    assert m.won()["loss_D"] == pytest.approx(0.1625, abs=1e-4)


def test_generators_of_all_sizes() -> None:
    G = Generator(Hyper(**TINY, multi_scale=True), (1, 29, 30))  # type: ignore[arg-type]
    assert [x.shape[2:] for x in G(torch.randn(2, 64))] == [(29, 30), (15, 15)]

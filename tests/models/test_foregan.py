"""ForeGAN: rules and losses by hand, each defect of the public code beside its repair,
and metrics of layers by hand."""

import math
import tomllib

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import config, idle, optim, random
from simulacra.core.errors import Mistake
from simulacra.metrics.video import layer_scores as measured
from simulacra.models.foregan import foregan, nets
from simulacra.models.foregan.foregan import Defects, ForeGAN, Hyper, Layers
from simulacra.models.foregan.nets import (
    EMPTY,
    cut,
    filled,
    flow_as_input,
    moved,
    places,
    sample_places,
)
from simulacra.models.foregan.rules import composed, gated, mixed, penalty, total_variation

SMALL = {
    "width": 2,
    "blocks": 1,
    "widths_D": (4,),
    "tail_D": (4, 4),
    "patches": 3,
    "patch": (0.3, 0.3),
    "critic_steps": 1,
    "rate_G": 1e-3,
    "rate_D": 1e-3,
}


def clips(B: int = 2, T: int = 3, H: int = 16, W: int = 24, seed: int = 0) -> dict[str, Tensor]:
    """A batch of random clips with an object on the left, and small random flows."""
    dice = torch.Generator().manual_seed(seed)
    video = torch.rand(B, T, 3, H, W, generator=dice) * 2 - 1
    mask = torch.zeros(B, 1, H, W)
    mask[..., 4:10, 3:9] = 1
    forward, backward = torch.randn(2, B, T - 1, 2, H, W, generator=dice)
    return {"video": video, "mask": mask, "forward": forward, "backward": backward}


def small_model(batch: dict[str, Tensor] | None = None, **hyper) -> ForeGAN:
    """A small model whose weights follow from a seed,
    larger than N(0, 0.02), so that critics have slopes."""
    random.reseed(0)
    model = ForeGAN(Hyper(**(SMALL | hyper)), batch or clips())
    with torch.no_grad():
        for net in (model.Gf, model.Gb, model.Df, model.Db):
            for weight in net.parameters():
                if weight.ndim == 4:
                    torch.nn.init.kaiming_normal_(weight)
    return model


def painted(model: ForeGAN, batch: dict[str, Tensor]) -> Layers:
    """What the model paints, with the noise of seed 0."""
    random.reseed(0)
    return model.unroll(batch)


def moves(model: ForeGAN, monkeypatch, batch: dict[str, Tensor] | None = None, k: int = 0):
    """What step k tells, and the losses and optimizers with which players moved; nobody moves."""
    seen = []
    monkeypatch.setattr(foregan, "descend", lambda *pairs: seen.extend(pairs))
    random.reseed(0)
    return model.step(batch or clips(), k), seen


def slopes(value: Tensor, weights) -> list[float]:
    """The norm of the gradient for each weight; 0 where there is none."""
    found = torch.autograd.grad(value, list(weights), retain_graph=True, allow_unused=True)
    return [0.0 if g is None else float(g.norm()) for g in found]


# --- rules by hand ---


def test_mix_rules_by_hand():
    A, C, warped, before = (torch.full((1, 1, 1, 1), x) for x in (0.25, 0.5, -0.2, 0.8))
    assert mixed("sum", A, C, warped, before).item() == pytest.approx(-0.2 + 0.5 - 1)
    assert mixed("sum_fixed", A, C, warped, before).item() == pytest.approx(0.25 * 0.3 - 0.75)
    assert mixed("keep", A, C, warped, before).item() == pytest.approx(0.25 * -0.2 + 0.75 * 0.5)
    assert mixed("prev", A, C, warped, before).item() == pytest.approx(0.25 * 0.8 + 0.75 * 0.5)


def test_attention_feels_nothing_through_sum():
    """A (Iw+C) + (1-A) (Iw+C) - 1 is Iw + C - 1:
    the gradient is exactly 0, and is not by the rule that was meant."""
    A, C, warped = torch.rand(3, 2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    A = A.requires_grad_()
    for rule, none in ("sum", True), ("sum_fixed", False), ("keep", False):
        (gradient,) = torch.autograd.grad(mixed(rule, A, C, warped, warped).square().sum(), A)
        assert bool((gradient == 0).all()) == none, rule
    assert torch.allclose(mixed("sum", A, C, warped, warped), warped + C - 1, atol=1e-6)


def test_total_variation_is_a_sum_over_pixels():
    A = torch.tensor([[[0.0, 1.0], [0.5, 0.5]], [[0.0, 0.0], [0.0, 0.0]]])
    assert total_variation(A).item() == pytest.approx((0.5 + 0.5 + 1.0 + 0.0) / 2)


def test_parameters_are_the_sources():
    """8.46 million in a generator with 5 inputs and the shared path, 15.35 million in a critic;
    its map of a whole frame."""
    generator, critic = (
        nets.Generator(Hyper(), 5, "shared", 3),
        nets.Critic(Hyper().widths_D, Hyper().tail_D, (60, 112)),
    )
    counts = [sum(weight.numel() for weight in net.parameters()) for net in (generator, critic)]
    assert [round(count / 1e6, 2) for count in counts] == [8.46, 15.35]
    sizes = [
        tuple(critic.to("meta")(torch.empty(1, 3, *size, device="meta")).shape[2:])
        for size in ((60, 112), (224, 416))
    ]
    assert sizes == [(1, 1), (12, 20)]


def test_reductor_widths_are_the_sources():
    generator = nets.Generator(
        msgspec.structs.replace(Hyper(), width=64, blocks=0), 5, "reductor", 3
    )
    assert [head.in_channels for head in generator.heads] == [64, 96, 112]


# --- defects of the public code, and their repairs ---


@pytest.mark.parametrize(("sign", "rises"), [(False, True), (True, False)])
def test_b1_generators_raise_what_critics_say_of_fakes(sign, rises):
    """One step on the critics' scores alone; critics stand still. By the defect it falls."""
    batch = clips()
    model = small_model(
        lambda_rec=0.0, lambda_Gf=1.0, lambda_Gb=1.0, hole="black", defects=Defects(sign=sign)
    )
    scores = []
    for _ in range(2):
        random.reseed(1)
        made = model.unroll(batch)
        found = model.loss_G(made, model.made(made, batch), batch, 0, 1)
        scores.append((found["Gf"].item(), found["Gb"].item()))
        optim.set_rate(model.opt_G, 1e-3)
        optim.descend((found["loss_G"], model.opt_G))
    (f0, b0), (f1, b1) = scores
    assert (f1 + b1 > f0 + b0) == rises and abs(f1 + b1 - f0 - b0) > 1e-5


@pytest.mark.parametrize("defect", [False, True])
def test_b2_the_mask_critic_reaches_the_masks_head(defect):
    """And not the colours, of one step; by the defect it is the foreground's score,
    which the mask's head does not feel."""
    batch = clips(T=2)
    weights = {
        "lambda_rec": 0.0,
        "lambda_Gf": 0.0,
        "lambda_Gb": 0.0,
        "lambda_Gm": 1.0,
        "lambda_Dm": 1.0,
    }
    model = small_model(batch, **weights, defects=Defects(mask_score=defect))
    made = painted(model, batch)
    loss = model.loss_G(made, model.made(made, batch), batch, 0, 1)["loss_G"]
    assert (slopes(loss, [model.Gf.mask.weight])[0] > 0) == (not defect)
    (heads,) = torch.autograd.grad(
        loss, [model.Gf.heads[0].weight], allow_unused=True, retain_graph=True
    )
    colours = 0.0 if heads is None else float(heads[:3].norm())
    assert (colours > 0) == defect


def test_b2_the_mask_critic_is_trained_on_masks(monkeypatch):
    model = small_model(lambda_Dm=1.0, lambda_Gm=1.0, lambda_Dm_gp=1.0)
    scalars, seen = moves(model, monkeypatch)
    assert {"Dm", "Dm_gp", "Gm"} <= scalars.keys()
    assert all(slope > 0 for slope in slopes(seen[0][0], [model.Df.end_of_masks.weight]))
    assert small_model().Df.end_of_masks is None
    with pytest.raises(
        ValueError, match=r"hyper.lambda_Gm = 1.0 changes nothing, since it needs lambda_Dm above 0"
    ):
        small_model(lambda_Gm=1.0)


def test_b3_composites():
    """Over: m of 1 shows the foreground exactly, m of 0 the background.
    Added: a black foreground darkens where m is 0."""
    foreground, background = (
        torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    )
    one, zero = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    assert torch.equal(composed("over", foreground, background, one), foreground)
    assert torch.equal(composed("over", foreground, background, zero), background)
    assert torch.equal(
        composed("additive", torch.full_like(background, EMPTY), background, zero), background - 1
    )
    assert torch.equal(
        composed("additive", torch.zeros_like(background), background, zero), background
    )


def test_b4_gates():
    foreground, m = torch.full((1, 3, 1, 2), 0.5), torch.tensor([[[[0.0, 1.0]]]])
    ends = {
        kind: gated(kind, foreground, m)[0, 0, 0].tolist() for kind in ("none", "grey", "black")
    }
    assert ends == {"none": [0.5, 0.5], "grey": [0.0, 0.5], "black": [EMPTY, 0.5]}
    assert torch.equal(m * foreground + (1 - m) * foreground, foreground), (
        "the source's gate is none"
    )


def jumping() -> dict[str, Tensor]:
    """A bright square that moves right by 1, 4 and 2 pixels over black, with its exact flow."""
    video, steps, mask = torch.full((1, 4, 3, 16, 32), -1.0), [1, 4, 2], torch.zeros(1, 1, 16, 32)
    forward = torch.zeros(1, 3, 2, 16, 32)
    for t in range(4):
        x = 4 + sum(steps[:t])
        video[:, t, :, 5:11, x : x + 6] = torch.linspace(-0.5, 1, 6)
        if t < 3:
            forward[:, t, 0] = steps[t]
    mask[..., 5:11, 4:10] = 1
    return {"video": video, "mask": mask, "forward": forward, "backward": -forward}


@pytest.mark.parametrize("defect", [False, True])
def test_b5_flow_of_the_right_step(defect):
    """The first foreground, moved along the flow, is each next frame;
    by the defect no step but those of equal speed is."""
    batch = jumping()
    model = small_model(batch, defects=Defects(off_by_one=defect))
    off = (painted(model, batch).warped - batch["video"][:, 1:]).abs().amax((0, 2, 3, 4))
    assert ((off < 1e-4) == torch.tensor([not defect] * 3)).all()


def test_b6_flow_is_told_without_wrapping_around():
    """Strictly monotone up to the reach and never falling beyond;
    the byte mapping by the table of what it gave."""
    motion = torch.linspace(-40, 40, 401).view(1, 1, 1, -1).repeat(1, 2, 1, 1)
    width = motion.shape[3]
    x = flow_as_input(motion, 20 / width)[0, 0, 0]
    rises, near = x.diff(), (motion[0, 0, 0, 1:].abs() <= 20) & (motion[0, 0, 0, :-1].abs() <= 20)
    assert (
        (rises >= 0).all()
        and (rises[near] > 0).all()
        and x[[0, 200, -1]].tolist() == pytest.approx([-1, 0, 1], abs=1e-6)
    )
    some = torch.tensor([19.8, 19.9, 25.0, -20.0, 0.0]).view(1, 1, 1, 5)
    assert (flow_as_input(some, 20 / 5, as_bytes=True) * 255).round().flatten().tolist() == [
        255,
        0,
        0,
        1,
        129,
    ]
    assert (flow_as_input(motion, 20 / width, as_bytes=True)[0, 0, 0].diff() < 0).any()


def test_b6_motion_is_a_share_of_the_frame():
    """The same motion in a frame of twice the size is told the same."""
    flow = torch.randn(1, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    larger = F.interpolate(flow, scale_factor=2, mode="nearest") * 2
    assert torch.allclose(flow_as_input(larger, 0.5)[..., ::2, ::2], flow_as_input(flow, 0.5))


@pytest.mark.parametrize("defect", [False, True])
def test_b7_two_planes(defect):
    """A square over a ground that stands still: moved by the backward flow it lies where it should,
    without a ghost; the forward flow read where it ends leaves more than 1 % of the pixels
    wrong."""
    first, second = (torch.full((1, 3, 32, 48), EMPTY) for _ in range(2))
    first[..., 8:20, 10:22] = second[..., 8:20, 16:28] = 0.5
    forward, backward = torch.zeros(2, 1, 2, 32, 48)
    forward[:, 0, 8:20, 10:22] = 6
    backward[:, 0, 8:20, 16:28] = -6
    wrong = ((moved(first, forward, backward, defect) - second).abs() > 0.1).any(1).float().mean()
    assert (wrong < 0.01) == (not defect)


def test_b8_losses_are_linear_in_each_weight(monkeypatch):
    base = {
        f"lambda_{name}": 0.5
        for name in (
            "rec",
            "Df",
            "Df_gp",
            "Gf",
            "Db",
            "Db_gp",
            "Gb",
            "Dm",
            "Dm_gp",
            "Gm",
            "A",
            "TV",
        )
    }
    for name in base:
        values = []
        for weight in 0.5, 1.0, 2.0:
            _, seen = moves(small_model(**(base | {name: weight})), monkeypatch)
            values.append(sum(loss.item() for loss, _ in seen))
        assert values[2] - values[0] == pytest.approx(
            3 * (values[1] - values[0]), rel=1e-3, abs=1e-5
        ), name
        assert values[1] != values[0], f"{name} has no effect"


def test_b8_one_gradient_a_step_of_the_critics(monkeypatch):
    """The penalty is multiplied in and added to the game.
    By the defect it has weight 1, and a second step repeats the game."""
    for weight in 5.0, 50.0:
        settings = {
            "lambda_Df": 3.0,
            "lambda_Df_gp": weight,
            "lambda_Db_gp": weight,
            "critic_steps": 9,
        }
        model = small_model(**settings)
        told_, seen = moves(model, monkeypatch)
        assert [player for _, player in seen] == [model.opt_D]
        wanted = 3 * told_["Df"] + told_["Db"] + weight * (told_["Df_gp"] + told_["Db_gp"])
        assert seen[0][0].item() == pytest.approx(wanted.item(), rel=1e-5)
        model = small_model(lambda_Df=3.0, critic_steps=9, defects=Defects(penalty=True))
        told_, seen = moves(model, monkeypatch)
        assert [player for _, player in seen] == [model.opt_D] * 2
        assert seen[0][0].item() == pytest.approx((3 * told_["Df"] + told_["Db"]).item(), rel=1e-5)
        bent = told_["Df_gp"] + told_["Db_gp"]
        owned = optim.weights(model.opt_D)
        parts = [
            torch.autograd.grad(value, owned, retain_graph=True, allow_unused=True)
            for value in (seen[0][0], bent)
        ]
        both = [sum(g for g in pair if g is not None) for pair in zip(*parts, strict=True)]
        felt = torch.autograd.grad(seen[1][0], owned)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(felt, both, strict=True))


def test_b9_both_games_are_played_on_the_same_pictures(monkeypatch):
    """Clips are painted once a step, so that no state can differ."""
    model, painting = small_model(hole="noise"), []
    unroll = model.unroll
    monkeypatch.setattr(
        model, "unroll", lambda *words: painting.append(unroll(*words)) or painting[-1]
    )
    _, seen = moves(model, monkeypatch)
    assert len(painting) == 1 and len(seen) == 2
    for loss, player in seen:
        assert (slopes(loss, [painting[0].foreground])[0] > 0) == (player is model.opt_G)


@pytest.mark.parametrize(("epoch", "turns"), [(0, 3), (2, 0), (4, 2)])
def test_b10_generators_play_every_nth_step(epoch, turns, monkeypatch):
    """Steps are counted over all epochs; counted within epochs shorter than n,
    generators never play, and the model refuses what is theirs."""
    model = small_model(critic_steps=3, rate_G=1e-4, defects=Defects(epoch=epoch))
    played = [moves(model, monkeypatch, k=k)[1][-1][1] is model.opt_G for k in range(9)]
    assert sum(played) == turns and (epoch or played == [False, False, True] * 3)


def test_b11_rates_follow_their_schedules(monkeypatch):
    model = small_model(rate_G=((0, 1e-3), (4, 0.0)), rate_D=((0, 2e-3), (2, 2e-3), (4, 0.0)))
    for k, rates in (0, (1e-3, 2e-3)), (2, (5e-4, 2e-3)), (3, (2.5e-4, 1e-3)), (9, (0.0, 0.0)):
        optim.set_rates(model, k)
        moves(model, monkeypatch, k=k)
        assert [
            model.opt_G.param_groups[0]["lr"],
            model.opt_D.param_groups[0]["lr"],
        ] == pytest.approx(rates)


def test_b12_patches_of_a_large_object(monkeypatch):
    """An object that leaves a column free: as many patches as there are, none twice, and the
    penalty is finite. One that leaves nothing: none, and training goes on."""
    batch = clips()
    model = small_model(patches=40)
    for free in 8, 0:
        batch["mask"].fill_(1)[..., :free] = 0
        shown = model.reals(batch, 2).patches
        rows, columns = 16 - model.patch[0] + 1, max(0, free - model.patch[1] + 1)
        assert len(shown) == 2 * 2 * min(40, rows * columns)
        told_, _ = moves(model, monkeypatch, batch)
        assert all(value.isfinite() for value in told_.values())


def test_b12_patches_are_drawn_without_repetition_and_away_from_the_object():
    mask = torch.zeros(1, 1, 8, 12)
    mask[..., 3:5, 4:6] = 1
    touched = places(mask, (3, 4), (1, 2))
    assert touched.shape == (1, 6 * 5)
    row, place = sample_places(
        ~touched, torch.rand(1, 30, generator=torch.Generator().manual_seed(0)), 99
    )
    by_hand = [
        (y, x)
        for y in range(6)
        for x in range(5)
        if not mask[0, 0, y : y + 3, 2 * x : 2 * x + 4].any()
    ]
    assert sorted((int(p) // 5, int(p) % 5) for p in place) == by_hand and not row.any()
    assert not cut(mask, row, place, (3, 4), (1, 2)).any()
    numbers = torch.arange(96.0).view(1, 1, 8, 12)
    # row 1, column 2 of the grid
    patch = cut(numbers, torch.tensor([0]), torch.tensor([7]), (3, 4), (1, 2))
    assert torch.equal(patch[0, 0], numbers[0, 0, 1:4, 4:8])


def test_b12_two_clips_give_the_patches_of_each():
    allowed, scores = torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(0))
    row, place = sample_places(allowed > 0.7, scores, 4)
    for i in range(3):
        alone = sample_places(allowed[i : i + 1] > 0.7, scores[i : i + 1], 4)[1]
        assert torch.equal(place[row == i], alone) and len(alone) == min(
            4, int((allowed[i] > 0.7).sum())
        )


@pytest.mark.parametrize("how", ["black", "noise", "replicate", "telea"])
def test_b13_holes_are_filled(how):
    """Objects at each edge, in the middle, and over whole rows:
    no pixel of the hole keeps its colour, no other loses it."""
    frame = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.3
    boxes = [
        (0, 5, 3, 9),
        (7, 12, 3, 9),
        (3, 8, 0, 5),
        (3, 8, 10, 16),
        (4, 9, 5, 10),
        (4, 7, 0, 16),
    ]
    for top, bottom, left, right in boxes:
        mask = torch.zeros(1, 1, 12, 16)
        mask[..., top:bottom, left:right] = 1
        painted_over = torch.where(mask > 0, torch.tensor(-0.9), frame)
        out = filled(painted_over, mask, how)
        inside = (mask > 0).expand_as(out)
        assert torch.equal(out[~inside], frame[~inside]) and out.isfinite().all()
        assert not (out == painted_over)[inside].any()
        if how in ("replicate", "telea"):
            assert (out[inside] > 0.25).all(), "the hole is filled from outside"
    all_ = filled(frame, torch.ones(1, 1, 12, 16), how)
    assert all_.isfinite().all()
    if how == "noise":
        assert -1 <= all_.min() < -0.9 and 0.9 < all_.max() <= 1 and abs(float(all_.mean())) < 0.1


def test_b13_rows_take_their_nearest_pixel():
    frame = torch.tensor([[1.0, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15]]).expand(
        1, 3, 3, 5
    )
    mask = torch.tensor([[0.0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 1]]).expand(1, 1, 3, 5)
    wanted = [[1.0, 1, 1, 5, 5], [1, 1, 1, 5, 5], [13, 13, 13, 14, 14]]
    assert filled(frame, mask, "replicate")[0, 0].tolist() == wanted


def test_b14_critics_do_not_reach_the_generators(monkeypatch):
    model = small_model()
    _, seen = moves(model, monkeypatch)
    painters = [*model.Gf.parameters(), *model.Gb.parameters()]
    for loss, player in seen:
        assert any(slopes(loss, painters)) == (player is model.opt_G)


@pytest.mark.parametrize("size", [1, 6, 240])
def test_b15_the_penalty_does_not_depend_on_the_maps_size(size):
    """A linear critic of slope 3 told `size` times over: (3 - 1)^2;
    the slope of the sum is `size` times that."""
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    direction = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))
    direction = 3 * direction / direction.norm()
    scores = (x * direction).sum((1, 2, 3)).view(2, 1, 1).expand(2, 1, size)
    assert penalty(scores, x).item() == pytest.approx(4, rel=1e-4)
    assert penalty(scores, x, of_sum=True).item() == pytest.approx((3 * size - 1) ** 2, rel=1e-4)


@pytest.mark.parametrize(("B", "H", "W"), [(3, 17, 27), (1, 16, 24)])
def test_b18_any_size_and_batch(B, H, W):
    batch = clips(B, 3, H, W)
    model = small_model(batch, temporal="convlstm", temporal_b="reductor")
    made = painted(model, batch)
    assert made.composite.shape == (B, 2, 3, H, W) and made.mask.shape == (B, 2, 1, H, W)
    random.reseed(0)
    assert all(value.isfinite() for value in model.step(batch, 0).values())


# --- the model ---


def test_a_clip_is_painted_the_same_in_any_company():
    batch = clips(3)
    model = small_model(batch, hole="telea")
    together = painted(model, batch)
    for i in range(3):
        alone = painted(model, {name: value[i : i + 1] for name, value in batch.items()})
        assert all(
            torch.allclose(one, all_[i : i + 1], atol=1e-4)
            for one, all_ in zip(alone, together, strict=True)
        )


@pytest.mark.parametrize("temporal", ["none", "reductor", "shared", "convlstm"])
def test_paths_through_time(temporal):
    """Every path but the reductor goes on beyond the steps it was trained for; every weight moves;
    the past matters where it should."""
    batch, long = clips(T=4), clips(T=7)
    model = small_model(batch, temporal=temporal, temporal_b=temporal)
    before = [weight.clone() for net in (model.Gf, model.Gb) for weight in net.parameters()]
    for k in range(2):
        model.step(batch, k)
    after = [weight for net in (model.Gf, model.Gb) for weight in net.parameters()]
    assert not [one for one, two in zip(before, after, strict=True) if torch.equal(one, two)]
    assert painted(model, long).composite.shape[1] == (3 if temporal == "reductor" else 6)
    assert (len(model.sample(long)["samples"]), model.sample(long)["layers"].shape[:2]) == (
        2,
        (2, 7),
    )
    x = torch.randn(1, 5, 16, 24)
    with torch.no_grad():
        carried = model.Gf(x, None, 0)[3]
        second = [model.Gf(x, past, 1)[1] for past in (carried, carried + 1)]
    assert torch.allclose(*second) == (temporal == "none")


def test_reductor_says_where_it_ends():
    model = small_model(clips(T=3), temporal="reductor")
    with pytest.raises(
        ValueError, match="temporal = reductor has heads for 2 steps, and step 3 was asked for"
    ):
        model.Gf(torch.zeros(1, 5, 16, 24), None, 2)


def test_gradients_can_be_cut_in_time():
    """With detach = 1 nothing that was painted for frame 1 feels what frame 2 costs."""
    for detach, feels in (0, True), (1, False):
        batch = clips(T=3)
        model = small_model(batch, detach=detach, mix="prev")
        batch["video"].requires_grad_()
        made = painted(model, batch)
        (gradient,) = torch.autograd.grad(
            made.composite[:, 1].sum(), [batch["video"]], allow_unused=True
        )
        through = 0.0 if gradient is None else float(gradient.abs().sum())
        assert (through > 0) == feels


@pytest.mark.parametrize("head", ["attention", "foreground", "features"])
def test_masks_heads(head):
    """m is A, or steeper the larger the gain."""
    batch = clips()
    if head == "attention":
        made = painted(small_model(batch, mask_head=head), batch)
        assert torch.equal(made.mask, made.attention)
    else:
        soft, steep = (
            painted(small_model(batch, mask_head=head, gain=gain), batch) for gain in (0.1, 50.0)
        )
        assert not torch.equal(soft.mask, soft.attention)
        assert (soft.mask - 0.5).abs().mean() < 0.25 < (steep.mask - 0.5).abs().mean()


def test_attention_can_be_regularised():
    """Minimising its mean alone brings it down; its variation alone makes it smooth."""
    for name in "A", "TV":
        batch = clips()
        off = {f"lambda_{other}": 0.0 for other in ("rec", "Gf", "Gb")}
        model, found = small_model(batch, **off, **{f"lambda_{name}": 1.0}, rate_G=1e-2), []
        for k in range(8):
            random.reseed(0)
            scalars = model.step(batch, k)
            made = painted(model, batch)
            found.append(
                {"A": made.attention.mean().item(), "TV": total_variation(made.attention).item()}[
                    name
                ]
            )
        assert found[-1] < found[0] and scalars["loss_G"] > 0


def test_no_later_mask_or_label_is_asked_for():
    """What the model reads of a batch are frames, the first mask and flows;
    other keys may hold anything."""
    model, batch = small_model(), clips()
    poison = {"masks": torch.full((2, 3, 1, 16, 24), math.nan), "label": torch.zeros(2)}
    assert torch.equal(painted(model, batch).composite, painted(model, batch | poison).composite)


def test_flows_are_found_where_the_batch_has_none():
    """A textured clip that pans by two pixels; and training with them."""
    dice = torch.Generator().manual_seed(0)
    picture = (
        F.interpolate(torch.rand(1, 3, 8, 16, generator=dice), (32, 64), mode="bicubic").clamp(
            0, 1
        )[0]
        * 2
        - 1
    )
    batch = {
        "video": torch.stack([picture[..., 2 * t : 2 * t + 48] for t in range(3)])[None],
        "mask": torch.zeros(1, 1, 32, 48),
    }
    batch["mask"][..., 10:20, 10:20] = 1
    forward, backward = foregan.flows(batch)
    assert forward.shape == backward.shape == (1, 2, 2, 32, 48)
    assert forward[:, :, 0, 8:-8, 8:-8].median().item() == pytest.approx(-2, abs=0.3)
    assert backward[:, :, 0, 8:-8, 8:-8].median().item() == pytest.approx(2, abs=0.3)
    assert all(value.isfinite() for value in small_model(batch).step(batch, 0).values())


def test_clips_of_zeros_can_be_sampled():
    """As a run's shapes give them: no object, no motion."""
    batch = {name: torch.zeros_like(value) for name, value in clips().items()}
    shown = small_model().sample(batch)
    assert shown["samples"].shape == (2, 3, 16, 24) and shown["samples"].isfinite().all()


def test_other_data_are_refused():
    for batch in {"image": torch.zeros(2, 3, 8, 8)}, {"video": torch.zeros(2, 3, 3, 16, 24)}:
        with pytest.raises(
            ValueError, match="takes clips with a first mask, and the data hold none"
        ):
            ForeGAN(Hyper(**SMALL), batch)
    with pytest.raises(ValueError, match="at least 2 frames, found 1"):
        small_model(
            {name: value[:, :1] if name == "video" else value for name, value in clips().items()}
        )
    with pytest.raises(ValueError, match="halves 4 times, and patches are 5x7"):
        small_model(widths_D=(4, 4, 4, 4))


def test_first_foregrounds_can_be_augmented():
    """Reals for Df differ then from step to step of time, stay in range, black outside;
    without, they are the first frame's."""
    batch = clips()
    plain, changed = (
        small_model(batch, augment=augment).reals(batch, 2) for augment in (False, True)
    )
    wanted = torch.where(
        batch["mask"] > 0, batch["video"][:, 0], torch.tensor(EMPTY)
    ).repeat_interleave(2, 0)
    assert torch.equal(plain.foreground, wanted) and torch.equal(
        plain.mask, batch["mask"].repeat_interleave(2, 0)
    )
    assert not torch.equal(changed.foreground[0], changed.foreground[1])
    assert changed.foreground.min() >= -1 and changed.foreground.max() <= 1
    share = changed.mask.mean((1, 2, 3)) / batch["mask"].mean()
    assert ((share > 0.5) & (share < 1.7)).all()


def test_augmentation_goes_as_far_one_way_as_the_other():
    """A bar left of the middle is mirrored in half of 400 pictures, and scaled by 0.75 to 1.25 of
    its sides; it turns and moves both ways alike."""
    x = torch.zeros(400, 1, 64, 64)
    x[:, :, 24:40, 20:28] = 1
    random.reseed(0)
    y = nets.augmented(x, colour=False)[:, 0]
    row, column = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    area = y.sum((1, 2))
    down, right = ((y * place).sum((1, 2)) / area - 32 for place in (row, column))
    assert 0.53 < float(area.min()) / 128 < 0.63 and 1.47 < float(area.max()) / 128 < 1.6
    assert float((area < 128).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float((right > 0).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert (
        float((down > 0).float().mean()) == pytest.approx(0.5, abs=0.08)
        and float(down.abs().max()) < 4
    )


def test_augmentation_by_hand(monkeypatch):
    """Neither turned nor moved nor scaled, the first as it was, the second mirrored; 24 % brighter
    above black, then 18 % less contrast; black stays black. Shrunk, black comes in from outside."""
    x = torch.tensor(
        [[-1.0, -0.9, -0.5, 0.0], [0.3, 0.8, 1.0, -1.0], [-1, -1, 0.1, 0.2], [0.9, -0.2, 0.4, -1]]
    ).expand(2, 3, 4, 4)
    numbers = torch.tensor([[1, 0.5, 0.5, 0.5, 0.9, 0.2], [0, 0.5, 0.5, 0.5, 0.9, 0.2]])
    monkeypatch.setattr(nets, "uniform", lambda like, *shape: numbers)
    assert torch.allclose(nets.augmented(x, False), torch.stack([x[0], x[1].flip(2)]), atol=1e-6)
    wanted = torch.where(x > -1, (((x + 1) * 1.24 - 1) * 0.82).clamp(-1, 1), torch.tensor(-1.0))
    assert torch.allclose(
        nets.augmented(x, True), torch.stack([wanted[0], wanted[1].flip(2)]), atol=1e-6
    )
    numbers[:, 3] = 0  # to 0.75 of the sides
    lit = torch.ones(2, 3, 16, 16)
    for colour, outside in (False, 0), (True, -1):
        y = nets.augmented(lit, colour)
        assert (
            (y[:, :, [0, -1]] == outside).all()
            and (y[..., [0, -1]] == outside).all()
            and (y[:, :, 3:13, 3:13] > 0).all()
        )


def test_fake_patches_where_the_object_was():
    batch = clips()
    model = small_model(batch, fakes="object", patches=200)
    touched = int(places(batch["mask"], model.patch, model.stride).sum())
    assert len(model.made(painted(model, batch), batch).patches) == 2 * min(touched, 400)


def experiments() -> list[tuple[str, Hyper]]:
    """The notes' experiments as the config has them,
    each as published and without the defects, with small nets."""
    raw = tomllib.loads(config.find("foregan_davis").read_text())["experiment"]
    fixed = raw.pop("fixed")
    assert list(raw) == ["1", "2", "3", "4", "5", "6"]
    both = [(n, table) for n, table in raw.items()] + [
        (f"{n},fixed", config.merge(table, fixed)) for n, table in raw.items()
    ]
    small = {name: value for name, value in SMALL.items() if not name.startswith("rate")}
    hypers = [(name, msgspec.convert(table["hyper"] | small, Hyper)) for name, table in both]
    return [(name, idle.settled(hyper, foregan.idle(hyper))) for name, hyper in hypers]


@pytest.mark.parametrize(("name", "hyper"), experiments())
def test_experiments(name, hyper):
    """Each trains; the defects are on as published, off where fixed;
    what tells them apart is as in the notes."""
    on = Defects(
        sign=True,
        off_by_one=True,
        flow_bytes=True,
        flow_at_destination=True,
        penalty=True,
        penalty_of_sum=True,
    )
    assert hyper.defects == (Defects() if "fixed" in name else on)
    assert hyper.compositing == ("over" if "fixed" in name else "additive")
    number = int(name[0])
    assert hyper.mix == ("sum" if number < 3 else "keep")
    assert hyper.mask_head == (
        "attention" if number < 4 else "foreground" if number == 4 else "features"
    )
    assert hyper.temporal == ("shared" if number == 6 else "reductor") and hyper.flow_b == (
        number < 5
    )
    assert hyper.hole == ("black" if number < 5 else "noise")
    batch = clips(T=4)
    random.reseed(0)
    model = ForeGAN(hyper, batch)
    assert all(value.isfinite() for k in range(2) for value in model.step(batch, k).values())


def test_it_learns_a_clip():
    """On one clip whose object moves, L1 alone brings composites nearer
    to the truth than the first frame is."""
    batch = jumping()
    batch["video"] = torch.where(batch["video"] > -1, batch["video"], torch.tensor(0.3))
    model = small_model(
        batch,
        width=6,
        lambda_Gf=0.0,
        lambda_Gb=0.0,
        lambda_Df=0.0,
        lambda_Db=0.0,
        rate_G=5e-3,
        hole="replicate",
    )
    for k in range(60):
        random.reseed(k)
        model.step(batch, k)
    told_ = model.health(batch, {}, batch)
    assert told_["psnr"] > told_["psnr_copy"] + 1


def test_health_of_longer_clips():
    model = small_model()
    told_ = model.health(clips(), {}, clips(T=6))
    assert {
        "psnr",
        "psnr_copy",
        "psnr_beyond",
        "psnr_copy_beyond",
        "mask_area",
        "A_low",
        "A_high",
    } == told_.keys()
    assert "psnr_beyond" not in model.health(clips(), {}, clips())


# --- metrics of layers ---


def grey(*values: list[list[float]]) -> Tensor:
    """Frames (T, 3, H, W) of these grey values."""
    return torch.tensor(values)[:, None].repeat(1, 3, 1, 1)


TRUE = torch.tensor([[[True, True], [False, False]]])
FRAME = grey([[0.5, 0.1], [-0.2, 0.0]])
FOREGROUND = grey([[0.7, 0.1], [-0.8, -1.0]])


def test_metrics_by_hand():
    assert measured.fg_in(FOREGROUND, FRAME, TRUE).item() == pytest.approx(0.2 / 2 / 2)
    assert measured.fg_bias(FOREGROUND, FRAME, TRUE).item() == pytest.approx(0.2 / 2 / 2)
    assert measured.fg_bias(-FOREGROUND, -FRAME, TRUE).item() == pytest.approx(-0.2 / 2 / 2)
    assert measured.fg_out(FOREGROUND, TRUE, -1.0).item() == pytest.approx(0.2 / 2 / 2)
    assert measured.silhouette(FOREGROUND, -1.0).tolist() == [[[True, True], [False, False]]]
    assert measured.silhouette(FOREGROUND, 0.0).tolist() == [[[True, False], [True, True]]]
    assert measured.recon(FOREGROUND, FRAME).item() == pytest.approx(
        10 * math.log10(4 / ((0.04 + 0 + 0.36 + 1) / 4)), abs=1e-4
    )


def test_background_metrics_by_hand():
    plate, background = grey([[0.0, 0.0], [1.0, 1.0]]), grey([[0.4, 0.0], [0.0, 0.0]])
    assert measured.bg_hole(background, plate, TRUE).item() == pytest.approx(
        10 * math.log10(4 / 0.08), abs=1e-4
    )
    assert measured.bg_hole(plate, plate, TRUE).item() == 100
    assert measured.bg_leak(background, FRAME, plate, TRUE).item() == 0.5
    assert measured.bg_hole(background, plate, ~TRUE & TRUE).isnan().all()


def test_ranks_and_what_attention_keeps():
    assert measured.ranks(torch.tensor([3.0, 1.0, 3.0, 9.0])).tolist() == [2.5, 1.0, 2.5, 4.0]
    error = torch.tensor([[0.1, 0.4], [0.2, 0.9]])
    warped = FRAME + error
    best = 1 - error[None, None] ** 2
    assert measured.A_keep(best, warped, FRAME).item() == pytest.approx(1)
    assert measured.A_keep(1 - best, warped, FRAME).item() == pytest.approx(-1)
    from scipy.stats import spearmanr

    dice = torch.Generator().manual_seed(0)
    A, frame, other = (
        torch.rand(1, 1, 6, 7, generator=dice).round(decimals=1),
        *torch.rand(2, 1, 3, 6, 7, generator=dice),
    )
    wanted = spearmanr(A.flatten(), -(other - frame).abs().mean(1).flatten()).statistic
    assert measured.A_keep(A, other, frame).item() == pytest.approx(wanted, abs=1e-6)


def test_foreground_motion():
    """A textured square that moves 3 pixels to the right:
    the error of the true flow is small, of standing still 3."""
    dice = torch.Generator().manual_seed(0)
    texture = (
        F.interpolate(torch.rand(1, 3, 6, 6, generator=dice), (24, 24), mode="bicubic")[0].clamp(
            0, 1
        )
        * 2
        - 1
    )
    frames, true, forward = (
        torch.full((2, 3, 48, 64), -1.0),
        torch.zeros(2, 48, 64, dtype=torch.bool),
        torch.zeros(1, 2, 48, 64),
    )
    for t in range(2):
        frames[t, :, 12:36, 16 + 3 * t : 40 + 3 * t] = texture
        true[t, 12:36, 16 + 3 * t : 40 + 3 * t] = True
    forward[:, 0] = 3
    assert measured.fg_motion(frames, forward, true).item() < 0.5
    assert measured.fg_motion(frames[:1].repeat(2, 1, 1, 1), forward, true).item() == pytest.approx(
        3, abs=0.1
    )


def test_all_measures():
    """Perfect layers; and what is not given is not told."""
    video, true = jumping()["video"][0], jumping()["video"][0, :, 0] > -0.9
    shape, ground = true[:, None].float(), torch.full_like(video, 0.2)
    frames = torch.where(true[:, None], video, ground)
    made = {
        "composite": frames,
        "foreground": video,
        "background": ground,
        "mask": shape,
        "attention": shape,
        "warped": video,
    }
    found = measured.measures(made, frames, true, plate=ground)
    perfect = {
        "recon": 100,
        "fg_in": 0,
        "fg_out": 0,
        "fg_bias": 0,
        "sil_J": 1,
        "mask_J": 1,
        "A_J": 1,
        "A_J_inverse": 0,
    }
    assert found == pytest.approx(perfect | {"bg_hole": 100, "bg_leak": 0, "A_keep": 1}, abs=1e-6)
    inverse = measured.measures(made | {"attention": 1 - shape}, frames, true)
    assert (inverse["A_J"], inverse["A_J_inverse"]) == (0, 1), "a matte the wrong way round"
    assert "bg_hole" not in measured.measures(made, frames, true)
    assert "fg_motion" in measured.measures(made, frames, true, forward=jumping()["forward"][0])
    with pytest.raises(
        measured.Mistake,
        match=r"true masks \(4, 1, 16, 32\) torch.bool; allowed: \(4, 16, 32\) torch.bool",
    ):
        measured.measures(made, frames, true[:, None])


def test_what_a_step_tells_of_mattes_are_means(monkeypatch):
    """One after another, of all pictures and steps."""
    batch, model = clips(), small_model()
    made = model.unroll(batch)
    monkeypatch.setattr(model, "unroll", lambda batch: made)
    told = model.step(batch, 0)
    wanted = {"A": made.attention, "A_b": made.attention_b, "m": made.mask}
    for name, values in wanted.items():
        assert told[name].item() == pytest.approx(
            sum(values.flatten().tolist()) / values.numel(), rel=1e-4
        )


def test_telea_looks_three_pixels_far():
    """As OpenCV inpaints these bytes with that radius, and not as with the next ones."""
    import cv2

    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    hole = np.zeros((24, 24), np.uint8)
    hole[8:16, 8:16] = 1
    frames = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    found = (
        ((filled(frames, torch.from_numpy(hole)[None, None].float(), "telea")[0] + 1) * 127.5)
        .round()
        .byte()
    )
    wanted = [
        torch.from_numpy(cv2.inpaint(pixels, hole, r, cv2.INPAINT_TELEA)).permute(2, 0, 1)
        for r in (2, 3, 4)
    ]
    assert [torch.equal(found, one) for one in wanted] == [False, True, False]


def test_critics_lose_what_fakes_score_over_reals(monkeypatch):
    """Reals of 2 and fakes of 5 for one critic, of 7 and 3 for the other:
    3 and -4, weighed and times the steps."""
    model = small_model(lambda_Df=0.5, lambda_Db=2.0, lambda_Df_gp=0.0, lambda_Db_gp=0.0)
    values = {"Df": (2.0, 5.0), "Db": (7.0, 3.0)}
    games = {
        name: (lambda x: 1 * x, *(torch.full((2, 1, 2, 2), v) for v in pair))
        for name, pair in values.items()
    }
    monkeypatch.setattr(model, "adversaries", lambda real, fake: games)
    monkeypatch.setattr(foregan, "descend", lambda *moves, clip=0.0: None)
    nothing = foregan.Shown(*(torch.zeros(1),) * 3)
    told = model.play_D(nothing, nothing, 0, 3)
    assert (float(told["Df"]), float(told["Db"]), float(told["loss_D"])) == (
        3,
        -4,
        3 * (0.5 * 3 - 2 * 4),
    )


def test_patches_that_never_lie_beside_the_object_are_refused():
    """The background critic would have no reals, and its game no loss."""
    with pytest.raises(Mistake, match=r"hyper.patch = \[0.9, 0.9\]: no such patch .* is free"):
        small_model(patch=(0.9, 0.9)).check(clips())
    small_model(patch=(0.9, 0.9), lambda_Db=0.0).check(clips())
    small_model().check(clips())

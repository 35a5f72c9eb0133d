"""ForeGAN: a clip and its first mask become layers, frame by frame. Foreground, mask and clean
background are painted forward.

Two generators paint the next foreground and the next background from those before; a mask lays one
over the other; the sum over pixels is held against the true next frame. One critic compares
foregrounds with the first frame under its mask, another one patches of backgrounds with patches of
the first frame that do not touch the object. No mask but the first is ever seen. The notes'
experiments 1 to 6 are hyperparameters, and so are the defects of the code behind them, each one a
switch. The nets are in `nets.py`, the rules and losses in `rules.py`.

Shapes: video (B, T, 3, H, W) in [-1, 1], mask (B, 1, H, W) 0 or 1, flows (B, T-1, 2, H, W) in
pixels; of what is painted, the second axis is the S = T-1 steps.

Reference: the notes and public code of VOS-ForeGAN. WGAN-GP: arXiv 1704.00028. GANimation: arXiv
1807.09251.
How to run: simulacra train foregan_davis, and --set experiment=3 as published,
--set experiment=3,fixed without the defects.

Deviations
- Both generators share one Adam and both critics another one: what four with the same rate do.
- Clips are painted once a step, and both games are played on the same pictures; the source paints
  them twice.
- Losses are means over the steps of time (`over_time`: the source sums them).
- Networks have our widths at the laptop preset, and the critics as many halvings as leave 3x7 of a
  patch.
- The foreground is moved by the backward flow, and what the two flows do not agree on is left out,
  against ghosts.
- Patches are drawn without repetition, of generated backgrounds too, and fewer where fewer are
  free.
- Motion is measured in shares of the frame's width, so that frames of any size are told the same;
  the first hole's noise is uniform, since the source's bytes of normal noise wrap around.
- Attention is regularised as in GANimation only where a weight asks for it; the source dropped it.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple

import torch
from msgspec import Meta, Struct
from torch import Tensor, nn

from simulacra.core import distributed, optim
from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.idle import ever, refuse, unless
from simulacra.core.optim import descend
from simulacra.core.random import uniform
from simulacra.core.schedules import Schedule, value_at
from simulacra.models.foregan.nets import (
    EMPTY,
    Critic,
    Generator,
    augmented,
    cut,
    filled,
    flow_as_input,
    initial,
    moved,
    places,
    sample_places,
)
from simulacra.models.foregan.rules import (
    between,
    composed,
    flows,
    gated,
    mean,
    mixed,
    penalty,
    total_variation,
)
from simulacra.nn import maths

Size = Annotated[int, Meta(ge=1)]
Sizes = Annotated[tuple[Size, ...], Meta(min_length=1)]
Share = Annotated[float, Meta(gt=0, le=1)]
Temporal = Literal["none", "reductor", "shared", "convlstm"]
SHOWN = 6  # clips on a sheet


class Defects(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the public code does wrong; all off.
    Its compositing, gate and sum over time are hyperparameters."""

    # B1: generators are told to make critics' scores of fakes fall, as critics do
    sign: bool = False
    # B2: where the mask critic's score belongs in the generators' loss, the foreground's stands
    mask_score: bool = False
    off_by_one: bool = False  # B5: the step from t to t+1 gets the flow of the step after it
    flow_bytes: bool = False  # B6: flows are told as bytes that wrap around
    flow_at_destination: bool = False  # B7: the forward flow is read where it ends
    # B8: penalties have weight 1, in a second step that repeats the critics' gradient
    penalty: bool = False
    # B15: the slope of the score map's sum is held at 1, where losses take its mean
    penalty_of_sum: bool = False
    # B10: critics' turns are counted within epochs of so many steps, in fewer of which than
    # critic_steps generators never play; 0: over all
    epoch: Annotated[int, Meta(ge=0)] = 0


class Hyper(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hyperparameters; the defaults are the notes' experiment 6 with its defects repaired."""

    # the next foreground: experiments 1-2 | as meant | 3-6 | later
    mix: Literal["sum", "sum_fixed", "keep", "prev"] = "keep"
    # what the mask is read from: 1-3 | 4 | 5 and later
    mask_head: Literal["attention", "foreground", "features"] = "features"
    # k of sigmoid(k x), the mask's steepness (100 to 2 in the source)
    gain: Annotated[float, Meta(gt=0)] = 4.0
    temporal: Temporal = "shared"  # Gf's path through time: reductor in 1-5 | shared in 6
    temporal_b: Temporal = "shared"  # Gb's
    flow_b: bool = False  # Gb is told the flow: experiments 1-4
    previous_mask: bool = False  # Gf is told the mask before: the later Dmask-prop
    # (1-m) Ibg + Ifg, defect B3 | (1-m) Ibg + m Ifg
    compositing: Literal["additive", "over"] = "over"
    # of what is handed on: the source's no-op B4 | m Ifg | black outside
    gate: Literal["none", "grey", "black"] = "none"
    # the first background's: black in 1-4 | noise from 5 on
    hole: Literal["black", "noise", "replicate", "telea"] = "noise"
    defects: Defects = Defects()  # of the public code
    # first foregrounds and masks are mirrored, turned, scaled, recoloured for Df: the last version
    augment: bool = False
    # gradients pass at most so many steps of time back; 0: all
    detach: Annotated[int, Meta(ge=0)] = 0
    # farthest motion that networks are told, as a share of the frame's width
    reach: Share = 20 / 854
    patches: Size = 12  # N, patches of a frame for Db (10 to 40)
    # a patch's height and width, as shares of the frame's
    patch: tuple[Share, Share] = (60 / 224, 112 / 416)
    # of the grid of patches, as shares of the patch's sides
    stride: tuple[Share, Share] = (1 / 20, 1 / 37)
    # where generated patches are cut | where they touch the first mask
    fakes: Literal["anywhere", "object"] = "anywhere"
    # how losses of the steps of time are joined; sum in the source
    over_time: Literal["mean", "sum"] = "mean"
    critic_steps: Size = 5  # n: generators play in every n-th step (1 in 1-4, 4 in 5, 5 in 6)
    lambda_rec: Schedule = 1.0  # weight of L1
    lambda_Df: Schedule = 1.0  # of the foreground critic's own game
    lambda_Df_gp: Schedule = 10.0  # of its gradient penalty
    # of its score in the generators' loss; 1 in the source, for slopes held at 1 / 240
    lambda_Gf: Schedule = 0.01
    lambda_Db: Schedule = 1.0  # the same for the background critic
    lambda_Db_gp: Schedule = 10.0  # and its penalty
    lambda_Gb: Schedule = 0.02  # and its score (1)
    lambda_Dm: Schedule = 0.0  # the same for the mask critic, Df's second end; 0: there is none
    lambda_Dm_gp: Schedule = 0.0  # and its penalty
    lambda_Gm: Schedule = 0.0  # and its score
    lambda_A: Schedule = 0.0  # of the mean attention, of both generators (GANimation: 0.1)
    lambda_TV: Schedule = 0.0  # of its total variation, a sum over pixels (GANimation: 1e-5)
    width: Size = 64  # channels of the generators at full size (5.1)
    blocks: Size = 6  # their residual blocks
    widths_D: Sizes = (64, 128, 256, 512)  # channels of the critics' halvings (5.6)
    tail_D: tuple[Size, Size] = (1024, 2048)  # and after them
    rate_G: Schedule = 1e-4  # Adam's learning rate
    rate_D: Schedule = 1e-4  # the critics'
    beta1: Annotated[float, Meta(ge=0, le=1)] = 0.5  # Adam
    beta2: Annotated[float, Meta(ge=0, le=1)] = 0.999  # Adam


def idle(h: Hyper) -> dict[str, str]:
    """Hyperparameters that change nothing beside the others, each with what it needs."""
    told = "lambda_Dm above 0, without which there is no mask critic"
    return (
        unless(h.mask_head != "attention", "mask_head = foreground or features", "gain")
        | unless(ever(h.lambda_Dm), told, "lambda_Dm_gp", "lambda_Gm", "defects.mask_score")
        | unless(
            not h.defects.penalty,
            "defects.penalty = false",
            "lambda_Df_gp",
            "lambda_Db_gp",
            "lambda_Dm_gp",
        )
        | unless(h.critic_steps > 1, "critic_steps above 1", "defects.epoch")
    )


class Layers(NamedTuple):
    """What is painted for frames 1 to S: (B, S, C, H, W) each."""

    composite: Tensor  # C = 3, the frame
    foreground: Tensor  # 3
    background: Tensor  # 3
    mask: Tensor  # 1, in [0, 1]
    attention: Tensor  # 1, in [0, 1]: A of Gf
    attention_b: Tensor  # 1, in [0, 1]: A of Gb
    warped: Tensor  # 3, the first foreground moved along the flow: Iw


class Shown(NamedTuple):
    """What critics look at, real or painted."""

    foreground: Tensor  # (n, 3, H, W)
    mask: Tensor  # (n, 1, H, W)
    patches: Tensor  # (p, 3, h, w)


# --- the model ------------------------------------------------------------------------------------


class ForeGAN:
    """Generators and critics of foreground and background, for clips "video" with their first
    "mask"."""

    def __init__(self, hyper: Hyper, like: Batch):
        h = self.hyper = hyper
        refuse(h, idle(h))
        if "video" not in like or "mask" not in like:
            raise ValueError("model foregan takes clips with a first mask, and the data hold none")
        _, T, _, H, W = like["video"].shape
        if T < 2:
            raise ValueError("model foregan takes clips of at least 2 frames, found 1")
        self.steps = T - 1
        self.patch = max(1, round(h.patch[0] * H)), max(1, round(h.patch[1] * W))
        down, right = (round(h.stride[i] * self.patch[i]) for i in (0, 1))
        self.stride = max(1, down), max(1, right)
        self.Gf = initial(Generator(h, 5 + h.previous_mask, h.temporal, self.steps, h.mask_head))
        self.Gb = initial(Generator(h, 3 + 2 * h.flow_b, h.temporal_b, self.steps))
        self.Df = initial(Critic(h.widths_D, h.tail_D, self.patch, masks=h.lambda_Dm != 0))
        self.Db = initial(Critic(h.widths_D, h.tail_D, self.patch))
        self.opt_G = optim.adam(nn.ModuleList([self.Gf, self.Gb]), h.rate_G, h.beta1, h.beta2)
        self.opt_D = optim.adam(nn.ModuleList([self.Df, self.Db]), h.rate_D, h.beta1, h.beta2)

    def check(self, batch: Batch) -> None:
        """A Mistake if no clip of the batch has a patch beside its object, which is all that the
        background critic could take for real."""
        if ever(self.hyper.lambda_Db) and bool(
            places(batch["mask"], self.patch, self.stride).all()
        ):
            raise Mistake(
                f"hyper.patch = {list(self.hyper.patch)}: no such patch of the first frame is free "
                "of the object; allowed: shares of the frame that fit beside it"
            )

    # --- painting ---

    def first(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Foreground, background and mask of frame 0, where the recurrences begin."""
        frame, m = batch["video"][:, 0], batch["mask"]
        return torch.where(m > 0.5, frame, EMPTY), filled(frame, m, self.hyper.hole), m

    def span(self, batch: Batch) -> int:
        """How many steps of the batch's clips can be painted:
        all, unless heads of their own are trained for each."""
        own = "reductor" in (self.hyper.temporal, self.hyper.temporal_b)
        return min(batch["video"].shape[1] - 1, self.steps) if own else batch["video"].shape[1] - 1

    def unroll(self, batch: Batch) -> Layers:
        """Paint frame after frame, each from what was painted before it."""
        h, defects = self.hyper, self.hyper.defects
        forward, backward = flows(batch)
        fg, bg, m = self.first(batch)
        memory_f: Tensor | None = None
        memory_b: Tensor | None = None
        warped, made = fg, []
        for t in range(self.span(batch)):
            if h.detach and t and t % h.detach == 0:
                fg, bg, m = (x.detach() for x in (fg, bg, m))
                memory_f, memory_b = (x if x is None else x.detach() for x in (memory_f, memory_b))
            i = min(t + defects.off_by_one, forward.shape[1] - 1)
            seen = flow_as_input(forward[:, i], h.reach, defects.flow_bytes)
            warped = moved(warped, forward[:, i], backward[:, i], defects.flow_at_destination)
            told_f = torch.cat([fg, seen, m] if h.previous_mask else [fg, seen], 1)
            told_b = torch.cat([bg, seen], 1) if h.flow_b else bg
            features, C, A, memory_f = self.Gf(told_f, memory_f, t)
            whole = mixed(h.mix, A, C, warped, fg)
            m = self.Gf.matte(features, whole, A, h.gain)
            _, C_b, A_b, memory_b = self.Gb(told_b, memory_b, t)
            fg, bg = gated(h.gate, whole, m), A_b * bg + (1 - A_b) * C_b
            composite = composed(h.compositing, whole if h.compositing == "over" else fg, bg, m)
            made.append(Layers(composite, fg, bg, m, A, A_b, warped))
        return Layers(*(torch.stack(one, 1) for one in zip(*made, strict=True)))

    # --- what critics see ---

    def reals(self, batch: Batch, steps: int) -> Shown:
        """The first foreground and mask, and patches of the first frame
        that do not touch the object, for each step of time."""
        frame, m = (x.repeat_interleave(steps, 0) for x in (batch["video"][:, 0], batch["mask"]))
        allowed = ~places(m, self.patch, self.stride)
        fg = torch.where(m > 0.5, frame, EMPTY)
        fg, shape = (augmented(fg, True), augmented(m, False)) if self.hyper.augment else (fg, m)
        return Shown(fg, shape, self.patches(frame, allowed))

    def made(self, layers: Layers, batch: Batch) -> Shown:
        """The same of what was painted; patches from anywhere,
        or from where they touch the first mask."""
        first = batch["mask"].repeat_interleave(layers.mask.shape[1], 0)
        touched = places(first, self.patch, self.stride)
        allowed = touched if self.hyper.fakes == "object" else torch.ones_like(touched)
        painted = (layers.foreground, layers.mask, layers.background)
        foreground, mask, background = (x.flatten(0, 1) for x in painted)
        return Shown(foreground, mask, self.patches(background, allowed))

    def patches(self, frames: Tensor, allowed: Tensor) -> Tensor:
        """At most N patches of each frame (M, 3, H, W), from allowed places (M, places)."""
        row, place = sample_places(allowed, uniform(frames, allowed.shape[1]), self.hyper.patches)
        return cut(frames, row, place, self.patch, self.stride)

    # --- the games ---

    def adversaries(
        self, real: Shown, fake: Shown
    ) -> dict[str, tuple[Callable[[Tensor], Tensor], Tensor, Tensor]]:
        """Each critic's score, and the real and painted pictures that it tells apart."""
        found: dict[str, tuple[Callable[[Tensor], Tensor], Tensor, Tensor]] = {}
        found["Df"] = self.Df, real.foreground, fake.foreground
        found["Db"] = self.Db, real.patches, fake.patches
        if self.Df.end_of_masks is not None:
            found["Dm"] = self.Df.of_masks, real.mask, fake.mask
        return found

    def weighted(self, values: Mapping[str, Tensor], k: int, suffix: str = "") -> Tensor:
        """The sum of lambda_NAME times each value."""
        weights = {name: getattr(self.hyper, f"lambda_{name}{suffix}") for name in values}
        each = [value_at(weights[name], k) * value for name, value in values.items()]
        return torch.stack(each).sum()

    def play_D(self, real: Shown, fake: Shown, k: int, count: int) -> dict[str, Tensor]:
        """The critics move: mean D(fake) - mean D(real) and its penalty for each of them,
        in one gradient."""
        games = self.adversaries(real, Shown(*(x.detach() for x in fake)))
        defects = self.hyper.defects

        def penalties() -> dict[str, Tensor]:
            lines = {name: (D, between(x, y)) for name, (D, x, y) in games.items()}
            of_sum = defects.penalty_of_sum
            return {name: penalty(D(x), x, of_sum) for name, (D, x) in lines.items()}

        gaps = {name: mean(D(y)) - mean(D(x)) for name, (D, x, y) in games.items()}
        loss = count * self.weighted(gaps, k)
        if defects.penalty:
            weights = optim.weights(self.opt_D)
            felt = torch.autograd.grad(loss, weights, retain_graph=True)
            descend((loss, self.opt_D))
            bent = penalties()
            again = [(g * w).sum() for g, w in zip(felt, weights, strict=True)]
            both = torch.stack(again).sum() + count * torch.stack([*bent.values()]).sum()
            descend((both, self.opt_D))
        else:
            bent = penalties()
            descend((loss + count * self.weighted(bent, k, "_gp"), self.opt_D))
        return {"loss_D": loss} | gaps | {f"{name}_gp": value for name, value in bent.items()}

    def loss_G(
        self, made: Layers, fake: Shown, batch: Batch, k: int, count: int
    ) -> dict[str, Tensor]:
        """The generators' loss: L1, what critics say of what was painted,
        and what attention costs."""
        L1 = (made.composite - batch["video"][:, 1 : 1 + made.composite.shape[1]]).abs().mean()
        scores = {"Gf": mean(self.Df(fake.foreground)), "Gb": mean(self.Db(fake.patches))}
        if self.Df.end_of_masks is not None:
            own = not self.hyper.defects.mask_score
            scores["Gm"] = mean(self.Df.of_masks(fake.mask)) if own else scores["Gf"]
        both = torch.cat([made.attention, made.attention_b], 2)
        costs = {"rec": L1, "A": both.mean(), "TV": total_variation(both)}
        sign = 1 if self.hyper.defects.sign else -1
        loss = count * (self.weighted(costs, k) + sign * self.weighted(scores, k))
        return {"loss_G": loss, "L1": L1} | scores

    def generators_play(self, k: int) -> bool:
        """Whether step k is one of every n-th:
        the steps are counted over all epochs, or within each by defect B10."""
        epoch = self.hyper.defects.epoch
        return ((k % epoch if epoch else k) + 1) % self.hyper.critic_steps == 0

    def rates(self) -> dict[str, Schedule]:
        """Learning rates, set before every step."""
        return {"opt_G": self.hyper.rate_G, "opt_D": self.hyper.rate_D}

    def step(self, batch: Batch, k: int) -> dict[str, Tensor]:
        """One move of the critics, and of the generators where it is their turn; losses, scores and
        the means of attention and mask as scalars."""
        h, turn, steps = self.hyper, self.generators_play(k), self.span(batch)
        count = steps if h.over_time == "sum" else 1
        with torch.set_grad_enabled(turn):
            made = self.unroll(batch)
            fake = self.made(made, batch)
        scalars = self.play_D(self.reals(batch, steps), fake, k, count)
        with torch.set_grad_enabled(turn):
            losses = self.loss_G(made, fake, batch, k, count)
        if turn:
            descend((losses["loss_G"], self.opt_G))
        means = {"A": made.attention, "A_b": made.attention_b, "m": made.mask}
        return scalars | losses | {name: value.mean() for name, value in means.items()}

    # --- looking ---

    @torch.no_grad()
    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> dict[str, Tensor]:
        """Of held-out clips: PSNR (dB) of painted frames, of those beyond the steps that are
        trained, and of frame 0 in their place; the mask's area over the first one's; shares of the
        foreground's attention at either end, where it collapses."""
        made = self.unroll(held_out)
        true = held_out["video"][:, 1 : 1 + made.composite.shape[1]]
        still = held_out["video"][:, :1].expand_as(true)
        psnr, copy = maths.psnr(made.composite, true), maths.psnr(still, true)
        found = {"psnr": psnr[:, : self.steps].mean(), "psnr_copy": copy[:, : self.steps].mean()}
        if psnr.shape[1] > self.steps:
            found |= {
                "psnr_beyond": psnr[:, self.steps :].mean(),
                "psnr_copy_beyond": copy[:, self.steps :].mean(),
            }
        area, first = (distributed.all_mean(m.mean()) for m in (made.mask, held_out["mask"]))
        area = area / first.clamp_min(1e-6)
        ends = {
            "A_low": (made.attention < 0.1).float().mean(),
            "A_high": (made.attention > 0.9).float().mean(),
        }
        return found | {"mask_area": area} | ends

    @torch.no_grad()
    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """`samples`: the last frame painted. `layers`: rows of the true frame, the composite,
        foreground, mask, attention and background, and the first foreground warped, over time."""
        made = self.unroll(batch)
        true = batch["video"][:, 1 : 1 + made.composite.shape[1]]
        maps = ((x * 2 - 1).expand_as(true) for x in (made.mask, made.attention))
        columns = torch.stack(
            [true, made.composite, made.foreground, *maps, made.background, made.warped], 1
        )
        return {
            "samples": made.composite[:, -1].clamp(-1, 1),
            "layers": columns[:SHOWN].clamp(-1, 1),
        }


Model = ForeGAN

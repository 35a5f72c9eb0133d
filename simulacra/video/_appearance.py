"""What one object looks like, learned from the frames whose masks were given: a small net (`_net`)
that corrects a rough mask of a new frame, trained on as many examples as needed (`_examples`)."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core.random import fold, generator, reseed
from simulacra.nn.blocks import channels_last
from simulacra.video import _cache, _windows
from simulacra.video._examples import Source, example, source
from simulacra.video._net import Net
from simulacra.video._windows import Window, bilinear, places

AREA = 30_000  # pixels of a window, as the net sees it
NETS = 3  # states of the net whose answers are averaged
STEPS = 150  # of training between them, with pretrained features
BLIND = 2  # times as many without
TUNED = 2  # the same of the net that has learned the clip, too, in half as many steps each
CHANCE = "chance"  # the state of the generator of examples, beside a net's weights
# greatest rate of learning, reached after WARM steps; falls to a tenth along half a cosine
RATE, RATE_TUNED = 2e-3, 1e-3
WARM = 20
OVERLAP = 0.3  # weight of the Dice loss beside cross entropy
SURE = 10.0  # logit of the surroundings outside the window, negative


class Shown(NamedTuple):
    """A frame whose mask is known, or believed."""

    frame: Tensor  # (1, 3, H, W) in [-1, 1]
    mask: Tensor  # (1, 1, H, W), 0 to 1, not empty
    clues: Tensor | None  # (1, CLUES, H, W)


class Kept(NamedTuple):
    """Where a stopped training leaves each net that is whole: NAME_1, NAME_2 ... beside `path`."""

    path: Path
    of: str  # the fingerprint of all that the nets depend on

    def named(self, name: str) -> "Kept":
        """The place of another training of the same work."""
        return self._replace(path=self.path.with_name(f"{self.path.stem}_{name}{self.path.suffix}"))

    def file(self, n: int) -> Path:
        """That of net n, from 1."""
        return self.path.with_name(f"{self.path.stem}_{n}{self.path.suffix}")

    def restored(self, net: Net, chance: torch.Generator, most: int) -> list[Net]:
        """The nets that were left, the first ones without a gap; the net and the generator of
        examples then are as they were after the last."""
        shapes = {name: tuple(value.shape) for name, value in self._state(net, chance).items()}
        nets: list[Net] = []
        while len(nets) < most:
            found, why = _cache.fault(self.file(len(nets) + 1), self.of, shapes)
            if why:
                break
            chance.set_state(found.pop(CHANCE))
            net.load_state_dict(found)
            nets.append(deepcopy(net).requires_grad_(False))
        return nets

    def keep(self, n: int, net: Net, chance: torch.Generator) -> None:
        """Leave net n."""
        _cache.keep(self.file(n), self._state(net, chance), self.of)

    @staticmethod
    def _state(net: Net, chance: torch.Generator) -> dict[str, Tensor]:
        return {**net.state_dict(), CHANCE: chance.get_state()}


class Looks(NamedTuple):
    """What an object looks like: the mean answer of one net at the ends of some cycles of its rate
    of learning (Huang et al., arXiv 1704.00109), because where the surroundings are new each errs
    in its own way."""

    nets: list[Net]

    @torch.no_grad()
    def logits(self, frame: Tensor, told: Tensor, window: Window) -> Tensor:
        """Logits (1, 1, H, W) of the object in a window of a frame (1, 3, H, W), with what is told
        (1, TOLD, H, W); elsewhere -SURE."""
        top, left, bottom, right = window[:4]
        where = places(window)
        seen, heard = bilinear(frame, where), bilinear(told, where)
        answer = torch.stack([net(seen, heard) for net in self.nets]).mean(0)
        logits = torch.full_like(told[:, :1], -SURE)
        logits[..., top:bottom, left:right] = F.interpolate(
            answer, (bottom - top, right - left), mode="bilinear", antialias=True
        )
        return logits


def window(mask: Tensor, size: float = 0.0) -> Window | None:
    """The window around a mask (1, 1, H, W) of an object whose area has the root `size`."""
    return _windows.around(mask, AREA, size)


def loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy + OVERLAP (1 - (2 sum pm + 1) / (sum p + sum m + 1)),
    p the sigmoid of the logits, m the mask."""
    p = logits.sigmoid()
    dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + OVERLAP * dice


def cycle(
    net: Net, of: Sequence[Source], steps: int, rate: float, notify: Callable[[float], None]
) -> None:
    """Train a net on examples, the rate of learning rising and falling once. Which source an
    example is of is drawn, each alike probable."""
    optimizer = torch.optim.AdamW(net.parameters(), rate, betas=(0.9, 0.99), weight_decay=1e-3)
    for k in range(steps):
        optimizer.param_groups[0]["lr"] = (
            rate * min(1, (k + 1) / WARM) * (0.55 + 0.45 * math.cos(math.pi * k / steps))
        )
        drawn = int(torch.randint(len(of), (), generator=of[0].chance)) if len(of) > 1 else 0
        seen, told, mask = example(of[drawn])
        optimizer.zero_grad()
        loss(net(seen, told), mask).backward()
        optimizer.step()
        notify((k + 1) / steps)


def sources(shown: Sequence[Shown], chance: torch.Generator) -> list[Source]:
    """What examples are made of."""
    found = []
    for frame, mask, clues in shown:
        around = window(mask)
        assert around is not None
        found.append(source(frame, mask, clues, places(around), chance))
    return found


@torch.enable_grad()
def learned(
    shown: Sequence[Shown],
    seed: int,
    notify: Callable[[float], None],
    *,
    pretrained: bool = True,  # whether a frozen network trained on ImageNet helps
    before: Looks | None = None,  # goes on from there, in half of the steps at half of the rate
    kept: Kept | None = None,  # goes on with the nets that were left there, to the same bits
) -> Looks:
    """What an object looks like, from frames with its masks; a frame that is there twice counts
    twice. `notify` hears the share that is done."""
    name = "first" if before is None else "clip"
    of = sources(shown, generator(seed, "appearance", "examples", name))
    if before is None:
        with torch.random.fork_rng(devices=[]):
            reseed(fold(seed, "appearance", "weights"))
            net = channels_last(Net(pretrained))
        most, steps, rate = NETS, STEPS if pretrained else BLIND * STEPS, RATE
    else:
        net = deepcopy(before.nets[-1]).requires_grad_(True)
        most, steps, rate = TUNED, max(1, STEPS // 2), RATE_TUNED
    nets = kept.restored(net, of[0].chance, most) if kept else []
    for n in range(len(nets), most):
        cycle(net, of, steps, rate, lambda share, n=n: notify((n + share) / most))  # type: ignore[misc]
        nets.append(deepcopy(net).requires_grad_(False))
        if kept:
            kept.keep(n + 1, net, of[0].chance)
    return Looks(nets)

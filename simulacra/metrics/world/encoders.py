"""Eyes on frames of held-out tracks: what they keep of a picture, at what price, and what a linear
probe reads in their codes.

    held = eyes.Held(racing, 2000)
    found = eyes.look(opened, held)          an eye's run
    bootstrap.estimate(found.measures["psnr"])
    bootstrap.difference(found.measures["psnr"], other.measures["psnr"])      paired over tracks

Principal components, as many as the eye has numbers in z, are the baseline that an eye has to beat
(`Held.components`, `linearly`). Labels of pixels are the nearest of the game's colours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from simulacra.core.load import Opened
from simulacra.core.random import generator
from simulacra.envs.carracing.racing import ZOOM
from simulacra.metrics.futures import motion
from simulacra.metrics.images import extractors
from simulacra.metrics.images.extractors import Extractor
from simulacra.metrics.images.frechet import frechet_distance
from simulacra.metrics.intervals import jackknife
from simulacra.metrics.intervals.jackknife import Grouped
from simulacra.metrics.world import linear, probes
from simulacra.metrics.world.linear import Components
from simulacra.models.world.acting import Eye
from simulacra.models.world.artefacts import eye_of
from simulacra.nn import latent, maths

CHUNK = 100  # frames compared at once
TRAINED = 4000  # training frames from which probes and components are fitted
PALETTE = {  # colours as the game draws them, bytes
    "road": ((104, 104, 104),),  # 102, 105 and 107, from tile to tile
    "grass": ((102, 204, 102), (102, 230, 102)),
    "curb": ((255, 0, 0), (255, 255, 255)),
    "car": ((204, 0, 0),),
    "dark": ((0, 0, 0),),  # wheels, skids, and what lies beyond the field
}
MASKS = "road", "curb", "car"  # whose overlap is measured


@dataclass(frozen=True)
class Look:
    """What is measured of one eye."""

    measures: dict[str, Grouped]  # by track
    values: dict[str, float]  # those without an interval
    told: dict[str, Any]  # the eye and what looked at it


class Held:
    """The first n held-out frames of data set racing,
    and what all eyes are compared with on them."""

    def __init__(
        self, source: Any, n: int, *, trained: int = TRAINED, featured: int = 1000, seed: int = 0
    ) -> None:
        self.source, self.n, self.seed = source, min(n, source.size("held_out")), seed
        self.x: Tensor = source.take("held_out", self.n)["image"]
        self.known = probes.of_frames(source, "held_out", self.n)
        self.zooming = source.whence("held_out", self.n)[1] < ZOOM
        self.trained = min(trained, source.size("train"))
        self.train: Tensor = source.take("train", self.trained)["image"]
        self.known_train = probes.of_frames(source, "train", self.trained)
        self.featured = min(featured, self.n)  # frames of which features are compared; 0: none

    @cached_property
    def extractor(self) -> Extractor:
        """The eyes that judge eyes: those of the data set."""
        return extractors.load(self.source.extractor)

    @cached_property
    def features(self) -> Tensor:
        """Those of the frames as they are, (featured, D)."""
        return self.extractor.features(self.x[: self.featured])

    def components(self, count: int) -> Components:
        """Principal components of the training frames."""
        return linear.components(self.train, count)


def look(opened: Opened, held: Held) -> Look:
    """Everything about one eye: reconstructions from mean codes and from drawn ones (`_drawn`), the
    divergence in nats a picture, probes (R2, `probe_`), and over all tracks the dimensions in use
    and the moments of the codes."""
    seen, device = eye_of(opened), opened.device
    found = looked(seen.eye, held, device)
    mean, s = coded(seen.eye, held.x, device)
    found.measures["KL"] = jackknife.mean(maths.gaussian_kl(mean, s).sum(1), held.known.groups)
    noise = torch.randn(mean.shape, generator=generator(held.seed, "drawn"))
    drawn = decoded(seen.eye, mean + (s / 2).exp() * noise, device)
    for name, one in rebuilt(drawn, held).items():
        if name in ("psnr", "ssim", "edge_energy_ratio"):
            found.measures[f"{name}_drawn"] = one
    spread = mean.var(0, correction=0) + s.exp().mean(0)
    found.values["active"] = float(latent.active(mean))
    # root mean square over z: 0 is the prior's
    found.values["aggregate_mean"] = float(mean.mean(0).square().mean().sqrt())
    found.values["aggregate_variance"] = float(spread.mean())  # mean over z: 1 is the prior's
    return Look(found.measures, found.values, found.told | {"eye": seen.hash})


def linearly(held: Held, count: int) -> Look:
    """The baseline: principal components instead of an eye."""
    return looked(held.components(count), held)


def looked(eye: Eye, held: Held, device: torch.device | str | None = None) -> Look:
    """What needs no uncertainty of codes: reconstructions from means, features, probes."""
    mean = coded(eye, held.x, device)[0]
    made = decoded(eye, mean, device)
    measures = rebuilt(made, held)
    fits = probes.fit(coded(eye, held.train, device)[0], held.known_train, held.seed)
    measures |= {
        f"probe_{name}": one for name, one in probes.judged(fits, mean, held.known).items()
    }
    told: dict[str, Any] = {"frames": held.n, "frames_of_probes": held.trained}
    values: dict[str, float] = {}
    if held.featured:
        fake = held.extractor.features(made[: held.featured].clamp(-1, 1))
        values["frechet"] = frechet_distance(held.features, fake)
        off = (fake - held.features).square().sum(1)
        spread = (held.features - held.features.mean(0)).square().sum(1)
        measures["feature_error"] = jackknife.ratio(off, spread, held.known.groups[: held.featured])
        judge = {
            "extractor": held.extractor.name,
            "extractor_hash": held.extractor.hash,
            "resize": held.extractor.resize,
        }
        told |= judge | {"frames_of_features": held.featured}
    return Look(measures, values, told)


def coded(eye: Eye, x: Tensor, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Mean and log-variance (n, Z) of pictures (n, C, H, W), on the CPU."""
    with torch.no_grad():
        parts = [eye.encode(part.to(device)) for part in x.split(CHUNK)]
    mean, s = (torch.cat([one.float().cpu() for one in some]) for some in zip(*parts, strict=True))
    return mean, s


def decoded(eye: Eye, z: Tensor, device: torch.device | str | None = None) -> Tensor:
    """Pictures (n, C, H, W) of codes (n, Z), on the CPU."""
    with torch.no_grad():
        return torch.cat([eye.decode(part.to(device)).float().cpu() for part in z.split(CHUNK)])


def rebuilt(made: Tensor, held: Held) -> dict[str, Grouped]:
    """Reconstructions (n, C, H, W) beside the held-out frames: PSNR in dB, SSIM, edge energy over
    that of the frames, overlap of masks; `psnr_zoom` is that of frames while the camera comes down,
    `psnr` of all."""
    groups, chunks = held.known.groups, [compared(*pair) for pair in pairs(made, held.x)]
    rows = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    found = {name: jackknife.mean(rows[name], groups) for name in ("psnr", "ssim")}
    found["psnr_zoom"] = jackknife.mean(rows["psnr"].where(held.zooming, torch.nan), groups)
    found["edge_energy_ratio"] = jackknife.ratio(rows["edges"], rows["edges_true"], groups)
    for name in MASKS:
        found[f"iou_{name}"] = jackknife.ratio(rows[f"both_{name}"], rows[f"either_{name}"], groups)
    return found


def pairs(made: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of two sets of frames (n, C, H, W)."""
    return zip(made.split(CHUNK), x.split(CHUNK), strict=True)


def compared(made: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Numbers (n,) of each frame (n, 3, H, W) and its reconstruction,
    which sums over tracks are made of."""
    found = {"psnr": maths.psnr(made, x), "ssim": motion.ssim(made, x)}
    found |= {"edges": motion.edges(made), "edges_true": motion.edges(x)}
    one, other = labels(made), labels(x)
    for name in MASKS:
        a, b = (seen == list(PALETTE).index(name) for seen in (one, other))
        found |= {
            f"both_{name}": (a & b).sum((1, 2)).double(),
            f"either_{name}": (a | b).sum((1, 2)).double(),
        }
    return found


def labels(images: Tensor) -> Tensor:
    """The place in PALETTE (n, H, W) of the colour
    that is nearest to each pixel of frames (n, 3, H, W) in [-1, 1]."""
    of = torch.tensor([place for place, colours in enumerate(PALETTE.values()) for _ in colours])
    colours = torch.tensor([colour for some in PALETTE.values() for colour in some]) / 127.5 - 1
    away = [(images - colour[:, None, None]).square().sum(1) for colour in colours]
    return of[torch.stack(away).argmin(0)]

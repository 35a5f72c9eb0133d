"""Simulacra in Python: open a run and let it imagine, train a config, measure pictures of any
origin, list what there is.

    model = simulacra.load("zoo/vae_faces")
    model.can                                   what it can do
    pictures = model.sample(16, seed=0)         (16, C, H, W) in [-1, 1]

    run = simulacra.train("ebgan_digits", preset="tiny", set={"hyper.margin": 5.0})
    rows = simulacra.measure(run.sample(1000), "digits")

All pictures are float32 tensors in [-1, 1], channels first, on the CPU. A user's mistake is a
`simulacra.Mistake`, whose one line names the thing, the value found and the values allowed.
"""

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from simulacra.core import answers, config, external, memory, random, run, zoo
from simulacra.core.config import Config
from simulacra.core.contract import Agent, AutoEncoder, Futures, Layered, Memory, Model
from simulacra.core.data_sets import data_root
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, reopen, to
from simulacra.core.parts import parts
from simulacra.io.paths import typed
from simulacra.nn import latent
from simulacra.tasks import decompose as decomposing
from simulacra.tasks import measure as measuring
from simulacra.tasks import measure_samples, reconstruct, sample
from simulacra.tasks import train as training
from simulacra.tasks._picture import check_prior, imaginer, within
from simulacra.tasks.predict import rolled

Pictures = Tensor | np.ndarray | Path | str | Sequence[Path | str]
"""Pictures (N, C, H, W) as `measure` takes them, or files: whatever they are, they become as the
run's own are."""


def list_models() -> list[str]:
    """The names of the models."""
    return config.models()


def list_configs() -> list[str]:
    """The names of the configs that `train` takes."""
    return config.configs()


def list_zoo() -> list[str]:
    """The names of the trained runs that come with Simulacra, as `load` takes them."""
    return zoo.names()


class Drive(NamedTuple):
    """A drive in the world and what was thought of it."""

    # (3, T, C, H, W): what was seen, what the encoder kept of it, what the memory had expected
    frames: Tensor
    value: float  # the return
    steps: int
    lap_finished: float  # 1 or 0; NaN where the world does not tell
    progress: float  # share of the tiles that were reached; NaN where the world does not tell


class Dream(NamedTuple):
    """Dreams of a memory."""

    frames: Tensor  # (n, T, C, H, W)
    returns: tuple[float, ...]  # that a controller dreamt, where the memory knows of rewards
    lengths: tuple[int, ...]  # steps until a controller's dreams ended


class Loaded:
    """A run with its weights. `can` lists the methods that its model has an answer to; calling
    another is a Mistake that says so."""

    def __init__(self, opened: Opened):
        self._opened = opened

    def __repr__(self) -> str:
        return f"<{self.config.model} of {self.folder}, step {self.step:,}: {', '.join(self.can)}>"

    @property
    def folder(self) -> Path:
        """Where the run is."""
        return self._opened.folder

    @property
    def config(self) -> Config:
        """Its resolved config, every default spelled out."""
        return self._opened.config

    @property
    def step(self) -> int:
        """That of the checkpoint."""
        return self._opened.step

    @property
    def model(self) -> Model:
        """The model itself, as its file in simulacra/models defines it."""
        return self._opened.model

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Its networks by name, plain torch modules;
        averages are the weights with which one samples."""
        inner = {name: getattr(part, "module", part) for name, part in parts(self.model).items()}
        return {name: one for name, one in inner.items() if isinstance(one, nn.Module)}

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What was measured of it, a row a value with its provenance."""
        return run.read_rows(zoo.results(self.folder)[0] / "metrics.jsonl")

    @property
    def can(self) -> list[str]:
        """The methods that its model has an answer to."""
        model, like = self.model, self._opened.like(1)
        found = [] if sample.needs_data(self._opened) else ["sample"]
        if isinstance(model, AutoEncoder) and "image" in like:
            found += ["encode", "decode", "reconstruct", "interpolate"]
        if isinstance(model, Futures) and "image" in like:
            found.append("predict")
        if isinstance(model, Layered) and "video" in like:
            found.append("decompose")
        if isinstance(model, Agent):
            found += ["drive", "dream"]
        elif isinstance(model, Memory):
            found.append("dream")
        return [*found, "measure"]

    def _need(self, method: str) -> None:
        """A Mistake that says what the run can, if it cannot do this."""
        if method not in self.can:
            raise Mistake(
                f"{self.folder} is a run of {self.config.model}, which cannot {method}; "
                f"it can: {', '.join(self.can)}"
            )

    def _coder(self, method: str) -> AutoEncoder:
        """The model as one that turns pictures into codes and back."""
        self._need(method)
        return reconstruct.coder(self._opened)

    def sample(self, n: int = 64, seed: int = 0, *, label: int | None = None) -> Tensor:
        """n samples, pictures (n, C, H, W) or series (n, T, C), a function of weights and seed;
        of one class if `label` says so."""
        self._need("sample")
        if not isinstance(n, int) or isinstance(n, bool):
            raise Mistake(f"n = {n!r}; allowed: a whole number of samples")
        each = math.prod(next(iter(self._opened.like(1).values())).shape) * 4
        if (free := memory.free()) is not None and n * each > free:
            raise Mistake(
                f"n = {n:,} samples are {n * each / 2**30:,.0f} GiB, and of memory "
                f"{free / 2**30:,.1f} GiB are free; in parts they are written by `simulacra sample "
                f"{self.folder} -n {n} -o FOLDER`"
            )
        labels = None if label is None else sample.of_class(self._opened, label)
        return torch.cat(list(sample.parts(self._opened, n, seed, labels)))

    def pictures(self, given: Pictures) -> Tensor:
        """Pictures as the run's own are, (N, C, H, W) on its device:
        files are cropped and resized, arrays have to fit."""
        one = isinstance(given, (str, Path))
        if one and Path(given).suffix.lower() not in measure_samples.ARRAYS:  # type: ignore[arg-type]
            given = [given]  # type: ignore[list-item]
        if isinstance(given, (list, tuple)) and all(isinstance(one, (str, Path)) for one in given):
            files, notes = reconstruct.found(Path(one).expanduser() for one in given)
            x, done = reconstruct.pictures(files, self._opened)
            _say([*notes, *done])
            return x
        x, notes = measure_samples.pictures(given)  # type: ignore[arg-type]
        _say(notes)
        there = tuple(self._opened.like(1)["image"].shape[1:])
        if tuple(x.shape[1:]) != there:
            raise Mistake(
                f"pictures of shape {tuple(x.shape[1:])}; "
                f"those of {self.folder} are {there}, channels first"
            )
        return x.to(self._opened.device)

    @torch.no_grad()
    def encode(self, given: Pictures) -> Tensor:
        """The mean codes (N, z_size) of pictures."""
        model = self._coder("encode")
        return answers.encoded(model, self.pictures(given))[0].cpu()

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Pictures (N, C, H, W) of codes (N, z_size)."""
        model = self._coder("decode")
        if codes.ndim != 2:
            raise Mistake(f"codes of shape {tuple(codes.shape)}; allowed: (N, z_size)")
        try:
            made = answers.decoded(model, codes.float().to(self._opened.device))
            return made.clamp(-1, 1).cpu()
        except RuntimeError as error:
            raise Mistake(
                f"codes of shape {tuple(codes.shape)} do not fit: {str(error).splitlines()[0]}"
            ) from None

    @torch.no_grad()
    def reconstruct(self, given: Pictures) -> Tensor:
        """What pictures become when they are only their codes, (N, C, H, W)."""
        return reconstruct.rebuilt(self._coder("reconstruct"), self.pictures(given)).cpu()

    @torch.no_grad()
    def interpolate(
        self, first: Pictures, second: Pictures, steps: int = 8, kind: str = "spherical"
    ) -> Tensor:
        """The way from one picture to another, both ends included, (steps, C, H, W)."""
        model = self._coder("interpolate")
        within(steps=(steps, 1000))
        start, end = (answers.encoded(model, self.pictures(one))[0][0] for one in (first, second))
        made = answers.decoded(model, latent.path(start, end, steps, kind))
        return made.clamp(-1, 1).cpu()

    @torch.no_grad()
    def predict(
        self,
        picture: Pictures,
        n: int = 6,
        seed: int = 0,
        *,
        roll: int = 1,
        prior: str | None = None,
    ) -> Tensor:
        """n possible futures of one picture, `roll` frames each, (n, roll, C, H, W)."""
        self._need("predict")
        within(futures=(n, 1000), roll=(roll, 1000))
        check_prior(self._opened, prior)
        now = self.pictures(picture)
        if len(now) != 1:
            raise Mistake(f"{len(now)} pictures; allowed: one, whose futures are imagined")
        random.reseed(random.fold(seed, "predict"))
        return rolled(imaginer(self._opened), now, n, roll, prior)[:, 1:]

    @torch.no_grad()
    def decompose(self, video: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Clips (N, T, C, H, W) in [-1, 1] as the run's own are, and what covers the object in
        their first frames (N, 1, H, W), 0 or 1, into layers by their names (N, T - 1, C or 1, H,
        W): "composite", "foreground", "background", "mask" ... A clip of one's own is taken apart
        by `simulacra.decompose`, which trains for it."""
        self._need("decompose")
        model = self.model
        assert isinstance(model, Layered)
        like = self._opened.like(1)
        for name, given in ("video", video), ("mask", mask):
            there = tuple(like[name].shape[1:])
            shape = tuple(given.shape[1:])
            if given.ndim != like[name].ndim or shape[-3:] != there[-3:] or len(given) != len(mask):
                raise Mistake(
                    f"{name} of shape {tuple(given.shape)}; that of {self.folder} is "
                    f"{('N', *there)}"
                )
        batch = {"video": video, "mask": mask}
        made = answers.unrolled(model, to(self._opened.device, batch))
        return {name: one.cpu() for name, one in made.items()}

    def drive(
        self,
        track: int | None = None,
        steps: int = 300,
        seed: int = 0,
        *,
        simulator: str = "gymnasium",
    ) -> Drive:
        """A drive on one track, its seed None for the first of those on
        which nothing is trained or scored."""
        self._need("drive")
        from simulacra.tasks.worlds import drive as driving

        notes, trip = driving.driven_on(self._opened, track, steps, simulator, seed)
        _say(trip.notes)
        return Drive(notes, trip.value, trip.steps, trip.lap_finished, trip.progress)

    def dream(
        self, n: int = 4, steps: int = 300, seed: int = 0, *, tau: float | None = None
    ) -> Dream:
        """n dreams side by side, which begin with held-out codes;
        `tau` is the temperature, None the run's own."""
        self._need("dream")
        from simulacra.tasks.worlds import dream as dreaming

        found = dreaming.dreamt(self._opened, dreaming.Asked(steps, n, tau, None, seed))
        _say(found.notes)
        return Dream(found.clips.cpu(), found.returns, found.lengths)

    def measure(
        self, samples: int = 5000, repeats: int = 5, seed: int = 0, **choices: Any
    ) -> list[dict[str, Any]]:
        """Rows of metrics with intervals and provenance, which metrics.jsonl gets too; needs the
        run's data. `choices` are those of tasks._judges.Protocol: extractor, downstream, prior."""
        allowed = ("extractor", "downstream", "prior")
        if odd := next((name for name in choices if name not in allowed), None):
            raise Mistake(f"measure takes no {odd}; allowed: {', '.join(allowed)}")
        rows, notes = measuring.measure(
            self._opened, measuring.Protocol(samples, repeats, seed, **choices)
        )
        _say(notes)
        return rows


def load(
    name: Path | str,  # a run folder, a packed run, or a name of list_zoo()
    *,
    # the data folder; None: the one it was trained with, or SIMULACRA_DATA
    data: Path | str | None = None,
    device: str = "cpu",
    step: int | None = None,  # of the checkpoint; None: the newest
    weights: str = "average",  # or raw
    trust: bool = False,  # whether a model that the run brings may be run
) -> Loaded:
    """Open a run."""
    if not isinstance(name, (str, Path)):
        raise Mistake(f"load({name!r}): allowed: a run folder, or a name of list_zoo()")
    place = zoo.run_of(name)
    with external.trusted(trust):
        return Loaded(reopen(place, data_root(Path(data) if data else None), device, step, weights))


def train(
    name: Path | str,  # a name of list_configs(), a TOML file, or a run's config.json
    *,
    preset: str | None = None,  # tiny, laptop (the default) or paper
    set: Mapping[str, Any] | None = None,  # values by dotted key, as {"hyper.margin": 20}
    data: Path | str | None = None,  # the data folder
    run: Path | str | None = None,  # the run folder; None: runs/NAME
    # each told the step and its row of the log
    callbacks: Sequence[Callable[[int, Mapping[str, float]], object]] = (),
    # each told the step of a checkpoint and the pictures that were painted of it
    on_pictures: Sequence[Callable[[int, Sequence[Path]], object]] = (),
    device: str = "cpu",
    extend: bool = False,  # allow more steps than the run in the folder was made for
) -> Loaded:
    """Train, or go on training what is in the run folder, and open it.
    Ctrl-C saves, then raises KeyboardInterrupt."""
    if callable(callbacks) or not all(callable(one) for one in callbacks):
        raise Mistake("callbacks: allowed: a list of functions of the step and its row of the log")
    if callable(on_pictures) or not all(callable(one) for one in on_pictures):
        raise Mistake("on_pictures: allowed: a list of functions of the step and paths of pictures")
    if set is not None and not isinstance(set, Mapping):
        raise Mistake(f"set = {set!r}; allowed: a dict of values by dotted key")
    root = data_root(Path(data) if data else None)
    changes, notes = typed(
        [f"{key}={written(key, value)}" for key, value in (set or {}).items()], root
    )
    _say(notes)
    checked = config.resolve(str(name), preset, changes, lambda line: _say([line]))
    folder = Path(run).expanduser() if run else Path("runs") / checked.name

    def tick(step: int, row: dict[str, float]) -> None:
        if row:
            for call in callbacks:
                call(step, row)

    def saved(checkpoint: Path) -> None:
        painted = sorted((folder / "pictures" / checkpoint.stem).glob("*"))
        for call in on_pictures:
            call(int(checkpoint.stem), painted)

    outcome = training.train(
        checked,
        folder,
        root,
        device=device,
        extend=extend,
        tick=tick,
        saved=saved,
        notify=lambda line: _say([line]),
    )
    if not outcome.done:
        raise KeyboardInterrupt(
            f"stopped and saved at step {outcome.step:,}; the same call goes on from there"
        )
    with external.trusted(True):  # what a person has just trained
        return Loaded(reopen(folder, root, device))


def written(key: str, value: Any) -> str:
    """A value as a config would hold it."""
    if isinstance(value, (bool, int, float, str, list, tuple)):
        try:
            return json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            pass
    raise Mistake(f"{key} = {value!r}; allowed: numbers, truths, words, and lists of them")


def measure(
    samples: Tensor | np.ndarray | Path | str,
    against: Path | str,  # a data set of pictures, or a folder of pictures
    *,
    extractor: str | None = None,  # of features; None: the one that fits the data
    seed: int = 0,
    data: Path | str | None = None,  # the data folder
) -> list[dict[str, Any]]:
    """Pictures of any origin, (N, C, H, W), a .npz or a folder, against real ones:
    a row a metric with its provenance."""
    root = data_root(Path(data) if data else None)
    rows, notes = measure_samples.measure_samples(
        samples, against, extractor=extractor, seed=seed, root=root
    )
    _say(notes)
    return rows


def decompose(
    clip: Path | str,
    mask: Path | str | Mapping[int, Path | str],  # of frame 0, or by frame
    out: Path | str,
    *,
    longest: int = 1920,
    frames: int = 0,
    fast: bool = False,
    features: Literal["imagenet", "none"] = "imagenet",
    merge: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """A clip and masks of some of its frames into foreground, matte and clean background, in the
    folder `out`; returns what its quality.json holds. The same call goes on where it was stopped,
    and with one more mask corrects. `features` of a frozen network trained on ImageNet help to find
    masks, or none. `merge` takes all objects of indexed masks as one."""
    masks = mask if isinstance(mask, Mapping) else {0: mask}
    facts, notes = decomposing.decompose(
        Path(clip).expanduser(),
        {t: Path(one).expanduser() for t, one in masks.items()},
        Path(out).expanduser(),
        longest=longest,
        frames=frames,
        fast=fast,
        features=features,
        merge=merge,
        seed=seed,
    )
    _say(notes)
    return facts


def _say(notes: Sequence[str]) -> None:
    """What was assumed, converted or left out, as warnings."""
    for note in notes:
        warnings.warn(note, stacklevel=3)

"""What a model and a data set look like to the house. Described here, inherited nowhere.

A model has `step` and `sample`. What else it can do is told by the methods that it has: whoever has
those of AutoEncoder is one, and so on (`core/conform.py` says what is missing where a model has
some of them only; asked once, when a model or a data set is built). The first paragraph of a
method's docstring is its signature with shapes, which messages show.

Everywhere N, B are examples, C, H, W channels, height and width, T steps of time, Z numbers of a
code, A of an action.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from simulacra.core.schedules import Schedule

Batch = dict[str, Tensor]
"""Named tensors with the batch axis first. "image": (B, C, H, W) float32 in [-1, 1], or "series":
(B, T, C) float32, the training data in [-1, 1]; "next": (B, C, H, W), the frame after "image",
where the data are pairs of frames; "label": (B,) int64, where the data set has labels. Clips:
"video": (B, T, C, H, W) in [-1, 1], "mask": (B, 1, H, W), what covers the object in the first
frame, 0 or 1, and perhaps "forward" and "backward" flow (B, T-1, 2, H, W) as in nn/optical_flow.py.
Recorded drives: "video" with "action" (B, T, 3), "reward" and "done" (B, T); action t was chosen on
seeing frame t. Their codes: "mean" and "log_variance" (B, T, Z), "action", "reward", "done", and
"eye" (B, 16) uint8, the hash of who made them."""


@runtime_checkable
class Model(Protocol):
    """A model: one file in models/ that ends with `Model = ...` and has one frozen `Hyper`.

    `Model(hyper, like)` builds it from hyperparameters and a batch whose shapes (never values) are
    read. Its parts (see parts.py) are in the checkpoint: whatever has a state_dict, as an attribute
    or in a list or dict that is one, and what an nn.Module has. What else its steps change,
    numbers, tensors, histories and generators, is kept beside them.
    """

    def step(self, batch: Batch, k: int) -> Mapping[str, Tensor | float]:
        """step(batch, k) -> a dict of names and numbers to log, one or more

        Play step k of the paper's algorithm, once. The learning rates are those of `rates`, which
        the loop has set; a loop of one's own calls `optim.set_rates(model, k)` before.
        """

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """sample(batch) -> a dict with "samples", as many as the batch has rows

        Named results for paint and measure, len(batch) of each; "samples" is what the model
        imagines: pictures (N, C, H, W) or series (N, T, C) in [-1, 1].
        """


# What a model can do


@runtime_checkable
class AutoEncoder(Protocol):
    """Turns pictures into codes and back: reconstruct, interpolate, the eye of an agent."""

    def encode(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """encode(x (N, C, H, W) in [-1, 1]) -> codes (N, Z), or their mean and log-variance, (N, Z)
        each

        By the weights with which one samples.
        """

    def decode(self, z: Tensor) -> Tensor:
        """decode(z (N, Z)) -> pictures (N, C, H, W) in [-1, 1]

        By the weights with which one samples.
        """


@runtime_checkable
class Futures(Protocol):
    """Imagines futures of a picture: predict, transfer, traverse."""

    def imagine(self, I1: Tensor, count: int, prior: str | None = None) -> Tensor:
        """imagine(I1 (N, C, H, W), count, prior) -> futures (N, count, C, H, W) in [-1, 1]

        `prior` names where the motion is drawn from; None is the run's own.
        """

    def transfer(self, I1: Tensor, I2: Tensor, to: Tensor) -> Tensor:
        """transfer(I1, I2, to, (N, C, H, W) each) -> pictures (N, C, H, W) in [-1, 1]

        The motion from I1 to I2, given to other pictures.
        """

    def traverse(self, I1: Tensor, dimensions: int, steps: int) -> tuple[Tensor, list[int]]:
        """traverse(I1 (1, C, H, W), dimensions, steps) -> pictures (dimensions, steps, C, H, W) and
        which dimensions they are

        One number of the motion's code moved at a time, the liveliest first.
        """


@runtime_checkable
class Layered(Protocol):
    """Takes clips apart into layers: decompose, measure on clips with masks."""

    def unroll(self, batch: Batch) -> Any:
        """unroll(batch with "video" (N, T, C, H, W) and "mask" (N, 1, H, W)) -> a NamedTuple of
        layers (N, S, C or 1, H, W) over S <= T - 1 steps

        Frame after frame, each from what was painted before it.
        """


@runtime_checkable
class Memory(Protocol):
    """Remembers a world by its codes and imagines on: dream, measure on codes. Its `average` holds
    the net."""

    average: Any

    def sample_codes(self, batch: Batch) -> Tensor:
        """sample_codes(batch with "mean" and "log_variance" (N, T, Z)) -> codes (N, T, Z)

        Drawn from the eye's posterior.
        """

    def shown(self, batch: Batch) -> int:
        """shown(batch) -> how many steps are shown before it goes on alone"""

    def imagine(self, z: Tensor, a: Tensor, tau: float | None) -> Tensor:
        """imagine(z (N, C, Z), a (N, T, A), tau) -> codes (N, T, Z), the first C of them z

        At temperature tau; None takes the mean at every step.
        """

    def losses(self, M: Any, z: Tensor, batch: Batch) -> dict[str, Tensor]:
        """losses(M, z (N, T, Z), batch) -> a dict with "loss_z", one number each

        Of a net M, such as `average.module`, over codes.
        """


@runtime_checkable
class Agent(Protocol):
    """Drives in a world, or in the dreams of a memory: drive, score, dream."""

    @property
    def centre(self) -> Tensor:
        """centre -> the controller that is judged, (N,)"""

    @property
    def drives(self) -> bool:
        """drives -> whether it is trained in the world, not in dreams"""

    def senses(self) -> Any:
        """senses() -> the memory whose state the controller sees, or None"""

    def view(self) -> Any:
        """view() -> what it is shown of the world, None if that is unknown"""

    def dream(self, members: Tensor, batch: Batch, seed: int, steps: int = 0) -> Any:
        """dream(members (P, N), batch, seed, steps) -> returns and lengths (P, E), and codes
        (P, E, T, Z) if asked for

        What controllers earn in dreams that begin with the batch's codes.
        """


@runtime_checkable
class Game(Protocol):
    """A game of players, which may collapse, or be won by one of them."""

    def equilibrium(self) -> Mapping[str, float]:
        """equilibrium() -> a dict of the value of each loss where no player can gain"""


# What a model may have besides: each is asked for by one place, named in its docstring


@runtime_checkable
class HasWon(Protocol):
    """A game that says when it is over; the health monitor."""

    def won(self) -> Mapping[str, float]:
        """won() -> a dict of the value that a loss falls to when its player has won, where not 0"""


@runtime_checkable
class HasRates(Protocol):
    """Learning rates that the loop sets; core/loop.py."""

    def rates(self) -> Mapping[str, Schedule]:
        """rates() -> a dict of optimizers' attribute names and their schedules

        Before step k every named optimizer gets its schedule's value at k. Others keep theirs.
        """


@runtime_checkable
class HasHealth(Protocol):
    """Further scalars of logged steps; core/loop.py."""

    def health(
        self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch
    ) -> Mapping[str, Tensor]:
        """health(batch, scalars, held_out) -> a dict of names and numbers to log

        `held_out` is always the same. It changes no weight and no buffer, so that logging more or
        less often leaves the training the same bits.
        """


@runtime_checkable
class HasMeasure(Protocol):
    """Metrics of its own, rows of measure that are called model.NAME."""

    def measure(self, held_out: Batch, samples: Tensor) -> Mapping[str, Tensor | float]:
        """measure(held_out, samples (N, C, H, W) or (N, T, C)) -> a dict of names and numbers

        `held_out` are examples that no step learns from, as many as there are samples or as are
        held out; `samples` are in [-1, 1], one set that `sample` made, or training examples in
        their place (the floor). It is asked once a set, after the random generators were seeded,
        gives finite numbers, the same names each time, and changes nothing.
        """


@runtime_checkable
class HasCheck(Protocol):
    """Asked before a run folder is made; tasks/train.py."""

    def check(self, batch: Batch) -> None:
        """check(batch) -> None, or a Mistake if the values of a batch are not for this model"""


@runtime_checkable
class HasLook(Protocol):
    """Looks at its training data before the first step; tasks/train.py."""

    def look(self, pictures: Callable[[], Iterator[Batch]], batch: int) -> None:
        """look(pictures, batch) -> None

        Each call of `pictures` shows the same examples, each once, on all processes; a step has
        `batch` examples.
        """


@runtime_checkable
class HasGenerate(Protocol):
    """Makes pictures of z from N(0, I), hyper.z_size numbers; studies/play.py."""

    def generate(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """generate(z (N, Z), y (N, hyper.classes) or None) -> pictures (N, C, H, W) in [-1, 1]

        By the weights with which one samples.
        """


@runtime_checkable
class HasRebuild(Protocol):
    """Rebuilds pictures without codes of one size; studies/play.py."""

    def rebuild(self, x: Tensor) -> Tensor:
        """rebuild(x (N, C, H, W) in [-1, 1]) -> pictures (N, C, H, W)"""


@runtime_checkable
class HasMotions(Protocol):
    """Futures of a picture by motions z, hyper.z_size numbers; studies/play.py."""

    def future(self, I1: Tensor, z: Tensor) -> Tensor:
        """future(I1 (N, C, H, W), z (N, Z)) -> pictures (N, C, H, W) in [-1, 1]"""

    def motion(self, I1: Tensor) -> tuple[Tensor, Tensor] | None:
        """motion(I1 (N, C, H, W)) -> mean and standard deviation of z, (N, Z) each, or None where
        z does not depend on the picture"""

    def sample_prior(self, I1: Tensor, prior: str | None = None) -> Tensor:
        """sample_prior(I1 (N, C, H, W), prior) -> z (N, Z), one for each picture"""


@runtime_checkable
class HasBegin(Protocol):
    """Its own way to begin with another run's weights; core/warm_start.py."""

    def begin(self, other: Any) -> Sequence[str]:
        """begin(other) -> the names of the parts that are now the other model's

        ValueError if it does not fit.
        """


@runtime_checkable
class HasInitParts(Protocol):
    """Which parts a run takes from that of `init_from`; without it all modules, learnt tensors and
    averages; core/warm_start.py."""

    INIT_PARTS: Sequence[str] | Mapping[str, str]
    """Names, or a dict from its own parts to those of the other run."""


@runtime_checkable
class HasInitModels(Protocol):
    """Of which models the run of `init_from` may be; without it its own; core/warm_start.py."""

    INIT_MODELS: Sequence[str]
    """Names of models."""


@runtime_checkable
class HasPacked(Protocol):
    """A part that keeps less of itself where one only looks; core/packed.py."""

    def packed(self) -> dict[str, Tensor]:
        """packed() -> a dict of tensors"""

    def unpack(self, state: dict[str, Tensor]) -> None:
        """unpack(state) -> None, with that put back"""


# Data


@runtime_checkable
class Data(Protocol):
    """A data set: one file in data/ that ends with `Data = ...` and has one frozen `Options`.

    `Data(options, root)` reads it. Pictures that are mirrored at random say so with an option
    `flip`.
    """

    classes: int
    """How many classes the labels name; 0 without labels."""
    extractor: str
    """The feature extractor that fits these (see metrics/images/extractors.py); "series", "pairs",
    "clips", "codes" if none."""

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """draw(k, batch, seed) -> the k-th training batch, a dict of tensors with `batch` rows each

        A pure function of its arguments, whole epochs shuffled, the incomplete last batch of an
        epoch dropped.
        """

    def take(self, split: str, n: int) -> Batch:
        """take(split, n) -> the first n examples of a fixed order of "train" or "held_out"

        That order is shuffled.
        """

    def size(self, split: str) -> int:
        """size(split) -> how many examples "train" or "held_out" holds"""

    def describe(self) -> dict[str, str]:
        """describe() -> a dict of facts for a person before training

        Counts, shapes, what is done to the files (crop, resize, mode).
        """


# What a data set may have besides


@runtime_checkable
class HasPart(Protocol):
    """Shows whole splits part by part; measure."""

    def part(self, split: str, start: int, stop: int) -> Batch:
        """part(split, start, stop) -> examples `start` to before `stop` of the order of take"""


@runtime_checkable
class HasOptions(Protocol):
    """Keeps the options that it was read with."""

    options: Any


@runtime_checkable
class HasNotes(Protocol):
    """Lines on what was assumed, converted or left out, said before a training."""

    notes: Sequence[str]


@runtime_checkable
class HasTruth(Protocol):
    """Knows what its examples show: objects and motions of drawn pictures, masks of clips, the
    state of the world; reports of futures, clips and eyes."""

    def truth(self, split: str, n: int) -> Any:
        """truth(split, n) -> what is known of the first n examples of take"""


@runtime_checkable
class HasWhence(Protocol):
    """Frames of recorded drives; reports of eyes."""

    def whence(self, split: str, n: int) -> tuple[Tensor, Tensor]:
        """whence(split, n) -> drive and step, (n,) each, of the first n frames of take"""


@runtime_checkable
class HasView(Protocol):
    """Recorded in a world, and tells what is shown of it; None if it is older than that."""

    view: Any


@runtime_checkable
class HasOrigin(Protocol):
    """Recordings that can be told from others of the same name; encode."""

    def origin(self, name: str) -> tuple[str, str]:
        """origin(name) -> identities of the store and of an episode, empty if there are none"""


@runtime_checkable
class HasLogDensity(Protocol):
    """Drawn from a density that is known; reports of series."""

    def log_density(self, series: Tensor) -> Tensor:
        """log_density(series (N, T, C)) -> nats, (N,)"""


@runtime_checkable
class HasFiles(Protocol):
    """The module of a data set that reads files which may change; the fingerprint of a run's data.
    `WHOLE = True` beside it if every byte of them counts."""

    def files(self, options: Any, root: Path | None) -> dict[str, Path]:
        """files(options, root) -> the files, by names that stay the same where they are moved

        Told without reading them.
        """


@runtime_checkable
class HasWhole(Protocol):
    """The module of a data set that says whether every byte of its files counts."""

    WHOLE: bool


def option(of: Any, name: str, default: Any) -> Any:
    """A hyperparameter or an option of data, or else what stands for one that not all have."""
    return getattr(of, name, default)

"""What a model and a data set look like to the house. Described here, inherited nowhere."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

Batch = dict[str, Tensor]
"""Named tensors with the batch axis first. "image": (B, C, H, W) float32 in [-1, 1], or "series":
(B, T, C) float32, the training data in [-1, 1]; "next": (B, C, H, W), the frame after "image",
where the data are pairs of frames; "label": (B,) int64, where the data set has labels. Clips:
"video": (B, T, C, H, W) in [-1, 1], "mask": (B, 1, H, W), what covers the object in the first
frame, 0 or 1, and perhaps "forward" and "backward" flow (B, T-1, 2, H, W) as in video/flow.py.
Recorded drives: "video" with "action" (B, T, 3), "reward" and "done" (B, T); action t was chosen on
seeing frame t. Their codes: "mean" and "log_variance" (B, T, Z), "action", "reward", "done", and
"eye" (B, 16) uint8, the hash of who made them."""


class Model(Protocol):
    """A model: one file in models/ that ends with `Model = ...` and has one frozen `Hyper`.

    Its parts (see parts.py) are in the checkpoint: whatever has a state_dict, as an attribute or in
    a list or dict that is one, and what an nn.Module has. What else its steps change, numbers,
    tensors, histories and generators, is kept beside them.
    """

    def __init__(self, hyper: Any, like: Batch) -> None:
        """Build from hyperparameters and a batch whose shapes (never values) are read."""

    def step(self, batch: Batch, k: int) -> Mapping[str, Tensor]:
        """Play one step of the paper's algorithm; return the scalars to log."""

    def sample(self, batch: Batch) -> dict[str, Tensor]:
        """Named results for paint and measure, len(batch) of each; "samples" is what the model
        imagines."""

    # Optional, where a run begins with another run's weights (init_from): INIT_PARTS, a tuple of the parts that it takes, or a
    #     dict from its own parts to those of the other run; without it all modules, learnt tensors and averages. INIT_MODELS, a
    #     tuple of the models of which the other run may be; without it this model. Instead of both,
    # def begin(self, other: Model) -> Sequence[str]: take what it can of the other run's model, and name the parts that are now
    #     its; ValueError if it does not fit.

    # Optional, asked before a run folder is made:
    # def check(self, batch: Batch) -> None: a Mistake if the values of a batch are not for this model.
    # def look(self, pictures: Callable[[], Iterator[Batch]], batch: int) -> None: measure what the model wants to know of the
    #     training data before its first step, of which each call shows the same examples, each once, on all processes; a step
    #     has `batch` examples.

    # Optional, read by the clock and by the health monitor:
    # def health(self, batch: Batch, scalars: Mapping[str, Tensor], held_out: Batch) -> Mapping[str, Tensor]: further
    #     scalars for logged steps; held_out is always the same. It changes no weight and no buffer, so that logging more
    #     or less often leaves the training the same bits.
    # def equilibrium(self) -> Mapping[str, float]: the value of each loss where no player can gain.
    # def won(self) -> Mapping[str, float]: the value that a loss falls to when its player has won, where that is not 0.

    # Optional, asked by measure for rows of its own, named model.NAME:
    # def measure(self, held_out: Batch, samples: Tensor) -> Mapping[str, float]: finite numbers by
    #     name, the same names each time. `held_out` are examples that no step learns from, as many
    #     as there are samples or as are held out; `samples` are (n, C, H, W) in [-1, 1] or
    #     (n, T, C), one set that `sample` made, or training examples in their place (the floor). It
    #     is asked once a set, after the random generators were seeded, and changes nothing.

    # Optional, asked by predict, transfer, traverse and measure of a model that imagines futures of
    # a picture: imagine, transfer and traverse, as models/visual_dynamics.py has them. Asked by
    # reconstruct and interpolate: encode(x) -> mean and log-variance, and decode(z) -> pictures, as
    # models/vae.py has them.


class Data(Protocol):
    """A data set: one file in data/ that ends with `Data = ...` and has one frozen `Options`.

    If it reads files that may change, it also has `files(options, root) -> dict[str, Path]`: which
    ones, by names that stay the same where they are moved, told without reading them; and perhaps
    `WHOLE = True`, if their fingerprint reads every byte.
    """

    classes: int
    """How many classes the labels name; 0 without labels."""
    extractor: str
    """The feature extractor that fits these (see measure/extractors.py); "series", "pairs",
    "clips", "codes" if none."""

    def draw(self, k: int, batch: int, seed: int) -> Batch:
        """The k-th training batch: a pure function of its arguments, whole epochs shuffled, the
        incomplete last batch of an epoch dropped."""

    def take(self, split: str, n: int) -> Batch:
        """The first n examples of a fixed shuffled order of split "train" or "held_out"."""

    def size(self, split: str) -> int:
        """How many examples the split holds."""

    # Optional, asked by measure, which looks at whole splits: def part(self, split: str, start:
    # int, stop: int) -> Batch: those from `start` to before `stop` of the order of take. Training
    # pictures that are mirrored at random say so with an option `flip`.

    def describe(self) -> dict[str, str]:
        """Facts for a person before training: counts, shapes, what is done to the files (crop,
        resize, mode)."""

    # Optional, said before a training: notes, a list of lines on what was assumed, converted or
    # left out.

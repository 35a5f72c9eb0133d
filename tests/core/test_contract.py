"""The contract in types: what a stranger's model lacks or returns wrongly is told in a line that
names the model, the method and the wanted signature; and the loop sets the learning rates."""

import copy
import dataclasses
import re
from typing import Any

import pytest
import torch
from tiny import equal, of_model, works
from torch import Tensor, nn

from simulacra.core import answers, config, contract, loop, optim, random
from simulacra.core.conform import check_data, check_model, members, signature
from simulacra.core.contract import AutoEncoder, Futures, Layered, Memory
from simulacra.core.errors import Mistake
from simulacra.core.load import able


class Plain:
    """A model that can do nothing but what all can."""

    def step(self, batch: Any, k: int) -> dict[str, Tensor]:
        return {"loss": batch["image"].mean()}

    def sample(self, batch: Any) -> dict[str, Tensor]:
        return {"samples": batch["image"]}


class Coder(Plain):
    """An auto-encoder of pictures of 1x4x4."""

    def encode(self, x: Tensor) -> Any:
        return x.flatten(1)[:, :3], x.flatten(1)[:, 3:6]

    def decode(self, z: Tensor) -> Any:
        return torch.tanh(z @ torch.ones(3, 16)).view(-1, 1, 4, 4)


def with_methods(base: type = Plain, **methods: Any) -> Any:
    """A model of a class with these methods."""
    return type("Mine", (base,), methods)()


def refusal(model: Any) -> str:
    with pytest.raises(Mistake) as found:
        check_model(model, "mine.py")
    assert "\n" not in str(found.value)
    return str(found.value)


# Asked when a model is built


def test_a_model_that_can_little_or_all_of_something_is_taken() -> None:
    check_model(Plain(), "mine.py")
    check_model(Coder(), "mine.py")
    assert isinstance(Coder(), AutoEncoder) and not isinstance(Plain(), AutoEncoder)


@pytest.mark.parametrize("lacking", ["step", "sample"])
def test_a_model_has_step_and_sample(lacking: str) -> None:
    told = refusal(with_methods(**{lacking: None}))
    assert f"model mine.py: its Model has no method {lacking}; needed: step and sample" in told
    assert signature(contract.Model, lacking) in told


@pytest.mark.parametrize(("there", "lacking"), [("encode", "decode"), ("decode", "encode")])
def test_half_an_auto_encoder_is_refused(there: str, lacking: str) -> None:
    told = refusal(with_methods(**{there: getattr(Coder, there)}))
    assert told.startswith(f"model mine.py has {there} and no {lacking}; an auto-encoder needs ")
    assert "needs encode and decode: " in told and signature(AutoEncoder, lacking) in told
    assert {"decode": "decode(z (N, Z)) -> pictures (N, C, H, W) in [-1, 1]"}.get(
        lacking, "codes (N, Z), or their mean and log-variance, (N, Z) each"
    ) in told


def test_imagine_alone_belongs_to_two_kinds() -> None:
    told = refusal(with_methods(imagine=lambda self, a, b, c: a))
    assert "has imagine and not what belongs to it" in told
    assert "a model of futures needs imagine, transfer and traverse: transfer(" in told
    assert "or a memory of a world needs " in told and "losses(M" in told


def test_imagine_of_a_whole_memory_is_no_half_model_of_futures() -> None:
    parts = dict.fromkeys(("losses", "imagine"), lambda self, a, b, c: a)
    parts |= dict.fromkeys(("sample_codes", "shown"), lambda self, batch: batch)
    check_model(with_methods(**parts, average=1), "mine.py")
    assert "has transfer and no traverse; a model of futures" in refusal(
        with_methods(**parts, average=1, transfer=lambda self, a, b, c: a)
    )


def test_a_game_that_can_be_won_has_an_equilibrium() -> None:
    told = refusal(with_methods(won=lambda self: {}))
    assert "has won and no equilibrium; a game needs equilibrium: equilibrium() ->" in told


def test_methods_are_called_as_the_contract_says() -> None:
    told = refusal(with_methods(Coder, decode=lambda self, z, label: z))
    assert "decode cannot be called with z (missing a required argument: 'label')" in told
    assert signature(AutoEncoder, "decode") in told
    assert "health is int, which cannot be called" in refusal(with_methods(health=3))
    told = refusal(with_methods(sample=lambda self: {}))
    assert "sample cannot be called with batch (too many positional arguments)" in told


def test_modules_can_be_methods() -> None:
    """Of a plain nn.Module whose encoder and decoder are its children."""

    class Mine(nn.Module):
        step, sample = Plain.step, Plain.sample

        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = nn.Identity(), nn.Identity()

    check_model(Mine(), "mine.py")
    assert isinstance(Mine(), AutoEncoder)


def test_helpers_with_common_names_are_no_claim() -> None:
    """losses, view, shown, senses: everybody has such."""
    names = dict.fromkeys(("losses", "view", "shown", "senses", "centre"), lambda self: None)
    check_model(with_methods(**names), "mine.py")


def test_who_can_what_is_asked_of_the_classes() -> None:
    assert able(AutoEncoder) == "vae, vaegan"
    assert able(Futures) == "visual_dynamics" and able(Layered) == "foregan"
    assert able(Memory) == "world_memory" and able(contract.Agent) == "world_controller"


PROTOCOLS = [
    one
    for one in vars(contract).values()
    if getattr(one, "_is_protocol", False) and one.__module__ == contract.__name__
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_method_of_a_protocol_has_a_signature(protocol: Any) -> None:
    """Which messages show: its name, what it returns, shapes."""
    assert protocol.__doc__
    for name in members(protocol):
        if name in vars(protocol) and callable(vars(protocol)[name]):
            assert re.match(rf"{name}\(.*\) -> ", signature(protocol, name)), name


class Digits:
    """A data set as the contract has it."""

    classes, extractor = 0, "pixels"

    def draw(self, k: int, batch: int, seed: int) -> Any: ...
    def take(self, split: str, n: int) -> Any: ...
    def size(self, split: str) -> int: ...
    def describe(self) -> dict[str, str]: ...


@pytest.mark.parametrize("lacking", ["classes", "extractor", "draw", "take", "size", "describe"])
def test_a_data_set_is_what_it_has_to_be(lacking: str) -> None:
    check_data(Digits(), "mine")
    with pytest.raises(Mistake, match=f"data set mine: its Data has no {lacking}; needed: "):
        check_data(type("Mine", (Digits,), {lacking: None})(), "mine")
    with pytest.raises(Mistake, match="draw cannot be called with k, batch, seed"):
        check_data(type("Mine", (Digits,), {"draw": lambda self, k: k})(), "mine")


# What methods return, where it is used

X, Z = torch.zeros(5, 1, 4, 4), torch.zeros(5, 3)
WRONG = {
    "maps, not codes": ("encode", lambda self, x: x, "a tensor of shape (5, 1, 4, 4)"),
    "a code without rows": (
        "encode",
        lambda self, x: (torch.zeros(3), torch.zeros(3)),
        "a tuple of 2: a tensor of shape (3,), a tensor of shape (3,)",
    ),
    "one sigma for all": (
        "encode",
        lambda self, x: (x.flatten(1), x.flatten(1)[:, :1]),
        "a tuple of 2: a tensor of shape (5, 16), a tensor of shape (5, 1)",
    ),
    "flat pictures": ("decode", lambda self, z: z @ torch.ones(3, 16), "shape (5, 16)"),
    "no bound": (
        "decode",
        lambda self, z: z.new_full((5, 1, 4, 4), 3.25),
        "shape (5, 1, 4, 4); its values are 3.25 to 3.25",
    ),
    "nothing": ("decode", lambda self, z: None, "decode returned nothing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_stranger_returns_is_told(case: str) -> None:
    method, function, found = WRONG[case]
    model = with_methods(Coder, **{method: function})
    with pytest.raises(Mistake) as told:
        answers.encoded(model, X) if method == "encode" else answers.decoded(model, Z)
    assert f"Mine.{method} returned " in str(told.value) and found in str(told.value)
    assert str(told.value).endswith(f"wanted: {signature(AutoEncoder, method)}")


SAMPLES = {
    "a tensor": (lambda self, batch: batch["image"], "a tensor of shape (5, 1, 4, 4)"),
    "an empty dict": (lambda self, batch: {}, "an empty dict"),
    "a number": (lambda self, batch: {"samples": 3.0}, "a dict of 'samples': a float"),
    "flat": (
        lambda self, batch: {"samples": batch["image"].flatten(1)},
        "a dict of 'samples': a tensor of shape (5, 16); the batch has 5 rows of image (1, 4, 4)",
    ),
    "too few": (
        lambda self, batch: {"samples": batch["image"][:1]},
        "a dict of 'samples': a tensor of shape (1, 1, 4, 4); the batch has 5 rows of image",
    ),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_samples_of_a_wrong_kind_are_told(case: str) -> None:
    function, found = SAMPLES[case]
    with pytest.raises(Mistake) as told:
        answers.sampled(with_methods(sample=function), {"image": X})
    assert f"Mine.sample returned {found}" in str(told.value)


def test_what_is_right_comes_through_as_it_is() -> None:
    mean, s = answers.encoded(Coder(), X)
    assert mean.shape == s.shape == (5, 3)
    plain = with_methods(Coder, encode=lambda self, x: x.flatten(1))
    mean, s = answers.encoded(plain, X + 0.5)
    assert torch.equal(mean, (X + 0.5).flatten(1)) and (s == answers.CERTAIN).all()
    assert torch.equal(answers.decoded(Coder(), Z + 1), Coder().decode(Z + 1))
    assert torch.equal(answers.only_samples(Plain(), {"image": X}), X)
    with pytest.raises(Mistake, match=r"returned a dict of 'other'.*wanted: sample\(batch\)"):
        answers.only_samples(with_methods(sample=lambda self, b: {"other": X}), {"image": X})


def test_futures_and_layers_have_their_shapes() -> None:
    made = torch.zeros(5, 2, 1, 4, 4)
    one = with_methods(imagine=lambda self, I1, count, prior: made)
    assert answers.imagined(one, X, 2, None) is made
    with pytest.raises(Mistake, match=r"imagine returned a tensor .*futures \(N, count, C, H, W\)"):
        answers.imagined(one, X, 3, None)
    flat = with_methods(unroll=lambda self, batch: {"mask": X})
    with pytest.raises(Mistake, match=r"unroll returned a dict of 'mask'.*wanted: unroll"):
        answers.unrolled(flat, {"video": torch.zeros(5, 3, 1, 4, 4)})


class Counted(Coder):
    """A module with a batch norm and a counter, which sampling moves."""

    def __init__(self) -> None:
        self.norm, self.count = nn.BatchNorm2d(1), 0

    def sample(self, batch: Any) -> Any:
        self.count += 1
        return {"samples": self.norm(batch["image"])}


def test_a_model_is_tried_and_left_as_it_was() -> None:
    model, batch = Counted(), {"image": torch.rand(5, 1, 4, 4)}
    before = copy.deepcopy(model.norm.state_dict())
    answers.tried(model, batch)
    assert model.count == 0 and equal(dict(before), dict(model.norm.state_dict()))
    with pytest.raises(Mistake, match="decode returned"):
        answers.tried(with_methods(Coder, decode=lambda self, z: z), batch)
    with pytest.raises(Mistake, match="sample returned a tensor"):
        answers.tried(with_methods(sample=lambda self, batch: batch["image"]), batch)


def test_what_fails_before_the_first_step_is_left_to_the_first_picture() -> None:
    def unready(self: Any, batch: Any) -> Any:
        raise ValueError("nothing was stored yet")

    answers.tried(with_methods(sample=unready), {"image": X})


BATCHES = {
    "bytes": ({"image": X.to(torch.uint8)}, "shape (5, 1, 4, 4) of torch.uint8; pictures are"),
    "0 to 255": ({"image": X + 255}, "its values are 255 to 255; pictures are float32"),
    "channels last": ({"image": X[0]}, "shape (1, 4, 4); batch = 5"),
    "a list": ({"image": [X]}, "a list of 1"),
    "labels of fewer": ({"image": X, "label": torch.zeros(4)}, "'label': a tensor of shape (4,)"),
    "a tensor": (X, "returned a tensor of shape (5, 1, 4, 4); wanted: draw(k, batch, seed) ->"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_batches_of_a_wrong_kind_are_told(case: str) -> None:
    batch, found = BATCHES[case]
    source = type("Mine", (Digits,), {"draw": lambda self, k, n, seed: batch})()
    with pytest.raises(Mistake) as told:
        answers.drawn_batch(source, 0, 5, 0)
    assert "Mine.draw returned " in str(told.value) and found in str(told.value)


def test_a_right_batch_is_drawn() -> None:
    batch = {"image": X, "label": torch.zeros(5, dtype=torch.int64)}
    source = type("Mine", (Digits,), {"draw": lambda self, k, n, seed: batch})()
    assert answers.drawn_batch(source, 0, 5, 0) == batch


@pytest.mark.parametrize("value", [None, [], {}, 3.0, torch.ones(())])
def test_a_step_returns_what_to_log(value: Any) -> None:
    with pytest.raises(Mistake, match=r"step returned .*; wanted: step\(batch, k\) -> a dict"):
        loop.numbers(value)


def test_plain_numbers_are_logged_where_tensors_are() -> None:
    """A step may return floats; beside tensors of a GPU they are put there, to be averaged as
    one."""
    found = loop.numbers({"loss": torch.ones((), device="meta"), "beta": 0.5, "n": 3})
    assert {value.device.type for value in found.values()} == {"meta"}
    assert float(loop.numbers({"beta": 0.5})["beta"]) == 0.5


# Learning rates


class Falling(Plain):
    """Its rate falls, and it notes the rate at which it stepped."""

    def __init__(self) -> None:
        self.net, self.seen = nn.Linear(2, 1), list[float]()
        self.schedule: Any = ((0, 1.0), (4, 0.0))
        self.opt = optim.adam(self.net, self.schedule, 0.9, 0.99)

    def rates(self) -> dict[str, Any]:
        return {"opt": self.schedule}

    def step(self, batch: Any, k: int) -> dict[str, Tensor]:
        self.seen.append(self.opt.param_groups[0]["lr"])
        return {"loss": torch.ones(())}


class Folder:
    """As much of a run as the loop asks."""

    remembered, lost = set[str](), set[str]()

    def __init__(self, begun: int) -> None:
        self.begun = begun

    def resume(self, model: Any) -> int:
        return self.begun

    def __getattr__(self, name: str) -> Any:
        return {"seed_of": lambda k: k, "path": lambda k: k}.get(name, lambda *_: False)


@pytest.mark.parametrize("begun", [0, 2])
def test_the_loop_sets_the_rates_before_each_step(begun: int) -> None:
    """From wherever the run goes on, and of a copy of the model too."""
    model = copy.deepcopy(Falling())
    assert model.opt.param_groups[0]["lr"] == 1.0
    list(loop.fit(model, lambda k: {}, Folder(begun), steps=6, held_out={}))
    assert model.seen == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0][begun:]
    assert "schedule" not in model.opt.state_dict()


def test_rates_are_of_optimizers() -> None:
    model = Falling()
    model.rates = lambda: {"net": 1.0}  # type: ignore[method-assign]
    with pytest.raises(Mistake, match=r"Falling\.rates names net, which is Linear; allowed: "):
        optim.set_rates(model, 0)
    model.rates = lambda: {"opt_G": 1.0}  # type: ignore[method-assign]
    with pytest.raises(Mistake, match="names opt_G, which is not there"):
        optim.set_rates(model, 0)
    optim.set_rates(Plain(), 0)  # whose rates stay


@pytest.mark.parametrize("name", config.models())
def test_every_model_names_the_rates_of_all_its_optimizers(name: str) -> None:
    tiny = of_model(name)
    if tiny is None or not works(tiny, None):
        pytest.skip("its data are not there")
    model, _ = tiny.model()
    mine = [key for key, one in vars(model).items() if isinstance(one, torch.optim.Optimizer)]
    assert list(model.rates() if isinstance(model, contract.HasRates) else ()) == mine


@pytest.mark.parametrize("name", ["vae", "visual_dynamics", "gan"])
def test_looking_at_answers_moves_neither_weights_nor_chance(name: str) -> None:
    tiny = of_model(name)
    assert tiny is not None
    (model, batches), (other, _) = tiny.model(), tiny.model()
    random.reseed(3)
    found = answers.sampled(model, batches[0])
    after = torch.rand(())
    random.reseed(3)
    wanted = other.sample(batches[0])
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert torch.equal(after, torch.rand(()))


def test_trying_a_model_leaves_a_frozen_dataclass_alone():
    """Hyperparameters of a model from outside may be one, which nobody can set."""

    @dataclasses.dataclass(frozen=True)
    class Hyper:
        beta: float = 1.0

    class Frozen:
        def __init__(self):
            self.hyper, self.count = Hyper(), 3

        def step(self, batch, k):
            return {}

        def sample(self, batch):
            self.count = 5
            return {"samples": batch["image"]}

    model = Frozen()
    answers.tried(model, {"image": torch.zeros(2, 1, 8, 8)})
    assert model.hyper == Hyper() and model.count == 3

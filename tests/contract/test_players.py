"""Players: which weights are whose, what each of them feels, and that looking at them changes
nothing.

What holds for a model's nets and losses is tested for every config, since variants are
hyperparameters."""

import math
import random

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import Tiny, assert_same, equal, examples, needed, of_config
from torch import nn
from torch.optim import SGD, Optimizer

from simulacra.core import config, distributed, optim, run
from simulacra.core.ema import EMA
from simulacra.core.load import build
from simulacra.core.optim import descend
from simulacra.core.parts import eval_mode, parts, weights
from simulacra.core.random import fold, generator, noise, reseed, uniform
from simulacra.core.schedules import Schedule, value_at


@pytest.fixture
def variant(name: str) -> Tiny:
    """The tiny preset of every config."""
    return needed(of_config(name), f"config {name}")


def optimizers(model) -> dict[str, Optimizer]:
    """The model's optimizers by name."""
    return {name: part for name, part in parts(model).items() if isinstance(part, Optimizer)}


def own_weights(model) -> dict[str, nn.Parameter]:
    """All trainable weights of the model by name; averages are no modules."""
    return {name: weight for name, weight in weights(model).items() if weight.requires_grad}


def copies(weights: dict[str, nn.Parameter]) -> dict[str, torch.Tensor]:
    """The weights as they are now."""
    return {name: weight.detach().clone() for name, weight in weights.items()}


def playing(model, batches, steps):
    """Play the steps as the clock does; yields after each what the model tells."""
    for k in range(steps):
        reseed(fold(0, "step", k))
        optim.set_rates(model, k)
        yield model.step(batches[k % len(batches)], k)


# Models


def test_players_partition_the_model(variant):
    model, _ = variant.model()
    if not optimizers(model):
        pytest.skip("no gradient moves this model")
    owned = [
        id(weight)
        for optimizer in optimizers(model).values()
        for weight in optim.weights(optimizer)
    ]
    assert len(owned) == len(set(owned)) > 0, "a weight has two owners"
    names = {id(weight): name for name, weight in own_weights(model).items()}
    assert not [names[i] for i in names.keys() - set(owned)], "weights without an owner"
    assert set(owned) <= names.keys(), "weights that are in no module are not in the checkpoint"


def test_every_weight_moves(variant):
    model, batches = variant.model()
    start, still = copies(own_weights(model)), set(own_weights(model))
    for _ in playing(model, batches, variant.config().steps):
        now = own_weights(model)
        still -= {name for name in still if not torch.equal(now[name], start[name])}
        if not still:
            break
    assert not still


def test_averages_follow(variant):
    model, batches = variant.model()
    averages = [part for part in parts(model).values() if isinstance(part, EMA)]
    if not averages:
        pytest.skip("the model samples its last weights")
    before = [[weight.clone() for weight in average.module.parameters()] for average in averages]
    for _ in playing(model, batches, variant.config().steps):
        if all(
            not equal(was, list(average.module.parameters()))
            for was, average in zip(before, averages, strict=True)
        ):
            return
    raise AssertionError("an average stands still")


def test_rates_follow_their_schedules(tiny):
    """Halfway through a schedule, halfway between its values; each player has its own."""
    fields = msgspec.structs.fields(tiny.config().hyper)
    rates = [
        field.name for field in fields if field.type == Schedule and field.name.startswith("rate")
    ]
    halfway = {name: 1e-3 * (i + 1) for i, name in enumerate(rates)}
    model, batches = tiny.model(
        *(f"hyper.{name}=[[0, 0.0], [8, {2 * rate}]]" for name, rate in halfway.items())
    )
    if not rates:  # nothing that a gradient moves, or rates that stay
        return
    optim.set_rates(model, 4)
    model.step(batches[0], 4)
    found = {
        name: getattr(model, f"opt{name.removeprefix('rate')}").param_groups[0]["lr"]
        for name in rates
    }
    assert found == pytest.approx(halfway) and len(found) == len(optimizers(model))


@pytest.mark.parametrize("name", ["gan_mnist", "rgan_mnist", "rgan_sines"])
def test_a_penalty_every_few_steps_weighs_as_many(variant, monkeypatch):
    """D's loss is its game at three steps of four,
    and at the fourth has gamma / 2 times 4 times the penalties with it."""
    model, batches = variant.model(
        "hyper.penalty_every=4", "hyper.gamma=3.0", "hyper.loss=relativistic"
    )
    seen: list[torch.Tensor] = []

    def watched(*moves, clip=0.0):
        seen.extend(loss.detach() for loss, player in moves if player is model.opt_D)
        descend(*moves, clip=clip)

    monkeypatch.setattr(config.model(variant.config().model), "descend", watched)
    for k, weight in (2, 0), (3, 3.0 / 2 * 4):
        seen.clear()
        told = model.step(batches[0], k)
        penalties = told.get("R1", torch.zeros(())) + told.get("R2", torch.zeros(()))
        assert ("R1" in told) == (k == 3) and (weight == 0 or penalties > 0)
        assert len(seen) == 1 and float(seen[0]) == pytest.approx(
            (told["loss_D"] + weight * penalties).item(), rel=1e-5
        )


class Felt(SGD):
    """Plain gradient descent that remembers what its weights felt last."""

    def step(self, closure=None):
        for weight in optim.weights(self):
            assert torch.empty_like(weight).stride() == weight.grad.stride(), (
                "fused optimizers ignore strides"
            )
        self.last = [weight.grad.clone() for weight in optim.weights(self)]
        return super().step(closure)


def test_only_descend_moves_weights_and_each_player_feels_its_own_loss(variant, monkeypatch):
    """Each player's weights get the gradient of its own loss,
    and nothing else moves, neither then nor in between."""
    model, batches = variant.model()
    for name, optimizer in optimizers(model).items():
        setattr(model, name, Felt(optim.weights(optimizer), lr=1e-3))
    weights, moved = own_weights(model), set()
    last = copies(weights)

    def watched(*moves, clip=0.0):
        assert equal(copies(weights), last), "a weight moved outside of descend"
        wanted = [
            torch.autograd.grad(loss, optim.weights(player), retain_graph=True)
            for loss, player in moves
        ]
        descend(*moves, clip=clip)
        for (_, player), gradients in zip(moves, wanted, strict=True):
            for felt, own in zip(player.last, gradients, strict=True):
                assert torch.allclose(felt, own, rtol=1e-4, atol=1e-8)
        now, movers = (
            copies(weights),
            {id(weight) for _, player in moves for weight in optim.weights(player)},
        )
        others = [name for name, weight in weights.items() if id(weight) not in movers]
        assert all(torch.equal(now[name], last[name]) for name in others)
        last.update(now)
        moved.update(movers)

    monkeypatch.setattr(config.model(variant.config().model), "descend", watched, raising=False)
    monkeypatch.setattr(optim, "descend", watched)
    for _ in playing(model, batches, variant.config().steps):
        assert equal(copies(weights), last), "a weight moved outside of descend"
        if len(moved) == len(weights):
            break
    assert len(moved) == len(weights)


# the published defect that this config keeps: the last row, and one pixel above it
UNREAD = {"rgan_v3_mnist": 29}


def test_every_pixel_reaches_the_discriminator(variant):
    model, batches = variant.model()
    if not hasattr(model, "D"):
        pytest.skip("the model has no discriminator D")
    x = examples(batches[0]).clone().requires_grad_()
    with eval_mode(model.D):
        told = model.D(x)
    for output in told if isinstance(told, tuple) else (told,):
        (gradient,) = torch.autograd.grad(
            (output * torch.randn_like(output)).sum(), x, retain_graph=True
        )
        assert int((gradient == 0).all(0).sum()) == UNREAD.get(variant.source, 0), (
            "pixels are not read"
        )


def test_looking_changes_nothing(variant):
    """Neither `health` nor `sample` changes a weight, a buffer or a mode,
    and both tell finite numbers."""
    model, batches = variant.model()
    batch = batches[0]
    *_, scalars = playing(model, batches, min(20, variant.config().steps))
    modules = [
        m for part in parts(model).values() if isinstance(part, nn.Module) for m in part.modules()
    ]
    modes, before = [m.training for m in modules], run.digest(run.states(model))
    told = model.health(batch, scalars, batches[1]) if hasattr(model, "health") else {}
    shown = model.sample(batch)
    assert run.digest(run.states(model)) == before and [m.training for m in modules] == modes
    assert all(
        value.ndim == 0 and value.isfinite() for value in (*scalars.values(), *told.values())
    )
    assert not scalars.keys() & told.keys(), "health hides what step tells"
    for name in scalars:
        if name in ("D_real", "E_real") and told:
            assert name.replace("real", "held_out") in told, (
                "without it nobody sees the discriminator overfit"
            )
    assert shown["samples"].shape == examples(batch).shape
    assert all(value.isfinite().all() and not value.requires_grad for value in shown.values())
    assert shown["samples"].min() >= -1 and shown["samples"].max() <= 1


def test_samples_follow_from_the_seed(tiny):
    model, batches = tiny.model()
    made = []
    for seed in 0, 0, 1:
        reseed(seed)
        made.append(model.sample(batches[0])["samples"])
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_the_model_is_built_from_shapes(tiny):
    """Values of the batch play no part, and neither does what was random before."""
    model, batches = tiny.model()
    torch.rand(3)
    zeros = {name: torch.zeros_like(value[:2]) for name, value in batches[0].items()}
    assert equal(run.states(model), run.states(build(tiny.config(), zeros, torch.device("cpu"))))


def test_steps_are_deterministic(tiny, tmp_path):
    """Whatever others draw from the global generators in between."""

    def pollute(step, row):
        torch.manual_seed(step)
        torch.rand(step), np.random.rand(step), random.random()  # noqa: NPY002

    settings = "steps=8", "save_every=8", "log_every=3"
    tiny.train(tmp_path / "clean", *settings)
    tiny.train(tmp_path / "polluted", *settings, tick=pollute)
    assert_same(tmp_path / "clean", tmp_path / "polluted")


# descend


def number(value: float) -> nn.Parameter:
    """One weight."""
    return nn.Parameter(torch.tensor(value))


def test_simultaneous_and_alternating_play():
    """In the game a b against -a b from (1, 2) at rate 1:
    at once to (-1, 3), in turn to (-1, 1)."""
    for together, end in (True, (-1, 3)), (False, (-1, 1)):
        a, b = number(1.0), number(2.0)
        first, second = SGD([a], 1.0), SGD([b], 1.0)
        if together:
            descend((a * b, first), (-a * b, second))
        else:
            descend((a * b, first))
            descend((-a * b, second))
        assert (a.item(), b.item()) == end
        assert a.grad is None and b.grad is None


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_two_players_on_one_graph(values):
    """Simultaneous moves with shared nodes equal the gradients by hand,
    and no third weight feels anything."""
    a, b, c = map(number, values)
    start = a.item(), b.item(), c.item()
    shared = a * b * c
    descend((shared.square(), SGD([a], 1.0)), (shared, SGD([b], 1.0)))
    x, y, z = start
    assert a.item() == pytest.approx(x - 2 * x * (y * z) ** 2, abs=1e-4)
    assert b.item() == pytest.approx(y - x * z, abs=1e-4)
    assert c.item() == z and c.grad is None


def test_no_gradient_that_nobody_uses():
    """A generator's step computes no gradient of the discriminator's weights."""
    G, D = nn.Linear(2, 2), nn.Linear(2, 1)
    felt = []
    D.weight.register_hook(felt.append)
    descend((D(G(torch.ones(3, 2))).sum(), SGD(G.parameters(), 0.1)))
    assert not felt


def test_fused_optimizers_get_gradients_in_the_layout_of_their_weights():
    """They walk through memory without a look at strides, and autograd promises no layout."""
    c = torch.randn(6, 4, 3, 3)
    ends = []
    for fused in True, False:
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(6, 4, 3, 3).to(memory_format=torch.channels_last))
        player = torch.optim.Adam([weight], lr=0.1, fused=fused)
        for _ in range(3):
            descend(((weight * c).square().sum(), player))
        ends.append(weight.detach())
    assert torch.allclose(*ends, atol=1e-5)


def test_a_dead_weight_is_named():
    net = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)})
    optimizer = SGD(net.named_parameters(), 0.1)
    before = copies(dict(net.named_parameters()))
    with pytest.raises(RuntimeError, match=r"dead weights.*: unused\.weight, unused\.bias$"):
        descend((net["used"](torch.ones(1, 2)).sum(), optimizer))
    assert equal(copies(dict(net.named_parameters())), before)


def test_nobody_moves_if_one_loss_is_dead():
    a, b = number(1.0), number(1.0)
    with pytest.raises(RuntimeError, match="dead weights"):
        descend((a * 1, SGD([("a", a)], 1.0)), (a * 2, SGD([("b", b)], 1.0)))
    assert (a.item(), b.item()) == (1, 1)


# Averages and schedules


@given(st.integers(1, 500), st.integers(1, 20), st.floats(1, 1e5))
def test_average_forgets_by_half_lives(images, updates, half_life):
    net = nn.BatchNorm1d(1)
    nn.init.zeros_(net.weight)
    average = EMA(net)
    nn.init.ones_(net.weight)
    net.running_mean += 5
    for _ in range(updates):
        average.update(images, 10**9, half_life)
    assert average.module.weight.item() == pytest.approx(
        1 - 0.5 ** (images * updates / half_life), abs=1e-4
    )
    assert average.module.running_mean.item() == 5 and not average.module.weight.requires_grad


def test_average_is_short_at_first_and_can_be_switched_off():
    net = nn.Linear(1, 1, bias=False)
    for half_life, seen, kept in ((1e9, 100, 0.5), (1e9, 1000, 0.5**0.1), (0, 1000, 0.0)):
        nn.init.zeros_(net.weight)
        average = EMA(net)
        nn.init.ones_(net.weight)
        average.update(10, seen, half_life)
        assert average.module.weight.item() == pytest.approx(1 - kept)
        average.follow()
        assert average.module.weight.item() == 1


def test_schedules():
    steps = ((10, 1.0), (20, 3.0), (20, 0.5), (30, 0.0))
    values = {0: 1, 10: 1, 15: 2, 19: 2.8, 20: 0.5, 25: 0.25, 30: 0, 99: 0}
    assert {k: value_at(steps, k) for k in values} == pytest.approx(values)
    assert (
        value_at(7, 3) == 7.0
        and value_at(0.5, 0) == 0.5
        and value_at(((5, 2.0),), 0) == value_at(((5, 2.0),), 9) == 2.0
    )


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 9)), min_size=1, max_size=5).map(sorted),
    st.integers(0, 60),
)
def test_schedules_stay_between_their_values(points, k):
    values = [value for _, value in points]
    assert min(values) - 1e-9 <= value_at(tuple(points), k) <= max(values) + 1e-9


# Seeds


def test_seeds_differ_by_every_name():
    found = {
        fold(*names)
        for names in (
            (0,),
            (1,),
            (0, "step", 1),
            (0, "step", 2),
            (1, "step", 1),
            (0, "st", "ep", 1),
        )
    }
    assert len(found) == 6 and all(0 <= seed < 2**63 for seed in found)
    assert len({fold(seed, "step", k) for seed in range(30) for k in range(30)}) == 900


def test_a_generator_of_its_own_leaves_the_global_one():
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    drawn = [torch.rand(4, generator=generator(0, "x")) for _ in range(2)]
    assert torch.equal(*drawn) and torch.equal(torch.rand(4), wanted)
    reseed(3)
    assert torch.equal(torch.rand(4), wanted)


def test_noise_is_normal_and_uniform_is_not():
    like = torch.zeros(4000, 1)
    z, u = noise(like, 2), uniform(like, 2)
    assert z.shape == u.shape == (4000, 2) and abs(z.mean()) < 0.05 and abs(z.std() - 1) < 0.05
    assert u.min() >= 0 and u.max() < 1 and abs(u.std() - math.sqrt(1 / 12)) < 0.01


# What several processes do together, seen from the second of two


class Two:
    """Stands for torch.distributed where another process has `others`
    and this one is the second."""

    def __init__(self, others: torch.Tensor) -> None:
        self.others = others

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def get_world_size(self) -> int:
        return 2

    def get_rank(self) -> int:
        return 1

    def all_reduce(self, value: torch.Tensor) -> None:
        value += self.others

    def all_gather(self, parts: list[torch.Tensor], own: torch.Tensor) -> None:
        assert not own.requires_grad and len(parts) == 2
        parts[0].copy_(self.others)
        parts[1].copy_(own)


def test_rows_of_two_processes_are_gathered(monkeypatch):
    """In the order of the processes; the gradient is this one's, twice, since descend halves it."""
    monkeypatch.setattr(distributed, "dist", Two(torch.tensor([[1.0, 2], [3, 4]])))
    own = torch.tensor([[5.0, 6], [7, 8]], requires_grad=True)
    whole = distributed.all_gather(own)
    assert whole.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    (gradient,) = torch.autograd.grad((whole * torch.arange(8.0).view(4, 2)).sum(), own)
    assert gradient.tolist() == [[8, 10], [12, 14]]


def test_values_and_gradients_of_two_processes_are_averaged(monkeypatch):
    monkeypatch.setattr(distributed, "dist", Two(torch.tensor([3.0, 5])))
    own = torch.tensor([1.0, 2], requires_grad=True)
    mean = distributed.all_mean(own)
    assert mean.tolist() == [2, 3.5] and not mean.requires_grad and own.tolist() == [1, 2]
    module = torch.nn.Linear(1, 1)
    rule = torch.optim.SGD(module.parameters(), 1.0)
    before = [p.item() for p in module.parameters()]
    # gradients 4 and 1 here, 3 and 5 there
    optim.descend((module(torch.tensor([[4.0]])).sum(), rule))
    after = [p.item() for p in module.parameters()]
    assert [a - b for a, b in zip(before, after, strict=True)] == pytest.approx([3.5, 3])


def test_quiet_modules_come_back_as_they_were():
    loud, calm = nn.Dropout(), nn.Sequential(nn.Dropout()).eval()
    with pytest.raises(KeyError), eval_mode(loud, calm):
        assert not (loud.training or calm.training or calm[0].training)
        raise KeyError
    assert loud.training and not (calm.training or calm[0].training)


class Alike(Two):
    """Another process that has what this one has."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(()))

    def all_reduce(self, value: torch.Tensor) -> None:
        value *= 2

    def all_gather(self, parts: list[torch.Tensor], own: torch.Tensor) -> None:
        for part in parts:
            part.copy_(own)


def test_averages_count_the_pictures_of_all_processes(tiny, monkeypatch):
    model, batches = tiny.model()
    if not any(isinstance(part, EMA) for part in parts(model).values()):
        assert tiny.config().model in ("foregan", "world_controller")
        return
    monkeypatch.setattr(distributed, "dist", Alike())
    counted: list[tuple[int, int]] = []
    monkeypatch.setattr(
        EMA, "update", lambda self, images, seen, half_life: counted.append((images, seen))
    )
    model.step(batches[0], 2)
    images = 2 * len(next(iter(batches[0].values())))
    assert counted == [(images, 3 * images)]

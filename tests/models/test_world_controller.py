"""C: the published actions and signs, equal members
that earn the same in dreams and in the world, a search that resumes."""

import signal

import coded
import pytest
import torch
from tiny import assert_same, scribble

from simulacra.core import config, distributed, random, run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.envs.carracing import tracks
from simulacra.io import paint
from simulacra.models.world import acting, artefacts, dreaming
from simulacra.models.world.acting import Senses, drive
from simulacra.models.world.dreaming import (
    Agents,
    Dream,
    Start,
    beginning,
    dream_returns,
    numbers,
    squashed,
)
from simulacra.models.world.memory_nets import Form, Memory, State, sample_mixture
from simulacra.tasks.train import train

cma = pytest.importorskip("cma", reason="the extra `worlds` is not installed")
from simulacra.models.world.evolution import DIRECTIONS, MIRRORED, STATE, Search  # noqa: E402
from simulacra.models.world.world_controller import Hyper, WorldController, cost  # noqa: E402


def memory(seed: int = 0, **form) -> Memory:
    """A memory of random weights, lively enough that everything matters."""
    torch.manual_seed(seed)
    made = Memory(Form(4, 3, units=8, **({"mixtures": 3, "reward": "value", "end": True} | form)))
    for weight in made.parameters():
        weight.data.mul_(2)
    return made.requires_grad_(False)


def members(P: int, features: int = 12, seed: int = 0) -> torch.Tensor:
    """Random controllers (P, N)."""
    return torch.randn(P, numbers(features, 3), generator=torch.Generator().manual_seed(seed))


def start(E: int = 3, C: int = 0) -> Start:
    """The start of E dreams, C steps remembered."""
    batch = coded.batch(E)
    return beginning(batch["mean"], batch["action"], C)


class Linear:
    """A world of coloured frames, which follow from the track's seed; the best action is a squashed
    linear map of it, and pays 0, others -|a - best|^2."""

    def __init__(self, seeds_, steps: int = 6):
        self.seeds, self.steps, self.t = list(seeds_), steps, 0

    def frames(self) -> torch.Tensor:
        colours = [
            torch.randint(256, (3,), generator=torch.Generator().manual_seed(seed + 7 * self.t))
            for seed in self.seeds
        ]
        return torch.stack(colours).to(torch.uint8)[:, :, None, None].expand(-1, -1, 8, 8)

    def best(self) -> torch.Tensor:
        x = acting.pictures(self.frames()).mean((2, 3))
        return torch.tanh(
            x @ torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, -0.5]]).T
            + torch.tensor([0.3, 0.0, -0.3])
        )

    def reset(self) -> torch.Tensor:
        self.t = 0
        return self.frames()

    def step(self, actions):
        rewards = -(torch.as_tensor(actions) - self.best()).square().sum(1)
        self.t += 1
        return (
            self.frames(),
            rewards.numpy(),
            torch.full((len(self.seeds),), self.t < self.steps).numpy(),
        )


def written(folder, *lines: str) -> str:
    """A config file of a tiny search in dreams."""
    told = [
        'model = "world_controller"\nbatch = 3\nsteps = 14\nsave_every = 4\nlog_every = 2',
        f'[data]\nname = "codes"\npath = "{folder}"\nlength = 8',
        '[hyper]\nworld = "dream"\npopulation = 6\nsteps = 5\ncontext = 2',
        *([] if any(line.startswith("memory") for line in lines) else ["units = 8"]),
        *lines,
        "[preset.tiny]",
    ]
    text = "\n".join(told)
    path = folder.parent / "controller.toml"
    path.write_text(text)
    return str(path)


# Sizes, actions, signs


def test_sizes_are_the_published_ones():
    assert numbers(288, 3) == 867 and numbers(32, 3) == 99
    like = coded.batch(2, 12, 32)
    sizes = {
        arm: len(WorldController(Hyper(arm=arm), like).centre)
        for arm in ("full", "untrained", "z_only")
    }
    assert sizes == {"full": 867, "untrained": 867, "z_only": 99}


def test_the_zero_controller_does_what_is_documented():
    """W4: as the notes squash, it brakes by half."""
    zero = torch.zeros(2, 3)
    found = {kind: squashed(kind, zero)[0].tolist() for kind in ("paper", "notes", "tanh")}
    assert found == {"paper": [0, 0.5, 0], "notes": [0, 0.5, 0.5], "tanh": [0, 0, 0]}
    x = torch.randn(500, 3) * 5
    for kind in "paper", "notes":
        a = squashed(kind, x)
        assert (a[:, 0].abs() <= 1).all() and (a[:, 1:] >= 0).all() and (a[:, 1:] <= 1).all()
    assert torch.equal(squashed("paper", x)[:, 2], x[:, 2].tanh().clamp_min(0))


def test_weight_decay_lowers_fitness():
    """W18: equal returns, and the larger member costs more; by hand."""
    returns, P = torch.full((2, 4), 7.0), torch.stack([torch.ones(5), 3 * torch.ones(5)])
    assert cost(returns, P, 0.0).tolist() == [-7, -7]
    assert cost(returns, P, 0.01).tolist() == pytest.approx([-7 + 0.01, -7 + 0.09])


# Dreams


@pytest.mark.parametrize("arm", ["full", "untrained", "z_only"])
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("C", [0, 3])
def test_a_dream_in_one_batch_is_the_dream_step_by_step(arm, joint, C):
    """One member and one rollout at a time, with the same noise:
    actions, codes, rewards and ends."""
    M, other, P, begin = memory(joint=joint), memory(1), members(4), start(3, C)
    senses = {"full": M, "untrained": other, "z_only": None}[arm]
    P = P if senses else members(4, 4)
    found = dream_returns(P, Dream(M, senses, 9, 1.3), begin, 5, keep=True)
    dice, columns = random.generator(5, "dream"), 1 if joint else 4
    noise = [
        (torch.rand(3, columns + 1, generator=dice), torch.randn(3, 4, generator=dice))
        for _ in range(9)
    ]
    for p in range(4):
        for e in range(3):
            z, total, steps, alive = begin.first[e][None], 0.0, 0, True
            shown = begin.codes[[e]], begin.actions[[e]]
            world, seen = (m and m.start(z) for m in (M, senses))
            if C:
                world, seen = (
                    m and m.remember(*shown, state)[1] for m, state in ((M, world), (senses, seen))
                )
            for t in range(9):
                F = torch.cat([z, seen.h], 1) if senses else z
                a = squashed("paper", F @ P[p, :-3].view(3, -1).T + P[p, -3:])
                assert torch.allclose(found.codes[p, e, t], z[0], atol=1e-4)
                assert torch.allclose(found.actions[p, e, t], a[0], atol=1e-4)
                world, seen = M.advance(z, a, world), senses and senses.advance(z, a, seen)
                follows, (u, normal) = M.predict(world.h), noise[t]
                total, steps = total + alive * float(follows.reward), steps + alive
                z = sample_mixture(follows.code, 1.3, u[[e], 1:], normal[[e]])
                alive = alive and bool(u[e, 0] >= follows.end.sigmoid())
            assert (
                float(found.returns[p, e]) == pytest.approx(total, abs=1e-3)
                and int(found.lengths[p, e]) == steps
            )


def test_equal_members_dream_the_same_and_noise_follows_from_the_seed(monkeypatch):
    """W5; and how many are dreamt at once changes nothing but rounding."""
    M, P = memory(), members(1).repeat(5, 1)
    dream, begin = Dream(M, M, 20, 1.0), start()
    found = dream_returns(P, dream, begin, 3)
    assert torch.allclose(found.returns, found.returns[:1].expand(5, -1), atol=1e-4)
    assert (found.lengths == found.lengths[:1]).all()
    assert torch.equal(dream_returns(P, dream, begin, 3).returns, found.returns)
    assert not torch.allclose(dream_returns(P, dream, begin, 4).returns, found.returns)
    many = members(7)
    whole = dream_returns(many, dream, begin, 3)
    monkeypatch.setattr(dreaming, "ROWS", 6)
    parts = dream_returns(many, dream, begin, 3)
    assert torch.allclose(whole.returns, parts.returns, atol=1e-3) and torch.equal(
        whole.lengths, parts.lengths
    )


def test_members_whose_luck_is_their_own_dream_apart(monkeypatch):
    """WM-10: equal members, equal beginnings; and as many as one likes are dreamt at once."""
    M, P = memory(), members(1).repeat(4, 1)
    dream, begin = Dream(M, M, 20, 1.0), start()
    found = dream_returns(P, dream, begin, 3, own=True, keep=True)
    assert found.codes[:, :, 1].unique().numel() == found.codes[:, :, 1].numel()
    assert torch.equal(dream_returns(P, dream, begin, 3, own=True).returns, found.returns)
    monkeypatch.setattr(dreaming, "ROWS", 1)
    apart = dream_returns(P, dream, begin, 3, own=True, keep=True)
    assert apart.codes[:, :, 1].unique().numel() == found.codes[:, :, 1].numel(), (
        "each part has noise of its own too"
    )


def test_what_a_dream_pays():
    """A memory that says the same whatever it sees:
    the reward at each step, ends at once or never; signs pay 1."""
    for reward, end, kind, wanted in (
        (2.5, -50, "value", 25),
        (2.5, 50, "value", 2.5),
        (2.5, -50, "sign", 10),
        (-2, -50, "sign", 0),
    ):
        M = memory(reward=kind)
        M.head.weight.zero_()
        M.head.bias.zero_()
        M.head.bias[-2:] = torch.tensor([float(reward), float(end)])
        found = dream_returns(members(2), Dream(M, M, 10, 1.0), start(), 0)
        assert (
            torch.allclose(found.returns, torch.tensor(float(wanted)))
            and (found.lengths == (1 if end > 0 else 10)).all()
        )
    with pytest.raises(ValueError, match="no reward head"):
        dream_returns(members(2), Dream(memory(reward="none"), None, 10, 1.0), start(), 0)


def test_a_dream_without_noise_goes_to_the_means_of_the_drawn_components():
    """One component and noise 0: every seed dreams the same, and each code is the mean that M told
    of; twice the noise is twice as far from it."""
    M, P, begin = memory(mixtures=1), members(2), start()
    still = [
        dream_returns(P, Dream(M, M, 6, 1.0, noise=0.0), begin, seed, keep=True) for seed in (3, 4)
    ]
    assert torch.equal(still[0].codes, still[1].codes)
    state = M.advance(begin.first[:1], still[0].actions[0, :1, 0], M.start(begin.first[:1]))
    mean = M.predict(state.h).code.mean[0, 0]
    assert torch.allclose(still[0].codes[0, 0, 1], mean, atol=1e-5)
    off = [
        dream_returns(P, Dream(M, M, 2, 1.0, noise=noise), begin, 3, keep=True).codes[0, 0, 1]
        - mean
        for noise in (1.0, 2.0)
    ]
    assert torch.allclose(2 * off[0], off[1], atol=1e-4) and float(off[0].abs().max()) > 0.01


def test_half_precision_dreams_nearly_the_same():
    M, P = memory(), members(6)
    one = dream_returns(P, Dream(M, M, 1, 0.0), start(), 0).returns
    two = dream_returns(P, Dream(M, M, 1, 0.0, dtype=torch.bfloat16), start(), 0).returns
    assert torch.allclose(one, two, atol=0.1) and not torch.equal(one, two)
    assert all(weight.dtype == torch.float32 for weight in M.parameters())


# Driving


def test_equal_members_drive_the_same():
    """W5: equal controllers, sampled codes, common tracks."""
    eye, M = coded.Colours(), Memory(Form(3, 3, units=8))
    eye.encode = lambda x: (x.mean((2, 3)), torch.zeros(len(x), 3))  # a variance that matters
    P = members(1, 11).repeat(4, 1)
    found = drive(P, Senses(eye, M), Linear([1, 2, 3] * 4), 0)
    assert (
        torch.allclose(found.returns, found.returns[:1].expand(4, -1), atol=1e-5)
        and found.returns[0].unique().numel() == 3
    )
    assert not torch.allclose(
        drive(P, Senses(eye, M), Linear([1, 2, 3] * 4), 1).returns, found.returns
    )
    mean = [
        drive(P, Senses(eye, M, sampled=False), Linear([1, 2, 3] * 4), seed).returns
        for seed in (0, 1)
    ]
    assert torch.equal(*mean)
    own = drive(P, Senses(eye, M), Linear([1, 2, 3] * 4), 0, own=True).returns
    assert own.flatten().unique().numel() == 12, "noise of its own"


def blurred() -> coded.Colours:
    """An eye whose codes are drawn with a variance that matters."""
    eye = coded.Colours()
    eye.encode = lambda x: (x.mean((2, 3)), torch.zeros(len(x), 3))
    return eye


@pytest.mark.parametrize("own", [False, True])
def test_the_noise_of_a_track_does_not_depend_on_the_others(own):
    """Nor on where it stands among them, nor on the number of steps;
    the same for every member unless each has its own."""
    eye, P, steps = blurred(), members(2, 3), 2 * acting.DRAWN + 3

    def returns(*some: int) -> torch.Tensor:
        return drive(P, Senses(eye, None), Linear([*some] * 2, steps), 5, own=own).returns

    whole = returns(11, 12, 13, 14)
    assert torch.allclose(returns(13, 11), whole[:, [2, 0]], atol=1e-4) and torch.allclose(
        returns(14), whole[:, 3:], atol=1e-4
    )
    seen = []
    for some in ([11, 12], [12]):
        codes = []
        world = Linear(some * 2, steps)
        drive(
            P,
            Senses(eye, None),
            world,
            5,
            watch=lambda frames, z, actions, into=codes: into.append(z),
            own=own,
        )
        first = torch.stack(codes)[:, len(some) - 1 :: len(some)]  # of track 12, each member's
        seen.append(first)
        assert torch.equal(first[:, 0], first[:, 1]) != own, "the same noise for both, or not"
    assert torch.allclose(*seen, atol=1e-6)


@pytest.mark.parametrize("luck", ["shared", "own"])
def test_processes_drive_the_tracks_of_one_each_its_share(luck, monkeypatch):
    """Two with half a batch each drive what one drives with a whole batch, and earn the same;
    also when they look."""
    whole, asked = coded.batch(4, 12, 3), []
    hyper = Hyper(arm="z_only", world="envpool", squash="tanh", population=5, steps=6, luck=luck)

    def generation(batch) -> tuple[torch.Tensor, list[int], list[int]]:
        model, found = WorldController(hyper, batch), []
        model.opened = blurred(), lambda some: asked.append(list(some)) or Linear(some)
        rolled = model.rollouts
        model.rollouts = lambda *how: found.append(rolled(*how)) or found[-1]
        asked.clear()
        random.reseed(random.fold(0, "step", 0))
        model.step(batch, 0)
        model.health(batch, {}, batch)
        return found[0][0], asked[0], asked[1]

    returns, driven, looked = generation(whole)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_mean", lambda value: value)
    halves = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        halves.append(
            generation({name: distributed.own_rows(value) for name, value in whole.items()})
        )
    wanted = torch.tensor(driven).view(5, 4)
    assert torch.equal(
        torch.cat([torch.tensor(tracks).view(5, 2) for _, tracks, _ in halves], 1), wanted
    )
    assert len(set(driven)) == (4 if luck == "shared" else 20)
    assert torch.allclose(torch.cat([one for one, _, _ in halves], 1), returns, atol=1e-5)
    assert halves[0][2] + halves[1][2] == looked == list(tracks.SELECTION[:4])


def test_worlds_of_a_search_are_closed():
    """Also if driving in them fails."""
    batch, worlds = coded.batch(3, 12, 3), []

    class Held(Linear):
        closed = False

        def close(self):
            self.closed = True

    model = WorldController(
        Hyper(arm="z_only", world="envpool", squash="tanh", population=5, steps=6), batch
    )
    model.opened = coded.Colours(), lambda some: worlds.append(Held(some)) or worlds[-1]
    model.step(batch, 0)
    model.health(batch, {}, batch)
    # too few for the members
    model.opened = coded.Colours(), lambda some: worlds.append(Held(some[:-1])) or worlds[-1]
    with pytest.raises(IndexError):
        model.rollouts(torch.zeros(5, 12), batch, [1, 2, 3])
    assert len(worlds) == 3 and all(world.closed for world in worlds)


def test_returns_are_sums_until_the_end():
    class Counting(Linear):
        """Reward 1; row i ends after i + 1 steps, and pays on, which must not count."""

        def step(self, actions):
            frames, _, _ = super().step(actions)
            n = torch.arange(len(self.seeds))
            return frames, torch.ones(len(n)), self.t < n + 1

    world = Counting([1, 2, 3, 4])
    found = drive(members(2, 3), Senses(coded.Colours(), None), world, 0)
    assert found.returns.tolist() == [[1, 2], [3, 4]] and found.lengths.tolist() == [[1, 2], [3, 4]]
    assert world.t == 4, "nobody is driven when all have ended"
    assert drive(
        members(2, 3), Senses(coded.Colours(), None), Counting([1, 2, 3, 4]), 0, 2
    ).returns.tolist() == [
        [1, 2],
        [2, 2],
    ]
    assert found.finished.isnan().all() and found.progress.isnan().all()


# The search


def searched(search: Search, begin: int, end: int) -> None:
    """Generations on an ellipsoid around 1."""
    scale = torch.arange(1, len(search.mean) + 1)
    for k in range(begin, end):
        random.reseed(random.fold(0, "step", k))
        population = search.ask()
        search.tell(population, ((population - 1).square() * scale).sum(1))


@pytest.mark.parametrize("N", [120, 867])
@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_a_resumed_search_is_the_unbroken_one(cut, N, tmp_path):
    """W13: bit for bit, through a file, between two lazy updates of the eigenvectors too; and at
    the published size, where the library finds the step size in another way."""
    whole, broken, again = (Search(torch.zeros(N), 0.1, 8) for _ in range(3))
    searched(whole, 0, 40)
    searched(broken, 0, cut)
    torch.save(broken.state_dict(), tmp_path / "state.pt")
    random.reseed(99)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    searched(again, cut, 40)
    one, two = whole.state_dict(), again.state_dict()
    assert set(one) == set(two) >= {*STATE, DIRECTIONS} and (MIRRORED in one) == (N >= 300) == (
        len(one[DIRECTIONS]) == 2
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert again.sigma == whole.sigma != 0.1
    with pytest.raises(ValueError, match="over"):
        Search(torch.zeros(5), 0.1, 8).load_state_dict(one)


def test_a_search_follows_from_the_step_and_seeds_nothing():
    """numpy's generator, which pycma would seed, is as the clock left it."""
    import numpy as np

    one, two = Search(torch.zeros(6), 0.1, 8), Search(torch.zeros(6), 0.1, 8)
    searched(one, 0, 5)
    torch.randn(3)
    searched(two, 0, 5)
    assert torch.equal(one.mean, two.mean)
    after = np.random.rand()  # noqa: NPY002
    random.reseed(random.fold(0, "step", 4))
    assert np.random.rand() == after  # noqa: NPY002


def test_a_search_finds_the_middle_of_a_sphere():
    search = Search(torch.zeros(10), 0.3, 12)
    searched(search, 0, 150)
    assert (search.mean - 1).abs().max() < 1e-3


# The model


def test_it_finds_the_known_optimum_of_a_linear_world():
    batch = coded.batch(8, 12, 3)
    model = WorldController(
        Hyper(arm="z_only", world="envpool", squash="tanh", population=16, sigma=0.3, steps=6),
        batch,
    )
    model.opened = coded.Colours(), Linear
    first = model.health(batch, {}, batch)["return_centre"]
    for k in range(80):
        random.reseed(random.fold(0, "step", k))
        told = model.step(batch, k)
    last = model.health(batch, {}, batch)["return_centre"]
    assert first < -2 and -0.02 < last <= 0
    assert told["return_worst"] <= told["return"] <= told["return_best"] <= 0 and told[
        "loss"
    ] == pytest.approx(-float(told["return"]))


@pytest.mark.parametrize("luck", ["shared", "own"])
def test_every_member_of_a_generation_gets_the_same_new_tracks_or_its_own(luck):
    batch, asked = coded.batch(3, 12, 3), []

    def factory(some):
        asked.append(list(some))
        return Linear(some)

    hyper = Hyper(arm="z_only", world="envpool", squash="tanh", population=5, steps=6, luck=luck)
    model = WorldController(hyper, batch)
    model.opened = coded.Colours(), factory
    for k in range(2):
        random.reseed(random.fold(0, "step", k))
        model.step(batch, k)
    assert all(
        len(some) == 15 and len(set(some)) == {"shared": 3, "own": 15}[luck] for some in asked
    )
    assert luck == "own" or all(some == some[:3] * 5 for some in asked)
    assert not set(asked[0]) & set(asked[1])
    assert max(map(max, asked)) < tracks.KNOWN
    model.health(batch, {}, batch)
    assert asked[2] == list(tracks.SELECTION[:3])


def test_the_mean_is_what_is_judged():
    """W13: not the best member."""
    batch = coded.batch()
    model = WorldController(Hyper(world="dream", population=6, units=8, steps=5), batch)
    for k in range(3):
        random.reseed(random.fold(0, "step", k))
        model.step(batch, k)
    assert torch.equal(model.centre, torch.from_numpy(model.search.strategy.mean).float())
    assert not torch.equal(model.centre, torch.from_numpy(model.search.strategy.best.x).float())
    told = [model.health(batch, {}, batch)["return_centre"] for _ in range(2)]
    alone, _ = model.rollouts(model.centre[None], batch, list(tracks.SELECTION[:4]))
    assert told[0] == told[1] == alone.mean()


@pytest.mark.parametrize("arm", ["full", "untrained", "z_only"])
def test_looking_changes_nothing(arm):
    batch = coded.batch()
    model = WorldController(Hyper(arm=arm, world="dream", population=6, units=8, steps=5), batch)
    model.step(batch, 0)
    before = run.digest(run.states(model))
    told, shown = model.health(batch, {}, batch), model.sample(batch)
    assert run.digest(run.states(model)) == before and all(
        value.isfinite() for value in told.values()
    )
    assert (
        shown["samples"].shape == batch["mean"].shape
        and shown["actions"].shape == batch["action"].shape
    )
    assert all(value.abs().max() <= 1 and not value.requires_grad for value in shown.values())
    parts = {
        "full": {"search", "memory"},
        "untrained": {"search", "memory", "untrained"},
        "z_only": {"search", "memory"},
    }
    assert set(run.states(model)) == parts[arm]


def test_wrong_settings_are_named():
    batch = coded.batch()
    with pytest.raises(ValueError, match="below the 12 steps"):
        WorldController(Hyper(context=12), batch)
    with pytest.raises(ValueError, match="takes codes, the data hold image"):
        WorldController(Hyper(), {"image": torch.zeros(2, 3, 8, 8)})
    with pytest.raises(ValueError, match="actions of 2 numbers"):
        WorldController(Hyper(), batch | {"action": batch["action"][..., :2]})
    with pytest.raises(Mistake, match="is empty; allowed: the run folder of an eye"):
        WorldController(Hyper(population=4, units=4), batch).step(batch, 0)


# Runs


def test_a_killed_search_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paint, "curves", scribble)
    checked = config.resolve(written(coded.folder(tmp_path / "codes")), "tiny")
    train(checked, tmp_path / "whole", None)

    def stop(step, row):
        if step == 7:
            signal.raise_signal(signal.SIGINT)

    assert train(checked, tmp_path / "broken", None, tick=stop).step == 7
    run.checkpoints(tmp_path / "broken")[-1].unlink()
    train(checked, tmp_path / "broken", None)
    assert_same(tmp_path / "whole", tmp_path / "broken")


def test_a_trained_memory_is_dreamt_in_and_another_eyes_codes_are_refused(tmp_path, monkeypatch):
    """The stages joined: codes, memory, dream;
    the memory travels with the controller's checkpoints."""
    monkeypatch.setattr(paint, "curves", scribble)
    folder = coded.folder(tmp_path / "codes")
    text = f"""model = "world_memory"
batch = 4
steps = 4
[data]
name = "codes"
path = "{folder}"
length = 8
[hyper]
units = 6
weight_reward = 1.0
[preset.tiny]
"""
    (tmp_path / "memory.toml").write_text(text)
    train(config.resolve(str(tmp_path / "memory.toml"), "tiny"), tmp_path / "memory", None)
    source = written(folder, f'memory = "{tmp_path / "memory"}"')
    train(config.resolve(source, "tiny", ["steps=3"]), tmp_path / "controller", None)
    (last,) = run.checkpoints(tmp_path / "controller")
    there = run.contents(run.checkpoints(tmp_path / "memory")[-1])["parts"]["average"]
    assert all(
        torch.equal(value, there[name])
        for name, value in run.contents(last)["parts"]["memory"].items()
    )
    begun = config.resolve(
        source, "tiny", [f"hyper.begin={tmp_path / 'controller'}", "hyper.sigma=1e-9", "steps=1"]
    )
    train(begun, tmp_path / "begun", None)
    means = [
        run.contents(run.checkpoints(tmp_path / name)[-1])["parts"]["search"]["mean"]
        for name in ("controller", "begun")
    ]
    assert torch.allclose(*means, atol=1e-6) and means[0].abs().max() > 1e-3
    with pytest.raises(Mistake, match="is empty; allowed: the run folder"):
        train(config.resolve(source, "tiny", ["hyper.world=envpool"]), tmp_path / "blind", None)
    assert not (tmp_path / "blind").exists()
    other = coded.Colours()
    with monkeypatch.context() as patch:
        seen = artefacts.Seen(other, coded.OTHER)
        patch.setattr(artefacts, "eye_at", lambda folder: seen)
        with pytest.raises(Mistake, match=coded.OTHER):  # dreams do not look, but a score will
            train(config.resolve(source, "tiny", ["hyper.eye=other"]), tmp_path / "sees", None)
        assert not (tmp_path / "sees").exists()
    coded.folder(folder, eye=coded.OTHER)
    with pytest.raises(Mistake, match=f"{coded.OTHER}.*{coded.EYE}"):
        train(config.resolve(source, "tiny", ["steps=3"]), tmp_path / "other", None)
    assert not (tmp_path / "other").exists()
    coded.folder(folder)
    assert train(config.resolve(source, "tiny", ["steps=3"]), tmp_path / "controller", None).already
    with pytest.raises(Mistake, match="allowed: model world_memory"):
        wrong = [f"hyper.memory={tmp_path / 'controller'}"]
        train(config.resolve(source, "tiny", wrong), tmp_path / "wrong", None)


def test_a_search_goes_on_from_all_that_another_learnt():
    random.reseed(3)
    first, begun = Search(torch.zeros(5), 0.3, 8), Search(torch.zeros(5), 0.05, 6)
    for _ in range(4):
        members = first.ask()
        first.tell(members, (members * torch.arange(1, 6)).square().sum(1))
    begun.follow(first)
    there, now = first.state_dict(), begun.state_dict()
    assert begun.sigma == 0.05 and first.sigma != 0.05
    assert all(
        torch.equal(there[name], now[name])
        for name in ("mean", "sm.C", "sm.B", "sm.D", "pc", "adapt_sigma.ps")
    )
    assert begun.ask().shape == (6, 5)


def test_a_wider_search_begins_where_a_narrow_one_ended():
    narrow, wide, places = (
        Search(torch.zeros(3), 0.3, 8),
        Search(torch.zeros(6), 0.05, 4000),
        torch.tensor([0, 2, 5]),
    )
    searched(narrow, 0, 12)
    wide.widen(narrow, places)
    there = narrow.state_dict()["sm.C"]
    wanted = torch.eye(6, dtype=torch.float64) * there.diagonal().mean()
    wanted[places[:, None], places] = there
    assert (
        torch.equal(wide.mean[places], narrow.mean)
        and wide.mean.count_nonzero() == 3
        and wide.sigma == 0.05
    )
    drawn = wide.ask()
    assert torch.allclose(
        torch.cov((drawn - wide.mean).T), 0.05**2 * wanted, atol=0.1 * 0.05**2 * float(wanted.max())
    )
    wide = Search(torch.zeros(6), 0.05, 8)
    wide.widen(narrow, places)
    searched(wide, 0, 300)
    assert (wide.mean - 1).abs().max() < 1e-2


def test_a_driver_of_codes_alone_is_gone_on_from_by_one_who_sees_a_memory_too(
    tmp_path, monkeypatch
):
    """Its first centre drives as the other's last, since its weights on the state are 0;
    and no other number is taken."""
    monkeypatch.setattr(paint, "curves", scribble)
    source, one = written(coded.folder(tmp_path / "codes")), f"hyper.begin={tmp_path / 'alone'}"
    train(config.resolve(source, "tiny", ["hyper.arm=z_only", "steps=5"]), tmp_path / "alone", None)
    train(
        config.resolve(source, "tiny", [one, "hyper.sigma=1e-12", "steps=1"]),
        tmp_path / "both",
        None,
    )
    alone, both = (reopen(tmp_path / name, None).model for name in ("alone", "both"))
    z, state = torch.randn(4, 4), State(*(torch.randn(4, 8) for _ in "hc"))
    acted = Agents(alone.centre[None], None, None, "paper").act(z)
    assert (
        acted.allclose(
            Agents(both.centre[None], both.memory.module, state, "paper").act(z), atol=1e-6
        )
        and acted.std() > 0
    )
    with pytest.raises(Mistake, match=r"a controller of 39 numbers; allowed: one of 15$"):
        train(
            config.resolve(
                source, "tiny", [f"hyper.begin={tmp_path / 'both'}", "hyper.arm=z_only"]
            ),
            tmp_path / "no",
            None,
        )

"""M: densities against torch's own, sampling against its law,
one implementation of sequence and step, what it learns."""

import math
import signal
from pathlib import Path
from types import SimpleNamespace

import coded
import pytest
import torch
from tiny import Tiny, assert_same, scribble
from torch import distributions as D

from simulacra.core import config, data_sets, optim, random, run
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, reopen
from simulacra.io import paint
from simulacra.metrics.intervals import jackknife
from simulacra.metrics.world import rollouts
from simulacra.models.world.dreaming import (
    Agents,
    Dream,
    beginning,
    dream_returns,
    earning,
    squashed,
)
from simulacra.models.world.memory_nets import (
    BINS,
    LOG_ROOT,
    Form,
    Memory,
    Mixture,
    bins,
    bounded,
    check_eye,
    expected,
    log_density,
    sample_mixture,
    symexp,
    symlog,
    twohot,
    valued,
)
from simulacra.models.world.world_memory import (
    Hyper,
    WorldMemory,
    loss_code,
    loss_end,
    loss_reward,
    normal_nll,
)
from simulacra.tasks.train import train

SMALL = "hyper.units=8", "hyper.mixtures=2"


def mixture(joint: bool, *lead: int, K: int = 3, Z: int = 4, seed: int = 0) -> Mixture:
    """A mixture of random parameters."""
    dice = torch.Generator().manual_seed(seed)
    logits = torch.randn(*lead, K, 1 if joint else Z, generator=dice)
    return Mixture(logits, *torch.randn(2, *lead, K, Z, generator=dice).unbind(0), -6.0)


def trained(hyper: Hyper, batch, steps: int) -> tuple[WorldMemory, dict]:
    """M after some steps on one batch, and what the last one told."""
    random.reseed(0)
    model = WorldMemory(hyper, batch)
    for k in range(steps):
        random.reseed(random.fold(0, "step", k))
        optim.set_rates(model, k)
        told = model.step(batch, k)
    return model, told


def written(folder, **more) -> str:
    """A config file of a tiny memory on codes."""
    lines = [f"{key} = {value}" for key, value in more.items()]
    text = f"""model = "world_memory"
batch = 4
[data]
name = "codes"
path = "{folder}"
length = 10
[hyper]
units = 8
mixtures = 2
weight_reward = 1.0
weight_end = 1.0
average = 40.0
[preset.tiny]
steps = 20
save_every = 5
log_every = 2
"""
    path = folder.parent / "memory.toml"
    path.write_text("\n".join(lines) + text)
    return str(path)


# Sizes


def test_sizes_are_those_of_the_published_code():
    """422,368 and torch's second bias of 1,024;
    the joint head of the other public code has 327 outputs with reward and end."""
    assert sum(w.numel() for w in Memory(Form(32, 3)).parameters()) == 422_368 + 1_024
    assert Memory(Form(32, 3, joint=True, reward="value", end=True)).head.out_features == 327


# Densities


@pytest.mark.parametrize("joint", [False, True])
def test_density_is_torchs(joint):
    m, z = mixture(joint, 5, 7), torch.randn(5, 7, 4)
    normal = D.Normal(m.mean.transpose(-1, -2), m.log_scale.exp().transpose(-1, -2))  # (5, 7, Z, K)
    if joint:
        own = D.Independent(D.Normal(m.mean, m.log_scale.exp()), 1)
        wanted = D.MixtureSameFamily(D.Categorical(logits=m.logits[..., 0]), own).log_prob(z)
    else:
        wanted = (
            D.MixtureSameFamily(D.Categorical(logits=m.logits.transpose(-1, -2)), normal)
            .log_prob(z)
            .sum(-1)
        )
    assert torch.allclose(log_density(m, z), wanted, rtol=1e-4, atol=1e-4)
    assert torch.allclose(loss_code(m, z), -wanted / 4, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
def test_density_is_finite_a_thousand_deviations_away(joint):
    """W2: log(sum(exp)) without a shift gives log 0."""
    m = mixture(joint, 2)
    z = (m.mean[:, 0] + 1e3 * m.log_scale[:, 0].exp()).requires_grad_()
    found = log_density(m, z)
    assert found.isfinite().all() and (found < -1e4).all()
    assert torch.autograd.grad(found.sum(), z)[0].isfinite().all()


def test_scales_have_a_bound_that_they_can_leave():
    free = torch.tensor([-1e4, -50.0, -6.0, 0.0, 3.0])
    found = bounded(free, -6.0)
    assert (
        (found >= -6).all()
        and found[3].item() == pytest.approx(0.0025, abs=1e-3)
        and (found.diff() >= 0).all()
    )
    near = torch.tensor(-9.0, requires_grad=True)
    assert torch.autograd.grad(bounded(near, -6.0), near)[0] > 0.01, (
        "a clamp would have no slope here"
    )


def test_a_constant_number_cannot_win_without_end():
    """W3: its density has a ceiling, which training comes near to and stays below of."""
    batch = coded.batch(Z=1)
    batch["mean"][:], batch["log_variance"][:] = 0.3, -60
    for low in -1.0, -2.0:
        _, told = trained(
            Hyper(units=4, mixtures=2, low=low, rate=((0, 0.03), (150, 0.003))), batch, 150
        )
        assert low + LOG_ROOT <= told["loss_z"] < low + LOG_ROOT + 0.2


# Sampling


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("joint", [False, True])
def test_samples_follow_the_mixture_at_a_temperature(tau, joint):
    """W6: shares softmax(logits / tau), spread scale x sqrt(tau)."""
    n, Z = 40_000, 2
    logits = torch.tensor([0.0, 1.0, -1.0])[:, None].expand(3, 1 if joint else Z)
    mean = torch.tensor([-100.0, 0.0, 100.0])[:, None].expand(3, Z)
    m = Mixture(logits, mean, torch.full((3, Z), 0.5), -6.0)
    dice = torch.Generator().manual_seed(1)
    u, noise = torch.rand(n, 1 if joint else Z, generator=dice), torch.randn(n, Z, generator=dice)
    z = sample_mixture(
        Mixture(*(part.expand(n, *part.shape) for part in m[:3]), m.low), tau, u, noise
    )
    which = (z / 100).round()
    shares = torch.stack([(which[:, 0] == value).float().mean() for value in (-1, 0, 1)])
    assert torch.allclose(shares, (logits[:, 0] / tau).softmax(0), atol=0.01)
    assert (z - 100 * which).std().item() == pytest.approx(
        float(m.log_scale[0, 0].exp()) * math.sqrt(tau), rel=0.02
    )
    together = (which[:, 0] == which[:, 1]).float().mean()
    assert together == 1 if joint else together < 0.99


def test_heat_spreads_and_cold_is_the_mode():
    m = mixture(False, 2000)
    m = Mixture(*(part[:1].expand_as(part) for part in m[:3]), m.low)
    u, noise = torch.rand(2000, 4), torch.randn(2000, 4)
    spreads = [float(sample_mixture(m, tau, u, noise).var(0).sum()) for tau in (0.1, 0.5, 1.0, 2.0)]
    assert spreads == sorted(spreads)
    mode = m.mean.gather(-2, m.logits.argmax(-2, keepdim=True))[:, 0]
    assert torch.equal(sample_mixture(m, 0, u, noise), mode)
    assert torch.allclose(sample_mixture(m, 1e-12, u, noise), mode, atol=1e-4)
    wanted = (m.logits.softmax(-2) * m.mean).sum(-2)[0]
    assert torch.allclose(expected(m)[0], wanted) and torch.allclose(
        sample_mixture(m, 1.0, u, noise).mean(0), wanted, atol=0.2
    )


# One implementation


@pytest.mark.parametrize("joint", [False, True])
def test_a_sequence_equals_its_steps(joint):
    """W14."""
    M = Memory(Form(4, 3, units=8, joint=joint, reward="value", end=True))
    z, a = torch.randn(2, 5, 9, 4)[0], torch.randn(5, 9, 3)
    whole, end = M(z, a)
    state = M.start(z)
    for t in range(9):
        state = M.advance(z[:, t], a[:, t], state)
        one = M.predict(state.h)
        for found, wanted in zip(
            (*one.code[:3], *one[1:]), (*whole.code[:3], *whole[1:]), strict=True
        ):
            assert torch.allclose(found, wanted[:, t], atol=1e-6)
    assert torch.allclose(state.c, end.c, atol=1e-6)
    halves = M(z[:, 4:], a[:, 4:], M(z[:, :4], a[:, :4])[1])[0]
    assert torch.allclose(halves.code.mean, whole.code.mean[:, 4:], atol=1e-6)


def test_acting_and_training_have_the_same_memory():
    """W1: of an episode acted on step by step, training code finds the same h,
    and the actions follow from the h before."""
    M, C = Memory(Form(4, 3, units=8)), torch.randn(1, 3 * 12 + 3)
    codes = torch.randn(2, 7, 4)
    agents, actions, states = Agents(C, M, M.start(codes), "paper"), [], []
    for t in range(7):
        states.append(agents.state.h)
        actions.append(agents.act(codes[:, t]))
    a = torch.stack(actions, 1)
    seen, _ = M.remember(codes, a, M.start(codes))
    before = torch.cat([torch.zeros(2, 1, 8), seen[:, :-1]], 1)
    assert torch.allclose(torch.stack(states, 1), before, atol=1e-6)
    W, b = C[0, :36].view(3, 12), C[0, 36:]
    assert torch.allclose(a, squashed("paper", torch.cat([codes, before], 2) @ W.T + b), atol=1e-5)
    assert not torch.allclose(
        M.remember(codes, a.roll(1, 1), M.start(codes))[0][:, -1], seen[:, -1], atol=1e-3
    )


# Losses


def test_losses_by_hand():
    told, reward = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[3.0, -100.0, 0.0]])
    assert loss_reward("value", told, reward, 10.0).tolist() == [[4.0, 64.0, 0.25]]
    wanted = [math.log(1 + math.exp(-1)), math.log(1 + math.exp(-2)), math.log(1 + math.exp(0.5))]
    assert loss_reward("sign", told, reward, 10.0)[0].tolist() == pytest.approx(wanted, rel=1e-5)
    ends = [math.log(1 + math.exp(1)), math.log(1 + math.exp(2)), math.log(1 + math.exp(0.5))]
    assert loss_end(told, torch.tensor([[0, 1, 0]]))[0].tolist() == pytest.approx(ends, rel=1e-5)
    errors = torch.tensor([[1.0], [-1.0]])
    assert normal_nll(2 * errors, errors).item() == pytest.approx(LOG_ROOT + 2)


@pytest.mark.parametrize("reward", ["value", "sign", "twohot"])
def test_the_loss_is_the_weighted_sum_and_targets_are_those_of_the_next_step(reward):
    batch = coded.batch()
    model = WorldMemory(Hyper(units=8, reward=reward, weight_reward=0.3, weight_end=7.0), batch)
    z, a = batch["mean"], batch["action"]
    with torch.no_grad():
        told = model.losses(model.M, z, batch)
        state, sums = model.M.start(z), {"loss_z": 0.0, "loss_reward": 0.0, "loss_end": 0.0}
        for t in range(12):
            state = model.M.advance(z[:, t], a[:, t], state)
            follows = model.M.predict(state.h)
            if t < 11:
                sums["loss_z"] -= float(log_density(follows.code, z[:, t + 1]).mean()) / 4 / 11
            sums["loss_reward"] += (
                float(loss_reward(reward, follows.reward, batch["reward"][:, t], 10.0).mean()) / 12
            )
            sums["loss_end"] += float(loss_end(follows.end, batch["done"][:, t]).mean()) / 12
    assert {name: float(value) for name, value in told.items()} == pytest.approx(sums, rel=1e-4)
    scalars = model.step(batch, 0)
    scalars = {name: value.detach() for name, value in scalars.items()}
    parts = scalars["loss_z"] + 0.3 * scalars["loss_reward"] + 7 * scalars["loss_end"]
    assert float(scalars["loss"]) == pytest.approx(float(parts), rel=1e-5)
    assert set(scalars) == {"loss", "loss_z", "loss_reward", "loss_end"}
    assert set(WorldMemory(Hyper(units=8), batch).step(batch, 0)) == {"loss", "loss_z"}


def test_codes_are_drawn_anew_with_the_eyes_variance():
    batch = coded.batch(64, 12)
    batch["log_variance"][:] = math.log(0.09)
    model = WorldMemory(Hyper(units=8), batch)
    one, two = model.sample_codes(batch), model.sample_codes(batch)
    assert not torch.equal(one, two)
    assert (one - batch["mean"]).std().item() == pytest.approx(0.3, rel=0.05)


# What it learns


def test_two_modes_are_learnt_up_to_the_analytic_gap():
    """Codes that are -1 or 1 by chance, with noise 0.1: ln 2 + entropy of the noise;
    one normal distribution has 1.42 nats."""
    dice = torch.Generator().manual_seed(0)
    batch = coded.batch(64, 9, 1)
    batch["mean"] = (torch.rand(64, 9, 1, generator=dice) < 0.5).float() * 2 - 1
    batch["log_variance"][:] = math.log(0.01)
    model, _ = trained(Hyper(units=8, mixtures=3, rate=((0, 0.02), (300, 0.001))), batch, 300)
    best = math.log(2) + LOG_ROOT + 0.5 + math.log(0.1)
    told = model.health(batch, {}, batch)
    assert told["nats_normal"].item() == pytest.approx(
        LOG_ROOT + 0.5 + math.log(1.01) / 2, abs=0.05
    )
    assert best - 0.06 < told["loss_z_held_out"] < best + 0.06


def test_a_linear_world_is_foreseen():
    """Held-out episodes: better than both baselines,
    and than standing still, several steps ahead."""
    many = coded.batch(24, 30)
    batch, unseen = (
        {name: value[rows] for name, value in many.items()} for rows in (slice(16), slice(16, 24))
    )
    hyper = Hyper(
        units=24, mixtures=2, rate=((0, 0.02), (250, 0.002)), weight_reward=1.0, weight_end=1.0
    )
    model, _ = trained(hyper, batch, 250)
    told = {name: float(value) for name, value in model.health(batch, {}, unseen).items()}
    assert told["loss_z_held_out"] < min(told["nats_copy"], told["nats_normal"]) - 0.3
    assert told["loss_reward_held_out"] < 0.1, "of a variance of 0.67"
    assert (
        told["open_1"] < 0.7
        and told["open_5"] < 0.8
        and told["open_20"] < 0.9
        and "open_50" not in told
    )


# Looking


def test_looking_changes_nothing_and_imagines_from_the_context_on():
    batch = coded.batch()
    model, _ = trained(Hyper(units=8, context=5, average=10.0), batch, 3)
    before = run.digest(run.states(model))
    random.reseed(1)
    shown = model.sample(batch)
    random.reseed(1)
    again = model.sample(batch)
    assert (
        torch.equal(shown["samples"], again["samples"])
        and shown["samples"].shape == batch["mean"].shape
    )
    assert shown["beside"].shape == (4, 12, 2) and "dream" not in shown
    z = batch["mean"][:, :5]
    made = model.imagine(z, batch["action"], 1.0)
    assert torch.equal(made[:, :5], z) and not torch.equal(made[:, 5:], batch["mean"][:, 5:])
    model.decode = coded.Colours().decode
    films = model.sample(batch)["dream"]
    assert films.shape == (4, 2, 12, 3, 8, 8) and films.abs().max() <= 1
    model.health(batch, {}, batch)
    assert run.digest(run.states(model)) == before


def test_cold_and_mean_imagining_need_no_noise():
    batch = coded.batch()
    model, _ = trained(Hyper(units=8), batch, 2)
    for tau in 0.0, None:
        a, b = (model.imagine(batch["mean"][:, :3], batch["action"], tau) for _ in range(2))
        assert torch.equal(a, b)


# Eyes


def test_codes_of_another_eye_are_refused_with_both_hashes():
    """W16."""
    model, _ = trained(Hyper(units=8), coded.batch(), 1)
    assert bytes(model.M.eye.tolist()).hex() == coded.EYE
    for look in (lambda b: model.step(b, 1), lambda b: model.health(coded.batch(), {}, b)):
        with pytest.raises(Mistake, match=f"{coded.OTHER}.*{coded.EYE}"):
            look(coded.batch(eye=coded.OTHER))
    check_eye(Memory(Form(4, 3)), coded.batch(eye=coded.OTHER)["eye"])  # an untrained one takes any


def test_wrong_data_are_named():
    with pytest.raises(ValueError, match="takes codes, the data hold image"):
        WorldMemory(Hyper(), {"image": torch.zeros(2, 3, 8, 8)})
    with pytest.raises(ValueError, match="2 or more"):
        WorldMemory(Hyper(), coded.batch(2, 1))


# Runs


def test_a_killed_run_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    folder = coded.folder(tmp_path / "codes")
    checked = config.resolve(written(folder), "tiny")
    monkeypatch.setattr(paint, "curves", scribble)
    train(checked, tmp_path / "whole", None)

    def stop(step, row):
        if step == 13:
            signal.raise_signal(signal.SIGINT)

    assert train(checked, tmp_path / "broken", None, tick=stop).step == 13
    run.checkpoints(tmp_path / "broken")[-1].unlink()
    train(checked, tmp_path / "broken", None)
    assert_same(tmp_path / "whole", tmp_path / "broken")
    coded.folder(folder, eye=coded.OTHER)
    longer = config.resolve(str(tmp_path / "memory.toml"), "tiny", ["steps=30"])
    with pytest.raises(Mistake, match="was trained on other data: 6 changed"):
        train(longer, tmp_path / "whole", None, extend=True)
    begun = config.resolve(
        str(tmp_path / "memory.toml"), "tiny", [f"hyper.begin={tmp_path / 'whole'}"]
    )
    with pytest.raises(Mistake, match=f"{coded.OTHER}.*{coded.EYE}"):
        train(begun, tmp_path / "begun", None)
    assert not (tmp_path / "begun").exists()


def test_players_and_weights(tmp_path):
    checked = config.resolve(written(coded.folder(tmp_path / "codes")), "tiny")
    source = data_sets.load(checked.data, None)
    batch = source.draw(0, 4, 0)
    model = WorldMemory(checked.hyper, batch)
    assert {id(w) for w in optim.weights(model.opt)} == {id(w) for w in model.M.parameters()}
    before = [w.detach().clone() for w in model.M.parameters()]
    for k in range(3):
        model.step(source.draw(k, 4, 0), k)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.M.parameters(), strict=True))


def test_training_begins_where_another_run_ended(tmp_path):
    codes = coded.folder(tmp_path / "codes")
    Tiny("memory_racing", (f"data.path={codes}",)).train(tmp_path / "first")
    begun = Tiny("memory_racing", (f"data.path={codes}", f"hyper.begin={tmp_path / 'first'}"))
    model, _ = begun.begun(tmp_path)
    wanted = reopen(tmp_path / "first", None).model.average.module.state_dict()
    assert (
        all(torch.equal(value, wanted[name]) for name, value in model.M.state_dict().items())
        and model.M.eye.any()
    )
    with pytest.raises(Mistake, match=r"a memory of .*; allowed: one of"):
        begun.begun(tmp_path, "hyper.units=9")


# Rewards


def test_symlog_and_two_bins_by_hand():
    """arXiv 2301.04104: symlog(x) = sign(x) ln(|x| + 1);
    the weights of two bins around a number, whose mean it is."""
    x = torch.tensor([-100.0, -0.1, 0.0, 3.2, 402.0])
    assert symlog(x)[0].item() == pytest.approx(-math.log(101)) and symlog(x)[
        3
    ].item() == pytest.approx(math.log(4.2))
    assert torch.allclose(symexp(symlog(x)), x, atol=1e-4)
    b = bins(x.double())
    assert (
        len(b) == BINS
        and torch.allclose(b, -b.flip(0))
        and (b.diff() > 0).all()
        and b[BINS // 2] == 0
    )
    weights = twohot(x.double())
    assert (
        torch.allclose(weights.sum(-1), torch.ones(5).double())
        and ((weights > 0).sum(-1) <= 2).all()
    )
    assert torch.allclose((weights * b).sum(-1), x.double(), rtol=1e-9)
    k = int((b <= -100).sum()) - 1
    assert weights[0, k].item() == pytest.approx(float((b[k + 1] + 100) / (b[k + 1] - b[k])))
    assert twohot(torch.tensor([1e4, -1e4])).argmax(-1).tolist() == [BINS - 1, 0], (
        "beyond the last bin is the last bin"
    )


def test_the_loss_of_two_bins_is_their_cross_entropy():
    told = torch.randn(2, 3, BINS, generator=torch.Generator().manual_seed(0))
    reward = torch.tensor([[-100.0, -0.1, 3.2], [0.0, 7.0, -50.0]])
    p = twohot(reward)
    wanted = -(p * (told.exp() / told.exp().sum(-1, keepdim=True)).log()).sum(-1)
    assert torch.allclose(loss_reward("twohot", told, reward, 10.0), wanted, atol=1e-4)
    assert torch.allclose(valued("twohot", twohot(reward).log()), reward, rtol=1e-4, atol=1e-4), (
        "what is learnt is the mean"
    )


def crashes(B: int, T: int, seed: int) -> dict[str, torch.Tensor]:
    """Drives that pay 3.2 or -0.1 a step, and -100 in a step of a hundred, which its code shows."""
    dice = torch.Generator().manual_seed(seed)
    z = torch.randn(B, T, 4, generator=dice)
    crash = torch.rand(B, T, generator=dice) < 0.01
    z[..., 0] = torch.where(crash, 3.0, z[..., 0].clamp(-1, 1))
    reward = torch.where(crash, -100.0, torch.where(z[..., 1] > 0, 3.2, -0.1))
    action = torch.rand(B, T, 3, generator=dice)
    eye = torch.tensor(list(bytes.fromhex(coded.EYE)), dtype=torch.uint8).expand(B, -1)
    flat = torch.full_like(z, -20)
    return {
        "mean": z,
        "log_variance": flat,
        "action": action,
        "reward": reward,
        "done": crash.float(),
        "eye": eye,
    }


@pytest.mark.parametrize(("reward", "low", "high"), [("twohot", -125, -75), ("value", -12, -5)])
def test_rare_large_rewards_are_believed_or_clipped(reward, low, high):
    """Dreams cost what the world costs; with clipped rewards a crash costs 10 at most."""
    torch.manual_seed(0)
    hyper = Hyper(units=24, mixtures=1, reward=reward, weight_reward=1.0, rate=2e-2, clip=10.0)
    model = WorldMemory(hyper, crashes(16, 32, 0))
    for k in range(350):
        model.step(crashes(16, 32, k), k)
    unseen = crashes(32, 32, 10**6)
    with torch.no_grad():
        follows, _ = model.average.module(unseen["mean"], unseen["action"])
        believed = earning(model.average.module, follows)
    crash = unseen["reward"] == -100
    assert crash.sum() >= 5 and low < believed[crash].mean() < high
    assert (believed - unseen["reward"])[~crash].abs().mean() < 1


def test_a_memory_of_bins_begins_with_no_reward_and_leaves_the_others_their_bits():
    """What draws its first weights draws the same for all that was there before."""
    batch = coded.batch()
    models = {}
    for reward in "value", "sign", "twohot":
        torch.manual_seed(3)
        models[reward] = WorldMemory(Hyper(units=8, reward=reward, weight_reward=1.0), batch)
    one, other = (models[name].M.state_dict() for name in ("value", "sign"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    M = models["twohot"].M
    follows, _ = M(batch["mean"], batch["action"])
    assert follows.reward.shape == (4, 12, BINS) and earning(M, follows).abs().max() < 1e-3


def test_dreams_pay_what_the_bins_mean():
    M = Memory(Form(4, 3, units=8, reward="twohot"))
    rows = slice(sum(M.sizes[:3]), sum(M.sizes[:4]))
    with torch.no_grad():
        M.head.weight[rows] = 0
        M.head.bias[rows] = twohot(torch.tensor(-100.0)).clamp_min(1e-30).log()
    start = beginning(coded.batch(2)["mean"], coded.batch(2)["action"], 0)
    dreamt = dream_returns(torch.zeros(3, 15), Dream(M, None, 2, 1.0), start, 0)
    assert torch.allclose(dreamt.returns, torch.full((3, 2), -200.0), rtol=1e-3)


def test_foresight_is_of_rewards_as_they_are_paid():
    """Whatever the head learns of them: a memory of bins
    and one of clipped values are held to the same reward, by hand."""
    found = {}
    for reward in "value", "twohot":
        torch.manual_seed(1)
        model = WorldMemory(
            Hyper(units=8, mixtures=2, reward=reward, weight_reward=1.0), coded.batch(1, 30)
        )
        drive = crashes(1, 300, 5)
        opened = Opened(
            Path("run"),
            SimpleNamespace(model="world_memory"),
            model,
            0,
            None,
            torch.device("cpu"),
        )
        told = rollouts.losses(opened, {"a": drive, "b": crashes(1, 300, 6)}, {"a": drive})
        drives = {"a": drive, "b": crashes(1, 300, 6)}
        seen = [
            (one, rollouts.sample_codes(model, one, random.fold(0, "drawn", name)))
            for name, one in drives.items()
        ]
        believed = [
            earning(model.average.module, model.average.module(z, one["action"])[0])[0].detach()
            for one, z in seen
        ]
        off = torch.cat([b - one["reward"][0] for b, (one, _) in zip(believed, seen, strict=True)])
        crash = torch.cat([one["reward"][0] == -100 for one, _ in seen])
        found[reward] = jackknife.estimate(told["reward"]).value
        assert found[reward] == pytest.approx(float(off.square().mean()), rel=1e-4)
        assert jackknife.estimate(told["reward_crash"]).value == pytest.approx(
            float(torch.cat(believed)[crash].mean()), abs=1e-4
        )
    assert min(found.values()) > 50, "an untrained memory is off by 100 in a step of a hundred"


def test_what_a_memory_learns_of_no_reward_is_refused():
    for hyper, told in (
        (Hyper(reward="twohot"), "reward"),
        (Hyper(reward="sign", weight_reward=1.0, most=3.0), "most"),
    ):
        with pytest.raises(ValueError, match=rf"hyper.{told} = .* changes nothing, since it needs"):
            WorldMemory(hyper, coded.batch())


def test_a_memory_without_rewards_dreams_none():
    memory = Memory(Form(z_size=1, a_size=1, units=4))
    follows = memory.predict(torch.zeros(2, 4))
    assert follows.reward is None and float(earning(memory, follows)) == 0


def test_at_temperature_0_the_likeliest_component_is_drawn():
    """Whichever it is, of each number its own, and without noise."""
    logits, mean = (
        torch.tensor([[0.0, 9], [5, 1], [1, 2]]),
        torch.tensor([[10.0, 11], [20, 21], [30, 31]]),
    )
    mixture = Mixture(logits, mean, torch.zeros(3, 2), -6.0)
    for u in 0.0, 0.5, 0.99:
        assert sample_mixture(mixture, 0, torch.full((2,), u), torch.ones(2)).tolist() == [20, 11]


def test_something_is_left_to_forecast():
    """The context, or all but the last code of a sequence that is no longer."""
    model = SimpleNamespace(hyper=Hyper(context=3))
    assert [WorldMemory.shown(model, {"mean": torch.zeros(1, T, 2)}) for T in (2, 3, 4, 9)] == [
        1,
        2,
        3,
        3,
    ]

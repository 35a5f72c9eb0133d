"""The health of a run against traces whose story is known."""

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.core.errors import Mistake
from simulacra.metrics.health.equilibrium import cross_entropy, d_won, distances, equilibrium
from simulacra.metrics.health.health import Event, Settings, events, healthy
from simulacra.metrics.health.verdict import summary

GAN = Settings(equilibrium=equilibrium("non_saturating"), won=d_won("non_saturating"))
# RMSE of predicting the mean face, in the energy's unit of the published plots
MEAN_FACE = 0.31 * 13.86


def trace(spacing, steps, seed, **scalars):
    """Rows whose scalars are functions (step, generator) -> number."""
    r = np.random.default_rng(seed)
    every = range(spacing, steps + 1, spacing)
    return [{"step": s, **{name: float(f(s, r)) for name, f in scalars.items()}} for s in every]


def pieces(*parts):
    """A scalar uniform in [low, high] from each (step, low, high) on."""

    def value(step, r):
        low, high = next((a, b) for start, a, b in reversed(parts) if step >= start)
        return r.uniform(low, high)

    return value


def line(start, end, steps, noise):
    return lambda step, r: start + (end - start) * step / steps + noise * r.standard_normal()


def settling(start, end, pace, noise):
    return lambda step, r: (
        end + (start - end) * math.exp(-step / pace) + noise * r.standard_normal()
    )


def failed_1(spacing, seed):
    """The published run that collapses, recovers and collapses for good."""
    real = pieces((0, 5, 6), (1250, 1.4, 1.6), (1950, 5, 12), (2600, 1.4, 1.6))
    fake = pieces((0, 7, 13), (1300, 13.3, 13.5), (1950, 5, 13), (2600, 13.5, 13.7))
    return trace(spacing, 6500, seed, E_real=real, E_fake=fake)


def failed_2(spacing, seed):
    def spikes(step, r):
        return (
            5 + (8 * step / 1850 if r.random() < 0.3 else r.random())
            if step < 1850
            else r.uniform(1.9, 2.1)
        )

    def rise(step, r):
        return 2 + 13 * step / 1850 + r.normal() if step < 1850 else r.uniform(12, 12.7)

    return trace(spacing, 6000, seed, E_real=spikes, E_fake=rise)


def margin_20(spacing, seed, narrow):
    level = {"predict_mean": lambda step, r: MEAN_FACE + 0.05 * r.normal()}
    if narrow:
        both = {"E_real": line(7, 8.7, 20500, 0.15), "E_fake": line(7, 8.5, 20500, 0.15)}
    else:

        def real(step, r):
            return min(
                12,
                6 + 2 * min(1, step / 10000) + 0.6 * r.normal() + (3 if r.random() < 0.03 else 0),
            )

        both = {"E_real": real, "E_fake": lambda step, r: np.clip(8 + r.normal(), 6, 12)}
    return trace(spacing, 20500, seed, **both, **level)


def quick_D(step, r):
    """loss_D of a healthy GAN: D far ahead for 200 steps, then a rise to ln 2."""
    return (
        abs(0.05 + 0.02 * r.normal())
        if step < 200
        else settling(0.2, 0.69, 300, 0.05)(step - 200, r)
    )


def healthy_gan(spacing, seed=0):
    return trace(
        spacing,
        8000,
        seed,
        loss_D=quick_D,
        loss_G=settling(4, 0.75, 300, 0.1),
        D_real=settling(4, 0.3, 300, 0.3),
        D_fake=settling(-4, -0.3, 300, 0.3),
        diversity=settling(0.02, 0.9, 300, 0.03),
        grad_real=settling(0.2, 1.5, 500, 0.1),
        grad_fake=settling(0.2, 1.8, 500, 0.1),
    )


def healthy_ebgan(spacing, seed=0):
    """An auto-encoder that learns while the hinge holds fakes at the margin, until G catches up."""
    return trace(
        spacing,
        8000,
        seed,
        E_real=settling(14, 5, 200, 0.15),
        E_fake=lambda step, r: 9.4 + 0.1 * r.normal() if step < 1500 else 7 + 0.5 * r.normal(),
        margin=lambda step, r: 9.4,
        hinge_active=lambda step, r: 0.3 + 0.66 * r.random(),
        loss_D=settling(14, 8, 200, 0.2),
        loss_G=lambda step, r: 7 + r.normal(),
        E_noise=settling(16, 13, 200, 0.2),
        predict_mean=lambda step, r: 14.4 + 0.1 * r.normal(),
        pull_away=settling(0.95, 0.35, 200, 0.02),
        pull_away_real=settling(0.6, 0.3, 200, 0.02),
        diversity=settling(0.02, 0.9, 300, 0.03),
    )


def named(found, *names):
    return [event for event in found if event.name in names]


def players(found):
    return [(event.name, event.step) for event in named(found, "d_won", "recovered")]


# --- published traces -----------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [1, 10, 50, 100])
@pytest.mark.parametrize("seed", range(3))
def test_collapse_recovery_and_final_collapse(spacing, seed):
    (a, x), (b, y), (c, z) = players(events(failed_1(spacing, seed)))
    assert (a, b, c) == ("d_won", "recovered", "d_won")
    assert 1250 <= x <= 1650 and 1950 <= y <= 2150 and 2600 <= z <= 3000


def test_hindsight_knows_a_collapse_from_its_beginning():
    rows = failed_1(10, 0)
    assert healthy([row for row in rows if row["step"] <= 1400]) and not healthy(rows, step=1400)
    assert [healthy(rows, step=step) for step in (1000, 1900, 2000, 2500, 2700)] == [
        True,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("spacing", [1, 10, 50, 100])
@pytest.mark.parametrize("seed", range(3))
def test_late_collapse(spacing, seed):
    ((name, step),) = players(events(failed_2(spacing, seed)))
    assert name == "d_won" and 1850 <= step <= 2250


@pytest.mark.parametrize("spacing", [10, 50])
@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_unreached_margin_is_flat_energy(spacing, narrow, seed):
    found = events(margin_20(spacing, seed, narrow))
    assert named(found, "flat_energy") and not players(found)


def test_a_second_collapse_is_measured_against_the_time_before_the_first():
    real = pieces((0, 7, 8), (2000, 1.4, 1.6), (4000, 7, 8), (4400, 1.4, 1.6))
    fake = pieces((0, 8, 10), (2000, 13.3, 13.5), (4000, 8, 10), (4400, 13.3, 13.5))
    expected = [("d_won", 2000), ("recovered", 4000), ("d_won", 4400)]
    assert players(events(trace(10, 6000, 0, E_real=real, E_fake=fake))) == expected


def test_fakes_that_become_as_good_as_reals_end_a_collapse():
    real, fake = (
        pieces((0, 7, 8), (2000, 1.4, 1.6)),
        pieces((0, 8, 10), (2000, 13.3, 13.5), (4000, 1.5, 2)),
    )
    (_, (name, step)) = players(events(trace(10, 6000, 0, E_real=real, E_fake=fake)))
    assert name == "recovered" and 4000 <= step <= 4100


def test_energies_come_before_the_loss():
    rows = [{**row, "loss_D": row["E_real"] - 1.4} for row in failed_1(10, 0)]
    assert len(players(events(rows, Settings(equilibrium={"loss_D": 10.0})))) == 3


# --- healthy runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [1, 10, 37, 100, 500])
@pytest.mark.parametrize("seed", range(3))
def test_healthy_runs_have_no_events(spacing, seed):
    assert events(healthy_gan(spacing, seed), GAN) == []
    assert events(healthy_ebgan(spacing, seed)) == []
    assert healthy(healthy_gan(spacing, seed), GAN)


@pytest.mark.parametrize("seed", range(5))
def test_sparse_noise_is_no_collapse(seed):
    rows = trace(1000, 40000, seed, E_real=pieces((0, 1, 12)), E_fake=pieces((0, 9, 13)))
    assert players(events(rows)) == []


def test_both_energies_falling_together_is_no_collapse():
    fall = pieces((0, 9.8, 10.2), (3000, 2.9, 3.1))
    assert players(events(trace(10, 6000, 0, E_real=fall, E_fake=fall))) == []


@pytest.mark.parametrize(("spacing", "learns"), [(10, 400), (10, 620), (500, 2000)])
def test_an_auto_encoder_that_learns_late_is_no_collapse(spacing, learns):
    real = pieces((0, 14, 14.5), (learns, 3.4, 3.6))
    assert (
        players(events(trace(spacing, 10000, 0, E_real=real, E_fake=pieces((0, 9.3, 9.5))))) == []
    )


def test_fakes_that_still_move_are_not_beaten():
    real, fake = pieces((0, 7, 8), (3000, 1.4, 1.6)), pieces((0, 7, 13))
    assert players(events(trace(10, 6000, 0, E_real=real, E_fake=fake))) == []


def test_energies_below_the_mean_picture_are_not_flat():
    energies = {name: pieces((0, 5, 5.5)) for name in ("E_real", "E_fake")}
    assert events(trace(10, 6000, 0, **energies, predict_mean=pieces((0, 14, 14.2)))) == []


def test_few_rows():
    row = {"step": 10, "loss_D": 0.0, "E_real": 0.1, "E_fake": 9.0}
    for rows in [], [row], [row, {**row, "step": 20}]:
        assert events(rows, GAN) == [] and healthy(rows, GAN)


# --- other detectors ------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [1.0, 0.9])
def test_d_won_by_its_loss(label):
    goal, won = equilibrium("non_saturating", label=label), d_won("non_saturating", label=label)
    level, floor = goal["loss_D"], won["loss_D"]
    parts = (0, level - 0.1, level), (3000, floor, floor + 0.02), (4000, level - 0.1, level)
    rows = trace(10, 6000, 0, loss_D=pieces(*parts))
    (a, x), (b, y) = players(events(rows, Settings(equilibrium=goal, won=won)))
    assert (a, b) == ("d_won", "recovered") and 3000 <= x <= 3200 and 4000 <= y <= 4100
    assert events(rows) == []  # nothing to compare with


def test_a_lead_that_lasts_from_the_start_is_found():
    rows = trace(10, 3000, 0, loss_D=pieces((0, 0.0, 0.02)))
    assert players(events(rows, GAN)) == [("d_won", 500)]


def test_mode_loss_by_diversity():
    found = events(
        trace(10, 6000, 0, diversity=pieces((0, 0.8, 0.9), (3000, 0.05, 0.1), (4500, 0.7, 0.9)))
    )
    assert [event.name for event in found] == ["mode_loss", "mode_recovered"]
    assert [event.step for event in found] == [3000, 4500]
    assert "0.0" in found[0].says and "diversity" in found[0].says


def test_early_mode_loss_after_samples_differed():
    found = events(trace(10, 1500, 0, diversity=pieces((0, 0.8, 0.9), (900, 0.05, 0.1))))
    assert [(event.name, event.step) for event in found] == [("mode_loss", 900)]


@pytest.mark.parametrize(("spread", "expected"), [(1500, []), (9000, [("mode_loss", 2000)])])
def test_young_samples_may_be_alike_for_a_while(spread, expected):
    rows = trace(10, 4000, 0, diversity=line(0.05, 0.8 * 4000 / spread, 4000, 0.02))
    assert [
        (event.name, event.step) for event in events(rows) if event.name == "mode_loss"
    ] == expected


def test_mode_loss_by_codes():
    scalars = {
        "diversity": pieces((0, 0.8, 0.9)),
        "pull_away": pieces((0, 0.3, 0.4), (3000, 0.9, 0.95)),
    }
    for real in {"pull_away_real": pieces((0, 0.3, 0.35))}, {}:
        found = events(trace(10, 6000, 0, **scalars, **real))
        assert [event.name for event in found] == (["mode_loss"] if real else [])
    crowded = trace(
        10, 6000, 0, pull_away=pieces((0, 0.93, 0.97)), pull_away_real=pieces((0, 0.85, 0.9))
    )
    assert events(crowded) == []  # reals are as crowded


def test_identity():
    energies = {"E_real": settling(14, 1, 300, 0.02), "E_noise": settling(16, 0.9, 1500, 0.02)}
    mean = {"predict_mean": pieces((0, 14, 14.2))}
    assert [event.name for event in events(trace(10, 20000, 0, **energies, **mean))] == [
        "identity_ae"
    ]
    poor = {"E_real": pieces((0, 16, 17)), "E_noise": pieces((0, 16, 17))}
    # rebuilds nothing, which is another trouble
    assert events(trace(10, 5000, 0, **poor, **mean)) == []


@pytest.mark.parametrize(("kind", "sign"), [("D", 1), ("E", -1)])
def test_overfitting(kind, sign):
    real, fake = (
        (lambda s, r: 5 + sign * (2 + 0.3 * r.normal())),
        (lambda s, r: 5 - sign * (2 + 0.3 * r.normal())),
    )

    def held_out(s, r):
        return 5 + sign * (2 - 3.5 * min(1, s / 8000) + 0.3 * r.normal())

    scalars = {f"{kind}_real": real, f"{kind}_fake": fake, f"{kind}_held_out": held_out}
    found = events(trace(10, 10000, 0, **scalars))
    assert [event.name for event in found] == ["overfit_d"] and 4500 < found[0].step < 6500


@pytest.mark.parametrize("pace", [200, 1])
def test_divergence(pace):
    def explosion(step, r):
        return (1 + 0.1 * r.normal()) * (1 if step < 3000 else 10 ** min(5, (step - 3000) / pace))

    rows = trace(10, 4000, 0, loss_G=explosion, grad_fake=lambda s, r: 0.01 + 0.001 * r.random())
    (event,) = events(rows)
    assert event.name == "diverged" and 3000 <= event.step <= 3400 and "loss_G" in event.says
    verdicts = [healthy(rows[:i]) for i in range(300, 401)]
    assert verdicts[0] and not verdicts[-1] and verdicts == sorted(verdicts, reverse=True)


def test_one_spike_is_no_divergence():
    rows = trace(10, 4000, 0, loss_G=lambda s, r: 500 if s == 2000 else 1 + 0.1 * r.normal())
    assert events(rows) == [] and healthy(rows)


def test_a_short_burst_is_no_divergence():
    rows = trace(1, 3000, 0, loss_G=lambda s, r: 500 if 2000 <= s < 2020 else 1 + 0.1 * r.normal())
    assert events(rows) == []


def test_not_a_number():
    rows = healthy_gan(10)[:100]
    broken = [*rows, {"step": 1010, "loss_D": math.nan, "loss_G": math.inf}]
    assert events(broken, GAN) == [Event(1010, "nan", "not finite: loss_D, loss_G")]
    assert not healthy(broken, GAN)
    assert not healthy([*broken, {"step": 1020, "loss_D": 0.7}], GAN)
    assert healthy([*broken, {"step": 1020, "loss_D": 0.7, "loss_G": 0.7}], GAN)


# --- more rows never change what was said ---------------------------------------------------------


def check_order(found):
    for pair in ("d_won", "recovered"), ("mode_loss", "mode_recovered"):
        these = named(found, *pair)
        assert [event.name for event in these] == [pair[i % 2] for i in range(len(these))]
        assert all(b.step > a.step or a.name == pair[1] for a, b in pairwise(these))


def check_prefixes(rows, how):
    whole = events(rows, how)
    check_order(whole)
    steps = [row["step"] for row in rows]
    gap = max(np.diff(steps))
    reach = max(how.steady, (how.least - 1) * gap)
    for i in range(0, len(rows), max(1, len(rows) // 40)):
        part = events(rows[:i], how)
        assert [event for event in whole if event in part] == part
        assert not i or set(part) >= {
            event for event in whole if event.step + reach <= steps[i - 1]
        }


@pytest.mark.parametrize("spacing", [10, 50])
def test_prefixes_of_published_traces(spacing):
    for rows in failed_1(spacing, 0), failed_2(spacing, 0), margin_20(5 * spacing, 0, False):
        check_prefixes(rows, Settings())


def levels(low, high):
    """Scalars that jump between levels at random steps."""
    parts = st.lists(
        st.tuples(st.integers(0, 6000), st.floats(low, high), st.floats(0, 0.3)), max_size=6
    )
    return parts.map(
        lambda ps: pieces((0, low, high), *sorted((s, v, v * (1 + n)) for s, v, n in ps))
    )


@settings(max_examples=25, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([5, 20, 100]), min_size=150, max_size=150),
    seed=st.integers(0, 1000),
    scalars=st.fixed_dictionaries(
        {name: levels(0.01, 12.0) for name in ("E_real", "E_fake", "predict_mean", "E_noise")}
        | {name: levels(0.01, 1.0) for name in ("diversity", "pull_away", "pull_away_real")}
        | {"loss_G": levels(0.01, 1e4)}
    ),
    chance=st.sampled_from([0.5, 1.0]),
)
def test_prefixes_of_random_traces(gaps, seed, scalars, chance):
    r = np.random.default_rng(seed)
    rows = [
        {"step": int(s), **{n: f(s, r) for n, f in scalars.items() if r.random() < chance}}
        for s in np.cumsum(gaps)
    ]
    if chance == 1:
        check_prefixes(rows, Settings())
    else:
        whole = events(rows)
        check_order(whole)
        for i in range(0, len(rows), 10):
            assert set(events(rows[:i])) <= set(whole)


def test_a_long_log_takes_less_than_a_second():
    for spacing in 1, 10:
        rows = [
            {**a, **b}
            for a, b in zip(
                healthy_gan(spacing)[:5000], (healthy_ebgan(spacing) * 2)[:5000], strict=False
            )
        ]
        rows = [{**row, "step": spacing * i} for i, row in enumerate((rows * 7)[:5000])]
        begin = time.process_time()
        events(rows, GAN)
        assert len(rows) == 5000 and time.process_time() - begin < 1


# --- theory ---------------------------------------------------------------------------------------


def rounded(losses):
    return {name: round(value, 4) for name, value in losses.items()}


def test_equilibria_by_hand():
    assert rounded(equilibrium("non_saturating")) == {"loss_D": 0.6931, "loss_G": 0.6931}
    assert rounded(equilibrium("non_saturating", label=0.9)) == {"loss_D": 0.6881, "loss_G": 0.7985}
    both = equilibrium("non_saturating", label=0.9, generator_label=0.9)
    assert rounded(both) == {"loss_D": 0.6881, "loss_G": 0.7784}
    assert rounded(equilibrium("relativistic")) == {"loss_D": 0.6931, "loss_G": 0.6931}
    assert equilibrium("least_squares") == {"loss_D": 0.25, "loss_G": 0.125}
    assert equilibrium("hinge") == {"loss_D": 2.0, "loss_G": 0.0}
    assert equilibrium("wgan") == {"loss_D": 0.0}
    assert equilibrium("ebgan", margin=9.4) == {"loss_D": 9.4} and equilibrium("ebgan") == {}


def test_what_a_won_game_costs():
    assert rounded(d_won("non_saturating")) == {"loss_D": 0.0}
    assert rounded(d_won("non_saturating", label=0.9)) == {"loss_D": 0.1625}
    assert round(cross_entropy(0.9, 0.9), 4) == 0.3251  # the floor of loss_G with a smoothed target
    assert d_won("ebgan") == {"loss_D": 0.0} and d_won("wgan") == {}
    assert d_won("relativistic", label=0.9) == d_won("hinge", label=0.9) == {"loss_D": 0.0}, (
        "no label enters these losses"
    )


def test_unknown_losses_are_refused():
    for f in equilibrium, d_won:
        with pytest.raises(Mistake, match="unknown loss 'ns'; there is: non_saturating"):
            f("ns")


def test_distances():
    row = {"step": 1, "loss_D": 0.5, "loss_G": math.nan, "E_real": 3.0}
    assert distances(row, {"loss_D": 0.7, "loss_G": 0.7, "loss_C": 1.0}) == {
        "loss_D_from_equilibrium": pytest.approx(-0.2)
    }
    assert distances({**row, "margin": 9.0}, {}) == {"loss_D_from_equilibrium": -8.5}


# --- words ----------------------------------------------------------------------------------------


def test_words_for_a_collapse_and_its_end():
    rows = trace(
        10,
        6000,
        0,
        E_real=pieces((0, 5, 6), (3200, 1.4, 1.6), (4100, 5, 6)),
        E_fake=pieces((0, 7, 9), (3200, 13.3, 13.5), (4100, 7, 9)),
        margin=pieces((0, 10, 10)),
        hinge_active=pieces((0, 0.63, 0.63)),
        loss_D=pieces((0, 7, 7)),
    )
    said = summary(rows, {})
    assert said[0].startswith(
        "collapsed at step 3,200, recovered at 4,100 (the discriminator won: E_real fell to 2"
    )
    assert (
        "loss_D 7.000 over the last 1,000 steps, "
        "3.000 below its equilibrium 10.000: the discriminator is ahead" in said
    )
    assert "hinge active on 63 % of fakes over the last 1,000 steps: the margin is at work" in said
    assert len(said) == 3


def test_words_for_a_collapse_for_good():
    said = summary(failed_1(10, 0), {})
    assert [sentence.split(" (")[0] for sentence in said][1:] == [
        "collapsed at step 2,600, not recovered by 6,500"
    ]


def test_words_for_a_healthy_run():
    said = summary(healthy_gan(10), GAN.equilibrium)
    assert said[0] == "no collapse seen in 800 logged steps"
    assert said[1].startswith("loss_D 0.68") and said[1].endswith(
        "its equilibrium 0.693: as if in balance"
    )
    assert (
        said[3]
        == "diversity 0.90 of the data's over the last 1,000 steps: samples vary as the data do"
    )
    assert (
        said[4].startswith("slope of the discriminator 1.51 at reals and 1.79 at fakes")
        and len(said) == 5
    )


def test_words_for_players_ahead_and_behind():
    said = summary(
        trace(10, 2000, 0, loss_D=pieces((0, 0.3, 0.3)), loss_G=pieces((0, 1.2, 1.2))),
        GAN.equilibrium,
    )
    assert said[1].endswith("the discriminator is ahead") and said[2].endswith(
        "the generator is behind"
    )


@pytest.mark.parametrize(
    ("real", "fake", "says"),
    [
        (1.0, 1.4, "similar at both, as it should be"),
        (1.0, 1.6, "1.6 times as steep at fakes"),
        (4.5, 1.0, "4.5 times as steep at reals"),
        (6.0, 1.0, "much steeper at reals, as when the discriminator overfits"),
        (1.0, 0.0009, "next to nothing reaches the generator"),
    ],
)
def test_words_for_slopes(real, fake, says):
    said = summary([{"step": 5, "grad_real": real, "grad_fake": fake}], {})
    assert (
        said[-1]
        == f"slope of the discriminator {real:.3g} at reals and {fake:.3g} at fakes at the only "
        f"logged step: {says}"
    )


def test_words_for_a_margin_that_came_late():
    rows = [{"step": 10 * i, "loss_D": 0.7} for i in range(1, 5)]
    said = summary([*rows, {"step": 50, "loss_D": 0.7, "margin": 0.7, "hinge_active": 0.02}], {})
    assert said[-1].startswith(
        "hinge active on 2 % of fakes over the last 40 steps: fakes are hardly pushed up"
    )
    assert not [line for line in summary(rows, {}) if "hinge" in line]


def test_words_for_hardly_any_rows():
    assert summary([], {}) == ["nothing was logged"]
    said = summary([{"step": 5, "loss_D": 0.3}], GAN.equilibrium)
    assert said == [
        "no collapse seen in 1 logged step; step 5 is early: look at the pictures",
        "loss_D 0.300 at the only logged step, "
        "0.393 below its equilibrium 0.693: the discriminator is ahead",
    ]


def test_words_for_samples_that_were_alike_too_early_to_date_it():
    rows = [
        {"step": 50 * i, "loss_D": 0.7, "diversity": 0.4 if i < 3 else 0.06} for i in range(1, 20)
    ]
    words = "collapsed: samples were nearly alike in all of the second half of 19 logged steps"
    assert summary(rows, {})[0] == words
    rows[-1]["diversity"] = 0.5
    assert summary(rows, {})[0] == "no collapse seen in 19 logged steps"

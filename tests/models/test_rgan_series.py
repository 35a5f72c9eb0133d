"""RGAN on series: its losses by hand, the recurrence unrolled, and what reaches what."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from simulacra.core import data_sets, distributed
from simulacra.core.errors import Mistake
from simulacra.core.random import reseed
from simulacra.io import paint
from simulacra.metrics.series import series_report
from simulacra.models.rgan import rgan_series
from simulacra.models.rgan.rgan_series import Hyper, RGANSeries
from simulacra.nn.stabilise import Stabilisers

B, T, C = 4, 7, 2


def small_model(**hyper: object) -> RGANSeries:
    reseed(0)
    return RGANSeries(Hyper(**{"units": 6, "z_size": 3, **hyper}), batch())  # type: ignore[arg-type]


def batch(rows: int = B, seed: int = 0) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return {
        "series": torch.rand(rows, T, C, generator=dice) * 2 - 1,
        "label": torch.arange(rows) % 3,
    }


# Losses


def test_cross_entropies_are_averaged_over_steps() -> None:
    """D = 3/4 at one step of two (logit ln 3) and 1/2 at the other (logit 0)."""
    d, ln2 = torch.tensor([[math.log(3), 0.0]]), math.log(2)
    one, zero = -math.log(3 / 4), -math.log(1 / 4)
    hard, soft = torch.ones(1), torch.full((1,), 0.9)
    assert float(rgan_series.loss_D("non_saturating", d, d, hard)) == pytest.approx(
        ((one + zero) / 2 + ln2) / 2
    )
    smooth = ((0.9 * one + 0.1 * zero + zero) / 2 + ln2) / 2
    assert float(rgan_series.loss_D("non_saturating", d, d, soft)) == pytest.approx(smooth)
    assert float(rgan_series.loss_G("non_saturating", None, d)) == pytest.approx((one + ln2) / 2)


def test_a_pair_is_compared_step_by_step() -> None:
    """Leads of ln 3 and -ln 3 cost ln(4/3) and ln 4: their mean, though the mean lead is 0."""
    d_x, d_g = torch.tensor([[math.log(3) + 5, -2.0]]), torch.tensor([[5.0, math.log(3) - 2]])
    wanted = (math.log(4 / 3) + math.log(4)) / 2
    assert float(rgan_series.loss_D("relativistic", d_x, d_g, torch.ones(1))) == pytest.approx(
        wanted
    )
    assert float(rgan_series.loss_G("relativistic", d_g, d_x)) == pytest.approx(wanted)


def test_losses_are_one_number_a_series() -> None:
    d = torch.randn(B, T)
    for kind in "non_saturating", "relativistic":
        assert rgan_series.loss_D(kind, d, -d, torch.ones(B)).shape == (B,)
    parts = rgan_series.loss_G("non_saturating", None, d)
    assert torch.allclose(
        parts, torch.stack([rgan_series.loss_G("non_saturating", None, one[None])[0] for one in d])
    )


@pytest.mark.parametrize("loss", ["relativistic", "non_saturating"])
def test_the_penalties_enter_the_loss_halved_and_summed(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setattr(
        rgan_series, "descend", lambda *moves: found.append(float(moves[0][0].detach()))
    )
    told = {
        name: value.detach()
        for name, value in small_model(loss=loss, gamma=3.0).step(batch(), 0).items()
    }
    assert found[0] == pytest.approx(
        float(told["loss_D"]) + 1.5 * float(told["R1"] + told["R2"]), rel=1e-5
    )


def test_a_penalty_is_the_squared_slope_of_the_mean_logit() -> None:
    m = small_model(loss="relativistic")
    x = batch()["series"].requires_grad_()
    (slope,) = torch.autograd.grad(m.D(x).mean(1).sum(), x)
    told = m.judge(x, x, None, True)[2]
    assert float(told["R1"].detach()) == pytest.approx(
        float(slope.flatten(1).square().sum(1).mean()), rel=1e-5
    )
    assert float(told["R2"].detach()) == pytest.approx(float(told["R1"].detach()))


# Recurrence


def unrolled(lstm: torch.nn.LSTM, x: Tensor) -> Tensor:
    """The outputs (B, T, units), one step after another, from the equations of an LSTM."""
    kernel, recurrent, *biases = lstm.all_weights[0]
    h = c = x.new_zeros(len(x), lstm.hidden_size)
    outputs = []
    for x_t in x.unbind(1):
        i, f, g, o = (x_t @ kernel.T + h @ recurrent.T + sum(biases)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs, 1)


def test_both_nets_equal_the_unrolled_recurrence() -> None:
    m = small_model(classes=3)
    x, y = batch()["series"], m.one_hot(batch())
    assert y is not None
    z = m.z(x)
    told = y[:, None].expand(-1, T, -1)
    wanted = torch.tanh(m.G.end(unrolled(m.G.write, torch.cat([z, told], 2))))
    assert torch.allclose(m.G(z, y), wanted, atol=1e-6) and wanted.shape == (B, T, C)
    wanted = m.D.judge(unrolled(m.D.read, torch.cat([x, told], 2)))[:, :, 0]
    assert torch.allclose(m.D(x, y), wanted, atol=1e-6) and wanted.shape == (B, T)


def test_the_forget_gates_start_open() -> None:
    for lstm in small_model().G.write, small_model().D.read:
        gates = (lstm.bias_ih_l0 + lstm.bias_hh_l0).chunk(4)
        assert (gates[1] == 1).all() and not (gates[0] == 1).any()


def test_noise_is_fresh_at_every_step_or_one_for_all() -> None:
    x = batch()["series"]
    fresh, once = small_model().z(x), small_model(noise="once").z(x)
    assert fresh.shape == once.shape == (B, T, 3)
    assert len(fresh.flatten(0, 1).unique(dim=0)) == B * T
    assert (once == once[:, :1]).all() and len(once[:, 0].unique(dim=0)) == B


def test_every_step_reaches_what_follows_and_nothing_before() -> None:
    """Each logit feels the series up to its step, each value the noise up to its step."""
    m = small_model()
    for net, x in (m.D, batch()["series"]), (m.G, m.z(batch()["series"])):
        x = x.clone().requires_grad_()
        for t in range(T):
            told = net(x)[:, t]
            (gradient,) = torch.autograd.grad((told * torch.randn_like(told)).sum(), x)
            assert (gradient[:, : t + 1] != 0).all() and (gradient[:, t + 1 :] == 0).all()


# Options


def test_the_condition_reaches_both_at_every_step() -> None:
    m = small_model(classes=3)
    x, one, two = batch()["series"], *torch.eye(3)[:2, None].expand(-1, B, -1)
    z = m.z(x)
    assert (m.G(z, one) != m.G(z, two)).all() and (m.D(x, one) != m.D(x, two)).all()
    told = m.step(batch(), 0)
    assert all(value.isfinite() for value in told.values())
    with pytest.raises(ValueError, match="classes = 3, but the data have no labels"):
        RGANSeries(Hyper(classes=3), {"series": batch()["series"]})


def test_the_batch_mean_is_seen_by_all() -> None:
    x = batch()["series"].requires_grad_()
    for seen in False, True:
        (gradient,) = torch.autograd.grad(small_model(batch_mean=seen).D(x)[0].sum(), x)
        assert bool((gradient[1:] != 0).any()) == seen


def test_a_batch_is_shared_by_the_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each series serves one update of D; the first ones, as many, are how many G makes."""
    m, sizes, moved = small_model(steps_D=3, steps_G=2), [], []
    step_D = m.step_D
    monkeypatch.setattr(m, "step_D", lambda x, y, k: (sizes.append(x), step_D(x, y, k))[1])
    monkeypatch.setattr(
        rgan_series,
        "descend",
        lambda *moves: moved.extend("D" if one is m.opt_D else "G" for _, one in moves),
    )
    m.step(batch(9), 0)
    assert moved == ["D"] * 3 + ["G"] * 2
    assert torch.equal(torch.cat(sizes).sort(0).values, batch(9)["series"].sort(0).values)
    assert all(len(x) == 3 for x in sizes)
    assert all(value.isfinite() for value in m.step(batch(2), 1).values()), (
        "even of fewer series than updates"
    )


def test_plain_gradient_descent_as_published() -> None:
    m = small_model()
    assert (
        type(m.opt_D) is torch.optim.SGD and m.opt_D.defaults["lr"] == 0.1 and m.hyper.rate_D == 0.1
    )
    before = [w.detach().clone() for w in m.D.parameters()]
    reseed(1)
    with torch.no_grad():
        fake = m.G(m.z(batch()["series"]))
    loss = rgan_series.loss_D(
        "non_saturating", m.D(batch()["series"]), m.D(fake), torch.ones(B)
    ).mean()
    slopes = torch.autograd.grad(loss, list(m.D.parameters()))
    reseed(1)
    m.step_D(batch()["series"], None, 0)
    for was, now, slope in zip(before, m.D.parameters(), slopes, strict=True):
        assert torch.allclose(now, was - 0.1 * slope, atol=1e-6)
    assert type(small_model(optimizer_D="adam").opt_D) is torch.optim.Adam


@pytest.mark.parametrize(
    "hyper",
    [{"loss": "relativistic", "gamma": 1.0}, {"stabilise": Stabilisers(spectral=True, noise=0.1)}],
)
def test_variants_play(hyper: dict[str, object]) -> None:
    m = small_model(**hyper)
    for k in range(2):
        told = m.step(batch(seed=k), k)
    assert all(
        value.isfinite()
        for value in (*told.values(), *m.health(batch(), told, batch(seed=9)).values())
    )
    made = m.sample(batch(5))["samples"]
    assert made.shape == (5, T, C) and float(made.abs().max()) <= 1


def test_augmentation_is_for_pictures() -> None:
    with pytest.raises(ValueError, match="which is for pictures"):
        small_model(stabilise=Stabilisers(augment=("translate",)))


def test_two_processes_share_a_batch_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of an update are those that one process would give it."""
    whole = torch.arange(12)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "world_size", lambda: 2)
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        own = distributed.own_rows(whole)
        shares.append([own[i::3].tolist() for i in range(3)])
    assert [a + b for a, b in zip(*shares, strict=True)] == [whole[i::3].tolist() for i in range(3)]


# The house


def test_plots_show_time_to_the_right_and_one_upwards() -> None:
    rise = torch.linspace(-1, 1, 20)[None, :, None]
    dark = paint.plots(rise)[0].astype(int).sum(2) < 600
    rows, columns = np.nonzero(dark)
    assert rows[columns < 10].min() > 60 and rows[columns > 100].max() < 12
    assert (paint.plots(torch.zeros(20, 5, 1)).shape) == (16, *paint.PLOT)
    two = paint.plots(torch.tensor([[[0.5, -0.5]] * 4]))[0].reshape(-1, 3)
    assert {(31, 119, 180), (255, 127, 14)} <= set(map(tuple, two.tolist()))
    for wrong in torch.zeros(3, 4), torch.zeros(0, 4, 1), torch.full((1, 4, 1), math.nan):
        with pytest.raises(Mistake, match="cannot p"):
            paint.plots(wrong)


def test_values_beyond_one_leave_the_plot() -> None:
    assert (
        paint.plots(torch.full((1, 9, 1), 1e30))[0] == paint.plots(torch.full((1, 9, 1), 2.0))[0]
    ).all()


def test_a_folder_of_csv_holds_every_digit(tmp_path) -> None:
    x = batch()["series"]
    paths = paint.save_csvs(x, tmp_path / "out")
    back = [np.loadtxt(path, np.float32, delimiter=",", skiprows=1) for path in paths]
    assert (np.stack(back) == x.numpy()).all() and paths[0].read_text().startswith(
        "channel_0,channel_1\n"
    )
    paint.save_npz(x, tmp_path / "x.npz")
    assert (np.load(tmp_path / "x.npz")["series"] == x.numpy()).all()


def reals(name: str, **options: object) -> series_report.Reals:
    module = data_sets.module(name)
    source = module.Data(module.Options(count=2000, **options), None)
    held_out, train = (source.take(split, 400)["series"] for split in ("held_out", "train"))
    return series_report.Reals(held_out, train, source, 0)


def test_reals_pass_the_report_of_sines_and_noise_fails_it() -> None:
    there = reals("sines", channels=2)
    good, bad = (
        series_report.compare(x, there) for x in (there.train, torch.rand_like(there.train) * 2 - 1)
    )
    assert good["sine_residual"] < 1e-5 < 0.3 < bad["sine_residual"]
    assert max(good[f"{name}_distance"] for name in ("frequency", "amplitude", "phase")) < 0.1
    assert good["mmd_p"] > 0.05 > bad["mmd_p"] and abs(good["mmd2"]) < bad["mmd2"]
    assert good["autocorrelation_distance"] < 0.1 < bad["autocorrelation_distance"]
    assert good["cross_correlation_distance"] < 0.1 and list(good)[-2:] == ["mmd2", "mmd_p"]


def test_the_density_of_a_gaussian_process_needs_noise() -> None:
    there = reals("gaussian_process", noise=0.05)
    good, bad = (
        series_report.compare(x, there) for x in (there.train, there.train[:, torch.randperm(30)])
    )
    own = float(there.source.log_density(there.real).mean())
    assert good["log_density"] == pytest.approx(own, abs=1) and bad["log_density"] < own - 100
    assert "cross_correlation_distance" not in good and not series_report.notes(there.source)
    smooth = reals("gaussian_process")
    assert "log_density" not in series_report.compare(smooth.train, smooth)
    assert "data.noise = 0, so no log-density" in series_report.notes(smooth.source)[0]


def test_a_wave_of_one_amplitude_is_no_range():
    """Nothing to be uniform over: there is no distance then, and the others stay."""
    there = reals("sines", amplitudes=(0.5, 0.5))
    found = series_report.compare(there.train, there)
    assert (
        "amplitude_distance" not in found
        and found["frequency_distance"] < 0.2
        and found["phase_distance"] < 0.2
    )


def test_a_metric_says_from_how_many_it_was_told() -> None:
    assert series_report.counts("mmd2", 5000, 900) == {"n_real": 900, "n_fake": 2000}
    assert series_report.counts("sine_residual", 5000, 900) == {"n_real": 900, "n_fake": 5000}


def test_measured_from_the_command_line(simulacra, tmp_path) -> None:
    run = tmp_path / "run"
    simulacra("train", "rgan_sines", "--preset", "tiny", "--run", run, "--set", "steps=2").success()
    words = "measure", run, "--samples", 20, "--repeats", 2
    rows = json.loads(simulacra(*words, "--json").success())
    assert [row["metric"] for row in rows][-2:] == ["mmd2", "mmd_p"]
    assert all(
        row["extractor"] == "series" and row["extractor_hash"] == series_report.HASH for row in rows
    )
    assert all(row["resize"] is None and row["floor"] is not None for row in rows)
    assert "held_out series" in " ".join(simulacra(*words).success().split())
    text = simulacra(*words, "--extractor", "pixels").refusal()
    assert "extractor 'pixels' sees pictures, and these data are series; allowed: 'series'" in text
    assert "these have no labels" in simulacra(*words, "--downstream").refusal()


def test_conditional_series_teach_classifiers(simulacra, tmp_path) -> None:
    start = torch.arange(60)[:, None] % 2 - 0.5
    np.save(tmp_path / "x.npy", (start + torch.linspace(0, 1, 8)).numpy())
    np.save(tmp_path / "y.npy", np.arange(60) % 2)
    where = [
        "--set",
        f"data.path={tmp_path / 'x.npy'}",
        "--set",
        "data.label=y.npy",
        "--set",
        "hyper.classes=2",
    ]
    simulacra(
        "train",
        "rgan_series",
        "--preset",
        "tiny",
        "--run",
        tmp_path / "run",
        "--set",
        "steps=2",
        *where,
    ).success()
    words = "measure", tmp_path / "run", "--samples", 8, "--repeats", 1, "--downstream", "--json"
    told = {row["metric"]: row for row in json.loads(simulacra(*words).success())}
    assert (
        told["real_accuracy"]["value"] == 1 and told["tstr_accuracy"]["labels"] == "the condition"
    )
    simulacra("sample", tmp_path / "run", "-o", tmp_path / "s.png", "--class", 1).success()
    assert (
        "has no class 2"
        in simulacra("sample", tmp_path / "run", "-o", tmp_path / "s.png", "--class", 2).refusal()
    )


def test_models_say_what_they_take(simulacra, tmp_path) -> None:
    words = "--preset", "tiny", "--run", tmp_path / "run", "--set"
    text = simulacra("train", "rgan_sines", *words, "data.name=digits").refusal()
    assert "model rgan_series takes series, the data hold pictures" in text
    text = simulacra("train", "gan_digits", *words, "data.name=sines").refusal()
    assert (
        "model gan takes pictures, the data hold series" in text and not (tmp_path / "run").exists()
    )


def test_data_show_paints_series(simulacra, tmp_path) -> None:
    simulacra("data", "show", "sines", "-o", tmp_path / "x.png").success()
    height, width, _ = paint.PLOT
    assert Image.open(tmp_path / "x.png").size == (4 * (width + 2) + 2, 4 * (height + 2) + 2)

"""Eyes, probes and memories are measured as worked out by hand:
by track, with intervals over tracks, whatever the sign."""

import json
from pathlib import Path
from types import SimpleNamespace

import coded
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Tiny

from simulacra.core import data_sets
from simulacra.core.errors import Mistake
from simulacra.core.load import Opened, reopen
from simulacra.core.random import generator
from simulacra.data.codes import Options as CodesOptions
from simulacra.data.racing import Options as RacingOptions
from simulacra.envs import episodes
from simulacra.metrics.intervals import jackknife
from simulacra.metrics.world import encoders, linear, probes, rollouts
from simulacra.metrics.world.returns import Row, Score, paired
from simulacra.models.world.world_memory import Hyper, WorldMemory
from simulacra.tasks.measure import Protocol, measure
from simulacra.tasks.worlds.compare_encoders import Arm, better, driven, sheet, table
from simulacra.tasks.worlds.encode import Stored, encode

SIDE, STEPS, START = 32, 90, 45
GRASS, ROAD, CAR = (102, 204, 102), (104, 104, 104), (204, 0, 0)
CPU = torch.device("cpu")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def painted(lateral: np.ndarray) -> np.ndarray:
    """Frames (T, 3, SIDE, SIDE) of a straight road
    whose middle is `lateral` pixels right of the car's."""
    frames = np.empty((len(lateral), SIDE, SIDE, 3), np.uint8)
    frames[:] = GRASS
    for frame, off in zip(frames, lateral, strict=True):
        left = round(13 + float(off))
        frame[:, max(0, left) : left + 6] = ROAD
        frame[26:29, 15:17] = CAR
    return frames.transpose(0, 3, 1, 2).copy()


def recorded(home: Path, drives: int = 12, steps: int = STEPS) -> Path:
    """A store of drives, a track each, on which the road swings."""
    spec = episodes.Spec(
        seed=0,
        simulator="envpool",
        size=SIDE,
        hud=False,
        steps=1000,
        lead=0,
        mixture={"idle": 1},
        versions={},
    )
    with episodes.filling(home, spec):
        for number in range(drives):
            dice, t = np.random.default_rng(number), np.arange(steps)
            lateral = 6 * np.sin(t / 9 + number) + dice.normal(0, 0.3, steps)
            truths = np.stack(
                [
                    lateral,
                    np.cos(t / 9 + number) / 2,
                    np.sin(t / 5),
                    30 + lateral,
                    t // 3,
                    t / steps,
                ],
                1,
            )
            facts = episodes.Facts(
                number=number,
                track=500 + number,
                simulator="envpool",
                policy="idle",
                hud=False,
                start=START,
                terminated=False,
                lap_finished=False,
            )
            actions = dice.uniform(-1, 1, (steps, 3)).astype(np.float32)
            rewards, ends = np.full(steps, -0.1, np.float32), np.zeros(steps, bool)
            episodes.write(
                home,
                episodes.Episode(
                    painted(lateral), actions, rewards, ends, truths.astype(np.float32), facts
                ),
            )
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, two eyes trained on it, their codes and memories of these."""
    folder = tmp_path_factory.mktemp("world")
    recorded(folder / "store")
    for model_name in "vae", "vaegan":
        changes = (f"data.path={folder / 'store'}", "data.held_out=0.3")
        Tiny(f"{model_name}_racing", changes).train(
            folder / model_name, "steps=20", "save_every=20"
        )
        kept = Stored(episodes.Store(folder / "store"))
        encode(reopen(folder / model_name, None), kept, folder / f"codes_{model_name}")
        changes = (f"data.path={folder / f'codes_{model_name}'}", "data.held_out=0.3")
        Tiny("memory_racing", changes).train(
            folder / f"memory_{model_name}", "steps=20", "save_every=20"
        )
    return folder


def racing(home: Path):
    """The store as a data set."""
    return data_sets.load(RacingOptions(path=str(home / "store"), held_out=0.3), None)


def memory(batch: dict[str, torch.Tensor], **hyper: object) -> Opened:
    """An untrained memory of such codes, as if it had been opened."""
    torch.manual_seed(0)
    model = WorldMemory(
        Hyper(units=6, mixtures=2, weight_reward=1.0, weight_end=1.0, context=3, **hyper), batch
    )
    return Opened(Path("run"), SimpleNamespace(model="world_memory"), model, 0, None, CPU)


# Intervals


def test_statistics_of_sums_by_hand():
    groups = ["b", "a", "a", "b"]
    values = torch.tensor([1.0, 2.0, 4.0, torch.nan])
    one = jackknife.mean(values, groups)
    assert one.groups == ("a", "b") and one.sums.tolist() == [[6, 2], [1, 1]]
    assert jackknife.estimate(one).value == pytest.approx(7 / 3)
    assert jackknife.estimate(
        jackknife.ratio(values, torch.tensor([2.0, 1.0, 1.0, 5.0]), groups)
    ).value == pytest.approx(7 / 4)
    root = jackknife.root_ratio(torch.tensor([9.0, 16.0]), torch.ones(2), ["a", "b"])
    assert jackknife.estimate(root).value == pytest.approx(12.5**0.5)
    decibels = jackknife.decibels(torch.tensor([0.01, 0.07]), ["a", "b"])
    assert jackknife.estimate(decibels).value == pytest.approx(20), "10 log10(4 / 0.04)"
    y, guess = torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([1.0, 2.0, 3.0, 3.0])
    assert jackknife.estimate(jackknife.explained(guess, y, groups)).value == pytest.approx(
        1 - 9 / 14
    )


def test_intervals_are_of_groups_and_always_the_same():
    values = random(200) + torch.arange(20).repeat_interleave(10)
    groups = [f"{i // 10:02d}" for i in range(200)]
    one = jackknife.estimate(jackknife.mean(values, groups))
    assert one == jackknife.estimate(jackknife.mean(values, groups))
    many = jackknife.estimate(jackknife.mean(values.repeat(50), groups * 50))
    assert many == pytest.approx(one), "frames of a track are no further evidence"
    error = values.view(20, 10).mean(1).std().item() / 20**0.5
    assert one.groups == 20 and one.high - one.low == pytest.approx(2 * 2.0930 * error, rel=1e-4)
    alone = jackknife.estimate(jackknife.mean(values, ["a"] * 200))
    assert np.isnan(alone.low) and np.isnan(alone.high) and alone.value == pytest.approx(one.value)


def test_differences_are_paired():
    groups = [str(i) for i in range(12)]
    hard = 100 * random(12).double()
    one, other = jackknife.mean(hard + 1, groups), jackknife.mean(hard, groups)
    apart = jackknife.difference(one, other)
    assert apart == pytest.approx((1, 1, 1, 12))
    assert jackknife.estimate(one).high - jackknife.estimate(one).low > 20
    with pytest.raises(Mistake, match="differ in 2 groups, 11 among"):
        jackknife.difference(one, jackknife.mean(hard, [*groups[:-1], "x"]))


def test_where_a_group_alone_varies_r2_has_no_interval():
    y = torch.tensor([0.0, 0.0, 0.0, 1.0, 2.0, 3.0])
    found = jackknife.estimate(jackknife.explained(y + 0.1, y, ["a", "a", "a", "b", "b", "b"]))
    assert (
        found.value == pytest.approx(1 - 0.06 / 8) and np.isnan(found.low) and np.isnan(found.high)
    )


# Linear maps


def test_a_probe_recovers_a_linear_map():
    x, groups = random(300, 7), [str(i % 5) for i in range(300)]
    weight = torch.tensor([1.0, -2.0, 0.0, 0.5, 3.0, 0.0, -1.0])
    y = x @ weight + 4
    found = linear.chosen(x, y, groups)
    assert torch.allclose(
        found.weight, weight.double(), atol=1e-5
    ) and found.offset == pytest.approx(4, abs=1e-5)
    assert jackknife.estimate(jackknife.explained(found(x), y, groups)).value > 1 - 1e-9
    assert linear.ridge(x, y, 1e6).weight.norm() < 1e-4, "a large penalty leaves the mean"
    still = linear.chosen(torch.cat([x, 1 + 1e-7 * random(300, 1)], 1), y, groups)
    assert still.weight[-1] == 0 and torch.allclose(still.weight[:-1], weight.double(), atol=1e-5)
    with pytest.raises(Mistake, match="fitted on 1 track"):
        linear.chosen(x, y, ["a"] * 300)


def test_noise_has_an_r2_about_0():
    groups = [str(i % 20) for i in range(2000)]
    fits = linear.chosen(random(2000, 10), random(2000, seed=1), groups)
    found = jackknife.estimate(
        jackknife.explained(fits(random(2000, 10, seed=2)), random(2000, seed=3), groups)
    )
    assert abs(found.value) < 0.02


def test_as_many_components_as_the_rank_are_exact():
    x = (random(40, 5) @ random(5, 3 * 8 * 8, seed=1) + random(192, seed=2)).view(40, 3, 8, 8)
    whole, fewer = linear.components(x, 5), linear.components(x, 3)
    assert torch.allclose(whole.decode(whole.encode(x)[0]), x, atol=1e-3)
    assert torch.allclose(whole.axes @ whole.axes.T, torch.eye(5), atol=1e-5)
    left = (fewer.decode(fewer.encode(x)[0]) - x).square().sum()
    singular = torch.linalg.svdvals((x - x.mean(0)).flatten(1))
    assert left.item() == pytest.approx(singular[3:].square().sum().item(), rel=1e-3)
    assert linear.components(x[:4], 9).z_size == 3 and linear.components(x, 9).z_size == 5
    still = torch.full((4, 3, 8, 8), 0.5)
    alike = linear.components(still, 3)
    assert alike.z_size == 1 and torch.equal(alike.decode(alike.encode(still)[0]), still), (
        "what never varies has no more"
    )


# Pictures


def test_masks_of_a_painted_picture():
    x = torch.from_numpy(painted(np.array([0.0, 3.0]))).float() / 127.5 - 1
    seen = encoders.labels(x)
    names = list(encoders.PALETTE)
    car = seen[0] == names.index("car")
    assert (
        car.sum() == 6
        and car[26:29, 15:17].all()
        and (seen[0] == names.index("road")).sum() == 32 * 6 - 6
    )
    rows = encoders.compared(x[1:], x[:1])
    road, shifted = 32 * 6 - 6, 32 * 6 - 3  # the car's left column is beside the shifted road
    both = 32 * 3 - 3
    assert rows["both_car"].item() == rows["either_car"].item() == 6
    assert (rows["both_road"].item(), rows["either_road"].item()) == (both, road + shifted - both)
    for colours in encoders.PALETTE.values():
        for colour in colours:
            flat = (torch.tensor(colour)[None, :, None, None] / 127.5 - 1).expand(1, 3, 4, 4)
            assert colour in encoders.PALETTE[names[int(encoders.labels(flat)[0, 0, 0])]]


def test_reconstructions_by_track(home):
    held = encoders.Held(racing(home), 60, trained=200, featured=0)
    exact = {name: jackknife.estimate(one) for name, one in encoders.rebuilt(held.x, held).items()}
    wanted = {
        "psnr": 100,
        "psnr_zoom": 100,
        "ssim": 1,
        "edge_energy_ratio": 1,
        "iou_road": 1,
        "iou_car": 1,
    }
    assert {name: exact[name].value for name in wanted} == pytest.approx(wanted) and np.isnan(
        exact["iou_curb"].value
    )
    blurred = torch.nn.functional.avg_pool2d(held.x, 5, 1, 2, count_include_pad=False)
    found = {name: jackknife.estimate(one) for name, one in encoders.rebuilt(blurred, held).items()}
    assert (
        found["edge_energy_ratio"].high < 1
        and found["psnr"].high < 30
        and found["iou_car"].value < 1
    )
    assert (
        exact["psnr"].groups == len({entry.facts.track for entry in held.source.store.entries}) // 4
    )


def test_what_probes_may_see(home):
    truth = torch.zeros(6, 6)
    truth[:, 2], truth[:, 4] = 0.01 * torch.arange(6), torch.tensor([0.0, 0, 1, 2, 985, 995])
    truth[1, 0], truth[2, 1] = 21, 2
    road = torch.full((probes.TILES,), torch.nan)
    road[12] = 0.5
    found = probes.ground_truth(truth, torch.tensor([49, 50, 50, 50, 50, 50]), [7] * 6, {7: road})
    assert found.targets["lateral"].isnan().tolist() == [True, True, True, False, False, False]
    ahead = found.targets["curvature_ahead"]
    assert ahead[3] == 0.5 and ahead[[0, 1, 2, 4, 5]].isnan().all() and found.groups == ["7"] * 6
    source = racing(home)
    drives, steps = source.whence("held_out", 50)
    rows = torch.from_numpy(
        np.stack(
            [
                source.store.read(i, "truths")[t - START]
                for i, t in zip(drives.tolist(), steps.tolist(), strict=True)
            ]
        )
    )
    assert torch.equal(rows, source.truth("held_out", 50)) and steps.min() >= START
    known = probes.of_frames(source, "held_out", 50)
    assert [int(group) - 500 for group in known.groups] == drives.tolist()
    assert torch.equal(known.targets["lateral"].isnan(), steps < 50)


def test_components_read_the_road(home):
    look = encoders.linearly(encoders.Held(racing(home), 150, trained=400, featured=0), 16)
    lateral = jackknife.estimate(look.measures["probe_lateral"])
    assert lateral.value > 0.9 and lateral.low > 0.8
    assert jackknife.estimate(look.measures["psnr"]).value > 20 and not look.values


def test_a_look_at_a_trained_eye(home):
    opened, held = (
        reopen(home / "vae", None),
        encoders.Held(racing(home), 80, trained=200, featured=0),
    )
    look = encoders.look(opened, held)
    x = held.x
    mean, s = opened.model.encode(x)
    made = opened.model.decode(mean)
    mse = (made - x).double().square().mean((1, 2, 3))
    assert jackknife.estimate(look.measures["psnr"]).value == pytest.approx(
        (10 * (4 / mse).log10()).mean().item(), rel=1e-4
    )
    nats = ((mean**2 + s.exp() - 1 - s) / 2).sum(1).mean().item()
    assert jackknife.estimate(look.measures["KL"]).value == pytest.approx(nats, rel=1e-4)
    assert look.values["active"] == (mean.var(0, correction=0) > 0.01).sum()
    assert look.values["aggregate_variance"] == pytest.approx(
        (mean.var(0, correction=0) + s.exp().mean(0)).mean().item(), rel=1e-4
    )
    assert {name for name in look.measures if name.endswith("_drawn")} == {
        "psnr_drawn",
        "ssim_drawn",
        "edge_energy_ratio_drawn",
    }
    noise = torch.randn(mean.shape, generator=generator(0, "drawn"))
    mse = (opened.model.decode(mean + (s / 2).exp() * noise) - x).double().square().mean((1, 2, 3))
    drawn = jackknife.estimate(look.measures["psnr_drawn"]).value
    assert drawn == pytest.approx((10 * (4 / mse).log10()).mean().item(), rel=1e-4)
    again = encoders.look(opened, held)
    assert all(
        torch.equal(one.sums, again.measures[name].sums) for name, one in look.measures.items()
    )


# Memories


def test_the_copy_of_a_code_by_hand():
    true = torch.tensor([[[2.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]])
    shown, imagined = (
        torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[[2.0, 1.0], [4.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]),
    )
    found = rollouts.Ahead([1, 5], ["a", "b"], [0, 3], true, shown, imagined)
    errors = {
        name: jackknife.estimate(one).value for name, one in rollouts.code_errors(found).items()
    }
    assert errors == pytest.approx({"open_1": 1.0, "open_5": (4 / 13) ** 0.5})
    known = probes.Known({"lateral": torch.arange(10.0)}, ["a"] * 10)
    first = linear.Linear(torch.tensor([1.0, 0.0]).double(), 0.0)
    told = rollouts.probe_errors(found, {"lateral": first}, {"a": known, "b": known})
    values = {name: jackknife.estimate(one).value for name, one in told.items()}
    wanted = {  # truths: drive a at 1 and 5, drive b at 4 and 8
        "lateral_1": ((1 + 16) / 2) ** 0.5,
        "lateral_1_copy": (16 / 2) ** 0.5,
        "lateral_1_eye": ((1 + 16) / 2) ** 0.5,
        "lateral_5": ((1 + 64) / 2) ** 0.5,
        "lateral_5_copy": ((16 + 64) / 2) ** 0.5,
        "lateral_5_eye": ((1 + 64) / 2) ** 0.5,
    }
    assert values == pytest.approx(wanted)


def test_the_copy_of_a_frame_by_hand(home):
    kept = episodes.Store(home / "store")
    eye = SimpleNamespace(decode=lambda z: z[:, :, None, None].expand(-1, 3, SIDE, SIDE))
    places = [("00000002", 7), ("00000005", 30)]
    z = torch.zeros(2, 1, 1)
    found = rollouts.Ahead([5], [name for name, _ in places], [t for _, t in places], z, z[:, 0], z)
    told = {
        name: jackknife.estimate(one).value
        for name, one in rollouts.picture_errors(found, eye, kept).items()
    }
    frames = [(kept.episode(int(name)).frames[[t, t + 5]] / 127.5 - 1) for name, t in places]
    copied = np.mean([(one[0] - one[1]) ** 2 for one in frames])
    grey = np.mean([one[1] ** 2 for one in frames])
    wanted = {"picture_5": 4 / grey, "picture_5_copy": 4 / copied, "picture_5_eye": 4 / grey}
    assert told == pytest.approx(
        {name: 10 * np.log10(value) for name, value in wanted.items()}, rel=1e-5
    )


def test_open_loop_errors_are_the_models_own():
    batch = coded.batch(B=1, T=24)
    opened = memory(batch)
    told = opened.model.forecast(batch)
    assert list(told) == ["open_1", "open_5", "open_20"]
    found = rollouts.code_errors(
        rollouts.ahead(opened, {"a": {name: one[:, :23] for name, one in batch.items()}})
    )
    assert {name: jackknife.estimate(one).value for name, one in found.items()} == pytest.approx(
        {name: float(value) for name, value in told.items()}, rel=1e-5
    )
    with pytest.raises(Mistake, match="at most 3 steps"):
        rollouts.ahead(opened, {"a": {name: one[:, :3] for name, one in batch.items()}})


def test_windows_forecast_every_stretch_once():
    batch = coded.batch(B=2, T=70)
    drives = {
        name: {key: one[i : i + 1] for key, one in batch.items()} for i, name in enumerate("ab")
    }
    found = rollouts.ahead(memory(batch), drives, windows=9)
    assert found.k == [1, 5, 20, 50] and found.names == ["a", "b"] and found.last == [2, 2]
    assert torch.equal(found.true[1], batch["mean"][1, [3, 7, 22, 52]]) and torch.equal(
        found.shown, batch["mean"][:, 2]
    )
    short = {
        name: {key: one[:, :25] for key, one in drive.items()} for name, drive in drives.items()
    }
    assert rollouts.ahead(memory(batch), short, windows=9).last == [2, 2]


def test_one_step_losses_weigh_steps():
    batch = coded.batch(B=3, T=30)
    long = {key: one[:1] for key, one in batch.items()}
    short = {key: one[1:2, :11] for key, one in batch.items()}
    opened, train = memory(batch), {"c": {key: one[2:] for key, one in batch.items()}}
    both = rollouts.losses(opened, {"a": long, "b": short}, train)
    alone = [
        rollouts.losses(opened, {name: one}, train) for name, one in (("a", long), ("b", short))
    ]
    assert set(both) == {"nll", "nll_normal", "nll_copy", "reward", "end"}
    for name, one in both.items():
        steps = (30, 11) if name in ("reward", "end") else (29, 10)
        parts = [jackknife.estimate(found[name]).value for found in alone]
        assert jackknife.estimate(one).value == pytest.approx(
            np.average(parts, weights=steps), rel=1e-6
        ), name
    exact = {key: one.clone() for key, one in long.items()}
    exact["log_variance"].fill_(-60)  # nothing is drawn
    found = rollouts.losses(opened, {"a": exact}, train)
    told = opened.model.losses(opened.model.average.module, exact["mean"], exact)
    assert jackknife.estimate(found["nll"]).value == pytest.approx(told["loss_z"].item(), rel=1e-5)
    assert jackknife.estimate(found["reward"]).value == pytest.approx(
        told["loss_reward"].item(), rel=1e-5
    )


def test_a_probe_sees_the_state_before_the_code():
    batch = coded.batch(B=1, T=12)
    M = memory(batch).model.average.module
    of = probes.Known({name: torch.zeros(12) for name in probes.TARGETS}, ["a"] * 12)
    codes, known = rollouts.thinned({"a": batch}, {"a": of}, M)
    state = M.start(batch["mean"])
    for t in range(9):
        if t % 4 == 0:
            wanted = torch.cat([batch["mean"][0, t], state.h[0]])
            assert torch.allclose(codes[t // 4], wanted, atol=1e-6), t
        state = M.advance(batch["mean"][:, t], batch["action"][:, t], state)
    assert codes.shape == (3, 10) and len(known.groups) == 3


def test_held_out_drives_share_no_track_with_training(home):
    source = data_sets.load(
        CodesOptions(path=str(home / "codes_vae"), length=10, held_out=0.3), None
    )
    kept = episodes.Store(home / "store")
    held = rollouts.unseen(source, kept, 100)
    assert list(held) == list(source.whole("held_out", 100)) and len(held) == 4
    facts = [entry._replace(facts=SimpleNamespace(track=1)) for entry in kept.entries]
    with pytest.raises(Mistake, match="all on tracks of training episodes"):
        rollouts.unseen(source, SimpleNamespace(entries=facts), 100)


# Reports


def test_measure_of_a_memory(home, simulacra):
    folder = home / "memory_vae"
    rows = json.loads(simulacra("measure", folder, "--samples", 50, "--json").success())
    found = {row["metric"]: row for row in rows}
    assert set(found) == {
        "nll",
        "nll_normal",
        "nll_copy",
        "reward",
        "end",
        "open_1",
        "open_5",
        "open_20",
        "open_50",
    }
    for row in rows:
        # in one of two drives the first frames are all alike
        few = row["metric"].startswith("open") and row["low"] is None
        assert few or row["low"] <= row["value"] <= row["high"], row["metric"]
        assert 1 <= row["n_groups"] <= row["n_real"]
        assert (row["over"], row["extractor"], row["step"], row["split"]) == (
            "episodes",
            "codes",
            20,
            "held_out",
        )
    assert found["nll"]["n_groups"] == found["nll"]["n_real"] > 1
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines[-len(rows) :] == rows
    assert "not comparable" in simulacra("measure", folder, "--samples", 50).success()
    assert "sees pictures" in simulacra("measure", folder, "--extractor", "pixels").refusal()
    assert "no labels" in simulacra("measure", folder, "--downstream").refusal()


def test_measure_of_an_eye(home):
    rows, notes = measure(reopen(home / "vae", None), Protocol(60, 1, extractor="pixels"))
    found = {row["metric"]: row for row in rows}
    assert len(found) == len(rows) and {
        "frechet",
        "psnr",
        "probe_lateral",
        "KL",
        "active",
        "linear_psnr",
    } <= set(found)
    row = found["probe_lateral"]
    assert (
        row["extractor"] == "frames"
        and row["over"] == "tracks"
        and row["n_groups"] == 3
        and row["value"] <= 1
    )
    assert found["frechet"]["extractor"] == "pixels" and any(
        "60 frames of 3 held-out tracks" in note for note in notes
    )


def scores(shift: float, seeds: int = 3) -> list[Score]:
    """One score a seed, on twenty tracks that differ more than seeds do."""
    tracks = 100 * random(20, seed=9)
    return [
        Score(tuple(Row(i, float(tracks[i] + shift + 5 * s), 1000, 0.0, 0.5) for i in range(20)))
        for s in range(1, seeds + 1)
    ]


def test_scores_are_paired_over_tracks_and_told_by_seed():
    one, other = driven(scores(7)), driven(scores(0))
    assert list(one) == ["score", "score_seed_0", "score_seed_1", "score_seed_2"]
    for name in one:
        assert jackknife.difference(one[name], other[name])[:3] == pytest.approx(
            (7, 7, 7), abs=1e-4
        )
    every = [row.value for score in scores(7) for row in score.rows]
    assert jackknife.estimate(one["score"]).value == pytest.approx(np.mean(every))
    same = paired(scores(7)[0], scores(0)[0])
    assert jackknife.difference(one["score_seed_0"], other["score_seed_0"]).value == pytest.approx(
        same.mean
    )
    fewer = Score(scores(0)[0].rows[:-1])
    with pytest.raises(Mistake, match="differ in 1 groups"):
        driven([scores(0)[0], fewer])


def test_one_table(home, tmp_path):
    eye, memory = (
        {name: reopen(home / f"{part}{name}", None) for name in ("vae", "vaegan")}
        for part in ("", "memory_")
    )
    arms = {
        "vae": Arm("vae", eye["vae"], memory["vae"], scores=scores(0)),
        "vaegan": Arm("vaegan", eye["vaegan"], memory["vaegan"], home / "store", scores(7)),
    }
    said: list[str] = []
    rows, text = table(arms, count=60, featured=0, windows=20, notify=said.append)
    assert said == ["vae", "vaegan", "8 principal components"]
    at = {(row["measure"], row["arm"]): row for row in rows}
    assert len(at) == len(rows)
    wanted = (
        "psnr",
        "probe_lateral",
        "KL",
        "active",
        "nll",
        "open_5",
        "picture_50_copy",
        "lateral_20",
        "drive_lateral_zh",
        "score",
    )
    assert all((name, arm) in at for name in wanted for arm in arms)
    assert (
        ("psnr", "PCA 8") in at
        and ("score", "PCA 8") not in at
        and "difference" not in at["psnr", "PCA 8"]
    )
    score, seeds = at["score", "vaegan"], at["score_over_seeds", "vaegan"]
    assert (score["against"], score["difference"], score["n"]) == (
        "vae",
        pytest.approx(7, abs=1e-4),
        20,
    )
    assert (seeds["n"], seeds["difference_low"], seeds["high"] > seeds["value"]) == (
        3,
        pytest.approx(7, abs=1e-4),
        True,
    )
    assert (
        at["picture_5_copy", "vaegan"]["difference"] == 0 and "difference" not in at["psnr", "vae"]
    )
    json.dumps(rows, allow_nan=False)
    lines = text.splitlines()
    assert lines[0] == "| measure | better | vae | vaegan | PCA 8 | vaegan - vae |"
    body = [line for line in lines if line.startswith("| ")]
    assert {line.count("|") for line in body} == {7} and len(body) == 1 + len(
        {row["measure"] for row in rows}
    )
    assert (
        "3 held-out tracks" in text and "few for an interval" in text and "not comparable" in text
    )
    assert "undecided: 1 training of each eye; 3 are the least" in " ".join(text.split())
    assert all(row["verdict"] == "undecided" for row in rows if "difference" in row)
    path = sheet(arms, tmp_path / "sheet.png", count=60)
    assert Image.open(path).size == (5 * (2 * SIDE + 2) + 2, 8 * (2 * SIDE + 2) + 2)


def test_which_way_is_better():
    ways = {
        name: better(name)
        for name in (
            "psnr",
            "edge_energy_ratio",
            "end",
            "lateral_5",
            "probe_lateral",
            "KL",
            "picture_5",
        )
    }
    assert list(ways.values()) == ["higher", "near 1", "lower", "lower", "higher", "", "higher"]


def test_what_cannot_be_compared(home, tmp_path):
    eye, other = (reopen(home / name, None) for name in ("vae", "memory_vae"))
    mixed = {"a": Arm("a", eye, reopen(home / "memory_vaegan", None))}
    with pytest.raises(Mistake, match="of eye"):
        table(mixed, count=20, featured=0)
    elsewhere = recorded(tmp_path / "elsewhere", drives=12, steps=STEPS - 1)
    fewer = recorded(tmp_path / "fewer", drives=2)
    for other_store, told in (
        (elsewhere, "another episode of that name"),
        (fewer, "no such episode"),
    ):
        with pytest.raises(Mistake, match=told):
            table({"a": Arm("a", eye, other, other_store)}, count=20, featured=0)
    with pytest.raises(Mistake, match="trained on other data"):
        table({"a": Arm("a", eye), "b": Arm("b", other)}, count=20, featured=0)
    with pytest.raises(Mistake, match="single frames of data set racing"):
        table({"b": Arm("b", other)}, count=20, featured=0)

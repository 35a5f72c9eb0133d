"""Score, drive, dream: what they write was driven and dreamt,
agents see with their own eye, bad input writes nothing."""

import base64
import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import coded
import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image
from tiny import scribble

from simulacra.core import config, extras, random, run
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.envs.carracing import policies, tracks
from simulacra.io import paint
from simulacra.metrics.world.returns import read_csv
from simulacra.metrics.world.returns import score as scored
from simulacra.models.world import acting, artefacts
from simulacra.models.world.agent import agent_of
from simulacra.models.world.memory_nets import Memory, expected
from simulacra.models.world.world_controller import Frozen
from simulacra.studies.play import page
from simulacra.tasks.train import train
from simulacra.tasks.worlds._film import Screen
from simulacra.tasks.worlds.dream import Asked, dream
from simulacra.tasks.worlds.drive import recorded

Z = 3


class Noise:
    """A world whose pictures follow from its tracks' seeds;
    pays a track's last digit once and the gas at every step."""

    def __init__(self, seeds_, ends=5):
        self.seeds, self.ends, self.t, self.closed = list(seeds_), ends, 0, False

    def reset(self):
        return np.stack([picture(seed + 1000 * self.t, 64) for seed in self.seeds])

    def step(self, actions):
        self.t += 1
        paid = (
            np.array([seed % 10 for seed in self.seeds]) * (self.t == 1) + np.asarray(actions)[:, 1]
        )
        return self.reset(), paid, np.full(len(self.seeds), self.t < self.ends)

    def close(self):
        self.closed = True


def picture(seed: int, size: int) -> np.ndarray:
    """Noise (3, size, size) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (3, size, size), dtype=np.uint8)


def made(folder: Path, text: str, name: str) -> Path:
    """The folder of a run of one step with this config."""
    (folder / f"{name}.toml").write_text(
        f"steps = 1\nsave_every = 1\nlog_every = 1\n{text}\n[preset.tiny]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paint, "curves", scribble)
        train(config.resolve(str(folder / f"{name}.toml"), "tiny"), folder / name, None)
    return folder / name


def eye(folder: Path, name: str, seed: int = 0, size: int = 64) -> Path:
    """A run of an eye of noise."""
    pictures = folder / f"pictures_{size}"
    pictures.mkdir(exist_ok=True)
    for number in range(12):
        Image.fromarray(picture(number, size).transpose(1, 2, 0)).save(pictures / f"{number}.png")
    data = f'[data]\nname = "folder"\npath = "{pictures}"\nsize = {size}'
    return made(
        folder,
        f'model = "vae"\nbatch = 4\nseed = {seed}\n{data}\n[hyper]\nwidth = 2\nz_size = {Z}',
        name,
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """Runs: eyes `eye`, `other`, `small`; the memory `memory` of the first one's codes,
    which are in `codes`."""
    folder = tmp_path_factory.mktemp("driving")
    for name, seed, size in ("eye", 0, 64), ("other", 1, 64), ("small", 0, 16):
        eye(folder, name, seed, size)
    hashed = artefacts.hash_of(reopen(folder / "eye", None))
    coded.folder(folder / "codes", frames=30, Z=Z, eye=hashed)
    hyper = "[hyper]\nunits = 5\nmixtures = 2\nweight_reward = 1.0\nweight_end = 1.0\ncontext = 3"
    made(folder, f'model = "world_memory"\nbatch = 4\n{codes(folder / "codes")}\n{hyper}', "memory")
    return folder


def codes(path: Path) -> str:
    return f'[data]\nname = "codes"\npath = "{path}"\nlength = 8\nheld_out = 0.4'


def controller(home: Path, name: str, *hyper: str) -> Path:
    """A run of a controller in dreams, which cma has to be there for."""
    pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    if (home / name).exists():
        return home / name
    sizes = [] if any(line.startswith("memory") for line in hyper) else ["units = 5"]
    lines = [
        "[hyper]",
        'world = "dream"',
        "population = 4",
        *sizes,
        "steps = 4",
        "sigma = 0.8",
        *hyper,
    ]
    return made(
        home,
        f'model = "world_controller"\nbatch = 2\n{codes(home / "codes")}\n' + "\n".join(lines),
        name,
    )


@pytest.fixture
def agent(home) -> Path:
    """A controller on the memory, whose config names the eye."""
    return controller(home, "agent", f'memory = "{home / "memory"}"', f'eye = "{home / "eye"}"')


@pytest.fixture
def dreamer(home) -> Path:
    """The same, which names no eye."""
    return controller(home, "dreamer", f'memory = "{home / "memory"}"')


@pytest.fixture
def blind(home) -> Path:
    """A controller that sees codes alone."""
    return controller(home, "blind", 'arm = "z_only"', f'eye = "{home / "eye"}"')


@pytest.fixture
def noise(monkeypatch) -> list[Noise]:
    """Noise in place of CarRacing, and the worlds that were made."""
    worlds: list[Noise] = []

    def factory(name, threads=1):
        return lambda some: worlds.append(Noise(some)) or worlds[-1]

    monkeypatch.setattr(artefacts, "factory", factory)
    monkeypatch.setattr("simulacra.tasks.worlds.score.version", lambda name: "0")
    return worlds


def film(path: Path) -> np.ndarray:
    """The frames (T, H, W, 3) of a film."""
    if path.suffix == ".gif":
        with Image.open(path) as image:
            return np.stack(
                [
                    np.asarray(image.convert("RGB"))
                    for i in range(image.n_frames)
                    if not image.seek(i)
                ]
            )
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def files(*folders: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


# Agents


def test_an_agent_is_what_its_run_has_left(home, agent, dreamer, blind):
    opened = reopen(agent, None)
    found = agent_of(opened)
    saved = run.contents(run.checkpoints(agent)[-1])["parts"]
    assert (
        torch.equal(found.centre, saved["search"]["mean"].float()) and found.centre.abs().max() > 0
    )
    assert found.hash == json.loads((agent / "done").read_text())["weights"]
    assert found.eye == json.loads((home / "eye" / "done").read_text())["weights"]
    assert all(
        torch.equal(value, saved["memory"][name])
        for name, value in found.memory.state_dict().items()
    )
    assert (
        found.senses.memory is found.memory
        and found.senses.sampled
        and found.senses.squash == "paper"
    )
    x = acting.pictures(np.stack([picture(3, 64)]))
    assert torch.equal(found.senses.eye.encode(x)[0], reopen(home / "eye", None).model.encode(x)[0])
    assert agent_of(reopen(dreamer, None), home / "eye").eye == found.eye
    assert agent_of(reopen(blind, None)).senses.memory is None


def test_agents_see_with_their_own_eye(home, agent, dreamer, blind):
    hashes = [
        json.loads((home / name / "done").read_text())["weights"] for name in ("other", "eye")
    ]
    for folder in agent, dreamer:
        with pytest.raises(Mistake, match=".*".join(hashes)):
            agent_of(reopen(folder, None), home / "other")
    with pytest.raises(Mistake, match=r"names no eye.*with --eye"):
        agent_of(reopen(dreamer, None))
    with pytest.raises(Mistake, match="run of model vae; allowed: model world_controller"):
        agent_of(reopen(home / "eye", None))
    with pytest.raises(Mistake, match="model world_memory, which has no codes"):
        agent_of(reopen(agent, None), home / "memory")
    with pytest.raises(Mistake, match=r"shape \(3, 16, 16\); allowed: \(3, 64, 64\)"):
        agent_of(reopen(blind, None), home / "small")
    wide = controller_of_other_codes(home)
    with pytest.raises(Mistake, match="codes have 3 numbers; allowed: 5"):
        agent_of(reopen(wide, None), home / "eye")


def controller_of_other_codes(home: Path) -> Path:
    """A controller without a memory on codes of 5 numbers."""
    coded.folder(home / "codes5", Z=5)
    lines = '[hyper]\nworld = "dream"\npopulation = 4\nunits = 5\nsteps = 4'
    return made(
        home, f'model = "world_controller"\nbatch = 2\n{codes(home / "codes5")}\n{lines}', "wide"
    )


# Score


def test_a_score_is_written_told_and_kept_with_its_provenance(agent, noise, simulacra, tmp_path):
    (agent / "metrics.jsonl").unlink(missing_ok=True)
    text = simulacra("score", agent, "--simulator", "envpool").success()
    wanted = scored(
        agent_of(reopen(agent, None)).centre, agent_of(reopen(agent, None)).senses, Noise
    )
    table = agent / "scores" / "envpool_100_1.csv"
    assert repr(read_csv(table)) == repr(wanted) and [row.track for row in wanted.rows] == list(
        tracks.OFFICIAL
    )
    mean = wanted.summary()
    assert (
        f"mean {mean.mean:.1f}, 95 % interval {mean.low:.1f} to {mean.high:.1f} (step 1, 100 "
        "official tracks" in text
    )
    assert str(table) in text and "best" not in text and all(world.closed for world in noise)
    rows = {row["metric"]: row for row in run.read_rows(agent / "metrics.jsonl")}
    assert set(rows) == {"return", "lap_finished", "progress"} and rows["progress"]["value"] is None
    told = {
        name: rows["return"][name]
        for name in ("value", "low", "n", "tracks", "simulator", "step", "agent")
    }
    assert told == {
        "value": mean.mean,
        "low": mean.low,
        "n": 100,
        "tracks": "official",
        "simulator": "envpool",
        "step": 1,
        "agent": json.loads((agent / "done").read_text())["weights"],
    }
    assert {
        "commit",
        "config",
        "eye",
        "simulator_version",
        "seconds",
        "processor_seconds",
        "seed",
    } <= rows["return"].keys()
    options = "--selection", "--tracks", 3, "-o", tmp_path / "some.csv", "--json"
    found = json.loads(simulacra("score", agent, *options).success())
    assert [row.track for row in read_csv(tmp_path / "some.csv").rows] == list(tracks.SELECTION[:3])
    assert (
        found["n"] == 3
        and found["tracks"] == "selection"
        and found["table"] == str(tmp_path / "some.csv")
    )
    assert len(run.read_rows(agent / "metrics.jsonl")) == 6 and noise[-1].seeds == list(
        tracks.SELECTION[:3]
    )


def test_scores_are_compared_track_by_track(agent, noise, simulacra, tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    simulacra("score", agent, "--tracks", 4, "-o", one).success()
    rows = read_csv(one).rows
    two.write_text(one.read_text().replace(repr(rows[0].value), repr(rows[0].value - 8)))
    found = json.loads(
        simulacra("score", agent, "--tracks", 4, "-o", one, "--against", two, "--json").success()
    )
    # Student's t with three degrees of freedom; 8, 0, 0 and 0 have a standard error of 2
    wide = 3.182446 * 2
    assert found["difference"] == pytest.approx(
        found["difference"] | {"mean": 2, "low": 2 - wide, "high": 2 + wide}
    )
    text = simulacra("score", agent, "--tracks", 4, "-o", one, "--against", two).success()
    assert f"mean 2.0, 95 % interval -4.4 to 8.4 to {two}, track by track" in text
    assert "between configs" in text and "undecided: one search of each" in text
    single = json.loads(simulacra("score", agent, "--tracks", 1, "-o", one, "--json").success())
    assert single["n"] == 1 and single["std"] is None and single["low"] is None
    before, made_before = files(tmp_path, agent), len(noise)
    assert (
        "holds 4 tracks, 1 of them among these"
        in simulacra("score", agent, "--tracks", 1, "--against", two).refusal()
    )
    assert files(tmp_path, agent) == before and len(noise) == made_before, "nothing is driven"


def test_progress_is_told_to_the_end(agent, noise):
    from simulacra.tasks.worlds.score import Course, score

    heard = []
    score(reopen(agent, None), Course(count=30), notify=lambda what, share: heard.append(share))
    assert (
        heard == sorted(heard)
        and heard[0] == pytest.approx(25 / 30 / 1000)
        and heard[-1] == 1
        and len(heard) == 11
    )


def test_drivers_are_anchors(simulacra, tmp_path):
    for package in "gymnasium", "Box2D":
        pytest.importorskip(package, reason=f"CarRacing needs {package}")
    found = json.loads(simulacra("score", "--driver", "idle", "--tracks", 2, "--json").success())
    laps = [policies.lap(policies.Idle(), seed) for seed in tracks.OFFICIAL[:2]]
    assert (
        found["mean"] == pytest.approx(np.mean([one.value for one in laps]))
        and -95 < found["mean"] < -91
    )
    assert (
        found["progress"] == pytest.approx(np.mean([one.progress for one in laps]))
        and "table" not in found
    )
    table = tmp_path / "scripted.csv"
    simulacra("score", "--driver", "scripted", "--tracks", 2, "-o", table).success()
    assert all(
        row.value > 700 and row.progress > 0.8 and row.lap_finished in (0, 1)
        for row in read_csv(table).rows
    )
    text = simulacra("score", "--driver", "idle", "--tracks", 2, "--against", table).success()
    assert "laps finished  0%" in text and f"to {table}, track by track" in text


def test_a_lap_is_what_the_pool_drives():
    """Shares of tiles from the game are those that the pool reads from the rewards."""
    for package in "gymnasium", "Box2D":
        pytest.importorskip(package, reason=f"CarRacing needs {package}")
    from simulacra.envs.carracing.racing import Pool

    with Pool("gymnasium", [5]) as pool:
        pool.reset()
        for _ in range(40):
            step = pool.step([[0.0, 0.5, 0.0]])
    straight = SimpleNamespace(act=lambda game: np.array([0.0, 0.5, 0.0], np.float32))
    one = policies.lap(straight, 5, 40)
    assert (
        one.progress == pytest.approx(float(step.progress[0]), abs=1e-4)
        and one.progress > 0.015
        and one.steps == 40
    )
    assert policies.solo(straight, 5, 40) == one[:3]


# Drive


@pytest.mark.parametrize(("name", "every"), [("a.mp4", 1), ("a.gif", 2)])
def test_a_drive_is_filmed(agent, noise, simulacra, tmp_path, name, every):
    options = "--steps", 4, "--every", every, "--scale", 2, "--track", 77
    text = simulacra("drive", agent, "-o", tmp_path / name, *options).success()
    frames, pad = film(tmp_path / name), 2
    assert frames.shape == (4 // every, 64 * 2 + 2 * pad, 3 * (64 * 2 + pad) + pad, 3)
    assert (
        noise[0].seeds == [77]
        and noise[0].closed
        and "in 4 steps; track 77" in text
        and "cut at 4 of at most 1,000 steps; --steps N for more" in text
        and str(tmp_path / name) in text
    )
    seen = (
        np.stack([picture(77 + 1000 * t, 64) for t in range(0, 4, every)])
        .repeat(2, 2)
        .repeat(2, 3)
        .transpose(0, 2, 3, 1)
    )
    left = frames[:, pad : pad + 128, pad : pad + 128].astype(float)
    errors = [np.abs(left[i] - seen[j]).mean() for i in range(len(seen)) for j in range(len(seen))]
    matrix = np.array(errors).reshape(len(seen), -1)
    assert (matrix.argmin(1) == range(len(seen))).all() and matrix.diagonal().max() < 0.5 * matrix[
        0, 1
    ]
    last = frames[0, pad : pad + 128, -130:-pad].astype(int)
    assert np.abs(last - 128).mean() < 1, "of the first frame nothing was expected"


@pytest.mark.parametrize("arm", ["full", "z_only"])
def test_panels_are_what_the_agent_saw_kept_and_its_memory_expected(agent, blind, arm):
    """Of an agent who does not see its memory too."""
    one = agent_of(reopen({"full": agent, "z_only": blind}[arm], None))
    notes, trip = recorded(one, Noise([8]), 3, 1000)
    again = acting.drive(one.centre[None], one.senses, Noise([8]), random.fold(3, "film"))
    assert trip.value == float(again.returns) and trip.steps == 5 and math.isnan(trip.lap_finished)
    panels = notes.panels(one.senses.eye)
    assert panels.shape == (3, 5, 3, 64, 64) and panels.abs().max() <= 1
    M, state, dice = (
        one.memory,
        one.memory.start(torch.zeros(1, 0)),
        random.generator(random.fold(3, "film"), "drive", 8),
    )
    ahead = torch.randn(acting.DRAWN, Z, generator=dice)
    foreseen = torch.zeros(1, 3, 64, 64)
    for t in range(5):
        x = acting.pictures(picture(8 + 1000 * t, 64)[None])
        mean, log_variance = one.senses.eye.encode(x)
        z = mean + (log_variance / 2).exp() * ahead[t]
        for panel, wanted in zip(
            panels[:, t], (x, one.senses.eye.decode(z), foreseen), strict=True
        ):
            assert torch.allclose(panel, wanted[0].clamp(-1, 1), atol=1e-5)
        W = one.centre[:-3].view(3, -1)
        raw = (torch.cat([z, state.h], 1) if arm == "full" else z) @ W.T + one.centre[-3:]
        a = torch.stack(
            [raw[:, 0].tanh(), (raw[:, 1].tanh() + 1) / 2, raw[:, 2].tanh().clamp_min(0)], 1
        )
        with torch.no_grad():
            state = M.advance(z, a, state)
            foreseen = one.senses.eye.decode(expected(M.predict(state.h).code))


def test_the_track_of_a_film_is_no_official_one(agent, noise, simulacra, tmp_path):
    said = simulacra(
        "drive", agent, "-o", tmp_path / "a.gif", "--track", tracks.OFFICIAL[7]
    ).refusal()
    assert "one of the 100 on which scores are measured" in said and not noise
    simulacra("drive", agent, "-o", tmp_path / "a.gif", "--steps", 2).success()
    assert noise[0].seeds == [tracks.SELECTION[0]]


@pytest.mark.parametrize("simulator", ["envpool", "gymnasium"])
def test_the_world_itself_is_driven(agent, simulacra, tmp_path, simulator):
    for package in "gymnasium", "Box2D", "envpool":
        pytest.importorskip(package, reason=f"CarRacing needs {package}")
    text = simulacra(
        "drive",
        agent,
        "-o",
        tmp_path / "a.mp4",
        "--steps",
        3,
        "--simulator",
        simulator,
        "--scale",
        1,
    ).success()
    assert (
        film(tmp_path / "a.mp4").shape == (3, 68, 200, 3)
        and "in 3 steps, 1% of the tiles; track" in text
    )


# Dream


def test_dreams_of_a_controller(home, dreamer, simulacra, tmp_path):
    opened = reopen(dreamer, None)
    asked, path = Asked(20, 3, 1.3, home / "eye", 5), tmp_path / "a.mp4"
    found = dream(opened, path, asked, Screen(scale=1))
    assert found.clips.shape == (3, 20, 3, 64, 64) and film(path).shape == (20, 134, 134, 3)
    batch, model = opened.data().take("held_out", 3), opened.model
    wanted = model.dream(model.centre[None], batch, random.fold(5, "dream"), 20, keep=True, tau=1.3)
    assert found.returns == tuple(wanted.returns[0].tolist()) and found.lengths == tuple(
        wanted.lengths[0].int().tolist()
    )
    assert found.tau == 1.3 and len(set(found.lengths)) > 1 and min(found.lengths) < 20, (
        "ends matter here"
    )
    seen = (
        reopen(home / "eye", None)
        .model.decode(wanted.codes[0].flatten(0, 1))
        .unflatten(0, (3, 20))
        .clamp(-1, 1)
    )
    for clip, whole, length in zip(found.clips, seen, found.lengths, strict=True):
        assert torch.allclose(clip[:length], whole[:length], atol=1e-5)
        assert torch.allclose(clip[length:] + 1, (whole[length:] + 1) / 2, atol=1e-5)
    assert dream(opened, path, asked, Screen()).returns == found.returns
    assert (
        dream(opened, path, Asked(20, 3, 0.1, home / "eye", 5), Screen()).returns != found.returns
    )
    assert (
        dream(opened, path, Asked(20, 3, 1.3, home / "eye", 6), Screen()).returns != found.returns
    )
    text = simulacra(
        "dream", dreamer, "-o", path, "--eye", home / "eye", "--steps", 6, "--count", 2
    ).success()
    assert (
        "2 dreams of up to 6 steps at temperature 1\n" in text
        and "dreamt returns " in text
        and "lengths " in text
    )


def test_dreams_of_a_memory_beside_the_recordings(home, simulacra, tmp_path):
    opened, eyes = reopen(home / "memory", None), reopen(home / "eye", None).model
    found = dream(
        opened, tmp_path / "a.gif", Asked(12, 2, None, home / "eye", 1), Screen(scale=1, every=3)
    )
    assert found.clips.shape == (2, 12, 3, 64, 128) and film(tmp_path / "a.gif").shape == (
        4,
        134,
        132,
        3,
    )
    numbers = [int(path.stem) for path in sorted((home / "codes").iterdir())]
    pieces = torch.stack(
        [coded.episode(n, 30, Z)["mean"][t : t + 12].float() for n in numbers for t in range(19)]
    )  # every piece of 12 steps
    shown = eyes.decode(pieces.flatten(0, 1)).unflatten(0, pieces.shape[:2]).clamp(-1, 1)
    for clip in found.clips:
        left, right = clip.split(64, -1)
        assert (left - shown).abs().amax((1, 2, 3, 4)).min() < 1e-5, "a recording"
        assert (left[:3] - right[:3]).abs().mean() < (left[3:] - right[3:]).abs().mean(), (
            "the first three were shown to it"
        )
    text = simulacra(
        "dream", home / "memory", "-o", tmp_path / "b.gif", "--eye", home / "eye", "--count", 1
    ).success()
    assert "1 dreams of up to 30 steps at temperature 1, each beside its recording" in text
    assert len(film(tmp_path / "b.gif")) == 30, "no longer than the recordings"


def test_dreams_need_their_codes(home, dreamer, simulacra, tmp_path):
    options = "-o", tmp_path / "a.gif", "--steps", 4
    hashes = [
        json.loads((home / name / "done").read_text())["weights"] for name in ("other", "eye")
    ]
    for folder in dreamer, home / "memory":
        said = simulacra("dream", folder, *options, "--eye", home / "other").refusal()
        assert all(one in said for one in hashes)
        assert (
            "name its eye's run folder with --eye" in simulacra("dream", folder, *options).refusal()
        )
    assert (
        "allowed: 1 to "
        in simulacra("dream", dreamer, *options, "--eye", home / "eye", "--count", 60).refusal()
    )
    away = (home / "codes").rename(home / "away")
    try:
        for folder in dreamer, home / "memory":
            said = simulacra("dream", folder, *options, "--eye", home / "eye").refusal()
            assert f"{home / 'codes'} is not there" in said
    finally:
        away.rename(home / "codes")
    assert not list(tmp_path.iterdir())


def test_in_dreams_of_a_memory_without_rewards_nothing_is_earned(home, simulacra, tmp_path):
    """As published: the controller is trained in the world, painted at its checkpoints,
    and may be looked at as it dreams."""
    pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    hyper = "[hyper]\nunits = 5\nmixtures = 2"
    made(home, f'model = "world_memory"\nbatch = 4\n{codes(home / "codes")}\n{hyper}', "plain")
    lines = f'[hyper]\nworld = "envpool"\nmemory = "{home / "plain"}"\n'
    lines += "population = 4\nsigma = 0.5\nsteps = 2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulacra.models.world.artefacts.factory", lambda name, threads=1: Noise)
        folder = made(
            home,
            f'model = "world_controller"\nbatch = 2\n{codes(home / "codes")}\n{lines}\neye = '
            f'"{home / "eye"}"',
            "poor",
        )
    assert (folder / "pictures" / "00000001" / "samples.png").exists()
    text = simulacra(
        "dream", folder, "-o", tmp_path / "a.gif", "--steps", 3, "--count", 2
    ).success()
    assert "lengths 3, 3; this memory has no reward head" in text and "returns" not in text
    assert len(film(tmp_path / "a.gif")) == 3


# Mistakes: one line, status 2, nothing written


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["score"], "score needs a run folder or --driver, and not both"),
        (["score", "AGENT", "--driver", "idle"], "and not both"),
        (["score", "--driver", "idle", "--step", "3"], "no eye and no checkpoint"),
        (
            ["score", "--driver", "schumacher"],
            "unknown driver 'schumacher'; there is: idle, brownian, scripted",
        ),
        (
            ["score", "--driver", "idle", "--simulator", "envpool"],
            "simulator = envpool; allowed: gymnasium",
        ),
        (["score", "--driver", "idle", "--tracks", "101"], "tracks = 101; allowed: 1 to 100"),
        (["score", "AGENT", "--tracks", "0"], "tracks = 0; allowed: 1 to 100"),
        (["score", "AGENT", "--selection", "--tracks", "33"], "tracks = 33; allowed: 1 to 32"),
        (["score", "AGENT", "--threads", "0"], "threads = 0; allowed: 1 to"),
        (
            ["score", "AGENT", "--simulator", "unreal"],
            "unknown world 'unreal'; there is: envpool, gymnasium",
        ),
        (
            ["score", "AGENT", "-o", "OUT/a.txt"],
            "cannot write 'a.txt'; allowed: the name of a .csv",
        ),
        (["score", "AGENT", "-o", "OUT/file/a.csv"], "file is a file"),
        (
            ["score", "AGENT", "--against", "OUT/gone.csv", "--tracks", "1"],
            "gone.csv is no table of a score",
        ),
        (["score", "AGENT", "--step", "9"], "no checkpoint of step 9; there is: 1"),
        (["score", "HOME/memory"], "run of model world_memory; allowed: model world_controller"),
        (["score", "DREAMER"], "name its eye's run folder with --eye"),
        (
            ["drive", "HOME/eye", "-o", "OUT/a.gif"],
            "run of model vae; allowed: model world_controller",
        ),
        (
            ["drive", "AGENT", "-o", "OUT/a.png"],
            "cannot write 'a.png'; allowed: the name of a .mp4 or a .gif",
        ),
        (["drive", "AGENT", "-o", "OUT/file/a.gif"], "file is a file"),
        (
            ["drive", "AGENT", "-o", "OUT/a.gif", "--steps", "1001"],
            "steps = 1001; allowed: 1 to 1000",
        ),
        (["drive", "AGENT", "-o", "OUT/a.gif", "--every", "0"], "every = 0; allowed: 1 to"),
        (
            ["drive", "AGENT", "-o", "OUT/a.gif", "--fps", "60"],
            "fps = 60.0; allowed: above 0, up to 50 in a .gif",
        ),
        (["drive", "AGENT", "-o", "OUT/a.gif", "--scale", "0"], "scale = 0; allowed: 1 to 16"),
        (["drive", "AGENT", "-o", "OUT/a.gif", "--track", "-1"], "seed of a track: -1; allowed"),
        (["drive", "AGENT", "-o", "OUT/a.gif", "--eye", "HOME/codes"], "is no run folder"),
        (["drive", "DREAMER", "-o", "OUT/a.gif"], "names no eye"),
        (
            ["dream", "HOME/eye", "-o", "OUT/a.gif"],
            "model vae; allowed: models world_controller, world_memory",
        ),
        (["dream", "HOME/memory", "-o", "OUT/a.avi"], "cannot write 'a.avi'"),
        (
            ["dream", "HOME/memory", "-o", "OUT/a.gif", "--tau", "-1"],
            "tau = -1.0; allowed: 0 and more",
        ),
        (["dream", "HOME/memory", "-o", "OUT/a.gif", "--count", "0"], "count = 0; allowed: 1 to"),
        (["dream", "HOME/memory", "-o", "OUT/a.gif", "--data", "OUT/gone"], "no data folder"),
    ],
)
def test_mistakes(words, says, home, simulacra, tmp_path, request):
    for name in "agent", "dreamer":
        if name.upper() in words:
            words = [
                str(request.getfixturevalue(name)) if word == name.upper() else word
                for word in words
            ]
    if "--track" in words:
        pytest.importorskip("gymnasium", reason="CarRacing needs gymnasium")
    (tmp_path / "file").write_text("")
    before = files(home, tmp_path)
    assert (
        says
        in simulacra(
            *(word.replace("OUT", str(tmp_path)).replace("HOME", str(home)) for word in words)
        ).refusal()
    )
    assert files(home, tmp_path) == before


@pytest.mark.parametrize("threads", [1, 2])
def test_a_simulator_that_is_not_installed(agent, simulacra, monkeypatch, tmp_path, threads):
    for module in "gymnasium.envs.box2d.car_racing", "envpool":
        monkeypatch.setitem(sys.modules, module, None)
    before = files(agent)
    for simulator in "gymnasium", "envpool":
        says = f"{simulator} cannot be imported"
        said = simulacra("score", agent, "--simulator", simulator, "--threads", threads).refusal()
        assert says in said and extras.install("worlds") in said
        assert (
            says
            in simulacra(
                "drive", agent, "-o", tmp_path / "a.gif", "--simulator", simulator
            ).refusal()
        )
    assert "gymnasium cannot be imported" in simulacra("score", "--driver", "idle").refusal()
    assert files(agent) == before and not list(tmp_path.iterdir())


def told(text: str) -> dict:
    """What a page to play with is told."""
    return json.loads(re.search(r'id="told">(.*?)</script>', text)[1])


def test_memories_alone_are_played_and_agents_with_the_memory_they_see(home, blind):
    """Dreams begin with the state after the recorded steps that the memory was shown."""
    opened = reopen(home / "memory", None)
    with pytest.raises(Mistake, match="--eye"):
        page(opened, None, None)
    text, _ = page(opened, home / "eye", None)
    alone, memory = told(text), opened.model.average.module
    assert alone["agent"] is None and alone["form"]["z_size"] == Z
    assert alone["picture"] == [3, 64, 64] and alone["starts"]["count"] >= 2
    assert len(alone["controls"]["axes"]) == 3
    batch = opened.examples(1)
    shown = batch["mean"][:, :3], batch["action"][:, :3], memory.start(batch["mean"])
    state = memory.remember(*shown)[1]
    place = alone["starts"]["h"]
    numbers = base64.b64decode(re.search(r'id="numbers">(.*?)</script>', text)[1])
    found = np.frombuffer(numbers, np.float32, 5, place["at"])
    assert np.allclose(found, state.h[0].detach().numpy(), atol=1e-6)
    assert told(page(reopen(blind, None), None, None)[0])["agent"]["state"] is False
    opened = reopen(blind, None)
    opened.model.hyper = replace(opened.model.hyper, arm="untrained")
    opened.model.untrained = Frozen(Memory(memory.form))
    text, notes = page(opened, None, None)
    assert told(text)["agent"] is None and "nobody else drives" in notes[-1]

"""The Python face: a few lines do what the command line does, with the same numbers,
and mistakes say what is possible."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import simulacra
from simulacra import Mistake, api, losses, metrics
from simulacra.core import config
from simulacra.core.load import reopen
from simulacra.tasks.sample import samples


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    heard = []
    folder = tmp_path_factory.mktemp("face") / "run"
    found = simulacra.train(
        "ebgan_digits",
        preset="tiny",
        set={
            "steps": 4,
            "log_every": 2,
            "save_every": 4,
            "hyper.margin": 5.0,
            "data.name": "digits",
        },
        run=folder,
        callbacks=[lambda step, row: heard.append((step, sorted(row)))],
    )
    assert [step for step, _ in heard] == [2, 4] and "loss_D" in heard[0][1]
    return found


def test_importing_it_imports_no_torch():
    code = (
        "import simulacra, sys; simulacra.__version__; dir(simulacra); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_public_names_are_there():
    assert set(api.list_configs()) == set(config.configs()) and "ebgan" in simulacra.list_models()
    for name in simulacra.FACE:
        assert getattr(simulacra, name).__doc__, name
    for name in metrics.FACE:
        assert callable(getattr(metrics, name)) and getattr(metrics, name).__doc__, name
    for name in losses.__all__:
        assert getattr(losses, name).__doc__, name
    with pytest.raises(AttributeError, match=r"simulacra has no lod; it has .*load"):
        simulacra.lod  # noqa: B018
    with pytest.raises(
        AttributeError, match=r"simulacra\.metrics has no fid; it has .*frechet_distance"
    ):
        metrics.fid  # noqa: B018


def test_samples_are_those_of_the_command_line(run):
    again = api.load(run.folder)
    assert (
        torch.equal(run.sample(9, seed=3), samples(reopen(run.folder, None), 9, 3))
        and again.step == 4
    )
    assert torch.equal(again.sample(9, seed=3), run.sample(9, seed=3))
    assert run.config.hyper.margin == 5.0 and run.metrics == [] and set(run.modules) >= {"G", "D"}
    assert run.can == ["sample", "measure"] and "ebgan" in repr(run)
    with pytest.raises(Mistake, match="which cannot predict; it can: sample, measure"):
        run.predict("a.png")
    with pytest.raises(Mistake, match=r"has no class 3; this run has none"):
        run.sample(2, label=3)


def test_mistakes_of_train_are_told_before_a_folder_is_made(tmp_path):
    with pytest.raises(Mistake, match=r"hyper\.margn"):
        simulacra.train("ebgan_digits", preset="tiny", set={"hyper.margn": 1}, run=tmp_path / "run")
    with pytest.raises(Mistake, match=r"hyper\.margin = <object"):
        simulacra.train("ebgan_digits", set={"hyper.margin": object()}, run=tmp_path / "run")
    with pytest.raises(Mistake, match="no run folder"):
        simulacra.load(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not api.list_zoo(), reason="another place without the zoo")
def test_a_run_that_comes_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = simulacra.load("zoo/vae_faces")
    assert model.can == ["sample", "encode", "decode", "reconstruct", "interpolate", "measure"]
    made = model.sample(2)
    again = model.reconstruct(made)
    assert again.shape == made.shape and metrics.psnr(again, made).min() > 15
    assert torch.allclose(model.decode(model.encode(made)), again, atol=1e-5)
    way = model.interpolate(made[:1], made[1:], steps=3)
    assert way.shape == (3, *made.shape[1:]) and torch.allclose(way[[0, 2]], again, atol=1e-4)
    Image.fromarray(np.zeros((90, 70), np.uint8)).save("a.png")
    with pytest.warns(UserWarning, match="a.png: centre crop of 70x90"):
        assert model.encode("a.png").shape == (1, 64)
    with pytest.raises(
        Mistake, match=r"pictures of shape \(1, 8, 8\); those of .* are \(3, 64, 64\)"
    ):
        model.encode(-torch.ones(1, 1, 8, 8))
    with pytest.raises(Mistake, match="codes of shape"):
        model.decode(torch.zeros(1, 5))


@pytest.mark.parametrize("form", ["bytes last", "npz", "npy", "folder"])
def test_samples_of_any_origin_get_the_same_numbers(run, tmp_path, form):
    x = (
        torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 255
    ).round() / 127.5 - 1
    array = ((x + 1) * 127.5).round().to(torch.uint8).numpy()
    given: object = x
    if form == "bytes last":
        given = array.transpose(0, 2, 3, 1)
    elif form == "npz":
        given = tmp_path / "a.npz"
        np.savez(given, images=array.transpose(0, 2, 3, 1))
    elif form == "npy":
        given = tmp_path / "a.npy"
        np.save(given, array[:, 0])
    elif form == "folder":
        given = tmp_path
        for i, one in enumerate(array):
            Image.fromarray(one[0]).save(tmp_path / f"{i:02}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows, same = (
            {row["metric"]: row for row in simulacra.measure(one, "digits", extractor="pixels")}
            for one in (given, x)
        )
    assert {"frechet", "kid", "coverage", "memorisation", "copied"} <= rows.keys()
    row = rows["frechet"]
    assert (
        row["n_fake"] == 12
        and row["repeats"] == 1
        and row["low"] is None
        and row["against"] == "digits"
    )
    assert (
        row["extractor"] == "pixels"
        and row["split"] == "held_out"
        and row["version"] == 1
        and row["floor"] < row["value"]
    )
    assert {one["samples"] for one in [*rows.values(), *same.values()]} == {row["samples"]}, (
        "the same pixels, whatever they came in"
    )
    assert {name: row["value"] for name, row in rows.items()} == {
        name: row["value"] for name, row in same.items()
    }


@pytest.mark.parametrize(
    ("given", "against", "says"),
    [
        (
            torch.zeros(9, 1, 28, 28),
            "digit",
            "neither a folder nor a data set; data sets: .*digits",
        ),
        (
            torch.zeros(9, 3, 28, 28),
            "digits",
            "samples are 3 channels of 28x28, those of 'digits' 1 of 28x28",
        ),
        (torch.zeros(3, 1, 28, 28), "digits", "3 samples; allowed: 6 and more"),
        (
            torch.full((9, 1, 28, 28), 9.0),
            "digits",
            "holds values from 9 to 9; allowed: finite ones",
        ),
        (np.zeros((9, 1, 28, 28), int), "digits", "values of type int64"),
        (np.zeros((9, 28)), "digits", "has shape"),
        ("gone.npz", "digits", "no samples gone.npz"),
        ("gone", "digits", "samples gone: not there"),
        (torch.zeros(9, 1, 28, 28), "sines", "holds series, not pictures"),
    ],
)
def test_samples_that_cannot_be_measured(given, against, says):
    with pytest.raises(Mistake, match=says) as told:
        simulacra.measure(given, against)
    assert "\n" not in str(told.value)


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object))
    with pytest.raises(Mistake, match="cannot read"):
        simulacra.measure(tmp_path / "a.npy", "digits")


def test_the_losses_are_the_papers(run):
    d = torch.tensor([0.0])
    assert float(losses.relativistic(d, d)) == pytest.approx(0.6931, abs=1e-4)
    loss = losses.hinge_loss(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor(5.0))
    assert float(loss) == pytest.approx(3.0)


def test_it_is_typed():
    assert (Path(simulacra.__file__).parent / "py.typed").is_file()


def test_the_command_line_measures_samples_too(simulacra, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (12, 28, 28, 1), np.uint8)
    np.savez(tmp_path / "a.npz", images=x)
    words = "measure", tmp_path / "a.npz", "--against", "digits", "--extractor", "pixels"
    text = simulacra(*words).success()
    assert "against digits" in text and "coverage" in text
    rows = json.loads(simulacra(*words, "--json").success())
    assert {row["metric"] for row in rows} >= {"frechet", "coverage"}
    assert (
        "neither a folder nor a data set"
        in simulacra("measure", tmp_path / "a.npz", "--against", "nothing").refusal()
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: simulacra.load(None), "load(None): allowed: a run folder"),
        (lambda: simulacra.load([]), "load([]): allowed: a run folder"),
        (lambda: simulacra.load("zoo/vae_faces").sample(1.5), "n = 1.5; allowed: a whole number"),
        (lambda: simulacra.load("zoo/vae_faces").sample(True), "n = True; allowed: a whole number"),
        (lambda: simulacra.load("zoo/vae_faces").sample(10**12), "GiB are free"),
        (lambda: simulacra.train("ebgan_digits", callbacks=print), "callbacks: allowed: a list"),
        (lambda: simulacra.train("ebgan_digits", set=[("a", 1)]), "allowed: a dict"),
    ],
)
def test_wrong_kinds_are_one_line(call, says):
    with pytest.raises(Mistake) as told:
        call()
    assert says in str(told.value)


FEATURES = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
NAN = FEATURES.clone().index_fill_(0, torch.tensor([3]), float("nan"))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.frechet_distance(FEATURES[:0], FEATURES), "a has shape (0, 4)"),
        (lambda m: m.frechet_distance(FEATURES, FEATURES[:1]), "b has shape (1, 4)"),
        (lambda m: m.frechet_distance(FEATURES, FEATURES[:, :2]), "a 4 and b 2"),
        (lambda m: m.frechet_distance(NAN, FEATURES), "a holds numbers that are not finite"),
        (lambda m: m.coverage(NAN, FEATURES), "fake holds numbers that are not finite"),
        (lambda m: m.coverage(FEATURES, FEATURES, k=0), "k = 0 neighbours"),
        (lambda m: m.kernel_distance(NAN, FEATURES, size=5), "not finite"),
        (lambda m: m.inception_score(torch.zeros(0, 4)), "posteriors has shape (0, 4)"),
        (lambda m: m.inception_score(torch.full((9, 4), 3.0)), "rows sum to 12 to 12"),
    ],
)
def test_metrics_of_nonsense_are_refused(call, says):
    """They were 0 or 1, which looks perfect."""
    with pytest.raises(Mistake) as told:
        call(simulacra.metrics)
    assert says in str(told.value)


def test_metrics_take_arrays():
    a, b = FEATURES.double(), FEATURES.double() + 1
    there = simulacra.metrics.frechet_distance(a, b)
    assert simulacra.metrics.frechet_distance(a.numpy(), b.tolist()) == pytest.approx(there)
    assert simulacra.metrics.coverage(a.numpy(), b.numpy()) == simulacra.metrics.coverage(a, b)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.pull_away(FEATURES, form="squred"), "squred"),
        (lambda m: m.pull_away(FEATURES[:1]), "pull_away of 1 codes"),
        (lambda m: m.hinge_loss(FEATURES[0], FEATURES[1], 1.0, form="bacth"), "bacth"),
        (lambda m: m.relativistic(FEATURES[:, 0], FEATURES[:, :1]), "allowed: equal shapes"),
    ],
)
def test_losses_refuse_what_would_be_wrong_in_silence(call, says):
    with pytest.raises(Mistake, match=says):
        call(simulacra.losses)

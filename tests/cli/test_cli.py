"""The command line, used as a stranger would:
what it answers, and that a mistake costs one line and nothing else."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from tiny import needed, of_config, of_model

from simulacra import __version__
from simulacra.core import config, data_sets, run
from simulacra.core.progress import Progress
from simulacra.io import paint
from simulacra.metrics.images import downstream

HOME = Path(config.__file__).parents[2]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file in the folder and what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def first(tmp_path):
    """The first model's tiny training, in tmp_path/run."""
    return needed(of_model(config.models()[0]), "the first model").arguments(
        tmp_path / "run", "steps=4", "save_every=2"
    )


# Good paths


def test_version_and_help():
    """Said to a fresh interpreter, as a shell would."""
    say = [sys.executable, "-m", "simulacra"]
    env = os.environ | {"PYTHONPATH": str(HOME)}
    version, overview = (
        subprocess.run([*say, word], capture_output=True, text=True, env=env)
        for word in ("--version", "-h")
    )
    assert (version.returncode, version.stdout, version.stderr) == (
        0,
        f"simulacra {__version__}\n",
        "",
    )
    assert overview.returncode == 0 and all(
        verb in overview.stdout for verb in ("train", "sample", "paint", "measure", "list")
    )


def test_list(simulacra):
    text = simulacra("list").success() + simulacra("list", "--configs").success()
    assert all(name in text for name in (*config.models(), *data_sets.names(), *config.configs()))


def test_data_list_and_show(simulacra, tmp_path):
    text = simulacra("data", "list").success()
    assert [line.split()[0] for line in text.splitlines()] == data_sets.names()
    sheet = tmp_path / "sheet.png"
    text = simulacra("data", "show", "digits", "--set", "data.pad=2", "-o", sheet).success()
    assert (
        "1 x 32 x 32" in text and "4000 to train on, 1000 held out" in text and str(sheet) in text
    )
    assert Image.open(sheet).size == (8 * 34 + 2, 8 * 34 + 2)


def test_data_show_drops_no_key(simulacra):
    for words in ("digits", "--set", "foo=3"), ("series", "--set", "path=a.csv"):
        assert "only data.KEY can be set" in simulacra("data", "show", *words).refusal()


def test_data_show_tells_what_training_will_do_with_pictures(simulacra, tmp_path):
    for number in range(3):
        Image.new("RGB", (40 + number, 30), (number, 0, 0)).save(tmp_path / f"{number}.png")
    for words in ("folder", "--data", tmp_path), ("folder", "--set", f"data.path={tmp_path}"):
        text = simulacra("data", "show", *words, "--set", "data.size=16").success()
        assert "3 pictures used" in text and "centre crop" in text and "16x16" in text


def test_training_tells_what_it_makes_of_the_data(simulacra, tmp_path):
    """What is left out and what is assumed is said before the first step, once."""
    for number in range(12):
        values = np.random.default_rng(number).integers(0, 4096, (16, 16)).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    (tmp_path / "photo.heic").write_text("")
    words = (
        "gan_folder",
        "--preset",
        "tiny",
        "--data",
        tmp_path,
        "--run",
        tmp_path / "run",
        "--set",
        "steps=1",
    )
    text = simulacra(
        "train", *words, "--no-tensorboard", "--set", "data.size=16", "--set", "batch=4"
    ).success()
    first, second, third, *others = text.splitlines()
    assert "1 other files ignored (1 .heic); .heic are read where" in first
    assert "0 to 4095 (12 bits) became 0 to 255" in second
    assert "1 picture is held out, and nothing can be measured against fewer than 6" in third
    assert all(line.startswith("note: ") for line in (first, second, third))
    assert "note: " not in "\n".join(others)


def test_train_sample_paint_measure(model_name, tiny, simulacra, tmp_path, monkeypatch):
    """The whole path once, with everything drawn."""
    folder = tmp_path / "a run [with brackets]"
    text = simulacra(*tiny.arguments(folder, "steps=20", "save_every=10", "log_every=2")).success()
    assert f"{folder} is done: 20 steps\n" in text
    painted = folder / "pictures" / "00000020" / "samples.png"
    assert f"look at {painted}" in text and f"look at {folder / 'curves.png'}" in text
    assert Image.open(painted).width > 100 and Image.open(folder / "curves.png").width > 300
    assert {path.name for path in folder.iterdir()} >= {
        "config.json",
        "machine.json",
        "shapes.json",
        "log.jsonl",
        "events",
    }
    assert (
        simulacra(*tiny.arguments(folder, "steps=20", "save_every=10", "log_every=2"))
        .success()
        .startswith(f"{folder} is done: 20 steps (nothing was left to do)")
    )
    before = painted.read_bytes()
    painted.unlink()
    assert str(painted) in simulacra("paint", folder).success()
    assert painted.read_bytes() == before, "the same pictures from the same inputs and noise"
    assert "00000010" in simulacra("paint", folder, "--step", 10, "--weights", "raw").success()

    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    if "mean" in run.like_of(folder, 1):
        assert (
            "look at them with `simulacra paint`"
            in simulacra("sample", folder, "-o", tmp_path / "s.npz").refusal()
        )
        return
    if "next" in run.like_of(folder, 1):
        assert (
            "give it one with `simulacra predict`"
            in simulacra("sample", folder, "-o", tmp_path / "s.npz").refusal()
        )
        return
    if "video" in run.like_of(folder, 1):
        assert (
            "look at them with `simulacra paint`"
            in simulacra("sample", folder, "-o", tmp_path / "s.npz").refusal()
        )
        return
    assert (
        "5 samples in" in simulacra("sample", folder, "-n", 5, "-o", tmp_path / "s.npz").success()
    )
    made, single, (height, width) = (
        np.load(tmp_path / "s.npz"),
        tmp_path / "singles" / "00002",
        paint.PLOT[:2],
    )
    shapes = json.loads((folder / "shapes.json").read_text())
    if "series" in shapes:
        assert (
            made["series"].shape == (5, *shapes["series"][0]) and made["series"].dtype == np.float32
        )
    else:
        channels, height, width = shapes["image"][0]
        assert (
            made["images"].shape == (5, height, width, channels)
            and made["images"].dtype == np.uint8
        )
    simulacra("sample", folder, "-n", 5, "-o", tmp_path / "again.npz").success()
    simulacra("sample", folder, "-n", 5, "-o", tmp_path / "other.npz", "--seed", 1).success()
    same, other = (np.load(tmp_path / name)[made.files[0]] for name in ("again.npz", "other.npz"))
    assert (same == made[made.files[0]]).all() and (other != same).any()
    simulacra("sample", folder, "--samples", 9, "-o", tmp_path / "sheet.png").success()
    assert Image.open(tmp_path / "sheet.png").size == (3 * (width + 2) + 2, 3 * (height + 2) + 2)
    simulacra("sample", folder, "-n", 3, "-o", single.parent).success()
    suffix = ".csv" if "series" in shapes else ".png"
    assert sorted(path.name for path in single.parent.iterdir()) == [
        f"0000{i}{suffix}" for i in range(3)
    ]
    if "series" in shapes:
        table = np.loadtxt(
            single.with_suffix(".csv"), np.float32, delimiter=",", skiprows=1, ndmin=2
        )
        assert table.shape == tuple(shapes["series"][0]) and abs(table).max() <= 1
    else:
        assert Image.open(single.with_suffix(".png")).size == (width, height)


PIXELS = "--extractor", "pixels"
FOUND = {"frechet", "kid", "precision", "recall", "density", "coverage"}


def test_measure(trained, own, simulacra):
    if "mean" in run.like_of(own, 1):
        if run.config_of(own)["room"] == "world_controller":
            assert "is measured by its score" in simulacra("measure", own).refusal()
            return
        rows = json.loads(simulacra("measure", own, "--samples", 20, "--json").success())
        assert {"nll", "nll_copy", "open_1"} <= {row["metric"] for row in rows}
        return
    if "next" in run.like_of(own, 1):
        pytest.skip("futures have other rows: tests/metrics/test_motion.py")
    if "video" in run.like_of(own, 1):
        pytest.skip("clips have other rows: tests/models/test_foregan.py")
    series = "series" in run.like_of(own, 1)
    words = "measure", own, "--samples", 40, "--repeats", 2, *(() if series else PIXELS)
    rows = json.loads(simulacra(*words, "--json").success())
    names = [row["metric"] for row in rows]
    found = {"autocorrelation_distance", "mmd2", "mmd_p"} if series else FOUND
    assert found <= set(names) and len(names) == len(set(names))
    wanted = {
        "step": 20,
        "extractor": "series" if series else "pixels",
        "n_fake": 40,
        "n_real": 40,
        "repeats": 2,
        "seed": 0,
        "split": "held_out",
    }
    over = f"sampling of samples and held-out {'series' if series else 'pictures'}, one training"
    for row in rows:
        wanted |= (
            {"n_fake": 20, "n_real": 20}
            if row["metric"] == "kid_std"
            else {"n_fake": 40, "n_real": 40}
        )
        assert row.items() >= (wanted | {"weights": "average"}).items()
        alone = row["metric"] in ("kid_std", "mmd_p")  # no estimates of anything
        assert alone == (row["low"] is None) == (row["over"] is None), row["metric"]
        assert alone or (row["low"] <= row["value"] <= row["high"] and row["over"] == over)
        assert (
            row["version"] == (2 if row["metric"] == "memorisation" else 1)
            and len(row["extractor_hash"]) == 12
        )
        assert row.keys() >= {"floor", "resize", "config", "commit", "seconds"}
        # of the digits, or of pictures made for a folder
        learnt = row.get("n_train") in (4000, 61)
        assert learnt == (row["metric"] in ("memorisation", "copied"))
    assert run.read_rows(own / "metrics.jsonl") == rows
    assert f"95 % over {over}" in " ".join(simulacra(*words).success().split())
    text = simulacra(*words, "--weights", "raw", "--step", 10, "--repeats", 1).success()
    assert "step 10, raw weights" in text and names[-1] in text and "one set" in text
    assert f"real training {'series' if series else 'pictures'} as samples" in " ".join(
        text.split()
    )
    assert len(run.read_rows(own / "metrics.jsonl")) == 3 * len(rows)
    few = simulacra("measure", own, "--samples", 6, "--repeats", 1, *words[6:], "--json").success()
    assert "NaN" not in few and {
        row["n_real"] for row in json.loads(few) if row["metric"] != "kid_std"
    } == {6}
    again = json.loads(simulacra(*words, "--json").success())
    assert [row["value"] for row in again] == [row["value"] for row in rows]


@pytest.mark.parametrize(("classes", "labels"), [(0, "mnist_cnn"), (10, "the condition")])
def test_downstream(classes, labels, simulacra, tmp_path, monkeypatch):
    """One sample for each training label; what gives a sample its label is told.
    The classifier is a stand-in."""
    taught = []

    def learn(x, y, classes, seed):
        taught.append((x.shape, y.bincount(minlength=10).tolist()))
        return lambda x: torch.zeros(len(x), dtype=torch.int64)

    monkeypatch.setattr(downstream, "convnet", learn)
    train = [
        "train",
        "rgan_digits",
        "--preset",
        "tiny",
        "--run",
        tmp_path / "run",
        "--set",
        "steps=2",
    ]
    simulacra(*train, "--set", f"hyper.classes={classes}").success()
    words = (
        "measure",
        tmp_path / "run",
        "--samples",
        "20",
        "--repeats",
        "1",
        "--extractor",
        "mnist_cnn",
        "--downstream",
        "--json",
    )
    told = {row["metric"]: row for row in json.loads(simulacra(*words).success())}
    assert told["tstr_accuracy"]["value"] == told["real_accuracy"]["value"] == 0.1
    assert told["tstr_accuracy"]["labels"] == labels and told["tstr_accuracy"]["n_fake"] == 4000
    assert [shape for shape, _ in taught] == [(4000, 1, 28, 28)] * 2 and taught[0][1] == [400] * 10
    assert (taught[1][1] == [400] * 10) == bool(classes)


def test_samples_of_a_class(simulacra, tmp_path):
    train = [
        "train",
        "rgan_digits",
        "--preset",
        "tiny",
        "--run",
        tmp_path / "run",
        "--set",
        "steps=2",
    ]
    simulacra(*train, "--set", "hyper.classes=10").success()
    made = []
    for number, words in enumerate([["--class", "7"], ["--class", "3"], []]):
        simulacra(
            "sample", tmp_path / "run", "-n", "12", "-o", tmp_path / f"{number}.npz", *words
        ).success()
        made.append(np.load(tmp_path / f"{number}.npz")["images"])
    assert (made[0][7] == made[2][7]).all() and (made[1][3] == made[2][3]).all(), (
        "the same noise, the same class"
    )
    assert not (made[0] == made[1]).all()
    for wanted in "10", "-1":
        text = simulacra(
            "sample", tmp_path / "run", "-o", tmp_path / "x.png", "--class", wanted
        ).refusal()
        assert f"has no class {wanted}; allowed: 0 to 9" in text


def test_as_many_classes_as_the_data_have(simulacra, tmp_path):
    for count in 3, 11:
        words = [
            "train",
            "rgan_digits",
            "--preset",
            "tiny",
            "--run",
            tmp_path / "run",
            "--set",
            f"hyper.classes={count}",
        ]
        assert (
            f"hyper.classes = {count}; allowed: 0 or 10, as many as the data have"
            in simulacra(*words).refusal()
        )
    words = [
        "train",
        "rgan_sines",
        "--preset",
        "tiny",
        "--run",
        tmp_path / "run",
        "--set",
        "hyper.classes=2",
    ]
    assert "hyper.classes = 2; allowed: 0, the data have no labels" in simulacra(*words).refusal()
    assert not (tmp_path / "run").exists()


def test_a_model_without_classes(own, simulacra, tmp_path):
    text = simulacra("sample", own, "-o", tmp_path / "x.png", "--class", "7").refusal()
    assert "has no class 7; this run has none (hyper.classes)" in text


def test_every_config_trains(name, simulacra, tmp_path):
    tiny = needed(of_config(name), f"config {name}")
    outcome = tiny.train(tmp_path / "run", "steps=2", "save_every=2", "log_every=1")
    assert outcome.done and (tmp_path / "run" / "pictures" / "00000002" / "samples.png").exists()


def test_the_config_of_a_run_makes_the_same_run(trained, simulacra, tmp_path):
    simulacra(
        "train", trained / "config.json", "--run", tmp_path / "copy", "--no-tensorboard"
    ).success()
    assert (tmp_path / "copy" / "done").read_bytes() == (trained / "done").read_bytes()
    assert not (tmp_path / "copy" / "events").exists()


def test_the_default_folder(first, simulacra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    at = first.index("--run")
    simulacra(*first[:at], *first[at + 2 :]).success()
    assert (tmp_path / "runs" / first[1] / "done").exists()
    assert "nothing was left" in simulacra("train", f"runs/{first[1]}").success()


# Mistakes: one line, status 2, nothing written


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "nonsense"], "unknown config 'nonsense'; there is: "),
        (
            ["train", "ebgan_digits", "--preset", "huge"],
            "unknown preset 'huge'; there is: tiny, laptop, paper",
        ),
        (
            ["train", "ebgan_digits", "--set", "data.name=none"],
            "unknown data set 'none'; there is: ",
        ),
        (["train", "ebgan_digits", "--set", "hyper.none=1"], "unknown key hyper.none; there is: "),
        (["train", "ebgan_digits", "--set", "steps=few"], "steps = 'few': expected `int`"),
        (
            ["train", "ebgan_digits", "--set", "batch=5000"],
            "batch 5000 does not fit the 4000 training pictures; allowed: 1 to 4000, as by --set "
            "batch=2048",
        ),
        (["train", "ebgan_digits", "--set", "data.pad=1"], "multiples of 4, found 30x30"),
        (["train", "ebgan_digits", "--device", "abacus"], "device 'abacus' cannot be used ("),
        (["train", "ebgan_digits", "--data", "gone"], "no data folder gone"),
        (
            ["train", "ebgan_digits", "--set", "data.name=folder", "--set", "data.path=gone"],
            "there is no data folder",
        ),
        (["train", "none.toml"], "no config file none.toml"),
        (["train"], "Missing argument 'CONFIG'"),
        (["train", "ebgan_digits", "--margin", "3"], "No such option: --margin"),
        (["brew"], "No such command 'brew'"),
        (["data", "show", "none"], "unknown data set or config 'none'"),
        (["data", "show", "digits", "-o", "sheet.gif"], "a sheet is a .png, found 'sheet.gif'"),
        (["data", "show", "mnist"], "needs a data folder; name one with --data or SIMULACRA_DATA"),
        (["sample", "gone", "-o", "x.png"], "no run folder gone"),
        (["paint", "gone"], "no run folder gone"),
        (["measure", "."], ". is no run folder: it has no config.json"),
        (["measure", "gone", "--samples", "few"], "Invalid value for '--samples'"),
    ],
)
def test_mistakes(words, says, simulacra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    assert says in simulacra(*words).refusal()
    assert not tree(tmp_path) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["sample", "RUN", "-n", "0", "-o", "OUT.png"],
            "the number of samples is 0; it must be at least 1",
        ),
        (["sample", "RUN", "--samples", "-3", "-o", "OUT.npz"], "the number of samples is -3"),
        (
            ["sample", "RUN", "-o", "OUT.jpg"],
            "cannot write samples as '.jpg'; give a .png, an .npz or the name of a folder",
        ),
        (
            ["sample", "RUN", "-o", "OUT.png", "--weights", "light"],
            "unknown weights 'light'; there is: average, raw",
        ),
        (
            ["sample", "RUN", "-o", "OUT.png", "--step", "15"],
            "no checkpoint of step 15; there is: 10, 20",
        ),
        (
            ["sample", "RUN", "-o", "OUT.png", "--device", "abacus"],
            "device 'abacus' cannot be used",
        ),
        (["paint", "RUN", "--weights", "light"], "unknown weights 'light'"),
        (["paint", "RUN", "--data", "gone"], "no data folder gone"),
        (
            ["measure", "RUN", "--samples", "0"],
            "samples = 0, repeats = 5: at least 6 samples and 1 repeat",
        ),
        (["measure", "RUN", "--samples", "5"], "samples = 5"),
        (["measure", "RUN", "--repeats", "0"], "repeats = 0"),
        (
            ["measure", "RUN", "--extractor", "eyes"],
            "unknown extractor 'eyes'; there is: mnist_cnn, ",
        ),
        (["measure", "RUN", "--weights", "light"], "unknown weights 'light'"),
        (
            ["train", "RUN", "--set", "seed=7"],
            "holds a run of another config: seed is 0 there, 7 asked. Choose another",
        ),
        (["train", "RUN", "--preset", "paper"], "is resolved already (preset tiny)"),
    ],
)
def test_mistakes_about_a_run(words, says, own, simulacra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    words = [word.replace("RUN", str(own)).replace("OUT", str(tmp_path / "out")) for word in words]
    assert says in simulacra(*words).refusal()
    assert tree(tmp_path) == before


def test_an_existing_run_of_another_config(tiny, own, simulacra):
    before = tree(own)
    text = simulacra(
        *tiny.arguments(own, "steps=20", "save_every=10", "log_every=5", "batch=3", "keep=1")
    ).refusal()
    assert (
        "batch is " in text
        and " there, 3 asked; keep is 3 there, 1 asked. Choose another folder with --run" in text
    )
    assert tree(own) == before


def test_data_folder_that_is_gone(first, simulacra, tmp_path, monkeypatch):
    monkeypatch.setenv("SIMULACRA_DATA", str(tmp_path / "gone"))
    assert f"no data folder {tmp_path / 'gone'}" in simulacra(*first).refusal()
    assert not (tmp_path / "run").exists()


def test_folders_that_cannot_be_run_folders(first, simulacra, tmp_path):
    (tmp_path / "run").write_text("a file")
    assert f"cannot write into {tmp_path / 'run'}" in simulacra(*first).refusal()
    assert (tmp_path / "run").read_text() == "a file"
    (tmp_path / "run").unlink()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    assert "run holds thesis.tex and no run" in simulacra(*first).refusal()
    assert tree(tmp_path) == {"run/thesis.tex": b"years of work"}
    assert (
        "cannot write into /proc/run"
        in simulacra(*["/proc/run" if "/run" in word else word for word in first]).refusal()
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_unwritable_folder(first, simulacra, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    assert "cannot write into" in simulacra(*first).refusal()


def test_a_folder_that_another_process_trains_in(tiny, own, simulacra):
    before = tree(own)
    with run.locked(own):
        assert f"another process is training in {own}" in simulacra("train", own).refusal()
    assert tree(own) == before
    assert simulacra("train", own).success()


def test_a_run_without_checkpoint(own, simulacra, tmp_path):
    for path in run.checkpoints(own):
        path.unlink()
    (own / "shapes.json").unlink()
    for words in ("sample", own, "-o", tmp_path / "x.png"), ("paint", own), ("measure", own):
        assert "has no checkpoint yet; train it first" in simulacra(*words).refusal()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot read "),
        ("[]", "holds no table"),
        ("{}", "model is missing"),
        ('{"room": "none"}', "missing"),
    ],
)
def test_damaged_config_of_a_run(own, simulacra, tmp_path, content, says):
    (own / "config.json").write_text(content)
    for words in ("sample", own, "-o", tmp_path / "x.png"), ("train", own):
        assert says in simulacra(*words).refusal()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"image": 3}', '{"image": [[1, 8], "float7"]}', '{"image": [[-1], "float32"]}'],
)
def test_damaged_shapes_of_a_run(content, own, simulacra, tmp_path):
    (own / "shapes.json").write_text(content)
    assert (
        f"cannot read {own / 'shapes.json'}"
        in simulacra("sample", own, "-o", tmp_path / "x.png").refusal()
    )


def test_pictures_that_cannot_be_painted(tiny, simulacra, tmp_path):
    """The message says what survives."""
    folder = tmp_path / "run"
    assert tiny.train(folder, "steps=10", "save_every=10").done
    (folder / "pictures" / "00000020").write_text("in the way")
    text = simulacra(*tiny.arguments(folder, "steps=20", "save_every=10"), "--extend").refusal()
    assert (
        "cannot write" in text
        and f"the last good checkpoint is {folder / 'checkpoints' / '00000020.pt'}" in text
    )


def test_checkpoint_of_another_model(
    trained, own, model_name, simulacra, tmp_path, tmp_path_factory
):
    """That of every other model is refused."""
    for other in config.models():
        tiny = of_model(other)
        if other == model_name or tiny is None:
            continue
        folder = tmp_path / other
        tiny.train(folder, "steps=1", "save_every=1")
        saved = torch.load(run.checkpoints(folder)[0], weights_only=True)
        torch.save(saved | {"step": 30}, own / "checkpoints" / "00000030.pt")
        text = simulacra("sample", own, "-o", tmp_path / "x.png").refusal()
        assert "holds the parts" in text or "does not fit this model's" in text


def test_checkpoint_of_other_nets(tiny, own, simulacra, tmp_path):
    """A checkpoint whose tensors have other shapes names the part."""
    path = run.checkpoints(own)[-1]
    import torch

    saved = torch.load(path, weights_only=True)
    name = next(
        name
        for name, state in saved["parts"].items()
        if any(isinstance(v, torch.Tensor) for v in state.values())
    )
    key = next(
        key
        for key, value in saved["parts"][name].items()
        if isinstance(value, torch.Tensor) and value.ndim
    )
    saved["parts"][name][key] = torch.zeros(3, 3, 3)
    torch.save(saved, path)
    assert (
        f"does not fit this model's '{name}'"
        in simulacra("sample", own, "-o", tmp_path / "x.png").refusal()
    )


def test_a_divergence_is_named(tiny, model_name, simulacra, tmp_path):
    """Learning rates beyond all reason end in a line that names what was lost and what survives."""
    rates = [
        name for name in config.model(model_name).Hyper.__struct_fields__ if name.startswith("rate")
    ]
    if not rates:
        pytest.skip("the model has no learning rate")
    changes = [f"hyper.{name}=1e38" for name in rates]
    text = simulacra(*tiny.arguments(tmp_path / "run", *changes)).refusal()
    assert re.search(
        r"training stopped: (weight )?[\w.]+ is (nan|-?inf|not finite) at step \d+; ", text
    )
    assert "no checkpoint was written yet" in text or "the last good checkpoint is " in text


@pytest.mark.parametrize("terminal", [False, True])
def test_progress(terminal):
    """In a file a whole line a checkpoint, however narrow; in a terminal a bar."""
    console = Console(file=io.StringIO(), width=60, force_terminal=terminal)
    with Progress(
        console, 100, 8, "a title [much] longer than the few columns of the console"
    ) as progress:
        progress.tick(10, {"loss_D": 1.5, "loss_D_from_equilibrium": 0.5, "slope": 2.0})
        progress.tick(11, {})
        progress.saved(Path("00000011.pt"))
    text = console.file.getvalue()
    assert ("\x1b[" in text) == terminal and "equilibrium" not in text
    if not terminal:
        assert text.startswith("a title [much] longer than the few columns of the console: 11/100 ")
        assert text.endswith("loss_D 1.5\n") and text.count("\n") == 1


@pytest.mark.parametrize(("seconds", "told"), [(0.5, " 16 examples/s,"), (40, " 40 s a step,")])
def test_progress_of_slow_steps(monkeypatch, seconds, told):
    """A generation of a search takes a minute: never "0 examples/s"."""
    now = [0.0]
    monkeypatch.setattr("simulacra.core.progress.time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO())
    with Progress(console, 100, 8, "title") as progress:
        progress.tick(10, {})
        now[0] += 11 * seconds
        progress.tick(21, {})
        progress.saved(Path("00000021.pt"))
    assert told in console.file.getvalue()


def test_ctrl_c_before_anything_began(simulacra, monkeypatch):
    def press(*words, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "resolve", press)
    said = simulacra("train", "ebgan_digits")
    assert said.code == 130 and said.err.startswith("interrupted") and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(36, "File name too long", "a" * 5000), "letters): File name too long"),
        (PermissionError(13, "Permission denied", "secret.png"), "secret.png: Permission denied"),
        (MemoryError("Unable to allocate 8.00 EiB"), "not enough memory for what was asked"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
            ),
            "not enough memory",
        ),
        (
            RuntimeError("Storage size calculation overflowed with sizes=[1, 2]"),
            "not enough memory",
        ),
        (RuntimeError("Could not determine home directory."), "a path begins with ~"),
    ],
)
def test_an_error_of_the_machine_is_a_line(error, says, simulacra, monkeypatch):
    def fail(*words, **how):
        raise error

    monkeypatch.setattr(config, "resolve", fail)
    assert says in simulacra("train", "ebgan_digits").refusal()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape '[2]' is invalid for input of size 3"),
        OSError("no file is named"),
        KeyError(1),
    ],
)
def test_an_error_of_the_program_is_none(error, simulacra, monkeypatch):
    """A traceback is what mends it."""

    def fail(*words, **how):
        raise error

    monkeypatch.setattr(config, "resolve", fail)
    with pytest.raises(type(error)):
        simulacra("train", "ebgan_digits")


def test_sizes_that_no_machine_has(simulacra, tmp_path):
    words = [
        "train",
        "ebgan_digits",
        "--preset",
        "tiny",
        "--run",
        tmp_path / "run",
        "--set",
        f"hyper.z_size={2**50}",
    ]
    assert "not enough memory" in simulacra(*words).refusal()
    assert not (tmp_path / "run").exists()

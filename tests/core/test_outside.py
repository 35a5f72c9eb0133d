"""Models and data sets from modules, files and installed packages, and what a stranger's whole
model needs: nothing of it is lost, and nobody's code is run unasked."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from core.test_external import trained
from tiny import assert_same, equal

from simulacra.core import config, data_sets, external, installed, installed_record, random, run
from simulacra.core.errors import Mistake
from simulacra.core.load import build, reopen
from simulacra.core.parts import parts
from simulacra.core.warm_start import begin
from simulacra.tasks.export import export

HERE = Path(__file__).parent
CPU = torch.device("cpu")
TOML = """model = {model}
batch = 4
steps = 8
log_every = 1
save_every = 4
[data]
name = {data}
[preset.laptop]
"""


@pytest.fixture(autouse=True)
def forgotten():
    """Each test begins as a new process would."""
    external.forget()
    yield
    external.forget()


def written(folder: Path, model: str = "vqvae.py", data: str = "stripes.py") -> Path:
    """A config beside the files of a model and a data set."""
    for name in "vqvae.py", "stripes.py":
        shutil.copy(HERE / name, folder)
    (folder / "own.toml").write_text(TOML.format(model=json.dumps(model), data=json.dumps(data)))
    return folder / "own.toml"


def package(folder: Path, name: str, relative: bool = False) -> None:
    """An importable package with the same two files."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    for file in "vqvae.py", "stripes.py":
        shutil.copy(HERE / file, folder / name)
    if relative:
        model = (folder / name / "vqvae.py").read_text()
        lines = "from .sizes import CODES\n\n\n@dataclass\nclass Hyper"
        model = model.replace("@dataclass\nclass Hyper", lines).replace("int = 16", "int = CODES")
        (folder / name / "vqvae.py").write_text(model)
        (folder / name / "sizes.py").write_text("CODES = 12\n")


def offered(folder: Path, name: str, version: str = "1.2", **points: str) -> None:
    """What pip leaves of an installed package that offers these."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = {"model": "simulacra.models", "data": "simulacra.data_sets"}
    text = "".join(
        f"[{group}]\n{points[kind]}\n" for kind, group in groups.items() if kind in points
    )
    (place / "entry_points.txt").write_text(text)


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """A folder on Python's path; what is imported from it is dropped again."""
    place, before = tmp_path / "path", set(sys.modules)
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    yield place
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]


# A stranger's VQ-VAE


@pytest.mark.parametrize("codebook", ["mean", "gradient"])
def test_a_vqvae_trains_as_in_a_plain_loop_and_goes_on_exactly(tmp_path, codebook):
    """Gradients, rates, batch norm, running codebook, average: the bits of torch alone, whether
    the run was stopped or not."""
    toml, said = written(tmp_path), []
    how = (f"hyper.codebook={codebook}",)
    trained(toml, tmp_path / "one", *how, said=said)
    assert trained(toml, tmp_path / "two", *how, stop=5).step == 5
    trained(toml, tmp_path / "two", *how)
    assert_same(tmp_path / "one", tmp_path / "two")
    checked = config.resolve(str(toml), None, list(how))
    source = data_sets.load(checked.data, None)
    model = build(checked, source.draw(0, 4, 0), CPU)
    rows = []
    for k in range(8):
        random.reseed(random.fold(0, "step", k))
        rows.append(model.step(source.draw(k, 4, 0), k))
    opened = reopen(tmp_path / "two", None)
    assert equal(opened.model.state_dict(), model.state_dict()) and not said
    assert opened.model.best == model.best, "a number beside the parts"
    logged = run.read_rows(tmp_path / "two" / "log.jsonl")
    assert [row["rate"] for row in logged] == pytest.approx([row["rate"] for row in rows])
    assert [row["loss"] for row in logged] == [row["loss"].item() for row in rows]
    assert int(opened.model.ema.n_averaged) == 8
    moved = opened.model.net.vq.codes - build(checked, source.draw(0, 4, 0), CPU).net.vq.codes
    assert moved.abs().max() > 0


def test_a_vqvae_begins_from_another_and_is_packed(tmp_path):
    toml = written(tmp_path)
    trained(toml, tmp_path / "one", "steps=2")
    there = reopen(tmp_path / "one", None).model
    checked = config.resolve(str(toml), None, [f"init_from={tmp_path / 'one'}", "seed=7"])
    like = data_sets.load(checked.data, None).draw(0, 4, 0)
    fresh, model = build(checked, like, CPU), build(checked, like, CPU)
    assert not equal(fresh.net.state_dict(), there.net.state_dict())
    begun = begin(checked, model, tmp_path / "two", CPU)
    for name in "net", "ema":
        assert equal(getattr(model, name).state_dict(), getattr(there, name).state_dict()), name
    assert {"net", "ema", "usage"} == set(begun.record["parts"])
    assert model.opt.state_dict()["state"] == {}
    trained(toml, tmp_path / "two", f"init_from={tmp_path / 'one'}", "steps=1")
    export(reopen(tmp_path / "one", None), tmp_path / "packed")
    packed = reopen(tmp_path / "packed", None)
    batch = packed.like(2)
    random.reseed(3)
    one = packed.model.sample(batch)["samples"]
    random.reseed(3)
    assert equal(one, there.sample(batch)["samples"])


def test_hyperparameters_of_strings_are_checked(tmp_path):
    """As `from __future__ import annotations` makes them."""
    toml = written(tmp_path)
    with pytest.raises(Mistake, match=r"hyper\.codebook = 'none': expected one of: mean, gradient"):
        config.resolve(str(toml), None, ["hyper.codebook=none"])


# Modules


def test_a_module_is_a_model_and_a_data_set(simulacra, tmp_path, importable):
    """By its name, with its neighbours; the run has the source, and asks for trust."""
    package(importable, "lab", relative=True)
    toml = written(tmp_path, "lab.vqvae", "lab.stripes")
    words = ["train", toml, "--run", tmp_path / "run", "--no-tensorboard"]
    text = simulacra(*words).success()
    assert "whose other files the run does not hold (lab.sizes" in text
    there = run.config_of(tmp_path / "run")
    for name, copy in (there["room"], "model.py"), (there["data"]["name"], "data.py"):
        module, _, digest = name.partition("@")
        source = (importable / module.replace(".", "/")).with_suffix(".py").read_bytes()
        assert external.hash_of(source) == digest
        assert (tmp_path / "run" / copy).read_bytes() == source
    assert there["hyper"]["codes"] == 12
    sample = ["sample", tmp_path / "run", "-n", 2, "-o", tmp_path / "a.png"]
    assert "lab.vqvae" in (said := simulacra(*sample).refusal()) and "--trust" in said
    simulacra(*sample, "--trust").success()
    (importable / "lab" / "stripes.py").write_bytes(source + b"# another\n")
    said = simulacra(*words).refusal()
    assert "the source of the data set lab.stripes has changed since" in said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.at_all", "there is no module nowhere; allowed: a name, the path of a .py file"),
        ("lab.nothing", "there is no module lab.nothing"),
        ("lab.broken", "cannot be run: ZeroDivisionError"),
        ("lab.stripes", "has no Model; needed: a class of this name"),
        ("bad.vqvae", "cannot be imported: RuntimeError: no"),
        ("sys.monitoring", "there is no module"),
        ("lab/vqvae", "there is no such file"),
    ],
)
def test_what_is_no_module_of_a_model(tmp_path, importable, name, words):
    package(importable, "lab")
    (importable / "lab" / "broken.py").write_text("1 / 0\n")
    (importable / "bad").mkdir()
    (importable / "bad" / "__init__.py").write_text("raise RuntimeError('no')\n")
    with pytest.raises(Mistake, match=r"model") as refused:
        config.resolve(str(written(tmp_path, name)))
    assert words in str(refused.value)


# Data sets


@pytest.fixture
def copied(simulacra, tmp_path):
    """A run whose model's and data set's files are gone, and whose data file is not."""
    toml = written(tmp_path)
    (tmp_path / "width.txt").write_text("4")
    sets = ["--set", f"data.path={tmp_path / 'width.txt'}"]
    simulacra("train", toml, "--run", tmp_path / "run", "--no-tensorboard", *sets).success()
    for name in "vqvae.py", "stripes.py":
        (tmp_path / name).unlink()
    return tmp_path / "run"


def test_a_data_set_from_a_file(simulacra, copied, tmp_path):
    """Options, copy, fingerprint; nobody's code runs unasked, and only the one with the hash."""
    there = run.config_of(copied)
    assert there["data"]["name"].startswith("stripes.py@") and there["data"]["count"] == 40
    assert list(run.fingerprint_of(copied)) == ["width"]
    words = ["measure", copied, "--samples", 10, "--repeats", 2, "--json"]
    # only the data set is not trusted
    assert "--trust" in simulacra(*words).refusal()
    rows = json.loads(simulacra(*words, "--trust").success())
    assert rows[0]["n_real"] == 10
    mark = tmp_path / "executed"
    (copied / "data.py").write_text(f"open({str(mark)!r}, 'w')\n")
    assert "data.py is not the source" in simulacra(*words, "--trust").refusal()
    (copied / "data.py").unlink()
    assert "data.py" in simulacra(*words, "--trust").refusal() and not mark.exists()


def test_the_notebook_imports_neither(simulacra, copied, tmp_path):
    for name in "model.py", "data.py":
        (copied / name).write_text("raise SystemExit('imported')")
    simulacra("notebook", copied, "-o", tmp_path / "book").success()


def test_changed_files_of_a_data_set_are_refused(simulacra, copied, tmp_path):
    (tmp_path / "width.txt").write_text("2")
    words = ["train", copied, "--extend", "--set", "steps=9", "--trust"]
    assert "was trained on other data: 1 changed (width)" in simulacra(*words).refusal()
    (tmp_path / "width.txt").write_text("4")
    assert "is done: 9 steps" in simulacra(*words).success()


def test_data_show_looks_at_a_file_and_a_module(simulacra, tmp_path, importable, monkeypatch):
    package(importable, "lab")
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in "stripes.py", "./stripes.py", "lab.stripes":
        text = simulacra("data", "show", name, "-o", "sheet.png", "--set", "data.count=7").success()
        assert "2 pixels wide" in text and "data.count = 7" in text
        assert (tmp_path / "sheet.png").exists()
    assert "stripes.py: unknown key data.none; there is: data.count, data.path" in (
        simulacra("data", "show", "stripes.py", "--set", "data.none=1").refusal()
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class Data:\n    pass\n", "its Data is not made by Data(options, root): "),
        (
            "class Data:\n    def __init__(self, options, root):\n        self.draw = print\n",
            "its Data has no classes; needed: classes: int",
        ),
        ("Data = 3\n", "has no Data"),
        ("class Options:\n    name = 1\nclass Data: pass\n", "its Options is no class of fields"),
        (
            "from msgspec import Struct\nclass Options(Struct):\n    name: str = ''\n"
            "class Data: pass\n",
            "has a field `name`",
        ),
    ],
)
def test_a_file_that_is_no_data_set(simulacra, tmp_path, monkeypatch, source, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(source)
    assert words in simulacra("data", "show", "mine.py").refusal()


def test_one_file_may_be_both(tmp_path):
    written(tmp_path, "both.py", "both.py")
    model, data = ((tmp_path / name).read_text() for name in ("vqvae.py", "stripes.py"))
    start = "from __future__ import annotations\n"
    (tmp_path / "both.py").write_text(start + model.replace(start, "") + data)
    checked = config.resolve(str(tmp_path / "own.toml"))
    assert checked.model == checked.data.__struct_config__.tag
    model = build(checked, data_sets.load(checked.data, None).draw(0, 4, 0), CPU)
    assert "net" in parts(model)


# Installed packages


def test_an_installed_package_offers_names(simulacra, tmp_path, importable, caplog):
    """By name, without trust; which package it was is recorded, and another one is said."""
    package(importable, "lab")
    offered(importable, "lab", model="vq = lab.vqvae", data="stripes = lab.stripes")
    toml = written(tmp_path, "vq", "stripes")
    text = simulacra("list").success()
    assert "of installed packages\n  vq of lab 1.2, stripes of lab 1.2\n" in text
    assert "2 pixels wide" in simulacra("data", "show", "stripes").success()
    words = ["train", toml, "--run", tmp_path / "run", "--no-tensorboard"]
    simulacra(*words, "--set", "steps=4").success()
    there = run.config_of(tmp_path / "run")
    assert (there["room"], there["data"]["name"]) == ("vq", "stripes")
    code = run.starts(tmp_path / "run")[-1]["code"]
    digest = external.hash_of((HERE / "vqvae.py").read_bytes())
    assert code["model"] == {"name": "vq", "package": "lab", "version": "1.2", "source": digest}
    sample = ["sample", tmp_path / "run", "-n", 2, "-o", tmp_path / "a.png"]
    simulacra(*sample).success()
    shutil.rmtree(importable / "lab-1.2.dist-info")
    offered(importable, "lab", "1.3", model="vq = lab.vqvae", data="stripes = lab.stripes")
    note = "model vq: the run was trained with that of lab 1.2, and it is now that of lab 1.3"
    simulacra(*sample).success()
    assert caplog.messages[0] == f"note: {note}", "which Python prints where nobody listens"
    said = simulacra(*words, "--extend")
    assert said.code == 0 and f"note: {note}" in said.out
    (importable / "lab" / "vqvae.py").write_text((HERE / "vqvae.py").read_text() + "# more\n")
    caplog.clear()
    simulacra(*sample).success()
    (said,) = caplog.messages
    assert "model vq: its source in lab 1.3 has changed since the run was trained" in said


def test_the_house_goes_before_a_package_and_two_packages_are_asked_about(tmp_path, importable):
    package(importable, "lab")
    offered(importable, "lab", model="vq = lab.vqvae\nebgan = lab.vqvae")
    offered(importable, "other", model="vq = lab.vqvae")
    assert config.model("ebgan").__name__ == "simulacra.models.ebgan"
    assert installed_record.record({"model": "ebgan", "data": "digits"}) == {}
    with pytest.raises(Mistake, match=r"offered by lab 1\.2 and by other 1\.2; allowed: one of"):
        config.model("vq")
    with pytest.raises(Mistake, match=r"unknown model 'none'; there is: .*, vq, vq"):
        config.model("none")


def test_a_package_that_cannot_be_imported_is_one_line(simulacra, tmp_path, importable):
    (importable / "bad.py").write_text("1 / 0\n")
    offered(importable, "bad", model="poor = bad", data="poor = bad")
    text = simulacra("train", written(tmp_path, "poor"), "--run", tmp_path / "run").refusal()
    assert "model poor of bad 1.2 cannot be imported: ZeroDivisionError" in text
    assert "data set poor of bad 1.2" in simulacra("data", "show", "poor").refusal()
    assert "poor of bad 1.2" in simulacra("list").success(), "a list imports nothing"


def test_entry_points_are_not_read_where_nobody_offers_any(importable, monkeypatch):
    """Only the files' bytes are looked at: their machinery is not imported."""
    for name in [name for name in sys.modules if name.partition(".")[2] == "metadata"]:
        monkeypatch.delitem(sys.modules, name)
    assert installed.offers("model") == [] and "importlib.metadata" not in sys.modules
    offered(importable, "lab", model="vq = lab.vqvae")
    assert [str(one) for one in installed.offers("model")] == ["vq of lab 1.2"]
    assert installed.offers("data") == []

"""Packed runs: they look the same as the run, are small, refuse what they are not,
and bring the runs that they name."""

import json
import os
from pathlib import Path

import coded
import pytest
import torch
from safetensors.torch import save
from tiny import Tiny

from simulacra.core import packed, run
from simulacra.core.ema import EMA
from simulacra.core.errors import Mistake
from simulacra.core.load import reopen
from simulacra.models.world.artefacts import hash_of
from simulacra.tasks.export import export
from simulacra.tasks.worlds._film import Screen
from simulacra.tasks.worlds.dream import Asked, dream


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of an auto-encoder, whose averaged weights are not its last ones."""
    folder = tmp_path_factory.mktemp("zoo") / "run"
    Tiny("vae_mnist", ("data.name=digits",)).train(folder)
    return folder


def test_a_packed_run_codes_and_samples_as_the_run_does(trained, tmp_path):
    export(reopen(trained, None), tmp_path / "packed")
    was, now = reopen(trained, None), reopen(tmp_path / "packed", None)
    x = torch.randn(3, *was.like(1)["image"].shape[1:]).clamp(-1, 1)
    assert torch.equal(was.model.encode(x)[0], now.model.encode(x)[0])
    assert torch.equal(was.model.decode(torch.ones(2, 8)), now.model.decode(torch.ones(2, 8)))
    assert now.step == was.step and hash_of(now) == hash_of(was)
    assert not torch.equal(was.model.net.Enc.mean.weight, was.model.average.module.Enc.mean.weight)


def test_only_the_average_is_kept(trained, tmp_path):
    (place, size), *more = export(reopen(trained, None), tmp_path / "packed", note="Digits.")
    weights = sum(p.numel() for p in reopen(trained, None).model.average.module.parameters())
    assert not more and 0 <= size - 4 * weights < 10_000
    assert sorted(path.name for path in place.iterdir()) == [
        "README.md",
        "config.json",
        "shapes.json",
        packed.WEIGHTS,
    ]
    card = (place / "README.md").read_text()
    assert "Digits." in card and "Model `vae`" in card and "step 60" in card


def test_it_is_refused_what_it_has_not(trained, tmp_path):
    export(reopen(trained, None), tmp_path / "packed")
    with pytest.raises(Mistake, match="packed and has no checkpoint of step 20; there is: 60"):
        reopen(tmp_path / "packed", None, step=20)
    with pytest.raises(Mistake, match=r"take [\d,]+ bytes; allowed: 1,000"):
        export(reopen(trained, None), tmp_path / "small", most=1000)
    assert not (tmp_path / "small").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(Mistake, match="holds something else"):
        export(reopen(trained, None), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter"]


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_leaves_what_was_there_and_keeps_nobody_from_trying_again(
    trained, tmp_path, monkeypatch, at, before
):
    out = tmp_path / "packed"
    if before:
        export(reopen(trained, None), out, note="First.", examples=2)
    there = {path.name: path.read_bytes() for path in out.iterdir()} if before else {}
    sync, count = os.fsync, []

    def full(handle: int) -> None:
        count.append(handle)
        if len(count) == 2 * at - 1:  # a file and its folder are synced by turns
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Mistake, match=r"cannot write into .*packed \(No space left on device\)"):
        export(reopen(trained, None), out, note="Second.")
    monkeypatch.undo()
    assert (
        {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else {}
    ) == there
    assert [path.name for path in tmp_path.iterdir()] == ["packed"] * before
    export(reopen(trained, None), out, note="Third.")
    assert (
        "Third." in (out / "README.md").read_text()
        and not packed.has_examples(out)
        and reopen(out, None).step == 60
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"weights of somebody",
        save({"a": torch.zeros(2)}),
        save({"a": torch.zeros(2)}, {"format": "pt"}),
    ],
)
def test_weights_of_others_make_no_packed_run(trained, tmp_path, content):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, what in (packed.WEIGHTS, content), ("config.json", b"{}"), ("README.md", b"years"):
        (mine / name).write_bytes(what)
    with pytest.raises(Mistake, match="holds something else"):
        export(reopen(trained, None), mine)
    assert (mine / "README.md").read_bytes() == b"years" and (
        mine / packed.WEIGHTS
    ).read_bytes() == content


def test_nobody_trains_in_it(trained, tmp_path):
    export(reopen(trained, None), tmp_path / "packed")
    before = sorted(path.name for path in (tmp_path / "packed").iterdir())
    with pytest.raises(Mistake, match="packed run, which is only looked at"):
        Tiny("vae_mnist", ("data.name=digits",)).train(tmp_path / "packed")
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == before


@pytest.mark.parametrize("harm", ["cut", "other"])
def test_damaged_weights_are_one_line(trained, tmp_path, harm):
    export(reopen(trained, None), tmp_path / "packed")
    file = tmp_path / "packed" / packed.WEIGHTS
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        settings = json.loads((tmp_path / "packed" / "config.json").read_text())
        settings["hyper"]["width"] = 5
        (tmp_path / "packed" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(Mistake, match=r"cannot read .*weights.safetensors"):
        reopen(tmp_path / "packed", None)


def test_a_model_without_averages_keeps_its_nets(tmp_path):
    Tiny("gan_digits").train(tmp_path / "run")
    opened = reopen(tmp_path / "run", None)
    assert {name.partition("/")[0] for name in packed.kept(opened.model)} == {"average"}
    del opened.model.average
    assert {name.partition("/")[0] for name in packed.kept(opened.model)} == {"G", "D"}
    del opened.model.G, opened.model.D
    with pytest.raises(Mistake, match="nothing of model gan can be packed"):
        export(opened, tmp_path / "packed")


def test_an_average_unpacks_into_both_nets():
    average = EMA(torch.nn.Linear(2, 2))
    average.unpack({"weight": torch.ones(2, 2), "bias": torch.zeros(2)})
    assert average.source.weight.tolist() == average.module.weight.tolist() == [[1, 1], [1, 1]]


def test_a_controller_brings_its_memory(tmp_path):
    pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    codes = coded.folder(tmp_path / "codes")
    Tiny("memory_racing", (f"data.path={codes}",)).train(tmp_path / "memory")
    sets = f"data.path={codes}", f"hyper.memory={tmp_path / 'memory'}"
    Tiny("controller_racing", sets).train(tmp_path / "run", "steps=3", "save_every=3")
    export(reopen(tmp_path / "run", None), tmp_path / "packed")
    (tmp_path / "memory").rename(tmp_path / "gone")
    was, now = (
        run.contents(run.checkpoints(tmp_path / "run")[-1])["parts"],
        reopen(tmp_path / "packed", None),
    )
    assert torch.equal(now.model.centre, was["search"]["mean"].float())
    assert (
        torch.equal(now.model.memory.module.eye, was["memory"]["eye"])
        and now.model.memory.module.eye.any()
    )
    assert (
        now.config.hyper.memory == str(tmp_path / "packed" / "memory")
        and now.config.init_from == ""
    )
    assert packed.facts(tmp_path / "packed" / "memory")[0] == 60


def test_a_packed_run_brings_what_dreams_begin_with(tmp_path, monkeypatch):
    pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    monkeypatch.delenv("SIMULACRA_DATA", raising=False)
    sets = f"data.path={coded.folder(tmp_path / 'codes')}", "data.start=any"
    Tiny("controller_racing", sets).train(tmp_path / "run", "steps=1", "save_every=1")
    monkeypatch.chdir(tmp_path)
    was = reopen(tmp_path / "run", None).data().take("held_out", 2)
    export(reopen(tmp_path / "run", None), tmp_path / "packed", examples=2)
    assert json.loads((tmp_path / "packed" / "config.json").read_text())["data"]["path"] == "codes"
    (tmp_path / "codes").rename(tmp_path / "gone")
    now = reopen(tmp_path / "packed", None)
    assert (
        all(torch.equal(value, was[name]) for name, value in now.examples(2).items())
        and len(now.examples(1)["mean"]) == 1
    )
    with pytest.raises(Mistake, match=r"3 examples of .*packed, which brings 2; allowed: as many"):
        now.examples(3)
    with pytest.raises(Mistake, match="codes"):
        # a data folder that someone names comes first
        reopen(tmp_path / "packed", tmp_path).examples(1)
    (tmp_path / "packed" / packed.EXAMPLES).write_bytes(b"not what it was")
    with pytest.raises(Mistake, match=r"cannot read .*examples.safetensors"):
        now.examples(1)
    export(reopen(tmp_path / "run", None), tmp_path / "packed")
    assert not packed.has_examples(tmp_path / "packed")


def test_runs_that_were_moved_together_find_each_other(tmp_path):
    pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    codes, place = coded.folder(tmp_path / "codes"), tmp_path / "here"
    Tiny("memory_racing", (f"data.path={codes}",)).train(place / "memory")
    sets = f"data.path={codes}", f"hyper.memory={place / 'memory'}", "steps=1", "save_every=1"
    Tiny("controller_racing", sets).train(place / "first")
    Tiny("controller_racing", (*sets, f"hyper.begin={place / 'first'}")).train(place / "second")
    (place / "first").rename(tmp_path / "gone")
    place.rename(tmp_path / "there")
    opened = reopen(tmp_path / "there" / "second", None)
    assert (
        opened.config.hyper.memory == str(tmp_path / "there" / "memory")
        and opened.model.memory.module.eye.any()
    )


ZOO = Path(__file__).parents[2] / "zoo"
PACKED = sorted(path.parent for path in ZOO.rglob(packed.WEIGHTS))


def test_the_zoo_is_small():
    assert PACKED and all((place / packed.WEIGHTS).stat().st_size <= 6_000_000 for place in PACKED)
    for place in PACKED:
        assert "Made by `simulacra " in (place / "README.md").read_text()


@pytest.mark.parametrize("place", PACKED, ids=lambda place: str(place.relative_to(ZOO)))
def test_the_zoo_opens(place, tmp_path):
    settings = json.loads((place / "config.json").read_text())
    if settings["room"] == "world_controller":
        pytest.importorskip("cma", reason="the extra `worlds` is not installed")
    opened = reopen(place, None)
    assert all(value.isfinite().all() for value in packed.kept(opened.model).values())
    if hasattr(opened.model, "encode"):
        code, _ = opened.model.encode(torch.zeros(1, *opened.like(1)["image"].shape[1:]))
        assert opened.model.decode(code).abs().max() <= 1
    # whose dreams begin with frames that it brings, not with the first of a drive
    if settings["room"] == "world_controller":
        assert settings["hyper"]["context"] == 48 < opened.examples(4)["mean"].shape[1]
        found = dream(opened, tmp_path / "dream.gif", Asked(steps=3, count=2), Screen())
        assert found.clips.shape[:2] == (2, 3) and len(found.returns) == 2

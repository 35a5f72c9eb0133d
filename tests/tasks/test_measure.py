"""The verb measure: what it says of a run, and what it keeps where a disk is full."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import Said
from PIL import Image

from simulacra.core import config, data_sets, run
from simulacra.core.errors import Mistake
from simulacra.io import paint
from simulacra.metrics.intervals import versions
from simulacra.studies.sheet import same_protocol
from simulacra.tasks import _judges, nearest

Say = Callable[..., Said]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run on digits; not to be written into."""
    from tiny import ROOT

    from simulacra.tasks.train import train

    folder = tmp_path_factory.mktemp("digits") / "run"
    train(config.resolve("gan_digits", "tiny", ["steps=2", "save_every=2"]), folder, ROOT)
    return folder


@pytest.fixture
def own(digits: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits, tmp_path / "own"))


def by_name(said: Said) -> dict[str, dict]:
    return {row["metric"]: row for row in json.loads(said.success())}


def test_copies_from_the_end_of_the_training_split_are_called_so(
    own: Path, simulacra: Say, monkeypatch: pytest.MonkeyPatch
):
    source = data_sets.load(config.check(run.config_of(own), "").data, None)
    last = source.take("train", 4000)["image"][-300:]
    monkeypatch.setattr(_judges, "samples", lambda opened, count, seed: last[:count])
    found = by_name(simulacra("measure", own, "--samples", 300, "--repeats", 2, "--json"))
    assert found["memorisation"]["value"] == 0 and found["copied"]["value"] == 1
    assert found["memorisation"]["n_train"] == 4000 and found["memorisation"]["version"] == 2
    said = " ".join(simulacra("measure", own, "--samples", 300, "--repeats", 1).success().split())
    assert "copied: 100 % of the samples are copies of some of the 4,000 training pictures" in said
    new = source.take("held_out", 600)["image"][300:]
    monkeypatch.setattr(_judges, "samples", lambda opened, count, seed: new[:count])
    found = by_name(simulacra("measure", own, "--samples", 300, "--repeats", 2, "--json"))
    assert 0.85 < found["memorisation"]["value"] < 1.15 and found["copied"]["value"] == 0
    assert "copied:" not in simulacra("measure", own, "--samples", 300, "--repeats", 1).success()


@pytest.mark.parametrize("flip", [True, False])
def test_mirrored_copies_count_where_training_mirrors(
    flip, tmp_path: Path, simulacra: Say, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "pictures").mkdir()
    for i, one in enumerate(
        torch.randint(0, 255, (60, 16, 16), generator=torch.Generator().manual_seed(0))
    ):
        Image.fromarray(one.numpy().astype("uint8")).save(tmp_path / "pictures" / f"{i}.png")
    sets = [
        f"data.path={tmp_path / 'pictures'}",
        "data.size=16",
        f"data.flip={str(flip).lower()}",
        "data.held_out=0.3",
    ]
    sets += ["steps=1", "batch=8"]
    checked = config.resolve("gan_folder", "tiny", sets)
    words = [word for change in sets for word in ("--set", change)]
    simulacra(
        "train", "gan_folder", "--preset", "tiny", "--run", tmp_path / "run", *words
    ).success()
    source = data_sets.load(checked.data, None)
    train = source.take("train", source.size("train"))["image"][-12:].flip(-1)
    monkeypatch.setattr(_judges, "samples", lambda opened, count, seed: train[:count])
    measure = "measure", tmp_path / "run", "--extractor", "pixels", "--samples", 12, "--repeats", 1
    found = by_name(simulacra(*measure, "--json"))
    assert found["copied"]["value"] == float(flip) and found["copied"]["mirrored"] is flip
    assert ("copied: 100 %" in " ".join(simulacra(*measure).success().split())) is flip


def test_a_whole_split_is_read_in_parts(digits: Path, monkeypatch: pytest.MonkeyPatch):
    source = data_sets.load(config.check(run.config_of(digits), "").data, None)
    monkeypatch.setattr(_judges, "PART", 700)
    parts = [batch["image"] for batch in _judges.whole(source, "train")]
    assert [len(part) for part in parts] == [700] * 5 + [500]
    assert torch.equal(torch.cat(parts), source.take("train", 4000)["image"])


def test_asked_for_classes_have_no_shares(tmp_path: Path, simulacra: Say):
    words = ["--set", "hyper.classes=10", "--set", "steps=2"]
    simulacra(
        "train", "rgan_digits", "--preset", "tiny", "--run", tmp_path / "run", *words
    ).success()
    found = by_name(
        simulacra("measure", tmp_path / "run", "--samples", 40, "--repeats", 2, "--json")
    )
    assert "class_min_share" not in found and 0 <= found["class_agreement"]["value"] <= 1
    assert found["class_agreement"]["floor"] > 0.9, "real digits show their labels"
    assert (
        "class by class"
        in simulacra("measure", tmp_path / "run", "--samples", 40, "--repeats", 1).success()
    )


def full(*anything: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_loses_no_printed_number(
    own: Path, simulacra: Say, monkeypatch: pytest.MonkeyPatch, options: list[str]
):
    opening = Path.open

    def refusing(path: Path, *mode: str, **how: str) -> object:
        return full() if path.name == "metrics.jsonl" else opening(path, *mode, **how)

    monkeypatch.setattr(Path, "open", refusing)
    said = simulacra(
        "measure", own, "--samples", 20, "--repeats", 2, "--extractor", "pixels", *options
    )
    assert said.code == 2
    if options:
        assert {"frechet", "coverage"} <= {row["metric"] for row in json.loads(said.out)}
    else:
        assert "frechet" in said.out and "coverage" in said.out
    assert len(said.err.strip().splitlines()) == 1 and "No space left on device" in said.err
    assert not (own / "metrics.jsonl").exists()


# Versions


def test_a_row_without_a_version_is_of_the_first():
    assert (
        versions.version({"metric": "frechet"})
        == versions.version({"metric": "frechet", "version": 1})
        == 1
    )
    assert versions.stamped({"metric": "memorisation", "value": 1.0})["version"] == 2
    assert versions.stamped({"metric": "frechet"})["version"] == 1


def test_two_versions_share_no_column():
    old, new = (
        {"metric": "memorisation", "value": 1.0},
        {"metric": "memorisation", "value": 0.9, "version": 2, "n_train": 60},
    )
    each = {("margin = 1", 0): old, ("margin = 2", 0): new, ("margin = 1", 1): old}
    found = {key: {"memorisation": row} for key, row in each.items()}
    with pytest.raises(
        Mistake,
        match=r"memorisation.*version 1 for margin = 1, seed 0; margin = 1, seed 1.*measure",
    ) as told:
        same_protocol(found, "memorisation")
    assert "margin = 2" not in str(told.value) and "\n" not in str(told.value)
    same_protocol(
        {key: rows for key, rows in found.items() if key[0] == "margin = 1"}, "memorisation"
    )
    frechet = {"metric": "frechet", "value": 1.0}
    same_protocol(
        {
            ("a", 0): {"frechet": frechet},
            ("b", 0): {"frechet": frechet | {"version": 1, "over": "x"}},
        },
        "frechet",
    )


def test_the_simulator_of_an_older_score_is_no_version_of_the_metric():
    old, new = (
        {"metric": "return", "version": "1.3.0"},
        {"metric": "return", "version": 1, "simulator_version": "1.3.0"},
    )
    same_protocol({("a", 0): {"return": old}, ("b", 0): {"return": new}}, "return")
    for other in ({"version": "1.2.0"}, {"version": 1, "simulator_version": "1.2.0"}):
        with pytest.raises(Mistake, match=r"simulator_version is 1\.3\.0 .* and 1\.2\.0"):
            same_protocol(
                {("a", 0): {"return": old}, ("b", 0): {"return": {"metric": "return"} | other}},
                "return",
            )


def test_too_few_held_out_pictures_are_said_before_training_and_refused_after(
    tmp_path: Path, simulacra: Say
):
    """With the way out, and before any sample is drawn."""
    (tmp_path / "pictures").mkdir()
    for i, one in enumerate(
        torch.randint(0, 255, (40, 16, 16), generator=torch.Generator().manual_seed(0))
    ):
        Image.fromarray(one.numpy().astype("uint8")).save(tmp_path / "pictures" / f"{i}.png")
    sets = [f"data.path={tmp_path / 'pictures'}", "data.size=16", "steps=1", "batch=8"]
    words = [word for change in sets for word in ("--set", change)]
    trained = simulacra(
        "train", "gan_folder", "--preset", "tiny", "--run", tmp_path / "run", *words
    )
    told = "nothing can be measured against fewer than 6; allowed: more pictures, or a larger share"
    assert told in " ".join((trained.success() + trained.err).split())
    said = simulacra("measure", tmp_path / "run", "--samples", 10)
    assert said.code == 2 and told in said.err and "--set data.held_out=0.3" in said.err


def test_nearest_training_pictures_are_drawn_beneath_samples(
    own: Path, simulacra: Say, monkeypatch: pytest.MonkeyPatch
):
    """Copies stand above what they are copies of; the notebook finds the sheet."""
    source = data_sets.load(config.check(run.config_of(own), "").data, None)
    copies = source.take("train", 4000)["image"][-nearest.COUNT :]
    monkeypatch.setattr(nearest, "samples", lambda opened, count, seed: copies)
    said = simulacra("measure", own, "--samples", 20, "--repeats", 1, "--nearest").success()
    path = own / "pictures" / "00000002" / "nearest.png"
    assert "nearest.png" in said
    board = np.asarray(Image.open(path))
    tiles = paint.cut(board[..., None], *copies.shape[2:], 2)[..., 0]
    assert tiles.shape[:2] == (1 + nearest.NEIGHBOURS, nearest.COUNT)
    assert (tiles[0] == tiles[1]).all() and not (tiles[1] == tiles[2]).all()


def test_the_nearest_are_found_over_all_parts_and_mirrored():
    """By the distance of features, here of the pixels themselves."""
    eyes = SimpleNamespace(features=lambda x: x.flatten(1))
    parts = [torch.tensor([[3.0, 0], [0, 1]]), torch.tensor([[2.0, 0], [1, 0], [0, 5]])]
    parts = [part[:, None, None] for part in parts]
    image = torch.zeros(1, 1, 1, 2)
    found = nearest.closest(image, parts, eyes)[0, :, 0, 0]
    assert sorted(found[:2].tolist()) == [[0, 1], [1, 0]] and found[2].tolist() == [2, 0]
    image[..., 0] = 5
    assert nearest.closest(image, parts, eyes)[0, 0, 0, 0].tolist() == [3, 0]
    assert nearest.closest(image, parts, eyes, mirror=True)[0, 0, 0, 0].tolist() == [0, 5]


@pytest.mark.parametrize("batch", [{"series": 1}, {"image": 1, "next": 1}])
def test_nearest_is_refused_where_no_pictures_are_made(batch: dict):
    source = SimpleNamespace(take=lambda split, n: batch)
    opened = SimpleNamespace(config=SimpleNamespace(model="some"), data=lambda: source)
    with pytest.raises(Mistake, match="model some: nearest training pictures are shown of models"):
        nearest.nearest(opened, _judges.Protocol(6))

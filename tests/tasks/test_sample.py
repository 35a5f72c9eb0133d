"""Samples: written part by part, the same as if they were made at once."""

import gc
import weakref

import numpy as np
import pytest
import torch
from tiny import needed, of_model

from simulacra.core.load import Opened, reopen
from simulacra.io import paint
from simulacra.tasks import sample as verb


@pytest.fixture(scope="module", params=["ebgan", "rgan_series"])
def opened(request, tmp_path_factory) -> Opened:
    """A run whose samples are pictures, and one whose samples are series."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    needed(of_model(request.param), request.param).train(folder, "steps=1", "save_every=1")
    return reopen(folder, None)


def test_what_is_written_part_by_part_is_what_was_made(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "CHUNK", 4)
    made = verb.samples(opened, 11, 3)
    verb.sample(opened, 11, tmp_path / "a.npz", 3)
    with np.load(tmp_path / "a.npz") as found:
        (values,) = found.values()
    assert np.array_equal(values, made.numpy() if made.ndim == 3 else paint.to_bytes(made))
    one = (
        paint.save_plots(made[:4], tmp_path / "b.png")
        if made.ndim == 3
        else paint.save_sheet(made, tmp_path / "b.png")
    )
    assert verb.sample(opened, 11, tmp_path / "a.png", 3)[0].read_bytes() == one.read_bytes()
    paths = verb.sample(opened, 11, tmp_path / "folder", 3)
    (paint.save_csvs if made.ndim == 3 else paint.save_pngs)(made, tmp_path / "whole")
    assert len(paths) == 11 and all(
        path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes() for path in paths
    )


@pytest.mark.parametrize("name", ["a.png", "a.npz", "folder"])
def test_memory_does_not_grow_with_the_number_of_samples(opened, tmp_path, monkeypatch, name):
    """Of what was written nothing is kept while the next part is made."""
    alive, most, real = [], [0], opened.model.sample

    def watched(like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        gc.collect()
        most[0] = max(most[0], sum(one() is not None for one in alive))
        part = real(like)["samples"].clone()
        alive.append(weakref.ref(part))
        return {"samples": part}

    monkeypatch.setattr(opened.model, "sample", watched)
    monkeypatch.setattr(verb, "CHUNK", 2)
    verb.sample(opened, 30, tmp_path / name, 5)
    assert most[0] <= 2 and len(alive) == (
        1 if name == "a.png" and "series" in opened.like(1) else 15
    )

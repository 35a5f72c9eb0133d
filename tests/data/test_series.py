"""Series: generated ones have known parameters and densities,
files are read exactly or refused by row and column."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, multivariate_normal
from torch import Tensor

from simulacra.core import data_sets
from simulacra.core.contract import Data
from simulacra.core.errors import Mistake
from simulacra.data import gaussian_process, series, sines
from simulacra.data._series import Scale, Sequences, Split, even, leading, spanning
from simulacra.io import table
from simulacra.metrics.series.scores import (
    autocorrelation,
    autocorrelation_distance,
    cross_correlation,
    cross_correlation_distance,
    recover_sines,
    uniform_distance,
)


def numbered(n: int) -> Sequences:
    """n training series of 4 steps and 2 channels, each of one value that is its number,
    and three others held out."""
    values = np.arange(n + 3.0).repeat(8).reshape(-1, 4, 2)
    labels = np.arange(n + 3)
    return Sequences(
        Split(values, labels, np.arange(n)),
        Split(values, labels, np.arange(n, n + 3)),
        even(1.0, 2),
    )


def loaded(root: Path, name: str, **options: object) -> series.Series:
    """The series of a file."""
    found = data_sets.load(series.Options(path=name, **options), root)
    assert isinstance(found, series.Series)
    return found


def written(root: Path, text: str, name: str = "a.csv") -> Path:
    """The folder with a file of that text in it."""
    (root / name).write_text(text)
    return root


def refusal(root: Path | None, name: str, **options: object) -> str:
    """What the Mistake says, one line."""
    with pytest.raises(Mistake) as caught:
        series.Series(series.Options(path=name, **options), root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def everything(found: Data) -> Tensor:
    """All series of both splits in the units of the file."""
    return torch.cat(
        [
            found.restore(found.take(split, found.size(split))["series"])
            for split in ("train", "held_out")
        ]
    )


# Drawing


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.data(), st.integers(0, 2**62))
def test_an_epoch_holds_every_series_once(n, more, seed):
    found, batch = numbered(n), more.draw(st.integers(1, n))
    epoch, steps = more.draw(st.integers(0, 5)), n // batch
    labels = torch.cat(
        [found.draw(epoch * steps + i, batch, seed)["label"] for i in range(steps)]
    ).tolist()
    assert len(set(labels)) == len(labels) == steps * batch
    assert set(labels) <= set(range(n))


def test_draw_is_a_pure_function():
    asked = [(k, batch, seed) for seed in (0, 1) for batch in (3, 7) for k in (0, 5, 6, 7, 40)]
    found = numbered(20)
    there = [found.draw(*one) for one in asked]
    back = [numbered(20).draw(*one) for one in reversed(asked)][::-1]
    for one, two in zip(there, back, strict=True):
        assert torch.equal(one["series"], two["series"]) and torch.equal(one["label"], two["label"])
        assert torch.equal(one["series"][:, 0, 0].long(), one["label"])
    assert (
        len(
            {
                tuple(found.draw(k, 20, seed)["label"].tolist())
                for k in range(3)
                for seed in range(3)
            }
        )
        == 9
    )


def test_what_cannot_be_drawn():
    found = numbered(20)
    for batch in 0, 21:
        with pytest.raises(Mistake, match=f"batch {batch} .*20 training series; allowed: 1 to 20"):
            found.draw(0, batch, 0)
    for n in 0, 4:
        with pytest.raises(Mistake, match=f"{n} series of split 'held_out'.*allowed: 1 to 3"):
            found.take("held_out", n)
    with pytest.raises(Mistake, match="unknown split 'test'; there is: train, held_out"):
        found.size("test")


def test_take_is_fixed_and_nested():
    one, two = numbered(20).take("train", 20)["label"], numbered(20).take("train", 5)["label"]
    assert torch.equal(one[:5], two) and one.tolist() != sorted(one.tolist())


@pytest.mark.parametrize("name", ["sines", "gaussian_process", "series"])
def test_every_set_keeps_the_contract(name, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(20, 4, 3)))
    options = {"path": "a.npy"} if name == "series" else {"length": 4, "channels": 3, "count": 20}
    if name == "sines":
        options["frequencies"] = (1.0, 2.0)
    found = data_sets.load(
        msgspec.convert({"name": name, **options}, data_sets.module(name).Options), tmp_path
    )
    batch = found.draw(0, 8, 0)["series"]
    assert batch.shape == (8, 4, 3) and batch.dtype == torch.float32 and batch.abs().max() <= 1
    assert (found.classes, found.extractor) == (0, "series") and found.size("train") + found.size(
        "held_out"
    ) == 20
    assert all(isinstance(value, str) for value in found.describe().values())
    both = torch.cat(
        [found.take(split, found.size(split))["series"] for split in ("train", "held_out")]
    )
    assert len({one.numpy().tobytes() for one in both}) == 20


def test_shares_held_out():
    values = np.zeros((10, 2, 1))
    assert [len(leading(values, share)[1].rows) for share in (0.01, 0.2, 0.99)] == [1, 2, 9]


# Scaling


def test_scale_by_hand():
    scale = spanning(np.array([0.0, 5.0, -2.0, 0.0]), np.array([10.0, 5.0, 2.0, 0.0]))
    values = np.array([[0, 5, -2, 0], [10, 5, 2, 0], [15, 5, 0, 0]])
    scaled = scale.apply(values)
    assert scaled.tolist() == [[-1, 0, -1, 0], [1, 0, 1, 0], [2, 0, 0, 0]]
    assert np.array_equal(scale.restore(scaled).numpy(), values)


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=5))
def test_ends_become_one_whatever_the_range(values):
    column = np.array(values)[:, None]
    low, high = column.min(0), column.max(0)
    scaled = spanning(low, high).apply(column)
    assert scaled.isfinite().all() and scaled.abs().max() <= 1
    if low < high and (high / 2 - low / 2)[0] > 1e-300:
        assert scaled.min() == -1 and scaled.max() == 1


# Sines and Gaussian processes


def test_sines_are_what_they_say():
    options = sines.Options(count=1500, channels=2)
    found = sines.Sines(options, None)
    every = everything(found)
    waves = recover_sines(every)
    assert waves.residual.max() < 1e-6
    for values, low, high in (
        (waves.frequency, 1, 5),
        (waves.amplitude, 0.1, 0.9),
        (waves.phase, -math.pi, math.pi),
    ):
        assert values.min() >= low - 1e-5 and values.max() <= high + 1e-5
        assert uniform_distance(values, low, high) < 1.63 / values.numel() ** 0.5  # 1 % level
    assert abs(np.corrcoef(waves.frequency.T)[0, 1]) < 0.1, "channels are independent"
    assert torch.equal(
        found.take("train", 5)["series"], sines.Sines(options, Path("x")).take("train", 5)["series"]
    )
    other = msgspec.structs.replace(options, seed=1)
    assert not torch.equal(
        found.take("train", 5)["series"], sines.Sines(other, None).take("train", 5)["series"]
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"frequencies": (5.0, 1.0)}, "data.frequencies = 5.0, 1.0; allowed: the lower one first"),
        (
            {"length": 8},
            "data.frequencies up to 5.0 cycles; "
            "allowed: 4.0 at most, half of data.length = 8 steps",
        ),
        ({"count": 2**40}, "allowed: 268435456 at most"),
    ],
)
def test_sines_that_cannot_be(options, says):
    with pytest.raises(Mistake) as caught:
        sines.Sines(sines.Options(**options), None)
    assert says in str(caught.value)


def test_gaussian_process_has_its_covariance():
    found = gaussian_process.GaussianProcess(
        gaussian_process.Options(length=6, count=20_000, channels=2), None
    )
    every = everything(found)
    steps = torch.arange(6.0, dtype=torch.float64)
    expected = 0.2 * torch.exp(-0.1 * (steps[:, None] - steps).square())
    for channel in every.unbind(2):
        assert torch.allclose(channel.T @ channel / len(channel), expected, atol=0.012)
    assert (every[:, :, 0] * every[:, :, 1]).mean().abs() < 0.01, "channels are independent"
    assert every.abs().max() <= 4 * 0.2**0.5 + 1e-6 and every.abs().max() > 1.5


def test_four_deviations_of_the_process_and_its_noise_become_one():
    found = gaussian_process.GaussianProcess(
        gaussian_process.Options(length=4, count=10, noise=0.3), None
    )
    ends = found.restore(torch.tensor([[[-1.0], [0], [1]]])).flatten()
    assert ends.tolist() == pytest.approx([-4 * 0.29**0.5, 0, 4 * 0.29**0.5])  # 0.2 + 0.3 squared


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_log_density_is_scipys(noise):
    found = gaussian_process.GaussianProcess(
        gaussian_process.Options(length=7, count=50, channels=2, noise=noise), None
    )
    batch = found.draw(0, 30, 0)["series"]
    judge = multivariate_normal(np.zeros(7), gaussian_process.covariance(7, 0.1, noise))
    expected = judge.logpdf(found.restore(batch).transpose(1, 2).numpy()).sum(1)
    assert np.allclose(found.log_density(batch), expected, rtol=1e-9)
    with pytest.raises(Mistake, match=r"allowed: \(N, 7, 2\)"):
        found.log_density(batch[:, :5])


def test_log_density_knows_the_real_ones():
    found = gaussian_process.GaussianProcess(gaussian_process.Options(count=1000), None)
    real = found.take("held_out", 200)["series"]
    low, expected = found.lower, 0.0
    # minus the entropy
    expected = -15 * (1 + math.log(2 * math.pi)) - float(np.log(np.diag(low)).sum())
    assert found.log_density(real).mean() == pytest.approx(expected, abs=1.5)
    assert found.log_density(real.flip(0) + 1e-3 * torch.ones_like(real)).mean() > expected - 5, (
        "a shift costs little"
    )
    rough = real + 1e-3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    assert found.log_density(rough).mean() < -1000, "roughness costs all"


def test_gaussian_process_too_smooth():
    with pytest.raises(
        Mistake,
        match=r"data.gamma = 0.01 at data.length = 30 is too smooth .*allowed: a larger gamma",
    ):
        gaussian_process.GaussianProcess(gaussian_process.Options(gamma=0.01), None)
    gaussian_process.GaussianProcess(
        gaussian_process.Options(gamma=0.01, noise=0.001, count=2), None
    )


# Arrays


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "uint8", ">f4", "bool", "float16"])
def test_npy_of_every_kind(tmp_path, kind):
    values = (np.random.default_rng(0).normal(size=(12, 5, 2)) * 20).astype(kind)
    np.save(tmp_path / "a.npy", np.asfortranarray(values))
    found = everything(loaded(tmp_path, "a.npy")).numpy()
    assert np.allclose(
        np.sort(found.reshape(12, -1), 0),
        np.sort(values.reshape(12, -1).astype(float), 0),
        atol=1e-4,
    )


def test_npy_of_two_axes_has_one_channel(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(40.0).reshape(8, 5))
    found = loaded(tmp_path, "a.npy")
    assert found.take("train", 1)["series"].shape == (1, 5, 1)
    assert torch.allclose(
        everything(found).sort(0).values[:, :, 0],
        torch.arange(40.0, dtype=torch.float64).view(8, 5),
    )
    assert "by a hash of each series' number" in found.describe()["split"]


def test_scaled_by_the_training_series_alone(tmp_path):
    values = np.random.default_rng(0).normal(size=(30, 4, 2)) * (1, 100)
    np.save(tmp_path / "a.npy", values)
    first = loaded(tmp_path, "a.npy")
    train = first.take("train", first.size("train"))["series"]
    assert train.amin((0, 1)).tolist() == [-1, -1] and train.amax((0, 1)).tolist() == [1, 1]
    values[first.series.held_out.rows[0]] = 1e6
    np.save(tmp_path / "a.npy", values)
    second = loaded(tmp_path, "a.npy")
    assert torch.equal(second.take("train", first.size("train"))["series"], train)
    assert second.take("held_out", second.size("held_out"))["series"].max() > 1000
    beyond = (second.take("held_out", second.size("held_out"))["series"].abs() > 1).double().mean()
    assert beyond >= 1 / second.size("held_out")
    assert f"{beyond:.2%} of held-out values lie beyond" in second.describe()["scaling"]


def test_npy_labels(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10.0).repeat(6).reshape(10, 3, 2))
    np.save(tmp_path / "y.npy", np.array([7, 3] * 5))
    found = loaded(tmp_path, "a.npy", label="y.npy")
    batch = found.take("train", found.size("train"))
    assert found.classes == 2 and found.describe()["classes"] == "3, 7"
    assert torch.equal(
        batch["label"], 1 - found.restore(batch["series"])[:, 0, 0].round().long() % 2
    )
    assert f"data.label: {tmp_path / 'z.npy'} is not there" in refusal(
        tmp_path, "a.npy", label="z.npy"
    )
    np.save(tmp_path / "z.npy", np.zeros(9))
    assert "holds float64 of shape (9,); allowed: whole numbers (10,)" in refusal(
        tmp_path, "a.npy", label="z.npy"
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros(5), "has shape (5,); allowed: (N, T, C) or (N, T)"),
        (np.zeros((2, 2, 2, 2)), "has shape (2, 2, 2, 2); allowed"),
        (np.array([["a", "b"]] * 3), "holds values of type <U1; allowed: real numbers"),
        (np.zeros((3, 3), complex), "holds values of type complex128; allowed: real numbers"),
        (np.zeros((1, 5)), "holds 1 series of 5 steps and 1 channels; needed: 2 series"),
        (np.zeros((5, 1)), "holds 5 series of 1 steps and 1 channels; needed: 2 series"),
        (np.zeros((5, 3, 0)), "a.npy"),
        (
            np.array([[[1.0, 2]] * 2] * 4 + [[[1, 2], [1, np.nan]]]),
            "series 4, step 1, channel 1 (counted from 0) is nan",
        ),
        (np.array([[1, 2], [np.inf, 3]]), "series 1, step 0, channel 0 (counted from 0) is inf"),
        (np.array([[{}, 1], [2, 3]], object), "Python objects in dtype"),
    ],
)
def test_npy_refused(tmp_path, values, says):
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    assert says in refusal(tmp_path, "a.npy")


def test_npy_damaged(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    whole = (tmp_path / "a.npy").read_bytes()
    for content, says in (
        (b"", "is empty"),
        (b"hello", "cannot read"),
        (whole[:-9], "cannot read"),
        (b"\x80\x04N.", "cannot"),
    ):
        (tmp_path / "a.npy").write_bytes(content)
        assert says in refusal(tmp_path, "a.npy")


def test_where_the_file_is(tmp_path):
    assert (
        refusal(tmp_path, "")
        == "data.path is empty; allowed: a .npy or .csv file, absolute or inside the data folder"
    )
    assert "--data or SIMULACRA_DATA" in refusal(None, "a.npy")
    assert refusal(tmp_path, "a.npy") == f"data.path: {tmp_path / 'a.npy'} is not there"
    assert refusal(tmp_path, ".") == f"data.path: {tmp_path} is a folder; it must be a file"
    written(tmp_path, "x", "a.xls")
    assert (
        refusal(tmp_path, "a.xls")
        == f"data.path: {tmp_path / 'a.xls'} ends in '.xls'; allowed: .npy, .csv"
    )
    np.save(tmp_path / "a.npy", np.eye(4))
    assert "data.id names columns of a .csv" in refusal(tmp_path, "a.npy", id="x")
    assert series.Series(series.Options(path=str(tmp_path / "a.npy")), None).size("train") == 3


# Tables


LONG = "who,kind,t,x,y\n" + "".join(
    f"{who},{'ab'[i % 2]},{t},{i + t / 10},{-i}\n"
    for t in range(3)
    for i, who in enumerate("pqrstu")
)


def test_csv_with_ids_and_labels(tmp_path):
    found = loaded(written(tmp_path, LONG), "a.csv", id="who", label="kind", columns=("x", "y"))
    assert found.classes == 2 and found.size("train") + found.size("held_out") == 6
    seen = everything(found).sort(0).values
    for i, one in enumerate(seen[:, :, 0]):
        assert torch.allclose(
            one, torch.tensor([i, i + 0.1, i + 0.2], dtype=torch.float64), atol=1e-6
        )
    batch = found.take("train", found.size("train"))
    assert torch.equal(batch["label"], -found.restore(batch["series"])[:, 0, 1].round().long() % 2)
    facts = found.describe()
    assert (
        facts["classes"] == "a, b"
        and facts["channels"] == "x (2 to 4.2), y (-4 to -2)"
        and "series' id" in facts["split"]
    )
    assert loaded(tmp_path, "a.csv", id="who", label="kind").take("train", 1)["series"].shape == (
        1,
        3,
        3,
    )


def test_csv_held_out_do_not_move_when_an_id_is_added(tmp_path):
    text = "id,x\n" + "".join(f"s{i},{i}\ns{i},{i}\n" for i in range(50))
    before = loaded(written(tmp_path, text), "a.csv", id="id")
    after = loaded(written(tmp_path, text + "new,7.5\nnew,7.5\n"), "a.csv", id="id")
    held = []
    for f in (before, after):
        series = f.restore(f.take("held_out", f.size("held_out"))["series"])
        held.append({round(x) for x in series[:, 0, 0].tolist() if x % 1 != 0.5})
    assert held[0] == held[1] and 3 <= len(held[0]) <= 20


def test_labels_that_are_numbers_are_in_order_of_size(tmp_path):
    text = "id,k,x\n" + "".join(
        f"{i},{[10, 9, -1][i % 3]},{t}\n" for i in range(6) for t in range(2)
    )
    assert loaded(written(tmp_path, text), "a.csv", id="id", label="k").names == ["-1", "9", "10"]


@settings(deadline=None, max_examples=60)
@given(st.integers(4, 60), st.integers(2, 9), st.integers(1, 12), st.floats(0.01, 0.99))
def test_windows_of_the_splits_share_no_row(tmp_path_factory, rows, length, stride, share):
    root = written(
        tmp_path_factory.getbasetemp(), "".join(f"{i},{i * i}\n" for i in range(rows)), "w.csv"
    )
    options = {"length": length, "stride": stride, "held_out": share}
    if rows < 2 * length:
        assert f"holds {rows} rows; needed: {2 * length}" in refusal(root, "w.csv", **options)
        return
    found = loaded(root, "w.csv", **options)
    seen = []
    for split in "train", "held_out":
        windows = (
            found.restore(found.take(split, found.size(split))["series"])[:, :, 0].round().long()
        )
        assert (windows.diff(dim=1) == 1).all() and windows.shape[1] == length
        starts = windows[:, 0].sort().values
        assert (starts.diff() == stride).all()
        seen.append(set(windows.flatten().tolist()))
    assert max(seen[0]) < min(seen[1])
    if stride == 1:
        assert seen[0] | seen[1] == set(range(rows))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b\n1,2\n3,4\n5,6\n7,8\n", ["a", "b"]),
        ("1,2\n3,4\n5,6\n7,8\n", ["1", "2"]),
        ("\ufeffa;b\r\n1;2\r\n3;4\r\n5;6\r\n7;8\r\n\r\n\r\n", ["a", "b"]),
        ("a\tb\n1\t 2\n3\t4e0\n5\t6\n7\t+8", ["a", "b"]),
        ('"a, in m",b\n"1",2\n3,4\n5,6\n7,8\n', ["a, in m", "b"]),
    ],
)
def test_csv_of_every_kind(tmp_path, text, columns):
    (tmp_path / "a.csv").write_bytes(text.encode())
    found = loaded(tmp_path, "a.csv", length=2)
    assert found.columns == columns
    assert torch.allclose(
        found.restore(found.take("held_out", 1)["series"]),
        torch.tensor([[[5.0, 6], [7, 8]]]).double(),
    )


def test_a_constant_channel(tmp_path):
    found = loaded(written(tmp_path, "".join(f"{i},7\n" for i in range(8))), "a.csv", length=2)
    assert (found.take("train", 1)["series"][:, :, 1] == 0).all() and (
        everything(found)[:, :, 1] == 7
    ).all()
    assert "2 (7 to 7)" in found.describe()["channels"]


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("", {}, "is empty"),
        ("\n\n", {}, "is empty"),
        ("a,b\n", {}, "holds a header and no rows"),
        ("a,b\n1,2\n", {}, "holds 1 rows; needed: 4"),
        (
            "a,b\n1,2\n3,x\n",
            {},
            "row 3, column 'b' holds 'x'; allowed: finite numbers; data.columns chooses",
        ),
        ("1,2\n3,x\n", {}, "row 2, column '2' holds 'x'"),
        ("a,b\n1,2\n3,\n", {}, "row 3, column 'b' is empty"),
        ("a,b\n1,2\n3,nan\n", {}, "row 3, column 'b' holds 'nan'"),
        ("a,b\n1,2\n3,1e999\n", {}, "row 3, column 'b' holds '1e999'"),
        ("a,b\n1,2\n3,1_0\n", {}, "row 3, column 'b' holds '1_0'"),
        ("a,b\n1,2\n\n3,4\n", {}, "row 3 has 0 cells; allowed: 2"),
        ("a,b\n1,2\n3\n", {}, "row 3 has 1 cells; allowed: 2"),
        ("a,a\n1,2\n", {}, "two columns are called 'a'"),
        ("a;b\n1,5;2\n", {}, "row 2, column 'a' holds '1,5'"),
        ('a,b\n"1,2\n', {}, "cannot read"),
        ("a,b\n1,2\n", {"columns": ("c",)}, "data.columns = 'c' is no column of"),
        ("a,b\n1,2\n", {"label": "b"}, "data.label = 'b' needs data.id"),
        ("a,b\n1,2\n", {"id": "c"}, "data.id = 'c' is no column of"),
        ("a,b\n1,2\n", {"id": "a", "label": "c"}, "data.label = 'c' is no column of"),
        ("a,b\n1,2\n", {"id": "a", "label": "b"}, "has no column of values; it has: a, b"),
        ("a,b\n1,2\n1,3\n", {"id": "a"}, "holds 1 series of 2 steps"),
        ("a,b\n1,2\n2,3\n", {"id": "a"}, "holds 2 series of 1 steps"),
        (
            "a,b\nu,1\nu,2\nv,3\nw,4\nw,5\n",
            {"id": "a"},
            "series 'v' has 1 rows, others have 2; allowed: all of one length",
        ),
        (
            "a,b\nu,1\n,2\n",
            {"id": "a"},
            "row 3, column 'a' is empty; allowed: the id of its series",
        ),
        (
            "a,k,b\nu,x,1\nu,y,2\nv,x,1\nv,x,2\n",
            {"id": "a", "label": "k"},
            "series 'u' is labelled x and y; allowed: one label",
        ),
    ],
)
def test_csv_refused(tmp_path, text, options, says):
    assert says in refusal(written(tmp_path, text), "a.csv", length=2, **options)


BELOW = "".join(
    f"{math.sin(t / 7):.6f},{math.cos(t / 7):.6f},{t % 9 / 18:.6f}\n" for t in range(12)
)
COUNTS = "".join(f"{t * 7 % 11},{t * 5 % 13},{t * 3 % 10}\n" for t in range(12))
PERCENT = "".join(
    f"{t * 37 % 100}.{t * 7 % 89:02},{t * 53 % 100}.{t % 9}1,{t * 71 % 100}.50\n" for t in range(12)
)
FIVE = "".join(
    ",".join(f"{(t * 37 + i * i * 59) % 30}.123" for i in range(5)) + "\n" for t in range(12)
)
DATED = "".join(f"2024-01-{t:02},{math.sin(t):.3f},{math.cos(t):.3f}\n" for t in range(1, 12))


@pytest.mark.parametrize(
    ("text", "columns"),  # None: refused, as it could be either
    [
        ("2019,2020,2021\n" + BELOW, ["2019", "2020", "2021"]),
        ("2019;2021;2024\n" + BELOW.replace(",", ";"), ["2019", "2021", "2024"]),
        ("400.0,402.5,405.0\n" + BELOW, ["400.0", "402.5", "405.0"]),
        ("\ufeff20240101,20240102,20240103\n" + BELOW, ["20240101", "20240102", "20240103"]),
        ("2019\n" + BELOW.replace(",", "\n"), ["2019"]),
        ("t,2019,2020\n" + BELOW, ["t", "2019", "2020"]),
        ('"a","2019","2020"\n' + BELOW, ["a", "2019", "2020"]),
        (BELOW, ["1", "2", "3"]),
        (COUNTS, ["1", "2", "3"]),
        ("7,5,4\n" + COUNTS, ["1", "2", "3"]),
        ("0,0,1\n" + BELOW, ["1", "2", "3"]),
        ("0.12,5.125,-3.5\n" + BELOW, ["1", "2", "3"]),
        ("0,1,2\n3,4,5\n6,7,8\n9,10,11\n", ["1", "2", "3"]),
        ("0\n1\n2\n3\n4\n", ["1"]),
        ("0,1,2\n" + BELOW, None),
        ("0,1,2\n" + COUNTS, None),
        ("0,1\n" + COUNTS.replace(",", "\n").replace("\n", ",5\n"), None),
        ("2019,2020,2021\n" + COUNTS.replace(",", "000,"), None),
        ("1,4,9\n" + COUNTS, None),
        ("201911,201912,202001\n" + BELOW, ["201911", "201912", "202001"]),
        ("600519,1,858\n" + BELOW, None),
        ("0.5,1.0,2.0\n" + BELOW, None),
        ("400.12,402.57,405.01\n" + COUNTS, None),
        ("400.12,402.57,405.01\n" + PERCENT, None),
        ("0.25,1.0,2.5,5.0,10.0\n" + FIVE, None),
        ("0.120,0.120,0.300\n" + BELOW, ["1", "2", "3"]),
        (
            ",0,1\n" + "".join(f"{t},{math.sin(t):.4f},{math.cos(t):.4f}\n" for t in range(12)),
            ["0", "1"],
        ),
        ("0\n" + BELOW.replace(",", "\n"), None),
        ("x,0.531,0.62\n" + BELOW, "row 1, column '1' holds 'x'"),
        ("NA,0.531,0.62\n" + BELOW, "row 1, column '1' holds 'NA'"),
        ("nan,0.531,0.62\n" + BELOW, "row 1, column '1' holds 'nan'"),
        (",0.531,0.62\n" + BELOW, "row 1, column '1' is empty"),
        (DATED, "row 1, column '1' holds '2024-01-01'"),
        (
            "date,a,b\n" + DATED,
            "row 2, column 'date' holds '2024-01-01'; "
            "allowed: finite numbers; data.columns chooses",
        ),
        ("date,2019,2020\n" + DATED, "row 2, column 'date' holds '2024-01-01'"),
    ],
)
def test_numbers_that_may_be_names(tmp_path, text, columns):
    """Years, wavelengths and numbered columns are never taken for a row, and no row for names;
    what is unclear is asked."""
    written(tmp_path, text)
    if isinstance(columns, list):
        found = loaded(tmp_path, "a.csv", length=2)
        assert found.columns == columns
        assert len(table.read(tmp_path / "a.csv").values) == len(text.splitlines()) - (
            columns[0] != "1"
        )
        return
    says = (
        columns
        or "could be names or numbers; set data.header=true if it holds names, data.header=false "
        "if it is a row"
    )
    assert says in refusal(tmp_path, "a.csv", length=2)
    if columns is None:
        first = text.splitlines()[0].split(",")
        assert loaded(tmp_path, "a.csv", length=2, header=True).columns == first
        assert np.allclose(
            table.read(tmp_path / "a.csv", table.Asked(header=False)).values[0],
            [float(x) for x in first],
        )


@pytest.mark.parametrize(
    "text",
    [
        '"1,234","2,345"\n345,678\n999,123\n1,2\n',
        "<0.1,20\n3,4\n5,6\n9,7\n",
        "1 234;20\n3;4\n5;6\n9;7\n",
        "1.234,5\t2.0\n345\t678\n999\t123\n5\t6\n",
        "*3.1,4.1\n3,4\n5,6\n9,7\n",
    ],
)
def test_a_first_row_of_numbers_written_oddly_is_asked_about(tmp_path, text):
    """It was lost as names, without a word."""
    says = refusal(written(tmp_path, text), "a.csv", length=2)
    assert "row 1, column '1' holds" in says
    assert says.endswith("if the first row holds names, set data.header=true")


@pytest.mark.parametrize(
    "text", ["5%,95%\n3,4\n5,6\n9,7\n2,1\n", "x_1,2019-20\n3,4\n5,6\n9,7\n2,1\n"]
)
def test_names_with_numbers_in_them_are_names(tmp_path, text):
    found = loaded(written(tmp_path, text), "a.csv", length=2)
    assert found.columns == text.splitlines()[0].split(",")


def test_what_is_asked_about_the_header_is_asked_of_a_table(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 2)))
    assert "data.header names columns of a .csv" in refusal(tmp_path, "a.npy", header=True)
    text = "1,0.5\n1,0.6\n2,0.7\n2,0.8\n3,0.1\n3,0.2\n"
    found = loaded(written(tmp_path, text), "a.csv", header=False, id="1")
    assert found.columns == ["2"] and found.size("train") + found.size("held_out") == 3


INDEXED = "".join(f"{t},{t * t % 7}.5,{t % 3}.25\n" for t in range(12))


@pytest.mark.parametrize(
    "text",
    [
        ",a,b\n" + INDEXED,
        '"","a","b"\n' + INDEXED,
        "Unnamed: 0,a,b\n" + INDEXED,
        "\ufeff;a;b\n" + INDEXED.replace(",", ";"),
        ",a,b\n" + DATED,
        ",2019,2020\n" + "".join(f"{t},{math.sin(t):.5f},{math.cos(t):.5f}\n" for t in range(12)),
    ],
)
def test_an_index_is_no_channel_and_that_is_said(tmp_path, text):
    found = loaded(written(tmp_path, text), "a.csv", length=2)
    assert found.columns in (["a", "b"], ["2019", "2020"])
    assert any("index and left out; data.columns chooses" in note for note in found.notes)
    assert "index and left out" in found.describe()["note"]


def test_an_index_can_be_chosen(tmp_path):
    found = loaded(
        written(tmp_path, ",a\n" + "".join(f"{t},{t % 3}.5\n" for t in range(8))),
        "a.csv",
        length=2,
        columns=("", "a"),
    )
    assert found.columns == ["", "a"] and not any("left out" in note for note in found.notes)


def test_an_index_beside_ids(tmp_path):
    text = ",id,x\n" + "".join(f"{2 * i + t},p{i},{i + t}\n" for i in range(4) for t in range(2))
    assert loaded(written(tmp_path, text), "a.csv", id="id").columns == ["x"]


def test_columns_without_a_name(tmp_path):
    found = loaded(written(tmp_path, "a,b,\n" + "1,2,\n3,4,\n5,0,\n7,8,\n"), "a.csv", length=2)
    assert found.columns == ["a", "b"] and "column 3 has no name and is empty" in found.notes[0]
    assert "row 2, column 3 holds '9' and has no name" in refusal(
        written(tmp_path, "a,b,\n1,2,9\n"), "a.csv"
    )
    assert "two columns are called ''" in refusal(written(tmp_path, ",,a\n1,2,9\n"), "a.csv")


def test_what_is_said_of_channels(tmp_path):
    """A column that only grows and one that is constant are channels,
    and it is said that they are what they are."""
    found = loaded(
        written(tmp_path, "t,x,y\n" + "".join(f"{t / 10},{t % 3},7\n" for t in range(9))),
        "a.csv",
        length=2,
    )
    assert found.columns == ["t", "x", "y"]
    assert (
        "column 't' only grows" in found.notes[0]
        and "constant over the training series" in found.notes[1]
    )
    assert "y (always 7)" in found.notes[1] and "x (" not in found.notes[1]
    assert not loaded(tmp_path, "a.csv", length=2, columns=("t", "x")).notes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "a;b\n1,5;2\n",
            "holds '1,5'; "
            "allowed: finite numbers, with a decimal point and without separators of thousands",
        ),
        ('a,b\n"1,234",2\n', "holds '1,234'; allowed: finite numbers, with a decimal point"),
        ("a;b\n1.234,5;2\n", "holds '1.234,5'; allowed: finite numbers, with a decimal point"),
        (
            "a,b\n1 234,2\n",
            "holds '1 234'; allowed: finite numbers, cells separated by commas, semicolons or tabs",
        ),
        ("a\n1'234\n", "with a decimal point"),
        ("a,b\n5%,2\n", "with a decimal point"),
        (
            "1.5 2.5\n3.5 4.5\n",
            "holds '3.5 4.5'; "
            "allowed: finite numbers, cells separated by commas, semicolons or tabs",
        ),
        ("a|b\n1|2\n", "cells separated by commas"),
        ("a,b\n1,5,2\n", "row 2 has 3 cells; allowed: 2"),
        ("a\tb\n1,5\t2\n", "holds '1,5'"),
    ],
)
def test_numbers_of_other_countries(tmp_path, text, says):
    assert says in refusal(written(tmp_path, text), "a.csv", length=2)


def test_a_separator_in_a_quoted_name_separates_nothing(tmp_path):
    text = '"a; in m","b\tin s"\n' + "1,2\n3,4\n5,6\n7,8\n"
    assert loaded(written(tmp_path, text), "a.csv", length=2).columns == ["a; in m", "b\tin s"]


def test_a_first_line_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "LONGEST", 100)
    assert "the first line has 100 characters or more" in refusal(
        written(tmp_path, "1," * 200), "a.csv"
    )


def header(shape: str, dtype: str = "<f4", more: int = 0) -> bytes:
    """The beginning of an .npy file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(more)


@pytest.mark.parametrize(
    "content",
    [
        header("(-1, 10, 2)", more=800),
        header("(4, -10, 2)", more=800),
        header("(1000000000, 0, 2)"),
        header("(1000000000, 10, 0)"),
        header("(1000000000, 10, 2)", more=800),
        header("(99999999999999999999999999, 10, 2)", more=800),
        header("(4, 10)", "|O", more=800),
        header("(4, 10)", "V8", more=800),
        header("4", more=800),
        header("None", more=800),
        header("(True, True, True)", more=800),
        header("('4', 10, 2)", more=800),
        header("(4, 10, 2", more=800),
        header("(4, 10, 2)", more=800)[:9],
        b"\x93NUMPY\x07\x00" + bytes(200),
        b"PK" + bytes(200),
    ],
)
def test_npy_headers_that_lie(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    assert str(tmp_path / "a.npy") in refusal(tmp_path, "a.npy")
    np.save(tmp_path / "b.npy", np.random.default_rng(0).normal(size=(4, 10, 2)))
    assert str(tmp_path / "a.npy") in refusal(tmp_path, "b.npy", label="a.npy")


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "cannot read" in refusal(tmp_path, "a.csv") and "UTF-8" in refusal(tmp_path, "a.csv")


def test_a_table_as_it_is_written(tmp_path):
    draw = np.random.default_rng(0).normal(size=(40, 3))
    np.savetxt(tmp_path / "a.csv", draw, delimiter=",", fmt="%.17g")
    assert np.array_equal(table.read(tmp_path / "a.csv").values, draw)


def test_a_scale_holds_for_any_leading_shape():
    scale = Scale(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    assert scale.restore(torch.zeros(3, 4, 2)).shape == (3, 4, 2) and scale.restore(
        torch.zeros(2)
    ).tolist() == [1, 3]


# Measures


def test_autocorrelation_by_hand():
    x = torch.tensor([[1.0, -1, 1, -1], [2, -2, 2, -2]])[:, :, None]  # mean 0, variance 2.5
    assert torch.allclose(autocorrelation(x, 3), torch.tensor([[-1.0, 1, -1]]).double())
    y = torch.tensor([[3.0, 1, 1, 3]])[:, :, None]  # -1 and 1 about 2
    assert torch.allclose(autocorrelation(y, 3), torch.tensor([[-1 / 3, -1, 1]]).double())
    difference = ((-1 + 1 / 3) ** 2 + (1 + 1) ** 2) / 2
    assert autocorrelation_distance(x, y) == pytest.approx(difference**0.5)
    assert autocorrelation_distance(10 * y + 5, y, lags=3) == pytest.approx(0, abs=1e-12)
    assert (autocorrelation(torch.ones(2, 3, 1), 2) == 0).all()
    with pytest.raises(Mistake, match="lags up to 4 in series of 4 steps; allowed: 1 to 3"):
        autocorrelation(x, 4)


def test_cross_correlation_is_numpys():
    x = torch.from_numpy(
        np.random.default_rng(0).normal(size=(20, 7, 3))
        @ np.random.default_rng(1).normal(size=(3, 3))
    )
    expected = np.corrcoef(x.reshape(-1, 3).T.numpy())
    assert np.allclose(cross_correlation(x), expected[np.triu_indices(3, 1)])
    a, b = torch.tensor([[[1.0, 1], [2, 2]]]), torch.tensor([[[1.0, 2], [2, 1]]])
    assert (
        cross_correlation_distance(a, b) == pytest.approx(2)
        and cross_correlation_distance(a, a) == 0
    )
    with pytest.raises(Mistake, match="1 channel; allowed: 2 or more"):
        cross_correlation(x[:, :, :1])


def test_distances_tell_sets_apart():
    slow, fast = (
        sines.Sines(sines.Options(count=200, channels=2, frequencies=f), None)
        for f in ((1.0, 2.0), (4.0, 5.0))
    )
    a, b, c = (
        slow.take("train", 80)["series"],
        slow.take("train", 160)["series"][80:],
        fast.take("train", 80)["series"],
    )
    assert autocorrelation_distance(a, b) < 0.15 < 0.5 < autocorrelation_distance(a, c)


def test_recovered_waves_by_hand():
    t = torch.arange(1, 31, dtype=torch.float64)
    wave = 0.3 * (2 * math.pi * 2.345 * t / 30 - 2).sin()
    ripple = 0.01 * (-1.0) ** t
    found = recover_sines(torch.stack([wave, wave + ripple, 0 * wave])[:, :, None])
    assert [float(one[0, 0]) for one in found] == pytest.approx([2.345, 0.3, -2, 0], abs=1e-6)
    assert float(found.frequency[1, 0]) == pytest.approx(2.345, abs=0.02)
    assert float(found.residual[1, 0]) == pytest.approx(0.01, rel=0.05)
    assert float(found.amplitude[2, 0]) == 0 and all(one.isfinite().all() for one in found)
    noise = torch.randn(20, 30, 1, generator=torch.Generator().manual_seed(0))
    assert (recover_sines(noise).residual > 0.3).all()
    with pytest.raises(
        Mistake, match=r"frequencies from 0.5 to 20; allowed: 0.1 to 14.5 in series of 30 steps"
    ):
        recover_sines(noise, high=20)


def test_uniform_distance_is_scipys():
    values = torch.rand(100, generator=torch.Generator().manual_seed(0)).double() ** 2 * 4 + 1
    assert uniform_distance(values, 1, 5) == pytest.approx(
        kstest(values.numpy(), "uniform", args=(1, 4)).statistic
    )
    assert uniform_distance(torch.full((3,), 9.0), 1, 5) == 1


def test_names_that_stand_twice_are_no_numbers(tmp_path):
    written(tmp_path, "2019,2019,2020\n" + BELOW)
    assert "could be names or numbers" in refusal(tmp_path, "a.csv", length=2)

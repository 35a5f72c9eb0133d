"""Series from your own file: an .npy array (N, T, C) or (N, T), or a .csv of one row a step.

A .csv with an `id` column holds one series for each id, all of one length, each id's rows in order
of time. Without ids it is one long table, cut into windows. Whether the first line holds names is
found out where there is no doubt (`_header.py`), and asked for with `header` where there is. A
first column without a name is an index and left out.

Each channel is scaled so that its range over the training series becomes [-1, 1]; held-out values
may lie beyond and are not clipped. Which whole series are held out follows from a hash of their id
or row number, so that adding one moves no other; of a long table its end is held out, and no row is
in both splits.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import msgspec
import numpy as np
from torch import Tensor

from simulacra.core.errors import Mistake
from simulacra.data._series import CHUNK, Sequences, Split, spanning
from simulacra.data.folder import held_out
from simulacra.io import table as _table
from simulacra.io.paths import lacking

SUFFIXES = ".npy", ".csv"
WHOLE = True  # one number may be another one in a file of the same size
NAMED = 20  # channels or classes that describe() names


class Options(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="name",
    tag="series",
):
    """Which file, and how it is read."""

    path: str = ""  # the .npy or .csv file, absolute or inside the data folder
    id: str = ""  # .csv: the column that says which series a row belongs to; empty: one long table
    # .csv: the column with each series' class; .npy: another .npy beside it, (N,) whole numbers
    label: str = ""
    # .csv: the channels, by header or by number from 1; empty: all but id and label
    columns: tuple[str, ...] = ()
    # .csv: whether the first row holds names; auto: found out, refused if in doubt
    header: bool | Literal["auto"] = "auto"
    length: Annotated[int, msgspec.Meta(ge=2)] = 30  # one long table: rows of a window
    # one long table: rows from one window's beginning to the next one's
    stride: Annotated[int, msgspec.Meta(ge=1)] = 1
    # share held out, but at least one series in each split
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2


def locate(path: str, root: Path | None) -> Path:
    """The file meant, which exists and can hold series."""
    meant = Path(path).expanduser()
    if not path:
        raise Mistake(
            "data.path is empty; allowed: a .npy or .csv file, absolute or inside the data folder"
        )
    if root is None and not meant.is_absolute():
        raise Mistake(lacking(path, None))
    file = meant if root is None else root / meant
    if file.exists() and not file.is_file():
        raise Mistake(f"data.path: {file} is a folder; it must be a file")
    if not file.exists():
        raise Mistake(lacking(path, root))
    if file.suffix.lower() not in SUFFIXES:
        raise Mistake(f"data.path: {file} ends in '{file.suffix}'; allowed: {', '.join(SUFFIXES)}")
    return file


def files(options: Options, root: Path | None) -> dict[str, Path]:
    """The file of the series and that of their classes, by what they hold: they may be renamed."""
    file = locate(options.path, root)
    beside = (
        file.with_name(options.label) if options.label and file.suffix.lower() == ".npy" else None
    )
    return {"series": file} | ({"label": beside} if beside and beside.is_file() else {})


def array(file: Path) -> np.ndarray:
    """The numbers of an .npy file, left on disk; pickled objects are never loaded."""
    if not file.stat().st_size:
        raise Mistake(f"{file} is empty")
    try:
        values = np.lib.format.open_memmap(file, mode="r")
    except Exception as error:  # what numpy raises on a damaged header is beyond listing
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Mistake(
            f"cannot read {file}: {reason}{_said(file)}; allowed: a plain array of numbers"
        ) from None
    if values.dtype.kind not in "biuf":
        raise Mistake(f"{file} holds values of type {values.dtype}; allowed: real numbers")
    return values


def _said(file: Path) -> str:
    """The shape in the header of an .npy file, in words, if that can be read."""
    with contextlib.suppress(Exception), file.open("rb") as text:
        kind = np.lib.format.read_magic(text)
        read = (
            np.lib.format.read_array_header_1_0
            if kind == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        return f" (its header says shape {read(text)[0]})"
    return ""


def arrays(file: Path) -> np.ndarray:
    """The series of an .npy file, (N, T, C)."""
    values = array(file)
    if values.ndim not in (2, 3):
        raise Mistake(
            f"{file} has shape {values.shape}; "
            "allowed: (N, T, C) or (N, T), series, steps and channels"
        )
    shape = values.shape if values.ndim == 3 else (*values.shape, 1)
    if shape[0] < 2 or shape[1] < 2 or shape[2] < 1:
        few(file, shape)
    return values if values.ndim == 3 else values[:, :, None]


def few(file: Path, shape: tuple[int, ...]) -> NoReturn:
    """The Mistake of a file that holds too little, (N, T, C)."""
    raise Mistake(
        f"{file} holds {shape[0]} series of {shape[1]} steps and {shape[2]} channels; "
        "needed: 2 series, one of them held out, of 2 steps and 1 channel"
    )


def classes_beside(file: Path, name: str, count: int) -> np.ndarray:
    """The class of each series as the .npy file `name` beside the series tells it, (count,)."""
    beside = file.with_name(name)
    if not beside.is_file():
        raise Mistake(f"data.label: {beside} is not there; allowed: a .npy file beside the series")
    values = array(beside)
    if values.shape != (count,) or values.dtype.kind not in "biu":
        raise Mistake(
            f"data.label: {beside} holds {values.dtype} of shape {values.shape}; "
            f"allowed: whole numbers ({count},)"
        )
    return np.array(values)


def whole(
    file: Path, values: np.ndarray, labels: np.ndarray | None, names: list[str], share: float
) -> tuple[Split, Split]:
    """Splits of separate series (N, T, C) by their names."""
    if len(values) < 2 or values.shape[1] < 2:
        few(file, values.shape)
    held = held_out(names, share)
    side = np.array([name in held for name in names])
    return Split(values, labels, np.flatnonzero(~side)), Split(values, labels, np.flatnonzero(side))


def windows(file: Path, table: np.ndarray, options: Options) -> tuple[Split, Split]:
    """Splits of one long table (R, C) cut into windows, the last share of rows held out;
    no row is in both."""
    rows, length = len(table), options.length
    if rows < 2 * length:
        raise Mistake(
            f"{file} holds {rows} rows; needed: {2 * length}, a window of data.length = "
            f"{length} for each split (or name the column that tells series apart with data.id)"
        )
    cut = min(max(round(rows * (1 - options.held_out)), length), rows - length)
    values = np.lib.stride_tricks.sliding_window_view(table, length, 0).transpose(0, 2, 1)
    starts = (
        np.arange(0, cut - length + 1, options.stride),
        np.arange(cut, rows - length + 1, options.stride),
    )
    return Split(values, None, starts[0]), Split(values, None, starts[1])


def finite(file: Path, values: np.ndarray) -> None:
    """A Mistake that names the first value of (N, T, C) that is not a finite number."""
    count = max(1, CHUNK // max(1, values[:1].size))
    for start in range(0, len(values), count):
        bad = np.argwhere(~np.isfinite(values[start : start + count]))
        if len(bad):
            row, step, channel = bad[0] + (start, 0, 0)
            raise Mistake(
                f"{file}: series {row}, step {step}, channel {channel} "
                f"(counted from 0) is {values[row, step, channel]}; allowed: finite numbers"
            )


def clock(columns: list[str], table: np.ndarray) -> list[str]:
    """A note if the first of several columns of one long table (R, C) only grows,
    as time or a row's number does."""
    if table.shape[1] < 2 or len(table) < 3 or not (np.diff(table[:, 0]) > 0).all():
        return []
    return [
        f"column '{columns[0]}' only grows, as time or a row's number does; "
        "it is a channel all the same (data.columns chooses the channels)"
    ]


def constants(columns: list[str], low: np.ndarray, high: np.ndarray) -> list[str]:
    """A note on each channel that is the same number in all training series,
    the ends of each (C,)."""
    still = [
        f"{name} (always {a:.4g})" for name, a, b in zip(columns, low, high, strict=True) if a == b
    ]
    return (
        [f"constant over the training series, and so 0 for the model: {listed(still)}"]
        if still
        else []
    )


def listed(words: Iterable[str]) -> str:
    """The first of the words, and how many more there are."""
    every = list(words)
    return ", ".join(every[:NAMED]) + (
        f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    )


class Series:
    """Series of a file, with labels where one column tells them."""

    extractor = "series"

    def __init__(self, options: Options, root: Path | None) -> None:
        self.options, self.file = options, locate(options.path, root)
        self.columns: list[str] = []
        self.names: list[str] = []  # of the classes
        self.notes: list[str] = []  # what a person should be told before training
        splits = self._csv() if self.file.suffix.lower() == ".csv" else self._npy()
        self.columns = self.columns or [str(i + 1) for i in range(splits[0].values.shape[2])]
        self.classes, self.ends = len(self.names), splits[0].ends()
        self.notes += constants(self.columns, *self.ends)
        self.series = Sequences(*splits, spanning(*self.ends))
        self.draw, self.take, self.size = self.series.draw, self.series.take, self.series.size

    def _npy(self) -> tuple[Split, Split]:
        options = self.options
        if options.id or options.columns or options.header != "auto":
            option = "id" if options.id else "columns" if options.columns else "header"
            raise Mistake(f"data.{option} names columns of a .csv; {self.file} has none")
        values, labels = arrays(self.file), None
        finite(self.file, values)
        if options.label:
            found = classes_beside(self.file, options.label, len(values))
            classes, labels = np.unique(found, return_inverse=True)
            self.names = [str(one) for one in classes]
        return whole(
            self.file, values, labels, [str(i) for i in range(len(values))], options.held_out
        )

    def _csv(self) -> tuple[Split, Split]:
        options = self.options
        if options.label and not options.id:
            raise Mistake(
                f"data.label = '{options.label}' needs data.id, "
                "the column that tells whose label it is"
            )
        header = None if options.header == "auto" else options.header
        table = _table.read(
            self.file, _table.Asked(options.columns, options.id, options.label, header)
        )
        self.columns, self.notes = table.columns, table.notes
        if not options.columns:
            self.notes += clock(self.columns, table.values if not options.id else table.values[:0])
        if not options.id:
            return windows(self.file, table.values, options)
        ids, rows = _table.grouped(self.file, table.ids)
        labels = None
        if options.label:
            self.names, labels = _table.classes(
                self.file, ids, [[table.labels[row] for row in one] for one in rows]
            )
        return whole(self.file, table.values[rows], labels, ids, options.held_out)

    def restore(self, series: Tensor) -> Tensor:
        """Series (N, T, C) in [-1, 1] in the units of the file, float64."""
        return self.series.restore(series)

    def describe(self) -> dict[str, str]:
        """What was found in the file and what is done to it."""
        options, ranges = self.options, zip(self.columns, *self.ends, strict=True)
        by = "id" if options.id else "number"
        rule = f"{options.held_out:.0%} held out by a hash of each series' {by}"
        if self.file.suffix.lower() == ".csv" and not options.id:
            rule = (
                f"windows of {options.length} rows, one every {options.stride}; "
                f"the last {options.held_out:.0%} of the rows held out, no row in both"
            )
        return {
            "file": str(self.file),
            "channels": listed(f"{name} ({low:.4g} to {high:.4g})" for name, low, high in ranges),
            "classes": listed(self.names) or "none",
            "scaling": f"each channel's range over the training series, above, becomes [-1, 1]; "
            f"{self.series.outside:.2%} of held-out values lie beyond",
            "split": rule,
            **self.series.describe(),
            **({"note": "; ".join(self.notes)} if self.notes else {}),
        }


Data = Series

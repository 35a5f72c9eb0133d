"""The verb measure and its tables."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulacra.cli.words import (
    DataFolder,
    Device,
    Json,
    Prior,
    Step,
    Trust,
    Weights,
    a_run,
    app,
    err,
    escape,
    out,
)

if TYPE_CHECKING:
    from rich.table import Table

Against = Annotated[
    str | None,
    typer.Option(
        help="RUN is samples of any origin; hold them against this data set or folder of pictures."
    ),
]
Truth = Annotated[
    Path | None, typer.Option(help="RUN is a folder of masks; hold them against these true ones.")
]
Nearest = Annotated[
    bool, typer.Option("--nearest", help="Also draw samples above the training pictures nearest.")
]
Csv = Annotated[Path | None, typer.Option(help="With --truth: write the table to this file too.")]


@app.command()
def measure(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="A run folder; with --against samples: a folder, .npz or .npy."
        ),
    ],
    count: Annotated[int, typer.Option("--samples", help="Samples in a set.")] = 5000,
    repeats: Annotated[
        int, typer.Option(help="Independent sets, over which the interval is taken.")
    ] = 5,
    seed: int = 0,
    extractor: Annotated[
        str | None, typer.Option(help="Feature extractor; otherwise the data set's own.")
    ] = None,
    weights: Weights = "average",
    step: Step = None,
    root: DataFolder = None,
    device: Device = "cpu",
    downstream: Annotated[
        bool, typer.Option(help="Also train classifiers on samples, test on reals, and reverse.")
    ] = False,
    prior: Prior = None,
    near: Nearest = False,
    against: Against = None,
    truth: Truth = None,
    csv: Csv = None,
    as_json: Json = False,
    trust: Trust = False,
) -> None:
    """Measure a run: a table, and rows in metrics.jsonl. With --against, pictures that any program
    made; with --truth, J and F of masks in the DAVIS layout."""
    if truth is not None:
        _overlap(run, truth, csv, as_json)
        return
    if against is not None:
        _samples(run, against, extractor, seed, root, as_json)
        return
    a_run(run)
    from simulacra.core.load import reopen
    from simulacra.tasks.measure import Protocol
    from simulacra.tasks.measure import measure as verb

    opened = reopen(run, root, device, step, weights)
    protocol = Protocol(count, repeats, seed, extractor, weights, downstream, prior)

    def told(rows: list[dict[str, Any]], notes: list[str]) -> None:
        if as_json:
            print(json.dumps(rows), flush=True)
        else:
            _told(rows, notes)

    if near:  # first: what cannot be drawn is said before minutes of measuring
        _nearest(opened, protocol, as_json)
    verb(opened, protocol, told)


def _nearest(opened: Any, protocol: Any, as_json: bool) -> None:
    from simulacra.tasks.nearest import nearest

    path = nearest(opened, protocol)
    (err if as_json else out).print(f"nearest: {escape(str(path))}", soft_wrap=True)


def _samples(
    place: Path, against: str, extractor: str | None, seed: int, root: Path | None, as_json: bool
) -> None:
    from simulacra.core.data_sets import data_root
    from simulacra.tasks.measure_samples import measure_samples

    rows, notes = measure_samples(
        place, against, extractor=extractor, seed=seed, root=data_root(root)
    )
    if as_json:
        print(json.dumps(rows))
    else:
        _told(rows, notes)


def _told(rows: list[dict[str, Any]], notes: list[str]) -> None:
    out.print(_metrics_table(rows))
    for note in notes:
        out.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def _overlap(masks: Path, truth: Path, csv: Path | None, as_json: bool) -> None:
    from simulacra.metrics.video import mask_scores

    def said(note: str, doubt: bool) -> None:
        if doubt or not as_json:
            (err if as_json else out).print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)

    ranks = None
    if (masks / "quality.json").is_file():
        from simulacra.tasks.measure_layers import measure_layers

        results, ranks = measure_layers(masks, truth, said)
    else:
        results = mask_scores.compare_folders(masks, truth, said)
    if csv is not None:
        mask_scores.write_csv(results, csv)
    if as_json:
        print(json.dumps(_ranked(dict(mask_scores.table(results)), ranks)))
        return
    print(mask_scores.text(results))
    for name, value in (ranks or {}).items():
        told = "undefined" if value is None else f"{value:.3f}"
        print(f"{name}: confidence and J over frames have a rank correlation of {told} (Spearman)")


def _ranked(rows: dict[str, Any], ranks: dict[str, float | None] | None) -> dict[str, Any]:
    """Rows of J and F with the rank correlation of confidence and J, if there is confidence."""
    if ranks is None:
        return rows
    from simulacra.tasks.measure_layers import mean

    ranks = ranks | {"mean": mean(ranks)}
    return {name: {**row, "confidence_J_rank": ranks[name]} for name, row in rows.items()}


def _metrics_table(rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    first = rows[0]
    kind = {"series": "series", "pairs": "true futures", "clips": "clips"}.get(
        first["extractor"], "pictures"
    )
    prior = f"; prior: {first['prior']}" if "prior" in first else ""
    floors = {"pairs": "the law's own futures", "clips": "the true layers"}
    floor = floors.get(first["extractor"], f"real training {kind}")
    table = Table(
        title=f"samples {first['samples']} against {first['against']}"
        if first["step"] is None
        else f"step {first['step']:,}, {first['weights']} weights",
        caption=f"{first['n_real']:,} held-out episodes; seed {first['seed']}{_intervals(rows)}"
        if first["extractor"] == "codes"
        else f"{first['n_fake']:,} samples x {first['repeats']} against {first['n_real']:,} "
        f"{first['split']} {kind}; {first['extractor']} {first['extractor_hash']}; "
        f"seed {first['seed']}{prior}; floor: {floor} as samples{_intervals(rows)}",
    )
    for name in "metric", "value", "95 % interval", "floor":
        table.add_column(name, justify="left" if name == "metric" else "right")
    for row in rows:
        value, low, high, floor = (
            "" if row[key] is None else f"{row[key]:.4g}"
            for key in ("value", "low", "high", "floor")
        )
        alone = "one set" if row["repeats"] == 1 else "none"
        table.add_row(
            row["metric"], value, f"{low} to {high}" if low else alone * bool(value), floor
        )
    return table


def _intervals(rows: list[dict[str, Any]]) -> str:
    """Over what the intervals are, in words."""
    each = [row.get("over") for row in rows if row["low"] is not None]
    found = dict.fromkeys(over for over in each if over)
    return f"; intervals: 95 % over {'; or over '.join(found)}" if found else ""

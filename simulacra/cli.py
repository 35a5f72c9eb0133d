"""The command line: parses, calls a verb, prints. A user's mistake is one line and exit status 2."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from simulacra import __version__, memory
from simulacra.errors import Mistake
from simulacra.progress import Progress

app = typer.Typer(
    help="A laboratory for models that imagine: train, sample, paint, measure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets: what there is, and what training will do with it.", no_args_is_help=True)
app.add_typer(data_app, name="data")
out = Console(highlight=False, quiet=int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK") != "0")
err = Console(stderr=True, highlight=False)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
DataFolder = Annotated[Path | None, typer.Option("--data", help="Data folder; otherwise SIMULACRA_DATA.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ...")]
Weights = Annotated[str, typer.Option(help="Generator weights: average or raw.")]
Step = Annotated[int | None, typer.Option(help="Checkpoint to use; otherwise the newest.")]
Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value, e.g. hyper.margin=20.")]
Preset = Annotated[str | None, typer.Option(help="tiny (seconds), laptop (the default) or paper (for a GPU).")]
Prior = Annotated[str | None, typer.Option(help="Whence z: normal, empirical, mixture or learned; otherwise the run's.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def main() -> None:
    """Run the command line; the process ends with 0, 2 for a mistake, 130 after Ctrl-C."""
    memory.keep()
    try:
        code = app(standalone_mode=False)
        if code == 130:  # which is what newer versions of typer make of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except Mistake as mistake:
        _refuse(str(mistake))
    except (KeyboardInterrupt, typer.Abort):
        err.print("interrupted; a training goes on from its last checkpoint when it is started again", soft_wrap=True)
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):  # that of a wrong command line, whose class moves between versions of typer
            raise
        _refuse(f"{error.format_message()} (see --help)")


def _refuse(why: str) -> None:
    err.print(f"[bold red]error:[/] {escape(' '.join(why.splitlines()))}", soft_wrap=True)
    sys.exit(2)


def _version(asked: bool) -> None:
    if asked:
        print(f"simulacra {__version__}")
        raise typer.Exit


@app.callback()
def _main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    pass


@app.command("list")
def list_() -> None:
    """Rooms, configs and data sets."""
    from simulacra import config, data

    for title, names in (("rooms", config.rooms()), ("data sets", data.names())):
        out.print(f"[bold]{title}[/]: {', '.join(names)}")
    table = Table(box=None, header_style="bold")
    for title in "config", "room", "data", "in one line":
        table.add_column(title, no_wrap=title == "config", overflow="fold")
    for name in config.configs():
        raw = config.based(config.find(name))
        table.add_row(name, str(raw["room"]), str(raw["data"]["name"]), escape(config.headline(name)))
    out.print(table)


@data_app.command("list")
def data_list() -> None:
    """The data sets."""
    from simulacra import data

    for name in data.names():
        out.print(f"[bold]{name:17}[/] {(data.module(name).__doc__ or '').strip().splitlines()[0]}", soft_wrap=True)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="A data set, or a config.")],
    root: DataFolder = None,
    sheet: Annotated[Path | None, typer.Option("-o", help="Also paint a sheet of training examples here (.png).")] = None,
    change: Changes = None,
) -> None:
    """What a data set holds and what is done to it, before any training."""
    from simulacra.reopen import data_root
    from simulacra.verbs.data import show

    facts, path = show(name, data_root(root), change or [], sheet)
    for key, value in facts.items():
        out.print(f"[bold]{key:16}[/] {escape(value)}", soft_wrap=True)
    if path:
        out.print(f"[bold]{'sheet':16}[/] {escape(str(path))}", soft_wrap=True)


@app.command()
def train(
    source: Annotated[str, typer.Argument(metavar="CONFIG", help="A name in configs/, a TOML file, or a run's config.json.")],
    preset: Preset = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder; otherwise runs/<config>.")] = None,
    change: Changes = None,
    root: DataFolder = None,
    device: Device = "cpu",
    extend: Annotated[bool, typer.Option(help="Go on past the end of a run: allow more steps than it was made for.")] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard event files beside the log.")] = True,
) -> None:
    """Train a room, or go on where its run folder stands."""
    from simulacra import config
    from simulacra.reopen import data_root
    from simulacra.verbs.train import train as verb

    checked = config.resolve(source, preset, change)
    folder = run or _default_folder(source, checked.name)
    with Progress(out, checked.steps, checked.batch, f"{checked.name} ({checked.preset})") as progress:
        outcome = verb(
            checked,
            folder,
            data_root(root),
            device=device,
            extend=extend,
            tensorboard=tensorboard,
            tick=progress.tick,
            saved=progress.saved,
        )
    if not outcome.done:
        err.print(f"stopped and saved at step {outcome.step:,}; the same command goes on from there", soft_wrap=True)
        sys.exit(130)
    left = " (nothing was left to do)" if outcome.already else ""
    out.print(f"{escape(str(folder))} is done: {outcome.step:,} steps{left}", soft_wrap=True)
    for line in outcome.health:
        out.print(f"  {escape(line)}", soft_wrap=True)
    for path in outcome.pictures:
        out.print(f"  look at {escape(str(path))}", soft_wrap=True)


def _default_folder(source: str, name: str) -> Path:
    path = Path(source)
    return path.parent if path.name == "config.json" else path if path.is_dir() else Path("runs") / name


@app.command()
def sample(
    run: RunFolder,
    target: Annotated[
        Path, typer.Option("-o", help="A .png (a sheet), an .npz (images, uint8; series, in [-1, 1]) or a folder.")
    ],
    count: Annotated[int, typer.Option("-n", "--samples", help="How many.")] = 64,
    wanted: Annotated[int | None, typer.Option("--class", help="Only this class; otherwise all in turn.")] = None,
    seed: Annotated[int, typer.Option(help="Other seeds, other pictures.")] = 0,
    weights: Weights = "average",
    step: Step = None,
    device: Device = "cpu",
) -> None:
    """Write samples of a trained run. Its data are not needed."""
    from simulacra.reopen import reopen
    from simulacra.verbs.sample import sample as verb

    paths = verb(reopen(run, None, device, step, weights), count, target, seed, wanted)
    out.print(f"{count:,} samples in {escape(str(target if len(paths) > 1 else paths[0]))}", soft_wrap=True)


@app.command()
def paint(
    run: RunFolder, root: DataFolder = None, weights: Weights = "average", step: Step = None, device: Device = "cpu"
) -> None:
    """Paint a run's pictures again, from its fixed held-out inputs and fixed noise."""
    from simulacra.reopen import data_root, reopen
    from simulacra.verbs.paint import paint as verb

    opened = reopen(run, data_root(root), device, step, weights)
    for path in verb(opened, opened.data()):
        out.print(escape(str(path)), soft_wrap=True)


@app.command()
def evolve(
    run: RunFolder,
    target: Annotated[Path, typer.Option("-o", help="A .gif or .mp4 (a checkpoint a frame) or a .png (one a column).")],
    rows: Annotated[int, typer.Option(help="How many noises a .png shows, at most.")] = 8,
    columns: Annotated[int, typer.Option(help="How many checkpoints a .png shows, at most.")] = 12,
    fps: Annotated[int, typer.Option(help="Frames per second of an animation.")] = 4,
    scale: Annotated[int, typer.Option(help="Make each pixel this many pixels wide.")] = 2,
) -> None:
    """Show the same noise through training, from the pictures in the run. Neither checkpoints nor data are needed."""
    from simulacra.verbs.evolve import evolve as verb

    steps = verb(run, target, rows=rows, columns=columns, fps=fps, scale=scale)
    span = f"{len(steps)} steps, {steps[0]:,} to {steps[-1]:,}," if len(steps) > 1 else f"step {steps[0]:,}"
    out.print(f"{span} in {escape(str(target))}", soft_wrap=True)


Picture = Annotated[Path, typer.Argument(help="A picture of any kind and size.")]
Results = Annotated[Path, typer.Option("-o", help="A folder for the results.")]
Scale = Annotated[int, typer.Option(help="Make each pixel of a sheet this many pixels wide.")]


@app.command()
def predict(
    run: RunFolder,
    path: Picture,
    target: Results,
    count: Annotated[int, typer.Option("-n", "--futures", help="How many futures.")] = 6,
    roll: Annotated[int, typer.Option(help="How many steps into each future.")] = 1,
    prior: Prior = None,
    seed: Annotated[int, typer.Option(help="Other seeds, other futures.")] = 0,
    scale: Scale = 2,
    step: Step = None,
    device: Device = "cpu",
) -> None:
    """Imagine possible futures of one picture (visual_dynamics)."""
    from simulacra.reopen import reopen
    from simulacra.verbs.predict import predict as verb

    opened = reopen(run, None, device, step)
    paths, done = verb(opened, path, target, count=count, roll=roll, prior=prior, seed=seed, scale=scale)
    _told(paths, [f"{path}: {done}"] if done else [])


@app.command()
def transfer(
    run: RunFolder,
    first: Annotated[Path, typer.Argument(metavar="FROM1", help="A frame.")],
    second: Annotated[Path, typer.Argument(metavar="FROM2", help="The frame after it.")],
    to: Annotated[Path, typer.Argument(metavar="TO", help="The picture that is to move likewise.")],
    target: Results,
    scale: Scale = 2,
    step: Step = None,
    device: Device = "cpu",
) -> None:
    """Give the motion between two frames to another picture (visual_dynamics)."""
    from simulacra.reopen import reopen
    from simulacra.verbs.transfer import transfer as verb

    paths, done = verb(reopen(run, None, device, step), first, second, to, target, scale=scale)
    _told(paths, done)


@app.command()
def traverse(
    run: RunFolder,
    path: Picture,
    target: Results,
    dimensions: Annotated[int, typer.Option(help="How many of the most active dimensions.")] = 6,
    steps: Annotated[int, typer.Option(help="How many values of each.")] = 9,
    scale: Scale = 2,
    step: Step = None,
    device: Device = "cpu",
) -> None:
    """Vary the most active dimensions of the motion, one at a time (visual_dynamics)."""
    from simulacra.reopen import reopen
    from simulacra.verbs.traverse import traverse as verb

    opened = reopen(run, None, device, step)
    paths, chosen, done = verb(opened, path, target, dimensions=dimensions, steps=steps, scale=scale)
    _told(paths, [f"{path}: {done}"] if done else [])
    out.print(f"dimensions, the most active first: {', '.join(map(str, chosen))}", soft_wrap=True)


@app.command()
def decompose(
    path: Annotated[Path, typer.Argument(metavar="CLIP", help="A film, an animation or a folder of frames.")],
    mask: Annotated[Path, typer.Option(help="A picture of the object in the first frame, on black or transparency.")],
    target: Results,
    longest: Annotated[int, typer.Option(help="Reduce the longer side to this many pixels; 0 keeps the clip's size.")] = 432,
    frames: Annotated[int, typer.Option(help="Only the first frames; 0 takes all.")] = 0,
    fps: Annotated[float | None, typer.Option(help="Frames per second of the results; otherwise the clip's.")] = None,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Take a clip apart into foreground, matte and clean background, from one mask. A stopped run goes on."""
    from simulacra.progress import Stages
    from simulacra.verbs.decompose import decompose as verb

    with Stages(out, quiet=as_json) as stages:
        options = {"longest": longest, "frames": frames, "fps": fps, "seed": seed}
        found, done = verb(path, mask, target, **options, told=stages.told)  # type: ignore[arg-type]
    if as_json:
        print(json.dumps(found))
        return
    _told([target], done)
    for name, value in found.items():
        out.print(f"{name:28}{value:.4g}" if isinstance(value, float) else f"{name:28}{value}")


@app.command()
def edit(
    layers: Annotated[Path, typer.Argument(metavar="LAYERS", help="A folder that decompose made.")],
    target: Results,
    remove: Annotated[bool, typer.Option("--remove", help="Leave the object out.")] = False,
    background: Annotated[Path | None, typer.Option(help="A picture or clip to put behind the object.")] = None,
    move: Annotated[str | None, typer.Option(metavar="DX,DY", help="Move the object so many pixels right and down.")] = None,
) -> None:
    """Put the layers of a clip together in another way."""
    from simulacra.verbs.edit import edit as verb

    paths, done = verb(layers, target, remove=remove, background=background, move=_two(move) if move else None)
    _told(paths[-2:], done)


def _two(text: str) -> tuple[float, float]:
    try:
        dx, dy = (float(part) for part in text.split(","))
    except ValueError:
        raise Mistake(f"move = {text}; allowed: two numbers of pixels, right and down, such as 40,-10") from None
    return dx, dy


def _told(paths: list[Path], done: list[str]) -> None:
    for line in done:
        out.print(f"[yellow]note:[/] {escape(line)}", soft_wrap=True)
    for path in paths:
        out.print(escape(str(path)), soft_wrap=True)


@app.command()
def measure(
    run: RunFolder,
    count: Annotated[int, typer.Option("--samples", help="Samples in a set.")] = 5000,
    repeats: Annotated[int, typer.Option(help="Independent sets, over which the interval is taken.")] = 5,
    seed: int = 0,
    extractor: Annotated[str | None, typer.Option(help="Feature extractor; otherwise the data set's own.")] = None,
    weights: Weights = "average",
    step: Step = None,
    root: DataFolder = None,
    device: Device = "cpu",
    downstream: Annotated[bool, typer.Option(help="Also train classifiers on samples, test on reals, and reverse.")] = False,
    prior: Prior = None,
    truth: Annotated[Path | None, typer.Option(help="RUN is a folder of masks; hold them against these true ones.")] = None,
    csv: Annotated[Path | None, typer.Option(help="With --truth: write the table to this file too.")] = None,
    as_json: Json = False,
) -> None:
    """Measure a run: a table, and a line a metric in metrics.jsonl. With --truth, J and F of masks in the DAVIS layout."""
    if truth is not None:
        _overlap(run, truth, csv, as_json)
        return
    from simulacra.reopen import data_root, reopen
    from simulacra.verbs.measure import Protocol
    from simulacra.verbs.measure import measure as verb

    opened = reopen(run, data_root(root), device, step, weights)
    rows, notes = verb(opened, Protocol(count, repeats, seed, extractor, weights, downstream, prior))
    if as_json:
        print(json.dumps(rows))
        return
    out.print(_metrics_table(rows))
    for note in notes:
        out.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)


def _overlap(masks: Path, truth: Path, csv: Path | None, as_json: bool) -> None:
    from simulacra.measure import overlap

    results = overlap.compare_folders(masks, truth)
    if csv is not None:
        overlap.write_csv(results, csv)
    print(json.dumps(dict(overlap.table(results))) if as_json else overlap.text(results))


def _metrics_table(rows: list[dict[str, Any]]) -> Table:
    first = rows[0]
    kind = {"series": "series", "pairs": "true futures", "clips": "clips"}.get(first["extractor"], "pictures")
    prior = f"; prior: {first['prior']}" if "prior" in first else ""
    floors = {"pairs": "the law's own futures", "clips": "the true layers"}
    floor = floors.get(first["extractor"], f"real training {kind}")
    table = Table(
        title=f"step {first['step']:,}, {first['weights']} weights",
        caption=f"{first['n_fake']:,} samples x {first['repeats']} against {first['n_real']:,} {first['split']} {kind}; "
        f"{first['extractor']} {first['extractor_hash']}; seed {first['seed']}{prior}; floor: {floor} as samples",
    )
    for name in "metric", "value", "95 % interval", "floor":
        table.add_column(name, justify="left" if name == "metric" else "right")
    for row in rows:
        value, low, high, floor = ("" if row[key] is None else f"{row[key]:.4g}" for key in ("value", "low", "high", "floor"))
        table.add_row(row["metric"], value, f"{low} to {high}" if low else "one set" * bool(value), floor)
    return table

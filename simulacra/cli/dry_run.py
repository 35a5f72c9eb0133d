"""What `train --dry-run` prints."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simulacra.cli.words import err, escape, out
from simulacra.core.errors import Mistake

WIDE = 28  # letters of a key


def show(
    source: str,
    preset: str | None,
    changes: list[str],
    folder: Callable[[str], Path],  # that of a run of this name
    place: Path | None,
    *,
    as_json: bool,
    **how: Any,
) -> None:
    """Print a dry run, as lines or as JSON."""
    from simulacra.core import config

    checked = config.resolve(
        source, preset, changes, lambda line: err.print(escape(line), soft_wrap=True)
    )
    from simulacra.tasks.dry_run import dry_run

    found = dry_run(
        checked, folder(checked.name), place, plain=_plain(source, preset, changes), **how
    )
    if as_json:
        import json

        print(json.dumps(found))
        return
    for line in lines(found):
        out.print(line, soft_wrap=True)


def _plain(source: str, preset: str | None, changes: list[str]) -> Any:
    """The config as its file has it, in the same preset and experiment; None if it is none without
    the changes."""
    from simulacra.core import config

    kept = [text for text in changes if text.partition("=")[0].strip() == "experiment"]
    try:
        return config.resolve(source, preset, kept)
    except Mistake:
        return None


def lines(found: dict[str, Any]) -> Iterator[str]:
    """What is said of a dry run, as rich's markup."""
    from simulacra.core.config import called

    changed = found["changed"]
    yield "[bold]config[/]"
    for key, value in flat(found["config"]):
        first, *rest = key.split(".")
        name = ".".join([called(first), *rest])
        told = f"  {escape(name):{WIDE}} {escape(_word(value))}"
        if name in changed:
            told += f"  [yellow]*[/] {escape(_word(changed[name][0]))} in the file"
        yield told
    yield "[bold]data[/]"
    for key, value in found["data"].items():
        yield f"  {escape(key):{WIDE}} {escape(value)}"
    yield "[bold]parts[/]"
    for one in found["parts"]:
        count = f"{one['parameters']:,} parameters" if one["parameters"] else ""
        frozen = "" if one["learnt"] in (0, one["parameters"]) else f", {one['learnt']:,} learnt"
        yield f"  {escape(one['part']):{WIDE}} {escape(one['kind'])} {count}{frozen}".rstrip()
    yield from _numbers(found)
    for note in found["notes"]:
        yield f"[yellow]note:[/] {escape(note)}"


def _numbers(found: dict[str, Any]) -> Iterator[str]:
    """Parameters in all, memory, length, time and place."""
    memory, training, time = found["memory"], found["training"], found["time"]
    learnt = sum(one["learnt"] for one in found["parts"])
    yield f"[bold]{'learnt':{WIDE + 2}}[/] {learnt:,} parameters"
    most = memory["most_bytes"]
    seen = f"; {_size(most)} at most on the GPU" if most is not None else "; activations on top"
    yield (
        f"[bold]{'memory':{WIDE + 2}}[/] {_size(memory['kept_bytes'])} of weights, gradients and "
        f"optimizers{seen}"
    )
    yield (
        f"[bold]{'length':{WIDE + 2}}[/] {training['steps']:,} steps of {training['batch']:,}: "
        f"{training['examples']:,} examples, {training['epochs']:,} epochs of "
        f"{training['train']:,}; {training['left']:,} steps are left"
    )
    about = f"about {_long(time['seconds_left'])}, {time['seconds_a_step']:.3g} s a step: "
    yield f"[bold]{'time':{WIDE + 2}}[/] {about if time['timed_steps'] else ''}{time['says']}"
    yield (
        f"[bold]{'folder':{WIDE + 2}}[/] {escape(found['folder']['path'])}; there is "
        f"{found['folder']['there']}"
    )


def flat(raw: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of nested tables."""
    for key, value in raw.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _word(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _long(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

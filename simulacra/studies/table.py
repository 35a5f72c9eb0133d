"""Table: what the runs of a sheet say, cell by cell, and what follows for its claims.

OUT/table.md     for people
OUT/table.json   for the notebook
"""

import json
import math
from pathlib import Path
from typing import Any

from simulacra.core.errors import Mistake
from simulacra.io.paint import write
from simulacra.metrics.intervals.interval import interval
from simulacra.studies.sheet import Cell, Sheet, Values, Verdict, judged, same_protocol
from simulacra.studies.sweep import Job, jobs

MARKS = {"supported": "✓", "refuted": "✗", "undecided": "?"}
SHOWN = (
    "extractor",
    "extractor_hash",
    "n_fake",
    "n_real",
    "split",
    "repeats",
    "weights",
    "n",
    "tracks",
    "simulator",
)


def table(sheet: Sheet, out: Path, preset: str | None = None) -> dict[str, Any]:
    """What is known by now, written into OUT;
    a Mistake if nothing is, or if numbers do not compare."""
    if not out.is_dir():
        raise Mistake(f"no folder {out}; simulacra sweep makes one")
    todo = jobs(sheet, out, preset)
    found = values(todo)
    if not found:
        raise Mistake(
            f"{out} holds no measured run of this sheet; simulacra sweep trains and measures"
        )
    metrics = sheet.metrics() or sorted({name for row in found.values() for name in row})
    for metric in metrics:
        same_protocol(found, metric)
    told = {
        "name": sheet.name,
        "source": sheet.source,
        "follows": sheet.follows,
        "base": sheet.base,
        "preset": preset or sheet.preset,
        "measure": sheet.measure,
        "seeds": sheet.seeds,
        "metrics": metrics,
        "rows": [_row(cell, sheet, found, metrics, todo) for cell in sheet.cells()],
        "claims": [
            _claim(judged(claim, sheet, found), claim.says, claim.metric, claim.expect)
            for claim in sheet.claim
        ],
        "protocol": _protocol(found, metrics),
        "commits": sorted(
            {
                str(row["commit"])
                for rows in found.values()
                for row in rows.values()
                if "commit" in row
            }
        ),
        "missing": [str(job) for job in todo if (str(job.cell), job.seed) not in found],
    }
    write(out / "table.json", (json.dumps(told, indent=1) + "\n").encode())
    write(out / "table.md", markdown(told).encode())
    return told


def values(todo: list[Job]) -> Values:
    """The last value of each metric at the end of each run that was measured there."""
    found: Values = {}
    for job in todo:
        if rows := job.rows():
            found[str(job.cell), job.seed] = {row["metric"]: row for row in rows}
    return found


def _row(
    cell: Cell, sheet: Sheet, found: Values, metrics: list[str], todo: list[Job]
) -> dict[str, Any]:
    """A cell of the grid: by metric the values by seed, their mean and its interval over seeds."""
    seeds = [seed for seed in sheet.seeds if (str(cell), seed) in found]
    numbers = {}
    for metric in metrics:
        each = [found[str(cell), seed].get(metric, {}).get("value") for seed in seeds]
        known = [value for value in each if value is not None]
        mean, low, high = interval(known) if known else (math.nan,) * 3
        numbers[metric] = {
            "values": each,
            "mean": _number(mean),
            "low": _number(low),
            "high": _number(high),
        }
    runs = [job.folder.name for job in todo if job.cell == cell]
    return {"cell": str(cell), "seeds": seeds, "numbers": numbers, "runs": runs}


def _claim(found: Verdict, says: str, metric: str, expect: str) -> dict[str, Any]:
    ends = {
        "difference": _number(found.mean),
        "low": _number(found.low),
        "high": _number(found.high),
        "n": found.n,
    }
    return {"says": says, "metric": metric, "expect": expect, "verdict": found.word} | ends


def _protocol(found: Values, metrics: list[str]) -> str:
    """How it was measured, in one line; the same for all, as was checked."""
    rows = [rows[metric] for rows in found.values() for metric in metrics if metric in rows]
    first = rows[0] if rows else {}
    return ", ".join(f"{key} {first[key]}" for key in SHOWN if first.get(key) is not None)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


# --- in words -------------------------------------------------------------------------------------


def markdown(told: dict[str, Any]) -> str:
    """The same for people."""
    heads = ["cell", "seeds", *told["metrics"]]
    lines = [f"# {told['name']}", ""]
    lines += [f"Source of what is claimed: {told['source']}", ""] if told["source"] else []
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in told["rows"]:
        numbers = [spoken(row["numbers"][metric]) for metric in told["metrics"]]
        lines.append(f"| {row['cell']} | {len(row['seeds'])} | " + " | ".join(numbers) + " |")
    lines += [
        "",
        "Mean over seeds with its 95 % Student interval. "
        f"Measured by `{told['measure']}`: {told['protocol']};",
    ]
    lines += [f"preset {told['preset']}, commits {', '.join(told['commits']) or 'unknown'}.", ""]
    if told["claims"]:
        lines += ["| | claim | metric | first minus second | seeds |", "|---|---|---|---|---|"]
    for claim in told["claims"]:
        ends = {"mean": claim["difference"], "low": claim["low"], "high": claim["high"]}
        what = f"{MARKS[claim['verdict']]} {claim['verdict']}"
        lines.append(
            f"| {what} | {claim['says']} ({claim['expect']}) | "
            f"{claim['metric']} | {spoken(ends)} | {claim['n']} |"
        )
    if told["missing"]:
        lines += ["", f"Not measured yet: {'; '.join(told['missing'])}."]
    return "\n".join(lines) + "\n"


def spoken(number: dict[str, Any]) -> str:
    """0.667 [0.656, 0.679], as far as it is known."""
    if number["mean"] is None:
        return ""
    ends = f" [{number['low']:.3g}, {number['high']:.3g}]" if number["low"] is not None else ""
    return f"{number['mean']:.3g}{ends}"

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
from simulacra.metrics.intervals import seeds as over_seeds
from simulacra.metrics.intervals.interval import interval
from simulacra.studies.sheet import Cell, Claim, Sheet, Values, same_protocol
from simulacra.studies.sweep import Job, jobs
from simulacra.studies.verdicts import MOST, Verdict, verdicts

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
            _claim(claim, verdict)
            for claim, verdict in zip(sheet.claim, verdicts(sheet, found), strict=True)
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
        middle = over_seeds.interquartile_mean(known)
        numbers[metric] = {
            "values": each,
            "mean": _number(mean),
            "low": _number(low),
            "high": _number(high),
            **_ends("iqm", middle),
        }
    runs = [job.folder.name for job in todo if job.cell == cell]
    return {"cell": str(cell), "seeds": seeds, "numbers": numbers, "runs": runs}


def _claim(claim: Claim, found: Verdict) -> dict[str, Any]:
    """What a claim says and what became of it; a number that there is not is null."""
    more = found.more if found.more <= MOST else MOST + 1
    numbers = {
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "p_holm": found.adjusted,
        "level": found.level,
        "decides_low": found.decides_low,
        "decides_high": found.decides_high,
    }
    return {
        "says": claim.says,
        "metric": claim.metric,
        "expect": claim.expect,
        "within": claim.within,
        "verdict": found.word,
        "n": found.n,
        **{key: _number(value) for key, value in numbers.items()},
        **_ends("improvement", found.improvement),
        "more_seeds": int(more) if math.isfinite(found.more) else None,
        "why": found.why,
    }


def _ends(name: str, found: over_seeds.Ends) -> dict[str, float | None]:
    numbers = zip((name, f"{name}_low", f"{name}_high"), found, strict=True)
    return {key: _number(value) for key, value in numbers}


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
    lines = [f"# {told['name']}", ""]
    lines += [f"Source of what is claimed: {told['source']}", ""] if told["source"] else []
    lines += [*grid_of(*cells(told)), ""]
    lines += [
        f"{told_of_cells(told)} Measured by `{told['measure']}`: {told['protocol']};",
        f"preset {told['preset']}, commits {', '.join(told['commits']) or 'unknown'}.",
        "",
    ]
    if told["claims"]:
        lines += [*grid_of(*claims(told)), "", RULE]
        lines += [f"\n{line}" for line in [open_claims(told)] if line]
    if told["missing"]:
        lines += ["", f"Not measured yet: {'; '.join(told['missing'])}."]
    return "\n".join(lines) + "\n"


RULE = (
    "A verdict holds for all claims together: by Holm's correction the chance that any of them is "
    "judged wrongly is at most 5 %, and fewer than three seeds decide nothing. The interval is the "
    "claim's own one of 95 %; P is how probable it is that a training of the first gives more than "
    "one of the second; more seeds are about what it would take if mean and spread stay as they "
    "are."
)


def grid_of(heads: list[str], rows: list[list[str]]) -> list[str]:
    """A table's lines in Markdown, whatever its cells say."""
    told = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in told]
    return [lines[0], "|---" * len(heads) + "|", *lines[1:]]


def cells(told: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of cells; the interquartile mean where it is another number than
    the mean, from four seeds on."""
    heads, rows = ["cell", "seeds"], [[row["cell"], str(len(row["seeds"]))] for row in told["rows"]]
    for metric in told["metrics"]:
        columns = [(metric, "")]
        if _has_middle(told):
            columns.append((f"{metric}, IQM", "iqm"))
        for head, key in columns:
            heads.append(head)
            for row, mine in zip(told["rows"], rows, strict=True):
                mine.append(spoken(row["numbers"][metric], key))
    return heads, rows


def _has_middle(told: dict[str, Any]) -> bool:
    """Whether an interquartile mean leaves anything out; older tables have none."""
    return any(
        len([value for value in number["values"] if value is not None]) >= 4 and "iqm" in number
        for row in told["rows"]
        for number in row["numbers"].values()
    )


def told_of_cells(told: dict[str, Any]) -> str:
    """What the numbers of the cells are."""
    middle = "; IQM is the interquartile mean" * _has_middle(told)
    return f"Mean over seeds with its 95 % Student interval{middle}."


def claims(told: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of claims."""
    heads = ["", "claim", "metric", "first minus second", "P(first > second)", "p (Holm)", "seeds"]
    rows = [
        [
            f"{MARKS[claim['verdict']]} {claim['verdict']}",
            f"{claim['says']} ({claim['expect']})",
            claim["metric"],
            apart(claim),
            spoken(claim, "improvement"),
            "" if claim.get("p_holm") is None else f"{claim['p_holm']:.2g}",
            str(claim["n"]),
            more_of(claim),
        ]
        for claim in told["claims"]
    ]
    return [*heads, "more seeds"], rows


def apart(claim: dict[str, Any]) -> str:
    """The difference that a claim is about, with its own 95 % interval."""
    return spoken({"mean": claim["difference"], "low": claim["low"], "high": claim["high"]})


def more_of(claim: dict[str, Any]) -> str:
    """How many seeds more a claim would take, as far as that is known; older tables do not say."""
    more = claim.get("more_seeds")
    if more is None or claim["verdict"] != "undecided":
        return ""
    return f"more than {MOST:,}" if more > MOST else f"{more:,}"


def open_claims(told: dict[str, Any]) -> str:
    """Why claims are undecided, in a line; older tables do not say."""
    whys = [(claim["says"], claim["why"]) for claim in told["claims"] if claim.get("why")]
    return f"Undecided: {'; '.join(f'{says}: {why}' for says, why in whys)}." if whys else ""


def spoken(number: dict[str, Any], key: str = "") -> str:
    """0.667 [0.656, 0.679], as far as it is known; of the mean, or of another `key`."""
    name, under = key or "mean", f"{key}_" if key else ""
    if number.get(name) is None:
        return ""
    low, high = number.get(f"{under}low"), number.get(f"{under}high")
    ends = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{number[name]:.3g}{ends}"

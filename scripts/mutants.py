"""Which one-line mistakes would the tests notice? tests/mutants.json lists 300, one in a line;
docs/results/mutants.md tells more.

    # once: which tests run which lines, and how long each takes
    python scripts/mutants.py cover --cache FOLDER
    # every mutant that FILE.jsonl does not have yet
    python scripts/mutants.py run --cache FOLDER -o FILE.jsonl
    # the share killed in each stratum
    python scripts/mutants.py table FILE.jsonl [OTHER.jsonl]
    # the mutants whose line is gone
    python scripts/mutants.py check

A mutant is tried in a copy of the source tree, in a process forked from one that has imported
torch, on the tests that ran the mutated line, fastest first, until one fails or 60 seconds of
processor time are over.
"""

import argparse
import importlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
import time
import xml.etree.ElementTree as xml
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mutant import HOME, LIST, Mutant, mutated, place, read

SECONDS = 60.0  # of processor time for the tests of a mutant
# of processor time, after which a mutant that should have been through counts as hanging
LIMIT = 1.5 * SECONDS
WALL = 5.0  # a machine that is busy may take so many times longer
HEAVY = (
    "torch",
    "torch._dynamo",
    "numpy",
    "scipy.stats",
    "scipy.linalg",
    "scipy.ndimage",
    "sklearn.linear_model",
    "av",
    "cv2",
)
HEAVY += (
    "sklearn.neighbors",
    "PIL.Image",
    "pytest",
    "hypothesis",
    "typer",
    "rich.progress",
    "msgspec",
    "safetensors.torch",
)
HEAVY += (
    "matplotlib.figure",
    "tensorboard.summary.writer.record_writer",
    "jinja2",
    "prdc",
    "unittest.mock",
)

APART = {
    f"simulacra/core/{name}.py": [
        "tests/core/test_distributed.py::test_two_halves_are_a_whole[ebgan]"
    ]
    for name in ("optim", "distributed")
}  # in processes of its own


# Which tests


def warmed() -> None:
    """Import what is slow to import and no part of the tree, for all children."""
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"without {name}")


def cover(cache: Path, tests: list[Path], tree: Path, most: float) -> None:
    """Run each test file once, noting the lines that each test runs; files that were run stay as
    they are. A file that takes longer than `most` seconds is interrupted, and the tests that it did
    not come to are never chosen."""
    cache.mkdir(parents=True, exist_ok=True)
    for test in tests:
        report = cache / f"{test.stem}.xml"
        if report.exists():
            continue
        words = [
            f"tests/{test.name}",
            "--cov=simulacra",
            "--cov-context=test",
            "--cov-report=",
            f"--junitxml={report}",
        ]
        words += ["-o", "junit_family=xunit1", "-o", "junit_duration_report=total"]
        pid = os.fork()
        if pid == 0:
            os.environ["COVERAGE_FILE"] = str(cache / f"{test.stem}.coverage")
            child(tree, words, cache / f"{test.stem}.out")
        code, seconds = watched(pid, most, signal.SIGINT)
        (cache / f"{test.stem}.seconds").write_text(f"{seconds:.1f}\n")
        print(
            f"{test.stem}: {'interrupted' if code is None else f'exit status {code}'}, "
            f"{seconds:.0f} s",
            flush=True,
        )


class Tests:
    """What the coverage runs in a cache found:
    which tests passed, in how many seconds, and the lines that each ran."""

    def __init__(self, cache: Path, most: float = SECONDS, there: Path | None = None):
        self.most = most  # and only tests that are in the folder `there`
        self.files = sorted(cache.glob("test_*.coverage"))
        self.seconds = dict(
            pair
            for report in sorted(cache.glob("test_*.xml"))
            for pair in passed(report)
            if exists(pair[0], there)
        )
        self.connections = [
            sqlite3.connect(f"file:{path}?mode=ro", uri=True) for path in self.files
        ]

    def of(self, file: str, line: int) -> list[str]:
        """The tests that ran a line (from 1), fastest first,
        as many as `most` seconds hold, at least one."""
        names: set[str] = set()
        for connection in self.connections:
            names |= self.widened(contexts(connection, file, line))
        ordered = sorted((self.seconds[name], name) for name in names if name in self.seconds)
        kept, total = [], 0.0
        for seconds, name in ordered:
            total += seconds
            if total <= self.most or not kept:
                kept.append(name)
        return kept or APART.get(file, [])

    def widened(self, names: set[str]) -> set[str]:
        """The tests of contexts. A line that ran while a fixture was made, which is noted for its
        first user only, belongs to every test of that file, or to those with the same parameters
        where the first user has some."""
        made = {parts(name) for name in names if name.endswith("|setup")}
        return {name.rpartition("|")[0] for name in names} | {
            name for name in self.seconds if parts(name) in made
        }


def exists(name: str, tree: Path | None) -> bool:
    """Whether a tree has the function of a test; None has all."""
    file, _, function = name.partition("[")[0].partition("::")
    path = tree / file if tree else None
    return path is None or (
        path.is_file() and f"def {function.rpartition('::')[2]}(" in path.read_text()
    )


def parts(name: str) -> tuple[str, str]:
    """The file and the parameters, "" if it has none, of a test or context."""
    return name.partition("::")[0], name.rpartition("|")[0].partition("[")[
        2
    ] if "|" in name else name.partition("[")[2]


def contexts(connection: sqlite3.Connection, file: str, line: int) -> set[str]:
    """The contexts, "test|phase", in which a line ran."""
    from coverage.numbits import num_in_numbits

    found = connection.execute(
        "select context.context, line_bits.numbits from line_bits join context on context.id = "
        "line_bits.context_id join file on file.id = line_bits.file_id where file.path like ?",
        (f"%/{file}",),
    )
    return {name for name, bits in found if "|" in name and num_in_numbits(line, bits)}


def passed(report: Path) -> Iterator[tuple[str, float]]:
    """(test, processor seconds) of a report's tests that passed: the report's own seconds are those
    of a clock, which a busy machine makes longer, so that the file's processor seconds are divided
    in their proportion."""
    cases = list(xml.parse(report).iter("testcase"))
    total = sum(float(case.get("time", 0)) for case in cases)
    used = report.with_suffix(".seconds")
    share = min(1.0, float(used.read_text()) / max(total, 1e-9)) if used.exists() else 1.0
    for case in cases:
        if not any(child.tag in ("failure", "error", "skipped") for child in case):
            classes = case.get("classname", "").split(".")[2:]
            name = "::".join([case.get("file", ""), *classes, case.get("name", "")])
            yield name, share * float(case.get("time", 0))


# Trying


def copied(tree: Path, folder: Path) -> Path:
    """A copy of a source tree's own files."""
    if folder.exists():
        shutil.rmtree(folder)
    skipped = shutil.ignore_patterns(
        ".git", ".venv", "runs", "__pycache__", ".hypothesis", ".*_cache", "dist"
    )
    return Path(shutil.copytree(tree, folder, ignore=skipped))


def child(tree: Path, words: list[str], log: Path) -> None:
    """Run pytest with these words and leave with its exit status; never returns."""
    os.setsid()
    # a process in the background was told to ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    os.environ.update({"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"})
    sys.path[:] = [
        str(tree),
        *[p for p in sys.path if Path(p).resolve() not in (HOME, HOME / "scripts")],
    ]
    import pytest
    from hypothesis import settings

    # a busy machine kills nothing
    settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
    settings.load_profile("repeatable")
    code = pytest.main([*words, "-q", "-p", "no:cacheprovider", "--tb=line", f"--rootdir={tree}"])
    sys.stdout.flush()
    os._exit(int(code))


def watched(pid: int, most: float, ending: int = signal.SIGKILL) -> tuple[int | None, float]:
    """(exit status, processor seconds) of a child;
    None if the clock says more than `most` seconds and it was ended."""
    begun, late = time.monotonic(), False
    while True:
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return (None if late else code), used.ru_utime + used.ru_stime
        if not late and time.monotonic() - begun > most:
            late = True
            os.killpg(pid, ending)
        time.sleep(0.02)


def tried(tree: Path, file: str, text: str, tests: list[str], log: Path) -> tuple[str, float]:
    """(killed, survived, timeout, late, no test or an error; processor seconds)
    of a file's text in a tree that is put back."""
    if not tests:
        return "no test", 0.0
    path = tree / file
    before, stamp = path.read_bytes(), path.stat()
    path.write_text(text)
    # no compiled file of another mutant is taken for its own
    os.utime(path, (1e9, 1e9 + zlib.crc32(text.encode()) % 10**8))
    try:
        pid = os.fork()
        if pid == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (int(LIMIT), int(LIMIT) + 5))
            child(tree, [*tests, "-x"], log)
        code, seconds = watched(pid, WALL * LIMIT)
    finally:
        path.write_bytes(before)
        os.utime(path, (stamp.st_atime, stamp.st_mtime))
    if code is None:
        return "late", seconds  # the machine was busy, or it waits for ever: nobody knows
    if code < 0:
        return "timeout" if seconds >= LIMIT else "killed", seconds
    return {0: "survived", 1: "killed", 2: "killed", 3: "killed", 4: "killed"}.get(
        code, f"error {code}"
    ), seconds


def judged(
    source: str, mutant: Mutant, tree: Path, tests: Tests, base: str, also: list[str]
) -> dict[str, object]:
    """The result of one mutant; `base` is the source that the coverage run had,
    `also` are tests that it did not know."""
    try:
        text = mutated(source, mutant)
    except LookupError as error:
        return {"result": "gone", "why": str(error)}
    try:
        names = also + tests.of(mutant.file, place(base, mutant) + 1)
    except LookupError:
        return {"result": "gone", "why": "not in the tree that was covered"}
    log = tree.parent / f"{tree.name}.out"
    word, seconds = tried(tree, mutant.file, text, names, log)
    by = ""
    if word in ("killed", "timeout") and log.exists():
        failed = [
            line
            for line in log.read_text(errors="replace").splitlines()
            if line.startswith(("FAILED", "ERROR"))
        ]
        by = failed[0].split(" - ")[0].partition(" ")[2] if failed else ""
    return {"result": word, "by": by, "tests": len(names), "seconds": round(seconds, 1)}


def run(arguments: argparse.Namespace) -> None:
    """Try what the file of results lacks, of this part of the list."""
    tests = Tests(arguments.cache, arguments.seconds, arguments.tree)
    tree = copied(arguments.tree, arguments.output.resolve().with_suffix(".tree"))
    done = {row["mutant"] for row in results([arguments.output])}
    part, parts = map(int, arguments.part.split("of"))
    listed = read(arguments.list)
    only = set(arguments.only or {m.stratum for m in listed})
    for mutant in listed[part::parts]:
        if mutant.name in done or mutant.equivalent or not {mutant.name, mutant.stratum} & only:
            continue
        source, base = (
            (folder / mutant.file).read_text()
            for folder in (arguments.tree, arguments.covered or arguments.tree)
        )
        row = {"mutant": mutant.name, "stratum": mutant.stratum} | judged(
            source, mutant, tree, tests, base, arguments.also
        )
        with arguments.output.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), mutant.file, mutant.function, flush=True)


# Telling


def results(files: Iterable[Path]) -> list[dict[str, str]]:
    """The rows of files of results, the last of each mutant."""
    rows = [
        json.loads(line)
        for file in files
        if file.exists()
        for line in file.read_text().splitlines()
    ]
    return list({row["mutant"]: row for row in rows}.values())


def table(files: Iterable[Path], mutants: list[Mutant]) -> str:
    """Killed of those that are there and not equivalent, per stratum;
    what no test runs or was not tried, is not killed."""
    found = {row["mutant"]: row["result"] for row in results(files)}
    columns = [
        "stratum",
        "mutants",
        "equivalent",
        "line gone",
        "killed",
        "survived",
        "no test",
        "not tried",
        "share",
    ]
    text = [" | ".join(columns), " | ".join(["---"] * len(columns))]
    for stratum in [*sorted({m.stratum for m in mutants}), "all"]:
        of_it = [m for m in mutants if stratum in (m.stratum, "all")]
        count = Counter(
            "equivalent" if m.equivalent else found.get(m.name, "not tried") for m in of_it
        )
        killed, real = (
            count["killed"] + count["timeout"],
            len(of_it) - count["equivalent"] - count["gone"],
        )
        left = real - killed - count["survived"] - count["no test"]
        numbers = [
            len(of_it),
            count["equivalent"],
            count["gone"],
            killed,
            count["survived"],
            count["no test"],
            left,
        ]
        text.append(
            " | ".join(map(str, [stratum, *numbers, f"{100 * killed / max(1, real):.1f} %"]))
        )
    return "\n".join(f"| {line} |" for line in text)


def gone(mutants: list[Mutant], tree: Path = HOME) -> list[str]:
    """The mutants whose line is no longer there, and why."""
    said = []
    for mutant in mutants:
        try:
            mutated((tree / mutant.file).read_text(), mutant)
        except (LookupError, OSError) as error:
            said.append(f"{mutant.name} {mutant.file}: {error}")
    return said


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["cover", "run", "table", "check"])
    parser.add_argument(
        "files", nargs="*", type=Path, help="test files to cover (all); results for the table"
    )
    parser.add_argument(
        "--cache", type=Path, help="folder outside the tree for what the tests cover"
    )
    parser.add_argument("-o", "--output", type=Path, help="results, a line each")
    parser.add_argument(
        "--part", default="0of1", help="0of2 and 1of2: two processes share the list"
    )
    parser.add_argument(
        "--tree", type=Path, default=HOME, help="the source tree whose tests are tried"
    )
    parser.add_argument(
        "--bare",
        action="store_true",
        help="import nothing beforehand: for a tree that needs none of it",
    )
    parser.add_argument(
        "--covered", type=Path, help="the source tree that was covered, where it is another"
    )
    parser.add_argument("--only", nargs="*", help="names of mutants or of strata")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="that the tests of a mutant may take, by their coverage run",
    )
    parser.add_argument(
        "--most", type=float, default=600, help="seconds for a test file while it is covered"
    )
    parser.add_argument(
        "--also",
        nargs="*",
        default=[],
        help="tests that are newer than the coverage run, tried first",
    )
    parser.add_argument("--list", type=Path, default=LIST)
    return parser.parse_args()


def main() -> None:
    """Do what the command line says."""
    arguments = parsed()
    if arguments.verb in ("cover", "run") and not arguments.bare:
        warmed()
    if arguments.verb == "cover":
        files = arguments.files or sorted((arguments.tree / "tests").glob("test_*.py"))
        part, parts = map(int, arguments.part.split("of"))
        cover(
            arguments.cache.resolve(), files[part::parts], arguments.tree.resolve(), arguments.most
        )
    elif arguments.verb == "run":
        run(arguments)
    elif arguments.verb == "table":
        print(table(arguments.files, read(arguments.list)))
    else:
        print("\n".join(gone(read(arguments.list))) or "every mutant still applies")


if __name__ == "__main__":
    main()

"""Which tests are slow: those of which any case took SECONDS or more in a run of the whole suite.
`make fast` leaves them out.

    make test ARGS=--junitxml=report.xml
    python scripts/slow_tests.py report.xml     writes tests/slow.json
"""

import argparse
import json
from pathlib import Path
from xml.etree import ElementTree

SECONDS = 1.0
KEPT = Path(__file__).resolve().parents[1] / "tests" / "slow.json"


def slow(report: Path, seconds: float = SECONDS) -> list[str]:
    """FILE::TEST of all that took so long, in order."""
    found = {
        f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name'].partition('[')[0]}"
        for case in ElementTree.parse(report).iter("testcase")
        if float(case.attrib["time"]) >= seconds
    }
    return sorted(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("report", type=Path)
    KEPT.write_text(json.dumps(slow(parser.parse_args().report), indent=1) + "\n", "utf-8")

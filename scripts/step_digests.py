"""Digests of what training comes to: for a change that must leave all numbers the same bits.

    python scripts/step_digests.py > before.txt     on the code as it was
    python scripts/step_digests.py > after.txt      with the change; then compare the two

A line a config, its tiny preset as it is ("as shipped") and with learning rates that fall and jump
("scheduled"): the digest of the logged scalars of 12 steps and of all parts after them, optimizers
too. Only on one machine and one version of torch do equal trainings give equal digests. Configs
whose data are not there are left out, and named at the end.
"""

import hashlib
import os
import sys
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HOME = Path(__file__).parent.parent
sys.path[:0] = [str(HOME), str(HOME / "tests")]

import msgspec  # noqa: E402
import torch  # noqa: E402
from tiny import ROOT, Tiny, of_config  # noqa: E402

from simulacra.core import config, data_sets, loop, run  # noqa: E402
from simulacra.core.load import build  # noqa: E402
from simulacra.core.parts import parts  # noqa: E402
from simulacra.core.schedules import Schedule, value_at  # noqa: E402

STEPS = 12


def scheduled(tiny: Tiny) -> list[str]:
    """The changes that give every learning rate of the config a fall and a jump."""
    hyper = tiny.config().hyper
    kinds = typing.get_type_hints(type(hyper), include_extras=True)
    names = [name for name in hyper.__struct_fields__ if name.startswith("rate")]
    changes = []
    for name in (name for name in names if kinds[name] == Schedule):
        v = value_at(getattr(hyper, name), 0)
        changes.append(f"hyper.{name}=[[1,{v}],[6,{v / 4}],[8,{v / 8}],[8,{v / 2}]]")
    return changes


def trained(tiny: Tiny, changes: list[str], folder: Path) -> str:
    """The digest of a training of STEPS steps."""
    checked = tiny.config(f"steps={STEPS}", f"save_every={STEPS}", "log_every=1", *changes)
    source = data_sets.load(checked.data, ROOT)
    model = build(checked, source.draw(0, checked.batch, checked.seed), torch.device("cpu"))
    (folder / "checkpoints").mkdir()
    opened = run.Run(folder, config.plain(checked))
    held_out = source.take("held_out", min(checked.batch, source.size("held_out")))
    list(
        loop.fit(
            model,
            lambda k: source.draw(k, checked.batch, checked.seed),
            opened,
            steps=STEPS,
            held_out=held_out,
        )
    )
    opened.close()
    mine = parts(model)
    states = {name: part.state_dict() for name, part in mine.items()}
    told = "".join(msgspec.json.encode(row).decode() for row in run.read_rows(folder / "log.jsonl"))
    return hashlib.blake2b((run.digest(states) + told).encode(), digest_size=12).hexdigest()


def lines(names: list[str]) -> Iterator[str]:
    """A line a config and variant."""
    missing = []
    for name in names:
        tiny = of_config(name)
        if tiny is None:
            missing.append(name)
            continue
        variants = {"as shipped": [], "scheduled": scheduled(tiny)}
        for variant, changes in variants.items():
            if changes or variant == "as shipped":
                with tempfile.TemporaryDirectory() as folder:
                    yield f"{name:32} {variant:12} {trained(tiny, changes, Path(folder))}"
    if missing:
        yield f"left out, without their data: {', '.join(missing)}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in lines(sys.argv[1:] or config.configs()):
        print(line, flush=True)

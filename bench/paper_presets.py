"""What every `paper` preset would need: it is built at its true size, plays real steps at two small
batches, and its memory and time at the true batch are drawn from them as a straight line.

    python bench/paper_presets.py [CONFIG ...] [--json FILE]

Time is a line only where a step is quick enough for batches of 2 and 16; otherwise proportion.

Time is processor time of one thread, which survives a busy machine. "PFLOP" is what all steps of
the preset count (bench/models.py says how); "hours" is that at a rate that is assumed, --rate, of
10 TFLOP/s, about what such nets reach in float32 on one large GPU of today. Of worlds nothing is
driven: their generations are only counted. Data that are not there are stood in for by numbers of
their shape.
"""

import argparse
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from models import Counter

from simulacra.core import allocator, config, data_sets, optim, random
from simulacra.core.config import Config
from simulacra.core.contract import Batch
from simulacra.core.errors import Mistake
from simulacra.core.load import build, data_root

FIRST = 2  # examples of the first small batch; 1 where the true one has no more than 2
QUICK = 0.5  # processor seconds of a step of it, up to which the second one has 16, otherwise 3
MARKED = "paper"


def presets() -> list[str]:
    """The configs that have a paper preset."""
    return [
        name for name in config.configs() if MARKED in config.based(config.find(name))["preset"]
    ]


def stand_in(checked: Config, n: int) -> Batch:
    """A batch of n examples shaped as the config's data are."""
    data, draw = checked.data, torch.Generator().manual_seed(0)
    name = str(data.__struct_config__.tag)

    def picture(*shape: int) -> torch.Tensor:
        return torch.rand(n, *shape, generator=draw) * 2 - 1

    match name:
        case "folder":
            return {"image": picture(3, data.size, data.size)}
        case "digits" | "mnist" | "fashion_mnist":
            size = 28 + 2 * data.pad
            return {"image": picture(1, size, size), "label": torch.arange(n) % 10}
        case "davis":
            (height, width), t = data.size, data.frames
            mask = torch.zeros(n, 1, height, width)
            mask[..., : height // 4, : width // 4] = 1
            flow = torch.zeros(n, t - 1, 2, height, width)
            video = picture(t, 3, height, width)
            return {"video": video, "mask": mask, "forward": flow, "backward": flow}
        case "pairs" | "video" | "sprites":
            size = data.size
            return {"image": picture(3, size, size), "next": picture(3, size, size)}
        case "racing":
            return {"image": picture(3, 64, 64)}
        case "series":
            return {"series": picture(30, 1)}
        case "codes":
            t = data.length
            return {
                "mean": picture(t, 32), "log_variance": picture(t, 32) - 3,
                "action": picture(t, 3), "reward": picture(t), "done": torch.zeros(n, t),
                "eye": torch.zeros(n, 16, dtype=torch.uint8),
            }  # fmt: skip
    raise Mistake(f"{checked.name}: its data are not there, and nothing stands in for {name}")


def batches(checked: Config, root: Path | None) -> tuple[Any, str]:
    """What draws a batch of n examples, and whence."""
    named = getattr(checked.data, "path", "given")  # an empty one is the whole data folder
    try:
        if not named:
            raise Mistake(f"{checked.name} names no folder")
        source = data_sets.load(checked.data, root)
        source.draw(0, 1, 0)
    except Mistake:
        return (lambda n: stand_in(checked, n)), "stand-in"
    return (lambda n: source.draw(0, n, 0)), str(checked.data.__struct_config__.tag)


def played(model: Any, batch: Batch, k: int) -> float:
    """Processor seconds of step k; a Mistake if a number of it is not finite."""
    random.reseed(k)
    optim.set_rates(model, k)
    begun = time.process_time()
    found = model.step(batch, k)
    seconds = time.process_time() - begun
    for name, value in found.items():
        if not torch.as_tensor(value).isfinite().all():
            raise Mistake(f"{name} is {value} at step {k}")
    return seconds


def numbers(model: Any) -> int:
    """How many numbers the parts of a model hold."""
    from simulacra.core.parts import weights

    return sum(weight.numel() for weight in weights(model).values())


def line(points: list[tuple[int, float]], n: int) -> float:
    """What a straight line through two points says at n, no less than the larger point."""
    (a, one), (b, two) = points
    return max(two, one + (two - one) * (n - a) / (b - a))


def bench(name: str, root: Path | None) -> dict[str, Any]:
    """One row of the table."""
    torch.set_num_threads(1)
    allocator.keep()
    checked = config.resolve(name, MARKED, [])
    if checked.data.__struct_config__.tag == "codes" and option(checked, "population"):
        return generations(checked)
    draw, whence = batches(checked, root)
    rss = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    empty = rss()
    first = FIRST if checked.batch > FIRST else 1
    model = build(checked, draw(first), torch.device("cpu"))
    played(model, draw(first), 0)
    times, sizes = [(first, played(model, draw(first), 1))], [(first, rss() - empty)]
    second = min(checked.batch, 16 if times[0][1] < QUICK else first + 1)
    times.append((second, played(model, draw(second), 2)))
    sizes.append((second, rss() - empty))
    with Counter() as counter:
        model.step(draw(first), 3)
    step, count = line(times, checked.batch), counter.total * checked.batch / first
    if second == first + 1:  # too near for a line through what a busy machine measures
        step = times[0][1] * checked.batch / first
    return {
        "config": name, "data": whence, "numbers": numbers(model), "batch": checked.batch,
        "steps": checked.steps, "played": [first, second],
        "seconds_small": times[0][1], "memory_mb_played": sizes[-1][1],
        "seconds": step, "memory_mb": line(sizes, checked.batch),
        "days": step * checked.steps / 86400,
        "pflop": count * checked.steps / 1e15,
    }  # fmt: skip


def option(checked: Config, key: str) -> int:
    """A hyperparameter of that name, 0 if there is none."""
    return int(getattr(checked.hyper, key, 0))


def generations(checked: Config) -> dict[str, Any]:
    """What a search in a world would drive."""
    drives = checked.steps * checked.batch * option(checked, "population")
    return {"config": checked.name, "generations": checked.steps, "rollouts": drives}


def spoken(row: dict[str, Any], rate: float) -> str:
    """A row for people."""
    if "generations" in row:
        return (
            f"{row['config']:24} {row['generations']:,} generations, {row['rollouts']:,} rollouts"
            " of the world: only counted"
        )
    return (
        f"{row['config']:24}{row['numbers'] / 1e6:8.2f}{row['batch']:7}{row['steps']:9,}"
        f"{row['seconds_small']:9.2f}{row['seconds']:9.1f}{row['memory_mb'] / 1000:8.1f}"
        f"{row['days']:9.1f}{row['pflop']:10.1f}{row['pflop'] / rate / 3.6:8.1f}  {row['data']}"
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path, help="where the rows are kept")
    parser.add_argument("--rate", type=float, default=10.0, help="TFLOP/s of a GPU, assumed")
    asked = parser.parse_args()
    print(
        f"{'config':24}{'M numb.':>8}{'batch':>7}{'steps':>9}{'s small':>9}{'s':>9}{'GB':>8}"
        f"{'days':>9}{'PFLOP':>10}{'hours':>8}  data",
        flush=True,
    )
    rows, broken = [], []
    for name in asked.configs or presets():
        try:
            # so that the most memory is this one's
            with ProcessPoolExecutor(1, get_context("spawn")) as own:
                rows.append(own.submit(bench, name, data_root(asked.data)).result())
        except Exception as error:
            broken.append(name)
            print(f"{name:24} broken: {type(error).__name__}: {str(error)[:200]}", flush=True)
            continue
        print(spoken(rows[-1], asked.rate), flush=True)
        if asked.json:
            asked.json.write_text(
                json.dumps({"rate_tflops": asked.rate, "rows": rows}, indent=1) + "\n"
            )
    raise SystemExit(f"broken: {', '.join(broken)}" if broken else 0)


if __name__ == "__main__":
    main()

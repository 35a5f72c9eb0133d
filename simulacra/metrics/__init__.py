"""Metrics as functions of tensors: distances, coverage, memorisation, scores of masks, series and futures, intervals.

    from simulacra import metrics

    eyes = metrics.extractor("mnist_cnn")               # features of pictures, frozen
    a, b = eyes.features(fake), eyes.features(real)     # (N, D)
    metrics.frechet_distance(a, b)

Each is in the folder of what it measures, and imported when it is used; its docstring gives shapes, units and the source.
`metrics.report(fake, real, eyes)` computes all that apply to pictures.
"""

from importlib import import_module
from typing import Any

FACE = {
    "extractor": "images.extractors.load",
    "report": "images.report.report",
    "frechet_distance": "images.frechet.frechet_distance",
    "kernel_distance": "images.kid.kernel_distance",
    "coverage": "images.prdc.coverage",
    "inception_score": "images.inception.inception_score",
    "inception_score_splits": "images.inception.inception_score_splits",
    "modified_inception_score": "images.inception.modified_inception_score",
    "memorisation": "images.memorisation.memorisation",
    "diversity": "images.memorisation.diversity",
    "class_histogram": "images.classes.class_histogram",
    "squared_mmd": "series.mmd.squared_mmd",
    "mmd_test": "series.mmd.mmd_test",
    "autocorrelation_distance": "series.scores.autocorrelation_distance",
    "cross_correlation_distance": "series.scores.cross_correlation_distance",
    "psnr": "/nn.maths.psnr",
    "ssim": "futures.motion.ssim",
    "best_of_k_psnr": "futures.motion.best_of_k_psnr",
    "edge_energy_ratio": "futures.motion.edge_energy_ratio",
    "jaccard": "video.mask_scores.jaccard",
    "boundary_f": "video.mask_scores.boundary_f",
    "interval": "intervals.interval.interval",
}
"""Name -> where it is, below this folder, or with a slash below the package."""


def __getattr__(name: str) -> Any:
    if name not in FACE:
        raise AttributeError(f"simulacra.metrics has no {name}; it has {', '.join(FACE)}")
    module, _, function = FACE[name].rpartition(".")
    above = "simulacra." if module.startswith("/") else f"{__name__}."
    return getattr(import_module(above + module.removeprefix("/")), function)


def __dir__() -> list[str]:
    return sorted([*globals(), *FACE])

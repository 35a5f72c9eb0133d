"""Metrics as functions of tensors: distances, coverage, memorisation, scores of masks, series and
futures, intervals.

    from simulacra import metrics

    eyes = metrics.extractor("mnist_cnn")               # features of pictures, frozen
    a, b = eyes.features(fake), eyes.features(real)     # (N, D)
    metrics.frechet_distance(a, b)

Each is in the folder of what it measures, and imported when it is used; its docstring gives shapes,
units and the source. `metrics.report(fake, real, eyes)` computes all that apply to pictures.
"""

from importlib import import_module
from typing import Any

FACE = {
    "extractor": "metrics.images.extractors.load",
    "report": "metrics.images.report.report",
    "frechet_distance": "metrics.images.frechet.frechet_distance",
    "kernel_distance": "metrics.images.kid.kernel_distance",
    "coverage": "metrics.images.prdc.coverage",
    "inception_score": "metrics.images.inception.inception_score",
    "inception_score_splits": "metrics.images.inception.inception_score_splits",
    "modified_inception_score": "metrics.images.inception.modified_inception_score",
    "memorisation": "metrics.images.memorisation.memorisation",
    "diversity": "metrics.images.memorisation.diversity",
    "class_histogram": "metrics.images.classes.class_histogram",
    "squared_mmd": "metrics.series.mmd.squared_mmd",
    "mmd_test": "metrics.series.mmd.mmd_test",
    "autocorrelation_distance": "metrics.series.scores.autocorrelation_distance",
    "cross_correlation_distance": "metrics.series.scores.cross_correlation_distance",
    "psnr": "nn.maths.psnr",
    "ssim": "metrics.futures.motion.ssim",
    "best_of_k_psnr": "metrics.futures.motion.best_of_k_psnr",
    "edge_energy_ratio": "metrics.futures.motion.edge_energy_ratio",
    "jaccard": "metrics.video.mask_scores.jaccard",
    "boundary_f": "metrics.video.mask_scores.boundary_f",
    "interval": "metrics.intervals.interval.interval",
}
"""Name -> where it is in the package."""


def __getattr__(name: str) -> Any:
    if name not in FACE:
        raise AttributeError(f"simulacra.metrics has no {name}; it has {', '.join(FACE)}")
    module, _, function = FACE[name].rpartition(".")
    return getattr(import_module(f"simulacra.{module}"), function)


def __dir__() -> list[str]:
    return sorted([*globals(), *FACE])

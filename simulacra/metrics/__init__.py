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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # each is imported when it is used; a type checker sees all of them
    from simulacra.metrics.futures.motion import best_of_k_psnr as best_of_k_psnr
    from simulacra.metrics.futures.motion import edge_energy_ratio as edge_energy_ratio
    from simulacra.metrics.futures.motion import ssim as ssim
    from simulacra.metrics.images.classes import class_histogram as class_histogram
    from simulacra.metrics.images.extractors import load
    from simulacra.metrics.images.frechet import frechet_distance as frechet_distance
    from simulacra.metrics.images.inception import inception_score as inception_score
    from simulacra.metrics.images.inception import inception_score_splits as inception_score_splits
    from simulacra.metrics.images.inception import (
        modified_inception_score as modified_inception_score,
    )
    from simulacra.metrics.images.kid import kernel_distance as kernel_distance
    from simulacra.metrics.images.memorisation import diversity as diversity
    from simulacra.metrics.images.memorisation import memorisation as memorisation
    from simulacra.metrics.images.prdc import coverage as coverage
    from simulacra.metrics.images.report import report as report
    from simulacra.metrics.intervals.interval import interval as interval
    from simulacra.metrics.series.mmd import mmd_test as mmd_test
    from simulacra.metrics.series.mmd import squared_mmd as squared_mmd
    from simulacra.metrics.series.scores import (
        autocorrelation_distance as autocorrelation_distance,
    )
    from simulacra.metrics.series.scores import (
        cross_correlation_distance as cross_correlation_distance,
    )
    from simulacra.metrics.video.mask_scores import boundary_f as boundary_f
    from simulacra.metrics.video.mask_scores import jaccard as jaccard
    from simulacra.nn.maths import psnr as psnr

    extractor = load

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

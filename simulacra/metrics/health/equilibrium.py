"""What theory says about the losses of two players: their value where neither can gain, and where D
has won.

Reference: EBGAN, arXiv 1609.03126 (theorem 1); GAN, arXiv 1406.2661; label smoothing, arXiv
1606.03498.
"""

import math
from collections.abc import Mapping
from typing import Any

from scipy.special import xlogy

from simulacra.core.errors import choose


def number(value: object) -> float:
    """The value as a float, nan if it is no number."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def cross_entropy(p: float, label: float) -> float:
    """-label ln p - (1 - label) ln(1 - p), in nats;
    p = label gives the floor of a loss with a smoothed label."""
    return -float(xlogy(label, p) + xlogy(1 - label, 1 - p))


def equilibrium(
    loss: str, *, label: float = 1.0, generator_label: float = 1.0, margin: float | None = None
) -> dict[str, float]:
    """The losses where fakes equal reals and D is optimal; `label` is D's target for reals,
    `generator_label` G's for fakes. Absent: not fixed by theory, or an EBGAN whose rows carry their
    own margin."""
    D = label / 2
    both = (cross_entropy(D, label) + cross_entropy(D, 0)) / 2
    table = {
        "non_saturating": {"loss_D": both, "loss_G": cross_entropy(D, generator_label)},
        "least_squares": {"loss_D": 0.25, "loss_G": 0.125},
        "hinge": {"loss_D": 2.0, "loss_G": 0.0},
        "wgan": {"loss_D": 0.0},
        "relativistic": {"loss_D": math.log(2), "loss_G": math.log(2)},
        "ebgan": {} if margin is None else {"loss_D": margin},
    }
    return table[choose("loss", loss, list(table))]


def d_won(loss: str, *, label: float = 1.0) -> dict[str, float]:
    """The losses that D approaches when it tells all fakes from all reals;
    absent: without bound."""
    losses = "non_saturating", "least_squares", "hinge", "wgan", "relativistic", "ebgan"
    if choose("loss", loss, list(losses)) == "wgan":
        return {}
    return {"loss_D": cross_entropy(label, label) / 2 if loss == "non_saturating" else 0.0}


def distances(row: Mapping[str, Any], equilibrium: Mapping[str, float]) -> dict[str, float]:
    """Each loss of a row minus its equilibrium;
    where the row has a margin, that is loss_D's (arXiv 1609.03126, theorem 1)."""
    values = {
        name: number(row.get(name)) - value for name, value in centre(row, equilibrium).items()
    }
    return {
        f"{name}_from_equilibrium": value for name, value in values.items() if math.isfinite(value)
    }


def centre(row: Mapping[str, Any], equilibrium: Mapping[str, float]) -> dict[str, float]:
    """The equilibria that hold at a row."""
    return {**equilibrium, **({"loss_D": row["margin"]} if "margin" in row else {})}

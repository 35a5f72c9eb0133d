"""Every loss of the papers as a function of tensors, for a loop of one's own.

Adversarial losses take logits (B,) and return (B,); each docstring names the paper and the
equation.
"""

from simulacra.models.ebgan import (
    balance_loss,
    batch_norm_error,
    hinge_loss,
    l1,
    l2,
    pull_away,
    sse,
)
from simulacra.models.foregan.rules import penalty as gradient_penalty
from simulacra.models.foregan.rules import total_variation
from simulacra.models.rgan.rgan_series import loss_D as series_loss_D
from simulacra.models.vae.vae import calibrated, squared_error
from simulacra.models.vae.vae import free_bits as free_bits
from simulacra.models.vae.vaegan import feature_loss
from simulacra.models.world.memory_nets import Mixture
from simulacra.models.world.memory_nets import log_density as mixture_log_density
from simulacra.models.world.world_memory import loss_code as mixture_loss
from simulacra.models.world.world_memory import loss_reward
from simulacra.nn.adversarial import (
    cross_entropy,
    non_saturating_D,
    non_saturating_G,
    relativistic,
    slope_penalty,
)
from simulacra.nn.maths import gaussian_kl

__all__ = [
    "Mixture",
    "balance_loss",
    "batch_norm_error",
    "calibrated",
    "cross_entropy",
    "feature_loss",
    "free_bits",
    "gaussian_kl",
    "gradient_penalty",
    "hinge_loss",
    "l1",
    "l2",
    "loss_reward",
    "mixture_log_density",
    "mixture_loss",
    "non_saturating_D",
    "non_saturating_G",
    "pull_away",
    "relativistic",
    "series_loss_D",
    "slope_penalty",
    "squared_error",
    "sse",
    "total_variation",
]

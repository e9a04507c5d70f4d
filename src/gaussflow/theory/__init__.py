"""What is known of the convergence of Gaussianization: bounds, rates, and exact runs on covariances."""

from gaussflow.theory.bounds import blocks_needed, loss_bound, min_blocks, rate
from gaussflow.theory.recursion import gaussian_loss, gaussian_losses, gaussian_step

__all__ = [
    "blocks_needed",
    "gaussian_loss",
    "gaussian_losses",
    "gaussian_step",
    "loss_bound",
    "min_blocks",
    "rate",
]

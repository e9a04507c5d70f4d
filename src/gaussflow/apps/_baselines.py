"""What a density model has to beat: a Gaussian with full covariance, and a Gaussian mixture chosen by validation."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from gaussflow.apps._optional import need

COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 32)
RIDGES = (1e-3, 1e-2, 1e-1)  # added to the variances: without, a component on few rows gives others next to no density
FOLDS = 3  # one part alone may hold none of the rare rows that punish a narrow component


def gaussian(x: Tensor, test: Tensor) -> Tensor:
    """Log-density (n,) of test rows (n, D) under the Gaussian with mean and covariance of the rows x (N, D)."""
    law = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    density: Tensor = law.log_prob(test)
    return density


def mixture(x: Tensor, test: Tensor, seed: int = 0) -> tuple[Tensor, str]:
    """Log-density (n,) of test rows under the full-covariance mixture that folds of x (N, D) prefer, and its name."""
    rows, fold = x.numpy(), torch.arange(len(x)).numpy() % FOLDS
    best, chosen = -float("inf"), (1, RIDGES[-1])
    for ridge in RIDGES:
        reached = -float("inf")
        for count in COMPONENTS:
            parts = [(rows[fold != i], rows[fold == i]) for i in range(FOLDS)]
            score = sum(float(_fit(train, count, ridge, seed).score(held_out)) for train, held_out in parts) / FOLDS
            if score <= reached:
                break
            reached = score
            if score > best:
                best, chosen = score, (count, ridge)
    density = _fit(rows, *chosen, seed).score_samples(test.numpy())
    return torch.from_numpy(density), f"mixture of {chosen[0]} Gaussians"


def _fit(rows: Any, count: int, ridge: float, seed: int) -> Any:
    model = need("sklearn.mixture", "the Gaussian mixture").GaussianMixture(count, reg_covar=ridge, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mixture that has not converged is judged by its folds like any other
        return model.fit(rows)

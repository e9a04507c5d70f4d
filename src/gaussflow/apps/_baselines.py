"""What a density model has to beat: a Gaussian with full covariance, and a Gaussian mixture chosen by validation."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from gaussflow.apps._optional import need

# Numbers of components tried for each form of the covariance: the richer the form, the fewer rows can feed it.
MIXTURES = {"full": (1, 2, 3, 5, 8), "tied": (5, 10, 20, 40), "diag": (5, 10, 20, 40, 80)}


def gaussian(train: Tensor, test: Tensor) -> Tensor:
    """Log-density (n,) of test rows (n, D) under the Gaussian with mean and covariance of the training rows (N, D)."""
    law = torch.distributions.MultivariateNormal(train.mean(0), torch.cov(train.T))
    density: Tensor = law.log_prob(test)
    return density


def mixture(train: Tensor, valid: Tensor, test: Tensor, seed: int = 0) -> tuple[Tensor, str]:
    """Log-density (n,) of test rows under the Gaussian mixture that validation prefers, and its name."""
    models = need("sklearn.mixture", "the Gaussian mixture")
    fitted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a mixture that has not converged is judged by validation like any other
        for form, counts in MIXTURES.items():
            for count in counts:
                model = models.GaussianMixture(count, covariance_type=form, reg_covar=1e-4, random_state=seed)
                model.fit(train.numpy())
                fitted.append((model.score(valid.numpy()), f"mixture of {count} ({form})", model))
    _, name, best = max(fitted, key=lambda entry: entry[0])
    return torch.from_numpy(best.score_samples(test.numpy())), name

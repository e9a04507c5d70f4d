"""What is measured: a method fits the rows of a `Table` and gives a log-density. Ours and the plain baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.data import Table
from benchmarks.synthetic import LOG_2PI, Array

MANY_ROWS = 5_000


@dataclass(frozen=True)
class Fitted:
    """A fitted density: ``log_prob(x)`` of rows (n, D) gives (n,); ``note`` says what was chosen on the way."""

    log_prob: Callable[[Array], Array]
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One fit to do: the table, the seed, and the CPU seconds that a method without an end of its own may take."""

    table: Table
    seed: int = 0
    budget: float = 45.0
    quick: bool = False


Method = Callable[[Task], Fitted]


def _normal(mean: Array, covariance: Array) -> Callable[[Array], Array]:
    factor = np.linalg.cholesky(covariance)
    constant = len(mean) / 2 * LOG_2PI + np.log(np.diag(factor)).sum()

    def log_prob(x: Array) -> Array:
        return -0.5 * (np.linalg.solve(factor, (x - mean).T) ** 2).sum(0) - constant

    return log_prob


def gaussian(task: Task) -> Fitted:
    """The Gaussian of maximum likelihood on the training rows, full covariance."""
    x = task.table.train
    return Fitted(_normal(x.mean(0), np.cov(x.T, bias=True)))


def gaussian_all(task: Task) -> Fitted:
    """The same on training and validation rows together, since it needs none to validate."""
    x = task.table.fitted
    return Fitted(_normal(x.mean(0), np.cov(x.T, bias=True)))


def mixture(task: Task) -> Fitted:
    """A Gaussian mixture: components, shape of the covariances and ridge chosen by the validation rows."""
    table = task.table
    return _best_mixture(task, table.train, lambda trial: _score(trial, table.train, table.valid))


def mixture_cv(task: Task) -> Fitted:
    """The same chosen by five folds of training and validation rows together, then fitted to all of them.

    A few hundred validation rows may hold none of the rare rows that punish a narrow component; five folds see more.
    """
    x = task.table.fitted
    folds = np.arange(len(x)) % 5

    def crossed(trial: Any) -> float:
        return float(np.mean([_score(trial, x[folds != i], x[folds == i]) for i in range(5)]))

    return _best_mixture(task, x, crossed)


def _best_mixture(task: Task, rows: Array, score: Callable[[Any], float]) -> Fitted:
    best, model = -math.inf, None
    ridges = (1e-6, 1e-3, 1e-2, 1e-1, 0.3) if len(rows) < MANY_ROWS else (1e-6, 1e-2)  # data overrule a ridge there
    for shape in ("full", "diag"):
        for ridge in ridges:
            for value, trial in _path(task, shape, ridge, len(rows), score):
                if value > best:
                    best, model = value, trial
    if model is None:
        raise RuntimeError("no mixture could be fitted")
    _score(model, rows, rows)
    note = {"components": model.n_components, "covariance": model.covariance_type, "ridge": model.reg_covar}
    return Fitted(model.score_samples, note)


def _path(
    task: Task, shape: str, ridge: float, rows: int, score: Callable[[Any], float]
) -> Iterator[tuple[float, Any]]:
    """Mixtures of more and more components and their scores, until two in turn are no better than the best before."""
    from sklearn.mixture import GaussianMixture

    best, fails = -math.inf, 0
    for k in (1, 2, 3, 5, 8, 12, 20, 32, 50, 80):
        if fails == 2 or k > rows // 2:
            return
        trial = GaussianMixture(k, covariance_type=shape, reg_covar=ridge, random_state=task.seed, max_iter=200)
        value = score(trial)
        best, fails = max(best, value), 0 if value > best else fails + 1
        yield value, trial


def _score(model: Any, rows: Array, held_out: Array) -> float:
    """The mean log-density of rows held out after a fit; minus infinity where the fit breaks down."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(model.fit(rows).score(held_out))
        except ValueError:  # a covariance that is not positive definite
            return -math.inf


def tensor_density(log_prob: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> Callable[[Array], Array]:
    """A log-density on tensors as one on arrays, in chunks of 4096 rows and without gradients."""

    def on_arrays(x: Array) -> Array:
        with torch.no_grad():
            parts = [log_prob(chunk) for chunk in torch.as_tensor(x, dtype=dtype).split(4096)]
        return torch.cat(parts).double().numpy()

    return on_arrays


BASELINES: dict[str, Method] = {
    "gaussian": gaussian,
    "gaussian_all": gaussian_all,
    "mixture": mixture,
    "mixture_cv": mixture_cv,
}

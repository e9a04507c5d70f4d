"""Anomaly detection: what a model of normal rows finds improbable or cannot give back."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from gaussflow._check import check_finite, check_int, check_last
from gaussflow.apps._optional import need
from gaussflow.apps._roc import AnomalyReport, roc
from gaussflow.rows import Data, Rows, as_rows
from gaussflow.training import train

__all__ = ["AnomalyDetector", "AnomalyReport", "roc"]

FitModel: TypeAlias = Callable[[Rows, Rows], nn.Module]
ArrayLike: TypeAlias = Tensor | np.ndarray
BATCH = 1024  # rows that are scored at once


class AnomalyDetector:
    r"""Tells rows unlike those it was fitted to: their score lies above a threshold.

    The score is minus what the model is trained to make large on normal rows:

    ==========================  ====================================================
    `Autoencoder`               the squared error :math:`\|x - D(E(x))\|^2`
    `VAE`                       minus the bound, in nats
    `Flow`, any `Density`       minus the log-density :math:`-\log p(x)`, in nats
    any module                  ``-model(x, None)``
    ==========================  ====================================================

    Rows held out of the fit set the threshold: mean plus three standard deviations of their scores, or a quantile.

    Parameters
    ----------
    model
        A module, which is copied and trained by `train` with its defaults; or a function ``model(rows, valid)`` of
        two `Rows` that returns a fitted module: with settings of your own, with `rbig`, or one fitted before.
    deviations
        Standard deviations above the mean at which the threshold lies.
    quantile
        A share of the held-out rows that is to lie below the threshold, instead; None for ``deviations``.
    held_out
        Share of the rows that is held out: the model stops on them, and their scores set the threshold.
    seed
        Decides the rows held out, the training, and the noise of scores that have some (those of a `VAE`).

    Attributes
    ----------
    model_
        The fitted module.
    threshold
        Scores above it are anomalous.
    n_features_in_
        Number of coordinates D.

    Raises
    ------
    ValueError
        Before `fit`; for NaN, infinities and rows of another width; for a model whose scores are no numbers.

    Notes
    -----
    The conventions are those of scikit-learn: nothing is checked before `fit`, `get_params` and `set_params` work, so
    that ``sklearn.base.clone`` and pipelines do, and arrays are taken as well as tensors.
    A density may be high far from all normal rows (Nalisnick et al., 2019): look at the report before relying on it.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import rbig
    >>> from gaussflow.apps.anomaly import AnomalyDetector
    >>> x = torch.randn(500, 3)
    >>> detector = AnomalyDetector(lambda rows, valid: rbig(rows, valid=valid, progress=False)[0]).fit(x)
    >>> detector.score(x).shape, detector.predict(x + 50).unique()
    (torch.Size([500]), tensor([-1]))
    >>> report = detector.report(torch.randn(200, 3), torch.randn(100, 3) + 5)
    >>> bool(report.type_one.value < 0.1), bool(report.area.value > 0.9)
    (True, True)
    """

    def __init__(
        self,
        model: nn.Module | FitModel,
        *,
        deviations: float = 3.0,
        quantile: float | None = None,
        held_out: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.model, self.deviations, self.quantile = model, deviations, quantile
        self.held_out, self.seed = held_out, seed

    def fit(self, x: Data | np.ndarray, y: object = None) -> Self:
        """Fit the model to normal rows and set the threshold on those held out.

        Parameters
        ----------
        x
            Normal rows: a tensor or an array (N, D), a re-iterable of chunks, or a `Rows`.
        y
            Not used; pipelines pass it.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For what `as_rows` refuses, for fewer than two rows held out, and for parameters out of range.
        """
        self._check_parameters()
        rows, valid = as_rows(_tensor(x, self.model) if isinstance(x, ArrayLike) else x).split(self.held_out, self.seed)
        if valid.n < 2:
            raise ValueError(f"AnomalyDetector wants at least two rows held out; got {valid.n}. Pass more rows.")
        model = self._trained(rows, valid) if isinstance(self.model, nn.Module) else self.model(rows, valid)
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"AnomalyDetector wants a function that returns a module; got {type(model).__name__}. "
                "rbig and grow return (flow, history): return the flow."
            )
        self.model_, self.n_features_in_ = model.eval(), rows.dim
        scores = torch.cat([self._scores(chunk) for chunk, _ in valid.chunks()])
        self._threshold = self._limit(scores.double())
        return self

    @property
    def threshold(self) -> float:
        """Scores above it are anomalous."""
        self._check_fitted("threshold")
        return self._threshold

    def score(self, x: ArrayLike, y: object = None) -> Tensor:
        """How unlike the normal rows each row is.

        Parameters
        ----------
        x
            Rows (n, D), a tensor or an array of finite numbers.
        y
            Not used; pipelines pass it.

        Returns
        -------
        scores
            Shape (n,), higher is stranger; the same at every call.
        """
        self._check_fitted("score")
        x = check_last("AnomalyDetector", _tensor(x, self.model_), self.n_features_in_)
        if x.dim() != 2:
            raise ValueError(f"AnomalyDetector wants rows (n, {self.n_features_in_}); got {tuple(x.shape)}.")
        check_finite("AnomalyDetector", x)
        return self._scores(x)

    def decision_function(self, x: ArrayLike) -> Tensor:
        """The threshold less the score of each row (n,): negative for anomalies."""
        return self.threshold - self.score(x)

    def predict(self, x: ArrayLike) -> Tensor:
        """1 for normal rows and -1 for anomalies, integers (n,)."""
        return torch.where(self.score(x) > self.threshold, -1, 1)

    def report(self, normal: ArrayLike, anomalous: ArrayLike) -> AnomalyReport:
        """How well the detector does on rows known to be normal (n, D) and anomalous (m, D), none seen by the fit."""
        return AnomalyReport.of_scores(self.score(normal), self.score(anomalous), self.threshold)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; ``deep`` is for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in ("model", "deviations", "quantile", "held_out", "seed")}

    def set_params(self, **parameters: Any) -> Self:
        """Change some of the constructor's arguments, and return self."""
        if unknown := [name for name in parameters if name not in self.get_params()]:
            raise ValueError(f"AnomalyDetector has no parameter {unknown[0]!r}; it has {', '.join(self.get_params())}.")
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks an estimator of a pipeline."""
        tags = need("sklearn.base", "a pipeline").BaseEstimator().__sklearn_tags__()
        tags.estimator_type = "outlier_detector"
        return tags

    def _trained(self, rows: Rows, valid: Rows) -> nn.Module:
        model = copy.deepcopy(self.model)
        train(model, rows, valid=valid, seed=self.seed, progress=False)  # type: ignore[arg-type]
        return model  # type: ignore[return-value]

    @torch.no_grad()
    def _scores(self, x: Tensor) -> Tensor:
        """Scores (n,) of checked rows, with the same noise at every call."""
        device = next((p.device for p in self.model_.parameters()), x.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            scores = torch.cat([-self.model_(part.to(device), None) for part in x.split(BATCH)]).to(x.device)
        if scores.shape != x.shape[:1]:
            raise ValueError(
                f"AnomalyDetector wants a model that gives one number a row, ({len(x)},); got {tuple(scores.shape)}."
            )
        if bool(scores.isnan().any()):
            raise ValueError(f"AnomalyDetector got NaN from {type(self.model_).__name__} on finite rows.")
        return scores

    def _limit(self, scores: Tensor) -> float:
        """The threshold that scores of held-out rows set."""
        if self.quantile is None:
            limit = scores.mean() + self.deviations * scores.std()
        else:
            limit = scores.quantile(self.quantile)
        if not math.isfinite(limit):
            raise ValueError(
                "AnomalyDetector wants finite scores of held-out rows; got infinite ones. Pass quantile=..."
            )
        return float(limit)

    def _check_parameters(self) -> None:
        check_int("AnomalyDetector", "seed", self.seed, 0)
        if not callable(self.model):
            raise TypeError(f"AnomalyDetector wants a module or a function; got {type(self.model).__name__}.")
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise ValueError(f"AnomalyDetector wants quantile between 0 and 1, or None; got {self.quantile}.")
        if not math.isfinite(self.deviations):
            raise ValueError(f"AnomalyDetector wants a finite number of deviations; got {self.deviations}.")

    def _check_fitted(self, what: str) -> None:
        if not hasattr(self, "_threshold"):
            raise ValueError(f"AnomalyDetector has no {what} before it is fitted. Call fit(x) first.")


def _tensor(x: ArrayLike, model: object) -> Tensor:
    """Rows as a tensor, in the dtype of the numbers that a module holds; integers are left for the door to refuse."""
    x = torch.as_tensor(x)
    held = next((p for p in model.parameters() if p.is_floating_point()), x) if isinstance(model, nn.Module) else x
    return x.to(held.dtype) if x.is_floating_point() else x

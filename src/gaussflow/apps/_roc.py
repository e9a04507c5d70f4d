"""How well scores tell two kinds of rows apart: errors at a threshold, the ROC curve and its area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from gaussflow.losses import Estimate


@dataclass(frozen=True)
class AnomalyReport:
    """How well scores tell anomalous rows from normal ones.

    Attributes
    ----------
    threshold
        Scores above it are called anomalous.
    type_one
        Share of the normal rows that is called anomalous, an `Estimate` with its standard error.
    type_two
        Share of the anomalous rows that is called normal.
    area
        Area under the ROC curve: the chance that an anomalous row scores higher than a normal one, ties counting half.
    false_positive, true_positive
        The ROC curve: shares of normal and of anomalous rows at or above each of the scores that occur, two rising
        tensors (K,) from 0 to 1.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.anomaly import AnomalyReport
    >>> print(AnomalyReport.of_scores(torch.arange(10.0), torch.arange(10.0) + 6, threshold=8.5))
    threshold 8.5: type I error 10.0 ± 11.8 %, type II error 30.0 ± 14.9 %, ROC area 0.9200 ± 0.0570
    """

    threshold: float
    type_one: Estimate
    type_two: Estimate
    area: Estimate
    false_positive: Tensor
    true_positive: Tensor

    @classmethod
    def of_scores(cls, normal: Tensor, anomalous: Tensor, threshold: float) -> Self:
        """The report on scores of normal rows (n,) and of anomalous ones (m,), at least two of each.

        Raises
        ------
        ValueError
            For fewer scores, and for NaN.
        """
        for name, scores in (("normal", normal), ("anomalous", anomalous)):
            if scores.dim() != 1 or len(scores) < 2 or bool(scores.isnan().any()):
                raise ValueError(f"AnomalyReport wants two or more {name} scores (n,), none NaN; got {scores}.")
        normal, anomalous = normal.detach().double().cpu(), anomalous.detach().double().cpu()
        alarms, misses = (normal > threshold).double(), (anomalous <= threshold).double()
        curve = roc(normal, anomalous)
        return cls(threshold, _share(alarms), _share(misses), _area(normal, anomalous), *curve)

    def __str__(self) -> str:
        one, two = (f"{100 * e.value:.1f} ± {100 * e.error:.1f} %" for e in (self.type_one, self.type_two))
        area = f"{self.area.value:.4f} ± {self.area.error:.4f}"
        return f"threshold {self.threshold:.4g}: type I error {one}, type II error {two}, ROC area {area}"


def roc(normal: Tensor, anomalous: Tensor) -> tuple[Tensor, Tensor]:
    """The ROC curve of scores: shares of normal (n,) and anomalous rows (m,) at or above each score that occurs.

    Parameters
    ----------
    normal, anomalous
        Scores, higher for what is to be called anomalous.

    Returns
    -------
    false_positive, true_positive
        Two rising tensors (K + 1,) from 0 to 1, for K different scores.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.anomaly import roc
    >>> false_positive, true_positive = roc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    >>> false_positive.tolist(), true_positive.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    cuts = torch.cat([normal, anomalous]).unique().flip(0)
    shares = [1 - torch.searchsorted(s.sort().values, cuts).double() / len(s) for s in (normal, anomalous)]
    false, true = (torch.cat([share.new_zeros(1), share]) for share in shares)
    return false, true


def _area(normal: Tensor, anomalous: Tensor) -> Estimate:
    """The area and its standard error from the placement of each score among those of the other kind (DeLong 1988)."""
    placed = []
    for scores, others in ((anomalous, normal), (normal, anomalous)):
        others = others.sort().values
        below, not_above = (torch.searchsorted(others, scores, right=right) for right in (False, True))
        placed.append((below + not_above).double() / (2 * len(others)))
    return Estimate(placed[0].mean(), sum(p.var() / len(p) for p in placed) ** 0.5)  # type: ignore[arg-type]


def _share(marks: Tensor) -> Estimate:
    """The share of marks, with the error of one more mark of each kind: none of n is no certainty."""
    guess = (marks.sum() + 1) / (len(marks) + 2)
    return Estimate(marks.mean(), (guess * (1 - guess) / len(marks)).sqrt())

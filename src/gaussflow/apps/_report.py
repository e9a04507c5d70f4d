"""The report of a judgement: numbers, and a table of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from typing_extensions import override


@dataclass(frozen=True)
class Scores:
    """The scores of one set of images against held-out real ones.

    Attributes
    ----------
    count
        Number of images.
    judge_accuracy, class_accuracy
        The share that the judge takes for what the labels say, over all and for each class.
    classifier_score
        Accuracy on held-out real images of a classifier trained on the set.
    precision, recall, density, coverage
        Those of `neighbourhood_scores`, in the judge's features.
    frechet
        The Fréchet distance in the judge's features.
    diversity
        That of each class beside the held-out images, in the judge's features.
    nearer, copies, near_copies
        Those of `memorisation`, in pixels; None for the set that was trained on.

    Examples
    --------
    >>> from gaussflow.apps.judge import Scores
    >>> Scores(9, 0.75, (1.0, 0.5), 0.9, 1.0, 1.0, 1.0, 0.9, 2.0, (1.0, 0.8)).weakest
    0.5
    """

    count: int
    judge_accuracy: float
    class_accuracy: tuple[float, ...]
    classifier_score: float
    precision: float
    recall: float
    density: float
    coverage: float
    frechet: float
    diversity: tuple[float, ...]
    nearer: float | None = None
    copies: float | None = None
    near_copies: float | None = None

    @property
    def weakest(self) -> float:
        """The lowest of the accuracies of the classes, those without images left out."""
        return min((a for a in self.class_accuracy if not math.isnan(a)), default=math.nan)

    @property
    def mean_diversity(self) -> float:
        """The mean over the classes, those with too few images left out."""
        ratios = [ratio for ratio in self.diversity if not math.isnan(ratio)]
        return sum(ratios) / len(ratios) if ratios else math.nan


@dataclass(frozen=True)
class JudgeReport:
    """Scores of a generated set beside those of the real images that its model was trained on.

    Printed it is a table with a line for each score.

    Attributes
    ----------
    generated, real
        The `Scores` of both.
    judged_held_out
        The judge's own accuracy on the held-out images.
    classes
        Names of the classes.

    Examples
    --------
    >>> from gaussflow.apps.judge import JudgeReport, Scores
    >>> scores = Scores(9, 0.75, (1.0, 0.5), 0.9, 1.0, 1.0, 1.0, 0.9, 2.0, (1.0, 0.8))
    >>> print(JudgeReport(scores, scores, 0.8, ("a", "b")))
                                                   generated   real    ideal
    images                                                 9      9
    taken for its class by the judge                   0.750  0.750    0.800
    ...
    """

    generated: Scores
    real: Scores
    judged_held_out: float
    classes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The numbers, nested as the attributes are."""
        return asdict(self)

    @override
    def __str__(self) -> str:
        both = (self.generated, self.real)
        lines = [["", "generated", "real", "ideal"], ["images", *(str(s.count) for s in both), ""]]
        judged = [_figure(s.judge_accuracy) for s in both]
        lines.append(["taken for its class by the judge", *judged, _figure(self.judged_held_out)])
        for k, name in enumerate(self.classes):
            lines.append([f"  {name}", *(_figure(s.class_accuracy[k]) for s in both), ""])
        for what, name, ideal in LINES:
            lines.append([what, *(_figure(getattr(s, name)) for s in both), ideal])
        widths = [max(len(line[i]) for line in lines) for i in range(4)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in (1, 2, 3))]).rstrip()
            for line in lines
        )


LINES = (
    ("accuracy on held-out images, trained on these", "classifier_score", "as real"),
    ("precision", "precision", "as real"),
    ("recall", "recall", "as real"),
    ("density", "density", "1"),
    ("coverage", "coverage", "as real"),
    ("Fréchet distance", "frechet", "0"),
    ("diversity within a class", "mean_diversity", "1"),
    ("nearer to a training than to a held-out image", "nearer", "0.5"),
    ("copies of training images", "copies", "0"),
    ("near copies", "near_copies", "0.01"),
)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

"""Growing and training: what fits a model to rows."""

from gaussflow.training._history import History
from gaussflow.training.augment import AffineJitter
from gaussflow.training.grow import grow
from gaussflow.training.train import train

__all__ = ["AffineJitter", "History", "grow", "train"]

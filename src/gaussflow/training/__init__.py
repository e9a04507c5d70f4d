"""Growing and training: what fits a model to rows."""

from gaussflow.training.history import History

__all__ = ["History"]

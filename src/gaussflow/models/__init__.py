"""Models: modules with a log-density or a bound on it, and samples."""

from gaussflow.models.flow import Flow

__all__ = ["Flow"]

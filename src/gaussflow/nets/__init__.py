"""Ordinary networks: conditioners, encoders and decoders."""

from gaussflow.nets.mlp import MLP

__all__ = ["MLP"]

"""Invertible modules: data to latent and back, each with its log-determinant."""

from gaussflow.transforms.base import Chain, Inverse, Transform

__all__ = ["Chain", "Inverse", "Transform"]

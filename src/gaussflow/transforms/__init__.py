"""Invertible modules: data to latent and back, each with its log-determinant."""

from gaussflow.transforms.base import Chain, Inverse, Transform
from gaussflow.transforms.coupling import AffineCoupling

__all__ = [
    "AffineCoupling",
    "Chain",
    "Inverse",
    "Transform",
]

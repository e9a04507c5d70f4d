"""Losses: scalar objectives, and what they consist of."""

from gaussflow.losses.kl import DiagonalGaussian, Divergence, FullGaussian, gaussian_js, gaussian_kl

__all__ = ["DiagonalGaussian", "Divergence", "FullGaussian", "gaussian_js", "gaussian_kl"]

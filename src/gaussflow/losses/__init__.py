"""Losses: scalar objectives, and what they consist of."""

from gaussflow.losses._estimate import Estimate
from gaussflow.losses.decomposition import (
    Decomposition,
    FewRowsWarning,
    decompose_loss,
    negentropy,
    total_correlation,
)
from gaussflow.losses.kl import DiagonalGaussian, FullGaussian, gaussian_js, gaussian_kl
from gaussflow.losses.ssim import MSSSIMLoss, ms_ssim, ssim

__all__ = [
    "Decomposition",
    "DiagonalGaussian",
    "Estimate",
    "FewRowsWarning",
    "FullGaussian",
    "MSSSIMLoss",
    "decompose_loss",
    "gaussian_js",
    "gaussian_kl",
    "ms_ssim",
    "negentropy",
    "ssim",
    "total_correlation",
]

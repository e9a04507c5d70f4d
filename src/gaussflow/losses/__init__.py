"""Losses: scalar objectives, and what they consist of."""

from gaussflow.losses._estimate import Estimate
from gaussflow.losses.decomposition import Decomposition, decompose_loss
from gaussflow.losses.kl import DiagonalGaussian, FullGaussian, gaussian_js, gaussian_kl
from gaussflow.losses.ssim import MSSSIMLoss, ms_ssim, ssim

__all__ = [
    "Decomposition",
    "DiagonalGaussian",
    "Estimate",
    "FullGaussian",
    "MSSSIMLoss",
    "decompose_loss",
    "gaussian_js",
    "gaussian_kl",
    "ms_ssim",
    "ssim",
]

"""Models: modules with a log-density or a bound on it, and samples."""

from gaussflow.models._variational import Bound
from gaussflow.models.autoencoder import Autoencoder
from gaussflow.models.base import Density, Likelihood
from gaussflow.models.dequantized import Dequantized
from gaussflow.models.diagnostics import PosteriorCollapseWarning, active_units, aggregate_posterior
from gaussflow.models.energies import MSSSIMEnergy
from gaussflow.models.flow import Flow
from gaussflow.models.kernel import KernelDensity
from gaussflow.models.likelihoods import Bernoulli, ContinuousBernoulli, DiscretisedLogistic, Gaussian
from gaussflow.models.mixture import ClassMixture
from gaussflow.models.noise import PixelNoise
from gaussflow.models.schedules import FreeBits, KLAnnealing
from gaussflow.models.vae import VAE, ConditionalVAE, one_hot

__all__ = [
    "VAE",
    "Autoencoder",
    "Bernoulli",
    "Bound",
    "ClassMixture",
    "ConditionalVAE",
    "ContinuousBernoulli",
    "Density",
    "Dequantized",
    "DiscretisedLogistic",
    "Flow",
    "FreeBits",
    "Gaussian",
    "KLAnnealing",
    "KernelDensity",
    "Likelihood",
    "MSSSIMEnergy",
    "PixelNoise",
    "PosteriorCollapseWarning",
    "active_units",
    "aggregate_posterior",
    "one_hot",
]

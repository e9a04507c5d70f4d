"""Invertible modules: data to latent and back, each with its log-determinant."""

from gaussflow.ops.mixture import logistic_kernel, normal_kernel
from gaussflow.transforms.affine import Standardize, Whiten
from gaussflow.transforms.axes import haar, ica, independent_subspaces, pca
from gaussflow.transforms.base import Chain, Inverse, Transform
from gaussflow.transforms.confirmed import confirmed
from gaussflow.transforms.coupling import AffineCoupling
from gaussflow.transforms.given import Given
from gaussflow.transforms.haar_step import HaarStep
from gaussflow.transforms.hadamard import HadamardRotation
from gaussflow.transforms.householder import HouseholderRotation
from gaussflow.transforms.marginal_spline import MarginalSpline
from gaussflow.transforms.marginal_table import MarginalTable
from gaussflow.transforms.mixture_cdf import MixtureCDF
from gaussflow.transforms.mixture_flow import MixtureFlow
from gaussflow.transforms.mixture_transport import MixtureTransport
from gaussflow.transforms.permutation import Permutation
from gaussflow.transforms.pursuit import projection_pursuit, sliced_wasserstein
from gaussflow.transforms.radial_spline import RadialSpline
from gaussflow.transforms.rotation import Rotation
from gaussflow.transforms.spline_coupling import SplineCoupling

__all__ = [
    "AffineCoupling",
    "Chain",
    "Given",
    "HaarStep",
    "HadamardRotation",
    "HouseholderRotation",
    "Inverse",
    "MarginalSpline",
    "MarginalTable",
    "MixtureCDF",
    "MixtureFlow",
    "MixtureTransport",
    "Permutation",
    "RadialSpline",
    "Rotation",
    "SplineCoupling",
    "Standardize",
    "Transform",
    "Whiten",
    "confirmed",
    "haar",
    "ica",
    "independent_subspaces",
    "logistic_kernel",
    "normal_kernel",
    "pca",
    "projection_pursuit",
    "sliced_wasserstein",
]

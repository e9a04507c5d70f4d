"""Pure functions on tensors, batched, with gradients: what transforms are made of."""

from gaussflow.ops._root import polished_root
from gaussflow.ops._spline import rq_spline, rq_spline_inverse
from gaussflow.ops.bounds import soft_bound, squash
from gaussflow.ops.hadamard import walsh_hadamard
from gaussflow.ops.mixture import Mixture, mixture_to_normal, normal_to_mixture
from gaussflow.ops.normal import log_normal_cdf, normal_quantile
from gaussflow.ops.orthogonal import cayley, eigenbasis, haar, householder, orthonormalise

__all__ = [
    "Mixture",
    "cayley",
    "eigenbasis",
    "haar",
    "householder",
    "log_normal_cdf",
    "mixture_to_normal",
    "normal_quantile",
    "normal_to_mixture",
    "orthonormalise",
    "polished_root",
    "rq_spline",
    "rq_spline_inverse",
    "soft_bound",
    "squash",
    "walsh_hadamard",
]

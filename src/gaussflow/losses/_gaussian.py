"""Gaussian laws as plain values: a mean, and log-variances or a Cholesky factor."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gaussflow._check import check_dtype, check_int, check_last, check_tensor

LOG_2PI = math.log(2 * math.pi)


class DiagonalGaussian(NamedTuple):
    r"""The Gaussian law with independent coordinates, :math:`N(\mu, \operatorname{diag} \sigma^2)`.

    A plain value: nothing is checked or copied until it is used, and it unpacks as a tuple.

    Parameters
    ----------
    mean
        The mean :math:`\mu`, shape (..., D).
    log_variance
        The logarithm of the variances :math:`\log \sigma^2`, shape (..., D), of any sign; the standard deviation is
        :math:`\exp(\tfrac12 \log \sigma^2)`.

    Notes
    -----
    Source: Kingma & Welling (2013), whose encoders give the logarithm of the variance.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import DiagonalGaussian
    >>> law = DiagonalGaussian(torch.zeros(5, 3), torch.zeros(5, 3))
    >>> z = law.rsample()
    >>> z.shape, law.log_prob(z).shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    mean: Tensor
    log_variance: Tensor

    def rsample(self, shape: int | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        r"""Samples :math:`\mu + \sigma \epsilon` with gradients to mean and log-variance.

        Parameters
        ----------
        shape
            Samples wanted of each law of the batch, an integer or a tuple of integers.
        generator
            Source of randomness on the device of the mean, or None for torch's own.

        Returns
        -------
        z
            Shape ``shape`` + (..., D).
        """
        return self.mean + (0.5 * self.log_variance).exp() * _noise(self, shape, generator)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density (...) in nats of points (..., D), broadcast against the batch of laws."""
        return _log_prob(self, x)

    def whiten(self, columns: Tensor) -> Tensor:
        r"""Columns (..., D, n) of differences in units of the law: :math:`y / \sigma`."""
        most = 0.999 * math.log(torch.finfo(self.log_variance.dtype).max)
        root = (-0.25 * self.log_variance).clamp(max=most).exp()[..., None]
        return columns * root * root  # in two steps, so that no factor overflows and 0 / σ is 0

    @property
    def cholesky(self) -> Tensor:
        r"""The Cholesky factor (..., D, D), :math:`\operatorname{diag} \sigma`."""
        return torch.diag_embed((0.5 * self.log_variance).exp())


class FullGaussian(NamedTuple):
    r"""The Gaussian law :math:`N(\mu, L L^\top)` with the Cholesky factor L of its covariance.

    A plain value: nothing is checked or copied until it is used, and it unpacks as a tuple.

    Parameters
    ----------
    mean
        The mean :math:`\mu`, shape (..., D).
    cholesky
        The lower triangular factor L, shape (..., D, D), with a positive diagonal; what stands above the diagonal is
        ignored.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import FullGaussian
    >>> law = FullGaussian.from_covariance(torch.zeros(3), torch.eye(3) + 0.5)
    >>> z = law.rsample(7)
    >>> z.shape, law.log_prob(z).shape
    (torch.Size([7, 3]), torch.Size([7]))
    """

    mean: Tensor
    cholesky: Tensor

    @classmethod
    def from_covariance(cls, mean: Tensor, covariance: Tensor) -> FullGaussian:
        """The law with this mean (..., D) and covariance (..., D, D).

        Raises
        ------
        TypeError, ValueError
            For a covariance that is not floating, square, symmetric to rounding, or positive definite.
        """
        covariance = _check_square("FullGaussian", check_tensor("FullGaussian", covariance, "covariance"), "covariance")
        size = covariance.abs().amax((-2, -1), keepdim=True) if covariance.numel() else covariance
        skew = (covariance - covariance.mT).abs() > torch.finfo(covariance.dtype).eps ** 0.5 * size
        if bool(skew.any()):
            raise ValueError(
                "FullGaussian wants a symmetric covariance; got one that differs from its transpose. "
                "Pass (c + c.mT) / 2, or the factor itself if it is one: FullGaussian(mean, cholesky)."
            )
        factor, info = torch.linalg.cholesky_ex(covariance)
        bad = (info != 0) | ~factor.isfinite().flatten(-2).all(-1)
        if bool(bad.any()):
            raise ValueError(
                "FullGaussian wants a positive definite covariance of finite numbers; "
                f"got {int(bad.sum())} that are not. Add a small multiple of the identity."
            )
        law = cls(mean, factor)
        check_law("FullGaussian", law)
        return law

    def rsample(self, shape: int | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        r"""Samples :math:`\mu + L \epsilon` with gradients; see `DiagonalGaussian.rsample`.

        Parameters
        ----------
        shape
            Samples wanted of each law of the batch, an integer or a tuple of integers.
        generator
            Source of randomness on the device of the mean, or None for torch's own.

        Returns
        -------
        z
            Shape ``shape`` + (..., D).
        """
        return self.mean + (self.cholesky.tril() @ _noise(self, shape, generator)[..., None])[..., 0]

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density (...) in nats of points (..., D), broadcast against the batch of laws."""
        return _log_prob(self, x)

    def whiten(self, columns: Tensor) -> Tensor:
        r"""Columns (..., D, n) of differences in units of the law: :math:`L^{-1} y`, by back-substitution."""
        solved: Tensor = torch.linalg.solve_triangular(self.cholesky, columns, upper=False)
        return solved

    @property
    def log_variance(self) -> Tensor:
        r"""Logarithm of the conditional variances (..., D), :math:`2 \log L_{ii}`; their sum is :math:`\log\det`."""
        return 2 * self.cholesky.diagonal(dim1=-2, dim2=-1).log()


Gaussian = DiagonalGaussian | FullGaussian


def check_law(owner: str, law: object, name: str = "law") -> Gaussian:
    """Return ``law`` if it is a Gaussian whose tensors fit one another; raise TypeError or ValueError otherwise."""
    if not isinstance(law, DiagonalGaussian | FullGaussian):
        raise TypeError(f"{owner} wants a DiagonalGaussian or FullGaussian; got {name} of {type(law).__name__}.")
    mean, spread = check_tensor(owner, law.mean, f"{name}.mean"), law[1]
    if mean.dim() == 0:
        raise ValueError(f"{owner} wants {name}.mean of shape (..., D); got a single number. Use mean[None].")
    if isinstance(law, FullGaussian):
        _check_square(owner, check_tensor(owner, spread, f"{name}.cholesky"), f"{name}.cholesky", mean.shape[-1])
        check_dtype(owner, spread, mean.dtype, f"{name}.cholesky")
    else:
        check_last(owner, spread, mean.shape[-1], f"{name}.log_variance")
        check_dtype(owner, spread, mean.dtype, f"{name}.log_variance")
    return law


def _check_square(owner: str, matrix: Tensor, name: str, dim: int | None = None) -> Tensor:
    """Return ``matrix`` if its last two axes are (D, D); raise ValueError otherwise."""
    if matrix.dim() < 2 or matrix.shape[-1] != matrix.shape[-2] or dim not in (None, matrix.shape[-1]):
        wanted = "D, D" if dim is None else f"{dim}, {dim}"
        raise ValueError(f"{owner} wants {name} of shape (..., {wanted}); got {tuple(matrix.shape)}.")
    return matrix


def _log_prob(law: Gaussian, x: Tensor) -> Tensor:
    """The log-density (...) of points (..., D)."""
    owner = f"{type(law).__name__}.log_prob"
    check_law(owner, law)
    check_last(owner, x, law.mean.shape[-1])
    squares = law.whiten((x - law.mean)[..., None])[..., 0].square()
    return -0.5 * (squares + law.log_variance + LOG_2PI).sum(-1)


def _noise(law: Gaussian, shape: int | tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Standard normal noise, shape + batch of the law + (D,)."""
    owner = f"{type(law).__name__}.rsample"
    check_law(owner, law)
    shape = shape if isinstance(shape, tuple | list) else (shape,)
    sizes = [check_int(owner, "shape", size, 0) for size in shape]
    spread = law.log_variance.shape if isinstance(law, DiagonalGaussian) else law.cholesky.shape[:-1]
    batch = torch.broadcast_shapes(law.mean.shape, spread)
    return torch.randn(*sizes, *batch, dtype=law.mean.dtype, device=law.mean.device, generator=generator)

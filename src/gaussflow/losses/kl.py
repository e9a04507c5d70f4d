"""Divergences of Gaussian laws: Kullback-Leibler in closed form, Jensen-Shannon by sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaussflow._check import check_int
from gaussflow.losses._estimate import Estimate
from gaussflow.losses._gaussian import DiagonalGaussian, FullGaussian, Gaussian, check_law
from gaussflow.ops.exponential import exp_above_tangent

__all__ = ["DiagonalGaussian", "FullGaussian", "gaussian_js", "gaussian_kl"]


def gaussian_kl(p: Gaussian, q: Gaussian | None = None) -> Tensor:
    r"""The Kullback-Leibler divergence of two Gaussian laws, in closed form.

    .. math:: KL(p \,\|\, q) = \tfrac12 \bigl[ \operatorname{tr}(\Sigma_q^{-1} \Sigma_p)
        + (\mu_p - \mu_q)^\top \Sigma_q^{-1} (\mu_p - \mu_q) - D + \log(\det \Sigma_q / \det \Sigma_p) \bigr]

    Parameters
    ----------
    p, q
        Each a `DiagonalGaussian` or a `FullGaussian` over the same D coordinates, of one dtype; None for q is the
        standard normal :math:`N(0, I)`. Their batches broadcast.

    Returns
    -------
    kl
        Shape (...), in nats, summed over the D coordinates. Never negative; infinity where it exceeds the largest
        float, or where p is degenerate.

    Raises
    ------
    TypeError, ValueError
        For anything but Gaussian laws, and for shapes, dimensions or dtypes that do not fit.

    Notes
    -----
    It is evaluated as a sum of terms of which none is negative. With :math:`E = L_q^{-1} (L_p - L_q)` by
    back-substitution and :math:`d_i = 2 \log(L_{p,ii} / L_{q,ii}) = 2 \log(1 + E_{ii})`,

    .. math:: 2\, KL = \sum_i (e^{d_i} - 1 - d_i) + \sum_{i > j} E_{ij}^2 + \|L_q^{-1} (\mu_p - \mu_q)\|^2,

    so that nothing cancels: the divergence of nearly equal laws keeps its relative accuracy, in float32 too, where
    the textbook form is rounding noise of either sign. No inverse is formed.
    Source: Kullback & Leibler (1951); Kingma & Welling (2013) for the standard normal.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import DiagonalGaussian, FullGaussian, gaussian_kl
    >>> p = DiagonalGaussian(torch.randn(5, 3), torch.randn(5, 3))
    >>> q = FullGaussian.from_covariance(torch.zeros(3), torch.eye(3) + 0.5)
    >>> gaussian_kl(p).shape, gaussian_kl(p, q).shape, gaussian_kl(q, q)
    (torch.Size([5]), torch.Size([5]), tensor(0.))
    """
    p, q = _pair("gaussian_kl", p, q)
    shift = q.whiten((p.mean - q.mean)[..., None])[..., 0]
    if isinstance(p, DiagonalGaussian) and isinstance(q, DiagonalGaussian):
        return 0.5 * (exp_above_tangent(p.log_variance - q.log_variance) + shift.square()).sum(-1)
    excess = q.whiten(p.cholesky.tril() - q.cholesky.tril())
    terms = exp_above_tangent(_log_ratio(p, q, excess)) + shift.square()
    return 0.5 * (terms.sum(-1) + excess.tril(-1).square().sum((-2, -1)))


def _log_ratio(p: Gaussian, q: Gaussian, excess: Tensor) -> Tensor:
    """The logarithm of the ratio of conditional variances (..., D): from their difference where they nearly agree."""
    r = excess.diagonal(dim1=-2, dim2=-1)
    near = r.abs() < 0.5
    return torch.where(near, 2 * torch.where(near, r, 0.0).log1p(), p.log_variance - q.log_variance)


def gaussian_js(
    p: Gaussian, q: Gaussian | None = None, samples: int = 4096, generator: torch.Generator | None = None
) -> Estimate:
    r"""The Jensen-Shannon divergence of two Gaussian laws, which has no closed form: an estimate with its error.

    .. math:: JS(p, q) = \tfrac12 KL(p \,\|\, m) + \tfrac12 KL(q \,\|\, m)
        = \log 2 - E_{x \sim m}\bigl[ H(s(x)) \bigr], \qquad m = \tfrac12 (p + q), \quad s = \tfrac{p}{p + q},

    with H the entropy of a coin: it is what a point tells about the law it came from, so it lies between 0 and log 2.

    Parameters
    ----------
    p, q
        Gaussian laws as in `gaussian_kl`.
    samples
        Points drawn from each of the two, at least 2.
    generator
        Source of randomness, or None for torch's own.

    Returns
    -------
    value, error
        Estimate and standard error, each (...), in nats. The estimate has no bias and lies between 0 and log 2
        whatever is drawn; its gradient is that of the reparameterised points.

    Raises
    ------
    TypeError, ValueError
        As `gaussian_kl`, and for fewer than 2 samples.

    Notes
    -----
    Half of the points come from each law, which makes the error smaller than that of draws from m.
    Source: Lin (1991).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import DiagonalGaussian, gaussian_js
    >>> far = DiagonalGaussian(torch.full((5, 3), 50.0), torch.zeros(5, 3))
    >>> value, error = gaussian_js(far)
    >>> value.shape, error.shape, round(value[0].item(), 4)
    (torch.Size([5]), torch.Size([5]), 0.6931)
    """
    p, q = _pair("gaussian_js", p, q)
    check_int("gaussian_js", "samples", samples, 2)
    batch = torch.broadcast_shapes(_batch(p), _batch(q))
    told = []
    for law in (p, q):
        x = _expanded(law, batch).rsample(samples, generator)
        told.append(_information(p.log_prob(x) - q.log_prob(x)))
    value = 0.5 * (told[0].mean(0) + told[1].mean(0))
    return Estimate(value, 0.5 * ((told[0].var(0) + told[1].var(0)) / samples).sqrt().detach())


def _information(log_odds: Tensor) -> Tensor:
    r""":math:`\log 2 - H(\sigma(t)) = u \tanh u - \log\cosh u` with :math:`u = |t| / 2`, between 0 and log 2."""
    u = (0.5 * log_odds).abs().clamp(max=1e4)  # beyond it the value is log 2 in any float, and ∞ · 0 is none
    tail = (-2 * u).exp()
    return (math.log(2) - tail.log1p() - 2 * u * tail / (1 + tail)).clamp(min=0.0)


def _pair(owner: str, p: Gaussian, q: Gaussian | None) -> tuple[Gaussian, Gaussian]:
    """Both laws, checked; the standard normal where there is no second."""
    p = check_law(owner, p, "p")
    if q is None:
        zeros = p.mean.new_zeros(p.mean.shape[-1])
        return p, DiagonalGaussian(zeros, zeros)
    q = check_law(owner, q, "q")
    if p.mean.shape[-1] != q.mean.shape[-1] or p.mean.dtype != q.mean.dtype:
        of = [f"{law.mean.shape[-1]} coordinates of {law.mean.dtype}" for law in (p, q)]
        raise ValueError(f"{owner} compares laws of one dimension and dtype; got p of {of[0]} and q of {of[1]}.")
    return p, q


def _batch(law: Gaussian) -> torch.Size:
    """The shape of the batch of laws."""
    spread = law.log_variance if isinstance(law, DiagonalGaussian) else law.cholesky[..., 0]
    shape: torch.Size = torch.broadcast_shapes(law.mean.shape, spread.shape)
    return shape[:-1]


def _expanded(law: Gaussian, batch: torch.Size) -> Gaussian:
    """The law with the mean repeated over the whole batch, which its samples then have."""
    return law._replace(mean=law.mean.expand(*batch, law.mean.shape[-1]))

"""A density of few points: a Gaussian kernel about each, as wide as points left out of it ask for."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_finite, check_int, check_last, check_shape
from gaussflow.models.base import Density
from gaussflow.rows import CHUNK_ELEMENTS

WIDTHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class KernelDensity(Density):
    r"""A Gaussian kernel about each of N points, drawn towards their mean so that the covariance stays what it is.

    .. math:: p(x) = \frac1N \sum_i N\bigl(x;\; m + \sqrt{1 - h^2}\,(x_i - m),\; h^2 S + V\bigr)

    with the mean m and the covariance S of the points, and the variance V that each point has beside. The width h is
    between the points themselves (0) and the Gaussian of their moments (1); a fit takes the one under which each point
    is most probable given the others.

    Parameters
    ----------
    points
        Number N of kernels; 1 makes a Gaussian, which stores no point.
    dim
        Dimension D.
    dtype, device
        Of the numbers.

    Raises
    ------
    TypeError, ValueError
        For sizes below 1, and in the calls for points of another dimension, too few of them, or a NaN.

    Notes
    -----
    The points are stored, so whoever has the density has them; with ``points=1`` they are not. Born as the standard
    normal. Source: Silverman (1986), the smoothed bootstrap with its variance kept; Duin (1976) for the width.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import KernelDensity
    >>> x = torch.randn(80, 3)
    >>> density = KernelDensity(80, 3).fit(x)
    >>> density.log_prob(torch.randn(7, 3)).shape, density.sample((2, 5)).shape
    (torch.Size([7]), torch.Size([2, 5, 3]))
    """

    centres: Tensor
    root: Tensor

    def __init__(
        self, points: int, dim: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        self.points = check_int("KernelDensity", "points", points, 1)
        self.dim, self.context_dim = check_int("KernelDensity", "dim", dim, 1), 0
        self.register_buffer("centres", torch.zeros(points, dim, dtype=dtype, device=device))
        self.register_buffer("root", torch.eye(dim, dtype=dtype, device=device))

    def fit(
        self,
        x: Tensor,
        variance: Tensor | None = None,
        covariance: Tensor | None = None,
        *,
        copies: int = 1,
        seed: int = 0,
    ) -> Self:
        """Fit to points, in place, and return the density itself.

        Parameters
        ----------
        x
            Points, shape (n, D) with n at least the number of kernels, which are set about some of them at random.
        variance
            Variance V that each point has beside, shape (D,); None for none.
        covariance
            S, shape (D, D); None for that of the points.
        copies
            Above 1, the points are so many altered copies of fewer, the originals first and then each round of copies
            in the same order, and all get a kernel. Widths are compared on originals, their own copies left out.
        seed
            Decides which points get a kernel, and the draws of V by which widths are compared.
        """
        check_finite("KernelDensity", check_last("KernelDensity", x, self.dim).detach())
        check_int("KernelDensity", "copies", copies, 1)
        if x.dim() != 2 or len(x) < self.points or (copies > 1 and (len(x) != self.points or len(x) % copies)):
            raise ValueError(
                f"KernelDensity wants at least {self.points} points (n, {self.dim}), and with {copies} copies just as "
                f"many; got {tuple(x.shape)}."
            )
        generator, rows = torch.Generator().manual_seed(seed), x.detach().double().cpu()
        originals = rows[: len(rows) // copies]
        beside = torch.zeros(self.dim).double() if variance is None else variance.detach().double().cpu()
        spread = _covariance(originals) if covariance is None else covariance.detach().double().cpu()
        chosen = rows if copies > 1 else rows[torch.randperm(len(rows), generator=generator)[: self.points]]
        about = chosen - originals.mean(0)
        noise = torch.randn(self.points // copies, self.dim, generator=generator, dtype=rows.dtype)
        judged = about[: len(noise)] + beside.sqrt() * noise
        widths = WIDTHS if len(judged) > 1 else WIDTHS[-1:]
        kernels = [(math.sqrt(1 - h * h) * about, _root(h * h * spread + beside.diag())) for h in widths]
        centres, root = max(kernels, key=lambda kernel: _left_out(judged, *kernel))
        self.centres.copy_(originals.mean(0) + centres)
        self.root.copy_(root)
        return self

    @override
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log-density (...) of x (..., D), in nats."""
        rows = check_last("KernelDensity", x, self.dim).reshape(-1, self.dim)
        step = max(1, CHUNK_ELEMENTS // self.points)
        parts = [_log_kernels(part, self.centres, self.root).logsumexp(1) for part in rows.split(step)]
        values: Tensor = torch.cat([rows.new_empty(0), *parts]) - math.log(self.points)
        return values.reshape(x.shape[:-1])

    @override
    @torch.no_grad()
    def sample(
        self,
        shape: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent samples, ``shape`` + (D,)."""
        shape = check_shape("KernelDensity.sample", shape)
        like = self.centres
        index = torch.randint(self.points, shape, generator=generator, device=like.device)
        noise = torch.randn(*shape, self.dim, dtype=like.dtype, device=like.device, generator=generator)
        x: Tensor = like[index] + noise @ self.root.T
        return x

    @override
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {"points": self.points, "dim": self.dim}


def _covariance(x: Tensor) -> Tensor:
    """Covariance (D, D) of points (n, D), zero for one point."""
    about = x - x.mean(0)
    return about.T @ about / max(1, len(x) - 1)


def _root(covariance: Tensor) -> Tensor:
    """The Cholesky factor, of a covariance that may be singular."""
    floor = 1e-9 * covariance.diagonal().mean().clamp(min=1e-9)
    root: Tensor = torch.linalg.cholesky(covariance + floor * torch.eye(len(covariance), dtype=covariance.dtype))
    return root


def _left_out(x: Tensor, centres: Tensor, root: Tensor) -> float:
    """Mean log-density of points (n, D) under the kernels of all others; its own are at i, n + i, 2n + i, ..."""
    if len(x) == 1:
        return 0.0
    kernels = _log_kernels(x, centres, root).reshape(len(x), -1, len(x))
    kernels.diagonal(dim1=0, dim2=2).fill_(-torch.inf)
    return float(kernels.flatten(1).logsumexp(1).mean())


def _log_kernels(x: Tensor, centres: Tensor, root: Tensor) -> Tensor:
    """Log-density (n, N) of points x (n, D) under the Gaussian about each centre (N, D)."""
    flat = torch.linalg.solve_triangular(root, (x - centres.mean(0)).T, upper=False).T
    middles = torch.linalg.solve_triangular(root, (centres - centres.mean(0)).T, upper=False).T
    squares = (flat * flat).sum(1, keepdim=True) + (middles * middles).sum(1) - 2 * flat @ middles.T
    constant = root.diagonal().log().sum() + 0.5 * x.shape[1] * math.log(2 * math.pi)
    result: Tensor = -0.5 * squares.clamp(min=0) - constant
    return result

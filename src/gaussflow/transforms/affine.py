"""`Standardize` and `Whiten`: affine maps to zero mean and unit variance, per coordinate or in all directions."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow.ops.orthogonal import eigenbasis
from gaussflow.rows import Data
from gaussflow.transforms._moments import VARIANCE_FLOOR, Frame, Moments, correlation, moments_and_belief
from gaussflow.transforms._orthogonal import Orthogonal
from gaussflow.transforms._steady import Steady
from gaussflow.transforms.base import Transform


class Standardize(Transform):
    r"""Zero mean and unit variance in each coordinate: :math:`z = e^{-s} \odot (x - m)`, ladj :math:`-\sum_i s_i`.

    A fit takes the means and the logarithms of the standard deviations (divisor N) of the rows. Floor: a standard
    deviation is taken as at least eps times the largest absolute value of its coordinate, with eps that of the
    dtype, as a smaller one is rounding; a constant coordinate is only shifted, its scale is 1. Both vectors are
    parameters: the logarithm keeps the scale positive in training.

    Parameters
    ----------
    dim
        Number of coordinates D.
    dtype, device
        Those of the parameters.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``; ``loc (D,)``, ``log_scale (D,)``. The identity at birth.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Standardize
    >>> z, ladj = Standardize(3).fit(torch.randn(100, 3) * 5)(torch.randn(7, 3))
    >>> z.shape, ladj.shape
    (torch.Size([7, 3]), torch.Size([7]))
    """

    def __init__(self, dim: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        super().__init__(dim)
        self.loc = nn.Parameter(torch.zeros(dim, dtype=dtype, device=device))
        self.log_scale = nn.Parameter(torch.zeros(dim, dtype=dtype, device=device))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        return (x - self.loc) * (-self.log_scale).exp(), x.new_zeros(x.shape[:-1]) - self.log_scale.sum()

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        return z * self.log_scale.exp() + self.loc, z.new_zeros(z.shape[:-1]) + self.log_scale.sum()

    @override
    def _steady(self, inverse: bool) -> Steady:
        scale, ladj = self.log_scale.exp(), self.log_scale.sum()
        if inverse:
            return Steady(lambda z: (torch.mul(z, scale).add_(self.loc), ladj))
        per_scale = (-self.log_scale).exp()
        return Steady(lambda x: (torch.sub(x, self.loc).mul_(per_scale), -ladj))

    @override
    @torch.no_grad()
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        rows = self._rows(rows, context)
        frame = Frame.of(rows)
        moments = Moments.of(rows, frame)
        scale = moments.about(moments.mean).diagonal().clamp(min=0).sqrt()
        self.loc.copy_(moments.mean * frame.half + frame.middle)
        self.log_scale.copy_(_floored(scale, frame, self.loc.dtype).log())
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim}


class Whiten(Orthogonal):
    r"""Zero mean and unit covariance: :math:`z = e^{-l} \odot Q\,(e^{-s} \odot (x - m))`.

    The log-determinant is :math:`-\sum_i s_i - \sum_i l_i`. The coordinates are standardised, turned to the principal
    axes Q of their correlation matrix R and divided by the axes' lengths: :math:`R = Q^\top \operatorname{diag}(e^{2l})
    \, Q`. (In two steps, rather than one by the covariance, whose eigenvectors lose the small columns where units
    differ by many orders of magnitude.)

    A fit shrinks the correlation matrix towards the identity, by as much as held-out rows ask for, and by nothing where
    they ask for nothing: with N rows a full correlation matrix loses D(D-1)/(4N) nats a row on new rows, which
    on uncorrelated data buys nothing. Each of four quarters of the rows is scored under the other three, in closed
    form for all shrinkages at once. Means and standard deviations are not shrunk: they cost D/N nats in all, and any
    target for them would depend on the choice of origin and units. Where all correlation is shrunk away, Q is the
    identity. And rows that are standard normal already are left alone: where the same quarters do not gain 5 nats in
    total over N(0, I), the whole map is the identity.

    Floors: that of `Standardize` on the standard deviations; an eigenvalue of the correlation matrix is taken as at
    least 1e-10, so rank-deficient data give a finite map.

    Parameters
    ----------
    dim
        Number of coordinates D.
    dtype, device
        Those of the parameters.

    Notes
    -----
    Shapes: ``x (..., D)``, ``z (..., D)``, ``ladj (...)``; ``loc (D,)``, ``log_scale (D,)``, ``log_length (D,)``;
    ``base (D, D)``, ``A (D, D)`` with :math:`Q = B \operatorname{cayley}(A - A^\top)` as in `Rotation`. The identity
    at birth; trainable to any affine map.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Whiten
    >>> z, ladj = Whiten(3).fit(torch.randn(100, 3) @ torch.randn(3, 3))(torch.randn(7, 3))
    >>> z.shape, ladj.shape
    (torch.Size([7, 3]), torch.Size([7]))
    """

    def __init__(self, dim: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        super().__init__(dim, dtype=dtype, device=device)
        self.loc = nn.Parameter(torch.zeros(dim, dtype=dtype, device=device))
        self.log_scale = nn.Parameter(torch.zeros(dim, dtype=dtype, device=device))
        self.log_length = nn.Parameter(torch.zeros(dim, dtype=dtype, device=device))

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(x, context)
        z = ((x - self.loc) * (-self.log_scale).exp()) @ self.matrix().mT * (-self.log_length).exp()
        return z, x.new_zeros(x.shape[:-1]) - self._log_det()

    @override
    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._door(z, context, "z")
        x = (z * self.log_length.exp()) @ self.matrix() * self.log_scale.exp() + self.loc
        return x, z.new_zeros(z.shape[:-1]) + self._log_det()

    @override
    def _steady(self, inverse: bool) -> Steady:
        matrix, ladj = self.matrix(), self._log_det()
        if inverse:
            scale, length = self.log_scale.exp(), self.log_length.exp()
            return Steady(lambda z: ((z * length @ matrix).mul_(scale).add_(self.loc), ladj))
        per_scale, per_length = (-self.log_scale).exp(), (-self.log_length).exp()
        return Steady(lambda x: ((torch.sub(x, self.loc).mul_(per_scale) @ matrix.mT).mul_(per_length), -ladj))

    def _log_det(self) -> Tensor:
        return self.log_scale.sum() + self.log_length.sum()

    @override
    @torch.no_grad()
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        rows = self._rows(rows, context)
        frame = Frame.of(rows)
        moments, shrinkage, wanted = moments_and_belief(rows, frame)
        if not wanted:
            return self._identity()
        scale, matrix = correlation(moments.about(moments.mean))
        matrix = (1 - shrinkage) * matrix
        values, axes = eigenbasis(matrix + torch.diag(1 - matrix.diagonal()))
        self.loc.copy_(moments.mean * frame.half + frame.middle)
        self.log_scale.copy_(_floored(scale, frame, self.loc.dtype).log())
        self.log_length.copy_(values.clamp(min=VARIANCE_FLOOR).log() / 2)
        self._rebase(torch.eye(self.dim) if shrinkage == 1 else axes)
        return self

    def _identity(self) -> Self:
        for numbers in (self.loc, self.log_scale, self.log_length):
            numbers.zero_()
        self._rebase(torch.eye(self.dim))
        return self

    @override
    def config(self) -> dict[str, Any]:
        return {"dim": self.dim}


def _floored(scale: Tensor, frame: Frame, dtype: torch.dtype) -> Tensor:
    """Standard deviations (D,) in the units of the data, at least eps times the largest value, and 1 for constants."""
    info = torch.finfo(dtype)
    floored = torch.maximum(scale * frame.half, info.eps * frame.size).clamp(min=info.tiny)
    return floored.masked_fill(frame.constant, 1)

"""The marginal spline: one monotone C1 rational-quadratic spline per coordinate, fitted in closed form or trained."""

from __future__ import annotations

from typing import Self

from torch import Tensor
from typing_extensions import override

from gaussflow.rows import Data
from gaussflow.transforms._smooth import smooth_gaussianization
from gaussflow.transforms._splines import Splines


class MarginalSpline(Splines):
    r"""A monotone C1 rational-quadratic spline with linear tails for every coordinate.

    .. math:: z_i = S_i\big((x_i - \text{loc}_i) / \text{scale}_i\big), \qquad
        \text{ladj} = \sum_i \log S_i' - \log \text{scale}_i

    Knots are summed outwards from the middle one, so that heavy tails cost no precision in the centre, and widths,
    heights and slopes are exponentials of softly bounded parameters, so that no step of an optimiser makes it invalid.
    A new spline is the identity. `fit` makes each coordinate standard normal as far as held-out data would confirm.

    Parameters
    ----------
    dim
        Number of coordinates D.
    knots
        Number of knots K per coordinate, at least 3.
    dtype, device
        Those of the numbers held.

    Attributes
    ----------
    loc, scale
        Buffers (D,): the units of the knots, so that an offset of 1e8 is taken away exactly before anything else.
    x_mid, z_mid
        Parameters (D,): position and value of the middle knot.
    log_widths, log_heights
        Parameters (K - 1, D).
    log_slopes
        Parameter (K, D).

    References
    ----------
    Gregory & Delbourgo (1982); Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import MarginalSpline
    >>> spline = MarginalSpline(3).fit(torch.randn(200, 3).exp())
    >>> z, ladj = spline(torch.randn(5, 3).exp())
    >>> z.shape, ladj.shape, spline.inverse(z)[0].shape
    (torch.Size([5, 3]), torch.Size([5]), torch.Size([5, 3]))
    """

    @override
    def fit(self, rows: Data, context: Tensor | None = None) -> Self:
        return self.set_knots(*smooth_gaussianization(self._rows(rows, context), self.knots))

"""The affine coupling with any index set."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow.ops._eager import plain_eager
from gaussflow.transforms._coupling import Conditioner, Coupling, IndexSet
from gaussflow.transforms._coupling_gradients import LOG2_E, Affine, plain_training, scale_of

THIN = 24  # numbers of a row, for which the loop around it takes longer than the row
LOG_SCALE = 2.0
"""Bound of the log-scale of one layer: a stack scales further, and no layer loses digits by more than e²."""


class AffineCoupling(Coupling):
    r"""Some coordinates stay and say how the others are scaled and shifted, for any index set.

    For :math:`\Omega \subset \{1, \dots, D\}`, :math:`0 < |\Omega| < D`,

    .. math:: z_\Omega = x_\Omega, \qquad z_{\Omega^c} = e^{s(x_\Omega)} \odot x_{\Omega^c} + t(x_\Omega),
        \qquad \log|\det \partial z / \partial x| = \sum s(x_\Omega).

    The conditioner gives :math:`u` and :math:`t`; the log-scale is :math:`s = 2 \tanh(u / 2)`, so that it is bounded
    smoothly by 2. The conditioner sees :math:`x_\Omega / (1 + |x_\Omega| / 6)` and then the context as it is: far
    from the data it extrapolates to a constant instead of exploding.

    Parameters
    ----------
    dim
        Number of coordinates D, at least 2.
    mask
        The set :math:`\Omega` of the coordinates that stay: a bool mask (D,), or their indices from 0, in any order.
    conditioner
        A `torch.nn.Module` that maps (..., n + C) to (..., 2 (D − n)), first all u and then all t, where n is the size
        of the set; or a callable ``(in_dim, out_dim) -> Module`` that makes one. Default: an `MLP` whose last layer
        is zero, so that the coupling is born as the identity.
    context_dim
        Number of context coordinates C that the conditioner sees.
    dtype, device
        Of the parameters; a conditioner that is given is moved there too.

    Raises
    ------
    TypeError, ValueError
        For dim below 2, an empty or full index set, indices that are out of range or repeated, and, in the call, for
        a conditioner that answers in another shape.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio (2017), Density estimation using Real NVP.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import AffineCoupling
    >>> coupling = AffineCoupling(5, mask=[0, 3, 4], context_dim=2)
    >>> z, ladj = coupling(torch.randn(7, 5), context=torch.randn(7, 2))
    >>> z.shape, ladj.shape
    (torch.Size([7, 5]), torch.Size([7]))
    >>> x, ladj = coupling.inverse(z, context=torch.randn(7, 2))
    >>> x.shape, ladj.shape
    (torch.Size([7, 5]), torch.Size([7]))
    """

    keeps = True

    def __init__(
        self,
        dim: int,
        mask: IndexSet,
        conditioner: Conditioner | None = None,
        context_dim: int = 0,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(dim, mask, conditioner, context_dim, 2, dtype, device)

    @override
    def _move(self, x: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        return _affine(_forth, x, *numbers.unbind(0))

    @override
    def _move_back(self, z: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        return _affine(_back, z, *numbers.unbind(0))

    @override
    def _move_rows(self, back: bool, x: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        u, shift = _halves(said)
        half = torch.sigmoid(u)
        factor = -2 * LOG_SCALE if back else 2 * LOG_SCALE
        total = _sums(half).sub_(half.shape[-1] / 2).mul_(factor)
        scale = _scale_over(half, back)
        if back:
            return torch.sub(x, shift).mul_(scale), total
        return torch.addcmul(shift, scale, x, out=scale), total

    @override
    def _gradients_of_rows(
        self, back: bool, x: Tensor, said: Tensor, by_value: Tensor, by_ladj: Tensor
    ) -> tuple[Tensor, Tensor]:
        u, shift = _halves(said)
        half = torch.sigmoid(u)
        by_x = by_value * _scale_over(half.clone(), back)
        bound = -2 * LOG_SCALE if back else 2 * LOG_SCALE
        # By s it is that of the slopes and, forward, e^s x times that of z; back, minus e^-s (z - t) times that of x.
        by_s = torch.addcmul((by_ladj * bound)[:, None], by_x, torch.sub(x, shift) if back else x, value=bound)
        by_u = torch.ops.aten.sigmoid_backward.grad_input(by_s, half, grad_input=by_s)
        return by_x, torch.cat([by_u, -by_x if back else by_value], -1)


def _halves(said: Tensor) -> tuple[Tensor, Tensor]:
    """u and t (n, M) from the answer (n, 2 M): thin ones as copies, since rows of few numbers are slow to walk."""
    m = said.shape[1] // 2
    if m > THIN:
        return said[:, :m], said[:, m:]
    return torch.narrow_copy(said, 1, 0, m), torch.narrow_copy(said, 1, m, m)


def _sums(x: Tensor) -> Tensor:
    """The sums of the rows of x (n, M): of thin ones by a product, in half the time."""
    return x.sum(-1) if x.shape[1] > THIN else torch.mv(x, x.new_ones(x.shape[1]))


def _scale_over(half: Tensor, back: bool) -> Tensor:
    """The scale of a logistic function of u (n, M), written over it, as in `log_scale` and `scale_of`."""
    factor = 2 * LOG_SCALE * LOG2_E * (-1 if back else 1)
    return torch.add(half.new_full((), -factor / 2), half, alpha=factor, out=half).exp2_()


def _forth(x: Tensor, u: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    s = log_scale(u)
    return torch.addcmul(shift, scale_of(s), x), s


def _back(z: Tensor, u: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    slope = -log_scale(u)
    return (z - shift) * scale_of(slope), slope


def _affine(plain: Callable[..., tuple[Tensor, Tensor]], x: Tensor, u: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    if not plain_training(x, u, shift):
        return plain(x, u, shift)
    found: tuple[Tensor, Tensor] = Affine.apply(plain, LOG_SCALE, plain is _back, x, u, shift)  # type: ignore[no-untyped-call]
    return found


def log_scale(u: Tensor) -> Tensor:
    r"""The log-scale :math:`2 \tanh(u / 2) = 4 \sigma(u) - 2` (...): the logistic function takes a fifth of the time.

    Near zero it has the digits of 2, and not its own. The logarithm of a scale needs no more.
    """
    half, bound = torch.sigmoid(u), LOG_SCALE
    if plain_eager():  # in place: every temporary of a large tensor is page-faulted
        return half.mul_(2 * bound).sub_(bound)
    return 2 * bound * half - bound

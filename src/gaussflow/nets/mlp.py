"""The multilayer perceptron: linear layers with an activation between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int, check_last

_ELEMENTWISE = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6),
    *(nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Softsign, nn.Tanh),
)
_ACTIVATIONS: dict[str, type[nn.Module]] = {kind.__name__: kind for kind in _ELEMENTWISE}


class MLP(nn.Module):
    r"""A multilayer perceptron on the last axis: :math:`W_L\, a(\cdots a(W_1 x + b_1) \cdots) + b_L`.

    Parameters
    ----------
    in_dim, out_dim
        Sizes of the last axis of input and output.
    hidden
        Widths of the hidden layers; none makes a linear map.
    activation
        The activation :math:`a`: an element-wise class of `torch.nn`, or its name.
    zero_last
        Whether the last layer starts at zero, so that the network is born as the constant zero: a coupling with such
        a conditioner is born as the identity.
    dtype, device
        Of the weights.

    Raises
    ------
    TypeError, ValueError
        For sizes below 1 and for an activation that is not an element-wise class of `torch.nn`.

    Examples
    --------
    >>> import torch
    >>> net = MLP(3, 2, hidden=(16,), activation=torch.nn.Tanh)
    >>> net(torch.randn(7, 5, 3)).shape
    torch.Size([7, 5, 2])
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden: Sequence[int] = (64, 64),
        activation: type[nn.Module] | str = nn.SiLU,
        *,
        zero_last: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_dim = check_int("MLP", "in_dim", in_dim, 1)
        self.out_dim = check_int("MLP", "out_dim", out_dim, 1)
        self.hidden = tuple(check_int("MLP", "a hidden width", width, 1) for width in hidden)
        self.activation = _activation_name(activation)
        self.zero_last = bool(zero_last)
        widths = (self.in_dim, *self.hidden, self.out_dim)
        linear = [nn.Linear(m, n, dtype=dtype, device=device) for m, n in pairwise(widths)]
        if zero_last:
            nn.init.zeros_(linear[-1].weight)
            nn.init.zeros_(linear[-1].bias)
        self.linear = nn.ModuleList(linear)
        self.act = _ACTIVATIONS[self.activation]()

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in_dim) to (..., out_dim)."""
        check_last("MLP", x, self.in_dim)
        for layer in self.linear[:-1]:
            x = self.act(layer(x))
        result: Tensor = self.linear[-1](x)
        return result

    def config(self) -> dict[str, Any]:
        """The keyword arguments that build a network of this shape anew, as plain JSON values."""
        return {
            "in_dim": self.in_dim,
            "out_dim": self.out_dim,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "zero_last": self.zero_last,
        }


def _activation_name(activation: type[nn.Module] | str) -> str:
    """The name of an activation on the list; names from a file reach nothing beyond the list."""
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))
    if name not in _ACTIVATIONS or (not isinstance(activation, str) and activation is not _ACTIVATIONS[name]):
        raise ValueError(
            f"MLP wants an element-wise activation class of torch.nn; got {activation!r}. "
            f"It knows {', '.join(sorted(_ACTIVATIONS))}; for another one write the network yourself."
        )
    return name

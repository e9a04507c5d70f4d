"""What models are made of: a density with samples, and the law of an image given the numbers of a decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Density(nn.Module, ABC):
    """A density of x (..., D), given context (..., C) or none, that can be evaluated and drawn from.

    `Flow` is one. Subclass it, and set ``dim`` and ``context_dim``, for a prior of your own.

    Attributes
    ----------
    dim, context_dim
        Coordinates D of x and C of the context, 0 for none.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Density, Flow, Standardize
    >>> isinstance(Flow(Standardize(3)), Density)
    True
    """

    dim: int
    context_dim: int

    @abstractmethod
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log-density (...) of x (..., D), in nats."""

    @abstractmethod
    def sample(
        self,
        shape: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent samples, ``shape`` + (...) + (D,), where (...) is that of ``context``."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""


class Likelihood(nn.Module, ABC):
    r"""The law of x (..., D) given the output of a decoder (..., D).

    Subclass it and define `log_prob`, `mean` and `config`; set ``unit`` to False where pixels may lie outside [0, 1].

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Likelihood
    >>> class Laplace(Likelihood):
    ...     def log_prob(self, output, x):
    ...         return -((x - output).abs() + 0.6931).sum(-1)
    ...     def mean(self, output):
    ...         return output
    ...     def config(self):
    ...         return {}
    >>> Laplace().log_prob(torch.zeros(5, 3), torch.rand(5, 3)).shape
    torch.Size([5])
    """

    unit: bool = True

    @abstractmethod
    def log_prob(self, output: Tensor, x: Tensor) -> Tensor:
        """The log-density or log-mass of x (..., D), summed over the pixels: (...), in nats."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """The mean image (..., D)."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""

    def check(self, x: Tensor) -> None:
        """Raise ValueError for pixels outside [0, 1]; not looked at inside a compiled function."""
        if self.unit and x.numel() and not torch.compiler.is_compiling():
            low, high = (float(end) for end in x.detach().aminmax())
            if not (low >= 0 and high <= 1):
                raise ValueError(
                    f"{type(self).__name__} wants pixels in [0, 1]; got values from {low:.6g} to {high:.6g}. "
                    "Divide bytes by 255, or use Gaussian for other ranges."
                )

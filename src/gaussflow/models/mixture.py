"""A density that a context chooses, or a mixture that it weighs: one part for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_last, check_shape
from gaussflow.models.base import Density


class ClassMixture(Density):
    r"""One density for each class, weighed by the context: :math:`p(x | c) = \sum_k c_k\, p_k(x)`.

    A one-hot context chooses the density of its class; fitted to the codes of each class, it is a prior for
    `ConditionalVAE`.

    Parameters
    ----------
    parts
        Densities :math:`p_k` of one dimension, without context of their own: a `Flow` each, for instance.

    Attributes
    ----------
    dim, context_dim
        Dimension D of the parts, and their number K.

    Raises
    ------
    TypeError, ValueError
        For parts that do not fit together, and in a call for context that is missing or no weights: negative, or with
        a sum other than 1.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import ClassMixture, Flow, Standardize
    >>> prior = ClassMixture([Flow(Standardize(3).fit(torch.randn(50, 3) + k)) for k in range(2)])
    >>> prior.log_prob(torch.randn(7, 3), torch.eye(2)[torch.tensor([0, 1, 1, 0, 0, 0, 1])]).shape
    torch.Size([7])
    >>> prior.sample(5, torch.eye(2)).shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, parts: Sequence[Density]) -> None:
        if not parts or not all(isinstance(part, Density) for part in parts):
            raise TypeError(f"ClassMixture wants densities, at least one; got {[type(p).__name__ for p in parts]}.")
        if odd := [part for part in parts if (part.dim, part.context_dim) != (parts[0].dim, 0)]:
            raise ValueError(
                f"ClassMixture wants densities of one dimension, {parts[0].dim}, without context; got one of "
                f"{odd[0].dim} with context of {odd[0].context_dim}."
            )
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.dim, self.context_dim = parts[0].dim, len(parts)

    @override
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The log-density (...) of x (..., D), in nats, given context (..., K)."""
        each = torch.stack([self._part(k).log_prob(x) for k in range(self.context_dim)], -1)
        return (each + self._weights(context).to(each).log()).logsumexp(-1)

    @override
    @torch.no_grad()
    def sample(
        self,
        shape: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent samples, ``shape`` + (...) + (D,), where (...) is that of the context (..., K)."""
        shape = check_shape("ClassMixture.sample", shape)
        weights = self._weights(context)
        weights = weights.expand(*shape, *weights.shape)
        rows = weights.reshape(-1, self.context_dim)
        chosen = torch.multinomial(rows, 1, generator=generator)[:, 0] if len(rows) else rows.new_empty(0)
        draws = [self._part(k).sample(int((chosen == k).sum()), None, generator) for k in range(self.context_dim)]
        x = draws[0].new_empty(len(rows), self.dim)
        for k, drawn in enumerate(draws):
            x[chosen == k] = drawn
        return x.reshape(*weights.shape[:-1], self.dim)

    @override
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {"parts": list(self.parts)}

    def _part(self, k: int) -> Density:
        part = self.parts[k]
        if not isinstance(part, Density):
            raise TypeError(f"ClassMixture holds densities; part {k} became a {type(part).__name__}.")
        return part

    def _weights(self, context: Tensor | None) -> Tensor:
        if context is None:
            raise ValueError(f"ClassMixture needs context of shape (..., {self.context_dim}); got none.")
        check_last("ClassMixture", context, self.context_dim, "context")
        if context.numel() and not torch.compiler.is_compiling():
            off = float((context.detach().sum(-1) - 1).abs().max())
            if not (float(context.detach().min()) >= 0 and off < 1e-3):
                raise ValueError("ClassMixture wants context that is one-hot, or weights with sum 1; got others.")
        return context

"""Adapters to `torch.distributions`: a flow as a Distribution, a transform as a Transform."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions import Transform as TorchTransform
from typing_extensions import override

from gaussflow.models import Flow
from gaussflow.transforms import Transform


class FlowDistribution(Distribution):
    """A flow, given context, as a `torch.distributions.Distribution`; make one with `as_distribution`.

    The parameters stay those of the flow: train the flow, not this view of it.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Flow, Standardize
    >>> from gaussflow.apps.distributions import FlowDistribution
    >>> law = FlowDistribution(Flow(Standardize(3)))
    >>> law.event_shape, law.rsample((7,)).shape, law.log_prob(torch.randn(7, 3)).shape
    (torch.Size([3]), torch.Size([7, 3]), torch.Size([7]))
    """

    has_rsample = True
    support = constraints.independent(constraints.real, 1)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:  # type: ignore[override]
        """None: the flow checks what it is given."""
        return {}

    def __init__(
        self,
        flow: Flow,
        context: Tensor | None = None,
        batch_shape: torch.Size | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.flow, self.context = flow, context
        if batch_shape is None:
            batch_shape = torch.Size() if context is None else context.shape[:-1]
        super().__init__(batch_shape, torch.Size([flow.dim]), validate_args)

    @override
    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density (...) of values (..., D), with gradients."""
        if self._validate_args:
            self._validate_sample(value)
        batch = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        x = value.expand(*batch, self.flow.dim)
        context = None if self.context is None else self.context.expand(*batch, self.context.shape[-1])
        return self.flow.log_prob(x, context)

    @override
    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Samples sample_shape + batch_shape + (D,) through which gradients reach the flow and the context."""
        shape = self._extended_shape(torch.Size(sample_shape))
        like = self.flow._like(self.context)
        z = torch.randn(shape, dtype=like.dtype, device=like.device)
        context = None if self.context is None else self.context.expand(*shape[:-1], self.context.shape[-1])
        return self.flow.decode(z, context)

    @override
    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Samples sample_shape + batch_shape + (D,) without gradients, in bounded memory."""
        shape = torch.Size(sample_shape)
        if self.context is None:
            return self.flow.sample((*shape, *self.batch_shape))
        return self.flow.sample(tuple(shape), self.context.expand(*self.batch_shape, self.context.shape[-1]))

    @override
    def expand(self, batch_shape: Any, _instance: FlowDistribution | None = None) -> FlowDistribution:
        """The same law for a larger batch."""
        batch_shape = torch.Size(batch_shape)
        torch.broadcast_shapes(self.batch_shape, batch_shape)
        context = None if self.context is None else self.context.expand(*batch_shape, self.context.shape[-1])
        return FlowDistribution(self.flow, context, batch_shape, self._validate_args)


class LatentToData(TorchTransform):
    """The inverse of a transform, latent to data, as a `torch.distributions.Transform`; make one with `as_transform`.

    torch's direction is from the base to the data, so that calling it is our ``inverse`` and its inverse our
    ``forward``. A value comes together with its log-determinant, which is kept for one question about that very pair
    and then forgotten: an answer is never stale after a step of an optimizer, as it is with torch's own cache.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Standardize
    >>> from gaussflow.apps.distributions import LatentToData
    >>> decode, z = LatentToData(Standardize(3)), torch.randn(7, 3)
    >>> x = decode(z)
    >>> x.shape, decode.log_abs_det_jacobian(z, x).shape
    (torch.Size([7, 3]), torch.Size([7]))
    """

    domain = constraints.independent(constraints.real, 1)
    codomain = constraints.independent(constraints.real, 1)
    bijective = True

    def __init__(self, transform: Transform, context: Tensor | None = None) -> None:
        super().__init__(cache_size=0)
        self.transform, self.context = transform, context
        self._kept: tuple[Tensor, Tensor, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_inv": None, "_kept": None}  # the link to .inv is what torch leaves out too

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LatentToData) and self.transform is other.transform and self.context is other.context

    __hash__ = object.__hash__

    @override
    def with_cache(self, cache_size: int = 1) -> LatentToData:
        """Another view of the same transform; it keeps what it keeps, whatever the size asked for."""
        return LatentToData(self.transform, self.context)

    def _given(self, x: Tensor) -> Tensor | None:
        return None if self.context is None else self.context.expand(*x.shape[:-1], self.context.shape[-1])

    def _call(self, x: Tensor) -> Tensor:
        y, ladj = self.transform.inverse(x, self._given(x))
        self._kept = x, y, ladj
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x, ladj = self.transform(y, self._given(y))
        self._kept = x, y, -ladj
        result: Tensor = x
        return result

    @override
    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """The log-determinant (...) of latent to data at latent x (..., D) and data y (..., D)."""
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] is x and kept[1] is y:
            return kept[2]
        ladj: Tensor = self.transform(y, self._given(y))[1]
        return -ladj


def as_distribution(
    flow: Flow, context: Tensor | None = None, *, validate_args: bool | None = None
) -> FlowDistribution:
    """A flow as a `torch.distributions.Distribution`, for whatever takes one.

    Parameters
    ----------
    flow
        The flow over D coordinates.
    context
        Context (..., C), or None; (...) is the batch shape.
    validate_args
        Whether ``log_prob`` checks its values, as everywhere in ``torch.distributions``.

    Returns
    -------
    distribution
        With ``log_prob``, ``sample``, ``rsample`` and ``expand``; event shape (D,).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Flow, Standardize
    >>> from gaussflow.apps.distributions import as_distribution
    >>> law = as_distribution(Flow(Standardize(3).fit(torch.randn(100, 3))))
    >>> law.sample((7,)).shape, law.log_prob(torch.zeros(3)).shape, law.event_shape
    (torch.Size([7, 3]), torch.Size([]), torch.Size([3]))
    """
    if not isinstance(flow, Flow):
        raise TypeError(f"as_distribution wants a Flow; got {type(flow).__name__}.")
    return FlowDistribution(flow, context, validate_args=validate_args)


def as_transform(transform: Transform, context: Tensor | None = None) -> LatentToData:
    """A transform as a `torch.distributions.Transform` from latent to data, for a `TransformedDistribution`.

    The parameters are those of the transform but torch does not find them through the adapter: give the optimizer
    ``transform.parameters()``.

    Parameters
    ----------
    transform
        The transform over D coordinates.
    context
        Context (..., C) that broadcasts against the values, or None.

    Examples
    --------
    >>> import torch
    >>> from torch.distributions import Independent, Normal, TransformedDistribution
    >>> from gaussflow import Standardize
    >>> from gaussflow.apps.distributions import as_transform
    >>> base = Independent(Normal(torch.zeros(3), 1), 1)
    >>> law = TransformedDistribution(base, as_transform(Standardize(3).fit(torch.randn(100, 3))))
    >>> law.log_prob(law.sample((7,))).shape
    torch.Size([7])
    """
    if not isinstance(transform, Transform):
        raise TypeError(f"as_transform wants a gaussflow Transform; got {type(transform).__name__}.")
    return LatentToData(transform, context)

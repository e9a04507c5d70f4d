"""Flow: a transform and a standard normal base make a distribution with an exact log-density."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._check import check_last, check_shape
from gaussflow.models._precision import full_precision
from gaussflow.models.base import Density
from gaussflow.rows import CHUNK_ELEMENTS
from gaussflow.transforms.base import Transform


class Flow(Density):
    r"""The law of :math:`x = f^{-1}(z)` with :math:`z \sim N(0, I)`, for a transform :math:`f`.

    .. math:: \log p(x) = -\tfrac12 \|f(x)\|^2 - \tfrac D2 \log 2\pi + \log |\det \partial f / \partial x|

    Calling the flow gives the log-density, so that `DistributedDataParallel` and `torch.compile` work on it.

    Parameters
    ----------
    transform
        The transform f from data to latent.

    Attributes
    ----------
    dim, context_dim
        Those of the transform.

    Notes
    -----
    Source: Chen and Gopinath (2000); change of variables.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Flow, Standardize
    >>> flow = Flow(Standardize(3).fit(torch.randn(100, 3)))
    >>> flow.log_prob(torch.randn(7, 3)).shape, flow.sample((2, 5)).shape
    (torch.Size([7]), torch.Size([2, 5, 3]))
    """

    def __init__(self, transform: Transform) -> None:
        if not isinstance(transform, Transform):
            raise TypeError(f"Flow is made of a transform; got {type(transform).__name__}. Wrap it in a Transform.")
        super().__init__()
        self.transform = transform
        self.dim, self.context_dim = transform.dim, transform.context_dim

    @override
    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The exact log-density.

        Parameters
        ----------
        x
            Data, shape (..., D).
        context
            Context, shape (..., C), or None.

        Returns
        -------
        log_prob
            Shape (...), in nats and in the dtype of ``x``.
        """
        with full_precision(x):
            z, ladj = self.transform(x, context)
        result: Tensor = ladj - 0.5 * (z * z).sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)
        return result

    @override
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same as `log_prob`."""
        return self.log_prob(x, context)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Latent z (..., D) of data x (..., D), without its log-determinant."""
        z: Tensor = self.transform(x, context)[0]
        return z

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Data x (..., D) of latent z (..., D), without its log-determinant."""
        return self.transform.inverse(z, context)[0]

    @override
    @torch.no_grad()
    def sample(
        self,
        shape: int | tuple[int, ...] = (),
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Independent samples, without gradients; for samples with gradients decode noise of your own.

        The noise is drawn in one piece and sent back in chunks of rows, so that the temporaries stay small, by
        `Transform.draw`: the same law as that of decoded noise, not always the same rows.

        Parameters
        ----------
        shape
            Samples wanted for each context, an integer or a tuple of integers.
        context
            Context, shape (..., C), or None.
        generator
            Source of randomness on the device of the flow, or None for torch's own.

        Returns
        -------
        x
            Shape ``shape`` + (...) + (D,), where (...) is that of ``context``.
        """
        shape = check_shape("Flow.sample", shape)
        if context is not None:
            check_last("Flow.sample", context, self.context_dim or context.shape[-1], "context")
        batch = () if context is None else tuple(context.shape[:-1])
        like = self._like(context)
        z = torch.randn(*shape, *batch, self.dim, dtype=like.dtype, device=like.device, generator=generator)
        rows = z.reshape(-1, self.dim)
        given = (
            None if context is None else context.expand(*shape, *context.shape).reshape(len(rows), context.shape[-1])
        )
        step = max(1, CHUNK_ELEMENTS // self.dim)
        for i in range(0, len(rows), step):
            some = None if given is None else given[i : i + step]
            rows[i : i + step] = self.transform.draw(rows[i : i + step], some, generator)
        return rows.reshape(z.shape)

    @override
    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {"transform": self.transform}

    def _like(self, context: Tensor | None) -> Tensor:
        """A tensor with the dtype and device of the samples: those of the numbers held, else of the context."""
        held = next(self.transform._numbers(), None)
        return held if held is not None else context if context is not None else torch.empty(0)

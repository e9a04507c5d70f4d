"""Penalties: what training makes of the KL term, so that the codes do not collapse onto the prior."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from gaussflow._check import check_int


class KLAnnealing(nn.Module):
    r"""A weight of the KL term that rises in a straight line from ``start`` to ``end`` over so many training steps.

    A step is a call in training mode. The count is a buffer, and so a part of every checkpoint. `train` is patient
    while the weight still changes: such epochs are no plateau.

    Parameters
    ----------
    steps
        Training steps from ``start`` to ``end``, at least 1.
    start, end
        Weight in the first step and from step ``steps`` on, at least 0; an end other than 1 gives no bound.

    Raises
    ------
    TypeError, ValueError
        For steps below 1 and weights that are negative or not finite.

    Notes
    -----
    Source: Bowman et al. (2016).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import KLAnnealing
    >>> annealing = KLAnnealing(2)
    >>> [float(annealing(torch.ones(1))) for _ in range(4)]
    [0.0, 0.5, 1.0, 1.0]
    """

    count: Tensor

    def __init__(self, steps: int, start: float = 0.0, end: float = 1.0) -> None:
        super().__init__()
        self.steps = check_int("KLAnnealing", "steps", steps, 1)
        self.start, self.end = _weight("KLAnnealing", "start", start), _weight("KLAnnealing", "end", end)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @override
    def forward(self, kl: Tensor) -> Tensor:
        """Weight KL terms of any shape, and count one step."""
        done = (self.count / self.steps).clamp(max=1).to(kl.dtype)
        if self.training:
            self.count += 1
        return kl * (self.start + (self.end - self.start) * done)

    @property
    def changing(self) -> bool:
        """Whether the weight has not reached its end yet."""
        return int(self.count) < self.steps

    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {"steps": self.steps, "start": self.start, "end": self.end}


class FreeBits(nn.Module):
    r"""No gain from a KL below ``nats`` in a coordinate: :math:`\sum_j \max(\lambda, \mathrm{KL}_j)`.

    :math:`\mathrm{KL}_j` is the mean over the batch. Where the KL is an estimate for all coordinates at once, for a
    flow as prior or in the posterior, there is one group, and :math:`\lambda` is meant for all of them.

    Parameters
    ----------
    nats
        The free nats :math:`\lambda` of each group, at least 0.

    Raises
    ------
    ValueError
        For nats that are negative or not finite.

    Notes
    -----
    Source: Kingma, Salimans et al. (2016).

    Examples
    --------
    >>> import torch
    >>> from gaussflow import FreeBits
    >>> FreeBits(0.5)(torch.tensor([[0.1, 2.0], [0.3, 4.0]]))
    tensor([[0.5000, 2.0000],
            [0.5000, 4.0000]])
    """

    def __init__(self, nats: float) -> None:
        super().__init__()
        self.nats = _weight("FreeBits", "nats", nats)

    @override
    def forward(self, kl: Tensor) -> Tensor:
        """Raise KL terms (..., G) to the free nats in those of the G groups whose mean is below them."""
        mean = kl.reshape(-1, kl.shape[-1]).mean(0) if kl.numel() else kl.new_full(kl.shape[-1:], torch.inf)
        return torch.where(mean < self.nats, self.nats, kl)

    def config(self) -> dict[str, Any]:
        """The keyword arguments that build this object anew."""
        return {"nats": self.nats}


def _weight(owner: str, name: str, value: float) -> float:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{owner} wants a finite {name} of at least 0; got {value}.")
    return float(value)

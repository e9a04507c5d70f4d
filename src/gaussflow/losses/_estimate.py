"""What a sample says of a number: an estimate, and how far it may be off."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """An estimate and its standard error, of one shape (...).

    Parameters
    ----------
    value
        The estimate.
    error
        Its standard error.

    Examples
    --------
    >>> import torch
    >>> from gaussflow import Estimate
    >>> Estimate(torch.tensor(0.5), torch.tensor(0.25)).error
    tensor(0.2500)
    """

    value: Tensor
    error: Tensor

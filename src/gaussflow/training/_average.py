"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class Average:
    r"""The moving average :math:`a \leftarrow a + (1 - d_t)(w - a)` of all floating numbers of a state.

    The decay :math:`d_t = \min(d, (1 + t) / (10 + t))` begins low, so that what training started from is soon
    forgotten. Integers, such as counts of steps, are those of the model.

    Parameters
    ----------
    model
        Its state is where the average starts.
    decay
        The decay d, between 0 and 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps, self.state = decay, 0, copy_of(model.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step towards the weights of the model."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, now in model.state_dict().items():
            if now.is_floating_point():
                self.state[name].lerp_(now, share)
            else:
                self.state[name].copy_(now)

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """The model with the average for weights, and afterwards with its own."""
        own = copy_of(model.state_dict())
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)


def copy_of(state: Mapping[str, Tensor]) -> State:
    """A state with tensors of its own."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}

"""Coupling blocks of the library: set in closed form on normal data, or trained end to end."""

from __future__ import annotations

from itertools import chain as joined

import torch
from torch import Tensor, nn

from benchmarks.lab.linear import F64, affine, law_loss, pushed
from benchmarks.lab.spectra import generator_of, rows_of
from gaussflow import MLP, AffineCoupling, Chain, Flow, Rotation, Standardize, Transform, train
from gaussflow.ops import haar

RADIUS = 6.0  # the squashing of a coupling's view, which a linear conditioner undoes
JUDGED = 50_000


class LinearShift(nn.Module):
    r"""A conditioner that shifts by a linear map of the coordinates themselves: (u, t) = (0, W x + b).

    A coupling shows it :math:`y = x / (1 + |x| / 6)`, so it first takes :math:`x = y / (1 - |y| / 6)`.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim // 2)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, y: Tensor) -> Tensor:
        """Map y (..., in_dim) to (..., out_dim)."""
        shift = self.linear(y / (1 - y.abs() / RADIUS).clamp(min=1e-6))
        return torch.cat([torch.zeros_like(shift), shift], -1)


def small_mlp(in_dim: int, out_dim: int) -> nn.Module:
    """The library's default kind of conditioner, one layer of 64."""
    return MLP(in_dim, out_dim, hidden=(64,), zero_last=True)


CONDITIONERS = {"linear": LinearShift, "mlp": small_mlp}


def coupling_flow(dim: int, blocks: int, conditioner: str, seed: int) -> Flow:
    """Blocks of a fixed Haar turn, an `AffineCoupling` that keeps the first half, and a `Standardize`; all trainable
    but the turns. The identity after the turns at birth."""

    def block(index: int) -> list[Transform]:
        turn = Rotation(dim, haar(dim, generator_of(seed, dim, 1, index)))
        turn.requires_grad_(False)
        return [turn, AffineCoupling(dim, range(dim // 2), CONDITIONERS[conditioner]), Standardize(dim)]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the weights
        return Flow(Chain(*joined.from_iterable(block(index) for index in range(blocks))))


@torch.no_grad()
def set_regression(coupling: AffineCoupling, seen: Tensor, mean: Tensor) -> None:
    """Give a coupling with a `LinearShift` the regression of the moved on the kept coordinates, from two moments."""
    kept = list(coupling.mask)
    moved = [i for i in range(coupling.dim) if i not in kept]
    weights = torch.linalg.solve(seen[kept][:, kept], seen[kept][:, moved]).mT
    linear = coupling.conditioner.linear
    assert isinstance(linear, nn.Linear)
    linear.weight.copy_(-weights)
    linear.bias.copy_(weights @ mean[kept])


def trained_loss(sigma: Tensor, rows: int, blocks: int, conditioner: str, seed: int) -> tuple[float, float]:
    """Loss on the true law, and its standard error, of so many blocks trained on rows of N(0, sigma).

    With linear conditioners the flow is affine and the loss a closed form; else a mean over fresh rows of
    :math:`\\log p - \\log \\hat p`.
    """
    dim = len(sigma)
    x = rows_of(sigma, rows, generator_of(seed, dim, 2)).float()
    flow = coupling_flow(dim, blocks, conditioner, seed)
    train(flow, x, epochs=40, batch_size=512, lr=1e-2, patience=3, seed=seed, progress=False)
    flow.double()
    if conditioner == "linear":
        matrix, shift = affine(flow.transform, dim)
        return law_loss(pushed(sigma, matrix), shift), 0.0
    fresh = rows_of(sigma, JUDGED, generator_of(seed, dim, 3))
    law = torch.distributions.MultivariateNormal(torch.zeros(dim, dtype=F64), sigma)
    with torch.no_grad():
        gap = law.log_prob(fresh) - flow.log_prob(fresh)
    return float(gap.mean()), float(gap.std() / JUDGED**0.5)

"""The rules by which blocks turn: on a covariance that is known, and as the library's transforms on rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.lab.linear import MakeMap, scaling
from gaussflow import HadamardRotation, Rotation, Transform, Whiten, ica, pca
from gaussflow.ops import haar
from gaussflow.ops.orthogonal import eigenbasis

F64 = torch.float64


@dataclass(frozen=True)
class Rule:
    """How a block turns.

    Attributes
    ----------
    random
        ``random(dim, generator)``: the random axes (D, D) of a block.
    map
        ``map(covariance, axes)``: the matrix of turn and scaling on normal data of that covariance, given them.
    turn
        ``turn(dim, block)``: the library's transform for rows, to be fitted; None where the turn does not look at
        data, so that a run on the sample's moments is the same.
    anew
        Whether each block draws its own random axes.
    at_once
        Whether one block is enough for a normal law.
    """

    random: Callable[[int, torch.Generator], Tensor]
    map: MakeMap = scaling
    turn: Callable[[int, int], Transform] | None = None
    anew: bool = True
    at_once: bool = False


def _haar(dim: int, generator: torch.Generator) -> Tensor:
    return haar(dim, generator, F64)


def _hadamard(dim: int, generator: torch.Generator) -> Tensor:
    columns: Tensor = HadamardRotation(dim, generator=generator, dtype=F64)(torch.eye(dim, dtype=F64))[0]
    return columns.mT


def _none(dim: int, generator: torch.Generator) -> Tensor:
    return torch.eye(dim, dtype=F64)


def _principal(seen: Tensor, axes: Tensor) -> Tensor:
    return scaling(seen, eigenbasis(seen)[1])


def _whitening(seen: Tensor, axes: Tensor) -> Tensor:
    sizes = seen.diagonal().rsqrt()
    values, vectors = eigenbasis(seen * sizes[:, None] * sizes)
    turn: Tensor = values.rsqrt()[:, None] * vectors
    return turn * sizes


def _independent(seen: Tensor, axes: Tensor) -> Tensor:
    """Whitened normal data show the contrast of ICA no direction: it stays where it starts, at random axes."""
    return scaling(seen, axes @ eigenbasis(seen)[1])


def _ica_turn(dim: int, block: int) -> Transform:
    return Rotation(dim, partial(ica, seed=block))


RULES = {
    "haar": Rule(_haar),
    "hadamard": Rule(_hadamard),
    "pca": Rule(_none, _principal, lambda dim, block: Rotation(dim, pca), at_once=True),
    "whitening": Rule(_none, _whitening, lambda dim, block: Whiten(dim), at_once=True),
    "ica": Rule(_haar, _independent, _ica_turn),
    "ica_one_start": Rule(_haar, _independent, anew=False),
}
NAMES = {
    "haar": "Haar rotations",
    "hadamard": "Hadamard rotations",
    "pca": "principal axes",
    "whitening": "whitening",
    "ica": "ICA axes alone, a new start for each block",
    "ica_one_start": "ICA axes alone, one start for all blocks",
}

"""Our own methods: `gaussflow.rbig` with each rotation, the trainable flow, and a grown flow trained further."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import torch

from benchmarks.methods import Fitted, Method, Task, tensor_density
from gaussflow.models.flow import Flow
from gaussflow.recipes import (
    gaussianization_flow,
    haar_rotation,
    hadamard_rotation,
    hybrid,
    ica_rotation,
    pca_rotation,
    rbig,
    sliced_rotation,
    whitening,
)
from gaussflow.training.train import train
from gaussflow.transforms.base import Transform
from gaussflow.transforms.householder import HouseholderRotation

Rotations = Callable[[], Callable[[int, torch.Generator], Transform]]


def householder_rotation(dim: int, generator: torch.Generator) -> Transform:
    """A product of eight random reflections: an eighth of a random rotation's work and freedom in high dimension."""
    rotation = HouseholderRotation(dim, min(8, dim))
    with torch.no_grad():
        for parameter in rotation.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return rotation


def alternating() -> Callable[[int, torch.Generator], Transform]:
    """Principal axes and Haar-random ones in turn."""
    turn = 0

    def rotation(dim: int, generator: torch.Generator) -> Transform:
        nonlocal turn
        turn += 1
        return (pca_rotation if turn % 2 else haar_rotation)(dim, generator)

    return rotation


def grown(rotations: Rotations, task: Task) -> Fitted:
    """`rbig` in float64 with its defaults, stopped on the validation rows."""
    flow, history = _grow(rotations, task)
    return _fitted(flow, torch.float64, {"blocks": len(list(flow.transform)), "tried": len(history)})


def mixed(task: Task) -> Fitted:
    """`hybrid` in float32, its blocks chosen on the validation rows."""
    train_rows, valid_rows = _tensors(task, torch.float32)
    flow, history = hybrid(train_rows, valid=valid_rows, seed=task.seed, progress=False)
    kinds = [record["kind"] for record in history if record["kept"]]
    return _fitted(flow, torch.float32, {"blocks": kinds, "tried": len(history)})


def trained(layers: int, task: Task) -> Fitted:
    """`gaussianization_flow` from its start, trained end to end within the budget, in float32."""
    train_rows, valid_rows = _tensors(task, torch.float32)
    flow = gaussianization_flow(task.table.dim, layers, rows=train_rows, seed=task.seed)
    return _train(flow, task, train_rows, valid_rows)


def grown_then_trained(rotations: Rotations, blocks: int, task: Task) -> Fitted:
    """`rbig` up to so many blocks, then all of it trained further within the budget, in float32."""
    flow, _ = _grow(rotations, task, max_blocks=blocks)
    flow = flow.float()
    return _train(flow, task, *_tensors(task, torch.float32))


def _grow(rotations: Rotations, task: Task, **options: Any) -> tuple[Flow, Any]:
    train_rows, valid_rows = _tensors(task, torch.float64)
    if task.quick:
        options["max_blocks"] = 3
    return rbig(train_rows, valid=valid_rows, rotation=rotations(), seed=task.seed, progress=False, **options)


def _train(flow: Flow, task: Task, train_rows: torch.Tensor, valid_rows: torch.Tensor) -> Fitted:
    note: dict[str, Any] = {"ended": "by itself"}
    epochs = 2 if task.quick else 1000
    try:
        with cpu_seconds(task.budget):
            train(flow, train_rows, valid=valid_rows, epochs=epochs, lr=1e-2, seed=task.seed, progress=False)
    except BudgetSpentError:
        note["ended"] = "by the budget"  # train leaves the best weights so far in the flow
    return _fitted(flow, torch.float32, note)


def _tensors(task: Task, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.as_tensor(task.table.train, dtype=dtype), torch.as_tensor(task.table.valid, dtype=dtype)


def _fitted(flow: Flow, dtype: torch.dtype, note: dict[str, Any]) -> Fitted:
    return Fitted(tensor_density(flow.log_prob, dtype), note)


class BudgetSpentError(Exception):
    """Raised in the main thread when the CPU seconds are used up."""


@contextmanager
def cpu_seconds(budget: float) -> Iterator[None]:
    """Interrupt the block once this process has used so many CPU seconds in it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise BudgetSpentError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, budget)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


OURS: dict[str, Method] = {
    "hybrid": mixed,
    "rbig_haar": partial(grown, lambda: haar_rotation),
    "rbig_hadamard": partial(grown, lambda: hadamard_rotation),
    "rbig_householder": partial(grown, lambda: householder_rotation),
    "rbig_pca": partial(grown, lambda: pca_rotation),
    "rbig_ica": partial(grown, lambda: ica_rotation),
    "rbig_sliced": partial(grown, lambda: sliced_rotation),
    "rbig_whitening": partial(grown, lambda: whitening),
    "rbig_alternating": partial(grown, alternating),
    "trained": partial(trained, 6),
    "grown_then_trained": partial(grown_then_trained, alternating, 8),
}

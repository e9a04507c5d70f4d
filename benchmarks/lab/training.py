"""Iterative against end-to-end: the same rotations and marginals, fitted block by block or trained all together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from benchmarks import synthetic
from benchmarks.data import Table, known, load
from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.training_report import REFERENCE, draw, report
from benchmarks.synthetic import Law
from gaussflow import (
    Chain,
    Flow,
    History,
    MixtureCDF,
    Rotation,
    Standardize,
    Transform,
    gaussianization_flow,
    grow,
    haar,
    haar_rotation,
    ica_rotation,
    pca_rotation,
    rbig,
    train,
)

ROWS, QUICK_ROWS, TEST = 4000, 1000, 4000
EPOCHS, QUICK_EPOCHS = 40, 15
GROWN, QUICK_GROWN = 32, 8
TRAINED = (1, 2, 4, 8)
LAWS: dict[str, Callable[[int], Law]] = {
    "moons": synthetic.moons,
    "gaussian": synthetic.gaussian,
    "mixture": synthetic.mixture,
}
RULES = {"haar": haar_rotation, "pca": pca_rotation, "ica": ica_rotation}


def cases(setting: Setting) -> list[Case]:
    """Both ways on every problem; a second seed, on which the ratio of blocks is seen again, where D varies."""
    if setting.quick:
        return [
            case
            for problem, dim in (("moons", 2), ("moons", 8), ("gaussian", 8))
            for case in _ways(problem, dim, 0, ("same", "ica"), (1, 2, 4), QUICK_GROWN)
        ]
    laws = [(problem, dim) for dim in (2, 4, 8, 16) for problem in ("moons", "gaussian")]
    tables = [("mixture", 8), ("breast_cancer", 30), ("digits", 64)]
    first = [case for each in (*laws, *tables) for case in _ways(*each, 0, tuple(RULES), TRAINED, GROWN)]
    again = [case for each in laws for case in _ways(*each, 1, ("haar", "ica"), (REFERENCE,), GROWN)]
    same = [case for dim in (2, 8) for p in ("moons", "gaussian") for case in _ways(p, dim, 0, ("same",), (), GROWN)]
    return [*first, *again, *same]


def _ways(
    problem: str, dim: int, seed: int, grown: tuple[str, ...], trained: tuple[int, ...], blocks: int
) -> list[Case]:
    where = {"problem": problem, "dim": dim}
    iterative = [{**where, "method": name, "most": blocks, "seed": seed} for name in grown]
    return [*iterative, *({**where, "method": "trained", "most": n, "seed": seed} for n in trained)]


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """Nats on test rows after so many blocks, above the truth where it is known, and the CPU seconds until then."""
    table = _table(case, setting)
    if case["method"] == "trained":
        x, valid, test = _tensors(table, torch.float32)
        train(
            gaussianization_flow(table.dim, 1), x[:50], valid=valid[:50], epochs=1, progress=False
        )  # loads torch's parts
        start = time.process_time()
        flow = gaussianization_flow(table.dim, case["most"], rows=x, seed=case["seed"])
        epochs = QUICK_EPOCHS if setting.quick else EPOCHS
        history = train(flow, x, valid=valid, epochs=epochs, seed=case["seed"], progress=False)
        cpu = time.process_time() - start
        return _line(table, test, [(case["most"], flow, cpu)]) | {"epochs": history[-1]["epoch"]}
    x, valid, test = _tensors(table, torch.float64)
    start = time.process_time()
    flow, history = _grown(case, x, valid)
    cpu = time.process_time() - start
    return _line(table, test, _prefixes(flow, history, cpu))


def _table(case: Case, setting: Setting) -> Table:
    if case["problem"] in LAWS:
        rows = QUICK_ROWS if setting.quick else ROWS
        table = known(case["problem"], LAWS[case["problem"]](case["dim"]), rows, seed=1 + case["seed"])
        return Table(table.name, table.train, table.valid, table.test[:TEST], table.law)
    return load(case["problem"], setting.data)


def _tensors(table: Table, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    x, valid, test = (torch.as_tensor(part, dtype=dtype) for part in (table.train, table.valid, table.test))
    return x, valid, test


def _grown(case: Case, x: Tensor, valid: Tensor) -> tuple[Flow, History]:
    """A flow of at most so many blocks: ``same`` has the parts of the trained one, the others are `rbig`'s."""
    options: dict[str, Any] = {"max_blocks": case["most"], "patience": case["most"], "progress": False}
    options |= {"valid": valid, "seed": case["seed"]}
    if case["method"] == "same":
        return grow(partial(_same_block, x.shape[1]), x, **options)
    return rbig(x, rotation=RULES[case["method"]], whiten=False, **options)


def _same_block(dim: int, index: int, generator: torch.Generator) -> Transform:
    """A block of `gaussianization_flow`: the first standardises, the others turn by a random rotation."""
    turn = Rotation(dim, haar(dim, generator)) if index else Standardize(dim)
    return Chain(turn, MixtureCDF(dim))


def _prefixes(flow: Flow, history: History, cpu: float) -> list[tuple[int, Flow, float]]:
    """The flow up to 1, 2, 4 ... blocks tried, with the CPU seconds until then: shares of all by the blocks' clocks."""
    parts, kept = list(flow.transform), history.column("kept")  # type: ignore[call-overload]
    shares = list(accumulate(history.column("seconds")))
    tried = [2**k for k in range(8) if 2**k <= len(kept)]
    return [(n, Flow(Chain(*parts[: sum(kept[:n])])), cpu * shares[n - 1] / shares[-1]) for n in tried]


@torch.no_grad()
def _line(table: Table, test: Tensor, flows: list[tuple[int, Flow, float]]) -> dict[str, Any]:
    truth = torch.as_tensor(table.law.nats(table.test)) if table.law else torch.zeros(len(test))
    start = Flow(Standardize(table.dim, dtype=test.dtype).fit(torch.as_tensor(table.train, dtype=test.dtype)))
    found = []
    for flow in (start, *(flow.eval() for _, flow, _ in flows)):
        above = -flow.log_prob(test).double() - truth
        found.append((float(above.mean()), float(above.std()) / math.sqrt(len(above))))
    return {
        "known": table.law is not None,
        "start": found[0][0],
        "blocks": [n for n, _, _ in flows],
        "nats": [mean for mean, _ in found[1:]],
        "error": [error for _, error in found[1:]],
        "cpu": [round(cpu, 3) for _, _, cpu in flows],
    }


EXPERIMENT = Experiment(
    "training",
    "Does training all blocks together need fewer blocks, or fewer seconds, than fitting them one by one?",
    cases,
    measure,
    draw,
    report,
)

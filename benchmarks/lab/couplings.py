"""Equation 20: how many coupling blocks normal data need, in closed form and trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.lab.blocks import TENTH, THOUSANDTH, needed
from benchmarks.lab.coupled import trained_loss
from benchmarks.lab.couplings_report import draw, report
from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.intervals import rounded
from benchmarks.lab.linear import coupling, law_loss, population_run, sample_run
from benchmarks.lab.rules import RULES
from benchmarks.lab.spectra import covariance, generator_of, rows_of
from gaussflow.theory import gaussian_loss

F64 = torch.float64
LIMIT = 60  # blocks of a fitted run that is given up


def cases(setting: Setting) -> list[Case]:
    """Fitted blocks on the covariance, fitted to rows, then trained ones."""
    dims = (2, 4, 8, 16, 32, 64) if setting.quick else (2, 4, 8, 16, 32, 64, 128, 256)
    seeds = range(4 if setting.quick else 8)
    made = [
        _case("fitted", turn, spectrum, 0, d, seeds)
        for spectrum in ("near_identity", "log_spaced")
        for turn in ("haar", "permuted")
        for d in dims
    ]
    for rows in (10_000,) if setting.quick else (10_000, 100_000):
        made += [_case("fitted", "haar", "log_spaced", rows, d, seeds if d < 128 else range(4)) for d in dims]
    if setting.quick:
        made += [_case("linear", "haar", "log_spaced", 5_000, d, range(2)) for d in (2, 8, 16)]
        return [*made, _case("mlp", "haar", "log_spaced", 5_000, 8, range(2))]
    for d in dims[:6]:
        made += [_case(kind, "haar", "log_spaced", 10_000, d, range(3)) for kind in ("linear", "mlp")]
    return [*made, _case("linear", "haar", "log_spaced", 10_000, 128, range(3))]


def _case(kind: str, turn: str, spectrum: str, rows: int, dim: int, seeds: Iterable[int]) -> Case:
    return {"kind": kind, "turn": turn, "spectrum": spectrum, "rows": rows, "dim": dim, "seeds": list(seeds)}


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """Losses on the true law before the first block and with each number of blocks, and how many a goal takes.

    Fitted blocks are grown one after the other until the exact loss is a thousandth. Trained ones are trained together,
    anew for each number of blocks, until a tenth is left, with two blocks at least and four at most.
    """
    measured = _trained if case["kind"] != "fitted" else _fitted
    runs = [measured(case, seed) for seed in case["seeds"]]
    found: dict[str, Any] = {name: [rounded(run[name]) for run in runs] for name in runs[0]}
    losses = found["losses"]
    found["tenfold"] = [needed(run, TENTH, 1) for run in losses]
    found["thousandfold"] = [needed(run, THOUSANDTH, 1) for run in losses]
    return found


def _fitted(case: Case, seed: int) -> dict[str, list[float]]:
    dim, rows = case["dim"], case["rows"]
    sigma = covariance(case["spectrum"], dim, seed)
    start = float(gaussian_loss(sigma))
    exact, sampled = [], []
    models: Iterator[tuple[Tensor, Tensor] | None] = iter([None] * (LIMIT + 1))
    if rows:
        x = rows_of(sigma, rows, generator_of(seed, dim, 2))
        models = sample_run(sigma, (x.mean(0), x.mT.cov(correction=0)), coupling, turns(case["turn"], dim, seed))
    for after, model in zip(population_run(sigma, coupling, turns(case["turn"], dim, seed)), models, strict=True):
        exact.append(float(gaussian_loss(after)))
        if model is not None:
            sampled.append(law_loss(*model))
        if exact[-1] <= THOUSANDTH * start:
            break
    return {"exact": exact, "losses": sampled} if rows else {"losses": exact}


def turns(turn: str, dim: int, seed: int) -> Iterator[Tensor]:
    """The axes (D, D) of each block: Haar rotations, or permutations of the coordinates."""
    for block in range(LIMIT):
        generator = generator_of(seed, dim, 1, block)
        if turn == "haar":
            yield RULES["haar"].random(dim, generator)
        else:
            yield torch.eye(dim, dtype=F64)[torch.randperm(dim, generator=generator)]


def _trained(case: Case, seed: int) -> dict[str, list[float]]:
    sigma = covariance(case["spectrum"], case["dim"], seed)
    losses, errors = [float(gaussian_loss(sigma))], [0.0]
    for blocks in range(1, 5):
        loss, error = trained_loss(sigma, case["rows"], blocks, case["kind"], seed)
        losses.append(loss)
        errors.append(error)
        if blocks > 1 and loss <= TENTH * losses[0]:
            break
    return {"losses": losses, "errors": errors}


EXPERIMENT = Experiment(
    "couplings",
    "How many coupling blocks do the same normal data need? (equation 20)",
    cases,
    measure,
    draw,
    report,
)

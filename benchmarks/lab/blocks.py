"""Theorems 1 and 2: how many blocks normal data need, by the covariance exactly and from samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from torch import Tensor

from benchmarks.lab.blocks_picture import draw
from benchmarks.lab.blocks_report import report
from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.intervals import rounded
from benchmarks.lab.linear import law_loss, population_run, pushed, rows_run, sample_run
from benchmarks.lab.rules import RULES, Rule
from benchmarks.lab.spectra import covariance, generator_of, rows_of
from gaussflow.theory import blocks_needed, gaussian_loss, gaussian_step

Model = tuple[Tensor, Tensor]  # covariance and mean of the true law after the fitted blocks
TENTH, THOUSANDTH = 0.1, 1e-3
AT_ONCE = ("pca", "whitening")


def cases(setting: Setting) -> list[Case]:
    """Exact runs first, then those of samples, by dimension."""
    return _quick() if setting.quick else _full()


def _quick() -> list[Case]:
    dims = (2, 4, 8, 16, 32, 64)
    made = [_case("near_identity", m, 0, d, range(4)) for m in ("haar", "hadamard", *AT_ONCE) for d in dims]
    made += [_case("near_identity", "ica", 0, d, range(4)) for d in dims[:-1]]
    made += [_case("near_identity", "ica_one_start", 0, d, range(4)) for d in (4, 16)]
    made += [_case("near_identity", "haar", 0, 64, range(4, 8)), _case("near_identity", "haar", 0, 128, range(6))]
    made += [_case("log_spaced", "haar", 0, d, range(4)) for d in dims]
    made += [_case("log_spaced", m, 10_000, d, range(6)) for m in ("haar", *AT_ONCE) for d in dims[:-1]]
    made += [_case("log_spaced", "haar", 10_000, 64, range(4))]
    made += [_case("log_spaced", "ica", 10_000, d, range(4)) for d in (2, 4)]
    return made


def _full() -> list[Case]:
    dims = (2, 4, 8, 16, 32, 64, 128, 256)
    made: list[Case] = []
    for spectrum in ("near_identity", "log_spaced"):
        for method in ("haar", "hadamard", *AT_ONCE):
            made += [_case(spectrum, method, 0, d, range(8)) for d in dims[:7]]
        made += [_case(spectrum, "ica", 0, d, range(8)) for d in dims[:7]]
        made += [_case(spectrum, method, 0, 256, range(4)) for method in ("hadamard", *AT_ONCE)]
        made += [_case(spectrum, "ica_one_start", 0, d, range(8)) for d in (4, 8, 16, 32)]
    made += [_case("near_identity", "haar", 0, 256, range(8)), _case("log_spaced", "haar", 0, 256, range(4))]
    made.append(_case("near_identity", "ica", 0, 256, range(4)))
    made += [_case("near_identity", "haar", 0, 64, range(8 + 24 * i, 32 + 24 * i)) for i in range(5)]
    made += [_case("near_identity", "haar", 0, 128, range(8 + 20 * i, 28 + 20 * i)) for i in range(2)]
    for rows in (10_000, 100_000):
        for method in ("haar", "hadamard", *AT_ONCE):
            made += [_case("log_spaced", method, rows, d, range(12 if d < 128 else 5)) for d in dims[:7]]
        made += [_case("log_spaced", method, rows, 256, range(5)) for method in ("haar", *AT_ONCE)]
        made += [_case("near_identity", "haar", rows, d, range(12)) for d in dims[:6]]
    made.append(_case("log_spaced", "hadamard", 10_000, 256, range(3)))
    made += [_case("log_spaced", "ica", 10_000, d, range(3)) for d in (2, 4, 8, 16)]
    made += [_case("log_spaced", "ica", 100_000, d, range(3)) for d in (2, 4)]
    return sorted(made, key=lambda case: case["dim"])


def _case(spectrum: str, method: str, rows: int, dim: int, seeds: Iterable[int]) -> Case:
    return {"spectrum": spectrum, "method": method, "rows": rows, "dim": dim, "seeds": list(seeds)}


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """Losses at every so-many-th block of each seed, and the blocks after which a tenth and a thousandth is left.

    A run ends where the exact loss has fallen a thousandfold, with rows four thousandfold, or at ``limit`` blocks. With
    rows, ``sampled`` is the loss of the fitted map on the true law, and ``exact`` that of the exact recursion with the
    same rotations.
    """
    every, limit = stride_and_limit(case)
    enough = THOUSANDTH / 4 if case["rows"] else THOUSANDTH
    exact, sampled = [], []
    for seed in case["seeds"]:
        sigma = covariance(case["spectrum"], case["dim"], seed)
        start = float(gaussian_loss(sigma))
        lines: tuple[list[float], list[float]] = [], []
        for index, (true, model) in enumerate(_pairs(case, seed, sigma, limit)):
            if index % every:
                continue
            lines[0].append(float(gaussian_loss(true)))
            if model is not None:
                lines[1].append(law_loss(*model))
            if lines[0][-1] <= enough * start and index:
                break
        exact.append(rounded(lines[0]))
        sampled.append(rounded(lines[1]))
    found: dict[str, Any] = {"every": every, "exact": exact}
    found |= _counts(exact, every, "")
    return found | ({"sampled": sampled, **_counts(sampled, every, "sampled_")} if case["rows"] else {})


def stride_and_limit(case: Case) -> tuple[int, int]:
    """Every how many blocks the loss is taken, and after how many a run is given up."""
    dim, method = case["dim"], case["method"]
    if RULES[method].at_once:
        return 1, 1
    every = max(1, dim // 32)
    wanted = blocks_needed(dim, THOUSANDTH) * (1.5 if dim > 32 else 3)
    if case["rows"] and (dim > 128 or method == "ica"):
        wanted = blocks_needed(dim, TENTH) * 1.7
    elif method == "ica_one_start":
        wanted = blocks_needed(dim, THOUSANDTH) * 1.5
    return every, math.ceil(wanted / every) * every


def needed(losses: list[float], ratio: float, every: int) -> int | None:
    """The least number of blocks with at most that share of the first loss; None where the run never gets there.

    Between the blocks that were looked at, the logarithm of the loss is taken as linear.
    """
    goal = math.log(ratio * losses[0])
    for index, (before, after) in enumerate(pairwise(losses)):
        high, low = math.log(max(before, 1e-300)), math.log(max(after, 1e-300))
        if low <= goal:
            return math.ceil(every * (index + (high - goal) / (high - low)) - 1e-9)
    return None


def _counts(runs: list[list[float]], every: int, prefix: str) -> dict[str, Any]:
    names = {"tenfold": TENTH, "thousandfold": THOUSANDTH}
    return {prefix + name: [needed(run, ratio, every) for run in runs] for name, ratio in names.items()}


def _pairs(case: Case, seed: int, sigma: Tensor, limit: int) -> Iterator[tuple[Tensor, Model | None]]:
    """After each block: the covariance of the exact run, and with rows the model's view of the true law."""
    rule, dim, rows = RULES[case["method"]], case["dim"], case["rows"]
    if not rows:
        return ((s, None) for s in population_run(sigma, rule.map, _axes(rule, dim, seed, limit)))
    x = rows_of(sigma, rows, generator_of(seed, dim, 2))
    if rule.turn is not None:
        return _by_library(rule, sigma, x, limit)
    model = sample_run(sigma, (x.mean(0), x.mT.cov(correction=0)), rule.map, _axes(rule, dim, seed, limit))
    return zip(population_run(sigma, rule.map, _axes(rule, dim, seed, limit)), model, strict=True)


def _axes(rule: Rule, dim: int, seed: int, blocks: int) -> Iterator[Tensor]:
    """The random axes of each block, the same for the exact run and for the sample's."""
    return (rule.random(dim, generator_of(seed, dim, 1, block if rule.anew else 0)) for block in range(blocks))


def _by_library(rule: Rule, sigma: Tensor, x: Tensor, limit: int) -> Iterator[tuple[Tensor, Model]]:
    """By the library's fits; beside them the exact run: of the same rule if one block is enough, else turned alike."""
    assert rule.turn is not None
    exact, dim = sigma, len(sigma)
    fits = rows_run(sigma, x, (rule.turn(dim, block) for block in range(limit)))
    for index, (after, mean, turn) in enumerate(fits):
        if index:
            exact = pushed(exact, rule.map(exact, turn)) if rule.at_once else gaussian_step(exact, turn)
        yield exact, (after, mean)


EXPERIMENT = Experiment(
    "blocks",
    "How many blocks do normal data need as the dimension grows? (theorems 1 and 2)",
    cases,
    measure,
    draw,
    report,
)

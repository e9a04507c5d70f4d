"""The two parts of the loss along a run: dependence and marginal losses, estimated, beside what they truly are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.lab import problems
from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.intervals import rounded
from benchmarks.lab.linear import F64, affine, law_loss, pushed
from benchmarks.lab.parts_report import draw, report
from benchmarks.lab.spectra import covariance, generator_of, rows_of
from benchmarks.synthetic import Law
from gaussflow import MarginalSpline, Rotation, Standardize, Transform, decompose_loss, haar, ica, pca
from gaussflow.theory import gaussian_loss

FRESH = 32_768  # rows that no fit has seen; decompose_loss looks at 8,192 of them
MakeTurn = Callable[[int, int, int], Transform]
LAWS: dict[str, Callable[[int, int], Law]] = {"sources": problems.sources, "rings": problems.rings}


def _haar(dim: int, seed: int, block: int) -> Transform:
    return Rotation(dim, haar(dim, generator_of(seed, dim, 1, block)))


TURNS: dict[str, MakeTurn] = {
    "haar": _haar,
    "pca": lambda dim, seed, block: Rotation(dim, pca),
    "ica": lambda dim, seed, block: Rotation(dim, partial(ica, seed=block)),
}


def cases(setting: Setting) -> list[Case]:
    """Normal data by Haar and principal axes; sources and rings by Haar and independent axes."""
    if setting.quick:
        shapes: list[tuple[str, str, int]] = [("gaussian", "pca", 2), ("gaussian", "haar", 8), ("sources", "ica", 2)]
        return [_case(*each, 4, 4_000, range(2)) for each in [*shapes, ("sources", "haar", 8), ("rings", "haar", 8)]]
    wide = [("gaussian", "pca", 2), ("gaussian", "haar", 20), ("sources", "ica", 3), ("sources", "haar", 20)]
    wide += [("rings", "haar", 20), ("rings", "ica", 10)]
    return [_case(*each, 8, 20_000, range(4)) for each in wide]


def _case(problem: str, turn: str, blocks: int, dim: int, rows: int, seeds: Iterable[int]) -> Case:
    return {"problem": problem, "turn": turn, "blocks": blocks, "dim": dim, "rows": rows, "seeds": list(seeds)}


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """At every stage of each seed's run: the true loss, what is estimated of its parts, and what is known of them.

    Stages are the data, then for each block what its rotation and what its marginal transforms leave. ``loss`` is a
    closed form for normal data and else the mean of log p - log p̂ over fresh rows; ``gain`` is that of each block.
    """
    run = _normal_run if case["problem"] == "gaussian" else _law_run
    runs = [run(case, seed) for seed in case["seeds"]]
    return {name: [rounded(each[name], 8) for each in runs] for name in runs[0]}


def _normal_run(case: Case, seed: int) -> dict[str, list[float]]:
    dim = case["dim"]
    sigma = covariance("log_spaced", dim, seed)
    mean = torch.zeros(dim, dtype=F64)
    x = rows_of(sigma, case["rows"], generator_of(seed, dim, 2))
    fresh = rows_of(sigma, FRESH, generator_of(seed, dim, 3))
    found = _seen(fresh)
    truth: dict[str, list[float]] = {"loss": [], "true_dependence": [], "true_marginals": []}
    _note(truth, sigma, mean)
    for part in _fitted(case, seed, x, lambda: Standardize(dim)):
        matrix, shift = affine(part, dim)
        sigma, mean = pushed(sigma, matrix), matrix @ mean + shift
        with torch.no_grad():
            fresh = part(fresh)[0]
        _note(truth, sigma, mean)
        _extend(found, _seen(fresh))
    loss = truth["loss"]
    gains = [before - after for before, after in zip(loss[:-1:2], loss[2::2], strict=True)]
    return found | truth | {"loss_error": [0.0] * len(loss), "gain": gains, "gain_error": [0.0] * len(gains)}


def _note(truth: dict[str, list[float]], sigma: Tensor, mean: Tensor) -> None:
    r"""Loss, :math:`-\tfrac12 \log\det R` with R the correlations, and the marginal losses of a normal law."""
    sizes = sigma.diagonal()
    correlations = sigma * sizes.rsqrt() * sizes.rsqrt()[:, None]
    truth["loss"].append(law_loss(sigma, mean))
    truth["true_dependence"].append(float(gaussian_loss((correlations + correlations.mT) / 2)))
    truth["true_marginals"].append(law_loss(torch.diag(sizes), mean))


def _law_run(case: Case, seed: int) -> dict[str, list[float]]:
    dim, law = case["dim"], LAWS[case["problem"]](case["dim"], seed)
    rng = np.random.default_rng([seed, dim])
    x, fresh = (torch.from_numpy(law.draw(count, rng)) for count in (case["rows"], FRESH))
    left = _excess(law, fresh)
    found, losses, gains = _seen(fresh), [_mean(left)], []
    gained = torch.zeros(FRESH, dtype=F64)
    for index, part in enumerate(_fitted(case, seed, x, lambda: MarginalSpline(dim))):
        with torch.no_grad():
            after, ladj = part(fresh)
        step = ladj + 0.5 * (fresh.square() - after.square()).sum(-1)
        gained, left, fresh = gained + step, left - step, after
        losses.append(_mean(left))
        _extend(found, _seen(fresh))
        if index % 2:
            gains.append(_mean(gained))
            gained = torch.zeros_like(gained)
    both = {"loss": losses, "gain": gains}
    return (
        found
        | {name: [value for value, _ in pairs] for name, pairs in both.items()}
        | {name + "_error": [error for _, error in pairs] for name, pairs in both.items()}
    )


def _excess(law: Law, x: Tensor) -> Tensor:
    """The log-density (n,) of rows above that of the standard normal: its mean is the loss of the data."""
    normal = -0.5 * x.square().sum(-1) - 0.5 * x.shape[-1] * math.log(2 * math.pi)
    return -torch.from_numpy(law.nats(x.numpy())) - normal


def _mean(values: Tensor) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def _fitted(case: Case, seed: int, x: Tensor, marginal: Callable[[], Transform]) -> Iterator[Transform]:
    """The rotation and the marginal transforms of each block, fitted to rows one after the other."""
    for block in range(case["blocks"]):
        for part in (TURNS[case["turn"]](case["dim"], seed, block), marginal()):
            part.to(F64).fit(x)
            yield part
            with torch.no_grad():
                x = part(x)[0]


def _seen(z: Tensor) -> dict[str, list[float]]:
    """What `decompose_loss` says of rows: value and error of the dependence and of the sum of the marginal losses."""
    _, dependence, marginals = decompose_loss(z)
    return {
        "dependence": [float(dependence.value)],
        "dependence_error": [float(dependence.error)],
        "marginals": [float(marginals.value.sum())],
        "marginals_error": [float(marginals.error.square().sum().sqrt())],
    }


def _extend(held: dict[str, list[float]], more: dict[str, list[float]]) -> None:
    for name, values in more.items():
        held[name] += values


EXPERIMENT = Experiment(
    "parts",
    "How does the loss divide into dependence and marginal losses along a run?",
    cases,
    measure,
    draw,
    report,
)

"""Which regressor tells the law of a coordinate given those before it: ``python -m benchmarks.conditionals``.

All methods start from the same marginals. What comes after is triangular: each coordinate u is moved to
:math:`(u - m) / s` with mean m and scale s from the coordinates before it, then a spline of each coordinate takes the
shape that is left. Regressors are fitted on the training rows; the validation rows choose widths and penalties, set
the level of the scales and give the last spline. The mixture does all of this by itself, from the training rows alone.

Means stay in the range of the training rows and scales within a factor of that of the residuals, so that no row is
extrapolated; a coordinate whose regressor does not surely beat the linear one on the validation rows keeps that.
Printed are nats on the test rows, with the CPU seconds of the fit after the marginals, and the mean of the worst 0.1 %
of the rows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.data import TABLES, Table, load
from benchmarks.measure import QUICK_ROWS, Row, commit, score, versions
from benchmarks.report import append, show
from benchmarks.synthetic import LOG_2PI, Array
from gaussflow import MarginalSpline, MixtureTransport

KNOTS, LAST_KNOTS = 400, 48
FEATURES = 300
WIDTHS = (0.5, 1.0, 2.0, 4.0)  # of the waves, in units of the root of the number of coordinates
BENDS = (4, 8, 16)  # knots of the splines of one coordinate
PENALTIES = tuple(10.0**k for k in range(-4, 3))  # a row
SPREAD = 8.0  # largest ratio of a scale to that of all residuals
NO_RESIDUAL = 1e-3  # of the root mean square of the residuals: smaller ones count as this in the logarithm

Curve = Callable[[Array], Array]
Features = Callable[[Array], Array]
Regress = Callable[[Array, Array, Array, Array], Curve]  # on rows and values, chosen by other rows and values
Z = tuple[Array, Array]  # latent (n, D) and log-determinant (n,)


class Rows(NamedTuple):
    """Rows after the marginals: train and valid, each (n, D)."""

    train: Array
    valid: Array


# Regressors


def linear(x: Array, y: Array, held_x: Array, held_y: Array) -> Curve:
    """Least squares on the coordinates themselves, nothing chosen."""
    weights = np.linalg.lstsq(_with_one(x), y, rcond=None)[0]
    return lambda rows: _with_one(rows) @ weights


def constant(x: Array, y: Array, held_x: Array, held_y: Array) -> Curve:
    """The mean."""
    mean = y.mean()
    return lambda rows: np.full(len(rows), mean)


def waves(x: Array, y: Array, held_x: Array, held_y: Array) -> Curve:
    """Ridge on random Fourier features of the width and with the penalty that suit the validation rows best."""
    rng = np.random.default_rng(0)
    turns, phases = rng.standard_normal((x.shape[1], FEATURES)), rng.uniform(0, 2 * np.pi, FEATURES)

    def of_width(width: float) -> Features:
        return lambda rows: np.cos(rows @ turns / (width * np.sqrt(x.shape[1])) + phases)

    return _ridge([of_width(width) for width in WIDTHS], x, y, held_x, held_y)


def bends(x: Array, y: Array, held_x: Array, held_y: Array) -> Curve:
    """Ridge on splines of each coordinate alone, their knots and the penalty chosen alike: an additive model."""
    from sklearn.preprocessing import SplineTransformer

    held = [SplineTransformer(n, knots="quantile", extrapolation="constant").fit(x) for n in BENDS]
    return _ridge([each.transform for each in held], x, y, held_x, held_y)


def trees(x: Array, y: Array, held_x: Array, held_y: Array) -> Curve:
    """Boosted trees of depth 3, stopped on a tenth of the training rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_depth=3, max_iter=300, early_stopping=True, random_state=0)
    return model.fit(x, y).predict  # type: ignore[no-any-return]


def _ridge(choices: list[Features], x: Array, y: Array, held_x: Array, held_y: Array) -> Curve:
    """Least squares on the coordinates, then ridge on features of the rest, if they help the validation rows."""
    plain = linear(x, y, held_x, held_y)
    rest, held_rest = y - plain(x), held_y - plain(held_x)
    best, error = plain, float((held_rest**2).mean())
    for features in choices:
        phi, held_phi = features(x), features(held_x)
        mean = phi.mean(0)
        values, vectors = np.linalg.eigh((phi - mean).T @ (phi - mean) / len(x))
        loads = vectors.T @ ((phi - mean).T @ rest) / len(x)
        for penalty in PENALTIES:
            weights = vectors @ (loads / (values.clip(0) + penalty))
            found = float(((held_rest - (held_phi - mean) @ weights) ** 2).mean())
            if found < error:
                best, error = partial(_sum, plain, features, mean, weights), found
    return best


def _sum(plain: Curve, features: Features, mean: Array, weights: Array, rows: Array) -> Array:
    return plain(rows) + (features(rows) - mean) @ weights


def _with_one(x: Array) -> Array:
    return np.concatenate([x, np.ones((len(x), 1))], 1)


# Triangular maps


class Moved(NamedTuple):
    """Mean and log-scale of a coordinate as curves of those before it, with their bounds."""

    mean: Curve
    log_scale: Curve
    low: float
    high: float
    level: float  # of the logarithm of the scale

    def __call__(self, before: Array, u: Array) -> Z:
        """The coordinate in units of its conditional law, and the log-slope, (n,) each."""
        log_scale = self.level + self.log_scale(before).clip(-np.log(SPREAD), np.log(SPREAD))
        return (u - self.mean(before).clip(self.low, self.high)) * np.exp(-log_scale), -log_scale


def moved(mean_of: Regress, scale_of: Regress, train: Array, valid: Array) -> Moved:
    """Fit the law of the last column given the others; what is not surely better on validation rows stays linear."""
    x, y, held_x, held_y = train[:, :-1], train[:, -1], valid[:, :-1], valid[:, -1]
    plain, mean = (regress(x, y, held_x, held_y) for regress in (linear, mean_of))
    tries = [_scaled(*each, train, valid) for each in ((plain, constant), (mean, constant), (mean, scale_of))]
    nats = [0.5 * z**2 - log_slope for z, log_slope in (law(held_x, held_y) for law in tries)]
    best = 0
    for i in (1, 2):
        gain = nats[best] - nats[i]
        best = i if gain.mean() > gain.std() / np.sqrt(len(gain)) else best
    return tries[best]


def _scaled(mean: Curve, scale_of: Regress, train: Array, valid: Array) -> Moved:
    """Fit the scale of what a mean leaves, as a curve of the logarithms of the residuals."""
    (x, y), (held_x, held_y) = ((rows[:, :-1], rows[:, -1]) for rows in (train, valid))
    low, high = float(y.min()), float(y.max())
    rest, held_rest = (b - mean(a).clip(low, high) for a, b in ((x, y), (held_x, held_y)))
    size = max(float(np.sqrt((rest**2).mean())), 1e-6)
    logs, held_logs = (0.5 * np.log((r / size) ** 2 + NO_RESIDUAL**2) for r in (rest, held_rest))
    middle = logs.mean()
    log_scale = scale_of(x, logs - middle, held_x, held_logs - middle)
    there = log_scale(held_x).clip(-np.log(SPREAD), np.log(SPREAD))
    level = 0.5 * float(np.log(np.mean((held_rest * np.exp(-there)) ** 2) + (1e-3 * size) ** 2))
    return Moved(mean, log_scale, low, high, level)


def regressed(mean_of: Regress, scale_of: Regress, rows: Rows) -> Callable[[Array], Z]:
    """The triangular map of such regressors, and a spline of each coordinate after it."""
    dim = rows.train.shape[1]
    parts = [moved(mean_of, scale_of, rows.train[:, : i + 1], rows.valid[:, : i + 1]) for i in range(1, dim)]

    def apply(u: Array) -> Z:
        each = [part(u[:, :i], u[:, i]) for i, part in enumerate(parts, 1)]
        z = np.stack([u[:, 0], *(z for z, _ in each)], 1)
        return z, np.sum([slope for _, slope in each], 0)

    last = MarginalSpline(dim, LAST_KNOTS).double().fit(torch.as_tensor(apply(rows.valid)[0]))

    def all_of_it(u: Array) -> Z:
        z, ladj = apply(u)
        z, more = _through(last, z)
        return z, ladj + more

    return all_of_it


def mixture(rows: Rows) -> Callable[[Array], Z]:
    """The Knothe-Rosenblatt map of a bag of normal mixtures."""
    return partial(_through, MixtureTransport.of(torch.as_tensor(rows.train)))


def _through(transform: torch.nn.Module, x: Array) -> Z:
    with torch.no_grad():
        z, ladj = transform(torch.as_tensor(x))
    return z.numpy(), ladj.numpy()


METHODS: dict[str, Callable[[Rows], Callable[[Array], Z]]] = {
    "linear": partial(regressed, linear, constant),
    "waves": partial(regressed, waves, waves),
    "bends": partial(regressed, bends, bends),
    "trees": partial(regressed, trees, trees),
    "mixture": mixture,
}


def measured(table: Table, methods: list[str]) -> Iterator[Row]:
    """A row for each method: nats on the test rows, the worst of them, and seconds of the fit after the marginals."""
    marginals = MarginalSpline(table.dim, KNOTS).double().fit(torch.as_tensor(table.train))
    rows = Rows(*(_through(marginals, x)[0] for x in (table.train, table.valid)))
    u, ladj = _through(marginals, table.test)
    for method in methods:
        start = time.process_time()
        transform = METHODS[method](rows)
        seconds = time.process_time() - start
        z, more = transform(u)
        row: Row = {"table": table.name, "method": method, "seconds": seconds}
        yield row | score(ladj + more - 0.5 * (z**2 + LOG_2PI).sum(1), table)


def main(argv: Sequence[str] | None = None) -> int:
    """Print nats and the worst rows of every method on every table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conditionals", description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=["breast_cancer"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--data", type=Path, help="folder with the tables that scikit-learn does not ship")
    parser.add_argument("--out", type=Path, help="lines of JSON, added to")
    parser.add_argument("--quick", action="store_true", help="few rows: does it run at all")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = list[Row]()
    for name in options.tables:
        table = load(name, options.data)
        for row in measured(table.head(QUICK_ROWS) if options.quick else table, options.methods):
            found.append(row | {"quick": options.quick})
            if options.out:
                append(options.out, found[-1] | {"commit": commit(), "versions": versions()})
    print(show(found), show(found, "worst"), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

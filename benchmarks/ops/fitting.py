"""Cases of fits in closed form: the marginals of all columns at once, from the rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.ops.case import FLOAT, Call, Case, Cases, absent, quiet
from gaussflow import MarginalSpline, MixtureCDF

MOST, MOST_MIXED = 2**23, 2**21  # numbers of points beyond which a fit of splines, or of mixtures, takes minutes
COMPONENTS = 8
SETTINGS = {"tol": 1e-5, "max_iter": 1000, "random_state": 0}  # by its own, which are lax, it is .02 nats behind


def fitting(rows: int, dim: int) -> Cases:
    """Splines and mixtures for skewed columns. The floor is one reading of the rows, which no fit does without.

    scikit-learn fits a mixture to each column by itself, here until its nats differ from ours by a few thousandths.
    """
    x = torch.randn(rows, dim).exp()
    moved = FLOAT * x.numel()
    if x.numel() <= MOST:
        yield Case("marginal splines", "fit", rows, dim, {"ours": quiet(MarginalSpline(dim).fit, x)}, moved)
    if x.numel() <= MOST_MIXED:
        calls: dict[str, Call] = {"ours": quiet(MixtureCDF(dim).fit, x)}
        if not (why := absent("sklearn", x.numel())):
            calls["scikit-learn"] = _mixtures(x)
        yield Case("marginal mixtures", "fit", rows, dim, calls, moved, left_out={"scikit-learn": why} if why else {})


def _mixtures(x: Tensor) -> Call:
    from sklearn.mixture import GaussianMixture

    columns = x.T.contiguous().numpy()

    def call() -> list[Any]:
        return [GaussianMixture(COMPONENTS, **SETTINGS).fit(column[:, None]) for column in columns]

    return call

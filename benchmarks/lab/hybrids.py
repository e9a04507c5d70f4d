"""Experiment: blocks that the hybrid needs as the dimension grows, beside growing with rotations alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any, cast

import numpy as np
import torch

from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.growth import KNOTS, Growth, follow
from benchmarks.lab.hybrids_picture import draw
from benchmarks.lab.hybrids_report import report
from benchmarks.lab.intervals import rounded
from benchmarks.lab.problems import PROBLEMS
from gaussflow.recipes import haar_rotation, hybrid, ica_rotation, sliced_rotation
from gaussflow.rows import Rows, TensorRows
from gaussflow.transforms.affine import Whiten
from gaussflow.transforms.base import Chain, Transform
from gaussflow.transforms.marginal_spline import MarginalSpline

HYBRID = "hybrid"
RULES = {"rbig": sliced_rotation, "ica": ica_rotation, "haar": haar_rotation}
FIRST_KNOTS = 400  # of the marginals that come first: as many as the hybrid takes for so many rows
TEST_ROWS = 5000
BLOCKS = {2: 40, 4: 40, 8: 60, 16: 60, 32: 50, 64: 40}  # so many of rotations alone end in two minutes


def cases(setting: Setting) -> list[Case]:
    """The hybrid first at every dimension, then rotations alone; the low dimensions first."""
    return sorted(_quick() if setting.quick else _full(), key=lambda case: int(case["dim"]))


def _quick() -> list[Case]:
    """Three laws; rotations at random for the one whose run is sure to end."""
    laws, dims = ("gaussian_log", "mixture", "banana"), (2, 8, 16)
    runs = [(HYBRID, laws, 0), ("rbig", laws, 8), ("haar", laws[:1], 24)]
    return [_case(law, dim, rule, 1200, blocks) for rule, some, blocks in runs for law in some for dim in dims]


def _full() -> list[Case]:
    return [
        _case(law, dim, rule, 10_000, blocks)
        for rule in (HYBRID, *RULES)
        for law in PROBLEMS
        for dim, blocks in BLOCKS.items()
    ]


def _case(problem: str, dim: int, rule: str, rows: int, blocks: int) -> Case:
    """The hybrid ends by itself, the others after so many blocks at the latest."""
    case: Case = {"problem": problem, "dim": dim, "rule": rule, "rows": rows, "seed": 0}
    return case if rule == HYBRID else case | {"blocks": blocks}


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """Nats above the truth after the marginals and after each block; all blocks of the hybrid, the others to a tenth.

    The hybrid holds out a tenth of the same rows for itself; the others believe all of them. Where it begins without
    marginals, marginals alone are what it is measured by all the same.
    """
    law, rng = PROBLEMS[case["problem"]](case["dim"], seed=case["seed"]), np.random.default_rng(case["seed"] + 1)
    x, test = torch.as_tensor(law.draw(case["rows"], rng)), law.draw(2000 if setting.quick else TEST_ROWS, rng)
    truth, alone = law.nats(test), rotated(case["rule"], TensorRows(x), case["seed"])
    if case["rule"] != HYBRID:
        growth = follow(islice(alone, case["blocks"] + 1), test, truth)
        return _found(growth) | {"ended": growth.ended, "kinds": []}
    flow, history = hybrid(x, seed=case["seed"], progress=False)
    kinds = [record["kind"] for record in history if record["kept"]]
    growth = follow(cast(Chain, flow.transform), test, truth, share=0.0)
    if kinds[0] != "marginals":
        first = follow(islice(alone, 1), test, truth)
        growth = Growth(first.left + growth.left, first.error + growth.error, growth.ended)
    return _found(growth) | {"ended": "itself", "kinds": [kind for kind in kinds if kind != "marginals"]}


def _found(growth: Growth) -> dict[str, list[float]]:
    return {"left": rounded(growth.left, 5), "left_error": rounded(growth.error, 2)}


def rotated(rule: str, train: Rows, seed: int) -> Iterator[Transform]:
    """Fine marginals, then blocks of a rotation and marginals without end, each fitted to what those before it leave.

    The first block of ``rbig`` whitens, as that of the recipe does.
    """
    for index in count():
        block: Transform = MarginalSpline(train.dim, FIRST_KNOTS if index == 0 else KNOTS)
        if index:
            generator = torch.Generator().manual_seed(1_000_003 * seed + index)
            turn = Whiten(train.dim) if rule == "rbig" and index == 1 else RULES[rule](train.dim, generator)
            block = Chain(turn, block)
        block = block.to(train.dtype).fit(train)
        yield block
        train = train.through(block)


EXPERIMENT = Experiment(
    "hybrids",
    "How many blocks does the hybrid need as the dimension grows, and rotations alone?",
    cases,
    measure,
    draw,
    report,
)

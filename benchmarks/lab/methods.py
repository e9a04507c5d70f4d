"""Experiment: nats above the truth against the dimension, our methods beside baselines and other packages."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.data import known
from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.intervals import rounded
from benchmarks.lab.methods_report import draw, report
from benchmarks.lab.problems import PROBLEMS
from benchmarks.measure import score
from benchmarks.methods import Method, Task
from benchmarks.ours import grown_then_trained
from benchmarks.registry import METHODS, missing
from gaussflow.recipes import ica_rotation

OURS_HERE: dict[str, Method] = {"grown_then_trained_ica": partial(grown_then_trained, lambda: ica_rotation, 4)}
QUICK = {
    "problems": ("gaussian_log", "banana", "copula"),
    "methods": ("gaussian", "mixture", "rbig_haar", "rbig_ica", "trained", "zuko_nsf"),
    "dims": (2, 8),
    "rows": 600,
    "budget": 0.5,
}
FULL = {
    "problems": ("gaussian_log", "mixture", "copula", "sources", "banana", "rings"),
    "methods": (
        "gaussian", "mixture", "rbig_haar", "rbig_pca", "rbig_ica", "trained", "grown_then_trained_ica",
        "sinflow", "zuko_gf", "zuko_nsf",
    ),
    "dims": (2, 8, 32),
    "rows": 5000,
    "budget": 10.0,
}  # fmt: skip


def cases(setting: Setting) -> list[Case]:
    """Every method on every problem, the low dimensions first; packages that are not installed are left out."""
    plan: dict[str, Any] = QUICK if setting.quick else FULL
    return [
        {"problem": problem, "dim": dim, "method": method, "rows": plan["rows"], "budget": plan["budget"], "seed": 0}
        for dim in plan["dims"]
        for problem in plan["problems"]
        for method in plan["methods"]
        if not missing(method)
    ]


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """The excess over the true density on test rows with its standard error, and what the method chose on the way."""
    law = PROBLEMS[case["problem"]](case["dim"], seed=case["seed"])
    table = known(case["problem"], law, case["rows"], seed=case["seed"] + 1)
    method = {**METHODS, **OURS_HERE}[case["method"]]
    fitted = method(Task(table, case["seed"], case["budget"]))
    with np.errstate(all="ignore"):
        found = score(np.asarray(fitted.log_prob(table.test.copy()), dtype=np.float64), table)
    if "excess" not in found:
        raise FloatingPointError("no test row has a finite density")
    excess, error = rounded([found["excess"], found["excess_error"]], 4)
    return {"excess": excess, "excess_error": error, "nonfinite": found["nonfinite"], "note": fitted.note}


EXPERIMENT = Experiment(
    "methods",
    "How far above the truth does each method end as the dimension grows, and after how long?",
    cases,
    measure,
    draw,
    report,
)

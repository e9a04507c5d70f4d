"""Experiment: blocks against the dimension where data are not normal, and against the resolution of real images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.lab import images
from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.growth import grow_measured
from benchmarks.lab.intervals import rounded
from benchmarks.lab.problems import PROBLEMS
from benchmarks.lab.scaling_picture import draw
from benchmarks.lab.scaling_report import report

TEST_ROWS = 5000
RULES_OF_IMAGES = ("haar", "pca")


def cases(setting: Setting) -> list[Case]:
    """Problems by dimension and rule, then images by side and rule; the small ones first."""
    laws = _quick_laws() if setting.quick else _laws()
    pictures = [case for name in images.available(setting.data) for case in _images(name, setting.quick)]
    return sorted(laws + pictures, key=lambda case: int(case["dim"]))


def _quick_laws() -> list[Case]:
    """Few problems; 32 dimensions for the one whose run is sure to end."""
    dims = {
        "haar": {"gaussian_log": (2, 4, 8, 16, 32), "copula": (2, 4, 8), "sources": (2, 4), "banana": (2, 4, 8)},
        "ica": {"gaussian_log": (2, 4, 8, 16), "copula": (2, 4, 8), "sources": (2, 4, 8), "banana": (2, 4, 8)},
    }
    return [
        _law(name, dim, rule, 0, rows=2000, blocks=24 if dim < 16 else 60)
        for rule, named in dims.items()
        for name, some in named.items()
        for dim in some
    ]


def _laws() -> list[Case]:
    """Three seeds where a run is short, one where it is long; more than 16 dimensions where it may end in time."""
    seeds, blocks = {2: 3, 4: 3}, {2: 60, 4: 60, 8: 80, 16: 80, 32: 80, 64: 110}
    out = []
    for name in PROBLEMS:
        most = (
            64 if name == "gaussian_log" else 32 if name.startswith("gaussian") or name in ("banana", "copula") else 16
        )
        for dim in (dim for dim in blocks if dim <= most):
            out += [_law(name, dim, "haar", s, rows=10_000, blocks=blocks[dim]) for s in range(seeds.get(dim, 1))]
        out += [_law(name, dim, "ica", 0, rows=10_000, blocks=40) for dim in (2, 4, 8, 16)]
    return out


def _law(name: str, dim: int, rule: str, seed: int, rows: int, blocks: int) -> Case:
    return {"problem": name, "dim": dim, "rule": rule, "rows": rows, "blocks": blocks, "seed": seed}


def _images(name: str, quick: bool) -> list[Case]:
    """As many blocks as fit into two minutes: their time is about in proportion to rows and pixels."""
    out: list[Case] = []
    for side in (side for side in images.SOURCES[name].sides if side <= 8 or not quick):
        dim = side**2
        rows, blocks = (1000, 8) if quick else (4000, min(100, max(12, 8000 // dim)))
        case = {"images": name, "dim": dim, "rows": rows, "blocks": blocks, "seed": 0}
        out += [case | {"rule": rule} for rule in RULES_OF_IMAGES]
    return out


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """What is left after each block: nats above the truth, or nats where there is none."""
    if "images" in case:
        table = images.load(case["images"], math.isqrt(case["dim"]), setting.data, case["rows"])
        rows, truth = (table.train, table.test), None
    else:
        law, rng = PROBLEMS[case["problem"]](case["dim"], seed=case["seed"]), np.random.default_rng(case["seed"] + 1)
        rows = law.draw(case["rows"], rng), law.draw(2000 if setting.quick else TEST_ROWS, rng)
        truth = law.nats(rows[1])
    growth = grow_measured(case["rule"], rows, truth, blocks=case["blocks"], seed=case["seed"])
    return {"left": rounded(growth.left, 5), "left_error": rounded(growth.error, 2), "ended": growth.ended}


EXPERIMENT = Experiment(
    "scaling",
    "How many blocks do other data need as the dimension grows, and images as their resolution does?",
    cases,
    measure,
    draw,
    report,
)

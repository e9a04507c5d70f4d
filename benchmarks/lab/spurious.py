"""Directions that only the sample has: found in standard normal rows by search, and what believing them costs.

Figure 4 of Draxler and others (2023): some direction of N normal rows in D dimensions is far from normal by chance. The
search here climbs the mean of the absolute projection, :math:`\\max_w \\tfrac1N \\sum_n |w^\\top x_n|`, which is
highest where the rows leave the middle. On average over the rows no direction does better than

.. math:: E \\max_w \\tfrac1N \\sum_n |w^\\top x_n| \\le \\sqrt{2 / \\pi} + \\sqrt{D / N},

the inequality of Chevet (1978); a direction chosen without the rows has the first term alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from benchmarks.lab.experiment import Case, Experiment, Setting
from benchmarks.lab.spurious_report import EDGES, draw, report
from gaussflow import (
    Chain,
    Flow,
    MarginalSpline,
    Rotation,
    Transform,
    Whiten,
    haar_rotation,
    hadamard_rotation,
    ica,
    ica_rotation,
    pca,
    pursuit_rotation,
    rbig,
    sliced_rotation,
    whitening,
)
from gaussflow.rows import Rows

RATIO = 60_000 / 3072  # rows for each coordinate, as in the figure
FRESH = 10_000  # rows that no fit sees
RULE_FRESH = 4_000  # as many as tell a thousandth of a nat from nothing, a coordinate
SAMPLES = 60_000
RULE_SAMPLES = 10_000
STEPS = 100


def cases(setting: Setting) -> list[Case]:
    """Projections against rows for each coordinate, rules against the dimension, and the figure's own numbers."""
    ratios, dims = ((5, 20), (16, 32)) if setting.quick else ((2.5, 5, 10, 20, 40, 80, 160), (64, 128, 256))
    dim, seeds = (64, 3) if setting.quick else (256, 4)
    found: list[Case] = [
        {"kind": "fade", "dim": dim, "rows": round(r * dim), "seed": s} for r in ratios for s in range(seeds)
    ]
    found += [
        {"kind": "rule", "rule": rule, "dim": d, "rows": round(RATIO * d), "seed": s}
        for d in dims
        for rule in RULES
        for s in range(seeds if d < 256 else 3)
    ]
    figure = (768, 15_000) if setting.quick else (3072, 60_000)
    return [*found, {"kind": "figure", "dim": figure[0], "rows": figure[1], "seed": 0}]


def measure(case: Case, setting: Setting) -> dict[str, Any]:
    """One case, by its kind."""
    return MEASURES[case["kind"]](case)


def spurious(x: Tensor, seed: int = 0, steps: int = STEPS) -> Tensor:
    """The unit vector (D,) that the search finds in rows (N, D), from a start at random.

    The mean of the absolute projection is convex in w, so that going to its gradient and back to unit length never
    lowers it.
    """
    w = torch.randn(x.shape[1], generator=torch.Generator().manual_seed(seed)).to(x)
    w /= w.norm()
    for _ in range(steps):
        found = (x @ w).sign() @ x
        found /= found.norm()
        moved, w = float((found - w).norm()), found
        if moved < 1e-4:
            break
    return w


def first_axis(w: Tensor) -> Tensor:
    """An orthogonal matrix (D, D) whose first row is the unit vector w (D,): a reflection."""
    eye = torch.eye(len(w), dtype=w.dtype)
    u = w - eye[0]
    return eye - 2 * torch.outer(u, u) / u.square().sum().clamp(min=1e-30)


def spurious_rotation(dim: int, generator: torch.Generator) -> Transform:
    """A rotation whose first axis is what the search finds in the rows that it is fitted to."""

    def axes(rows: Rows) -> Tensor:
        return first_axis(spurious(rows.sample(rows.n)[0].double()))

    return Rotation(dim, axes)


def bare_ica(dim: int, generator: torch.Generator) -> Transform:
    """Independent axes believed at once, as `ica_rotation` did before other rows had to confirm them."""
    return Chain(Whiten(dim), Rotation(dim, ica))


def bare_pca(dim: int, generator: torch.Generator) -> Transform:
    """Principal axes believed at once, as `pca_rotation` did before held-out rows had to confirm the correlation."""
    return Rotation(dim, pca)


RULES = {
    "haar": haar_rotation,
    "hadamard": hadamard_rotation,
    "whiten": whitening,
    "pca": bare_pca,
    "ica": bare_ica,
    "confirmed": ica_rotation,
    "sliced": sliced_rotation,
    "pursuit": pursuit_rotation,
    "search": spurious_rotation,
}


def normal_rows(case: Case, n: int, stream: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal rows (n, D); another stream holds other rows."""
    generator = torch.Generator().manual_seed(1000 * case["seed"] + stream)
    return torch.randn(n, case["dim"], generator=generator, dtype=dtype)


def _fade(case: Case) -> dict[str, Any]:
    """How far the search gets, seen on its own rows and on fresh ones."""
    x = normal_rows(case, case["rows"])
    w = spurious(x, case["seed"])
    return {"own": _shape(x @ w), "fresh": _shape(normal_rows(case, FRESH, 1) @ w)}


def _figure(case: Case) -> dict[str, Any]:
    """The histograms of the figure, and the law along w of a model that believes it."""
    x = normal_rows(case, case["rows"])
    w, other = spurious(x, case["seed"]), spurious(x, case["seed"] + 1, steps=0)
    own, random = x @ w, x @ other
    fresh = normal_rows(case, FRESH, 1) @ w
    spline = MarginalSpline(1, 48, dtype=torch.float64).fit(own[:, None].double())
    flow = Flow(Chain(spline))
    kept = _gain(flow, fresh[:, None].double())[0] > 0  # the rule of `grow`
    samples = flow.sample(SAMPLES, generator=torch.Generator().manual_seed(case["seed"]))[:, 0]
    laws = {"own": own, "random": random, "fresh": fresh, "samples": samples.detach()}
    found: dict[str, Any] = {name: {**_shape(y), "histogram": _histogram(y)} for name, y in laws.items()}
    found |= {"gain_own": _gain(flow, own[:, None].double()), "gain_fresh": _gain(flow, fresh[:, None].double())}
    return found | {"kept": bool(kept)}


def _rule(case: Case) -> dict[str, Any]:
    """One block with that rotation believed in full, and what `rbig` makes of the same rows and the same rotation."""
    x, fresh = normal_rows(case, case["rows"], 0, torch.float64), normal_rows(case, RULE_FRESH, 1, torch.float64)
    rule = RULES[case["rule"]]
    generator = torch.Generator().manual_seed(case["seed"])
    block = Chain(rule(case["dim"], generator), MarginalSpline(case["dim"], 48)).double().fit(x)
    guarded, history = rbig(x, rotation=rule, whiten=False, max_blocks=3, patience=3, seed=case["seed"], progress=False)
    w = spurious(x)
    found: dict[str, Any] = {"blocks": sum(history.column("kept")[1:])}
    for name, flow in (("believed", Flow(block).eval()), ("guarded", guarded)):
        drawn = flow.sample(RULE_SAMPLES, generator=torch.Generator().manual_seed(case["seed"]))
        found |= {f"{name}_own": _gain(flow, x), f"{name}_fresh": _gain(flow, fresh)}
        found[f"{name}_samples"] = _shape(drawn.detach() @ w)
    return found


@torch.no_grad()
def _gain(flow: Flow, x: Tensor) -> tuple[float, float]:
    r"""Mean and standard error of :math:`\log q(x) - \log N(x; 0, I)`, in nats a row: what believing q buys."""
    log_2pi = math.log(2 * math.pi)
    parts = [flow.log_prob(part) + 0.5 * (part.square() + log_2pi).sum(1) for part in x.split(4096)]
    gain = torch.cat(parts)
    return float(gain.mean()), float(gain.std() / math.sqrt(len(gain)))


def _shape(y: Tensor) -> dict[str, float]:
    r"""What tells a bimodal law (N,) from a normal one.

    The excess kurtosis, whose error for normal rows is :math:`\sqrt{24 / N}`; and the dip, the density about zero over
    that about 0.6 to either side: 1.19 for the standard normal, below 1 where the middle is left empty.
    """
    y = y.double()
    centred = (y - y.mean()) / y.std(correction=0)
    middle, sides = int((y.abs() < 0.1).sum()), int(((y.abs() - 0.6).abs() < 0.1).sum())
    dip = middle / (sides / 2) if sides else math.nan
    return {
        "absolute": float(y.abs().mean()),
        "kurtosis": float(centred.pow(4).mean()) - 3,
        "kurtosis_error": math.sqrt(24 / len(y)),
        "dip": dip,
        "dip_error": dip * math.sqrt(1 / max(1, middle) + 1 / max(1, sides)),
    }


def _histogram(y: Tensor) -> list[float]:
    """The share of the rows (N,) between neighbouring edges, for each unit of width."""
    counts = torch.histogram(y.double(), torch.tensor(EDGES, dtype=torch.float64)).hist
    return [round(float(c), 5) for c in counts / len(y) / (EDGES[1] - EDGES[0])]


MEASURES = {"fade": _fade, "figure": _figure, "rule": _rule}

EXPERIMENT = Experiment(
    "spurious",
    "Which directions does a sample of normal rows invent, and what does believing them cost?",
    cases,
    measure,
    draw,
    report,
)

"""``python -m benchmarks.ops --device cuda``: the kernels beside plain and compiled torch, on a GPU.

First the kernels are checked against plain torch in double precision on the device, and where one check is red no speed
is printed. Then each operation is timed by events of the device, with the cache swept before every call, and its bytes
over its time are a share of the bandwidth of a large copy. Whole flows are rows scored and drawn in a second.
``--device interpreter`` runs the same in Triton's interpreter on the CPU: it shows that this program works, and nothing
of speed.
"""

from __future__ import annotations

import copy
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from benchmarks.ops import checks
from benchmarks.ops.case import FLOAT, quiet, training
from benchmarks.ops.pointwise import BINS, COMPONENTS, stirred
from benchmarks.report import append
from gaussflow import Chain, Flow, MarginalSpline, MixtureCDF, Rotation, gaussianization_flow
from gaussflow.ops import _kernels, haar, walsh_hadamard
from gaussflow.ops._spline import rq_spline, rq_spline_inverse
from gaussflow.ops.mixture import (
    Mixture,
    logistic_kernel,
    mixture_to_normal,
    normal_kernel,
    normal_to_mixture,
)
from gaussflow.ops.normal import log_normal_cdf, normal_quantile

Call = Callable[..., Any]
WAYS = ("plain torch", "compiled", "kernels")
SWEPT = 2**28  # bytes written before a call is timed: more than any cache holds
COPIED = 2**28  # numbers of the copy that measures the bandwidth
MOST_FOR_OWN = 2**25  # numbers that have knots of their own: 4 GB of knots, and as much of gradients
LAYERS = 4
LOG_DENSITIES = 1e-5  # promised of a whole block


class Case(NamedTuple):
    """One call and the bytes that it cannot avoid to move; ``rows`` for a rate of rows, of which no floor is given."""

    operation: str
    way: str
    rows: int
    dim: int
    call: Call
    moved: int


def cases(rows: int, dim: int, device: str) -> Iterator[Case]:
    """Operations from tables that are prepared, then whole flows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, dim, generator=generator).to(device)
    line = torch.linspace(-4, 4, BINS + 1, device=device)[:, None]
    bump = [0.3 * torch.rand(BINS + 1, dim, generator=generator).to(device) for _ in range(3)]
    knots = [line + bump[0], line + bump[1], 0.5 + bump[2]]
    yield from both("spline", x, (rq_spline, rq_spline_inverse), knots, 0)
    if x.numel() <= MOST_FOR_OWN:
        own = [t[:, None].expand(-1, rows, dim).contiguous() for t in knots]
        yield from both("spline, knots of every number", x, (rq_spline, rq_spline_inverse), own, 3 * (BINS + 1))
    tables = [torch.randn(COMPONENTS, dim, generator=generator).to(device) for _ in range(3)]
    tables = [tables[0].log_softmax(0), 2 * tables[1], 0.5 * tables[2] - 0.5]
    for name, kernel in (("mixture, normal", normal_kernel), ("mixture, logistic", logistic_kernel)):
        yield from both(name, x, mixture_ways(kernel), tables, 0)
    yield from tails(x)
    yield Case("hadamard", "forward", rows, dim, quiet(walsh_hadamard, x), 2 * FLOAT * x.numel())
    block = Chain(Rotation(dim, haar(dim, generator)), stirred(MarginalSpline(dim, BINS + 1))).to(device)
    for way, call in (("forward", block), ("inverse", block.inverse)):
        yield Case("block", way, rows, dim, quiet(call, x), (2 * dim + 1) * FLOAT * rows)
    for name, marginal in (("spline", MarginalSpline), ("mixture", MixtureCDF)):
        flow = stirred(gaussianization_flow(dim, LAYERS, marginal=marginal).transform).to(device)
        yield from of_a_flow(f"flow of {LAYERS} {name}s", Flow(flow), x)


def both(operation: str, x: Tensor, ways: tuple[Any, Any], tables: list[Tensor], read: int) -> Iterator[Case]:
    """Forward, inverse and training; ``read`` numbers of tables for every number of x."""
    rows, dim = x.shape
    f, inverse = ways
    leaves = [t.clone().requires_grad_() for t in tables]
    once = FLOAT * x.numel()
    yield Case(operation, "forward", rows, dim, quiet(f, x, *tables), (3 + read) * once)
    yield Case(operation, "inverse", rows, dim, quiet(inverse, x, *tables), (3 + read) * once)
    yield Case(operation, "training", rows, dim, training(lambda x: f(x, *leaves), x, leaves), (7 + 3 * read) * once)


def tails(x: Tensor) -> Iterator[Case]:
    """The normal law in its tails, number by number: the logarithm of its CDF, and the quantile of both log-tails."""
    rows, dim = x.shape
    once = FLOAT * x.numel()
    log_tails = [log_normal_cdf(x), log_normal_cdf(-x)]
    calls = {"log_ndtr": (log_normal_cdf, [x]), "ndtri": (normal_quantile, log_tails)}
    for name, (f, inputs) in calls.items():
        leaves = [t.clone().requires_grad_() for t in inputs]
        ones = torch.ones_like(x)
        step = partial(_gradients, f, leaves, ones)
        yield Case(name, "forward", rows, dim, quiet(f, *inputs), (1 + len(inputs)) * once)
        yield Case(name, "training", rows, dim, step, (2 + 3 * len(inputs)) * once)


def _gradients(f: Call, leaves: list[Tensor], by_value: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(f(*leaves), leaves, by_value)


def mixture_ways(kernel: Any) -> tuple[Any, Any]:
    """The map of a mixture and its inverse, as functions of points and tables."""

    def forward(x: Tensor, *tables: Tensor) -> tuple[Tensor, Tensor]:
        return mixture_to_normal(x, Mixture(*tables, kernel))

    def inverse(z: Tensor, *tables: Tensor) -> tuple[Tensor, Tensor]:
        return normal_to_mixture(z, Mixture(*tables, kernel))

    return forward, inverse


def of_a_flow(name: str, flow: Flow, x: Tensor) -> Iterator[Case]:
    """Scoring, drawing by the inverse, and a step of training."""
    leaves = list(flow.parameters())

    def step() -> Any:
        return torch.autograd.grad(-flow.log_prob(x).mean(), leaves)

    yield Case(name, "scoring", *x.shape, quiet(flow.log_prob, x), 0)
    yield Case(name, "drawing", *x.shape, quiet(flow.transform.inverse, x), 0)
    yield Case(name, "training", *x.shape, step, 0)


@contextmanager
def kernels(on: bool, device: str) -> Iterator[None]:
    """Kernels or plain torch on the device, whatever the environment says."""
    before = _kernels.ASKED, _kernels.DEVICES
    _kernels.ASKED, _kernels.DEVICES = on, (device,)
    try:
        yield
    finally:
        _kernels.ASKED, _kernels.DEVICES = before


def red(device: str) -> Iterator[checks.Check]:
    """The promises that kernels break on the device: values and gradients against plain torch in double precision."""
    with kernels(True, device):
        for name, operation, inputs in checks.operations():
            inputs, room = tuple(t.to(device) for t in inputs), 2 if name in checks.LOOSE else 1
            strict = name in checks.NEVER_ZERO
            found = checks.values_error(operation, inputs, strict)
            yield checks.Check(f"{name}: values", found, room * checks.VALUES)
            found = checks.gradients_error(operation, inputs, strict)
            yield checks.Check(f"{name}: gradients", found, room * checks.GRADIENTS)
        for name, operation, inputs in checks.products():
            if name.startswith("hadamard"):
                found = checks.length_error(operation, tuple(t.to(device) for t in inputs))
                yield checks.Check(f"{name}: values", found, checks.VALUES)
        for dim in (5, 64, 130):
            yield checks.Check(f"block, D = {dim}: log-densities", block_error(dim, device), LOG_DENSITIES)


@torch.no_grad()
def block_error(dim: int, device: str) -> float:
    """The largest error of the log-densities of a block in single precision, relative to 1 + size, there and back."""
    generator = torch.Generator().manual_seed(dim)
    block = Chain(Rotation(dim, haar(dim, generator)), stirred(MarginalSpline(dim, BINS + 1))).to(device)
    exact, x = copy.deepcopy(block).double(), torch.randn(checks.POINTS, dim, generator=generator).to(device)
    worst = 0.0
    for f, truth in ((block, exact), (block.inverse, exact.inverse)):
        (z, ladj), (point, true) = f(x), truth(x.double())
        mine, theirs = ladj.double() - 0.5 * z.double().square().sum(-1), true - 0.5 * point.square().sum(-1)
        worst = max(worst, float(((mine - theirs).abs() / (1 + theirs.abs())).max().nan_to_num(torch.inf)))
    return worst


def seconds_of(call: Call, device: str, seconds: float) -> float:
    """The median time of a call, after two that warm up, compile and tune; the cache is swept before each."""
    if device != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    swept = torch.empty(SWEPT, dtype=torch.int8, device=device)
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < 3 or (time.perf_counter() < end and len(taken) < 200):
        swept.zero_()
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        stop.record()
        torch.cuda.synchronize()
        taken.append(1e-3 * start.elapsed_time(stop))
    return statistics.median(taken)


def bandwidth(device: str, seconds: float) -> float:
    """Bytes in a second that a large copy reads and writes."""
    count = COPIED if device == "cuda" else 2**16
    source, target = (torch.zeros(count, device=device) for _ in range(2))
    return 2 * FLOAT * count / seconds_of(lambda: target.copy_(source), device, seconds)


def measure(case: Case, device: str, seconds: float, per_second: float, stamp: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds and megabytes by way, and which share of the bandwidth the kernels reach."""
    row: dict[str, Any] = {"operation": case.operation, "way": case.way, "rows": case.rows, "dim": case.dim}
    row |= {"ms": {}, "mb": {}}
    for way in WAYS:
        if way == "compiled" and device != "cuda":  # of no use without a GPU, and minutes of a compiler
            continue
        call = torch.compile(case.call) if way == "compiled" else case.call
        with kernels(way == "kernels", device):
            row["ms"][way] = 1e3 * seconds_of(call, device, seconds)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
                call()
                row["mb"][way] = (torch.cuda.max_memory_allocated() - held) / 1e6
        torch.compiler.reset()
    if case.moved:
        row["bandwidth"] = case.moved / (1e-3 * row["ms"]["kernels"]) / per_second
    return row | stamp


def report(options: Namespace, stamp: dict[str, Any]) -> int:
    """Check, measure, print; returns the exit status."""
    device = "cuda" if options.device == "cuda" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        print("No GPU is here; --device interpreter runs this program without one.")
        return 2
    if device == "cpu" and not interpreted():
        print("Start this with TRITON_INTERPRET=1 in the environment, and with Triton installed.")
        return 2
    if device == "cpu":
        options.dims, options.rows, checks.POINTS, checks.SPREAD = [3], [8], 5, 2
    broken = [check for check in red(device) if not check.kept]
    if broken:
        words = (f"{check.name}: {check.error:.1e}, promised {check.allowed:.0e}" for check in broken)
        print("not as exact as promised, so no speed is measured:", *words, sep="\n- ")
        return 1
    per_second = bandwidth(device, options.seconds)
    stamp = stamp | {"device": torch.cuda.get_device_name() if device == "cuda" else "Triton's interpreter"}
    rows = []
    for count in options.rows:
        for dim in options.dims:
            for case in cases(count, dim, device):
                rows.append(measure(case, device, options.seconds, per_second, stamp))
                if options.out:
                    append(options.out, rows[-1])
    print(f"{stamp['device']}, a copy moves {per_second / 1e9:.0f} GB/s", table(rows), sep="\n\n")
    return 0


def interpreted() -> bool:
    """Whether Triton is here and interprets."""
    if not _kernels.INSTALLED:
        return False
    from gaussflow.ops._triton._common import INTERPRETED

    return INTERPRETED


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each case: milliseconds by way with times the kernels', share of the bandwidth, rows a second."""
    lines = []
    for row in rows:
        mine = row["ms"]["kernels"]
        cells = [f"{row['ms'][way]:.3g} (× {row['ms'][way] / mine:.2g})" if way in row["ms"] else "" for way in WAYS]
        share = f"{100 * row['bandwidth']:.0f} %" if "bandwidth" in row else ""
        rate = f"{1e3 * row['rows'] / mine:.3g}"
        lines.append([row["operation"], row["way"], f"{row['rows']:,}", str(row["dim"]), *cells, share, rate])
    head = ["operation", "", "N", "D", *(f"{way}, ms" for way in WAYS), "of the bandwidth", "rows/s by kernels"]
    return str(tabulate(lines, head, "pipe", disable_numparse=True))

"""MS-SSIM beside other packages, agreement and then speed: ``python -m benchmarks.msssim``.

Agreement: the largest distance of the value from the float64 reference written from the paper
(`benchmarks.msssim_reference`) over its kinds of pairs, for images with even and with odd sides and in three
precisions, each against the reference on the numbers as rounded; how many pairs are refused or give a NaN; and for
how many the gradient in float32 is zero, infinite or NaN. Where ours is not as near as promised no speed is printed,
and the exit status is 1.

Speed: CPU milliseconds of the mean index without gradients (forward) and of a loss with its gradient by one image
(both), on one thread. All are timed in turn, repetition by repetition, and a figure is the median over them, so that
ratios are of one run. The floor is what cannot be avoided by this road: the separable blur of four planes for each
scale, by torch's convolution, and its gradient.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor

from benchmarks import msssim_reference as reference
from benchmarks.measure import commit, machine

Weights = tuple[float, ...]
Index = Callable[[Tensor, Tensor, float, int, Weights], Tensor]
"""The mean index of images x and y, from the data range, the window and the weights."""

PROMISED = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 1e-4}
SIDES = {"even": (176, 192), "odd": (177, 187)}  # frame-analytics wants 176 at least


def ours(x: Tensor, y: Tensor, data_range: float, window: int, weights: Weights) -> Tensor:
    from gaussflow import ms_ssim

    return ms_ssim(x, y, data_range=data_range, window=window, weights=weights, reduction=torch.mean)


def vainf(x: Tensor, y: Tensor, data_range: float, window: int, weights: Weights) -> Tensor:
    from pytorch_msssim import ms_ssim

    return ms_ssim(x, y, data_range=data_range, win_size=window, weights=list(weights))


def torchmetrics(x: Tensor, y: Tensor, data_range: float, window: int, weights: Weights) -> Tensor:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

    if window != 11:
        raise ValueError("its window follows from sigma")
    return ms_ssim(x, y, data_range=data_range, betas=weights)


def piq(x: Tensor, y: Tensor, data_range: float, window: int, weights: Weights) -> Tensor:
    from piq import multi_scale_ssim

    exponents = None if weights == reference.WEIGHTS else x.new_tensor(weights)
    return multi_scale_ssim(x, y, window, data_range=data_range, scale_weights=exponents)


def frame_analytics(x: Tensor, y: Tensor, data_range: float, window: int, weights: Weights) -> Tensor:
    from frame_analytics.functional import ms_ssim

    return ms_ssim(x, y, data_range=data_range, win_size=window, weights=weights)


def floor(x: Tensor, y: Tensor, data_range: float, window: int, weights: Weights) -> Tensor:
    """The blur of four planes for each scale and nothing else, of sixteen images and channels at a time."""
    kernel = torch.from_numpy(reference.window_weights(window, 1.5)).to(x.dtype).sum(0)
    total = x.new_zeros(())
    for a, b in zip(x.flatten(0, 1).split(16), y.flatten(0, 1).split(16), strict=True):
        planes = torch.cat([a, b, a * a + b * b, a * b])[None].contiguous(memory_format=torch.channels_last)
        n = planes.shape[1]
        for _ in weights:
            blurred = F.conv2d(planes, kernel.expand(n, 1, 1, -1), groups=n)
            total = total + F.conv2d(blurred, kernel[:, None].expand(n, 1, -1, 1), groups=n).sum()
            planes = F.avg_pool2d(planes, 2)
    return total


class Package(NamedTuple):
    """An index, and the module that it needs."""

    index: Index
    module: str


PACKAGES = {
    "ours": Package(ours, "gaussflow"),
    "pytorch-msssim": Package(vainf, "pytorch_msssim"),
    "torchmetrics": Package(torchmetrics, "torchmetrics"),
    "piq": Package(piq, "piq"),
    "frame-analytics": Package(frame_analytics, "frame_analytics"),
}

THREE = tuple(w / sum(reference.WEIGHTS[:3]) for w in reference.WEIGHTS[:3])
TASKS: dict[str, tuple[tuple[int, ...], int, Weights]] = {
    "16×3×256×256": ((16, 3, 256, 256), 11, reference.WEIGHTS),
    "16×3×64×64, three scales": ((16, 3, 64, 64), 11, THREE),
    "16×3×64×64, window 3": ((16, 3, 64, 64), 3, reference.WEIGHTS),
}


def missing(name: str) -> str | None:
    """Why a package cannot be measured, or None."""
    if not find_spec(PACKAGES[name].module):
        return "not installed"
    try:
        __import__(PACKAGES[name].module)
    except Exception as error:  # a package may fail in any way when it is loaded
        return f"not loaded ({type(error).__name__})"
    return None


class Agreement(NamedTuple):
    """The largest error, the kind of pair it is of, and how many pairs are refused or not finite."""

    worst: float
    kind: str
    refused: int


def agreement(index: Index, sides: str, dtype: torch.dtype) -> Agreement:
    """How far an index is from the reference over all kinds of pairs."""
    errors, refused = {"none": 0.0}, 0
    for kind, (x, y, data_range) in reference.pairs(*SIDES[sides]).items():
        a, b = torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype)
        expected = reference.ms_ssim(a.double(), b.double(), data_range).item()
        value = _attempt(lambda a=a, b=b, r=data_range: index(a, b, r, 11, reference.WEIGHTS).item())
        if value is None or value != value:
            refused += 1
        else:
            errors[kind] = abs(value - expected)
    kind = max(errors, key=errors.__getitem__)
    return Agreement(errors[kind], kind, refused)


def lost_gradients(index: Index) -> int:
    """For how many pairs that are not identical the gradient in float32 is zero or not finite."""
    lost = 0
    for kind, (x, y, data_range) in reference.pairs(*SIDES["even"]).items():
        a, b = torch.from_numpy(x).float().requires_grad_(), torch.from_numpy(y).float()
        value = _attempt(lambda a=a, b=b, r=data_range: index(a, b, r, 11, reference.WEIGHTS))
        if value is not None and kind != "identical":
            (grad,) = torch.autograd.grad(value, a)
            lost += not (grad.isfinite().all() and grad.abs().max() > 0)
    return lost


def _attempt(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:  # a refusal takes many forms
        return None


def agreement_rows(names: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The rows of the table, and what is wrong with ours."""
    rows, wrong = [], []
    for name in names:
        if why := missing(name):
            rows.append([name, why])
            continue
        every: list[Agreement] = []
        for sides in SIDES:
            for dtype, near in PROMISED.items():
                every.append(found := agreement(PACKAGES[name].index, sides, dtype))
                if name == "ours" and (found.refused or not found.worst < near):
                    wrong.append(f"{sides} sides, {dtype}: {found.worst:.1e} for {found.kind}, {found.refused} refused")
        lost = lost_gradients(PACKAGES[name].index)
        if name == "ours" and lost:
            wrong.append(f"no gradient for {lost} pairs")
        worst, refused = max(every[: len(PROMISED)]), max(found.refused for found in every)
        rows.append([name, *(f"{found.worst:.0e}" for found in every), worst.kind, str(refused), str(lost)])
    return rows, wrong


def speed_rows(task: str, indices: dict[str, Index], repeats: int) -> list[list[str]]:
    """Medians of forward and of both, in CPU milliseconds and as multiples of ours."""
    shape, window, weights = TASKS[task]
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator)
    y = (x + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)
    spent: dict[str, list[tuple[float, float]]] = {}
    for repeat in range(repeats + 1):
        for name, index in indices.items():
            times = _attempt(lambda index=index: timed(index, x, y, window, weights))
            if times and repeat:  # the first is for warming up
                spent.setdefault(name, []).append(times)
    medians = {name: [1e3 * statistics.median(t) for t in zip(*times, strict=True)] for name, times in spent.items()}
    rows = []
    for name in indices:
        cells = [
            f"{ms:.1f} ({ms / base:.2f})" for ms, base in zip(medians.get(name, ()), medians["ours"], strict=False)
        ]
        rows.append([name, *(cells or ["refuses", "refuses"])])
    return rows


def timed(index: Index, x: Tensor, y: Tensor, window: int, weights: Weights) -> tuple[float, float]:
    """CPU seconds of the value alone, and of a value with its gradient by x."""
    start = time.process_time()
    with torch.no_grad():
        index(x, y, 1.0, window, weights)
    middle = time.process_time()
    leaf = x.detach().requires_grad_()
    index(leaf, y, 1.0, window, weights).backward()
    return middle - start, time.process_time() - middle


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of agreement and, where ours agrees, those of speed; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", nargs="+", choices=list(PACKAGES), default=list(PACKAGES))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--repeats", type=int, default=7, help="repetitions, of which the median is taken (default 7)")
    parser.add_argument("--compiled", action="store_true", help="time ours and pytorch-msssim by torch.compile as well")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    names = ["ours", *(name for name in options.packages if name != "ours")]
    print(f"commit {commit()}, torch {torch.__version__}, {machine()}\n")
    rows, wrong = agreement_rows(names)
    heads = [f"{sides}, {str(dtype)[6:]}" for sides in SIDES for dtype in PROMISED]
    print(
        tabulate(
            rows,
            ["largest error", *heads, "even sides, worst", "refused or NaN", "no gradient"],
            "pipe",
            disable_numparse=True,
        ),
        flush=True,
    )
    if wrong:
        print("\nours is not as near as promised, so no speed is measured:", *wrong, sep="\n- ")
        return 1
    indices = {name: PACKAGES[name].index for name in names if not missing(name)}
    if options.compiled:
        compiled = [name for name in ("ours", "pytorch-msssim") if name in indices]
        indices |= {f"{name}, compiled": torch.compile(indices[name], dynamic=False) for name in compiled}
    for task in options.tasks:
        torch.compiler.reset()  # what compiles itself is compiled for these shapes, not refused as one shape too many
        rows = speed_rows(task, {**indices, "floor": floor}, options.repeats)
        rows += [[name, why] for name in names if (why := missing(name))]
        print(f"\n{tabulate(rows, [f'{task}: ms (multiple of ours)', 'forward', 'both'], 'pipe')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The demo: real tables, held-out scores beside two baselines, the time, the round trip, and a picture."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaussflow.apps._baselines import gaussian, mixture
from gaussflow.apps._optional import need
from gaussflow.apps._plots import draw_images, draw_losses, draw_pairs, new_figure
from gaussflow.models.flow import Flow
from gaussflow.recipes.rbig import rbig
from gaussflow.transforms.base import Chain

__all__ = ["Result", "Split", "compare", "run", "split_table"]

NOISE = 0.01  # standard deviations: stands for the unknown rounding of each column and bounds a discrete density
PAIRS = (
    ("mean radius", "mean area"),
    ("mean concavity", "mean concave points"),
    ("mean radius", "mean fractal dimension"),
)
HEAD = ("table", "method", "−log p, nats/row", "± s.e.", "worst row", "seconds")
ALIGN = ("left", "left", "right", "right", "right", "right")
SIDE, IMAGES = 8, 60  # of the digits: pixels along a side, and how many are drawn


@dataclass(frozen=True)
class Split:
    """A table cut into three, each column in units of its standard deviation over the training rows.

    Attributes
    ----------
    names
        The D names of the columns that are left: those constant over the training rows are dropped.
    kept
        Their places in the table, shape (D,).
    mean, scale
        Mean and standard deviation over the training rows, shape (D,).
    train, valid, test
        The three parts, shapes (n, D), float64.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.demo import split_table
    >>> parts = split_table(torch.randn(100, 2), ("a", "b"))
    >>> parts.raw(parts.test).shape
    torch.Size([10, 2])
    """

    names: tuple[str, ...]
    kept: Tensor
    mean: Tensor
    scale: Tensor
    train: Tensor
    valid: Tensor
    test: Tensor

    def raw(self, x: Tensor) -> Tensor:
        """Rows (n, D) back in the units of the table."""
        return x * self.scale + self.mean


def split_table(x: Tensor, names: tuple[str, ...], seed: int = 0) -> Split:
    """Cut a table (N, C) into 80 % training, 10 % validation and 10 % test rows, standardised, with a little noise.

    Examples
    --------
    >>> import torch
    >>> parts = split_table(torch.randn(100, 2), ("a", "b"))
    >>> parts.train.shape, parts.valid.shape, parts.test.shape
    (torch.Size([80, 2]), torch.Size([10, 2]), torch.Size([10, 2]))
    """
    x = x.double()[torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))]
    first, second = int(0.8 * len(x)), int(0.9 * len(x))
    kept = (x[:first] != x[0]).any(0).nonzero()[:, 0]
    x = x[:, kept]
    mean, scale = x[:first].mean(0), x[:first].std(0, correction=0)
    x = (x - mean) / scale
    x = x + NOISE * torch.from_numpy(np.random.default_rng(seed + 1).normal(size=x.shape))
    return Split(tuple(names[i] for i in kept), kept, mean, scale, x[:first], x[first:second], x[second:])


@dataclass(frozen=True)
class Result:
    """What came out on one table: the fit, its loss after each block, one line of the printed table for each method.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.demo import compare
    >>> result = compare("noise", torch.randn(200, 2), ("a", "b"), progress=False)
    >>> result.flow.dim, len(result.lines)
    (2, 3)
    """

    title: str
    parts: Split
    flow: Flow
    losses: list[float]
    lines: list[list[str]]
    remark: str
    levels: dict[str, float]


def run(folder: Path, *, seed: int = 0, threads: int = 1, progress: bool = True) -> list[Result]:
    """Run the demo: print the scores and save the picture ``demo.png`` in ``folder``, which is made if need be.

    Parameters
    ----------
    folder
        Where the picture goes; one of an earlier run is replaced.
    seed
        Seed of the fits, of the mixture and of the samples; the split is always the same.
    threads
        Threads of the baselines; those of the flow are torch's own setting.
    progress
        Whether to show progress bars.

    Raises
    ------
    ImportError
        When scikit-learn, matplotlib or tabulate is not installed; the message says how to get it.

    Examples
    --------
    It fits two tables of up to 64 columns, which takes half a minute:

    >>> from pathlib import Path
    >>> from gaussflow.apps.demo import run
    >>> results = run(Path("gaussflow-demo"))  # doctest: +SKIP
    """
    tabulate = need("tabulate", "the demo").tabulate
    data = need("sklearn.datasets", "the demo")
    need("matplotlib", "the demo")
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    results = []
    for title, load in (("breast cancer", data.load_breast_cancer), ("digits", data.load_digits)):
        bunch = load()
        x, names = torch.from_numpy(bunch.data), tuple(map(str, bunch.feature_names))
        with need("threadpoolctl", "the demo").threadpool_limits(threads):
            results.append(compare(title, x, names, seed, progress))
    print("\nHeld-out rows that no fit has seen; columns in units of their standard deviation; lower is better.\n")
    print(tabulate([line for result in results for line in result.lines], HEAD, disable_numparse=True, colalign=ALIGN))
    print("\n" + "\n".join(result.remark for result in results))
    path = folder / "demo.png"
    draw(results[0], results[1], seed).savefig(path, dpi=100)
    print(f"{path}: data beside samples, and the loss after each block. {time.perf_counter() - start:.0f} s in all.")
    return results


def compare(title: str, x: Tensor, names: tuple[str, ...], seed: int = 0, progress: bool = True) -> Result:
    """Fit the flow and the baselines to the training rows of a table (N, C) and score the test rows of each.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.apps.demo import compare
    >>> compare("noise", torch.randn(200, 2), ("a", "b"), progress=False).parts.test.shape
    torch.Size([20, 2])
    """
    parts = split_table(x, names)
    times = [time.perf_counter()]
    flow, history = rbig(parts.train, valid=parts.valid, seed=seed, progress=progress)
    times.append(time.perf_counter())
    fitted = torch.cat([parts.train, parts.valid])  # the baselines stop at no held-out row, so they have these too
    plain = gaussian(fitted, parts.test)
    times.append(time.perf_counter())
    mixed, name = mixture(fitted, parts.test, seed)
    times.append(time.perf_counter())
    with torch.no_grad():
        scores = (flow.log_prob(parts.test), plain, mixed)
    methods = (f"gaussflow.rbig, {sum(history.column('kept'))} blocks", "Gaussian, full covariance", name)
    about = (
        title,
        f"{len(parts.train)} + {len(parts.valid)} + {len(parts.test)} rows",
        f"of {len(parts.names)} columns",
    )
    lines = [
        [*head, *_figures(density), f"{end - begin:.1f}"]
        for *head, density, begin, end in zip(about, methods, scores, times, times[1:], strict=False)
    ]
    levels = {"Gaussian": -plain.mean().item(), name: -mixed.mean().item()}
    return Result(title, parts, flow, block_losses(flow, parts.test), lines, _remark(title, parts, flow, seed), levels)


def _figures(log_density: Tensor) -> list[str]:
    error = log_density.std().item() / len(log_density) ** 0.5
    return [f"{-log_density.mean():.2f}", f"{error:.2f}", f"{-log_density.min():.1f}"]


def _remark(title: str, parts: Split, flow: Flow, seed: int, count: int = 5000) -> str:
    """How exact the inverse is, and how many samples lie where no data are."""
    with torch.no_grad():
        back = (flow.decode(flow.encode(parts.test)) - parts.test).abs().max().item()
    low, high = parts.train.amin(0), parts.train.amax(0)
    samples = flow.sample(count, generator=torch.Generator().manual_seed(seed))
    far = ((samples < low - (high - low)) | (samples > high + (high - low))).any(1).double().mean().item()
    return (
        f"{title}: largest round-trip error {back:.0e}; {far:.1%} of {count} samples leave the range of a column "
        "by more than its width."
    )


@torch.no_grad()
def block_losses(flow: Flow, x: Tensor) -> list[float]:
    """Mean negative log-density of rows (N, D), in nats per row, under none, one, two, ... blocks of a grown flow."""
    blocks = flow.transform if isinstance(flow.transform, Chain) else [flow.transform]
    ladj, constant = x.new_zeros(len(x)), 0.5 * flow.dim * math.log(2 * math.pi)
    losses = [(0.5 * (x * x).sum(-1)).mean().item() + constant]
    for block in blocks:
        x, step = block(x)
        ladj = ladj + step
        losses.append((0.5 * (x * x).sum(-1) - ladj).mean().item() + constant)
    return losses


def draw(table: Result, images: Result, seed: int = 0) -> Any:
    """The picture: pairs of columns of the table, real and sampled images, and the loss of both after each block."""
    figure = new_figure(11, 10.5)
    grid = figure.add_gridspec(3, 6, height_ratios=[1, 1.15, 0.9])
    generator = torch.Generator().manual_seed(seed)

    parts = table.parts
    data = parts.raw(torch.cat([parts.train, parts.valid, parts.test]))
    samples = parts.raw(table.flow.sample(len(data), generator=generator))
    places = [(parts.names.index(i), parts.names.index(j)) for i, j in PAIRS]
    draw_pairs([figure.add_subplot(grid[0, 2 * k : 2 * k + 2]) for k in range(3)], data, samples, places, parts.names)

    test = images.parts.test[:IMAGES]
    drawn = images.flow.sample(IMAGES, generator=generator)
    for k, (x, title) in enumerate([(test, "digits: held-out images"), (drawn, "digits: samples")]):
        draw_images(figure.add_subplot(grid[1, 3 * k : 3 * k + 3]), _pixels(images.parts, x), 10, title)
    for k, result in enumerate((table, images)):
        draw_losses(figure.add_subplot(grid[2, 3 * k : 3 * k + 3]), result.losses, result.levels, result.title)
    return figure


def _pixels(parts: Split, x: Tensor) -> Tensor:
    """Images (n, 8, 8) of rows (n, D): the pixels that never change are blank."""
    pixels = x.new_zeros(len(x), SIDE * SIDE)
    pixels[:, parts.kept] = parts.raw(x)
    return pixels.reshape(-1, SIDE, SIDE)

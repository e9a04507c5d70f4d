"""Two ways of estimating a gradient through samples: ``python -m benchmarks.score_function --out picture.png``.

The gradient of ``E[f(z)]``, ``z ~ N(mu, sigma² I)``, with respect to mu, for ``f(z) = |z|²``: exactly ``2 mu``.

- The score function (REINFORCE): ``f(z) (z - mu) / sigma²``; it asks nothing of f.
- The same with a baseline: ``(f(z) - E[f]) (z - mu) / sigma²``.
- Reparameterised, ``z = mu + sigma eps``: ``f'(z)``; f must be differentiable.

Printed: the variances of one sample at mu = sigma = 1, sampled with a standard error and in closed form, for several
dimensions; and a descent of 50 epochs with 1000 samples each in one dimension. ``--out`` draws both.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gaussflow import DiagonalGaussian

Function = Callable[[Tensor], Tensor]
COLORS = {"score function": "#c2410c", "with a baseline": "#7c3aed", "reparameterised": "#1d4ed8"}
TRUTH = "#1f2937"


def square(z: Tensor) -> Tensor:
    """The squared length of points (n, D): (n,)."""
    return z.square().sum(-1)


def estimates(
    f: Function, mean: Tensor, log_variance: Tensor, samples: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """The gradient of ``E[f(z)]`` with respect to the mean (D,), one estimate for each sample: (samples, D) by name."""
    means = mean.expand(samples, -1).clone().requires_grad_()  # one for each sample: gradients are not summed
    law = DiagonalGaussian(means, log_variance)
    z = law.rsample(generator=generator)
    (through,) = torch.autograd.grad(f(z).sum(), means)
    z = z.detach()
    (score,) = torch.autograd.grad(law.log_prob(z).sum(), means)
    value = f(z)[:, None]
    others = (value.sum() - value) / (samples - 1)  # the mean over the other samples: no bias
    return {"score function": value * score, "with a baseline": (value - others) * score, "reparameterised": through}


def closed_form(dim: int) -> dict[str, float]:
    """The variance of each coordinate of one estimate at mu = sigma = 1, for the exact baseline ``E[f] = 2 D``."""
    more = dim - 1
    return {
        "score function": 30 + 22 * more + 4 * more**2,
        "with a baseline": 18 + 6 * more,
        "reparameterised": 4,
    }


def along(mean: float) -> dict[str, float]:
    """The variance of one estimate in one dimension, anywhere on the way of mu, at sigma = 1."""
    return {"score function": mean**4 + 14 * mean**2 + 15, "reparameterised": 4}


class Sampled(NamedTuple):
    """A variance, averaged over the coordinates, and its standard error."""

    variance: float
    error: float


def sampled(dim: int, samples: int, generator: torch.Generator) -> dict[str, Sampled]:
    """What `closed_form` gives, by sampling."""
    mean = torch.ones(dim, dtype=torch.float64)
    out = {}
    for name, g in estimates(square, mean, torch.zeros_like(mean), samples, generator).items():
        squares = (g - 2 * mean).square().mean(-1)
        out[name] = Sampled(squares.mean().item(), squares.std().item() / math.sqrt(samples))
    return out


class Epoch(NamedTuple):
    """One step of a descent: where it stood, the gradient it took, and the variance of one sample."""

    mean: float
    gradient: float
    variance: float


def descend(name: str, epochs: int, samples: int, rate: float, generator: torch.Generator) -> list[Epoch]:
    """Descend ``E[z²]`` from mu = 1 at sigma = 1 with the gradients of one estimator."""
    mean, path = torch.ones(1, dtype=torch.float64), []
    for _ in range(epochs):
        g = estimates(square, mean, torch.zeros_like(mean), samples, generator)[name]
        path.append(Epoch(mean.item(), g.mean().item(), g.var().item()))
        mean = mean - rate * g.mean(0)
    return path


def draw(paths: dict[str, list[Epoch]], found: dict[int, dict[str, Sampled]], samples: int, path: str) -> None:
    """Draw gradients and variances by epoch, and variances by dimension, into a picture file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    by_epoch, variance, by_dim = figure.subplots(1, 3)
    for name, steps in paths.items():
        epochs = range(1, len(steps) + 1)
        errors = [s.gradient - 2 * s.mean for s in steps]
        by_epoch.plot(epochs, errors, color=COLORS[name], lw=1.4, marker="o", ms=2.5, label=name)
        variance.plot(epochs, [s.variance for s in steps], color=COLORS[name], lw=1.4, label=name)
        variance.plot(epochs, [along(s.mean)[name] for s in steps], color=COLORS[name], lw=1, ls=":")
    by_epoch.axhline(0, color=TRUTH, lw=0.8)
    by_epoch.set(
        xlabel="epoch", ylabel="estimate − exact gradient 2μ", title=f"Gradient from {samples} samples, f = z²"
    )
    variance.set(xlabel="epoch", ylabel="variance of one sample", title="Its variance (dotted: closed form)")
    by_epoch.set_ylim(-0.45, 0.45)
    variance.set_ylim(0, None)
    _draw_dimensions(by_dim, found)
    for axis in (by_epoch, variance, by_dim):
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="upper left" if axis is by_dim else "upper right", fontsize=9)
    figure.savefig(path, dpi=160)


def _draw_dimensions(axis: Any, found: dict[int, dict[str, Sampled]]) -> None:
    dims = list(found)
    for name, color in COLORS.items():
        axis.plot(dims, [closed_form(d)[name] for d in dims], color=color, lw=1.4, label=name)
        values, errors = zip(*(found[d][name] for d in dims), strict=True)
        axis.errorbar(dims, values, yerr=errors, color=color, fmt="o", ms=3.5, lw=1)
    axis.set(xlabel="dimension D", ylabel="variance of one sample", xscale="log", yscale="log")
    axis.set(title="By dimension (lines: closed form)", ylim=(2, 60_000))
    ticks = [1, 2, 5, 10, 20, 50]
    axis.set_xticks(ticks, [str(t) for t in ticks])
    axis.minorticks_off()


def main() -> None:
    """Print the figures, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000, help="samples of an epoch (default 1000)")
    parser.add_argument("--epochs", type=int, default=50, help="epochs (default 50)")
    parser.add_argument("--rate", type=float, default=0.05, help="step size of the descent (default 0.05)")
    parser.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    parser.add_argument("--out", help="picture to write")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    found = {dim: sampled(dim, 100_000, generator) for dim in (1, 2, 3, 5, 8, 13, 20, 32, 50)}
    print("variance of one sample at mu = sigma = 1, f = |z|²: sampled ± standard error (closed form)")
    for dim, by_name in found.items():
        cells = [f"{n} {s.variance:.1f} ± {s.error:.1f} ({closed_form(dim)[n]:.0f})" for n, s in by_name.items()]
        print(f"D = {dim:2d}   " + "   ".join(cells))
    names = ("score function", "reparameterised")
    paths = {name: descend(name, options.epochs, options.samples, options.rate, generator) for name in names}
    print(f"descent of E[z²] from mu = 1, {options.epochs} epochs of {options.samples} samples")
    for name, steps in paths.items():
        off = math.sqrt(sum((s.gradient - 2 * s.mean) ** 2 for s in steps) / len(steps))
        mean = sum(s.variance for s in steps) / len(steps)
        print(f"{name:16s} mean variance {mean:6.2f}   gradient off by {off:.3f}   last mu {steps[-1].mean:+.4f}")
    if options.out:
        draw(paths, found, options.samples, options.out)
        print(f"picture written to {options.out}")


if __name__ == "__main__":
    main()

"""The one-dimensional mixture flow on its reference task: ``python -m benchmarks.mixture_flow_1d --out picture.png``.

Data from N(-1, 0.25²), N(0.2, 0.25²) and N(1.5, 0.25²) in the ratio 1 : 1 : 2 are mapped to a standard normal by
``f(x) = sum_i exp(w_i) (Phi((x - mu_i) / exp(tau_i)) - 1/2)`` with five components, trained by maximum likelihood: Adam
with learning rate 5e-2 that falls to zero by a cosine, 50 epochs in minibatches.
Printed, all on fresh rows that the training has not seen:

- nats per row of the flow and of the true density on the same rows, and their difference with its standard error;
- how normal f(x) is: mean, standard deviation, and the Kolmogorov-Smirnov distance to N(0, 1);
- how alike samples through the inverse and data are: the two-sample Kolmogorov-Smirnov distance and its p-value;
- the largest round-trip error and the seconds of the training.

``--out`` draws the learned density and the truth, f(x) against the normal density, the samples, and f itself.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from gaussflow import MixtureFlow

MEANS, SCALE, WEIGHTS = (-1.0, 0.2, 1.5), 0.25, (0.25, 0.25, 0.5)
DATA, MODEL, TRUTH = "#c9ced6", "#c2410c", "#1f2937"


def draw_rows(count: int, generator: torch.Generator) -> Tensor:
    """Rows (count, 1) of the three normal laws in the ratio 1 : 1 : 2."""
    which = torch.multinomial(torch.tensor(WEIGHTS), count, replacement=True, generator=generator)
    return (torch.tensor(MEANS)[which] + SCALE * torch.randn(count, generator=generator))[:, None]


def true_log_density(x: Tensor) -> Tensor:
    """The logarithm of the true density at rows (N, 1): (N,)."""
    u = (x - torch.tensor(MEANS)) / SCALE
    return (torch.tensor(WEIGHTS).log() - 0.5 * u.square() - math.log(SCALE * math.sqrt(2 * math.pi))).logsumexp(-1)


def log_density(flow: MixtureFlow, x: Tensor) -> Tensor:
    """The logarithm of the density of the flow with a standard normal base at rows (N, 1): (N,)."""
    z, ladj = flow(x)
    return ladj - 0.5 * z.square().sum(-1) - 0.5 * math.log(2 * math.pi)


def fit(rows: Tensor, epochs: int, batch: int, rate: float, generator: torch.Generator) -> tuple[MixtureFlow, Tensor]:
    """Train by maximum likelihood; returns the flow and the mean loss of each epoch (epochs,)."""
    flow = MixtureFlow(1, components=5)
    optimiser = torch.optim.Adam(flow.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * -(-len(rows) // batch))
    history = torch.zeros(epochs)
    for epoch in range(epochs):
        parts = rows[torch.randperm(len(rows), generator=generator)].split(batch)
        for part in parts:
            loss = -log_density(flow, part).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            history[epoch] += loss.detach() * len(part) / len(rows)
    return flow, history


@torch.no_grad()
def judge(flow: MixtureFlow, test: Tensor, generator: torch.Generator) -> tuple[dict[str, float], Tensor, Tensor]:
    """The figures by name, z = f(x) of the test rows (N, 1), and as many samples through the inverse (N, 1)."""
    ours, truth = log_density(flow, test), true_log_density(test)
    z = flow(test)[0]
    samples = flow.inverse(torch.randn(len(test), 1, generator=generator))[0]
    normal = stats.kstest(z[:, 0].numpy(), "norm")
    alike = stats.ks_2samp(samples[:, 0].numpy(), test[:, 0].numpy())
    figures = {
        "nats per row, flow": -ours.mean().item(),
        "nats per row, truth": -truth.mean().item(),
        "flow above truth": (truth - ours).mean().item(),
        "  standard error": (truth - ours).std().item() / math.sqrt(len(test)),
        "mean of f(x)": z.mean().item(),
        "standard deviation of f(x)": z.std().item(),
        "KS distance of f(x) to N(0, 1)": float(normal.statistic),
        "KS distance of samples to data": float(alike.statistic),
        "  p-value": float(alike.pvalue),
        "largest round-trip error": (flow.inverse(z)[0] - test).abs().max().item(),
    }
    return figures, z, samples


def draw(flow: MixtureFlow, history: Tensor, rows: Tensor, z: Tensor, samples: Tensor, path: str) -> None:
    """Draw the four panels into a picture file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.03)  # type: ignore[union-attr]
    (density, base), (sampled, curve) = figure.subplots(2, 2)
    x = torch.linspace(-2.2, 2.7, 800)[:, None]
    with torch.no_grad():
        ours, truth = log_density(flow, x).exp(), true_log_density(x).exp()
    _draw_density(density, x, rows, ours, truth)
    u = torch.linspace(-4, 4, 400)
    base.hist(z[:, 0], bins=70, range=(-4, 4), density=True, color=DATA, label="f(x) of held-out rows")
    base.plot(u, torch.exp(-0.5 * u.square()) / math.sqrt(2 * math.pi), color=TRUTH, lw=1.8, label="N(0, 1)")
    base.set(title="Latent: f(x) is standard normal", xlabel="z = f(x)", ylabel="density", xlim=(-4, 4))
    bins = torch.linspace(-2.2, 2.7, 76).numpy()
    sampled.hist(rows[:, 0], bins=bins, density=True, color=DATA, label="data")
    sampled.hist(
        samples[:, 0], bins=bins, density=True, histtype="step", color=MODEL, lw=1.8, label="samples $f^{-1}(z)$"
    )
    sampled.set(title="Samples through the inverse", xlabel="x", ylabel="density", xlim=(-2.2, 2.7))
    _draw_curve(curve, flow)
    loss = curve.inset_axes((0.66, 0.08, 0.32, 0.16))
    loss.plot(range(1, len(history) + 1), history, color=MODEL, lw=1.4)
    loss.set_title("nats per row by epoch", fontsize=8)
    loss.tick_params(labelsize=7)
    for axis in (density, base, sampled, curve, loss):
        axis.spines[["top", "right"]].set_visible(False)
    for axis in (density, base, sampled, curve):
        axis.set_title(axis.get_title(), loc="left", fontweight="bold", fontsize=11)
        axis.title.set_text("")
        axis.legend(frameon=False, loc="upper left", fontsize=9)
    for axis in (density, base, sampled):
        axis.set_ylim(0, axis.get_ylim()[1] * 1.22)
    figure.savefig(path, dpi=160)


def _draw_density(axis: Any, x: Tensor, rows: Tensor, ours: Tensor, truth: Tensor) -> None:
    axis.hist(rows[:, 0], bins=75, range=(-2.2, 2.7), density=True, color=DATA, label="data")
    axis.plot(x[:, 0], truth, color=TRUTH, lw=1.4, ls=(0, (4, 2)), label="true density", zorder=3)
    axis.plot(x[:, 0], ours, color=MODEL, lw=2, label="learned density")
    axis.set(title="Data: the learned density fits", xlabel="x", ylabel="density", xlim=(-2.2, 2.7))


def _draw_curve(axis: Any, flow: MixtureFlow) -> None:
    x, means = torch.linspace(-3.4, 3.9, 800)[:, None], torch.tensor(MEANS)[:, None]
    with torch.no_grad():
        axis.plot(x[:, 0], flow(x)[0][:, 0], color=MODEL, lw=2, label="f(x)")
        axis.plot(means[:, 0], flow(means)[0][:, 0], "o", color=TRUTH, ms=5, label="means of the data")
    bound = 0.5 * flow.log_weights.detach().exp().sum().item()
    for sign in (-1, 1):
        axis.axhline(sign * bound, color=TRUTH, lw=0.9, ls=":", label="range of the sum" if sign > 0 else None)
    axis.set(title="The learned map, steep where data is", xlabel="x", ylabel="z = f(x)")
    axis.set(xlim=(-3.4, 3.9), ylim=(-2.9 * bound, 2.6 * bound))


def main() -> None:
    """Fit, print the figures, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=8000, help="rows for training, and fresh ones for the figures (default 8000)"
    )
    parser.add_argument("--epochs", type=int, default=50, help="epochs (default 50)")
    parser.add_argument("--batch", type=int, default=256, help="rows of a minibatch (default 256)")
    parser.add_argument("--rate", type=float, default=5e-2, help="learning rate of Adam (default 5e-2)")
    parser.add_argument("--seed", type=int, default=0, help="seed (default 0)")
    parser.add_argument("--out", help="picture to write")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    rows, test = draw_rows(options.rows, generator), draw_rows(options.rows, generator)
    start = time.perf_counter()
    flow, history = fit(rows, options.epochs, options.batch, options.rate, generator)
    seconds = time.perf_counter() - start
    figures, z, samples = judge(flow, test, generator)
    for name, value in (*figures.items(), ("seconds of training", seconds)):
        print(f"{name:32s} {value:9.2e}" if 0 < abs(value) < 1e-3 else f"{name:32s} {value:9.4f}")
    if options.out:
        draw(flow, history, rows, z, samples, options.out)
        print(f"picture written to {options.out}")


if __name__ == "__main__":
    main()

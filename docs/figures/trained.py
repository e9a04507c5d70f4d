"""Fits by gradients: end to end beside closed form, and densities that depend on a context."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from common import BLUE, GREEN, GREY, ORANGE, moons, new_figure, save, scatter
from gaussflow import (
    Chain,
    Flow,
    SplineCoupling,
    Standardize,
    as_rows,
    gaussianization_flow,
    haar_rotation,
    rbig,
    train,
)


def grid(reach: tuple[float, float, float, float], across: int, up: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates and the points of a rectangle (across * up, 2)."""
    x, y = torch.linspace(reach[0], reach[1], across), torch.linspace(reach[2], reach[3], up)
    return x, y, torch.cartesian_prod(x, y)


def end_to_end() -> None:
    """Two moons in closed form, end to end with 8 layers, and with spline couplings."""
    x, test = moons(4000), moons(20_000, seed=1)
    fits = []
    start = time.process_time()
    flow, history = rbig(x, rotation=haar_rotation, progress=False)
    fits.append((f"rbig, {sum(history.column('kept'))} blocks", flow, time.process_time() - start))
    start = time.process_time()
    flow = gaussianization_flow(2, layers=8, rows=x)
    train(flow, x, epochs=60, progress=False)
    fits.append(("gaussianization_flow, 8 layers", flow, time.process_time() - start))
    start = time.process_time()
    parts = [SplineCoupling(2, [k % 2]) for k in range(6)]
    flow = Flow(Chain(Standardize(2).fit(x), *parts))
    train(flow, x, epochs=60, progress=False)
    fits.append(("6 spline couplings", flow, time.process_time() - start))
    across, up, points = grid((-1.8, 2.8, -1.3, 1.8), 160, 120)
    figure = new_figure(10, 2.7)
    axes = figure.subplots(1, 3)
    for axis, (name, flow, seconds) in zip(axes, fits, strict=True):
        with torch.no_grad():
            log_p, nats = flow.log_prob(points).reshape(160, 120).T, -flow.log_prob(test).mean()
        picture = axis.pcolormesh(across, up, log_p.clamp(min=-8), cmap="cividis", rasterized=True)
        axis.set_title(f"{name}\n{nats:.3f} nats per row, {seconds:.0f} s", fontsize=9)
        axis.set_aspect("equal")
        axis.set_xlabel("first coordinate")
    axes[0].set_ylabel("second coordinate")
    figure.colorbar(picture, ax=axes, label="log p(x), nats", shrink=0.8)
    save(figure, "end-to-end")


def rings(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points (n, 2) on a ring whose radius is the context (n, 1), between 1 and 3."""
    generator = torch.Generator().manual_seed(seed)
    radius = 1 + 2 * torch.rand(n, 1, generator=generator)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    noise = 0.15 * torch.randn(n, 2, generator=generator)
    return radius * torch.stack([angle.cos(), angle.sin()], 1) + noise, radius


def conditional() -> None:
    """Samples of rings, given the radius, beside fresh data of that radius."""
    x, radius = rings(6000)
    parts = [SplineCoupling(2, [k % 2], context_dim=1) for k in range(6)]
    flow = Flow(Chain(Standardize(2).fit(x), *parts))
    train(flow, as_rows(x, radius), epochs=60, progress=False)
    figure = new_figure(9, 3.3)
    axes = figure.subplots(1, 3)
    for axis, wanted, color in zip(axes, (1.2, 2.0, 2.8), (BLUE, ORANGE, GREEN), strict=True):
        near = x[(radius[:, 0] - wanted).abs() < 0.15]
        scatter(axis, near, GREY, "", 4)
        drawn = flow.sample(1500, torch.tensor([wanted]), torch.Generator().manual_seed(1))
        scatter(axis, drawn, color, f"1,500 samples given radius {wanted}", 4)
        axis.set_xlabel("first coordinate")
    axes[0].set_ylabel("second coordinate")
    save(figure, "conditional")


if __name__ == "__main__":
    end_to_end()
    conditional()

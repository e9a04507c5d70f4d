"""What a mixture block buys: three laws in the plane, and the densities of rotations alone and of the hybrid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common import GREY, moons, new_figure, save, scatter
from gaussflow import Flow, hybrid, rbig

ROWS = 3000


def spiral(n: int) -> Tensor:
    """A spiral of two turns with noise: (n, 2)."""
    g = torch.Generator().manual_seed(0)
    t = torch.rand(n, generator=g).sqrt()
    turned = 4 * math.pi * t
    return torch.stack([t * turned.cos(), t * turned.sin()], 1) * 2 + 0.08 * torch.randn(n, 2, generator=g)


def rounded(n: int) -> Tensor:
    """A line of bends in one coordinate, the other rounded to thirds, blurred a little: (n, 2)."""
    g = torch.Generator().manual_seed(1)
    x = (3 * torch.randn(n, generator=g) / 2).round() / 3 + 0.02 * torch.randn(n, generator=g)
    return torch.stack([x * 1.5, (3 * x).sin() + 0.15 * torch.randn(n, generator=g)], 1)


@torch.no_grad()
def show(axis: object, flow: Flow, x: Tensor, fresh: Tensor, name: str) -> None:
    """The density on the window of the rows, and nats on fresh rows."""
    low, high = x.amin(0) - 0.3, x.amax(0) + 0.3
    a, b = (torch.linspace(float(low[i]), float(high[i]), 240) for i in range(2))
    density = flow.log_prob(torch.cartesian_prod(a, b)).reshape(240, 240).T.exp()
    nats = -float(flow.log_prob(fresh).mean())
    extent = [float(low[0]), float(high[0]), float(low[1]), float(high[1])]
    axis.imshow(density.clamp(max=float(density.flatten().quantile(0.99))), origin="lower", extent=extent,  # type: ignore[attr-defined]
                cmap="magma", aspect="equal")  # fmt: skip
    axis.set_title(f"{name}: {nats:.2f} nats", fontsize=9)  # type: ignore[attr-defined]
    axis.tick_params(labelsize=7)  # type: ignore[attr-defined]


def main() -> None:
    """Three laws, one a row."""
    figure = new_figure(8, 6.6)
    axes = figure.subplots(3, 3)
    for row, (name, law) in zip(axes, {"moons": moons, "a spiral": spiral, "rounded": rounded}.items(), strict=True):
        x, fresh = law(2 * ROWS).split(ROWS)
        scatter(row[0], x, GREY, f"{name}, {ROWS} rows")
        show(row[1], rbig(x, progress=False)[0], x, fresh, "rbig")
        show(row[2], hybrid(x, progress=False)[0], x, fresh, "hybrid")
    save(figure, "hybrid")


if __name__ == "__main__":
    main()

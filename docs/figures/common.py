"""What the figures of the guides share: data, colours told apart without colour vision, and where they are saved."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaussflow.apps._plots import new_figure

IMAGES = Path(__file__).parents[1] / "images"
# Okabe and Ito (2008), dark enough on white; lines differ in style too.
BLUE, ORANGE, GREEN, PURPLE, GREY, BLACK = "#0072b2", "#d55e00", "#007a5a", "#9b4f96", "#8a8f98", "#1f2937"
STYLES = [(BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"), (BLACK, (0, (6, 1)))]

__all__ = ["BLACK", "BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "STYLES", "moons", "new_figure", "save", "scatter"]


def moons(n: int, seed: int = 0) -> Tensor:
    """Two interleaved half circles with normal noise of 0.1: (n, 2)."""
    generator = torch.Generator().manual_seed(seed)
    angle = math.pi * torch.rand(n, generator=generator)
    upper = torch.rand(n, generator=generator) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], 1) + 0.1 * torch.randn(n, 2, generator=generator)


def scatter(axis: Any, x: Tensor, color: str = BLUE, title: str = "", reach: float | None = None) -> None:
    """Points (n, 2) on axes of equal scale."""
    axis.scatter(x[:, 0], x[:, 1], s=2, color=color, linewidths=0, alpha=0.6, rasterized=True)
    axis.set_title(title, fontsize=9)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)
    if reach is not None:
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach))


def save(figure: Any, name: str) -> None:
    """The figure as a PNG, small enough to be kept with the text."""
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png", dpi=110, metadata={"Software": None})

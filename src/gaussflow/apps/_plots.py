"""Pictures of a fit: data beside samples, images beside sampled images, the loss of each block; no screen is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gaussflow.apps._optional import need

DATA, SAMPLES = "#9aa0a6", "#c2410c"  # told apart without colour vision by their lightness
LINES = ("#1d4ed8", "#0f766e", "#7c3aed")


def new_figure(width: float, height: float) -> Any:
    """An empty figure of that size in inches, on a canvas that needs no screen."""
    figure = need("matplotlib.figure", "drawing").Figure(figsize=(width, height), layout="constrained")
    need("matplotlib.backends.backend_agg", "drawing").FigureCanvasAgg(figure)
    return figure


def draw_pairs(
    axes: Sequence[Any], data: Tensor, samples: Tensor, pairs: Sequence[tuple[int, int]], names: Sequence[str]
) -> None:
    """Data (N, D) and samples (M, D) over each other, one panel for each pair of columns.

    A panel reaches a quarter of its width beyond the data; how many samples fall outside is written in it.
    """
    low, high = data.amin(0), data.amax(0)
    low, high = low - (high - low) / 4, high + (high - low) / 4
    for axis, (i, j) in zip(axes, pairs, strict=True):
        axis.scatter(data[:, i], data[:, j], s=9, color=DATA, linewidths=0, label=f"{len(data)} rows of data")
        axis.scatter(
            samples[:, i], samples[:, j], s=5, color=SAMPLES, alpha=0.6, linewidths=0, label=f"{len(samples)} samples"
        )
        ends = [(low[k].item(), high[k].item()) for k in (i, j)]
        axis.set(xlabel=names[i], ylabel=names[j], xlim=ends[0], ylim=ends[1])
        outside = ((samples < low) | (samples > high))[:, [i, j]].any(1).sum().item()
        axis.text(0.98, 0.02, f"{outside} samples outside", transform=axis.transAxes, ha="right", fontsize="small")
    axes[0].legend(loc="upper left", markerscale=2.5, frameon=False)


def draw_images(axis: Any, images: Tensor, columns: int, title: str) -> None:
    """Images (n, height, width) in a grid, dark ink on white, greys from 0 to 16."""
    count, height, width = images.shape
    grid = images.new_zeros(-(-count // columns) * (height + 1) - 1, columns * (width + 1) - 1)
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + 1), (k % columns) * (width + 1)
        grid[top : top + height, left : left + width] = image
    axis.imshow(grid.clamp(0, 16), cmap="gray_r", vmin=0, vmax=16, interpolation="nearest")
    axis.set_title(title)
    axis.set_axis_off()


def draw_losses(axis: Any, losses: Sequence[float], levels: Mapping[str, float], title: str) -> None:
    """Held-out negative log-density after each block, and the level that each baseline reaches."""
    axis.plot(range(len(losses)), losses, color=SAMPLES, marker="o", markersize=3, label="gaussflow, after each block")
    for (name, level), color in zip(levels.items(), LINES, strict=False):
        axis.axhline(level, color=color, linestyle="--", linewidth=1, label=name)
    axis.set(xlabel="blocks", ylabel="held-out −log p, nats per row", title=title)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False)

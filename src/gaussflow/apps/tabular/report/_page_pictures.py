"""The pictures of a report, as SVG in the page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps._plots import DATA, SAMPLES, new_figure
from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular.report._beside import Kind, Tables

BINS = 24
MOST_LEVELS = 8
FEW = 6  # different values of a number up to which each has a bar
MOST_POINTS = 400
MOST_NAMED = 34
TEXT = {"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9, "font.family": "sans-serif"}


def as_svg(figure: Any) -> str:
    """A figure as the address of an image that holds it."""
    held = io.BytesIO()
    with need("matplotlib", "drawing").rc_context(TEXT), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the text is drawn by the browser, with its own letters
        figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return "data:image/svg+xml;base64," + base64.b64encode(held.getvalue()).decode("ascii")


def column_picture(kind: Kind, real: Floats, drawn: Floats) -> str | None:
    """A column of real rows (N,) beside drawn ones (M,): shares of the rows; None where either has no value."""
    a, b = real[~np.isnan(real)], drawn[~np.isnan(drawn)]
    if not len(a) or not len(b):
        return None
    figure = new_figure(3.6, 2.2)
    axis = figure.subplots()
    few = np.unique(np.concatenate([a, b]))
    if kind.category or len(few) <= FEW:
        names = kind if kind.category else Kind(kind.name, "category", [kind.show(value) for value in few])
        _bars(axis, names, *((a, b) if kind.category else (np.searchsorted(few, x).astype(float) for x in (a, b))))
    else:
        _outlines(axis, kind, a, b)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8)
    return as_svg(figure)


def _bars(axis: Any, kind: Kind, a: Floats, b: Floats) -> None:
    shares = [np.bincount(x.astype(int), minlength=len(kind.levels)) / len(x) for x in (a, b)]
    order = np.argsort(-shares[0], kind="stable")
    names = [shortened(str(kind.levels[k])) for k in order[:MOST_LEVELS]]
    held = [list(100 * share[order[:MOST_LEVELS]]) for share in shares]
    if len(order) > MOST_LEVELS:
        names.append(f"{len(order) - MOST_LEVELS} others")
        held = [[*each, 100 * share[order[MOST_LEVELS:]].sum()] for each, share in zip(held, shares, strict=True)]
    places = np.arange(len(names))
    axis.barh(places - 0.2, held[0], 0.36, color=DATA)
    axis.barh(places + 0.2, held[1], 0.36, color=SAMPLES)
    axis.set_yticks(places, names)
    axis.invert_yaxis()
    axis.set_xlabel("% of rows", fontsize=8)


def _outlines(axis: Any, kind: Kind, a: Floats, b: Floats) -> None:
    """Histograms over the middle 99 % of the real rows; what is beyond counts in the outermost bins."""
    low, high = np.quantile(a, [0.005, 0.995])
    if high <= low:
        low, high = a.min() - 0.5, a.max() + 0.5
    values = np.unique(a)
    whole = len(values) <= BINS and kind.kind == "number"
    edges = _between(values) if whole and len(values) > 1 else np.linspace(low, high, BINS + 1)
    heights = [100 * np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] / len(x) for x in (a, b)]
    axis.stairs(heights[0], edges, fill=True, color=DATA, alpha=0.8)
    axis.stairs(heights[1], edges, color=SAMPLES, linewidth=1.6)
    axis.set_ylabel("% of rows", fontsize=8)
    axis.set_ylim(0, 1.08 * max(each.max() for each in heights))
    ticks = np.linspace(edges[0], edges[-1], 4)
    if kind.kind == "time":
        axis.set_xticks(ticks, [kind.show(round(tick))[:10] for tick in ticks])
    axis.set_xlabel({"span": "days"}.get(kind.kind, ""), fontsize=8)


def _between(values: Floats) -> Floats:
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def association_picture(names: Sequence[str], pairs: Sequence[Any]) -> str:
    """How strongly each pair hangs together: real rows below the diagonal, drawn ones above."""
    places = {name: k for k, name in enumerate(names)}
    held = np.full((len(names), len(names)), np.nan)
    for pair in pairs:
        i, j = places[pair.first], places[pair.second]
        held[max(i, j), min(i, j)], held[min(i, j), max(i, j)] = abs(pair.real), abs(pair.drawn)
    side = 2.4 + 0.14 * min(len(names), 36)
    figure = new_figure(side + 1.2, side)
    axis = figure.subplots()
    image = axis.imshow(held, vmin=0, vmax=1, cmap="cividis_r")
    if len(names) <= MOST_NAMED:
        axis.set_xticks(range(len(names)), [shortened(name) for name in names], rotation=90)
        axis.set_yticks(range(len(names)), [shortened(name) for name in names])
    else:
        axis.set_xticks([])
        axis.set_yticks([])
    axis.tick_params(labelsize=6.5, length=0)
    axis.set_xlabel("below the diagonal: real; above: synthetic", fontsize=8)
    bar = figure.colorbar(image, ax=axis, shrink=0.7)
    bar.set_label("0: not at all, 1: entirely", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return as_svg(figure)


def pair_picture(tables: Tables, first: int, second: int) -> str:
    """Two columns, real rows left and drawn ones right."""
    kinds = (tables.kinds[first], tables.kinds[second])
    if kinds[0].category and not kinds[1].category:
        first, second, kinds = second, first, kinds[::-1]
    figure = new_figure(4.6, 2.3)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for axis, x, color, title in zip(
        axes, (tables.every, tables.drawn), (DATA, SAMPLES), ("real", "synthetic"), strict=True
    ):
        both = x[~np.isnan(x[:, [first, second]]).any(1)][:, [first, second]]
        if not len(both):
            continue
        both = both[np.random.default_rng(0).permutation(len(both))[:MOST_POINTS]]
        shift = np.random.default_rng(1).uniform(-0.25, 0.25, both.shape) * _room(both)
        axis.scatter(both[:, 1] + shift[:, 1], both[:, 0] + shift[:, 0], s=7, color=color, alpha=0.6, linewidths=0)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_xlabel(shortened(str(kinds[1].name)), fontsize=8)
    axes[0].set_ylabel(shortened(str(kinds[0].name)), fontsize=8)
    _levels(axes[0], kinds[1], "x")
    _levels(axes[0], kinds[0], "y")
    return as_svg(figure)


def _room(x: Floats) -> Floats:
    """How far apart the values of each column (n, 2) stand where they are few, so that points can be spread; else 0."""
    values = [np.unique(column) for column in x.T]
    return np.array([float(np.diff(v).min()) if 1 < len(v) <= FEW else 0.0 for v in values])


def _levels(axis: Any, kind: Kind, way: str) -> None:
    ticks = axis.set_xticks if way == "x" else axis.set_yticks
    if kind.category:
        ticks(range(len(kind.levels))[:MOST_LEVELS], [shortened(str(v), 8) for v in kind.levels[:MOST_LEVELS]])
    elif kind.kind == "time":
        low, high = axis.get_xlim() if way == "x" else axis.get_ylim()
        ticks([low, high], [kind.show(round(low))[:10], kind.show(round(high))[:10]])


def scale_picture(marks: Sequence[tuple[str, float, float]], low: float, high: float, worth: str) -> str:
    """Values with their errors on a line from low to high, 0.5 marked."""
    figure = new_figure(5.2, 0.55 + 0.34 * len(marks))
    axis = figure.subplots()
    axis.axvline(0.5, color="#1d4ed8", linestyle="--", linewidth=1)
    for place, (_, value, error) in enumerate(marks):
        axis.errorbar(value, place, xerr=2 * error, fmt="o", color=SAMPLES if not place else "#4b5563", capsize=3)
    axis.set_yticks(range(len(marks)), [name for name, _, _ in marks])
    axis.invert_yaxis()
    axis.set_ylim(len(marks) - 0.5, -0.5)
    axis.set_xlim(low, high)
    axis.set_xlabel(worth, fontsize=8)
    axis.tick_params(labelsize=8)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    return as_svg(figure)


def shortened(text: str, most: int = 16) -> str:
    """A name that fits beside a picture, without signs that none can hold; dollars would be taken for formulas."""
    text = "".join(sign if sign.isprintable() else "·" for sign in text)
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")

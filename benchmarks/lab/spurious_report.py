"""The picture and the words of the experiment on spurious directions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from benchmarks.lab.experiment import Line
from benchmarks.lab.style import COLOURS, look, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGES = [round(-4 + 0.16 * i, 2) for i in range(51)]
FLAT = math.sqrt(2 / math.pi)  # mean absolute value of a standard normal
COVARIANCE = 3072 / (4 * 60_000)  # nats a coordinate that a fitted covariance loses, D / (4 N) to first order
SMALL = 0.002  # nats a coordinate
NORMAL_DIP = math.exp(0.5 * 0.6**2)
WORDS = {
    "haar": "Haar",
    "hadamard": "Hadamard",
    "whiten": "whitening",
    "pca": "PCA",
    "ica": "ICA",
    "confirmed": "ICA confirmed",
    "sliced": "sliced confirmed",
    "pursuit": "pursuit confirmed",
    "search": "search for w",
}


def draw(lines: list[Line]) -> Figure:
    """The histograms of the figure, how the effect fades, and what each rule loses, believed and guarded."""
    figure, axes = panels(2, 3, 3.9, 3.4)
    last = _kind(lines, "figure")[-1:]
    for line in last:
        size = f"N = {line['rows']:,}, D = {line['dim']:,}"
        _histograms(axes[0], f"Direction found, {size}", {"its own rows": line["own"], "fresh rows": line["fresh"]})
        _histograms(axes[1], f"Random direction, {size}", {"the rows": line["random"]})
        judged = "kept" if line["kept"] else "refused"
        _histograms(axes[2], f"Model that believes it (judged: {judged})", {"its samples": line["samples"]})
    _fade(axes[3], _kind(lines, "fade") + last)
    rules = _kind(lines, "rule")
    _lost(axes[4], rules, "believed", "One block believed")
    _lost(axes[5], rules, "guarded", "Blocks judged on held-out rows")
    if rules:
        top = 1.25 * max(-line[f"{name}_fresh"][0] / line["dim"] for line in rules for name in ("believed", "guarded"))
        for each in axes[4:]:
            each.set_ylim(-0.06 * top, top)
        axes[5].legend(fontsize=7, ncols=2, loc="upper right")
    return figure


def _kind(lines: Iterable[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["kind"] == kind]


def _histograms(axis: Axes, title: str, laws: dict[str, dict[str, Any]]) -> None:
    middles = [(a + b) / 2 for a, b in pairwise(EDGES)]
    fills: tuple[dict[str, Any], ...] = (
        {"color": COLOURS[6], "alpha": 0.75},
        {"color": COLOURS[2], "fill": False, "linewidth": 1.3},
    )
    for (name, law), style in zip(laws.items(), fills, strict=False):
        axis.stairs(law["histogram"], EDGES, label=name, **{"fill": True, **style})
    curve = [math.exp(-0.5 * m * m) / math.sqrt(2 * math.pi) for m in middles]
    axis.plot(middles, curve, color=COLOURS[0], linestyle="--", linewidth=1.2, label="N(0, 1)")
    axis.set(title=title, xlabel="projection on the unit vector w", ylabel="density", ylim=(0, 0.52))
    axis.title.set_fontsize(9)
    axis.legend(fontsize=7, ncols=3, loc="upper center", columnspacing=1.0, handlelength=1.5)


def _fade(axis: Axes, lines: list[Line]) -> None:
    for index, (part, words) in enumerate((("own", "own rows"), ("fresh", "fresh rows"))):
        points = [(line["dim"] / line["rows"], line[part]["absolute"] - FLAT) for line in lines]
        if points:
            style: Any = {**look(index + 1), "linestyle": "none"}
            axis.plot(*zip(*sorted(points), strict=True), **style, markersize=4, label=words)
    ratios = [2.0**-k for k in range(1, 9)]
    axis.plot(ratios, [math.sqrt(r) for r in ratios], color=COLOURS[0], label="bound (Chevet)")
    axis.set_xscale("log", base=2)
    axis.set_yscale("symlog", linthresh=0.05)
    axis.set_yticks([-0.05, 0, 0.05, 0.1, 0.2, 0.5], ["-0.05", "0", "0.05", "0.1", "0.2", "0.5"])
    axis.set(xlabel="coordinates for each row, D / N", ylabel=r"mean of $|w^\top x|$ above that of N(0, 1)")
    axis.set_title("The effect fades as N grows", fontsize=9)
    axis.legend(fontsize=7, loc="lower right")


def _lost(axis: Axes, lines: list[Line], name: str, title: str) -> None:
    """Held-out nats lost for each coordinate, with 95 % intervals over the seeds."""
    for index, rule in enumerate(WORDS):
        dims = sorted({line["dim"] for line in lines if line["rule"] == rule})
        if not dims:
            continue
        found = [
            _interval([-line[f"{name}_fresh"][0] / d for line in lines if (line["rule"], line["dim"]) == (rule, d)])
            for d in dims
        ]
        x = [d * 1.035 ** (index - 2.5) for d in dims]  # side by side, so that all can be seen
        values, errors = zip(*found, strict=True)
        style: Any = look(index)
        axis.errorbar(x, values, errors, **style, markersize=4, linewidth=1, capsize=2, label=WORDS[rule])
        axis.set_xscale("log", base=2)
        axis.set_xticks(dims, [str(d) for d in dims])
    axis.axhline(0, color="0.6", linewidth=0.8)
    axis.axhline(COVARIANCE, color="0.4", linewidth=0.8, linestyle=(0, (1, 3)), label="D / (4 N)")
    axis.set(xlabel="dimension D (N = 19.5 D)", ylabel="held-out nats lost per coordinate")
    axis.set_title(title, fontsize=9)


def _interval(values: list[float]) -> tuple[float, float]:
    """Mean and half a 95 % interval by Student's law; no width where there is one value."""
    if len(values) < 2:
        return values[0], 0.0
    from scipy.stats import t

    return mean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def report(lines: list[Line]) -> str:
    """What the search found beside the bound, and what each rule lost, as Markdown."""
    parts = [_told_figure(line) for line in _kind(lines, "figure")]
    fade = _kind(lines, "fade") + _kind(lines, "figure")
    if fade:
        parts.append(_told_fade(fade))
    if rules := _kind(lines, "rule"):
        parts += [_table(rules), _told_rules(rules)]
    return "\n\n".join(parts)


def _told_figure(line: Line) -> str:
    own, random, samples = line["own"], line["random"], line["samples"]
    (bought, _), (fresh, error) = line["gain_own"], line["gain_fresh"]
    return (
        f"N = {line['rows']:,} rows of a standard normal, D = {line['dim']:,}. Along the direction found the density "
        f"at zero is {own['dip']:.2f} ± {own['dip_error']:.2f} of that at ±0.6 ({NORMAL_DIP:.2f} for a normal): "
        f"{_modes(own)}. Along a random one it is {random['dip']:.2f} ± {random['dip_error']:.2f}: {_modes(random)}. "
        f"A marginal that believes the direction buys {bought:.3f} nats on its own rows and changes fresh rows by "
        f"{fresh:+.4f} ± {error:.4f} nats. Its samples along w have excess kurtosis {samples['kurtosis']:+.3f} ± "
        f"{samples['kurtosis_error']:.3f} and a density at zero of {samples['dip']:.2f} ± {samples['dip_error']:.2f}: "
        f"{_modes(samples)}. Judged on the fresh rows, as `grow` does, the block is "
        f"{'kept: the guard fails' if line['kept'] else 'refused, and the law along w stays normal'}."
    )


def _modes(law: dict[str, float]) -> str:
    if law["dip"] + 3 * law["dip_error"] < 1:
        return "bimodal"
    return "no sign of two modes" if law["dip"] - 3 * law["dip_error"] > 1 else "too close to tell"


def _told_fade(lines: list[Line]) -> str:
    own = [(line["own"]["absolute"] - FLAT) / math.sqrt(line["dim"] / line["rows"]) for line in lines]
    beyond = [(line["fresh"]["absolute"] - FLAT) / math.sqrt((1 - 2 / math.pi) / 10_000) for line in lines]
    within = sum(share <= 1 for share in own)
    strays = sum(abs(z) > 3 for z in beyond)
    return (
        f"The mean of |wᵀx| exceeds that of a normal by {min(own):.0%} to {max(own):.0%} of the bound √(D/N); "
        f"{within} of {len(own)} searches stay below it. On fresh rows {strays} of {len(own)} directions differ from a "
        f"normal by more than three standard errors."
    )


def _table(lines: list[Line]) -> str:
    from tabulate import tabulate

    head = ["rotation", "D", "bought on own rows", "lost on fresh rows", "lost after `rbig`", "blocks kept"]
    head += ["kurtosis along w, believed", "after `rbig`"]
    body = []
    for rule, dim in dict.fromkeys((line["rule"], line["dim"]) for line in lines):
        mine = [line for line in lines if (line["rule"], line["dim"]) == (rule, dim)]
        cells = [_plus_minus([sign * line[key][0] / dim for line in mine]) for key, sign in COLUMNS.items()]
        kept = f"{mean(line['blocks'] for line in mine):.1f}"
        shapes = [_plus_minus([line[key]["kurtosis"] for line in mine], 3) for key in SHAPES]
        body.append([WORDS[rule], dim, *cells, kept, *shapes])
    text = str(tabulate(body, head, tablefmt="github", disable_numparse=True))
    return text + "\n\nNats per coordinate; ± is half a 95 % interval over the seeds."


COLUMNS = {"believed_own": 1, "believed_fresh": -1, "guarded_fresh": -1}
SHAPES = ("believed_samples", "guarded_samples")


def _plus_minus(values: list[float], digits: int = 4) -> str:
    value, half = _interval(values)
    value = round(value, digits) + 0.0  # no minus zero
    return f"{value:.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")


def _told_rules(lines: list[Line]) -> str:
    dim = max(line["dim"] for line in lines)
    mine = [line for line in lines if line["dim"] == dim]
    believed = {r: _interval([-m["believed_fresh"][0] for m in mine if m["rule"] == r]) for r in _rules(mine)}
    guarded = {r: _interval([-m["guarded_fresh"][0] for m in mine if m["rule"] == r]) for r in _rules(mine)}
    worst = max(believed, key=lambda r: believed[r][0])
    safe = [WORDS[r] for r, (value, half) in believed.items() if value + half <= SMALL * dim]
    told = [
        f"At D = {dim} the dearest rotation to believe is {WORDS[worst]}: {believed[worst][0]:.2f} ± "
        f"{believed[worst][1]:.2f} nats a row lost on fresh rows."
    ]
    told += [f"Surely below {SMALL} nats a coordinate: {', '.join(safe)}."] if safe else []
    if "pca" in believed:
        share, half = (value / dim / COVARIANCE for value in believed["pca"])
        told.append(
            f"PCA loses {share:.2f} ± {half:.2f} of D² / (4 N) nats, what a fitted covariance loses to first order."
        )
    left = max(guarded, key=lambda r: guarded[r][0])
    lost = _plus_minus([-m["guarded_fresh"][0] for m in mine if m["rule"] == left])
    told.append(f"Judged on held-out rows the largest loss is {lost} nats a row ({WORDS[left]}).")
    return " ".join(told)


def _rules(lines: list[Line]) -> list[str]:
    return list(dict.fromkeys(line["rule"] for line in lines))

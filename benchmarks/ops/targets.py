"""What was set as a goal for each operation, and whether the figures of a run reach it.

Those of whole fits are beside their rows, `benchmarks.ops.fits`; those of MS-SSIM have a benchmark of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from benchmarks.ops.checks import GRADIENTS, ROUND_TRIP, VALUES, Check

Row = dict[str, Any]


class Target(NamedTuple):
    """A ratio of two times of one case; ``least`` or ``most`` is the goal."""

    operation: str
    way: str
    dims: tuple[int, ...]
    words: str
    ratio: Callable[[Row], float | None]
    most: float | None = None
    least: float | None = None


def over(a: str, b: str) -> Callable[[Row], float | None]:
    """The time of one name over that of another; None where one is missing."""

    def ratio(row: Row) -> float | None:
        times = row["ms"] | {"floor": row["floor_ms"]}
        return times[a] / times[b] if a in times and b in times else None

    return ratio


def first_rival(row: Row) -> float | None:
    """The least time of another package over ours."""
    others = [t for name, t in row["ms"].items() if not name.startswith("ours")]
    return min(others) / row["ms"]["ours"] if others else None


OURS = over("ours", "floor")
TARGETS = (
    Target("spline", "forward", (256,), "zuko over ours", over("zuko", "ours"), least=3),
    Target("spline", "training", (256,), "zuko over ours", over("zuko", "ours"), least=3),
    Target("spline", "forward", (256,), "nflows over ours", over("nflows", "ours"), least=25),
    Target("spline", "training", (256,), "nflows over ours", over("nflows", "ours"), least=25),
    Target("spline", "forward", (256,), "ours, compiled, over the floor", over("ours, compiled", "floor"), most=8),
    Target("couplings", "forward", (1024,), "ours over the floor", OURS, most=1.25),
    Target("couplings", "inverse", (1024,), "ours over the floor", OURS, most=1.25),
    Target("couplings", "training", (1024,), "ours over the floor", OURS, most=2.3),
    *(
        Target("couplings", way, (1024,), "first rival over ours", first_rival, least=1)
        for way in ("forward", "inverse", "training")
    ),
    Target("cayley", "forward", (64, 256), "ours over one product", OURS, most=1.2),
    Target("householder, k = 8", "forward", (256, 1024), "ours over one product", OURS, most=0.3),
    Target("hadamard", "forward", (512, 1024), "ours over one product", OURS, most=1),
    Target("mixture, normal", "forward", (64,), "ours over zuko", over("ours", "zuko"), most=1.5),
    Target("mixture, normal", "training", (64,), "ours over zuko", over("ours", "zuko"), most=1.5),
    Target("mixture, normal", "inverse", (64,), "ours over zuko", over("ours", "zuko"), most=1),
    Target("mixture, normal", "forward", (64,), "ours, compiled, over zuko", over("ours, compiled", "zuko"), most=0.75),
    Target("mixture, normal", "inverse", (64,), "ours, compiled, over zuko", over("ours, compiled", "zuko"), most=1),
    Target("log_ndtr", "forward", (16, 64, 256, 1024), "ours over torch", over("ours", "torch"), most=1),
    Target("ndtri", "forward", (16, 64, 256, 1024), "ours over torch", over("ours", "torch"), most=1),
)
BATCH = 4096  # the goals were set for it


def exactness(found: Iterable[Check]) -> list[list[str]]:
    """A line for each kind of check: the worst of them, in which operation, beside the goal, which allows none more."""
    found, lines = list(found), []
    for kind, goal in (("values", VALUES), ("gradients", GRADIENTS), ("round trip", ROUND_TRIP)):
        worst = max((check for check in found if kind in check.name), key=lambda check: check.error)
        cells = [
            worst.name.split(":")[0],
            f"{worst.error:.1e}",
            f"< {goal:.0e}",
            "met" if worst.error < goal else "missed",
        ]
        lines.append([f"largest error of {kind}", "", *cells])
    return lines


def verdicts(rows: Iterable[Row]) -> list[list[str]]:
    """A line for each target that the rows tell of: what, at which D, what it is, what it should be, met or missed."""
    lines = []
    rows = [row for row in rows if row["rows"] == BATCH]
    for target in TARGETS:
        for row in rows:
            if (row["operation"], row["way"]) != target[:2] or row["dim"] not in target.dims:
                continue
            goal = f"≤ {target.most:g}" if target.most is not None else f"≥ {target.least:g}"
            line = [f"{target.operation} {target.way}", str(row["dim"]), target.words]
            if (ratio := target.ratio(row)) is None:
                lines.append([*line, "", goal, "not measured"])
                continue
            met = ratio <= target.most if target.most is not None else ratio >= (target.least or 0)
            lines.append([*line, f"{ratio:.2f}", goal, "met" if met else "missed"])
    return lines

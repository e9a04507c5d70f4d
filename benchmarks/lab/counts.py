"""Blocks that were counted: the runs of a group together, and how a count stands in a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

from benchmarks.lab.experiment import Line
from benchmarks.lab.intervals import mean_of

RATIOS = {"tenfold": 0.1, "thousandfold": 1e-3}

Group = dict[str, list[Any]]
Key = TypeVar("Key", bound=NamedTuple)


def group_by(lines: Sequence[Line], key: type[Key]) -> dict[Key, Group]:
    """The runs of all seeds by what they have in common; the lists of each line one after the other, by seed."""
    groups: dict[Key, Group] = {}
    for line in sorted(lines, key=lambda each: (each["dim"], each["seeds"])):
        group = groups.setdefault(key(*(line[name] for name in key._fields)), {})
        for name, values in line.items():
            if isinstance(values, list):
                group.setdefault(name, []).extend(values)
            elif name == "every":
                group[name] = [values]
    return groups


def count_cell(group: Group | None, name: str) -> str:
    """The mean with its standard error, or how many of the runs got there; nothing where nothing was measured."""
    if group is None:
        return ""
    there = [count for count in group[name] if count is not None]
    if len(there) < len(group[name]):
        return f"{len(there)} of {len(group[name])} runs"
    counts = mean_of(there)
    return f"{counts.value:.1f}" + (f" ± {counts.error:.1f}" if counts.error > 0 else "")

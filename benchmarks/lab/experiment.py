"""What an experiment is: small cases that are measured one by one, and one picture and one table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Case = dict[str, Any]  # names and numbers that say what is measured; two cases are never equal
Line = dict[str, Any]  # a case, what was measured of it, and what it was measured with


@dataclass(frozen=True)
class Setting:
    """How much is measured and on what.

    Attributes
    ----------
    quick
        Small cases only: all experiments together in under three minutes.
    data
        Folder with the images that scikit-learn does not ship, or None.
    threads
        Threads of each measurement.
    """

    quick: bool = False
    data: Path | None = None
    threads: int = 1


@dataclass(frozen=True)
class Experiment:
    """One question to theory.

    Attributes
    ----------
    name
        One word; the name of its file of results and of its picture.
    question
        One sentence that a reader understands.
    cases
        ``cases(setting)``: what is to be measured, the cheapest first, none above about two minutes.
    measure
        ``measure(case, setting)``: numbers, and lists of numbers, that JSON can hold. Deterministic but for seconds.
    draw
        ``draw(lines)``: the picture of the lines that there are; of some cases only, too.
    report
        ``report(lines)``: Markdown that sets what was seen beside what theory says, with intervals.
    """

    name: str
    question: str
    cases: Callable[[Setting], list[Case]]
    measure: Callable[[Case, Setting], dict[str, Any]]
    draw: Callable[[list[Line]], Figure]
    report: Callable[[list[Line]], str]

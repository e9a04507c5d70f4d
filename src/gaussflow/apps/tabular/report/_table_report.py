"""The comparison of a synthetic table with a real one: its numbers, its findings in words, its page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gaussflow._files import whole
from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular.frames._schema import short
from gaussflow.apps.tabular.report._beside import Shared, Tables, tables_of
from gaussflow.apps.tabular.report._exposure import Exposure, check_exposure
from gaussflow.apps.tabular.report._findings import Finding, likeness_findings, privacy_findings
from gaussflow.apps.tabular.report._likeness import (
    ColumnCheck,
    Learnt,
    PairCheck,
    Told,
    check_column,
    check_learning,
    check_pairs,
    suggest_target,
    tell_apart,
)
from gaussflow.apps.tabular.report._page import page

if TYPE_CHECKING:
    import pandas as pd

OWNER = "compare_tables"
MOST_ROWS = 5000  # of each table that classifiers and distances are given
STEPS = ("columns", "pairs of columns", "telling apart", "learning", "privacy")


@dataclass(frozen=True)
class TableReport:
    """How like a synthetic table is to the real one, and what it gives away of the rows that were fitted.

    Printed it is a few lines; `save` writes a page with pictures that stands alone.

    Attributes
    ----------
    rows, rows_drawn, rows_held_out
        How many rows there were; None where no rows were held out of the fit.
    columns, pairs
        A check of each column and of each pair of columns.
    boosted, logistic
        How well boosted trees and logistic regression tell drawn rows from real ones; None for fewer than 30 rows.
    fresh
        How well boosted trees tell rows held out from rows fitted: what fresh rows of the same law reach.
    learnt
        What a classifier of one column loses when it is trained on drawn rows; None where rows are too few to say.
    exposure
        Nearness, membership, copies, rare combinations.
    nats
        Mean log-probability of the rows fitted and of those held out under the model, in nats; None without one.
    names
        The columns that name rows, as record numbers do, and the share of their drawn values that a real row has.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gaussflow.apps.tabular import compare_tables
    >>> df = load_iris(as_frame=True).frame
    >>> report = compare_tables(df[::3], df[1::3], held_out=df[2::3])
    >>> len(report.columns), len(report.pairs)
    (5, 10)
    """

    rows: int
    rows_drawn: int
    rows_held_out: int | None
    columns: list[ColumnCheck]
    pairs: list[PairCheck]
    boosted: Told | None
    logistic: Told | None
    fresh: Told | None
    learnt: Learnt | None
    exposure: Exposure
    nats: tuple[float, float | None] | None = None
    names: list[Shared] = field(default_factory=list)
    tables: Tables | None = field(default=None, repr=False, compare=False)
    paired: list[str] = field(default_factory=list, repr=False)

    @property
    def likeness(self) -> list[Finding]:
        """What is found of how like the tables are, in words."""
        return likeness_findings(self)

    @property
    def privacy(self) -> list[Finding]:
        """What is found of what the rows give away, in words."""
        return privacy_findings(self)

    def as_dict(self) -> dict[str, Any]:
        """The numbers, nested as the attributes are, as JSON takes them."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in ("tables", "paired")}

    def html(self) -> str:
        """The page: one file that needs no other."""
        return page(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file, whole or not at all, and return its path."""
        text = self.html()
        with whole(path) as file:
            file.write(text)
        return Path(path)

    def __str__(self) -> str:
        lines = [f"{self.rows_drawn} synthetic rows beside {self.rows} real ones, {len(self.columns)} columns"]
        for head, findings in (("likeness", self.likeness), ("privacy", self.privacy)):
            lines += [f"{head}:", *(f"  {finding.word}: {finding.text}" for finding in findings)]
        return "\n".join(lines)


def compare_tables(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    held_out: pd.DataFrame | None = None,
    *,
    target: Any = None,
    identifiers: Sequence[Any] | None = None,
    random_state: int = 0,
    progress: Callable[[str], object] | None = None,
) -> TableReport:
    """Compare a synthetic table with a real one, however either was made.

    Parameters
    ----------
    real
        The rows (N, D) that the model was fitted to.
    synthetic
        The rows (M, D) drawn, with the same columns in any order.
    held_out
        Rows (K, D) from the same source that the model never saw. They are what classifiers are judged by, and without
        them it cannot be told whether the rows drawn lie nearer to rows fitted than to other patients.
    target
        The column that a classifier is to learn from drawn rows; None for one that seems fit, which the report names.
    identifiers
        Columns that name rows, which are not compared; it is only seen whether names of real rows come again. Text and
        categories most of which one row has alone are taken so without being told.
    random_state
        Decides folds, and which rows are taken of tables of more than 5,000 for classifiers and distances.
    progress
        Called with the name of each of the steps before it.

    Returns
    -------
    report
        A `TableReport`; ``report.save("report.html")`` writes its page.

    Raises
    ------
    TypeError, ValueError
        For what is no frame, is empty, has other columns or other kinds of columns, or holds infinities.
    ImportError
        Where pandas, scikit-learn, scipy or matplotlib are missing: they are in the extra ``tabular``.

    Notes
    -----
    Sources: Lopez-Paz and Oquab (2017) for the classifier two-sample test; Esteban, Hyland and Rätsch (2017) for
    training on synthetic and testing on real rows; Chen et al. (2020) for membership by nearness; DeLong, DeLong and
    Clarke-Pearson (1988) for the errors of ROC areas.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from gaussflow.apps.tabular import TableSynthesizer, compare_tables
    >>> df = load_iris(as_frame=True).frame.sample(frac=1, random_state=0)
    >>> model = TableSynthesizer().fit(df[:100])
    >>> report = compare_tables(df[:100], model.sample(100), held_out=df[100:])
    >>> report.rows, report.rows_drawn, report.rows_held_out
    (100, 100, 50)
    """
    tables = tables_of(real, synthetic, held_out, OWNER, identifiers)
    names = [kind.name for kind in tables.kinds]
    if target is not None and target not in names:
        raise ValueError(f"{OWNER} was given the target {target!r}, which is no column; it has {short(names)}.")
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer) or random_state < 0:
        raise ValueError(f"{OWNER} wants an integer of at least 0 as random_state; got {random_state!r}.")
    return _compared(tables, None if target is None else names.index(target), int(random_state), progress)


def _compared(tables: Tables, target: int | None, seed: int, progress: Callable[[str], object] | None) -> TableReport:
    say = progress or (lambda step: None)
    kinds, every = tables.kinds, tables.every
    say(STEPS[0])
    columns = [check_column(kind, every[:, j], tables.drawn[:, j], seed) for j, kind in enumerate(kinds)]
    random = np.random.default_rng(seed)
    real, drawn = (_some(x, random) for x in (tables.real, tables.drawn))
    held = None if tables.held_out is None else _some(tables.held_out, random)
    beside = real if held is None else held
    say(STEPS[1])
    paired, pairs = check_pairs(kinds, _some(every, random), drawn)
    say(STEPS[2])
    boosted, logistic = (tell_apart(kinds, beside, drawn, seed, boosted=b) for b in (True, False))
    fresh = None if held is None else tell_apart(kinds, real, held, seed, boosted=True)
    say(STEPS[3])
    chosen = suggest_target(kinds, real) if target is None else target
    learnt = check_learning(kinds, real, drawn, held, chosen, target is None, seed)
    say(STEPS[4])
    exposure = check_exposure(kinds, real, drawn, held, seed)
    counts = (len(tables.real), len(tables.drawn), None if tables.held_out is None else len(tables.held_out))
    return TableReport(
        *counts, columns, pairs, boosted, logistic, fresh, learnt, exposure, None, tables.names, tables, paired
    )


def _some(x: Floats, random: np.random.Generator) -> Floats:
    """At most so many rows, drawn without repeats."""
    return x if len(x) <= MOST_ROWS else x[np.sort(random.permutation(len(x))[:MOST_ROWS])]


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value

"""The estimator: frames in, frames out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular._columns import Skeleton, number_skeleton
from gaussflow.apps.tabular._conditions import conditions
from gaussflow.apps.tabular._curve import Curve
from gaussflow.apps.tabular._draw import Condition, Present, draw_rows
from gaussflow.apps.tabular._features import Encoding
from gaussflow.apps.tabular._forest import Tree
from gaussflow.apps.tabular._frames import check_fit_frame, check_new_frame, check_weights, coded_frame, frame_of
from gaussflow.apps.tabular._grid import Grid
from gaussflow.apps.tabular._joint import Coded, Joint, fit_joint
from gaussflow.apps.tabular._law import Bag, Law
from gaussflow.apps.tabular._pack import Packer, unpacked
from gaussflow.apps.tabular._ridge import Ridge
from gaussflow.apps.tabular._schema import Column, read_column
from gaussflow.apps.tabular._table_report import TableReport, compare_tables
from gaussflow.training._checkpoint import PathLike, open_checkpoint, write_checkpoint

if TYPE_CHECKING:
    import pandas as pd

CLASSES = {kind.__name__: kind for kind in (Bag, Column, Curve, Encoding, Grid, Joint, Law, Ridge, Skeleton, Tree)}
CHUNK = 20_000  # rows drawn or scored at once
PARTICLES = 128  # candidates for each row of a partial frame
MOST_DRAWN = 64  # times the rows wanted that are drawn before those found must do
IMPOSSIBLE = -60.0  # nats: conditions less likely than that are refused


class TableSynthesizer:
    r"""The law of a table of mixed columns, to draw new rows from and to score rows by.

    .. math:: p(\text{row}) = \prod_j p(x_j \mid x_{<j}), \qquad
        p(x_j \mid \cdot) = m_s(\cdot)\, \big[\, f(x_j \mid \cdot) \text{ within the state of all other numbers} \big]

    Each column is in one of some states: missing; a category; a number that repeats, as zeros and limits of detection
    do; or among all other numbers. A few small trees on the columns before give the masses :math:`m_s` of the states,
    shrunk from node to node towards the whole table, and the place and scale of the numbers on a smooth curve, after a
    ridge regression. What they may do is decided on rows that each tree has not seen. No value of a row is stored for
    the numbers, but for those that repeat and the ends of the range.

    The probability is exact. Its reference measure counts categories, missing values, numbers that repeat, integers,
    decimals and times, whose probability is that of the cell of the line that is rounded to them; floats that are not
    rounded have a density in their own unit.

    Parameters
    ----------
    random_state
        Decides the halves of the rows that trees see, and the rows that `sample` draws: the same integer gives the
        same; None for other ones each time.

    Attributes
    ----------
    columns_
        What the columns of the frame are.
    joint_
        The law of their states and values.
    feature_names_in_, n_features_in_
        Names and number of the columns.

    Raises
    ------
    TypeError, ValueError
        For frames that are none, are empty, hold infinities, objects that are no text, or an identifier; before `fit`;
        and for frames unlike that of the fit. The message says what was wanted, what came, and what to do.
    ImportError
        Where pandas or scikit-learn are missing: they are in the extra ``tabular``.

    Notes
    -----
    Sources: Rubin (1993) and Nowok, Raab and Dibben (2016) for synthesis column by column; Reiter (2005) for trees in
    it. Rounded numbers follow Heitjan and Rubin (1991), grids that are nested included.
    Rare categories, repeated numbers and the ends of ranges come from the rows as they are: this is no formal privacy.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from gaussflow.apps.tabular import TableSynthesizer
    >>> df = load_iris(as_frame=True).frame.assign(kind=lambda d: d.pop("target").map({0: "a", 1: "b", 2: "c"}))
    >>> model = TableSynthesizer().fit(df)
    >>> model.sample(200).shape, model.log_prob(df).shape
    ((200, 5), (150,))
    >>> model.sample(7, given={"kind": "a", "petal length (cm)": (1, 1.5)}).shape
    (7, 5)
    """

    def __init__(self, *, random_state: int | None = 0) -> None:
        self.random_state = random_state

    def fit(self, df: pd.DataFrame, y: object = None, sample_weight: Any = None) -> Self:
        """Fit to the rows of a frame.

        Parameters
        ----------
        df
            A frame (N, D) of integers, floats, booleans, text, categories, dates and durations, with missing values.
        y
            Not used; pipelines pass it.
        sample_weight
            Weights (N,) of the rows, at least 0; None for one each.

        Returns
        -------
        self
        """
        owner = "TableSynthesizer.fit"
        need("sklearn", "fitting a table")
        df = check_fit_frame(df, owner)
        weights = check_weights(sample_weight, len(df), owner)
        df, weights = df[weights > 0], weights[weights > 0]
        columns = [read_column(df[name], owner) for name in df.columns]
        codes = [column.codes(df[column.name], owner) for column in columns]
        skeletons = [_skeleton(column, x) for column, x in zip(columns, codes, strict=True)]
        pairs = [skeleton.states(x) for skeleton, x in zip(skeletons, codes, strict=True)]
        coded = Coded([state for state, _ in pairs], [x for _, x in pairs])
        ordered = [column.kind != "category" or column.ordered for column in columns]
        seed = int(np.random.default_rng(self.random_state).integers(2**31))
        self.joint_ = fit_joint(skeletons, ordered, [column.nullable for column in columns], coded, weights, seed)
        self._hold(columns)
        return self

    def sample(
        self,
        n: int | None = None,
        given: Mapping[Any, Any] | pd.DataFrame | None = None,
        random_state: int | None = None,
    ) -> pd.DataFrame:
        """Draw rows: of the law, with each number within the range that the fit saw of its column.

        Parameters
        ----------
        n
            How many; with a frame of partial rows None, since one row is drawn for each.
        given
            What the rows are to have: by column a value, None for missing, a set of values, or an interval
            ``(low, high)`` with its ends, either of which may be None. Or a frame of some of the columns, whose rows
            are completed.
        random_state
            Decides the rows; None for that of the constructor.

        Returns
        -------
        df
            A frame (n, D) with the columns, dtypes, categories and decimals of the frame of the fit.

        Raises
        ------
        ValueError
            For what no row can have, or hardly any: the message names the columns.
        """
        columns, joint = self._fitted("sample")
        random = np.random.default_rng(self.random_state if random_state is None else random_state)
        if given is not None and not isinstance(given, Mapping):
            df = check_new_frame(given, columns, "TableSynthesizer.sample", partial=True)
            if n is not None and n != len(df):
                raise ValueError(f"TableSynthesizer.sample completes each of the {len(df)} rows given; got n of {n}.")
            return self._completed(df, random, "TableSynthesizer.sample", missing_is_given=True)
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise ValueError(f"TableSynthesizer.sample wants how many rows, 0 or more; got {n!r}.")
        if not given:
            parts = [draw_rows(joint, size, {}, random)[0] for size in _sizes(int(n))]
            return frame_of(_joined(parts), columns)
        wanted = conditions(given, columns, joint.skeletons)
        return frame_of(_accepted(joint, int(n), wanted, list(given), random), columns)

    def impute(self, df: pd.DataFrame, random_state: int | None = None) -> pd.DataFrame:
        """Fill what is missing in rows (n, D) with a draw given the rest of each row; the frame filled, as a copy.

        Columns that were missing in all rows of the fit stay as they are.
        """
        columns, _ = self._fitted("impute")
        df = check_new_frame(df, columns, "TableSynthesizer.impute")
        random = np.random.default_rng(self.random_state if random_state is None else random_state)
        full = self._completed(df, random, "TableSynthesizer.impute", missing_is_given=False)[list(df.columns)]
        filled = df.copy()
        for name in df.columns:
            if bool((gaps := df[name].isna().to_numpy()).any()):
                filled[name] = df[name].where(~gaps, full[name].set_axis(df.index).astype(df[name].dtype))
        return filled

    def log_prob(self, df: pd.DataFrame) -> Floats:
        """The log-probability (n,) of each row (n, D) in nats: of the mass of what is counted, the density of the rest.

        A number with more digits than those of the fit counts as the value that it rounds to.
        """
        columns, joint = self._fitted("log_prob")
        df = check_new_frame(df, columns, "TableSynthesizer.log_prob")
        parts = []
        for start in range(0, len(df), CHUNK):
            part = df.iloc[start : start + CHUNK]
            parts.append(joint.log_prob(coded_frame(part, columns, joint.skeletons, "TableSynthesizer.log_prob")))
        return np.concatenate([np.empty(0), *parts])

    def score(self, df: pd.DataFrame, y: object = None) -> float:
        """The mean log-probability of rows (n, D), in nats."""
        return float(self.log_prob(df).mean())

    def report(
        self,
        real: pd.DataFrame,
        synthetic: pd.DataFrame,
        held_out: pd.DataFrame | None = None,
        *,
        target: Any = None,
        progress: Callable[[str], object] | None = None,
    ) -> TableReport:
        """Compare rows drawn (M, D) with the rows fitted (N, D), as `compare_tables` does, which says what is measured.

        The fitted model adds the mean log-probability of the rows fitted and of those held out, where their columns and
        dtypes are those of the fit. ``save`` of what is returned writes a page with pictures.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from gaussflow.apps.tabular import TableSynthesizer
        >>> df = load_iris(as_frame=True).frame.sample(frac=1, random_state=0)
        >>> model = TableSynthesizer().fit(df[:100])
        >>> report = model.report(df[:100], model.sample(100), held_out=df[100:])
        >>> len(report.columns), report.rows_held_out
        (5, 50)
        """
        seed = self.random_state or 0
        found = compare_tables(real, synthetic, held_out, target=target, random_state=seed, progress=progress)
        if hasattr(self, "columns_") and (own := self._mean_of_known(real)) is not None:
            found = replace(found, nats=(own, None if held_out is None else self._mean_of_known(held_out)))
        return found

    def _mean_of_known(self, df: pd.DataFrame) -> float | None:
        """The mean log-probability of the rows (n, D) whose categories the fit saw; None where nothing can be said."""
        columns, known = self.columns_, np.ones(len(df), np.bool_)
        if list(df.columns) != [c.name for c in columns] or any(str(df[c.name].dtype) != c.dtype for c in columns):
            return None
        for column in columns:
            if column.kind == "category":
                known &= (df[column.name].isna() | df[column.name].isin(column.levels or [])).to_numpy()
        return self.score(df[known]) if known.any() else None

    def save(self, path: PathLike) -> None:
        """Write the fitted model to one file, whole or not at all: safetensors with a JSON header."""
        columns, joint = self._fitted("save")
        packer = Packer()
        meta = {"joint": packer.json(joint), "columns": packer.json(columns), "random_state": self.random_state}
        write_checkpoint(path, packer.tensors(), meta, kind="table")

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """The model that `save` wrote; raises ValueError for a file that is damaged or another, and runs nothing."""
        with open_checkpoint(path, kind="table") as file:
            tensors = file.tensors()
            try:
                model = cls(random_state=file.meta["random_state"])
                model.joint_ = unpacked(file.meta["joint"], tensors, CLASSES)
                model._hold(unpacked(file.meta["columns"], tensors, CLASSES))
                model.sample(1)
            except Exception as error:
                raise ValueError(f"{path} cannot be loaded: {error}.") from error
        return model

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; ``deep`` is for scikit-learn and changes nothing."""
        return {"random_state": self.random_state}

    def set_params(self, **parameters: Any) -> Self:
        """Change some of the constructor's arguments, and return self."""
        if unknown := [name for name in parameters if name not in self.get_params()]:
            raise ValueError(f"TableSynthesizer has no parameter {unknown[0]!r}; it has random_state.")
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks an estimator of a pipeline."""
        return need("sklearn.base", "a pipeline").BaseEstimator().__sklearn_tags__()

    def _hold(self, columns: list[Column]) -> None:
        self.columns_ = columns
        self.feature_names_in_ = np.array([column.name for column in columns], dtype=object)
        self.n_features_in_ = len(columns)

    def _fitted(self, what: str) -> tuple[list[Column], Joint]:
        if not hasattr(self, "columns_"):
            raise ValueError(f"TableSynthesizer cannot {what} before it is fitted. Call fit(df) first.")
        return self.columns_, self.joint_

    def _completed(
        self, df: pd.DataFrame, random: np.random.Generator, owner: str, missing_is_given: bool
    ) -> pd.DataFrame:
        """Rows with what they lack drawn by its probability given the rest, which weighs candidates."""
        columns, joint = self._fitted("sample")
        parts = []
        size = max(1, CHUNK // PARTICLES)
        for start in range(0, len(df), size):
            part = df.iloc[start : start + size]
            given: dict[int, Condition] = {}
            for j, (column, skeleton) in enumerate(zip(columns, joint.skeletons, strict=True)):
                if column.name in df.columns:
                    state, x = (each[0] for each in vars(coded_frame(part, [column], [skeleton], owner)).values())
                    known = (state > 0) | missing_is_given | ~skeleton.seen[1:].any()
                    given[j] = Present(*(np.repeat(each, PARTICLES) for each in (known, state, x)))
            drawn, weights = draw_rows(joint, len(part) * PARTICLES, given, random)
            by_row = weights.reshape(len(part), PARTICLES)
            chosen = (by_row + random.gumbel(size=by_row.shape)).argmax(1) + np.arange(len(part)) * PARTICLES
            parts.append(_taken(drawn, chosen))
        return frame_of(_joined(parts) if parts else draw_rows(joint, 0, {}, random)[0], columns)


def _skeleton(column: Column, x: Floats) -> Skeleton:
    """The states of a column whose numbers are x (n,)."""
    if column.kind != "category":
        return number_skeleton(x, column.step, column.scale)
    points = np.arange(len(column.levels or []), dtype=np.float64)
    seen = np.array([bool(np.isnan(x).any()), *(bool((x == point).any()) for point in points)])
    return Skeleton(points, False, None, seen)


def _accepted(
    joint: Joint, n: int, given: dict[int, Condition], names: list[Any], random: np.random.Generator
) -> Coded:
    """Rows under conditions: each drawn is kept with its probability over the largest met, which makes them exact."""
    parts: list[Coded] = []
    weights = np.empty(0)
    while n and len(weights) < max(1000, n) * MOST_DRAWN:
        drawn, more = draw_rows(joint, min(CHUNK, max(1000, n)), given, random)
        parts, weights = [*parts, drawn], np.append(weights, more)
        if np.exp(weights - weights.max()).sum() >= 1.1 * n + 20:
            break
    if not n:
        return draw_rows(joint, 0, given, random)[0]
    pool = _joined(parts)
    if weights.max() < IMPOSSIBLE:
        raise ValueError(
            f"TableSynthesizer.sample found no row with what was given of {', '.join(map(repr, names))} together: the "
            f"most probable of {len(weights)} has e^{weights.max():.0f}. Give less, or wider intervals."
        )
    shares = np.exp(weights - weights.max())
    kept = np.flatnonzero(random.random(len(shares)) < shares)
    if len(kept) >= n:
        return _taken(pool, random.permutation(kept)[:n])
    warnings.warn(
        f"rows with what was given are rare: {n} rows are drawn from the {len(kept)} or so that {len(shares)} trials "
        "are worth, some of them again and again in the columns before the last one given.",
        stacklevel=3,
    )
    return _taken(pool, random.choice(len(shares), n, p=shares / shares.sum()))


def _sizes(n: int) -> list[int]:
    return [CHUNK] * (n // CHUNK) + ([n % CHUNK] if n % CHUNK or not n else [])


def _taken(coded: Coded, rows: Any) -> Coded:
    return Coded([state[rows] for state in coded.states], [x[rows] for x in coded.values])


def _joined(parts: list[Coded]) -> Coded:
    if len(parts) == 1:
        return parts[0]
    states = [np.concatenate(each) for each in zip(*(part.states for part in parts), strict=True)]
    return Coded(states, [np.concatenate(each) for each in zip(*(part.values for part in parts), strict=True)])

"""The estimator: frames in, frames out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gaussflow.apps._optional import need
from gaussflow.apps.tabular._arrays import Floats
from gaussflow.apps.tabular._stored import packed_model, restored_model
from gaussflow.apps.tabular.drawing._completion import complete
from gaussflow.apps.tabular.drawing._draw import draw_free, joined, log_prob_rows, rows_at_once, taken
from gaussflow.apps.tabular.drawing._sampling import balanced_sizes, sample_given
from gaussflow.apps.tabular.frames._conditions import conditions, level_shares
from gaussflow.apps.tabular.frames._frames import (
    check_fit_frame,
    check_new_frame,
    check_weights,
    coded_frame,
    filled_frame,
    frame_of,
    rows_known,
    with_given,
)
from gaussflow.apps.tabular.frames._identifiers import read_columns
from gaussflow.apps.tabular.frames._schema import Column, short
from gaussflow.apps.tabular.law._columns import Skeleton
from gaussflow.apps.tabular.law._joint import Coded, Joint, fit_joint
from gaussflow.apps.tabular.private._private import Statement, fit_private
from gaussflow.apps.tabular.report._table_report import TableReport, compare_tables
from gaussflow.apps.tabular.rules._compile import check_rules, make_plan, skeleton_of
from gaussflow.apps.tabular.rules._plan import Plan
from gaussflow.apps.tabular.rules._rules import Constraint
from gaussflow.training._checkpoint import PathLike, open_checkpoint, write_checkpoint

if TYPE_CHECKING:
    import pandas as pd


class TableSynthesizer:
    r"""The law of a table of mixed columns, to draw new rows from and to score rows by.

    .. math:: p(\text{row}) = \prod_j p(x_j \mid x_{<j}), \qquad
        p(x_j \mid \cdot) = m_s(\cdot)\, \big[\, f(x_j \mid \cdot) \text{ within the state of all other numbers} \big]

    Each column is in one of some states: missing; a category; a number that repeats, as zeros and limits of detection
    do; or among all other numbers. A ridge regression and a few small trees on the columns before give the masses
    :math:`m_s` of the states, pooled from the odds of the one and the shares of the others; and the density f, pooled
    from a law of the place and scale that they tell and from the law of all numbers of the column, whose parts have
    shares by the trees. What they may do is decided on rows that they have not seen. No value of a row is stored for
    the numbers, but for those that repeat and the ends of the range.

    The probability is exact. Its reference measure counts categories, missing values, numbers that repeat, integers,
    decimals, other evenly spaced numbers and times, whose probability is that of the cell of the line that is rounded
    to them; floats that are not rounded have a density in their own unit.

    Parameters
    ----------
    constraints
        Rules that all rows obey, as `suggest_constraints` lists them: `Inequality`, `Range`, `FixedCombinations`,
        `NullIf`, `NotNullIf`, `Sum`, `FunctionOf`. Rows of the fit that break one are refused.
    epsilon, delta
        With epsilon, the fit is differentially private for one row more or less: of the rows nothing is used but counts
        with noise (Laplace; normal for a delta above 0), and the law is a simpler one, of each column given one other.
        The noise is never seeded. Constraints that say all by themselves are kept then, and no weights taken.
    bounds
        What columns may hold, which epsilon wants without a look at the rows: ``{column: (low, high)}`` for numbers and
        times, ``(low, high, step)`` where they are multiples of a step (1 for integers, a day for times), or a list of
        levels for text and for numbers that take few. Booleans and categories have them in their dtype.
    identifiers
        Columns that name rows, as record numbers do: of these only gaps are fitted, and new values are drawn, texts
        from ``synthetic-1`` on and numbers from the power of ten above all that were seen. Text and categories of which
        more than half of the rows have one that no other has are taken so without being told, with a warning.
    random_state
        Decides the halves of the rows that trees see, and the rows that `sample` draws: the same integer gives the
        same; None for other ones each time.

    Attributes
    ----------
    columns_
        What the columns of the frame are.
    joint_
        The law of their states and values.
    plan_, constraints_, rows_
        What the constraints leave for each column; the constraints; how many rows there were.
    privacy_
        With epsilon, what is guaranteed and what is not: print it. None otherwise.
    feature_names_in_, n_features_in_
        Names and number of the columns.

    Raises
    ------
    TypeError, ValueError
        For frames that are none, are empty, hold infinities, or objects that are no text; before `fit`;
        and for frames unlike that of the fit. The message says what was wanted, what came, and what to do.
    ImportError
        Where pandas or scikit-learn are missing: they are in the extra ``tabular``.

    Notes
    -----
    Sources: Rubin (1993) and Nowok, Raab and Dibben (2016) for synthesis column by column; Reiter (2005) for trees in
    it. Rounded numbers follow Heitjan and Rubin (1991), with shares of the last digits.
    Without epsilon, rare categories, repeated numbers and the ends of ranges come from the rows as they are: that is no
    formal privacy. With it: Dwork, McSherry, Nissim and Smith (2006); McKenna, Miklau and Sheldon (2021) for the tree.

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

    def __init__(
        self,
        *,
        constraints: Sequence[Constraint] | None = None,
        epsilon: float | None = None,
        delta: float = 0.0,
        bounds: Mapping[Any, Any] | None = None,
        identifiers: Sequence[Any] | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.constraints = constraints
        self.epsilon, self.delta, self.bounds = epsilon, delta, bounds
        self.identifiers, self.random_state = identifiers, random_state

    def fit(
        self,
        df: pd.DataFrame,
        y: object = None,
        sample_weight: Any = None,
        *,
        progress: Callable[[str], object] | None = None,
    ) -> Self:
        """Fit to the rows of a frame.

        Parameters
        ----------
        df
            A frame (N, D) of integers, floats, booleans, text, categories, dates and durations, with missing values.
        y
            Not used; pipelines pass it.
        sample_weight
            Weights (N,) of the rows, at least 0; None for one each.
        progress
            Called with the name of each column before its law is fitted; a private fit takes no time to speak of.

        Returns
        -------
        self
        """
        owner = "TableSynthesizer.fit"
        need("sklearn", "fitting a table")
        df = check_fit_frame(df, owner)
        if self.epsilon is not None:
            return self._fit_private(df, sample_weight, owner)
        weights = check_weights(sample_weight, len(df), owner)
        df, weights = df[weights > 0], weights[weights > 0]
        columns = read_columns(df, self.identifiers, owner)
        codes = [column.codes(df[column.name], owner) for column in columns]
        rules = check_rules(self.constraints, owner)
        plan = make_plan(rules, columns, codes, owner)
        codes = plan.measured(codes)
        skeletons = [skeleton_of(column, x) for column, x in zip(columns, codes, strict=True)]
        pairs = [skeleton.states(x) for skeleton, x in zip(skeletons, codes, strict=True)]
        coded = Coded([state for state, _ in pairs], [x for _, x in pairs])
        ordered = [column.kind != "category" or column.ordered for column in columns]
        seed = int(np.random.default_rng(self.random_state).integers(2**31))
        nullable = [column.nullable for column in columns]
        told = (lambda j: None) if progress is None else lambda j: progress(str(columns[j].name))
        self.joint_ = fit_joint(skeletons, ordered, nullable, coded, weights, seed, plan.edges, told)
        self._hold(columns, plan, rules, len(df))
        return self

    def sample(
        self,
        n: int | None = None,
        given: Mapping[Any, Any] | pd.DataFrame | None = None,
        random_state: int | None = None,
        balance: Any = None,
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
        balance
            A column of categories, or of few numbers, whose levels come equally often; or ``{column: {level: share}}``
            for shares of your own, with None for missing.

        Returns
        -------
        df
            A frame (n, D) with the columns, dtypes, categories and decimals of the frame of the fit.

        Raises
        ------
        ValueError
            For what no row can have, or hardly any: the message names the columns, and what would do. Hardly any is a
            combination of which the law expects less than half a row among those fitted, and less than a twentieth of
            those that would have it if the columns did not depend on one another, 3 at least; or with less than e^-60.
        """
        columns, _ = self._fitted("sample")
        random = np.random.default_rng(self.random_state if random_state is None else random_state)
        if given is not None and not isinstance(given, Mapping):
            df = check_new_frame(given, columns, "TableSynthesizer.sample", partial=True)
            if n is not None and n != len(df):
                raise ValueError(f"TableSynthesizer.sample completes each of the {len(df)} rows given; got n of {n}.")
            drawn = self._completed(df, random, "TableSynthesizer.sample", missing_is_given=True)
            return with_given(drawn, df, [column.name for column in columns if column.made and column.name in df])
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise ValueError(f"TableSynthesizer.sample wants how many rows, 0 or more; got {n!r}.")
        if balance is not None:
            name, shares = level_shares(balance, columns, self._views())
            if name in (given := dict(given or {})):
                raise ValueError(f"TableSynthesizer.sample was given {name!r} twice, by given and by balance.")
            sizes = zip(shares, balanced_sizes(int(n), shares.values()), strict=True)
            parts = [self._drawn(size, {**given, name: level}, random) for level, size in sizes if size or not n]
            return frame_of(taken(joined(parts), random.permutation(int(n))), columns)
        return frame_of(self._drawn(int(n), given or {}, random), columns)

    def impute(self, df: pd.DataFrame, random_state: int | None = None) -> pd.DataFrame:
        """Fill what is missing in rows (n, D) with a draw given the rest of each row; the frame filled, as a copy.

        Columns that were missing in all rows of the fit stay as they are.
        """
        columns, _ = self._fitted("impute")
        df = check_new_frame(df, columns, "TableSynthesizer.impute")
        random = np.random.default_rng(self.random_state if random_state is None else random_state)
        full = self._completed(df, random, "TableSynthesizer.impute", missing_is_given=False)[list(df.columns)]
        return filled_frame(df, full)

    def log_prob(self, df: pd.DataFrame) -> Floats:
        """The log-probability (n,) of each row (n, D) in nats: of the mass of what is counted, the density of the rest.

        A number with more digits than those of the fit counts as the value that it rounds to. Under constraints it is
        that of the law in which each column, in the order of the fit, is restricted to what they leave given the
        columns before it, and divided by the probability of that: it sums to one without a constant that is not known.
        Rows that break a constraint have minus infinity.
        """
        columns, joint = self._fitted("log_prob")
        df = check_new_frame(df, columns, "TableSynthesizer.log_prob")
        parts, size = [], rows_at_once(joint)
        for start in range(0, len(df), size):
            coded = coded_frame(df.iloc[start : start + size], columns, self._views(), "TableSynthesizer.log_prob")
            parts.append(log_prob_rows(joint, self.plan_, coded.values))
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
        made = [column.name for column in getattr(self, "columns_", []) if column.made and column.name in real]
        found = compare_tables(
            real, synthetic, held_out, target=target, identifiers=made, random_state=seed, progress=progress
        )
        if hasattr(self, "columns_") and (own := self._mean_of_known(real)) is not None:
            found = replace(found, nats=(own, None if held_out is None else self._mean_of_known(held_out)))
        return found

    def _mean_of_known(self, df: pd.DataFrame) -> float | None:
        """The mean log-probability of the rows (n, D) whose categories the fit saw; None where nothing can be said."""
        known = rows_known(df, self.columns_)
        return self.score(df[known]) if known is not None and known.any() else None

    def save(self, path: PathLike) -> None:
        """Write the fitted model to one file, whole or not at all: safetensors with a JSON header."""
        self._fitted("save")
        tensors, meta = packed_model(self)
        write_checkpoint(path, tensors, meta, kind="table")

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """The model that `save` wrote; raises ValueError for a file that is damaged or another, and runs nothing."""
        with open_checkpoint(path, kind="table") as file:
            tensors = file.tensors()
            try:
                model = restored_model(cls, file.meta, tensors)
                model.sample(1)
            except Exception as error:
                raise ValueError(f"{path} cannot be loaded: {error}.") from error
        return model

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; ``deep`` is for scikit-learn and changes nothing."""
        names = ("constraints", "epsilon", "delta", "bounds", "identifiers", "random_state")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **parameters: Any) -> Self:
        """Change some of the constructor's arguments, and return self."""
        if unknown := [name for name in parameters if name not in self.get_params()]:
            raise ValueError(
                f"TableSynthesizer has no parameter {unknown[0]!r}; it has {short(list(self.get_params()))}."
            )
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks an estimator of a pipeline."""
        return need("sklearn.base", "a pipeline").BaseEstimator().__sklearn_tags__()

    def _drawn(self, n: int, given: Mapping[Any, Any], random: np.random.Generator) -> Coded:
        if not given:
            return draw_free(self.joint_, self.plan_, n, random)
        wanted = conditions(given, self.columns_, self._views())
        return sample_given(self.joint_, self.plan_, n, wanted, list(given), self.rows_, random)

    def _views(self) -> list[Skeleton]:
        """The states of the columns as frames have them."""
        return [self.plan_.view(j, skeleton) for j, skeleton in enumerate(self.joint_.skeletons)]

    def _fit_private(self, df: pd.DataFrame, sample_weight: Any, owner: str) -> Self:
        if sample_weight is not None:
            raise ValueError(
                f"{owner} with epsilon takes no sample_weight: a row would change counts by its weight, and the noise "
                "hides changes by one. Leave the weights out."
            )
        rules = check_rules(self.constraints, owner)
        settings = (self.epsilon, self.delta, self.bounds, owner, self.identifiers, rules)
        columns, self.joint_, rows, privacy, plan = fit_private(df, *settings)
        self._hold(columns, plan, rules, rows, privacy)
        return self

    def _hold(
        self, columns: list[Column], plan: Plan, rules: list[Constraint], rows: int, privacy: Statement | None = None
    ) -> None:
        self.columns_, self.plan_, self.constraints_, self.rows_ = columns, plan, rules, rows
        self.privacy_ = privacy
        self.feature_names_in_ = np.array([column.name for column in columns], dtype=object)
        self.n_features_in_ = len(columns)

    def _fitted(self, what: str) -> tuple[list[Column], Joint]:
        if not hasattr(self, "columns_"):
            raise ValueError(f"TableSynthesizer cannot {what} before it is fitted. Call fit(df) first.")
        return self.columns_, self.joint_

    def _completed(
        self, df: pd.DataFrame, random: np.random.Generator, owner: str, missing_is_given: bool
    ) -> pd.DataFrame:
        """Rows with what they lack drawn by its probability given the rest."""
        columns, joint = self._fitted("sample")

        def codes(frame: pd.DataFrame, j: int) -> Floats:
            skeleton = self.plan_.view(j, joint.skeletons[j])
            return coded_frame(frame, [columns[j]], [skeleton], owner).values[0]

        return frame_of(complete(joint, self.plan_, columns, df, codes, missing_is_given, random), columns)

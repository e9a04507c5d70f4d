"""Synthetic tables beside real ones: ``python -m benchmarks.tables --data FOLDER --tables pima_diabetes pbc``.

The folder holds files of any form that `benchmarks.table_files` knows: ``pbc.npz`` in ``tables/``, or your own
``stays.csv``, of which nothing needs to be told; ``--target`` names the column to be learnt where the one chosen is not
meant. breast_cancer comes from scikit-learn, and is all that is measured without a folder. Half of the rows are fitted,
the others held out; as many rows are drawn as were fitted.

- boosted, logistic: the ROC area of a classifier that tells rows drawn from rows held out, in three folds; 0.5 is best.
  ``the rows held out`` says what fresh rows of the same law reach.
- gap: how much ROC area a classifier of one column loses when it is trained on rows drawn; all judged on held-out rows.
- nearer: the share of rows drawn that lie nearer to a row fitted than to any held out; 0.5 gives nothing away.
- member: the ROC area of telling rows fitted from rows held out by the distance to the nearest row drawn.
- copies: the share of rows drawn that equal a row fitted; that of held-out rows is chance.
- nats: the mean log-probability of held-out rows; only laws have one.

Rivals: trees column by column (CART with leaves of five rows, whose values are drawn again), and copying the rows; and
those of `benchmarks.table_rivals`, which are optional installs: one that is absent is named and left out.
``--out FILE`` adds a line of JSON for each fit, and one that is there already is not measured again; ``--show FILE``
prints the tables and the goals from such lines.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from benchmarks.measure import commit, machine, versions
from benchmarks.report import append
from benchmarks.report import read as read_lines
from benchmarks.table_files import read, target_of
from benchmarks.table_goals import shown
from benchmarks.table_rivals import RIVALS, absent
from gaussflow.apps.tabular import TableSynthesizer

LEAF = 5
Draw = Callable[[int, int], pd.DataFrame]


def codes(frame: pd.DataFrame) -> np.ndarray:
    """Numbers (n, D): categories by code, NaN for missing."""
    parts = []
    for name in frame:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.cat.codes.astype(float).where(column.notna())
        parts.append(column.to_numpy(dtype=float, na_value=np.nan))
    return np.column_stack(parts)


def features(frame: pd.DataFrame, beside: pd.DataFrame) -> np.ndarray:
    """Numbers (n, P) for distances and straight lines: standardised as ``beside`` is, marks of categories and gaps."""
    parts = []
    for name in frame:
        column, scale = frame[name], beside[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            parts += [(column == level).to_numpy(float) for level in scale.cat.categories]
        else:
            spread = float(scale.std()) or 1.0
            number = ((column - scale.mean()) / (spread if spread > 0 else 1.0)).astype(float)
            parts.append(number.fillna(0.0).to_numpy())
        if scale.isna().any():
            parts.append(column.isna().to_numpy(float))
    return np.nan_to_num(np.column_stack(parts))


def apart(a: np.ndarray, b: np.ndarray, model: object, seed: int) -> float:
    """The ROC area (three folds) of telling rows a from rows b."""
    n = min(len(a), len(b))
    x, y = np.concatenate([a[:n], b[:n]]), np.repeat([0, 1], n)
    x = x[:, np.nanmax(np.where(np.isnan(x), -np.inf, x), 0) > np.nanmin(np.where(np.isnan(x), np.inf, x), 0)]
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    return float(roc_auc_score(y, cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1]))


def told(train: pd.DataFrame, test: pd.DataFrame, target: str, beside: pd.DataFrame) -> float:
    """The ROC area on ``test`` of a classifier of the target: its commonest category, or above its median."""
    column = beside[target]
    if isinstance(column.dtype, pd.CategoricalDtype) or column.nunique() < 3:
        of = lambda d: (d[target] == column.mode()[0]).to_numpy()  # noqa: E731
    else:
        of = lambda d: (d[target] > column.median()).to_numpy()  # noqa: E731
    if len(set(of(train))) < 2:
        return 0.5
    # two columns that say the same would give it away
    twins = [c for c in beside.columns if c != target and c.startswith(target[:5]) and target == "BPXSY1"]
    x = [codes(d.drop(columns=[target, *twins])) for d in (train, test)]
    used = [np.unique(c[~np.isnan(c)]).size > 1 for c in x[0].T]
    model = HistGradientBoostingClassifier(random_state=0).fit(x[0][:, used], of(train))
    return float(roc_auc_score(of(test), model.predict_proba(x[1][:, used])[:, 1]))


def ours(train: pd.DataFrame, seed: int) -> tuple[Draw, TableSynthesizer | None]:
    """`TableSynthesizer` with its defaults."""
    model = TableSynthesizer(random_state=seed).fit(train)
    return lambda n, draw_seed: model.sample(n, random_state=draw_seed), model


def cart(train: pd.DataFrame, seed: int) -> tuple[Draw, TableSynthesizer | None]:
    """Sequential trees: each column drawn again from the leaf that the columns before lead to."""
    x = codes(train)
    kinds = [isinstance(dtype, pd.CategoricalDtype) for dtype in train.dtypes]
    gap = [
        -1.0 if kind or np.isnan(c).all() else np.nanmin(c) - np.nanstd(c) - 1e-3
        for kind, c in zip(kinds, x.T, strict=True)
    ]
    x = np.where(np.isnan(x), gap, x)  # what is missing is low
    trees = []
    for j in range(1, x.shape[1]):
        make = DecisionTreeClassifier if kinds[j] else DecisionTreeRegressor
        trees.append(make(min_samples_leaf=LEAF, random_state=seed).fit(x[:, :j], x[:, j]))

    def draw(n: int, draw_seed: int) -> pd.DataFrame:
        random = np.random.default_rng(draw_seed)
        new = np.empty((n, x.shape[1]))
        new[:, 0] = random.choice(x[:, 0], n)
        for j, tree in enumerate(trees, 1):
            held, at = tree.apply(x[:, :j]), tree.apply(new[:, :j])
            for leaf in np.unique(at):
                new[at == leaf, j] = random.choice(x[held == leaf, j], (at == leaf).sum())
        return frame_of(np.where(new == gap, np.nan, new), train)

    return draw, None


def copies(train: pd.DataFrame, seed: int) -> tuple[Draw, TableSynthesizer | None]:
    """The rows themselves, drawn again: the extreme."""
    return lambda n, draw_seed: train.sample(n, replace=True, random_state=draw_seed, ignore_index=True), None


FRESH = "the rows held out"
MEASURES = ("boosted", "logistic", "gap", "nearer", "member", "copies", "fit s", "rows/s", "nats")
METHODS = {"gaussflow": ours, "CART": cart, "copying": copies}


def frame_of(x: np.ndarray, like: pd.DataFrame) -> pd.DataFrame:
    """A frame with the dtypes of another, of numbers (n, D)."""
    columns = {}
    for j, name in enumerate(like):
        column = like[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            place = np.where(np.isnan(x[:, j]), -1, x[:, j]).astype(int)
            columns[name] = pd.Series(pd.Categorical.from_codes(place, dtype=column.dtype))
        else:
            columns[name] = pd.Series(x[:, j]).astype(column.dtype)
    return pd.DataFrame(columns)


def judge(drawn: pd.DataFrame, train: pd.DataFrame, held: pd.DataFrame, target: str, seed: int) -> dict[str, float]:
    """What rows drawn look like beside rows fitted and rows held out."""
    new, seen, unseen = (features(d, train) for d in (drawn, train, held))
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    n = min(len(seen), len(unseen))
    near = [NearestNeighbors(n_neighbors=1).fit(part[:n]).kneighbors(new)[0][:, 0] for part in (seen, unseen)]
    to_new = [NearestNeighbors(n_neighbors=1).fit(new).kneighbors(part)[0][:, 0] for part in (seen, unseen)]
    member = roc_auc_score(np.repeat([1, 0], [len(seen), len(unseen)]), -np.concatenate(to_new))
    return {
        "boosted": apart(codes(held), codes(drawn), HistGradientBoostingClassifier(random_state=seed), seed),
        "logistic": apart(unseen, new, line, seed),
        "gap": told(train, held, target, train) - told(drawn, held, target, train),
        "nearer": float(np.mean((near[0] < near[1]) + 0.5 * (near[0] == near[1]))),
        "member": float(member),
        "copies": float((near[0] == 0).mean()),
    }


def measure(frame: pd.DataFrame, target: str, method: str | None, seed: int) -> dict[str, float]:
    """One fit, or for no method the rows held out themselves."""
    order = np.random.default_rng(seed).permutation(len(frame))
    half = len(order) // 2
    train, held = (frame.iloc[part].reset_index(drop=True) for part in (order[:half], order[half:]))
    if method is None:  # the same comparison between the two halves of the rows held out
        a, b = held.iloc[::2].reset_index(drop=True), held.iloc[1::2].reset_index(drop=True)
        return judge(b, train.iloc[: len(b)], a, target, seed) | {"fit s": np.nan, "rows/s": np.nan, "nats": np.nan}
    start = time.process_time()
    draw, law = METHODS[method](train, seed) if method in METHODS else (RIVALS[method](train, seed), None)
    middle = time.process_time()
    many = 20_000 if method == "gaussflow" else half
    draw(many, seed)
    end = time.process_time()
    scores = judge(draw(half, seed + 1), train, held, target, seed)
    seen = np.all([held[c].isin(set(train[c]) | {None}) | held[c].isna() for c in held.select_dtypes("category")], 0)
    nats = float(law.log_prob(held[seen] if np.ndim(seen) else held).mean()) if law else np.nan
    return scores | {"fit s": middle - start, "rows/s": many / (end - middle), "nats": nats}


def lines_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure what is asked for and not there already, a line for each fit, and print it."""
    done = {(line["table"], line["method"], line["seed"]) for line in read_lines(options.out)} if options.out else set()
    stamp = {"commit": commit(), "machine": machine(), "versions": versions()}
    lines = []
    for method in options.methods:
        if lacking := absent(method):
            print(f"{method} is left out: pip install {' '.join(lacking)}", flush=True)
    chosen = [method for method in options.methods if not absent(method)]
    frames = {name: read(name, options.data) for name in options.tables if chosen}
    for name, method in itertools.product(frames, [*chosen, FRESH]):
        frame = frames[name]
        target = target_of(name, frame, options.target)
        for seed in range(options.seeds):
            if (name, method, seed) in done:
                continue
            line: dict[str, Any] = {"table": name, "method": method, "seed": seed, "target": target}
            line |= {"rows": len(frame), "dim": frame.shape[1]}
            try:
                line |= measure(frame, target, None if method == FRESH else method, seed)
            except Exception as error:  # a rival may fail in any way, and the table must go on
                line["failed"] = f"{type(error).__name__}: {error}"[:300]
            lines.append(line | stamp)
            if options.out:
                append(options.out, lines[-1])
            cells = " ".join(f"{key} {line[key]:.3f}" for key in MEASURES if line.get(key) is not None)
            print(f"{name} {method} {seed}: {line.get('failed', cells)}", flush=True)
    return lines


def main() -> None:
    """Print a line for each fit, then the tables of means and the goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with NAME.csv, .parquet, or tables/NAME.npz")
    parser.add_argument("--tables", nargs="+", default=["breast_cancer"], help="which tables: names of files there")
    parser.add_argument("--target", metavar="COLUMN", help="what a classifier is to learn [one that seems fit]")
    parser.add_argument(
        "--methods", nargs="+", choices=[*METHODS, *RIVALS], default=list(METHODS), help="which methods"
    )
    parser.add_argument("--seeds", type=int, default=3, help="splits and fits (default 3)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for a line of JSON for each fit")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the tables and goals of such a file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(shown(read_lines(options.show) if options.show else lines_of(options)))


if __name__ == "__main__":
    main()

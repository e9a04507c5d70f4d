"""Tables to be measured, by name: the ones that come with scikit-learn, and files of a folder in whatever form.

``NAME.npz`` in the folder or in ``tables/`` (X: rows with NaN for missing; cols: names; cats: JSON of the categories of
some columns), ``physionet2012_table_a.npz``, or ``NAME.csv``, ``.tsv``, ``.txt``, with ``.gz`` or without, or
``.parquet``. A file needs no set-up: what parts its cells is found, numbers, dates and words are read as
``gaussflow synth`` reads them, and columns that name rows are left out.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from gaussflow.apps.tabular.frames._file_checks import DELIMITERS, text_of
from gaussflow.apps.tabular.frames._files import is_parquet, read_frame
from gaussflow.apps.tabular.frames._identifiers import names_rows, never_repeats

TARGETS = {
    "breast_cancer": "target",
    "pima_diabetes": "class",
    "heart_cleveland": "num",
    "hepatitis": "Class",
    "hypothyroid": "Class",
    "nhanes_2011_2012": "BPXSY1",
    "pbc": "D",
    "physionet2012_table_a": "death",
}
LIKELY = ("target", "class", "label", "outcome", "diagnosis", "death", "status", "survived", "y")
MOST_LEVELS = 20  # of a target that is guessed
IDENTIFIERS = ("SEQN",)
ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".parquet")
INTENSIVE = "physionet2012_table_a"


def read(name: str, folder: Path | None) -> pd.DataFrame:
    """A table by name: categories as such, integers too, decimals as they were written, dates in days."""
    if name == "breast_cancer":
        from sklearn.datasets import load_breast_cancer

        frame: pd.DataFrame = load_breast_cancer(as_frame=True).frame
        return frame.assign(target=frame["target"].astype("category"))
    if folder is None:
        raise SystemExit(f"{name} is read from a folder: say --data FOLDER")
    places = [folder / "tables", folder]
    arrays = next((place / f"{name}.npz" for place in places if (place / f"{name}.npz").exists()), None)
    if arrays is not None:
        return _of_arrays(arrays)
    found = next((p / f"{name}{end}" for p in places for end in ENDINGS if (p / f"{name}{end}").exists()), None)
    if found is None:
        raise SystemExit(f"{folder} has no {name}{', '.join(ENDINGS)} or .npz, nor has its folder tables")
    return of_file(found)


def _of_arrays(path: Path) -> pd.DataFrame:
    cats: dict[str, list[str]] = {}
    with np.load(path, allow_pickle=False) as held:
        if path.stem == INTENSIVE:
            means = pd.DataFrame(held["mean"], columns=held["param_names"]).round(3)
            known = pd.DataFrame(held["desc"], columns=["Age", "Gender", "Height", "ICUType", "Weight"])
            death = pd.Series(held["outcome"][:, -1].astype(int), name="death").astype("category")
            frame = pd.concat([known, means.loc[:, ~means.columns.isin(known.columns)], death], axis=1)
        else:
            frame, cats = pd.DataFrame(held["X"], columns=held["cols"]), json.loads(str(held["cats"]))
    for column in frame.columns.drop(list(IDENTIFIERS), errors="ignore"):
        if column in cats:
            codes = frame[column].fillna(-1).astype(int)
            frame[column] = pd.Categorical.from_codes(codes, categories=[str(level) for level in cats[column]])
        elif frame[column].dtype == np.float32:
            frame[column] = [float(str(value)) for value in frame[column].to_numpy()]
    frame = frame.drop(columns=list(IDENTIFIERS), errors="ignore")
    whole = [c for c in frame.select_dtypes("float64") if frame[c].notna().all() and (frame[c] % 1 == 0).all()]
    return frame.astype(dict.fromkeys(whole, "int64"))


def of_file(path: Path) -> pd.DataFrame:
    """A file as numbers and categories: what names rows and what is never there is left out, and said."""
    sign = "," if is_parquet(str(path)) else delimiter_of(path)
    frame = read_frame(str(path), sign).frame
    columns, out = {}, []
    for name in frame:
        column = frame[name]
        if column.isna().all() or names_rows(column) or (column.dtype.kind in "iu" and never_repeats(column)):
            out.append(str(name))
            continue
        columns[str(name)] = _plain(column)
    if out:
        print(f"{path.name}: left out, since they name rows or hold nothing: {', '.join(out)}", flush=True)
    return pd.DataFrame(columns)


def delimiter_of(path: Path) -> str:
    """The sign between cells: that which parts the first lines into the most cells, in each as many."""
    with text_of(str(path)) as file:
        lines = [line for line, _ in zip(file, range(20), strict=False)]
    counts = {sign: [line.count(sign) for line in lines if line.strip()] for sign in DELIMITERS}
    even = {sign: held[0] for sign, held in counts.items() if held and held[0] and min(held) >= held[0]}
    return max(even, key=lambda sign: even[sign]) if even else ","


def _plain(column: pd.Series) -> pd.Series:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "mM":
        origin = pd.Timestamp(0, tz=column.dt.tz) if kind == "M" else pd.Timedelta(0)
        days: pd.Series = (column - origin) / pd.Timedelta(days=1)
        return days.astype("int64") if days.notna().all() and (days % 1 == 0).all() else days
    if kind in "iuf":
        return column.astype("float64" if kind == "f" or column.isna().any() else "int64")
    levels = column.astype(object)
    return levels.where(levels.notna(), None).map(str, na_action="ignore").astype("category")


def target_of(name: str, frame: pd.DataFrame, told: str | None = None) -> str:
    """The column that a classifier is to learn: as told, as listed, or one that seems fit."""
    if told is not None or name in TARGETS:
        chosen = told or TARGETS[name]
        if chosen not in frame.columns:
            raise SystemExit(f"{name} has no column {chosen!r}; it has {', '.join(map(str, frame.columns))}")
        return chosen
    for title in LIKELY:
        for column in frame.columns:
            if str(column).lower() == title and frame[column].nunique() >= 2:
                return str(column)
    few = [c for c in frame.columns if 2 <= frame[c].nunique() <= MOST_LEVELS]
    ends = [frame.columns[-1], frame.columns[0]]
    return str(next((c for c in ends if c in few), few[0] if few else frame.columns[-1]))

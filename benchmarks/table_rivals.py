"""Other generators of tables behind one door: each package is an optional install, for comparisons only.

``pip install ctgan copulas rdt arfpy`` brings all; mind their licences (ctgan, copulas and rdt are BUSL-1.1, which is
not open). None of them takes gaps in numbers as a part of the law, so all are given a column that marks them, which is
kinder than their own ways. What they draw is put into range and rounded as the table is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

Draw = Callable[[int, int], pd.DataFrame]
GAP = " is missing"
ABSENT = "(missing)"


def plain(train: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table as rivals take it, numbers filled and gaps marked, categories as text; and which columns are text."""
    columns: dict[str, Any] = {}
    texts = []
    for name in train:
        column = train[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            columns[str(name)] = column.astype(object).where(column.notna(), ABSENT).astype(str)
            texts.append(str(name))
            continue
        numbers = column.astype(float)
        columns[str(name)] = numbers.fillna(0.0 if numbers.isna().all() else numbers.mean())
        if numbers.isna().any():
            columns[f"{name}{GAP}"] = numbers.isna().map({True: "yes", False: "no"}).astype(str)
            texts.append(f"{name}{GAP}")
    return pd.DataFrame(columns), texts


def restored(drawn: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Rows drawn as rows of the table: gaps, categories, ranges, decimals and dtypes."""
    columns = {}
    for name in train:
        column, got = train[name], drawn[str(name)]
        if isinstance(column.dtype, pd.CategoricalDtype):
            texts = {str(level): level for level in column.cat.categories}
            columns[name] = pd.Series(pd.Categorical(got.astype(str).map(texts), dtype=column.dtype))
            continue
        held = column.dropna().astype(float)
        numbers = pd.to_numeric(got, errors="coerce").astype(float)
        if len(held):
            numbers = numbers.fillna(held.mean()).clip(held.min(), held.max()).round(_decimals(held.to_numpy()))
        if column.isna().any():
            numbers = numbers.mask(drawn[f"{name}{GAP}"].astype(str) == "yes")
        columns[name] = numbers.astype(column.dtype)
    return pd.DataFrame(columns).reset_index(drop=True)


def _decimals(x: np.ndarray) -> int:
    return next((k for k in range(12) if np.allclose(x, np.round(x, k), rtol=0, atol=1e-9)), 12)


def copula(train: pd.DataFrame, seed: int) -> Draw:
    """A Gaussian copula with beta margins, categories made numbers by their shares: the default of SDV."""
    from copulas.multivariate import GaussianMultivariate
    from copulas.univariate import BetaUnivariate
    from rdt.transformers import UniformEncoder

    frame, texts = plain(train)
    coders = {name: UniformEncoder() for name in texts}
    numbers = frame.copy()
    for name, coder in coders.items():
        numbers[name] = coder.fit_transform(frame[[name]], name)[name]
    model = GaussianMultivariate(distribution=BetaUnivariate)
    model.fit(numbers)

    def draw(n: int, draw_seed: int) -> pd.DataFrame:
        model.set_random_state(draw_seed)
        drawn = model.sample(n)
        for name, coder in coders.items():
            drawn[name] = coder.reverse_transform(drawn[[name]])[name]
        return restored(drawn, train)

    return draw


def forest(train: pd.DataFrame, seed: int) -> Draw:
    """An adversarial random forest (Watson et al., 2023)."""
    from arfpy import arf

    np.random.seed(seed)
    frame, texts = plain(train)
    frame = frame.astype(dict.fromkeys(texts, "category"))
    model = arf.arf(x=frame, verbose=False, random_state=seed)
    model.forde()

    def draw(n: int, draw_seed: int) -> pd.DataFrame:
        np.random.seed(draw_seed)
        return restored(model.forge(n=n), train)

    return draw


def _networks(kind: str) -> Callable[[pd.DataFrame, int], Draw]:
    def fit(train: pd.DataFrame, seed: int) -> Draw:
        import ctgan
        import torch

        torch.manual_seed(seed)
        np.random.seed(seed)
        frame, texts = plain(train)
        model = getattr(ctgan, kind)(enable_gpu=False)
        model.set_random_state(seed)
        model.fit(frame, texts)

        def draw(n: int, draw_seed: int) -> pd.DataFrame:
            model.set_random_state(draw_seed)
            return restored(model.sample(n), train)

        return draw

    return fit


RIVALS: dict[str, Callable[[pd.DataFrame, int], Draw]] = {
    "copula": copula,
    "ARF": forest,
    "TVAE": _networks("TVAE"),
    "CTGAN": _networks("CTGAN"),
}
NEEDS = {"copula": ("copulas", "rdt"), "ARF": ("arfpy",), "TVAE": ("ctgan",), "CTGAN": ("ctgan",)}


def absent(method: str) -> list[str]:
    """The packages that a rival lacks."""
    return [package for package in NEEDS.get(method, ()) if importlib.util.find_spec(package) is None]

"""The tables of the benchmarks, each split into training, validation and test rows by one protocol.

Rows with NaN are dropped (or the column, if more than half is missing), constant columns too; the rows are permuted
with ``default_rng(0)``; the first 80 % train, the next 10 % validate, the last 10 % test. Columns are z-scored with the
training mean and standard deviation; then Gaussian noise of standard deviation 0.01 from ``default_rng(1)`` is added,
which stands for the unknown rounding of each column and bounds the density of discrete ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import synthetic
from benchmarks.lab import problems
from benchmarks.synthetic import Array, Law


@dataclass(frozen=True)
class Table:
    """Rows of one table: train, valid and test, each (n, D); ``law`` is the density they come from, where known."""

    name: str
    train: Array
    valid: Array
    test: Array
    law: Law | None = None

    @property
    def dim(self) -> int:
        """Number of columns D."""
        return self.train.shape[1]

    @property
    def fitted(self) -> Array:
        """Training and validation rows together, for methods that split for themselves."""
        return np.concatenate([self.train, self.valid])

    def head(self, rows: int) -> Table:
        """The first training rows, and as many of the others in proportion: for quick runs."""
        share = min(1.0, rows / len(self.train))
        train, valid, test = (x[: max(2, math.ceil(share * len(x)))] for x in (self.train, self.valid, self.test))
        return Table(self.name, train, valid, test, self.law)


def split(
    name: str, x: Array, parts: tuple[float, float] = (0.8, 0.1), noise: float = 0.01, scaled_by: float | None = None
) -> Table:
    """Clean, permute, split, standardise and blur a table (N, D) by the protocol above.

    ``scaled_by`` is the share of the rows, from the first, whose moments standardise: the training rows by default.
    """
    x = np.asarray(x, dtype=np.float64)
    x = x[:, np.isnan(x).mean(0) <= 0.5]
    x = x[~np.isnan(x).any(1)]
    x = x[:, x.std(0) > 0]
    x = x[np.random.default_rng(0).permutation(len(x))]
    ends = int(parts[0] * len(x)), int((parts[0] + parts[1]) * len(x))
    head = x[: int((scaled_by or parts[0]) * len(x))]
    mean, scale = head.mean(0), head.std(0)
    kept, blur = scale > 0, np.random.default_rng(1)
    pieces = [(piece[:, kept] - mean[kept]) / scale[kept] for piece in np.split(x, ends)]
    return Table(name, *(piece + noise * blur.standard_normal(piece.shape) for piece in pieces))


def known(name: str, law: Law, rows: int = 10_000, seed: int = 1) -> Table:
    """Rows drawn from a known density: ``rows`` to train, a quarter as many to validate, 10,000 to test."""
    rng = np.random.default_rng(seed)
    return Table(name, law.draw(rows, rng), law.draw(rows // 4, rng), law.draw(10_000, rng), law)


def _breast_cancer(_: Path | None) -> Table:
    from sklearn.datasets import load_breast_cancer

    return split("breast_cancer", load_breast_cancer().data)


def _breast_cancer_398(_: Path | None) -> Table:
    """Seven tenths to fit, an eighth of them to validate, three tenths to test, and no blur."""
    from sklearn.datasets import load_breast_cancer

    return split("breast_cancer_398", load_breast_cancer().data, (0.6125, 0.0875), noise=0.0, scaled_by=0.7)


def _digits(_: Path | None) -> Table:
    from sklearn.datasets import load_digits

    return split("digits", load_digits().data)


def _digits_uniform(_: Path | None) -> Table:
    """All 64 columns, made continuous by U[0, 1); 70 %, 10 % and 20 % of the rows; no further blur."""
    from sklearn.datasets import load_digits

    x = load_digits().data
    x = x + _in_permuted_order(len(x), np.random.default_rng(0).uniform(size=x.shape))
    return split("digits_uniform", x, (0.7, 0.1), noise=0.0, scaled_by=0.8)


def _in_permuted_order(n: int, x: Array) -> Array:
    out = np.empty_like(x)
    out[np.random.default_rng(0).permutation(n)] = x
    return out


def _opened(folder: Path | None, path: str) -> Any:
    if folder is None:
        raise FileNotFoundError(f"wants --data FOLDER with {path} in it")
    return np.load(folder / path, allow_pickle=False)


def _file(folder: Path | None, path: str) -> Array:
    with _opened(folder, path) as held:
        return np.asarray(held["X"], dtype=np.float64)


def _power(folder: Path | None) -> Table:
    """Household power without reactive power and intensity, made continuous by uniform noise of its last digit."""
    with _opened(folder, "power_dec2006_raw.npz") as held:
        x, names = held["X"].astype(np.float64), [str(c).lower() for c in held["cols"]]
    keep = [i for i, c in enumerate(names) if "reactive" not in c and "intensity" not in c]
    digits = [_last_digit(names[i]) for i in keep]
    x = x[:, keep]
    x = x + np.random.default_rng(2).uniform(size=x.shape) * np.array(digits)
    return split("power_dec2006_raw", x, noise=0.0)


def _last_digit(column: str) -> float:
    widths = {"active": 0.001, "voltage": 0.01, "sub": 1.0}
    return next((width for key, width in widths.items() if key in column), 0.0)


PLAIN = ["HR", "NISysABP", "NIDiasABP", "Temp", "GCS", "Na", "K", "HCT"]
SKEWED = ["Glucose", "BUN", "Creatinine", "WBC", "Platelets", "Urine"]


def _physionet(folder: Path | None) -> Table:
    """Means of 14 measurements over two days of intensive care, six of them as logarithms, with age, gender and unit.

    Complete rows; a mean of zero has no logarithm and is missing too.
    """
    with _opened(folder, "physionet2012_table_a.npz") as held:
        means = dict(zip(held["param_names"].tolist(), held["mean"].T.astype(float), strict=True))
        about = dict(zip(held["desc_names"].tolist(), held["desc"].T.astype(float), strict=True))
    for name in SKEWED:
        means[name] = np.log(np.where(means[name] > 0, means[name], np.nan))
    x = np.stack(
        [*(means[name] for name in PLAIN + SKEWED), *(about[name] for name in ("Age", "Gender", "ICUType"))], 1
    )
    return split("physionet2012_table_a", x[~np.isnan(x).any(1)])


def _bsds300(folder: Path | None) -> Table:
    """Patches of 8 by 8 pixels made continuous by U[0, 1), over 256, less their mean, without the last pixel: 63-D.

    In the units of the literature, not standardised; half of the patches held out validate.
    """
    with _opened(folder, "bsds300_patches_trainval.npz") as held:
        parts = held["train"], *np.split(held["val"], 2)
    rng = np.random.default_rng(1)
    return Table("bsds300", *(_patches(part, rng) for part in parts))


def _patches(x: Array, rng: np.random.Generator) -> Array:
    x = (x.reshape(len(x), -1) + rng.uniform(size=(len(x), x[0].size))) / 256
    return np.asarray((x - x.mean(1, keepdims=True))[:, :-1])


def _npz(name: str, path: str) -> Callable[[Path | None], Table]:
    return lambda folder: split(name, _file(folder, path))


def _with_target(name: str) -> Callable[[Path | None], Table]:
    """The columns of a table for regression and what is to be told from them."""

    def table(folder: Path | None) -> Table:
        with _opened(folder, f"uci/{name}.npz") as held:
            return split(name, np.column_stack([held["X"], held["y"]]))

    return table


def _drawn(name: str, law: Callable[[], Law], rows: int = 10_000) -> Callable[[Path | None], Table]:
    return lambda _: known(name, law(), rows)


UCI = ["cal_housing", "wine_white", "wine_red", "cpu_act", "pendigits", "letter"]
FRESH = ["abalone", "bodyfat", "ionosphere", "phoneme", "segment", "waveform"]  # nothing was built with these in view
FRESH_WITH_TARGET = ["concrete", "energy"]
SIZES = [(100, 2), (100, 20), (100, 256), (10_000, 64), (20_000, 256), (1_000_000, 8)]  # rows and columns
TABLES: dict[str, Callable[[Path | None], Table]] = {
    "gaussian_4": _drawn("gaussian_4", lambda: synthetic.gaussian(4)),
    "gaussian_16": _drawn("gaussian_16", lambda: synthetic.gaussian(16)),
    "gaussian_64": _drawn("gaussian_64", lambda: synthetic.gaussian(64)),
    "gaussian_128": _drawn("gaussian_128", lambda: synthetic.gaussian(128)),
    "mixture_8": _drawn("mixture_8", synthetic.mixture),
    "moons_16": _drawn("moons_16", synthetic.moons),
    "noise_64": _drawn("noise_64", lambda: synthetic.noise(64), 1_000),
    **{f"bananas_{n}_{dim}": _drawn(f"bananas_{n}_{dim}", partial(problems.banana, dim), n) for n, dim in SIZES},
    "breast_cancer": _breast_cancer,
    "breast_cancer_398": _breast_cancer_398,
    "digits": _digits,
    "digits_uniform": _digits_uniform,
    **{name: _npz(name, f"tables/{name}.npz") for name in UCI},
    **{name: _npz(name, f"tables/{name}.npz") for name in FRESH},
    **{name: _with_target(name) for name in FRESH_WITH_TARGET},
    "power_dec2006_raw": _power,
    "miniboone_maf_first1523": _npz("miniboone_maf_first1523", "miniboone_maf_first1523.npz"),
    "physionet2012_table_a": _physionet,
    "bsds300": _bsds300,
}


def load(name: str, folder: Path | None = None) -> Table:
    """The table of that name; raises KeyError for an unknown one and FileNotFoundError for one that wants a folder."""
    return TABLES[name](folder)

"""gaussflow: exact densities from Gaussianization flows, fitted in closed form or trained."""

from gaussflow._version import __version__
from gaussflow.models import Flow
from gaussflow.nets import MLP
from gaussflow.recipes import load, read_notes, save
from gaussflow.rows import ChunkRows, RankRows, Rows, TensorRows, as_rows
from gaussflow.training import History, train
from gaussflow.transforms import (
    AffineCoupling,
    Chain,
    HadamardRotation,
    HouseholderRotation,
    Inverse,
    MarginalSpline,
    Permutation,
    Rotation,
    SplineCoupling,
    Standardize,
    Transform,
    Whiten,
    haar,
    ica,
    pca,
)

__all__ = [
    "MLP",
    "AffineCoupling",
    "Chain",
    "ChunkRows",
    "Flow",
    "HadamardRotation",
    "History",
    "HouseholderRotation",
    "Inverse",
    "MarginalSpline",
    "Permutation",
    "RankRows",
    "Rotation",
    "Rows",
    "SplineCoupling",
    "Standardize",
    "TensorRows",
    "Transform",
    "Whiten",
    "__version__",
    "as_rows",
    "haar",
    "ica",
    "load",
    "pca",
    "read_notes",
    "save",
    "train",
]

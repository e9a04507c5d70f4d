"""gaussflow: exact densities from Gaussianization flows, fitted in closed form or trained."""

from gaussflow._version import __version__
from gaussflow.models import Flow
from gaussflow.nets import MLP
from gaussflow.rows import ChunkRows, RankRows, Rows, TensorRows, as_rows
from gaussflow.training import History
from gaussflow.transforms import AffineCoupling, Chain, Inverse, Transform

__all__ = [
    "MLP",
    "AffineCoupling",
    "Chain",
    "ChunkRows",
    "Flow",
    "History",
    "Inverse",
    "RankRows",
    "Rows",
    "TensorRows",
    "Transform",
    "__version__",
    "as_rows",
]

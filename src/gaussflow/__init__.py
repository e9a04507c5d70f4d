"""gaussflow: exact densities from Gaussianization flows, fitted in closed form or trained."""

from gaussflow._version import __version__
from gaussflow.models import Flow
from gaussflow.rows import ChunkRows, RankRows, Rows, TensorRows, as_rows
from gaussflow.training import History
from gaussflow.transforms import Chain, Inverse, Transform

__all__ = [
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

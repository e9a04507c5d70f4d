"""gaussflow: exact densities from Gaussianization flows, fitted in closed form or trained."""

from gaussflow._version import __version__
from gaussflow.rows import ChunkRows, RankRows, Rows, TensorRows, as_rows
from gaussflow.transforms import Chain, Inverse, Transform

__all__ = ["Chain", "ChunkRows", "Inverse", "RankRows", "Rows", "TensorRows", "Transform", "__version__", "as_rows"]

"""Rows: the data as a thing that can be summed over, behind one interface and three engines.

Every closed-form fit is a few sums over the rows, so one fit code serves data in memory (`TensorRows`), larger than
memory (`ChunkRows`) and larger than one machine (`RankRows`): the same numbers come out up to rounding.
"""

from gaussflow.rows._chunk import CHUNK_ELEMENTS
from gaussflow.rows._chunks import ChunkRows
from gaussflow.rows._engine import Data, as_rows
from gaussflow.rows._tensor import TensorRows
from gaussflow.rows.base import Chunk, Rows
from gaussflow.rows.ranks import RankRows

__all__ = ["CHUNK_ELEMENTS", "Chunk", "ChunkRows", "Data", "RankRows", "Rows", "TensorRows", "as_rows"]

"""Pure functions on tensors."""

from gaussflow.ops.hadamard import walsh_hadamard
from gaussflow.ops.orthogonal import cayley, eigenbasis, haar, householder, orthonormalise

__all__ = ["cayley", "eigenbasis", "haar", "householder", "orthonormalise", "walsh_hadamard"]

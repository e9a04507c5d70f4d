"""The Walsh-Hadamard transform: an orthogonal mixing of all coordinates in O(D log D), for any D."""

from __future__ import annotations

import torch
from torch import Tensor

from gaussflow._check import check_tensor
from gaussflow.ops._eager import plain_eager
from gaussflow.ops._kernels import REFERENCES, take_kernel
from gaussflow.ops._recompute import one_in_steps

RADIX_BITS = 6  # dense factors of side up to 64: large enough for a matrix product to be fast, small enough to be cheap
MANY = 2**23  # numbers from which on what lies between two factors takes longer to page-fault than to copy once more
PIECE = 2**17  # numbers that go through all factors together, and stay in the cache
LARGEST = 2**13  # the largest block that a kernel holds whole


def walsh_hadamard(x: Tensor, inverse: bool = False) -> Tensor:
    r"""Orthonormal Walsh-Hadamard transform along the last axis, for any D.

    Where D is a power of two it is :math:`z = D^{-1/2} H_D\, x` with Sylvester's :math:`H_D`, its own inverse.
    Otherwise **two overlapping blocks**: the first :math:`p` coordinates are transformed, then the last :math:`p`,
    with :math:`p` the largest power of two not above D. Both steps are orthogonal maps of :math:`R^D`, so their product
    is; nothing is padded, and every coordinate is mixed. Zero-padding to the next power of two would not stay within
    :math:`R^D`, and blocks cut by the binary digits of D would leave a block of one coordinate unmixed at odd D.

    :math:`H_{ab} = H_a \otimes H_b`, so :math:`H_p` is applied as dense factors of side at most 64, one after the
    other: :math:`\log_{64} D` passes over the data instead of the :math:`\log_2 D` of butterflies, at O(D log D).

    Parameters
    ----------
    x
        Shape (..., D).
    inverse
        Apply the inverse map; the same one where D is a power of two.

    Returns
    -------
    z
        Shape (..., D), of the same length as x in the Euclidean norm.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import walsh_hadamard
    >>> walsh_hadamard(torch.randn(7, 100)).shape
    torch.Size([7, 100])
    """
    dim = check_tensor("walsh_hadamard", x).shape[-1]
    if dim < 2 * LARGEST and take_kernel(x):
        from gaussflow.ops._triton._hadamard import hadamard

        found: Tensor = hadamard(x, inverse)
        return found
    if dim > 1 << RADIX_BITS and x.numel() > MANY and x.device.type == "cpu" and plain_eager(x):
        step = max(1, PIECE // dim)
        return one_in_steps(lambda part: _by_products(part, inverse), step, x.reshape(-1, dim)).reshape(x.shape)
    return _by_products(x, inverse)


def _by_products(x: Tensor, inverse: bool) -> Tensor:
    dim = x.shape[-1]
    size = 1 << (dim.bit_length() - 1)
    if size == dim:
        return _sylvester(x)
    for first in (False, True) if inverse else (True, False):
        if first:
            x = torch.cat([_sylvester(x[..., :size]), x[..., size:]], -1)
        else:
            x = torch.cat([x[..., : dim - size], _sylvester(x[..., dim - size :])], -1)
    return x


REFERENCES["walsh_hadamard"] = lambda x, inverse: (_by_products(x, inverse),)


def _sylvester(x: Tensor) -> Tensor:
    """The orthonormal transform of a last axis whose length is a power of two, one Kronecker factor after the other."""
    shape, bits = x.shape, x.shape[-1].bit_length() - 1
    inner, scale = 1, shape[-1] ** -0.5  # the whole scale at the first factor: sums never outgrow the input
    for count in range(-(-bits // RADIX_BITS), 0, -1):
        radix = 1 << -(-bits // count)  # factors of nearly equal side: thin ones are slow
        bits -= radix.bit_length() - 1
        factor = _dense(radix, x) * scale
        if inner == 1:  # one tall product
            x = x.reshape(-1, radix) @ factor
        else:  # a batch of small ones, said outright: `matmul` would transpose and copy to make one product of it
            x = x.reshape(-1, radix, inner)
            x = torch.bmm(factor.expand(len(x), radix, radix), x)
        inner, scale = inner * radix, 1.0
    return x.reshape(shape)


def _dense(size: int, like: Tensor) -> Tensor:
    """Sylvester's matrix of +1 and -1, (size, size): each doubling writes [[H, H], [H, -H]]."""
    matrix = torch.ones(1, 1, dtype=like.dtype, device=like.device)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix

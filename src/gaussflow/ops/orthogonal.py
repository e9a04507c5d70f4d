"""Orthogonal matrices: drawn, parametrised, applied as reflections, repaired, and read off a covariance."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from gaussflow._check import check_int, check_last, check_tensor
from gaussflow.ops._eager import plain_eager

BLOCKWISE, LEAF = 192, 64  # from so many columns on a Cayley transform is made by blocks, down to so many
SMALL = 30.0  # of the Frobenius norm of S: blocks then lose two digits at most, and a half of one where that is usual
SQUARED, GENTLE = (24, 96), 10.0  # columns for which a Cayley transform goes by a square, and the norm of S up to which
BLOCK = 64  # reflections applied at a time: above this the k x k triangle costs more than a second pass over the rows


def haar(
    dim: int,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Draw an orthogonal matrix from the Haar law, the uniform one on :math:`O(D)`.

    With :math:`G = QR` for a Gaussian matrix :math:`G`, :math:`Q \operatorname{sign}(\operatorname{diag} R)` is Haar
    distributed. Without the signs it is not: the factorisation then fixes them by its own convention
    (Mezzadri 2007, How to generate random matrices from the classical compact groups). Computed in float64.

    Parameters
    ----------
    dim
        D.
    generator
        Source of the numbers; the global one when None. A CPU generator gives the same matrix for every device.
    dtype, device
        Those of the result.

    Returns
    -------
    Q
        Orthogonal matrix (D, D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import haar
    >>> haar(5, torch.Generator().manual_seed(0)).shape
    torch.Size([5, 5])
    """
    check_int("haar", "dim", dim, 1)
    source = torch.device("cpu") if generator is None else generator.device
    gaussian = torch.randn(dim, dim, generator=generator, dtype=torch.float64, device=source)
    return fix_signs(*torch.linalg.qr(gaussian)).to(device=device, dtype=dtype or torch.get_default_dtype())


def fix_signs(q: Tensor, r: Tensor) -> Tensor:
    r"""The Q of the one QR factorisation whose R has a positive diagonal: columns times the signs of that of R.

    ``q`` (D, m), ``r`` (m, m). Only this Q is a continuous function of the matrix that was factorised.
    """
    return torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -q, q)


def cayley(skew: Tensor, base: Tensor | None = None) -> Tensor:
    r"""The Cayley transform of a skew-symmetric S, after an orthogonal B: :math:`B\, (I - S/2)^{-1} (I + S/2)`.

    It is orthogonal for every skew :math:`S`, the identity at zero, and its derivative there is :math:`S`, as for
    :math:`e^S`. By :math:`(I - S/2)^{-1} (I + S/2) = 2 (I - S/2)^{-1} - I` the product is
    :math:`2 B (I - S/2)^{-1} - B`: one solve, no further matrix product, and exactly B at :math:`S = 0`. The solve
    is from the right, where LAPACK finds row-major matrices as it wants them and nothing is copied.
    :math:`I - S/2` has singular values of at least one, so the solve never fails. On a CPU without gradients a large
    one is inverted by blocks, in half the time, unless the Frobenius norm of S is above 30, where this costs digits,
    and one of 24 to 96 columns by way of a Cholesky factor, unless that norm is above 10.

    Alternatives. The matrix exponential costs 2 to 35 times as much with its backward and loses orthogonality in
    float32 (2e-5 against 6e-7 at D = 512). Householder vectors as free parameters collapse when a weight decays to
    zero. Both reach what this misses: an eigenvalue of exactly -1, which a base of one's choice supplies.

    Parameters
    ----------
    skew
        S, shape (D, D), with :math:`S^\top = -S`.
    base
        B, shape (D, D); the identity when None.

    Returns
    -------
    Q
        Orthogonal matrix (D, D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import cayley
    >>> a = torch.randn(4, 4)
    >>> cayley(a - a.T).shape
    torch.Size([4, 4])
    """
    eye = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
    size = _size(skew)
    if SQUARED[0] <= len(skew) <= SQUARED[1] and size <= GENTLE:
        found = _by_square(skew, eye)
        return found if base is None else base @ found
    if len(skew) >= BLOCKWISE and size <= SMALL:
        inverse = _inverse(torch.add(eye, skew, alpha=-0.5))
        return torch.lerp(eye, inverse, 2.0) if base is None else torch.addmm(base, base, inverse, beta=-1, alpha=2)
    base = eye if base is None else base
    # The unchecked solve: looking at the error code would copy to the host, and there is no error to see.
    solved: Tensor = torch.linalg.solve_ex(torch.add(eye, skew, alpha=-0.5), base, left=False)[0]
    return torch.lerp(base, solved, 2.0)  # 2 X - B in one pass


def _size(skew: Tensor) -> float:
    """The Frobenius norm of a matrix on a CPU without gradients, where a quicker way is open; infinity elsewhere."""
    if not plain_eager() or skew.dim() != 2 or skew.device.type != "cpu":
        return torch.inf
    if not (SQUARED[0] <= len(skew) <= SQUARED[1] or len(skew) >= BLOCKWISE):
        return torch.inf
    return float(torch.linalg.vector_norm(skew))


def _by_square(skew: Tensor, eye: Tensor) -> Tensor:
    r"""The Cayley transform :math:`(2 I + S) P - I` with :math:`P = (I - S^2 / 4)^{-1}`.

    :math:`I - S^2 / 4 = I + S^\top S / 4` is symmetric and at least I. A Cholesky factor, an inverse and two products
    take less time than a solve, which knows no symmetry; the condition is the square of that of the solve.
    """
    factor = torch.linalg.cholesky_ex(torch.addmm(eye, skew, skew, alpha=-0.25))[0]
    square = torch.cholesky_inverse(factor)
    return torch.addmm(square, skew, square, beta=2).sub_(eye)


def _inverse(a: Tensor) -> Tensor:
    r"""The inverse of a matrix with symmetric part at least I, by halves and the Schur complement of the first.

    :math:`a_{22} - a_{21} a_{11}^{-1} a_{12}` has such a symmetric part again, and products are quicker than solves.
    Nothing is exchanged between the halves, so up to :math:`\|a\|^2` in precision is lost.
    """
    n = len(a)
    if n <= LEAF:
        solved: Tensor = torch.linalg.solve_ex(a, torch.eye(n, dtype=a.dtype), left=False)[0]
        return solved
    h = n // 2
    first, right, below = _inverse(a[:h, :h]), a[:h, h:], a[h:, :h]
    across, down = first @ right, below @ first
    last = _inverse(torch.addmm(a[h:, h:], down, right, alpha=-1))
    corner = torch.mm(last, down).neg_()
    return torch.cat([
        torch.cat([torch.addmm(first, across, corner, alpha=-1), torch.mm(across, last).neg_()], 1),
        torch.cat([corner, last], 1),
    ])  # fmt: skip


def householder(x: Tensor, vectors: Tensor, inverse: bool = False) -> Tensor:
    r"""Reflect the rows of x along k vectors, the first vector first: :math:`z = H_k \cdots H_1 x`.

    :math:`H_i = I - 2 u_i u_i^\top` with :math:`u_i = v_i / \|v_i\|`. By the compact WY form
    :math:`H_1 \cdots H_k = I - U T U^\top` with :math:`T^{-1} = \operatorname{striu}(U^\top U) + \tfrac12 I`
    (Schreiber & Van Loan 1989; the inverse of T in Joffrain et al. 2006), so k reflections are two thin products,
    O(kD) a row, in blocks of at most 64. The entries of T are at most 4 whatever the vectors are, equal ones included.
    Where k is more than half of D and rows are many, the matrix of all reflections is made first: one product with it
    is less than two with all vectors.

    Parameters
    ----------
    x
        Rows, shape (..., D).
    vectors
        v, shape (k, D), of any length; a zero vector reflects nothing.
    inverse
        Reflect in the opposite order, which undoes it.

    Returns
    -------
    z
        Shape (..., D).

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import householder
    >>> householder(torch.randn(7, 5), torch.randn(3, 5)).shape
    torch.Size([7, 5])
    """
    check_last("householder", x, vectors.shape[-1])
    rows = x.reshape(-1, x.shape[-1])
    blocks = _triangles(unit(vectors), inverse)
    dim, count = vectors.shape[1], 2 * len(vectors)  # by blocks that many products with a vector for each row
    if not torch.compiler.is_compiling() and count * (len(rows) - dim) > dim * len(rows):
        return (rows @ _reflected(torch.eye(dim, dtype=x.dtype, device=x.device), blocks)).reshape(x.shape)
    return _reflected(rows, blocks).reshape(x.shape)


def _triangles(vectors: Tensor, inverse: bool) -> list[tuple[Tensor, Tensor]]:
    """U and T U of blocks of unit vectors (k, D), in the order in which they come."""
    found = []
    blocks = vectors.split(BLOCK)
    for u in reversed(blocks) if inverse else blocks:
        half = torch.eye(len(u), dtype=u.dtype, device=u.device) / 2
        triangle = (u @ u.mT).triu(1) + half
        tu = torch.linalg.solve_triangular(triangle.mT if inverse else triangle, u, upper=not inverse)
        found.append((u, tu))
    return found


def _reflected(rows: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Rows after all blocks of reflections, one block after the other."""
    for u, tu in blocks:
        rows = torch.addmm(rows, rows @ u.mT, tu, alpha=-1)
    return rows


def unit(vectors: Tensor) -> Tensor:
    r"""Directions :math:`v / \|v\|` of the rows of (..., D), with finite gradients; a zero row stays zero.

    The largest entry is divided out first, so that squares neither overflow nor vanish; the result does not depend on
    that divisor, so it needs no gradient.
    """
    peak = vectors.detach().abs().amax(-1, keepdim=True)
    zero = peak == 0
    scaled = vectors / peak.masked_fill(zero, 1)
    return scaled * scaled.square().sum(-1, keepdim=True).masked_fill(zero, 1).rsqrt()


def orthonormalise(q: Tensor) -> Tensor:
    r"""The orthogonal matrix nearest to a nearly orthogonal one, in its dtype, by two Newton-Schulz steps in float64.

    A step :math:`Q \leftarrow \tfrac12 Q (3 I - Q^\top Q)` squares the error and converges to the polar factor
    (Higham 2008, Functions of matrices, chapter 8): an error of 1e-4 is at rounding after two.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import haar, orthonormalise
    >>> orthonormalise(haar(3) + 1e-5).shape
    torch.Size([3, 3])
    """
    eye = torch.eye(q.shape[-1], dtype=torch.float64, device=q.device)
    exact = q.double()
    for _ in range(2):
        exact = exact @ (1.5 * eye - 0.5 * exact.mT @ exact)
    return exact.to(q.dtype)


def check_orthogonal(owner: str, q: Tensor, dim: int) -> Tensor:
    """Return ``q`` if it is an orthogonal matrix (dim, dim) up to rounding; raise TypeError or ValueError otherwise."""
    check_tensor(owner, q, "axes")
    if q.shape != (dim, dim):
        raise ValueError(f"{owner} wants axes of shape ({dim}, {dim}); got {tuple(q.shape)}.")
    eye = torch.eye(dim, dtype=torch.float64, device=q.device)
    error = float((q.double() @ q.double().mT - eye).abs().amax())
    # Half the digits: more than any factorisation loses, and a Newton-Schulz step doubles the digits that are right.
    if not error <= torch.finfo(q.dtype).eps ** 0.5:
        raise ValueError(
            f"{owner} wants orthogonal axes; got rows whose inner products are off by {error:.1e}. "
            "Orthogonalise them first, with torch.linalg.qr in their own dtype."
        )
    return q


def eigenbasis(matrix: Tensor) -> tuple[Tensor, Tensor]:
    r"""Eigenvalues and eigenvectors of a symmetric matrix, the largest first, and the same vectors for the same matrix.

    Where eigenvalues differ by less than rounding can tell, their vectors are any basis of one subspace, and a
    factorisation picks one by its rounding errors. Here that basis is the sign-fixed Q of P G, with P the projector on
    the subspace and G a fixed Gaussian matrix: a continuous function of the matrix, so that sums taken in another
    order give the same axes. A vector's sign makes its largest entry positive, the first among equals.

    Parameters
    ----------
    matrix
        Symmetric, shape (D, D).

    Returns
    -------
    values, axes
        (D,) descending, and (D, D) with one eigenvector a row; float64.

    Examples
    --------
    >>> import torch
    >>> from gaussflow.ops import eigenbasis
    >>> values, axes = eigenbasis(torch.diag(torch.tensor([1.0, 3.0, 2.0])))
    >>> values.shape, axes.shape
    (torch.Size([3]), torch.Size([3, 3]))
    """
    values, vectors = torch.linalg.eigh(matrix.double())
    values, axes = values.flip(0), vectors.mT.flip(0).contiguous()
    gaps = values[:-1] - values[1:]
    apart = gaps > 1e-6 * values[:-1].abs() + 1e-13 * len(values) * values.abs().amax()
    edges = [0, *((apart.nonzero().flatten() + 1).tolist()), len(values)]
    gaussian = torch.randn(
        len(values), len(values), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).to(matrix.device)
    for low, high in pairwise(edges):
        if high - low > 1:
            span = axes[low:high]
            axes[low:high] = fix_signs(*torch.linalg.qr(span.mT @ (span @ gaussian[:, low:high]))).mT
    return values, point_up(axes)


def point_up(axes: Tensor) -> Tensor:
    """Give each row of (D, D) the sign that makes its largest entry positive, the first among equals."""
    size = axes.abs()
    first = (size >= (1 - 1e-6) * size.amax(1, keepdim=True)).to(torch.int8).argmax(1, keepdim=True)
    return torch.where(axes.gather(1, first) < 0, -axes, axes)

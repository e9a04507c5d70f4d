"""How close two sets of points lie: neighbourhoods, moments, copies."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_DISTANCES = 2**22  # distances held at once


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (n, m), exact where two points are the same."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def blocks(a: Tensor, b: Tensor) -> list[Tensor]:
    """The rows of a in blocks, so that the distances of a block to all of b fit into memory."""
    return list(a.split(max(1, CHUNK_DISTANCES // max(1, len(b)))))


def radii(x: Tensor, k: int) -> Tensor:
    """The distance of each point (n, D) to its k-th neighbour in the set, itself not counted: (n,)."""
    return torch.cat([distances(block, x).kthvalue(k + 1, 1).values for block in blocks(x, x)])


def nearest(a: Tensor, b: Tensor) -> Tensor:
    """The distance (n,) of each point of a (n, D) to the nearest of b (m, D).

    The nearest is found by scalar products, which is fast and loses digits, and its distance is then taken anew.
    """
    middle = b.mean(0)
    a, b = a - middle, b - middle
    squares = (b * b).sum(1)
    index = torch.cat([(squares - 2 * block @ b.T).argmin(1) for block in blocks(a, b)])
    return (a - b[index]).square().sum(1).sqrt()


def neighbourhoods(real: Tensor, generated: Tensor, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage (Naeem et al., 2020)."""
    around_real, around_generated = radii(real, k), radii(generated, k)
    inside, covered = real.new_zeros(len(generated)), torch.zeros(len(real), dtype=torch.bool)
    recalled = covered.clone()
    start = 0
    for block in blocks(generated, real):
        near = distances(block, real)
        end = start + len(block)
        within = near <= around_real
        inside[start:end] = within.sum(1).to(inside)
        covered |= within.any(0)
        recalled |= (near <= around_generated[start:end, None]).any(0)
        start = end
    shares = (
        (inside > 0).double().mean(),
        recalled.double().mean(),
        inside.double().mean() / k,
        covered.double().mean(),
    )
    precision, recall, density, coverage = (float(share) for share in shares)
    return precision, recall, density, coverage


def frechet(a: Tensor, b: Tensor) -> float:
    r"""The Fréchet distance of the Gaussians with the moments of a (n, D) and b (m, D).

    .. math:: \|\mu_a - \mu_b\|^2 + \operatorname{tr}(\Sigma_a + \Sigma_b - 2 (\Sigma_a^{1/2} \Sigma_b
              \Sigma_a^{1/2})^{1/2})

    The trace of the last root is the sum of the roots of the eigenvalues of a symmetric matrix, so that nothing
    complex comes up where a covariance is singular.
    """
    a, b = a.double(), b.double()
    first, second = torch.cov(a.T).reshape(a.shape[1], -1), torch.cov(b.T).reshape(b.shape[1], -1)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    shift = (a.mean(0) - b.mean(0)).square().sum()
    return max(0.0, float(shift + first.trace() + second.trace() - 2 * crossed))

"""The Walsh-Hadamard transform of any length, and the random rotation made of it."""

import pytest
import torch
from scipy.linalg import hadamard

from gaussflow import HadamardRotation
from gaussflow.ops import hadamard as hadamard_module
from gaussflow.ops import walsh_hadamard

F64 = torch.float64
DIMS = [1, 2, 3, 5, 16, 64, 100, 128, 257, 512, 1024]


def dense(dim):
    """The map that the docstring says, as a matrix: Sylvester's on the first, then on the last power of two."""
    size = 1 << (dim.bit_length() - 1)
    block = torch.tensor(hadamard(size), dtype=F64) / size**0.5
    first, last = torch.eye(dim, dtype=F64), torch.eye(dim, dtype=F64)
    first[:size, :size], last[dim - size :, dim - size :] = block, block
    return first if size == dim else last @ first


@pytest.mark.parametrize("dim", DIMS)
def test_it_is_its_dense_matrix(dim):
    x, matrix = torch.randn(3, dim, dtype=F64), dense(dim)
    assert torch.allclose(walsh_hadamard(x), x @ matrix.T, atol=1e-12)
    assert torch.allclose(walsh_hadamard(x, inverse=True), x @ matrix, atol=1e-12)
    assert torch.allclose(matrix @ matrix.T, torch.eye(dim, dtype=F64), atol=1e-12)


@pytest.mark.parametrize("shape", [(5,), (0, 5), (2, 3, 5), (1, 5)])
def test_it_takes_any_shape_and_keeps_the_dtype(shape):
    z = walsh_hadamard(torch.randn(shape))
    assert z.shape == shape
    assert z.dtype == torch.float32


def test_large_numbers_do_not_overflow_on_the_way():
    assert torch.isfinite(walsh_hadamard(torch.full((64,), 4e37))).all()
    assert torch.isfinite(walsh_hadamard(torch.randn(1024).sign() * 1e37)).all()


@pytest.mark.parametrize("dim", DIMS)
def test_the_rotation_is_orthogonal_and_comes_back(dim):
    rotation = HadamardRotation(dim, dtype=F64)
    x = torch.randn(9, dim, dtype=F64)
    z, ladj = rotation(x)
    assert torch.allclose(rotation.inverse(z)[0], x, atol=1e-12)
    assert torch.equal(ladj, torch.zeros(9, dtype=F64))
    q = rotation(torch.eye(dim, dtype=F64))[0]
    assert torch.allclose(q @ q.T, torch.eye(dim, dtype=F64), atol=1e-12)


def gain(rotate, dim, draws=20):
    """The mean share of a small Gaussian loss left by one block, tr Sigma = D: 1 - 2/(D + 2) for Haar rotations."""
    left = []
    for seed in range(draws):
        generator = torch.Generator().manual_seed(seed)
        values = 1 + 0.02 * torch.randn(dim, generator=generator, dtype=F64)
        covariance = torch.diag(values / values.mean())
        q = rotate(generator)
        variances = (q @ covariance @ q.T).diagonal()
        left.append(1 - float(variances.log().sum() / covariance.diagonal().log().sum()))
    return sum(left) / draws


@pytest.mark.parametrize("dim", [32, 64, 96, 100])
def test_three_rounds_shrink_a_loss_as_haar_rotations_do(dim):
    share = gain(lambda g: HadamardRotation(dim, generator=g, dtype=F64)(torch.eye(dim, dtype=F64))[0].T, dim)
    assert abs(share - (1 - 2 / (dim + 2))) < 0.012  # 20 draws, each with a spread of about 0.01
    assert gain(lambda g: torch.eye(dim, dtype=F64), dim, 2) < 1e-9  # no rotation: all the loss is marginal


def test_a_generator_fixes_it_and_its_doors_say_what_they_want():
    a, b = (HadamardRotation(6, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert torch.equal(a.signs, b.signs)
    assert torch.equal(a.order, b.order)
    assert list(a.parameters()) == []
    with pytest.raises(ValueError, match="rounds of at least 1"):
        HadamardRotation(6, 0)


def test_signs_keep_structured_rows_from_piling_up():
    rows = torch.cat([torch.ones(1, 64, dtype=F64), dense(64)[:4]]) / 8
    z = HadamardRotation(64, 1, dtype=F64)(rows)[0]
    assert float((z.abs().amax(1) / z.norm(dim=1)).max()) < 0.7  # without signs a constant row becomes one coordinate


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dim", [64, 100, 128, 257])
def test_rows_in_pieces_are_the_rows_at_once(dim, inverse, monkeypatch):
    x = torch.randn(3, 7, dim, generator=torch.Generator().manual_seed(dim), dtype=F64)
    whole, calls, plain = walsh_hadamard(x, inverse), [], hadamard_module._by_products
    monkeypatch.setattr(hadamard_module, "_by_products", lambda *a: (calls.append(1), plain(*a))[1])
    monkeypatch.setattr(hadamard_module, "MANY", 100)
    monkeypatch.setattr(hadamard_module, "PIECE", 4 * dim)
    torch.testing.assert_close(walsh_hadamard(x, inverse), whole, rtol=1e-13, atol=1e-13)
    assert len(calls) == (1 if dim == 64 else 6)
    assert walsh_hadamard(x.clone().requires_grad_(), inverse).requires_grad

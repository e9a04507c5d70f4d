"""Orthogonal matrices: the Haar law, the Cayley transform, reflections, repair, and reproducible axes."""

import pytest
import torch
from scipy import stats

from gaussflow.ops import cayley, eigenbasis, haar, householder, orthogonal, orthonormalise

DIMS = [1, 2, 3, 5, 64, 100, 257]
F64 = torch.float64


def error(q):
    q = q.double()
    return float((q @ q.mT - torch.eye(q.shape[-1], dtype=F64)).abs().max())


def unfixed(dim, generator):
    """What is often taken for a Haar matrix: QR without the signs."""
    return torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=F64))[0]


def is_haar(draw, dim, seed, draws=2000):
    """Whether traces and first entries follow the Haar law, each at a level of 1e-4."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.stack([draw(dim, generator) for _ in range(draws)])
    traces = torch.stack([q.diagonal(dim1=1, dim2=2).sum(1), (q @ q).diagonal(dim1=1, dim2=2).sum(1)])
    # Diaconis & Shahshahani 1994: tr Q has mean 0 and variance 1, tr Q^2 mean 1 and variance 2, for D >= 4.
    means = torch.tensor([0.0, 1.0], dtype=F64), torch.tensor([1.0, 2.0], dtype=F64).sqrt()
    off = (traces.mean(1) - means[0]).abs() / means[1] * draws**0.5
    second = ((traces[0] ** 2).mean() - 1).abs() * (draws / 2) ** 0.5
    # An entry has (q + 1)/2 ~ Beta((D - 1)/2, (D - 1)/2), sign and all.
    entry = stats.kstest((q[:, 0, 0].numpy() + 1) / 2, stats.beta((dim - 1) / 2, (dim - 1) / 2).cdf).pvalue
    return bool((off < 4).all() and second < 4 and entry > 1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim", [4, 8])
def test_haar_has_the_haar_law_and_qr_without_signs_has_not(dim, seed):
    assert is_haar(lambda dim, generator: haar(dim, generator, F64), dim, seed)
    assert not is_haar(unfixed, dim, seed)


def test_haar_reaches_both_determinants_and_repeats_for_a_seed():
    signs = [float(torch.linalg.det(haar(3, torch.Generator().manual_seed(s), F64))) for s in range(20)]
    assert min(signs) < -0.99
    assert max(signs) > 0.99
    a, b = (haar(5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.dtype == torch.float32


@pytest.mark.parametrize("dim", DIMS)
def test_everything_called_orthogonal_is(dim):
    vectors = torch.randn(min(dim, 70), dim, dtype=F64)
    a = torch.randn(dim, dim, dtype=F64)
    assert error(haar(dim, dtype=F64)) < 1e-13
    assert error(haar(dim)) < 1e-6
    assert error(cayley(a - a.T)) < 1e-12
    assert error(cayley((a - a.T).float(), haar(dim))) < 5e-6
    assert error(householder(torch.eye(dim, dtype=F64), vectors)) < 1e-12
    assert error(householder(torch.eye(dim), vectors.float())) < 1e-5
    assert error(orthonormalise(haar(dim, dtype=F64) + 1e-6 * a / dim)) < 1e-13


def test_cayley_is_its_formula_and_keeps_its_base_at_zero():
    a, base, eye = torch.randn(6, 6, dtype=F64), haar(6, dtype=F64), torch.eye(6, dtype=F64)
    s = a - a.T
    formula = base @ torch.linalg.inv(eye - s / 2) @ (eye + s / 2)
    assert torch.allclose(cayley(s, base), formula, atol=1e-13)
    assert torch.equal(cayley(0 * s, base), base)
    tiny = 1e-6 * s
    assert torch.allclose((cayley(tiny) - eye) / 1e-6, s, atol=1e-4)
    assert error(cayley(1e12 * s)) < 1e-6
    assert torch.isfinite(cayley(1e30 * s.float())).all()


@pytest.mark.parametrize("k", [1, 2, 5, 64, 65, 150])
def test_compact_wy_is_the_product_of_its_reflections_in_order(k):
    x, v = torch.randn(3, 7, dtype=F64), torch.randn(k, 7, dtype=F64)
    z = x
    for row in v:
        z = z - 2 * (z @ row)[:, None] * row / (row @ row)
    assert torch.allclose(householder(x, v), z, atol=1e-12)
    assert torch.allclose(householder(z, v, inverse=True), x, atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-45, 1e30])
def test_reflections_take_vectors_of_any_length(size):
    x, v = torch.randn(4, 3), torch.randn(5, 3)
    v[2] *= size
    v.requires_grad_()
    z = householder(x, v)
    gradient = torch.autograd.grad((z * torch.randn(4, 3)).sum(), v)[0]
    assert torch.allclose(z.norm(dim=1), x.norm(dim=1), rtol=1e-5)
    assert torch.isfinite(gradient).all() or size == 1e-45  # the slope of a direction is 1/length: above 3e38 there


def test_equal_and_nearly_equal_reflections_lose_nothing():
    v = torch.randn(1, 9).expand(40, 9) + 1e-7 * torch.randn(40, 9)
    assert error(householder(torch.eye(9), v)) < 5e-5  # 40 alternating terms of size 4 in float32


@pytest.mark.parametrize("dim", DIMS)
def test_eigenbasis_diagonalises_in_descending_order(dim):
    x = torch.randn(dim + 3, dim, dtype=F64) * torch.logspace(0, 2, dim)
    values, axes = eigenbasis(x.T @ x)
    assert error(axes) < 1e-12
    assert torch.allclose(axes @ (x.T @ x) @ axes.T, torch.diag(values), atol=1e-10 * float(values[0]))
    assert (values[:-1] >= values[1:]).all()
    assert (axes.gather(1, axes.abs().argmax(1, keepdim=True)) > -1e-9).all()


@pytest.mark.parametrize("values", [[3, 1, 1, 1], [1, 1, 1, 1], [2, 2, 0, 0], [0, 0, 0, 0], [5, 4, 3, 2]])
def test_eigenbasis_does_not_depend_on_rounding(values):
    q = haar(4, torch.Generator().manual_seed(3), F64)
    matrix = q.T @ torch.diag(torch.tensor(values, dtype=F64)) @ q
    for seed in range(5):
        noise = 1e-15 * max(values) * torch.randn(4, 4, generator=torch.Generator().manual_seed(seed), dtype=F64)
        assert torch.allclose(eigenbasis(matrix)[1], eigenbasis(matrix + noise + noise.T)[1], atol=1e-12)
    ties = torch.tensor([[1.0, -0.5], [-0.5, 1.0]], dtype=F64)  # both entries of an axis as large: which sign?
    for noise in (1e-15, -1e-15):
        shaken = ties + torch.tensor([[noise, 0], [0, -noise]], dtype=F64)
        assert torch.allclose(eigenbasis(ties)[1], eigenbasis(shaken)[1], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("dim", [192, 201, 256])
@pytest.mark.parametrize("size", [1.0, 20.0, 200.0])
def test_cayley_by_blocks_is_that_by_a_solve(dim, size, dtype, monkeypatch):
    """And where S is large it is left to the solve, which keeps its digits."""
    generator = torch.Generator().manual_seed(dim)
    a = torch.randn(dim, dim, generator=generator, dtype=F64)
    skew = (a - a.mT) * (size / float((a - a.mT).norm()))
    base, made = haar(dim, generator, dtype), []
    plain = orthogonal._inverse
    monkeypatch.setattr(orthogonal, "_inverse", lambda a: (made.append(len(a)), plain(a))[1])
    tolerance = 1e-12 if dtype == F64 else 2e-6
    with torch.no_grad():
        for given in (None, base):
            q = cayley(skew.to(dtype), given)
            with torch.enable_grad():
                solved = cayley(skew, None if given is None else given.double())
            assert error(q) < (1e-11 if dtype == F64 and given is None else 2e-6)
            torch.testing.assert_close(q.double(), solved, rtol=0, atol=tolerance)
    assert (dim in made) == (size < orthogonal.SMALL)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("size", [0.0, 1.0, 9.0, 11.0])
@pytest.mark.parametrize("dim", [23, 24, 64, 96, 97])
def test_cayley_by_a_square_is_that_by_a_solve(dim, size, dtype, monkeypatch):
    """Also where all of S is one rotation, which is the worst for the square; a larger S is left to the solve."""
    generator = torch.Generator().manual_seed(dim)
    base, made, plain = haar(dim, generator, dtype), [], orthogonal._by_square
    monkeypatch.setattr(orthogonal, "_by_square", lambda *given: (made.append(1), plain(*given))[1])
    a, u, v = (torch.randn(dim, n, generator=generator, dtype=F64) for n in (dim, 1, 1))
    for skew in (a - a.mT, u @ v.mT - v @ u.mT):
        skew *= size / float(skew.norm())
        for given in (None, base):
            with torch.no_grad():
                q = cayley(skew.to(dtype), given)
            with torch.enable_grad():
                solved = cayley(skew, None if given is None else given.double())
            torch.testing.assert_close(q.double(), solved, rtol=0, atol=1e-12 if dtype == F64 else 3e-6)
            assert size > 0 or torch.equal(q, torch.eye(dim, dtype=dtype) if given is None else given)
    assert bool(made) == (24 <= dim <= 96 and size < orthogonal.GENTLE)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("rows", [2, 11, 40])
@pytest.mark.parametrize("count", [1, 3, 5, 9, 70])
def test_many_reflections_of_many_rows_by_one_matrix_are_those_one_by_one(count, rows, inverse, monkeypatch):
    monkeypatch.setattr(orthogonal, "BLOCK", 4)
    generator = torch.Generator().manual_seed(count)
    x = torch.randn(rows, 5, generator=generator, dtype=F64).requires_grad_()
    v = torch.randn(count, 5, generator=generator, dtype=F64).requires_grad_()
    z = x
    for u in v.flip(0) if inverse else v:
        z = z - 2 * (z @ u)[:, None] * u / u.square().sum()
    found = householder(x.view(-1, 1, 5), v, inverse).view(-1, 5)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-12)
    weights = torch.randn(rows, 5, generator=generator, dtype=F64)
    for a, b in zip(*(torch.autograd.grad((f * weights).sum(), (x, v)) for f in (found, z)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


def test_many_reflections_of_many_rows_multiply_them_once(monkeypatch):
    seen = []
    plain = orthogonal._reflected
    monkeypatch.setattr(orthogonal, "_reflected", lambda rows, blocks: (seen.append(len(rows)), plain(rows, blocks))[1])
    few, many = torch.randn(4, 16), torch.randn(16, 16)
    for rows in (8, 100):
        householder(torch.randn(rows, 16), few)
        householder(torch.randn(rows, 16), many)
    assert seen == [8, 8, 100, 16]

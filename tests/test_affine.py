"""`Standardize` and `Whiten`: what they fit, what the shrinkage buys on new rows, and where the floors are."""

import copy
import pickle

import pytest
import torch

from gaussflow import Standardize, Whiten, haar

F64 = torch.float64
DIMS = [1, 2, 3, 5, 64, 100]


def random_covariance(dim, generator):
    """Distinct eigenvalues, trace D, random axes."""
    values = torch.rand(dim, generator=generator, dtype=F64) ** 2 + 0.05
    q = haar(dim, generator, F64)
    return q.T @ torch.diag(values * dim / values.sum()) @ q


def excess(mean, precision, covariance):
    """Nats a row that N(mean, precision^-1) loses on N(0, covariance), beyond the entropy."""
    product = precision @ covariance
    return float(product.trace() + mean @ precision @ mean - len(mean) - torch.linalg.slogdet(product)[1]) / 2


def whiten_excess(x, covariance, mean=0):
    whiten = Whiten(x.shape[1], dtype=F64).fit(x).requires_grad_(False)
    matrix = torch.func.jacrev(lambda row: whiten(row)[0])(x[0])
    return excess(whiten.loc - mean, matrix.T @ matrix, covariance)


def likelihood_excess(x, covariance):
    return excess(x.mean(0), torch.linalg.inv(torch.cov(x.T, correction=0)), covariance)


@pytest.mark.parametrize(("make", "dim"), [(make, dim) for make in (Standardize, Whiten) for dim in DIMS])
def test_it_standardises_its_rows_and_comes_back(make, dim):
    x = torch.randn(3000, dim, dtype=F64) @ torch.randn(dim, dim, dtype=F64) * 7 + 50
    transform = make(dim, dtype=F64).fit(x).requires_grad_(False)
    z, ladj = transform(x)
    assert torch.allclose(z.mean(0), torch.zeros(dim, dtype=F64), atol=1e-9)
    if make is Standardize:
        assert torch.allclose(z.std(0, correction=0), torch.ones(dim, dtype=F64))
    elif dim < 64:
        covariance = torch.cov(z.T, correction=0).reshape(dim, dim)
        assert torch.allclose(covariance, torch.eye(dim, dtype=F64), atol=0.02)  # the shrinkage is small, not zero
    assert torch.allclose(transform.inverse(z)[0], x, rtol=1e-11, atol=1e-11)
    jacobian = torch.func.jacrev(lambda row: transform(row)[0])(x[0])
    assert torch.allclose(ladj[0], torch.linalg.slogdet(jacobian)[1], rtol=1e-12, atol=1e-12)
    assert torch.allclose(transform.inverse(z)[1], -ladj)


@pytest.mark.parametrize("seed", range(3))
def test_on_noise_whiten_costs_what_means_and_scales_cost(seed):
    x = torch.randn(1000, 64, generator=torch.Generator().manual_seed(seed), dtype=F64)
    eye = torch.eye(64, dtype=F64)
    assert 0.03 < whiten_excess(x + 1, eye, 1) < 0.1  # means and scales: D/N = 0.064
    assert likelihood_excess(x, eye) > 1  # the full covariance: D(D + 3)/(4N) = 1.07 and more


@pytest.mark.parametrize("n", [16, 50, 1000])
def test_whiten_leaves_standard_normal_rows_alone(n):
    left = 0
    for seed in range(40):
        x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=F64)
        left += bool((Whiten(3, dtype=F64).fit(x)(x)[0] == x).all())
        moved = x * torch.tensor([1 + 12 / n**0.5, 1, 1])
        assert not (Whiten(3, dtype=F64).fit(moved)(x)[0] == x).all()
        assert not (Whiten(3, dtype=F64).fit(x + 8 / n**0.5)(x)[0] == x).all()
    assert left >= 38


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dim", [4, 16, 64])
def test_on_correlated_rows_whiten_is_as_good_as_the_full_covariance(dim, seed):
    generator = torch.Generator().manual_seed(seed)
    covariance = random_covariance(dim, generator)
    x = torch.randn(10_000, dim, generator=generator, dtype=F64) @ torch.linalg.cholesky(covariance).T
    assert whiten_excess(x, covariance) < 1.01 * likelihood_excess(x, covariance)


@pytest.mark.parametrize(("n", "ratio"), [(200, 0.6), (70, 0.1)])
def test_on_few_correlated_rows_whiten_is_far_better(n, ratio):
    generator = torch.Generator().manual_seed(0)
    covariance = random_covariance(64, generator)
    x = torch.randn(n, 64, generator=generator, dtype=F64) @ torch.linalg.cholesky(covariance).T
    assert whiten_excess(x, covariance) < ratio * likelihood_excess(x, covariance)
    assert whiten_excess(x, covariance) < whiten_excess(x[: n // 2], covariance)


def test_whiten_does_not_depend_on_units():
    x = torch.randn(400, 5, dtype=F64) @ torch.randn(5, 5, dtype=F64)
    units = torch.tensor([1e-9, 1e9, 1, 1e-3, 1e6], dtype=F64)
    a, b = Whiten(5, dtype=F64).fit(x), Whiten(5, dtype=F64).fit(x * units + 1e3 * units)
    assert torch.allclose(a(x)[0], b(x * units + 1e3 * units)[0], atol=1e-8)


def hard(name, dtype):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=g, dtype=F64)
    big = float(torch.finfo(dtype).max) ** 0.75
    data = {
        "constants": x * torch.tensor([1.0, 0, 1, 0, 1]) + 7,
        "all constant": torch.full((60, 5), -3.0, dtype=F64),
        "ties": (x > 0).double(),
        "rare": (torch.arange(60) == 3).double()[:, None].expand(60, 5),
        "copies": x[:, :1].expand(60, 5),
        "one row": x[:1],
        "two rows": x[:2],
        "fewer rows than coordinates": x[:3],
        "sixteen rows": x[:16],
        "offset": x + 1e8,
        "cauchy": torch.tan(torch.pi * (torch.rand(60, 5, generator=g, dtype=F64) - 0.5)),
        "huge": x * big,
        "tiny": x / big,
    }[name]
    return data.to(dtype)


HARD = ["constants", "all constant", "ties", "rare", "copies", "one row", "two rows", "fewer rows than coordinates"]
HARD += ["sixteen rows", "offset", "cauchy", "huge", "tiny"]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("make", [Standardize, Whiten])
@pytest.mark.parametrize("name", HARD)
def test_hard_rows_give_finite_maps_that_come_back(name, make, dtype):
    x = hard(name, dtype)
    transform = make(5, dtype=dtype).fit(x).requires_grad_(False)
    z, ladj = transform(x)
    assert all(torch.isfinite(t).all() for t in (*transform.state_dict().values(), z, ladj))
    back = transform.inverse(z)[0]
    eps = torch.finfo(dtype).eps
    assert float((back - x).abs().max()) <= 100 * eps * float(x.abs().max())
    chunks = make(5, dtype=dtype).fit([x[:1], x[1:9], x[9:]])
    limit = 1e-5 if dtype == torch.float32 else 1e-8
    for key, value in transform.state_dict().items():
        assert torch.allclose(value, chunks.state_dict()[key], rtol=1e-5, atol=limit)


def test_the_floors_are_those_documented():
    x = torch.tensor([[3.0, 1e8], [3.0, 1e8 + 8]])
    scale = Standardize(2).fit(x).log_scale.detach().exp()
    assert float(scale[0]) == 1  # a constant
    assert float(scale[1]) == pytest.approx(torch.finfo(torch.float32).eps * 1e8, rel=1e-4)  # above the 4 seen
    y = torch.randn(100, 1, dtype=F64)
    length = Whiten(2, dtype=F64).fit(torch.cat([y, y], 1)).log_length.detach().exp()
    assert torch.allclose(length, torch.tensor([2.0, 1e-10], dtype=F64).sqrt(), rtol=1e-3)


@pytest.mark.parametrize("make", [Standardize, Whiten])
def test_born_the_identity_and_each_parameter_learns(make):
    transform, x = make(4, dtype=F64), torch.randn(6, 4, dtype=F64)
    z, ladj = transform(x)
    assert torch.equal(z, x)
    assert torch.equal(ladj, torch.zeros(6, dtype=F64))
    (z * torch.randn(6, 4)).sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in transform.parameters())


def test_training_whiten_finds_the_covariance_and_keeps_its_axes_orthogonal():
    covariance = random_covariance(4, torch.Generator().manual_seed(1))
    x = torch.randn(2000, 4, dtype=F64) @ torch.linalg.cholesky(covariance).T + 2
    transform = Whiten(4, dtype=F64)
    optimiser = torch.optim.AdamW(transform.parameters(), lr=0.05, weight_decay=1e-4)
    for _ in range(400):
        optimiser.zero_grad()
        z, ladj = transform(x)
        (z.square().sum(1) / 2 - ladj).mean().backward()
        optimiser.step()
    transform.requires_grad_(False)
    q = transform.matrix()
    assert torch.allclose(q @ q.T, torch.eye(4, dtype=F64), atol=1e-13)
    assert torch.allclose(torch.cov(transform(x)[0].T), torch.eye(4, dtype=F64), atol=0.02)


@pytest.mark.parametrize("make", [Standardize, Whiten])
def test_it_copies_pickles_compiles_and_vmaps(make):
    transform, x = make(5).fit(torch.randn(50, 5) * 3 + 1), torch.randn(6, 5)
    z, ladj = transform(x)
    for again in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert torch.equal(again(x)[0], z)
    compiled = torch.compile(transform, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x)[0], z, atol=1e-6)
    rows, ladjs = torch.func.vmap(transform)(x)
    assert torch.allclose(rows, z, atol=1e-6)
    assert torch.allclose(ladjs, ladj)

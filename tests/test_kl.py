"""Gaussian divergences against closed forms in 50 digits, at extremes, and with their gradients."""

import math

import mpmath as mp
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from gaussflow import DiagonalGaussian, FullGaussian, gaussian_js, gaussian_kl
from gaussflow.ops.exponential import exp_above_tangent

DTYPES = [torch.float32, torch.float64]
EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}


def diagonal(*batch: int, dim: int = 3, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> DiagonalGaussian:
    return DiagonalGaussian(*(scale * torch.randn(2, *batch, dim, dtype=dtype)))


def full(*batch: int, dim: int = 3, dtype: torch.dtype = torch.float64) -> FullGaussian:
    factor = torch.randn(*batch, dim, dim, dtype=dtype).tril(-1) + torch.diag_embed(
        0.3 + torch.rand(*batch, dim, dtype=dtype)
    )
    return FullGaussian(torch.randn(*batch, dim, dtype=dtype), factor)


KINDS = {
    "standard": lambda: None,
    "diagonal": lambda: diagonal(4),
    "full": lambda: full(4),
    "one_diagonal": diagonal,
    "one_full": full,
}


def reference(p: DiagonalGaussian | FullGaussian, q: DiagonalGaussian | FullGaussian) -> mp.mpf:
    """The textbook formula of one pair in 60 digits, from the numbers held."""
    with mp.workdps(60):
        (m0, c0), (m1, c1) = (_moments(law) for law in (p, q))
        inverse, shift = c1**-1, m1 - m0
        trace = mp.fsum((inverse * c0)[i, i] for i in range(c0.rows))
        return (trace + (shift.T * inverse * shift)[0] - c0.rows + mp.log(mp.det(c1) / mp.det(c0))) / 2


def _moments(law: DiagonalGaussian | FullGaussian) -> tuple[mp.matrix, mp.matrix]:
    if isinstance(law, DiagonalGaussian):
        factor = mp.diag([mp.exp(mp.mpf(v) / 2) for v in law.log_variance.tolist()])
    else:
        factor = mp.matrix(law.cholesky.tril().tolist())
    return mp.matrix(law.mean.tolist()), factor * factor.T


def torch_law(law: DiagonalGaussian | FullGaussian | None) -> MultivariateNormal:
    law = law or DiagonalGaussian(torch.zeros(3).double(), torch.zeros(3).double())
    return MultivariateNormal(law.mean, scale_tril=law.cholesky.tril())


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", [k for k in KINDS if k != "standard"])
def test_all_pairs_of_kinds_and_batches_agree_with_the_textbook(first: str, second: str) -> None:
    p, q = KINDS[first](), KINDS[second]()
    want = kl_divergence(torch_law(p), torch_law(q))
    got = gaussian_kl(p, q)
    assert got.shape == want.shape
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distance", [1e-12, 1e-7, 1e-3, 0.1, 1.0])
@pytest.mark.parametrize("kinds", ["dd", "ff", "fd", "df", "any"])
def test_nearly_equal_laws_keep_their_relative_accuracy(kinds: str, distance: float, dtype: torch.dtype) -> None:
    start = diagonal(dtype=dtype)
    mean, spread = start.mean * 1e-3, start.log_variance
    if kinds == "dd":
        p, q = DiagonalGaussian(mean, spread), DiagonalGaussian(mean * (1 - distance), spread - distance)
    elif kinds == "any":
        p = full(dtype=dtype)
        moved = p.cholesky + distance * torch.randn(3, 3, dtype=dtype).tril()
        q = FullGaussian(p.mean, torch.where(torch.eye(3, dtype=torch.bool), moved.abs() + 0.1 * distance, moved))
    else:  # unit variances are held alike by both kinds
        zero, factor = torch.zeros(3, dtype=dtype), torch.eye(3, dtype=dtype)
        other = factor + distance * torch.randn(3, 3, dtype=dtype).tril()
        other.diagonal().abs_()
        laws = {"d": DiagonalGaussian(zero, zero), "f": FullGaussian(zero + distance, other)}
        p, q = (FullGaussian(zero, factor), laws["f"]) if kinds == "ff" else (laws[kinds[0]], laws[kinds[1]])
    want = reference(p, q)
    assert abs(mp.mpf(gaussian_kl(p, q).item()) - want) <= 40 * EPS[dtype] * abs(want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_divergence_is_negative_and_only_equal_laws_have_none(dtype: torch.dtype) -> None:
    base = diagonal(2000, scale=3, dtype=dtype)
    moved = DiagonalGaussian(base.mean, base.log_variance * (1 + EPS[dtype]))
    assert bool((gaussian_kl(base, moved) >= 0).all())
    assert bool((gaussian_kl(base, moved)[(moved.log_variance != base.log_variance).any(-1)] > 0).all())
    laws = full(2000, dim=4, dtype=dtype)
    near = FullGaussian(laws.mean, laws.cholesky * (1 + EPS[dtype] * torch.randn(2000, 4, 4, dtype=dtype)))
    assert bool((gaussian_kl(laws, near) >= 0).all())
    for law in (base, laws):
        assert bool((gaussian_kl(law, law) == 0).all())


def test_the_log_ratio_stands_the_right_way_up() -> None:
    narrow, wide = DiagonalGaussian(torch.zeros(1), torch.zeros(1)), DiagonalGaussian(torch.zeros(1), torch.ones(1))
    assert gaussian_kl(narrow, wide).item() == pytest.approx(0.5 * (math.exp(-1) - 1 + 1))
    assert gaussian_kl(wide, narrow).item() == pytest.approx(0.5 * (math.e - 1 - 1))
    up_side_down = 0.5 * (math.exp(-1) - 1 - 1)
    assert up_side_down < 0 < gaussian_kl(narrow, wide).item()


def test_the_sign_is_that_of_the_divergence() -> None:
    p = DiagonalGaussian(torch.tensor([0.5, -1.0]), torch.tensor([0.3, -0.7]))
    mean, log_variance = p
    minus_kl = 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()  # called the divergence in print
    torch.testing.assert_close(gaussian_kl(p), -minus_kl)
    assert gaussian_kl(p).item() > 0


def test_the_divergence_adds_over_independent_coordinates() -> None:
    p, q = diagonal(6, dim=5), diagonal(6, dim=5)
    parts = [gaussian_kl(*(DiagonalGaussian(a[..., [i]], b[..., [i]]) for a, b in (p, q))) for i in range(5)]
    torch.testing.assert_close(gaussian_kl(p, q), sum(parts))


def test_the_divergence_is_the_mean_log_ratio() -> None:
    generator = torch.Generator().manual_seed(3)
    for p, q in ((diagonal(), full()), (full(), diagonal()), (full(), full())):
        x = p.rsample(40_000, generator)
        ratio = p.log_prob(x) - q.log_prob(x)
        assert abs(ratio.mean() - gaussian_kl(p, q)) < 5 * ratio.std() / 200


def test_log_prob_is_that_of_the_law() -> None:
    for law in (diagonal(4), full(4), full()):
        x = torch.randn(6, 4, 3, dtype=torch.float64)
        torch.testing.assert_close(law.log_prob(x), torch_law(law).log_prob(x))


def test_samples_have_mean_covariance_and_the_standard_deviation_not_the_variance() -> None:
    law = DiagonalGaussian(torch.tensor([1.0, -2.0]), torch.tensor([4.0, -4.0]))
    x = law.rsample((100_000,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.std(0), torch.tensor([math.e**2, math.e**-2]), rtol=0.01, atol=0)
    torch.testing.assert_close((x.mean(0) - law.mean) / x.std(0), torch.zeros(2), atol=0.015, rtol=0)
    law = full()
    x = law.rsample(100_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.cov(x.T), law.cholesky @ law.cholesky.T, atol=0.05, rtol=0.02)


def test_samples_have_gradients_shapes_and_a_generator() -> None:
    mean, log_variance = torch.randn(4, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    law = DiagonalGaussian(mean, log_variance)
    one, two = (law.rsample((2, 5), torch.Generator().manual_seed(1)) for _ in range(2))
    assert one.shape == (2, 5, 4, 3)
    assert torch.equal(one, two)
    noise = ((one - mean) / (0.5 * log_variance).exp()).detach()
    slope = torch.autograd.grad(one.sum(), log_variance)[0]
    torch.testing.assert_close(slope, (0.5 * noise * (0.5 * log_variance).exp()).sum((0, 1, 2)))
    assert full(4).rsample().shape == (4, 3)
    assert FullGaussian(torch.randn(3), torch.eye(3).expand(7, 3, 3)).rsample(2).shape == (2, 7, 3)


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", ["diagonal", "full"])
def test_gradients(first: str, second: str) -> None:
    p, q = KINDS[first](), KINDS[second]()
    tensors = [t.detach().requires_grad_() for law in (p, q) if law is not None for t in law]

    def divergence(*held: torch.Tensor) -> torch.Tensor:
        return gaussian_kl(type(p)(*held[:2]), type(q)(*held[2:]) if q is not None else None)

    assert torch.autograd.gradcheck(divergence, tensors)
    want = torch.autograd.grad(kl_divergence(torch_law(type(p)(*tensors[:2])), _again(q, tensors)).sum(), tensors)
    got = torch.autograd.grad(divergence(*tensors).sum(), tensors)
    for g, w, t in zip(got, want, tensors, strict=True):
        torch.testing.assert_close(g, w.tril() if t.shape[-1:] * 2 == t.shape[-2:] else w, rtol=1e-9, atol=1e-9)


def _again(q: DiagonalGaussian | FullGaussian | None, tensors: list[torch.Tensor]) -> MultivariateNormal:
    return torch_law(None if q is None else type(q)(*tensors[2:]))


@pytest.mark.parametrize("kinds", ["d", "dd", "ff"])
def test_curvature_at_equal_laws(kinds: str) -> None:
    """The Hessian of the divergence at equal laws is Fisher's information: the series is differentiated twice."""
    law = DiagonalGaussian(torch.zeros(2).double(), torch.zeros(2).double())
    if kinds == "ff":
        q = FullGaussian(law.mean, torch.eye(2).double())
        hessian = torch.autograd.functional.hessian(
            lambda s: gaussian_kl(FullGaussian(law.mean, torch.diag(s)), q), torch.ones(2).double()
        )
        torch.testing.assert_close(hessian, 2 * torch.eye(2).double())
        return
    q = law if kinds == "dd" else None
    hessian = torch.autograd.functional.hessian(lambda v: gaussian_kl(law._replace(log_variance=v), q), law[1])
    torch.testing.assert_close(hessian, 0.5 * torch.eye(2).double())


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_log_variances_have_exact_values_and_finite_gradients(dtype: torch.dtype) -> None:
    most = 80.0 if dtype == torch.float32 else 700.0
    spread = torch.tensor([-1e30, -1e5, -2000.0, -80.0, 0.0, most], dtype=dtype, requires_grad=True)
    mean = torch.zeros(6, dtype=dtype, requires_grad=True)
    per = gaussian_kl(DiagonalGaussian(mean[:, None], spread[:, None]))
    want = 0.5 * (spread.detach().double().expm1() - spread.detach().double())
    torch.testing.assert_close(per.detach().double(), want, rtol=4 * EPS[dtype], atol=0)
    slopes = torch.autograd.grad(per.sum(), (mean, spread))
    assert all(bool(s.isfinite().all()) for s in slopes)
    torch.testing.assert_close(slopes[1].double(), 0.5 * spread.detach().double().expm1(), rtol=4 * EPS[dtype], atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_overflow_is_infinity_and_never_a_nan(dtype: torch.dtype) -> None:
    ends = torch.tensor([-1e4, -300.0, 0.0, 300.0, 1e4], dtype=dtype)
    p_spread, q_spread = ends.repeat(5)[:, None], ends.repeat_interleave(5)[:, None]
    zeros = torch.zeros_like(p_spread)
    for shift in (0.0, 1e-30, 1e30):
        got = gaussian_kl(DiagonalGaussian(zeros + shift, p_spread), DiagonalGaussian(zeros, q_spread))
        with mp.workdps(60):
            want = [
                (mp.exp(a) - mp.exp(b) - (a - b) * mp.exp(b) + mp.mpf(shift) ** 2) / (2 * mp.exp(b))
                for a, b in zip(*(map(mp.mpf, law[:, 0].tolist()) for law in (p_spread, q_spread)), strict=True)
            ]
        rounded = torch.tensor([float(w) for w in want], dtype=torch.float64).to(dtype)
        torch.testing.assert_close(got, rounded, rtol=300 * EPS[dtype], atol=0)
    mean = torch.zeros(5, 1, dtype=dtype, requires_grad=True)
    law = DiagonalGaussian(torch.zeros_like(mean), ends[:, None])
    (slope,) = torch.autograd.grad(gaussian_kl(law._replace(mean=mean), law).sum(), mean)
    assert bool((slope == 0).all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_badly_conditioned_covariances(dtype: torch.dtype) -> None:
    dim = 12
    basis = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64))[0]
    scale = torch.logspace(0, -3, dim, dtype=torch.float64)
    q = FullGaussian.from_covariance(torch.zeros(dim).double(), (basis * scale) @ basis.T)
    p = FullGaussian(0.01 * torch.randn(dim).double(), q.cholesky * 1.1)
    want = reference(p, q)
    got = gaussian_kl(*(type(law)(*(t.to(dtype) for t in law)) for law in (p, q)))
    assert abs(got.item() / float(want) - 1) < (1e-3 if dtype == torch.float32 else 1e-10)


def test_what_stands_above_the_diagonal_is_ignored() -> None:
    law, other = full(2), full(2)
    noisy = FullGaussian(law.mean, law.cholesky + torch.randn(3, 3).double().triu(1))
    x = torch.randn(2, 3).double()
    assert torch.equal(gaussian_kl(noisy, other), gaussian_kl(law, other))
    assert torch.equal(gaussian_kl(other, noisy), gaussian_kl(other, law))
    assert torch.equal(noisy.log_prob(x), law.log_prob(x))
    same = (one.rsample(5, torch.Generator().manual_seed(0)) for one in (law, noisy))
    assert torch.equal(*same)


def test_covariances_in_and_gradients_to_them() -> None:
    a = torch.randn(2, 3, 3).double()
    covariance = (a @ a.mT + 0.1 * torch.eye(3).double()).requires_grad_()
    law = FullGaussian.from_covariance(torch.zeros(2, 3).double(), covariance)
    torch.testing.assert_close(law.cholesky @ law.cholesky.mT, covariance)
    (slope,) = torch.autograd.grad(gaussian_kl(law).sum(), covariance)
    torch.testing.assert_close(slope, 0.5 * (torch.eye(3).double() - covariance.inverse()))


def test_shapes_of_batches_and_none() -> None:
    assert gaussian_kl(diagonal(0)).shape == (0,)
    assert gaussian_kl(full(0), full()).shape == (0,)
    assert gaussian_kl(diagonal(5, 1), full(4)).shape == (5, 4)
    assert gaussian_kl(full(5, 1, dim=1), diagonal(4, dim=1)).shape == (5, 4)
    assert gaussian_js(diagonal(5, 1), full(4), samples=2).value.shape == (5, 4)


def test_nan_stays_visible() -> None:
    bad = diagonal(2)
    bad.mean[0, 1] = torch.nan
    for got in (gaussian_kl(bad), gaussian_kl(bad, full()), gaussian_js(bad, samples=8).value):
        assert got.isnan().tolist() == [True, False]
    negative = FullGaussian(torch.zeros(1), -torch.ones(1, 1))
    assert gaussian_kl(negative).isnan().all()


def test_compiles_whole_and_vectorises() -> None:
    mean, spread = torch.randn(6, 3), torch.randn(6, 3)
    each = torch.vmap(lambda m, s: gaussian_kl(DiagonalGaussian(m, s)))(mean, spread)
    torch.testing.assert_close(each, gaussian_kl(DiagonalGaussian(mean, spread)))
    factor = full(6, dtype=torch.float32).cholesky
    compiled = torch.compile(
        lambda m, s, f: gaussian_kl(DiagonalGaussian(m, s), FullGaussian(m, f)), fullgraph=True, backend="eager"
    )
    want = gaussian_kl(DiagonalGaussian(mean, spread), FullGaussian(mean, factor))
    torch.testing.assert_close(compiled(mean, spread, factor), want)


def test_nothing_is_registered_globally() -> None:
    from torch.distributions.kl import _KL_REGISTRY

    assert not [pair for pair in _KL_REGISTRY if any(kind.__module__.startswith("gaussflow") for kind in pair)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_above_its_tangent(dtype: torch.dtype) -> None:
    x = torch.cat([s * torch.logspace(-18, 1.9, 400, dtype=torch.float64) for s in (-1, 1)]).to(dtype).requires_grad_()
    value = exp_above_tangent(x)
    with mp.workdps(60):
        want = [mp.exp(mp.mpf(t)) - 1 - mp.mpf(t) for t in x.tolist()]
    worst = max(abs(mp.mpf(g) / w - 1) for g, w in zip(value.tolist(), want, strict=True))
    assert worst < 8 * EPS[dtype]
    (slope,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(slope, x.detach().expm1(), rtol=8 * EPS[dtype], atol=0)
    assert exp_above_tangent(torch.tensor([0.0, 1e4, -torch.inf])).tolist() == [0.0, torch.inf, torch.inf]


def js_by_quadrature(shift: float, log_variance: float) -> float:
    p = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
    q = torch.distributions.Normal(torch.tensor(shift).double(), math.exp(0.5 * log_variance))
    x = torch.linspace(-60, 60, 400_001, dtype=torch.float64)
    a, b = p.log_prob(x), q.log_prob(x)
    m = torch.logaddexp(a, b) - math.log(2)
    return torch.trapezoid(0.5 * a.exp() * (a - m) + 0.5 * b.exp() * (b - m), x).item()


@pytest.mark.parametrize(("shift", "log_variance"), [(0.1, 0.0), (1.0, 1.0), (0.0, -3.0), (4.0, 2.0)])
def test_js_has_no_bias_and_an_honest_error(shift: float, log_variance: float) -> None:
    p = DiagonalGaussian(torch.zeros(200, 1), torch.zeros(200, 1))
    q = DiagonalGaussian(torch.full((1,), shift), torch.full((1,), log_variance))
    value, error = gaussian_js(p, q, 2000, torch.Generator().manual_seed(0))
    score = (value.double() - js_by_quadrature(shift, log_variance)) / error.double()
    assert abs(score.mean()) < 0.3
    assert 0.8 < score.std() < 1.2


def test_js_lies_between_nothing_and_log_2() -> None:
    p = DiagonalGaussian(torch.zeros(6, 2), torch.zeros(6, 2))
    mean = torch.tensor([0.0, 1e-4, 1.0, 10.0, 1e5, 1e25])[:, None].expand(6, 2)
    value, error = gaussian_js(p, DiagonalGaussian(mean, torch.zeros(2)), 3)
    assert bool(((value >= 0) & (value <= math.log(2) + 1e-7)).all())
    assert value[0] == 0
    assert value[-2:].tolist() == pytest.approx([math.log(2)] * 2)
    assert bool(error.isfinite().all())


def test_js_is_symmetric_and_has_a_gradient() -> None:
    p, q = diagonal(2), full(2)
    one, two = gaussian_js(p, q, 20_000), gaussian_js(q, p, 20_000)
    assert bool(((one.value - two.value).abs() < 5 * one.error * 2**0.5).all())
    mean = torch.zeros(1).double().requires_grad_()
    law = DiagonalGaussian(mean, torch.zeros(1).double())
    other = DiagonalGaussian(torch.ones(1).double(), torch.zeros(1).double())
    (slope,) = torch.autograd.grad(gaussian_js(law, other, 200_000, torch.Generator().manual_seed(0)).value, mean)
    step = 1e-3
    want = (js_by_quadrature(1 + step, 0.0) - js_by_quadrature(1 - step, 0.0)) / (2 * step)
    assert slope.item() == pytest.approx(-want, rel=0.03)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: gaussian_kl(torch.zeros(3)), TypeError, "wants a DiagonalGaussian or FullGaussian; got p of Tensor"),
        (lambda: gaussian_kl((torch.zeros(3), torch.zeros(3))), TypeError, "got p of tuple"),
        (lambda: gaussian_kl(diagonal(), torch.zeros(3)), TypeError, "got q of Tensor"),
        (lambda: gaussian_kl(DiagonalGaussian(torch.zeros(3), torch.zeros(2))), ValueError, "p.log_variance"),
        (lambda: gaussian_kl(DiagonalGaussian(torch.tensor(0.0), torch.tensor(0.0))), ValueError, "single number"),
        (lambda: gaussian_kl(DiagonalGaussian(torch.zeros(3).int(), torch.zeros(3))), TypeError, "floating"),
        (lambda: gaussian_kl(DiagonalGaussian(torch.zeros(3), torch.zeros(3).double())), TypeError, "float64"),
        (lambda: gaussian_kl(FullGaussian(torch.zeros(3), torch.zeros(3))), ValueError, r"\(\.\.\., 3, 3\)"),
        (lambda: gaussian_kl(FullGaussian(torch.zeros(3), torch.eye(2))), ValueError, r"got \(2, 2\)"),
        (lambda: gaussian_kl(diagonal(dim=2), diagonal(dim=1)), ValueError, "2 coordinates .* 1 coordinates"),
        (lambda: gaussian_kl(diagonal(), full(dtype=torch.float32)), ValueError, "one dimension and dtype"),
        (lambda: FullGaussian.from_covariance(torch.zeros(2), torch.ones(2, 2)), ValueError, "positive definite"),
        (lambda: FullGaussian.from_covariance(torch.zeros(2), torch.full((2, 2), torch.nan)), ValueError, "positive"),
        (lambda: FullGaussian.from_covariance(torch.zeros(1), torch.full((1, 1), torch.inf)), ValueError, "finite"),
        (
            lambda: FullGaussian.from_covariance(torch.zeros(2), torch.eye(2) + torch.ones(2, 2).triu()),
            ValueError,
            "sym",
        ),
        (lambda: FullGaussian.from_covariance(torch.zeros(3), torch.eye(2)), ValueError, "3, 3"),
        (lambda: FullGaussian.from_covariance(torch.zeros(2), torch.zeros(2, 3)), ValueError, "D, D"),
        (lambda: diagonal().log_prob(torch.zeros(2).double()), ValueError, r"\(\.\.\., 3\)"),
        (lambda: diagonal().rsample(-1), ValueError, "at least 0"),
        (lambda: diagonal().rsample(torch.Generator()), TypeError, "integer"),
        (lambda: gaussian_js(diagonal(), samples=1), ValueError, "at least 2"),
    ],
)
def test_doors(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()

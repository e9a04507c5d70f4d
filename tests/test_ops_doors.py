"""Operations that users build with: what they refuse, in words, and that they are one another's inverses."""

import pytest
import torch

from gaussflow import ops
from gaussflow.ops._spline import rounded_inverse
from gaussflow.transforms import logistic_kernel

N, D, K = 50, 3, 6


def tables(k=K, dim=D):
    g = torch.Generator().manual_seed(0)
    xs, zs = (torch.rand(k, dim, generator=g, dtype=torch.float64).add(0.1).cumsum(0) - 2 for _ in range(2))
    return xs, zs, torch.rand(k, dim, generator=g, dtype=torch.float64) + 0.1


def mixture(kernel=None):
    g = torch.Generator().manual_seed(1)
    logits, means, log_scales = (torch.randn(K, D, generator=g, dtype=torch.float64) for _ in range(3))
    found = ops.Mixture(logits.log_softmax(0), means, log_scales)
    return found if kernel is None else found._replace(kernel=kernel)


def points():
    return 4 * torch.randn(N, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


X, Z, SLOPES = tables()
INTEGERS = torch.ones(2, D, dtype=torch.int64)
DISORDER = torch.stack([X[:, 0], X.flip(0)[:, 1], X[:, 2]], 1)
REFUSED = {
    "list": (TypeError, lambda: ops.rq_spline([0.0], X, Z, SLOPES), "works on a torch.Tensor; got x of list"),
    "integers": (TypeError, lambda: ops.rq_spline_inverse(INTEGERS, X, Z, SLOPES), "got z of torch.int64"),
    "shapes": (ValueError, lambda: ops.rq_spline(points(), X, Z[1:], SLOPES), r"zs \(5, 3\)"),
    "one knot": (ValueError, lambda: ops.rq_spline(points(), X[:1], Z[:1], SLOPES[:1]), "K of at least 2"),
    "disorder": (
        ValueError,
        lambda: ops.rq_spline(points(), DISORDER, Z, SLOPES),
        "ascending xs; got others in column 1",
    ),
    "heights": (ValueError, lambda: ops.rq_spline_inverse(points(), X, DISORDER, SLOPES), "ascending zs"),
    "slopes": (ValueError, lambda: ops.rq_spline(points(), X, Z, -SLOPES), "positive slopes; got others in column 0"),
    "columns": (ValueError, lambda: ops.mixture_to_normal(points()[:, :2], mixture()), r"works on \(..., 3\)"),
    "components": (
        ValueError,
        lambda: ops.normal_to_mixture(points(), mixture()._replace(means=torch.zeros(2, D))),
        r"normal_to_mixture wants tables of one shape .* means \(2, 3\)",
    ),
    "logarithm": (TypeError, lambda: ops.log_normal_cdf(INTEGERS), "got z of torch.int64"),
    "quantile": (TypeError, lambda: ops.normal_quantile(X, INTEGERS), "got log_q of torch.int64"),
    "bound": (ValueError, lambda: ops.soft_bound(X, 0.0), "positive bound; got 0.0"),
    "radius": (ValueError, lambda: ops.squash(X, float("nan")), "positive radius; got nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_in_which_words(name):
    error, call, words = REFUSED[name]
    with pytest.raises(error, match=words):
        call()


def test_knots_that_rounding_has_put_in_disorder_are_taken():
    """Sums of steps may be so, and all the more what a map in single precision sends its own knots to."""
    xs, zs, slopes = (t.float() for t in tables())
    zs[3] = zs[2] * (1 - 1e-6)
    assert ops.rq_spline_inverse(points().float(), xs, zs, slopes)[0].isfinite().all()
    assert rounded_inverse(points().float(), xs, zs.flip(0), slopes)[0].isfinite().all()


def test_splines_go_there_and_back():
    z, log_slope = ops.rq_spline(points(), *tables())
    x, back = ops.rq_spline_inverse(z, *tables())
    torch.testing.assert_close(x, points())
    torch.testing.assert_close(back, -log_slope)


@pytest.mark.parametrize("kernel", [None, logistic_kernel])
def test_mixtures_go_there_and_back_with_implicit_gradients(kernel):
    z, log_slope = ops.mixture_to_normal(points(), mixture(kernel))
    x, back = ops.normal_to_mixture(z, mixture(kernel))
    torch.testing.assert_close(x, points(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(back, -log_slope, rtol=1e-9, atol=1e-9)
    means = mixture(kernel).means.clone().requires_grad_()

    def inverse(means):
        return ops.normal_to_mixture(z[:2], mixture(kernel)._replace(means=means))[0]

    assert torch.autograd.gradcheck(inverse, means)

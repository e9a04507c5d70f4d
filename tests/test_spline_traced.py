"""The compiled spline: whole graphs, one loop, and the digits and edges of the plain one."""

import pytest
import torch
from benchmarks.ops import checks

from gaussflow.ops import _spline as module
from gaussflow.ops import _spline_traced
from gaussflow.ops._spline import rq_spline, rq_spline_inverse
from gaussflow.ops._spline_search import bin_index, take

FORMS = {rq_spline: _spline_traced.forward, rq_spline_inverse: _spline_traced.inverse}
REFERENCE = {rq_spline: module._forward, rq_spline_inverse: module._backward}
both = pytest.mark.parametrize("f", FORMS)


def traced(f):
    """Compiled as far as the graph goes: whether the form is taken is decided while it is made."""
    torch.compiler.reset()
    return torch.compile(f, fullgraph=True, backend="eager")


def points(n=101, reach=30.0, dtype=torch.float32):
    return torch.linspace(-reach, reach, n, dtype=dtype)[:, None].expand(n, checks.SPREAD).contiguous()


def counted(f, monkeypatch):
    calls = []
    name = "forward" if f is rq_spline else "inverse"
    plain = getattr(_spline_traced, name)
    monkeypatch.setattr(_spline_traced, name, lambda *a: (calls.append(1), plain(*a))[1])
    return calls


@both
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own tables"])
def test_the_promised_digits_over_the_whole_domain(f, own):
    x, tables = points(4001), checks.spline_tables()
    if own:
        tables = tuple(t[:, None].expand(-1, *x.shape).contiguous() for t in tables)
    assert checks.values_error(FORMS[f], (x, *tables)) < checks.VALUES
    with torch.no_grad():
        double = [t.double() for t in (x, *tables)]
        for mine, theirs in zip(FORMS[f](*double), REFERENCE[f](*double), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@both
def test_a_compiler_takes_it_for_values_and_the_reference_for_gradients(f, monkeypatch):
    calls = counted(f, monkeypatch)
    x, tables = points(), checks.spline_tables()
    with torch.no_grad():
        values = traced(f)(x, *tables)
    assert len(calls) == 1
    leaves = [t.clone().requires_grad_() for t in (x, *tables)]
    by_graph = torch.autograd.grad(sum(v.sum() for v in traced(f)(*leaves)), leaves)
    by_rows = torch.autograd.grad(sum(v.sum() for v in REFERENCE[f](*leaves)), leaves)
    for mine, theirs in zip(by_graph, by_rows, strict=True):
        torch.testing.assert_close(mine, theirs)
    half = [t.to(torch.bfloat16) for t in (x, *tables)]
    with torch.no_grad():
        assert all(v.dtype == torch.bfloat16 for v in traced(f)(*half))
        long = tuple(torch.linspace(-4, 4, 64)[:, None].expand(64, checks.SPREAD) for _ in range(2))
        traced(f)(x, *long, torch.ones(64, checks.SPREAD))
    assert len(calls) == 1
    for mine, theirs in zip(values, REFERENCE[f](x, *tables), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-6, atol=2e-6)


@both
def test_compiled_to_code_whole_with_rows_of_any_number(f):
    torch.compiler.reset()
    tables = checks.spline_tables()
    compiled = torch.compile(lambda x: f(x, *tables), fullgraph=True, dynamic=True)
    with torch.no_grad():
        for n in (5, 101, 32):
            x = points(n)
            for mine, theirs in zip(compiled(x), f(x.double(), *(t.double() for t in tables)), strict=True):
                assert ((mine - theirs).abs() / (1 + theirs.abs())).max() < checks.VALUES
    torch.compiler.reset()


@both
def test_transformations_inside_of_a_graph_see_the_reference(f, monkeypatch):
    calls = counted(f, monkeypatch)
    x, tables = points(dtype=torch.float64)[:5], tuple(t.double() for t in checks.spline_tables())
    slope = f(x, *tables)[1].exp()

    def values(x):
        return f(x, *tables)[0]

    by_rows = traced(lambda x: torch.func.vmap(torch.func.jacrev(values))(x))(x)
    torch.testing.assert_close(by_rows.diagonal(dim1=-2, dim2=-1), slope)
    whole = traced(lambda x: torch.func.jacfwd(values)(x))(x)
    torch.testing.assert_close(whole.flatten(2).flatten(0, 1).diagonal().view_as(slope), slope)
    assert not calls


@both
def test_edges(f):
    """Bins of no width at an end and in the middle, steep and huge ones, far points, one bin alone, no rows, a NaN."""
    form = FORMS[f]
    xs, zs, slopes = checks.spline_tables()
    xs, zs, slopes = (torch.cat([t[:4], t[3:4], t[4:], t[-1:]]) for t in (xs, zs, slopes))
    x = torch.cat([points(), xs, zs, torch.full((1, checks.SPREAD), -3e38)])
    assert all(bool(v.isfinite().all()) for v in form(torch.full_like(x, torch.inf), xs, zs, slopes))
    for mine, theirs in zip(form(x, xs, zs, slopes), REFERENCE[f](x, xs, zs, slopes), strict=True):
        assert bool(mine.isfinite().all())
        torch.testing.assert_close(mine, theirs, rtol=3e-6, atol=3e-6)
    g = torch.Generator().manual_seed(0)
    logs = [20 * (2 * torch.rand(9, 200, generator=g) - 1) for _ in range(3)]
    steep = logs[0].exp().cumsum(0) - 1, logs[1].exp().cumsum(0) - 1, logs[2].exp()
    x = torch.tensor([0.0, 1e-30, -3.0, 1e8, 1e30, -1e30, 3e38])[:, None].expand(-1, 200)
    assert all(bool(v.isfinite().all()) for v in form(x, *steep))
    huge = xs, 1e25 * zs, 1e25 * slopes
    x = points() if f is rq_spline else 1e25 * points()
    for mine, theirs in zip(form(x, *huge), REFERENCE[f](x, *huge), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=3e-6, atol=3e-6)
    two = tuple(t[[0, -1]] for t in checks.spline_tables())
    for mine, theirs in zip(form(points(), *two), REFERENCE[f](points(), *two), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=3e-6, atol=3e-6)
    assert form(points()[:0], *two)[0].shape == (0, checks.SPREAD)
    bad = points()
    bad[7, 1] = torch.nan
    assert all(int(v.isnan().sum()) == 1 for v in form(bad, *checks.spline_tables()))


def test_its_logarithm_over_all_slopes():
    x = torch.cat([torch.logspace(-37.9, 38.5, 200_001), torch.linspace(0.5, 2, 200_001)])
    x = torch.cat([x, torch.tensor([1.0, 0.5**0.5, 2**0.5]), 1 + torch.tensor([-1.0, 1.0]) * 2**-23])
    exact = x.double().log()
    assert ((_spline_traced._log(x) - exact).abs() <= 1.2e-7 * exact.abs()).all()
    least = torch.finfo(torch.float32).tiny
    edges = _spline_traced._log(torch.tensor([-1.0, 0.0, 1e-45, torch.inf, torch.nan]))
    expected = torch.tensor([least, least, least, torch.inf, torch.nan]).log()
    torch.testing.assert_close(edges, expected, rtol=2e-7, atol=0, equal_nan=True)


@pytest.mark.parametrize("count", range(2, _spline_traced.MOST_KNOTS + 1))
def test_its_bins_are_those_of_an_index(count):
    g = torch.Generator().manual_seed(count)
    knots, others = torch.rand(count, 3, generator=g).cumsum(0), torch.rand(count, 3, generator=g)
    knots[count // 2] = knots[count // 2 - 1]  # a bin of no width
    between = torch.rand(40, 3, generator=g) * knots[-1]
    x = torch.cat([knots, between, knots[:1] - 1, knots[-1:] + 1, torch.full((1, 3), torch.nan)])
    index = bin_index(x, knots)
    expected = [take(table, index + end) for table in (knots, others) for end in (0, 1)]
    for mine, theirs in zip(_spline_traced._ends(x, knots, others), expected, strict=True):
        assert torch.equal(mine.expand_as(theirs), theirs)

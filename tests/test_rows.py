"""Rows: sums, ranges, samples and splits that do not depend on the engine, and doors that say what they want."""

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import gaussflow.rows._chunks as chunks_module
from gaussflow import ChunkRows, TensorRows, as_rows
from gaussflow.rows import CHUNK_ELEMENTS, Rows

F64 = torch.float64


class Counted:
    """A source that counts how often it is gone through, and how many rows are alive at once."""

    def __init__(self, x: Tensor, context: Tensor | None = None, size: int = 64) -> None:
        self.x, self.context, self.size, self.passes = x, context, size, 0

    def __iter__(self):
        self.passes += 1
        for i in range(0, len(self.x), self.size):
            x = self.x[i : i + self.size]
            yield x if self.context is None else (x, self.context[i : i + self.size])


class Affine:
    """A map that counts the rows it has seen."""

    def __init__(self, scale: float) -> None:
        self.scale, self.seen = scale, 0

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.seen += len(x)
        return x * self.scale + 1 + (0 if context is None else context[:, :1]), x[:, 0]


@pytest.fixture(params=["plain", "context"])
def data(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor | None]:
    x = torch.randn(1000, 3, dtype=F64)
    return x, torch.randn(1000, 2, dtype=F64) if request.param == "context" else None


DERIVED = {
    "itself": lambda rows: rows,
    "through": lambda rows: rows.through(Affine(2.0)),
    "through twice": lambda rows: rows.through(Affine(2.0)).through(Affine(-3.0)),
    "first part": lambda rows: rows.split(0.3, seed=4)[0],
    "second part": lambda rows: rows.split(0.3, seed=4)[1],
    "part of a part": lambda rows: rows.split(0.3)[0].split(0.5, seed=1)[1],
    "part, through": lambda rows: rows.split(0.3)[1].through(Affine(2.0)),
    "through, part": lambda rows: rows.through(Affine(2.0)).split(0.3)[1],
    "through, part, through": lambda rows: rows.through(Affine(2.0)).split(0.3)[1].through(Affine(0.1)),
}


@pytest.mark.parametrize("derive", DERIVED.values(), ids=DERIVED)
@pytest.mark.parametrize("keep", [2**30, 0], ids=["kept", "recomputed"])
def test_engines_agree(derive, keep, data, monkeypatch) -> None:
    monkeypatch.setattr(chunks_module, "KEEP_BYTES", keep)
    x, context = data
    whole, parts = derive(as_rows(x, context)), derive(as_rows(Counted(x, context)))
    assert isinstance(whole, TensorRows)
    assert isinstance(parts, ChunkRows)
    assert (whole.n, whole.dim, whole.context_dim, whole.dtype) == (parts.n, parts.dim, parts.context_dim, parts.dtype)
    for a, b in zip(everything(whole), everything(parts), strict=True):
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-12)


def everything(rows: Rows) -> list[Tensor]:
    """All that an engine can say about its rows."""
    c = [torch.cat([c for _, c in rows.chunks()])] if rows.context_dim else []
    samples = [t for size in (1, 17, rows.n - 1, rows.n, 10**6) for t in rows.sample(size, seed=3) if t is not None]
    return [
        torch.cat([x for x, _ in rows.chunks()]),
        *c,
        *rows.sum(lambda x, c: (x.sum(0), x.T @ x, torch.tensor(float(len(x))), x[:, 0].exp().sum())),
        *rows.range(),
        *rows.mean_and_covariance(),
        *samples,
    ]


def test_sums_ranges_and_moments_are_those_of_numpy(data) -> None:
    x, context = data
    rows = as_rows(x.float(), None if context is None else context.float())
    exact = x.float().double()
    (total,) = rows.sum(lambda x, c: (x.sum(0),))
    mean, covariance = rows.mean_and_covariance()
    assert total.dtype == mean.dtype == covariance.dtype == F64
    torch.testing.assert_close(total, exact.sum(0))
    torch.testing.assert_close(mean, exact.mean(0))
    torch.testing.assert_close(covariance, torch.from_numpy(np.cov(exact.numpy().T, bias=True)))
    low, high = rows.range()
    assert torch.equal(low, exact.amin(0))
    assert torch.equal(high, exact.amax(0))


def test_sum_gives_context_in_float64() -> None:
    seen = []
    as_rows(torch.zeros(9, 3), torch.ones(9, 2)).sum(lambda x, c: (seen.append((x.dtype, c.dtype)) or c.sum(0),))
    assert set(seen) == {(F64, F64)}


def test_covariance_has_no_cancellation_at_an_offset_of_1e8() -> None:
    x = torch.randn(5000, 3, dtype=F64)
    _, covariance = as_rows(x + 1e8).mean_and_covariance()
    torch.testing.assert_close(covariance, as_rows(x).mean_and_covariance()[1], atol=1e-7, rtol=1e-7)


def test_many_chunks_in_memory() -> None:
    x = torch.randn(CHUNK_ELEMENTS // 4 + 5, 8)
    sizes = [len(part) for part, _ in as_rows(x).chunks()]
    assert len(sizes) > 2
    assert sum(sizes) == len(x)
    assert max(sizes) * 8 <= CHUNK_ELEMENTS
    assert [len(part) for part, _ in as_rows([x]).chunks()] == sizes
    torch.testing.assert_close(as_rows(x).sum(lambda x, c: (x.sum(0),))[0], x.double().sum(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
def test_every_floating_dtype(dtype: torch.dtype) -> None:
    x = torch.randn(50, 3).to(dtype)
    for rows in (as_rows(x), as_rows([x[:20], x[20:]])):
        assert rows.dtype == rows.sample(5)[0].dtype == dtype
        torch.testing.assert_close(rows.mean_and_covariance()[0], x.double().mean(0))
        assert torch.equal(rows.range()[1], x.double().amax(0))


def test_rows_ask_for_no_gradient() -> None:
    x = torch.randn(50, 3, requires_grad=True)
    weight = torch.ones(3, requires_grad=True)
    for rows in (as_rows(x), as_rows([x[:20], x[20:]])):
        assert not rows.sum(lambda x, c: ((x * weight).sum(0),))[0].requires_grad
        assert not rows.sample(5)[0].requires_grad
        assert not rows.range()[0].requires_grad
        assert not next(iter(rows.through(lambda x, c: (x * weight, x[:, 0])).chunks()))[0].requires_grad


@pytest.mark.parametrize("keep", [2**30, 0], ids=["kept", "recomputed"])
def test_going_through_chunks_leaves_the_grad_mode_alone(keep, monkeypatch) -> None:
    monkeypatch.setattr(chunks_module, "KEEP_BYTES", keep)
    for rows in (as_rows(torch.randn(9, 3)), as_rows([torch.randn(9, 3)] * 3)):
        for _ in rows.through(Affine(2.0)).chunks():
            assert torch.is_grad_enabled()


def test_through_leaves_the_data_alone() -> None:
    x = torch.randn(50, 3)
    before = x.clone()
    as_rows(x).through(lambda x, c: (x.mul(2), x[:, 0]))
    assert torch.equal(x, before)


def test_what_does_not_fit_costs_one_pass_over_the_source_and_no_more(monkeypatch) -> None:
    monkeypatch.setattr(chunks_module, "KEEP_BYTES", 0)
    source, maps = Counted(torch.randn(1000, 3)), [Affine(1.1) for _ in range(5)]
    rows = as_rows(source)
    assert source.passes == 1
    for transform in maps:
        rows = rows.through(transform)
    assert source.passes == 1
    assert [m.seen for m in maps] == [0] * 5
    rows.range()
    assert source.passes == 2
    assert [m.seen for m in maps] == [1000] * 5
    rows.sample(10)
    assert source.passes == 3
    assert [m.seen for m in maps] == [1010] * 5, "a sample maps the rows it takes only"
    _, second = rows.split(0.25)
    assert source.passes == 3
    second.range()
    assert [m.seen for m in maps] == [1010 + second.n] * 5


def test_what_fits_is_kept() -> None:
    source, transform = Counted(torch.randn(1000, 3)), Affine(2.0)
    rows = as_rows(source).through(transform)
    rows.range(), rows.range(), rows.sample(5)
    assert source.passes == 2
    assert transform.seen == 1000


def test_split_is_disjoint_whole_and_of_the_asked_size() -> None:
    x = torch.arange(20000, dtype=F64)[:, None]
    for fraction in (0.01, 0.3, 0.9):
        first, second = as_rows(x).split(fraction, seed=1)
        a, b = (torch.cat([x for x, _ in part.chunks()]).flatten() for part in (first, second))
        assert torch.equal(torch.cat([a, b]).sort().values, x.flatten())
        assert abs(second.n - 20000 * fraction) < 5 * (20000 * fraction * (1 - fraction)) ** 0.5
    one, other = (as_rows(x).split(0.5, seed=seed)[1].sample(10**6)[0].flatten().tolist() for seed in (1, 2))
    assert abs(len(set(one) & set(other)) - 5000) < 5 * 3750**0.5, "seeds choose independently"


def test_sample_is_uniform_and_without_replacement() -> None:
    x = torch.arange(50, dtype=F64)[:, None]
    counts = torch.zeros(50)
    for seed in range(2000):
        taken = as_rows(x).sample(10, seed)[0].long().flatten()
        assert len(taken.unique()) == 10
        assert bool((taken.diff() > 0).all())
        counts[taken] += 1
    assert (counts - 400).abs().max() < 5 * (2000 * 0.2 * 0.8) ** 0.5


def test_a_data_loader_is_chunks() -> None:
    x, c = torch.randn(50, 3), torch.randn(50, 2)
    rows = as_rows(DataLoader(TensorDataset(x, c), batch_size=8))
    assert (rows.n, rows.dim, rows.context_dim) == (50, 3, 2)
    torch.testing.assert_close(rows.sample(50)[1], c)
    assert as_rows(DataLoader(TensorDataset(x), batch_size=8)).context_dim == 0


def test_rows_go_as_they_are() -> None:
    rows = as_rows(torch.randn(5, 3))
    assert as_rows(rows) is rows


def test_rows_can_be_pickled() -> None:
    rows = pickle.loads(pickle.dumps(as_rows([torch.randn(5, 3)])))
    assert rows.n == 5


class Once:
    """A source that starts anew in name only."""

    def __init__(self, *chunks: Tensor) -> None:
        self.iterator = iter(chunks)

    def __iter__(self):
        return self.iterator


x = torch.randn(4, 3)
BAD = {
    "integers": (lambda: as_rows(torch.arange(12).reshape(4, 3)), TypeError, r"floating numbers; got x of torch.int64"),
    "one axis": (lambda: as_rows(torch.randn(3)), ValueError, r"shape \(N, D\); got \(3,\)"),
    "three axes": (lambda: as_rows(torch.randn(4, 3, 2)), ValueError, r"shape \(N, D\); got \(4, 3, 2\)"),
    "no columns": (lambda: as_rows(torch.randn(4, 0)), ValueError, r"shape \(N, D\); got \(4, 0\)"),
    "no rows": (lambda: as_rows(torch.randn(0, 3)), ValueError, "at least one row; got none"),
    "no chunks": (lambda: as_rows([]), ValueError, "at least one chunk; got none"),
    "empty chunks": (lambda: as_rows([x[:0]]), ValueError, "at least one row; got none"),
    "a number": (lambda: as_rows(3), TypeError, r"a tensor \(N, D\) or chunks of it; got int"),
    "an array": (lambda: as_rows(np.zeros((4, 3))), TypeError, "torch.Tensor; got x of ndarray"),
    "lists": (lambda: as_rows([[1.0, 2.0]]), TypeError, "torch.Tensor; got x of float"),
    "an iterator": (lambda: as_rows(iter([x])), TypeError, "several times; got list_iterator"),
    "a generator": (lambda: as_rows(x for x in [x]), TypeError, "several times; got generator"),
    "once": (lambda: as_rows(Once(x, x)).range(), ValueError, "got 8 rows in the first pass and 0 in a later one"),
    "three things": (lambda: as_rows([(x, x, x)]), TypeError, r"pairs \(x, context\); got a tuple of 3"),
    "nan": (lambda: as_rows(torch.tensor([[1.0, 2], [3, torch.nan]])), ValueError, "first in row 1, column 1"),
    "late nan": (lambda: as_rows([x, x / 0]), ValueError, "12 NaN or infinite in x, the first in row 4, column 0"),
    "infinity": (lambda: as_rows(torch.tensor([[1.0, -torch.inf]])), ValueError, "first in row 0, column 1"),
    "context nan": (lambda: as_rows(x, x / 0), ValueError, "12 NaN or infinite in context"),
    "context length": (lambda: as_rows(x, x[:2]), ValueError, r"\(4, C\); got context of shape \(2, 3\)"),
    "context integers": (lambda: as_rows(x, x.long()), TypeError, "got context of torch.int64"),
    "context twice": (lambda: as_rows([x], x), ValueError, "context beside a tensor only; got it beside list"),
    "context and rows": (lambda: as_rows(as_rows(x), x), ValueError, "beside TensorRows, which brings its own"),
    "widths": (lambda: as_rows([x, x[:, :2]]), ValueError, r"got \(3, 0, .*then \(2, 0, .*from row 4 on"),
    "dtypes": (lambda: as_rows([x, x.double()]), ValueError, r"float32.*then.*float64"),
    "some context": (lambda: as_rows([(x, x), x]), ValueError, r"got \(3, 3, .*then \(3, 0, "),
    "fraction": (lambda: as_rows(x).split(1.0), ValueError, "between 0 and 1; got 1.0"),
    "empty side": (lambda: as_rows(x[:1]).split(0.5), ValueError, r"rows on both sides; got \d and \d of 1 rows"),
    "split seed": (lambda: as_rows(x).split(0.5, -1), ValueError, "seed of at least 0; got -1"),
    "size": (lambda: as_rows(x).sample(0), ValueError, "size of at least 1; got 0"),
    "map to nan": (lambda: as_rows(x).through(lambda x, c: (x / 0, x[:, 0])), ValueError, "gave a NaN or an infinity"),
    "shuffled": (lambda: as_rows(DataLoader(TensorDataset(x), shuffle=True)), ValueError, "DataLoader that shuffles"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "error", "text"), BAD.values(), ids=BAD)
def test_doors(make, error, text) -> None:
    with pytest.raises(error, match=text):
        make()

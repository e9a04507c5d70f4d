"""Rows through a chain in pieces: the rows at once, their memory, and when they do not go that way."""

import pytest
import torch
from benchmarks.ops.clock import peak_bytes

from cases import CASES, D
from gaussflow import Chain, HadamardRotation, Inverse, MarginalSpline, Permutation, Rotation, Standardize, Whiten, haar
from gaussflow.transforms import _splines, _steady
from states import in_state, table

F32, F64 = torch.float32, torch.float64
READY = {"HadamardRotation", "MarginalSpline", "Permutation", "Rotation of haar axes", "Standardize", "Whiten"}


@pytest.fixture
def pieces(monkeypatch):
    """Few rows go in pieces, too; how many maps each group of parts had."""
    seen, plain = [], _steady._in_pieces
    monkeypatch.setattr(_steady, "FEWEST", 1)
    monkeypatch.setattr(_steady, "PIECE", 7 * D)
    monkeypatch.setattr(_steady, "ROWS", 2)
    monkeypatch.setattr(_splines, "CHUNK", 5 * D * F32.itemsize)  # and a piece in two
    monkeypatch.setattr(
        _steady, "_in_pieces", lambda group, *a, **k: (seen.append(len(group)), plain(group, *a, **k))[1]
    )
    return seen


def at_once(f, *given):
    """What f gives where gradients are taken."""
    with torch.enable_grad():
        return [t.detach() for t in f(*given)]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", CASES)
def test_rows_in_pieces_are_the_rows_at_once(name, dtype, pieces):
    """Any part between rotations, forward and back, itself or in a chain, in groups or each on its own."""
    part = in_state(name, "fitted", dtype)
    turn = Rotation(D, haar(D, torch.Generator().manual_seed(0)), dtype=dtype)
    chain = Chain(turn, Chain(part, Permutation([1, 2, 3, 4, 0])), Inverse(turn), Standardize(D, dtype=dtype))
    x, context = table(61, dtype=dtype)
    kept = x.clone()
    tolerance = 2e-4 if dtype == F32 else 1e-9
    for f in (chain, chain.inverse):
        for mine, theirs in zip(f(x, context), at_once(f, x, context), strict=True):
            torch.testing.assert_close(mine, theirs, atol=tolerance, rtol=tolerance)
    assert torch.equal(x, kept)
    assert pieces


def test_parts_that_are_ready_go_together(pieces):
    for name in sorted(READY):
        pieces.clear()
        chain, x = Chain(*(in_state(name, "fitted") for _ in range(3))), table(30)[0]
        with torch.no_grad():
            chain(x)
            chain.inverse(x)
        assert pieces == [3, 3], name


@torch.no_grad()
def test_large_parts_go_one_by_one(pieces, monkeypatch):
    """So that tables of few parts are held at a time; the rows that one has written the next writes over."""
    monkeypatch.setattr(_steady, "HELD", 60)
    chain = Chain(*(Rotation(D, haar(D, torch.Generator().manual_seed(i))) for i in range(3))).double()
    x = table(30)[0]
    torch.testing.assert_close(chain(x)[0], at_once(chain, x)[0])
    assert pieces == [1, 1, 1]


def test_only_rows_without_gradients_go_in_pieces(pieces):
    chain, x = Chain(Whiten(D), Standardize(D)), table(30, dtype=F32)[0]
    chain(x)
    with torch.no_grad():
        chain(x[0])
        chain(x.view(5, 6, D))
        torch.func.vmap(chain)(x)
        torch.func.jvp(chain, (x,), (x,))
        with torch.autocast("cpu"):
            chain(x)
        assert not pieces
        chain(x)
    assert pieces == [2]


@torch.no_grad()
def test_what_watches_or_changes_a_map_is_heeded(pieces):
    """A hook sees all rows, and a subclass with a map of its own keeps it."""

    class Shifted(Rotation):
        def forward(self, x, context=None):
            z, ladj = super().forward(x, context)
            return z + 1, ladj

    x = table(30, dtype=F32)[0]
    chain = Chain(Standardize(D), Shifted(D), Chain(Standardize(D)))
    torch.testing.assert_close(chain(x)[0], x + 1)
    assert pieces == [1, 1]
    seen = []
    for part in (chain[0], chain[2]):
        part.register_forward_hook(lambda part, given, out: seen.append(len(given[0])))
    chain(x)
    assert seen == [30, 30]


@torch.no_grad()
def test_rows_that_a_part_hands_on_are_not_written_over(pieces):
    class Same(Permutation):
        def forward(self, x, context=None):
            return x, x.new_zeros(len(x))

    x = table(30, dtype=F32)[0]
    kept = x.clone()
    z = Chain(Same([0, 1, 2, 3, 4]), Permutation([1, 0, 2, 3, 4]))(x)[0]
    assert torch.equal(x, kept)
    assert torch.equal(z, kept[:, [1, 0, 2, 3, 4]])


@torch.no_grad()
def test_wrong_dtypes_are_named_by_the_part_that_minds(pieces):
    with pytest.raises(TypeError, match="Whiten"):
        Chain(Standardize(D, dtype=F64), Whiten(D))(table(30)[0])


@torch.no_grad()
def test_extreme_rows_stay_finite_and_a_nan_stays_in_its_row(pieces):
    parts = [in_state(name, "fitted", F32) for name in ("MarginalSpline", "Whiten", "MarginalSpline of 32 knots")]
    chain, x = Chain(*parts), table(30, dtype=F32)[0]
    x[3], x[9, 2], x[20] = 1e30, torch.nan, -1e30
    for f in (chain, chain.inverse):
        for value in f(x):
            lost = value.isnan() if value.dim() == 1 else value.isnan().any(-1)
            assert lost.tolist() == [i == 9 for i in range(30)]


@torch.no_grad()
def test_a_spline_too_steep_for_its_tables_goes_by_plain_torch(pieces):
    spline = MarginalSpline(D, 8)
    spline.log_widths[3] = -1e9
    chain, x = Chain(spline, HadamardRotation(D, generator=torch.Generator().manual_seed(0))), table(30, dtype=F32)[0]
    for f in (chain, chain.inverse):
        for mine, theirs in zip(f(x), at_once(f, x), strict=True):
            torch.testing.assert_close(mine, theirs)


@torch.no_grad()
def test_memory_is_the_result_and_some_pieces():
    """The rows at once are held four times and more."""
    dim = 16
    x = torch.randn(100_000, dim, generator=torch.Generator().manual_seed(0))
    chain = Chain(*(Chain(Rotation(dim), MarginalSpline(dim, 8)) for _ in range(3)))
    for f in (chain, chain.inverse):
        assert peak_bytes(lambda f=f: f(x)) < 2 * x.numel() * x.element_size()

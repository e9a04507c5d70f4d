"""The contract of a fit: any table gives a finite valid map, and whole = chunks (ranks are in test_ranks.py)."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import gaussflow.rows._chunks as chunks_module
from cases import CASES, MARGINAL, D, make
from gaussflow import Transform
from states import table

F64, F32 = torch.float64, torch.float32


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(5))


def one_constant_column() -> Tensor:
    x = table(200)[0]
    x[:, 2] = 4.2
    return x


def one_outlier() -> Tensor:
    return torch.cat([normal(199, D), torch.full((1, D), 1e6, dtype=F64)])


NASTY: dict[str, Callable[[], Tensor]] = {
    "ties": lambda: table(200)[0].round(),
    "two values": lambda: (table(200)[0] > 0).double(),
    "a constant column": one_constant_column,
    "all constant": lambda: torch.full((50, D), -3.7, dtype=F64),
    "all zero": lambda: torch.zeros(50, D, dtype=F64),
    "two rows": lambda: table(2)[0],
    "two equal rows": lambda: table(1)[0].expand(2, D),
    "one row": lambda: table(1)[0],
    "three rows": lambda: table(3)[0],
    "a column twice": lambda: table(200)[0][:, [0, 1, 2, 3, 0]],
    "offset of 1e8": lambda: table(200)[0] + 1e8,
    "Cauchy": lambda: torch.tan(
        torch.pi * (torch.rand(500, D, dtype=F64, generator=torch.Generator().manual_seed(1)) - 0.5)
    ),
    "one outlier": one_outlier,
    "tiny": lambda: table(200)[0] * 1e-6,
    "huge": lambda: table(200)[0] * 1e6,
    "mostly zeros": lambda: table(200)[0] * (torch.arange(200) % 10 == 0)[:, None],
}
every_case = pytest.mark.parametrize("name", CASES)
every_nasty = pytest.mark.parametrize("nasty", NASTY)


def context_for(x: Tensor) -> Tensor:
    return table(len(x))[1].to(x.dtype)


def around(x: Tensor) -> Tensor:
    """The rows, rows between them, and rows beyond them."""
    centre, spread = x.mean(0), x.std(0, correction=0)
    near = centre + spread * normal(20, D).to(x.dtype)
    return torch.cat(
        [x[:100], near, centre + 20 * spread * normal(20, D).to(x.dtype), centre + normal(20, D).to(x.dtype)]
    )


def check_valid(f: Transform, x: Tensor, tolerance: float) -> None:
    """Finite both ways on and around the rows, and back within ``tolerance`` of each coordinate's scale."""
    x, context = around(x), context_for(around(x))
    z, ladj = f(x, context)
    back, ladj_back = f.inverse(z, context)
    for numbers in (z, ladj, back, ladj_back):
        assert torch.isfinite(numbers).all()
    error = (back - x).abs() / x.abs().amax(0).clamp(min=1)
    assert error.max() < tolerance


@every_case
@every_nasty
def test_fit_gives_a_valid_map(name: str, nasty: str) -> None:
    x = NASTY[nasty]()
    check_valid(make(name).fit(x, context_for(x)), x, 1e-9)


@every_case
@every_nasty
def test_fit_gives_a_valid_map_in_float32(name: str, nasty: str) -> None:
    x = NASTY[nasty]().float()
    check_valid(make(name, F32).fit(x, context_for(x)), x, 1e-2)


@pytest.mark.parametrize("name", MARGINAL)
@every_nasty
def test_marginal_maps_rise_in_their_own_coordinate_only(name: str, nasty: str) -> None:
    x = NASTY[nasty]()
    f = make(name).fit(x, context_for(x))
    low, high = x.amin(0), x.amax(0)
    width = (high - low).clamp(min=1e-3)
    grid = (low - width) + 3 * width * torch.linspace(0, 1, 1001, dtype=F64)[:, None]
    z, _ = f(grid)
    steps = grid.diff(dim=0) > 0  # an offset of 1e8 leaves few digits: equal inputs give equal outputs
    assert (z.diff(dim=0)[steps] > 0).all()
    assert (z.diff(dim=0)[~steps].abs() < 1e-12).all()
    shuffled = torch.stack([grid[:, j].roll(j) for j in range(D)], -1)
    z_shuffled, _ = f(shuffled)
    torch.testing.assert_close(z_shuffled, torch.stack([z[:, j].roll(j) for j in range(D)], -1), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in MARGINAL if name != "MixtureFlow"])  # which is trained only
def test_marginal_maps_send_the_data_to_zero_and_one(name: str) -> None:
    x, context = table(2000)
    z, _ = make(name).fit(x, context)(x, context)
    assert (z.mean(0).abs() < 0.15).all()
    assert ((z.std(0) - 1).abs() < 0.15).all()


def agree(one: Transform, other: Transform, tolerance: float = 1e-9) -> None:
    """Two fits of the same rows hold the same numbers up to rounding."""
    for (key, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda m, key=key: f"{key}: {m}")


class Stream:
    """Chunks of uneven sizes, one of them empty, made anew at each pass as a file reader would."""

    def __init__(self, x: Tensor, context: Tensor) -> None:
        self.parts = [t.tensor_split([7, 7, 100, 101, 250]) for t in (x, context)]

    def __iter__(self):
        return iter(zip(*self.parts, strict=True))


@every_case
@pytest.mark.parametrize("keep", [2**30, 0], ids=["kept", "recomputed"])
def test_chunks_are_the_whole(name: str, keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "KEEP_BYTES", keep)
    x, context = table(400)
    whole = make(name).fit(x, context)
    agree(whole, make(name).fit(Stream(x, context)))


@every_case
def test_chunks_are_the_whole_on_ties(name: str) -> None:
    x, context = table(400)
    agree(make(name).fit(x.round(), context), make(name).fit(Stream(x.round(), context)))


@every_case
def test_fit_forgets_the_fit_before(name: str) -> None:
    f = make(name).fit(table(100, seed=9)[0] * 3 + 7, table(100, seed=9)[1])
    agree(make(name).fit(*table()), f.fit(*table()), tolerance=1e-6)

"""Growing: exact bookkeeping, held-out stopping, resumption, and clear refusals."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gaussflow import (
    Chain,
    Flow,
    History,
    MarginalSpline,
    MarginalTable,
    Rotation,
    Standardize,
    Transform,
    as_rows,
    grow,
    haar,
)
from gaussflow.rows import Data, _tensor
from gaussflow.training._measures import gain_and_error, gained_and_through


def banana(n: int, seed: int) -> Tensor:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.stack([x[:, 0], x[:, 1] * 0.5 + x[:, 0].square(), x[:, 2]], 1)


def make_block(index: int, generator: torch.Generator) -> Transform:
    return Chain(Rotation(3, haar(3, generator)), MarginalSpline(3, 16))


def grown(blocks: int = 6, **options: object) -> tuple[Flow, History]:
    settings = {"valid": banana(500, 2), "max_blocks": blocks, "progress": False} | options
    return grow(make_block, banana(2000, 1), **settings)  # type: ignore[arg-type]


def test_the_history_says_what_the_flow_gives() -> None:
    flow, history = grown()
    nats = -flow.log_prob(banana(500, 2)).mean().item()
    kept = [record for record in history if record["kept"]]
    assert kept[-1]["valid"] == pytest.approx(nats, abs=1e-10)
    assert len(kept) == len(flow.transform)
    assert kept[-1]["valid"] == min(history.column("valid"))
    first = history[0]["valid"] + history[0]["gain"]
    assert first - sum(r["gain"] for r in kept) == pytest.approx(nats, abs=1e-10)
    assert history.column("marginal_after")[:-1] == history.column("marginal_before")[1:]


@pytest.mark.parametrize("chunked", [False, True])
def test_held_out_rows_are_measured_and_pushed_at_once(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tensor, "MEASURED", 3 * 70)  # several pieces
    x = banana(500, 2)
    block = make_block(0, torch.Generator().manual_seed(0)).to(torch.float64).fit(x)
    rows = as_rows([x[:1], x[1:200], x[200:]] if chunked else x)
    gain, after = gained_and_through(block, rows)
    assert gain == pytest.approx(gain_and_error(block, rows)[0], rel=1e-12)
    torch.testing.assert_close(torch.cat([z for z, _ in after.chunks()]), block(x)[0].detach())
    with pytest.raises(ValueError, match="NaN"):
        gained_and_through(_Broken(3), rows)


class _Broken(Standardize):
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * torch.nan, x.new_zeros(len(x))


def test_blocks_buy_nats_and_marginal_losses_fall() -> None:
    flow, history = grown(30)
    gaussian = torch.distributions.MultivariateNormal(banana(2000, 1).mean(0), torch.cov(banana(2000, 1).T))
    fresh = banana(4000, 3)
    assert flow.log_prob(fresh).mean() > gaussian.log_prob(fresh).mean() + 0.3
    assert all(r["marginal_after"] < 0.1 for r in history)
    assert history[-1]["dependence"] < history[0]["dependence"]


def test_growing_stops_by_itself_and_cuts_off_what_does_not_help() -> None:
    noise = torch.randn(2000, 3).double()
    flow, history = grow(make_block, noise, patience=4, progress=False)
    assert len(history) < 20
    assert len(flow.transform) == sum(history.column("kept"))
    loss = -flow.log_prob(torch.randn(20_000, 3).double()).mean() - 1.5 * math.log(2 * math.pi * math.e)
    assert loss < 0.02


def test_blocks_that_over_fit_are_tried_and_cut_off() -> None:
    def greedy(index: int, generator: torch.Generator) -> Transform:
        return Chain(Rotation(3, haar(3, generator)), MarginalTable(3, 25))

    valid = banana(500, 1)
    flow, history = grow(greedy, banana(100, 0), valid=valid, max_blocks=40, patience=3, progress=False)
    nats = history.column("valid")
    assert len(history) < 40
    assert min(nats) < nats[-1]
    assert len(flow.transform) == 1 + nats.index(min(nats))
    assert -flow.log_prob(valid).mean().item() == pytest.approx(min(nats), abs=1e-9)


def test_a_block_that_only_turns_is_dropped() -> None:
    def turn(index: int, generator: torch.Generator) -> Transform:
        return Rotation(3, haar(3, generator)) if index % 2 else make_block(index, generator)

    flow, history = grow(turn, banana(2000, 1), valid=banana(500, 2), max_blocks=5, progress=False)
    assert history.column("kept")[:4] == [True, False, True, False]
    assert all(isinstance(part, Chain) for part in flow.transform)


def test_held_out_rows_are_not_fitted() -> None:
    seen: list[int] = []

    class Seen(Standardize):
        def fit(self, rows: Data, context: Tensor | None = None) -> "Seen":
            seen.append(as_rows(rows).n)
            return super().fit(rows, context)

    grow(lambda i, g: Seen(3), banana(1000, 1), max_blocks=1, progress=False)
    assert 850 < seen[0] < 950


def test_blocks_of_one_growth_differ() -> None:
    flow, _ = grown(3)
    assert not torch.allclose(flow.transform[0][0].base, flow.transform[1][0].base)


def test_one_seed_gives_one_flow_and_another_gives_another() -> None:
    flow, again, other = (grown(3, seed=seed)[0] for seed in (0, 0, 1))
    x = banana(10, 5)
    assert torch.equal(flow.log_prob(x), again.log_prob(x))
    assert not torch.equal(flow.log_prob(x), other.log_prob(x))


def test_rows_are_held_out_where_none_are_given() -> None:
    flow, history = grown(3, valid=None)
    assert len(history) == 3
    assert isinstance(flow, Flow)


def test_whole_and_chunks_give_the_same_flow() -> None:
    x, valid, probe = banana(2000, 1), banana(500, 2), banana(10, 5)
    whole, _ = grow(make_block, x, valid=valid, max_blocks=3, progress=False)
    chunks, _ = grow(make_block, list(x.split(333)), valid=list(valid.split(100)), max_blocks=3, progress=False)
    torch.testing.assert_close(whole.log_prob(probe), chunks.log_prob(probe), rtol=1e-9, atol=1e-9)


def test_growing_goes_on_from_a_checkpoint_as_if_never_stopped(tmp_path: Path) -> None:
    calls = 0

    def interrupted(index: int, generator: torch.Generator) -> Transform:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return make_block(index, generator)

    file = tmp_path / "growth"
    x, valid = banana(2000, 1), banana(500, 2)
    with pytest.raises(KeyboardInterrupt):
        grow(interrupted, x, valid=valid, max_blocks=6, progress=False, checkpoint=file)
    flow, history = grow(make_block, x, valid=valid, max_blocks=6, progress=False, checkpoint=file)
    straight, records = grown(6)
    assert torch.equal(flow.log_prob(valid), straight.log_prob(valid))
    for name in ("valid", "marginal_before", "dependence", "kept"):
        assert history.column(name) == records.column(name)
    again, _ = grow(make_block, x, valid=valid, max_blocks=6, progress=False, checkpoint=file)
    assert torch.equal(again.log_prob(valid), flow.log_prob(valid))


def test_a_checkpoint_of_other_rows_or_blocks_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "growth"
    grown(2, checkpoint=file)
    with pytest.raises(ValueError, match="other rows or another seed"):
        grown(2, checkpoint=file, seed=1)
    with pytest.raises(ValueError, match="does not fit these blocks"):
        grow(lambda i, g: Standardize(3), banana(2000, 1), valid=banana(500, 2), progress=False, checkpoint=file)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="cut short"):
        grown(2, checkpoint=file)


def test_a_flow_has_the_dtype_of_its_rows() -> None:
    flow, _ = grow(make_block, banana(500, 1).float(), max_blocks=2, progress=False)
    assert {p.dtype for p in flow.parameters()} == {torch.float32}
    assert flow.log_prob(banana(5, 2).float()).dtype == torch.float32


def test_what_cannot_be_grown_is_refused() -> None:
    x = banana(200, 1)
    with pytest.raises(ValueError, match="blocks of dimension 3"):
        grow(lambda i, g: Standardize(4), x, progress=False)
    with pytest.raises(TypeError, match="return a Transform"):
        grow(lambda i, g: torch.nn.Identity(), x, progress=False)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="valid rows of dimension 3"):
        grow(make_block, x, valid=torch.randn(5, 2).double(), progress=False)
    with pytest.raises(ValueError, match="too few rows"):
        grow(make_block, x[:1], progress=False)
    with pytest.raises(ValueError, match="max_blocks of at least 1"):
        grow(make_block, x, max_blocks=0, progress=False)
    with pytest.raises(ValueError, match="row 3, column 1"):
        grow(make_block, x.index_put((torch.tensor([3]), torch.tensor([1])), torch.tensor(torch.nan).double()))


@pytest.mark.parametrize("chunked", [False, True])
def test_rows_of_the_caller_are_left_as_they_are(chunked: bool) -> None:
    """What is fitted to is overwritten block by block, unless others hold it: with valid rows it is the caller's."""
    x, valid = banana(2000, 1), banana(500, 2)
    kept, kept_valid = x.clone(), valid.clone()
    rows = as_rows([x[:900], x[900:]] if chunked else x)
    for held_out in (valid, None):
        flow, _ = grow(make_block, rows, valid=held_out, max_blocks=3, progress=False)
        assert torch.equal(x, kept)
        assert torch.equal(valid, kept_valid)
        # each block was fitted to what those before it leave of the rows
        train = rows if held_out is not None else rows.split(0.1, 0)[0]
        parts = list(flow.transform)
        for i, block in enumerate(parts[1:], 1):
            before = Chain(*parts[:i])
            fresh = make_block(i, torch.Generator().manual_seed(i)).double().fit(train.through(before))
            assert all(torch.allclose(a, b) for a, b in zip(fresh.buffers(), block.buffers(), strict=True))

"""Training over two processes: the same steps as one process takes on the rows of both."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from gaussflow import (
    MLP,
    VAE,
    AffineCoupling,
    Chain,
    ConvDecoder,
    ConvEncoder,
    Flow,
    Gaussian,
    KLAnnealing,
    Permutation,
    RankRows,
    Standardize,
    train,
)


def coupled(seed: int) -> Flow:
    torch.manual_seed(seed)
    net = MLP(2, 4, (8,))
    return Flow(Chain(Standardize(4), AffineCoupling(4, [0, 1], net), Permutation([2, 3, 0, 1]))).double()


def table(n: int = 200) -> torch.Tensor:
    return torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).cumsum(1)


def full_batches(x: torch.Tensor, path: Path) -> dict[str, object]:
    """Two epochs of one step each on all rows: what one process must find too."""
    rows, valid = (RankRows(t) if dist.is_initialized() else t for t in (x, x[:50]))
    model = coupled(1 + (dist.get_rank() if dist.is_initialized() else 0))  # the weights start as those of rank 0
    history = train(model, rows, valid=valid, epochs=2, batch_size=10**6, lr=0.05, progress=False)
    return {"state": dict(model.state_dict()), "valid": history.column("valid"), "train": history.column("train")[1:]}


def small_batches(x: torch.Tensor, path: Path, epochs: int, checkpoint: bool) -> dict[str, object]:
    rank, model = dist.get_rank(), coupled(3)
    name = path / "checkpoint" if checkpoint else None
    history = train(model, RankRows(x), epochs=epochs, batch_size=30, checkpoint=name, lr=0.02, progress=not rank)
    return {"state": dict(model.state_dict()), "valid": history.column("valid")}


def averaged(x: torch.Tensor, path: Path, epochs: int, checkpoint: bool) -> dict[str, object]:
    """Batch statistics, which differ between ranks, and an average of the weights."""
    torch.manual_seed(3)
    encoder, decoder = ConvEncoder((1, 2, 2), 4, (3,)), ConvDecoder(2, (1, 2, 2), (3,))
    model = VAE((1, 2, 2), 2, encoder, decoder, Gaussian(), penalty=KLAnnealing(20)).double()
    name = path / "averaged" if checkpoint else None
    options = {"lr": 0.02, "ema": 0.9, "augment": noisy, "progress": False}
    history = train(model, RankRows(x), epochs=epochs, batch_size=30, checkpoint=name, **options)
    return {"state": dict(model.state_dict()), "valid": history.column("valid")}


def noisy(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return x + 0.1 * torch.randn(x.shape, generator=generator, dtype=x.dtype)


def poisoned(x: torch.Tensor) -> dict[str, object]:
    """A value that is not finite on one rank leaves the batch out on both."""
    model = coupled(4)
    if dist.get_rank():
        model.register_forward_hook(lambda m, i, out: out * torch.nan if m.training else out)
    try:
        train(model, RankRows(x), batch_size=10, progress=False)
    except FloatingPointError as error:
        return {"text": str(error), "state": dict(model.state_dict())}
    return {"text": "none"}


def on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    path = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{path / 'meet'}", rank=rank, world_size=2)
    x = table()
    share = x[:70] if rank == 0 else x[70:]
    none = x[:0] if rank == 0 else x
    outcome = {
        "full": full_batches(share, path),
        "an empty share": full_batches(none, path),
        "whole": small_batches(share, path, 4, checkpoint=False),
        "half": small_batches(share, path, 2, checkpoint=True),
        "resumed": small_batches(share, path, 4, checkpoint=True),
        "averaged whole": averaged(none, path, 4, checkpoint=False),
        "averaged half": averaged(none, path, 2, checkpoint=True),
        "averaged resumed": averaged(none, path, 4, checkpoint=True),
        "poisoned": poisoned(share),
    }
    torch.save(outcome, path / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("train_ranks")
    mp.spawn(on_rank, (os.fspath(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_full_batches_over_ranks_are_those_of_the_whole(outcomes: list[dict], tmp_path: Path) -> None:
    x = table()
    for name, valid in (("full", torch.cat([x[:50], x[70:120]])), ("an empty share", x[:50])):
        model = coupled(1)
        history = train(model, x, valid=valid, epochs=2, batch_size=10**6, lr=0.05, progress=False)
        for outcome in outcomes:
            torch.testing.assert_close(outcome[name]["state"], dict(model.state_dict()), atol=1e-10, rtol=1e-10)
            assert outcome[name]["valid"] == pytest.approx(history.column("valid"), abs=1e-10)
            assert outcome[name]["train"] == pytest.approx(history.column("train")[1:], abs=1e-10)


def test_ranks_stay_together_and_resume_to_the_bit(outcomes: list[dict]) -> None:
    one, two = outcomes
    assert one["whole"]["valid"][-1] < one["whole"]["valid"][0]
    for kind in ("", "averaged "):
        whole, half, resumed = (kind + key for key in ("whole", "half", "resumed"))
        for key in (whole, half, resumed):
            assert one[key]["valid"] == two[key]["valid"]
            assert all(torch.equal(v, two[key]["state"][k]) for k, v in one[key]["state"].items())
        assert one[resumed]["valid"] == one[whole]["valid"]
        assert one[whole]["valid"][-1] < one[whole]["valid"][0]
        assert all(torch.equal(v, one[whole]["state"][k]) for k, v in one[resumed]["state"].items())
    statistics = one["averaged whole"]["state"]["encoder.body.1.running_var"]
    assert (statistics - 1).abs().min() > 0.01  # those of the rank that has rows


def test_a_batch_that_is_not_finite_on_one_rank_is_left_out_on_both(outcomes: list[dict]) -> None:
    for outcome in outcomes:
        assert "10 batches in a row" in outcome["poisoned"]["text"]
        assert all(bool(v.isfinite().all()) for v in outcome["poisoned"]["state"].values())


def test_rows_and_valid_are_both_over_ranks_or_neither(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match="RankRows for both"):
            train(coupled(1), RankRows(table()), valid=table(), progress=False)
        history = train(coupled(1), RankRows(table()), epochs=1, progress=False)
        assert len(history) == 2
    finally:
        dist.destroy_process_group()

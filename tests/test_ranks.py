"""Rows spread over two processes: the same sums, samples and fits as the whole, under spawn and under torchrun."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

import ranks
from cases import CASES, make
from gaussflow import RankRows, as_rows
from states import table


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What the two ranks have saved; one start of processes for all tests."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(ranks.on_rank, (str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("engine", ["tensors", "chunks", "an empty share"])
def test_rows_over_ranks_are_the_whole(outcomes: list[dict], engine: str, rank: int) -> None:
    whole, over_ranks = ranks.describe(as_rows(*table(400))), outcomes[rank]["rows"][engine]
    assert over_ranks["n"] == whole["n"]
    for key in ("sum", "range", "moments", "samples"):
        torch.testing.assert_close(over_ranks[key], whole[key], atol=1e-11, rtol=1e-12)


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_refuse_together(outcomes: list[dict], rank: int) -> None:
    dims, dtypes, none, side = outcomes[rank]["rows"]["refusals"]
    assert "shares of one dimension" in dims
    assert "[[150, 4, 0, 8], [250, 3, 0, 8]]" in dims
    assert "[[150, 5, 0, 8], [250, 5, 0, 4]]" in dtypes
    assert none == "Rows wants at least one row; got none."
    assert "rows on both sides; got" in side


@pytest.mark.parametrize("name", CASES)
def test_fits_over_ranks_are_those_of_the_whole(outcomes: list[dict], name: str) -> None:
    whole = make(name).fit(*table(400)).state_dict()
    for outcome in outcomes:
        for key, numbers in outcome["fits"][name].items():
            torch.testing.assert_close(numbers, whole[key], atol=1e-9, rtol=1e-9, msg=lambda m, k=key: f"{k}: {m}")


def test_under_torchrun(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run([*torchrun, ranks.__file__, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    whole = make("Chain").fit(*table(400)).state_dict()
    for rank in (0, 1):
        fitted = torch.load(tmp_path / f"torchrun{rank}.pt", weights_only=True)
        torch.testing.assert_close(fitted, dict(whole), atol=1e-9, rtol=1e-9)


def test_no_ranks_without_a_group() -> None:
    with pytest.raises(RuntimeError, match="initialised; start with torchrun"):
        RankRows(torch.randn(4, 3))

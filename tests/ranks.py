"""What the ranks of the tests run: under `torch.multiprocessing` or started as a script by torchrun."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from cases import CASES, make
from gaussflow import RankRows, Rows, as_rows
from states import table


def share(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """This rank's rows of the table of 400: an uneven cut."""
    x, context = table(400)
    return (x[:150], context[:150]) if rank == 0 else (x[150:], context[150:])


def fit_all(rows: Rows) -> dict[str, dict[str, torch.Tensor]]:
    """The numbers of every case after a fit."""
    return {name: make(name).fit(rows).state_dict() for name in CASES}


def describe(rows: Rows) -> dict[str, object]:
    """All that rows say about themselves, over all ranks."""
    one, other = rows.split(0.3, seed=2)
    mapped = rows.through(lambda x, c: (x * 2 + c[:, :1], x[:, 0])).split(0.5)[1]
    return {
        "n": [rows.n, one.n, other.n, mapped.n],
        "sum": rows.sum(lambda x, c: (x.sum(0), x.T @ c)),
        "range": rows.range(),
        "moments": (*rows.mean_and_covariance(), *other.mean_and_covariance(), *mapped.mean_and_covariance()),
        "samples": [t for part in (rows, one, other, mapped) for size in (1, 20, 10**6) for t in part.sample(size)],
    }


def rows_and_refusals(rank: int) -> dict[str, object]:
    """What the ranks say of their rows: tensors, chunks, nothing on one rank; and what they refuse."""
    x, context = share(rank)
    everything = table(400) if rank else tuple(t[:0] for t in table(400))
    parts = list(zip(x.split(33), context.split(33), strict=True))
    return {
        "tensors": describe(RankRows(x, context)),
        "chunks": describe(RankRows(parts)),
        "an empty share": describe(RankRows(*everything)),
        "refusals": [
            refusal(lambda: RankRows(x[:, : 4 - rank])),
            refusal(lambda: RankRows(x.float() if rank else x)),
            refusal(lambda: as_rows(RankRows(x[:0]))),
            refusal(lambda: RankRows(x[:1] if rank else x[:0]).split(0.5)),
        ],
    }


def refusal(make: Callable[[], object]) -> str:
    """The text of the ValueError."""
    try:
        make()
    except ValueError as error:
        return str(error)
    return "none"


def on_rank(rank: int, folder: str) -> None:
    """Join a group of two by a file, do everything, save what came out."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    outcome = {"rows": rows_and_refusals(rank), "fits": fit_all(RankRows(*share(rank)))}
    torch.save(outcome, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


def main(folder: str) -> None:
    """As torchrun starts it."""
    dist.init_process_group("gloo")
    rank = int(os.environ["RANK"])
    fitted = make("Chain").fit(RankRows(*share(rank))).state_dict()
    torch.save(fitted, Path(folder) / f"torchrun{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])

"""The words for tables: fit a density, score rows by their log-density, draw new rows."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from gaussflow.apps.table import Table, check_columns, read_table, remarks, write_table
from gaussflow.cli._common import Parser, Words, about, may_write, positive, say, threads, word
from gaussflow.models.dequantized import Dequantized
from gaussflow.models.flow import Flow
from gaussflow.recipes import (
    haar_rotation,
    hadamard_rotation,
    hybrid,
    ica_rotation,
    pca_rotation,
    pursuit_rotation,
    rbig,
    sliced_rotation,
    whitening,
)
from gaussflow.recipes.io import load, read_notes, save
from gaussflow.training._history import History

FORMAT = "gaussflow table model"
CHUNK = 4096  # rows scored or written at a time
ROTATIONS = {
    "haar": haar_rotation,
    "hadamard": hadamard_rotation,
    "ica": ica_rotation,
    "pca": pca_rotation,
    "pursuit": pursuit_rotation,
    "sliced": sliced_rotation,
    "whitening": whitening,
}


def fit(args: argparse.Namespace) -> None:
    """`gaussflow fit`: a table in, a model out."""
    may_write(args.out, args.force, args.table)
    with about(args.table):
        table = _read(args)
        check_columns(table)
    for remark in remarks(table):
        say(f"note: {remark}")
    start = time.perf_counter()
    flow, history = _fitted(table.values, args)
    seconds = time.perf_counter() - start
    notes = {"format": FORMAT, "columns": list(table.names), "dropped": args.drop, "rows": len(table.values)}
    save(flow, args.out, notes=notes)
    kept = [record for record in history if record["kept"]]
    blocks = "1 block" if len(kept) == 1 else f"{len(kept)} blocks"
    print(
        f"fitted {len(table.values)} rows of {len(table.names)} columns in {seconds:.1f} s, {blocks}; "
        f"held-out log-density {-kept[-1]['valid']:.3f} nats per row; saved as {args.out}"
    )


def _fitted(x: Tensor, args: argparse.Namespace) -> tuple[Flow | Dequantized, History]:
    if args.recipe == "hybrid":
        try:
            return hybrid(x, dequantize=args.dequantize, seed=args.seed, progress=not args.quiet)
        except ValueError as error:  # said in the words of the command line
            raise ValueError(str(error).replace("dequantize=True", "--dequantize")) from error
    if args.dequantize:
        raise ValueError("--dequantize goes with --recipe hybrid.")
    rotation = ROTATIONS[args.rotation]
    return rbig(x, rotation=rotation, max_blocks=args.max_blocks, seed=args.seed, progress=not args.quiet)


def score(args: argparse.Namespace) -> None:
    """`gaussflow score`: the log-density of each row of a table, in nats and in the units of its columns."""
    flow, notes = _model(args.model)
    if args.out:
        may_write(args.out, args.force, args.model, args.table)
    with about(args.table):
        table = _read(args, ignore=notes["dropped"]).columns(notes["columns"])
    scores = log_density(flow, table.values)
    error = scores.std().item() / len(scores) ** 0.5 if len(scores) > 1 else float("nan")
    low = int(scores.argmin())
    print(
        f"log-density {scores.mean().item():.4f} ± {error:.4f} nats per row over {len(scores)} rows; "
        f"lowest {scores[low].item():.4f} in row {int(table.rows[low]) + 1}"
    )
    if args.out:
        cells = [""] * table.total
        for row, value in zip(table.rows.tolist(), scores.tolist(), strict=True):
            cells[row] = f"{value:.10g}"
        write_table(args.out, ["log_density"], ([cell] for cell in cells))


def sample(args: argparse.Namespace) -> None:
    """`gaussflow sample`: new rows from a model."""
    flow, notes = _model(args.model)
    may_write(args.out, args.force, args.model)
    positive("-n", args.rows)
    generator = torch.Generator().manual_seed(args.seed) if args.seed is not None else None
    rows = flow.sample(args.rows, generator=generator)
    write_table(args.out, notes["columns"], (row for part in rows.split(CHUNK) for row in part.tolist()))
    print(f"wrote {args.rows} rows to {args.out}")


@torch.no_grad()
def log_density(flow: Flow | Dequantized, x: Tensor) -> Tensor:
    """Log-density of rows (N, D), a few thousand at a time; shape (N,)."""
    like = next(flow.parameters(), next(flow.buffers(), x))
    return torch.cat([flow.log_prob(part.to(like.dtype)) for part in x.split(CHUNK)]).double()


def _read(args: argparse.Namespace, ignore: Sequence[str] = ()) -> Table:
    return read_table(
        args.table,
        delimiter=args.delimiter,
        decimal=args.decimal,
        header=not args.no_header,
        drop=args.drop,
        ignore=ignore,
        drop_missing=args.drop_missing,
    )


def _model(path: str) -> tuple[Flow | Dequantized, dict[str, list[str]]]:
    """A model of `fit` and its notes; ValueError when the file holds something else, whoever wrote it."""
    notes, flow = read_notes(path), load(path)
    columns, dropped = (_strings(notes.get(key)) for key in ("columns", "dropped"))
    if notes.get("format") != FORMAT or not isinstance(flow, Flow | Dequantized) or len(columns) != flow.dim:
        raise ValueError(f"{path} holds a model, but not one of a table; make one with `gaussflow fit`.")
    return flow, {"columns": columns, "dropped": dropped}


def _strings(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def add_words(words: Words) -> None:
    """The words fit, score and sample."""
    parser = word(words, "fit", fit, "fit a density to the numeric columns of a table")
    parser.add_argument("table", help="text file of numbers with a header, as CSV")
    parser.add_argument("--out", required=True, metavar="MODEL", help="file for the model")
    parser.add_argument(
        "--recipe", choices=["hybrid", "rbig"], default="rbig", help="hybrid: mixtures too, the better density [rbig]"
    )
    parser.add_argument(
        "--dequantize", action="store_true", help="hybrid: take columns of few values as rounded, and score their mass"
    )
    parser.add_argument(
        "--rotation", choices=sorted(ROTATIONS), default="sliced", help="rbig: rotation of each block [sliced]"
    )
    parser.add_argument("--max-blocks", type=int, default=200, metavar="L", help="rbig: at most this many blocks [200]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and of the rotations [0]")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    threads(parser)
    _table_options(parser)

    parser = word(words, "score", score, "mean log-density of a table in nats per row, in the units of its columns")
    parser.add_argument("model", help="what `gaussflow fit` saved")
    parser.add_argument("table", help="table with the columns of the model, in any order")
    threads(parser)
    parser.add_argument(
        "--out", metavar="SCORES", help="file for the log-density of each row; empty for a row left out"
    )
    _table_options(parser)

    parser = word(words, "sample", sample, "draw new rows from a model")
    parser.add_argument("model", help="what `gaussflow fit` saved")
    parser.add_argument("-n", dest="rows", type=int, required=True, metavar="N", help="number of rows")
    parser.add_argument("--out", required=True, metavar="TABLE", help="file for the rows")
    parser.add_argument("--seed", type=int, help="the same seed gives the same rows [another each time]")
    parser.add_argument("--force", action="store_true", help="overwrite the output where it exists")


def _table_options(parser: Parser) -> None:
    parser.add_argument("--delimiter", default=",", metavar="C", help="character between two cells, or tab [,]")
    parser.add_argument("--decimal", default=".", metavar="C", help="decimal sign, . or , [.]")
    parser.add_argument("--no-header", action="store_true", help="the first line holds numbers already")
    parser.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="leave out this column; may be repeated"
    )
    parser.add_argument("--drop-missing", action="store_true", help="leave out rows with a missing value")
    parser.add_argument("--force", action="store_true", help="overwrite the output where it exists")

"""The command line: fit a table, score rows by their log-density, draw new rows, and the demo.

Exit codes: 0 for done, 2 for anything the user can mend (one line on stderr says what), 130 when interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor
from typing_extensions import override

from gaussflow._version import __version__
from gaussflow.apps.table import Table, check_columns, read_table, remarks, write_table
from gaussflow.models.flow import Flow
from gaussflow.recipes import haar_rotation, hadamard_rotation, ica_rotation, pca_rotation, rbig, whitening
from gaussflow.recipes.io import load, read_notes, save

FORMAT = "gaussflow table model"
CHUNK = 4096  # rows scored or written at a time
ROTATIONS = {
    "haar": haar_rotation,
    "hadamard": hadamard_rotation,
    "ica": ica_rotation,
    "pca": pca_rotation,
    "whitening": whitening,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        torch.set_num_threads(_positive("--threads", getattr(args, "threads", 1)))
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _say("stopped.", 130)
    except BrokenPipeError:  # whoever read our output has gone; a second failure at exit would say so loudly
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _say(f"{error.filename}: {error.strerror}." if error.filename else str(error), 2)
    except (ValueError, TypeError, ImportError) as error:
        return _say(" ".join(str(error).split()), 2)
    return 0


def fit(args: argparse.Namespace) -> None:
    """`gaussflow fit`: a table in, a model out."""
    _may_write(args.out, args.force, args.table)
    with _about(args.table):
        table = _read(args)
        check_columns(table)
    for remark in remarks(table):
        _say(f"note: {remark}")
    start = time.perf_counter()
    flow, history = rbig(
        table.values,
        rotation=ROTATIONS[args.rotation],
        max_blocks=args.max_blocks,
        seed=args.seed,
        progress=not args.quiet,
    )
    seconds = time.perf_counter() - start
    notes = {"format": FORMAT, "columns": list(table.names), "dropped": args.drop, "rows": len(table.values)}
    save(flow, args.out, notes=notes)
    kept = [record for record in history if record["kept"]]
    print(
        f"fitted {len(table.values)} rows of {len(table.names)} columns in {seconds:.1f} s, {len(kept)} blocks; "
        f"held-out log-density {-kept[-1]['valid']:.3f} nats per row; saved as {args.out}"
    )


def score(args: argparse.Namespace) -> None:
    """`gaussflow score`: the log-density of each row of a table, in nats and in the units of its columns."""
    flow, notes = _model(args.model)
    if args.out:
        _may_write(args.out, args.force, args.model, args.table)
    with _about(args.table):
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
    _may_write(args.out, args.force, args.model)
    _positive("-n", args.rows)
    generator = torch.Generator().manual_seed(args.seed) if args.seed is not None else None
    rows = flow.sample(args.rows, generator=generator)
    write_table(args.out, notes["columns"], (row for part in rows.split(CHUNK) for row in part.tolist()))
    print(f"wrote {args.rows} rows to {args.out}")


def demo(args: argparse.Namespace) -> None:
    """`gaussflow demo`: real tables, held-out scores beside two baselines, and a picture."""
    from gaussflow.apps.demo import run

    run(Path(args.out), seed=args.seed, threads=args.threads, progress=not args.quiet)


@torch.no_grad()
def log_density(flow: Flow, x: Tensor) -> Tensor:
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


def _model(path: str) -> tuple[Flow, dict[str, list[str]]]:
    """A model of `fit` and its notes; ValueError when the file holds something else, whoever wrote it."""
    notes, flow = read_notes(path), load(path)
    columns, dropped = (_strings(notes.get(key)) for key in ("columns", "dropped"))
    if notes.get("format") != FORMAT or not isinstance(flow, Flow) or len(columns) != flow.dim:
        raise ValueError(f"{path} holds a model, but not one of a table; make one with `gaussflow fit`.")
    return flow, {"columns": columns, "dropped": dropped}


def _strings(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _may_write(path: str, force: bool, *inputs: str) -> None:
    """Before any work: ValueError when an output would replace an input or, without --force, anything at all."""
    target = Path(path)
    if any(target.exists() and Path(name).exists() and target.samefile(name) for name in inputs):
        raise ValueError(f"{path} is an input of this command; choose another name for the output.")
    if target.is_dir():
        raise ValueError(f"{path} is a folder; give the output a name in it.")
    if target.exists() and not force:
        raise ValueError(f"{path} exists; choose another name, or overwrite it with --force.")
    if not target.parent.is_dir():
        raise ValueError(f"there is no folder {target.parent} to write {target.name} in; make it first.")


@contextmanager
def _about(path: str) -> Iterator[None]:
    """Say which file a ValueError is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _positive(option: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{option} wants a number of at least 1; got {value}.")
    return value


def _say(message: str, code: int = 0) -> int:
    print(f"gaussflow: {message}", file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        raise SystemExit(_say(f"{message} (see {self.prog} --help)", 2))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gaussflow", description="Exact densities of tables: fit, score, sample.")
    parser.add_argument("--version", action="version", version=f"gaussflow {__version__}")
    words = parser.add_subparsers(required=True, metavar="fit | score | sample | demo")

    word = _word(words, "fit", fit, "fit a density to the numeric columns of a table")
    word.add_argument("table", help="text file of numbers with a header, as CSV")
    word.add_argument("--out", required=True, metavar="MODEL", help="file for the model")
    word.add_argument("--rotation", choices=sorted(ROTATIONS), default="ica", help="rotation of each block [ica]")
    word.add_argument("--max-blocks", type=int, default=200, metavar="L", help="at most this many blocks [200]")
    word.add_argument("--seed", type=int, default=0, help="seed of the split and of the rotations [0]")
    word.add_argument("--quiet", action="store_true", help="no progress bar")
    _threads(word)
    _table_options(word)

    word = _word(words, "score", score, "mean log-density of a table in nats per row, in the units of its columns")
    word.add_argument("model", help="what `gaussflow fit` saved")
    word.add_argument("table", help="table with the columns of the model, in any order")
    _threads(word)
    word.add_argument("--out", metavar="SCORES", help="file for the log-density of each row; empty for a row left out")
    _table_options(word)

    word = _word(words, "sample", sample, "draw new rows from a model")
    word.add_argument("model", help="what `gaussflow fit` saved")
    word.add_argument("-n", dest="rows", type=int, required=True, metavar="N", help="number of rows")
    word.add_argument("--out", required=True, metavar="TABLE", help="file for the rows")
    word.add_argument("--seed", type=int, help="the same seed gives the same rows [another each time]")
    word.add_argument("--force", action="store_true", help="overwrite the output where it exists")

    word = _word(words, "demo", demo, "fit real tables, compare with two baselines on held-out rows, draw a picture")
    word.add_argument(
        "--out", default="gaussflow-demo", metavar="FOLDER", help="folder for the picture [gaussflow-demo]"
    )
    word.add_argument("--seed", type=int, default=0, help="seed of the fits and of the samples [0]")
    word.add_argument("--quiet", action="store_true", help="no progress bar")
    _threads(word)
    return parser


def _word(
    words: argparse._SubParsersAction[_Parser], name: str, run: Callable[[argparse.Namespace], None], what: str
) -> _Parser:
    word = words.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".", allow_abbrev=False)
    word.set_defaults(run=run)
    return word


def _threads(word: argparse.ArgumentParser) -> None:
    word.add_argument("--threads", type=int, default=1, metavar="N", help="threads; large tables gain by more [1]")


def _table_options(word: argparse.ArgumentParser) -> None:
    word.add_argument("--delimiter", default=",", metavar="C", help="character between two cells, or tab [,]")
    word.add_argument("--decimal", default=".", metavar="C", help="decimal sign, . or , [.]")
    word.add_argument("--no-header", action="store_true", help="the first line holds numbers already")
    word.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="leave out this column; may be repeated"
    )
    word.add_argument("--drop-missing", action="store_true", help="leave out rows with a missing value")
    word.add_argument("--force", action="store_true", help="overwrite the output where it exists")

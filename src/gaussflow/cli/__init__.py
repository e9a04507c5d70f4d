"""The command line: densities of tables, labelled images, and the demo.

Exit codes: 0 for done, 2 for anything the user can mend (one line on stderr says what), 130 when interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from gaussflow._version import __version__
from gaussflow.cli import _images, _synth, _tables
from gaussflow.cli._common import Parser, positive, say, threads, word


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        torch.set_num_threads(positive("--threads", getattr(args, "threads", 1)))
        args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return say("stopped.", 130)
    except BrokenPipeError:  # whoever read our output has gone; a second failure at exit would say so loudly
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return say(f"{error.filename}: {error.strerror}." if error.filename else str(error), 2)
    except (ValueError, TypeError, ImportError) as error:
        return say(" ".join(str(error).split()), 2)
    return 0


def demo(args: argparse.Namespace) -> None:
    """`gaussflow demo`: real tables, held-out scores beside two baselines, and a picture."""
    from gaussflow.apps.demo import run

    run(Path(args.out), seed=args.seed, threads=args.threads, progress=not args.quiet)


def _parser() -> Parser:
    parser = Parser(prog="gaussflow", description="Exact densities of tables, and generators of labelled images.")
    parser.add_argument("--version", action="version", version=f"gaussflow {__version__}")
    words = parser.add_subparsers(
        required=True, metavar="fit | score | sample | synth | learn-images | draw | judge | demo"
    )
    _tables.add_words(words)
    _synth.add_words(words)
    _images.add_words(words)
    shown = word(words, "demo", demo, "fit real tables, compare with two baselines on held-out rows, draw a picture")
    shown.add_argument(
        "--out", default="gaussflow-demo", metavar="FOLDER", help="folder for the picture [gaussflow-demo]"
    )
    shown.add_argument("--seed", type=int, default=0, help="seed of the fits and of the samples [0]")
    shown.add_argument("--quiet", action="store_true", help="no progress bar")
    threads(shown)
    return parser

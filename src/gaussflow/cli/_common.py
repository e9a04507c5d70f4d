"""What the words of the command line share: what may be written, the parser, and how it speaks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeAlias

from typing_extensions import override


def may_write(path: str, force: bool, *inputs: str) -> None:
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
def about(path: str) -> Iterator[None]:
    """Say which file a ValueError is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def positive(option: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{option} wants a number of at least 1; got {value}.")
    return value


def say(message: str, code: int = 0) -> int:
    print(f"gaussflow: {message}", file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        raise SystemExit(say(f"{message} (see {self.prog} --help)", 2))


Words: TypeAlias = "argparse._SubParsersAction[Parser]"


def word(words: Words, name: str, run: Callable[[argparse.Namespace], None], what: str) -> Parser:
    word = words.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".", allow_abbrev=False)
    word.set_defaults(run=run)
    return word


def threads(word: argparse.ArgumentParser) -> None:
    word.add_argument("--threads", type=int, default=1, metavar="N", help="threads; large tables gain by more [1]")

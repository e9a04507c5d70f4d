"""What the API reference documents: the public names, room by room, and one page of reStructuredText for each.

Nothing is listed by hand: a name that is added to the ``__all__`` of its room has its page.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gaussflow

ROOMS = {
    "gaussflow.recipes": "Recipes",
    "gaussflow.training": "Growing and training",
    "gaussflow.models": "Models",
    "gaussflow.transforms": "Transforms",
    "gaussflow.nets": "Networks",
    "gaussflow.losses": "Losses",
    "gaussflow.rows": "Rows",
    "gaussflow.theory": "Theory",
    "gaussflow.ops": "Operations",
}


def apps() -> dict[str, str]:
    """The modules of the floor of apps, each with the head of its docstring as title."""
    folder = Path(gaussflow.__file__).parent / "apps"
    parts = [*folder.glob("[!_]*.py"), *(path.parent for path in folder.glob("[!_]*/__init__.py"))]
    modules = [f"gaussflow.apps.{path.stem}" for path in sorted(parts)]
    heads = {module: importlib.import_module(module).__doc__ or module for module in modules}
    return {module: re.split(r"[:.](?: |$)", head)[0].replace("`", "") for module, head in heads.items()}


ROOMS |= apps()


class Name(NamedTuple):
    """A public name: its last part, where users import it from, and what it is."""

    short: str
    full: str
    thing: object


def public(module: str) -> Iterator[Name]:
    """The public names of a room, each under the shortest path that users import it by."""
    room = importlib.import_module(module)
    own = lambda n, v: not n.startswith("_") and getattr(v, "__module__", None) == module  # noqa: E731
    for short in getattr(room, "__all__", None) or [n for n, v in vars(room).items() if own(n, v)]:
        at_top = short in gaussflow.__all__ and module.count(".") == 1 and module != "gaussflow.theory"
        yield Name(short, f"gaussflow.{short}" if at_top else f"{module}.{short}", getattr(room, short))


def every_name() -> dict[str, Name]:
    """All names that have a page, by full path."""
    return {name.full: name for module in ROOMS for name in public(module) if _has_page(name)}


def _has_page(name: Name) -> bool:
    """Type aliases and constants are explained where they are used."""
    return inspect.isclass(name.thing) or inspect.isfunction(name.thing)


def write_sources(folder: Path) -> None:
    """The reStructuredText of the reference: an index by rooms and a page for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"index.rst": _index()} | {f"{name.full}.rst": _page(name) for name in every_name().values()}
    for path in folder.glob("*.rst"):
        if path.name not in wanted:
            path.unlink()
    for file, text in wanted.items():
        path = folder / file
        same = path.exists() and path.read_text(encoding="utf-8") == text
        if not same or file == "index.rst":  # Sphinx reads again what changed; the index quotes docstrings
            path.write_text(text, encoding="utf-8")


def _index() -> str:
    lines = ["API reference", "=============", ""]
    for module, title in ROOMS.items():
        summary = (importlib.import_module(module).__doc__ or "").strip().split("\n\n")[0]
        names = [name for name in public(module) if _has_page(name)]
        lines += [title, "-" * len(title), "", summary, ""]
        lines += [".. autosummary::", "   :nosignatures:", "", *(f"   ~{name.full}" for name in names), ""]
    lines += [".. toctree::", "   :hidden:", "   :glob:", "", "   gaussflow.*", ""]
    return "\n".join(lines)


def _page(name: Name) -> str:
    module = name.full.rsplit(".", 1)[0]
    head = [name.short, "=" * len(name.short), "", f".. currentmodule:: {module}", ""]
    if not inspect.isclass(name.thing):
        return "\n".join([*head, f".. autofunction:: {name.short}", ""])
    foreign = [base.__name__ for base in name.thing.__mro__ if not base.__module__.startswith("gaussflow")]
    options = ["members:", "member-order: bysource", "show-inheritance:", f"inherited-members: {', '.join(foreign)}"]
    return "\n".join([*head, f".. autoclass:: {name.short}", *(f"   :{option}" for option in options), ""])

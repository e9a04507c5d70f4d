"""The reference: every public name has a page, an example that runs, and says the shapes of what it takes and gives."""

import inspect
import re
import sys
from pathlib import Path

import pytest

import gaussflow

sys.path.insert(0, str(Path(__file__).parent.parent / "docs" / "tools"))
from names import ROOMS, every_name, public

NAMES = every_name()
TENSORS = re.compile(r"\b(Tensor|Data|Rows|ArrayLike)\b")
SHAPE = re.compile(r"torch\.Size|\(\.\.\.|\((?:[A-Z]|n|m)(?:, ?[\w /*]+)*,?\)|of any shape")


def takes_or_gives_tensors(thing: object) -> bool:
    """Whether a signature speaks of tensors; that of a class is its constructor's and its methods'."""
    callables = (
        [thing, *(v for k, v in vars(thing).items() if inspect.isfunction(v))] if inspect.isclass(thing) else [thing]
    )
    found = []
    for each in callables:
        try:
            found.append(TENSORS.search(str(inspect.signature(each))))
        except ValueError:  # warnings have no signature
            continue
    return any(found)


def text(thing: object) -> str:
    """The docstring; that of a class with those of its methods."""
    parts = (
        [thing, *(v for k, v in vars(thing).items() if not k.startswith("_"))] if inspect.isclass(thing) else [thing]
    )
    return "\n".join(inspect.getdoc(part) or "" for part in parts)


def test_names_without_an_example_are_none() -> None:
    assert [full for full, name in NAMES.items() if ">>>" not in (inspect.getdoc(name.thing) or "")] == []


def test_names_without_a_shape_are_none() -> None:
    about = {full: name.thing for full, name in NAMES.items() if takes_or_gives_tensors(name.thing)}
    assert len(about) > 60
    assert [full for full, thing in about.items() if not SHAPE.search(text(thing))] == []


def test_every_public_name_has_a_page() -> None:
    tops = {f"gaussflow.{name}" for name in gaussflow.__all__ if not name.startswith("_")}
    assert tops <= NAMES.keys()


def test_every_room_that_users_import_from_is_listed() -> None:
    folder = Path(gaussflow.__file__).parent
    rooms = {f"gaussflow.{path.parent.name}" for path in folder.glob("*/__init__.py")} - {"gaussflow.apps"}
    assert (rooms - {"gaussflow.cli"}) | {"gaussflow.apps.table", "gaussflow.apps.anomaly"} <= set(ROOMS)


@pytest.mark.parametrize("module", ROOMS)
def test_every_name_of_a_room_can_be_imported_from_where_its_page_says(module: str) -> None:
    for name in public(module):
        path, last = name.full.rsplit(".", 1)
        assert getattr(sys.modules[path], last) is name.thing

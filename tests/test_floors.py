"""The floors: a module imports from lower floors only, and on its own floor from ``base.py`` or a private file only."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "gaussflow"
ROOMS = {
    "ops": 0,
    "rows": 0,
    "nets": 1,
    "transforms": 2,
    "losses": 2,
    "theory": 2,
    "models": 3,
    "training": 4,
    "recipes": 5,
    "apps": 6,
    "cli": 7,
    "__main__": 7,
}
EVERYWHERE = {"_check", "_files", "_version"}
NEIGHBOURS = {("rows", "ops"), ("__main__", "cli")}  # rows may use the functions beside them, and not the reverse
STOREYS = {"law": 0, "frames": 1, "rules": 2, "drawing": 3, "private": 3, "report": 3}  # of gaussflow.apps.tabular
FRONT = "__init__"  # the front door of the package shows floors 0 to 5
KERNELS = "ops._triton."  # imported by `gaussflow.ops` where a call goes to a GPU
OPTIONAL = {"pandas", "sklearn", "matplotlib", "triton", "tabulate"}  # wanted by floors 6 and 7 only


def modules() -> dict[str, ast.Module]:
    """Every module by its dotted name inside gaussflow, as a syntax tree."""
    paths = sorted(SOURCE.rglob("*.py"))
    names = [".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in paths]
    return {name: ast.parse(path.read_text()) for name, path in zip(names, paths, strict=True)}


def imports(name: str, tree: ast.Module) -> set[str]:
    """The dotted names inside gaussflow that a module imports, wherever in it; "" is gaussflow itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively; write the whole name"
            modules_named = {f"{node.module}.{alias.name}" for alias in node.names}
            files = {m for m in modules_named if (SOURCE.parent / m.replace(".", "/")).with_suffix(".py").exists()}
            rooms = {m for m in modules_named if (SOURCE.parent / m.replace(".", "/")).is_dir()}
            found |= files | rooms or {str(node.module)}
    return {i.removeprefix("gaussflow").lstrip(".") for i in found if i.split(".")[0] == "gaussflow"}


def room(name: str) -> str:
    """The room of a module: the first part of its name."""
    return name.split(".")[0]


def complaint(importer: str, imported: str) -> str | None:
    """What is wrong with an import, or None."""
    here, there, last = room(importer), room(imported), imported.split(".")[-1]
    if there in EVERYWHERE:
        return None
    if there not in ROOMS:
        return f"{importer} imports gaussflow.{imported}, which is on no floor"
    if here == FRONT:
        return None if ROOMS[there] <= 5 else f"the front door imports {imported} (floor {ROOMS[there]})"
    if here == there:
        own = importer.endswith(FRONT) or last == "base" or last.startswith("_")
        return None if own else f"{importer} imports {imported} beside it"
    if ROOMS[there] < ROOMS[here] or (here, there) in NEIGHBOURS:
        return None
    return f"{importer} (floor {ROOMS[here]}) imports {imported} (floor {ROOMS[there]})"


def test_every_module_is_on_a_known_floor() -> None:
    homeless = [name for name in modules() if room(name) not in {*ROOMS, *EVERYWHERE, FRONT}]
    assert not homeless


def test_imports_go_down() -> None:
    pairs = [(name, imported) for name, tree in modules().items() for imported in imports(name, tree)]
    assert len(pairs) > 20
    complaints = [
        c for importer, imported in pairs if importer not in EVERYWHERE and (c := complaint(importer, imported))
    ]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("transforms.rotation", "ops.orthogonal", True),
        ("transforms.rotation", "transforms.base", True),
        ("transforms.rotation", "transforms._moments", True),
        ("transforms.rotation", "transforms.affine", False),
        ("transforms.rotation", "models", False),
        ("transforms.rotation", "losses", False),
        ("ops._spline", "rows", False),
        ("ops.mixture", "ops.normal", False),
        ("rows.base", "transforms.base", False),
        ("training.grow", "recipes", False),
        ("recipes.rbig", "training", True),
        ("recipes.rbig", "_check", True),
        ("recipes.rbig", "apps", False),
        ("apps.table", "recipes", True),
        ("__init__", "recipes", True),
        ("__init__", "apps", False),
        ("__main__", "cli", True),
        ("models.flow", "", False),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert (complaint(importer, imported) is None) == allowed


def test_the_storeys_of_tables_go_down() -> None:
    """The parts of tables import from lower parts, or within themselves, or what all share (``_arrays``)."""
    home = "apps.tabular."
    for name, tree in modules().items():
        here = name.removeprefix(home).split(".")[0]
        if name.startswith(home) and here in STOREYS:
            for imported in imports(name, tree):
                there = imported.removeprefix(home).split(".")[0]
                down = STOREYS.get(there, len(STOREYS)) < STOREYS[here] or there in {here, "_arrays"}
                assert down or not imported.startswith("apps.tabular"), f"{name} imports {imported}"


def test_optional_packages_stay_upstairs() -> None:
    for name, tree in modules().items():
        if ROOMS.get(room(name), 0) <= 5 and not name.startswith(KERNELS):
            for node in ast.walk(tree):
                named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {n.split(".")[0] for n in named} & OPTIONAL, f"{name} imports {named}"


def test_kernels_are_imported_inside_of_functions_only() -> None:
    """So that `import gaussflow` needs no Triton."""
    for name, tree in modules().items():
        if not name.startswith("ops._triton"):
            top = {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
            assert not [module for module in top if "_triton" in module], name


def test_no_assert_and_no_stub_outside_tests() -> None:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Assert), f"{name} asserts in line {node.lineno}; raise instead"
            assert not (isinstance(node, ast.Name) and node.id == "NotImplementedError"), f"{name} holds a stub"


def test_files_and_functions_are_short() -> None:
    for path in [*SOURCE.rglob("*.py"), *Path(__file__).parent.glob("*.py")]:
        lines = len(path.read_text().splitlines())
        assert lines <= 400, f"{path.name} has {lines} lines"
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = node.body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 50, f"{name}.{node.name} has {lines} lines"

"""Sphinx: how docstrings become pages. `hooks.py` runs it and puts the pages into the site."""

from __future__ import annotations

import builtins
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes

sys.path.insert(0, str(Path(__file__).parent))
from names import every_name

project = "gaussflow"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
default_role = "py:obj"
nitpicky = True
autosummary_generate = False
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: name for name in ("Data", "Chunk", "PathLike", "MakeBlock", "MakeRotation", "MakeOptimizer", "Augment")
}
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "returns_style")]  # several attributes may share one description
napoleon_use_rtype = False
html_copy_source = html_show_sourcelink = False

# Names of other projects link to their own reference; no inventory is fetched, so that the build needs no network.
OUTSIDE = {
    "torch.nn": "https://docs.pytorch.org/docs/stable/generated/{0}.html",
    "torch.utils": "https://docs.pytorch.org/docs/stable/data.html#{0}",
    "torch.distributions": "https://docs.pytorch.org/docs/stable/distributions.html",
    "torch.distributed": "https://docs.pytorch.org/docs/stable/distributed.html",
    "torch": "https://docs.pytorch.org/docs/stable/index.html",
    "numpy": "https://numpy.org/doc/stable/reference/index.html",
    "collections.abc": "https://docs.python.org/3/library/collections.abc.html#{0}",
    "pathlib": "https://docs.python.org/3/library/pathlib.html",
    "argparse": "https://docs.python.org/3/library/argparse.html",
    "typing": "https://docs.python.org/3/library/typing.html#{0}",
    "os": "https://docs.python.org/3/library/os.html#{0}",
    "abc": "https://docs.python.org/3/library/abc.html#{0}",
}
# What is spelt without its module in annotations, and aliases of types, which have no page of their own.
SPELT = {
    "Tensor": "torch.Tensor",
    "nn.Module": "torch.nn.Module",
    "nn.Sequential": "torch.nn.Sequential",
    "DistributedDataParallel": "torch.nn.parallel.DistributedDataParallel",
    "TransformedDistribution": "torch.distributions.TransformedDistribution",
    "Module": "torch.nn.Module",
    "TorchTransform": "torch.distributions.transforms.Transform",
}
PUBLIC = {name.short: full for full, name in every_name().items()}


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls first."""
    app.connect("missing-reference", _elsewhere)
    app.connect("autodoc-process-bases", _public_bases)
    app.connect("autodoc-process-signature", _plain_aliases)
    return {"parallel_read_safe": True}


def _elsewhere(app: Any, env: Any, node: nodes.Element, content: nodes.Node) -> nodes.Node | None:
    """A link to a public name spelt short, to another project, or plain text; None for what is broken."""
    target = node.get("reftarget", "")
    if full := PUBLIC.get(target):
        python = env.get_domain("py")
        return python.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, content)
    if uri := _address(SPELT.get(target, target)):
        return nodes.reference("", "", content, refuri=uri, internal=False)
    return content if node["reftype"] == "class" else None  # in annotations, which mypy checks: aliases, private types


def _public_bases(app: Any, name: str, thing: object, options: object, bases: list[Any]) -> None:
    """A private base gives way to the bases it has itself."""
    while any("._" in base.__module__ for base in bases if inspect.isclass(base)):
        bases[:] = [b for base in bases for b in (base.__bases__ if "._" in base.__module__ else (base,))]


def _address(target: str) -> str | None:
    names = target.split(", ")  # as in "Raises: TypeError, ValueError"
    if all(hasattr(builtins, name) for name in names):
        kind = getattr(builtins, names[0])
        error = inspect.isclass(kind) and issubclass(kind, BaseException)
        return f"https://docs.python.org/3/library/{'exceptions' if error else 'functions'}.html#{names[0]}"
    module = next((module for module in OUTSIDE if target.startswith(module + ".")), None)
    return OUTSIDE[module].format(target) if module else None


def _plain_aliases(
    app: Any, what: str, name: str, thing: object, options: object, signature: str, returned: str
) -> Any:
    """Aliases of types by their names in unions, too."""
    plain = lambda text: text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)  # noqa: E731
    return plain(signature), plain(returned)

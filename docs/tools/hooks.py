"""What mkdocs calls while it builds the site: the API reference is made by Sphinx and put in as pages of its own.

So there is one header, one navigation and one search. A name in code in a guide, `rbig` say, becomes a link to its page
of the reference, and each page of the reference lists the guides that speak of the name.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from mkdocs.structure.toc import get_toc

sys.path.insert(0, str(Path(__file__).parent))
from mathml import with_mathml
from names import ROOMS, every_name, public, write_sources
from results import with_results

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "docs"
NAMES = every_name()
PATHS = {spelt: full for full, name in NAMES.items() for spelt in (name.short, full)}
CODE = re.compile(r"(<pre.*?</pre>|<a\b.*?</a>|<h\d.*?</h\d>)|<code>([\w.]+)(\(\))?</code>", re.DOTALL)
bodies: dict[str, dict[str, Any]] = {}
titles: dict[str, str] = {}  # of the guides, by path
mentions: dict[str, list[str]] = {}  # guides that speak of a name, by full path of the name


def on_config(config: Any) -> Any:
    """Put the reference into the navigation, room by room."""
    rooms: list[Any] = ["api/index.md"]
    for module, title in ROOMS.items():
        pages = [{name.short: f"api/{name.full}.md"} for name in public(module) if name.full in NAMES]
        rooms.append({title: pages})
    config.nav.append({"API": rooms})
    config.nav.append({"Project": ["contributing.md", "changelog.md"]})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Run Sphinx and add an empty page for each of its pages; what stands in it comes in `on_page_content`."""
    _run_sphinx()
    for path in sorted((BUILD / "json").glob("*.fjson")):
        page = json.loads(path.read_text(encoding="utf-8"))
        if (name := page["current_page_name"]) in NAMES or name == "index":
            bodies[f"api/{name}.md"] = page
            title = "API reference" if name == "index" else NAMES[name].short
            files.append(File.generated(config, f"api/{name}.md", content=f"# {title}\n"))
    for name in ("CONTRIBUTING", "CHANGELOG"):
        files.append(File.generated(config, f"{name.lower()}.md", abs_src_path=str(ROOT / f"{name}.md")))
    for file in files.documentation_pages():
        if file.src_path not in bodies:
            _note_mentions(file.src_path, file.content_string)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The tables of the benchmarks, from their results."""
    return with_results(markdown)


def on_page_content(page_html: str, page: Any, config: Any, files: Any) -> str:
    """Formulas as MathML in every page, links to the reference in guides, the reference in its own."""
    path = page.file.src_path
    if path not in bodies:
        link = lambda m: m[0] if m[1] else _linked(m, page, files)  # noqa: E731
        return with_mathml(CODE.sub(link, page_html))
    name = path.removeprefix("api/").removesuffix(".md")
    body = bodies[path]["body"]
    page.toc = get_toc(_contents(name, body))
    return with_mathml(_dressed(body)) + _guides(name, page, files)


def _run_sphinx() -> None:
    write_sources(BUILD / "api")
    shutil.rmtree(BUILD / "json", ignore_errors=True)
    options = ["-q", "-W", "--keep-going", "-b", "json", "-c", str(ROOT / "docs/tools"), "-d", str(BUILD / "trees")]
    command = [sys.executable, "-m", "sphinx", *options, str(BUILD / "api"), str(BUILD / "json")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    if done.returncode:
        raise PluginError(f"Sphinx found mistakes in docstrings:\n{done.stderr}")


def _note_mentions(path: str, text: str) -> None:
    titles[path] = next((line[2:] for line in text.splitlines() if line.startswith("# ")), path)
    for spelt in dict.fromkeys(re.findall(r"`([\w.]+)(?:\(\))?`", text)):
        if spelt in PATHS and path not in mentions.setdefault(PATHS[spelt], []):
            mentions[PATHS[spelt]].append(path)


def _linked(match: re.Match[str], page: Any, files: Any) -> str:
    full = PATHS.get(match[2])
    if full is None or (files.get_file_from_path(f"api/{full}.md")) is None:
        return match[0]
    url = files.get_file_from_path(f"api/{full}.md").page.file.url_relative_to(page.file)
    return f'<a href="{url}#{full}">{match[0]}</a>'


def _contents(name: str, body: str) -> list[dict[str, Any]]:
    """The table of contents of a page of the reference: the methods of a class, the rooms of the index."""
    if name == "index":
        heads = re.findall(r'<section id="([^"]+)">\s*<h2>(.*?)<a', body, re.DOTALL)
        return [{"level": 2, "id": i, "name": html.unescape(t), "children": []} for i, t in heads]
    ids = re.findall(rf'id="({re.escape(name)}\.\w+)"', body)
    children = [{"level": 2, "id": i, "name": i.rsplit(".", 1)[1], "children": []} for i in ids]
    return [{"level": 1, "id": name, "name": NAMES[name].short, "children": children}]


def _dressed(body: str) -> str:
    """The HTML of Sphinx in the classes of the theme."""
    body = re.sub(
        r"<pre>(<span></span>)?(.*?)</pre>", r"<pre><span></span><code>\2</code></pre>", body, flags=re.DOTALL
    )
    body = body.replace('class="doctest highlight-default notranslate"', 'class="highlight-default"')
    body = body.replace('class="headerlink"', 'class="headerlink" data-search-exclude')  # no ¶ among what is found
    return f'<div class="reference">{body}</div>'


def _guides(name: str, page: Any, files: Any) -> str:
    """The guides that speak of a name."""
    links = []
    for path in mentions.get(name, []):
        url = files.get_file_from_path(path).url_relative_to(page.file)
        links.append(f'<li><a href="{url}">{html.escape(titles[path])}</a></li>')
    return f'<p class="rubric">In the guides</p><ul>{"".join(links)}</ul>' if links else ""

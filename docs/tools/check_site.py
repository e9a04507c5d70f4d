"""Follow every link of the built site, and see that no page loads anything from elsewhere: ``check_site.py FOLDER``."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
RELATIONS = {"canonical", "prev", "next"}  # links of this kind load nothing
URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Page(HTMLParser):
    """The identifiers, the links and what is loaded of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one tag names, points to or loads."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and LOADS[tag] in given and given.get("rel") not in RELATIONS:
            self.loads.append(given[LOADS[tag]])


def mistakes(site: Path) -> list[str]:
    """What is wrong with the site, one line each."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    found = [] if len(pages) > 50 else [f"only {len(pages)} pages"]
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        if name.name == "404.html":  # its links are absolute, from the root of the server
            continue
        found += [f"{name} loads {url} from elsewhere" for url in page.loads if _foreign(url)]
        for link in [*page.links, *page.loads]:
            if not _foreign(link) and (why := _broken(link, path, pages)):
                found.append(f"{name}: {link} {why}")
    for path in site.rglob("*.css"):
        urls = [a or b for a, b in URL.findall(path.read_text(encoding="utf-8"))]
        found += [f"{path.relative_to(site)} loads {url} from elsewhere" for url in urls if _foreign(url)]
    return found


def _foreign(url: str) -> bool:
    return re.match(r"(?i)(https?:)?//|mailto:", url) is not None


def _broken(link: str, path: Path, pages: dict[Path, Page]) -> str:
    if link.startswith("data:"):
        return ""
    place, anchor = urldefrag(link)
    target = (path.parent / unquote(place)).resolve() if place else path
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return "leads nowhere"
    if anchor and target in pages and unquote(anchor) not in pages[target].ids and not anchor.startswith("__"):
        return "names no part of its page"
    return ""


if __name__ == "__main__":
    wrong = mistakes(Path(sys.argv[1]))
    print("\n".join(wrong) or "every link of the site leads somewhere, and nothing is loaded from elsewhere")
    sys.exit(bool(wrong))

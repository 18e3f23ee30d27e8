"""Hooks of MkDocs: collect the pages of the repository where they are, and turn links between files into links of the site.

A link of a page goes to a file of the repository, as on any host of it. If the file is a page, the link becomes one to this
page; any other file that exists is linked in the repository. A file that does not exist fails the strict build.
"""

from __future__ import annotations

import logging
import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import notebook_pages

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOG = logging.getLogger("mkdocs.hooks.site")

DECISIONS = "docs/decisions"
NOTEBOOKS = "bindings/python/notebooks"

#: Pages of the site by their files in the repository.
PAGES = {
    "README.md": "index.md",
    "docs/README.md": "overview.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    DECISIONS: "decisions/index.md",
    NOTEBOOKS: "notebooks/index.md",
}


def _sources(folder: str, pattern: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern))


def _collect() -> dict[str, str]:
    """Returns the site's files by their files in the repository."""
    found = dict(PAGES)
    for source in _sources("docs", "*.*"):
        found.setdefault(source, source.removeprefix("docs/"))
    for source in _sources(DECISIONS, "*.md"):
        found[source] = source.removeprefix("docs/")
    for source in _sources(NOTEBOOKS, "*.ipynb"):
        found[source] = f"notebooks/{pathlib.PurePath(source).stem}.md"
    return found


SITE_OF = _collect()
SOURCE_OF = {uri: source for source, uri in SITE_OF.items()}

#: Pictures of notebooks, which are files of the site only.
PICTURES: set[str] = set()


def _title(source: str) -> str:
    """Returns the first heading of a page, as plain text; a number at its start is written as `7.`."""
    lines = (ROOT / source).read_text(encoding="utf-8").splitlines()
    heading = next(line.removeprefix("# ") for line in lines if line.startswith("# "))
    number, text = re.fullmatch(r"(?:0*(\d+)[.:] )?(.*)", heading.replace("`", "")).groups()
    return f"{number}. {text[0].upper()}{text[1:]}" if number else text


def _titles(folder: str) -> list[tuple[str, str]]:
    """Returns title and page of each file of a folder of pages."""
    notebooks = folder == NOTEBOOKS
    sources = [source for source in SITE_OF if source.startswith(f"{folder}/")]
    title = notebook_pages.title if notebooks else _title
    return [(title(ROOT / source) if notebooks else title(source), SITE_OF[source]) for source in sources]


def _index(heading: str, folder: str) -> str:
    """Returns a page that lists the pages of a folder."""
    items = [f"- [{title}]({posixpath.basename(uri)})" for title, uri in _titles(folder)]
    return f"# {heading}\n\n" + "\n".join(items) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fills the sections of the navigation that list a folder."""
    lists = {"notebooks/": NOTEBOOKS, "decisions/": DECISIONS}
    for section in config.nav or []:
        for name, entry in section.items():
            if isinstance(entry, str) and entry in lists:
                section[name] = [f"{entry}index.md", *({title: uri} for title, uri in _titles(lists[entry]))]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the repository to those of ``pages/``."""
    for source, uri in SITE_OF.items():
        if source == DECISIONS:
            files.append(File.generated(config, uri, content=_index("Decisions", DECISIONS)))
        elif source == NOTEBOOKS:
            text = "The notebooks are in `bindings/python/notebooks`; CI executes them.\n"
            files.append(File.generated(config, uri, content=_index("Notebooks", NOTEBOOKS) + "\n" + text))
        elif source.endswith(".ipynb"):
            text, pictures = notebook_pages.page(ROOT / source)
            files.append(File.generated(config, uri, content=text))
            for name, picture in pictures.items():
                PICTURES.add(f"notebooks/{name}")
                files.append(File.generated(config, f"notebooks/{name}", content=picture))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of a page, and separates lists from the text before them, as Python-Markdown wants it."""
    uri = page.file.src_uri
    source = SOURCE_OF.get(uri)
    if source is None or source in (DECISIONS, NOTEBOOKS):
        return markdown
    lines: list[str] = []
    fenced = False
    for line in markdown.split("\n"):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if not fenced and not line.startswith("    "):
            line = _with_links(line, source, uri, config)
            is_item = re.match(r"(-|\d+\.) ", line)
            if is_item and lines and lines[-1].strip() and not re.match(r"\s|(-|\d+\.) ", lines[-1]):
                lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _with_links(line: str, source: str, uri: str, config: MkDocsConfig) -> str:
    """Rewrites the links of a line, except those in code."""

    def rewritten(found: re.Match[str]) -> str:
        if found["code"]:
            return found[0]
        if found["start"] == "![](":
            LOG.warning("%s: a picture without alternative text: %s", source, found["target"])
        return f"{found['start']}{_link(found['target'], source, uri, config)})"

    return re.sub(r"(?P<code>`+[^`]*`+)|(?P<start>!?\[\]\(|\]\()(?P<target>[^)\s]+)\)", rewritten, line)


def _link(target: str, source: str, uri: str, config: MkDocsConfig) -> str:
    if re.match(r"[a-z]+:|#", target) or posixpath.join(posixpath.dirname(uri), target) in PICTURES:
        return target
    path, hash_, anchor = target.partition("#")
    named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    there = SITE_OF.get(named)
    if there is not None:
        return posixpath.relpath(there, posixpath.dirname(uri) or ".") + hash_ + anchor
    if (ROOT / named).exists():
        kind = "tree" if (ROOT / named).is_dir() else "blob"
        return f"{config.repo_url}/{kind}/main/{named}{hash_}{anchor}"
    LOG.warning("%s: no such file: %s", source, target)
    return target



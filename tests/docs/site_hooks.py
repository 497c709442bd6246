"""What the site has beyond the pages: the files to which they link, and anchors as git hosts make them."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
"""The path of a link to a file."""


def anchor(text: str, separator: str) -> str:
    """Return the anchor of a heading as git hosts make it."""
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", separator)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let the headings have these anchors."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = anchor
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each file outside of ``docs/`` to which a page links, under ``repository/``."""
    wait = [(f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages()]
    while wait:
        path, text = wait.pop()
        for link in LINK.findall(text):
            target = _target(path, link)
            if target.startswith("docs/") or files.get_file_from_path(_place(target)):
                continue
            file = File.generated(
                config, _place(target), abs_src_path=str(ROOT / target), inclusion=InclusionLevel.NOT_IN_NAV
            )
            files.append(file)
            if target.endswith(".md"):
                wait.append((target, file.content_string))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Make links between the pages and the rest of the repository fit the site's folders."""
    here = page.file.src_uri
    path = here.removeprefix("repository/") if here.startswith("repository/") else f"docs/{here}"

    def moved(link: re.Match[str]) -> str:
        return posixpath.relpath(_place(_target(path, link[1])), posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)


def _target(path: str, link: str) -> str:
    """Return the path in the repository to which ``link`` on the page at ``path`` leads."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _place(path: str) -> str:
    """Return where a file of the repository is in the site."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"

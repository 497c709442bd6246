"""The pages that users read: their blocks, sections, tables, links and what stands in code marks."""

import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tests.harness.process import ROOT

FACES = {
    "hologram": "bridge.cli.tools.hologram",
    "hologram_send": "bridge.cli.tools.send",
    "hologram_sms": "bridge.cli.tools.sms",
    "hologram_receive": "bridge.cli.tools.receive",
}
"""The tools, and their modules."""

_FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_OPENS = re.compile(r" *```(\w*)")


class Block(NamedTuple):
    """A fenced block; ``where`` is the heading above it, ``page`` the file."""

    language: str
    text: str
    where: str
    page: str

    @property
    def lines(self) -> list[str]:
        """Return its command lines, continued ones joined, without their comments."""
        joined = self.text.replace("\\\n", " ")
        return [" ".join(line.split()) for raw in joined.splitlines() if (line := _uncommented(raw))]


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)# .*", "", line).strip()


class Page:
    """One Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()

    @cached_property
    def prose(self) -> str:
        """The text without its blocks."""
        return _FENCED.sub("", self.text)

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks; an indented one, in a list, without its indent."""
        found, heading, opened = [], "top", None
        lines = self.text.splitlines()
        for number, line in enumerate(lines):
            if opens := _OPENS.match(line):
                if opened is None:
                    opened = number, opens[1], len(line) - len(line.lstrip())
                    continue
                start, language, indent = opened
                text = "\n".join(each[indent:] for each in lines[start + 1 : number])
                found.append(Block(language, text, heading, self.name))
                opened = None
            elif opened is None and line.startswith("#"):
                heading = line.lstrip("# ")
        assert opened is None, f"{self.name}: a block does not end"
        return found

    @cached_property
    def headings(self) -> list[str]:
        """The headings, in order."""
        return [line.lstrip("# ") for line in self.prose.splitlines() if line.startswith("#")]

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as git hosts make them."""
        return {anchor(heading) for heading in self.headings}

    @cached_property
    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    @cached_property
    def inline(self) -> list[str]:
        """What stands in code marks in the text."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    def texts(self, language: str, where: str) -> list[str]:
        """Return the blocks of a language under a heading."""
        return [block.text for block in self.blocks if (block.language, block.where) == (language, where)]

    def section(self, title: str) -> str:
        """Return what stands under a heading, up to the next of its rank or above."""
        found = re.search(rf"^(#+) {re.escape(title)}\n", self.text, re.MULTILINE)
        assert found, f"{self.name} has no heading {title!r}"
        rest = self.text[found.end() :]
        ends = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
        return rest[: ends.start()] if ends else rest


def anchor(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


README = Page(ROOT / "README.md")
DOCS = [Page(path) for path in sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [
    README,
    *DOCS,
    Page(ROOT / "node-red-flows" / "README.md"),
    Page(ROOT / "config" / "home-assistant" / "README.md"),
]
_BY_NAME = {page.name: page for page in PAGES}


def page(name: str) -> Page:
    """Return a page of ``docs/`` by its name there, without ``.md``."""
    return _BY_NAME[f"docs/{name}.md"]


BLOCKS = [block for each in PAGES for block in each.blocks]
SHELL = [block for block in BLOCKS if block.language == "sh"]
PYTHON = [block for block in BLOCKS if block.language == "python"]
HJSON = [block for block in BLOCKS if block.language == "hjson"]
INLINE = [text for each in PAGES for text in each.inline]
PROSE = "\n".join(each.prose for each in PAGES)
TEXT = "\n".join(each.text for each in PAGES)


def first_cells(text: str, header: str) -> list[str]:
    """Return the first cells of the table whose header line begins so."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {header} |"))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append(line.split("|")[1].strip())
    return cells


def quoted(text: str) -> set[str]:
    """Return what stands in code marks."""
    return set(re.findall(r"`([^`\n]+)`", _FENCED.sub("", text)))

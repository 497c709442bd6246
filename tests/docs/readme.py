"""The README, read: its blocks, sections, tables and what stands in code marks."""

import re
from typing import NamedTuple

from tests.harness.process import ROOT

README = ROOT / "README.md"
TEXT = README.read_text()

FACES = {
    "hologram": "bridge.cli.tools.hologram",
    "hologram_send": "bridge.cli.tools.send",
    "hologram_sms": "bridge.cli.tools.sms",
    "hologram_receive": "bridge.cli.tools.receive",
}
"""The tools, and their modules."""


class Block(NamedTuple):
    """A fenced block; ``where`` is the heading above it."""

    language: str
    text: str
    where: str

    @property
    def lines(self) -> list[str]:
        """Return its command lines, continued ones joined, without their comments."""
        joined = self.text.replace("\\\n", " ")
        return [" ".join(line.split()) for raw in joined.splitlines() if (line := _uncommented(raw))]


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)# .*", "", line).strip()


def _blocks() -> list[Block]:
    found, heading, open_at = [], "top", None
    lines = TEXT.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("```"):
            if open_at is None:
                open_at = number
                continue
            text = "\n".join(lines[open_at + 1 : number])
            found.append(Block(lines[open_at].removeprefix("```"), text, heading))
            open_at = None
        elif open_at is None and line.startswith("#"):
            heading = line.lstrip("# ")
    return found


BLOCKS = _blocks()
SHELL = [block for block in BLOCKS if block.language == "sh"]
PYTHON = [block for block in BLOCKS if block.language == "python"]
HJSON = [block for block in BLOCKS if block.language == "hjson"]
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
INLINE = re.findall(r"`([^`\n]+)`", _FENCED.sub("", TEXT))


def texts(language: str, where: str) -> list[str]:
    return [block.text for block in BLOCKS if (block.language, block.where) == (language, where)]


def section(title: str) -> str:
    """Return what stands under a heading, up to the next of its rank."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no heading {title!r}"
    return found[2]


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
    return set(re.findall(r"`([^`\n]+)`", _FENCED.sub("", text)))

"""ARCHITECTURE.md, held to the tree: every path in it exists, and every folder of the package is on it."""

import re

from tests.harness.process import ROOT

PAGE = (ROOT / "ARCHITECTURE.md").read_text()
PACKAGE = ROOT / "bridge"
MARKED = re.findall(r"`([^`\n]+)`", PAGE)
IS_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|sql|json|md))")


def test_every_path_exists() -> None:
    """A path, of a file or a folder (``store/``), starts at the package or at the root of the checkout."""
    paths = {marked.partition(":")[0] for marked in MARKED if IS_PATH.fullmatch(marked.partition(":")[0])}
    assert len(paths) > 20
    missing = sorted(path for path in paths if not any((top / path).exists() for top in (PACKAGE, ROOT)))
    assert not missing, f"ARCHITECTURE.md names what does not exist: {', '.join(missing)}"


def test_every_folder_of_the_package_is_on_the_page() -> None:
    """A newcomer finds each folder of ``bridge/`` on the page."""
    folders = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
    unnamed = [name for name in folders if not any(re.match(rf"(bridge/)?{name}\b", each) for each in MARKED)]
    assert not unnamed, f"ARCHITECTURE.md does not name {', '.join(unnamed)}"

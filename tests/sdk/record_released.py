"""Writes down the public names of a release of Hologram's SDK: names and parameters alone.

``python -m tests.sdk.record_released FOLDER > tests/sdk/released.json`` reads the modules of an unpacked
wheel in FOLDER (``pip download --no-deps hologram-python==0.10.3``, ``python -m zipfile -e``); nothing of it
is run.
"""

import ast
import json
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("Hologram", "Exceptions", "UtilClasses")


def record(folder: Path) -> dict[str, Any]:
    """Return the public names of each module in ``folder``."""
    paths = sorted(path for package in PACKAGES for path in (folder / package).rglob("*.py"))
    return {_module(path.relative_to(folder)): _names(ast.parse(path.read_text())) for path in paths}


def _module(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _names(tree: ast.Module) -> dict[str, Any]:
    classes = {node.name: _class(node) for node in tree.body if isinstance(node, ast.ClassDef)}
    return {"constants": sorted(_assigned(tree.body)), "classes": classes}


def _class(node: ast.ClassDef) -> dict[str, Any]:
    methods: dict[str, list[str]] = {}
    properties: dict[str, str] = {}
    for each in node.body:
        if not isinstance(each, ast.FunctionDef) or not (_public(each.name) or each.name == "__init__"):
            continue
        marks = [ast.unparse(mark) for mark in each.decorator_list]
        if "property" in marks:
            properties.setdefault(each.name, "read")
        elif f"{each.name}.setter" in marks:
            properties[each.name] = "write"
        else:
            methods[each.name] = _parameters(each.args, bound="staticmethod" not in marks)
    return {"attributes": sorted(_assigned(node.body)), "methods": methods, "properties": properties}


def _parameters(arguments: ast.arguments, *, bound: bool) -> list[str]:
    """Return the names in their order; those with a default have ``=`` behind them."""
    names = [each.arg for each in arguments.args]
    first = len(names) - len(arguments.defaults)
    marked = [f"{name}=" if place >= first else name for place, name in enumerate(names)]
    return marked[1:] if bound else marked


def _assigned(body: list[ast.stmt]) -> set[str]:
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name) and _public(target.id)}


def _public(name: str) -> bool:
    return not name.startswith("_")


if __name__ == "__main__":
    json.dump(record(Path(sys.argv[1])), sys.stdout, indent=1, sort_keys=True)
    print()

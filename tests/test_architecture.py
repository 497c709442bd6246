"""Imports point one way; this walks them all and keeps it so."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bridge

ROOT = Path(bridge.__file__).parent

LAYERS = {
    # package: what of ours its modules may import, beside itself
    "core": {"errors"},
    "protocol": {"core", "errors"},
    "store": {"core", "errors"},
    "adapters": {"core", "protocol", "errors"},
    "flow": {"core", "protocol", "store", "errors"},
    "settings": {"core", "errors"},
    "sim": {"errors"},
    "errors": set[str](),
    "logs": {"core", "errors"},
}
"""Those not named (app, parts, reload, compose, managed, cli, sdk, demo) put things together."""

NOT_IN_THE_DAEMON = ("rich", "pytest", "hypothesis", "serial", "asyncio.test_utils", "multiprocessing.pool")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


MODULES = modules()


def imported(path: Path) -> set[str]:
    """Return the full names that a file imports from us, those inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who depends on whom"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] == "bridge"}


def of_module(name: str) -> str:
    """Return the module that holds the imported ``name``."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def layer(name: str) -> str:
    """Return the package below `bridge` that a module belongs to; '' is the package itself."""
    return [*name.split("."), ""][1]


def edges() -> dict[str, set[str]]:
    return {name: {of_module(target) for target in imported(path)} - {name} for name, path in MODULES.items()}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name: str) -> None:
    """A module imports only its own layer and those below it."""
    own = layer(name)
    if own not in LAYERS:
        return
    allowed = LAYERS[own] | {own}
    for target in imported(MODULES[name]):
        assert layer(of_module(target)) in allowed, f"{name} must not import {target}"


def test_every_package_has_a_rule() -> None:
    """A new package under `bridge` says what it may import, or is one that puts things together."""
    composing = {"", "app", "reload", "compose", "managed", "managed_wifi", "cli", "sdk", "demo", "__main__"}
    composing |= {"answers", "doctor", "earlier_sessions", "parts", "service"}
    assert {layer(name) for name in MODULES} <= set(LAYERS) | composing


def test_nothing_imports_the_application_but_its_commands() -> None:
    """The composition root is the top: commands start it, and nothing below knows of it."""
    for name, targets in edges().items():
        if "bridge.app" in targets:
            assert layer(name) == "cli", f"{name} imports bridge.app"
        if "bridge.parts" in targets:
            assert name == "bridge.app", f"{name} imports bridge.parts"
        if any(layer(target) == "cli" for target in targets):
            assert layer(name) in {"cli", "__main__", "demo"}, f"{name} imports a command"


def test_there_are_no_import_cycles() -> None:
    """Following imports never comes back to where it began."""
    graph = edges()
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("package", ["core", "protocol"])
def test_values_and_formats_do_no_io(package: str) -> None:
    """What decides and what parses opens nothing, reads no clock and starts no thread."""
    forbidden = {
        "socket",
        "asyncio",
        "threading",
        "time",
        "subprocess",
        "os",
        "pathlib",
        "sqlite3",
        "logging",
    }
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            used = {name.split(".")[0] for name in names} & forbidden
            assert not used, f"{path.name} imports {used}"


def test_the_daemon_loads_nothing_that_it_does_not_need() -> None:
    """What only the demo, the tests or a modem needs is not in a running bridge's memory."""
    script = "import sys, bridge.app; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bridge.flow.uplink" in loaded
    assert not loaded.intersection(NOT_IN_THE_DAEMON)
    assert not [name for name in loaded if name.startswith(("bridge.sim", "bridge.cli", "bridge.demo"))]

"""The rules of the house: who imports whom. One test walks every import and lists what breaks a rule."""

import ast
import subprocess
import sys
from pathlib import Path

import bridge

ROOT = Path(bridge.__file__).parent

MAY_IMPORT = {
    # package: what of ours its modules may import, beside itself
    "core": {"errors"},
    "protocol": {"core", "errors"},
    "store": {"core", "errors"},
    "adapters": {"core", "protocol", "errors"},
    "flow": {"batch", "core", "protocol", "store", "errors"},
    "settings": {"core", "errors"},
    "sim": {"errors"},
    "watch": {"adapters", "core", "errors"},
    "demo": {"adapters", "batch", "core", "sim", "watch", "errors"},
    "errors": set[str](),
    "batch": set[str](),
    "collect": {"adapters", "batch", "core", "settings", "errors"},
    # These put the others together.
    "assemblies": {"adapters", "core", "flow", "protocol", "store", "errors"},
    "daemon": {"adapters", "assemblies", "core", "flow", "protocol", "settings", "store", "errors", ""},
    "sdk": {"adapters", "assemblies", "core", "flow", "protocol", "store", "errors"},
    "doctor": {"adapters", "core", "daemon", "protocol", "settings", "store", "errors"},
    "cli": {
        "adapters",
        "batch",
        "collect",
        "core",
        "daemon",
        "doctor",
        "flow",
        "protocol",
        "sdk",
        "settings",
        "sim",
        "store",
        "watch",
        "errors",
        "",
    },
    "": {"cli", "errors"},
}
"""The sketch of the house. '' is the package itself: its version, and ``__main__``."""

WITHIN = {
    # folder: which other folders of its package it may import
    "adapters": {"modem": {"usb"}, "ppp": {"usb"}, "modem_sockets": {"inbound"}, "*": {"system"}},
    "flow": {"sms": {"message"}, "health": {"message"}, "remote": {"message"}, "*": {""}},
    "sdk": {"": {"engine"}},
}
"""Rooms of one house that know of each other; all others do not. '' are the modules beside the folders."""

NO_IO = ("asyncio", "logging", "os", "pathlib", "socket", "sqlite3", "subprocess", "threading", "time")
"""What decides and what parses opens nothing, reads no clock and starts no thread."""

NOT_IN_THE_DAEMON = (
    "rich",
    "uvicorn",
    "h11",
    "nats",
    "pytest",
    "hypothesis",
    "serial",
    "asyncio.test_utils",
    "multiprocessing.pool",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """Return the full names that a file imports, those inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who depends on whom"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def of_module(name: str) -> str:
    """Return the module that holds the imported ``name``."""
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def edges() -> dict[str, set[str]]:
    """Return which of our modules each of them imports."""
    return {
        name: {of_module(each) for each in imported(path) if each.split(".")[0] == "bridge"} - {name}
        for name, path in MODULES.items()
    }


def package_and_folder(module: str) -> tuple[str, str]:
    """Return a module's package below `bridge` and its folder in that, '' where there is none."""
    parts = module.split(".")[1:]
    is_package = MODULES[module].name == "__init__.py"
    folders = parts if is_package else parts[:-1]
    return (folders[0] if folders else ""), (folders[1] if len(folders) > 1 else "")


def broken_rules() -> list[str]:
    found = []
    for name, targets in edges().items():
        package, folder = package_and_folder(name)
        for target in sorted(targets):
            other, room = package_and_folder(target)
            if other != package:
                allowed = other in MAY_IMPORT[package]
            elif package in WITHIN and room != folder:
                rooms = WITHIN[package]
                allowed = room in rooms.get(folder, set()) | rooms.get("*", set())
            else:
                allowed = True
            if not allowed:
                found.append(f"{name} must not import {target}")
    for package in ("batch", "core", "protocol"):
        for name, path in MODULES.items():
            if package_and_folder(name)[0] == package:
                used = {each.split(".")[0] for each in imported(path)} & set(NO_IO)
                found += [f"{name} must not import {each}: it decides or parses" for each in sorted(used)]
    return found


def cycles() -> list[str]:
    graph, done, found = edges(), set[str](), list[str]()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append("cycle: " + " -> ".join((*path[path.index(name) :], name)))
        elif name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return found


def test_every_import_follows_the_rules() -> None:
    """Imports point one way, rooms keep to themselves, and there is no cycle."""
    assert {package_and_folder(name)[0] for name in MODULES} == set(MAY_IMPORT), "a new package needs a rule"
    in_root = {name for name in MODULES if package_and_folder(name) == ("", "")}
    assert in_root == {"bridge", "bridge.__main__"}, "a module lives in a package"
    assert broken_rules() + cycles() == []


def test_receivers_of_batches_need_the_standard_library_alone() -> None:
    """What reads batches runs where nothing of ours, or of others, is installed."""
    files = [path for name, path in MODULES.items() if package_and_folder(name)[0] == "batch"]
    needed = set().union(*map(imported, files))
    foreign = {each for each in needed if each.split(".")[0] not in sys.stdlib_module_names}
    assert {each for each in foreign if not each.startswith("bridge.batch.")} == set()


def test_the_daemon_loads_nothing_that_it_does_not_need() -> None:
    """What only the demo, the tests or a modem needs is not in a running bridge's memory."""
    script = "import sys, bridge.daemon.app; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "bridge.flow.message.uplink" in loaded
    assert not loaded.intersection(NOT_IN_THE_DAEMON)
    assert not [
        name
        for name in loaded
        if name.startswith(("bridge.sim", "bridge.cli", "bridge.demo", "bridge.watch", "bridge.collect"))
    ]
    assert not loaded.intersection({"bridge.flow.link.manager", "bridge.protocol.at"})

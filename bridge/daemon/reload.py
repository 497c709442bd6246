"""The comparison of two configurations: changes that apply at once, and changes that wait for a restart."""

from typing import Any, NamedTuple

from bridge.settings import Settings

NEEDS_RESTART = (
    "mqtt",
    "store.path",
    "control",
    "metrics",
    "network",
    "home_assistant",
    "inbound.enabled",
    "inbound.host",
    "inbound.port",
    "inbound.protocols",
)
"""Keys, or whole sections, that are read once, because sockets, files and identities depend on them."""


_ABSENT = object()


class Changes(NamedTuple):
    """The keys that differ."""

    applied: tuple[str, ...]
    """Changed keys that take effect at once."""
    waiting: tuple[str, ...]
    """Changed keys that take effect after a restart."""


def compare(old: Settings, new: Settings) -> Changes:
    """Return the keys in which ``new`` differs from ``old``, without values, because some are secret."""
    before, after = _flat(old.model_dump()), _flat(new.model_dump())
    changed = [key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    waiting = tuple(key for key in changed if needs_restart(key))
    return Changes(tuple(key for key in changed if key not in waiting), waiting)


def needs_restart(key: str) -> bool:
    """Return whether a change of ``key`` takes effect only after a restart."""
    return any(key == name or key.startswith(name + ".") for name in NEEDS_RESTART)


def _flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{before}{key}"
        if isinstance(value, dict):
            flat |= _flat(value, path + ".")
        else:
            flat[path] = value
    return flat

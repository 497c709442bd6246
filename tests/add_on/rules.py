"""Home Assistant's published rules for an add-on's description, as data, and what breaks them.

[Home Assistant developer docs, "Add-on configuration"; supervisor: addons/validate.py, addons/options.py]
"""

import re
from collections.abc import Iterator
from typing import Any

REQUIRED = ("name", "version", "slug", "description", "arch")

VALUES: dict[str, object] = {
    "name": str,
    "version": str,
    "slug": re.compile(r"[-_.A-Za-z0-9]+"),
    "description": str,
    "arch": ("amd64", "aarch64", "armv7", "armhf", "i386"),
    "startup": ("initialize", "system", "services", "application", "once"),
    "boot": ("auto", "manual", "manual_only"),
    "init": bool,
    "host_network": bool,
    "services": re.compile(r"(mqtt|mysql):(provide|want|need)"),
    "uart": bool,
    "devices": re.compile(r"/dev/\S+"),
    "privileged": ("BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH", "IPC_LOCK", "NET_ADMIN", "NET_RAW",
                   "PERFMON", "SYS_ADMIN", "SYS_MODULE", "SYS_NICE", "SYS_PTRACE", "SYS_RAWIO",
                   "SYS_RESOURCE", "SYS_TIME"),
    "map": re.compile(r"(data|config|ssl|addons|backup|share|media|homeassistant_config|all_addon_configs"
                      r"|addon_config)(:(rw|ro))?"),
    "backup": ("hot", "cold"),
    "timeout": range(10, 301),
    "ingress": bool,
    "options": dict,
    "schema": dict,
}  # fmt: skip
"""What each key may be, of those that are used here: a type, a pattern, one of several, a range."""

ELEMENT = re.compile(
    r"(bool|email|url|port|device(\(subsystem=[a-z]+\))?|str(\(\d*,\d*\))?|password(\(\d*,\d*\))?"
    r"|int(\(\d*,\d*\))?|float(\([\d.]*,[\d.]*\))?|match\((?P<match>.*)\)|list\((?P<list>.+)\))\??"
)
"""One element of a schema."""


def problems(config: dict[str, Any]) -> Iterator[str]:
    """Yield what breaks the rules."""
    yield from (f"{key} is missing" for key in REQUIRED if key not in config)
    for key, value in config.items():
        if key not in VALUES:
            yield f"{key} is no key"
        elif not all(_fits(each, VALUES[key]) for each in (value if isinstance(value, list) else [value])):
            yield f"{key}: {value}"
    yield from _elements(config["schema"], depth=0)
    yield from refused(config["options"], config["schema"])


def _fits(value: object, rule: object) -> bool:
    if isinstance(rule, re.Pattern):
        return isinstance(value, str) and rule.fullmatch(value) is not None
    return isinstance(value, rule) if isinstance(rule, type) else value in rule  # type: ignore[operator]


def _elements(schema: Any, depth: int) -> Iterator[str]:
    """Yield the elements that are none; lists and objects go two deep."""
    if isinstance(schema, str):
        found = ELEMENT.fullmatch(schema)
        if not found:
            yield f"schema: {schema}"
        elif found["match"]:
            re.compile(found["match"])
    elif depth > 2:
        yield f"schema: {schema} is too deep"
    else:
        for each in schema.values() if isinstance(schema, dict) else schema:
            yield from _elements(each, depth + 1)


def refused(options: Any, schema: Any, place: str = "options") -> Iterator[str]:
    """Yield what the Supervisor refuses of ``options`` before it starts the add-on."""
    if isinstance(schema, list):
        for each in options:
            yield from refused(each, schema[0], place)
    elif isinstance(schema, dict):
        optional = {key for key, inner in schema.items() if isinstance(inner, str) and inner.endswith("?")}
        yield from (f"{place}.{key} is missing" for key in schema.keys() - options.keys() - optional)
        yield from (f"{place}.{key} is unknown" for key in options.keys() - schema.keys())
        for key in options.keys() & schema.keys():
            yield from refused(options[key], schema[key], f"{place}.{key}")
    elif not _accepts(schema, options):
        yield f"{place}: {options!r} is not {schema}"


def _accepts(element: str, value: Any) -> bool:
    found = ELEMENT.fullmatch(element)
    assert found, element
    if found["list"]:
        return str(value) in found["list"].split("|")
    if found["match"]:
        return re.match(found["match"], str(value)) is not None
    return value is not None

"""What a check finds."""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    state: State
    finding: str
    """What was seen, in one line."""
    fix: str | None = None
    """What to do about it, where something is to be done."""


def ok(name: str, finding: str) -> Finding:
    """Return that all is well."""
    return Finding(name, State.OK, finding)


def warn(name: str, finding: str, fix: str) -> Finding:
    """Return that it works, and could go wrong."""
    return Finding(name, State.WARN, finding, fix)


def fail(name: str, finding: str, fix: str) -> Finding:
    """Return that it does not work."""
    return Finding(name, State.FAIL, finding, fix)


def skipped(name: str, finding: str, fix: str | None = None) -> Finding:
    """Return that it was not looked at, and why."""
    return Finding(name, State.SKIPPED, finding, fix)

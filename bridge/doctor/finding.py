"""The findings of checks."""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """The outcome of one check."""

    name: str
    state: State
    finding: str
    """The observation, in one line."""
    fix: str | None = None
    """The fix, if one is needed."""


def ok(name: str, finding: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(name, State.OK, finding)


def warn(name: str, finding: str, fix: str) -> Finding:
    """Return a finding that it works but could go wrong."""
    return Finding(name, State.WARN, finding, fix)


def fail(name: str, finding: str, fix: str) -> Finding:
    """Return a finding that it does not work."""
    return Finding(name, State.FAIL, finding, fix)


def skipped(name: str, finding: str, fix: str | None = None) -> Finding:
    """Return a finding that it was not checked, and why."""
    return Finding(name, State.SKIPPED, finding, fix)

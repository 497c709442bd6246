"""The commands that people publish, and which of the bridge's messages each became."""

import json
from collections import deque
from typing import Any, NamedTuple

from bridge.watch.values import shown

_FORGET_AFTER = 120.0
"""Seconds until a command without an event of the bridge is forgotten."""

_COMMANDS = 200_000
"""Most commands that wait for the bridge's event; large, so that a flood does not mix the payloads up."""


class _Command(NamedTuple):
    at: float
    to: str
    text: str


class Commands:
    """The commands whose event the bridge has not published yet."""

    def __init__(self) -> None:
        self._waiting: deque[_Command] = deque(maxlen=_COMMANDS)

    def add(self, below: str, payload: bytes, now: float) -> None:
        """Take a command on the topic ``below`` the prefix; ``now`` in Unix seconds."""
        self._waiting.append(_Command(now, *_read(below, payload)))

    def payload(self, to: str, now: float) -> str:
        """Return the payload of the oldest command to ``to`` without an event of the bridge.

        The bridge's events keep the order of the commands, so every command before that one was rejected.
        """
        waiting = self._waiting
        while waiting and now - waiting[0].at > _FORGET_AFTER:
            waiting.popleft()
        if all(command.to != to for command in waiting):
            return ""
        while (command := waiting.popleft()).to != to:
            pass
        return command.text


def destination(about: dict[str, Any]) -> str:
    """Return a message's destination from the bridge's event or result."""
    named = about.get("to") or ", ".join(about.get("topics") or ())  # a rejected one has neither
    if about["channel"] == "quote":
        return shown(f"quote {named}".rstrip())
    return shown(named or {"cloud": "(no topic)"}.get(about["channel"], about["channel"]))


def _read(below: str, payload: bytes) -> tuple[str, str]:
    """Return a command's destination, in the form of `_to`, and its text."""
    head, _, rest = below.partition("/")
    if head == "out":
        return shown(rest) or "(no topic)", shown(payload)
    if head == "sms" and rest:
        return f"+{shown(rest)}", shown(payload)
    try:
        value = json.loads(payload)
        topics = value.get("topics") or []
        return destination({"channel": "cloud", **value, "topics": topics}), shown(
            value.get("data", value.get("body", ""))
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return shown(below), shown(payload)

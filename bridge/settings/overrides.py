"""Overrides: settings changed from afar, which count more than the file and less than the environment.

A change is on trial until it is confirmed, so that one which cuts the box off takes itself back::

    confirmed ── set, unset ──> trial ── confirm ──> confirmed
                                  │
                                  └── its time is over, another boot, the third start
                                      that no command asked for ──> what was confirmed before

Values only; `bridge.settings.override_file` keeps them on disk. A value is text, read as a variable of the
environment is. The time that a trial has left is a moment of its boot, so that undoing writes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bridge.settings.explain import find, known_keys

WINDOW = 600.0
"""Seconds of a trial, since its last change."""

STARTS = 3
"""The start that ends a trial, of those that no command asked for."""

LONGEST = 200
"""Characters of a value at most."""

KEYS = (
    "cloud.timeout",
    "cloud.parallel",
    "network.apn",
    "network.autoconnect",
    "network.poll",
    "inbound.timeout",
    "inbound.deadline",
    "log.level",
)
"""Settings that can be changed from afar: nothing secret, nothing about who may reach the box or whom it
reaches."""

SECTIONS = ("sms", "budget", "heartbeat")
"""Sections of which all settings can be."""


def may_change(key: str) -> bool:
    """Return whether the setting ``key`` can be changed from afar."""
    section, _, name = key.partition(".")
    return key in KEYS or (section in SECTIONS and "." not in name and key in known_keys())


def changeable() -> tuple[str, ...]:
    """Return all settings that can be changed from afar."""
    return tuple(key for key in known_keys() if may_change(key))


class Moment(NamedTuple):
    """A moment of a boot: the kernel's name of the boot, and seconds of its clock [CLOCK_BOOTTIME]."""

    boot: str
    mono: float


@dataclass(frozen=True, slots=True)
class Trial:
    """Changes that nobody has confirmed."""

    values: Mapping[str, str]
    """All overrides during the trial, the confirmed ones among them."""
    boot: str
    until: float
    """The end in seconds of the boot's clock."""
    starts: int = 0
    """Starts of the bridge in its time that no command asked for."""
    asked: bool = False
    """Whether a command has asked for the next start."""

    def is_over(self, now: Moment) -> bool:
        """Return whether its time has passed, its boot has, or the bridge has started too often."""
        # More than the whole time, but for rounding, cannot be left: then the file is not what was written.
        return self.boot != now.boot or not 0 < self.until - now.mono < WINDOW + 1 or self.starts >= STARTS


@dataclass(frozen=True, slots=True)
class Overrides:
    """The overrides of a box; a change returns new ones."""

    confirmed: Mapping[str, str] = field(default_factory=dict)
    trial: Trial | None = None

    @property
    def values(self) -> Mapping[str, str]:
        """The text of each setting that is overridden."""
        return self.trial.values if self.trial else self.confirmed

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """The settings that undoing would change, those that are `unset` among them."""
        before, now = self.confirmed, self.values
        return tuple(key for key in {**before, **now} if before.get(key) != now.get(key))

    def left(self, now: Moment) -> float:
        """Return the seconds that the trial has left."""
        return max(0.0, self.trial.until - now.mono) if self.trial else 0.0

    def describe(self, now: Moment) -> str:
        """Return what is changed from afar and what of it is unconfirmed, in words; empty for nothing."""
        sure = [key for key in self.values if key not in self.unconfirmed]
        parts = [f"changed from afar: {', '.join(sure)}"] if sure else []
        if self.trial:
            keys = ", ".join(self.unconfirmed) or "no change"
            parts.append(f"unconfirmed, undone in {self.left(now):.0f} s: {keys}")
        return "; ".join(parts)

    def changed(self, key: str, value: str | None, now: Moment) -> "Overrides":
        """Return them with another ``value`` of ``key``, None for no override; the trial begins anew."""
        values = {name: text for name, text in self.values.items() if name != key}
        if value is not None:
            values[key] = value
        return replace(self, trial=Trial(values, now.boot, now.mono + WINDOW))

    def accepted(self) -> "Overrides":
        """Return them with all that is on trial confirmed."""
        return Overrides(self.values)

    def undone(self) -> "Overrides":
        """Return them without what is on trial."""
        return replace(self, trial=None)

    def at(self, now: Moment) -> "Overrides":
        """Return them as they count now: undone if the trial is over."""
        return self.undone() if self.trial and self.trial.is_over(now) else self

    def asked(self) -> "Overrides":
        """Return them before a start that a command asks for."""
        return replace(self, trial=replace(self.trial, asked=True)) if self.trial else self

    def started(self, now: Moment) -> "Overrides":
        """Return them after a start of the bridge."""
        if self.trial is None:
            return self
        starts = self.trial.starts + (not self.trial.asked)
        return replace(self, trial=replace(self.trial, starts=starts, asked=False)).at(now)


def write(overrides: Overrides) -> bytes:
    """Return the content of the file for ``overrides``."""
    trial = overrides.trial
    tree: dict[str, Any] = {"v": 1, "confirmed": dict(overrides.confirmed)}
    if trial:
        tree["trial"] = {
            "values": dict(trial.values),
            "boot": trial.boot,
            "until": trial.until,
            "starts": trial.starts,
            "asked": trial.asked,
        }
    return json.dumps(tree, indent=1).encode() + b"\n"


_NO_JSON = (UnicodeDecodeError, json.JSONDecodeError)


def parse(content: bytes) -> Overrides:
    """Return the overrides of a file's ``content``; raises ValueError, with what is wrong, for anything else.

    Another version of the bridge may have written it, with keys that this one does not take.
    """
    try:
        tree = json.loads(content)
        if tree["v"] != 1:
            raise ValueError("it is of a newer version")
        trial = tree.get("trial")
        return Overrides(_values(tree["confirmed"]), None if trial is None else _trial(trial))
    except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, *_NO_JSON):
        raise ValueError("it is damaged") from None


def _trial(tree: Mapping[str, Any]) -> Trial:
    return Trial(
        _values(tree["values"]),
        str(tree["boot"]),
        float(tree["until"]),
        int(tree["starts"]),
        tree["asked"] is True,
    )


def _values(tree: Mapping[str, Any]) -> dict[str, str]:
    for key, value in tree.items():
        if not may_change(key):
            raise ValueError(f"{key} cannot be changed from afar")
        if not isinstance(value, str) or find(tuple(key.split("."))).field is None:
            raise TypeError
    return dict(tree)

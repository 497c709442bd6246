"""Settings changed from afar: read, changed on trial, confirmed, undone.

A change is durable before it counts. It is undone by itself unless it is confirmed in time, whatever happened
to the link, the process or the box meanwhile; nothing that undoes needs the disk or a valid file.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bridge.core.time import Time, Timer
from bridge.daemon.begin import Reread, note_apn, set_aside
from bridge.daemon.reload import needs_restart
from bridge.errors import BridgeError, ConfigError
from bridge.flow.notices import Notices
from bridge.settings import Loaded, OverrideFile, Overrides, effective
from bridge.settings.explain import allowed, find, known_keys, nearest
from bridge.settings.overrides import LONGEST, WINDOW, Moment, changeable, may_change
from bridge.store.database import boot_id

log = logging.getLogger("remote")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command about the settings."""

    done: bool
    text: str
    """The answer. That of `get` has the setting's value, so it is for who asked alone; no other has one."""
    restart: bool = False
    """Whether the bridge has to execute itself anew, once the answer is sent, for the change to count."""


class RemoteSettings:
    """The settings as commands from afar see them; lives in the event loop's thread."""

    def __init__(
        self,
        loaded: Loaded,
        reread: Reread,
        time: Time,
        notices: Notices,
        *,
        apply: Callable[[Loaded], object],
        restart: Callable[[Loaded], None],
    ) -> None:
        """``apply`` puts a configuration into force as far as that needs no restart; raises `BridgeError`.

        ``restart`` has the bridge begin anew, with that configuration if the file does not allow a start.
        """
        self.loaded = loaded
        self._reread = reread
        self._time = time
        self._boot = boot_id()
        self._notices = notices
        self._apply = apply
        self._restart = restart
        self._file = OverrideFile(loaded.settings.store.path)
        self._timer: Timer | None = None

    def start(self) -> None:
        """Watch over a trial that began before this start."""
        self._watch()

    # -- commands ----------------------------------------------------------------------------------------

    def get(self, key: str) -> Outcome:
        """Tell the value of a setting, or those of a section; secrets are masked."""
        if key not in known_keys():
            return Outcome(False, f"unknown key;{nearest(key, known_keys()) or ' see the configuration'}")
        value: Any = effective(self.loaded.settings)
        for name in key.split("."):
            value = value[name] if isinstance(value, dict) else None
        return Outcome(True, f"{key}={_shown(value)}{self._standing(key)}")

    def set(self, key: str, value: str) -> Outcome:
        """Change a setting on trial."""
        if not may_change(key):
            return _not_from_afar(key)
        if len(value) > LONGEST:
            return Outcome(False, f"{key}: a value has at most {LONGEST} characters")
        return self._change(key, value)

    def unset(self, key: str) -> Outcome:
        """Let the file's value of a setting count again, on trial."""
        if not may_change(key):
            return _not_from_afar(key)
        if key not in self._overrides.values:
            return Outcome(False, f"{key} is not changed from afar")
        return self._change(key, None)

    def confirm(self) -> Outcome:
        """Keep all that is on trial."""
        if self._overrides.trial is None:
            return Outcome(True, "nothing is unconfirmed")
        keys = ", ".join(self._overrides.unconfirmed) or "no change"
        accepted = self._overrides.accepted()
        try:
            self._file.write(accepted)
        except OSError as exc:
            return _not_kept(exc)
        self.loaded = replace(self.loaded, overrides=accepted, undone=None)
        self._watch()
        self._put()  # nothing changes but what is told about it
        log.info("confirmed from afar: %s", keys)
        return Outcome(True, f"confirmed: {keys}")

    def clear(self) -> Outcome:
        """Remove all overrides, for a person at the box."""
        keys = tuple(self._overrides.values)
        try:
            text = self._file.clear()
        except OSError as exc:
            return _not_kept(exc)
        log.info("%s%s", text, f": {', '.join(keys)}" if keys else "")
        if keys or self._overrides.trial:
            self._return_to(Overrides(), keys)
        return Outcome(True, text)

    # -- changes -----------------------------------------------------------------------------------------

    @property
    def _overrides(self) -> Overrides:
        return self.loaded.overrides

    @property
    def _now(self) -> Moment:
        return Moment(self._boot, self._time.now().mono)

    def _change(self, key: str, value: str | None) -> Outcome:
        before = self._overrides
        changed = before.changed(key, value, self._now)
        try:
            loaded = self._reread(overrides=changed)
        except ConfigError as exc:
            return Outcome(False, _refusal(key, str(exc)))
        if key in loaded.hidden:
            return Outcome(False, f"{key}: the environment of the bridge sets it, which counts more")
        try:
            self._file.write(changed)
        except OSError as exc:
            return _not_kept(exc)
        try:
            self._apply(loaded)
        except BridgeError as exc:
            self._keep(before)
            return Outcome(False, str(exc).split("\n")[0])
        restart = needs_restart(key)
        self.loaded = loaded
        self._watch()
        log.info("changed from afar until it is confirmed: %s", key)
        minutes = f"{WINDOW / 60:g} min"
        after = "; the bridge restarts" if restart else ""
        return Outcome(True, f"{key} is changed{after}; undone in {minutes} unless confirmed", restart)

    def restarting(self) -> None:
        """Note that a command has asked for the next start."""
        self._keep(self._overrides.asked())

    def adopt(self, loaded: Loaded) -> None:
        """Take a configuration that was read again, overrides included."""
        if loaded.refused:
            self._notices.problem("config", loaded.refused)
            set_aside(self._file, loaded)
        self.loaded = loaded
        self._watch()

    # -- undoing -----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._timer:
            self._timer.cancel()
        left = self._overrides.left(self._now)
        self._timer = self._time.call_later(left, self._undo) if self._overrides.trial else None

    def _undo(self) -> None:
        keys = self._overrides.unconfirmed
        text = f"not confirmed in time, and undone: {', '.join(keys)}"
        log.warning("%s", text)
        self._notices.problem("config", text)
        undone = self._overrides.undone()
        self._keep(undone)  # if the disk does not take it, the trial is over all the same
        self._return_to(undone, keys)

    def _return_to(self, overrides: Overrides, keys: tuple[str, ...]) -> None:
        """Put earlier ``overrides`` into force, in which ``keys`` differ."""
        try:
            loaded = self._reread(overrides=overrides)
        except ConfigError as exc:  # somebody is editing the file
            log.error(
                "the file is not valid now, so what counted before is used: %s", str(exc).split("\n")[0]
            )
            settings = self.loaded.undone or self.loaded.settings
            loaded = replace(self.loaded, settings=settings, overrides=overrides, undone=None)
        self.loaded = loaded
        self._watch()
        note_apn(self._file, loaded)
        self._put()
        if any(map(needs_restart, keys)):
            self._restart(loaded)

    def _put(self) -> None:
        """Put the configuration into force; a part that cannot be is told, and no reason to keep another."""
        try:
            self._apply(self.loaded)
        except BridgeError as exc:
            log.error("%s", exc)

    def _keep(self, overrides: Overrides) -> None:
        """Write ``overrides`` if the disk takes them."""
        self.loaded = replace(self.loaded, overrides=overrides)
        try:
            self._file.write(overrides)
        except OSError as exc:
            log.warning("%s: %s", self._file.path, exc.strerror)

    def _standing(self, key: str) -> str:
        if key not in self._overrides.unconfirmed:
            return ""
        return f" (unconfirmed, undone in {self._overrides.left(self._now):.0f} s)"


# -- words -----------------------------------------------------------------------------------------------


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _not_from_afar(key: str) -> Outcome:
    near = nearest(key, list(changeable()))
    return Outcome(False, f"not to be changed from afar;{near}" if near else "not to be changed from afar")


def _not_kept(error: OSError) -> Outcome:
    return Outcome(False, f"not kept: {error.strerror}")


def _refusal(key: str, problem: str) -> str:
    """Return why a value is refused, without the value."""
    line = problem.partition("\n")[0]
    field = find(tuple(key.split("."))).field
    if field is not None and line.startswith((f"{key}:", f"{key}[")):
        return f"{key}: not allowed; allowed is {allowed(field)}"
    return f"the configuration is not valid with it: {line}"

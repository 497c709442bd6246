"""The start of the daemon, as far as settings that were changed from afar are concerned."""

import contextlib
import logging
from typing import Protocol

from bridge.settings import Loaded, OverrideFile, Overrides, moment

log = logging.getLogger("remote")


class Reread(Protocol):
    """Reads the configuration again."""

    def __call__(self, *, overrides: Overrides | None = None) -> Loaded:
        """Return it, with ``overrides`` instead of those on disk; raises `ConfigError`."""


def begin(loaded: Loaded, reread: Reread) -> tuple[Loaded, str | None]:
    """Count a start of the bridge; return the configuration for it, and what a person should know.

    It runs before anything is dialled, and by the process that holds the store.
    """
    file = OverrideFile(loaded.settings.store.path)
    if loaded.refused:
        set_aside(file, loaded)
        note_apn(file, loaded)
        return loaded, loaded.refused
    try:
        found = file.read()
    except (OSError, ValueError):
        found = Overrides()
    counted = found.started(moment())
    if counted != found:
        counted = _counted(file, counted)
    text = None
    if found.trial and not counted.trial:
        text = f"not confirmed, and undone by this start: {', '.join(found.unconfirmed)}"
        log.warning("%s", text)
    loaded = reread(overrides=counted) if counted != loaded.overrides else loaded
    note_apn(file, loaded)
    return loaded, text


def _counted(file: OverrideFile, overrides: Overrides) -> Overrides:
    """Write ``overrides`` after a start; what cannot be counted is not tried either."""
    try:
        file.write(overrides)
    except OSError as exc:
        log.error("%s: %s", file.path, exc.strerror)
        return overrides.undone()
    return overrides


def set_aside(file: OverrideFile, loaded: Loaded) -> None:
    """Take overrides out of force with which the configuration is not valid.

    What cannot be read now stays, because the next start may be able to.
    """
    log.error("%s", loaded.refused)
    try:
        with contextlib.suppress(ValueError):
            file.read()
        file.set_aside()
        log.error("they are kept in %s", file.aside)
    except OSError as exc:
        log.error("%s: %s", file.path, exc.strerror)


def note_apn(file: OverrideFile, loaded: Loaded) -> None:
    """Tell the unit that dials the APN, if it is not the file's."""
    changed = "network.apn" in loaded.overrides.values and "network.apn" not in loaded.hidden
    try:
        file.note_apn(loaded.settings.network.apn if changed else None)
    except OSError as exc:
        log.error("hologram-ppp.service cannot be told the APN: %s", exc.strerror)

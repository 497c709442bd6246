"""The configuration: HJSON, the overrides and the environment, checked once, frozen from then on."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_IROTH
from typing import Any

from pydantic import ValidationError

from bridge.errors import WHO_MAY, ConfigError
from bridge.settings.explain import explain, find, is_secret, masked, one_line_each
from bridge.settings.models import Batch, Escalate, Filter, Notify, Route, Settings, Tls
from bridge.settings.override_file import OverrideFile, moment
from bridge.settings.overrides import Overrides
from bridge.settings.sources import PREFIX, Read, read_environment, read_file, read_overrides, sets
from bridge.settings.unused import unused

__all__ = [
    "DEFAULT_PATH",
    "Batch",
    "Escalate",
    "Filter",
    "Loaded",
    "Notify",
    "OverrideFile",
    "Overrides",
    "Route",
    "Settings",
    "Tls",
    "effective",
    "load",
    "moment",
]

DEFAULT_PATH = Path("/etc/hologram-bridge/bridge.hjson")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of :func:`load`: the settings, the warnings, and the file (None: only the environment)."""

    settings: Settings
    warnings: tuple[str, ...]
    path: Path | None
    overrides: Overrides = field(default_factory=Overrides)
    """What is changed from afar, as it counts in ``settings``."""
    hidden: tuple[str, ...] = ()
    """Overridden settings in which the environment counts instead."""
    refused: str | None = None
    """Why overrides do not count: one line, which names the setting."""
    undone: Settings | None = None
    """The settings without what nobody has confirmed; None: they are the same."""

    def changes(self) -> str:
        """Return what is changed from afar now, in words; empty for nothing."""
        parts = [self.overrides.describe(moment())]
        if self.hidden:
            parts.append(f"the environment counts instead for {', '.join(self.hidden)}")
        return "; ".join(filter(None, parts))


def load(
    path: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    default: Path = DEFAULT_PATH,
    overrides: Overrides | None = None,
) -> Loaded:
    """Read the file at ``path`` (None: at ``default``), the overrides and the environment, which counts most.

    ``overrides`` count instead of those beside the store, and with them the configuration has to be valid.
    Those beside the store never make it invalid: all of them are left out then, and ``refused`` says why.

    Raises :class:`bridge.errors.ConfigError` with one line per problem.
    """
    environment = read_environment(environ)
    where = path or default
    try:
        file = read_file(where)
    except FileNotFoundError:
        if path is not None:
            raise ConfigError(f"{where}: there is no such file; name yours with -c FILE") from None
        base = Loaded(_from_environment(environment, where), (), None)
        file = Read({})
    else:
        base = Loaded(_checked(environment, file), _mode_warning(where, file), where)
    loaded = _overridden(base, environment, file, overrides)
    return replace(loaded, warnings=(*loaded.warnings, *unused(loaded.settings)))


def _overridden(base: Loaded, environment: Read, file: Read, given: Overrides | None) -> Loaded:
    """Return ``base`` with the overrides; raises `ConfigError` if those ``given`` are not valid with it."""
    if given is not None:
        return _over(base, environment, file, given)
    store = OverrideFile(base.settings.store.path)
    keys: tuple[str, ...] = ()
    try:
        found = store.read().at(moment())
        keys = tuple(found.values)
        return _over(base, environment, file, found)
    except ConfigError as exc:
        why = str(exc).replace("\n", "; ")
    except OSError as exc:
        help_ = f"; {WHO_MAY}" if isinstance(exc, PermissionError) else ""
        why = f"{store.path}: cannot be read ({exc.strerror}){help_}"
    except ValueError as exc:
        why = f"{store.path}: {exc}"
    lost = f"all that was changed from afar ({', '.join(keys)})" if keys else "what was changed from afar"
    return replace(base, refused=f"{why}; the file alone counts, and {lost} does not")


def _over(base: Loaded, environment: Read, file: Read, overrides: Overrides) -> Loaded:
    if not overrides.values and not overrides.trial:
        return base
    now, before = (read_overrides(each.values) for each in (overrides, overrides.undone()))
    return replace(
        base,
        settings=_checked(environment, now, file),
        overrides=overrides,
        hidden=tuple(key for key in overrides.values if sets(environment, key)),
        undone=_checked(environment, before, file) if overrides.trial else None,
    )


def effective(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON-able values, in the units of the code, with secrets as ``***``."""
    return masked(settings)


def _from_environment(environment: Read, missing: Path) -> Settings:
    settings, problems = _validate(environment)
    if settings is not None and not problems:
        return settings
    told = any(
        path.startswith("credentials.") for path in environment.problems
    )  # more precisely than the hint
    if problems.pop("credentials", None) or "credentials" not in environment.values:
        if told:
            raise ConfigError(one_line_each(problems))
        hint = f"there is no such file; name yours with -c FILE, or set {PREFIX}__CREDENTIALS__DEVICEKEY"
        problems = {str(missing): hint, **problems}
    raise ConfigError(one_line_each(problems))


def _checked(*sources: Read) -> Settings:
    """Return the settings of the sources, of which the first counts most; raises `ConfigError`."""
    settings, problems = _validate(*sources)
    if settings is None or problems:
        raise ConfigError(one_line_each(problems))
    return settings


def _validate(*sources: Read) -> tuple[Settings | None, dict[str, str]]:
    """Return the settings and the problems by path; a reading problem replaces a checking one."""
    problems: dict[str, str] = {}
    for source in reversed(sources):
        problems |= source.problems
    try:
        trees = tuple(source.values for source in sources)
        settings = Settings(trees=trees)  # type: ignore[call-arg]  # see Settings
    except ValidationError as error:
        for path, text in explain(error).items():
            origin = next((each.origins[path] for each in sources if path in each.origins), None)
            problems.setdefault(path, f"{text} (from {origin})" if origin else text)
        return None, problems
    return settings, problems


def _holds_secret(values: Mapping[str, Any], before: tuple[str, ...] = ()) -> bool:
    for key, value in values.items():
        loc = (*before, key)
        place = find(loc)
        if isinstance(value, dict):
            if _holds_secret(value, loc):
                return True
        elif value and place.field is not None and is_secret(place.field):
            return True
    return False


def _mode_warning(path: Path, file: Read) -> tuple[str, ...]:
    if not file.mode & S_IROTH or not _holds_secret(file.values):
        return ()
    return (
        f"{path} holds secrets and everyone on this machine can read it; chmod 640 {shlex.quote(str(path))}",
    )

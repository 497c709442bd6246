"""The configuration: HJSON and the environment, checked once, frozen from then on."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_IROTH
from typing import Any

from pydantic import ValidationError

from bridge.errors import ConfigError
from bridge.settings.explain import explain, find, is_secret, masked
from bridge.settings.models import Batch, Filter, Notify, Route, Settings, Tls
from bridge.settings.sources import PREFIX, Read, read_environment, read_file
from bridge.settings.unused import unused

__all__ = [
    "DEFAULT_PATH",
    "Batch",
    "Filter",
    "Loaded",
    "Notify",
    "Route",
    "Settings",
    "Tls",
    "effective",
    "load",
]

DEFAULT_PATH = Path("/etc/hologram-bridge/bridge.hjson")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of :func:`load`: the settings, the warnings, and the file (None: only the environment)."""

    settings: Settings
    warnings: tuple[str, ...]
    path: Path | None


def load(
    path: Path | None, environ: Mapping[str, str] = os.environ, *, default: Path = DEFAULT_PATH
) -> Loaded:
    """Read the file at ``path`` (None: at ``default``) and the environment, which takes precedence.

    Raises :class:`bridge.errors.ConfigError` with one line per problem.
    """
    environment = read_environment(environ)
    where = path or default
    try:
        file = read_file(where)
    except FileNotFoundError:
        if path is not None:
            raise ConfigError(f"{where}: there is no such file; name yours with -c FILE") from None
        settings = _from_environment(environment, where)
        return Loaded(settings, unused(settings), None)
    checked, problems = _validate(environment, file)
    if checked is None or problems:
        raise ConfigError(_lines(problems))
    return Loaded(checked, (*_mode_warning(where, file), *unused(checked)), where)


def effective(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON-able values, in the units of the code, with secrets as ``***``."""
    return masked(settings)


def _from_environment(environment: Read, missing: Path) -> Settings:
    settings, problems = _validate(environment, Read({}))
    if settings is not None and not problems:
        return settings
    if problems.pop("credentials", None) or "credentials" not in environment.values:
        hint = f"there is no such file; name yours with -c FILE, or set {PREFIX}__CREDENTIALS__DEVICEKEY"
        problems = {str(missing): hint, **problems}
    raise ConfigError(_lines(problems))


def _validate(environment: Read, file: Read) -> tuple[Settings | None, dict[str, str]]:
    """Return the settings and the problems by path; a reading problem replaces a checking one."""
    problems = {**file.problems, **environment.problems}
    try:
        settings = Settings(trees=(environment.values, file.values))  # type: ignore[call-arg]  # see Settings
    except ValidationError as error:
        for path, text in explain(error).items():
            origin = environment.origins.get(path)
            problems.setdefault(path, f"{text} (from {origin})" if origin else text)
        return None, problems
    return settings, problems


def _lines(problems: Mapping[str, str]) -> str:
    """Return one line per problem, whatever characters the file's keys are made of."""
    lines = (f"{path}: {text}" for path, text in problems.items())
    return "\n".join("".join(char if char.isprintable() else "?" for char in line) for line in lines)


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

"""The collector's configuration: read, checked and explained as the bridge's is."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_IROTH
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from bridge.errors import ConfigError
from bridge.settings.explain import explain, one_line_each
from bridge.settings.fields import (
    EMPTY_IS_NULL,
    Allowed,
    CloudTopic,
    Duration,
    Line,
    Secret,
    SecretLine,
    Size,
    TopicPrefix,
)
from bridge.settings.models import Broker, Log, Section, Tls, problem
from bridge.settings.sources import Read, read_environment, read_file

DEFAULT_PATH = Path("/etc/hologram-bridge/collect.hjson")

PREFIX = "HOLOGRAM_COLLECT"
"""What the names of environment variables begin with."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_SECRET = re.compile(r"[!-~]{16,255}", re.ASCII)
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SUBJECT = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*", re.ASCII)
_LISTEN = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})", re.ASCII
)


def _fits(pattern: re.Pattern[str]) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError
        return value

    return AfterValidator(check)


def _address(value: str) -> str:
    found = _LISTEN.fullmatch(value)
    if not found or not 0 < int(found["port"]) < 65536:
        raise ValueError
    return value


def _server(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.username or parts.path:
        raise ValueError
    _ = parts.port  # raises ValueError where it is none
    return value


Header = Annotated[str, _fits(_HEADER), Allowed('the name of an HTTP header in quotes, such as "X-Secret"')]
Listen = Annotated[
    str, AfterValidator(_address), Allowed('an address and a port in quotes, such as "127.0.0.1:8080"')
]
Server = Annotated[
    str,
    AfterValidator(_server),
    Allowed('the address of a NATS server such as "nats://10.0.0.5:4222", without a user'),
]
Value = Annotated[
    str, _fits(_SECRET), Secret(), Allowed("16 to 255 characters in quotes, printable ASCII without spaces")
]
Stream = Annotated[str, _fits(_STREAM), Allowed("1 to 64 letters, digits, hyphens and underscores in quotes")]


class SharedSecret(Section):
    """The header that each request has to carry, and its value."""

    header: Header = "X-Secret"
    value: Value = Field(repr=False)


class Alerts(Section):
    """The headers by which a request of an Alert names its device, its topics and its time."""

    device: Header = "X-Device"
    topics: Header = "X-Topics"
    received: Header = "X-Received"


class Nats(Section):
    """A NATS JetStream stream; ``duplicates`` and ``max_age`` in seconds, ``max_bytes`` in bytes."""

    servers: Annotated[
        tuple[Server, ...], Field(min_length=1), Allowed('a list such as ["nats://10.0.0.5:4222"]')
    ]
    stream: Stream = "FLEET"
    username: Annotated[Line | None, EMPTY_IS_NULL] = None
    password: Annotated[SecretLine | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    token: Annotated[SecretLine | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    tls: Tls | None = None
    replicas: Annotated[int, Field(strict=True, ge=1, le=5)] = 3
    duplicates: Duration = 3600.0
    max_age: Annotated[Duration | None, EMPTY_IS_NULL] = None
    max_bytes: Annotated[Size | None, EMPTY_IS_NULL] = None

    @model_validator(mode="before")
    @classmethod
    def _no_user(cls, given: Any) -> Any:
        """Refuse a password in an address before the address is shown."""
        servers = given.get("servers") if isinstance(given, dict) else None
        for number, server in enumerate(servers if isinstance(servers, list) else ()):
            if isinstance(server, str) and "@" in server:
                raise problem(
                    f"servers[{number}]", "holds a user; give username and password, or token, instead"
                )
        return given

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.username is None) != (self.password is None):
            missing = "username" if self.username is None else "password"
            raise problem(missing, "is missing; username and password belong together, give both or neither")
        if self.max_age is not None and self.duplicates > self.max_age:
            raise problem("duplicates", f"{self.duplicates:g} s is not allowed; allowed is at most max_age")
        return self


class CollectSettings(Section):
    """The whole configuration of a collector; ``max_body`` is in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    listen: Listen = "127.0.0.1:8080"
    secret: SharedSecret
    prefix: TopicPrefix = "fleet"
    batch_topic: CloudTopic = "batch"
    max_body: Size = 256_000
    max_connections: Annotated[int, Field(strict=True, ge=1, le=60_000)] = 4096
    alerts: Alerts = Alerts()
    mqtt: Broker | None = None
    nats: Nats | None = None
    log: Log = Log()

    @model_validator(mode="after")
    def _destination(self) -> Self:
        if self.mqtt is not None and self.nats is not None:
            raise problem("nats", "is given beside mqtt; readings go to one of them, set the other to null")
        if self.nats is not None and not _SUBJECT.fullmatch(self.prefix):
            raise problem(
                "prefix",
                f'"{self.prefix}" is not allowed with nats; allowed are letters, digits, hyphens and '
                "underscores, with slashes between levels",
            )
        return self

    @property
    def broker(self) -> Broker:
        """The MQTT broker: the one that is given, or the one of this machine."""
        return self.mqtt or Broker()

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port to listen on."""
        found = _LISTEN.fullmatch(self.listen)
        assert found is not None, "it was checked"
        return found["six"] or found["four"], int(found["port"])


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of :func:`load`: the settings, the warnings, and the file (None: only the environment)."""

    settings: CollectSettings
    warnings: tuple[str, ...]
    path: Path | None


def load(
    path: Path | None, environ: Mapping[str, str] = os.environ, *, default: Path = DEFAULT_PATH
) -> Loaded:
    """Read the file at ``path`` (None: at ``default``) and the environment, which takes precedence.

    Raises :class:`bridge.errors.ConfigError` with one line per problem.
    """
    where = path or default
    found: Path | None = where
    try:
        file = read_file(where)
    except FileNotFoundError:
        if path is not None:
            raise ConfigError(f"{where}: there is no such file; name yours with -c FILE") from None
        file, found = Read({}), None
    environment = read_environment(environ, CollectSettings, PREFIX)
    settings, problems = _validate(file, environment)
    if settings is None or problems:
        raise ConfigError(one_line_each(problems))
    return Loaded(settings, _mode_warning(where, file), found)


def _mode_warning(path: Path, file: Read) -> tuple[str, ...]:
    if not file.mode & S_IROTH or "secret" not in file.values:
        return ()
    return (
        f"{path} holds secrets and everyone on this machine can read it; chmod 640 {shlex.quote(str(path))}",
    )


def _validate(file: Read, environment: Read) -> tuple[CollectSettings | None, dict[str, str]]:
    """Return the settings and the problems by path; a reading problem replaces a checking one."""
    problems = {**file.problems, **environment.problems}
    try:
        settings = CollectSettings.model_validate(_merged(file.values, environment.values))
    except ValidationError as error:
        for path, text in explain(error, CollectSettings).items():
            origin = environment.origins.get(path)
            problems.setdefault(path, f"{text} (from {origin})" if origin else text)
        return None, problems
    return settings, problems


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Return the values of both trees; those of ``above`` take precedence."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        merged[key] = _merged(under, value) if both else value  # type: ignore[arg-type]  # both are mappings
    return merged

"""The types of single settings: the accepted values, and the words for them.

A type carries :class:`Allowed` if its bounds alone do not say what is allowed. The texts of
:mod:`bridge.settings.explain` use these words, never the validator's own messages.
"""

import ipaddress
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from bridge.core.admission import plain_network
from bridge.core.events import TYPES, matching
from bridge.core.phone import E164, E164_ALLOWED
from bridge.core.time_stamp import WRAPPED
from bridge.core.topic_rules import is_cloud_topic
from bridge.core.units import (
    DURATION_ALLOWED,
    PERCENT_ALLOWED,
    SIZE_ALLOWED,
    parse_duration,
    parse_percent,
    parse_size,
)
from bridge.settings.files import open_file


@dataclass(frozen=True, slots=True)
class Allowed:
    """The accepted values of a setting, in words that follow "allowed is"."""

    text: str


class Secret:
    """Marks a setting whose value is never shown."""


def _holds(test: Callable[[str], object]) -> AfterValidator:
    """Accept the strings that ``test`` accepts."""

    def check(value: str) -> str:
        if not test(value):
            raise ValueError
        return value

    return AfterValidator(check)


def _matches(pattern: str) -> AfterValidator:
    return _holds(re.compile(pattern, re.ASCII).fullmatch)


def _empty_is_null(value: object) -> object:
    return None if value == "" else value


EMPTY_IS_NULL = BeforeValidator(_empty_is_null)
"""For a setting that may be null: the empty text counts as null, because environment files leave it."""


def _is_host(text: str) -> bool:
    """Return whether the text is a name or an address, without scheme or port."""
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            return False
        return True
    levels = text.removesuffix(".").split(".")
    if all(level.isdigit() for level in levels):
        return _is_ipv4(text)
    named = all(re.fullmatch(r"[A-Za-z0-9_-]{1,63}", level) for level in levels)
    return named and len(text) <= 253 and not text.startswith("-") and not text.endswith("-")


def _is_ipv4(text: str) -> bool:
    """Return whether the system reads it as an IPv4 address: four numbers, or the older, shorter forms."""
    try:
        socket.inet_aton(text)
    except OSError:
        return False
    return True


def _is_topic(text: str) -> bool:
    """Return whether the text can prefix topics: no wildcards or empty levels (MQTT 5.0, section 4.7)."""
    return (
        text.isprintable()
        and len(text) <= 200
        and not text.startswith("$")
        and not set(text) & {"#", "+"}
        and all(text.split("/"))
    )


def _is_filter(text: str) -> bool:
    """Return whether the text is a topic filter: # alone and last, + alone (MQTT 5.0, section 4.7.1)."""
    levels = text.split("/")
    return (
        0 < len(text) <= 1000
        and text.isprintable()
        and all("#" not in level for level in levels[:-1])
        and all(level in ("#", "+") or not set(level) & {"#", "+"} for level in levels)
    )


def _is_text(text: str) -> bool:
    """Return whether the text is valid UTF-8, control characters included."""
    return text != "" and not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def _network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    if not isinstance(value, str):  # a bare number would count as an address
        raise ValueError
    return plain_network(value)


def _protocol(value: object) -> object:
    """Accept both names of MQTT versions: by number (5, 4) and by document (5, 3.1.1)."""
    known: dict[object, object] = {"5": 5, "5.0": 5, 4: "3.1.1", "4": "3.1.1"}
    return value if isinstance(value, bool | list | dict) else known.get(value, value)


def _readable(value: str) -> str:
    """Accept the name of a file that is readable now."""
    try:
        with os.fdopen(open_file(Path(value)), "rb") as file:
            file.read(1)
    except PermissionError as error:
        raise ValueError(f"{error.strerror}; the bridge's user, hologram, has to read it") from None
    except OSError as error:
        raise ValueError(error.strerror) from None
    return value


def _absolute(value: object) -> Path:
    text = str(value) if isinstance(value, str | Path) else ""
    if not text.startswith("/") or text.endswith("/") or not text.isprintable():
        raise ValueError
    return Path(text)


BATCH_SIZES = (200, 1_000_000)
"""Least and most bytes of a batch: below, the request around it is most of it; above, readers refuse it."""

_PRINTABLE = "printable ASCII without spaces"

Flag = Annotated[bool, Field(strict=True), Allowed("true or false")]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Seconds = Annotated[float, Field(strict=True, ge=0.1, le=3600), Allowed("0.1 to 3600 seconds")]
Duration = Annotated[float, BeforeValidator(parse_duration), Allowed(DURATION_ALLOWED)]
Size = Annotated[int, BeforeValidator(parse_size), Allowed(SIZE_ALLOWED)]
Percent = Annotated[float, BeforeValidator(parse_percent), Allowed(PERCENT_ALLOWED)]
Price = Annotated[
    float,
    Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False),
    Allowed("0 to 1000000, in the currency"),
]
Text = Annotated[str, _holds(_is_text), Allowed("text in quotes, not empty")]
Line = Annotated[
    str,
    _holds(lambda text: 0 < len(text) <= 255 and text.isprintable()),
    Allowed("text in quotes, 1 to 255 characters on one line"),
]
SecretLine = Annotated[Line, Secret()]
RemoteKey = Annotated[
    str,
    _holds(lambda text: 24 <= len(text) <= 255 and text.isprintable()),
    Secret(),
    Allowed("24 to 255 characters"),
]
Sender = Annotated[
    str,
    _holds(lambda text: 0 < len(text) <= 20 and text.isprintable() and text == text.strip()),
    Allowed('the sender of an SMS in quotes as `from` shows it, such as "+15551234567"'),
]
Name = Annotated[
    str,
    _holds(lambda text: 0 < len(text.strip()) <= 64 and text.isprintable()),
    Allowed("text in quotes, 1 to 64 characters"),
]
Host = Annotated[
    str,
    _holds(_is_host),
    Allowed('a host name or an IP address in quotes, such as "127.0.0.1", without scheme or port'),
]
TopicPrefix = Annotated[
    str,
    _holds(_is_topic),
    Allowed(
        "an MQTT topic of 1 to 200 characters without + and #, no $ or / first, no / last, no empty level"
    ),
]
TopicFilter = Annotated[
    str,
    _holds(_is_filter),
    Allowed('an MQTT topic filter such as "alarms/#": # only as the last level, + only as a whole level'),
]
AbsolutePath = Annotated[
    Path,
    PlainValidator(_absolute),
    Allowed("the absolute path of a file, beginning with /"),
]
Device = Annotated[str, _matches(r"/[!-~]+|[A-Za-z0-9_.-]{1,15}")]
ReadableFile = Annotated[str, AfterValidator(_readable), Allowed("the path of a file that can be read")]
Apn = Annotated[str, _matches(r"[A-Za-z0-9.-]{1,100}"), Allowed("1 to 100 letters, digits, dots and hyphens")]
Currency = Annotated[str, _matches(r"[A-Z]{3}"), Allowed('3 capital letters in quotes, such as "USD"')]
SimPin = Annotated[str, _matches(r"[0-9]{4,8}"), Secret(), Allowed("4 to 8 digits in quotes")]
EventPattern = Annotated[
    str,
    _holds(lambda pattern: matching([pattern])),
    Allowed(f'the type of an event, or a pattern such as "network.*", of {", ".join(sorted(TYPES))}'),
]
CloudTopic = Annotated[
    str,
    _holds(is_cloud_topic),
    Allowed(
        'a topic of the cloud in quotes, such as "batch": up to 31 letters, digits, hyphens and underscores, '
        "with slashes between levels that are not empty"
    ),
]
BatchSize = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(ge=BATCH_SIZES[0], le=BATCH_SIZES[1]),
    Allowed(f"a size from {BATCH_SIZES[0]} bytes to 1MB"),
]
PhoneNumber = Annotated[
    str, _holds(E164.fullmatch), Allowed(f'{E164_ALLOWED}, in quotes, such as "+15551234567"')
]
IpNetwork = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    PlainValidator(_network),
    Allowed('an IP network in quotes with no host bits set, such as "10.176.0.0/16"'),
]
Positive = Annotated[
    float, Field(strict=True, gt=0, le=1e300, allow_inf_nan=False), Allowed("a number above 0")
]
FieldPath = Annotated[
    str,
    _holds(lambda text: 0 < len(text) <= 200 and text.isprintable() and all(text.split("."))),
    Allowed('the name of a key in quotes such as "temperature", or a path such as "a.b"'),
]
StampKey = Annotated[
    str,
    _holds(lambda text: 0 < len(text) <= 64 and text.isprintable() and text not in WRAPPED),
    Allowed('a key in quotes such as "at", of 1 to 64 characters, but not "value" or "value_base64"'),
]
DeviceKey = Annotated[str, _matches(r"[!-~]{8}"), Secret(), Allowed(f"8 characters, {_PRINTABLE}")]
CloudId = Annotated[str, _matches(r"[!-~]{4}"), Allowed(f"4 characters, {_PRINTABLE}")]
CloudKey = Annotated[str, _matches(r"[!-~]{4}"), Secret(), Allowed(f"4 characters, {_PRINTABLE}")]
DeviceId = Annotated[str, _matches(r"[!-~]{1,64}"), Allowed(f"1 to 64 characters, {_PRINTABLE}")]
PrivateKey = Annotated[str, _matches(r"[!-~]{1,64}"), Secret(), Allowed(f"1 to 64 characters, {_PRINTABLE}")]
NamedProtocol = BeforeValidator(_protocol)

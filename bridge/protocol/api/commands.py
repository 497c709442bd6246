"""The users' commands, parsed into values; every error names its field.

The topics and payloads are the bridge's own, documented in docs/reference/topics.md.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from math import floor
from typing import Any, NamedTuple, NoReturn

from bridge.core.delivery import NO_PROPERTIES, Properties
from bridge.core.messages import Channel, Priority, Reply
from bridge.core.phone import E164, E164_ALLOWED
from bridge.core.units import parse_duration
from bridge.errors import InvalidCommand
from bridge.protocol.api.budget import KEYS, BudgetChange, read_change

ID_LIMIT = 128
"""Characters of an id that a producer chooses, at most."""

TOPICS_LIMIT = 1000
"""Topics of one message at most, because each is compared with every route."""

TOPIC_CHARACTERS = 65_535
"""Characters of all topics of a message at most, as the longest MQTT topic has bytes [MQTT 5.0, 1.5.4]."""

JSON_LIMIT = 65_536
"""Characters of JSON outside its strings at most. Lists and objects take a hundred times their length in
memory, and the bridge's commands have a handful of keys."""

LATEST = 253_402_300_799
"""The largest time of a message: the last second of the year 9999. Milliseconds are beyond it."""

_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)

NETWORK_COMMANDS = ("connect", "disconnect", "reconnect", "reset", "radio_on", "radio_off")
QUEUE_COMMANDS = ("pause", "resume", "flush", "purge")


class Options(NamedTuple):
    """Options of a command, beside its content."""

    id: str | None = None
    priority: Priority | None = None
    lifetime: float | None = None
    reply: Reply | None = None


_NO_OPTIONS = Options()


class Send(NamedTuple):
    """A command to send bytes under topics."""

    topics: tuple[str, ...]
    payload: bytes
    options: Options
    at: int | None = None
    """The time that the producer gives it, in Unix seconds."""
    in_topic: bool = False
    """Whether the first of `topics` is part of the MQTT topic, and not of the list."""

    def field(self, place: int) -> str:
        """Return the name of the topic at ``place`` in an error about it."""
        return "topic" if self.in_topic and place == 0 else "topics"


class Sms(NamedTuple):
    """A command to send one SMS."""

    to: str
    body: str
    via: str | None
    options: Options


class Control(NamedTuple):
    """A command about the network, the queue or the budget."""

    channel: Channel
    command: str
    timeout: float | None
    options: Options
    change: BudgetChange | None = None
    """What a command about the budget changes."""


class Quote(NamedTuple):
    """A question for the cost of a message."""

    command: Send | Sms

    @property
    def options(self) -> Options:
        """The options of that message."""
        return self.command.options


Command = Send | Sms | Control | Quote


_NOT_IN_TOPICS = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that no topic name has; brokers such as Mosquitto end the connection for them [MQTT 5.0,
1.5.4]."""

_SETS = {
    "network/set": (Channel.NETWORK, NETWORK_COMMANDS),
    "queue/set": (Channel.QUEUE, QUEUE_COMMANDS),
}
_ON_TOPICS = (Channel.SMS, Channel.NETWORK, Channel.QUEUE, Channel.BUDGET, Channel.QUOTE)
_CHANNELS = {each.value: each for each in _ON_TOPICS}
"""The channels of commands by the first level of their topics; all others are messages to the cloud."""

_JSON = json.JSONDecoder()
_JSON_TOPICS = ("send", "sms", "network/set", "queue/set", "budget/set", "quote")


def read_reply(properties: Properties, prefix: str) -> Reply | None:
    """Return the reply topic of a publisher; raises `InvalidCommand` for an unusable topic."""
    topic = properties.response_topic
    if not topic:
        return None
    if topic == prefix or topic.startswith(prefix + "/"):
        # A result on a topic of the bridge could be a command to it.
        raise InvalidCommand("response_topic", topic, f"it may not be under {prefix}/")
    if _NOT_IN_TOPICS.search(topic) or topic.startswith("$"):
        raise InvalidCommand("response_topic", topic, "it must be a topic that one can publish to")
    return Reply(topic, properties.correlation)


def claimed_reply(properties: Properties, prefix: str) -> Reply | None:
    """Return the reply topic of a rejected command, None for an unusable topic."""
    try:
        return read_reply(properties, prefix)
    except InvalidCommand:
        return None


def channel_of(topic: str) -> Channel:
    """Return the channel in the result of a command on ``topic`` (below the prefix)."""
    head = topic.split("/", 1)[0]
    return _CHANNELS.get(head, Channel.CLOUD)


def claimed_id(topic: str, payload: bytes, properties: Properties) -> str | None:
    """Return the id that a rejected command appears to have, for its result.

    The payload of ``out`` and of ``sms/<digits>`` is the user's own, so no id is read from it.
    """
    named = dict(properties.user).get("id")
    if named is None and topic in _JSON_TOPICS and payload.lstrip()[:1] == b"{":
        try:
            found = _loads(payload).get("id")
        except (ValueError, RecursionError, AttributeError):
            return None
        named = found if isinstance(found, str) else None
    return named if named and len(named) <= ID_LIMIT and named.isprintable() else None


def claimed_message(topic: str, payload: bytes, properties: Properties) -> Send | None:
    """Return the message that a rejected delivery appears to be, without its options; None for another."""
    listed = dict(properties.user).get("topics")
    extra = listed.split(",") if listed else []
    head, _, rest = topic.partition("/")
    if head == "out":
        return Send((*((rest,) if rest else ()), *extra)[:TOPICS_LIMIT], payload, _NO_OPTIONS)
    if topic != "send":
        return None
    try:
        given = _object(payload, "send")
    except InvalidCommand:
        return Send(tuple(extra[:TOPICS_LIMIT]), payload, _NO_OPTIONS)
    topics, data = given.get("topics", extra), given.get("data", "")
    names = [_whole(each) for each in topics if isinstance(each, str)] if isinstance(topics, list) else []
    said = _whole(data).encode() if isinstance(data, str) else payload
    return Send(tuple(names[:TOPICS_LIMIT]), said, _NO_OPTIONS)


def _whole(text: str) -> str:
    """Return ``text`` without halves of surrogate pairs, which cannot be written."""
    return text.encode("utf-8", "replace").decode()


def parse(
    topic: str, payload: bytes, properties: Properties = NO_PROPERTIES, *, prefix: str = "hologram"
) -> Command:
    """Return the command published to ``<prefix>/<topic>``; raises `InvalidCommand`."""
    head, slash, rest = topic.partition("/")
    if head == "out":
        return _out((rest,) if slash else (), payload, properties, prefix)
    reader = _Reader(properties, prefix)
    if topic == "send":
        return reader.send(_object(payload, "send"))
    if head == "sms":
        return reader.sms(rest if slash else None, payload)
    if topic in ("network/set", "queue/set"):
        return reader.control(*_SETS[topic], payload)
    if topic == "budget/set":
        return reader.budget(payload)
    if topic == "quote":
        given = _object(payload, "quote")
        return Quote(reader.sms_of(given) if {"to", "body"} & given.keys() else reader.send(given))
    raise InvalidCommand(
        "topic", topic, "commands are out, send, sms, network/set, queue/set, budget/set and quote"
    )


def _object(payload: bytes, what: str) -> dict[str, Any]:
    try:
        value = _loads(payload)
    except (ValueError, RecursionError) as exc:
        reason = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise InvalidCommand("payload", _text(payload), f"{what} takes a JSON object ({reason})") from None
    if not isinstance(value, dict):
        raise InvalidCommand("payload", _text(payload), f"{what} takes a JSON object")
    return value


def _loads(payload: bytes) -> Any:
    """Return the value of JSON; raises ValueError or RecursionError for invalid or too large JSON."""
    text = payload.decode(json.detect_encoding(payload), "surrogatepass")
    # Measured before it is parsed: parsing is what takes the memory.
    if len(text) > JSON_LIMIT and _is_bulky(text):
        raise ValueError(f"it has more than {JSON_LIMIT} characters beside its strings")
    # Python's own reader accepts NaN and Infinity, which are not JSON.
    return json.loads(text, parse_constant=_refuse_constant)


def _is_bulky(text: str) -> bool:
    """Return whether too much of ``text`` is outside of strings; each string counts as one character."""
    pos = outside = 0
    while outside <= JSON_LIMIT and (start := text.find('"', pos)) >= 0:
        outside += start - pos + 1
        _, pos = _JSON.raw_decode(text, start)
    return outside + (len(text) - pos) * (outside <= JSON_LIMIT) > JSON_LIMIT


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _text(payload: bytes) -> str:
    return payload[:80].decode("utf-8", "backslashreplace")


def _keys(given: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in given:
        if key not in allowed:
            field = key if key.isprintable() and len(key) <= 40 else "payload"
            error = InvalidCommand(field, given[key], f"unknown key; the keys are {', '.join(allowed)}")
            # The reason is logged, and a key may be private too: a swapped key and value, for example.
            error.reason = f"payload: unknown key; the keys are {', '.join(allowed)}"
            raise error


def _string(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidCommand(field, value, "it must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidCommand(field, value, "half of a surrogate pair is not a character") from None
    return value


def _out(named: tuple[str, ...], payload: bytes, properties: Properties, prefix: str) -> Send:
    if properties is NO_PROPERTIES:  # as those of most messages are
        return Send(named, payload, _NO_OPTIONS, in_topic=bool(named))
    return _Reader(properties, prefix).out(named, payload)


class _Reader:
    """Parses one command; holds the properties of its delivery."""

    def __init__(self, properties: Properties, prefix: str) -> None:
        self._properties = properties
        self._user = dict(properties.user)
        self._prefix = prefix

    def out(self, named: tuple[str, ...], payload: bytes) -> Send:
        extra = self._user["topics"].split(",") if "topics" in self._user else []
        # A topic alone needs no check: MQTT has seen to it that it is text, and not too long.
        topics = self._topics([*named, *extra]) if extra else named
        return Send(topics, payload, self._options({}), self._at({}), in_topic=bool(named))

    def send(self, given: dict[str, Any]) -> Send:
        _keys(given, ("data", "data_base64", "topics", "id", "priority", "expires", "at"))
        if ("data" in given) == ("data_base64" in given):
            both = "data" in given
            raise InvalidCommand("data", "both" if both else None, "give either data or data_base64")
        if "data" in given:
            payload = _string(given["data"], "data").encode()
        else:
            payload = _base64(given["data_base64"])
        topics = given.get("topics", self._user["topics"].split(",") if "topics" in self._user else [])
        if not isinstance(topics, list):
            raise InvalidCommand("topics", topics, "it must be a list of strings")
        return Send(self._topics(topics), payload, self._options(given), self._at(given))

    def _at(self, given: Mapping[str, Any]) -> int | None:
        value = given.get("at", self._user.get("at"))
        return None if value is None else _at(value)

    @staticmethod
    def _topics(topics: list[Any]) -> tuple[str, ...]:
        if len(topics) > TOPICS_LIMIT:
            raise InvalidCommand("topics", f"{len(topics)} topics", f"a message has at most {TOPICS_LIMIT}")
        names = [_string(topic, "topics") for topic in topics]
        if (length := sum(map(len, names))) > TOPIC_CHARACTERS:
            allowed = f"together they have at most {TOPIC_CHARACTERS}"
            raise InvalidCommand("topics", f"{length} characters", allowed)
        # A repeated topic counts once, and the order stays.
        return tuple(dict.fromkeys(names))

    def sms(self, digits: str | None, payload: bytes) -> Sms:
        if digits is None:
            return self.sms_of(_object(payload, "sms"))
        try:
            return self._sms(f"+{digits}", payload.decode(), {})
        except UnicodeDecodeError:
            raise InvalidCommand("payload", _text(payload), "an SMS is text in UTF-8") from None

    def sms_of(self, given: dict[str, Any]) -> Sms:
        _keys(given, ("to", "body", "via", "id", "expires"))
        return self._sms(given.get("to"), given.get("body"), given)

    def _sms(self, to: Any, body: Any, given: dict[str, Any]) -> Sms:
        via = given.get("via")
        if via not in (None, "cloud", "modem"):
            raise InvalidCommand("via", via, "it is cloud or modem")
        number = _string(to, "to")
        if not E164.fullmatch(number):
            raise InvalidCommand("to", number, f"a number is {E164_ALLOWED}")
        return Sms(number, _string(body, "body"), via, self._options(given))

    def control(self, channel: Channel, allowed: tuple[str, ...], payload: bytes) -> Control:
        given: dict[str, Any] = {"command": _text(payload).strip()}
        if payload.lstrip()[:1] == b"{":
            given = _object(payload, f"{channel}/set")
            _keys(given, ("command", "timeout", "id") if channel is Channel.NETWORK else ("command", "id"))
        command = given.get("command")
        if command not in allowed:
            raise InvalidCommand("command", command, f"the commands are {', '.join(allowed)}")
        timeout = given.get("timeout")
        if timeout is not None and not (
            isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout <= 3600
        ):
            raise InvalidCommand("timeout", timeout, "it is seconds, above 0 and up to 3600")
        return Control(channel, str(command), timeout, self._options(given))

    def budget(self, payload: bytes) -> Control:
        if payload.strip() == b"reset":
            return Control(Channel.BUDGET, "reset", None, self._options({}), BudgetChange({}))
        given = _object(payload, "budget/set")
        _keys(given, KEYS)
        return Control(Channel.BUDGET, "set", None, self._options(given), read_change(given))

    def _options(self, given: Mapping[str, Any]) -> Options:
        """Return the options. The JSON beats the properties; of several deadlines the earliest counts."""
        if not given and self._properties == NO_PROPERTIES:
            return _NO_OPTIONS
        message_id = given.get("id", self._user.get("id"))
        priority = given.get("priority", self._user.get("priority"))
        deadlines = [
            _lifetime(value)
            for value in (given.get("expires"), self._user.get("expires"))
            if value is not None
        ]
        if self._properties.expiry is not None:
            deadlines.append(float(self._properties.expiry))
        return Options(
            None if message_id is None else _id(message_id),
            None if priority is None else _priority(priority),
            min(deadlines, default=None),
            read_reply(self._properties, self._prefix),
        )


def _id(value: Any) -> str:
    message_id = _string(value, "id")
    if not 0 < len(message_id) <= ID_LIMIT or not message_id.isprintable():
        raise InvalidCommand("id", message_id, f"it has 1 to {ID_LIMIT} printable characters")
    return message_id


def _priority(value: Any) -> Priority:
    try:
        return Priority.named(value)
    except (KeyError, TypeError):
        raise InvalidCommand("priority", value, "it is high, normal or low") from None


def _lifetime(value: Any) -> float:
    try:
        return parse_duration(value)
    except (ValueError, TypeError):
        raise InvalidCommand(
            "expires", value, 'it is a duration such as "90s", "10m", "1h" or "7d"'
        ) from None


def _at(value: Any) -> int:
    """Return the Unix seconds of a number, or of the text of one, rounded down."""
    seconds = float(value) if isinstance(value, str) and _SECONDS.fullmatch(value) else value
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= LATEST:
        raise InvalidCommand("at", value, f"it is Unix seconds, 0 to {LATEST}")
    return floor(seconds)


def _base64(value: Any) -> bytes:
    try:
        return base64.b64decode(_string(value, "data_base64"), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCommand("data_base64", value, "it must be base64 with its padding") from None

"""Topic rules: the cloud's for what is sent, MQTT's for what routes match."""

import re
from collections.abc import Callable
from functools import lru_cache

from bridge.errors import InvalidCommand

CLOUD_TOPIC_LIMIT = 32
"""Upper bound of a cloud topic in characters, exclusive [Hologram documentation, Embedded TCP API]."""

_CLOUD_TOPIC = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*", re.ASCII)
_ALLOWED = (
    f"a topic is shorter than {CLOUD_TOPIC_LIMIT} characters: letters, digits, hyphen, underscore, "
    "and slashes between levels that are not empty"
)


def check_cloud_topic(topic: str, field: str = "topic") -> None:
    """Raise `InvalidCommand` unless the cloud takes ``topic``.

    The cloud's rule: shorter than 32 characters; letters, digits, hyphen, underscore, slash; no spaces
    [Hologram documentation, Embedded TCP API]. Empty levels are refused as well.
    """
    if not is_cloud_topic(topic):
        raise InvalidCommand(field, topic, _ALLOWED)


def is_cloud_topic(topic: str) -> bool:
    """Whether the cloud takes ``topic``, as in `check_cloud_topic`."""
    return len(topic) < CLOUD_TOPIC_LIMIT and _is_allowed(topic)


@lru_cache(maxsize=512)
def _is_allowed(topic: str) -> bool:
    """Whether ``topic`` has the characters that the cloud takes.

    Cached, because a box has some tens of topics and asks with each message.
    """
    return _CLOUD_TOPIC.fullmatch(topic) is not None


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a test for topics that match an MQTT topic filter [MQTT 5.0, section 4.7].

    ``+`` matches one level; a last ``#`` matches the parent and everything below it.
    """
    levels = pattern.split("/")
    rest = levels[-1] == "#"
    body = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels[: -1 if rest else None])
    if rest:
        body = f"{body}(?:/.*)?" if len(levels) > 1 else ".*"
    test = re.compile(body, re.DOTALL).fullmatch
    return lambda topic: test(topic) is not None

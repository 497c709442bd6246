"""Values of a configuration that have no effect: each is one line, and a warning.

None of them is an error, because a bridge that ran with such a value yesterday has to run tomorrow.
"""

import json
import re
from collections.abc import Iterator

from bridge.core.topic_rules import CLOUD_TOPIC_LIMIT
from bridge.settings.models import Network, Route, Settings

_LEVEL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
"""A level of a topic that the cloud accepts."""

_MODEM_ONLY = ("apn", "sim_pin", "ppp_user", "ppp_password", "scope", "autoconnect", "restart_box_after")

_BACKUP_ONLY = ("backup_after", "backup_hold")


def unused(settings: Settings) -> tuple[str, ...]:
    """Return a line, with its key, for each value that has no effect."""
    parts = (_sms, _ports, _inbound, _network, _routes)
    return tuple(line for part in parts for line in part(settings))


def _sms(settings: Settings) -> Iterator[str]:
    if (
        settings.cloud.auth == "totp"
        and settings.credentials.devicekey is None
        and settings.sms.via == "cloud"
    ):
        yield (
            'sms.via: the cloud takes SMS by key only, and cloud.auth is "totp"; '
            'set credentials.devicekey too, or sms.via: "modem"'
        )
    if settings.sms.via == "modem" and not _has_modem(settings):
        yield (
            'sms.via: "modem" sends nothing, as no modem is managed; '
            'set network.interface: "cellular", or sms.via: "cloud"'
        )


def _ports(settings: Settings) -> Iterator[str]:
    inbound, port = settings.inbound, settings.metrics.port
    if inbound.enabled and "tcp" in inbound.protocols and port == inbound.port:
        yield f"metrics.port: {port} is inbound.port too, so that only one of them can use it; choose another"


def _inbound(settings: Settings) -> Iterator[str]:
    inbound = settings.inbound
    if inbound.timeout >= inbound.deadline:
        yield (
            f"inbound.timeout: {inbound.timeout:g} is not below inbound.deadline, {inbound.deadline:g}: "
            "a message that its sender does not end is cut; allowed is less than the deadline"
        )


def _network(settings: Settings) -> Iterator[str]:
    """Yield the settings for modems that were changed although no modem is managed, and those of a backup."""
    for name in () if settings.network.backs_up else _BACKUP_ONLY:
        if getattr(settings.network, name) != Network.model_fields[name].default:
            yield (
                f"network.{name}: has no effect, as network.scope is "
                f'"{settings.network.scope}"; it is for "backup"'
            )
    if _has_modem(settings):
        return
    names = _MODEM_ONLY if settings.network.interface else (*_MODEM_ONLY, "device")
    for name in names:
        if getattr(settings.network, name) != Network.model_fields[name].default:
            yield (
                f"network.{name}: has no effect, as network.interface is "
                f'"{settings.network.interface}"; it is for "cellular" and its kinds'
            )


def _has_modem(settings: Settings) -> bool:
    return settings.network.has_modem


def _routes(settings: Settings) -> Iterator[str]:
    matches = [route.match for route in settings.routes]
    for index, route in enumerate(settings.routes):
        key = f"routes[{index}]"
        earlier = next((n for n in range(index) if _covers(matches[n], route.match)), None)
        if earlier is not None:
            yield f"{key}.match: is never reached, as routes[{earlier}] takes all of it first"
        elif why := _never(route, settings.mqtt.prefix):
            yield f"{key}.match: {json.dumps(route.match)} is never reached, as {why}"
        if route.expires is not None and route.expires > settings.store.max_age:
            yield (
                f"{key}.expires: has no effect, as store.max_age ends a message before; "
                "allowed is less than that"
            )
        if route.batch is not None and route.expires is not None and route.batch.every >= route.expires:
            yield (
                f"{key}.batch.every: has no effect, as {key}.expires ends a message before; "
                "allowed is less than that"
            )


def _covers(one: str, other: str) -> bool:
    """Return whether ``one`` matches every topic that ``other`` does [MQTT 5.0, section 4.7]."""
    theirs = other.split("/")
    ours = one.split("/")
    for place, level in enumerate(ours):
        if level == "#":
            return True
        if place >= len(theirs) or theirs[place] == "#" or level not in ("+", theirs[place]):
            return False
    return len(ours) == len(theirs)


def _never(route: Route, prefix: str) -> str | None:
    """Return why no topic of a message can match and be sent; None if one can."""
    match = route.match
    if match == f"{prefix}/out" or match.startswith(f"{prefix}/out/"):
        return f"it is compared with what follows {prefix}/out/; leave that away"
    levels = match.removesuffix("/#").split("/") if match != "#" else []
    if "" in levels:
        return "topics have no empty levels"
    if route.channel != "cloud":
        return None
    if not all(level == "+" or _LEVEL.fullmatch(level) for level in levels):
        return "the cloud's topics have letters, digits, hyphens and underscores"
    if len("/".join(levels)) >= CLOUD_TOPIC_LIMIT:
        return f"the cloud's topics are shorter than {CLOUD_TOPIC_LIMIT} characters"
    return None

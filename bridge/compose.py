"""From the configuration to the values that the parts take; what a reload replaces is made here."""

import socket
from typing import Any

from bridge import __version__
from bridge.adapters.listener import Limits as InboundLimits
from bridge.adapters.mqtt import Broker, tls_context
from bridge.core.messages import CLOUD, Channel, Endpoint, Priority
from bridge.core.routing import Route, Router
from bridge.errors import ConfigError
from bridge.flow.intake import Policy
from bridge.flow.speakers import TOTP_CANNOT, CloudAccess
from bridge.protocol.cloud import Credentials, DeviceKey, LegacyKey, Totp
from bridge.settings import Route as RouteSetting
from bridge.settings import Settings, effective
from bridge.store.outbox import Limits

CAPABILITIES = ("cloud", "sms", "inbound", "tcp", "udp", "queue", "expiry", "priority", "idempotent_ids")
"""What this version can do, for those who read ``hologram/bridge/info``."""


def credentials(settings: Settings) -> Credentials:
    """Return who the device is to the cloud; raises `ConfigError` where that is not said."""
    given = settings.credentials
    if settings.cloud.auth == "totp":
        if given.device_id is not None and given.private_key is not None:
            return Totp(given.device_id, given.private_key)
        raise ConfigError('credentials: give device_id and private_key where cloud.auth is "totp"')
    if given.devicekey is not None:
        return DeviceKey(given.devicekey)
    if given.cloud_id is not None and given.cloud_key is not None:
        return LegacyKey(given.cloud_id, given.cloud_key)
    raise ConfigError("credentials: give devicekey, or cloud_id and cloud_key")


def access(settings: Settings) -> CloudAccess:
    """Return where the cloud is and who we are to it."""
    cloud = settings.cloud
    return CloudAccess(cloud.host, cloud.port, cloud.timeout, credentials(settings))


def limits(settings: Settings) -> Limits:
    """Return how much the outbox takes."""
    store = settings.store
    return Limits(store.max_messages, store.max_bytes, store.max_age, store.when_full == "drop_oldest")


def policy(settings: Settings) -> Policy:
    """Return what intake decides by."""
    router = Router([(route.match, _route(route)) for route in settings.routes])
    refusal = TOTP_CANNOT if isinstance(credentials(settings), Totp) else None
    return Policy(router, settings.sms.via, refusal)


def _route(route: RouteSetting) -> Route:
    channel = Channel(route.channel)
    if channel is Channel.CLOUD:
        endpoint = CLOUD
    else:
        endpoint = Endpoint(channel, route.host or "", route.port or 0, route.expect)
    priority = Priority.NORMAL if route.priority is None else Priority.named(route.priority)
    return Route(endpoint, priority, route.expires, route.max_attempts)


def broker(settings: Settings) -> Broker:
    """Return how to reach the broker; raises `ConfigError` for certificates that do not serve."""
    mqtt = settings.mqtt
    tls = None
    if mqtt.tls is not None:
        try:
            tls = tls_context(_text(mqtt.tls.ca), _text(mqtt.tls.cert), _text(mqtt.tls.key))
        except OSError as exc:
            raise ConfigError(f"mqtt.tls: the certificates cannot be used: {exc}") from exc
    return Broker(
        mqtt.host,
        mqtt.port,
        mqtt.client_id or f"hologram-bridge-{socket.gethostname()}",
        version5=mqtt.protocol == 5,
        username=mqtt.username,
        password=mqtt.password,
        keepalive=mqtt.keepalive,
        tls=tls,
    )


def inbound_limits(settings: Settings) -> InboundLimits:
    """Return what may come in."""
    inbound = settings.inbound
    return InboundLimits(
        inbound.timeout, inbound.max_bytes, inbound.max_connections, inbound.deadline, inbound.allow
    )


def _text(path: object) -> str | None:
    return None if path is None else str(path)


def info(settings: Settings) -> dict[str, Any]:
    """Return the payload of ``hologram/bridge/info``; secrets are masked."""
    return {"version": __version__, "capabilities": CAPABILITIES, "configuration": effective(settings)}

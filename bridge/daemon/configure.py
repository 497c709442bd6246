"""The parts' values from the configuration; a reload builds them again."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import Any

from bridge import __version__
from bridge.adapters.inbound.listener import Limits as InboundLimits
from bridge.adapters.ip.resolver import Resolver
from bridge.adapters.ip.tcp import TcpTransport, offers_timestamps
from bridge.adapters.ip.udp import UdpTransport
from bridge.adapters.mqtt.broker import Broker, tls_context
from bridge.adapters.system.loop_time import read_clock
from bridge.core.batching import Batching
from bridge.core.budget import BOUNDS, Bounds, Prices
from bridge.core.escalation import Escalation
from bridge.core.exchange import Transport
from bridge.core.filters import Filter
from bridge.core.messages import CLOUD, Channel, Endpoint, Priority
from bridge.core.modem import Identity
from bridge.core.routing import Route, Router
from bridge.errors import ConfigError
from bridge.flow.message import codecs
from bridge.flow.message.budget import Plan
from bridge.flow.message.paths import NetworkPaths
from bridge.flow.message.quotes import Route as QuoteRoute
from bridge.flow.message.reader import Policy
from bridge.protocol import tcpinfo
from bridge.protocol.api.discovery import Device, Recipient
from bridge.protocol.cloud import Credentials, DeviceKey, LegacyKey, Totp
from bridge.protocol.remote import PREFIX
from bridge.settings import Batch as BatchSetting
from bridge.settings import Escalate as EscalateSetting
from bridge.settings import Filter as FilterSetting
from bridge.settings import Loaded, Settings, effective
from bridge.settings import Route as RouteSetting
from bridge.store.outbox import Limits

NOBODY = Identity()

CAPABILITIES = (
    "cloud",
    "sms",
    "inbound",
    "tcp",
    "udp",
    "queue",
    "expiry",
    "priority",
    "idempotent_ids",
    "batches",
    "filters",
    "latest",
    "stamps",
    "escalation",
    "budget",
    "quotes",
    "usage",
    "heartbeat",
)
"""The features of this version, published in ``hologram/bridge/info``: what a program may ask for."""

NO_MODEM = "no modem is managed here (network.interface); use cloud"


def credentials(settings: Settings, sim: Identity = NOBODY) -> Credentials | None:
    """Return the device's credentials for the cloud; None until they are read from the ``sim``.

    TOTP's device id is the SIM's number (ICCID) and its private key the IMSI [hologram-python 0.3].
    """
    given = settings.credentials
    if settings.cloud.auth == "totp":
        if given.device_id is not None and given.private_key is not None:
            return Totp(given.device_id, given.private_key)
        return Totp(sim.iccid, sim.imsi) if sim.iccid and sim.imsi else None
    if given.devicekey is not None:
        return DeviceKey(given.devicekey)
    if given.cloud_id is not None and given.cloud_key is not None:
        return LegacyKey(given.cloud_id, given.cloud_key)
    raise ConfigError("credentials: give devicekey, or cloud_id and cloud_key")


def access(settings: Settings, sim: Identity = NOBODY) -> codecs.CloudAccess:
    """Return the cloud's address and the credentials for it."""
    cloud = settings.cloud
    return codecs.CloudAccess(cloud.host, cloud.port, cloud.timeout, credentials(settings, sim))


def make_paths(
    loop: asyncio.AbstractEventLoop,
    resolver: Resolver,
    access: Callable[[], codecs.CloudAccess],
    own: Resolver | None = None,
) -> NetworkPaths:
    """Return the paths over the network of ``resolver``; ``own`` is that for which it is only the backup.

    ``access`` returns the cloud's present address and key.
    """
    transports = _transports(loop, resolver)
    of_own = _transports(loop, own) if own else None
    by_channel: dict[Channel, codecs.Codec] = {
        Channel.CLOUD: codecs.CloudCodec(access, read_clock),
        Channel.SMS: codecs.CloudSmsCodec(access),
        Channel.TCP: codecs.DirectCodec(lambda: access().timeout),
        Channel.UDP: codecs.DatagramCodec(lambda: access().timeout),
    }
    return NetworkPaths(
        by_channel, transports, identified=lambda: access().credentials is not None, own=of_own
    )


def _transports(loop: asyncio.AbstractEventLoop, resolver: Resolver) -> dict[Channel, Transport]:
    stream, datagram = TcpTransport(loop, resolver), UdpTransport(loop, resolver)
    return {Channel.CLOUD: stream, Channel.SMS: stream, Channel.TCP: stream, Channel.UDP: datagram}


def route_to(resolver: Resolver, host: str, port: int) -> QuoteRoute:
    """Return the route to a host as far as it costs; one that is not known is an ordinary one."""
    timestamps = offers_timestamps()
    option = tcpinfo.TIMESTAMP_OPTION if timestamps else 0
    mtu = resolver.mtu(host, port)
    headers = tcpinfo.IPV4 + tcpinfo.TCP
    return QuoteRoute(timestamps, (tcpinfo.SEGMENT if mtu is None else mtu - headers) - option)


def prices(settings: Settings) -> Prices:
    """Return the prices."""
    return Prices(settings.prices.mb, settings.prices.sms, settings.prices.currency)


def limits(settings: Settings) -> Limits:
    """Return the limits of the outbox."""
    store = settings.store
    return Limits(store.max_messages, store.max_bytes, store.max_age, store.when_full == "drop_oldest")


def plan(settings: Settings) -> Plan:
    """Return the plan of the budget."""
    budget = settings.budget
    bounds = Bounds(budget.day, budget.month, budget.sms_day, budget.sms_month, budget.reserve)
    return Plan(bounds, budget.month_starts, budget.warn, prices(settings))


def policy(settings: Settings) -> Policy:
    """Return the policy of the intake."""
    router = Router([(route.match, _route(route)) for route in settings.routes])
    refusal = codecs.TOTP_CANNOT if settings.cloud.auth == "totp" else None
    air = None if settings.network.interface.startswith("cellular") else NO_MODEM
    return Policy(
        router=router,
        default_via=settings.sms.via,
        sms_refusal=refusal,
        air_refusal=air,
        max_segments=settings.sms.max_segments,
    )


def _route(route: RouteSetting) -> Route:
    channel = Channel(route.channel)
    if channel is Channel.CLOUD:
        endpoint = CLOUD
    else:
        endpoint = Endpoint(channel, route.host or "", route.port or 0, route.expect)
    priority = Priority.NORMAL if route.priority is None else Priority.named(route.priority)
    return Route(
        endpoint,
        priority,
        lifetime=route.expires,
        max_attempts=route.max_attempts,
        match=route.match,
        batching=_batching(route.batch),
        stamp=route.stamp,
        latest=route.keep == "latest",
        filter=_filter(route.filter),
        escalation=_escalation(route.escalate),
    )


def _escalation(given: EscalateSetting | None) -> Escalation | None:
    return None if given is None else Escalation(given.after, given.sms, given.limit, given.per)


def _batching(batch: BatchSetting | None) -> Batching | None:
    if batch is None:
        return None
    return Batching(batch.every, batch.messages, batch.bytes, batch.topic, batch.form == "plain")


def _filter(given: FilterSetting | None) -> Filter | None:
    if given is None:
        return None
    return Filter(
        # By its text: 0.2 is meant as it is written.
        deadband=None if given.deadband is None else Decimal(repr(given.deadband)),
        field=tuple(given.field.split(".")) if given.field else (),
        changed=given.changed,
        min_interval=given.min_interval or 0.0,
        max_interval=given.max_interval or inf,
    )


def broker(settings: Settings, client_id: str = "") -> Broker:
    """Return the broker's address and options for ``client_id``; raises `ConfigError` for bad certificates.

    The client id may be empty for a mere check of the settings.
    """
    mqtt = settings.mqtt
    tls = None if mqtt.tls is None else tls_context(mqtt.tls.ca, mqtt.tls.cert, mqtt.tls.key)
    return Broker(
        mqtt.host,
        mqtt.port,
        client_id,
        version5=mqtt.protocol == 5,
        username=mqtt.username,
        password=mqtt.password,
        keepalive=mqtt.keepalive,
        tls=tls,
    )


def device(settings: Settings, name: str) -> Device:
    """Return the device that is announced to Home Assistant; ``name`` is its id there."""
    interface = settings.network.interface
    kind = interface.partition("-")[0]
    model = f"Hologram bridge ({interface})" if interface else "Hologram bridge"
    bounds = tuple(name for name in BOUNDS if getattr(settings.budget, name) is not None)
    currency = settings.prices.currency if prices(settings).any else None
    recipients = tuple(Recipient(each.name, each.to) for each in settings.home_assistant.notify)
    return Device(
        id=name,
        version=__version__,
        kind=kind,
        model=model,
        recipients=recipients,
        bounds=bounds,
        currency=currency,
        backs_up=settings.network.backs_up,
    )


def inbound_limits(settings: Settings) -> InboundLimits:
    """Return the limits of inbound messages."""
    inbound = settings.inbound
    return InboundLimits(
        inbound.timeout,
        inbound.max_bytes,
        inbound.max_connections,
        inbound.deadline,
        inbound.allow,
        PREFIX if settings.remote.key else b"",
    )


CALLED_WITH = "called_with"
"""Key under which the outbox keeps `called_with` of a link that may still be up."""


def called_with(settings: Settings) -> str | None:
    """Return a hash of the settings of a call; None without a managed modem.

    Only the bridge's user can read the file that keeps it, because the hash could reveal a short password.
    """
    network = settings.network
    if not network.interface.startswith("cellular"):
        return None
    login = (network.ppp_user, network.ppp_password)
    values = [network.interface, network.devices, network.apn, network.scope, *login]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def info(loaded: Loaded) -> dict[str, Any]:
    """Return the payload of ``hologram/bridge/info``; secrets are masked."""
    return {
        "version": __version__,
        "capabilities": CAPABILITIES,
        "configuration": effective(loaded.settings),
        "changed_from_afar": {
            "keys": list(loaded.overrides.values),
            "unconfirmed": list(loaded.overrides.unconfirmed),
        },
    }

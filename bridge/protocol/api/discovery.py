"""Home Assistant's device discovery: one retained message that describes the device and all its entities.

The form is that of Home Assistant's MQTT integration, "Device discovery payload" and the documentation of its
platforms, with the abbreviated keys listed there. Names and classes follow its guidelines for entities.

* Unique ids are ``<device id>_<component key>``. They never change, because Home Assistant finds renamed
  entities and dashboard entries by them.
* A removed component is announced with its platform alone. This removes it from a Home Assistant that has
  received it since its start; others ignore it. A Home Assistant that was away gets the whole component once
  more, and then the platform alone. A disabled entity cannot be removed in this way: it goes with the device.
* A template that renders ``None`` makes the state unknown. One that renders nothing leaves the state as it
  was.
* Every component has its own QoS, because a command would travel at QoS 0 otherwise. The device's ``qos`` is
  documented as shared, but Home Assistant 2025.4 ignores it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

Component = dict[str, Any]
Components = dict[str, Component]
"""By their keys."""

EVENT_TYPES = (
    "message.received",
    "message.sent",
    "message.rejected",
    "message.expired",
    "message.dropped",
    "message.failed",
    "sms.received",
    "sms.sent",
    "sms.unconfirmed",
    "sms.report",
)
"""Types of the event entity. Home Assistant refuses a type that is not listed."""

REGISTRATIONS = ("home", "roaming", "searching", "denied", "not_registered")


class Topics(NamedTuple):
    """The topics that entities read and write."""

    prefix: str
    state: str
    health: str
    network: str
    event: str
    last_sms: str


class Recipient(NamedTuple):
    """A person whom Home Assistant can send SMS to."""

    name: str
    to: str
    """The number in E.164."""


class Device(NamedTuple):
    """The announced device."""

    id: str
    version: str
    kind: str
    """The managed interface: ``cellular``, ``wifi`` or empty."""
    model: str
    recipients: tuple[Recipient, ...] = ()
    bounds: tuple[str, ...] = ()
    """Names of the budget's bounds that are set."""
    currency: str | None = None
    """The currency of the prices; None without prices."""
    backs_up: bool = False
    """Whether the modem is only the backup of the box's own network."""


def payload(device: Device, topics: Topics, *, removed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the discovery payload; ``removed`` has keys and platforms of components to remove."""
    gone = {key: {"p": platform} for key, platform in (removed or {}).items()}
    return _payload(device, topics, gone | _complete(device, _components(device, topics)))


def recalled(device: Device, topics: Topics, removed: Mapping[str, str]) -> dict[str, Any]:
    """Return the payload with the ``removed`` components whole, so that `payload` can remove them next."""
    nowhere = f"{topics.prefix}/removed"
    like = {"stat_t": nowhere, "cmd_t": nowhere, "evt_typ": ["none"]}
    ghosts = {
        key: {"p": platform, **{name: like[name] for name in _NEEDED[platform]}}
        for key, platform in removed.items()
    }
    return _payload(device, topics, _complete(device, ghosts))


_NEEDED = {
    "binary_sensor": ("stat_t",),
    "sensor": ("stat_t",),
    "event": ("stat_t", "evt_typ"),
    "switch": ("cmd_t",),
    "button": ("cmd_t",),
    "notify": ("cmd_t",),
}
"""Keys that Home Assistant requires in a component of each platform."""


def _complete(device: Device, components: Components) -> Components:
    return {
        key: {**component, "uniq_id": f"{device.id}_{key}", "qos": 1} for key, component in components.items()
    }


def _payload(device: Device, topics: Topics, components: Components) -> dict[str, Any]:
    return {
        "dev": {
            "ids": [device.id],
            "name": "Cellular bridge",
            "mf": "Hologram",
            "mdl": device.model,
            "sw": device.version,
        },
        "o": {"name": "hologram-bridge", "sw": device.version},
        "avty": [{"t": topics.state}],
        "cmps": components,
    }


def platforms(announced: Mapping[str, Any]) -> dict[str, str]:
    """Return the key and platform of every component in a discovery payload."""
    return {key: component["p"] for key, component in announced["cmps"].items() if len(component) > 1}


def _components(device: Device, topics: Topics) -> Components:
    found: Components = {}
    if device.kind:
        found |= _link(topics, device.kind)
    if device.kind == "cellular":
        found |= _cellular(topics)
    if device.backs_up:
        found |= _path(topics)
    if device.kind == "wifi":
        found |= _wifi(topics)
    return found | _bridge(topics) | _money(topics, device) | _messages(topics, device.recipients)


# -- kinds of entities -----------------------------------------------------------------------------------


def _sensor(name: str, topic: str, template: str, **more: Any) -> Component:
    return {"p": "sensor", "name": name, "stat_t": topic, "val_tpl": "{{ " + template + " }}", **more}


def _diagnostic(name: str, topic: str, template: str, **more: Any) -> Component:
    return _sensor(name, topic, template, ent_cat="diagnostic", **more)


def _binary(name: str, topic: str, template: str, **more: Any) -> Component:
    return {"p": "binary_sensor", "name": name, "stat_t": topic, "val_tpl": template, **more}


def _button(name: str, topic: str, press: str, **more: Any) -> Component:
    return {"p": "button", "name": name, "cmd_t": topic, "pl_prs": press, **more}


def _notify(name: str, topic: str) -> Component:
    return {"p": "notify", "name": name, "cmd_t": topic, "ic": "mdi:message-text"}


# -- templates -------------------------------------------------------------------------------------------

_WHY = (
    "{{ {'code_name': value_json.code_name, 'error': value_json.error, 'since': value_json.since,"
    " 'interface': value_json.interface, 'modem': value_json.modem} | tojson }}"
)
"""Attributes that change with the link alone, because Home Assistant's recorder keeps every change. The
signal has a sensor of its own."""

_CONNECTION = (
    "{% set state = value_json.state %}"
    "{{ 'ON' if state in ('connected', 'connecting') else none if state == 'error' else 'OFF' }}"
)
"""After an error the link may be tried again or not. The state is then unknown, and the switch works in both
directions."""

_CLOUD_ANSWERS = (
    "{% set all = value_json.destinations | selectattr('channel', 'in', ['cloud', 'sms'])"
    " | rejectattr('to') | map(attribute='condition') | list %}"
    "{{ none if not all else 'ON' if all | reject('eq', 'up') | list | count == 0 else 'OFF' }}"
)
"""Unknown before the first message, because the cloud has not been asked yet."""

_FAILED = (
    "value_json.results.rejected + value_json.results.expired + value_json.results.dropped"
    " + value_json.results.unconfirmed + value_json.results.failed"
)

_TEXT = "value_json.body[:255] if value_json.body else none"
"""A state has at most 255 characters; the whole text is in the attributes. An SMS without text has an unknown
state."""

_LISTED = (
    "{{ value if value_json.event_type in [" + ", ".join(f"'{each}'" for each in EVENT_TYPES) + "] else '' }}"
)
"""An event that is not listed becomes an empty payload, which Home Assistant ignores."""


# -- the entities ----------------------------------------------------------------------------------------


def _link(topics: Topics, kind: str) -> Components:
    status, commands = topics.network, f"{topics.prefix}/network/set"
    return {
        "connectivity": _binary(
            "Cellular" if kind == "cellular" else "Wi-Fi",
            status,
            "{{ 'ON' if value_json.code == 1 else 'OFF' }}",
            dev_cla="connectivity",
            json_attr_t=status,
            json_attr_tpl=_WHY,
        ),
        "connection": {
            "p": "switch",
            "name": "Connection",
            "ic": "mdi:wan",
            "stat_t": status,
            "val_tpl": _CONNECTION,
            "cmd_t": commands,
            "pl_on": "connect",
            "pl_off": "disconnect",
            "stat_on": "ON",
            "stat_off": "OFF",
        },
        "reconnect": _button("Reconnect", commands, "reconnect", ic="mdi:connection"),
        "local_ip": _diagnostic(
            "Local IP address", status, "value_json.local_ip", ic="mdi:ip-network", en=False
        ),
    }


_STRENGTH = {"dev_cla": "signal_strength", "unit_of_meas": "dBm", "stat_cla": "measurement"}


def _cellular(topics: Topics) -> Components:
    status, commands = topics.network, f"{topics.prefix}/network/set"
    numbers = {
        key: _diagnostic(key.upper(), status, f"value_json.{key}", ic="mdi:identifier", en=False)
        for key in ("imei", "imsi", "iccid")
    }
    return {
        "signal": _diagnostic("Signal strength", status, "value_json.signal.rssi_dbm", **_STRENGTH),
        "signal_percent": _diagnostic(
            "Signal quality", status, "value_json.signal.percent",
            unit_of_meas="%", stat_cla="measurement", ic="mdi:signal",
        ),
        "operator": _diagnostic("Operator", status, "value_json.operator", ic="mdi:radio-tower"),
        "technology": _diagnostic("Technology", status, "value_json.technology", ic="mdi:antenna"),
        "registration": _diagnostic(
            "Registration", status, "value_json.registration",
            dev_cla="enum", ops=list(REGISTRATIONS), ic="mdi:sim",
        ),
        **numbers,
        "modem_reset": _button("Reset modem", commands, "reset", dev_cla="restart", ent_cat="config"),
    }  # fmt: skip


def _path(topics: Topics) -> Components:
    path = _sensor(
        "Messages by", topics.network, "value_json.path",
        dev_cla="enum", ops=["own", "modem"], ic="mdi:swap-horizontal",
    )  # fmt: skip
    return {"path": path}


def _wifi(topics: Topics) -> Components:
    status = topics.network
    return {
        "wifi_signal": _diagnostic("Signal strength", status, _of_wifi("avg_signal_dbm"), **_STRENGTH),
        "wifi_ssid": _diagnostic("SSID", status, _of_wifi("ssid"), ic="mdi:wifi"),
    }


def _of_wifi(key: str) -> str:
    """Return the template of a field of ``wifi``, which is absent without a connection."""
    return f"(value_json.get('wifi') or {{}}).get('{key}')"


def _bridge(topics: Topics) -> Components:
    health, commands = topics.health, f"{topics.prefix}/queue/set"
    total = {"unit_of_meas": "messages", "stat_cla": "total_increasing"}
    return {
        "cloud": _binary("Cloud", health, _CLOUD_ANSWERS, dev_cla="connectivity", ent_cat="diagnostic"),
        "queue": _sensor(
            "Queue", health, "value_json.queue.messages",
            unit_of_meas="messages", stat_cla="measurement", ic="mdi:tray-full",
        ),
        "oldest": _diagnostic(
            "Oldest message", health, "value_json.queue.oldest_age | default(0, true)",
            dev_cla="duration", unit_of_meas="s", stat_cla="measurement",
        ),
        "delivered": _sensor(
            "Delivered", health, "value_json.results.delivered", ic="mdi:email-check", **total
        ),
        "failed": _sensor("Failed", health, _FAILED, ic="mdi:email-alert", **total),
        "data_today": _data("Data today", health, "today"),
        "data_month": _data("Data this month", health, "month"),
        "flush": _button("Flush queue", commands, "flush", ic="mdi:email-fast", ent_cat="config"),
    }  # fmt: skip


def _data(name: str, health: str, period: str) -> Component:
    both = f"value_json.bytes.{period}.up + value_json.bytes.{period}.down"
    data = {"dev_cla": "data_size", "unit_of_meas": "B", "stat_cla": "total_increasing"}
    return _sensor(name, health, both, sug_dsp_prc=0, **data)


_LEFT = {
    "day": "Data left today",
    "month": "Data left this month",
    "sms_day": "SMS left today",
    "sms_month": "SMS left this month",
}

_HOLDS = "{{ 'ON' if value_json.budget.values() | selectattr('holds') | list | count > 0 else 'OFF' }}"
"""A problem while a bound holds messages of normal priority back."""


def _money(topics: Topics, device: Device) -> Components:
    found = {f"{name}_left": _left(name, topics.health) for name in device.bounds}
    if device.bounds:
        found["budget"] = _binary("Budget", topics.health, _HOLDS, dev_cla="problem", ent_cat="diagnostic")
    if device.currency:
        found["cost_month"] = _sensor(
            "Cost this month", topics.health, "(value_json.cost or {}).get('month')",
            dev_cla="monetary", unit_of_meas=device.currency, stat_cla="total", sug_dsp_prc=2,
        )  # fmt: skip
    return found


def _left(name: str, health: str) -> Component:
    """Return the sensor of what is left; unknown while a command has lifted the bound."""
    template = f"(value_json.budget.get('{name}') or {{}}).get('left')"
    if name.startswith("sms_"):
        return _sensor(_LEFT[name], health, template, unit_of_meas="SMS", ic="mdi:message-badge")
    return _sensor(_LEFT[name], health, template, dev_cla="data_size", unit_of_meas="B", sug_dsp_prc=0)


def _messages(topics: Topics, recipients: tuple[Recipient, ...]) -> Components:
    found = {
        "activity": {
            "p": "event",
            "name": "Messages",
            "ic": "mdi:email-sync",
            "stat_t": topics.event,
            "evt_typ": list(EVENT_TYPES),
            "val_tpl": _LISTED,
        },
        "last_sms": _sensor(
            "Last SMS", topics.last_sms, _TEXT, json_attr_t=topics.last_sms, ic="mdi:message-text"
        ),
        "notify_cloud": _notify("Hologram cloud", f"{topics.prefix}/out"),
    }
    for recipient in recipients:
        digits = recipient.to.removeprefix("+")
        found[f"notify_{digits}"] = _notify(recipient.name, f"{topics.prefix}/sms/{digits}")
    return found

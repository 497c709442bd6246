"""The configuration as frozen values; every key and default is promised to users."""

import json
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import InitSettingsSource

from bridge.core.events import BY_DEFAULT
from bridge.core.phone import E164_ALLOWED
from bridge.settings.fields import (
    EMPTY_IS_NULL,
    AbsolutePath,
    Allowed,
    Apn,
    BatchSize,
    CloudId,
    CloudKey,
    CloudTopic,
    Currency,
    Device,
    DeviceId,
    DeviceKey,
    Duration,
    EventPattern,
    FieldPath,
    Flag,
    Host,
    IpNetwork,
    Line,
    Name,
    NamedProtocol,
    Percent,
    PhoneNumber,
    Port,
    Positive,
    Price,
    PrivateKey,
    ReadableFile,
    RemoteKey,
    Seconds,
    SecretLine,
    Sender,
    SimPin,
    Size,
    StampKey,
    Text,
    TopicFilter,
    TopicPrefix,
)


def problem(key: str, text: str) -> PydanticCustomError:
    """Return a problem that is of no single key: ``key`` is its place, ``text`` the whole message."""
    return PydanticCustomError("bridge", "{text}", {"key": key, "text": text})


class Section(BaseModel):
    """The base of all sections: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _check_pair(section: Section, one: str, other: str) -> None:
    missing = [key for key in (one, other) if getattr(section, key) is None]
    if len(missing) == 1:
        raise problem(missing[0], f"is missing; {one} and {other} belong together, give both or neither")


class Credentials(Section):
    """The device's identity in the cloud: a key, or cloud id and cloud key; TOTP has its own two."""

    devicekey: Annotated[DeviceKey | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    cloud_id: Annotated[CloudId | None, EMPTY_IS_NULL] = None
    cloud_key: Annotated[CloudKey | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    device_id: Annotated[DeviceId | None, EMPTY_IS_NULL] = None
    private_key: Annotated[PrivateKey | None, EMPTY_IS_NULL] = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        _check_pair(self, "cloud_id", "cloud_key")
        _check_pair(self, "device_id", "private_key")
        if self.devicekey is not None and self.cloud_id is not None:
            raise problem("", "give either devicekey, or cloud_id and cloud_key, not both")
        return self


class Cloud(Section):
    """The cloud socket; ``timeout`` is silence in seconds, ``parallel`` the number of exchanges at once."""

    host: Host = "cloudsocket.hologram.io"
    port: Port = 9999
    timeout: Annotated[float, Field(strict=True, ge=0.1, le=120), Allowed("0.1 to 120 seconds")] = 5
    auth: Literal["csrpsk", "totp"] = "csrpsk"
    parallel: Annotated[int, Field(strict=True, ge=1, le=256)] = 4


class Tls(Section):
    """TLS to the broker; without ``ca`` the system's certificates are used."""

    ca: Annotated[ReadableFile | None, EMPTY_IS_NULL] = None
    cert: Annotated[ReadableFile | None, EMPTY_IS_NULL] = None
    key: Annotated[ReadableFile | None, EMPTY_IS_NULL] = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        _check_pair(self, "cert", "key")
        return self


class Broker(Section):
    """An MQTT broker; ``protocol`` is 5 or "3.1.1" (4 means "3.1.1" too), ``keepalive`` in seconds."""

    host: Host = "127.0.0.1"
    port: Port = 1883
    username: Annotated[Line | None, EMPTY_IS_NULL] = None
    password: Annotated[SecretLine | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    client_id: Annotated[Line | None, EMPTY_IS_NULL] = None
    protocol: Annotated[Literal[5, "3.1.1"], NamedProtocol] = 5
    keepalive: Annotated[int, Field(strict=True, ge=1, le=65535), Allowed("1 to 65535 seconds")] = 60
    tls: Tls | None = None

    @model_validator(mode="after")
    def _password(self) -> Self:
        if self.protocol != 5 and self.password is not None and self.username is None:
            # MQTT 3.1.1, section 3.1.2.9: the password flag must be 0 unless the user name flag is set.
            raise problem("username", "is missing; MQTT 3.1.1 takes no password without a username")
        return self


class Mqtt(Broker):
    """The bridge's broker, the first level of its topics, and the events that it publishes."""

    prefix: TopicPrefix = "hologram"
    events: tuple[EventPattern, ...] = BY_DEFAULT


class Inbound(Section):
    """Inbound messages; ``timeout`` is the silence, ``deadline`` the whole connection, in seconds."""

    enabled: Flag = True
    host: Host = "0.0.0.0"  # noqa: S104 messages come in on the modem's interface; `allow` says from where
    port: Port = 4010
    protocols: Annotated[
        tuple[Literal["tcp", "udp"], ...], Field(min_length=1), Allowed('a list of "tcp" and "udp"')
    ] = ("tcp", "udp")
    timeout: Seconds = 5
    max_bytes: Size = 65536
    max_connections: Annotated[int, Field(strict=True, ge=1, le=4096)] = 64
    deadline: Seconds = 60
    allow: Annotated[
        tuple[IpNetwork, ...],
        Allowed('a list of IP networks in quotes with no host bits set, such as ["10.176.0.0/16"]'),
    ] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
        IPv4Network("10.176.0.0/16"),
        IPv4Network("10.254.0.0/16"),
    )


class Sms(Section):
    """Outbound SMS."""

    via: Literal["cloud", "modem"] = "cloud"
    max_segments: Annotated[int, Field(strict=True, ge=1, le=255)] = 4
    status_reports: Flag = False


Interface = Literal[
    "",
    "cellular",
    "cellular-e303",
    "cellular-ms2131",
    "cellular-iota",
    "cellular-nova-u201",
    "cellular-nova-r410",
    "cellular-bg96",
    "cellular-ec21",
    "wifi",
]


DEVICES = (
    'a device path such as "/dev/ttyUSB0", or a list of two, the one that takes AT commands first and the '
    'one that dials second; for wifi an interface such as "wlan0"'
)


class Network(Section):
    """The modem or Wi-Fi that the bridge manages; ``poll`` and the times of the backup in seconds."""

    interface: Interface = ""
    device: Annotated[
        Device | tuple[Device, Device] | None,
        EMPTY_IS_NULL,
        Allowed(DEVICES),
    ] = None
    apn: Apn = "hologram"
    autoconnect: Annotated[Flag | Literal["on_demand"], Allowed('true, false or "on_demand"')] = True
    scope: Literal["system", "hologram", "bridge", "backup"] = "system"
    poll: Annotated[float, Field(strict=True, ge=1, le=86400), Allowed("1 to 86400 seconds")] = 60
    sim_pin: Annotated[SimPin | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    ppp_user: Annotated[Line | None, EMPTY_IS_NULL] = None
    ppp_password: Annotated[SecretLine | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    backup_after: Duration = 120.0
    backup_hold: Duration = 300.0
    restart_box_after: Annotated[Duration | None, EMPTY_IS_NULL] = None

    @property
    def devices(self) -> tuple[str, ...]:
        """The configured devices."""
        return (self.device,) if isinstance(self.device, str) else self.device or ()

    @property
    def has_modem(self) -> bool:
        """Whether a modem is managed."""
        return self.interface.startswith("cellular")

    @property
    def binds(self) -> bool:
        """Whether the bridge's sockets are bound to the modem's interface."""
        return self.scope in ("bridge", "backup")

    @property
    def backs_up(self) -> bool:
        """Whether the modem is only the backup of the machine's own network."""
        return self.scope == "backup"

    @property
    def takes_messages(self) -> bool:
        """Whether messages need the managed link; otherwise they take the machine's own network."""
        return self.scope != "hologram"

    @model_validator(mode="before")
    @classmethod
    def _autoconnect_of_scope(cls, given: Any) -> Any:
        """Give a backup its own default of ``autoconnect``."""
        if isinstance(given, dict) and given.get("scope") == "backup":
            return {"autoconnect": "on_demand", **given}
        return given

    @model_validator(mode="after")
    def _has_interface_of_scope(self) -> Self:
        if self.binds and not self.has_modem:
            raise problem(
                "scope",
                f'"{self.scope}" needs a modem, and network.interface is "{self.interface}"; '
                'allowed with "cellular" and its kinds',
            )
        return self

    @model_validator(mode="after")
    def _devices(self) -> Self:
        """Check that a modem has a path, and Wi-Fi a name."""
        wifi = self.interface == "wifi"
        for each in self.devices:
            if each.startswith("/") is wifi or (wifi and len(self.devices) != 1):
                raise problem("device", f'"{each}" is not allowed; allowed is {DEVICES}, or null')
        return self


class Store(Section):
    """The outbox on disk; ``max_bytes`` in bytes, ``max_age`` in seconds after reading."""

    path: AbsolutePath = Path("/var/lib/hologram-bridge/outbox.db")
    max_messages: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)] = 1_000_000
    max_bytes: Size = 512_000_000
    max_age: Duration = 7 * 86400.0
    when_full: Literal["reject", "drop_oldest"] = "reject"


class Notify(Section):
    """A person who gets SMS from Home Assistant: ``to`` in E.164 form, as for any SMS."""

    name: Name
    to: PhoneNumber


class HomeAssistant(Section):
    """Home Assistant's discovery."""

    enabled: Flag = True
    prefix: TopicPrefix = "homeassistant"
    notify: Annotated[tuple[Notify, ...], Allowed('a list of { name: "…", to: "+15551234567" }')] = ()

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [each.name for each in self.notify]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise problem(
                    f"notify[{index}].name", "is given to two entries; each needs a name of its own"
                )
        return self


class Log(Section):
    """The amount of logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Control(Section):
    """The control socket; null: beside the store, or in the runtime directory under systemd."""

    path: Annotated[AbsolutePath | None, EMPTY_IS_NULL] = None


class Metrics(Section):
    """The port of the metrics endpoint; null: none."""

    port: Port | None = None


Texts = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class Budget(Section):
    """The bounds of what goes over the SIM, in bytes and in SMS; ``reserve`` in percent after reading."""

    day: Annotated[Size | None, EMPTY_IS_NULL] = None
    month: Annotated[Size | None, EMPTY_IS_NULL] = None
    month_starts: Annotated[int, Field(strict=True, ge=1, le=28)] = 1
    sms_day: Texts | None = None
    sms_month: Texts | None = None
    reserve: Percent = 10.0
    warn: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=1000)], ...],
        Allowed("a list of whole percentages of 1 to 1000, such as [70, 90, 100]"),
    ] = (70, 90, 100)


class Prices(Section):
    """What the SIM's carrier takes for 1,000,000 bytes and for one part of an SMS."""

    mb: Price | None = None
    sms: Price | None = None
    currency: Currency = "USD"


class Heartbeat(Section):
    """The message that says how the box is; ``every`` in seconds after reading, null: none is sent."""

    every: Annotated[Duration | None, EMPTY_IS_NULL] = None
    topic: CloudTopic = "heartbeat"


RemoteCommand = Literal[
    "status",
    "reconnect",
    "reset",
    "flush",
    "pause",
    "resume",
    "restart",
    "restart_box",
    "log",
    "get",
    "set",
    "unset",
    "confirm",
]


class Remote(Section):
    """Signed commands from afar; without a key there are none."""

    key: Annotated[RemoteKey | None, EMPTY_IS_NULL] = Field(default=None, repr=False)
    senders: Annotated[
        tuple[Sender, ...],
        Allowed('a list of senders of SMS in quotes as `from` shows them, such as ["+15551234567"]'),
    ] = ()
    allow: Annotated[
        tuple[RemoteCommand, ...],
        Allowed(f"a list of {', '.join(map(json.dumps, get_args(RemoteCommand)))}"),
    ] = ("status",)

    @model_validator(mode="after")
    def _confirmable(self) -> Self:
        changing = next((each for each in ("set", "unset") if each in self.allow), None)
        if changing and "confirm" not in self.allow:
            raise problem(
                "allow", f'"confirm" is missing; without it what "{changing}" changes always undoes itself'
            )
        return self


class Batch(Section):
    """Several messages of a route in one request; ``every`` in seconds, ``bytes`` as it is sent."""

    every: Duration
    messages: Annotated[int, Field(strict=True, ge=1, le=1000)] = 200
    bytes: BatchSize = 4000
    topic: CloudTopic = "batch"
    form: Literal["compact", "plain"] = "compact"


class Filter(Section):
    """The readings of a route that say something new; intervals in seconds after reading."""

    deadband: Positive | None = None
    field: Annotated[FieldPath | None, EMPTY_IS_NULL] = None
    changed: Flag = False
    min_interval: Annotated[Duration | None, EMPTY_IS_NULL] = None
    max_interval: Annotated[Duration | None, EMPTY_IS_NULL] = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.deadband is None and not self.changed and self.min_interval is None:
            raise problem("", "does nothing; give it deadband, changed: true or min_interval")
        if self.field is not None and self.deadband is None:
            raise problem("field", "is for deadband only; it names the number that has to move")
        low, high = self.min_interval, self.max_interval
        if low is not None and high is not None and high <= low:
            raise problem(
                "max_interval", f"{high:g} s is not allowed; allowed is more than min_interval, {low:g} s"
            )
        return self


class Escalate(Section):
    """The texts for messages of a route that were not delivered ``after`` that time, in seconds."""

    after: Duration
    sms: Annotated[
        tuple[PhoneNumber, ...],
        Field(min_length=1, max_length=20),
        Allowed(f'a list of 1 to 20 numbers, {E164_ALLOWED}, in quotes, such as ["+15551234567"]'),
    ]
    limit: Annotated[int, Field(strict=True, ge=1, le=1000)] = 10
    per: Duration = 3600.0

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        for index, number in enumerate(self.sms):
            if number in self.sms[:index]:
                raise problem(f"sms[{index}]", f'"{number}" is given twice; each number gets one text')
        if self.limit < len(self.sms):
            raise problem(
                "limit",
                f"{self.limit} is not allowed; allowed is {len(self.sms)} or more, "
                "as each message takes a text for each number",
            )
        return self


class Route(Section):
    """The treatment of topics that ``match``; ``expires`` in seconds after reading."""

    match: TopicFilter
    channel: Literal["cloud", "tcp", "udp"] = "cloud"
    host: Annotated[Host | None, EMPTY_IS_NULL] = None
    port: Port | None = None
    expect: Annotated[Text | None, EMPTY_IS_NULL] = None
    max_attempts: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    priority: Literal["high", "normal", "low"] | None = None
    expires: Annotated[Duration | None, EMPTY_IS_NULL] = None
    batch: Batch | None = None
    stamp: Annotated[StampKey | None, EMPTY_IS_NULL] = None
    filter: Filter | None = None
    keep: Literal["all", "latest"] = "all"
    escalate: Escalate | None = None

    @model_validator(mode="after")
    def _destination(self) -> Self:
        for key in ("host", "port"):
            given = getattr(self, key) is not None
            if self.channel == "cloud" and given:
                raise problem(key, 'belongs to channel "tcp" or "udp"; set the channel, or take it out')
            if self.channel != "cloud" and not given:
                raise problem(key, f'is missing; channel "{self.channel}" needs host and port')
        if self.batch is not None and self.channel != "cloud":
            raise problem(
                "batch", 'is for channel "cloud" only; a host of your own gets each message as it is'
            )
        if self.expect is not None and self.channel != "tcp":
            raise problem("expect", 'is for channel "tcp" only; no other brings an answer of the destination')
        return self


class Settings(BaseSettings):
    """The whole configuration.

    ``Settings(mqtt={"port": 1884}, …)`` takes its values only from the call;
    :func:`bridge.settings.load` is what reads the file and the environment.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, case_sensitive=True
    )

    credentials: Credentials = Credentials()
    cloud: Cloud = Cloud()
    mqtt: Mqtt = Mqtt()
    inbound: Inbound = Inbound()
    sms: Sms = Sms()
    network: Network = Network()
    store: Store = Store()
    home_assistant: HomeAssistant = HomeAssistant()
    log: Log = Log()
    control: Control = Control()
    metrics: Metrics = Metrics()
    budget: Budget = Budget()
    prices: Prices = Prices()
    heartbeat: Heartbeat = Heartbeat()
    remote: Remote = Remote()
    routes: Annotated[tuple[Route, ...], Allowed('a list of routes such as [ { match: "alarms/#" } ]')] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 ours names misspelt variables; that one skips them
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 there is no .env file
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 there is no secrets folder
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the values of the call, or the ``trees`` of the sources; the first takes precedence."""
        assert isinstance(init_settings, InitSettingsSource)
        trees = init_settings.init_kwargs.get("trees")
        return tuple(InitSettingsSource(settings_cls, tree) for tree in trees) if trees else (init_settings,)

    @model_validator(mode="after")
    def _authentication(self) -> Self:
        have = self.credentials
        if self.cloud.auth == "totp":
            if have.device_id is None and not self.network.interface.startswith("cellular"):
                raise problem(
                    "credentials",
                    'device_id and private_key are missing; cloud.auth "totp" needs both, as only a '
                    "cellular network.interface can read them from the SIM",
                )
        elif have.devicekey is None and have.cloud_id is None:
            raise problem(
                "credentials",
                "no device key is given; put the 8 characters that the Hologram dashboard shows for this "
                'device into the file as credentials: { devicekey: "…" } (or cloud_id and cloud_key, '
                "4 characters each), "
                "or into the environment as HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY",
            )
        return self

    @model_validator(mode="after")
    def _remote_key(self) -> Self:
        """Check that the key of remote commands is none that the cloud knows."""
        have = self.credentials
        known = (have.devicekey, have.cloud_key, have.private_key)
        if self.remote.key is not None and self.remote.key in known:
            raise problem(
                "remote.key",
                "is the device's own key, which the cloud knows too; make one that nobody else has",
            )
        return self

    @model_validator(mode="after")
    def _escalation(self) -> Self:
        if self.cloud.auth == "totp" and not self.network.interface.startswith("cellular"):
            for index, route in enumerate(self.routes):
                if route.escalate is not None:
                    raise problem(
                        f"routes[{index}].escalate",
                        'cannot send its texts: the cloud takes none with cloud.auth "totp", and no modem is '
                        'managed; set network.interface: "cellular", or cloud.auth: "csrpsk"',
                    )
        return self

"""The configuration: what is taken, what is refused and in which words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hjson
import pytest
from pydantic import BaseModel

from bridge.core.admission import AdmissionControl
from bridge.errors import ConfigError
from bridge.settings import DEFAULT_PATH, Batch, Escalate, Loaded, Settings, effective, load
from bridge.settings.explain import model_of

SHIPPED = Path(__file__).parents[2] / "config" / "bridge.hjson"
KEY = 'credentials: { devicekey: "abcd1234" }\n'
ENV_KEY = {"HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY": "12345678"}


def read(folder: Path, text: str | bytes, environ: dict[str, str] | None = None) -> Loaded:
    """Load ``text`` as the file."""
    file = folder / "bridge.hjson"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(0o640)
    return load(file, environ or {})


def refused(folder: Path, text: str | bytes, environ: dict[str, str] | None = None) -> list[str]:
    """Return the lines with which ``text`` is refused, none of which may hold the validator's own words."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, environ)
    message = str(caught.value)
    for jargon in ("Input should", "pydantic", "extra_forbidden", "validation error", "literal"):
        assert jargon not in message
    return message.replace(str(folder / "bridge.hjson"), "FILE").splitlines()


def values(text: str) -> Settings:
    return Settings.model_validate({"credentials": {"devicekey": "abcd1234"}} | hjson.loads(text))


NUMBER = '"+15551234567"'


def escalate(keys: str, *, after: str = 'after: "2m"') -> str:
    """Return the routes of a file of which one texts."""
    return f'routes: [ {{ match: "a", escalate: {{ {", ".join(filter(None, (after, keys)))} }} }} ]'


def batch(keys: str) -> str:
    """Return the routes of a file with one batch, which has ``keys`` too."""
    return f'routes: [ {{ match: "a", batch: {{ every: "1m", {keys} }} }} ]'


# ---- values ----------------------------------------------------------------------------------------------


PORTS = "allowed is 1 to 65535"


FILTER = 'routes: [ { match: "a", filter: { '
"""The beginning of a route with a filter."""


@pytest.mark.parametrize(
    ("body", "path", "shown", "allowed"),
    [
        ("mqtt: { port: 99999 }", "mqtt.port", "99999 is not allowed", PORTS),
        ("mqtt: { port: true }", "mqtt.port", "true is not allowed", PORTS),
        ('mqtt: { port: "x" }', "mqtt.port", '"x" is not allowed', PORTS),
        ("mqtt: { port: 1e999 }", "mqtt.port", "Infinity is not allowed", PORTS),
        ('budget: { day: "2 Mbit" }', "budget.day", '"2 Mbit" is not', "a number with KB, MB"),
        ("budget: { month: 0 }", "budget.month", "0 is not", "above 0, or null"),
        ("budget: { month_starts: 29 }", "budget.month_starts", "29 is not", "allowed is 1 to 28"),
        ("budget: { sms_day: -1 }", "budget.sms_day", "-1 is not", "0 to 1000000, or null"),
        ('budget: { sms_month: "many" }', "budget.sms_month", '"many" is not', "0 to 1000000, or null"),
        ("budget: { reserve: true }", "budget.reserve", "true is not", '"0%" to "100%"'),
        ('budget: { reserve: "101%" }', "budget.reserve", '"101%" is not', '"0%" to "100%"'),
        ("budget: { warn: [0] }", "budget.warn[0]", "0 is not", "1 to 1000"),
        ("budget: { warn: 70 }", "budget.warn", "70 is not", "such as [70, 90, 100]"),
        ("budget: { hour: 5 }", "budget.hour", "unknown key 'hour'", "day, month, month_starts, sms_day"),
        ("prices: { mb: -1 }", "prices.mb", "-1 is not", "0 to 1000000, in the currency, or null"),
        ('prices: { currency: "$" }', "prices.currency", '"$"', "3 capital letters"),
        ("metrics: { port: 0 }", "metrics.port", "0 is not allowed", PORTS + ", or null"),
        ('heartbeat: { every: "often" }', "heartbeat.every", '"often" is not', "ms, s, m, h or d"),
        ("heartbeat: { every: 0 }", "heartbeat.every", "0 is not", "above 0 and at most 3650d, or null"),
        ('heartbeat: { topic: "a b" }', "heartbeat.topic", '"a b" is not', "up to 31 letters, digits"),
        (f'remote: {{ key: "{"k" * 23}" }}', "remote.key", "(23 characters) is not", "24 to 255 characters"),
        ('remote: { allow: ["format"] }', "remote.allow[0]", '"format" is not', '"status", "reconnect"'),
        ('remote: { allow: ["set"] }', "remote.allow", '"confirm" is missing', '"set" changes always undoes'),
        ('remote: { allow: ["unset"] }', "remote.allow", '"confirm" is missing', '"unset" changes always'),
        ("remote: { senders: [15551234567] }", "remote.senders[0]", "15551234567 is a num", '"+15551234567"'),
        ('remote: { senders: [""] }', "remote.senders[0]", '"" is not', '"+15551234567"'),
        ("cloud: { timeout: 0 }", "cloud.timeout", "0 is not", "allowed is 0.1 to 120 seconds"),
        ('cloud: { auth: "x" }', "cloud.auth", '"x" is not', 'allowed is "csrpsk" or "totp"'),
        ("cloud: { parallel: 1.5 }", "cloud.parallel", "1.5 is not", "allowed is 1 to 256"),
        ('cloud: { host: "tcp://x:1" }', "cloud.host", '"tcp://x:1" is not', "without scheme or port"),
        ("cloud: null", "cloud", "null is not allowed", "an object with the keys host, port"),
        ("mqtt: { protocol: 3 }", "mqtt.protocol", "3 is not", 'allowed is 5 or "3.1.1"'),
        ('mqtt: { prefix: "$a/#" }', "mqtt.prefix", '"$a/#" is not', "an MQTT topic of"),
        ('mqtt: { prefix: "/a" }', "mqtt.prefix", '"/a" is not', "no $ or / first"),
        ('mqtt: { tls: { ca: "/no/ca" } }', "mqtt.tls.ca", "(No such file or directory)", "can be read"),
        ("mqtt: { tls: 3 }", "mqtt.tls", "a number is not allowed", "keys ca, cert, key, or null"),
        ('inbound: { allow: ["10.0.0.1/8"] }', "inbound.allow[0]", '"10.0.0.1/8" is not', "IP networks"),
        ("inbound: { allow: [5] }", "inbound.allow[0]", "5 is not", "IP networks"),
        ('inbound: { protocols: ["x"] }', "inbound.protocols[0]", '"x" is not', '"tcp" and "udp"'),
        ("inbound: { protocols: [] }", "inbound.protocols", "[] is not", '"tcp" and "udp"'),
        ('inbound: { enabled: "yes" }', "inbound.enabled", '"yes" is not', "true or false"),
        ("inbound: { timeout: -1 }", "inbound.timeout", "-1 is not", "0.1 to 3600 seconds"),
        ("sms: { max_segments: 256 }", "sms.max_segments", "256 is not", "1 to 255"),
        ('network: { interface: "x" }', "network.interface", '"x" is not', '"" or "cellular" or'),
        ('network: { apn: "a b" }', "network.apn", '"a b" is not', "letters, digits, dots and hyphens"),
        ('network: { scope: "bridge" }', "network.scope", '"bridge" needs a modem', 'with "cellular"'),
        (
            'network: { interface: "wifi", scope: "bridge" }',
            "network.scope",
            '"bridge" needs a modem, and network.interface is "wifi"',
            'with "cellular"',
        ),
        ('network: { scope: "backup" }', "network.scope", '"backup" needs a modem', 'with "cellular"'),
        ('network: { backup_after: "2x" }', "network.backup_after", '"2x" is not', "ms, s, m, h or d"),
        ('network: { autoconnect: "x" }', "network.autoconnect", '"x" is not', 'true, false or "on_demand"'),
        ('network: { device: "ttyUSB0" }', "network.device", '"ttyUSB0" is not', '"/dev/ttyUSB0"'),
        ('store: { path: "a.db" }', "store.path", '"a.db" is not', "absolute path"),
        ('store: { max_age: "11y" }', "store.max_age", '"11y" is not', "ms, s, m, h or d"),
        ('store: { max_bytes: "x" }', "store.max_bytes", '"x" is not', "KB, MB, GB"),
        ('store: { when_full: "x" }', "store.when_full", '"x" is not', '"reject" or "drop_oldest"'),
        ('log: { level: "loud" }', "log.level", '"loud" is not', '"debug" or "info" or'),
        ('control: { path: "x" }', "control.path", '"x" is not', "absolute path"),
        (
            'home_assistant: { notify: [ { name: "a", to: "555" } ] }',
            "home_assistant.notify[0].to",
            '"555" is not',
            '"+15551234567"',
        ),
        (
            'home_assistant: { notify: [ { name: "a", to: "+12345" } ] }',
            "home_assistant.notify[0].to",
            '"+12345" is not',
            "+ and 7 to 15 digits",  # as for sending, or each of its notifications would be rejected
        ),
        ("routes: [ {} ]", "routes[0].match", "is missing", "allowed is an MQTT topic filter"),
        ("routes: [ 3 ]", "routes[0]", "is not an object", "with the keys match, channel"),
        ("routes: {}", "routes", "an object is not allowed", "a list of routes"),
        ('routes: [ { match: "a/#/b" } ]', "routes[0].match", '"a/#/b" is not', "# only as the last level"),
        ('routes: [ { match: "a/b+" } ]', "routes[0].match", '"a/b+" is not', "+ only as a whole level"),
        ('routes: [ { match: "a", priority: "x" } ]', "routes[0].priority", '"x" is not', '"high" or'),
        ('routes: [ { match: "a", max_attempts: 0 } ]', "routes[0].max_attempts", "0 is not", "or null"),
        ('routes: [ { match: "a", channel: "tcp" } ]', "routes[0].host", "is missing", "needs host and port"),
        ('routes: [ { match: "a", port: 5 } ]', "routes[0].port", 'belongs to channel "tcp"', "take it out"),
        (
            'routes: [ { match: "a", stamp: "value" } ]',
            "routes[0].stamp",
            '"value" is not allowed',
            "but not",
        ),
        ('routes: [ { match: "a", filter: {} } ]', "routes[0].filter", "does nothing", "give it deadband"),
        (
            'routes: [ { match: "a", filter: 5 } ]',
            "routes[0].filter",
            "a number is not",
            "with the keys deadband",
        ),
        (FILTER + "max_interval: 5 } } ]", "routes[0].filter", "does nothing", "min_interval"),
        (FILTER + "deadband: 0 } } ]", "routes[0].filter.deadband", "0 is not", "a number above 0"),
        (FILTER + 'deadband: "0.2" } } ]', "routes[0].filter.deadband", "", "deadband: 0.2"),
        (FILTER + "deadband: -1 } } ]", "routes[0].filter.deadband", "-1 is not", "a number above 0"),
        (FILTER + 'changed: true, field: "a" } } ]', "routes[0].filter.field", "is for deadband", "move"),
        (FILTER + 'deadband: 1, field: "a..b" } } ]', "routes[0].filter.field", '"a..b" is not', "a path"),
        (FILTER + "min_interval: 0 } } ]", "routes[0].filter.min_interval", "0 is not", "above 0"),
        (
            FILTER + 'min_interval: "1m", max_interval: 60 } } ]',
            "routes[0].filter.max_interval",
            "60 s is not allowed",
            "more than min_interval, 60 s",
        ),
        (FILTER + "dead_band: 1 } } ]", "routes[0].filter.dead_band", "unknown key", "'deadband'"),
        ('routes: [ { match: "a", keep: "last" } ]', "routes[0].keep", '"last" is not', '"all" or "latest"'),
        ('routes: [ { match: "a", stamp: true } ]', "routes[0].stamp", "true is not allowed", 'such as "at"'),
        (
            f'routes: [ {{ stamp: "{"x" * 65}", match: "a" }} ]',
            "routes[0].stamp",
            f'"{"x" * 65}" is not allowed',
            "1 to 64 characters",
        ),
        ('routes: [ { match: "a", expect: "x" } ]', "routes[0].expect", 'is for channel "tcp" only', ""),
        ('routes: [ { match: "a", batch: {} } ]', "routes[0].batch.every", "is missing", "ms, s, m, h or d"),
        (
            'routes: [ { match: "a", batch: 3 } ]',
            "routes[0].batch",
            "a number is not",
            "the keys every, mess",
        ),
        (batch("messages: 0"), "routes[0].batch.messages", "0 is not", "1 to 1000"),
        (batch("bytes: 100"), "routes[0].batch.bytes", "100 is not", "a size from 200 bytes to 1MB"),
        (batch('bytes: "2MB"'), "routes[0].batch.bytes", '"2MB" is not', "a size from 200 bytes to 1MB"),
        (batch('topic: "a b"'), "routes[0].batch.topic", '"a b" is not', "up to 31 letters, digits"),
        (batch('form: "json"'), "routes[0].batch.form", '"json" is not', '"compact" or "plain"'),
        (
            batch("each: 5"),
            "routes[0].batch.each",
            "unknown key 'each'",
            "every, messages, bytes, topic, form",
        ),
        (
            'routes: [ { match: "a", channel: "udp", host: "h", port: 1, batch: { every: "1m" } } ]',
            "routes[0].batch",
            'is for channel "cloud" only',
            "",
        ),
        (
            'routes: [ { match: "a", escalate: { after: "2m", sms: ["0171 1234567"] } } ]',
            "routes[0].escalate.sms[0]",
            '"0171 1234567" is not allowed',
            "+ and 7 to 15 digits",
        ),
        (
            'routes: [ { match: "a", escalate: { after: "2m", sms: [15551234567] } } ]',
            "routes[0].escalate.sms[0]",
            "15551234567 is a number as it stands; put it in quotes",
            "+ and 7 to 15 digits",
        ),
        (escalate("sms: []"), "routes[0].escalate.sms", "[] is not allowed", "a list of 1 to 20 numbers"),
        (escalate('sms: "+15551234567"'), "routes[0].escalate.sms", '"+15551234567" is', "a list of 1 to 20"),
        (escalate(f"sms: [{NUMBER}, {NUMBER}]"), "routes[0].escalate.sms[1]", "", "is given twice"),
        (
            escalate(f'sms: [{NUMBER}, "+15557654321"], limit: 1'),
            "routes[0].escalate.limit",
            "1 is not",
            "2 or more",
        ),
        (escalate(f"sms: [{NUMBER}], limit: 0"), "routes[0].escalate.limit", "0 is not", "1 to 1000"),
        (
            escalate(f'sms: [{NUMBER}], per: "0s"'),
            "routes[0].escalate.per",
            '"0s" is not',
            "ms, s, m, h or d",
        ),
        (
            escalate(f'sms: [{NUMBER}], after: "soon"', after=""),
            "routes[0].escalate.after",
            '"soon" is',
            "ms, s",
        ),
        (
            escalate(f"sms: [{NUMBER}]", after=""),
            "routes[0].escalate.after",
            "is missing",
            "ms, s, m, h or d",
        ),
        (escalate("", after='after: "2m"'), "routes[0].escalate.sms", "is missing", "a list of 1 to 20"),
        (
            escalate(f"to: [{NUMBER}], sms: [{NUMBER}]"),
            "routes[0].escalate.to",
            "unknown key 'to'",
            "after, sms",
        ),
    ],
)
def test_a_bad_value_is_one_line_with_key_value_and_what_is_allowed(
    tmp_path: Path, body: str, path: str, shown: str, allowed: str
) -> None:
    """Each bad value is named by its path, shown, and followed by what is allowed."""
    (line,) = refused(tmp_path, "{" + KEY + body + "}")
    assert line.startswith(f"{path}: {shown}" if "(" not in shown else f"{path}: ")
    assert shown in line
    assert allowed in line


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ('mqtt: { port: "1883" }', f"text as it stands; write it without quotes, as in port: 1883; {PORTS}"),
        ('metrics: { port: "null" }', f"as in port: null; {PORTS}"),
        ('inbound: { enabled: "True" }', "as in enabled: true; allowed is true or false"),
        ('network: { autoconnect: "false" }', "as in autoconnect: false; allowed is true, false or"),
        ('inbound: { timeout: "5s" }', "write the number of seconds alone, as in timeout: 5;"),
        ('mqtt: { keepalive: "1 m" }', "as in keepalive: 60; allowed is 1 to 65535 seconds"),
        ('log: { level: "DEBUG" }', "is not allowed; did you mean 'debug'; allowed is \"debug\" or"),
        ('network: { interface: "Cellular" }', "did you mean 'cellular'; allowed is"),
        ("mqtt: { host: \u201cbroker\u201d\n }", 'it has typographic quotes, write " before and after it'),
        ('mqtt.host: "x"', "unknown key 'mqtt.host'; a section has braces, as in mqtt: { host: … }"),
        ('network: { sim_pin: "123456789" }', "network.sim_pin: *** (9 characters) is not allowed"),
        ('mqtt: { username: "a\\tb" }', "allowed is text in quotes, 1 to 255 characters on one line"),
    ],
)  # fmt: skip
def test_what_was_probably_meant_is_said(tmp_path: Path, body: str, line: str) -> None:
    """Quotes too many, units, capitals, another program's form: the line shows how to write it here."""
    (got,) = refused(tmp_path, "{" + KEY + body + "}")
    assert line in got


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        ("abcd123", "(7 characters)"),
        ("abcd1234 ", "(9 characters, with a space)"),
        ("abcdé123", "(8 characters, with one that is not ASCII)"),
        ("a", "(1 character)"),
    ],
)
def test_a_key_that_is_no_key_is_measured(tmp_path: Path, key: str, seen: str) -> None:
    """How long it is, and what is easily overlooked in it; never the key."""
    (line,) = refused(tmp_path, f'{{ credentials: {{ devicekey: "{key}" }} }}')
    assert line == (
        f"credentials.devicekey: *** {seen} is not allowed; "
        "allowed is 8 characters, printable ASCII without spaces, or null"
    )
    (line,) = refused(tmp_path, '{ credentials: { cloud_id: "abc", cloud_key: "abcd" } }')
    assert line.startswith('credentials.cloud_id: "abc" (3 characters) is not allowed')


def test_quotes_in_the_environment_are_too_many(tmp_path: Path) -> None:
    """A container's environment file keeps them."""
    (line,) = refused(tmp_path, "{" + KEY + "}", {"HOLOGRAM_BRIDGE__MQTT__PORT": '"1883"'})
    assert (
        "without quotes, as in port: 1883; allowed is 1 to 65535 (from HOLOGRAM_BRIDGE__MQTT__PORT)" in line
    )


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    """All that is wrong is told at once, one line each, in the order of the keys."""
    lines = refused(tmp_path, "{" + KEY + 'mqtt: { port: 0, hots: "x" }\n log: { level: 3 } }')
    assert [line.split(": ")[0] for line in lines] == ["mqtt.port", "mqtt.hots", "log.level"]


def test_unknown_keys_are_named_with_the_nearest_and_all_that_are_allowed(tmp_path: Path) -> None:
    """A misspelt key brings the nearest one; a key in the wrong place brings its section."""
    assert refused(tmp_path, "{" + KEY + 'sms: { vai: "cloud" } }') == [
        "sms.vai: unknown key 'vai'; did you mean 'via'? allowed keys are via, max_segments, status_reports"
    ]
    (line,) = refused(tmp_path, "{" + KEY + 'devicekey: "abcd1234" }')
    assert line.startswith("devicekey: unknown key 'devicekey'; did you mean 'credentials.devicekey'?")
    assert "abcd1234" not in line


def test_what_belongs_together_is_asked_for_together(tmp_path: Path) -> None:
    """Halves of a pair, and two ways of saying who we are, are refused."""
    assert refused(tmp_path, '{ credentials: { cloud_id: "1234" } }') == [
        "credentials.cloud_key: is missing; cloud_id and cloud_key belong together, give both or neither"
    ]
    both = '{ credentials: { cloud_id: "1234", cloud_key: "5678", devicekey: "abcd1234" } }'
    assert refused(tmp_path, both) == [
        "credentials: give either devicekey, or cloud_id and cloud_key, not both"
    ]
    (line,) = refused(tmp_path, "{" + KEY + f'mqtt: {{ tls: {{ cert: "{SHIPPED}" }} }} }}')
    assert line.startswith("mqtt.tls.key: is missing; cert and key belong together")
    (line,) = refused(tmp_path, "{" + KEY + 'mqtt: { password: "x", protocol: "3.1.1" } }')
    assert line.startswith("mqtt.username: is missing; MQTT 3.1.1 takes no password")
    twice = '[ { name: "a", to: "+15551234567" }, { name: "a", to: "+15551234568" } ]'
    (line,) = refused(tmp_path, "{" + KEY + f"home_assistant: {{ notify: {twice} }} }}")
    assert line.startswith("home_assistant.notify[1].name: is given to two entries")


def test_the_key_of_remote_commands_is_none_of_the_devices(tmp_path: Path) -> None:
    """Who may send for a device could command it otherwise; neither key is shown."""
    own = "a-private-key-of-24-chars"
    text = f"""{{ cloud: {{ auth: "totp" }}, credentials: {{ device_id: "1", private_key: "{own}" }}
              remote: {{ key: "{own}" }} }}"""
    (line,) = refused(tmp_path, text)
    assert line.startswith("remote.key: is the device's own key")
    assert own not in line


@pytest.mark.parametrize("text", ["{}", '{ credentials: { devicekey: "" } }', "# nothing but a comment"])
def test_missing_credentials_say_what_to_put_where(tmp_path: Path, text: str) -> None:
    """Without credentials the line shows what to write, in the file or in the environment."""
    (line,) = refused(tmp_path, text)
    assert line.startswith("credentials: no device key is given")
    assert 'credentials: { devicekey: "…" }' in line
    assert "HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY" in line


def test_totp_needs_its_two_unless_a_modem_can_read_them(tmp_path: Path) -> None:
    """With TOTP device_id and private_key are needed, except from a SIM in a cellular interface."""
    (line,) = refused(tmp_path, '{ cloud: { auth: "totp" } }')
    assert "device_id and private_key are missing" in line
    assert read(tmp_path, '{ cloud: { auth: "totp" }, network: { interface: "cellular-ec21" } }').settings
    loaded = read(
        tmp_path, '{ cloud: { auth: "totp" }, credentials: { device_id: "8944", private_key: "2341" } }'
    )
    assert loaded.settings.credentials.private_key == "2341"
    assert any("sms.via" in warning for warning in loaded.warnings)


def test_escalation_needs_a_way_for_its_texts(tmp_path: Path) -> None:
    """TOTP credentials cannot text by the cloud, so that only a modem can."""
    totp = '{ cloud: { auth: "totp" }, credentials: { device_id: "8944", private_key: "2341" }, '
    routes = escalate(f"sms: [{NUMBER}]")
    (line,) = refused(tmp_path, totp + routes + "}")
    assert line.startswith("routes[0].escalate: cannot send its texts")
    modem = 'network: { interface: "cellular" }, '
    (route,) = read(tmp_path, totp + modem + routes + "}").settings.routes
    assert route.escalate == Escalate(after=120, sms=("+15551234567",), limit=10, per=3600)


@pytest.mark.parametrize(
    "body",
    [
        'credentials: { devicekey: "hunter2" }',
        "credentials: { devicekey: 77712345 }",
        'credentials: { cloud_id: "abcd", cloud_key: "hunter2" }',
        'credentials: { private_key: "hunter 2", device_id: "1" }',
        'credentials: "hunter2"',
        'credentials: ["hunter2"]',
        'credentials: { devicekee: "hunter2" }',
        'mqtt: { password: ["hunter2"] }',
        'network: { sim_pin: "hunter2" }',
        "network: { sim_pin: 7771 }",
        'network: { ppp_password: "hunter2\\n" }',
        "mqtt: { password: hunter2 # mine\n}",
    ],
)
def test_secrets_are_never_shown(tmp_path: Path, body: str) -> None:
    """A refused secret, or what may hold one, is masked or left out."""
    text = "\n".join(refused(tmp_path, "{" + (KEY if "credentials" not in body else "") + body + "}"))
    assert "hunter" not in text
    assert "777" not in text


def test_equal_ways_of_writing_give_equal_settings() -> None:
    """The MQTT version has several names, the empty text is null, sizes and durations have units."""
    for written, version in (
        ("5", 5),
        ('"5"', 5),
        ("4", "3.1.1"),
        ('"3.1.1"', "3.1.1"),
        ("3.1.1\n", "3.1.1"),
    ):
        assert values("{ mqtt: { protocol: " + written + "} }").mqtt.protocol == version
    assert values('{ mqtt: { username: "", password: "" } }').mqtt.username is None
    store = values('{ store: { max_age: "12h", max_bytes: "1GiB" } }').store
    assert (store.max_age, store.max_bytes) == (43200, 2**30)
    route = values('{ routes: [ { match: "a/+/#", expires: "1h", priority: "low" } ] }').routes[0]
    assert (route.channel, route.expires, route.priority, route.max_attempts) == ("cloud", 3600, "low", None)
    assert route.batch is None
    (route,) = values('{ routes: [ { match: "#", batch: { every: "15m", bytes: "4kB" } }, ] }').routes
    assert route.batch == Batch(every=900, messages=200, bytes=4000, topic="batch", form="compact")
    for host in ("localhost", "::1", "broker-1.lan", "192.168.1.4"):
        assert values(f'{{ mqtt: {{ host: "{host}" }} }}').mqtt.host == host
    for autoconnect in (True, False, "on_demand"):
        network = {"autoconnect": autoconnect}
        assert values(json.dumps({"network": network})).network.autoconnect == autoconnect


def test_settings_never_change_and_never_show_secrets() -> None:
    """Settings are frozen, and neither their repr nor their effective form holds a secret."""
    settings = values('{ mqtt: { password: "hunter2", username: "u" }, network: { sim_pin: "7771" } }')
    with pytest.raises(ValueError, match="frozen"):
        settings.mqtt.port = 5
    shown = json.dumps(effective(settings))
    for text in (repr(settings), shown):
        assert not [secret for secret in ("hunter2", "7771", "abcd1234") if secret in text]
    assert effective(settings)["mqtt"]["password"] == "***"
    assert effective(settings)["mqtt"]["username"] == "u"
    assert effective(settings)["network"]["ppp_password"] is None


# ---- the file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "FILE: is empty"),
        (" \n", "FILE: is empty"),
        ("[1]", "FILE: is not an object"),
        ("words", "FILE: is not an object"),
        ("{\n a: [1,\n", "FILE: line 3 is not HJSON"),
        ('{\n mqtt: { host: "x }\n}', "FILE: line 2 is not HJSON"),
        ("{ a", "FILE: line 1 is not HJSON: the text ends before a closing bracket"),
        ("/* open", "FILE: is not HJSON: a comment, text or bracket is left open"),
        (b"{\n\xff}", "FILE: line 2 is not UTF-8"),
        ("[" * 5000, "FILE: is nested too deeply"),
        ("x" * 1_000_001, "FILE: is larger than 1000000 bytes"),
        ("{" + KEY + "mqtt: { port: 5, port: 6 } }", "mqtt.port: is given twice"),
        (KEY + KEY, "credentials: is given twice"),
    ],
)
def test_a_file_that_is_no_configuration_is_said_in_one_line(
    tmp_path: Path, text: str | bytes, line: str
) -> None:
    """Empty, no object, not HJSON (with the line), not UTF-8, too deep, too large, keys twice."""
    (got,) = refused(tmp_path, text)
    assert got.startswith(line)


def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    """A missing file, a directory, and a path through a file."""
    (tmp_path / "file").touch()
    for path, reason in (("no", "no such file"), ("", "is a directory"), ("file/x", "cannot be read (Not a")):
        with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
            load(tmp_path / path, {})
        assert str(caught.value).startswith(f"{tmp_path / path}: ")
        assert reason in str(caught.value)


def test_a_file_without_permission_is_said_in_one_line(tmp_path: Path) -> None:
    """A file that may not be read is named with the reason."""
    file = tmp_path / "bridge.hjson"
    file.write_text("{" + KEY + "}")
    file.chmod(0)
    user = os.geteuid()
    if user == 0:  # root reads every file
        os.seteuid(65534)
    try:
        with pytest.raises(ConfigError) as caught:
            load(file, {})
        assert str(caught.value) == (
            f"{file}: cannot be read (Permission denied); use sudo, or a user of the group hologram"
        )
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{ credentials: { devicekey: 12345678 } }", ["credentials.devicekey: ***", 'devicekey: "…"']),
        ("{ credentials: { devicekey: 1234e567 } }", ["credentials.devicekey: ***", "quotes"]),
        ("{ credentials: { devicekey: 12345678 // mine\n} }", ["credentials.devicekey: ***", "quotes"]),
        ("{ credentials: { devicekey: abcd1234 } }", ["line 1", "'devicekey' has no quotes"]),
        ("{ credentials: { devicekey: abcd1234,\n} }", ["credentials.devicekey: ", "has no quotes"]),
        ("{ credentials: { devicekey: 01234567 # mine\n} }", ["credentials.devicekey: ", "has no quotes"]),
        ("{" + KEY + "mqtt: { host: abc // mine\n} }", ["mqtt.host: ", "has no quotes"]),
        ("{" + KEY + "mqtt: {\n host: abc, port: 5 }\n}", ["line 3", "'host' has no quotes"]),
        ("{" + KEY + "network: { sim_pin: 1234 } }", ["network.sim_pin: ***", 'sim_pin: "…"']),
    ],
)
def test_what_hjson_makes_of_missing_quotes_is_explained(tmp_path: Path, text: str, parts: list[str]) -> None:
    """Numbers where text belongs, and text that took in its line's rest, are told to be quoted."""
    (line,) = refused(tmp_path, text)
    assert not [part for part in [*parts, "quotes"] if part not in line]


def test_a_cloud_id_without_quotes_is_explained(tmp_path: Path) -> None:
    """Both halves are named, the secret one masked."""
    lines = refused(tmp_path, "{ credentials: { cloud_id: 1234, cloud_key: 5678 } }")
    assert lines[0].startswith("credentials.cloud_id: 1234 is a number as it stands; put it in quotes")
    assert lines[1].startswith("credentials.cloud_key: *** is a number as it stands; put it in quotes")


def test_quoted_text_may_hold_anything(tmp_path: Path) -> None:
    """Commas, braces and comment signs inside quotes are part of the text; a leading 0 makes text."""
    text = "{ credentials: { devicekey: 01234567\n}, mqtt: { password: 'a #b // c, }' } }"
    settings = read(tmp_path, text).settings
    assert settings.mqtt.password == "a #b // c, }"
    assert settings.credentials.devicekey == "01234567"


def test_a_file_of_secrets_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    """The warning says the chmod; there is none without secrets, or when others cannot read it."""
    file = tmp_path / "bridge.hjson"
    for text, mode, warned in (
        ("{" + KEY + "}", 0o644, True),
        ("{" + KEY + "}", 0o604, True),
        ("{" + KEY + "}", 0o640, False),
        ("{}", 0o644, False),
        ('{ mqtt: { password: "x" } }', 0o644, True),
    ):
        file.write_text(text)
        file.chmod(mode)
        warnings = load(file, {} if KEY in text else ENV_KEY).warnings
        assert [f"chmod 640 {file}" in warning for warning in warnings] == [True] * warned


def test_a_route_that_is_never_reached_is_a_warning(tmp_path: Path) -> None:
    """After a route for everything no other can match."""
    (warning,) = read(tmp_path, "{" + KEY + 'routes: [ { match: "#" }, { match: "a" } ] }').warnings
    assert warning.startswith("routes[1].match: is never reached")


# ---- the environment -------------------------------------------------------------------------------------


def env(**items: str) -> dict[str, str]:
    """Return variables: ``MQTT__HOST="x"`` and the device key."""
    return ENV_KEY | {f"HOLOGRAM_BRIDGE__{name}": value for name, value in items.items()}


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable replaces its key and leaves the keys beside it."""
    text = "{" + KEY + 'mqtt: { host: "file", port: 1 }, network: { sim_pin: "1234" } }'
    settings = read(tmp_path, text, env(MQTT__HOST="variable", NETWORK__SIM_PIN="")).settings
    assert (settings.mqtt.host, settings.mqtt.port) == ("variable", 1)
    assert settings.credentials.devicekey == "12345678"
    assert settings.network.sim_pin is None


def test_the_environment_takes_every_kind_of_value(tmp_path: Path) -> None:
    """Digits stay text where text belongs; lists and objects are HJSON; a key wins over its section."""
    environ = env(
        NETWORK__SIM_PIN="0123",
        INBOUND__ENABLED="False",
        STORE__MAX_AGE="10m",
        CLOUD__TIMEOUT="2.5",
        MQTT="{ host: 'a', port: 5 }",
        MQTT__PORT="6",
        MQTT__PROTOCOL="3.1.1",
        NETWORK__AUTOCONNECT="on_demand",
        INBOUND__ALLOW='["10.0.0.0/8"]',
        ROUTES='[{ match: "a", max_attempts: 3 }]',
        METRICS__PORT="null",
        MQTT__TLS__CA=str(SHIPPED),
    )
    settings = read(tmp_path, "{ metrics: { port: 9 } }", environ).settings
    assert settings.network.sim_pin == "0123"
    assert settings.inbound.enabled is False
    assert (settings.store.max_age, settings.cloud.timeout) == (600, 2.5)
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.protocol) == ("a", 6, "3.1.1")
    assert settings.network.autoconnect == "on_demand"
    assert [str(network) for network in settings.inbound.allow] == ["10.0.0.0/8"]
    assert settings.routes[0].max_attempts == 3
    assert settings.metrics.port is None
    assert settings.mqtt.tls is not None
    assert settings.mqtt.tls.ca == str(SHIPPED)


def test_the_environment_gives_one_device_or_two(tmp_path: Path) -> None:
    """A path stands as it is; what begins with a bracket is a list, and its mistakes are named."""
    both = env(NETWORK__INTERFACE="cellular", NETWORK__DEVICE=' ["/dev/ttyUSB2", "/dev/ttyUSB3"]')
    assert read(tmp_path, "{}", both).settings.network.devices == ("/dev/ttyUSB2", "/dev/ttyUSB3")
    one = env(NETWORK__INTERFACE="cellular", NETWORK__DEVICE="/dev/ttyUSB2")
    assert read(tmp_path, "{}", one).settings.network.devices == ("/dev/ttyUSB2",)
    wifi = env(NETWORK__INTERFACE="wifi", NETWORK__DEVICE="0123")
    assert read(tmp_path, "{}", wifi).settings.network.devices == ("0123",)
    (line,) = refused(tmp_path, "{}", env(NETWORK__DEVICE='["/dev/ttyUSB2"'))
    assert line.startswith("network.device: ")
    assert line.endswith("(from HOLOGRAM_BRIDGE__NETWORK__DEVICE)")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HOLOGRAM_BRIDGE__MQTT__HOTS", "HOLOGRAM_BRIDGE__MQTT__HOST"),
        ("HOLOGRAM_BRIDGE_MQTT_HOST", "HOLOGRAM_BRIDGE__MQTT__HOST"),
        ("HOLOGRAM_BRIDGE__ROUTES__0__MATCH", "HOLOGRAM_BRIDGE__ROUTES"),
        ("HOLOGRAM_BRIDGE__MQTT__PASWORD_FILE", "HOLOGRAM_BRIDGE__MQTT__PASSWORD"),
    ],
)
def test_misspelt_names_in_the_environment_are_errors(tmp_path: Path, name: str, meant: str) -> None:
    """Each is named with the nearest that is known; its value, which may be a secret, is not shown."""
    (line,) = refused(tmp_path, "{" + KEY + "}", {name: "hunter2"})
    assert line.startswith(f"{name}: unknown name in the environment; did you mean '{meant}'?")
    assert "hunter2" not in line


def test_bad_values_in_the_environment_name_the_variable(tmp_path: Path) -> None:
    """The line names key and variable, for values and for HJSON that is none."""
    assert refused(tmp_path, "{}", env(MQTT__PORT="9x")) == [
        'mqtt.port: "9x" is not allowed; allowed is 1 to 65535 (from HOLOGRAM_BRIDGE__MQTT__PORT)'
    ]
    (line,) = refused(tmp_path, "{}", env(ROUTES="[{match"))
    assert line.startswith("routes: line 1 is not HJSON")
    assert line.endswith("(from HOLOGRAM_BRIDGE__ROUTES)")


def test_a_variable_may_name_a_file_with_the_value(tmp_path: Path) -> None:
    """As containers give secrets: an editor's line end is no part of it, digits stay text, any key may."""
    for name, text in (("key", b"12345678\n"), ("pin", b"0123\r\n"), ("routes", b"[\n{ match: 'a' }\n]\n")):
        (tmp_path / name).write_bytes(text)
    environ = {
        "HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY_FILE": str(tmp_path / "key"),
        "HOLOGRAM_BRIDGE__NETWORK__SIM_PIN_FILE": str(tmp_path / "pin"),
        "HOLOGRAM_BRIDGE__ROUTES_FILE": str(tmp_path / "routes"),
    }
    settings = load(None, environ, default=tmp_path / "none").settings
    assert settings.credentials.devicekey == "12345678"
    assert settings.network.sim_pin == "0123"
    assert settings.routes[0].match == "a"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * 1_000_001, "is larger than 1000000 bytes"),
    ],
)
def test_a_file_of_a_variable_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    """One line with key, file and variable; nothing of the content, and no hint at the missing other file."""
    secret = tmp_path / "key"
    if content is not None:
        secret.write_bytes(content)
    name = "HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY_FILE"
    with pytest.raises(ConfigError) as caught:
        load(None, {name: str(secret)}, default=tmp_path / "none")
    assert str(caught.value) == f"credentials.devicekey: {secret} {why} (from {name})"


def test_a_bad_value_in_a_file_of_a_variable_is_not_shown(tmp_path: Path) -> None:
    """The line names the variable that led to it."""
    (tmp_path / "key").write_text("hunter2-is-long")
    name = "HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY_FILE"
    (line,) = refused(tmp_path, "{}", {name: str(tmp_path / "key")})
    assert line.startswith("credentials.devicekey: *** (15 characters) is not allowed")
    assert line.endswith(f"(from {name})")


def test_a_key_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    """Which of the two counts would be a guess."""
    (tmp_path / "key").write_text("12345678")
    name = "HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY"
    (line,) = refused(tmp_path, "{}", {name: "12345678", f"{name}_FILE": str(tmp_path / "key")})
    assert line == f"credentials.devicekey: is given by {name} and by {name}_FILE; keep one of the two"


def test_without_a_file_the_environment_alone_must_say_who_we_are(tmp_path: Path) -> None:
    """The default file may be missing only if the environment gives the credentials."""
    default = tmp_path / "default.hjson"
    loaded = load(None, ENV_KEY, default=default)
    assert (loaded.path, loaded.settings.credentials.devicekey) == (None, "12345678")
    totp = {"HOLOGRAM_BRIDGE__CLOUD__AUTH": "totp", "HOLOGRAM_BRIDGE__NETWORK__INTERFACE": "cellular"}
    assert load(None, totp, default=default).settings.cloud.auth == "totp"
    with pytest.raises(ConfigError) as caught:
        load(None, {"HOLOGRAM_BRIDGE__MQTT__PORT": "0"}, default=default)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{default}: there is no such file; name yours with -c FILE, or set HOLOGRAM")
    assert second.startswith("mqtt.port: 0 is not allowed")
    default.write_text("{" + KEY + "}")
    assert load(None, {}, default=default).path == default


# ---- the shipped file and the command --------------------------------------------------------------------


def keys(model: type[BaseModel]) -> dict[str, object]:
    """Return the tree of keys of a section; lists and options of objects are leaves."""
    tree: dict[str, object] = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        tree[name] = keys(inner) if isinstance(inner, type) and model_of(inner) else None
    return tree


def test_the_shipped_file_holds_every_key() -> None:
    """No key is left out of the file, and none is in it that the bridge does not know."""

    def tree(node: object) -> object:
        return {key: tree(value) for key, value in node.items()} if isinstance(node, dict) else None

    assert tree(hjson.loads(SHIPPED.read_text())) == keys(Settings)


def test_the_shipped_file_holds_the_defaults_and_asks_for_credentials(tmp_path: Path) -> None:
    """With a device key it equals the defaults; as it is it asks for one."""
    loaded = load(SHIPPED, ENV_KEY)
    assert loaded.settings == Settings.model_validate({"credentials": {"devicekey": "12345678"}})
    assert loaded.warnings == ()
    (line,) = refused(tmp_path, SHIPPED.read_bytes())
    assert line.startswith("credentials: no device key is given")


def test_every_line_of_the_shipped_file_that_sets_a_value_is_explained() -> None:
    """Each key has a comment above it or shares one with its neighbours, and no line is wider than 115."""
    text = SHIPPED.read_text()
    assert text.count("#") > 50
    assert max(map(len, text.splitlines())) <= 115


CHECK = """
import argparse
from bridge.cli.check_config import add_parser
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers())
args = parser.parse_args()
raise SystemExit(args.run(args))
"""


def test_check_config_prints_the_effective_configuration(tmp_path: Path) -> None:
    """JSON with masked secrets on stdout, warnings on stderr, 0; it can be read again."""
    file = tmp_path / "bridge.hjson"
    file.write_text("{" + KEY + 'mqtt: { port: 5, password: "hunter2" } }')
    file.chmod(0o644)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HOLOGRAM_BRIDGE_")}
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "check-config", "-c", str(file)],
        env=environ | {"HOLOGRAM_BRIDGE__MQTT__HOST": "broker"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert (shown["mqtt"]["port"], shown["mqtt"]["host"], shown["mqtt"]["password"]) == (5, "broker", "***")
    assert shown["credentials"]["devicekey"] == "***"
    assert done.stderr.startswith("WARNING:config:")
    assert f"chmod 640 {file}" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == f"{file}: it can be used, with the warnings above"
    again = shown | {"credentials": {"devicekey": "abcd1234"}}
    assert Settings.model_validate(again).mqtt.port == 5


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("::ffff:10.176.0.0/112", "10.176.0.0/16"),
        ("::ffff:a9fe:0/112", "169.254.0.0/16"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("::ffff:0:0/95", None),
        ("fe80::1%eth0", None),
        ("fe80::%eth0/64", None),
        ("10.176.0.1/16", None),
    ],
)
def test_networks_are_those_that_addresses_are_compared_with(
    tmp_path: Path, written: str, meant: str | None
) -> None:
    """IPv4 comes as IPv4 whatever the socket, and without a zone: a network is so too, or is refused."""
    text = "{" + KEY + f'inbound: {{ allow: ["{written}"] }} }}'
    if meant is None:
        (line,) = refused(tmp_path, text)
        assert line.startswith(f'inbound.allow[0]: "{written}" is not allowed; allowed is')
    else:
        settings = read(tmp_path, text).settings
        assert [str(each) for each in settings.inbound.allow] == [meant]
        assert AdmissionControl(settings.inbound.allow).admits(str(settings.inbound.allow[0].network_address))


@pytest.mark.parametrize("host", ["300.1.1.1", "1.2.3.4.5", "a..b", "x" * 64, "a." + "b" * 64, "-a", "a b"])
def test_a_host_that_nothing_can_find_is_refused(tmp_path: Path, host: str) -> None:
    """Neither an address nor a name that can be asked for."""
    (line,) = refused(tmp_path, "{" + KEY + f'mqtt: {{ host: "{host}" }} }}')
    assert line.startswith(f'mqtt.host: "{host}" is not allowed; allowed is a host name or an IP address')


UDP = 'channel: "udp", host: "h", port: 1'


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        ('routes: [ { match: "hologram/out/a/#" } ]', 'routes[0].match: "hologram/out/a/#" is never reached'),
        ('routes: [ { match: "$SYS/#" } ]', 'routes[0].match: "$SYS/#" is never reached, as the cloud'),
        ('routes: [ { match: "a b/+" } ]', 'routes[0].match: "a b/+" is never reached, as the cloud'),
        (f'routes: [ {{ match: "/a", {UDP} }} ]', 'routes[0].match: "/a" is never reached, as topics'),
        ('routes: [ { match: "a//#" } ]', 'routes[0].match: "a//#" is never reached, as topics'),
        (f'routes: [ {{ match: "{"a" * 32}/#" }} ]', "routes[0].match: "),
        (
            'routes: [ { match: "a/#" }, { match: "a/+/b" } ]',
            "routes[1].match: is never reached, as routes[0]",
        ),
        ('routes: [ { match: "a/#" }, { match: "a" } ]', "routes[1].match: is never reached"),
        ('routes: [ { match: "+/b" }, { match: "a/b" } ]', "routes[1].match: is never reached"),
        ('routes: [ { match: "a", expires: "8d" } ]', "routes[0].expires: has no effect, as store.max_age"),
        (
            'routes: [ { match: "a", expires: "1m", batch: { every: "1m" } } ]',
            "routes[0].batch.every: has no effect, as routes[0].expires",
        ),
        ("metrics: { port: 4010 }", "metrics.port: 4010 is inbound.port too"),
        ("inbound: { timeout: 60 }", "inbound.timeout: 60 is not below inbound.deadline, 60"),
        ('sms: { via: "modem" }', 'sms.via: "modem" sends nothing, as no modem is managed'),
        ('network: { apn: "other" }', "network.apn: has no effect"),
        ('network: { device: "/dev/ttyUSB0" }', "network.device: has no effect"),
        ('network: { interface: "wifi", scope: "hologram" }', "network.scope: has no effect"),
        ('network: { backup_hold: "1m" }', "network.backup_hold: has no effect, as network.scope is"),
    ],
)
def test_what_has_no_effect_is_a_warning(tmp_path: Path, body: str, warning: str) -> None:
    """One line with the key: what is configured in vain is not found out in the field."""
    (found,) = read(tmp_path, "{" + KEY + body + "}").warnings
    assert found.startswith(warning)


@pytest.mark.parametrize(
    "body",
    [
        'routes: [ { match: "+/a" }, { match: "b/+" }, { match: "a" }, { match: "a/#" }, { match: "#" } ]',
        'routes: [ { match: "a/+" }, { match: "a/#" } ]',
        'routes: [ { match: "a/#" }, { match: "+/#" } ]',
        f'routes: [ {{ match: "$SYS/a b/#", {UDP} }} ]',
        f'routes: [ {{ match: "{"a" * 31}" }} ]',
        'routes: [ { match: "hologram/#", expires: "7d" } ]',
        "inbound: { enabled: false }, metrics: { port: 4010 }",
        'inbound: { protocols: ["udp"] }, metrics: { port: 4010 }',
        'network: { interface: "cellular", apn: "x", scope: "hologram" }, sms: { via: "modem" }',
        'network: { interface: "wifi", device: "wlan0" }',
        'network: { interface: "cellular-ec21", scope: "bridge" }',
        'network: { interface: "cellular", scope: "backup", backup_after: "1m", backup_hold: "1h" }',
    ],
)
def test_what_has_an_effect_is_no_warning(tmp_path: Path, body: str) -> None:
    """Nobody learns to look past warnings."""
    assert read(tmp_path, "{" + KEY + body + "}").warnings == ()


@pytest.mark.parametrize(
    ("given", "dials"),
    [
        ('scope: "backup"', "on_demand"),
        ('scope: "backup", autoconnect: true', True),
        ('scope: "backup", autoconnect: false', False),
        ('scope: "bridge"', True),
    ],
)
def test_a_backup_dials_on_demand_unless_told_otherwise(
    tmp_path: Path, given: str, dials: bool | str
) -> None:
    """It is the only scope with a default of its own."""
    network = read(
        tmp_path, "{" + KEY + 'network: { interface: "cellular", ' + given + " } }"
    ).settings.network
    assert network.autoconnect == dials


def test_the_environment_alone_is_looked_at_too(tmp_path: Path) -> None:
    """A warning does not need a file."""
    environment = {**ENV_KEY, "HOLOGRAM_BRIDGE__METRICS__PORT": "4010"}
    (warning,) = load(None, environment, default=tmp_path / "none").warnings
    assert warning.startswith("metrics.port: 4010 is inbound.port too")


@pytest.mark.parametrize("written", [True, False])
def test_check_config_says_that_all_is_right(tmp_path: Path, written: bool) -> None:
    """One line beside the configuration itself, for the person who asked."""
    file = tmp_path / "bridge.hjson"
    file.write_text("{" + KEY + "}")
    file.chmod(0o640)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HOLOGRAM_BRIDGE_")}
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "check-config", *(["-c", str(file)] if written else [])],
        env=environ | ENV_KEY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["credentials"]["devicekey"] == "***"
    if written or not DEFAULT_PATH.exists():
        assert done.stderr == f"{file if written else 'the environment'}: all is right\n"

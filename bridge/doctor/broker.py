"""Checks of the broker: whether it takes us, and whether it keeps what it has for us."""

import queue
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bridge.doctor.finding import Finding, fail, ok, skipped, warn
from bridge.doctor.patient import Patient
from bridge.doctor.remedy import shipped
from bridge.errors import BridgeError

WAIT = 10.0
"""Seconds for the broker to answer."""

EXPIRY = 60
"""Seconds that the session of the check would stay, were it not removed."""

EXAMPLE = "mosquitto/hologram-bridge.conf"

LOCAL = ("127.0.0.1", "localhost", "::1")
DAEMON_AWAY = 1000
"""Messages that mosquitto keeps for an absent client unless told otherwise [mosquitto.conf(5)]."""

FEW = 100_000
"""Messages below which the limit is worth a word: a day and more of one each second."""


class Answer(NamedTuple):
    """What the broker said to CONNECT."""

    problem: str | None
    """Why it did not take us."""
    present: bool = False
    """It still had the session."""
    expiry: int | None = None
    """For how long it keeps the session, where it said so."""


def broker(patient: Patient) -> Iterator[Finding]:
    """Connect under an id of our own, leave, come back, and see whether the session was kept."""
    try:
        first, second = _twice(patient)
    except BridgeError as exc:
        yield fail("broker", str(exc), "correct mqtt.tls")
        yield skipped("session", "the broker cannot be asked")
        return
    mqtt = patient.settings.mqtt
    where = f"{mqtt.host}:{mqtt.port}"
    if first.problem:
        yield fail("broker", first.problem, _remedy(first.problem, mqtt.host))
        yield skipped("session", "the broker cannot be asked")
        return
    yield ok("broker", f"{where} takes us{' over TLS' if mqtt.tls else ''}")
    yield _session(patient, first, second)


def _session(patient: Patient, first: Answer, second: Answer) -> Finding:
    fix = f"let the broker keep sessions: see {shipped(EXAMPLE)}"
    if first.expiry is not None and first.expiry < EXPIRY:
        return fail("session", f"the broker keeps sessions for {first.expiry} s only", fix)
    if not second.present:
        why = second.problem or "the broker had forgotten the session after a reconnection"
        return fail("session", f"{why}; what is published while the bridge is away is lost", fix)
    if patient.settings.mqtt.host not in LOCAL:
        return ok("session", "kept over a reconnection; whether over a restart, the broker's machine knows")
    return _saved(patient.etc / "mosquitto" / "mosquitto.conf")


def _saved(path: Path) -> Finding:
    """A broker on this machine: what its configuration says of power cuts."""
    kept = "kept over a reconnection"
    try:
        said = dict(_directives(path, set()))
    except OSError as exc:
        return ok("session", f"{kept}; {path} cannot be read ({exc.strerror}), so not more is known")
    if said.get("persistence", "false") != "true":
        found = f"{kept}, and lost with a restart: persistence is not true in {path}"
        return fail("session", found, _set(path, "persistence true"))
    limit = said.get("max_queued_messages", str(DAEMON_AWAY))
    if limit.isdecimal() and 0 < int(limit) < FEW:
        found = f"{kept}; beyond {limit} messages for an absent bridge are dropped"
        return warn("session", found, _take(path, "max_queued_messages 500000"))
    if said.get("autosave_on_changes", "false") != "true":
        seconds = said.get("autosave_interval", "1800")
        found = f"{kept}; saved every {seconds} s, a power cut takes what came since"
        return warn("session", found, _take(path, "autosave_on_changes true", "autosave_interval 1"))
    return ok("session", f"{kept}, and saved at every change")


def _take(path: Path, *directives: str) -> str:
    """What to do for these ``directives``: a file of ours that is in place may hold a person's own rules."""
    target = path.parent / "conf.d" / Path(EXAMPLE).name
    if target.exists():
        return _set(target, *directives)
    return f"sudo cp {shipped(EXAMPLE)} {target.parent}/ && sudo systemctl restart mosquitto"


def _set(path: Path, *directives: str) -> str:
    return f"set {' and '.join(directives)} in {path}, then: sudo systemctl restart mosquitto"


def _directives(path: Path, seen: set[Path]) -> Iterator[tuple[str, str]]:
    """Return the directives of mosquitto's configuration, those of its folders last [mosquitto.conf(5)]."""
    seen.add(path)
    for line in path.read_text(errors="replace").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "include_dir":
            for each in sorted(Path(value.strip()).glob("*.conf")):
                if each not in seen:
                    yield from _directives(each, seen)
        elif name and not name.startswith("#"):
            yield name, value.strip()


def _remedy(problem: str, host: str) -> str:
    if "TLS" in problem:
        return "check mqtt.tls.ca and that mqtt.host is the name in the broker's certificate"
    if "refused the connection" in problem:
        return "check mqtt.username and mqtt.password, and the broker's own log"
    if host in LOCAL:
        return "start it: sudo systemctl start mosquitto; install it: sudo apt install mosquitto"
    return "check mqtt.host and mqtt.port, and that the broker runs and can be reached"


# -- asking ----------------------------------------------------------------------------------------------


def _twice(patient: Patient) -> tuple[Answer, Answer]:
    """Connect, leave and connect again; the session is removed at the end."""
    name = f"hologram-bridge-doctor-{secrets.token_hex(4)}"
    first = _connect(patient, name)
    if first.problem:
        return first, first
    second = _connect(patient, name)
    _connect(patient, name, forget=True)
    return first, second


def _connect(patient: Patient, name: str, *, forget: bool = False) -> Answer:
    """Connect once and leave; ``forget`` removes the session. Raises `ConfigError`."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    from bridge.compose import broker as how

    where = how(patient.settings)._replace(client_id=name)
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=paho.MQTTv5 if where.version5 else paho.MQTTv311,
        clean_session=None if where.version5 else forget,
        reconnect_on_failure=False,
    )
    if where.username is not None:
        client.username_pw_set(where.username, where.password)
    if where.tls is not None:
        client.tls_set_context(where.tls)
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    client.on_connect = lambda *said: answers.put(_read(said[2], said[3], said[4]))
    client.on_disconnect = lambda *said: answers.put(Answer(f"the broker ended the connection: {said[3]}"))
    try:
        client.connect(where.host, where.port, 10, **_session_wish(where.version5, forget))
    except (OSError, ValueError) as exc:
        return Answer(_why(exc, f"{where.host}:{where.port}"))
    client.loop_start()
    try:
        return answers.get(timeout=WAIT)
    except queue.Empty:
        return Answer(f"the broker at {where.host}:{where.port} did not answer within {WAIT:g} s")
    finally:
        client.disconnect()
        client.loop_stop()


def _session_wish(version5: bool, forget: bool) -> dict[str, Any]:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    if not version5:
        return {}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = 0 if forget else EXPIRY
    return {"clean_start": forget, "properties": properties}


def _read(flags: Any, reason: Any, properties: Any) -> Answer:
    if reason.is_failure:
        return Answer(f"the broker refused the connection: {reason}")
    # It is in CONNACK only where the broker does not do as it was asked [MQTT 5.0, section 3.2.2.3.2].
    return Answer(None, flags.session_present, getattr(properties, "SessionExpiryInterval", None))


def _why(error: Exception, where: str) -> str:
    from bridge.adapters.broker import connect_problem

    return connect_problem(error, where)

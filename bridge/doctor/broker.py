"""Checks of the broker: whether it accepts the bridge, and whether it keeps messages for an absent bridge."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.doctor.context import Context
from bridge.doctor.finding import Finding, fail, ok, skipped, warn
from bridge.doctor.fixes import shipped
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.adapters.mqtt.once import Answer

EXPIRY = 60
"""Seconds that the check's session would remain if it were not removed."""

OFTEN = 3
"""Number of connections that ended for the same reason, from which on it is no coincidence."""

AGAIN = "run this again in a minute; the bridge keeps trying"

RENAMES = "replaces client ids: it had a session for an id that was never used before"
RENAMES_FIX = "give the bridge a listener without use_username_as_clientid: its two sessions need two ids"

EXAMPLE = "mosquitto/hologram-bridge.conf"
LIST = "mosquitto/hologram-bridge.acl"

PER_LISTENER = (
    "with per_listener_settings true, Mosquitto 2.0.12 and later drops messages while the bridge is away"
)
"""It asks the listener of an absent client what the client may read, and there is none [seen with 2.0.21]."""

NAMELESS = "with an access list, Mosquitto keeps nothing over a restart for an absent client without a name"
"""A session that it loads from disk has the rights of its user name alone [seen with 2.0.11 and 2.0.21]."""

LOCAL = ("127.0.0.1", "localhost", "::1")
DAEMON_AWAY = 1000
"""Number of messages that mosquitto keeps for an absent client by default [mosquitto.conf(5)]."""

FEW = 100_000
"""Number of messages below which the limit is reported: a little over a day of one each second."""


def broker(context: Context) -> Iterator[Finding]:
    """Connect under an id of our own, disconnect, reconnect, and check whether the session was kept."""
    try:
        first, second = _twice(context)
    except BridgeError as exc:
        yield fail("broker", str(exc), "correct mqtt.tls")
        yield skipped("session", "not checked: the broker does not accept the bridge")
        return
    mqtt = context.settings.mqtt
    where = f"{mqtt.host}:{mqtt.port}"
    if first.problem:
        yield fail("broker", first.problem, first.fix or _remedy(first.problem, mqtt.host))
        yield skipped("session", "not checked: the broker does not accept the bridge")
        return
    if first.present:
        yield fail("broker", f"{where} {RENAMES}", RENAMES_FIX)
        yield skipped("session", "not checked: the broker changes client ids")
        return
    yield _daemons(context) or ok("broker", f"{where} accepts the bridge{' over TLS' if mqtt.tls else ''}")
    yield _session(context, first, second)


def _daemons(context: Context) -> Finding | None:
    """Return how the daemon's connections fail, if they do."""
    stats = context.daemon.stats if context.daemon else None
    for which, said in _connections((stats or {}).get("broker") or {}):
        reason, _, fix = (said["reason"] or "").partition("; ")
        if said["ended"] >= OFTEN:
            text = f"it ended the bridge's {which} {said['ended']} times lately: {reason}"
            return fail("broker", text, fix or "see the broker's own log")
        if reason and not said["connected"]:
            return fail(
                "broker", f"it accepts this check, but not the bridge's {which}: {reason}", fix or AGAIN
            )
    return None


def _connections(said: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each of the daemon's sessions [`bridge.flow.health.monitor.Monitor.broker`]."""
    if said:
        yield "session", said
        yield "command session", said["commands"]


def _session(context: Context, first: "Answer", second: "Answer") -> Finding:
    fix = f"let the broker keep sessions: see {shipped(EXAMPLE)}"
    if first.expiry is not None and first.expiry < EXPIRY:
        return fail("session", f"the broker keeps sessions for {first.expiry} s only", fix)
    if not second.present:
        why = second.problem or "the broker had forgotten the session after a reconnection"
        return fail("session", f"{why}; messages published while the bridge is away are lost", fix)
    mqtt = context.settings.mqtt
    if mqtt.host not in LOCAL:
        return ok(
            "session", "kept over a reconnection; run the doctor on the broker's machine to check restarts"
        )
    named = mqtt.username is not None or (mqtt.tls is not None and mqtt.tls.cert is not None)
    return _saved(context.etc / "mosquitto" / "mosquitto.conf", named=named)


def _saved(path: Path, *, named: bool) -> Finding:
    """Check what a broker on this machine keeps for an absent bridge, over restarts and power cuts too.

    ``named`` says whether the broker knows the bridge by a name.
    """
    kept = "kept over a reconnection"
    try:
        said = dict(_directives(path, set()))
    except OSError as exc:
        return ok("session", f"{kept}; {path} cannot be read ({exc.strerror}), so restarts are not checked")
    if said.get("persistence", "false") != "true":
        found = f"{kept}, but lost at a restart: persistence is not true in {path}"
        return fail("session", found, _set(path, "persistence true"))
    if dropped := _dropped(said, path, named=named):
        return dropped._replace(finding=f"{kept}; {dropped.finding}")
    limit = said.get("max_queued_messages", str(DAEMON_AWAY))
    if limit.isdecimal() and 0 < int(limit) < FEW:
        found = f"{kept}; while the bridge is away, messages beyond {limit} are dropped"
        return warn("session", found, _take(path, "max_queued_messages 500000"))
    if said.get("autosave_on_changes", "false") != "true":
        seconds = said.get("autosave_interval", "1800")
        found = f"{kept}; saved every {seconds} s: a power cut loses what came since"
        return warn("session", found, _take(path, "autosave_on_changes true", "autosave_interval 1"))
    return ok("session", f"{kept}, and saved after every change")


def _dropped(said: dict[str, str], path: Path, *, named: bool) -> Finding | None:
    """Return why the broker drops what comes for an absent bridge, if it does."""
    if said.get("per_listener_settings") == "true":
        fix = f"grep -r per_listener {path.parent}, and do as {shipped(EXAMPLE)} does without"
        return warn("session", PER_LISTENER, fix)
    if "acl_file" in said and not named:
        return warn("session", NAMELESS, f"give the bridge a name, as {shipped(LIST)} says")
    return None


def _take(path: Path, *directives: str) -> str:
    """Return the fix for these ``directives``: our file, if it is in place, may hold a person's own rules."""
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
    if host in LOCAL:
        return "start it: sudo systemctl start mosquitto; install it: sudo apt install mosquitto"
    return "check mqtt.host and mqtt.port, and that the broker runs and can be reached"


# -- connections -----------------------------------------------------------------------------------------


def _twice(context: Context) -> "tuple[Answer, Answer]":
    """Connect, disconnect and connect again; the session is removed at the end. Raises `ConfigError`."""
    from bridge.adapters.mqtt.once import ask
    from bridge.daemon.configure import broker as how

    where = how(context.settings, f"hologram-bridge-doctor-{secrets.token_hex(4)}")
    first = ask(where, EXPIRY)
    if first.problem or first.present:  # a session that exists is another client's: leave it
        return first, first
    second = ask(where, EXPIRY)
    ask(where, None)
    return first, second

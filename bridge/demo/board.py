"""The demo's state, gathered from MQTT messages and the cloud's log, for the two views.

The board keeps values that a view can show; each event is also a `Line`.
"""

import json
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bridge.core.visible import visible

ROWS = 300
"""Number of messages kept."""

_FORGET_AFTER = 120.0
"""Seconds until a command without an event of the bridge is forgotten."""

_COMMANDS = 200_000
"""Most commands that wait for the bridge's event; large, so that a flood does not mix the payloads up."""

_TEXT_LIMIT = 200


class Line(NamedTuple):
    """One event: Unix seconds, a word for its kind, and the text."""

    at: float
    kind: str
    text: str


class Row(NamedTuple):
    """One message's life; ``queued_at`` in Unix seconds, ``took`` in seconds, both ways in bytes."""

    id: str
    to: str
    text: str
    queued_at: float
    state: str = "queued"
    took: float | None = None
    attempts: int = 0
    up: int = 0
    down: int = 0
    reason: str = ""


class Arrival(NamedTuple):
    """One request as the simulated cloud saw it."""

    at: float
    form: str
    to: str
    text: str
    size: int
    verdict: str
    accepted: bool


class Health(NamedTuple):
    """The bridge's health at ``heard_at`` (Unix seconds); ``day`` is the date of its byte counters."""

    state: str
    memory: int
    uptime: float
    day: str
    up: int
    down: int
    heard_at: float


class _Command(NamedTuple):
    at: float
    to: str
    text: str


class Board:
    """The demo's state, owned by its main thread."""

    def __init__(self, prefix: str = "hologram") -> None:
        self.prefix = prefix
        self.online = False
        self.version = ""
        self.network = ""
        """The state of the link."""
        self.signal = ""
        self.health: Health | None = None
        self.taken = 0
        self.counts: dict[str, int] = {}
        self.open: dict[str, Row] = {}
        self.rows: dict[str, Row] = {}
        self.arrivals: deque[Arrival] = deque(maxlen=ROWS)
        self.arrived = 0
        self._commands: deque[_Command] = deque(maxlen=_COMMANDS)
        self._day = ""
        self._spent = (0, 0)
        self._in = 0

    # -- events ------------------------------------------------------------------------------------------

    def received(self, topic: str, payload: bytes, now: float) -> list[Line]:
        """Take one MQTT message; ``now`` in Unix seconds."""
        below = topic.removeprefix(self.prefix + "/")
        try:
            if below in ("send", "out", "sms", "queue/set", "network/set") or below.startswith(
                ("out/", "sms/")
            ):
                return self._command(below, payload, now)
            if below in ("in", "in/sms"):
                return self._received(below, payload, now)
            if below == "bridge/state":
                return self._state(payload.decode(), now)
            reader = {
                "result": self._result,
                "event": self._event,
                "bridge/health": self._health,
                "bridge/info": self._info,
                "network/status": self._network,
            }.get(below)
            return reader(json.loads(payload), now) if reader else []
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            # A viewer may publish anything, on the bridge's own topics too.
            return [Line(now, "odd", f"{shown(topic)} {shown(payload)}")]

    def arrival(self, line: str) -> list[Line]:
        """Take one line of the simulated cloud's log."""
        record = json.loads(line)
        data = record["data"] if record["data"] is not None else (record["data_base64"] or "")
        said = "no answer" if record["code"] is None else f"code {record['code']}"
        seen = Arrival(
            _unix(record["at"]),
            record["form"],
            shown(record["to"] or ", ".join(record["topics"])),
            shown(data),
            record["bytes"],
            f"accepted, {said}" if record["accepted"] else f"not accepted, {record['problem'] or said}",
            record["accepted"],
        )
        self.arrivals.append(seen)
        self.arrived += record["accepted"]
        about = f"{seen.form} {seen.to} {seen.text}".rstrip()
        return [Line(seen.at, "cloud", f"{about}, {seen.size} B: {seen.verdict}")]

    def _command(self, below: str, payload: bytes, now: float) -> list[Line]:
        to, text = _command(below, payload)
        if not below.endswith("/set"):
            self.taken += 1
            self._commands.append(_Command(now, to, text))
        return [Line(now, "in", f"{self.prefix}/{shown(below)} {shown(payload)}")]

    def _received(self, below: str, payload: bytes, now: float) -> list[Line]:
        self._in += 1
        row = Row(f"in-{self._in}", below, shown(payload), now, "received", 0.0)
        self._keep(row)
        self._count("received")
        return [Line(now, "received", f"{below} {row.text}")]

    def _event(self, event: dict[str, Any], now: float) -> list[Line]:
        kind = shown(event["event_type"])
        if kind == "message.queued":
            row = Row(shown(event["id"]), _to(event), "", _unix(event["at"]))
            row = row._replace(text=self._payload(row.to, now))
            self.open[row.id] = row
            self._keep(row)
            return [Line(now, "queued", f"{row.to} {row.text}".rstrip() + f" ({row.id})")]
        if kind.startswith(("message.", "sms.")):
            return []  # its result has the same data and more
        rest = {key: value for key, value in event.items() if key not in ("event_type", "at")}
        return [Line(now, "event", f"{kind} {shown(json.dumps(rest))}")]

    def _result(self, result: dict[str, Any], now: float) -> list[Line]:
        queued_at, finished_at = _unix(result["queued_at"]), _unix(result["finished_at"])
        name = shown(result["id"])
        known = self.open.pop(name, None) or self.rows.get(name)
        state, reason = shown(result["state"]), shown(result["description"])
        row = Row(
            name,
            known.to if known else _to({**result, "channel": "-"} if state == "rejected" else result),
            known.text if known else "",
            queued_at,
            state,
            max(0.0, finished_at - queued_at),
            int(result["attempts"]),
            int(result["bytes_up"]),
            int(result["bytes_down"]),
            "" if state == "delivered" else reason,
        )
        if known is None or known.state == "queued":  # a result may be published twice
            self._count(state)
            self._spend(str(result["finished_at"]), row.up, row.down)
        self._keep(row)
        return [Line(now, state, _told(row))]

    def _health(self, told: dict[str, Any], now: float) -> list[Line]:
        today = told["bytes"]["today"]
        health = Health(
            shown(told["state"]), int(told["memory"]), float(told["uptime"]), str(told["at"])[:10],
            int(today["up"]), int(today["down"]), now,
        )  # fmt: skip
        reasons = [
            f"{each['channel']} is {each['condition']}" for each in told["destinations"] if each["reason"]
        ]
        before, self.health = self.health, health
        if before and before.state == health.state:
            return []
        text = ", ".join([health.state, *reasons])
        return [Line(now, "health", shown(f"{text}; {told['queue']['messages']} queued"))]

    def _network(self, status: dict[str, Any], now: float) -> list[Line]:
        signal = (status.get("signal") or {}).get("rssi_dbm")
        parts = [status["state"], status["operator"], status["technology"]]
        self.signal = "" if signal is None else f"{signal} dBm"
        told = ", ".join(shown(part) for part in [*parts, status["local_ip"], status["error"]] if part)
        before, self.network = self.network, shown(status["state"])
        if before == self.network:
            return []
        return [Line(now, "network", told)]

    def _info(self, info: dict[str, Any], now: float) -> list[Line]:
        before, self.version = self.version, shown(info["version"])
        return [] if before else [Line(now, "bridge", f"version {self.version}")]

    def _state(self, state: str, now: float) -> list[Line]:
        online = state == "online"
        if online == self.online:  # the retained copy comes first, then the bridge's own message
            return []
        self.online = online
        return [Line(now, "bridge", shown(state))]

    # -- figures -----------------------------------------------------------------------------------------

    def spent(self) -> tuple[int, int]:
        """Return the bytes up and down today.

        Health reports them once a minute and results at once, so the larger figure is the newer one.
        """
        health = self.health
        up, down = (health.up, health.down) if health and health.day >= self._day else (0, 0)
        return max(up, self._spent[0]), max(down, self._spent[1])

    def condition(self) -> str:
        """Return the bridge's condition in a word or two."""
        if not self.online:
            return "offline"
        state = self.health.state if self.health else "ok"
        return "online" if state == "ok" else state.replace("_", " ")

    def memory(self) -> int:
        """Return the bridge's memory in bytes; 0 while unknown."""
        return self.health.memory if self.health else 0

    def uptime(self, now: float) -> float:
        """Return the bridge's uptime in seconds."""
        return max(0.0, self.health.uptime + now - self.health.heard_at) if self.health else 0.0

    def summary(self) -> str:
        """Return the counters as one line."""
        parts = [f"{self.taken} in", f"{len(self.open)} queued"]
        return ", ".join([*parts, *(f"{number} {state}" for state, number in sorted(self.counts.items()))])

    # -- inside ------------------------------------------------------------------------------------------

    def _keep(self, row: Row) -> None:
        self.rows[row.id] = row
        if len(self.rows) > ROWS:
            self.rows.pop(next(iter(self.rows)))

    def _count(self, state: str) -> None:
        self.counts[state] = self.counts.get(state, 0) + 1

    def _spend(self, finished_at: str, up: int, down: int) -> None:
        day = finished_at[:10]
        if day != self._day:
            self._day, self._spent = day, (0, 0)
        self._spent = (self._spent[0] + up, self._spent[1] + down)

    def _payload(self, to: str, now: float) -> str:
        """Return the payload of the oldest command to ``to`` without an event of the bridge.

        The bridge's events keep the order of the commands, so every command before that one was rejected.
        """
        commands = self._commands
        while commands and now - commands[0].at > _FORGET_AFTER:
            commands.popleft()
        if all(command.to != to for command in commands):
            return ""
        while (command := commands.popleft()).to != to:
            pass
        return command.text


def shown(value: object) -> str:
    """Return text that is safe on a terminal: without control characters, and of limited length."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = text[:_TEXT_LIMIT] + ("…" if len(text) > _TEXT_LIMIT else "")
    return visible(text)


def clock(at: float) -> str:
    """Return Unix seconds as local time."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _unix(text: str) -> float:
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _to(about: dict[str, Any]) -> str:
    """Return a message's destination from the bridge's event."""
    named = about.get("to") or ", ".join(about.get("topics") or ())  # a rejected one has neither
    return shown(named or {"cloud": "(no topic)"}.get(about["channel"], about["channel"]))


def _command(below: str, payload: bytes) -> tuple[str, str]:
    """Return a command's destination, in the form of `_to`, and its text."""
    head, _, rest = below.partition("/")
    if head == "out":
        return shown(rest) or "(no topic)", shown(payload)
    if head == "sms" and rest:
        return f"+{shown(rest)}", shown(payload)
    try:
        value = json.loads(payload)
        topics = value.get("topics") or []
        return _to({"channel": "cloud", **value, "topics": topics}), shown(
            value.get("data", value.get("body", ""))
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return shown(below), shown(payload)


def _told(row: Row) -> str:
    """Return a result as the text of a line."""
    about = " ".join(part for part in (row.to, row.text) if part not in ("", "-"))
    said = f"{about}: {row.reason}" if about and row.reason else about + row.reason
    tries = "attempt" if row.attempts == 1 else "attempts"
    spent = f"; {row.attempts} {tries}, {row.took or 0.0:.2f} s, {row.up} B up, {row.down} B down"
    return f"{said}{spent if row.attempts else ''} ({row.id})"

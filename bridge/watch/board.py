"""The view's state, gathered from the bridge's MQTT messages.

The board keeps values that a view can show; each event is also a `Line`.
"""

import json
from typing import Any

from bridge.watch.batches import Batch
from bridge.watch.commands import Commands, destination
from bridge.watch.values import Health, Line, Row, clock, data_left, number, read_health, shown, unix, whole
from bridge.watch.waiting import Waiting

ROWS = 300
"""Number of messages kept."""

_RESULTS = 10_000
"""Number of results that are recognized when the bridge repeats them."""

_STATES = 20
"""Most states that are counted; a person may publish any."""

_QUIET = 3.0
"""Seconds in which the broker sends the retained state, if it has one for us."""

CONTROLS = ("network/set", "queue/set", "budget/set", "quote")
"""Topics of commands that send no message."""

_NOT_QUEUED = ("network", "queue", "budget", "quote")
"""Channels of commands that are not in the queue."""


class Board:
    """The view's state, owned by one thread."""

    def __init__(self, prefix: str = "hologram") -> None:
        self.prefix = prefix
        self.connected_at: float | None = None
        """When the connection to the broker began (Unix seconds); None while there is none."""
        self.online: bool | None = None
        """Whether the bridge is online; None while nothing is known of one."""
        self.version = ""
        self.network = ""
        """The state of the link."""
        self.carrier = ""
        """The operator and technology of the link."""
        self.signal = ""
        self.health: Health | None = None
        self.taken = 0
        """Number of commands; they are known only where the view subscribes to them."""
        self.counts: dict[str, int] = {}
        self.waiting = Waiting()
        self.rows: dict[str, Row] = {}
        self.batches: dict[str, Batch] = {}
        """The last batches of which there are results, by their ids."""
        self._results: dict[str, None] = {}
        self._commands = Commands()
        self._day = ""
        self._spent = (0, 0)
        self._in = 0
        self._asked = False
        """Whether `quiet` has returned its line since the connection began."""

    # -- the broker --------------------------------------------------------------------------------------

    def connected(self, where: str, now: float) -> list[Line]:
        """Note that the broker at ``where`` has accepted us."""
        self.connected_at, self._asked = now, False
        return [Line(now, "broker", f"connected to {shown(where)}")]

    def disconnected(self, reason: str, now: float) -> list[Line]:
        """Note that there is no connection to the broker; what it would say of the bridge is unknown now."""
        known = self.connected_at is not None
        self.connected_at, self.online = None, None
        return [Line(now, "broker", f"{shown(reason)}; it is tried again")] if known else []

    def quiet(self, now: float) -> list[Line]:
        """Return a line, once a connection, if the broker has no state of a bridge."""
        if self._asked or self.connected_at is None or abs(now - self.connected_at) < _QUIET:
            return []
        self._asked = True
        if self.online is not None:
            return []
        text = f"the broker has no {self.prefix}/bridge/state for us: is the prefix right, has a bridge been "
        return [Line(now, "bridge", text + "connected, and may this user read it?")]

    # -- events ------------------------------------------------------------------------------------------

    def received(self, topic: str, payload: bytes, now: float) -> list[Line]:
        """Take one MQTT message; ``now`` in Unix seconds."""
        below = topic.removeprefix(self.prefix + "/")
        try:
            if below in ("send", "out", "sms", *CONTROLS) or below.startswith(("out/", "sms/")):
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
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
            # Anybody may publish anything, on the bridge's own topics too.
            return [Line(now, "odd", f"{shown(topic)} {shown(payload)}")]

    def _command(self, below: str, payload: bytes, now: float) -> list[Line]:
        if below not in CONTROLS:
            self.taken += 1
            self._commands.add(below, payload, now)
        return [Line(now, "in", f"{self.prefix}/{shown(below)} {shown(payload)}")]

    def _received(self, below: str, payload: bytes, now: float) -> list[Line]:
        self._in += 1
        row = Row(f"in-{self._in}", below, shown(payload), now, now, "received", 0.0)
        self._keep(row)
        self._count("received")
        return [Line(now, "received", f"{below} {row.text}")]

    def _event(self, event: dict[str, Any], now: float) -> list[Line]:
        kind = shown(event["event_type"])
        if kind == "message.queued":
            return self._queued(event, now)
        if kind.startswith(("message.", "sms.")):
            return []  # its result has the same data and more
        rest = {key: value for key, value in event.items() if key not in ("event_type", "at")}
        return [Line(now, "event", f"{kind} {shown(json.dumps(rest))}")]

    def _queued(self, event: dict[str, Any], now: float) -> list[Line]:
        to = destination(event)
        row = Row(shown(event["id"]), to, self._commands.payload(to, now), _time(event["at"]), now)
        if row.id in self._results:
            return []  # the broker may deliver in any order, and twice
        self.waiting.add(row)
        self._keep(row)
        return [Line(now, "queued", f"{row.to} {row.text}".rstrip() + f" ({row.id})")]

    def _result(self, result: dict[str, Any], now: float) -> list[Line]:
        queued_at, finished_at = _time(result["queued_at"]), _time(result["finished_at"])
        name = shown(result["id"])
        known = self.waiting.open.get(name) or self.rows.get(name)
        state, reason = shown(result["state"]), shown(result["description"])
        row = Row(
            name,
            known.to if known else destination({**result, "channel": "-"} if state == "rejected" else result),
            known.text if known else "",
            queued_at,
            now,
            state,
            max(0.0, finished_at - queued_at),
            whole(result["attempts"]),
            whole(result["bytes_up"]),
            whole(result["bytes_down"]),
            "" if state == "delivered" else reason,
        )
        new = name not in self._results
        if new:  # a result may be published twice
            self._remember(row)
            self.waiting.ended(row, finished_at, counted=result["channel"] not in _NOT_QUEUED)
            if result["channel"] != "quote":
                self._spend(str(result["finished_at"]), row.up, row.down)
        batch = result.get("batch")
        if batch and batch["id"] is not None:
            return self._in_batch(batch, row, now, new=new)
        self._keep(row)  # in the form plain a batch has no id: nothing says which messages share one
        among = f" in a batch of {whole(batch['messages'])}" if batch else ""
        return [Line(now, state, _text_of(row) + among)]

    def _remember(self, row: Row) -> None:
        self._results[row.id] = None
        if len(self._results) > _RESULTS:
            self._results.pop(next(iter(self._results)))
        self._count(row.state)

    def _in_batch(self, named: dict[str, Any], row: Row, now: float, *, new: bool) -> list[Line]:
        """Show a message in the row of its batch."""
        name, messages = shown(named["id"]), whole(named["messages"])
        batch = self.batches.get(name)
        if batch is None:
            batch = self.batches[name] = Batch(name, messages)
            if len(self.batches) > ROWS:
                self.batches.pop(next(iter(self.batches)))
        lines = [Line(now, row.state, f"{_text_of(row)} in batch {name}")]
        if new:
            batch.add(row)
            self.rows.pop(row.id, None)
            self._keep(batch.row())
            if batch.seen == messages:
                lines.append(Line(now, "batch", batch.line()))
        return lines

    def _health(self, report: dict[str, Any], now: float) -> list[Line]:
        health = read_health(report, now)
        before, self.health = self.health, health
        self.waiting.counted(health)
        if before and before.state == health.state:
            return []
        reasons = [
            f"{each['channel']} is {each['condition']}" for each in report["destinations"] if each["reason"]
        ]
        text = ", ".join([health.state, *reasons])
        return [Line(now, "health", shown(f"{text}; {health.queued} queued"))]

    def _network(self, status: dict[str, Any], now: float) -> list[Line]:
        signal = (status.get("signal") or {}).get("rssi_dbm")
        parts = [status["state"], status["operator"], status["technology"]]
        self.signal = "" if signal is None else f"{number(signal):.0f} dBm"
        self.carrier = shown(" ".join(str(part) for part in parts[1:] if part))
        text = ", ".join(shown(part) for part in [*parts, status["local_ip"], status["error"]] if part)
        before, self.network = self.network, shown(status["state"])
        if before == self.network:
            return []
        return [Line(now, "network", text)]

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
            return "offline" if self.online is False else "unknown"
        state = self.health.state if self.health else "ok"
        return "online" if state == "ok" else state.replace("_", " ")

    def memory(self) -> float:
        """Return the bridge's memory in bytes; 0 while unknown."""
        return self.health.memory if self.health else 0

    def uptime(self, now: float) -> float:
        """Return the bridge's uptime in seconds."""
        return max(0.0, self.health.uptime + now - self.health.ours_at) if self.health else 0.0

    def data(self) -> str:
        """Return what is left of each bound of the budget, and the cost, as one line."""
        return "" if self.health is None else data_left(self.health)

    def summary(self) -> str:
        """Return the counters as one line."""
        parts = [f"{self.taken} in"] if self.taken else []
        parts.append(f"{self.waiting.number()} queued")
        return ", ".join([*parts, *(f"{number} {state}" for state, number in sorted(self.counts.items()))])

    # -- inside ------------------------------------------------------------------------------------------

    def _keep(self, row: Row) -> None:
        self.rows[row.id] = row
        if len(self.rows) > ROWS:
            self.rows.pop(next(iter(self.rows)))

    def _count(self, state: str) -> None:
        if state in self.counts or len(self.counts) < _STATES:
            self.counts[state] = self.counts.get(state, 0) + 1

    def _spend(self, finished_at: str, up: int, down: int) -> None:
        day = finished_at[:10]
        if day != self._day:
            self._day, self._spent = day, (0, 0)
        self._spent = (self._spent[0] + up, self._spent[1] + down)


def _time(text: str) -> float:
    """Return a time in JSON as Unix seconds; raises for one that cannot be shown."""
    at = unix(text)
    clock(at)
    return at


def _text_of(row: Row) -> str:
    """Return a result as the text of a line."""
    about = " ".join(part for part in (row.to, row.text) if part not in ("", "-"))
    said = f"{about}: {row.reason}" if about and row.reason else about + row.reason
    tries = "attempt" if row.attempts == 1 else "attempts"
    spent = f"; {row.attempts} {tries}, {row.took or 0.0:.2f} s, {row.up} B up, {row.down} B down"
    return f"{said}{spent if row.attempts else ''} ({row.id})"

"""Status line: the state of the bridge in one line, for ``systemctl status``.

For example ``online; cloud up; link connected (LTE, -79 dBm); 12 queued``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bridge.core.destination import Condition, Destination
from bridge.core.messages import CLOUD, Endpoint
from bridge.core.time import Time
from bridge.protocol.api.status import UNMANAGED

EVERY = 1.0
"""Seconds between checks for a change."""


class StatusLine:
    """Sends the line after each change; lives in the event loop's thread."""

    def __init__(
        self,
        line: Callable[[], str],
        send: Callable[[str], None],
        time: Time,
    ) -> None:
        self.fault = ""
        """Text before all else; empty for none."""
        self._line = line
        self._send = send
        self._time = time
        self._sent: str | None = None

    def start(self) -> None:
        """Send the line now, and from now on after each change."""
        self._time.call_later(EVERY, self.start)
        text = "; ".join(filter(None, (self.fault, self._line())))
        if text != self._sent:
            self._sent = text
            self._send(text)


def describe(
    *,
    broker: str | None,
    conditions: Mapping[Endpoint, Destination],
    network: Mapping[str, Any],
    queued: int,
    notes: Iterable[str | None] = (),
) -> str:
    """Return the line.

    ``broker`` is the broker's address while there is no connection to it, else None. ``network`` is the
    network status. ``notes`` are further phrases; None is left out.
    """
    parts = ["online" if broker is None else f"no broker at {broker}"]
    parts += [_condition(endpoint, destination) for endpoint, destination in _shown(conditions)]
    if network["state"] != UNMANAGED:
        parts.append(_link(network))
    parts.append(f"{queued} queued")
    parts += [note for note in notes if note]
    return "; ".join(parts)


def _shown(conditions: Mapping[Endpoint, Destination]) -> Iterable[tuple[Endpoint, Destination]]:
    """Yield the cloud, if anything was sent there, and every destination that is not up."""
    for endpoint, destination in conditions.items():
        if endpoint == CLOUD or destination.condition is not Condition.UP:
            yield endpoint, destination


def _condition(endpoint: Endpoint, destination: Destination) -> str:
    where = endpoint.where or "cloud"
    if destination.condition is Condition.UP:
        return f"{where} up"
    word = "refuses us" if destination.condition is Condition.HELD else "down"
    return f"{where} {word} ({destination.reason})" if destination.reason else f"{where} {word}"


def _link(status: Mapping[str, Any]) -> str:
    signal = status["signal"] or {}
    strength = signal.get("rssi_dbm")
    about = [status["technology"], None if strength is None else f"{strength} dBm"]
    if status["state"] == "error":
        about = [status["error"]]
    shown = ", ".join(str(each) for each in about if each)
    return f"link {status['state']} ({shown})" if shown else f"link {status['state']}"

"""Summary: how the box is, in a few words, for the command ``status`` and the heartbeat."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bridge.protocol.api.reports import dumps


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of the bridge, of its link and of its outbox; None where something is not known."""

    state: str
    """``state`` of the health, such as ``ok``."""
    link: str
    """``state`` of the network status, such as ``connected``."""
    signal: int | None
    """dBm."""
    queue: int
    """Messages that wait."""
    oldest: int | None
    """Seconds since the oldest of them came; None: none waits."""
    month: int
    """Bytes over the SIM this month, as the budget counts them."""
    version: str

    def line(self) -> str:
        """Return it as one line of text: ``state=ok link=connected signal=-79 …``."""
        return " ".join(f"{key}={'-' if value is None else value}" for key, value in asdict(self).items())

    def payload(self) -> bytes:
        """Return it as compact JSON."""
        return dumps(asdict(self)).encode()


def summarize(
    *, state: str, network: Mapping[str, Any], queue: Mapping[str, Any], month: int, version: str
) -> Summary:
    """Return the summary: ``network`` is the network status, ``queue`` the figures of the health."""
    signal, wifi = network["signal"] or {}, network.get("wifi") or {}
    strength = signal.get("rssi_dbm")
    age = queue["oldest_age"]
    return Summary(
        state=state,
        link=network["state"],
        signal=wifi.get("avg_signal_dbm") if strength is None else strength,
        queue=queue["messages"],
        oldest=None if age is None else round(age),
        month=month,
        version=version,
    )

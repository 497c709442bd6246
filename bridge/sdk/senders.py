"""Who sends, and the way to each endpoint from there.

The cloud's endpoint of each device has the number of an account in place of its port, so that what holds one
device's messages up holds up no other's. A host of the script's own has its name and port, and no account.
"""

from collections.abc import Callable

from bridge.core.exchange import Carrier
from bridge.core.messages import Channel, Endpoint, Queued
from bridge.core.retry import Reading
from bridge.flow.speakers import CloudSpeaker, SmsSpeaker, Speaker
from bridge.flow.uplink import Line
from bridge.sdk.calls import Sender, Turn
from bridge.sdk.raw import RawSpeaker
from bridge.store.clock import read_clock


class Senders:
    """The script's clouds that send, by account."""

    def __init__(self) -> None:
        self.last: Sender | None = None
        """Whoever came last; speaks for what is nobody's own."""
        self._accounts: list[Sender] = []
        """Who is behind the endpoints of the cloud, by the number in them."""
        self._users = 0

    def join(self, sender: Sender) -> int:
        """Make ``sender`` one of those who send; return its account.

        Those that are the same device to the cloud share an account, and the newest speaks for it.
        """
        self._users += 1
        self.last = sender
        for number, other in enumerate(self._accounts):
            if other.identity() == sender.identity():
                self._accounts[number] = sender
                return number
        self._accounts.append(sender)
        return len(self._accounts) - 1

    def leave(self) -> bool:
        """One of those who send is done; return whether nobody is left."""
        self._users -= 1
        return self._users <= 0

    def behind(self, endpoint: Endpoint) -> Sender | None:
        """Return who sends to ``endpoint`` in this run of the script."""
        if endpoint.host:
            return self.last
        return self._accounts[endpoint.port] if endpoint.port < len(self._accounts) else None


class Ways:
    """The way to each endpoint is that of its sender: `bridge.flow.uplink.Ways` for a script."""

    def __init__(
        self,
        senders: Senders,
        carrier: Carrier,
        *,
        timeout: Callable[[Endpoint], float],
        judge: Callable[[Queued, float, Reading], Reading],
    ) -> None:
        """``carrier`` is for senders without sockets of their own; ``timeout`` returns seconds of silence.

        ``judge`` is as for `Turn`.
        """
        self._senders = senders
        self._carrier = carrier
        self._timeout = timeout
        self._judge = judge

    def ready(self, endpoint: Endpoint) -> bool:
        """Whether the way there is not known to be closed."""
        sender = self._senders.behind(endpoint)
        if sender is None or not sender.network_up():
            return False
        return endpoint.channel is Channel.TCP or sender.access() is not None

    def line(self, endpoint: Endpoint) -> Line:
        """Return the way there."""
        sender = self._senders.behind(endpoint)
        assert sender is not None  # `ready` said so
        return Line(Turn(self._speaker(endpoint, sender), self._judge), sender.sockets() or self._carrier)

    def _speaker(self, endpoint: Endpoint, sender: Sender) -> Speaker:
        timeout = self._timeout(endpoint)
        if endpoint.channel is Channel.TCP:
            return RawSpeaker(timeout)
        access = sender.access()
        assert access is not None  # `ready` said so
        here = access._replace(timeout=timeout)
        if endpoint.channel is Channel.SMS:
            return SmsSpeaker(lambda: here)
        return CloudSpeaker(lambda: here, read_clock)

"""The senders of a script, and the path from each to its endpoint.

Each device of a script has an account, a number in the cloud's endpoint, so that a problem of one device does
not hold up the messages of another. The number is a hash of the device's credentials, so it is the same in
each run of the script. The endpoint of a script's own host has a name and port, and no account.

The account of a message from an earlier run leads to its cloud object. After a key was corrected, an account
may belong to no device of this run. Then the only device of this run sends its messages, provided that the
only device of that run wrote them. With several devices, none sends for another.
"""

import hashlib
import threading
from collections.abc import Callable

from bridge.adapters.system.loop_time import read_clock
from bridge.core.exchange import Transport
from bridge.core.messages import Channel, Endpoint, Queued
from bridge.core.retry import Blame, Kind, Reading
from bridge.flow.message.codecs import CloudCodec, CloudSmsCodec, Codec
from bridge.flow.message.uplink import Path
from bridge.sdk.engine.calls import Sender, Turn
from bridge.sdk.engine.raw import RawCodec

DEVICE_BITS = 24
"""Bits of an account for the device: enough for a script's few devices, and too few to reveal a key."""

DEVICE = (1 << DEVICE_BITS) - 1

SEVERAL = 1 << DEVICE_BITS + 1
"""Bit that marks the account of one of several devices."""

ALONE = 1 << DEVICE_BITS
"""Bit that marks the account of the only device of its run. Accounts without a mark are of older outboxes, in
which they number the script's clouds."""

SAME = 8
"""Most cloud objects kept of one device or one host."""


class DeviceRegistry:
    """The cloud objects of a script that share an outbox; any thread may add and remove them."""

    def __init__(self) -> None:
        self.last: Sender | None = None
        """The sender that joined or sent last; it sends messages that belong to no other."""
        self._lock = threading.Lock()
        self._all: tuple[Sender, ...] = ()
        """All senders, the newest last, at most `SAME` of one device or one host."""
        self._devices: dict[int, Sender] = {}
        """Senders by the device that they sent as, because credentials may change."""
        self._hosts: dict[tuple[str, int], Sender] = {}
        """Senders by the host that they sent to."""
        self._several = False
        """Whether there were several devices at some time of this run."""

    def join(self, sender: Sender) -> None:
        """Add ``sender``; of several with one device, or one host, the newest sends.

        The others take over when the newest leaves.
        """
        with self._lock:
            others = [each for each in self._all if each is not sender]
            same = [each for each in others if _key(each) == _key(sender)]
            spare = same[: max(0, len(same) - SAME + 1)]  # a script may never close its clouds
            self._all = (*(each for each in others if each not in spare), sender)
            self.last = sender
            self._several = self._several or len(self._known()) > 1

    def leave(self, sender: Sender) -> None:
        """Remove ``sender``."""
        with self._lock:
            self._all = tuple(each for each in self._all if each is not sender)
            self._devices = {name: each for name, each in self._devices.items() if each is not sender}
            self._hosts = {name: each for name, each in self._hosts.items() if each is not sender}
            if self.last is sender:
                self.last = self._all[-1] if self._all else None

    def endpoint(self, sender: Sender, channel: Channel, host: str, port: int) -> Endpoint:
        """Return the endpoint of ``sender``: ``host`` and ``port``, or the cloud without a host."""
        self.join(sender)  # its credentials may have changed
        with self._lock:
            if host:
                self._hosts = {**self._hosts, (host, port): sender}
                return Endpoint(channel, host, port)
            device = _device(sender) or 0
            self._devices = {**self._devices, device: sender}
            return Endpoint(channel, account=device | (SEVERAL if self._several else ALONE))

    def behind(self, endpoint: Endpoint) -> Sender | None:
        """Return the sender for ``endpoint`` in this run of the script; None without one."""
        if endpoint.host:
            return self._at_host(endpoint.host, endpoint.port)
        account = endpoint.account or 0
        device = account & DEVICE
        known = self._known()
        if account > DEVICE and (found := self._devices.get(device) or known.get(device)):
            return found
        alone = not account & SEVERAL and not self._several
        return next(iter(known.values()), None) if alone else None

    def _at_host(self, host: str, port: int) -> Sender | None:
        found = self._hosts.get((host, port))
        if found is None:
            found = next((each for each in reversed(self._all) if _key(each) == (host, port)), self.last)
        return found

    def _known(self) -> dict[int, Sender]:
        """Return the newest sender of each device whose credentials are known."""
        found = ((_device(each), each) for each in self._all)
        return {device: each for device, each in found if device is not None}


def _key(sender: Sender) -> object:
    """Return the key of senders that replace each other: the device, or the host."""
    identity = sender.identity()
    return sender.host() if identity is None else identity


def _device(sender: Sender) -> int | None:
    """Return the number of the cloud's device behind ``sender``; None without one, or before it is known."""
    identity = sender.identity()
    if not identity:
        return None
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()) & DEVICE


class DevicePaths:
    """The paths of a script, as `bridge.flow.message.uplink.Paths`: each endpoint has its sender's path."""

    def __init__(
        self,
        senders: DeviceRegistry,
        transport: Transport,
        *,
        timeout: Callable[[Endpoint], float],
        judge: Callable[[Queued, float, Reading], Reading],
    ) -> None:
        """``transport`` serves senders without sockets of their own.

        ``timeout`` returns the silence in seconds that ends an exchange; ``judge`` is as for `Turn`.
        """
        self._senders = senders
        self._transport = transport
        self._timeout = timeout
        self._judge = judge
        self._ready: dict[Endpoint, Sender] = {}
        """The ready sender of each endpoint, kept because a script may close it before `path` is called."""

    def ready(self, endpoint: Endpoint) -> bool:
        """Whether the path to ``endpoint`` is not known to be closed."""
        sender = self._senders.behind(endpoint)
        if sender is None or not sender.network_up():
            return False
        self._ready[endpoint] = sender
        return endpoint.channel is Channel.TCP or sender.access() is not None

    def path(self, endpoint: Endpoint) -> Path:
        """Return the path to ``endpoint``."""
        sender = self._senders.behind(endpoint) or self._ready[endpoint]
        return Path(Turn(self._codec(endpoint, sender), self._judge), sender.sockets() or self._transport)

    def wanted(self) -> None:
        """Do nothing: a script decides itself when to connect."""

    def ended(self, queued: Queued, reading: Reading) -> Blame:
        """Return whose fault a failed exchange is: that of a network that a script has left, or its own."""
        lost = reading.kind is Kind.UNREACHED and not self.ready(queued.lane.endpoint)
        return Blame.PATH if lost else Blame.MESSAGE

    def _codec(self, endpoint: Endpoint, sender: Sender) -> Codec:
        timeout = self._timeout(endpoint)
        if endpoint.channel is Channel.TCP:
            return RawCodec(timeout)
        access = sender.access()
        assert access is not None  # `ready` has checked it
        here = access._replace(timeout=timeout)
        if endpoint.channel is Channel.SMS:
            return CloudSmsCodec(lambda: here)
        return CloudCodec(lambda: here, read_clock)

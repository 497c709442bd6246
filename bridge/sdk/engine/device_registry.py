"""Who sends, and the way to each endpoint from there.

The cloud's endpoint of each device has the number of an account in place of its port, so that what holds one
device's messages up holds up no other's. The number stays the same from one run of the script to the next: it
is drawn from what the device proves itself by. A host of the script's own has its name and port, and no
account.

Which cloud object is behind an account that an earlier run has left is known by that number. Where it is
nobody's, as after a key was corrected, the only device of this run stands for it, if its messages were
written by the only device of that run; one of several never stands for another.
"""

import hashlib
import threading
from collections.abc import Callable

from bridge.adapters.system.loop_time import read_clock
from bridge.core.exchange import Transport
from bridge.core.messages import Channel, Endpoint, Queued
from bridge.core.retry import Reading
from bridge.flow.message.codecs import CloudCodec, Codec, SmsCodec
from bridge.flow.message.uplink import Path
from bridge.sdk.engine.calls import Sender, Turn
from bridge.sdk.engine.raw import RawCodec

DEVICE_BITS = 24
"""Bits of an account that stand for the device: they tell a script's few apart, and tell little of a key."""

DEVICE = (1 << DEVICE_BITS) - 1

SEVERAL = 1 << DEVICE_BITS + 1
"""Marks the account of one of several devices."""

ALONE = 1 << DEVICE_BITS
"""Marks the account of the only device of its run; accounts without a mark are of older outboxes, in which
they count the script's clouds."""

SAME = 8
"""Cloud objects of one device, or one host, that are kept in mind."""


class DeviceRegistry:
    """The clouds of a script that have one outbox; they come and go in any thread."""

    def __init__(self) -> None:
        self.last: Sender | None = None
        """Whoever came or sent last; speaks for what is nobody's own."""
        self._lock = threading.Lock()
        self._all: tuple[Sender, ...] = ()
        """The newest last; of one device, or one host, no more than `SAME`."""
        self._devices: dict[int, Sender] = {}
        """Who has sent as which device: credentials may change."""
        self._hosts: dict[tuple[str, int], Sender] = {}
        """Who has sent to which host."""
        self._several = False
        """There were several devices at some time of this run."""

    def join(self, sender: Sender) -> None:
        """``sender`` is there from now on; of those with one device, or one host, the newest counts.

        The others stand in when that leaves.
        """
        with self._lock:
            others = [each for each in self._all if each is not sender]
            same = [each for each in others if _key(each) == _key(sender)]
            spare = same[: max(0, len(same) - SAME + 1)]  # of a script that never closes what it makes
            self._all = (*(each for each in others if each not in spare), sender)
            self.last = sender
            self._several = self._several or len(self._known()) > 1

    def leave(self, sender: Sender) -> None:
        """``sender`` is there no more."""
        with self._lock:
            self._all = tuple(each for each in self._all if each is not sender)
            self._devices = {name: each for name, each in self._devices.items() if each is not sender}
            self._hosts = {name: each for name, each in self._hosts.items() if each is not sender}
            if self.last is sender:
                self.last = self._all[-1] if self._all else None

    def endpoint(self, sender: Sender, channel: Channel, host: str, port: int) -> Endpoint:
        """Return where ``sender`` sends to: ``host`` and ``port``, or without a host the cloud."""
        self.join(sender)  # as what it is now
        with self._lock:
            if host:
                self._hosts = {**self._hosts, (host, port): sender}
                return Endpoint(channel, host, port)
            device = _device(sender) or 0
            self._devices = {**self._devices, device: sender}
            return Endpoint(channel, "", device | (SEVERAL if self._several else ALONE))

    def behind(self, endpoint: Endpoint) -> Sender | None:
        """Return who sends to ``endpoint`` in this run of the script; None where that is nobody."""
        if endpoint.host:
            return self._at_host(endpoint.host, endpoint.port)
        device = endpoint.port & DEVICE
        known = self._known()
        if endpoint.port > DEVICE and (found := self._devices.get(device) or known.get(device)):
            return found
        alone = not endpoint.port & SEVERAL and not self._several
        return next(iter(known.values()), None) if alone else None

    def _at_host(self, host: str, port: int) -> Sender | None:
        found = self._hosts.get((host, port))
        if found is None:
            found = next((each for each in reversed(self._all) if _key(each) == (host, port)), self.last)
        return found

    def _known(self) -> dict[int, Sender]:
        """Return the devices that are known by now, each with its newest sender."""
        found = ((_device(each), each) for each in self._all)
        return {device: each for device, each in found if device is not None}


def _key(sender: Sender) -> object:
    """Return what tells ``sender`` from others: its device, or its host."""
    identity = sender.identity()
    return sender.host() if identity is None else identity


def _device(sender: Sender) -> int | None:
    """Return the number of the device that ``sender`` is to the cloud; None where it is none, or none yet."""
    identity = sender.identity()
    if not identity:
        return None
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()) & DEVICE


class DevicePaths:
    """The paths of a script, `bridge.flow.message.uplink.Paths`: an endpoint's path is its sender's."""

    def __init__(
        self,
        senders: DeviceRegistry,
        transport: Transport,
        *,
        timeout: Callable[[Endpoint], float],
        judge: Callable[[Queued, float, Reading], Reading],
    ) -> None:
        """``transport`` is for senders without sockets of their own; ``timeout`` returns seconds of silence.

        ``judge`` is as for `Turn`.
        """
        self._senders = senders
        self._transport = transport
        self._timeout = timeout
        self._judge = judge
        self._ready: dict[Endpoint, Sender] = {}
        """Who is ready to send there: a script may close it in another thread before that is used."""

    def ready(self, endpoint: Endpoint) -> bool:
        """Whether the way there is not known to be closed."""
        sender = self._senders.behind(endpoint)
        if sender is None or not sender.network_up():
            return False
        self._ready[endpoint] = sender
        return endpoint.channel is Channel.TCP or sender.access() is not None

    def path(self, endpoint: Endpoint) -> Path:
        """Return the way there."""
        sender = self._senders.behind(endpoint) or self._ready[endpoint]
        return Path(Turn(self._codec(endpoint, sender), self._judge), sender.sockets() or self._transport)

    def wanted(self) -> None:
        """A script connects when it wants to."""

    def _codec(self, endpoint: Endpoint, sender: Sender) -> Codec:
        timeout = self._timeout(endpoint)
        if endpoint.channel is Channel.TCP:
            return RawCodec(timeout)
        access = sender.access()
        assert access is not None  # `ready` said so
        here = access._replace(timeout=timeout)
        if endpoint.channel is Channel.SMS:
            return SmsCodec(lambda: here)
        return CloudCodec(lambda: here, read_clock)

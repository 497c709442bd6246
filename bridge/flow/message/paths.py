"""Paths: the transport that reaches each destination now.

* Without a managed interface, and with ``network.scope: "hologram"``, messages take the machine's own
  network. The bridge does not know when that is down.
* With ``network.scope: "backup"`` they take that or the link, as `Backup` decides by what they reach.
* Otherwise messages wait until the link is up. Then they take the machine's network over it, or the modem's
  own sockets while these are the link.
* SMS over the air need a modem that is registered, and no link.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from bridge.core.exchange import Transport
from bridge.core.messages import Channel, Endpoint, Queued
from bridge.core.retry import Blame, Kind, Reading
from bridge.flow.message.codecs import Codec
from bridge.flow.message.uplink import Path

_OF_THE_CLOUD = (Channel.CLOUD, Channel.SMS)


class Link(Protocol):
    """A link that messages may take, and its modem."""

    @property
    def air(self) -> Path | None:
        """What sends SMS over the air, while it can."""

    @property
    def carries(self) -> bool:
        """Whether messages can go over it now."""

    def wanted_now(self) -> None:
        """Note that a message waits for it."""

    def sockets_for(self, channel: Channel) -> Transport | None:
        """Return the modem's own sockets for ``channel``, while they are the link."""


class Backup(Protocol):
    """Decides between the own network and the link."""

    @property
    def over_modem(self) -> bool:
        """Whether messages take the link."""

    def ended(self, queued: Queued, reading: Reading) -> Blame:
        """Learn how an exchange ended; return whose fault a failure is, as far as the network shows."""


class NetworkPaths:
    """Knows the path to each endpoint; lives in the event loop's thread."""

    def __init__(
        self,
        codecs: Mapping[Channel, Codec],
        transports: Mapping[Channel, Transport],
        *,
        identified: Callable[[], bool],
        own: Mapping[Channel, Transport] | None = None,
    ) -> None:
        """``identified`` returns whether there are credentials; those of the SIM come with the modem.

        ``own`` are the transports of the own network, where ``transports`` are those of its backup.
        """
        self._codecs = codecs
        self._transports = transports
        self._own = own
        self._identified = identified
        self.link: Link | None = None
        """The link that messages need; None: the machine's own network, which nobody knows to be down."""
        self.backup: Backup | None = None
        """What decides between the own network and the link; None where there is no choice."""
        self.modem: Link | None = None
        """What sends SMS over the air."""

    def wanted(self) -> None:
        """Have an on-demand link dialled."""
        if self.link:
            self.link.wanted_now()

    def ready(self, endpoint: Endpoint) -> bool:
        """Whether ``endpoint`` may be reachable: False only while its path is known to be closed."""
        if endpoint.over_air:
            return self._air is not None
        if endpoint.channel in _OF_THE_CLOUD and not self._identified():
            return False
        return self.link is None or self._takes_own or self.link.carries

    @property
    def _takes_own(self) -> bool:
        return self.backup is not None and not self.backup.over_modem

    def codec(self, channel: Channel) -> Codec | None:
        """Return the codec of ``channel``; None while the credentials that it needs are not known."""
        return None if channel in _OF_THE_CLOUD and not self._identified() else self._codecs[channel]

    def own_sockets(self, channel: Channel) -> bool:
        """Whether the modem's own sockets carry ``channel`` now."""
        return self.link is not None and self.link.sockets_for(channel) is not None

    def path(self, endpoint: Endpoint) -> Path:
        """Return the codec and the transport of ``endpoint``."""
        if endpoint.over_air:
            assert self._air is not None  # `ready` said so
            return self._air
        codec = self._codecs[endpoint.channel]
        if self._own and self._takes_own:
            return Path(codec, self._own[endpoint.channel], own=True)
        sockets = self.link.sockets_for(endpoint.channel) if self.link else None
        return Path(codec, sockets or self._transports[endpoint.channel])

    def ended(self, queued: Queued, reading: Reading) -> Blame:
        """Learn how an exchange of ``queued`` ended; return whose fault a failure is."""
        endpoint = queued.lane.endpoint
        blame = self.backup.ended(queued, reading) if self.backup else Blame.MESSAGE
        changed = not endpoint.over_air and queued.own is not self._takes_own
        if reading.kind is not Kind.UNREACHED:
            silent = reading.kind is Kind.UNANSWERED and reading.code is None
            return Blame.EARLIER_PATH if changed and silent else Blame.MESSAGE
        return Blame.PATH if changed or not self.ready(endpoint) else blame

    @property
    def _air(self) -> Path | None:
        return self.modem.air if self.modem else None

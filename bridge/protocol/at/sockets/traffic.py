"""The cost of a modem's socket on the IP layer: an estimate, because the modem does not report it.

Computed from payload sizes and the number of segments, with the headers of `bridge.protocol.tcpinfo`. A write
is a segment and its acknowledgement, and so is each received piece; opening takes three segments, closing
four. Retransmissions are not counted, nor options but MSS in the handshake. A name costs a look-up each time.
Compare `bridge.protocol.tcpinfo`, which reads measured figures from Linux.
"""

from bridge.core.messages import Traffic
from bridge.protocol import tcpinfo

SEGMENT = 1360
"""Bytes of a full segment on a cellular link: an MTU of 1400 less the headers."""

_HEADER = tcpinfo.IPV4 + tcpinfo.TCP
_SYN = _HEADER + 4  # the MSS option [RFC 9293, section 3.7.1]


def lookup(host: str) -> Traffic:
    """Return the cost of resolving ``host``; nothing for an address."""
    if host.replace(".", "").isdecimal() or ":" in host:
        return Traffic()
    try:
        return tcpinfo.lookup_cost(host, 1)
    except UnicodeError:  # the name cannot be looked up
        return Traffic()


def datagram(size: int) -> int:
    """Return the IP bytes of a datagram with ``size`` bytes of payload."""
    return tcpinfo.IPV4 + tcpinfo.UDP + size


class Meter:
    """Adds up the IP bytes of one TCP connection."""

    def __init__(self) -> None:
        self.spent = Traffic()

    def ask(self, host: str) -> None:
        """Count the first segment of an outbound connection, and the look-up before it."""
        self.spent = self.spent.plus(lookup(host)).plus(Traffic(_SYN, 0))

    def stand(self) -> None:
        """Count the rest of an outbound connection's handshake."""
        self.spent = self.spent.plus(Traffic(_HEADER, _SYN))

    def accept(self) -> None:
        """Count the handshake of an inbound connection."""
        self.spent = self.spent.plus(Traffic(_SYN, _SYN + _HEADER))

    def write(self, size: int) -> None:
        """Count a write of ``size`` bytes."""
        count = max(1, -(-size // SEGMENT))
        self.spent = self.spent.plus(Traffic(size + count * _HEADER, count * _HEADER))

    def read(self, size: int) -> None:
        """Count a received piece of ``size`` bytes."""
        count = max(1, -(-size // SEGMENT))
        self.spent = self.spent.plus(Traffic(count * _HEADER, size + count * _HEADER))

    def closed(self) -> Traffic:
        """Return the sum, closing handshake included."""
        return self.spent.plus(Traffic(2 * _HEADER, 2 * _HEADER))

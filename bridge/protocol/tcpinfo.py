"""What a TCP connection cost on the IP layer, read from Linux's ``TCP_INFO``.

The struct is Linux's ``struct tcp_info`` [linux/include/uapi/linux/tcp.h, since 4.19 with ``bytes_sent``].
It counts segments and payload bytes but not headers, and it cannot know of the close, which comes after
the last look; both are added here. Hologram meters every byte of the IP layer, both ways [Hologram
documentation, data usage].
"""

import struct
from typing import NamedTuple

from bridge.core.messages import Traffic

SIZE = 232
"""Bytes to ask getsockopt for: up to and including ``tcpi_bytes_retrans`` and what follows it."""

_STATE = struct.Struct("@B4xB")  # tcpi_state, tcpi_options
_COUNTS = struct.Struct("@128xQII")  # bytes_received, segs_out, segs_in
_SENT = struct.Struct("@200xQ")  # bytes_sent, retransmissions included
_TIMESTAMPS = 1  # TCPI_OPT_TIMESTAMPS
_PEER_CLOSED = 8  # TCP_CLOSE_WAIT

IPV4, IPV6, TCP, UDP = 20, 40, 20, 8
"""Header bytes without options [RFC 791, 8200, 9293, 768]."""

TIMESTAMP_OPTION = 12
"""Bytes of the timestamp option with its padding, in each segment once both sides agreed [RFC 7323]."""

SYN_OPTIONS = 20
"""Bytes of options in Linux's SYN and SYN-ACK: MSS, SACK permitted, timestamps, window scale."""


class Counts(NamedTuple):
    """The figures of one connection before its close."""

    segments_out: int
    segments_in: int
    bytes_sent: int
    bytes_received: int
    timestamps: bool
    peer_closed: bool
    """The peer's FIN has arrived; it counts as one byte of ``bytes_received`` in Linux."""


def read(raw: bytes) -> Counts | None:
    """Return the figures in ``raw``, or None where the kernel is too old to give them."""
    if len(raw) < _SENT.size:
        return None
    state, options = _STATE.unpack_from(raw)
    received, out, incoming = _COUNTS.unpack_from(raw)
    closed = state == _PEER_CLOSED
    return Counts(
        out, incoming, _SENT.unpack_from(raw)[0], received - closed, bool(options & _TIMESTAMPS), closed
    )


def cost(counts: Counts, *, ipv6: bool) -> Traffic:
    """Return the bytes of IP packets of a connection that we end with a reset right after ``counts``.

    Our reset is one more segment. Where the peer's FIN has not come yet it is on its way, and is answered
    by a second reset, which carries no options. A capture beside it confirms the sums.
    """
    plain = (IPV6 if ipv6 else IPV4) + TCP
    if not counts.segments_in:  # nobody answered: only SYNs went out
        return Traffic(counts.segments_out * (plain + SYN_OPTIONS), 0)
    segment = plain + (TIMESTAMP_OPTION if counts.timestamps else 0)
    syn_extra = SYN_OPTIONS - TIMESTAMP_OPTION if counts.timestamps else SYN_OPTIONS - 8
    up = (counts.segments_out + 1) * segment + syn_extra + counts.bytes_sent
    down = counts.segments_in * segment + syn_extra + counts.bytes_received
    if counts.peer_closed:
        return Traffic(up, down)
    return Traffic(up + plain, down + segment)


def lookup_cost(host: str, addresses: int) -> Traffic:
    """Return the bytes of one DNS look-up of ``host`` that gave ``addresses`` IPv4 addresses.

    One query and one response over UDP: headers of 28 bytes, 12 of DNS, the question, and 16 for each
    compressed A record [RFC 1035, sections 4.1 and 4.1.4].
    """
    question = IPV4 + UDP + 12 + len(host.encode("idna")) + 2 + 4
    return Traffic(question, question + 16 * addresses)

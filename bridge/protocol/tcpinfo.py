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

_FIGURES = struct.Struct("@B4xB50xI68xQII56xQ")
"""tcpi_state, tcpi_options; last_ack_recv in milliseconds; bytes_received, segs_out, segs_in; bytes_sent,
retransmissions included."""
_TIMESTAMPS = 1  # TCPI_OPT_TIMESTAMPS
_CLOSE, _CLOSE_WAIT = 7, 8  # TCP states

IPV4, IPV6, TCP, UDP = 20, 40, 20, 8
"""Header bytes without options [RFC 791, 8200, 9293, 768]."""

TIMESTAMP_OPTION = 12
"""Bytes of the timestamp option with its padding, in each segment once both sides agreed [RFC 7323]."""


def syn_options(*, timestamps: bool) -> int:
    """Return the bytes of options in Linux's SYN or SYN-ACK: MSS, SACK permitted, window scale, timestamps.

    The two bytes of SACK permitted take the place of the timestamps' padding [linux: tcp_options_write].
    """
    return 20 if timestamps else 12


class Counts(NamedTuple):
    """The figures of one connection before its close."""

    segments_out: int
    segments_in: int
    bytes_sent: int
    bytes_received: int
    """The peer's FIN counts as one of them in Linux."""
    timestamps: bool
    peer_closed: bool
    """The peer's FIN has come, ours has not gone."""
    over: bool
    """Both sides have ended, or one was reset: closing sends nothing more."""
    since_ack: float
    """Seconds since the peer's last acknowledgement, of new bytes or not [linux: tcp_ack, rcv_tstamp]."""


def read(raw: bytes) -> Counts | None:
    """Return the figures in ``raw``, or None where the kernel is too old to give them."""
    if len(raw) < _FIGURES.size:
        return None
    state, options, since_ack, received, out, incoming, sent = _FIGURES.unpack_from(raw)
    stamped = bool(options & _TIMESTAMPS)
    return Counts(
        segments_out=out,
        segments_in=incoming,
        bytes_sent=sent,
        bytes_received=received,
        timestamps=stamped,
        peer_closed=state == _CLOSE_WAIT,
        over=state == _CLOSE,
        since_ack=since_ack / 1000,
    )


def cost(
    counts: Counts, *, ipv6: bool, connected: bool, fin: bool, offered: bool, close: bool = False
) -> Traffic:
    """Return the bytes of IP packets of a connection that we end right after ``counts``.

    ``offered`` says that our SYN had the timestamp option, which the peer may not have taken up.

    We end it with a reset, which is one more segment, unless the connection is over. With ``close`` it is our
    FIN, which the peer acknowledges; where its own has not come, it closes with the same segment, which we
    acknowledge. ``fin`` says that the peer's FIN came, which is a byte of Linux's count and none on the
    wire. A capture beside it confirms the sums.
    """
    plain = (IPV6 if ipv6 else IPV4) + TCP
    if not connected:  # SYNs went out; what came back, if anything, were resets
        syn = plain + syn_options(timestamps=offered)
        return Traffic(counts.segments_out * syn, counts.segments_in * plain)
    option = TIMESTAMP_OPTION if counts.timestamps else 0
    close = close and not counts.over
    segments_out = counts.segments_out + (not counts.over) + (close and not counts.peer_closed)
    up = segments_out * (plain + option) + syn_options(timestamps=offered) - option + counts.bytes_sent
    down = (
        (counts.segments_in + close) * (plain + option) + syn_options(timestamps=counts.timestamps) - option
    )
    return Traffic(up, down + counts.bytes_received - fin)


SEGMENT = 1460
"""Payload bytes of a full segment: an MTU of 1500 less the headers [RFC 9293, section 3.7.1]."""


def estimate(
    request: int,
    answer: int,
    *,
    timestamps: bool = False,
    segment: int = SEGMENT,
    until_close: bool = False,
) -> Traffic:
    """Return what an exchange over IPv4 costs that goes as it should, as `cost` counts it afterwards.

    We send a SYN, the request in full segments, and a reset. The peer sends its SYN, an acknowledgement of
    every two segments, the answer, and its FIN. An exchange until close ends by a FIN of ours instead, and
    the peer's has no answer before it; we acknowledge it.
    """
    option = TIMESTAMP_OPTION if timestamps else 0
    plain, syn = IPV4 + TCP + option, IPV4 + TCP + syn_options(timestamps=timestamps)
    count = max(1, -(-request // segment))
    answered = 1 if until_close else 2
    up = syn + (count + 3 - answered) * plain + request
    return Traffic(up, syn + ((count + 1) // 2 + answered) * plain + answer)


def lookup_cost(host: str, addresses: int) -> Traffic:
    """Return the bytes of one DNS look-up of ``host`` that gave ``addresses`` IPv4 addresses.

    One query and one response over UDP: headers of 28 bytes, 12 of DNS, the question, and 16 for each
    compressed A record [RFC 1035, sections 4.1 and 4.1.4].
    """
    question = IPV4 + UDP + 12 + len(host.encode("idna")) + 2 + 4
    return Traffic(question, question + 16 * addresses)

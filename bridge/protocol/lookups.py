"""What a DNS look-up by the system's resolver costs on the IP layer: an upper estimate.

The resolver tells neither how often it asked nor how long the answers were. How often it asks at most follows
from its configuration [resolv.conf(5)], and from the time that it took.
"""

from typing import NamedTuple

from bridge.core.messages import Traffic
from bridge.protocol.tcpinfo import lookup_cost

MAX_SERVERS, MAX_ATTEMPTS = 3, 5
"""More are not asked, or not as often [resolv.conf(5)]."""

SOA = 100
"""Bytes of the record that an answer without an address has, with names of 68 bytes [RFC 2308, 2.2]."""

EDNS = 11
"""Bytes of the record that ``options edns0`` adds to a query, and to its answer [RFC 6891, 6.1.2]."""

_IPV6_MORE = 12
"""Bytes that an IPv6 address has more than an IPv4 address."""


class ResolverConfig(NamedTuple):
    """Name servers, and how they are asked."""

    servers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    """Domains that are tried behind a name."""
    timeout: int = 5
    """Seconds of the first try."""
    attempts: int = 2
    """Tries for each server."""
    ndots: int = 1
    """A name with so many dots is tried first as it is."""
    edns: bool = False


def read_config(text: str, domain: str = "") -> ResolverConfig:
    """Return what ``text``, a resolv.conf, says; ``domain`` is the machine's own. Bad values are left out."""
    servers: list[str] = []
    search: tuple[str, ...] = (domain,) if domain else ()
    numbers = {"timeout": 5, "attempts": 2, "ndots": 1}
    edns = False
    for line in text.splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver":
            servers += values[:1]
        elif word in ("search", "domain"):
            search = tuple(each for each in values if each != ".")
        elif word == "options":
            edns = edns or "edns0" in values
            pairs = (each.partition(":") for each in values)
            numbers |= {name: int(value) for name, _, value in pairs if name in numbers and _is_number(value)}
    return ResolverConfig(
        tuple(servers[:MAX_SERVERS]) or ResolverConfig().servers,
        search,
        max(1, numbers["timeout"]),
        min(MAX_ATTEMPTS, max(1, numbers["attempts"])),
        numbers["ndots"],
        edns,
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4


def answered(
    config: ResolverConfig, host: str, took: float, *, addresses: int, ipv6: bool = False
) -> Traffic:
    """Return the cost at most of a look-up that gave ``addresses``, or said that there are none.

    ``took`` is in seconds. Each try that was not answered in time took its timeout, and counts as answered
    later. Aliases in the answer are not known, and not counted.
    """
    asked = _names(config, host)
    if not asked:
        return Traffic()
    unheard = min(int(took / _shortest(config)), len(config.servers) * config.attempts - 1)
    nothing = _question(config, asked[-1], 0)
    if not addresses:
        return _times(nothing, len(asked) + unheard)
    found = _question(config, host, addresses, more=_IPV6_MORE * addresses if ipv6 else 0)
    first = host.endswith(".") or host.count(".") >= config.ndots
    others = unheard if first else unheard + len(asked) - 1
    return found.plus(_times(nothing, others))


def unanswered(config: ResolverConfig, host: str) -> Traffic:
    """Return the cost at most of a look-up that failed: each try may be answered, if too late to be read."""
    asked = _names(config, host)
    if not asked:
        return Traffic()
    return _times(_question(config, asked[-1], 1), len(asked) * len(config.servers) * config.attempts)


def _question(config: ResolverConfig, host: str, addresses: int, *, more: int = 0) -> Traffic:
    """Return the cost of one query of ``host`` and its answer, which has ``more`` bytes than usual."""
    edns = EDNS if config.edns else 0
    return lookup_cost(host, addresses).plus(Traffic(edns, edns + (more if addresses else SOA)))


def _names(config: ResolverConfig, host: str) -> list[str]:
    """Return the names that are tried for ``host``, the longest last; none if it is no name."""
    domains = () if host.endswith(".") else config.search
    names = [host, *(f"{host}.{domain}" for domain in domains)]
    return sorted(filter(_is_name, names), key=len)


def _is_name(text: str) -> bool:
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False


def _shortest(config: ResolverConfig) -> float:
    """Return the seconds of the shortest timeout: later rounds are shared by the servers [glibc: send_dg]."""
    if config.attempts == 1:
        return config.timeout
    return min(config.timeout, max(1, config.timeout * 2 // len(config.servers)))


def _times(traffic: Traffic, number: int) -> Traffic:
    return Traffic(traffic.up * number, traffic.down * number)

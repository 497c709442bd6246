"""Admission control: which peers are allowed, and at what rate."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_REMEMBERED = 1024
"""Number of peers whose verdict is kept: a flood of forged addresses must not fill the memory."""

_MAPPED = 96
"""Number of bits before the IPv4 address in an IPv4-mapped IPv6 address [RFC 4291, section 2.5.5.2]."""


class AdmissionControl:
    """Knows which peers are allowed."""

    def __init__(self, allow: Sequence[Network]) -> None:
        self._allow = tuple(allow)
        self._known: dict[str, bool] = {}

    def admits(self, host: str) -> bool:
        """Return whether ``host``, an IP address as text, lies in an allowed network."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            address = plain_address(host)
            known = self._known[host] = any(address in network for network in self._allow)
        return known


def plain_address(host: str) -> IPv4Address | IPv6Address:
    """Return the address; an IPv4-mapped IPv6 address becomes IPv4 [RFC 4291, section 2.5.5.2]."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def plain_network(text: str) -> Network:
    """Return the network; one of IPv4-mapped addresses becomes IPv4, as addresses do. Raises ValueError.

    A zone (``%eth0``) is refused, because addresses are compared without their zone.
    """
    if "%" in text:
        raise ValueError
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED))


def neighbourhood(host: str) -> str:
    """Return the network that counts as one peer when peers are many: the /16 of IPv4, the /64 of IPv6."""
    address = plain_address(host)
    return str(
        ip_network(f"{str(address).partition('%')[0]}/{16 if address.version == 4 else 64}", strict=False)
    )


class TokenBucket:
    """A token bucket: ``burst`` tokens at once, ``rate`` tokens a second in the long run."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, mono: float) -> float:
        """Take a token and return 0, or return the seconds until the next; ``mono`` is monotonic seconds."""
        self._tokens = min(self._burst, self._tokens + max(0.0, mono - self._at) * self._rate)
        self._at = mono
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._rate
        self._tokens -= 1.0
        return 0.0

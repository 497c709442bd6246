"""Who may come in, how fast, and how seldom a refusal is worth a line in the log."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_REMEMBERED = 1024
"""Peers whose verdict is kept; a flood comes from few, a forged one must not fill the memory."""

_MAPPED = 96
"""Bits before the IPv4 address in one of IPv6 [RFC 4291, section 2.5.5.2]."""


class AdmissionControl:
    """Knows which peers are allowed."""

    def __init__(self, allow: Sequence[Network]) -> None:
        self._allow = tuple(allow)
        self._known: dict[str, bool] = {}

    def admits(self, host: str) -> bool:
        """Tell whether ``host``, an IP address as text, lies in an allowed network."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            address = plain_address(host)
            known = self._known[host] = any(address in network for network in self._allow)
        return known


def plain_address(host: str) -> IPv4Address | IPv6Address:
    """Return the address; IPv4 that came in on an IPv6 socket is IPv4 again [RFC 4291, section 2.5.5.2]."""
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def plain_network(text: str) -> Network:
    """Return the network; one of IPv4 addresses in IPv6 is IPv4 again, as addresses are. Raises ValueError.

    A zone (``%eth0``) is refused: addresses are compared without theirs.
    """
    if "%" in text:
        raise ValueError
    network = ip_network(text)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED))


def neighbourhood(host: str) -> str:
    """Return the network that ``host`` is counted with where peers are many: /16 of IPv4, /64 of IPv6."""
    address = plain_address(host)
    return str(
        ip_network(f"{str(address).partition('%')[0]}/{16 if address.version == 4 else 64}", strict=False)
    )


class TokenBucket:
    """A token bucket: ``burst`` at once, ``rate`` a second in the long run."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, mono: float) -> float:
        """Take one and return 0, or return the seconds until there is one; ``mono`` is monotonic seconds."""
        self._tokens = min(self._burst, self._tokens + max(0.0, mono - self._at) * self._rate)
        self._at = mono
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._rate
        self._tokens -= 1.0
        return 0.0


class LogThrottle:
    """Counts what may happen very often, and says at the 1st, 2nd, 4th, 8th … that it is worth a line."""

    def __init__(self) -> None:
        self.count = 0

    def due(self) -> bool:
        """Count one more; tell whether it is time for a line, which should give the count."""
        self.count += 1
        return self.count & (self.count - 1) == 0


class LogInterval:
    """Says of each key at most once in ``period`` seconds that it is time for a line; keeps ``keys`` keys."""

    def __init__(self, period: float, keys: int = 64) -> None:
        self._period = period
        self._keys = keys
        self._last: dict[str, float] = {}

    def due(self, key: str, mono: float) -> bool:
        """Tell whether it is time; ``mono`` is monotonic seconds. With too many keys at once: silence."""
        last = self._last.get(key)
        if last is not None and mono - last < self._period:
            return False
        if last is None and len(self._last) >= self._keys:
            self._last = {k: at for k, at in self._last.items() if mono - at < self._period}
            if len(self._last) >= self._keys:
                return False
        self._last[key] = mono
        return True

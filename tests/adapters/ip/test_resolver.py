"""Names to addresses, and what is kept of them."""

import asyncio
import socket

import pytest

from bridge.adapters.ip.resolver import Lookup, Resolver
from bridge.core.messages import Traffic


async def look_up(resolver: Resolver, host: str, port: int = 80) -> Lookup:
    found: asyncio.Future[Lookup] = asyncio.get_running_loop().create_future()
    resolver.lookup(host, port, found.set_result)
    return await asyncio.wait_for(found, 60)  # three name servers that are silent take half of that


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("10.1.2.3", socket.AF_INET)],
)
def test_a_literal_needs_no_look_up(host: str, family: int) -> None:
    """An address is its own answer, at once and for ever."""

    async def main() -> None:
        resolver = Resolver(asyncio.get_running_loop())
        for _ in range(2):
            (address,) = resolver.cached(host, 80)
            assert (address.family, address.sockaddr) == (family, (host, 80))
            resolver.forget(host, 80)

    asyncio.run(main())


def test_a_name_is_looked_up_once() -> None:
    """What was found is kept, until somebody says that it did not work."""

    async def main() -> None:
        resolver = Resolver(asyncio.get_running_loop())
        assert resolver.cached("localhost", 80) == ()
        found = await look_up(resolver, "localhost")
        assert found.error is None
        assert [address.sockaddr for address in found.addresses] == [("127.0.0.1", 80)]
        assert found.traffic == Traffic()  # nobody is asked
        assert resolver.cached("localhost", 80) == found.addresses
        assert resolver.cached("localhost", 81) == ()
        resolver.forget("localhost", 80)
        assert resolver.cached("localhost", 80) == ()

    asyncio.run(main())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "broker.localhost"])
def test_localhost_needs_no_hosts_file(host: str) -> None:
    """Every name below localhost is this machine, and no name server is asked for it."""

    async def main() -> None:
        found = await look_up(Resolver(asyncio.get_running_loop()), host)
        assert [address.sockaddr for address in found.addresses] == [("127.0.0.1", 80)]
        assert (found.error, found.traffic) == (None, Traffic())

    asyncio.run(main())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".invalid", "é" * 100, ""])
def test_a_name_that_is_none_is_said(host: str) -> None:
    """Unknown and impossible names end in words, and are not kept."""

    async def main() -> None:
        resolver = Resolver(asyncio.get_running_loop())
        found = await look_up(resolver, host)
        if host:
            assert found.addresses == ()
            assert f"cannot resolve {host}" in str(found.error)
            assert resolver.cached(host, 80) == ()

    asyncio.run(main())


def test_those_who_ask_meanwhile_share_one_look_up() -> None:
    """Many exchanges that start together cost one query."""

    async def main() -> None:
        resolver = Resolver(asyncio.get_running_loop())
        found = await asyncio.gather(*(look_up(resolver, "localhost") for _ in range(50)))
        assert len({lookup.addresses for lookup in found}) == 1

    asyncio.run(main())

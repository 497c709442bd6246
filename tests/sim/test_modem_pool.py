"""The pool below the simulated modem's socket commands: numbers, real connections, reports, faults."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bridge.sim.modem.active import ActiveFaults
from bridge.sim.modem.net import Places, Unreachable
from bridge.sim.modem.pool import Pool, QueueFull, Socket
from tests.harness import free_port


class Dialect:
    """Keeps what the pool reports."""

    def __init__(self, pool: Pool) -> None:
        self.seen: list[str] = []
        self._more = asyncio.Event()
        pool.numbers = (2, 1, 0)
        pool.on_data = lambda each: self._note(f"data {each.number}: {each.unread}")
        pool.on_end = lambda each: self._note(f"end {each.number}")
        pool.on_accept = lambda each: self._note(f"accept {each.number} by {each.listener}")
        pool.on_full = lambda: self._note("full")

    def _note(self, what: str) -> None:
        self.seen.append(what)
        self._more.set()

    async def wait(self, what: str) -> None:
        """Return once this was reported."""
        async with asyncio.timeout(10):
            while what not in self.seen:
                self._more.clear()
                await self._more.wait()


class Desk:
    """A pool with what watches it."""

    def __init__(self) -> None:
        self.faults = ActiveFaults()
        self.lines: list[str] = []
        self.pool = Pool(Places(), self.faults, self.lines.append)
        self.dialect = Dialect(self.pool)

    def add(self, kind: str = "TCP", context: int = 1) -> Socket:
        number = self.pool.free()
        assert number is not None
        return self.pool.add(Socket(number, kind, context=context))


@contextlib.asynccontextmanager
async def peer() -> AsyncIterator[
    tuple[int, asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
]:
    """Run a TCP server; return its port and the connections that come."""
    came: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    server = await asyncio.start_server(lambda *ends: came.put_nowait(ends), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        server.close()


def run(test: Callable[[Desk], Awaitable[None]]) -> None:
    """Run a test with a pool of its own, which is reset after it."""

    async def body() -> None:
        desk = Desk()
        try:
            async with asyncio.timeout(20):
                await test(desk)
        finally:
            desk.pool.reset()

    asyncio.run(body())


async def has_ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection, by a close or a reset; False where bytes come before it."""
    with contextlib.suppress(ConnectionResetError):
        return await reader.read(1) == b""
    return True


def test_numbers_are_given_in_the_order_of_the_dialect_and_come_back() -> None:
    """A number is free again once its socket was closed; what had it before does not touch its successor."""

    async def test(desk: Desk) -> None:
        made = [desk.add() for _ in range(3)]
        assert [each.number for each in made] == [2, 1, 0]
        assert desk.pool.free() is None
        desk.pool.close(made[1])
        again = desk.add()
        assert again.number == 1
        desk.pool.close(made[1])
        assert desk.pool.get(1) is again
        assert [each.number for each in desk.pool.all()] == [0, 1, 2]

    run(test)


def test_a_connection_carries_bytes_and_reports_them_and_its_end() -> None:
    """Each arrival is reported with all that is unread; `report` says it again; what was read is gone."""

    async def test(desk: Desk) -> None:
        async with peer() as (port, came):
            each = desk.add()
            assert each.state == "connecting"
            await desk.pool.connect(each, "127.0.0.1", port)
            assert each.state == "connected"
            reader, writer = await came.get()
            desk.pool.send(each, b"up")
            assert await reader.readexactly(2) == b"up"
            writer.write(b"abc")
            await desk.dialect.wait("data 2: 3")
            writer.write(b"de")
            await desk.dialect.wait("data 2: 5")
            assert each.take(4) == (b"abcd", ("", 0))
            writer.close()
            await desk.dialect.wait("end 2")
            assert each.state == "closing"
            desk.dialect.seen.clear()
            desk.pool.report(each)
            assert desk.dialect.seen == ["data 2: 1", "end 2"]
            desk.pool.close(each)
            desk.pool.report(each)
            assert desk.dialect.seen == ["data 2: 1", "end 2"]
            with pytest.raises(Unreachable):
                desk.pool.send(each, b"x")

    run(test)


def test_a_listener_gives_each_connection_a_number_while_there_are_any() -> None:
    """The last finds the pool full, and is cut; the port is told, and forgotten by a reset."""
    port = free_port()

    async def test(desk: Desk) -> None:
        listener = desk.add("TCP LISTENER", context=7)
        await desk.pool.listen(listener, port)
        assert (listener.state, desk.pool.listening) == ("listening", {port: port})
        assert desk.lines == [f"port {port} of the modem is 127.0.0.1:{port}"]
        ends = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for number in (1, 0):
            await desk.dialect.wait(f"accept {number} by 2")
            made = desk.pool.get(number)
            assert made is not None
            assert (made.context, made.local_port, made.state) == (7, port, "connected")
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        await desk.dialect.wait("full")
        assert await has_ended(reader)
        desk.pool.reset()
        assert [await has_ended(reader) for reader, _ in ends] == [True, True]
        assert (desk.pool.all(), desk.pool.listening) == ([], {})
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    run(test)


def test_datagrams_are_taken_one_by_one_with_their_sender() -> None:
    """What does not fit into a read is lost, as with a real socket."""

    async def test(desk: Desk) -> None:
        each = desk.add("UDP")
        await desk.pool.bind(each, 0)
        assert each.udp is not None
        port = each.udp.port
        assert desk.pool.listening == {}
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", 0))
            other.settimeout(10)
            here = other.getsockname()
            other.sendto(b"first", ("127.0.0.1", port))
            other.sendto(b"second", ("127.0.0.1", port))
            await desk.dialect.wait("data 2: 11")
            assert each.take(2) == (b"fi", here)
            assert each.take(100) == (b"second", here)
            assert each.unread == 0
            desk.pool.send(each, b"back", here)
            assert other.recv(100) == b"back"

    run(test)


def test_a_context_that_goes_takes_its_own_sockets() -> None:
    """Their peers see the end; the others stay."""

    async def test(desk: Desk) -> None:
        async with peer() as (port, came):
            each, other = desk.add(context=1), desk.add(context=2)
            for made in (each, other):
                await desk.pool.connect(made, "127.0.0.1", port)
            reader, _ = await came.get()
            assert desk.pool.drop(context=1) == [each]
            assert await has_ended(reader)
            assert desk.pool.all() == [other]
            assert desk.pool.state() == [{"socket": 1, "protocol": "TCP", "listening": False, "unread": 0}]

    run(test)


def test_what_opens_for_a_number_that_was_taken_away_is_closed() -> None:
    """A context that is lost while a connection is made, or a port opened, leaves nothing open."""
    port = free_port()

    async def test(desk: Desk) -> None:
        async with peer() as (far, came):
            each, listener = desk.add(), desk.add("TCP LISTENER")
            opening = [
                asyncio.create_task(desk.pool.connect(each, "127.0.0.1", far)),
                asyncio.create_task(desk.pool.listen(listener, port)),
            ]
            await asyncio.sleep(0)  # both have begun
            desk.pool.drop()
            await asyncio.gather(*opening)
            reader, _ = await came.get()
            assert await has_ended(reader)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    run(test)


def test_the_queue_is_full_or_takes_half_for_as_many_writes_as_were_ordered() -> None:
    """Only who allows it gets a part; a full queue counts before that."""

    async def test(desk: Desk) -> None:
        desk.faults.numbers.update({"send-fail": 1, "send-short": 1, "send-slow": 0.001})
        with pytest.raises(QueueFull):
            await desk.pool.queue(b"abcd")
        assert await desk.pool.queue(b"abcd") == b"abcd"
        assert await desk.pool.queue(b"abcd", partly=True) == b"ab"
        assert await desk.pool.queue(b"abcd", partly=True) == b"abcd"

    run(test)


@pytest.mark.parametrize("place", ["8.8.8.8", "example.com", ""])
def test_nothing_is_reached_but_this_machine(place: str) -> None:
    """The socket stays, without a connection."""

    async def test(desk: Desk) -> None:
        each = desk.add()
        with pytest.raises(Unreachable):
            await desk.pool.connect(each, place, 80)
        assert each.state == "connecting"

    run(test)

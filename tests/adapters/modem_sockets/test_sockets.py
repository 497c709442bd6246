"""A modem's own sockets: against simulated modems of each family, and real peers behind them."""

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.inbound.listener import Limits, Listener
from bridge.adapters.inbound.port import Caller
from bridge.adapters.modem.at_port import AtPort, Urc
from bridge.adapters.modem_sockets.sockets import Sockets, make_sockets, payload_after
from bridge.core.exchange import Job, Outcome
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from bridge.errors import ModemError, ModemSilent
from bridge.protocol.modems import Profile, by_interface
from tests.doubles.peer import Script, peer, read_request
from tests.doubles.scripted_modem import Reply, ScriptedModem
from tests.harness import free_port
from tests.sim.local_modem import LocalModem, local_modem

families = pytest.mark.parametrize("family", ["nova-u201", "nova-r410", "bg96"])
fetched_and_pushed = pytest.mark.parametrize("family", ["nova-u201", "bg96"])
one_family = pytest.mark.parametrize("family", ["nova-u201"])


class Rig:
    """Sockets over an open port."""

    def __init__(self, profile: Profile) -> None:
        self.loop = asyncio.get_running_loop()
        self.down: list[str] = []
        self.port = AtPort(
            self.loop,
            on_urc=self._urc,
            on_lost=self._lost,
            payload_after=payload_after,
        )
        sockets = make_sockets(profile, self.port, self.loop, self.down.append)
        assert sockets is not None
        self.sockets: Sockets = sockets

    def _urc(self, urc: Urc) -> None:
        self.sockets.urc(urc)

    def _lost(self, why: str) -> None:
        self.sockets.lost(why)

    async def carry(self, *jobs: Job, udp: bool = False) -> list[Outcome]:
        """Carry all jobs at once."""
        transport = self.sockets.datagrams if udp else self.sockets
        futures: list[asyncio.Future[Outcome]] = [self.loop.create_future() for _ in jobs]
        for job, future in zip(jobs, futures, strict=True):
            transport.start(job, future.set_result)  # a second call would raise
            assert not future.done(), "done was called before start had returned"
        return await asyncio.gather(*futures)

    async def carry_one(self, job: Job, *, udp: bool = False) -> Outcome:
        return (await self.carry(job, udp=udp))[0]

    async def settled(self, modem: LocalModem) -> None:
        """Wait until the modem has no socket open but those that listen."""
        await until(lambda: not ([each for each in sockets_of(modem) if not each["listening"]]))


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition()`` is true."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def sockets_of(modem: LocalModem) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = modem.state()["sockets"]
    return found


class Leaping(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward, for what takes minutes."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def leap(seconds: float) -> None:
    """Put the clock forward; what is due by then comes in the next turn."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Leaping)
    loop.ahead += seconds


def run(story: Coroutine[Any, Any, None], limit: float = 30) -> None:
    """Run ``story``; nothing may be raised into the loop meanwhile."""
    errors: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        await asyncio.wait_for(story, limit)

    with asyncio.Runner(loop_factory=Leaping) as runner:
        runner.run(main())
    assert errors == []


@contextlib.asynccontextmanager
async def rig(modem: LocalModem, family: str) -> AsyncIterator[Rig]:
    made = Rig(by_interface(f"cellular-{family}"))
    await made.port.open(str(modem.at))
    try:
        await made.port.command("ATE0")
        assert await made.sockets.bring_up("hologram")
        assert made.sockets.is_up
        yield made
    finally:
        await made.sockets.close()
        made.port.close()


def job(
    port: int,
    request: bytes = b"request\n\n",
    *,
    host: str = "127.0.0.1",
    complete: Callable[[bytes], bool] = lambda received: received.endswith(b"]"),
    silence: float = 2.0,
    limit: float = 12.0,
    until_close: bool = False,
    on_connected: Callable[[], None] | None = None,
    orderly: bool = False,
) -> Job:
    return Job(host, port, request, complete, silence, limit, until_close, on_connected, orderly)


def answering(answer: bytes, *, request: bytes = b"request\n\n", close: bool = True) -> Script:
    """Read the request, check it, answer, and close or wait for the other side."""

    def script(connection: socket.socket) -> None:
        got = b""
        while len(got) < len(request):
            part = connection.recv(65536)
            assert part, got
            got += part
        assert got == request
        connection.sendall(answer)
        if not close:
            with contextlib.suppress(ConnectionError):
                connection.recv(1)

    return script


def silent(connection: socket.socket) -> None:
    """Take everything, say nothing."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65536):
            pass


@families
@pytest.mark.parametrize("close", [True, False], ids=["closed", "left open"])
def test_an_answer_ends_the_exchange(tmp_path: Path, family: str, close: bool) -> None:
    """A complete answer is all that is waited for; afterwards no socket is left in the modem."""
    told: list[str] = []
    with local_modem(tmp_path, family) as modem, peer(answering(b"[0,0]", close=close)) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                outcome = await made.carry_one(
                    job(server.port, host="localhost", on_connected=lambda: told.append("connected"))
                )
                assert outcome[:4] == (True, True, True, b"[0,0]")
                assert outcome.error is None
                # Two handshakes, a request of 9 bytes and an answer of 5, each with its acknowledgement
                assert 200 < outcome.traffic.up < 400
                assert 150 < outcome.traffic.down < 350
                await made.settled(modem)

        run(story())
    assert told == ["connected"]


@fetched_and_pushed
def test_any_bytes_of_any_size_in_pieces(tmp_path: Path, family: str) -> None:
    """A request goes in chunks that the modem takes, an answer comes in pieces that it gives: all of them."""
    dice = random.Random(family)
    request, answer = dice.randbytes(3001), dice.randbytes(20_001)
    with local_modem(tmp_path, family) as modem, peer(answering(answer, request=request)) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                whole = job(server.port, request, complete=lambda got: len(got) >= len(answer))
                outcome = await made.carry_one(whole)
                assert outcome.error is None
                assert outcome.complete
                assert outcome.answer == answer

        run(story())


@pytest.mark.parametrize("family", ["nova-u201", "nova-r410"])
def test_a_modem_that_takes_less_than_it_was_given(tmp_path: Path, family: str) -> None:
    """What a write did not take is written by the next: nothing is left out, nothing comes twice."""
    request = random.Random(family).randbytes(1501)
    with local_modem(tmp_path, family) as modem, peer(answering(b"[0,0]", request=request)) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                modem.tell("fault", name="send-short", number=3)
                outcome = await made.carry_one(job(server.port, request))
                assert outcome.complete, outcome.error

        run(story())


@families
def test_a_full_queue_is_waited_for(tmp_path: Path, family: str) -> None:
    """A modem without room for more is given the same bytes again, on the same connection."""
    request = random.Random(family).randbytes(1501)
    with local_modem(tmp_path, family) as modem, peer(answering(b"[0,0]", request=request)) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                modem.tell("fault", name="send-fail", number=2)
                outcome = await made.carry_one(job(server.port, request, silence=0.3))
                assert outcome.complete, outcome.error

        run(story())


@fetched_and_pushed
def test_a_queue_that_stays_full_ends_with_the_deadline(tmp_path: Path, family: str) -> None:
    """Then the connection is given up, and the next is as good as any."""
    with local_modem(tmp_path, family) as modem, peer(silent) as other, peer(answering(b"[0,0]")) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                modem.tell("fault", name="send-fail")
                outcome = await made.carry_one(job(other.port, limit=1.2))
                assert outcome[:3] == (True, True, False)
                assert outcome.error == "the exchange took longer than 1.2 s"
                modem.tell("clear")
                assert (await made.carry_one(job(server.port))).complete
                await made.settled(modem)

        run(story())


@fetched_and_pushed
def test_several_at_once(tmp_path: Path, family: str) -> None:
    """More jobs than sockets: each gets its own answer, none is mixed up."""

    def echo(connection: socket.socket) -> None:
        connection.sendall(b"<" + read_request(connection).strip() + b"]")

    with local_modem(tmp_path, family) as modem, peer(echo) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                jobs = [job(server.port, b"%d\n\n" % number) for number in range(15)]
                outcomes = await made.carry(*jobs)
                assert [outcome.answer for outcome in outcomes] == [b"<%d]" % number for number in range(15)]
                await made.settled(modem)

        run(story())


@fetched_and_pushed
def test_a_peer_that_cannot_be_reached(tmp_path: Path, family: str) -> None:
    """Nobody there, no such name, and what is no name at all: not connected, nothing written, one line."""
    with local_modem(tmp_path, family) as modem:

        async def story() -> None:
            async with rig(modem, family) as made:
                hosts = ("127.0.0.1", "nowhere.invalid", 'a"b', "a b\r\n", "", "ä" * 70)
                for host, outcome in zip(
                    hosts, await made.carry(*(job(free_port(), host=host) for host in hosts)), strict=True
                ):
                    assert outcome[:5] == (False, False, False, b"", False), host
                    assert outcome.error
                    assert outcome.error.startswith("cannot connect to ")
                assert (await made.port.command("AT")).final == "OK"

        run(story())


@one_family
def test_a_peer_that_says_nothing(tmp_path: Path, family: str) -> None:
    """Silence ends the exchange, and the socket is closed."""
    with local_modem(tmp_path, family) as modem, peer(silent) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                outcome = await made.carry_one(job(server.port, silence=0.9))
                assert outcome[:5] == (True, True, False, b"", False)
                assert outcome.error == "silence for 0.9 s"
                await made.settled(modem)

        run(story())


@fetched_and_pushed
def test_a_peer_that_closes_without_an_answer(tmp_path: Path, family: str) -> None:
    """Its close ends the exchange, with what it said before."""
    with local_modem(tmp_path, family) as modem, peer(answering(b"half")) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                outcome = await made.carry_one(job(server.port))
                assert outcome == Outcome(True, True, False, b"half", True, None, outcome.traffic, whole=True)
                await made.settled(modem)

        run(story())


@fetched_and_pushed
@pytest.mark.parametrize("answer", [None, b"", b"thanks"])
def test_where_the_close_is_the_receipt(tmp_path: Path, family: str, answer: bytes | None) -> None:
    """A peer that closes by itself, with or without a word, and one that waits for our end."""
    got: list[bytes] = []

    def until_our_end(connection: socket.socket) -> None:
        got.append(read_request(connection, b"nothing ends so"))

    script = until_our_end if answer is None else answering(answer)
    with local_modem(tmp_path, family) as modem, peer(script) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                outcome = await made.carry_one(
                    job(server.port, until_close=True, complete=lambda _: False, silence=1.0)
                )
                expected = Outcome(True, True, True, answer or b"", True, None, outcome.traffic, whole=True)
                assert outcome == expected
                await made.settled(modem)

        run(story())
    assert got == ([b"request\n\n"] if answer is None else [])


@fetched_and_pushed
def test_datagrams(tmp_path: Path, family: str) -> None:
    """Each arrives as it is, in whatever form the modem takes it; one it cannot take is refused for good."""
    largest = 1460 if family == "bg96" else 1024
    with local_modem(tmp_path, family) as modem, socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = server.getsockname()[1]

        async def story() -> None:
            async with rig(modem, family) as made:
                for size in (1, 250, 251, largest):
                    data = bytes(number % 251 for number in range(size))
                    outcome = await made.carry_one(job(port, data), udp=True)
                    assert outcome == Outcome(True, True, True, b"", False, None, Traffic(28 + size))
                    assert await asyncio.to_thread(server.recv, 65536) == data
                for size in (0, largest + 1):
                    outcome = await made.carry_one(job(port, bytes(size)), udp=True)
                    assert outcome[:3] == (True, False, False)
                    assert outcome.error == f"the modem's datagrams have 1 to {largest} bytes, not {size}"
                await made.settled(modem)

        run(story())


@families
def test_a_lost_context_ends_everything_and_can_be_had_again(tmp_path: Path, family: str) -> None:
    """What is under way ends at once, `on_down` is told once, nothing starts; then all is well again."""
    with local_modem(tmp_path, family) as modem, peer(silent) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                connected = asyncio.Event()
                waiting = asyncio.create_task(
                    made.carry_one(job(server.port, silence=10, on_connected=connected.set))
                )
                await connected.wait()
                modem.tell("pdp")
                outcome = await waiting
                assert outcome.connected
                assert not outcome.complete
                if family != "nova-r410":  # which tells of the sockets before it tells of the context
                    assert outcome.error == "the network ended the connection"
                await until(lambda: made.down)
                assert not made.sockets.is_up
                refused = await made.carry_one(job(server.port))
                assert (
                    refused.error == f"cannot connect to 127.0.0.1:{server.port}: the modem is not connected"
                )
                await made.sockets.bring_up("hologram")
                with peer(answering(b"[0,0]")) as other:
                    assert (await made.carry_one(job(other.port))).complete
                assert len(made.down) == 1

        run(story())


@one_family
def test_a_modem_that_goes_away(tmp_path: Path, family: str) -> None:
    """An exchange ends with the port, whatever it waits for."""
    with local_modem(tmp_path, family) as modem, peer(silent) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                connected = asyncio.Event()
                waiting = asyncio.create_task(
                    made.carry_one(job(server.port, silence=10, on_connected=connected.set))
                )
                await connected.wait()
                modem.tell("vanish")
                outcome = await waiting
                assert outcome.connected
                assert outcome.error
                assert (await made.carry_one(job(server.port))).connected is False
                assert made.down == []

        run(story())


@one_family
def test_a_modem_that_hangs(tmp_path: Path, family: str) -> None:
    """An exchange ends within its limit, and the next one is carried when the modem answers again."""
    with local_modem(tmp_path, family) as modem, peer(answering(b"[0,0]")) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                modem.tell("fault", name="hang", seconds=1.5)
                outcome = await made.carry_one(job(server.port, silence=0.3, limit=0.6))
                assert not outcome.complete
                assert outcome.error
                assert (await made.carry_one(job(server.port, silence=10, limit=20))).complete

        run(story())


@families
def test_bringing_up_leaves_nothing_behind(tmp_path: Path, family: str) -> None:
    """Sockets of before, of a bridge that was killed perhaps, are gone after coming up."""
    with local_modem(tmp_path, family) as modem, peer(silent) as server:

        async def story() -> None:
            async with rig(modem, family) as made:
                if family == "bg96":
                    await made.port.command(f'AT+QIOPEN=1,3,"TCP","127.0.0.1",{server.port},0,1')
                else:
                    for _ in range(7):
                        await made.port.command("AT+USOCR=6")
                await made.sockets.bring_up("hologram")
                await made.settled(modem)
                with peer(answering(b"[0,0]")) as other:
                    assert (await made.carry_one(job(other.port))).complete
                await made.sockets.bring_down()
                assert not made.sockets.is_up
                assert made.down == []

        run(story())


# -- inbound ---------------------------------------------------------------------------------------------

LIMITS = Limits(timeout=0.8, max_bytes=5000, deadline=3.0, allow=(ip_network("127.0.0.0/8"),))


class Disk:
    """A sink that may be slow."""

    def __init__(self) -> None:
        self.messages: list[Received] = []
        self.cost = Traffic()
        self.over_modem: set[bool] = set()
        """What the overhead was said to be."""
        self.taking = True
        self.held: list[Callable[[], None]] = []
        self.slow = False

    def received(self, message: Received, durable: Callable[[], None]) -> None:
        self.messages.append(message)
        self.held.append(durable)
        if not self.slow:
            asyncio.get_running_loop().call_soon(self.release)

    def release(self) -> None:
        held, self.held = self.held, []
        for durable in held:
            durable()

    def count_overhead(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        self.cost = self.cost.plus(traffic)
        self.over_modem.add(over_modem)

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.messages]


def inbound(
    tmp_path: Path,
    family: str,
    story: Callable[[Rig, Disk, Listener, int, LocalModem], Coroutine[Any, Any, None]],
    *,
    protocols: tuple[str, ...] = ("tcp",),
    limits: Limits = LIMITS,
) -> None:
    """Run ``story`` while a modem listens on 4010, which is ``port`` of this machine."""
    port = free_port()
    with local_modem(tmp_path, family, inbound=(4010, port)) as modem:

        async def main() -> None:
            async with rig(modem, family) as made:
                disk = Disk()
                # Never started: the machine's own port is not what is tested
                listener = Listener(made.loop, "127.0.0.1", 4010, protocols, limits, disk)
                await made.sockets.listen(listener, protocols)
                await story(made, disk, listener, port, modem)

        run(main())


def send(port: int, data: bytes, *, close: bool = True) -> bytes:
    """Connect, send, and return what comes until the other side's close."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        if close:
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            return connection.recv(1)
        return b""


@fetched_and_pushed
def test_one_connection_is_one_message(tmp_path: Path, family: str) -> None:
    """The peer's close or its silence ends it; we close when it is durable."""

    async def story(made: Rig, disk: Disk, _: Listener, port: int, modem: LocalModem) -> None:
        for size, close in ((1, True), (600, False), (5000, True)):
            data = random.Random(size).randbytes(size)
            await asyncio.to_thread(send, port, data, close=close)
            await until(lambda: disk.messages)
            message = disk.messages.pop()
            assert disk.messages == []
            assert (message.protocol, message.port, message.data) == ("tcp", 4010, data)
            assert message.peer.startswith("127.0.0.1:")
            assert message.traffic.down > size
        await made.settled(modem)

    inbound(tmp_path, family, story)


@one_family
def test_a_connection_is_held_until_its_message_is_durable(tmp_path: Path, family: str) -> None:
    """A peer that waits for our close learns by it that the message is safe."""

    async def story(made: Rig, disk: Disk, _listener: Listener, port: int, _modem: LocalModem) -> None:
        disk.slow = True
        sending = asyncio.create_task(asyncio.to_thread(send, port, b"hello", close=False))
        await until(lambda: disk.messages)
        await asyncio.sleep(0.1)
        assert not sending.done()
        disk.release()
        await sending

    inbound(tmp_path, family, story)


@fetched_and_pushed
def test_many_connections_beside_what_goes_out(tmp_path: Path, family: str) -> None:
    """Messages come in while jobs go out, and each arrives once."""

    async def story(made: Rig, disk: Disk, _: Listener, port: int, modem: LocalModem) -> None:
        with peer(answering(b"[0,0]")) as server:
            sending = [asyncio.to_thread(send, port, b"%d" % number) for number in range(3)]
            carrying = asyncio.create_task(made.carry(*[job(server.port)] * 6))
            await asyncio.gather(*sending)
            outcomes = await carrying
        assert all(outcome.complete for outcome in outcomes)
        assert sorted(disk.data) == [b"0", b"1", b"2"]
        await made.settled(modem)

    inbound(tmp_path, family, story)


@fetched_and_pushed
def test_what_is_no_message_is_counted(tmp_path: Path, family: str) -> None:
    """Too large, empty, from elsewhere, or while there is no room: closed, counted, and the next is taken."""

    async def story(made: Rig, disk: Disk, listener: Listener, port: int, modem: LocalModem) -> None:
        await asyncio.to_thread(send, port, b"x" * 5001)
        await asyncio.to_thread(send, port, b"")
        await until(lambda: (listener.counts["too_large"], listener.counts["empty"]) == (1, 1))
        listener.set_limits(LIMITS._replace(allow=(ip_network("10.0.0.0/8"),)))
        await asyncio.to_thread(send, port, b"stranger")
        await until(lambda: listener.counts["refused"] == 1)
        listener.set_limits(LIMITS)
        disk.taking = False
        await asyncio.to_thread(send, port, b"no room", close=False)
        disk.taking = True
        await asyncio.to_thread(send, port, b"welcome")
        await until(lambda: disk.data)
        assert disk.data == [b"welcome"]
        assert disk.cost.down > 5000
        assert disk.over_modem == {True}
        await made.settled(modem)

    inbound(tmp_path, family, story)


@one_family
def test_a_message_without_an_end_is_cut(tmp_path: Path, family: str) -> None:
    """A peer that never falls silent is closed at the deadline."""

    async def story(_made: Rig, disk: Disk, listener: Listener, port: int, _modem: LocalModem) -> None:
        def drip() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.settimeout(0.1)
                for _ in range(50):
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        connection.sendall(b"x")
                        if not connection.recv(1):
                            return
            raise AssertionError("it was never closed")

        await asyncio.to_thread(drip)
        assert disk.data == []
        assert listener.counts["cut"] == 1

    inbound(tmp_path, family, story, limits=LIMITS._replace(deadline=1.0))


@fetched_and_pushed
def test_one_datagram_is_one_message(tmp_path: Path, family: str) -> None:
    """Each with its sender; TCP on the same port beside it."""

    async def story(_: Rig, disk: Disk, _listener: Listener, port: int, _modem: LocalModem) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            peer_name = f"127.0.0.1:{sender.getsockname()[1]}"
            for number in range(3):
                sender.sendto(b"datagram %d" % number, ("127.0.0.1", port))
            await until(lambda: not (len(disk.messages) < 3))
        assert [(m.protocol, m.peer, m.data) for m in disk.messages] == [
            ("udp", peer_name, b"datagram %d" % number) for number in range(3)
        ]
        await asyncio.to_thread(send, port, b"stream")
        await until(lambda: disk.data[-1] == b"stream")
        assert all(each.over_modem for each in disk.messages), "it went over the SIM"

    inbound(tmp_path, family, story, protocols=("tcp", "udp"))


@families
def test_listening_ends_with_the_context_and_begins_again(tmp_path: Path, family: str) -> None:
    """After the context is back, listening is asked for again; stopping leaves nothing open."""

    async def story(made: Rig, disk: Disk, listener: Listener, port: int, modem: LocalModem) -> None:
        modem.tell("pdp")
        await until(lambda: made.down)
        with pytest.raises(ModemError, match="not connected"):
            await made.sockets.listen(listener)
        await made.sockets.bring_up("hologram")
        await made.sockets.listen(listener)
        await asyncio.to_thread(send, port, b"again")
        await until(lambda: disk.data == [b"again"])
        await made.sockets.stop_listening()
        await until(lambda: not (sockets_of(modem)))

    inbound(tmp_path, family, story)


# -- modems that behave as none should, scripted ---------------------------------------------------------


@contextlib.asynccontextmanager
async def scripted(
    family: str, replies: dict[str, Reply], *, connecting: float = 40.0
) -> AsyncIterator[tuple[Rig, ScriptedModem]]:
    made = Rig(replace(by_interface(f"cellular-{family}"), connect_timeout=connecting))
    up: dict[str, Reply] = {
        "AT+UPSND=0,8": b"\r\n+UPSND: 0,8,0\r\n\r\nOK\r\n",
        "AT+UPSND=0,0": b'\r\n+UPSND: 0,0,"10.0.0.2"\r\n\r\nOK\r\n',
    }
    with ScriptedModem(up | replies) as modem:
        await made.port.open(modem.path)
        try:
            assert await made.sockets.bring_up("hologram") == (None if family == "bg96" else "10.0.0.2")
            yield made, modem
        finally:
            await made.sockets.close()
            made.port.close()


def test_a_slow_connection_of_one_is_not_the_silence_of_another() -> None:
    """While one peer's connecting holds the AT port, the jobs of others wait, and are carried afterwards."""

    async def story() -> None:
        numbers = iter(range(7))

        def create(_: str) -> bytes:
            return b"\r\n+USOCR: %d\r\n\r\nOK\r\n" % next(numbers)

        async with scripted("nova-u201", {"AT+USOCR=6": create, 'AT+USOCO=0,"10.0.0.9",1': None}) as (
            made,
            modem,
        ):
            modem.replies['AT+USOWR=1,1,"41"'] = b"\r\n+USOWR: 1,1\r\n\r\nOK\r\n\r\n+UUSORD: 1,1\r\n"
            modem.replies["AT+USORD=1,512"] = b'\r\n+USORD: 1,1,"5D"\r\n\r\nOK\r\n'
            dead = asyncio.create_task(made.carry_one(job(1, b"A", host="10.0.0.9", silence=0.3)))
            await until(lambda: not ('AT+USOCO=0,"10.0.0.9",1' not in modem.heard))
            alive = asyncio.create_task(made.carry_one(job(2, b"A", host="10.0.0.8", silence=0.6)))
            outcome = await dead
            assert outcome.error == "cannot connect to 10.0.0.9:1: no answer"
            await asyncio.sleep(0.8)
            assert not alive.done()
            modem.say(b"\r\n+CME ERROR: operation not allowed\r\n")
            assert (await alive).complete

    run(story())


def test_a_modem_that_hangs_while_it_connects_is_noticed_after_the_time_of_its_kind() -> None:
    """Until then it could be connecting; the next question finds that it does not answer."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            "AT+USOCR=6": b"\r\n+USOCR: 0\r\n\r\nOK\r\n",
            'AT+USOCO=0,"10.0.0.9",1': None,
        }
        async with scripted("nova-u201", replies, connecting=0.6) as (made, modem):
            asked = asyncio.create_task(made.carry_one(job(1, b"A", host="10.0.0.9", silence=0.2)))
            await until(lambda: 'AT+USOCO=0,"10.0.0.9",1' in modem.heard)
            modem.hung = True
            with pytest.raises(ModemSilent):
                async with asyncio.timeout(30):
                    await made.port.command("AT+CSQ", timeout=1)
            assert (await asked).connected is False

    run(story())


def test_codes_that_make_no_sense_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """Codes about sockets that nobody has, and broken ones, disturb nothing; the broken are said once."""

    async def story() -> None:
        async with scripted("nova-u201", {}) as (made, modem):
            for line in (
                "+UUSORD: 5,1",
                "+UUSOCL: 5",
                '+UUSOLI: 3,"10.0.0.1",5,0,"",4010',
                "+UUSORD:",
                "+UUSOLI: 1",
                "+UUSORD:",
                "+UUSOLI: 2",
            ):
                modem.say(f"\r\n{line}\r\n".encode())
            assert (await made.port.command("AT")).final == "OK"
            assert made.sockets.is_up

    run(story())
    said = [each.partition("left out: ")[2] for each in caplog.messages if "cannot be read" in each]
    assert said == ["'+UUSORD:'", "'+UUSOLI: 1'"]


def test_bytes_lost_on_the_way_end_the_connection() -> None:
    """A pushed piece that is shorter than announced is no answer."""

    async def story() -> None:
        def opened(_: str) -> bytes:
            return b"\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n"

        replies: dict[str, Reply] = {
            'AT+QIOPEN=1,0,"TCP","10.0.0.9",1,0,1': opened,
            'AT+QISENDEX=0,"41"': b'\r\nSEND OK\r\n\r\n+QIURC: "recv",0,9\r\n[0,',
        }
        async with scripted("bg96", replies) as (made, modem):
            outcome = await made.carry_one(job(1, b"A", host="10.0.0.9", silence=5))
            assert outcome.error == "bytes were lost between the modem and us"
            assert not outcome.complete
            await until(lambda: not ("AT+QICLOSE=0,10" not in modem.heard))

    run(story())


@pytest.mark.parametrize("said", [b'+USORD: 0,9,"5B30"', b'+USORD: 3,2,"5B5D"', b'+USORD: 0,2,"5B5"'])
def test_bytes_that_are_not_the_sockets_or_not_all_end_the_connection(said: bytes) -> None:
    """A piece that lost bytes on the line would leave a hole; one of another socket is nobody's answer."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+USOWR=0,1,"41"': b"\r\n+USOWR: 0,1\r\n\r\nOK\r\n\r\n+UUSORD: 0,9\r\n",
            "AT+USORD=0,512": b"\r\n" + said + b"\r\n\r\nOK\r\n",
        }
        async with scripted("nova-u201", CREATED | replies) as (made, _):
            outcome = await made.carry_one(job(1, b"A", host="10.0.0.9", silence=5))
            assert outcome.error == "bytes were lost between the modem and us"
            assert (outcome.complete, outcome.answer) == (False, b"")

    run(story())


def test_a_send_that_fails_may_have_left() -> None:
    """SEND FAIL of a modem that knows the socket no more ends the exchange; something may be on its way."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+QIOPEN=1,0,"TCP","10.0.0.9",1,0,1': b"\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n",
            'AT+QISENDEX=0,"41"': b"\r\nSEND FAIL\r\n",
            "AT+QISEND=0,0": b"\r\nERROR\r\n",
        }
        async with scripted("bg96", replies) as (made, _):
            outcome = await made.carry_one(job(1, b"A", host="10.0.0.9"))
            assert outcome[:3] == (True, True, False)
            assert "SEND FAIL" in (outcome.error or "")
            assert "41" not in (outcome.error or "")

    run(story())


UP_R4: dict[str, Reply] = {"AT+CGPADDR=1": b'\r\n+CGPADDR: 1,"10.0.0.2"\r\n\r\nOK\r\n'}
CREATED: dict[str, Reply] = {"AT+USOCR=6": b"\r\n+USOCR: 0\r\n\r\nOK\r\n"}


@pytest.mark.parametrize(
    "said",
    [
        b"+USOWR: 0,1\r\n\r\nOK",
        b"+CME ERROR: operation not allowed",
        b"OK",
        b"+USOWR: 3,5\r\n\r\nOK",
        b"+USOWR: 0,9\r\n\r\nOK",
    ],
    ids=["too small a number", "a full queue", "no number", "another's number", "too large a number"],
)
def test_the_modem_is_asked_what_a_write_has_taken(said: bytes) -> None:
    """Its word on all that it has taken decides what is written next: two of these five bytes."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+USOWR=0,5,"4142434445"': b"\r\n" + said + b"\r\n",
            "AT+USOCTL=0,1": b"\r\n+USOCTL: 0,1,11\r\n\r\nOK\r\n",
            "AT+USOCTL=0,2": b"\r\n+USOCTL: 0,2,2\r\n\r\nOK\r\n",
            'AT+USOWR=0,3,"434445"': b"\r\n+USOWR: 0,3\r\n\r\nOK\r\n\r\n+UUSORD: 0,1\r\n",
            "AT+USORD=0,512": b'\r\n+USORD: 0,1,"5D"\r\n\r\nOK\r\n',
        }
        async with scripted("nova-r410", UP_R4 | CREATED | replies) as (made, modem):
            outcome = await made.carry_one(job(1, b"ABCDE", host="10.0.0.9"))
            assert outcome.complete, outcome.error
            writes = [each for each in modem.heard if each.startswith("AT+USOWR")]
            assert writes == ['AT+USOWR=0,5,"4142434445"', 'AT+USOWR=0,3,"434445"']

    run(story())


@pytest.mark.parametrize("said", [b"OK", b"+USOCTL: 0,11,0\r\n\r\nOK", b"ERROR"])
def test_a_write_of_which_the_modem_says_nothing_has_not_been_taken(said: bytes) -> None:
    """Neither is the rest written behind a hole, nor all of it twice: the exchange ends in doubt."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+USOWR=0,5,"4142434445"': b"\r\nOK\r\n",
            "AT+USOCTL=0,2": b"\r\n" + said + b"\r\n",
        }
        async with scripted("nova-r410", UP_R4 | CREATED | replies) as (made, modem):
            outcome = await made.carry_one(job(1, b"ABCDE", host="10.0.0.9"))
            assert outcome[:3] == (True, True, False)
            assert "does not say how much" in (outcome.error or "")
            assert len([each for each in modem.heard if each.startswith("AT+USOWR")]) == 1

    run(story())


def test_a_refused_send_of_which_the_modem_says_nothing_is_not_given_twice() -> None:
    """SEND FAIL, and no word on what was taken before: it may be all of it."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+QIOPEN=1,0,"TCP","10.0.0.9",1,0,1': b"\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n",
            'AT+QISENDEX=0,"41"': b"\r\nSEND FAIL\r\n",
            "AT+QISEND=0,0": b"\r\nOK\r\n",
        }
        async with scripted("bg96", replies) as (made, modem):
            outcome = await made.carry_one(job(1, b"A", host="10.0.0.9"))
            assert outcome[:3] == (True, True, False)
            assert modem.heard.count('AT+QISENDEX=0,"41"') == 1

    run(story())


@pytest.mark.parametrize("said", [b"OK", b"+USOST: 2,1\r\n\r\nOK", b"+USOST: 0,0\r\n\r\nOK"])
def test_a_datagram_is_sent_by_the_modems_word_on_it(said: bytes) -> None:
    """A success that names no bytes, fewer, or another socket, is none."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            "AT+USOCR=17": b"\r\n+USOCR: 0\r\n\r\nOK\r\n",
            'AT+USOST=0,"10.0.0.9",1,1,"41"': b"\r\n" + said + b"\r\n",
        }
        async with scripted("nova-u201", replies) as (made, modem):
            transport = made.sockets.datagrams
            ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            transport.start(job(1, b"A", host="10.0.0.9"), ended.set_result)
            outcome = await ended
            assert outcome[:3] == (False, False, False)
            assert outcome.traffic == Traffic(29), "it may have left"
            modem.replies['AT+USOST=0,"10.0.0.9",1,1,"41"'] = b"\r\n+USOST: 0,1\r\n\r\nOK\r\n"
            again: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            transport.start(job(1, b"A", host="10.0.0.9"), again.set_result)
            assert (await again)[:3] == (True, True, True)

    run(story())


def test_a_write_that_is_refused_for_another_reason_ends_the_exchange() -> None:
    """Only a full queue is waited for."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+USOWR=0,1,"41"': b"\r\n+CME ERROR: operation not allowed\r\n",
            "AT+USOCTL=0,1": b"\r\n+USOCTL: 0,1,32\r\n\r\nOK\r\n",
        }
        async with scripted("nova-u201", CREATED | replies) as (made, modem):
            outcome = await made.carry_one(job(1, b"A", host="10.0.0.9"))
            assert outcome[:3] == (True, True, False)
            assert "operation not allowed" in (outcome.error or "")
            assert modem.heard.count('AT+USOWR=0,1,"41"') == 1

    run(story())


@pytest.mark.parametrize(
    ("family", "replies", "write", "done"),
    [
        ("nova-r410", UP_R4 | CREATED, 'AT+USOWR=0,1,"41"', b"\r\n+USOWR: 0,1\r\n\r\nOK\r\n"),
        (
            "bg96",
            {'AT+QIOPEN=1,0,"TCP","10.0.0.9",1,0,1': b"\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n"},
            'AT+QISENDEX=0,"41"',
            b"\r\nSEND OK\r\n",
        ),
    ],
    ids=["nova-r410", "bg96"],
)
def test_a_write_that_takes_two_minutes_is_no_silence_of_the_modem(
    family: str, replies: dict[str, Reply], write: str, done: bytes
) -> None:
    """The exchange ends at its deadline; others wait for the port, and the modem is in step afterwards."""

    async def story() -> None:
        async with scripted(family, replies | {write: None}) as (made, modem):
            exchange = asyncio.create_task(made.carry_one(job(1, b"A", host="10.0.0.9", silence=5, limit=30)))
            await until(lambda: write in modem.heard)
            question = asyncio.create_task(made.port.command("AT+CSQ"))
            await asyncio.sleep(0)
            leap(31)
            outcome = await exchange
            assert outcome[:3] == (True, True, False)
            assert outcome.error == "the exchange took longer than 30 s"
            leap(88)
            await asyncio.sleep(0)
            modem.say(done)
            assert (await question).final == "OK"
            assert "AT" not in modem.heard, "nobody had to find out which answer is whose"

    run(story(), 300)


@pytest.mark.parametrize(
    ("apn", "asked"), [("hologram", False), ("other", True), ("", True)], ids=["set", "another", "none"]
)
def test_an_apn_that_is_refused_is_gone_on_without(apn: str, asked: bool) -> None:
    """It is set only where it is another; a SARA-R4 that refuses it while attached comes up all the same."""

    async def story() -> None:
        command = 'AT+CGDCONT=1,"IP","hologram"'
        context = b'\r\n+CGDCONT: 1,"IP","%s"\r\n' % apn.encode() if apn else b""
        replies: dict[str, Reply] = {
            "AT+CGDCONT?": context + b"\r\nOK\r\n",
            command: b"\r\n+CME ERROR: operation not allowed\r\n",
        }
        async with scripted("nova-r410", UP_R4 | replies) as (made, modem):
            assert made.sockets.is_up
            assert (command in modem.heard) is asked

    run(story())


def test_a_peer_that_does_not_acknowledge_has_not_taken_it() -> None:
    """Where the close is the receipt, we do not close on a peer that lacks bytes: its silence is reported."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+QIOPEN=1,0,"TCP","10.0.0.9",1,0,1': b"\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n",
            'AT+QISENDEX=0,"41"': b"\r\nSEND OK\r\n",
            "AT+QISEND=0,0": b"\r\n+QISEND: 1,0,1\r\n\r\nOK\r\n",
        }
        async with scripted("bg96", replies) as (made, modem):
            outcome = await made.carry_one(job(1, b"A", host="10.0.0.9", silence=0.8, until_close=True))
            assert outcome[:3] == (True, True, False)
            assert outcome.error == "silence for 0.8 s"
            assert "AT+QISEND=0,0" in modem.heard

    run(story())


@pytest.mark.parametrize("waiting", [0, 1])
def test_an_orderly_exchange_tells_what_the_peer_has_taken(waiting: int) -> None:
    """Silence is one thing to a peer that has acknowledged everything, another to one that has not."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+QIOPEN=1,0,"TCP","10.0.0.9",1,0,1': b"\r\nOK\r\n\r\n+QIOPEN: 0,0\r\n",
            'AT+QISENDEX=0,"41"': b"\r\nSEND OK\r\n",
            "AT+QISEND=0,0": b"\r\n+QISEND: 1,%d,%d\r\n\r\nOK\r\n" % (1 - waiting, waiting),
        }
        async with scripted("bg96", replies) as (made, _):
            outcome = await made.carry_one(job(1, b"A", host="10.0.0.9", silence=0.8, orderly=True))
            assert outcome.error == "silence for 0.8 s"
            assert outcome.whole is not bool(waiting)

    run(story())


def test_closing_ends_what_is_under_way() -> None:
    """Every job is told its end, wherever it is: waiting for a socket, creating one, connecting."""

    async def story() -> None:
        numbers = iter(range(7))

        def create(_: str) -> bytes | None:
            number = next(numbers)
            return b"\r\n+USOCR: %d\r\n\r\nOK\r\n" % number if number < 1 else None

        async with scripted("nova-u201", {"AT+USOCR=6": create, 'AT+USOCO=0,"10.0.0.9",1': None}) as (
            made,
            modem,
        ):
            carrying = asyncio.create_task(made.carry(*[job(1, host="10.0.0.9")] * 3))
            await until(lambda: 'AT+USOCO=0,"10.0.0.9",1' in modem.heard)
            await made.sockets.close()
            for outcome in await carrying:
                assert outcome.error == "cannot connect to 10.0.0.9:1: the modem's sockets were closed"

    run(story())


def test_threads_are_not_left_behind() -> None:
    """Opening and closing ports leaves no thread running."""

    async def story() -> None:
        for _ in range(5):
            async with scripted("nova-u201", {}):
                pass

    before = threading.active_count()
    run(story())
    deadline = threading.Event()
    for _ in range(200):
        if threading.active_count() <= before:
            break
        deadline.wait(0.01)
    assert threading.active_count() <= before


def _acknowledging(*left: int) -> Callable[[str], bytes]:
    """Answer what is outstanding, one of these after the other; with the last of them the answer comes."""
    figures = list(left)

    def reply(_: str) -> bytes:
        figure = figures.pop(0) if len(figures) > 1 else figures[0]
        said = b"\r\n+USOCTL: 0,11,%d\r\n\r\nOK\r\n" % figure
        return said if figure else said + b"\r\n+UUSORD: 0,1\r\n"

    return reply


def test_what_the_peer_acknowledges_of_what_the_modem_has_is_life() -> None:
    """A modem takes a request at once that a slow link carries for long: while bytes pass, no silence."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+USOWR=0,5,"4142434445"': b"\r\n+USOWR: 0,5\r\n\r\nOK\r\n",
            "AT+USOCTL=0,11": _acknowledging(5, 4, 3, 2, 1, 0),
            "AT+USORD=0,512": b'\r\n+USORD: 0,1,"5D"\r\n\r\nOK\r\n',
        }
        async with scripted("nova-u201", CREATED | replies) as (made, _):
            begun = made.loop.time()
            outcome = await made.carry_one(job(1, b"ABCDE", host="10.0.0.9", silence=0.6, limit=10))
            assert outcome.complete, outcome.error
            assert made.loop.time() - begun > 2 * 0.6

    run(story())


def test_what_the_peer_no_longer_acknowledges_is_silence() -> None:
    """The modem has the rest, and the peer takes none of it."""

    async def story() -> None:
        replies: dict[str, Reply] = {
            'AT+USOWR=0,5,"4142434445"': b"\r\n+USOWR: 0,5\r\n\r\nOK\r\n",
            "AT+USOCTL=0,11": b"\r\n+USOCTL: 0,11,3\r\n\r\nOK\r\n",
        }
        async with scripted("nova-u201", CREATED | replies) as (made, _):
            outcome = await made.carry_one(job(1, b"ABCDE", host="10.0.0.9", silence=0.6, limit=30))
            assert outcome.error == "silence for 0.6 s"

    run(story())


def test_a_full_queue_of_which_the_peer_takes_nothing_is_silence() -> None:
    """A modem whose queue is full of what the peer does not acknowledge waits for the peer, as we do."""

    async def story() -> None:
        writes: list[str] = []

        def write(text: str) -> bytes:
            writes.append(text)
            first = b"\r\n+USOWR: 0,250\r\n\r\nOK\r\n"
            return first if len(writes) == 1 else b"\r\n+CME ERROR: operation not allowed\r\n"

        request = bytes(300)
        replies: dict[str, Reply] = {
            f'AT+USOWR=0,250,"{bytes(250).hex()}"': write,
            f'AT+USOWR=0,50,"{bytes(50).hex()}"': write,
            "AT+USOCTL=0,1": b"\r\n+USOCTL: 0,1,11\r\n\r\nOK\r\n",
            "AT+USOCTL=0,2": b"\r\n+USOCTL: 0,2,250\r\n\r\nOK\r\n",
            "AT+USOCTL=0,11": b"\r\n+USOCTL: 0,11,250\r\n\r\nOK\r\n",
        }
        async with scripted("nova-u201", CREATED | replies) as (made, _):
            outcome = await made.carry_one(job(1, request, host="10.0.0.9", silence=0.6, limit=20))
            assert outcome.error == "silence for 0.6 s"

    run(story())


# -- commands --------------------------------------------------------------------------------------------


class Desk:
    """Answers each command, or refuses it."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.answers: list[str | None] = []
        self.sent = 0

    def called(self, data: bytes, peer: str, caller: Caller) -> None:
        assert peer.startswith("127.0.0.1:")
        self.calls.append(data)
        answer = self.answers.pop(0)
        if answer is None:
            caller.refuse()
        else:
            caller.answer(answer, self._is_sent)

    def _is_sent(self) -> None:
        self.sent += 1

    def datagram(self, peer: str) -> None:
        raise AssertionError(peer)

    def count_refused(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        assert (traffic.down > 0, over_modem) == (True, True)


def ask(port: int, line: bytes, *, close: bool = False) -> bytes:
    """Send a line; return the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(line)
        if close:
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError), connection.makefile("rb") as answer:
            return answer.read()
        return b""


@fetched_and_pushed
def test_a_command_is_answered_on_its_connection(tmp_path: Path, family: str) -> None:
    """Answers of any length; a refused one is closed, and so is one whose peer has closed already."""
    desk = Desk()
    desk.answers = ["ok", "x" * 2000, None, "ok"]

    async def story(made: Rig, disk: Disk, listener: Listener, port: int, modem: LocalModem) -> None:
        listener.commands = desk
        assert await asyncio.to_thread(ask, port, b"hb1 a\n") == b"ok\n"
        assert await asyncio.to_thread(ask, port, b"hb1 b\r\n") == b"x" * 2000 + b"\n"
        assert await asyncio.to_thread(ask, port, b"hb1 c\n") == b""
        await asyncio.to_thread(ask, port, b"hb1 d", close=True)
        await until(lambda: desk.sent == 3)
        assert desk.calls == [b"hb1 a\n", b"hb1 b\r\n", b"hb1 c\n", b"hb1 d"]
        assert (disk.messages, disk.over_modem) == ([], {True})
        await made.settled(modem)

    inbound(tmp_path, family, story, limits=LIMITS._replace(command=b"hb1 "))

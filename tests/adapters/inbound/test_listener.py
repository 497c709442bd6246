"""The inbound port over real sockets."""

import asyncio
import contextlib
import logging
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.inbound.listener import Limits, Listener
from bridge.adapters.inbound.port import Caller, Commands, open_socket
from bridge.core.inbound import Received
from bridge.core.messages import Traffic
from tests.harness import eventually, free_port
from tests.harness.needs import IPV6

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
LIMITS = Limits(timeout=0.4, max_bytes=65536, max_connections=64, deadline=2.0, allow=LOOPBACK)


class Disk:
    """A sink that can be full or slow."""

    def __init__(self) -> None:
        self.messages: list[Received] = []
        self.cost = Traffic()
        self.taking = True
        self.slow = False
        self._held: list[Callable[[], None]] = []

    def received(self, message: Received, durable: Callable[[], None]) -> None:
        self.messages.append(message)
        self._held.append(durable)
        if not self.slow:
            asyncio.get_running_loop().call_soon(self.release)

    def release(self) -> None:
        held, self._held = self._held, []
        for durable in held:
            durable()

    def count_overhead(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        assert not over_modem
        self.cost = self.cost.plus(traffic)

    @property
    def data(self) -> list[bytes]:
        return [message.data for message in self.messages]


class Running:
    """A listener on a loop in a thread of its own."""

    def __init__(self, listener: Listener, disk: Disk, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.listener = listener
        self.disk = disk
        self.port = port
        self._loop = loop

    def do(self, call: Callable[[], Any]) -> Any:
        """Run ``call`` in the loop."""

        async def run() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(5)

    def count(self, name: str) -> int:
        return self.listener.counts[name]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def meet_reset(self) -> None:
        """Connect and be reset, which may come before `connect` returns."""
        with pytest.raises(ConnectionResetError):
            self.connect().recv(1)

    def trickle(self, connection: socket.socket) -> None:
        """Send a byte every now and then, up to 10 seconds."""
        for _ in range(100):
            connection.sendall(b"x")
            threading.Event().wait(0.1)

    def send(self, data: bytes, *, reset: bool = False) -> bytes:
        """Send and end the message; return what comes back until the listener closes."""
        with self.connect() as connection:
            connection.sendall(data)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return b""
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(10)


@contextlib.contextmanager
def listening(
    limits: Limits = LIMITS,
    host: str = "127.0.0.1",
    port: int = 0,
    protocols: tuple[str, ...] = ("tcp", "udp"),
    *,
    wait: bool = True,
    commands: Commands | None = None,
) -> Iterator[Running]:
    """Run a listener until the block ends; an error in its loop fails the test."""
    loop = asyncio.new_event_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    disk = Disk()
    listener = Listener(loop, host, port or free_port(), protocols, limits, disk, commands=commands)
    running = Running(listener, disk, loop, port or 0)
    running.port = running.listener.port
    running.do(running.listener.start)
    try:
        if wait:
            eventually(lambda: len(running.listener.figures()["listening"]) == len(protocols))
        yield running
        assert running.do(lambda: not running.listener.waiting) or disk.slow
    finally:
        running.do(running.listener.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
    assert errors == []


# -- messages --------------------------------------------------------------------------------------------


def test_one_connection_is_one_message() -> None:
    """What a peer writes until it closes is one message, with its peer, port and protocol."""
    with listening() as running:
        with running.connect() as connection:
            peer = "{}:{}".format(*connection.getsockname())
            for piece in (b"a\0b", b"\xff\xfe", b"\r\n"):
                connection.sendall(piece)
        eventually(lambda: running.disk.messages)
        [message] = running.disk.messages
        assert message[:4] == ("tcp", peer, running.port, b"a\0b\xff\xfe\r\n")
        assert running.count("received") == 1


def test_a_clean_close_says_that_the_message_is_durable() -> None:
    """The peer sees the end of the connection only once the message is on the disk."""
    with listening() as running:
        running.disk.slow = True
        with running.connect() as connection:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            eventually(lambda: running.disk.messages)
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(5)
            running.do(running.disk.release)
            assert connection.recv(1) == b""


def test_a_message_that_did_not_become_durable_is_reset() -> None:
    """A listener that ends before the disk has the message resets the connection, as a crash would."""
    with listening() as running:
        running.disk.slow = True
        with running.connect() as connection:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            eventually(lambda: running.disk.messages)
            running.do(running.listener.close)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)


def test_silence_ends_a_message() -> None:
    """A peer that keeps the connection open and falls silent has ended its message."""
    with listening(LIMITS._replace(timeout=1.5)) as running, running.connect() as connection:
        connection.sendall(b"half")
        threading.Event().wait(0.2)
        connection.sendall(b" and half")
        assert connection.recv(1) == b"", "the listener closes after the silence"
        assert running.disk.data == [b"half and half"]


def test_an_empty_connection_is_counted_and_no_message() -> None:
    """Connect and close, or connect and silence, count as empty."""
    with listening() as running:
        running.connect().close()
        eventually(lambda: running.count("empty") == 1)
        with running.connect() as silent:
            with pytest.raises(ConnectionResetError):
                silent.recv(1)
            eventually(lambda: running.count("empty") == 2)
        assert running.disk.messages == []
        assert running.disk.cost.up > 0
        assert running.disk.cost.down > 0


def test_a_slow_sender_is_cut_at_the_deadline() -> None:
    """One byte before every silence, for ever, ends at the deadline: cut, not published, reset."""
    # On a busy machine the pause between two bytes may exceed the usual silence, which would end the message.
    limits = LIMITS._replace(timeout=LIMITS.deadline * 5)
    with listening(limits) as running, running.connect() as connection:
        with pytest.raises(OSError, match=r"reset|pipe"):
            running.trickle(connection)
        eventually(lambda: running.count("cut") == 1)
        assert running.disk.messages == []


def test_a_large_message_over_a_slow_link_is_taken() -> None:
    """Bytes that come at a link's pace are life: the deadline is for who sends next to nothing."""
    data = os.urandom(20_000)
    with listening(LIMITS._replace(timeout=2, deadline=0.5)) as running, running.connect() as connection:
        for start in range(0, len(data), 1000):
            connection.sendall(data[start : start + 1000])
            threading.Event().wait(0.1)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"", "it is durable"
        assert running.disk.data == [data]
        assert running.count("cut") == 0


def test_a_reset_in_the_middle_is_no_message() -> None:
    """Bytes before a reset are not a whole message: counted as broken."""
    with listening() as running:
        running.send(b"beginning", reset=True)
        eventually(lambda: running.count("broken") == 1)
        assert running.disk.messages == []


@pytest.mark.parametrize("size", [1, 65535, 65536])
def test_messages_up_to_the_limit(size: int) -> None:
    """A message of exactly max_bytes is taken."""
    data = os.urandom(size)
    with listening() as running:
        assert running.send(data) == b""
        assert running.disk.data == [data]


@pytest.mark.parametrize("size", [65537, 10_000_000])
def test_a_message_over_the_limit_is_dropped_whole(size: int) -> None:
    """One byte too many, or millions: nothing of it is published, the peer is reset."""
    with listening() as running:  # which call of the peer meets the reset depends on when it comes
        with pytest.raises(OSError, match=r"reset|pipe|not connected"):
            running.send(b"x" * size)
        eventually(lambda: running.count("too_large") == 1)
        assert running.disk.messages == []
        assert running.send(b"next") == b"", "the next one is fine"
        assert running.disk.data == [b"next"]


def test_traffic_is_what_the_ip_layer_carried() -> None:
    """A connection of 100 bytes costs its packets: SYN-ACK, ACK, FIN up; SYN, ACK, data, FIN, ACK down."""
    with listening() as running:
        running.send(b"x" * 100)
        [message] = running.disk.messages
        up, down = message.traffic
        timestamps = Path("/proc/sys/net/ipv4/tcp_timestamps").read_text().strip() != "0"
        syn, segment = (60, 52) if timestamps else (52, 40)
        # The peer's FIN may ride with its data.
        assert up in (syn + 2 * segment, syn + 3 * segment)
        assert down in (syn + 3 * segment + 100, syn + 4 * segment + 100)


# -- udp -------------------------------------------------------------------------------------------------


def test_one_datagram_is_one_message() -> None:
    """A datagram is a message, an empty one is counted, one over the limit dropped."""
    with listening(LIMITS._replace(max_bytes=1000)) as running:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            for data in (b"\0\xff", b"", b"x" * 1001, b"y" * 1000):
                sock.sendto(data, ("127.0.0.1", running.port))
            peer = "{}:{}".format(*sock.getsockname())
        eventually(lambda: running.count("received") == 2)
        assert running.disk.messages == [
            Received("udp", peer, running.port, b"\0\xff", Traffic(0, 30)),
            Received("udp", peer, running.port, b"y" * 1000, Traffic(0, 1028)),
        ]
        assert (running.count("empty"), running.count("too_large")) == (1, 1)


def test_datagrams_are_dropped_while_the_disk_is_full() -> None:
    """UDP cannot wait: what comes then is dropped and counted."""
    with listening() as running, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        running.disk.taking = False
        for _ in range(5):
            sock.sendto(b"x", ("127.0.0.1", running.port))
        eventually(lambda: running.count("dropped") == 5)
        running.disk.taking = True
        sock.sendto(b"y", ("127.0.0.1", running.port))
        eventually(lambda: running.disk.data == [b"y"])


def test_what_waits_for_the_disk_is_bounded() -> None:
    """A flood of datagrams on a disk that stands still: some megabytes are held, the rest dropped."""
    with listening() as running, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        running.disk.slow = True
        for _ in range(100_000):
            sock.sendto(b"x" * 60_000, ("127.0.0.1", running.port))
            if running.count("dropped"):
                break
        assert running.count("dropped")
        assert sum(map(len, running.disk.data)) < 9_000_000
        running.do(running.disk.release)


# -- bounds ----------------------------------------------------------------------------------------------


def test_connections_beyond_the_limit_wait_in_the_backlog() -> None:
    """With one connection allowed a second one is served when the first has ended; none is refused."""
    with listening(LIMITS._replace(max_connections=1, timeout=5, deadline=10)) as running:
        first, second = running.connect(), running.connect()
        with first, second:
            first.sendall(b"1")
            second.sendall(b"2")
            second.shutdown(socket.SHUT_WR)
            eventually(lambda: running.listener.figures()["open"] == 1)
            second.settimeout(0.3)
            with pytest.raises(TimeoutError):
                second.recv(1)
            second.settimeout(5)
            first.shutdown(socket.SHUT_WR)
            assert (first.recv(1), second.recv(1)) == (b"", b"")
        assert running.disk.data == [b"1", b"2"]


def test_connections_wait_while_the_disk_is_full() -> None:
    """While there is no room nothing is accepted, and nothing lost: it comes in when there is room again."""
    with listening() as running:
        running.disk.taking = False
        with running.connect() as connection:
            connection.sendall(b"patient")
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            running.disk.taking = True
            connection.settimeout(5)
            assert connection.recv(1) == b""
        assert running.disk.data == [b"patient"]


def test_a_thousand_connections_at_once() -> None:
    """A thousand peers at once, 64 served at a time: every message comes, whole and once."""
    messages = [os.urandom(random.randint(1, 5000)) for _ in range(1000)]
    with listening(LIMITS._replace(timeout=5, deadline=30)) as running:
        connections = [running.connect() for _ in messages]
        for connection, data in zip(connections, messages, strict=True):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        for connection in connections:
            assert connection.recv(1) == b""
            connection.close()
        assert sorted(running.disk.data) == sorted(messages)


def test_abuse_leaves_the_port_in_order() -> None:
    """Scans, resets, floods and random bytes, all at once: the messages among them come, nothing else."""
    good = [b"good" + os.urandom(100) for _ in range(200)]

    def scan(running: Running) -> None:
        for _ in range(100):
            running.connect().close()

    def broken(running: Running) -> None:
        for _ in range(50):
            running.send(os.urandom(500), reset=True)

    def flood(running: Running) -> None:
        for _ in range(3):
            with contextlib.suppress(OSError):
                running.send(os.urandom(10_000_000))

    with listening(LIMITS._replace(timeout=5, deadline=20)) as running, ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(job, running) for job in (scan, broken, flood) * 2]
        for data in good:
            assert running.send(data) == b""
        for job in jobs:
            job.result(30)
        eventually(lambda: running.listener.figures()["open"] == 0)
        assert sorted(running.disk.data) == sorted(good)
        counts = running.listener.counts
        assert (counts["empty"], counts["broken"], counts["too_large"]) == (200, 100, 6)


# -- who may, and where ----------------------------------------------------------------------------------


def test_peers_outside_allow_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    """They are reset at once and counted; one line says how to let them in, not one for each."""
    caplog.set_level(logging.WARNING)
    with listening(LIMITS._replace(allow=(ip_network("10.176.0.0/16"),))) as running:
        for _ in range(20):
            running.meet_reset()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("127.0.0.1", running.port))
        eventually(lambda: running.count("refused") == 21)
        assert running.disk.messages == []
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        'refused 127.0.0.1 (tcp): it is not in inbound.allow; add "127.0.0.1/32" there to let it in'
    ]


def test_new_limits_count_at_once() -> None:
    """A reload can let a peer in."""
    with listening(LIMITS._replace(allow=())) as running:
        running.meet_reset()
        running.do(lambda: running.listener.set_limits(LIMITS))
        assert running.send(b"now") == b""
        assert running.disk.data == [b"now"]


@IPV6
def test_ipv6_takes_both_families() -> None:
    """``::`` listens on IPv6 and IPv4; an IPv4 peer looks like one."""
    with listening(host="::") as running:
        running.send(b"four")
        with socket.create_connection(("::1", running.port)) as connection:
            connection.sendall(b"six")
        eventually(lambda: running.count("received") == 2)
        assert [message.peer.rpartition(":")[0] for message in running.disk.messages] == [
            "127.0.0.1",
            "[::1]",
        ]


def test_a_taken_port_is_said_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A port that somebody holds is one clear line, once, and is taken when it is free."""
    holder = open_socket("127.0.0.1", 0, socket.SOCK_STREAM)
    port = holder.getsockname()[1]
    with listening(port=port, protocols=("tcp",), wait=False) as running:
        problem = eventually(lambda: running.listener.problem)
        assert problem == (
            f"cannot listen on 127.0.0.1:{port} (tcp): Address already in use; "
            "find who holds it with ss -lnp, or set inbound.port; it is tried again"
        )
        threading.Event().wait(2.5)
        holder.close()
        eventually(lambda: running.listener.figures()["listening"] == ["tcp"])
        assert running.listener.problem is None
        assert running.send(b"in") == b""
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [problem]


def test_one_taken_port_does_not_hide_behind_the_other() -> None:
    """With TCP taken and UDP free the problem stands, and UDP works."""
    with open_socket("127.0.0.1", 0, socket.SOCK_STREAM) as holder:
        port = holder.getsockname()[1]
        with listening(port=port, wait=False) as running:
            eventually(lambda: running.listener.figures()["listening"] == ["udp"])
            eventually(lambda: "(tcp)" in str(running.listener.problem))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"x", ("127.0.0.1", port))
            eventually(lambda: running.disk.data == [b"x"])


def test_a_flood_of_datagrams_is_taken_at_a_pace() -> None:
    """Beyond a burst the kernel drops what comes too fast, which is counted as well."""
    with listening() as running, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(20_000):
            sock.sendto(b"x" * 1000, ("127.0.0.1", running.port))
        eventually(
            lambda: (
                running.do(lambda: running.listener.figures()["dropped"] + running.count("received"))
                == 20_000
            )
        )
        assert 1000 <= running.count("received") < 10_000


def test_only_the_protocols_asked_for() -> None:
    """With UDP alone nothing listens on TCP."""
    with listening(protocols=("udp",)) as running, pytest.raises(ConnectionRefusedError):
        running.connect()


def test_stopping_lets_a_message_end() -> None:
    """After `stop` nothing new comes in, what has begun may end, and what has not is let go."""
    with listening(LIMITS._replace(timeout=5, deadline=10)) as running:
        begun, idle = running.connect(), running.connect()
        with begun, idle:
            begun.sendall(b"begun")
            eventually(lambda: running.listener.figures()["open"] == 2)
            running.do(running.listener.stop)
            with pytest.raises(ConnectionResetError):
                idle.recv(1)
            with pytest.raises(ConnectionRefusedError):
                running.connect()
            begun.sendall(b" and ended")
            begun.shutdown(socket.SHUT_WR)
            assert begun.recv(1) == b""
        assert running.disk.data == [b"begun and ended"]
        assert running.do(lambda: running.listener.idle)


# -- commands --------------------------------------------------------------------------------------------

COMMANDING = LIMITS._replace(command=b"hb1 ")


class Desk:
    """Takes commands: each is answered with itself, or refused."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.datagrams = 0
        self.refused = Traffic()
        self.sent = 0
        self.refuses = False
        self.answer = "ok"

    def called(self, data: bytes, peer: str, caller: Caller) -> None:
        assert peer.startswith("127.0.0.1:")
        self.calls.append(data)
        if self.refuses:
            caller.refuse()
        else:
            caller.answer(self.answer, self._is_sent)

    def _is_sent(self) -> None:
        self.sent += 1

    def datagram(self, peer: str) -> None:
        assert peer.startswith("127.0.0.1:")
        self.datagrams += 1

    def count_refused(self, traffic: Traffic, *, over_modem: bool = False) -> None:
        assert not over_modem
        self.refused = self.refused.plus(traffic)


def read_all(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as answer:
        return answer.read()


def test_a_command_ends_with_its_line_and_is_answered() -> None:
    """At once, although the peer keeps the connection open; nothing of it is a message."""
    desk = Desk()
    with listening(COMMANDING._replace(timeout=30.0, deadline=60.0), commands=desk) as running:
        with running.connect() as connection:
            for piece in (b"hb", b"1 1 sta", b"tus mac\r"):
                connection.sendall(piece)
                threading.Event().wait(0.05)
            connection.sendall(b"\n")
            assert read_all(connection) == b"ok\n"
        eventually(lambda: desk.sent == 1)
        assert desk.calls == [b"hb1 1 status mac\r\n"]
        assert running.disk.data == []
        assert running.disk.cost.up > 40
        eventually(lambda: running.listener.figures()["open"] == 0)


@pytest.mark.parametrize("half", [True, False], ids=["half-closed", "silent"])
def test_a_close_or_silence_ends_a_command_too(half: bool) -> None:
    """As it ends a message."""
    desk = Desk()
    with listening(COMMANDING, commands=desk) as running, running.connect() as connection:
        connection.sendall(b"hb1 x")
        if half:
            connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"ok\n"
        assert desk.calls == [b"hb1 x"]


def test_a_refused_command_is_reset() -> None:
    """Its traffic is counted apart, because a flood of them must not be written down one by one."""
    desk = Desk()
    desk.refuses = True
    with listening(COMMANDING, commands=desk) as running:
        with running.connect() as connection:
            connection.sendall(b"hb1 x\nmore")
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert desk.calls == [b"hb1 x\nmore"]
        assert desk.refused.down > 40
        assert (running.disk.cost, running.disk.data) == (Traffic(), [])


def test_a_peer_that_is_gone_gets_no_answer_and_stops_nothing() -> None:
    """Whoever waits for the answer to be sent is told that it is over."""
    desk = Desk()
    desk.answer = "x" * 2000
    with listening(COMMANDING, commands=desk) as running:
        running.send(b"hb1 x\n", reset=True)
        running.connect().close()
        with running.connect() as connection:
            connection.sendall(b"hb1 y\n")
            assert read_all(connection) == b"x" * 2000 + b"\n"
        eventually(lambda: desk.sent == len(desk.calls))


def test_a_command_by_udp_is_only_refused() -> None:
    """It is no message either."""
    desk = Desk()
    with listening(COMMANDING, commands=desk) as running:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hb1 x", ("127.0.0.1", running.port))
            sender.sendto(b"hello", ("127.0.0.1", running.port))
        eventually(lambda: running.disk.data == [b"hello"])
        assert (desk.datagrams, desk.calls, desk.refused.down) == (1, [], 33)


def test_without_a_key_what_looks_like_a_command_is_a_message() -> None:
    """Byte for byte, line ends too."""
    with listening() as running:
        assert running.send(b"hb1 1 status mac\nmore\n") == b""
        assert running.disk.data == [b"hb1 1 status mac\nmore\n"]


def test_on_a_full_disk_commands_come_in_and_messages_wait() -> None:
    """A command may be what helps; a message is taken when there is room, as if it had waited to connect."""
    desk = Desk()
    with listening(COMMANDING, commands=desk) as running:
        running.disk.taking = False
        with running.connect() as message, running.connect() as command:
            message.sendall(b"hello")
            message.shutdown(socket.SHUT_WR)
            command.sendall(b"hb1 x\n")
            assert read_all(command) == b"ok\n"
            message.settimeout(1.0)
            with pytest.raises(TimeoutError):
                message.recv(1)
            assert running.disk.data == []
            running.disk.taking = True
            message.settimeout(10)
            assert message.recv(1) == b""
            assert running.disk.data == [b"hello"]

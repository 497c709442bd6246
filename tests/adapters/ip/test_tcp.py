"""One exchange over TCP, against scripted servers."""

import contextlib
import socket
import struct
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.exchange import ANSWER_LIMIT
from tests.doubles.peer import LITTLE, MUCH, Script, carry, carry_one, job, peer, read_request
from tests.harness.needs import IPV6

PATIENT = 2.0
"""Seconds of silence that no test waits for, however busy the machine; the limit is just above."""


def answering(*pieces: bytes, pause: float = 0.0, close: bool = True) -> Script:
    """Read the request, write the pieces with a pause before each, and close or wait for the other side."""

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert read_request(connection) == b"request\n\n"
        for piece in pieces:
            threading.Event().wait(pause)
            connection.sendall(piece)
        if not close:
            with contextlib.suppress(ConnectionError):
                connection.recv(1)

    return script


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("close", [True, False], ids=["closed", "left open"])
@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=IPV6), "localhost"])
def test_an_answer_ends_the_exchange(host: str, close: bool) -> None:
    """A complete answer is all that is waited for, whether the server closes or not."""
    with peer(answering(b"[0,0]", close=close), host="::1" if host == "::1" else "127.0.0.1") as server:
        outcome, seconds = carry_one(job(server.port, host=host, silence=PATIENT))
    assert (outcome.connected, outcome.written, outcome.complete) == (True, True, True)
    assert (outcome.answer, outcome.error) == (b"[0,0]", None)
    assert outcome.traffic.up > 9
    assert outcome.traffic.down > 5
    assert seconds < PATIENT


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize(
    "pieces", [(b"[", b"0", b",", b"0", b"]"), (b"[0", b",0]"), (b"[0,0", b"]"), (b"[", b"0,0]")]
)
def test_an_answer_may_come_in_pieces(pieces: tuple[bytes, ...], pause: float) -> None:
    """However the answer is split, it is one answer."""
    with peer(answering(*pieces, pause=pause)) as server:
        outcome, _ = carry_one(job(server.port))
    assert (outcome.answer, outcome.complete, outcome.error) == (b"[0,0]", True, None)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5))
def test_any_bytes_are_handed_over_as_they_came(pieces: list[bytes]) -> None:
    """What a peer says is not touched."""
    whole = b"".join(pieces)
    with peer(answering(*pieces)) as server:
        outcome, _ = carry_one(job(server.port, complete=lambda received: len(received) >= len(whole)))
    assert outcome.answer == whole


def test_slow_bytes_are_signs_of_life() -> None:
    """One byte at a time, each within the silence, is no silence; the whole may take longer than it."""
    with peer(answering(*(bytes([byte]) for byte in b"[ 0, 0 ]"), pause=0.12)) as server:
        outcome, seconds = carry_one(job(server.port, silence=0.8))
    assert outcome.complete
    assert seconds > 0.8


def test_a_late_answer_is_no_answer() -> None:
    """After the silence the exchange is over; what comes later is not heard."""
    pause = 3.0
    with peer(answering(b"[0,0]", pause=pause)) as server:
        outcome, seconds = carry_one(job(server.port, silence=0.3))
    assert (outcome.complete, outcome.answer, outcome.error) == (False, b"", "silence for 0.3 s")
    assert 0.28 < seconds < pause, "given up before the answer came"


def test_an_exchange_is_bounded_in_all() -> None:
    """A server that keeps saying something without ever ending is cut at the limit."""
    with peer(answering(*[b" "] * 40, pause=0.1)) as server:
        outcome, seconds = carry_one(job(server.port, silence=0.8, limit=0.9))
    assert outcome.error == "the exchange took longer than 0.9 s"
    assert not outcome.complete
    assert 0.85 < seconds < 4, "cut before the server was done"


def reading(rate: int) -> Script:
    """Read at ``rate`` bytes a second, and close after the end."""

    def script(connection: socket.socket) -> None:
        while data := connection.recv(1024):
            threading.Event().wait(len(data) / rate)

    return script


def test_bytes_acknowledged_are_signs_of_life() -> None:
    """A slow peer is given what the limit allows, far beyond the silence, though nothing comes from it."""
    with peer(reading(60_000), receive_buffer=4096) as server:
        outcome, seconds = carry_one(job(server.port, bytes(200_000), silence=1, limit=60, until_close=True))
    assert (outcome.complete, outcome.error) == (True, None)
    assert seconds > 2


def test_a_request_that_will_not_pass_within_its_limit_is_cut_early() -> None:
    """Six silences after its start the pace is judged, so that no more is paid for in vain; all is named."""
    with peer(reading(30_000), receive_buffer=4096) as server:
        outcome, seconds = carry_one(
            job(server.port, bytes(3_000_000), silence=0.8, limit=20, until_close=True)
        )
    assert "the link is too slow for 3000000 bytes" in str(outcome.error)
    assert "150000 are needed" in str(outcome.error)
    assert seconds < 15, "well before the limit"
    assert outcome.traffic.up < 1_000_000


def test_a_close_without_an_answer_is_told() -> None:
    """The peer's close is known as such: connected, written, nothing came."""
    with peer(answering()) as server:
        outcome, seconds = carry_one(job(server.port, silence=PATIENT))
    assert (outcome.connected, outcome.written, outcome.closed) == (True, True, True)
    assert (outcome.complete, outcome.answer, outcome.error) == (False, b"", None)
    assert seconds < PATIENT


def test_half_an_answer_and_a_close_is_incomplete() -> None:
    """What came is kept for the reader; it is not complete."""
    with peer(answering(b"[0")) as server:
        outcome, _ = carry_one(job(server.port))
    assert (outcome.complete, outcome.answer, outcome.closed) == (False, b"[0", True)


def test_a_reset_is_told() -> None:
    """A reset instead of an answer is an error in words, and bytes may have been read."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        reset(connection)

    with peer(script) as server:
        outcome, _ = carry_one(job(server.port))
    assert (outcome.connected, outcome.written, outcome.complete) == (True, True, False)
    assert "the connection broke" in str(outcome.error)


def test_a_reset_after_a_whole_answer_does_not_undo_it() -> None:
    """The answer was there: how the connection ended then is no matter."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"[0,0]")
        reset(connection)

    with peer(script) as server:
        outcome, _ = carry_one(job(server.port))
    assert (outcome.complete, outcome.answer, outcome.error) == (True, b"[0,0]", None)


def test_a_refused_connection_wrote_nothing() -> None:
    """Nobody listening is known at once; not a byte was written, so even an SMS may try again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcomes = carry(*(job(taken.getsockname()[1], silence=PATIENT) for _ in range(20)))
    for outcome, seconds in outcomes:
        assert (outcome.connected, outcome.written, outcome.complete) == (False, False, False)
        assert "Connection refused" in str(outcome.error)
        assert seconds < PATIENT


def test_a_server_that_never_accepts_is_given_up() -> None:
    """A full backlog gives no sign of life: the attempt ends after the silence."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        outcome, seconds = carry_one(job(address[1], silence=0.3))
    assert (outcome.connected, outcome.written) == (False, False)
    assert "no answer" in str(outcome.error)
    assert 0.28 < seconds < 5
    assert outcome.traffic.up >= 60
    assert outcome.traffic.down == 0


def test_an_unknown_name_is_told() -> None:
    """A name that resolves to nothing never becomes a connection."""
    outcome, _ = carry_one(job(9999, host="no-such-host.invalid", silence=5.0, limit=10.0))
    assert (outcome.connected, outcome.written) == (False, False)
    assert "cannot resolve no-such-host.invalid" in str(outcome.error)


def test_an_answer_before_the_whole_request_was_read_counts() -> None:
    """A server may refuse a large request early and close: its word is heard, not the broken write."""

    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"[2,0]")

    with peer(script, receive_buffer=4096) as server:
        outcome, _ = carry_one(job(server.port, b"x" * 3_000_000 + b"\n\n"))
    assert (outcome.complete, outcome.answer, outcome.error) == (True, b"[2,0]", None)


def test_an_early_answer_counts_while_the_server_stays() -> None:
    """The same where the server keeps the connection open without reading on."""
    over = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"[2,0]")
        over.wait(5)

    with peer(script, receive_buffer=4096) as server:
        outcome, _ = carry_one(job(server.port, b"x" * 6_000_000 + b"\n\n"))
        over.set()
    assert (outcome.complete, outcome.answer) == (True, b"[2,0]")


def slow_reader(size: int, chunk: int, pause: float) -> Script:
    """Read ``size`` bytes a little at a time, then answer."""

    def script(connection: socket.socket) -> None:
        left = size
        while left:
            left -= len(connection.recv(min(chunk, left)))
            threading.Event().wait(pause)
        connection.sendall(b"[0,0]")

    return script


def test_a_megabyte_to_a_slow_reader_arrives() -> None:
    """A large request is written as the peer takes it, in order and whole."""
    request = b"%PDF" + bytes(range(256)) * 4096 + b"\n\n"
    received = bytearray()

    def script(connection: socket.socket) -> None:
        while len(received) < len(request):
            received.extend(connection.recv(50_000))
            threading.Event().wait(0.005)
        connection.sendall(b"[0,0]")

    with peer(script, receive_buffer=16384) as server:
        outcome, _ = carry_one(job(server.port, request, silence=2.0, limit=12.0))
    assert outcome.complete
    assert received == request


def test_a_peer_that_still_reads_is_not_silent() -> None:
    """Acknowledgements of what waits in our own kernel are signs of life too: a slow link is no dead one."""
    request = b"x" * 60_000
    with peer(slow_reader(len(request), 2000, 0.04), receive_buffer=2304) as server:
        outcome, seconds = carry_one(job(server.port, request, silence=0.5, limit=5.0))
    assert (outcome.complete, outcome.error) == (True, None)
    assert seconds > 0.5


def test_an_acknowledgement_counts_from_when_it_came() -> None:
    """The request is acknowledged at once, and then nothing comes: one silence is waited for, not two."""
    with peer(answering(b"[0,0]", pause=3.6)) as server:
        outcome, _ = carry_one(job(server.port, silence=2.0, limit=12.0))
    assert (outcome.answer, outcome.error) == (b"", "silence for 2 s")


def until_the_end(got: list[bytes], first: bytes = b"") -> Script:
    """Say ``first``, then read until the end; b"reset" in ``got`` is an end that was none."""

    def script(connection: socket.socket) -> None:
        if first:
            connection.sendall(first)
        try:
            while part := connection.recv(65536):
                got.append(part)
        except ConnectionResetError:
            got.append(b"reset")

    return script


@pytest.mark.parametrize("answer", [b"", b"x" * 1024], ids=["silent", "with an answer"])
def test_an_orderly_exchange_ends_with_an_end(answer: bytes) -> None:
    """A peer that reads until the end sees one: what it acknowledged is not broken off behind it."""
    got: list[bytes] = []
    with peer(until_the_end(got, answer)) as server:
        wanted = job(server.port, complete=lambda received: len(received) >= 1024, orderly=True)
        outcome, _ = carry_one(wanted)
    assert (outcome.whole, outcome.answer) == (True, answer)
    assert got == [b"request\n\n"]


def test_an_orderly_exchange_is_not_over_before_all_is_taken() -> None:
    """A peer that answers before it has read everything, as one that echoes does, is not cut off by that."""
    request = b"x" * 6_000_000
    got: list[bytes] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(b"y" * 1024)
        threading.Event().wait(0.3)
        until_the_end(got)(connection)

    with peer(script, receive_buffer=16384) as server:
        enough = job(
            server.port,
            request,
            complete=lambda answer: len(answer) >= 1024,
            orderly=True,
            silence=3.0,
            limit=18.0,
        )
        outcome, _ = carry_one(enough)
    assert outcome.whole
    assert b"".join(got) == request


@pytest.mark.parametrize(("until_close", "orderly"), [(True, False), (False, True)])
def test_a_part_is_not_passed_off_as_the_whole(until_close: bool, orderly: bool) -> None:
    """A peer that did not take everything in time sees a broken connection, not a shorter message."""
    given_up = threading.Event()
    got: list[bytes] = []

    def script(connection: socket.socket) -> None:
        given_up.wait(10)
        until_the_end(got)(connection)

    request = b"x" * 6_000_000
    with peer(script, receive_buffer=4096) as server:
        wanted = job(server.port, request, complete=lambda _: False, until_close=until_close, orderly=orderly)
        outcome, _ = carry_one(wanted)
        given_up.set()
    assert (outcome.written, outcome.complete, outcome.whole) == (True, False, False)
    assert outcome.error == "silence for 0.4 s"
    assert len(b"".join(got)) < len(request)
    assert got[-1] == b"reset"


def test_a_close_before_the_whole_is_no_answer() -> None:
    """Where the peer's close is the answer, it is none to a request that the peer has not had."""
    over = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_WR)
        over.wait(10)

    with peer(script, receive_buffer=4096) as server:
        wanted = job(server.port, b"x" * 6_000_000, complete=lambda _: False, until_close=True)
        outcome, _ = carry_one(wanted)
        over.set()
    assert (outcome.closed, outcome.complete, outcome.whole) == (True, False, False)


@pytest.mark.parametrize(("until_close", "orderly"), [(True, False), (False, True)])
def test_what_is_not_acknowledged_is_not_taken(until_close: bool, orderly: bool) -> None:
    """A peer that stalls, or a link that dies: everything was written, and most has not arrived."""
    over = threading.Event()

    def script(connection: socket.socket) -> None:
        over.wait(10)

    with peer(script, receive_buffer=LITTLE) as server:
        wanted = job(
            server.port, b"x" * MUCH, complete=lambda _: False, until_close=until_close, orderly=orderly
        )
        outcome, _ = carry_one(wanted)
        over.set()
    assert (outcome.connected, outcome.written) == (True, True)
    assert (outcome.complete, outcome.whole) == (False, False)


def test_the_peers_close_is_an_answer_where_none_is_expected() -> None:
    """With `until_close` our side is closed after the request, and what comes until theirs is kept."""

    def script(connection: socket.socket) -> None:
        assert read_request(connection, b"never") == b"raw bytes"  # ends only when our side is closed
        connection.sendall(b"thanks")

    with peer(script) as server:
        wanted = job(server.port, b"raw bytes", complete=lambda _: False, until_close=True)
        outcome, _ = carry_one(wanted)
    assert (outcome.written, outcome.closed, outcome.answer, outcome.error) == (True, True, b"thanks", None)


def test_an_empty_request_may_wait_for_a_close() -> None:
    """No bytes at all are a request as well where the close is the answer."""
    with peer(lambda connection: None) as server:
        outcome, _ = carry_one(job(server.port, b"", complete=lambda _: False, until_close=True))
    assert (outcome.connected, outcome.closed, outcome.error) == (True, True, None)


@pytest.mark.parametrize("size", [ANSWER_LIMIT, ANSWER_LIMIT + 1, 5 * ANSWER_LIMIT])
def test_of_a_long_answer_the_beginning_is_kept(size: int) -> None:
    """More than the limit is read to its end and let go: memory stays bounded."""
    with peer(answering(b"y" * size)) as server:
        outcome, _ = carry_one(
            job(server.port, complete=lambda _: False, until_close=True, silence=2.0, limit=9.0)
        )
    assert outcome.closed
    assert outcome.answer == b"y" * ANSWER_LIMIT


def test_many_exchanges_at_once_do_not_mix() -> None:
    """Each exchange gets its own answer."""

    def script(connection: socket.socket) -> None:
        request = read_request(connection)
        connection.sendall(b"<" + request[:-2] + b"]")

    with peer(script) as server:
        outcomes = carry(
            *(job(server.port, b"%d\n\n" % number, silence=3.0, limit=9.0) for number in range(100))
        )
    assert [outcome.answer for outcome, _ in outcomes] == [b"<%d]" % number for number in range(100)]

"""The simulated cloud over real sockets: answers, faults, closing."""

import asyncio
import json
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from bridge.errors import OperationError
from bridge.sim import faults
from bridge.sim.cloud import SimCloud
from bridge.sim.totp import STEP, hotp
from tests.sim.harness import GOOD, eventually, read_all, running


def test_it_answers_and_closes_at_once() -> None:
    """A right request is answered in its form, and the server closes."""
    with running(cloud_keys=("idid", "keys")) as sim:
        started = time.monotonic()
        assert sim.ask(GOOD) == b"[0,0]"
        assert sim.ask(b"Sabcd1234+15551234567 hello\n\n") == b"00"
        assert sim.ask(b'{"s":"idid","c":"keys","d":"x"}\r\r') == b"[0,0]"
        assert time.monotonic() - started < 2
        assert [record.accepted for record in sim.records] == [True] * 3
        assert (sim.cloud.received, sim.cloud.accepted) == (3, 3)


def test_a_one_time_code_is_checked_against_the_clock() -> None:
    """A code made now is accepted; the same key an hour ago is not."""
    with running(totp=("8901", "310170000000000")) as sim:
        for age, answer in ((0, b"00"), (3600, b"30")):
            at = int(time.time()) - age
            code = hotp(b"310170000000000", at // STEP)
            assert sim.ask(b"C8901 %d %d Tx\0B\xff\0\0" % (at, code)) == answer


def test_a_request_may_come_in_pieces() -> None:
    """A request that comes byte by byte is answered when it is whole."""
    with running() as sim:
        assert sim.ask(*(GOOD[i : i + 1] for i in range(len(GOOD)))) == b"[0,0]"


def test_a_large_payload_arrives_whole() -> None:
    """A payload of 1 MB arrives as it was sent."""
    data = "x" * 1_000_000
    with running() as sim:
        assert sim.ask(json.dumps({"k": "abcd1234", "d": data}).encode() + b"\n\n") == b"[0,0]"
        assert sim.records[0].request.data == data.encode()


def test_refusals_are_answered_with_their_code() -> None:
    """A refused request gets its code, and is not accepted."""
    with running() as sim:
        assert sim.ask(b'{"k":"nokey123","d":"x"}\n\n') == b"[3,0]"
        assert sim.ask(b'{"k":"abcd1234","d":"x","t":"TOPIC 1"}\n\n') == b"[8,0]"
        assert [record.accepted for record in sim.records] == [False, False]


def test_an_unknown_protocol_is_answered_although_more_is_coming() -> None:
    """Code 5 reaches a client that is still writing; the connection is not reset under it."""
    with running() as sim, sim.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert connection.recv(64) == b"[5,0]"
        connection.sendall(b"Host: x\r\n\r\n")
        assert connection.recv(64) == b""


def test_a_half_request_is_written_down_and_not_answered() -> None:
    """A client that closes before the end gets nothing and is recorded; a bare connection is no request."""
    with running() as sim:
        with sim.connect() as connection:
            connection.sendall(GOOD[:10])
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b""
        with sim.connect():
            pass
        eventually(lambda: bool(sim.records))
        assert sim.ask(GOOD) == b"[0,0]"
        assert [(r.code, r.accepted, r.request.size) for r in sim.records] == [
            (None, False, 10),
            (0, True, 37),
        ]
        assert "closed" in str(sim.records[0].problem)


def test_an_idle_connection_is_closed() -> None:
    """Silence ends a connection, with or without the beginning of a request."""
    with running(idle=0.3) as sim, sim.connect() as bare, sim.connect() as begun:
        begun.sendall(b"{")
        assert read_all(bare) == b""
        assert read_all(begun) == b""
        assert [record.problem for record in sim.records] == ["idle before the end of the request"]


def test_delay_holds_every_answer_and_nothing_else() -> None:
    """With a delay, twenty clients at once all wait for it once, not one after the other."""
    with running(delay=0.4) as sim:
        started = time.monotonic()
        answers: list[bytes] = []
        clients = [threading.Thread(target=lambda: answers.append(sim.ask(GOOD))) for _ in range(20)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert answers == [b"[0,0]"] * 20
        assert 0.4 <= time.monotonic() - started < 3


@pytest.mark.parametrize("code", range(1, 9))
def test_codes_to_order(code: int) -> None:
    """A code to order is answered in the request's form, and the message is not accepted."""
    with running(f"code{code}:2") as sim:
        assert [sim.ask(GOOD) for _ in range(2)] == [b"[0,0]", b"[%d,0]" % code]
        sms = b"Sabcd1234+15551234567 hello\n\n"
        assert [sim.ask(sms) for _ in range(2)] == [b"00", b"%d0" % code]
        assert [(r.fault, r.code, r.accepted) for r in sim.records] == [
            (None, 0, True),
            (f"code{code}", code, False),
        ] * 2


def test_close_ends_without_an_answer() -> None:
    """`close` closes in order, with nothing said and nothing accepted."""
    with running("close:1") as sim:
        assert sim.ask(GOOD) == b""
        assert [(r.fault, r.code, r.accepted) for r in sim.records] == [("close", None, False)]


def test_reset_ends_by_a_reset() -> None:
    """`reset` ends the connection by RST, and nothing is accepted."""
    with running("reset:1") as sim:
        with pytest.raises(ConnectionResetError):
            sim.ask(GOOD)
        assert [(r.fault, r.code, r.accepted) for r in sim.records] == [("reset", None, False)]


def test_garbage_is_no_answer() -> None:
    """`garbage` answers bytes that are no answer, and nothing is accepted."""
    with running("garbage:1") as sim:
        assert sim.ask(GOOD) == faults.GARBAGE
        assert [(r.fault, r.code, r.accepted) for r in sim.records] == [("garbage", None, False)]


def test_silent_says_nothing_until_the_client_goes() -> None:
    """`silent` keeps the connection open past the idle time, without a word."""
    with running("silent:1", idle=0.2) as sim:
        with sim.connect(timeout=1.0) as connection:
            connection.sendall(GOOD)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert [(r.fault, r.code, r.accepted) for r in sim.records] == [("silent", None, False)]


def test_split_sends_the_answer_in_pieces() -> None:
    """`split` sends the right answer one byte at a time, and the message is accepted."""
    with running("split:1") as sim, sim.connect() as connection:
        connection.sendall(GOOD)
        parts = []
        while part := connection.recv(64):
            parts.append(part)
        assert b"".join(parts) == b"[0,0]"
        assert len(parts) > 1
        assert [(r.fault, r.code, r.accepted) for r in sim.records] == [("split", 0, True)]


def test_drip_sends_a_byte_a_second() -> None:
    """`drip` takes a second for each further byte of the answer, and the message is accepted."""
    with running("drip:1") as sim:
        started = time.monotonic()
        assert sim.ask(b"Sabcd1234+15551234567 hello\n\n") == b"00"
        assert time.monotonic() - started >= faults.DRIP_GAP
        assert sim.records[0].accepted


def test_late_comes_after_the_clients_time_is_over() -> None:
    """`late` says nothing for longer than the documented 5 s, then gives the right answer; it is accepted."""
    with running("late:2") as sim:
        assert sim.ask(GOOD) == b"[0,0]"
        started = time.monotonic()
        assert sim.ask(GOOD) == b"[0,0]"
        assert time.monotonic() - started > 5
        assert [(r.fault, r.code, r.accepted) for r in sim.records] == [(None, 0, True), ("late", 0, True)]


def test_a_fault_that_accepts_does_not_make_a_wrong_request_right() -> None:
    """Under `split` a request with a wrong key still gets code 3."""
    with running("split:1") as sim:
        assert sim.ask(b'{"k":"nokey123","d":"x"}\n\n') == b"[3,0]"
        assert not sim.records[0].accepted


def test_clients_that_go_away_harm_nobody() -> None:
    """Clients that reset in the middle, or before their late answer, leave the server serving."""
    with running("split:2", delay=0.05) as sim:
        for data in (GOOD[:9], GOOD, GOOD, GOOD):
            with sim.connect() as connection:
                connection.sendall(data)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: len(sim.records) == 4)
        assert sim.ask(GOOD) == b"[0,0]"


def test_the_log_has_one_json_line_a_request(tmp_path: Path) -> None:
    """Before the answer the log holds what was read, as text or base64, with its code, and no credentials."""
    log = tmp_path / "cloud.jsonl"
    with running("code6:3", log=log, totp=("8901", "310170000000000")) as sim:
        at = int(time.time())
        sim.ask(GOOD)
        sim.ask(b"C8901 %d %d B\xff\0\0" % (at, hotp(b"310170000000000", at // STEP)))
        sim.ask(b"Sabcd1234+15551234567 hi\n\n")
        assert log.read_text().count("\n") == 3, "written before the answer"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert "abcd1234" not in log.read_text()
    assert lines[0] | {"at": ""} == {
        "n": 1, "at": "", "form": "json", "data": "hi", "data_base64": None, "topics": ["a/b"], "to": None,
        "code": 0, "fault": None, "accepted": True, "bytes": 37, "problem": None,
    }  # fmt: skip
    assert (lines[1]["form"], lines[1]["data"], lines[1]["data_base64"]) == ("totp", None, "/w==")
    assert (lines[2]["to"], lines[2]["code"], lines[2]["fault"], lines[2]["accepted"]) == (
        "+15551234567", 6, "code6", False,
    )  # fmt: skip


def test_a_taken_port_and_an_unwritable_log_are_clear(tmp_path: Path) -> None:
    """A port in use and a log that cannot be written are errors that say what to do."""
    with running() as sim, pytest.raises(OperationError, match="choose another with --port"):
        asyncio.run(SimCloud(port=sim.cloud.port).start())
    with pytest.raises(OperationError, match="--log: cannot write"):
        asyncio.run(SimCloud(log=tmp_path).start())

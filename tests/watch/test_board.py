"""The board: what it makes of the bridge's messages, and of anything else on the same topics."""

import json
from typing import Any

import pytest

from bridge.watch.board import Board
from bridge.watch.values import shown

ODD_HEALTH = (
    b'{"state":"ok","at":"2024-01-01T00:00:00Z","uptime":%s,"memory":%s,'
    b'"bytes":{"today":{"up":%s,"down":1}},"queue":{"messages":1,"oldest_age":null},"destinations":[]}'
)

START = "2024-01-01T00:00:00.000Z"


@pytest.mark.parametrize("topic", ["result", "event", "bridge/health", "bridge/info", "send", "sms"])
@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\x00\xff", b"{", b"[]", b"5", b"null", b"{}", b'"text"', b"[" * 100_000,
        b'{"id":[],"event_type":5,"state":{},"queued_at":"then","finished_at":1,"topics":3,"bytes":1}',
        b'{"event_type":"message.queued","id":{},"at":"2024-01-01T00:00:00Z","topics":[1],"channel":[]}',
        b'{"state":"ok","memory":1e999,"uptime":1,"at":1,"bytes":{"today":{"up":1,"down":1}}}',
        ODD_HEALTH % (b"1e999", b"1", b"1"),
        ODD_HEALTH % (b"1", b"1e400", b"1"),
        ODD_HEALTH % (b"1", b"1", b"1" + b"0" * 400),
    ],
)  # fmt: skip
def test_what_a_viewer_publishes_on_our_own_topics_does_not_stop_the_view(topic: str, payload: bytes) -> None:
    """Anything may come on any topic; all figures can still be shown."""
    board = Board()
    for line in board.received(f"hologram/{topic}", payload, 1000.0):
        assert line.text.isprintable()
    taken = f"{board.taken} in, " if board.taken else ""
    assert (board.summary(), board.spent(), board.memory(), board.condition(), board.uptime(1000.0)) == (
        f"{taken}0 queued", (0, 0), 0, "unknown", 0,
    )  # fmt: skip


def test_a_result_that_is_told_again_counts_once() -> None:
    """Counters and bytes follow messages, not reports."""
    board = Board()
    event = {"event_type": "message.queued", "id": "a", "at": "2024-01-01T00:00:00.000Z", "channel": "cloud"}
    result = {
        "id": "a", "channel": "cloud", "to": None, "topics": ["t"], "state": "delivered", "code": 0,
        "description": "", "attempts": 1, "queued_at": "2024-01-01T00:00:00.000Z",
        "finished_at": "2024-01-01T00:00:01.500Z", "bytes_up": 10, "bytes_down": 20,
    }  # fmt: skip
    board.received("hologram/out/t", b"payload", 0.0)
    board.received("hologram/event", json.dumps(event | {"topics": ["t"]}).encode(), 0.0)
    assert set(board.waiting.open) == {"a"}
    for _ in range(2):
        board.received("hologram/result", json.dumps(result).encode(), 0.0)
    assert (board.counts, board.spent(), board.waiting.open) == ({"delivered": 1}, (10, 20), {})
    assert (board.rows["a"].text, board.rows["a"].took) == ("payload", 1.5)


def test_payloads_stay_with_their_messages_when_one_is_rejected() -> None:
    """A command that the bridge tells nothing of does not lend its payload to the next on its topic."""
    board = Board()
    for topic, payload in [("t", b"1"), ("bad one", b"2"), ("u", b"3"), ("t", b"4"), ("t", b"5")]:
        board.received(f"hologram/out/{topic}", payload, 0.0)
    event = {"event_type": "message.queued", "at": "2024-01-01T00:00:00.000Z", "channel": "cloud"}
    for name, topic in [("a", "t"), ("b", "u"), ("c", "t"), ("d", "other"), ("e", "t")]:
        told = json.dumps(event | {"id": name, "topics": [topic]}).encode()
        board.received("hologram/event", told, 0.0)
    assert [row.text for row in board.rows.values()] == ["1", "3", "4", "", "5"]


def test_payloads_cannot_drive_the_terminal() -> None:
    """Control characters are shown, not sent."""
    assert shown(b"\x1b[2J\x07bell\n") == "\\x1b[2J\\x07bell\\n"
    assert len(shown("x" * 10_000)) == 201


def health(messages: int, second: int) -> bytes:
    """Return a health that says how many wait, at a second of the first minute of 2024."""
    told = {
        "state": "ok", "at": f"2024-01-01T00:00:{second:02}.000Z", "uptime": 1.0, "memory": 1,
        "bytes": {"today": {"up": 0, "down": 0}}, "queue": {"messages": messages, "oldest_age": 5.0},
        "destinations": [],
    }  # fmt: skip
    return json.dumps(told).encode()


def queued(name: str, second: int) -> bytes:
    """Return the event of a message."""
    at = f"2024-01-01T00:00:{second:02}.000Z"
    told = {"event_type": "message.queued", "id": name, "at": at, "channel": "cloud", "topics": ["t"]}
    return json.dumps(told).encode()


def result(name: str, began: int, ended: int, **more: Any) -> bytes:
    """Return the result of a message that was taken and ended at these seconds."""
    told = {
        "id": name, "channel": "cloud", "to": None, "topics": ["t"], "state": "delivered", "code": 0,
        "description": "", "attempts": 1, "queued_at": f"2024-01-01T00:00:{began:02}.000Z",
        "finished_at": f"2024-01-01T00:00:{ended:02}.000Z", "bytes_up": 10, "bytes_down": 20,
    } | more  # fmt: skip
    return json.dumps(told).encode()


def test_how_many_wait_is_known_from_health_and_results_alone() -> None:
    """What the health counted leaves with its result; what came later is known at the next health."""
    board = Board()
    board.received("hologram/bridge/health", health(2, 10), 1000.0)
    assert (board.waiting.number(), board.waiting.oldest(1010.0)) == (2, 15.0)
    board.received("hologram/result", result("before", 1, 9), 1000.0)  # had ended before the health
    board.received("hologram/result", result("a", 5, 12), 1000.0)
    board.received("hologram/result", result("a", 5, 12), 1000.0)
    board.received("hologram/result", result("later", 11, 12), 1000.0)
    board.received("hologram/result", result("link", 5, 12, channel="network", state="done"), 1000.0)
    assert board.waiting.number() == 1
    board.received("hologram/bridge/health", health(7, 20), 1000.0)
    assert board.waiting.number() == 7


def test_what_a_quote_tells_is_not_spent() -> None:
    """It has the bytes that a message would cost, and is shown as what it is."""
    board = Board()
    (line,) = board.received(
        "hologram/result",
        result("q", 1, 1, channel="quote", state="done", attempts=0, description="nothing was sent"),
        0.0,
    )
    assert (board.spent(), board.counts) == ((0, 0), {"done": 1})
    assert line.text == "quote t: nothing was sent (q)"


def test_a_message_is_counted_once_whichever_comes_first() -> None:
    """Its event before the health, after it, and after its own result."""
    board = Board()
    board.received("hologram/event", queued("a", 1), 0.0)
    board.received("hologram/bridge/health", health(3, 10), 0.0)
    board.received("hologram/event", queued("b", 9), 0.0)
    assert board.waiting.number() == 3
    board.received("hologram/event", queued("c", 11), 0.0)
    assert board.waiting.number() == 4
    for name in ("a", "b", "c"):
        board.received("hologram/result", result(name, 9, 12), 0.0)
    board.received("hologram/event", queued("c", 11), 0.0)
    assert (board.waiting.number(), len(board.waiting.open)) == (1, 0)


def test_a_flood_of_waiting_messages_takes_bounded_memory() -> None:
    """All of them are counted, and the oldest are not listed."""
    board = Board()
    for number in range(12_000):
        board.received("hologram/event", queued(f"m{number}", 1), 0.0)
    assert (board.waiting.number(), len(board.waiting.open), len(board.rows)) == (12_000, 10_000, 300)
    for number in range(1000):
        board.received("hologram/result", result(f"x{number}", 1, 2, state=f"state{number}"), 0.0)
    assert len(board.counts) == 20


def test_a_batch_is_one_row_and_those_of_its_messages_go() -> None:
    """Its bytes are the sum of the shares; a repeated result adds nothing; ends of another kind are named."""
    board = Board()
    batch = {"id": "b1", "messages": 4}
    for name in ("a", "b", "c", "d"):
        board.received("hologram/event", queued(name, 1), 0.0)
    for name in ("a", "b", "b", "c"):
        board.received("hologram/result", result(name, 1, 2, batch=batch), 0.0)
    assert list(board.rows) == ["d", "batch b1"]
    assert board.rows["batch b1"].text == "3 of 4 at 30.0 B each in a batch"
    (_, told) = board.received(
        "hologram/result", result("d", 1, 2, batch=batch, state="expired", bytes_up=0, bytes_down=0), 0.0
    )
    assert told.text == "t: batch of 4, 22.5 B each, 1 expired, 30 B up, 60 B down (b1)"
    assert list(board.rows) == ["batch b1"]
    row = board.rows["batch b1"]
    assert (row.state, row.up, row.down, row.text) == (
        "delivered",
        30,
        60,
        "4 at 22.5 B each in a batch, 1 expired",
    )
    assert board.counts == {"delivered": 3, "expired": 1}


def test_messages_of_the_form_without_an_id_stay_rows_of_their_own() -> None:
    """Nothing says which of them went together; each has its share in its own result."""
    board = Board()
    for name, messages in (("a", 2), ("b", 2), ("c", 1)):
        (told,) = board.received(
            "hologram/result", result(name, 1, 2, batch={"id": None, "messages": messages}), 0.0
        )
    assert told.text == "t; 1 attempt, 1.00 s, 10 B up, 20 B down (c) in a batch of 1"
    assert list(board.rows) == ["a", "b", "c"]
    assert not board.batches


def test_what_the_last_health_and_the_clock_of_a_desk_say_agree() -> None:
    """The uptime goes on from the retained health's time; a clock that is wrong by days changes nothing."""
    at = 1704067200.0 + 10
    board = Board()
    board.received("hologram/bridge/health", health(1, 10), at + 300)
    assert board.uptime(at + 310) == 311
    board.received("hologram/bridge/health", health(1, 10), at + 90_000)
    assert board.uptime(at + 90_005) == 6


def test_while_the_broker_is_gone_nothing_is_known_of_the_bridge() -> None:
    """One line however often it is tried; what it says after the return is told again."""
    board = Board()
    board.connected("box:1883", 0.0)
    board.received("hologram/bridge/state", b"online", 0.0)
    assert (board.condition(), board.quiet(10.0)) == ("online", [])
    assert [line.text for line in board.disconnected("it ended", 11.0)] == ["it ended; it is tried again"]
    assert board.disconnected("no broker", 12.0) == []
    assert board.condition() == "unknown"
    assert board.quiet(30.0) == []
    board.connected("box:1883", 31.0)
    assert [line.text for line in board.received("hologram/bridge/state", b"online", 31.0)] == ["online"]

"""Finding out which final belongs to which command, against a modem that answers late or not at all."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.protocol.at.engine import Engine, Event, Final, Information, Request
from bridge.protocol.at.resync import Resync, State


class Modem:
    """Answers in order. Some commands, or their answers, are lost; the rest of the time it takes its time."""

    def __init__(self, *, knows_marker: bool) -> None:
        self.knows_marker = knows_marker
        self.waiting: deque[bytes] = deque()
        self.lose = 0

    def write(self, data: bytes) -> None:
        for text in data.decode().replace("\x1b", "").split("\r"):
            if not text:
                continue
            if self.lose:
                self.lose -= 1
            elif text == "AT+CMEE?":
                self.waiting.append(b"\r\n+CMEE: 2\r\n\r\nOK\r\n" if self.knows_marker else b"\r\nERROR\r\n")
            elif text == "AT":
                self.waiting.append(b"\r\nOK\r\n")
            else:
                self.waiting.append(f"\r\n+{text[3:].rstrip('?')}: own answer\r\n\r\nOK\r\n".encode())

    def answer(self, count: int = 1) -> bytes:
        """Return the next answers, so many at once."""
        return b"".join(self.waiting.popleft() for _ in range(min(count, len(self.waiting))))


def step(engine: Engine, resync: Resync, modem: Modem, data: bytes) -> list[Event]:
    events = engine.feed(data)
    for event in events:
        resync.receive(event)
    modem.write(resync.act())
    return events


@settings(max_examples=300, deadline=None)
@given(
    abandoned=st.lists(st.sampled_from(["lost", "late", "prompt"]), min_size=1, max_size=4),
    lost_probes=st.integers(0, 3),
    silences=st.integers(0, 3),
    at_once=st.lists(st.integers(1, 4), min_size=10, max_size=10),
)
def test_the_next_command_gets_its_own_answer(
    abandoned: list[str], lost_probes: int, silences: int, at_once: list[int]
) -> None:
    """Whatever was lost before, and however many probes were slept through, the next answer is its own."""
    engine, modem = Engine(), Modem(knows_marker=True)
    for fate in abandoned:
        modem.lose = fate == "lost"
        engine.begin(Request("AT+COPS?", prompt=fate == "prompt"))
        modem.write(b"AT+COPS?\r")
        engine.abandon()
    modem.lose = lost_probes
    resync = Resync(engine)
    modem.write(resync.start())
    for _ in range(silences):
        modem.write(resync.silence())
    turns = 0
    while resync.state is State.WAITING:
        turns += 1
        assert turns < 40
        data = modem.answer(at_once[turns % 10])
        if data:
            step(engine, resync, modem, data)
        else:
            modem.write(resync.silence())
    modem.lose = 0
    assert not modem.waiting, "an answer is still to come: it would be taken for the next command's"
    engine.begin(Request("AT+CSQ"))
    modem.write(b"AT+CSQ\r")
    assert engine.feed(modem.answer()) == [Information("+CSQ: own answer"), Final("OK", ok=True)]


def test_a_modem_without_the_marker_is_in_step_after_a_silence() -> None:
    """Where the marker is refused, quiet after an OK has to do."""
    engine, modem = Engine(), Modem(knows_marker=False)
    engine.begin(Request("AT+COPS?"))  # and never answered
    engine.abandon()
    resync = Resync(engine)
    modem.write(resync.start())
    step(engine, resync, modem, modem.answer())
    step(engine, resync, modem, modem.answer())
    assert (resync.state, engine.owed) == (State.WAITING, 0)
    assert resync.silence() == b""
    assert (resync.state, engine.owed) == (State.IN_STEP, 0)


def test_a_prompt_is_left_by_escape() -> None:
    """A modem that still waits for a text is told that none comes."""
    engine = Engine()
    engine.begin(Request("AT+CMGS=9", prompt=True))
    engine.abandon()
    resync = Resync(engine)
    assert resync.start() == b"AT\r"
    (event,) = engine.feed(b"\r\n> ")
    resync.receive(event)
    assert resync.act() == b"\x1b"
    assert resync.silence() == b"\x1bAT\r"

"""The AT engine: every line is what it is, however its bytes arrive."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.protocol.at.engine import (
    MAX_ANSWER,
    MAX_LINE,
    Engine,
    Event,
    Final,
    Information,
    Noise,
    Prompt,
    Request,
    Stale,
    Urc,
)

Feed = Callable[[Engine, bytes], list[Event]]


def whole(engine: Engine, data: bytes) -> list[Event]:
    return engine.feed(data)


def byte_by_byte(engine: Engine, data: bytes) -> list[Event]:
    return [event for byte in data for event in engine.feed(bytes([byte]))]


feeds = pytest.mark.parametrize("feed", [whole, byte_by_byte])


def heard(feed: Feed, text: str, data: bytes, **options: object) -> list[Event]:
    """Return what a modem's ``data`` is in answer to the command ``text``."""
    engine = Engine(payload_after=raw_bytes)
    engine.begin(Request(text, **options))  # type: ignore[arg-type]  # as Request has them
    return feed(engine, data)


def raw_bytes(line: str) -> int:
    """Announce as many raw bytes as the last field of a line that has "raw" in it."""
    return int(line.rpartition(",")[2]) if "raw" in line and line[-1:].isdigit() else 0


@feeds
@pytest.mark.parametrize(
    "data",
    [
        b"\r\n+CSQ: 17,99\r\n\r\nOK\r\n",
        b"+CSQ: 17,99\nOK\n",
        b"+CSQ: 17,99\rOK\r",
        b"\n\r\n\r+CSQ: 17,99\r\r\n\n\nOK\r\r\n",
        b"AT+CSQ\r\r\n+CSQ: 17,99\r\n\r\nOK\r\n",
        b"AT+CSQ\r\n+CSQ: 17,99\r\nOK\r\n",
        b"\x00\x00\r\n+CSQ\x00: 17,99\r\n\x00\x00OK\x00\r\n\x00",
        b"\xff\xfe\xf0\r\n\r\n+CSQ: 17,99\r\nOK\r\n",
    ],
)
def test_an_answer_has_information_and_a_final(feed: Feed, data: bytes) -> None:
    """With or without echo, in every mix of line ends, with NUL bytes and garbage of a power-up."""
    events = [event for event in heard(feed, "AT+CSQ", data) if not isinstance(event, Noise)]
    assert [event for event in events if event != Information("���")] == [
        Information("+CSQ: 17,99"),
        Final("OK", ok=True),
    ]


@feeds
@pytest.mark.parametrize(
    ("text", "line", "unsolicited"),
    [
        # 3GPP TS 27.007, section 7.2: the answer counts what is reported first, the code does not
        ("AT+CREG?", "+CREG: 2,1", False),
        ("AT+CREG?", '+CREG: 2,5,"00C3","01234567",7', False),
        ("AT+CREG?", "+CREG: 2,1, 00C3, 1234", False),
        ("AT+CREG?", "+CREG: 1", True),
        ("AT+CREG?", '+CREG: 5,"00C3","01234567",7', True),
        ("AT+CREG?", "+CREG: 2,,,0", True),
        ("AT+CEREG?", '+CEREG: 1,"2AF1","0234A1B2",8', True),
        ("AT+CEREG?", '+CEREG: 2,1,"2AF1","0234A1B2",8', False),
        ("AT+CREG?", "+CGREG: 0,1", True),
        ("AT+CREG=2", "+CREG: 2", True),
        ("AT+CREG=?", "+CREG: (0-2)", False),
        ("AT+CREG=?", "+CREG: 1", True),
        ("AT+CPIN?", "+CPIN: READY", False),
        ('AT+CPIN="1234"', "+CPIN: READY", True),
        ("AT+CSQ", "RING", True),
        ("AT+CSQ", "NO CARRIER", True),
        ("AT+CSQ", '+CMTI: "ME",3', True),
        ("AT+CSQ", "+UUSORD: 0,12", True),
        ("AT+CSQ", "^RSSI:17", True),
        ("AT+CSQ", '+QIURC: "closed",0', True),
        ('AT+QIOPEN=1,1,"TCP","h",1,0,1', "+QIOPEN: 0,0", True),
        ("AT+CIMI", "234500012345678", False),
        ("AT+CCID", "+CCID: 8944500102198304826", False),
        ("AT^ICCID?", "^ICCID: 98445010201983406", False),
        ("ATI9", "08.90,A01.40", False),
        ("ATI", "Revision: BG96MAR02A07M1G", False),
        ("AT+CSQ;+COPS?", '+COPS: 0,0,"Hologram",7', False),
        ('AT+CUSD=1,"*100#"', '+CUSD: 0,"credit",15', True),
        ("AT+CMGL=4", "07911326040000F0", False),
        ("AT+COPN", '+COPN: "23410","O2"', False),
    ],
)  # fmt: skip
def test_each_line_is_one_thing(feed: Feed, text: str, line: str, unsolicited: bool) -> None:
    """What is not the answer is unsolicited, in its middle and under the command's own name too."""
    expected = Urc(line) if unsolicited else Information(line)
    assert heard(feed, text, f"\r\n{line}\r\n\r\nOK\r\n".encode()) == [expected, Final("OK", ok=True)]


@feeds
def test_of_a_read_the_first_line_is_the_answer(feed: Feed) -> None:
    """A code of the same form that follows the answer to a read is unsolicited."""
    events = heard(feed, "AT+CPIN?", b"\r\n+CPIN: SIM PIN\r\n\r\n+CPIN: READY\r\n\r\nOK\r\n")
    assert events == [Information("+CPIN: SIM PIN"), Urc("+CPIN: READY"), Final("OK", ok=True)]


@feeds
@pytest.mark.parametrize(
    ("text", "line", "ok"),
    [
        ("AT", "OK", True),
        ("AT", "ERROR", False),
        ("AT", "+CME ERROR: 10", False),
        ("AT", "+CME ERROR: SIM not inserted", False),
        ("AT+CMGS=9", "+CMS ERROR: 500", False),
        ("ATDT*99***1#", "NO CARRIER", False),
        ("ATDT*99***1#", "BUSY", False),
        ("AT^X", "COMMAND NOT SUPPORT", False),
        ("AT", "ok", True),
        ("AT", "Error", False),
        ("AT+CMGS=9", "+CMS ERROR : 500", False),
        ("AT+CMGS=9", "+cms error:500", False),
        ("AT+CPIN?", "+CME  ERROR:  10", False),
        ("ATDT*99***1#", "NO  CARRIER", False),
    ],
)
def test_finals(feed: Feed, text: str, line: str, ok: bool) -> None:
    """Success is what the command names, errors are all there are, and call progress ends calls only."""
    assert heard(feed, text, f"\r\n{line}\r\n".encode()) == [Final(line, ok)]


@feeds
def test_the_command_says_what_success_is(feed: Feed) -> None:
    """CONNECT may have a speed behind it; SEND FAIL is the other end of SEND OK."""
    assert heard(feed, "ATD*99#", b"CONNECT 7200000\r\n", finals=("CONNECT",)) == [
        Final("CONNECT 7200000", ok=True)
    ]
    assert heard(feed, 'AT+QISENDEX=0,"41"', b"SEND FAIL\r\n", finals=("SEND OK",)) == [
        Final("SEND FAIL", ok=False)
    ]


@feeds
@pytest.mark.parametrize("mark", [b">", b"@"])
@pytest.mark.parametrize("echo", [b"", b"AT+CMGS=3\r\r\n"])
def test_a_prompt_has_no_line_end(feed: Feed, mark: bytes, echo: bytes) -> None:
    """It is found at once; an echo of what it asked for, and of Ctrl-Z, is noise."""
    engine = Engine()
    engine.begin(Request("AT+CMGS=3", prompt=True, payload="001100"))
    assert [e for e in feed(engine, echo + b"\r\n" + mark) if not isinstance(e, Noise)] == [
        Prompt(mark.decode())
    ]
    rest = feed(engine, b" 001100\x1a\r\n+CMGS: 7\r\n\r\nOK\r\n")
    assert rest == [Noise("001100"), Information("+CMGS: 7"), Final("OK", ok=True)]


@feeds
def test_without_a_wish_for_one_there_is_no_prompt(feed: Feed) -> None:
    """A line that begins like a prompt is a line."""
    assert heard(feed, "ATI", b"> or @\r\nOK\r\n") == [Information("> or @"), Final("OK", ok=True)]


@feeds
@pytest.mark.parametrize("payload", [b"hello", b"\r\nOK\r\n", b"\n\r", b"\x00\x1a\xff", b"raw,4\r\n"])
def test_raw_bytes_belong_to_their_line(feed: Feed, payload: bytes) -> None:
    """Announced bytes are taken as they are, line ends and finals included, of codes and of answers."""
    size = len(payload)
    code = b'\r\n+QIURC: "raw",0,%d\r\n' % size + payload
    assert heard(feed, "AT", code + b"\r\nOK\r\n") == [
        Urc(f'+QIURC: "raw",0,{size}', payload),
        Final("OK", ok=True),
    ]
    answer = b"+QIRD: raw,%d\r\n" % size + payload
    assert heard(feed, "AT+QIRD=0", answer + b"\r\n\r\nOK\r\n") == [
        Information(f"+QIRD: raw,{size}", payload),
        Final("OK", ok=True),
    ]


@feeds
def test_lost_raw_bytes_are_given_up(feed: Feed) -> None:
    """What has come counts, and the next line is a line again."""
    engine = Engine(raw_bytes)
    assert feed(engine, b'+QIURC: "raw",9\r\nabc') == []
    assert engine.in_payload
    assert engine.end_payload() == [Urc('+QIURC: "raw",9', b"abc")]
    assert not engine.in_payload
    assert engine.end_payload() == []
    assert feed(engine, b"\r\nRING\r\n") == [Urc("RING")]


@feeds
def test_a_code_of_two_lines(feed: Feed) -> None:
    """A text that is not stored comes on the line after its code, as a status report does."""
    events = heard(feed, "AT", b"\r\n+CDS: 25\r\n0791AABB\r\n\r\nOK\r\n")
    assert events == [Urc("+CDS: 25", b"0791AABB"), Final("OK", ok=True)]


@feeds
@pytest.mark.parametrize(
    "inside", ["OK", "ERROR", "+CME ERROR: 10", "> 1 more", "+CMGS: 7", "RDY", "a\r\nOK\r\nb"]
)
def test_what_a_ussd_text_says_is_its_text(feed: Feed, inside: str) -> None:
    """Line ends in its quotes end neither the text nor a command, and no line of it is a prompt."""
    said = f'\r\n+CUSD: 0,"left:\r\n{inside}\r\nbye",15\r\n\r\nOK\r\n'.encode()
    text = '+CUSD: 0,"left:\n{}\nbye",15'.format(inside.replace("\r", ""))
    assert heard(feed, "AT+CMGS=9", said, prompt=True) == [Urc(text), Final("OK", ok=True)]


@feeds
def test_a_ussd_text_whose_end_was_lost_is_given_up(feed: Feed) -> None:
    """After a silence, or at a length that none has, a line is a line again."""
    engine = Engine()
    assert feed(engine, b'+CUSD: 0,"left\r\n') == []
    assert engine.in_payload
    assert engine.end_payload() == [Urc('+CUSD: 0,"left')]
    (text,) = feed(engine, b'+CUSD: 0,"left\r\n' + b"x" * 600 + b"\r\n")
    assert isinstance(text, Urc)
    assert feed(engine, b"RING\r\n") == [Urc("RING")]


@feeds
@pytest.mark.parametrize(("foreign", "ok"), [("ERROR", False), ("+CME ERROR: 258", False), ("OK", True)])
def test_information_that_is_late_shows_that_a_final_was_anothers(feed: Feed, foreign: str, ok: bool) -> None:
    """The command before gets its own final after all, and the next one its own."""
    engine = Engine()
    engine.begin(Request("AT+CSQ?" if ok else "AT+CSQ"))
    assert feed(engine, f"\r\n{foreign}\r\n".encode()) == [Final(foreign, ok)]
    engine.begin(Request("AT+COPS?"))
    late = b"\r\n+CSQ: 1,99\r\n\r\nOK\r\n"
    assert feed(engine, late + b"\r\n+COPS: 0\r\n\r\nOK\r\n") == [
        Noise("+CSQ: 1,99"),
        Stale("OK", ok=True),
        Information("+COPS: 0"),
        Final("OK", ok=True),
    ]


@feeds
def test_information_that_comes_twice_shows_nothing(feed: Feed) -> None:
    """A command that had its information had its final, and one that asks the same again its own."""
    engine = Engine()
    for said in (b"+CSQ: 1,99\r\nOK\r\n", b"ERROR\r\n", b"+CSQ: 2,99\r\nOK\r\n"):
        engine.begin(Request("AT+CSQ"))
        assert isinstance(feed(engine, said)[-1], Final)
    engine.begin(Request("AT+COPS?"))
    assert feed(engine, b"+CSQ: 3,99\r\nOK\r\n")[-1] == Final("OK", ok=True)


@feeds
def test_when_nobody_asked(feed: Feed) -> None:
    """Codes are unsolicited, the rest is noise; a final is nobody's."""
    assert feed(Engine(), b"\r\nRDY\r\n\r\n+CFUN: 1\r\nhm\r\nOK\r\n") == [
        Urc("RDY"),
        Urc("+CFUN: 1"),
        Noise("hm"),
        Noise("OK"),
    ]


@feeds
def test_a_late_answer_is_not_the_next_ones(feed: Feed) -> None:
    """What an abandoned command says is dropped, its final is stale, and codes in it still count."""
    engine = Engine()
    engine.begin(Request("AT+COPS?"))
    engine.abandon()
    engine.begin(Request("AT+CSQ"))
    late = b"\r\n+COPS: 0\r\n\r\n+CREG: 1\r\n\r\nOK\r\n"
    assert feed(engine, late + b"\r\n+CSQ: 1,99\r\n\r\nOK\r\n") == [
        Noise("+COPS: 0"),
        Urc("+CREG: 1"),
        Stale("OK", ok=True),
        Information("+CSQ: 1,99"),
        Final("OK", ok=True),
    ]


def test_memory_is_bounded() -> None:
    """A line without an end, and an answer without one, leave only their limits in memory."""
    engine = Engine()
    engine.begin(Request("AT+CLAC"))
    for _ in range(100):
        assert engine.feed(b"x" * 10_000) == []
    (noise,) = engine.feed(b"\r\n")
    assert isinstance(noise, Noise)
    assert len(noise.line) == MAX_LINE
    lines = engine.feed(b"+CLAC: 1\r\n" * (MAX_ANSWER // 50))
    kept = [line for line in lines if isinstance(line, Information)]
    assert 0 < len(kept) < len(lines)
    assert engine.feed(b"OK\r\n") == [Final("OK", ok=True)]


def test_an_absurd_announcement_is_a_line() -> None:
    """More raw bytes than a modem can mean are not waited for."""
    engine = Engine(raw_bytes)
    assert engine.feed(b"+QIURC: raw,999999999\r\n") == [Urc("+QIURC: raw,999999999")]


WORDS = (
    b"\r\n|\r|\n|OK|ERROR|+CME ERROR: 3|> |@|+CREG: 1|+CREG: 2,1|+CDS: 3\r\n|raw,3\r\n|raw,0\r\n"
    b"|AT+CREG?|RING|\x00|+UUSORD: 1,2"
).split(b"|")

wire = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(WORDS),
    ),
    max_size=30,
).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(wire, st.lists(st.integers(1, 5), max_size=60), st.booleans(), st.booleans())
@example(b"raw,3\r\n\n\nx", [6, 1, 1, 1, 1], False, False)
def test_how_bytes_arrive_does_not_matter(data: bytes, sizes: list[int], late: bool, prompt: bool) -> None:
    """Any bytes in any pieces: the same events, and no exception."""

    def engine() -> Engine:
        made = Engine(raw_bytes)
        made.begin(Request("AT+CREG?", prompt=prompt))
        if late:
            made.abandon()
            made.begin(Request("AT"))
        return made

    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    pieces.append(data[position:])
    once, split = engine(), engine()
    assert once.feed(data) == [event for piece in pieces for event in split.feed(piece)]
    assert once.end_payload() == split.end_payload()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=20).map(str.strip)),
    st.sampled_from(["\r\n", "\r", "\n", "\r\r\n", "\n\r"]),
)
def test_what_a_modem_says_arrives(lines: list[str], end: str) -> None:
    """Every line that is not empty is exactly one event, in order."""
    engine = Engine()
    engine.begin(Request("ATI"))
    events = engine.feed("".join(f"{end}{line}{end}" for line in lines).encode())
    assert [getattr(event, "line", "") for event in events] == [line for line in lines if line]

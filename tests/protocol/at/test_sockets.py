"""What u-blox and Quectel modems say about their sockets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.protocol.at.engine import Answer, Engine, Urc
from bridge.protocol.at.sockets import (
    Closed,
    ContextLost,
    Data,
    Incoming,
    Opened,
    Readable,
    SocketEvent,
    fields,
    quectel,
    traffic,
    ublox,
)
from bridge.protocol.at.sockets.traffic import Meter


@pytest.mark.parametrize(
    ("line", "news"),
    [
        ("+UUSORD: 0,12", Readable(0)),
        ("+UUSORF: 3,7", Readable(3)),
        ("+UUSOCL: 2", Closed(2)),
        ('+UUSOLI: 1,"10.176.0.9",40000,0,"10.0.0.2",4010', Incoming(1, 0, "10.176.0.9", 40000)),
        ("+UUPSDD: 0", ContextLost()),
        ('+UUPSDA: 0,"10.0.0.2"', None),
        ("+CGEV: NW PDN DEACT 1", None),
        ("+UUSORD: x,1", None),
        ("+UUSOLI: 1", None),
        ("+CREG: 1", None),
    ],
)  # fmt: skip
def test_ublox_codes(line: str, news: SocketEvent | None) -> None:
    """Codes become values; broken ones and those of others become nothing."""
    assert ublox.event(Urc(line)) == news


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        ("+CGEV: NW PDN DEACT 1", True),
        ("+CGEV: ME PDN DEACT 1", True),
        ('+CGEV: NW DEACT "IP","10.0.0.2",1', True),
        ("+CGEV: NW DETACH", True),
        ("+CGEV: NW PDN DEACT 2", False),
        ("+CGEV: ME PDN ACT 1", False),
    ],
)
def test_the_end_of_a_context_that_has_no_code_of_its_own(line: str, lost: bool) -> None:
    """On SARA-R4 and Quectel the 3GPP code tells; another context's end is not ours."""
    assert ublox.event(Urc(line), r4=True) == (ContextLost() if lost else None)
    assert quectel.event(Urc(line)) == (ContextLost() if lost else None)


@pytest.mark.parametrize(
    ("line", "data", "news"),
    [
        ("+QIOPEN: 0,0", b"", Opened(0, 0)),
        ("+QIOPEN: 3,566", b"", Opened(3, 566)),
        ('+QIURC: "recv",0,5', b"hello", Data(0, b"hello")),
        ('+QIURC: "recv",0,5', b"hel", Data(0, b"hel", whole=False)),
        ('+QIURC: "recv",2,2,"10.176.0.9",40000', b"hi", Data(2, b"hi", True, "10.176.0.9", 40000)),
        ('+QIURC: "recv",4', b"", Readable(4)),
        ('+QIURC: "closed",1', b"", Closed(1)),
        ('+QIURC: "incoming",11,0,"10.176.0.9",40000', b"", Incoming(11, 0, "10.176.0.9", 40000)),
        ('+QIURC: "incoming full"', b"", None),
        ('+QIURC: "pdpdeact",1', b"", ContextLost()),
        ('+QIURC: "pdpdeact",2', b"", None),
        ('+QIURC: "closed",x', b"", None),
        ("+QIURC:", b"", None),
    ],
)
def test_quectel_codes(line: str, data: bytes, news: SocketEvent | None) -> None:
    """Codes become values; bytes that were lost on the way are noticed."""
    assert quectel.event(Urc(line, data)) == news


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ('+QIURC: "recv",0,5', 5),
        ('+QIURC: "recv",0,5,"10.0.0.1",80', 5),
        ('+QIURC: "recv",0', 0),
        ('+QIURC: "closed",5', 0),
        ("+QIRD: 7", 7),
        ('+QIRD: 7,"10.0.0.1",80', 7),
        ("+QIRD: 10,5,5", 0),
        ('+QIURC: "recv",0,-5', 0),
        ("+CSQ: 17,99", 0),
    ],
)
def test_quectel_says_how_many_raw_bytes_follow(line: str, count: int) -> None:
    """Only of lines that have bytes behind them."""
    assert quectel.payload_after(line) == count


def test_answers() -> None:
    """Numbers, addresses and bytes in answers, and their absence."""
    assert ublox.created(Answer(("+USOCR: 3",), "OK")) == 3
    assert ublox.created(Answer((), "OK")) == -1
    assert ublox.data_read(Answer(('+USORD: 0,5,"48656C6C6F"',), "OK")) == b"Hello"
    assert ublox.data_read(Answer(('+USORD: 0,""',), "OK")) == b""
    assert ublox.data_read(Answer(("+USORD: 0,0",), "OK")) == b""
    assert ublox.datagram_read(Answer(('+USORF: 3,"10.0.0.1",2222,2,"4F4B"',), "OK")) == (
        "10.0.0.1", 2222, b"OK",
    )  # fmt: skip
    assert ublox.datagram_read(Answer(('+USORF: 3,"",0,0,""',), "OK")) is None
    assert ublox.is_active(Answer(("+UPSND: 0,8,1",), "OK"))
    assert not ublox.is_active(Answer(("+UPSND: 0,8,0",), "OK"))
    assert ublox.address(Answer(('+UPSND: 0,0,"10.0.0.2"',), "OK")) == "10.0.0.2"
    assert ublox.address(Answer(("+CGPADDR: 1,10.0.0.2",), "OK")) == "10.0.0.2"
    assert ublox.address(Answer(('+UPSND: 0,0,"0.0.0.0"',), "OK")) is None
    assert quectel.address(Answer(('+QIACT: 1,1,1,"10.0.0.2"',), "OK")) == "10.0.0.2"
    assert quectel.outstanding(Answer(("+QISEND: 90,9,81",), "OK")) == 81
    assert quectel.outstanding(Answer((), "OK")) == 0
    assert ublox.written(Answer(("+USOWR: 0,100",), "OK")) == 100
    assert ublox.written(Answer((), "OK")) == -1
    assert ublox.figure(Answer(("+USOCTL: 0,2,38",), "OK")) == 38
    assert ublox.figure(Answer((), "OK")) == -1
    assert quectel.sent(Answer(("+QISEND: 90,9,81",), "OK")) == 90
    assert quectel.sent(Answer((), "OK")) == -1
    assert quectel.address(Answer(('+QIACT: 2,1,1,"10.0.0.2"',), "OK")) is None


def test_long_writes_take_a_prompt() -> None:
    """What does not fit into hex is sent as it is, where the modem has a form for it."""
    assert ublox.send(0, "h", 1, b"\x00" * 250)[1] is None
    assert ublox.send(0, "h", 1, b"\x00" * 251) == ('AT+USOST=0,"h",1,251', b"\x00" * 251)
    assert quectel.write(0, b"\xff" * 256)[0].count("FF") == 256
    assert quectel.write(0, b"\xff" * 257) == ("AT+QISEND=0,257", b"\xff" * 257)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.binary(max_size=10))
def test_no_line_is_too_broken(text: str, data: bytes) -> None:
    """Whatever stands behind a name, nothing is raised."""
    for name in ("+UUSORD:", "+UUSOCL:", "+UUSOLI:", "+QIURC:", '+QIURC: "recv",', "+QIOPEN:", "+CGEV:", ""):
        line = name + text
        ublox.event(Urc(line, data))
        quectel.event(Urc(line, data))
        assert quectel.payload_after(line) >= 0
        answer = Answer((line,), "OK", data)
        ublox.created(answer)
        ublox.data_read(answer)
        ublox.datagram_read(answer)
        ublox.address(answer)
        quectel.address(answer)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=300), st.integers(1, 20))
def test_what_a_peer_says_arrives_whatever_the_pieces(payload: bytes, size: int) -> None:
    """Any bytes, pushed by Quectel or fetched in hex from u-blox, are the same bytes."""
    engine = Engine(quectel.payload_after)
    said = b'\r\n+QIURC: "recv",0,%d\r\n' % len(payload) + payload + b"\r\n"
    events = [event for at in range(0, len(said), size) for event in engine.feed(said[at : at + size])]
    (code,) = (event for event in events if isinstance(event, Urc))
    assert quectel.event(code) == Data(0, payload)
    line = f'+USORD: 0,{len(payload)},"{payload.hex().upper()}"'
    assert ublox.data_read(Answer((line,), "OK")) == payload


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters='",'), max_size=6).map(str.strip)))
def test_fields_are_split_outside_quotes(parts: list[str]) -> None:
    """Quotes protect commas, and are not part of a field."""
    if parts:
        assert fields("+X: " + ",".join(f'"{part}"' for part in parts)) == parts
    assert fields('+X: 1,"a,b",,2') == ["1", "a,b", "", "2"]


def test_an_estimate_of_traffic() -> None:
    """Opening, a request of 81 bytes, an answer of 5 and closing: the segments that they take."""
    meter = Meter()
    meter.ask("10.0.0.1")
    meter.stand()
    meter.write(81)
    meter.read(5)
    spent = meter.closed()
    assert spent.up == 44 + 40 + (40 + 81) + 40 + 80
    assert spent.down == 44 + 40 + (40 + 5) + 80
    assert traffic.lookup("cloudsocket.hologram.io").up > 60
    assert traffic.lookup("10.0.0.1").up == 0
    assert traffic.lookup("a" * 300).up == 0

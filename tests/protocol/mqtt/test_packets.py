"""What a broker sends, cut into packets: right ones, wrong ones, whole and in pieces."""

import contextlib
from collections.abc import Iterable
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.delivery import NO_PROPERTIES, Properties
from bridge.errors import NotMqtt
from bridge.protocol.mqtt.packets import (
    PINGRESP,
    PROPERTIES_LIMIT,
    PUBACK,
    USER_PROPERTIES,
    Packet,
    PacketReader,
    Publish,
)
from tests.doubles.mqtt_wire import CONNACK, CONNACK_3, length, packet, publish, text, user

PINGED = packet(0xD0)


def cut(chunks: Iterable[bytes], *, version5: bool = True, limit: int = 12_000_000) -> list[Publish | Packet]:
    """Return the packets after CONNACK."""
    reader = PacketReader(version5=version5, limit=limit)
    found = [each for chunk in (CONNACK if version5 else CONNACK_3, *chunks) for each in reader.feed(chunk)]
    return found[1:]


def only(data: bytes, *, version5: bool = True, limit: int = 12_000_000) -> Publish:
    """Return the one message of ``data``: whole, byte by byte, and with a packet after it."""
    (whole,) = cut([data], version5=version5, limit=limit)
    assert isinstance(whole, Publish)
    pieces = cut([bytes((byte,)) for byte in data], version5=version5, limit=limit)
    trailed = cut([data + PINGED], version5=version5, limit=limit)
    assert trailed[1:] == [Packet(PINGRESP, b"")]
    for other in (pieces[0], trailed[0]):
        assert isinstance(other, Publish)
        assert other._replace(problem=None) == whole._replace(problem=None)
        assert str(other.problem) == str(whole.problem)
    return whole


def problem(data: bytes, *, version5: bool = True) -> str:
    """Return what is wrong with the message."""
    return str(only(data, version5=version5).problem)


EVERYTHING = (
    b"\x01\x01" + b"\x02\0\0\0\x3c" + b"\x03" + text("text/plain") + b"\x08" + text("reply/\ufeffme")
    + b"\x09" + text(b"\0\xff") + b"\x0b\x07" + b"\x0b\x80\x01" + b"\x23\0\x05"
    + user("sensor", "\ufeffkitchen") + user("id", "7")
)  # fmt: skip


def test_a_message_with_everything() -> None:
    """Flags, packet identifier, properties and payload; U+FEFF is a character [MQTT 5.0, 1.5.4]."""
    found = only(
        publish("hologram/out/\ufeff", b"21.5", mid=65535, dup=True, retain=True, properties=EVERYTHING)
    )
    given = Properties(60, "reply/\ufeffme", b"\0\xff", (("sensor", "\ufeffkitchen"), ("id", "7")))
    assert found == Publish("hologram/out/\ufeff", b"21.5", 1, True, True, 65535, given)


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_plain_message(version5: bool, qos: int) -> None:
    """Each QoS in each version, with and without a payload; what another broker calls 0 is a number too."""
    for payload in (b"", b"\0", b"x" * 200):
        for mid in (0, 7):
            found = only(publish("a", payload, qos=qos, mid=mid, version5=version5), version5=version5)
            assert found == Publish("a", payload, qos, False, False, mid if qos else 0, NO_PROPERTIES)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (publish(b"hologram/out/\xff"), r"topic: b'hologram/out/\xff' is not allowed; it must be UTF-8"),
        (publish(b"a\xed\xa0\x80"), "topic: "),
        (publish("hologram/out/a\0b"), "topic: 'hologram/out/a\\x00b' is not allowed; NUL may not be in it"),
        (publish(""), "topic: '' is not allowed; the broker named none"),
        (publish("", properties=b"\x23\0\x01"), "topic: '' is not allowed; the broker named none"),
        (publish(properties=user("a", b"\xff")), "user_property: b'\\xff' is not allowed; it must be UTF-8"),
        (publish(properties=user(b"\xc3", "a")), "user_property: "),
        (publish(properties=user("a\0", "a")), "user_property: "),
        (publish(properties=b"\x08" + text(b"\xff")), "response_topic: "),
        (publish(properties=b"\x03" + text(b"\xff")), "content_type: "),
        (publish(properties=b"\x08\0\x09abc"), "response_topic: b'\\x00\\tabc' is not allowed; it is longer"),
        (publish(properties=b"\x09\0"), "correlation_data: "),
        (publish(properties=b"\x02\0\0"), "message_expiry_interval: "),
        (publish(properties=b"\x26\0\x01a\0\x05b"), "user_property: "),
        (publish(properties=b"\x0b\xff"), "subscription_identifier: "),
        (publish(properties=b"\x7f\0"), "properties: b'\\x7f\\x00' is not allowed; MQTT 5 has no property"),
        (publish(properties=b"\xff\xff\xff\xff\xff"), "properties: "),
        (publish(properties=b"\x11\0\0\0\x01"), "session_expiry_interval: 1 is not allowed; it is no"),
        (publish(properties=b"\x1f" + text("why")), "reason_string: 'why' is not allowed; it is no property"),
        (publish(properties=2 * b"\x02\0\0\0\x3c"), "message_expiry_interval: 60 is not allowed; it may be"),
        (publish(properties=2 * (b"\x08" + text("a"))), "response_topic: "),
        (packet(0x32, text("a") + b"\0\1"), "properties: b'' is not allowed; they end after the packet"),
        (packet(0x32, text("a") + b"\0\1\x05abc"), "properties: "),
        (packet(0x32, text("a") + b"\0\1\xff\xff\xff\xff\x01"), "properties: "),
        (packet(0x32, text("a") + b"\0\1\x80"), "properties: "),
        (publish(qos=3), "qos: 3 is not allowed; it is 0, 1 or 2"),
    ],
)
def test_what_cannot_be_read_can_be_acknowledged(data: bytes, said: str) -> None:
    """The broker would deliver it for ever: its packet identifier comes out, with what is wrong."""
    found = only(data)
    assert str(found.problem).startswith(said)
    assert (found.mid, found.qos) == (1, 1)


def test_what_was_read_before_it_broke_is_kept() -> None:
    """A result can name the message's id, and reach whoever asked for it."""
    given = user("id", "mine") + b"\x08" + text("reply/me") + b"\x09" + text(b"c") + user("a", b"\xff")
    found = only(publish(payload=b"rest", properties=given))
    assert found.properties == Properties(None, "reply/me", b"c", (("id", "mine"),))
    assert (found.topic, found.payload) == ("hologram/out/a", b"rest")
    assert only(publish(b"a/\xff", version5=False), version5=False).topic == "a/\\xff"


def test_properties_are_bounded() -> None:
    """As many as nobody needs are read no further, whatever their number and size."""
    assert only(publish(properties=user("a", "b") * USER_PROPERTIES)).problem is None
    many = publish(properties=user("a", "b") * (USER_PROPERTIES + 1))
    assert "at most 1000 of them" in problem(many)
    (most,) = cut([publish(properties=user("id", "b") * 200_000)])
    assert isinstance(most, Publish)
    assert "at most 262144 bytes of them" in str(most.problem)
    longest = b"\x08" + text("r" * 65_535) + b"\x09" + text(b"c" * 65_535) + user("k" * 65_535, "v" * 65_000)
    assert len(longest) <= PROPERTIES_LIMIT
    (large,) = cut([publish("t" * 65_535, properties=longest)])
    assert isinstance(large, Publish)
    assert large.problem is None


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_what_is_too_large_is_skipped_while_it_comes(version5: bool) -> None:
    """Of a message over the limit topic, identifier and properties are kept, and what follows it comes."""
    given = user("id", "big") if version5 else b""
    for size in (101, 5000, 2_000_000):
        large = publish("a", b"y" * size, mid=9, properties=given, version5=version5)
        after = publish("b", b"small", mid=10, version5=version5)
        whole = cut([large + after], version5=version5, limit=100)
        pieces = [large[at : at + 977] for at in range(0, len(large), 977)]
        for found in (whole, cut([*pieces, after], version5=version5, limit=100)):
            first, second = found
            assert isinstance(first, Publish)
            assert (first.topic, first.payload, first.mid) == ("a", b"", 9)
            assert first.properties.user == ((("id", "big"),) if version5 else ())
            assert str(first.problem).startswith("payload: ")
            assert str(first.problem).endswith("a packet of the broker has at most 100 bytes")
            assert second == Publish("b", b"small", 1, False, False, 10, NO_PROPERTIES)


def test_memory_stays_flat_while_a_large_message_comes() -> None:
    """200 MB go by, and no more than the head of it is held."""
    reader = PacketReader(version5=True)
    assert len(list(reader.feed(CONNACK))) == 1
    size = 200_000_000
    head = text("a") + b"\0\7\0"
    assert list(reader.feed(b"\x32" + length(size + len(head)) + head)) == []
    chunk = bytes(1_000_000)
    for number in range(200):
        found = list(reader.feed(chunk))
        assert sum(map(len, reader._parts)) <= 2_000_000
        assert bool(found) == (number == 199)
    assert [(each.mid, each.problem is None) for each in found if isinstance(each, Publish)] == [(7, False)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "before CONNACK"),
        (b"\x00\x00", "a packet of kind 0, which no server sends"),
        (packet(0x10, b"x"), "a packet of kind 1, which no server sends"),
        (packet(0xF0), "a packet of kind 15, which no server sends"),
        (publish(), "a packet of kind 3 before CONNACK"),
        (CONNACK + CONNACK, "a second CONNACK"),
        (CONNACK + b"\xd0\xff\xff\xff\xff\x01", "takes more than 4 bytes"),
        (CONNACK + packet(0x32, b""), "ends within its topic"),
        (CONNACK + packet(0x32, b"\0"), "ends within its topic"),
        (CONNACK + packet(0x32, b"\0\x05abc"), "ends within its topic"),
        (CONNACK + packet(0x32, b"\0\x01a\0"), "ends within its topic"),
        (CONNACK + b"\x90" + length(20_000_000), "a packet of kind 9 with 20000000 bytes"),
    ],
)
def test_what_is_no_mqtt_is_said(data: bytes, said: str) -> None:
    """Whole and byte by byte: nothing can be made of it, and nothing is waited for."""
    for chunks in ([data], [bytes((byte,)) for byte in data]):
        reader = PacketReader(version5=True)
        with pytest.raises(NotMqtt, match=said):
            list(chain.from_iterable(map(reader.feed, chunks)))


def test_what_came_before_it_is_not_lost() -> None:
    """A packet that is no MQTT does not take the good ones of its chunk with it."""
    reader = PacketReader(version5=True)
    came: list[Publish | Packet] = []
    with pytest.raises(NotMqtt):
        came.extend(reader.feed(CONNACK + publish(mid=5) + b"\x00"))
    assert [each.mid for each in came if isinstance(each, Publish)] == [5]


TOPICS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
MESSAGES = st.builds(
    publish,
    TOPICS,
    st.binary(max_size=300),
    qos=st.integers(0, 2),
    mid=st.integers(0, 65_535),
    retain=st.booleans(),
    dup=st.booleans(),
    properties=st.lists(st.builds(user, TOPICS, TOPICS), max_size=3).map(b"".join),
)
PACKETS = MESSAGES | st.just(PINGED) | st.binary(min_size=2, max_size=6).map(lambda body: packet(0x40, body))


@given(st.lists(PACKETS, max_size=6), st.lists(st.integers(1, 400), max_size=12), st.integers(20, 400))
def test_pieces_make_no_difference(packets: list[bytes], sizes: list[int], limit: int) -> None:
    """However the bytes come, the same packets come out, over the limit or not."""
    data = b"".join(packets)
    whole = cut([data], limit=limit)
    assert len(whole) == len(packets)
    chunks, rest = [], data
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    pieces = cut([*chunks, rest], limit=limit)
    assert [repr(each) for each in pieces] == [repr(each) for each in whole]
    read = [each for each in whole if isinstance(each, Publish)]
    assert all(each.problem is None or "at most" in str(each.problem) for each in read)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_packets_or_no_mqtt(data: bytes, version5: bool) -> None:
    """Nothing else is raised."""
    reader = PacketReader(version5=version5)
    list(reader.feed(CONNACK))
    with contextlib.suppress(NotMqtt):
        assert all(isinstance(each, Publish | Packet) for each in reader.feed(data))


@given(st.binary(max_size=80), st.binary(max_size=20))
def test_any_properties_are_read_or_rejected(properties: bytes, payload: bytes) -> None:
    """Whatever stands in the list, payload and identifier are found."""
    found = only(publish(payload=payload, properties=properties))
    assert (found.mid, found.payload) == (1, payload)


def test_an_acknowledgement_is_told_from_a_message() -> None:
    """Other packets come out as they are."""
    assert cut([packet(0x40, b"\0\1\x10\0")]) == [Packet(PUBACK, b"\0\1\x10\0")]

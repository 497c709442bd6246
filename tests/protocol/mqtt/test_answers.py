"""What the broker answers, in a form that paho reads whatever stands in it."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from bridge.errors import NotMqtt
from bridge.protocol.mqtt.answers import readable
from bridge.protocol.mqtt.packets import (
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBCOMP,
    PUBREC,
    SUBACK,
    UNSUBACK,
    Packet,
)
from tests.doubles.mqtt_wire import packet, text, user

MARKED = "\ufeffwhy"
ODD = user("a", MARKED) + b"\x1f" + text(MARKED) + b"\x1f" + text("again")


def answer(kind: int, body: bytes, *, version5: bool = True) -> bytes:
    return readable(Packet(kind, body), version5=version5)


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (SUBACK, b"\0\7\0\1\x87\x55\xee", b"\x90\x07\0\7\0\1\x87\0\x80"),
        (UNSUBACK, b"\0\7\0\x11\x11", b"\xb0\x05\0\7\0\x11\x11"),
        (PINGRESP, b"", b"\xd0\0"),
        (PINGRESP, b"x", b"\xd0\0"),
        (DISCONNECT, b"", b"\xe0\x02\0\0"),
        (DISCONNECT, b"\x8e", b"\xe0\x02\x8e\0"),
        (DISCONNECT, b"\x8e\x08\x1c" + text("other"), b"\xe0\x02\x8e\0"),
        (DISCONNECT, b"\xfd\0", b"\xe0\x02\x80\0"),
        (DISCONNECT, b"\x97\x06\x1f\0\x03why", b"\xe0\x08\x97\x06\x1f\0\x03why"),
        (DISCONNECT, b"\x87" + bytes((len(ODD),)) + ODD, b"\xe0\x0a\x87\x08\x1f\0\x05again"),
        (CONNACK, b"\1\0\x03\x21\0\x14", b"\x20\x06\1\0\x03\x21\0\x14"),
        (CONNACK, b"\0\0\x06\x21\0\0\x21\0\x09", b"\x20\x06\0\0\x03\x21\0\x09"),
        (CONNACK, b"\0\0\x05\x27\xff\xff\xff\xff", b"\x20\x03\0\0\0"),
        (CONNACK, b"\0\1", b"\x20\x03\0\1\0"),
        (CONNACK, b"\0\x05", b"\x20\x03\0\x80\0"),
        (PUBREC, b"\0\7", b""),
        (PUBCOMP, b"\0\7", b""),
    ],
)  # fmt: skip
def test_what_is_left_of_an_answer(kind: int, body: bytes, expected: bytes) -> None:
    """Codes and numbers stay, a reason that can be read too; the rest goes."""
    assert answer(kind, body) == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (SUBACK, b"\0\7\1\x80\x87", b"\x90\x05\0\7\1\x80\x80"),
        (UNSUBACK, b"\0\7", b"\xb0\x02\0\7"),
        (CONNACK, b"\1\0", b"\x20\x02\1\0"),
        (CONNACK, b"\0\5\0", b"\x20\x02\0\5"),
        (CONNACK, b"\0\x99", b"\x20\x02\0\3"),
    ],
)
def test_what_is_left_of_an_answer_in_3_1_1(kind: int, body: bytes, expected: bytes) -> None:
    """It has neither properties nor reasons, and a refusal stays one."""
    assert answer(kind, body, version5=False) == expected


@pytest.mark.parametrize("kind", [CONNACK, SUBACK, UNSUBACK])
def test_an_answer_that_says_too_little_is_no_mqtt(kind: int) -> None:
    """Nothing is made up."""
    for body in (b"", b"\0"):
        with pytest.raises(NotMqtt):
            answer(kind, body)


class Wired(paho.Client):
    """paho's client, with the test at the other end of its connection."""

    def __init__(self, *, version5: bool) -> None:
        self.near, self.far = socket.socketpair()
        protocol = paho.MQTTv5 if version5 else paho.MQTTv311
        super().__init__(CallbackAPIVersion.VERSION2, protocol=protocol, reconnect_on_failure=False)
        self.connect("test")

    def _create_socket(self) -> Any:
        self.near.setblocking(False)
        return self.near


@contextlib.contextmanager
def wired(*, version5: bool) -> Iterator[Wired]:
    client = Wired(version5=version5)
    yield client
    client.far.close()
    client.near.close()


KINDS = st.sampled_from([CONNACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, DISCONNECT])
PROPERTIES = st.lists(
    st.binary(max_size=6)
    | st.sampled_from([b"\x21", b"\x27", b"\x1f", b"\x13", b"\x24", b"\x26", b"\x11", b"\x29"])
    | st.text(max_size=3).map(text),
    max_size=6,
).map(b"".join)
BODIES = st.builds(
    lambda head, given, tail: head + bytes((len(given),)) + given + tail,
    st.binary(max_size=4),
    PROPERTIES,
    st.binary(max_size=4),
)


@given(KINDS, BODIES | st.binary(max_size=12), st.booleans())
@example(CONNACK, b"\0\0\x02\x24\x07", True)
@example(CONNACK, b"\0\0\x03\x13\0\0", True)
def test_paho_reads_whatever_came(kind: int, body: bytes, version5: bool) -> None:
    """Any bytes at all: no mistake of the broker's raises in paho, or ends the connection there."""
    try:
        clean = readable(Packet(kind, body), version5=version5)
    except NotMqtt:
        return
    if not clean or (kind == DISCONNECT and not version5):
        return
    with wired(version5=version5) as client:
        client.on_subscribe = client.on_unsubscribe = client.on_connect = lambda *_: None
        client.far.sendall(clean)
        refused = kind == CONNACK and clean[3] != 0
        assert client.loop_read() == paho.MQTT_ERR_SUCCESS or refused


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
@pytest.mark.parametrize("kind", [CONNACK, SUBACK, UNSUBACK, DISCONNECT])
def test_paho_knows_each_reason_code(kind: int, version5: bool) -> None:
    """All 256 of them."""
    if kind == DISCONNECT and not version5:
        return
    for code in range(256):
        bodies = {CONNACK: b"\0%c\0", DISCONNECT: b"%c\0"}
        body = bodies.get(kind, b"\0\7\0%c" if version5 else b"\0\7%c") % code
        with wired(version5=version5) as client:
            client.far.sendall(readable(Packet(kind, body), version5=version5) + packet(0xD0))
            refused = kind == CONNACK and code != 0
            assert client.loop_read() == paho.MQTT_ERR_SUCCESS or refused, code

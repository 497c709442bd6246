"""Our publications: the packets, byte for byte, and what the broker's acknowledgement says."""

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from bridge.core.delivery import Properties
from bridge.errors import NotMqtt, Unpublishable
from bridge.protocol.mqtt.packets import PacketReader, Publish
from bridge.protocol.mqtt.publications import acknowledgement, publication


def test_the_bytes_of_a_publication() -> None:
    """MQTT 5 has a length of properties, 3.1.1 none; only QoS 1 has a packet identifier."""
    assert publication("a/b", b"xy", version5=False) == b"\x30\x07\0\x03a/bxy"
    assert publication("a/b", b"xy", version5=True) == b"\x30\x08\0\x03a/b\0xy"
    assert publication("a/b", b"xy", mid=258, version5=False) == b"\x32\x09\0\x03a/b\1\2xy"
    assert publication("a/b", b"xy", mid=258, retain=True, version5=True) == b"\x33\x0a\0\x03a/b\1\2\0xy"


@pytest.mark.parametrize("size", [0, 1, 117, 118, 16_373, 16_374, 2_097_141, 2_097_142])
@pytest.mark.parametrize(
    "properties",
    [None, Properties(), Properties(correlation=b"\0\xff", user=(("peer", "é"), ("", "x" * 200)))],
    ids=["none", "empty", "both"],
)
def test_a_reader_finds_what_was_written(size: int, properties: Properties | None) -> None:
    """Each length of the length, with and without properties."""
    packet = publication("hologram/in", bytes(size), mid=7, properties=properties, version5=True)
    reader = PacketReader(version5=True)
    _connack, found = reader.feed(b"\x20\x03\0\0\0" + packet)
    assert found == Publish(
        "hologram/in", bytes(size), 1, False, False, 7, properties or Properties(), problem=None
    )


@pytest.mark.parametrize(
    ("topic", "properties"),
    [
        ("", None),
        ("a/+", None),
        ("a/#", None),
        ("a\0", None),
        ("a\ud800", None),
        ("a" * 65_536, None),
        ("a", Properties(correlation=bytes(65_536))),
        ("a", Properties(user=(("\ud800", "value"),))),
        ("a", Properties(user=(("key", "v" * 65_536),))),
    ],
    ids=["empty", "plus", "hash", "NUL", "surrogate", "long", "correlation", "property", "long property"],
)
def test_what_mqtt_has_no_form_for(topic: str, properties: Properties | None) -> None:
    """It is said so, the second time too."""
    for _ in range(2):
        with pytest.raises(Unpublishable):
            publication(topic, b"x", properties=properties, version5=True)


def test_what_an_acknowledgement_says() -> None:
    """The packet identifier, and in MQTT 5 the name of a refusal; properties are left aside."""
    assert acknowledgement(b"\1\2", version5=True) == (258, None)
    assert acknowledgement(b"\1\2\x10\0", version5=True) == (258, None)
    assert acknowledgement(b"\1\2\x04", version5=True) == (258, None)
    assert acknowledgement(b"\1\2\x87\x06\x1f\0\x03why", version5=True) == (258, "Not authorized")
    assert acknowledgement(b"\1\2\xfe", version5=True) == (258, "Unspecified error")
    assert acknowledgement(b"\1\2\x87", version5=False) == (258, None)


def test_refusals_have_the_names_of_the_standard() -> None:
    """The same as paho's, for every code of a PUBACK."""
    for code in (0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99):
        expected = ReasonCode(PacketTypes.PUBACK, identifier=code).getName()
        assert acknowledgement(b"\0\1%c" % code, version5=True) == (1, expected)


@pytest.mark.parametrize("body", [b"", b"\0"])
def test_an_acknowledgement_that_says_too_little_is_no_mqtt(body: bytes) -> None:
    """Nothing is made up."""
    with pytest.raises(NotMqtt):
        acknowledgement(body, version5=True)

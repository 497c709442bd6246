"""What a broker may send, right or wrong: it is taken or acknowledged, and never in the way."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bridge.adapters.mqtt.broker import Broker
from bridge.adapters.mqtt.session import Session
from bridge.core.delivery import Delivery
from tests.adapters.mqtt.test_session import Owner, session, until
from tests.doubles.fake_broker import FakeBroker
from tests.doubles.mqtt_wire import CONNACK, length, packet, publish, text, user

Story = Callable[[Session, Owner], Awaitable[None]]


class Acknowledging(Owner):
    """Acknowledges what it gets at once."""

    found: Session | None = None

    def mqtt_received(self, delivery: Delivery) -> None:
        super().mqtt_received(delivery)
        assert self.found is not None
        self.found.ack(delivery)


def play(
    broker: FakeBroker, story: Story, *, owner: Owner | None = None, up: bool = True, keepalive: int = 30
) -> Owner:
    """Run a session with ``broker``, and ``story`` in it."""
    owner = owner or Acknowledging()

    async def main() -> None:
        await broker.start()
        given = Broker(
            "127.0.0.1", broker.port, "the-bridge", version5=broker.version5, tls=None, keepalive=keepalive
        )
        async with session(given, owner, up=False) as found:
            if isinstance(owner, Acknowledging):
                owner.found = found
            if up:
                await until(lambda: owner.ups)
            await story(found, owner)

    asyncio.run(main())
    return owner


UNREADABLE = {
    "a topic that is not UTF-8": publish(b"hologram/out/\xff"),
    "NUL in a topic": publish("hologram/out/a\0"),
    "no topic": publish(""),
    "an alias": publish("", properties=b"\x23\0\1"),
    "a name that is not UTF-8": publish(properties=user(b"\xff", "a")),
    "a value that is not UTF-8": publish(properties=user("a", b"\xff")),
    "NUL in a value": publish(properties=user("a", "\0")),
    "half a surrogate pair": publish(properties=user("a", b"\xed\xa0\x80")),
    "a response topic that is not UTF-8": publish(properties=b"\x08" + text(b"\xff")),
    "a property that does not exist": publish(properties=b"\x7f\1"),
    "a property of other packets": publish(properties=b"\x21\0\1"),
    "a property twice": publish(properties=b"\x02\0\0\0\1" * 2),
    "a property that is cut": publish(properties=b"\x26\0\x05ab"),
    "a list that is cut": packet(0x32, text("a") + b"\0\1\x20abc"),
    "no list": packet(0x32, text("a") + b"\0\1"),
    "a length that never ends": packet(0x32, text("a") + b"\0\1\xff\xff\xff\xff\xff\xff"),
    "200,000 user properties": publish(properties=user("a", "b") * 200_000),
    "a QoS that does not exist": publish(qos=3),
    "13 MB": publish(payload=bytes(13_000_000)),
}

LEGAL = {
    "U+FEFF": publish(properties=user("sensor", "\ufeffkitchen")),
    "U+FEFF in the topic": publish("hologram/out/\ufeff"),
    "characters that are none": publish(properties=user("a", "\ufffe\U0001ffff\ufdd0\x01\x9f")),
    "a payload that is not the UTF-8 it says": publish(payload=b"\xff", properties=b"\1\1"),
    "a payload format that does not exist": publish(properties=b"\1\7"),
    "an alias beside a topic": publish(properties=b"\x23\0\1"),
    "several subscription identifiers": publish(properties=b"\x0b\1\x0b\2"),
    "a subscription identifier of 0": publish(properties=b"\x0b\0"),
    "a packet identifier of 0": publish(mid=0),
}


@pytest.mark.parametrize("name", [*UNREADABLE, *LEGAL])
def test_what_comes_is_acknowledged_whatever_it_is(name: str) -> None:
    """It is told, with what is wrong with it if anything is; after its acknowledgement the next one comes."""
    given = UNREADABLE.get(name) or LEGAL[name]
    broker = FakeBroker(unacknowledged={0 if given == publish(mid=0) else 1: given})

    async def story(_session: Session, owner: Owner) -> None:
        await until(lambda: not broker.unacknowledged)
        broker.send(publish(payload=b"next", mid=2))
        await until(lambda: len(owner.received) == 2)

    owner = play(broker, story)
    first, second = owner.received
    assert (first.problem is None) == (name in LEGAL)
    assert (second.payload, second.problem) == (b"next", None)
    assert broker.connections == 1


@pytest.mark.parametrize(
    "given",
    [
        publish(b"hologram/out/\xff", version5=False),
        publish("hologram/out/a\0", version5=False),
        publish("", version5=False),
        publish(payload=bytes(13_000_000), version5=False),
        publish(qos=3, version5=False),
    ],
    ids=["no UTF-8", "NUL", "no topic", "13 MB", "QoS"],
)
def test_the_same_in_3_1_1(given: bytes) -> None:
    """A packet limit cannot be announced there."""
    broker = FakeBroker(version5=False, unacknowledged={1: given})

    async def story(_session: Session, owner: Owner) -> None:
        await until(lambda: not broker.unacknowledged)
        broker.send(publish(payload=b"next", mid=2, version5=False))
        await until(lambda: len(owner.received) == 2)

    owner = play(broker, story)
    assert [item.problem is None for item in owner.received] == [False, True]


def test_a_message_right_behind_connack_is_taken() -> None:
    """Brokers send what waited in the same bytes; it belongs to this connection, and many are no problem."""
    waited = {mid: publish(payload=b"%d" % mid, mid=mid) for mid in range(1, 3001)}
    broker = FakeBroker(unacknowledged=waited)

    async def story(_session: Session, owner: Owner) -> None:
        await until(lambda: not broker.unacknowledged)

    owner = play(broker, story)
    assert [item.payload for item in owner.received] == [b"%d" % mid for mid in range(1, 3001)]


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_qos_2_is_received_when_it_is_durable(version5: bool) -> None:
    """A broker may not send more than QoS 1 here; one that does is answered only after the owner has it."""
    broker = FakeBroker(
        version5=version5, unacknowledged={5: publish(payload=b"two", qos=2, mid=5, version5=version5)}
    )
    owner = Owner()

    async def story(found: Session, owner: Owner) -> None:
        await until(lambda: owner.received)
        broker.send(packet(0xD0))
        await asyncio.sleep(0.1)
        assert broker.released == []
        found.ack(owner.received[0])
        await until(lambda: broker.completed)

    play(broker, story, owner=owner)
    assert [item.payload for item in owner.received] == [b"two"]
    assert (broker.released, broker.completed) == ([5], [5])


ODD = user("\ufeff", "\ufeff") + b"\x1f" + text("\ufeffwhy")
ODD_PROPERTIES = length(len(ODD)) + ODD


def test_an_odd_answer_does_not_end_the_connection() -> None:
    """U+FEFF, unknown codes, values out of range and what comes twice, in each packet that answers one."""
    limits = b"\x21\0\0" + b"\x27\xff\xff\xff\xff" + b"\x24\x01\x24\x01" + ODD
    broker = FakeBroker(
        connack=packet(0x20, b"\0\0" + length(len(limits)) + limits),
        suback=lambda body: packet(0x90, body[:2] + ODD_PROPERTIES + b"\x01"),
        puback=lambda mid: packet(0x41, mid + b"\xee" + ODD_PROPERTIES),
    )

    async def story(found: Session, owner: Owner) -> None:
        found.publish("hologram/result", b"x")
        broker.send(packet(0xD1, b"x"))
        broker.send(publish())
        await until(lambda: owner.received and owner.published)

    owner = play(broker, story)
    assert broker.connections == 1
    assert [problem for _, problem in owner.published] == ["Unspecified error"]


def test_an_odd_goodbye_is_told() -> None:
    """A DISCONNECT with an unknown code and an odd reason ends the connection, and another is made."""
    broker = FakeBroker()

    async def story(_found: Session, owner: Owner) -> None:
        broker.send(packet(0xE0, b"\xfe" + ODD_PROPERTIES))
        await until(lambda: len(owner.ups) == 2)

    owner = play(broker, story)
    assert owner.downs[0].startswith("the broker ended the connection: ")


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_what_is_no_mqtt_is_said_and_tried_again(version5: bool) -> None:
    """One line that says what came; what came before it was taken."""
    broker = FakeBroker(version5=version5)

    async def story(_found: Session, owner: Owner) -> None:
        broker.send(publish(version5=version5) + b"\0\0")
        await until(lambda: len(owner.ups) == 2)

    owner = play(broker, story)
    assert owner.downs[0] == "the broker sent what is not MQTT: a packet of kind 0, which no server sends"
    assert [item.payload for item in owner.received] == [b"x"]


def test_a_peer_that_is_no_broker_is_said() -> None:
    """A web server at the broker's port."""
    broker = FakeBroker(connack=b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def story(_found: Session, owner: Owner) -> None:
        await until(lambda: owner.downs)

    owner = play(broker, story, up=False)
    assert "is not MQTT: a packet of kind 4 before CONNACK" in owner.downs[0]


def test_a_refused_version_is_not_tried_inside_the_loop() -> None:
    """The library would connect with MQTT 3.1 by itself, inside the loop, on a socket that nobody watches."""
    broker = FakeBroker(version5=False, connack=packet(0x20, b"\0\1"))

    async def story(_found: Session, owner: Owner) -> None:
        await until(lambda: len(owner.downs) == 2)

    play(broker, story, up=False)
    names = {body[: 2 + body[1]] for first, body in broker.received if first == 0x10}
    assert names == {text("MQTT")}
    assert broker.connections == 2


def test_a_large_message_may_take_longer_than_the_keep_alive() -> None:
    """While its bytes come the broker lives, though its answer to our ping is behind them."""
    broker = FakeBroker()

    async def story(_found: Session, owner: Owner) -> None:
        broker.answers_pings = False
        whole = publish(payload=bytes(900_000))
        for place in range(0, len(whole), 50_000):
            broker.send(whole[place : place + 50_000])
            await asyncio.sleep(0.3)
        broker.answers_pings = True
        await until(lambda: owner.received)

    owner = play(broker, story, keepalive=1)
    assert broker.connections == 1
    assert len(owner.received[0].payload) == 900_000


def test_a_live_retained_message_is_told_from_one_that_clears() -> None:
    """In MQTT 5 the flag is the publisher's: an empty one clears a stored copy, another is a wish of now."""
    broker = FakeBroker()

    async def story(_found: Session, owner: Owner) -> None:
        for mid, (payload, retain) in enumerate([(b"x", True), (b"", True), (b"", False), (b"x", False)], 1):
            broker.send(publish(payload=payload, mid=mid, retain=retain))
        await until(lambda: len(owner.received) == 4)

    owner = play(broker, story)
    assert [item.retain for item in owner.received] == [False, True, False, False]
    (subscribe,) = [body for first, body in broker.received if first == 0x82]
    assert subscribe[-1] == 0x29  # QoS 1, Retain As Published, Retain Handling 2 [MQTT 5.0, section 3.8.3.1]


def test_greetings_are_of_this_connection() -> None:
    """CONNACK in the bytes of the first message: the acknowledgement reaches the right connection."""
    broker = FakeBroker(connack=CONNACK + publish(mid=3))

    async def story(_found: Session, owner: Owner) -> None:
        await until(lambda: (0x40, b"\0\3") in broker.received)

    assert [item.epoch for item in play(broker, story).received] == [1]


def test_packet_identifiers_are_of_one_sequence() -> None:
    """A request of paho's and a publication of ours never have the same one [MQTT 5.0, section 2.2.1]."""
    broker = FakeBroker()

    async def story(found: Session, _owner: Owner) -> None:
        for _ in range(3):
            found.publish("a", b"x")
            found.echo(lambda _: None)
        await until(lambda: sum(first == 0xA2 for first, _ in broker.received) == 3)

    play(broker, story)
    mids = [body[3:5] if first == 0x32 else body[:2] for first, body in broker.received if first & 2]
    assert len(mids) == len(set(mids)) == 7  # one of them is of SUBSCRIBE

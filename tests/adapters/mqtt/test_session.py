"""The MQTT session, against a real mosquitto."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bridge.adapters.mqtt.broker import Broker, tls_context
from bridge.adapters.mqtt.session import Session
from bridge.core.delivery import Delivery, Properties
from bridge.errors import ConfigError, Unpublishable
from tests.harness import Client, Keeper, Mosquitto
from tests.harness.scripted_broker import CUT, ScriptedBroker


class Owner:
    """Takes down what a session tells."""

    def __init__(self) -> None:
        self.ups: list[bool] = []
        self.downs: list[str] = []
        self.received: list[Delivery] = []
        self.published: list[tuple[int, str | None]] = []

    def mqtt_up(self, *, session_present: bool) -> None:
        self.ups.append(session_present)

    def mqtt_down(self, reason: str) -> None:
        self.downs.append(reason)

    def mqtt_received(self, delivery: Delivery) -> None:
        self.received.append(delivery)

    def mqtt_published(self, mid: int, problem: str | None) -> None:
        self.published.append((mid, problem))


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def settings(mosquitto: Mosquitto, *, version5: bool = True, tls: ssl.SSLContext | None = None) -> Broker:
    return Broker("127.0.0.1", mosquitto.port, "the-bridge", version5=version5, tls=tls, keepalive=30)


@contextlib.asynccontextmanager
async def session(broker: Broker, owner: Owner, *, up: bool = True) -> AsyncIterator[Session]:
    """Run a session until the block ends, cleanly."""
    loop = asyncio.get_running_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    found = Session(
        loop, broker, owner, subscriptions=["hologram/out/#"], will=("hologram/bridge/state", b"offline")
    )
    before = len(owner.ups)
    task = loop.create_task(found.run())
    try:
        if up:
            await until(lambda: len(owner.ups) > before)
        yield found
    finally:
        found.disconnect()
        await asyncio.wait_for(task, 20)
    assert errors == []


def publish(mosquitto: Mosquitto, payload: bytes, *, retain: bool = False) -> None:
    """Publish one command and wait for its acknowledgement."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    client.publish("hologram/out/a", payload, qos=1, retain=retain).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


async def send(mosquitto: Mosquitto, payload: bytes, *, retain: bool = False) -> None:
    await asyncio.to_thread(publish, mosquitto, payload, retain=retain)


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_the_session_outlives_the_connection(mosquitto: Mosquitto, version5: bool) -> None:
    """From the first connection on the broker keeps the session, and what came meanwhile is delivered."""
    owner = Owner()

    async def main() -> None:
        broker = settings(mosquitto, version5=version5)
        async with session(broker, owner):
            pass
        await send(mosquitto, b"meanwhile")
        async with session(broker, owner) as second:
            await until(lambda: owner.received)
            second.ack(owner.received[0])

    asyncio.run(main())
    assert owner.ups == [False, True]
    assert [(item.topic, item.payload, item.dup) for item in owner.received] == [
        ("hologram/out/a", b"meanwhile", False)
    ]


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_what_is_not_acknowledged_comes_again(mosquitto: Mosquitto, version5: bool) -> None:
    """After a reconnect the same packet id comes with DUP; once acknowledged it does not come any more."""
    owner = Owner()

    async def main() -> None:
        broker = settings(mosquitto, version5=version5)
        async with session(broker, owner):
            await send(mosquitto, b"x")
            await until(lambda: len(owner.received) == 1)
        async with session(broker, owner) as second:
            await until(lambda: len(owner.received) == 2)
            second.ack(owner.received[1])
        async with session(broker, owner):
            await send(mosquitto, b"next")
            await until(lambda: len(owner.received) == 3)

    asyncio.run(main())
    first, again, last = owner.received
    assert (first.dup, again.dup, last.dup) == (False, True, False)
    assert (again.mid, again.payload) == (first.mid, b"x")
    assert last.payload == b"next"


def test_an_acknowledgement_of_an_earlier_connection_is_dropped(mosquitto: Mosquitto) -> None:
    """It could meet another message with the same packet id: the broker sends again instead."""
    owner = Owner()

    async def main() -> None:
        async with session(settings(mosquitto), owner) as found:
            await send(mosquitto, b"x")
            await until(lambda: len(owner.received) == 1)
            mosquitto.stop()
            await until(lambda: owner.downs)
            mosquitto.start()
            await until(lambda: len(owner.ups) == 2, 30)
            found.ack(owner.received[0])  # of the first connection
            await until(lambda: len(owner.received) == 2)
        async with session(settings(mosquitto), owner) as found:
            await until(lambda: len(owner.received) == 3)  # so the early acknowledgement was not sent
            found.ack(owner.received[2])

    asyncio.run(main())
    assert [item.dup for item in owner.received] == [False, True, True]
    assert [item.epoch for item in owner.received][:2] == [1, 2]


def test_a_lost_session_is_told(mosquitto: Mosquitto) -> None:
    """A broker that forgot the session says so, and the owner learns it."""
    owner = Owner()

    async def main() -> None:
        async with session(settings(mosquitto), owner):
            mosquitto.stop()
            mosquitto.database.unlink(missing_ok=True)
            await until(lambda: owner.downs)
            mosquitto.start()
            await until(lambda: len(owner.ups) == 2, 30)

    asyncio.run(main())
    assert owner.ups == [False, False]


@pytest.mark.parametrize(
    ("version5", "expected"), [(True, []), (False, [True])], ids=["MQTT 5", "MQTT 3.1.1"]
)
def test_retained_commands_are_told_from_live_ones(
    mosquitto: Mosquitto, version5: bool, expected: list[bool]
) -> None:
    """In MQTT 5 the stored copy does not come at all, in 3.1.1 it is marked; live messages are not."""
    owner = Owner()

    async def main() -> None:
        await send(mosquitto, b"old", retain=True)
        async with session(settings(mosquitto, version5=version5), owner):
            await send(mosquitto, b"live", retain=True)
            await until(lambda: any(item.payload == b"live" for item in owner.received))

    asyncio.run(main())
    assert [item.retain for item in owner.received if item.payload == b"old"] == expected
    assert [item.retain for item in owner.received if item.payload == b"live"] == [False]


def test_the_last_will_speaks_after_a_crash_only(mosquitto: Mosquitto, client: Client) -> None:
    """A connection that breaks leaves `offline` retained; a clean goodbye leaves what was said last."""
    heard: list[bytes] = []
    listener = paho.Client(CallbackAPIVersion.VERSION2)
    listener.on_message = lambda _client, _data, message: heard.append(bytes(message.payload))
    listener.connect("127.0.0.1", mosquitto.port)
    listener.subscribe("hologram/bridge/state", qos=1)
    listener.loop_start()
    owner = Owner()

    async def main() -> None:
        async with session(settings(mosquitto), owner) as found:
            found.publish("hologram/bridge/state", b"online", retain=True)
            await until(lambda: heard == [b"online"])
        async with session(settings(mosquitto), owner):
            await asyncio.sleep(0)
        assert heard == [b"online"]
        async with session(settings(mosquitto), owner) as found:
            assert found._wire._sock is not None
            found._wire._sock.shutdown(2)  # what a crash looks like from outside
            await until(lambda: heard == [b"online", b"offline"])

    asyncio.run(main())
    listener.disconnect()
    listener.loop_stop()


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_publications_are_confirmed(mosquitto: Mosquitto, version5: bool) -> None:
    """The broker's acknowledgement names the publication that it is for; none is given while disconnected."""
    owner = Owner()

    async def main() -> None:
        async with session(settings(mosquitto, version5=version5), owner) as found:
            properties = Properties(correlation=b"\0\xff", user=(("peer", "é"),))
            mids = [
                found.publish("hologram/result", b"%d" % number, properties=properties)
                for number in range(200)
            ]
            await until(lambda: len(owner.published) == 200)
            assert [mid for mid, _ in owner.published] == mids
        assert found.publish("hologram/result", b"late") is None

    asyncio.run(main())
    assert {problem for _, problem in owner.published} == {None}


def test_properties_come_through(mosquitto: Mosquitto) -> None:
    """Expiry, Response Topic, Correlation Data and user properties reach the owner as they were set."""
    owner = Owner()
    arguments = [
        "mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(mosquitto.port),
        "-t", "hologram/out/a", "-m", "x", "-q", "1",
        "-D", "publish", "message-expiry-interval", "60", "-D", "publish", "response-topic", "me/reply",
        "-D", "publish", "correlation-data", "c1", "-D", "publish", "user-property", "id", "7",
        "-D", "publish", "user-property", "priority", "high",
    ]  # fmt: skip

    async def main() -> None:
        async with session(settings(mosquitto), owner):
            await asyncio.to_thread(subprocess.run, arguments, check=True)
            await until(lambda: owner.received)

    asyncio.run(main())
    expected = Properties(60, "me/reply", b"c1", (("id", "7"), ("priority", "high")))
    assert owner.received[0].properties == expected


def test_a_broker_that_is_not_there_is_tried_for_ever(keeper: Keeper, tmp_path: Path) -> None:
    """Its absence is said with its address; when it comes the session is made."""
    broker = Mosquitto(keeper, tmp_path / "late")
    owner = Owner()

    async def main() -> None:
        async with session(settings(broker), owner, up=False):
            await until(lambda: len(owner.downs) >= 2)
            await asyncio.to_thread(broker.start)
            await until(lambda: owner.ups, 30)

    asyncio.run(main())
    assert f"no broker at 127.0.0.1:{broker.port}: Connection refused" in owner.downs[0]


def test_a_refused_password_is_said(keeper: Keeper, tmp_path: Path) -> None:
    """A broker that refuses the credentials says why, and no secret is in the words."""
    broker = Mosquitto(keeper, tmp_path / "closed", users={"bridge": "right"})
    broker.start()
    owner = Owner()

    async def main() -> None:
        wrong = settings(broker)._replace(username="bridge", password="wrong-secret")
        async with session(wrong, owner, up=False):
            await until(lambda: owner.downs)
        async with session(settings(broker)._replace(username="bridge", password="right"), owner):
            pass

    asyncio.run(main())
    assert "refused the connection" in owner.downs[0]
    assert "mqtt.username" in owner.downs[0]
    assert not any("wrong-secret" in reason for reason in owner.downs)


# -- TLS -------------------------------------------------------------------------------------------------


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_ca(folder: Path, name: str) -> None:
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt", folder=folder,
    )  # fmt: skip


def make_cert(folder: Path, name: str) -> None:
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
        "-keyout", f"{name}.key", "-out", f"{name}.csr", folder=folder,
    )  # fmt: skip
    openssl(
        "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "san", "-out", f"{name}.crt", folder=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_ca(folder, "ca")
    make_ca(folder, "other")
    for name in ("server", "client"):
        make_cert(folder, name)
    return folder


@pytest.fixture
def secure(keeper: Keeper, tmp_path: Path, certificates: Path) -> Mosquitto:
    """A broker that wants a client certificate."""
    lines = (
        f"cafile {certificates}/ca.crt", f"certfile {certificates}/server.crt",
        f"keyfile {certificates}/server.key", "require_certificate true",
    )  # fmt: skip
    broker = Mosquitto(keeper, tmp_path / "secure", lines=lines)
    broker.start()
    return broker


def test_tls_with_a_client_certificate(secure: Mosquitto, certificates: Path) -> None:
    """Both sides show theirs, and much is carried both ways."""
    owner = Owner()
    context = tls_context(
        str(certificates / "ca.crt"), str(certificates / "client.crt"), str(certificates / "client.key")
    )

    async def main() -> None:
        async with session(settings(secure, tls=context), owner) as found:
            for number in range(100):
                found.publish("hologram/out/a", b"%d" % number + b"x" * 5000)
            await until(lambda: len(owner.published) == 100)
            for count in range(100):
                await until(lambda wanted=count: len(owner.received) > wanted)  # type: ignore[misc]  # default
                found.ack(owner.received[count])

    asyncio.run(main())
    assert [int(item.payload.partition(b"x")[0]) for item in owner.received] == list(range(100))


def test_a_broker_that_another_authority_signed_is_not_trusted(secure: Mosquitto, certificates: Path) -> None:
    """A wrong CA is said as what it is, and nothing is sent."""
    owner = Owner()
    context = tls_context(str(certificates / "other.crt"), None, None)

    async def main() -> None:
        async with session(settings(secure, tls=context), owner, up=False):
            await until(lambda: owner.downs)

    asyncio.run(main())
    assert "TLS with the broker" in owner.downs[0]
    assert "CERTIFICATE_VERIFY_FAILED" in owner.downs[0]
    assert owner.ups == []


def test_a_missing_client_certificate_is_said(secure: Mosquitto, certificates: Path) -> None:
    """A broker that wants a certificate ends the connection, and the session says so and tries on."""
    owner = Owner()
    context = tls_context(str(certificates / "ca.crt"), None, None)

    async def main() -> None:
        async with session(settings(secure, tls=context), owner, up=False):
            await until(lambda: len(owner.downs) >= 2)

    asyncio.run(main())
    assert owner.ups == []
    assert all(owner.downs)


def test_certificates_that_do_not_serve_are_refused(certificates: Path) -> None:
    """A file that is not there, one that is no PEM, an encrypted key, and another's, are errors at once."""
    openssl(
        "ec", "-in", "client.key", "-aes256", "-passout", "pass:secret", "-out", "encrypted.key",
        folder=certificates,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r'^mqtt\.tls\.ca: "missing.crt" .*No such file'):
        tls_context("missing.crt", None, None)
    for key, reason in (
        ("server.key", "key values mismatch"),
        ("san", "not in PEM form"),
        ("encrypted.key", "the key is encrypted"),
    ):
        with pytest.raises(ConfigError, match=rf'^mqtt\.tls\.key: "[^"]*{key}" .*\({reason}\)'):
            tls_context(
                str(certificates / "ca.crt"), str(certificates / "client.crt"), str(certificates / key)
            )


@pytest.mark.parametrize("user", [(), (("key", "value"),)], ids=["plain", "with properties"])
def test_the_largest_packet_is_reckoned_to_the_byte(
    keeper: Keeper, tmp_path: Path, user: tuple[tuple[str, str], ...]
) -> None:
    """What has exactly the bytes that the broker allows is taken; one more is not even tried."""
    mosquitto = Mosquitto(keeper, tmp_path / "mosquitto", lines=("max_packet_size 2000",))
    mosquitto.start()
    owner, topic, properties = Owner(), "hologram/in", Properties(user=user)
    told = 1 + sum(1 + 2 + len(key) + 2 + len(value) for key, value in user)
    room = 2000 - (1 + 2) - (2 + len(topic)) - 2 - told

    async def main() -> None:
        async with session(settings(mosquitto), owner) as found:
            mid = found.publish(topic, bytes(room), properties=properties)
            await until(lambda: owner.published)
            assert [each[0] for each in owner.published] == [mid]
            with pytest.raises(Unpublishable, match="2001 bytes, and the broker takes 2000"):
                found.publish(topic, bytes(room + 1), properties=properties)

    asyncio.run(main())
    assert len(owner.ups) == 1


@pytest.mark.parametrize("version5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
@pytest.mark.parametrize(
    ("topic", "user"),
    [
        ("", ()),
        ("a/#", ()),
        ("a\0b", ()),
        ("a\ud800", ()),
        ("a" * 65_536, ()),
        ("a", (("key", "\ud800"),)),
        ("a", (("key", "v" * 65_536),)),
    ],
    ids=["empty", "wildcard", "NUL", "surrogate", "long", "property", "long property"],
)
def test_what_mqtt_has_no_form_for(
    mosquitto: Mosquitto, version5: bool, topic: str, user: tuple[tuple[str, str], ...]
) -> None:
    """It is said so in one way, and nothing of it is left to be repeated; MQTT 3.1.1 has no properties."""
    owner = Owner()

    async def main() -> None:
        async with session(settings(mosquitto, version5=version5), owner) as found:
            if user and not version5:
                found.publish(topic, b"x", properties=Properties(user=user))
            else:
                with pytest.raises(Unpublishable):
                    found.publish(topic, b"x", properties=Properties(user=user))
            mid = found.publish("hologram/in", b"after")
            await until(lambda: (mid, None) in [(each[0], None) for each in owner.published])

    asyncio.run(main())
    assert len(owner.ups) == 1


def test_what_was_under_way_is_not_repeated(keeper: Keeper, tmp_path: Path) -> None:
    """Whether and when is the owner's decision: the next connection begins with nothing."""
    broker = ScriptedBroker(lambda _: CUT)
    keeper.finally_(broker.close)
    owner = Owner()

    async def main() -> None:
        async with session(Broker("127.0.0.1", broker.port, "the-bridge"), owner) as found:
            found.publish("hologram/in", b"x")
            await until(lambda: len(owner.ups) == 2)
            answered: list[int] = []
            found.echo(answered.append)
            await until(lambda: answered)

    asyncio.run(main())
    assert [each.payload for each in broker.seen] == [b"x"]

"""Fixtures: one Node-RED, broker, bridge and cloud for all tests here: starting them takes the longest."""

import contextlib
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import _KEEPER as KEEPER
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, Received, free_port
from tests.node_red.browser import Browser
from tests.node_red.node_red import NodeRed

OUTPUT = Path(__file__).resolve().parents[1] / "output"
"""Where screenshots go."""

LINES = (
    "max_queued_messages 0",
    "log_type subscribe",
    "log_type error",
    "log_type warning",
    "log_type notice",
)
"""What the broker does beyond its stock configuration: it says who subscribes to what."""


class Lab:
    """The parts, and what tests do with them: each under names of its own, since all share them."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        self.keeper = keeper
        self.folder = folder
        self.mosquitto = Mosquitto(keeper, folder / "mosquitto", lines=LINES)
        self.mosquitto.start()
        self.cloud = Cloud(keeper, folder / "cloud")
        self.cloud.start()
        self.inbound = free_port()
        self.bridge = BridgeProcess(keeper, folder / "bridge", self.mosquitto, self.cloud.port)
        self.bridge.configure(inbound={"enabled": True, "host": "127.0.0.1", "port": self.inbound})
        self.bridge.start()
        self.node_red = NodeRed(keeper, folder / "node-red", self.mosquitto.port)
        self.node_red.start()
        self.node_red.subscribed(self.mosquitto)
        self.client = Client(self.mosquitto.port, "#").connect()
        keeper.finally_(self.client.close)

    def said(self, topic: str) -> list[bytes]:
        """Return the payloads that came on ``topic``."""
        return [message.payload for message in self.client.messages(topic)]

    def arrived(self, topic: str) -> list[bytes]:
        """Return what the cloud accepted under ``topic``."""
        return [each.payload for each in self.cloud.accepted if topic in each.topics]

    def texts(self, number: str) -> list[str]:
        """Return the SMS that the cloud accepted for ``number``."""
        return [each.payload.decode() for each in self.cloud.accepted if each.to == number]

    def answers(self, number: str) -> list[str]:
        """Return those that answer a command: the alarms of other tests come when they come."""
        return [text for text in self.texts(number) if not text.startswith("Pump house: ")]

    @contextlib.contextmanager
    def faulty_cloud(self, fault: str) -> Iterator[None]:
        """Have the cloud fail as ``simulate cloud --fault`` says, until the block ends."""
        self.cloud.stop()
        self.cloud.start("--fault", fault)
        try:
            yield
        finally:
            self.cloud.stop()
            self.cloud.start()

    def sms(self, sender: str, body: str, message_id: str, *, at: datetime | None = None) -> None:
        """Tell of an inbound SMS as the bridge does."""
        at = at or datetime.now(UTC)
        received = at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        told = {"id": message_id, "from": sender, "body": body, "received_at": received}
        self.client.publish("hologram/in/sms", json.dumps({**told, "sent_at": received, "parts": 1}))

    def push(self, text: bytes, source: str = "127.0.0.1") -> None:
        """Send an inbound message to the bridge from ``source``, as the cloud does."""
        address = ("127.0.0.1", self.inbound)
        with socket.create_connection(address, 10, source_address=(source, 0)) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b"", "durable"


@pytest.fixture(scope="package")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Everything, started once."""
    keeper = Keeper()
    try:
        yield Lab(keeper, tmp_path_factory.mktemp("node-red"))
    finally:
        keeper.close()


@pytest.fixture
def lab(shared_lab: Lab, request: pytest.FixtureRequest) -> Lab:
    """Everything; what the parts said is shown where the test fails."""
    request.node.stash[KEEPER] = shared_lab.keeper
    return shared_lab


@pytest.fixture(scope="package")
def browser(shared_lab: Lab) -> Browser:
    """One browser for all pages."""
    return Browser(shared_lab.keeper, shared_lab.folder / "chromium")


class Alone:
    """A second Node-RED under a prefix where no bridge is: the test speaks for the bridge.

    Requests wait one second for their results, and readings may follow each other at once.
    """

    prefix = "alone"

    def __init__(self, lab: Lab) -> None:
        environment = {"HOLOGRAM_PREFIX": self.prefix, "TIMEOUT": "1", "AT_MOST": "0"}
        self.node_red = NodeRed(lab.keeper, lab.folder / self.prefix, lab.mosquitto.port, environment)
        self.client = lab.client
        self.node_red.start()
        self.node_red.subscribed(lab.mosquitto)

    def asked(self, topic: str) -> list[Received]:
        """Return the requests that it made on ``topic``."""
        return self.client.messages(f"{self.prefix}/{topic}")

    def say(self, topic: str, value: object, *, retain: bool = False) -> None:
        """Publish as the bridge would."""
        payload = value if isinstance(value, str) else json.dumps(value)
        self.client.publish(f"{self.prefix}/{topic}", payload, retain=retain)

    def answer(self, request: Received, **result: object) -> None:
        """Publish a result where ``request`` wants it."""
        correlation = request.properties["CorrelationData"]
        self.client.publish(
            request.properties["ResponseTopic"],
            json.dumps({"id": correlation.decode(), **result}),
            properties={"CorrelationData": correlation},
        )


@pytest.fixture(scope="package")
def shared_alone(shared_lab: Lab) -> Alone:
    """The second Node-RED, started once."""
    return Alone(shared_lab)


@pytest.fixture
def alone(lab: Lab, shared_alone: Alone) -> Alone:
    """The second Node-RED; what the parts said is shown where the test fails."""
    return shared_alone

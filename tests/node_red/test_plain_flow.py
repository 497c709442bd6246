"""What a plain flow keeps of messages while the cloud is away, beside the bridge: a claim of the README."""

import json
from pathlib import Path
from typing import Any

from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto
from tests.node_red.conftest import LINES
from tests.node_red.node_red import NodeRed, until

READINGS = 20

REQUEST = (
    "msg.payload = JSON.stringify({k: 'abcd1234', d: msg.payload.toString(), t: 'plain'}) + '\\n\\n';"
    " return msg;"
)
"""The cloud's documented request, as a flow of one's own makes it."""


class PlainFlow(NodeRed):
    """*mqtt in*, *function*, *tcp request*."""

    def __init__(self, keeper: Keeper, folder: Path, broker_port: int, cloud_port: int) -> None:
        super().__init__(keeper, folder, broker_port)
        broker: dict[str, Any] = {
            "id": "b",
            "type": "mqtt-broker",
            "broker": "127.0.0.1",
            "port": str(broker_port),
        }
        broker |= {"clientid": "plain", "autoConnect": True, "protocolVersion": "5", "cleansession": False}
        take = {"id": "i", "type": "mqtt in", "z": "t", "topic": "plain/#", "qos": "1", "broker": "b"}
        write = {"id": "f", "type": "function", "z": "t", "func": REQUEST, "outputs": 1}
        send: dict[str, Any] = {
            "id": "r",
            "type": "tcp request",
            "z": "t",
            "server": "127.0.0.1",
            "port": str(cloud_port),
        }
        send |= {"out": "sit", "ret": "string", "wires": [[]]}
        flow = [
            {"id": "t", "type": "tab", "label": "plain"},
            broker,
            take | {"datatype": "auto", "inputs": 0, "wires": [["f"]]},
            write | {"wires": [["r"]]},
            send,
        ]
        (self.folder / "flows.json").write_text(json.dumps(flow))


def test_a_plain_flow_loses_what_the_bridge_keeps(keeper: Keeper, cloud: Cloud, tmp_path: Path) -> None:
    """The cloud is away, both are killed and started again, the cloud is back: the bridge has all of it."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", lines=(*LINES, "log_type debug"))
    broker.start()
    bridge = BridgeProcess(keeper, tmp_path / "bridge", broker, cloud.port)
    flow = PlainFlow(keeper, tmp_path / "plain", broker.port, cloud.port)
    bridge.start()
    flow.start()
    flow.subscribed(broker)
    with Client(broker.port, "hologram/#").connect() as client:
        for number in range(READINGS):
            client.publish("plain/a", str(number))
            client.publish("hologram/out/kept", str(number))
        client.wait_for(lambda: len(client.events("message.queued")) == READINGS)
        until(lambda: broker.said().count("PUBACK from plain ") == READINGS, what="the flow has all of it")
        until(lambda: "connect failed" in flow.said(), what="the flow has tried to send")
        flow.kill()
        bridge.kill()
        cloud.start()
        flow.start()
        bridge.start()
        until(lambda: len(_arrived(cloud, "kept")) == READINGS, what="the bridge sends what it kept")
        # After them comes one more, by the same way: had the flow kept anything, it would be there as well.
        client.publish("plain/a", "the last")
        until(lambda: _arrived(cloud, "plain"), what="the flow sends again")
    assert _arrived(cloud, "plain") == {b"the last"}


def _arrived(cloud: Cloud, topic: str) -> set[bytes]:
    return {each.payload for each in cloud.accepted if topic in each.topics}

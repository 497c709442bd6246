"""The compose file: as data, and with podman-compose."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.demo.node_red import INSTALLED
from bridge.settings.explain import known_keys
from tests.container.engine import BASE, BUILD, IMAGE, Podman
from tests.harness import Client, Cloud, Keeper, eventually
from tests.harness.mosquitto import program
from tests.harness.process import ROOT, Process, free_port

FOLDER = ROOT / "config/container"
COMPOSE = FOLDER / "compose.yaml"


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def test_it_mounts_what_is_there_and_sets_what_the_bridge_knows(services: dict[str, Any]) -> None:
    """The key's file alone is the user's to make; volumes are declared."""
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for service in services.values():
        for mount in service["volumes"]:
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", mount).split(":")[0]
            assert source == "./devicekey" or source in volumes or (FOLDER / source).exists(), mount
    for name in services["bridge"]["environment"]:
        key = name.removeprefix("HOLOGRAM_BRIDGE__").removesuffix("_FILE").lower().replace("__", ".")
        assert key in known_keys()
    for name in ("hologram-bridge.conf", "mosquitto.conf"):
        assert any(f"/{name}:" in mount for mount in services["mosquitto"]["volumes"])
    assert any(mount.endswith("node-red-flows:/flows:ro") for mount in services["node-red"]["volumes"])
    wanted = json.loads((ROOT / "node-red-flows/package.json").read_text())["dependencies"]
    name = "@flowfuse/node-red-dashboard"
    start = services["node-red"]["entrypoint"][-1]
    assert f"{name}@{wanted[name]};" in start
    assert f'"{name}": "{wanted[name]}"' in start
    flows = (ROOT / "node-red-flows/flows.json").read_text()
    assert re.findall(r'"1883"', flows) == re.findall(r'"1883"', start) == ['"1883"']


def test_the_bridge_has_no_privileges(services: dict[str, Any]) -> None:
    """As the page says."""
    bridge = services["bridge"]
    assert bridge["read_only"] is True
    assert bridge["cap_drop"] == ["all"]
    assert bridge["security_opt"] == ["no-new-privileges"]


def test_its_mosquitto_keeps_all_and_is_for_this_box_alone(keeper: Keeper, tmp_path: Path) -> None:
    """A real one with both files, the folders being the test's."""
    conf_d, data = tmp_path / "conf.d", tmp_path / "data"
    conf_d.mkdir()
    data.mkdir()
    shutil.copy(ROOT / "config/mosquitto/hologram-bridge.conf", conf_d)
    text = (FOLDER / "mosquitto.conf").read_text().replace("/mosquitto/", f"{tmp_path}/")
    config = tmp_path / "mosquitto.conf"
    config.write_text(text)
    if os.geteuid() == 0:  # it would become a user that may not write here
        config.write_text(f"user root\n{text}")
    broker, port = Process("mosquitto", tmp_path / "log"), free_port()
    keeper.keep(broker)
    broker.launch([program("mosquitto"), "-c", str(config), "-p", str(port)])
    eventually(lambda: "running" in broker.said(), what="it runs")
    with Client(port, "#") as client:
        client.publish("a", "b", retain=True)
    assert broker.stop() == 0
    assert "starting in local only mode" in broker.said().lower()
    assert (data / "mosquitto.db").exists()


MOSQUITTO = f"""\
FROM {BASE}
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends mosquitto
RUN mkdir -p /mosquitto/data && chown mosquitto: /mosquitto/data
"""


# For Node-RED's own image, which only a registry has: it has Node.js, npm, this user and these places as well
# [node-red-docker, docker-custom/Dockerfile.debian]. Node-RED itself is mounted, without the dashboard.
NODE_RED = f"""\
FROM {BASE}
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends nodejs npm
RUN useradd --uid 1000 --create-home node-red && install -d -o node-red /data && \\
    install -d /usr/src/node-red/node_modules && \\
    printf '#!/bin/sh\\nexec node node_modules/node-red/red.js --userDir /data $FLOWS "$@"\\n' \\
    >/usr/src/node-red/entrypoint.sh && chmod +x /usr/src/node-red/entrypoint.sh
ENV FLOWS=flows.json
WORKDIR /usr/src/node-red
USER node-red
"""

LIMITS = {"nofile": {"soft": 1024, "hard": 1024}, "nproc": {"soft": 4096, "hard": 4096}}


class Box:
    """The whole box of the compose file, between a broker's port and a cloud of the test's."""

    def __init__(self, podman: Podman, folder: Path, cloud: Cloud) -> None:
        self._podman, self._folder = podman, folder
        self.port, self.editor = free_port(), free_port()
        key, engine, override = (folder / name for name in ("devicekey", "engine", "override.yaml"))
        key.write_text("abcd1234\n")
        engine.write_text(f'#!/bin/sh\nexec {" ".join(podman.command)} "$@"\n')
        engine.chmod(0o755)
        override.write_text(yaml.safe_dump({"services": self._services(cloud)}))
        self.variables = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "DEVICEKEY_FILE": str(key),
            "MQTT_PORT": str(self.port), "NODE_RED_PORT": str(self.editor), "BRIDGE_IMAGE": IMAGE,
            "MOSQUITTO_IMAGE": "localhost/mosquitto", "NODE_RED_IMAGE": "localhost/node-red",
            "REGISTRY": said("npm", "config", "get", "registry"),
        }  # fmt: skip
        tool = Path(sys.executable).with_name("podman-compose")
        self._command = [
            *(str(tool), "--podman-path", str(engine), "-p", "hologramtest"),
            *("-f", str(COMPOSE), "-f", str(override)),
        ]

    def _services(self, cloud: Cloud) -> dict[str, Any]:
        """Return what the test's own compose file adds to the services."""
        values = {"CLOUD__HOST": "127.0.0.1", "CLOUD__PORT": str(cloud.port), "INBOUND__ENABLED": "false"}
        hidden = self._folder / "hidden"
        hidden.mkdir()
        modules = "/usr/src/node-red/node_modules"
        node_red = {
            "environment": {
                "NPM_CONFIG_REGISTRY": "${REGISTRY}",
                "NODE_EXTRA_CA_CERTS": "/usr/local/share/ca-certificates/lent.crt",
            },
            "volumes": [f"{INSTALLED}/node_modules:{modules}:ro", f"{hidden}:{modules}/@flowfuse:ro"],
        }
        return {
            "bridge": {
                "environment": {f"HOLOGRAM_BRIDGE__{key}": text for key, text in values.items()},
                "ulimits": LIMITS,
            },
            "mosquitto": {"ulimits": LIMITS},
            "node-red": {**node_red, "ulimits": LIMITS},
        }

    def build(self, name: str, recipe: str) -> None:
        """Build a stand-in for an image of a registry."""
        file = self._folder / f"{name}.containerfile"
        file.write_text(recipe)
        context = self._folder / "hidden"
        self._podman("build", *BUILD, f"--tag=localhost/{name}", f"--file={file}", str(context), timeout=900)

    def compose(self, *words: str, **variables: str) -> None:
        done = subprocess.run(
            [*self._command, *words], env={**self.variables, **variables}, cwd=FOLDER, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    def up(self, **variables: str) -> None:
        """Start all of it; wait until the flows run."""
        self.compose("up", "-d", **variables)
        eventually(lambda: "Connected to broker" in self.log("node-red"), 180, what=self.log("node-red"))

    def log(self, service: str) -> str:
        return self._podman("logs", f"hologramtest_{service}_1", check=False)


def said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def box(podman: Podman, tmp_path: Path, cloud: Cloud) -> Iterator[Box]:
    """All three services, which are not started yet."""
    if not INSTALLED.exists():
        pytest.skip("Node-RED is not installed (sh .ci/node-packages installs it)")
    box = Box(podman, tmp_path, cloud)
    box.build("mosquitto", MOSQUITTO)
    box.build("node-red", NODE_RED)
    yield box
    box.compose("down", "--volumes")


@pytest.mark.root
@pytest.mark.slow
def test_podman_compose_starts_the_whole_box(box: Box, cloud: Cloud, keeper: Keeper) -> None:
    """A message arrives in the cloud, and a reading by Node-RED; a later start needs no registry."""
    cloud.start()
    box.up()
    with Client(box.port, "hologram/#") as client:
        client.wait_for(lambda: client.last("hologram/bridge/state"), 60, what="the bridge is online")
        client.publish("hologram/out/a", "x", user={"id": "m"})
        assert client.wait_result("m", 40)["state"] == "delivered"
        client.publish("sensors/cellar", "20.5", retain=True)
        eventually(lambda: b"20.5" in cloud.payloads(), 60, what="Node-RED sends the reading")
    with urllib.request.urlopen(f"http://127.0.0.1:{box.editor}/dashboard/bridge", timeout=30) as answer:
        assert b"<title>" in answer.read()
    with pytest.raises(ConnectionRefusedError):  # the host's other addresses
        socket.create_connection(("127.0.0.2", box.editor), timeout=10)
    box.compose("down")
    box.up(REGISTRY="http://127.0.0.1:1/")
    with Client(box.port, "hologram/#") as client:
        client.publish("sensors/attic", "open", retain=True)
        eventually(lambda: b"open" in cloud.payloads(), 60, what="it does so again")

"""The compose file: as data, and with podman-compose."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    assert f"{name}@{wanted[name]} " in services["node-red"]["entrypoint"][-1]


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


@pytest.fixture
def up(podman: Podman, tmp_path: Path, cloud: Cloud) -> Iterator[int]:
    """The port of a broker that the compose file started, with the bridge, between it and a cloud."""
    recipe = tmp_path / "Containerfile"
    recipe.write_text(MOSQUITTO)
    podman("build", *BUILD, "--tag=localhost/mosquitto", f"--file={recipe}", str(tmp_path), timeout=900)
    key = tmp_path / "devicekey"
    key.write_text("abcd1234\n")
    port = free_port()
    override = tmp_path / "override.yaml"
    inner = {"HOLOGRAM_BRIDGE__CLOUD__HOST": "127.0.0.1", "HOLOGRAM_BRIDGE__CLOUD__PORT": str(cloud.port)}
    inner["HOLOGRAM_BRIDGE__INBOUND__ENABLED"] = "false"
    limits = {"nofile": {"soft": 1024, "hard": 1024}, "nproc": {"soft": 4096, "hard": 4096}}
    services = {"bridge": {"environment": inner, "ulimits": limits}, "mosquitto": {"ulimits": limits}}
    override.write_text(yaml.safe_dump({"services": services}))
    engine = tmp_path / "engine"
    engine.write_text(f'#!/bin/sh\nexec {" ".join(podman.command)} "$@"\n')
    engine.chmod(0o755)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), "MQTT_PORT": str(port),
        "MOSQUITTO_IMAGE": "localhost/mosquitto", "BRIDGE_IMAGE": IMAGE, "DEVICEKEY_FILE": str(key),
    }  # fmt: skip
    tool = Path(sys.executable).with_name("podman-compose")
    command = [str(tool), "--podman-path", str(engine), "-p", "hologramtest"]
    command += ["-f", str(COMPOSE), "-f", str(override)]

    def compose(*words: str) -> None:
        done = subprocess.run(
            [*command, *words], env=environment, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    compose("up", "-d", "mosquitto", "bridge")
    yield port
    compose("down")


@pytest.mark.root
@pytest.mark.slow
def test_podman_compose_starts_broker_and_bridge(up: int, cloud: Cloud, keeper: Keeper) -> None:
    """A message published at the broker arrives in the cloud."""
    cloud.start()
    client = Client(up, "hologram/#").connect()
    keeper.finally_(client.close)
    eventually(lambda: client.last("hologram/bridge/state"), 60, what="the bridge is online")
    client.publish("hologram/out/a", "x", user={"id": "m"})
    assert client.wait_result("m", 40)["state"] == "delivered"

"""The add-on's image, built from its repository as Home Assistant builds it, and started as it is started."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.add_on.supervisor import TOKEN, Supervisor
from tests.container.conftest import Container
from tests.container.engine import BASE, BUILD, RUN, USER, Podman
from tests.harness import BridgeProcess, Client, Cloud, Keeper, Mosquitto, eventually
from tests.harness.process import ROOT

pytestmark = [pytest.mark.root, pytest.mark.slow]

ADD_ON = "localhost/hologram-add-on:latest"


@pytest.fixture(scope="module")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image, of the repository that `make add-on` lays out."""
    out = tmp_path_factory.mktemp("add-on")
    script = ROOT / "config/home-assistant/add-on/build"
    subprocess.run(["sh", str(script)], env={**os.environ, "OUT": str(out)}, check=True, timeout=60)
    options = (*BUILD, "--format=docker", f"--build-arg=BASE={BASE}", f"--tag={ADD_ON}")
    podman("build", *options, str(out / "hologram_bridge"), timeout=1800)
    return ADD_ON


@pytest.fixture
def supervisor(keeper: Keeper) -> Iterator[Supervisor]:
    found = Supervisor()
    yield found
    found.close()


class AddOn:
    """The add-on's folders, and the start that Home Assistant makes."""

    def __init__(self, container: Container, supervisor: Supervisor, cloud: Cloud, folder: Path) -> None:
        self._container, self._supervisor = container, supervisor
        self.data, self._config = folder / "data", folder / "config"
        for each in (self.data, self._config):
            each.mkdir(mode=0o755)
        self.options = self.data / "options.json"
        self.options.write_text(json.dumps({"credentials": {"devicekey": "abcd1234"}}))
        self.options.chmod(0o600)
        (self._config / "bridge.hjson").write_text(
            f'{{ cloud: {{ host: "127.0.0.1", port: {cloud.port} }}, inbound: {{ enabled: false }} }}'
        )

    def start(self, image: str) -> None:
        """Start it with the Supervisor's token."""
        self._container.podman(
            *("run", "--detach", "--init", "--name", self._container.name, *RUN),
            *(f"--env=SUPERVISOR_TOKEN={TOKEN}", f"--volume={self.data}:/data"),
            *(f"--volume={self._config}:/config", image),
            *("add-on", "--user", "hologram", "--supervisor", self._supervisor.url),
        )


@pytest.fixture
def add_on(container: Container, supervisor: Supervisor, cloud: Cloud, tmp_path: Path) -> AddOn:
    folder = tmp_path / "add-on"
    folder.mkdir()
    return AddOn(container, supervisor, cloud, folder)


def test_it_runs_by_its_options_as_an_ordinary_user(
    image: str,
    add_on: AddOn,
    container: Container,
    supervisor: Supervisor,
    keeper: Keeper,
    cloud: Cloud,
    tmp_path: Path,
) -> None:
    """With the Supervisor's broker, once there is one; the outbox is the user's, the options are root's."""
    broker = Mosquitto(keeper, tmp_path / "mosquitto", users={"addons": "secret"})
    broker.start()
    cloud.start()
    add_on.start(image)
    container.wait_for("no MQTT broker yet (Service not enabled)", 60)
    supervisor.offer(broker.port, "addons", "secret")
    container.wait_for("connected to the broker", 60)
    client = Client(broker.port, "hologram/#", user=("addons", "secret")).connect()
    keeper.finally_(client.close)
    client.publish("hologram/out/a", "x", user={"id": "m"})
    assert client.wait_result("m", 40)["state"] == "delivered"
    assert (add_on.data / "outbox/outbox.db").stat().st_uid == USER
    assert add_on.options.stat().st_uid == 0
    assert "online; cloud up; 0 queued" in container.check()
    status = container.podman("exec", container.name, "sh", "-c", "cat /proc/[0-9]*/status")
    assert f"Uid:\t{USER}\t{USER}" in status
    assert container.stop(45) < 10
    eventually(lambda: container.state["ExitCode"] == 0, what="it has ended in order")


def test_a_boxs_outbox_moves_into_it(
    image: str,
    add_on: AddOn,
    container: Container,
    supervisor: Supervisor,
    bridge: BridgeProcess,
    cloud: Cloud,
    client: Client,
) -> None:
    """Copied into its data as the page says, whoever owned it: what waited is delivered, once."""
    bridge.start()
    client.publish("hologram/out/a", "x", user={"id": "m"})
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 1, what="the box has it")
    bridge.stop()
    outbox = add_on.data / "outbox"
    outbox.mkdir(mode=0o700)
    for file in bridge.store.parent.glob("outbox.db*"):
        shutil.copy(file, outbox)
    cloud.start()
    supervisor.offer(bridge.broker.port, "addons", "any")
    add_on.start(image)
    assert client.wait_result("m", 60)["state"] == "delivered"
    assert cloud.payloads() == [b"x"]
    assert {each.stat().st_uid for each in (outbox, *outbox.iterdir())} == {USER}


def test_a_wrong_option_is_a_line_in_its_log(image: str, podman: Podman, tmp_path: Path) -> None:
    """The one of check-config, and the exit code with it."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    options = {"credentials": {"devicekey": "abcd1234"}, "budget": {"day": "lots"}}
    (data / "options.json").write_text(json.dumps(options))
    code, said = podman.once(f"--volume={data}:/data", image=image)
    assert code == 78
    assert 'budget.day: "lots" is not allowed' in said


def test_a_refused_token_is_a_line_in_its_log(
    image: str, podman: Podman, supervisor: Supervisor, tmp_path: Path
) -> None:
    """And it ends, for the Supervisor's watchdog to see."""
    (tmp_path / "options.json").write_text(json.dumps({"credentials": {"devicekey": "abcd1234"}}))
    given = (f"--volume={tmp_path}:/data", "--env=SUPERVISOR_TOKEN=another")
    words = ["add-on", "--user", "hologram", "--supervisor", supervisor.url]
    code, said = podman.once(*given, image=image, words=words)
    assert code == 1
    assert "the Supervisor refuses the add-on's token (HTTP status 401)" in said

"""The image with a modem: its own sockets without a privilege, and what PPP lacks in a container.

A call by PPP needs a kernel that has it: tests/box makes one, without a container.
"""

import json
import os
import shlex
import stat
from pathlib import Path

import pytest

from tests.container.conftest import Container
from tests.container.engine import IMAGE, RUN, Podman
from tests.container.usb import BY_ID, Host
from tests.docs.pages import page
from tests.harness import Client, Cloud, Keeper

pytestmark = [pytest.mark.root, pytest.mark.slow]

NETWORK = "--env=HOLOGRAM_BRIDGE__NETWORK__"
MODEM = (f"{NETWORK}INTERFACE=cellular", f"{NETWORK}POLL=1")
SOCKETS = "the modem's own sockets carry the messages"


@pytest.fixture
def host(keeper: Keeper, tmp_path: Path) -> Host:
    """A host whose modem is plugged in."""
    host = Host(keeper, tmp_path / "host")
    host.plug()
    return host


BY_NAME = json.dumps([f"/dev/serial/by-id/{BY_ID.format(number)}" for number in (2, 3)])


@pytest.mark.parametrize(
    "given",
    [MODEM, (f"{NETWORK}INTERFACE=cellular-bg96", f"{NETWORK}DEVICE={BY_NAME}")],
    ids=["found by its USB id", "given by its stable names"],
)
def test_the_modems_sockets_need_no_privilege(
    container: Container,
    between: tuple[str, ...],
    host: Host,
    cloud: Cloud,
    client: Client,
    given: tuple[str, ...],
) -> None:
    """The ordinary user has the modem, and has it again when it comes back under another name."""
    cloud.start()
    container.start(*between, *host.options, *given)
    container.wait_for("no PPP (PPP needs root here, because there is no systemd", 60)
    client.publish("hologram/out/a", "1", user={"id": "m1"})
    assert client.wait_result("m1", 60)["state"] == "delivered"
    host.replug()
    client.publish("hologram/out/a", "2", user={"id": "m2"})
    assert client.wait_result("m2", 90)["state"] == "delivered"
    assert cloud.payloads() == [b"1", b"2"]
    assert not any(port.exists() for port in host.modem.links), "the first names are gone"
    container.podman("stop", "--time=45", container.name)
    assert container.state["ExitCode"] == 0


def test_root_without_ppp_says_what_is_missing(
    container: Container, between: tuple[str, ...], host: Host, cloud: Cloud, client: Client
) -> None:
    """The privilege or the device; the modem's own sockets deliver with either missing."""
    cloud.start()
    outbox_to_root(container)
    for number, (option, missing) in enumerate(
        (("--cap-drop=all", "needs the capability NET_ADMIN"), ("--cap-add=net_admin", "/dev/ppp is missing"))
    ):
        container.start(*between, *host.options, *MODEM, "--user=0", option)
        container.wait_for(SOCKETS, 60)
        assert missing in container.said()
        client.publish("hologram/out/a", "x", user={"id": f"m{number}"})
        assert client.wait_result(f"m{number}", 60)["state"] == "delivered"


def outbox_to_root(container: Container) -> None:
    """Give the volume to root by the page's line."""
    line = next(
        line
        for block in page("container").blocks
        for line in block.lines
        if block.where == "A modem" and " chown " in line
    )
    words = [container.volume.join(word.split("hologram-outbox")) for word in shlex.split(line)]
    assert words[:3] == ["sudo", "podman", "run"]
    container.podman("run", *RUN, *words[3:])


def test_a_rule_of_the_device_cgroup_opens_the_ports(podman: Podman, tmp_path: Path) -> None:
    """Those of the page: without them the kernel refuses even root, with them only the driver is missing."""
    port = tmp_path / "ttyUSB0"
    os.mknod(port, stat.S_IFCHR, os.makedev(188, 0))
    port.chmod(0o666)
    (line,) = (
        line for block in page("container").blocks for line in block.lines if "--device-cgroup-rule" in line
    )
    rules = [word for word in shlex.split(line) if word.startswith("--device-cgroup-rule")]

    def opened(*options: str) -> str:
        given = ("--rm", *RUN, *options, f"--volume={port}:/dev/ttyUSB0", "--entrypoint=/bin/sh", IMAGE)
        return podman("run", *given, "-c", "exec 3<>/dev/ttyUSB0", check=False)

    assert "Operation not permitted" in opened()
    assert "No such device" in opened(*rules)

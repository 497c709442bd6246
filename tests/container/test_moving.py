"""The page's lines for a backup, an upgrade, and an outbox that moves into a container and back."""

import json
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.engine import RUN, Podman
from tests.docs.pages import page
from tests.harness import BridgeProcess, Client, Cloud, Mosquitto, eventually

pytestmark = [pytest.mark.root, pytest.mark.slow]

NAME, VOLUME = "hologram-bridge", "hologram-outbox"
"""The container and the volume of the page."""


def lines(heading: str, block: int = 0) -> list[str]:
    """Return the lines of a block of the page for the shell, but for those of an upgrade's source."""
    found = [one for one in page("container").blocks if (one.language, one.where) == ("sh", heading)]
    return [line for line in found[block].lines if line not in ("git pull", "make image")]


class Desk:
    """A machine where the page's lines are typed: `bridge` is the installed one, `podman` the engine."""

    def __init__(self, podman: Podman, folder: Path, bridge: BridgeProcess, variables: list[str]) -> None:
        self.podman, self.bridge, self.folder = podman, bridge, folder
        self._units: dict[str, Callable[[], object]] = {
            "sudo systemctl disable --now hologram-bridge": bridge.stop,
            "sudo systemctl enable --now hologram-bridge": bridge.start,
        }
        engine = shutil.which(podman.command[0])
        assert engine
        few = " ".join(option for option in RUN if "network" not in option)
        here = shlex.join([f"--env=HOLOGRAM_BRIDGE__{each}" for each in variables])
        self._program(
            "podman",
            'if [ "$1" = run ]; then\n    shift\n    case " $* " in\n'
            f'    *" -d "*) set -- {here} "$@" ;;\n    *) set -- --network=none "$@" ;;\n    esac\n'
            f'    set -- run {few} "$@"\nfi\nexec {shlex.join([engine, *podman.command[1:]])} "$@"',
        )
        # Root's words are about the box: its folder, and the user that there is none of here.
        self._program(
            "sudo",
            'for word; do\n    shift\n    set -- "$@" "$(printf %s "$word" | sed '
            f"'s|/var/lib/hologram-bridge|{bridge.store.parent}|; s|hologram:hologram|root:root|')\"\ndone\n"
            'exec "$@"',
        )

    def _program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def type(self, typed: list[str]) -> None:
        """Run lines as they stand; each must end well."""
        for line in typed:
            if unit := self._units.get(line):
                unit()
                continue
            command = f'PATH="{self.folder}/bin:$PATH"; set -o pipefail; {line}'
            done = subprocess.run(
                ["/bin/bash", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, cwd=self.folder, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{line}: {done.stdout}"

    def status(self) -> str:
        """Return what the container's bridge says of its health."""
        return self.podman("exec", NAME, "hologram-bridge", "healthcheck", check=False)


@pytest.fixture
def desk(
    podman: Podman, bridge: BridgeProcess, mosquitto: Mosquitto, cloud: Cloud, tmp_path: Path
) -> Iterator[Desk]:
    """The page's container stands between the installed bridge's own broker and cloud."""
    ports = [f"CLOUD__PORT={cloud.port}", f"MQTT__PORT={mosquitto.port}"]
    folder = tmp_path / "desk"
    folder.mkdir()
    yield Desk(podman, folder, bridge, ["CLOUD__HOST=127.0.0.1", *ports, "INBOUND__ENABLED=false"])
    podman("rm", "--force", "--time=0", "--ignore", NAME)
    podman("volume", "rm", "--force", VOLUME, check=False)


def test_the_lines_of_the_page_lose_and_repeat_nothing(
    desk: Desk, bridge: BridgeProcess, cloud: Cloud, client: Client
) -> None:
    """What waits goes along, what is delivered is not sent again; the broker's session goes along too."""

    def waits(*names: str) -> None:
        for name in names:
            client.publish("hologram/out/a", name, user={"id": name})

    def delivered(*names: str) -> None:
        for name in names:
            assert client.wait_result(name, 60)["state"] == "delivered"

    move, start = "Move an outbox into a container, and back", lines("Start it")
    cloud.start()
    bridge.start()
    waits("sent")
    delivered("sent")
    cloud.stop()
    waits("a", "b")
    eventually(lambda: bridge.queue("stats")["queue"]["messages"] == 2, what="the box has both")
    desk.type(lines(move))
    waits("c")  # nobody is there; the broker keeps it for the client id
    desk.type(start)
    eventually(lambda: "3 queued" in desk.status(), 40, what="the container has all three")
    desk.type(lines("Back it up"))
    eventually(lambda: "3 queued" in desk.status(), 40, what="it goes on with them")
    cloud.start()
    delivered("a", "b", "c")
    cloud.stop()
    waits("d")
    eventually(lambda: "1 queued" in desk.status(), 40, what="the container has the next one")
    desk.type([*lines("Upgrade"), *start])
    eventually(lambda: "1 queued" in desk.status(), 40, what="the new one has it")
    (bridge.store.parent / "outbox.db-wal").write_bytes(b"of the old outbox")
    desk.type(lines(move, 1))
    assert NAME not in desk.podman("ps", "--all", "--format={{.Names}}")
    waits("e")
    cloud.start()
    delivered("d", "e")
    assert [payload.decode() for payload in cloud.payloads()] == ["sent", "a", "b", "c", "d", "e"]
    bridge.stop()

    removed = ("volume", "rm", VOLUME)
    eventually(lambda: VOLUME in desk.podman(*removed, check=False).splitlines(), what="the volume is free")
    desk.type(lines("Back it up", 1))
    restored = (
        "--env=HOLOGRAM_BRIDGE__CREDENTIALS__DEVICEKEY=abcd1234",
        f"--volume={VOLUME}:/var/lib/hologram-bridge",
    )
    code, said = desk.podman.once(*restored, words=["queue", "stats", "--json"])
    assert code == 0, said
    assert json.loads(said)["queue"]["messages"] == 3

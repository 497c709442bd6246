"""The image, built once a run, and containers of it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box.recipe import CannotBuild
from tests.container.engine import IMAGE, LIMITS, RUN, Podman, folder, missing
from tests.harness import Cloud, Mosquitto, eventually


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman, with the base and the image."""
    if why := missing():
        pytest.skip(why)
    podman = Podman(folder())
    try:
        podman.make_base(tmp_path_factory.mktemp("base"))
    except CannotBuild as exc:
        pytest.skip(f"no base can be made here: {exc}")
    try:
        podman.make_image()
        yield podman
    finally:
        podman("rm", "--all", "--force", "--time=0", check=False)
        # What the next run builds on stays; what has not been used for a day was replaced.
        podman("image", "prune", "--force", "--filter=until=24h", timeout=600, check=False)


class Container:
    """One container of the image."""

    def __init__(self, podman: Podman, name: str, volume: str) -> None:
        self.podman, self.name, self.volume = podman, name, volume

    def start(self, *options: str, image: str = IMAGE, words: tuple[str, ...] = ()) -> None:
        """Start it anew on its volume."""
        self.podman("rm", "--force", "--time=0", "--ignore", self.name)
        self.podman(
            *("run", "--detach", "--name", self.name, *RUN, *options),
            *(f"--volume={self.volume}:/var/lib/hologram-bridge", image, *words),
        )

    def said(self) -> str:
        """Return its log."""
        return self.podman("logs", self.name, check=False)

    @property
    def state(self) -> Any:
        return self.podman.inspect(self.name)["State"]

    def wait_for(self, text: str, timeout: float = 30) -> None:
        eventually(
            lambda: text in self.said(), timeout, what=f"it says {text!r}; it said {self.said()[-500:]}"
        )

    def check(self, *options: str) -> str:
        """Run its health check; return what it says."""
        words = ("exec", self.name, "hologram-bridge", "healthcheck", *options)
        return self.podman(*words, check=False)

    def stop(self, seconds: int = 10) -> float:
        """Stop it as engines do; return how long that took."""
        began = time.monotonic()
        self.podman("stop", f"--time={seconds}", self.name)
        return time.monotonic() - began


@pytest.fixture
def container(podman: Podman, request: pytest.FixtureRequest) -> Iterator[Container]:
    """A container that is not started yet, on a volume of its own."""
    name = f"bridge-{abs(hash(request.node.nodeid)) % 10**8}"
    made = Container(podman, name, name)
    yield made
    podman("rm", "--force", "--time=0", "--ignore", name)
    podman("volume", "rm", "--force", name, check=False)


@pytest.fixture
def between(mosquitto: Mosquitto, cloud: Cloud, tmp_path: Path) -> tuple[str, ...]:
    """Options with which it stands between broker and cloud, read-only and without privileges."""
    secret = tmp_path / "devicekey"
    secret.write_text("abcd1234\n")
    values = {
        "CREDENTIALS__DEVICEKEY_FILE": "/run/secrets/devicekey",
        "CLOUD__HOST": "127.0.0.1",
        "CLOUD__PORT": str(cloud.port),
        "MQTT__PORT": str(mosquitto.port),
        "INBOUND__ENABLED": "false",
    }
    variables = [f"--env=HOLOGRAM_BRIDGE__{name}={value}" for name, value in values.items()]
    return (*LIMITS, *variables, f"--volume={secret}:/run/secrets/devicekey:ro")

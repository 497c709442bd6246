"""The parts that the benchmark drives, each a process: mosquitto, the simulated cloud, the bridge."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.adapters.system.control_socket import ask
from bridge.protocol.cloud import DeviceKey, encode

KEY = "abcd1234"
PAYLOAD = b'{"temperature":21.5,"seq":499}'
PIPE = 60_000
"""Bytes that a pipe surely takes without a reader [pipe(7): 65,536]."""

FAST_BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "set_tcp_nodelay true")
"""What `end_to_end` and `slow_link` add to mosquitto's stock settings, so that nothing is dropped."""


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until the condition holds; raises TimeoutError that names ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.005)


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port that refuses connections: bound, but nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def request(topic: str, payload: bytes = PAYLOAD) -> bytes:
    """Return the bytes that the bridge sends for this message; the plain loop sends the same."""
    return encode(DeviceKey(KEY), (topic,), payload, 0.0)


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB (10^6 bytes) [proc(5), VmRSS]."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far, user and system [proc(5), stat]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Child:
    """A process that is ended with its block."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def stop(self) -> None:
        """End it, politely first; twice is fine."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Mosquitto(Child):
    """A broker on a free port with its own folder; ``settings`` are lines of its configuration."""

    def __init__(self, folder: Path, settings: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        self._log = folder / "mosquitto.log"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            f"log_dest file {self._log}",
            *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information", "subscribe")),
            *settings,
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes a user who may not write here
        config = folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        super().__init__(
            subprocess.Popen(
                [program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        until(self._listens, f"mosquitto to listen (see {self._log})")

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"mosquitto ended: {self._log.read_text() if self._log.exists() else ''}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_for(self, *texts: str) -> None:
        """Wait until the broker has logged each of these texts."""
        until(lambda: all(text in self._log.read_text() for text in texts), f"{texts} in {self._log}")


class Cloud(Child):
    """`hologram-bridge simulate cloud` on a free port."""

    def __init__(self, delay: float = 0.0) -> None:
        command = [sys.executable, "-m", "bridge", "simulate", "cloud", "--port", "0", "--quiet"]
        super().__init__(subprocess.Popen([*command, "--delay", str(delay)], stdout=subprocess.PIPE))
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(b":")[2])


class Bridge(Child):
    """The daemon, on a store and a configuration in ``folder``."""

    def __init__(
        self, folder: Path, broker: int, cloud: int, *, parallel: int = 16, routes: Sequence[object] = ()
    ) -> None:
        self.store = folder / "outbox.db"
        self._config = folder / "bridge.hjson"
        self._log = folder / "bridge.log"
        self._broker = broker
        settings = {
            "credentials": {"devicekey": KEY},
            "cloud": {"host": "127.0.0.1", "port": cloud, "parallel": parallel},
            "mqtt": {"port": broker, "client_id": f"bench-{folder.name}"},
            "inbound": {"enabled": False},
            "home_assistant": {"enabled": False},
            "store": {"path": str(self.store)},
            "routes": list(routes),
        }
        self._config.write_text(json.dumps(settings))
        self._config.chmod(0o600)
        self.launch()

    def launch(self) -> None:
        """Start the process; see `wait_online`."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("HOLOGRAM_BRIDGE__")
        }
        with self._log.open("ab") as log:
            command = [*daemon_command(), "run", "-c", str(self._config)]
            super().__init__(subprocess.Popen(command, stderr=log, env=environment))

    def wait_online(self) -> Self:
        """Wait until its retained state is `online`."""
        until(self._online, f"the bridge to be online (see {self._log})")
        return self

    def _online(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the bridge ended:\n{self._log.read_text()[-2000:]}")
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(self._broker)]
        command += ["-t", "hologram/bridge/state", "-C", "1", "-W", "1"]
        try:
            asked = subprocess.run(command, capture_output=True, check=False, timeout=5)
        except subprocess.TimeoutExpired:  # its own time-out does not end it while it still connects
            return False
        return asked.stdout == b"online\n"

    def stats(self) -> dict[str, Any]:
        """Return what `queue stats --json` prints, asked at the same socket."""
        answer = ask(self.store.with_name(self.store.name + ".sock"), {"command": "stats"})
        if answer is None:
            raise RuntimeError(f"the bridge does not answer:\n{self._log.read_text()[-2000:]}")
        return answer

    def queued(self) -> int:
        """Return how many messages are durable in the outbox."""
        return int(self.stats()["queue"]["messages"])


def daemon_command() -> list[str]:
    """Return how the daemon is started: BENCH_DAEMON, for a profiler around it, or the usual way."""
    given = os.environ.get("BENCH_DAEMON")
    return given.split() if given else [sys.executable, "-m", "bridge"]


class Rig(ExitStack):
    """A folder, and everything started in it; ends all of it with its block."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="bridge-bench-")))

    def broker(self, *settings: str) -> Mosquitto:
        """Start a broker."""
        return self.enter_context(Mosquitto(self._sub("broker"), settings))

    def cloud(self, delay: float = 0.0) -> Cloud:
        """Start a simulated cloud."""
        return self.enter_context(Cloud(delay))

    def dead_cloud(self) -> int:
        """Return a port that refuses connections."""
        return self.enter_context(refusing_port())

    def bridge(
        self,
        broker: Mosquitto,
        cloud: int,
        outbox: Path | None = None,
        *,
        parallel: int = 16,
        routes: Sequence[object] = (),
    ) -> Bridge:
        """Start a bridge, on a copy of ``outbox`` if given; see `Bridge.wait_online`."""
        folder = self._sub("bridge")
        if outbox:
            shutil.copy(outbox, folder / "outbox.db")
        return self.enter_context(Bridge(folder, broker.port, cloud, parallel=parallel, routes=routes))

    def _sub(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

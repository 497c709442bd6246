"""The simulated cloud as a process that can go away and come back on the same port."""

import base64
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness.process import Keeper, free_port
from tests.sim.command import CloudProcess, cloud_process


class Arrived(NamedTuple):
    """One request as the cloud saw it; ``code`` is what it answered, None for nothing."""

    payload: bytes
    topics: tuple[str, ...]
    code: int | None
    accepted: bool
    to: str | None
    fault: str | None


class Cloud:
    """A simulated cloud on a port of its own; down until `start`.

    All its runs append to one log, which is read on where it was left, so that asking often is cheap.
    """

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._log = folder / "cloud.log"
        self._stack = contextlib.ExitStack()
        self._process: CloudProcess | None = None
        self._read_to = 0
        self._arrived: list[Arrived] = []
        keeper.finally_(self.stop)

    def start(self, *options: str) -> None:
        """Start it with the options of ``simulate cloud``, e.g. ``"--fault", "close:7"``."""
        assert self._process is None, "the cloud runs already"
        self._process = self._stack.enter_context(
            cloud_process(self._log, "--quiet", "--port", str(self.port), *options)
        )

    def stop(self) -> None:
        """Take it down: connections are refused from then on."""
        self._process = None
        self._stack.close()

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        assert self._process is not None, "the cloud does not run"
        self._process.process.kill()
        self.stop()

    @property
    def arrived(self) -> Sequence[Arrived]:
        """Every request so far, in order, over all runs."""
        if self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._read_to)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_to += len(whole)
            self._arrived += [_arrived(json.loads(line)) for line in whole.splitlines()]
        return self._arrived

    @property
    def accepted(self) -> list[Arrived]:
        """What it accepted, in order."""
        return [each for each in self.arrived if each.accepted]

    def payloads(self) -> list[bytes]:
        """Return the payloads that it accepted, in order."""
        return [each.payload for each in self.accepted]


def _arrived(line: dict[str, Any]) -> Arrived:
    text, encoded = line["data"], line["data_base64"]
    payload = base64.b64decode(encoded) if encoded is not None else (text or "").encode()
    return Arrived(
        payload, tuple(line["topics"] or ()), line["code"], line["accepted"], line["to"], line["fault"]
    )

"""Simulated modems on a thread of their own: quick to start, as real at their ptys as in a process."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge.sim.modem import control
from bridge.sim.modem.device import Options, SimModem
from bridge.sim.modem.faults import parse_fault
from bridge.sim.modem.net import Places
from bridge.sim.modem.profiles import by_name
from tests.harness import eventually

QUICK: dict[str, Any] = {
    "registration_delay": 0.03,
    "sim_delay": 0.02,
    "boot": 0.1,
    "answer": 0.001,
    "send": 0.005,
    "give_up": 0.1,
}


class LocalModem:
    """A modem that runs; ``at`` and ``dial`` are the links of its ports, the same where there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: Options) -> None:
        self.loop = loop
        self.options = options
        self.at = options.links[0]
        self.dial = options.links[min(1, len(options.links) - 1)]
        self.lines: list[str] = []
        self.modem: SimModem | None = None

    async def enter(self) -> None:
        self.modem = SimModem(self.options, self.lines.append)
        await self.modem.__aenter__()

    async def leave(self) -> None:
        assert self.modem is not None
        await self.modem.__aexit__(None, None, None)

    def tell(self, do: str, **keys: Any) -> dict[str, Any]:
        """Give an order as the control socket does; ``from_`` stands for the key ``from``."""
        order = json.dumps({"do": do, **{key.rstrip("_"): value for key, value in keys.items()}})

        async def obey() -> bytes:
            assert self.modem is not None
            return control.obey(self.modem, order.encode())

        answer: dict[str, Any] = json.loads(asyncio.run_coroutine_threadsafe(obey(), self.loop).result(10))
        assert answer.pop("ok"), f"the modem refused {order}: {answer}"
        return answer

    def state(self) -> dict[str, Any]:
        return self.tell("state")

    def wait_registered(self) -> None:
        eventually(lambda: self.state()["registration"] in (1, 5), what="the modem registers")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of its log that are of this kind."""
        assert self.options.log is not None
        lines = [json.loads(line) for line in self.options.log.read_text().splitlines()]
        return [line for line in lines if line["kind"] == kind]

    @property
    def device(self) -> str:
        """The device behind the AT port's link now."""
        return str(self.at.readlink())


@contextlib.contextmanager
def local_modem(
    folder: Path,
    profile: str,
    *,
    ports: int = 1,
    faults: tuple[str, ...] = (),
    cloud: tuple[str, int] | None = None,
    inbound: tuple[int, int] | None = None,
    registered: bool = True,
    **options: Any,
) -> Iterator[LocalModem]:
    """Run a modem until the block ends; an error of its loop fails the test."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Options(
        profile=by_name(profile),
        links=tuple(folder / f"tty{number}" for number in range(ports)),
        faults=tuple(map(parse_fault, faults)),
        places=Places(cloud, inbound),
        log=folder / "log",
        **{**QUICK, **options},
    )
    loop = asyncio.new_event_loop()
    errors: list[object] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    modem = LocalModem(loop, made)
    loop.run_until_complete(modem.enter())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        if registered:
            modem.wait_registered()
        yield modem
    finally:
        asyncio.run_coroutine_threadsafe(modem.leave(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
    assert errors == []

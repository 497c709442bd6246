"""Runs the bridge's Wi-Fi in the emulated machine: commands on stdin, what happens as JSON on stdout."""

import asyncio
import json
import sys
from typing import Any

from bridge.adapters.wifi.interface import Wifi
from bridge.errors import LinkError


def tell(what: str, **more: Any) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps({"what": what, **more}) + "\n")
    sys.stdout.flush()


async def obey(wifi: Wifi, command: str, timeout: str = "60") -> None:
    """Carry out ``connect [SECONDS]``, ``disconnect``, ``reconnect``, ``sample``, or one of `Wifi.order`."""
    try:
        if command in ("connect", "reconnect"):
            link = await getattr(wifi, command)(float(timeout))
            tell(command, link=link._asdict(), wifi=wifi.wifi._asdict())
        elif command == "disconnect":
            await wifi.disconnect()
            tell(command, link=wifi.link)
        elif command == "sample":
            tell(command, wifi=(await wifi.sample())._asdict(), trouble=wifi.fault())
        else:
            tell(command, done=await wifi.order(command))
    except LinkError as error:
        tell("error", command=command, text=str(error))


async def main(device: str | None) -> None:
    """Obey until stdin ends."""
    loop = asyncio.get_running_loop()
    wifi = Wifi(
        loop,
        device=device,
        on_down=lambda reason: tell("down", reason=reason),
        on_change=lambda: tell("change", wifi=wifi.wifi._asdict()),
    )
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tell("ready")
    async for line in lines:
        await obey(wifi, *line.decode().split())
    await wifi.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))

"""``hologram-bridge dial``: what ``hologram-ppp.service`` runs as root: one call, until it ends.

It takes nothing from the bridge but being started and stopped. What it acts on (the configuration, the chat
script, pppd's options, the name of the port) must be root's alone.
"""

import argparse
import asyncio
import errno
import logging
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import BridgeError, ConfigError, LinkError, OperationError, PortHeld

if TYPE_CHECKING:
    from bridge.protocol.dial import Dial
    from bridge.settings.models import Network

log = logging.getLogger("dial")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    from bridge.cli.options import add_config

    parser = subparsers.add_parser(
        "dial",
        help="dial the modem and keep the link (root; for hologram-ppp.service)",
        description="Dial with the modem of network.interface and keep the PPP link until it ends or SIGTERM "
        "comes. Needs root and a configuration that only root can change.",
    )
    add_config(parser)
    parser.add_argument(
        "--tidy",
        action="store_true",
        help="do not dial: bring back the resolv.conf that a killed pppd has left changed",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Dial; return 0 after SIGTERM.

    Raises:
        BridgeError: there was no link, or it ended; the same stands in the unit's status line, and EBUSY in
            its error number where another program has the port.

    """
    from bridge import logs

    if args.tidy:
        return asyncio.run(_tidy())
    try:
        settings = _settings(args.config)
        logs.set_up(settings.log.level)
        dial = _call(settings.network)
        asyncio.run(_keep(dial))
    except BridgeError as exc:
        held = f"\nERRNO={errno.EBUSY}" if isinstance(exc, PortHeld) else ""
        notify(f"STATUS={str(exc).splitlines()[0]}{held}")
        raise
    return 0


def _settings(config: Path | None) -> Any:
    from bridge.adapters.trusted import trusted_file
    from bridge.settings import DEFAULT_PATH, load

    if os.geteuid() != 0:
        raise OperationError("dial needs root: sudo systemctl start hologram-ppp.service")
    return load(trusted_file((config or DEFAULT_PATH).absolute())).settings


def _call(network: "Network") -> "Dial":
    """Return the call that the configuration describes."""
    from bridge.adapters.dialler import dial_of
    from bridge.adapters.finder import Finder
    from bridge.adapters.pppd import chat_script, file_of
    from bridge.adapters.trusted import trusted_file, trusted_port
    from bridge.protocol.dial import check

    if not network.interface.startswith("cellular"):
        raise ConfigError(f"network.interface: {network.interface!r} dials nothing; one of cellular… does")
    find = Finder(network.interface, network.devices)
    place = find()
    if place is None:
        raise OperationError(find.missing)
    trusted_file(file_of("options"))
    dial = dial_of(
        place._replace(dial=str(trusted_port(Path(place.dial)))),
        chat=str(trusted_file(chat_script(place.interface))),
        apn=network.apn,
        user=network.ppp_user,
        password=network.ppp_password,
        scope=network.scope,
    )
    check(dial)
    return dial


async def _tidy() -> int:
    from bridge.adapters.routes import Routes

    Routes(asyncio.get_running_loop()).bring_back_dns()
    return 0


async def _keep(dial: "Dial") -> None:
    """Dial, and keep the link until it ends (raises `LinkError`) or a signal says stop."""
    from bridge.adapters.pppd import Pppd
    from bridge.protocol.ppp import status_up

    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()
    down: asyncio.Future[str] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _settle, stop)
    pppd = Pppd(loop, on_up=lambda _: None, on_down=down.set_result)
    notify(f"STATUS=dialling on {dial.port}")
    calling = loop.create_task(pppd.connect(dial))
    try:
        first: set[asyncio.Future[Any]] = {calling, stop}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if calling.done():
            link = calling.result()
            log.info("the link is up: %s, address %s", link.interface, link.local_ip)
            notify(f"READY=1\nSTATUS={status_up(link)}")
            then: set[asyncio.Future[Any]] = {down, stop}
            await asyncio.wait(then, return_when=asyncio.FIRST_COMPLETED)
        if down.done():
            raise LinkError(down.result())
        notify("STOPPING=1\nSTATUS=hung up")
    finally:
        calling.cancel()
        await asyncio.wait({calling})
        await pppd.disconnect()


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def notify(state: str) -> None:
    """Tell systemd the ``state`` [sd_notify(3)]; without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as exc:
        log.warning("systemd could not be told: %s", exc)

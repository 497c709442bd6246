"""``hologram-bridge dial``: the command of ``hologram-ppp.service``, which makes one call as root.

The bridge can start and stop it, and choose the APN, which may have been changed from afar. Only root may be
able to change its other inputs: the configuration, the chat script, pppd's options, the name of the port.

A mistake in the configuration must not take the box offline: the bridge goes on with the configuration that
it has read, and a person may need this link to repair the file. The call is then made with the last good
settings.
"""

import argparse
import asyncio
import errno
import json
import logging
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import BridgeError, ConfigError, LinkError, NotCalled, OperationError, PortHeld

if TYPE_CHECKING:
    from bridge.protocol.ppp.dial import Dial
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
        help="do not dial: restore the resolv.conf and remove the rule that a killed call left",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Dial; return 0 after SIGTERM.

    Raises:
        BridgeError: there was no link, or it ended. The unit's status line has the same text. The unit's
            error number is EBUSY where another program has the port, and EINVAL where the configuration or a
            file that it names is at fault.

    """
    from bridge.daemon import logs

    if args.tidy:
        return asyncio.run(_tidy())
    try:
        network, level = wanted(args.config)
        logs.set_up(level)
        dial = _call(network)
        asyncio.run(_keep(dial))
    except BridgeError as exc:
        notify(f"STATUS={str(exc).splitlines()[0]}{_number(exc)}")
        raise
    return 0


def _number(error: BridgeError) -> str:
    """Return the error number of a fault that is not the modem's, empty for others [sd_notify(3), ERRNO]."""
    if isinstance(error, PortHeld):
        return f"\nERRNO={errno.EBUSY}"
    ours = isinstance(error, ConfigError | OperationError | NotCalled)
    return f"\nERRNO={errno.EINVAL}" if ours else ""


def wanted(config: Path | None) -> "tuple[Network, str]":
    """Return the network section of the configuration, and the log level.

    If the configuration has become invalid, return the values of the last valid one.
    """
    from bridge.adapters.system.root_paths import trusted_file
    from bridge.daemon import logs
    from bridge.settings import DEFAULT_PATH, Overrides, load

    if os.geteuid() != 0:
        raise OperationError("dial needs root: sudo systemctl start hologram-ppp.service")
    path = trusted_file((config or DEFAULT_PATH).absolute())
    try:
        settings = load(path, overrides=Overrides()).settings  # the bridge's own file is nothing for root
    except ConfigError as exc:
        kept = _kept()
        if kept is None:
            raise
        logs.set_up("info")
        log.warning("%s; dialling as the last time", str(exc).splitlines()[0])
        return _with_apn(*kept), "info"
    _keep_for_later(settings.network, settings.store.path)
    return _with_apn(settings.network, settings.store.path), settings.log.level


def _with_apn(network: "Network", store: Path) -> "Network":
    """Return the settings with the APN that was changed from afar, if it was."""
    from bridge.settings.override_file import apn_file, read_apn
    from bridge.settings.sources import read_environment, sets

    if sets(read_environment(os.environ), "network.apn"):
        return network
    try:
        apn = read_apn(apn_file(store))
    except ValueError as exc:
        log.warning("%s; it is ignored", exc)
        return network
    return network if apn is None else network.model_copy(update={"apn": apn})


def _copy() -> Path | None:
    """Return the file of the last call's settings, in a folder that systemd keeps until the next boot."""
    folder = os.environ.get("RUNTIME_DIRECTORY")
    return Path(folder) / "network.json" if folder else None


def _keep_for_later(network: "Network", store: Path) -> None:
    copy = _copy()
    if copy is None:
        return
    text = json.dumps({"network": network.model_dump(mode="json"), "store": str(store)})
    new = copy.with_suffix(".new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)  # the file is root's alone, because it may hold a password
        new.replace(copy)
    except OSError as exc:
        log.warning("%s: %s; a mistake in the configuration will keep us from calling", copy, exc.strerror)


def _kept() -> "tuple[Network, Path] | None":
    from bridge.adapters.system.root_paths import trusted_file
    from bridge.settings.models import Network

    copy = _copy()
    if copy is None or not copy.exists():
        return None
    try:
        tree = json.loads(trusted_file(copy).read_text())
        return Network.model_validate_json(json.dumps(tree["network"])), Path(tree["store"])
    except (ValueError, KeyError, TypeError):  # another version may have written it
        return None


def _call(network: "Network") -> "Dial":
    """Return the call with the settings of ``network``."""
    from bridge.adapters.ppp.dialler import dial_of
    from bridge.adapters.ppp.pppd import chat_script, file_of
    from bridge.adapters.system.root_paths import trusted_file, trusted_port
    from bridge.adapters.usb.finder import Finder
    from bridge.protocol.ppp.dial import check

    if not network.interface.startswith("cellular"):
        raise ConfigError(f"network.interface: {network.interface!r} dials nothing; one of cellular… does")
    find = Finder(network.interface, network.devices)
    place = find()
    if place is None:
        raise LinkError(find.missing)
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
    from bridge.adapters.ppp.routes import Routes

    routes = Routes(asyncio.get_running_loop())
    routes.bring_back_dns()
    await routes.drop_rule()
    return 0


async def _keep(dial: "Dial") -> None:
    """Dial, and keep the link until it ends (raises `LinkError`) or a signal says stop."""
    from bridge.adapters.ppp.pppd import Pppd
    from bridge.protocol.ppp.pppd_log import status_up

    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()
    down: asyncio.Future[str] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _settle, stop)
    pppd = Pppd(loop, on_down=down.set_result)
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
    """Send ``state`` to systemd [sd_notify(3)]; do nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as exc:
        log.warning("systemd could not be notified: %s", exc)

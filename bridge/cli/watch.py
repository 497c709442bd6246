"""``hologram-bridge watch``: a live view of a running bridge, by MQTT alone."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import ConfigError, OperationError, UsageError

if TYPE_CHECKING:
    from bridge.adapters.mqtt.broker import Broker
    from bridge.watch.board import Board

PORT, TLS_PORT = 1883, 8883

_TURN = 0.2
"""Seconds that one turn of the loop waits for a message."""

_AS_OPTIONS = {
    "mqtt.username": "-u",
    "mqtt.password": "-P",
    "mqtt.tls.ca": "--cafile",
    "mqtt.tls.cert": "--cert",
    "mqtt.tls.key": "--key",
    "mqtt.host": "-h",
    "mqtt.port": "-p",
    "set mqtt.protocol to": "give -V",
}
"""The options for keys of the configuration, for a person who gave no configuration."""

_EPILOG = (
    "It publishes nothing, and reads under a client id of its own, with a clean session, at QoS 0. A message "
    "appears with its result; how many wait, and for how long, comes from the health. Where mqtt.events "
    "has message.queued, those that wait appear too. Without a terminal it prints a line for each event. "
    "Ctrl-C ends it. An option beats the file."
)


def add_parser(subparsers: Any) -> None:
    """Add ``watch`` to the commands; its ``run(args)`` returns the exit code."""
    parser = subparsers.add_parser(
        "watch",
        help="a live view of a running bridge",
        description="Show a running bridge live, from its broker: link, queue, what became of each message, "
        "data left and cost.",
        epilog=_EPILOG,
        add_help=False,  # -h is the host, as in mosquitto_sub
    )
    parser.add_argument("--help", action="help", help="show this help message and exit")
    parser.add_argument("-h", "--host", help="the broker (default: 127.0.0.1)")
    parser.add_argument("-p", "--port", type=_port, help=f"its port (default: {PORT}; {TLS_PORT} with TLS)")
    parser.add_argument("-u", "--username", help="the user at the broker, such as operator or viewer")
    parser.add_argument(
        "-P", "--pw", metavar="PASSWORD", help="its password; others on this machine can see it"
    )
    parser.add_argument("--cafile", metavar="FILE", help="TLS: the authority that is trusted")
    parser.add_argument("--tls-use-os-certs", action="store_true", help="TLS: trust those of the system")
    parser.add_argument("--cert", metavar="FILE", help="TLS: a client certificate")
    parser.add_argument("--key", metavar="FILE", help="TLS: its key")
    parser.add_argument(
        "-V", "--protocol-version", choices=("5", "311"), help="the version of MQTT (default: 5)"
    )
    parser.add_argument("--prefix", help="the bridge's prefix (default: hologram)")
    parser.add_argument(
        "-c", "--config", metavar="FILE", type=Path,
        help="take broker, user, TLS and prefix from this configuration of a bridge",
    )  # fmt: skip
    parser.add_argument(
        "--payloads",
        action="store_true",
        help="read the commands too, and show what is in the messages that message.queued names",
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of a screen")
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; 1 to 65535")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Show the bridge until Ctrl-C; raises `OperationError` if the broker does not take us."""
    from bridge.watch.stop import Stop

    stop = Stop()  # before the slow imports
    from bridge.watch.board import Board
    from bridge.watch.subscriber import Subscriber, filters

    broker, prefix = _target(args)
    board = Board(prefix)
    view = _view(board, broker, plain=args.plain or not _screen())
    words: Callable[[str], str] = str if args.config else _as_options
    with Subscriber(broker, filters(prefix, commands=args.payloads), words) as source:
        lines = source.first(board, lambda: stop.wanted)
        with view:
            while not stop.wanted:
                view.show(lines, time.time())
                lines = source.take(board, _TURN)
    return 0


def _screen() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _view(board: "Board", broker: "Broker", *, plain: bool) -> Any:
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")  # a payload may hold unencodable characters
    if plain:
        from bridge.watch.plain import PlainView

        return PlainView(board, every=60.0)
    try:
        from bridge.watch.live import LiveView
    except ModuleNotFoundError as error:
        own = sys.prefix != sys.base_prefix
        line = "pip install 'rich>=13'" if own else "sudo apt install python3-rich"
        raise OperationError(f"{error.name} is missing; run: {line} (or use --plain)") from None
    return LiveView(board, f"{broker.host}:{broker.port}")


# -- the broker ------------------------------------------------------------------------------------------


def _target(args: argparse.Namespace) -> "tuple[Broker, str]":
    """Return the broker and the prefix; raises `ConfigError` or `UsageError` for what cannot be."""
    from bridge.adapters.mqtt.broker import Broker
    from bridge.watch.subscriber import client_id

    if args.config:
        from bridge.daemon.configure import broker as of_file
        from bridge.settings import load

        settings = load(args.config).settings
        given, prefix = of_file(settings, client_id()), settings.mqtt.prefix
    else:
        given, prefix = Broker("127.0.0.1", 0, client_id()), "hologram"
    if args.username is not None:
        given = given._replace(username=args.username, password=None)
    if args.pw is not None:
        if given.username is None:
            raise UsageError("-P needs a user: give -u too")
        given = given._replace(password=args.pw)
    given = given._replace(host=args.host or given.host, tls=_tls(args) or given.tls)
    port = args.port or given.port or (TLS_PORT if given.tls else PORT)
    version5 = given.version5 if args.protocol_version is None else args.protocol_version == "5"
    return given._replace(port=port, version5=version5), _prefix(args.prefix) or prefix


def _tls(args: argparse.Namespace) -> Any:
    """Return the TLS context that the options ask for, None where they ask for none."""
    from bridge.adapters.mqtt.broker import tls_context

    if (args.cert is None) != (args.key is None):
        raise UsageError("--cert and --key belong together")
    if args.cafile is None and not args.tls_use_os_certs:
        if args.cert:
            raise UsageError("--cert needs --cafile or --tls-use-os-certs")
        return None
    try:
        return tls_context(args.cafile, args.cert, args.key)
    except ConfigError as exc:
        raise UsageError(_as_options(str(exc))) from exc


def _prefix(given: str | None) -> str | None:
    if given is not None and (not given or set(given) & set("+#\0") or given.strip("/") != given):
        raise UsageError(f"--prefix: {given!r} is not allowed; a topic without wildcards, such as hologram")
    return given


def _as_options(text: str) -> str:
    for key, option in _AS_OPTIONS.items():
        text = text.replace(key, option)
    return text

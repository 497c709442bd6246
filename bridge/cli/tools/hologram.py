"""``hologram``: the command of the released SDK, with its subcommands and options [hologram-python 0.10].

A running bridge that has the modem carries the command out. Otherwise the command uses the modem as a script
of the SDK does. The configuration names the modem; without a configuration it is found by its USB id.
"""

import argparse
import logging
import sys
from pathlib import Path

from bridge.cli.tools import common, hologram_cloud, hologram_modem
from bridge.errors import BridgeError, OperationError

NAME = "hologram"


class _Verbosity(argparse.Action):
    """``-v`` means 1, ``-vv`` and ``-v 2`` mean 2, as with the released command."""

    def __call__(
        self, _parser: object, namespace: argparse.Namespace, values: object, _option: str | None = None
    ) -> None:
        text = str(values or "1")
        setattr(namespace, self.dest, int(text) if text.isdecimal() else text.count("v") + 1)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with the released options."""
    parser = argparse.ArgumentParser(
        prog=NAME, description="Use the modem and the Hologram cloud.", allow_abbrev=False
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    send = _add(commands, "send", "send a message or an SMS through the cloud", hologram_cloud.send)
    _add_message(send)
    heartbeat = _add(commands, "heartbeat", "send a message repeatedly", hologram_cloud.heartbeat)
    _add_message(heartbeat)
    receive = _add(commands, "receive", "print inbound messages or SMS", hologram_cloud.receive)
    _add_receiving(receive)
    receive.add_argument("--data", action="store_true", help="messages (default)")
    receive.add_argument("--sms", action="store_true", help="SMS")
    spacebridge = _add(
        commands, "spacebridge", "keep a link for Hologram's own networks only", hologram_cloud.tunnel
    )
    _add_receiving(spacebridge)
    _add_modem(commands.add_parser("modem", help="query or control the modem"))
    _add_network(commands.add_parser("network", help="connect or disconnect the modem"))
    _add(commands, "version", "print the SDK's version", _version)
    activate = _add(commands, "activate", "activate a SIM (not here: see the dashboard)", _activate)
    activate.add_argument("--apikey", nargs="?", help="not used")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    work: hologram_modem.Work,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.add_argument("-v", nargs="?", action=_Verbosity, dest="verbose", default=0, help="log more")
    command.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        help="the bridge's configuration (default: /etc/hologram-bridge/bridge.hjson, where there is one)",
    )
    command.set_defaults(work=work)
    return command


def _add_message(command: argparse.ArgumentParser) -> None:
    command.add_argument("message", nargs="?", help="the message; quote it if it has spaces")
    command.add_argument(
        "--devicekey", nargs="?", help="the 8-character device key (default: the SIM's identity)"
    )
    command.add_argument("--host", help=argparse.SUPPRESS)
    command.add_argument("-p", "--port", type=common.port, help=argparse.SUPPRESS)
    command.add_argument("--authtype", default="totp", nargs="?", help="totp (default) or csrpsk")
    command.add_argument("--cloud", action="store_true", help="to the cloud (default)")
    command.add_argument(
        "--duration",
        type=int,
        nargs="?",
        default=-1,
        help="seconds for which --repeat goes on (default: for ever)",
    )
    command.add_argument(
        "--repeat", type=int, nargs="?", default=0, help="send it again every so many seconds"
    )
    command.add_argument(
        "--timeout",
        type=int,
        nargs="?",
        default=common.DEFAULT_TIMEOUT,
        help="seconds for an answer (default: 5)",
    )
    command.add_argument("-t", "--topic", nargs="?", action="append", help="a topic; may be given again")
    command.add_argument("--sms", action="store_true", help="as an SMS; needs --devicekey and --destination")
    command.add_argument("--destination", nargs="?", help="the SMS's number, with its plus sign")


def _add_receiving(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-m", "--modem", nargs="?", help="accepted and ignored: the modem is found by itself"
    )
    command.add_argument(
        "-t", "--timeout", type=int, nargs="?", default=-1, help="seconds until it ends (default: -1, never)"
    )


def _add_modem(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (text, work) in hologram_modem.COMMANDS.items():
        command = _add(commands, name, text, work)
        if name == "signal":
            command.add_argument("--repeat", type=int, nargs="?", default=0, help="ask every so many seconds")
        if name == "command":
            command.add_argument("command", nargs="?", default="", help="the AT command, such as +CSQ")
            command.add_argument(
                "-t", "--timeout", type=int, nargs="?", default=5, help="seconds for an answer (default: 5)"
            )


def _add_network(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add(commands, "connect", "connect by the modem, over PPP", hologram_modem.connect)
    _add(commands, "disconnect", "end that connection", hologram_modem.disconnect)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 failed, 2 usage. Errors are in the released form."""
    args = build_parser().parse_args(arguments)
    level = {0: logging.ERROR, 1: logging.INFO}.get(args.verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(levelname)s: %(message)s")
    try:
        code: int = args.work(args)
    except BridgeError as exc:
        for line in str(exc).splitlines() or [type(exc).__name__]:
            print(f"ERROR: {line}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    return code


def _version(_args: argparse.Namespace) -> int:
    from bridge.sdk import SDK_VERSION

    print(SDK_VERSION)
    return 0


def _activate(_args: argparse.Namespace) -> int:
    raise OperationError("activate: not here; activate the SIM on https://dashboard.hologram.io")


if __name__ == "__main__":
    sys.exit(main())

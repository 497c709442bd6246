"""``hologram-bridge modem``: one-shot modem commands, through the running daemon or on the modem's port."""

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

from bridge.cli.screen import say, say_json
from bridge.errors import ConfigError, OperationError, UsageError

COMMANDS = {
    "info": "identity of the modem and its SIM, registration and signal",
    "signal": "the radio signal",
    "operator": "the network in which the modem is registered",
    "sms": "list the SMS stored on the modem, or send one",
    "at": "send an AT command and print the answer",
    "reset": "restart the modem",
    "location": "the modem's location, if it can tell",
}

_EPILOG = """\
A running daemon answers; if none runs, the command opens the modem's port itself for the moment.
Without --device it finds the modem by its USB id.
example: hologram-bridge modem at "AT+CSQ" --device /dev/ttyUSB2"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "modem",
        help="query the modem",
        description="Query the modem: through the running daemon, or on its port if none runs.",
    )
    commands = parser.add_subparsers(dest="modem_command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_options(command)
        if name == "at":
            command.add_argument("text", metavar="COMMAND", help="the AT command, such as AT+CSQ")
        if name == "sms":
            command.add_argument(
                "--to", metavar="NUMBER", help="send TEXT to this number, such as +15551234567"
            )
            command.add_argument("text", metavar="TEXT", nargs="?", help="the text to send")
        if name in ("at", "location"):
            command.add_argument(
                "--timeout", type=float, metavar="SECONDS", help="seconds to wait for the answer"
            )
        command.set_defaults(run=run)


def _add_options(command: argparse.ArgumentParser) -> None:
    from bridge.cli.options import add_config

    add_config(command)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--device", metavar="PATH", help="the modem's AT port, instead of the daemon")
    command.add_argument(
        "--profile",
        metavar="NAME",
        help="the kind of modem, such as nova-u201 (default: as configured, or found)",
    )


def run(args: argparse.Namespace) -> int:
    """Carry the command out; return the exit code."""
    request = _request(args)
    answer = _ask_daemon(args, request)
    if answer is None:
        answer = _ask_port(args, request)
    said = answer["modem"]
    if args.json:
        say_json(said)
    else:
        _PRINTERS.get(args.modem_command, _print_fields)(said)
    return 1 if said.get("refused") else 0


def _request(args: argparse.Namespace) -> dict[str, Any]:
    request = {"command": "modem", "what": args.modem_command}
    for name in ("to", "text", "timeout"):
        if (value := getattr(args, name, None)) is not None:
            request[name] = value
    if args.modem_command == "sms" and ("to" in request) != ("text" in request):
        raise UsageError("sms: --to NUMBER and TEXT go together; without both, the stored SMS are listed")
    return request


def _settings(args: argparse.Namespace) -> Any:
    """Return the settings; None without a configuration if the command line is complete."""
    from bridge.settings import load

    try:
        return load(args.config).settings
    except ConfigError:
        if args.config is None and args.device is not None:
            return None
        raise


def _ask_daemon(args: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any] | None:
    """Return the daemon's answer; None if none runs, or if ``--device`` names another modem."""
    from bridge.adapters.system.control_socket import ask, socket_path

    settings = None if args.device or args.profile else _settings(args)
    if settings is None or not settings.network.interface.startswith("cellular"):
        return None
    return ask(socket_path(settings.control.path, settings.store.path), request)


def _ask_port(args: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any]:
    """Open the modem's port, and return the answer."""
    from bridge.adapters.usb.sysfs import at_device, find, portless
    from bridge.protocol.modems import PROFILES

    settings = _settings(args)
    network = None if settings is None else settings.network
    profile = _profile(args.profile or (network.interface if network else ""))
    given = network.devices if network and not args.profile else ()
    device = args.device or next(iter(given), None)
    if device is not None:
        found = at_device(profile, device)
    else:
        wanted = [profile] if profile.usb_ids else PROFILES
        modems = find(wanted)
        if not modems:
            raise OperationError(_nothing_found([one.label for one, _ in portless(wanted)]))
        found = modems[0]
    apn = network.apn if network else "hologram"
    return asyncio.run(_ask(found, request, apn))


def _profile(name: str) -> Any:
    """Return the profile called ``name``, with or without ``cellular-``; the generic one for no name."""
    from bridge.protocol.modems import PROFILES, by_interface

    interface = name if name.startswith("cellular") else f"cellular-{name}"
    if name in ("", "wifi", "generic"):
        interface = "cellular"
    try:
        return by_interface(interface)
    except KeyError:
        known = ", ".join(one.interface.removeprefix("cellular-") for one in PROFILES if one.usb_ids)
        raise UsageError(f"--profile: {name!r} is not allowed; one of {known}") from None


def _nothing_found(portless: list[str]) -> str:
    if portless:
        return f"{portless[0]} is there, but has no serial port: its driver is missing; run: modprobe option"
    return "no modem is on the USB; give its port with --device, such as /dev/ttyUSB2"


async def _ask(found: Any, request: dict[str, Any], apn: str) -> dict[str, Any]:
    from bridge.adapters.modem.modem import Modem
    from bridge.adapters.modem.queries import answer

    modem = Modem(
        asyncio.get_running_loop(),
        found.profile,
        sim_pin=None,  # only the daemon enters the PIN, because it remembers one that was wrong
        on_facts=lambda _facts: None,
        on_urc=lambda _urc: None,
        on_lost=lambda _reason: None,
        apn=apn,
    )
    try:
        if request["what"] in ("at", "reset"):
            await modem.attach(found.at_port)
        else:
            await modem.start(found.at_port, radio=False)
        return await answer(modem, request)
    finally:
        modem.close()


# -- showing ---------------------------------------------------------------------------------------------


def _print_fields(said: dict[str, Any], indent: str = "") -> None:
    for key, value in said.items():
        if isinstance(value, dict):
            say(f"{indent}{key}")
            _print_fields(value, indent + "  ")
        else:
            say(f"{indent}{key:<{14 - len(indent)}} {'-' if value is None else value}")


def _print_at(said: dict[str, Any]) -> None:
    for line in [*said["lines"], said["final"]]:
        say(line)


def _print_sms(said: dict[str, Any]) -> None:
    if "messages" not in said:
        say(said["description"])
        return
    for message in said["messages"]:
        note = f"  ({message['note']})" if message.get("note") else ""
        say(f"{message.get('sent_at') or '-'}  {message['from'] or '-'}  {message['body'] or ''}{note}")
    if not said["messages"]:
        say("no SMS are stored on the modem")


_PRINTERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "at": _print_at,
    "sms": _print_sms,
    "reset": lambda said: say(said["description"]),
}

"""``hologram-bridge simulate modem`` and ``simulate tell``: the simulated modem, and its control socket."""

import argparse
import asyncio
import math
import shlex
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.cli.screen import say_json
from bridge.core.visible import visible
from bridge.errors import UsageError
from bridge.sim.modem import faults, orders
from bridge.sim.modem.profiles import ICCID, IMSI, PROFILES, by_name

if TYPE_CHECKING:  # every command builds this parser, so the modem's modules are imported only to run it
    from bridge.sim.modem.device import Options

_INBOUND_PORT: Final = 4010


_EPILOG: Final = f"""\
{faults.as_text()}

to give orders while it runs, with --control PATH: hologram-bridge simulate tell PATH ORDER
example: hologram-bridge simulate modem --profile bg96 --link /tmp/at --cloud 127.0.0.1:9999"""


def add_modem(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command ``modem``."""
    parser = kinds.add_parser(
        "modem",
        help="run the simulated modem",
        description="Run a pseudo terminal for each port of a modem, which answers as that modem does.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--profile", required=True, metavar="NAME", help=f"one of {', '.join(PROFILES)}")
    add(
        "--link",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="path of a port: the first takes AT commands, the second dials; a single one does both",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME",
        help="a fault from the start; may be repeated; see below",
    )
    add("--control", type=Path, metavar="PATH", help="Unix socket that takes orders")
    add("--log", type=Path, metavar="FILE", help="append a JSON line for each SMS sent, call and fault")
    add("--cloud", metavar="HOST:PORT", help="the cloud that the modem's own sockets connect to")
    add(
        "--inbound-port",
        type=int,
        metavar="PORT",
        help="local port that stands for port 4010 of the modem; 0 picks a free one and prints it",
    )
    add(
        "--pppd",
        metavar="COMMAND",
        help="command of the far end of calls; without it calls end in NO CARRIER",
    )
    add("--pin", default="", help="the PIN that the SIM asks for (default: none)")
    add("--imei", default="", help="the modem's number (default: the profile's)")
    add("--imsi", default=IMSI, help="the SIM's number (default: %(default)s)")
    add("--iccid", default=ICCID, help="the card's number (default: %(default)s)")
    add(
        "--store",
        type=int,
        default=50,
        metavar="N",
        help="number of SMS that the modem stores (default: %(default)s)",
    )
    add(
        "--usb-layout",
        type=int,
        default=0,
        metavar="N",
        help="the answer to AT+UUSBCONF? (default: %(default)s)",
    )
    add("--home", action="store_true", help="register in the home network instead of roaming")
    for option, default, text in (
        ("--registration", 1.0, "seconds until it is registered"),
        ("--sim-delay", 0.3, "seconds for which the SIM is busy after a start"),
        ("--boot", 1.0, "seconds of a restart"),
        ("--answer", 0.005, "seconds until each answer"),
        ("--send", 0.02, "seconds for sending an SMS"),
    ):
        add(option, type=float, default=default, metavar="SECONDS", help=f"{text} (default: %(default)s)")
    add("--authorized", type=Path, metavar="FILE", help="no power while FILE holds 0, as sysfs does for USB")
    add("--quiet", action="store_true", help="print no line per event")
    parser.set_defaults(run=run_modem)


def add_tell(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command ``tell``."""
    parser = kinds.add_parser(
        "tell",
        help="send an order to a running simulated modem",
        description="Send an order and print the answer.",
        epilog=(orders.__doc__ or "").partition("\n\n")[2].replace("``", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="the --control socket of the modem")
    parser.add_argument(
        "order", nargs="+", metavar="ORDER", help="the order, such as: signal rssi=12; or JSON"
    )
    parser.set_defaults(run=run_tell)


def run_modem(args: argparse.Namespace) -> int:
    """Run a simulated modem until SIGTERM or Ctrl-C; returns 0.

    Raises:
        UsageError: an option is wrong.
        OperationError: a link, the log or the control socket cannot be made.

    """
    options = _options(args)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    asyncio.run(_serve(options, args.control, quiet=args.quiet))
    return 0


def run_tell(args: argparse.Namespace) -> int:
    """Send one order; returns 0.

    Raises:
        UsageError: the order cannot be read.
        OperationError: the modem refused it, or no modem listens at the path.

    """
    words = args.order
    order = orders.read_order(words[0] if len(words) == 1 else shlex.join(words))
    say_json(orders.send(args.path, order))
    return 0


async def _serve(options: "Options", control_path: Path | None, *, quiet: bool) -> None:
    from bridge.sim.journal import LineWriter
    from bridge.sim.modem import control
    from bridge.sim.modem.device import SimModem

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    screen = None if quiet else LineWriter(sys.stdout)
    say = (lambda _: None) if screen is None else (lambda line: screen.write(f"{visible(line)}\n"))
    async with SimModem(options, say) as modem, control.serve(modem, control_path):
        roles = ("AT", "dial") if len(modem.ports) > 1 else ("AT and dial",)
        named = [f"{role} {port.pty.path}" for role, port in zip(roles, modem.ports, strict=False)]
        print(f"simulated modem {options.profile.name}: {', '.join(named)}", flush=True)
        await stop.wait()


def _options(args: argparse.Namespace) -> "Options":
    from bridge.sim.modem.device import Options
    from bridge.sim.modem.net import Places

    profile = by_name(args.profile)
    for name, value in (
        ("--imsi", args.imsi),
        ("--imei", args.imei or profile.imei),
        ("--iccid", args.iccid),
    ):
        if not (value.isascii() and value.isdigit()):
            raise UsageError(f"{name}: {value!r} is not allowed; digits")
    if not 1 <= args.store <= 1000:
        raise UsageError(f"--store: {args.store} is not allowed; 1 to 1000")
    if args.pin and not (args.pin.isascii() and args.pin.isdigit() and 4 <= len(args.pin) <= 8):
        raise UsageError("--pin: it is not allowed; 4 to 8 digits")
    return Options(
        profile=profile,
        links=tuple(args.link),
        faults=tuple(faults.parse_fault(text) for text in args.fault),
        places=Places(_cloud(args.cloud), _inbound(args.inbound_port)),
        far=tuple(shlex.split(args.pppd or "")),
        log=args.log,
        imei=args.imei,
        imsi=args.imsi,
        iccid=args.iccid,
        pin=args.pin,
        store=args.store,
        usb_layout=args.usb_layout,
        registration_delay=_seconds("--registration", args.registration),
        roaming=not args.home,
        sim_delay=_seconds("--sim-delay", args.sim_delay),
        boot=_seconds("--boot", args.boot),
        answer=_seconds("--answer", args.answer),
        send=_seconds("--send", args.send),
        authorized=args.authorized,
    )


def _seconds(option: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise UsageError(f"{option}: {value} is not allowed; seconds from 0 on")
    return value


def _cloud(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--cloud: {text!r} is not allowed; HOST:PORT")
    return host, int(port)


def _inbound(port: int | None) -> tuple[int, int] | None:
    if port is None:
        return None
    if not 0 <= port < 65536:
        raise UsageError(f"--inbound-port: {port} is not allowed; 0 to 65535")
    return _INBOUND_PORT, port

"""``hologram-bridge simulate``: the simulated cloud, messages from the cloud to a device, and the modem."""

import argparse
import asyncio
import math
import os
import resource
import signal
import socket
import sys
from io import TextIOWrapper
from pathlib import Path

from bridge.cli.screen import say
from bridge.cli.simulate_modem import add_modem, add_tell
from bridge.core.visible import visible
from bridge.errors import OperationError, UsageError
from bridge.protocol.remote import is_command
from bridge.sim.cloud import SimCloud
from bridge.sim.faults import NAMES, parse_faults
from bridge.sim.journal import LineWriter, Record, live_line
from bridge.sim.webhook import Webhook

_CLOUD_EPILOG = f"""\
faults, each at every N-th request; the first one given wins: {", ".join(NAMES)}.
close, reset, silent, garbage and the codes do not accept the request; late, split and drip do.
nobatch refuses requests whose only topic is "batch", by code 5.
example: hologram-bridge simulate cloud --delay 0.3 --fault close:7 --fault late:13"""

_PUSH_TIMEOUT = 5.0  # seconds


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``simulate`` with ``cloud``, ``push``, ``modem`` and ``tell``; each sets ``run(args) -> int``."""
    parser = subparsers.add_parser("simulate", help="simulated cloud and modem, to try things without a SIM")
    kinds = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_cloud(kinds)
    _add_push(kinds)
    add_modem(kinds)
    add_tell(kinds)


def _add_cloud(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser(
        "cloud",
        help="run the simulated cloud",
        description="Run a server that speaks the cloud socket's protocol and prints each request.",
        epilog=_CLOUD_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=9999, help="port; 0 picks a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--devicekey", default="abcd1234", metavar="K", help="8 characters (default: %(default)s)"
    )
    parser.add_argument("--cloud-id", metavar="ID", help="older credentials: 4 characters")
    parser.add_argument("--cloud-key", metavar="KEY", help="older credentials: 4 characters")
    parser.add_argument("--device-id", metavar="ID", help="TOTP: the SIM number (ICCID)")
    parser.add_argument("--private-key", metavar="KEY", help="TOTP: the IMSI")
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", help="seconds before each answer (default: 0)"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME:N",
        help="a fault at every N-th request; may be repeated; see below",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="append one JSON line per request")
    parser.add_argument(
        "--webhook", metavar="URL", help="post each accepted message there, again until it is answered 200"
    )
    parser.add_argument(
        "--webhook-header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="a header of the webhook; may be repeated",
    )
    parser.add_argument(
        "--device",
        type=int,
        default=12345,
        metavar="N",
        help="the device's number in the webhook (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="print no line per request")
    parser.set_defaults(run=run_cloud)


def _add_push(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser(
        "push",
        help="send a message to a device, as the cloud does",
        description="Connect to a device's listener, write the text and close: one connection, one message. "
        "The answer to a signed command is printed.",
    )
    parser.add_argument("text", metavar="TEXT", help="the message; - reads it from standard input")
    parser.add_argument("--host", default="127.0.0.1", help="the device (default: %(default)s)")
    parser.add_argument("--port", type=int, default=4010, help="its port (default: %(default)s)")
    parser.add_argument("--udp", action="store_true", help="send one datagram instead of a TCP connection")
    parser.add_argument(
        "--count", type=int, default=1, metavar="N", help="send it N times (default: %(default)s)"
    )
    parser.set_defaults(run=run_push)


def run_cloud(args: argparse.Namespace) -> int:
    """Run the simulated cloud until SIGTERM or Ctrl-C; returns 0.

    Raises:
        UsageError: an option is wrong.
        OperationError: the port or the log file cannot be opened.

    """
    screen = None if args.quiet else LineWriter(sys.stdout)
    webhook = _webhook(args)

    def tell(record: Record) -> None:
        if screen is not None:
            screen.write(visible(live_line(record)[:-1]) + "\n")
        if webhook is not None:
            webhook.take(record)

    cloud = SimCloud(
        args.host,
        _port(args.port, lowest=0),
        _sized("--devicekey", args.devicekey, 8),
        delay=_delay(args.delay),
        faults=parse_faults(args.fault),
        log=args.log,
        on_request=None if screen is None and webhook is None else tell,
        cloud_keys=_cloud_keys(args.cloud_id, args.cloud_key),
        totp=_pair("--device-id", args.device_id, "--private-key", args.private_key),
    )
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a payload may hold unencodable characters
    _raise_file_limit()
    asyncio.run(_serve(cloud))
    _flush_stdout()
    return 0


def _webhook(args: argparse.Namespace) -> Webhook | None:
    """Return the webhook that the options ask for; raises `UsageError`."""
    if args.webhook is None:
        return None
    pairs = [each.partition(":") for each in args.webhook_header]
    if wrong := ["".join(pair) for pair in pairs if not pair[0] or not pair[1]]:
        raise UsageError(f"--webhook-header: {wrong[0]!r} is not allowed; NAME:VALUE, such as X-Secret:abcd")
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    return Webhook(args.webhook, headers, (args.device, f"box {args.device}"))


def _flush_stdout() -> None:
    """Flush; where the reader of the pipe has closed it, keep the interpreter from reporting that at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _serve(cloud: SimCloud) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with cloud:
        print(f"simulated cloud on {cloud.host}:{cloud.port}", flush=True)
        await stop.wait()


def run_push(args: argparse.Namespace) -> int:
    """Send the message ``count`` times, each in its own connection or datagram; returns 0.

    Raises:
        UsageError: an option is wrong.
        OperationError: the device cannot be reached.

    """
    port = _port(args.port, lowest=1)
    if args.count < 1:
        raise UsageError(f"--count: {args.count} is not allowed; a whole number from 1 on")
    data = sys.stdin.buffer.read() if args.text == "-" else args.text.encode("utf-8", "surrogateescape")
    send = _push_udp if args.udp else _push_tcp
    for _ in range(args.count):
        try:
            send(args.host, port, data)
        except OSError as error:
            raise OperationError(
                f"cannot send to {args.host}:{port}: {error.strerror or error}; "
                "is the bridge running, with inbound enabled?"
            ) from None
    times = "" if args.count == 1 else f", {args.count} times"
    print(f"sent {len(data)} bytes to {args.host}:{port} over {'UDP' if args.udp else 'TCP'}{times}")
    return 0


def _push_tcp(host: str, port: int, data: bytes) -> None:
    with socket.create_connection((host, port), timeout=_PUSH_TIMEOUT) as connection:
        connection.sendall(data)
        if is_command(data):
            if not data.endswith(b"\n"):
                connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                say(answer.readline().decode("utf-8", "replace").rstrip("\n") or "closed without an answer")


def _push_udp(host: str, port: int, data: bytes) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as connection:
        connection.sendto(data, address)


def _port(port: int, *, lowest: int) -> int:
    if not lowest <= port <= 65535:
        raise UsageError(f"--port: {port} is not allowed; {lowest} to 65535")
    return port


def _delay(seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"--delay: {seconds} is not allowed; seconds from 0 on")
    return seconds


def _sized(option: str, value: str, length: int) -> str:
    if len(value) != length:
        raise UsageError(f"{option}: a value of {len(value)} characters is not allowed; exactly {length}")
    return value


def _pair(one: str, left: str | None, other: str, right: str | None) -> tuple[str, str] | None:
    if not left and not right:
        return None
    if not left or not right:
        raise UsageError(f"{one if right else other}: missing; {one} and {other} go together")
    return left, right


def _cloud_keys(cloud_id: str | None, cloud_key: str | None) -> tuple[str, str] | None:
    pair = _pair("--cloud-id", cloud_id, "--cloud-key", cloud_key)
    if pair is None:
        return None
    return _sized("--cloud-id", pair[0], 4), _sized("--cloud-key", pair[1], 4)


def _raise_file_limit() -> None:
    """Raise the limit of open files, and thereby of connections, as far as the system allows."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

"""The parts that the tools share: options, credentials, and the report of errors."""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.cli.ending import exit_code
from bridge.daemon import logs
from bridge.errors import OperationError, UsageError

if TYPE_CHECKING:
    from bridge.sdk import HologramCloud, Response

DEFAULT_TIMEOUT = 5
"""Seconds until the socket closes without a response [Python SDK 0.3]."""

CREDENTIALS = ("cloud_id", "cloud_key", "devicekey", "device_id", "private_key")

_HELP = {
    "cloud_id": "the 4-character cloud id from the dashboard",
    "cloud_key": "the 4-character cloud key from the dashboard",
    "devicekey": "the 8-character device key from the dashboard",
    "device_id": "the SIM number, from the dashboard",
    "private_key": "the device's IMSI",
}


def parser(name: str, text: str) -> argparse.ArgumentParser:
    """Return a parser for the tool called ``name``."""
    return argparse.ArgumentParser(prog=name, description=text, allow_abbrev=False)


def add_credentials(options: argparse.ArgumentParser) -> None:
    """Add the credentials' options, and the file that may hold them."""
    for name in CREDENTIALS:
        options.add_argument(f"--{name}", nargs="?", help=_HELP[name])
    options.add_argument(
        "-f", "--file", nargs="?", help="configuration (HJSON) file with the credentials; options beat it"
    )
    options.add_argument(
        "--authtype",
        nargs="?",
        choices=("csrpsk", "totp"),
        help="how the device authenticates (default: what the credentials allow)",
    )


def add_destination(options: argparse.ArgumentParser) -> None:
    """Add the options for host, port, timeout and Wi-Fi network."""
    options.add_argument("--host", help="the host to connect to (default: cloudsocket.hologram.io)")
    options.add_argument("-p", "--port", type=port, help="the port to connect to (default: 9999)")
    options.add_argument(
        "--timeout",
        type=_seconds,
        nargs="?",
        const=DEFAULT_TIMEOUT,
        help="seconds before the socket closes if no response comes (default: 5)",
    )
    options.add_argument("--ssid", nargs="?", help="join this Wi-Fi network first (root)")


def add_bridge(options: argparse.ArgumentParser) -> None:
    """Add the options for a running bridge, and those of every tool."""
    options.add_argument(
        "--via-bridge",
        action="store_true",
        help="go through the running bridge by MQTT",
    )
    options.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        help="the bridge's configuration, for --via-bridge (default: /etc/hologram-bridge/bridge.hjson)",
    )
    options.add_argument("-v", "--verbose", action="store_true", help="log to stderr")


def port(text: str) -> int:
    """Return the port that an option gives; raises `ValueError` or argparse's error for a wrong one."""
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port; give 1 to 65535")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not (0 < number < 1e6 or number == -1):
        raise argparse.ArgumentTypeError(f"{text} is not allowed; give seconds above 0")
    return number


def credentials(args: argparse.Namespace) -> dict[str, str]:
    """Return the credentials that the options and the file give; raises `UsageError` for a bad file."""
    found = _read_file(Path(args.file)) if args.file else {}
    found |= {name: value for name in CREDENTIALS if (value := getattr(args, name))}
    return found


def _read_file(path: Path) -> dict[str, str]:
    import hjson

    try:
        data = hjson.loads(path.read_text())
    except OSError as exc:
        raise UsageError(f"--file: cannot read {path}: {exc.strerror}") from exc
    except (hjson.HjsonDecodeError, UnicodeDecodeError) as exc:
        where = f"line {exc.lineno}: {exc.msg}" if isinstance(exc, hjson.HjsonDecodeError) else "not UTF-8"
        raise UsageError(f"--file: {path} is not HJSON: {where}") from exc
    if not isinstance(data, dict):
        raise UsageError(f"--file: {path} must hold an object with {', '.join(CREDENTIALS)}")
    for name in CREDENTIALS:
        if name in data and not isinstance(data[name], str):
            raise UsageError(f'--file: {name} in {path} must be text: put it in "quotes"')
    return {name: data[name] for name in CREDENTIALS if data.get(name)}


@contextmanager
def no_outbox() -> Iterator[Path]:
    """Yield the path of an outbox that ends with the tool, because the tool sends at once or fails."""
    from bridge.sdk.engine.outbox_service import close

    with tempfile.TemporaryDirectory(prefix="hologram-") as folder:
        path = Path(folder) / "outbox.db"
        try:
            yield path
        finally:
            close(path)


@contextmanager
def hologram_cloud(args: argparse.Namespace, found: dict[str, str]) -> "Iterator[HologramCloud]":
    """Yield the cloud that the options name, with the credentials ``found`` and `no_outbox`."""
    from bridge.sdk import HologramCloud

    with no_outbox() as outbox:
        cloud = HologramCloud(found, enable_inbound=False, authentication_type=args.authtype, outbox=outbox)
        if args.host is not None:
            cloud.send_host = args.host
        if args.port is not None:
            cloud.send_port = args.port
        cloud.keeps = False
        try:
            yield cloud
        finally:
            cloud.close()


def not_delivered(response: "Response") -> str | None:
    """Return why a message is not known to be delivered, for a person; None where the peer confirmed it."""
    if response.code == -1:
        return f"no answer: it may or may not have arrived ({response.reason})"
    return f"not sent: {response.reason}" if response.reason else None


def join_wifi(ssid: str | None) -> None:
    """Join the Wi-Fi network called ``ssid``, if one is given."""
    if not ssid:
        return
    from bridge.sdk.wifi import Wifi

    if not Wifi(ssid=ssid).connect():
        raise OperationError(f"--ssid: could not join {ssid}")


def run(
    name: str, work: Callable[[Any], int], options: argparse.ArgumentParser, arguments: list[str] | None
) -> int:
    """Run a tool; return its exit code: 0 done, 1 failed, 2 usage. An error is one line on stderr."""
    args = options.parse_args(arguments)
    logs.set_up("debug" if args.verbose else "critical")
    return exit_code(name, lambda: work(args))

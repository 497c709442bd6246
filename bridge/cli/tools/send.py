"""``hologram_send``: messages to the Hologram cloud, or to a host of one's own."""

import argparse
import sys
import threading
import time
from typing import TYPE_CHECKING

from bridge.cli.tools import common
from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.sdk import HologramCloud

NAME = "hologram_send"


def build_parser() -> argparse.ArgumentParser:
    """Return the tool's options, as documented [Python SDK 0.3 and 0.1, hologram-python 0.10]."""
    parser = common.parser(
        NAME,
        "Send messages to the Hologram cloud; without credentials, to the host that --host and --port name.",
    )
    parser.add_argument("message", nargs="*", help="message(s) to send; quote one that has spaces")
    common.add_credentials(parser)
    common.add_destination(parser)
    parser.add_argument(
        "-t", "--topic", nargs="*", action="extend", default=[], help="topic(s) for the message (optional)"
    )
    parser.add_argument(
        "--repeat", type=int, nargs="?", default=0, help="send it again every so many seconds"
    )
    parser.add_argument(
        "--duration",
        type=float,
        nargs="?",
        default=-1,
        help="seconds for which --repeat goes on (default: for ever)",
    )
    common.add_bridge(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; return its exit code."""
    return common.run(NAME, _work, build_parser(), arguments)


def _work(args: argparse.Namespace) -> int:
    if not args.message:
        raise UsageError("Message body cannot be empty: give a message, before -t and its topics")
    if args.via_bridge:
        return _via_bridge(args)
    found = common.credentials(args)
    common.join_wifi(args.ssid)
    if found:
        return _to_the_cloud(args, found)
    if args.host is None or args.port is None:
        raise UsageError(
            "credentials are missing: give --devicekey, or --cloud_id and --cloud_key, or --device_id and "
            "--private_key, or a file with -f; without credentials --host and --port name a host of your own"
        )
    return _to_a_host(args)


def _to_the_cloud(args: argparse.Namespace, found: dict[str, str]) -> int:
    with common.hologram_cloud(args, found) as cloud:
        timeout = args.timeout or common.DEFAULT_TIMEOUT
        if args.repeat:
            return _repeat(args, cloud, timeout)
        good = True
        for message in args.message:
            response = cloud.sendMessage(message, topics=args.topic, timeout=timeout)
            good &= cloud.resultWasSuccess(response)
            _say(response or f"not sent: {response.reason}", failed=response.kept)
    return 0 if good else 1


def _say(text: str, *, failed: bool) -> None:
    if failed:
        print(f"{NAME}: {text}", file=sys.stderr)
    else:
        print(f"RESPONSE MESSAGE: {text}", flush=True)


def _repeat(args: argparse.Namespace, cloud: "HologramCloud", timeout: float) -> int:
    """Send every ``--repeat`` seconds until ``--duration`` is over, a message is refused, or Ctrl-C."""
    cloud.event.subscribe("message.sent", lambda: print("A message has been sent", flush=True))
    cloud.sendPeriodicMessage(args.repeat, " ".join(args.message), topics=args.topic, timeout=timeout)
    until = None if args.duration in (None, -1) else time.monotonic() + args.duration
    pause = threading.Event()
    try:
        while cloud.periodicMessageRunning() and (until is None or time.monotonic() < until):
            pause.wait(0.1)
        return 0 if cloud.periodicMessageRunning() else 1
    finally:
        cloud.stopPeriodicMessage()


def _to_a_host(args: argparse.Namespace) -> int:
    from bridge.sdk import CustomCloud

    good = True
    with common.no_outbox() as outbox:
        cloud = CustomCloud(None, send_host=args.host, send_port=args.port, outbox=outbox)
        for message in args.message:
            response = cloud.sendMessage(message, timeout=args.timeout or common.DEFAULT_TIMEOUT)
            good &= not response.kept
            if response.kept:
                _say(f"not sent: {response.reason}", failed=True)
            else:
                print(f"RESPONSE FROM CLOUD: {response}", flush=True)
    return 0 if good else 1


def _via_bridge(args: argparse.Namespace) -> int:
    from bridge.cli.tools.via_bridge import Bridge

    with Bridge(args.config) as bridge:
        good = True
        for message in args.message:
            request = {"data": message, "topics": args.topic}
            good &= bridge.ask("send", request, args.timeout)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""``hologram_send``: messages to the Hologram cloud, or to the user's own host."""

import argparse
import math
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from bridge.cli.screen import say, say_raw
from bridge.cli.tools import common
from bridge.errors import BridgeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.sdk import CustomCloud, HologramCloud, Response

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
        if args.repeat:
            raise UsageError("--repeat: not with --via-bridge; use a timer, such as systemd's")
        return _via_bridge(args)
    found = common.credentials(args)
    if not found:
        _check_host(args)
    common.join_wifi(args.ssid)
    return _to_the_cloud(args, found) if found else _to_a_host(args)


def _check_host(args: argparse.Namespace) -> None:
    """Raise `UsageError` unless the options are complete for the user's own host."""
    if args.host is None or args.port is None:
        raise UsageError(
            "credentials are missing: give --devicekey, or --cloud_id and --cloud_key, or --device_id and "
            "--private_key, or a file with -f; without credentials --host and --port name a host of your own"
        )
    for option, given in (("--topic", args.topic), ("--repeat", args.repeat)):
        if given:
            raise UsageError(f"{option}: for the Hologram cloud alone, which needs credentials")


def _to_the_cloud(args: argparse.Namespace, found: dict[str, str]) -> int:
    with common.hologram_cloud(args, found) as cloud:
        if args.repeat:
            return repeat(args, cloud)
        send = partial(cloud.sendMessage, topics=args.topic, timeout=_timeout(args))
        return _send_each(args, cloud, send, "RESPONSE MESSAGE")


def _to_a_host(args: argparse.Namespace) -> int:
    from bridge.sdk import CustomCloud

    with common.no_outbox() as outbox:
        cloud = CustomCloud(None, send_host=args.host, send_port=args.port, outbox=outbox)
        cloud.keeps = False
        try:
            send = partial(cloud.sendMessage, timeout=_timeout(args))
            return _send_each(args, cloud, send, "RESPONSE FROM CLOUD")
        finally:
            cloud.close()


def _send_each(
    args: argparse.Namespace, cloud: "CustomCloud", send: "Callable[[str], Response]", who: str
) -> int:
    """Send each message and print its result; return the exit code."""
    failures = 0
    for message in args.message:
        response = send(message)
        failures += not cloud.resultWasSuccess(response)
        why = common.not_delivered(response)
        if why is None:
            say_raw(f"{who}: {response}")
        else:  # with several messages, the line names the one that failed
            say(f"{NAME}: {f'{message!r}: ' if len(args.message) > 1 else ''}{why}", error=True)
    return 1 if failures else 0


def _timeout(args: argparse.Namespace) -> float:
    seconds: float = args.timeout or common.DEFAULT_TIMEOUT
    return seconds


def repeat(args: argparse.Namespace, cloud: "HologramCloud") -> int:
    """Send every ``--repeat`` seconds until ``--duration`` is over, a message is refused, or Ctrl-C.

    An undelivered message is tried again meanwhile.
    """
    from bridge.sdk.engine.periodic import Periodic

    cloud.keeps = True
    cloud.event.subscribe("message.sent", lambda: print("A message has been sent", flush=True))
    job = Periodic()
    until = math.inf if args.duration in (None, -1) else time.monotonic() + args.duration
    pause = threading.Event()
    try:
        job.start(args.repeat, lambda: _send_again(args, cloud))
        while job.running and time.monotonic() < until:
            pause.wait(0.1)
        refused = not job.running
    finally:
        job.stop()
        left = cloud.waiting
        if left:
            say(f"{NAME}: never delivered: {left}", error=True)
    return 1 if refused or left else 0


def _send_again(args: argparse.Namespace, cloud: "HologramCloud") -> bool:
    """Send the message once more; return whether to go on."""
    try:
        response = cloud.sendMessage(" ".join(args.message), topics=args.topic, timeout=_timeout(args))
    except BridgeError as exc:
        say(f"{NAME}: {exc}", error=True)
        return False
    if response.kept:
        say(f"{NAME}: not delivered yet: {response.reason}", error=True)
    elif not cloud.resultWasSuccess(response):
        say_raw(f"RESPONSE MESSAGE: {response}")
    return response.kept or cloud.resultWasSuccess(response)


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

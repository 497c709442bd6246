"""``hologram_receive``: prints inbound messages."""

import argparse
import logging
import sys
import time
from collections.abc import Callable

from bridge.cli.screen import say_raw
from bridge.cli.tools import common

NAME = "hologram_receive"


def build_parser() -> argparse.ArgumentParser:
    """Return the tool's options, as documented [Python SDK 0.3]."""
    parser = common.parser(NAME, "Print the messages that come in on a port.")
    parser.add_argument("--host", nargs="?", default="0.0.0.0", help="our address (default: %(default)s)")  # noqa: S104  # documented
    parser.add_argument(
        "-p",
        "--port",
        type=common.port,
        nargs="?",
        const=4010,
        default=4010,
        help="our port (default: %(default)s)",
    )
    parser.add_argument(
        "-t",
        "--timeout",
        type=float,
        nargs="?",
        default=-1,
        help="seconds until it ends (default: -1, never)",
    )
    common.add_bridge(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; return its exit code."""
    return common.run(NAME, _work, build_parser(), arguments)


def _work(args: argparse.Namespace) -> int:
    timeout = None if args.timeout in (None, -1) else max(0.0, args.timeout)
    if args.via_bridge:
        from bridge.cli.tools.via_bridge import Bridge

        with Bridge(args.config) as bridge:
            bridge.listen(timeout, _show)
        return 0
    return _listen(args.host, args.port, timeout)


def _listen(host: str, port: int, timeout: float | None) -> int:
    from bridge.sdk import CustomCloud

    logging.getLogger("inbound").setLevel(logging.WARNING)  # messages that are not taken are logged
    with common.no_outbox() as outbox:
        cloud = CustomCloud(None, receive_host=host, receive_port=port, enable_inbound=True, outbox=outbox)
        print(f"Ready to receive data on port {cloud.receive_port}", flush=True)
        try:
            _wait(timeout, lambda: _show_all(cloud.popReceivedMessage))
        except KeyboardInterrupt:
            pass  # Ctrl-C is the documented end; messages received until now are still shown below
        finally:
            cloud.closeReceiveSocket()
            _show_all(cloud.popReceivedMessage)
    return 0


def _wait(timeout: float | None, look: Callable[[], None]) -> None:
    until = None if timeout is None else time.monotonic() + timeout
    while until is None or time.monotonic() < until:
        look()
        time.sleep(0.05 if until is None else max(0.0, min(0.05, until - time.monotonic())))


def _show_all(pop: Callable[[], str | None]) -> None:
    while (message := pop()) is not None:
        _show(message)


def _show(message: str) -> None:
    say_raw(f"Received message: {message}")


if __name__ == "__main__":
    sys.exit(main())

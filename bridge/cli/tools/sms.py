"""``hologram_sms``: one SMS by the Hologram cloud."""

import argparse
import sys

from bridge.cli.screen import say, say_raw
from bridge.cli.tools import common
from bridge.errors import UsageError

NAME = "hologram_sms"


def build_parser() -> argparse.ArgumentParser:
    """Return the tool's options, as documented [Python SDK 0.3 and 0.1]."""
    parser = common.parser(NAME, "Send an SMS to a number by the Hologram cloud.")
    parser.add_argument("message", nargs="?", help="the text, at most 160 characters")
    common.add_credentials(parser)
    parser.add_argument("--destination", nargs="?", help="the number, E.164 with a '+' sign")
    common.add_destination(parser)
    common.add_bridge(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; return its exit code."""
    return common.run(NAME, _work, build_parser(), arguments)


def _work(args: argparse.Namespace) -> int:
    if not args.message:
        raise UsageError("A SMS message body must be provided")
    if not args.destination:
        raise UsageError("A destination number must be provided in order to send SMS to it: --destination")
    if args.via_bridge:
        from bridge.cli.tools.via_bridge import Bridge

        with Bridge(args.config) as bridge:
            request = {"to": args.destination, "body": args.message}
            return 0 if bridge.ask("sms", request, args.timeout) else 1
    found = common.credentials(args)
    if not found:
        raise UsageError(
            "credentials are missing: give --devicekey, or --cloud_id and --cloud_key, or -f FILE"
        )
    common.join_wifi(args.ssid)
    return _send(args, found)


def _send(args: argparse.Namespace, found: dict[str, str]) -> int:
    with common.hologram_cloud(args, found) as cloud:
        timeout = args.timeout or common.DEFAULT_TIMEOUT
        response = cloud.sendSMS(args.destination, args.message, timeout=timeout)
    if response.code == -1:
        doubt = "no clear answer: it may have been sent; it is not sent again"
        say(f"{NAME}: {doubt} ({response.reason})", error=True)
    elif why := common.not_delivered(response):
        say(f"{NAME}: {why}", error=True)
    else:
        say_raw(f"RESPONSE MESSAGE: {response}")
    return 0 if cloud.resultWasSuccess(response) else 1


if __name__ == "__main__":
    sys.exit(main())

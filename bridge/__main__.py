"""The command line: arguments in, exit code out."""

import argparse
import sys
from importlib import import_module

from bridge import __version__
from bridge.cli.ending import exit_code
from bridge.cli.options import COMMAND, Parser

COMMANDS = (
    "run", "check_config", "doctor", "healthcheck", "watch", "queue", "quote", "modem", "dial", "usb_power",
    "may_restart_box", "unpack", "remote", "collect", "simulate", "add_on",
)  # fmt: skip


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, or of ``command`` alone if there is one of that name.

    A command does not load what the others need: the daemon has no use for the simulators.
    """
    parser = Parser(
        prog="hologram-bridge",
        description="A durable bridge from the local MQTT broker to the Hologram cellular cloud.",
    )
    parser.add_argument("--version", action="version", version=f"hologram-bridge {__version__}")
    subparsers = parser.add_subparsers(metavar=COMMAND, required=True)
    for name in [name for name in COMMANDS if name.replace("_", "-") == command] or COMMANDS:
        import_module(f"bridge.cli.{name}").add_parser(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 failed, 2 usage, 78 bad configuration."""
    given = sys.argv[1:] if arguments is None else arguments
    args = build_parser(*given[:1]).parse_args(given)
    return exit_code("hologram-bridge", lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())

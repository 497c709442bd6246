"""The command line: arguments in, exit code out."""

import argparse
import sys
from importlib import import_module

from bridge import __version__
from bridge.cli.ending import exit_code
from bridge.cli.options import COMMAND, Parser

COMMANDS = (
    "run", "check_config", "doctor", "watch", "queue", "quote", "modem", "dial", "usb_power", "unpack",
    "simulate",
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = Parser(
        prog="hologram-bridge",
        description="A durable bridge from the local MQTT broker to the Hologram cellular cloud.",
    )
    parser.add_argument("--version", action="version", version=f"hologram-bridge {__version__}")
    subparsers = parser.add_subparsers(metavar=COMMAND, required=True)
    for name in COMMANDS:
        import_module(f"bridge.cli.{name}").add_parser(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 failed, 2 usage, 78 bad configuration."""
    args = build_parser().parse_args(arguments)
    return exit_code("hologram-bridge", lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())

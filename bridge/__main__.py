"""The command line: arguments in, exit code out."""

import argparse
import os
import sys
from importlib import import_module

from bridge import __version__
from bridge.errors import BridgeError

COMMANDS = ("run", "check_config", "doctor", "queue", "modem", "dial", "usb_power", "simulate")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="hologram-bridge",
        description="A durable bridge from the local MQTT broker to the Hologram cellular cloud.",
    )
    parser.add_argument("--version", action="version", version=f"hologram-bridge {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"bridge.cli.{name}").add_parser(subparsers)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 failed, 2 usage, 78 bad configuration."""
    args = build_parser().parse_args(arguments)
    try:
        code: int = args.run(args)
    except BridgeError as exc:
        for line in str(exc).splitlines():
            print(f"hologram-bridge: {line}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bridge.demo``: arguments in, exit code out."""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bridge.errors import BridgeError, OperationError
from bridge.watch.stop import Stop

if TYPE_CHECKING:
    from bridge.demo.board import DemoBoard
    from bridge.demo.stage import Stage


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m bridge.demo",
        description="Start a private broker, a simulated cloud and modem, and the bridge, "
        "and show messages flow. Ctrl-C ends everything it started.",
        epilog="MOSQUITTO in the environment names another broker program.",
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of a screen")
    parser.add_argument(
        "--seconds", type=_seconds, metavar="N", help="end by itself after N seconds of traffic"
    )
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; seconds greater than 0")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return the exit code: 0 ended as asked, 1 something failed, 2 usage."""
    stop = Stop()
    args = build_parser().parse_args(arguments)
    try:
        _run(stop, args.seconds, plain=args.plain or not _screen())
    except BridgeError as exc:
        print(f"hologram-bridge demo: {exc}", file=sys.stderr)
        return exc.exit_code
    except BrokenPipeError:
        # The reader of our output has closed the pipe. Python would report that at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _screen() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _run(stop: Stop, seconds: float | None, *, plain: bool) -> None:
    from bridge.demo.board import DemoBoard
    from bridge.demo.stage import play

    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")  # a payload may hold unencodable characters
    board, started = DemoBoard(), time.monotonic()
    play(_view_of(board, plain=plain), board, stop, seconds)
    print(
        f"ended after {time.monotonic() - started:.0f} s: {board.summary()}; "
        "what the demo started is stopped, its files are removed"
    )
    sys.stdout.flush()


def _view_of(board: "DemoBoard", *, plain: bool) -> "Callable[[Stage], object]":
    from bridge.demo.stage import try_lines

    if plain:
        from bridge.demo.plain import DemoLines

        return lambda on: DemoLines(board, try_lines(on))
    try:
        from bridge.demo.live import DemoView
    except ModuleNotFoundError as error:
        raise OperationError(f"{error.name} is missing; run: make setup (or use --plain)") from None
    return lambda on: DemoView(board, try_lines(on), on.broker_port)


if __name__ == "__main__":
    sys.exit(main())

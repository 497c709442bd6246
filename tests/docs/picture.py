"""Makes ``docs/demo.svg`` from a demo that runs: ``make picture``."""

import io
import re
import sys
import time

from rich.console import Console

from bridge.demo.board import DemoBoard
from bridge.demo.live import DemoView
from bridge.demo.stage import Stage, play, try_lines
from bridge.watch.stop import Stop
from tests.harness.process import ROOT

PICTURE = ROOT / "docs" / "demo.svg"
WIDTH, HEIGHT = 100, 34
SECONDS = 58.0
"""Seconds of traffic: the simulated cloud is away then, after batches of each size, so all kinds are seen."""


class Camera(DemoView):
    """The demo's own view, which nobody sees until it is asked for its picture."""

    def __init__(self, board: DemoBoard, on: Stage) -> None:
        super().__init__(board, try_lines(on), on.broker_port)
        self._live.console = Console(width=WIDTH, height=HEIGHT, file=io.StringIO())

    def svg(self) -> str:
        """Return the picture of this moment."""
        paper = Console(
            width=WIDTH, height=HEIGHT, file=io.StringIO(), record=True, highlight=False,
            force_terminal=True, color_system="truecolor",
        )  # fmt: skip
        paper.print(self._picture(WIDTH, HEIGHT, time.time()))
        text = paper.export_svg(title="make demo")
        # No font from elsewhere: a page on a box in a field loads nothing.
        text = re.sub(r"@font-face \{.*?\}\n?", "", text, flags=re.DOTALL)
        return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def main() -> int:
    """Play the demo for a while and write the picture; return the exit code."""
    board, cameras = DemoBoard(), list[Camera]()

    def view_of(on: Stage) -> Camera:
        cameras.append(Camera(board, on))
        return cameras[0]

    play(view_of, board, Stop(), SECONDS)
    PICTURE.write_text(cameras[0].svg())
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

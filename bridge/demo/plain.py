"""The demo's view without a terminal: one line per event."""

from collections.abc import Sequence

from bridge.demo.board import DemoBoard
from bridge.demo.tries import Try
from bridge.watch.plain import PlainView


class DemoLines(PlainView):
    """Prints the lines to try, then a line for each event."""

    def __init__(self, board: DemoBoard, tries: Sequence[Try]) -> None:
        super().__init__(
            board,
            [
                "a private broker, a simulated cloud, a simulated modem and the bridge start;",
                "Ctrl-C ends all of it",
                "try in another terminal:",
                *(f"  {each.what:<7} {each.line}" for each in tries),
            ],
        )
        self._demo = board

    def figures(self, now: float) -> str:
        """Return the counters, with those of the simulated cloud and the bytes of a reading."""
        each = self._demo.bytes_each()
        parts = [f"{self._demo.arrived} at the cloud", *([each] if each else []), super().figures(now)]
        return "; ".join(parts)

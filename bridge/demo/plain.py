"""The view without a terminal: one line per event."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from bridge.core.visible import visible
from bridge.demo.board import Board, Line, clock
from bridge.demo.tries import Try

SUMMARY_EVERY = 15.0
"""Seconds between lines with the counters."""


class PlainView:
    """Prints a line for each event."""

    def __init__(self, board: Board, tries: Sequence[Try]) -> None:
        self._board = board
        self._tries = tries
        self._summary_at: float | None = None

    def __enter__(self) -> Self:
        print("a private broker, a simulated cloud, a simulated modem and the bridge start; Ctrl-C ends all")
        print("try in another terminal:")
        for each in self._tries:
            print(f"  {each.what:<7} {each.line}")
        sys.stdout.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, lines: Sequence[Line], now: float, _cloud_back_at: float | None) -> None:
        """Print the events; ``now`` in Unix seconds."""
        if self._summary_at is None:
            self._summary_at = now + SUMMARY_EVERY
        elif now >= self._summary_at:
            self._summary_at = now + SUMMARY_EVERY
            lines = [*lines, Line(now, "figures", self._figures(now))]
        for line in lines:
            print(visible(f"{clock(line.at)} {line.kind:<9} {line.text}"))
        if lines:
            sys.stdout.flush()

    def _figures(self, now: float) -> str:
        board = self._board
        up, down = board.spent()
        return (
            f"{board.summary()}; {board.arrived} at the cloud; {up} B up and {down} B down today; "
            f"memory {board.memory() / 1e6:.0f} MB; bridge {board.condition()} for {board.uptime(now):.0f} s"
        )

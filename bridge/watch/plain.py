"""The view without a terminal: one line per event."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from bridge.core.visible import visible
from bridge.watch.board import Board
from bridge.watch.values import Line, clock

SUMMARY_EVERY = 15.0
"""Seconds between lines with the counters."""


class PlainView:
    """Prints a line for each event, and ``head`` before the first."""

    def __init__(self, board: Board, head: Sequence[str] = (), every: float = SUMMARY_EVERY) -> None:
        """``every`` is the number of seconds between lines with the counters."""
        self._board = board
        self._head = head
        self._every = every
        self._summary_at: float | None = None

    def __enter__(self) -> Self:
        for line in self._head:
            print(visible(line))
        sys.stdout.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, lines: Sequence[Line], now: float) -> None:
        """Print the events; ``now`` in Unix seconds."""
        if self._summary_at is None:
            self._summary_at = now + self._every
        elif now >= self._summary_at:
            self._summary_at = now + self._every
            lines = [*lines, Line(now, "figures", self.figures(now))]
        for line in lines:
            print(visible(f"{clock(line.at)} {line.kind:<9} {line.text}"))
        if lines:
            sys.stdout.flush()

    def figures(self, now: float) -> str:
        """Return the counters as the text of a line."""
        board = self._board
        up, down = board.spent()
        parts = [board.summary(), f"{up} B up and {down} B down today"]
        if data := board.data():
            parts.append(data)
        parts.append(f"memory {board.memory() / 1e6:.0f} MB")
        parts.append(f"bridge {board.condition()} for {board.uptime(now):.0f} s")
        return "; ".join(parts)

"""The view on a terminal: one screen that fits 80x24, and less on a smaller one, more on a larger."""

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleDimensions, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bridge.watch.board import Board
from bridge.watch.tables import colour_of, long_time, messages_table, newest, plain_table, titled
from bridge.watch.values import Line, clock

REFRESH = 0.2
"""Least seconds between two drawings."""

IDLE = 1.0
"""Seconds between two drawings while nothing comes."""

_SHARE = 10
"""A drawing is followed by a pause of so many times its own length: the box has more important work."""

_SIDE_BY_SIDE = 150
"""Least columns to show the second table beside the messages."""

_HEADER = 3
_NOTE_STAYS = 12.0
"""Seconds that a note is shown."""

_LOW = 20
"""Lines of a terminal below which only the messages are shown."""

_EVENTS = 100
"""Number of events kept for the second table."""

ENDED_BADLY = {"rejected", "expired", "dropped", "failed", "unconfirmed"}
_NOTED = {"demo", "event", "network", "broker", *ENDED_BADLY}
"""Kinds of events shown in the line under the counters."""

_LISTED = {*_NOTED, "bridge", "health", "odd"}
"""Kinds of events listed in the second table."""

_READ = 3.0
"""Seconds that a failed message keeps the line before a less important event replaces it."""


class LiveView:
    """Draws the board; ``broker`` is how the broker is named in the first line."""

    way = "a message's way: mosquitto → on disk → the cloud → its result back to mosquitto"

    def __init__(self, board: Board, broker: str) -> None:
        self._board = board
        self._broker = broker
        self._note = Line(0.0, "demo", "")
        self._events: deque[Line] = deque(maxlen=_EVENTS)
        self._drawn_at = 0.0
        self._pause = REFRESH
        self._changed = True
        self._live = Live(console=Console(highlight=False), screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, lines: Sequence[Line], now: float) -> None:
        """Take events and draw if it is time; ``now`` is Unix seconds."""
        for line in lines:
            if line.kind in _LISTED:
                self._events.append(line)
            if line.kind in _NOTED and not self._is_being_read(line):
                self._note = line
        self._changed = self._changed or bool(lines)
        begun = time.monotonic()
        if begun - self._drawn_at >= (self._pause if self._changed else max(IDLE, self._pause)):
            self._live.update(self._picture(*self._size(), now), refresh=True)
            self._drawn_at = time.monotonic()
            self._pause = max(REFRESH, _SHARE * (self._drawn_at - begun))
            self._changed = False

    def _size(self) -> tuple[int, int]:
        """Return columns and lines of the terminal as they are now; COLUMNS may say what they once were."""
        console = self._live.console
        with contextlib.suppress(OSError, ValueError):  # it is no terminal
            size = os.get_terminal_size(console.file.fileno())
            if size.columns and size.lines:
                console.size = ConsoleDimensions(*size)
        return console.size

    def _is_being_read(self, line: Line) -> bool:
        """Whether the shown line stays in spite of ``line``."""
        note = self._note
        return note.kind in ENDED_BADLY and line.kind not in ENDED_BADLY and line.at - note.at < _READ

    # -- what another view may change --------------------------------------------------------------------

    def heading(self) -> str:
        """Return the title of the messages."""
        return "what became of each message · Ctrl-C ends"

    def cloud(self, _now: float) -> Text:
        """Return the condition of the cloud; empty while it is not known."""
        health = self._board.health
        if not (self._board.online and health and health.cloud):
            return Text()
        if health.cloud == "up":
            return Text.assemble("  cloud ", ("● up", "green"))
        return Text.assemble("  cloud ", (f"○ {health.cloud}", "bold red"))

    def second(self, room: int) -> RenderableType:
        """Return the second table, of ``room`` lines."""
        table = plain_table(8, 9)
        for line in newest(self._events, room - 1):
            colour = "red" if line.kind in ENDED_BADLY else "yellow" if line.kind != "event" else ""
            table.add_row(clock(line.at), Text(line.kind, style=colour), Text(line.text))
        return titled("what else happened", table)

    def foot(self) -> tuple[int, RenderableType | None]:
        """Return what is below the tables, and its number of lines."""
        return 0, None

    # -- the picture -------------------------------------------------------------------------------------

    def _picture(self, width: int, height: int, now: float) -> Layout:
        picture = Layout()
        header = _HEADER + bool(self._board.data())
        size, below = self.foot() if height >= _LOW else (0, None)
        room = max(1, height - header - size)
        parts = [Layout(self._header(now), size=header), self._middle(width, room, now)]
        if below is not None:
            parts.append(Layout(below, size=size))
        picture.split_column(*parts)
        return picture

    def _middle(self, width: int, room: int, now: float) -> Layout:
        middle = Layout(size=room)
        if width >= _SIDE_BY_SIDE:
            right = width * 3 // 7
            middle.split_row(
                Layout(self._messages(room, width - right - 2, now)),
                Layout(Text(" "), size=2),
                Layout(self.second(room), size=right),
            )
        elif room < _LOW - _HEADER - 7:
            middle.update(self._messages(room, width, now))
        else:
            below = max(4, room // 3)
            middle.split_column(
                Layout(self._messages(room - below, width, now)), Layout(self.second(below), size=below)
            )
        return middle

    def _header(self, now: float) -> RenderableType:
        lines = Table.grid(expand=True)
        lines.add_column(no_wrap=True, overflow="ellipsis")
        lines.add_row(self._parts(now))
        lines.add_row(self._counters(now))
        if data := self._board.data():
            held = any(bound.holds for bound in self._board.health.budget) if self._board.health else False
            lines.add_row(Text(f" {data}", style="bold yellow" if held else ""))
        lines.add_row(self._noted(now))
        return lines

    def _noted(self, now: float) -> Text:
        note = self._note
        if now - note.at <= _NOTE_STAYS:
            colour = "red" if note.kind in ENDED_BADLY - {"unconfirmed"} else "yellow"
            return Text(f" {note.text if note.kind == 'demo' else f'{note.kind}: {note.text}'}", style=colour)
        if self._board.health and self._board.health.trouble and self._board.online:
            return Text(f" {self._board.health.trouble}", style="yellow")
        return Text(f" {self.way}", style="dim")

    def _parts(self, now: float) -> Text:
        """Return the parts and their conditions; the last ones may be cut at 80 columns."""
        board = self._board
        line = Text()
        line.append(" hologram-bridge ", style="bold reverse")
        condition = board.condition()
        good = condition == "online"
        line.append(f"  {'●' if board.online else '○'} {condition}", style="green" if good else "bold yellow")
        if board.online and board.health:
            line.append(f" {long_time(board.uptime(now))}", style="dim")
        line.append_text(self._link()).append_text(self.cloud(now))
        if board.connected_at is None:
            return line.append("  broker ").append("○ gone", style="bold red")
        line.append("  broker ").append(f"● {self._broker}", style="green")
        if board.online and board.network == "connected":
            line.append(f"  {board.carrier}", style="dim")
        return line

    def _link(self) -> Text:
        board = self._board
        if not (board.online and board.network):  # a bridge that is gone leaves its last status behind
            return Text("  link unknown", style="dim")
        if board.network == "unmanaged":
            return Text("  link not managed", style="dim")
        linked = board.network == "connected"
        about = board.signal or "up" if linked else board.network
        colour = "green" if linked else "bold yellow"
        return Text.assemble("  link ", (f"{'●' if linked else '○'} {about}", colour))

    def _counters(self, now: float) -> Text:
        board = self._board
        counts = {"delivered": 0, "rejected": 0, **board.counts}
        line = Text(" ")
        if board.taken:
            line.append(f"in {board.taken}  ", style="bold")
        waiting, oldest = board.waiting.number(), board.waiting.oldest(now)
        line.append(f"queued {waiting}", style="bold yellow" if waiting else "dim")
        if waiting and oldest is not None:
            line.append(f" ({long_time(oldest)})", style="yellow")
        for state, number in counts.items():
            line.append(f"  {state} {number}", style=colour_of(state) if number else "dim")
        up, down = board.spent()
        line.append(f"  ↑{up / 1000:.1f} ↓{down / 1000:.1f} kB today")
        if board.memory():
            line.append(f"  mem {board.memory() / 1e6:.0f} MB", style="dim")
        return line

    def _messages(self, room: int, width: int, now: float) -> RenderableType:
        return titled(self.heading(), messages_table(self._board.rows.values(), room - 1, width, now))

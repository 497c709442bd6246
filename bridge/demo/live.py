"""The view on a terminal: one screen that fits 80x24 and uses a larger terminal."""

from collections.abc import Collection, Sequence
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bridge.demo.board import Arrival, Board, Line, Row, clock
from bridge.demo.tries import Try

REFRESH = 0.2
"""Seconds between two drawings."""

_SIDE_BY_SIDE = 150
"""Least columns to show the cloud's view beside the messages."""

_ID = 16
"""Columns of an id; a longer one is cut at its start, because its end distinguishes it."""

_HEADER = 3
_NOTE_STAYS = 12.0
"""Seconds that a note is shown."""

_WAY = "a message's way: mosquitto → on disk → the cloud → its result back to mosquitto"
_LOW = 20
"""Lines of a terminal below which only the messages are shown."""

_Item = TypeVar("_Item")

_COLOURS = {
    "queued": "yellow",
    "delivered": "green",
    "received": "green",
    "done": "cyan",
    "unconfirmed": "magenta",
}
_ENDED_BADLY = {"rejected", "expired", "dropped", "failed", "unconfirmed"}
_NOTED = {"demo", "event", "network", *_ENDED_BADLY}
"""Kinds of events shown in the line under the counters."""

_READ = 3.0
"""Seconds that a failed message keeps the line before a less important event replaces it."""


class LiveView:
    """Draws the board; ``broker_port`` is where the broker listens."""

    def __init__(self, board: Board, tries: Sequence[Try], broker_port: int) -> None:
        self._board = board
        self._tries = tries
        self._port = broker_port
        self._note = Line(0.0, "demo", "")
        self._drawn_at = 0.0
        self._cloud_back_at: float | None = None
        self._live = Live(console=Console(highlight=False), screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, lines: Sequence[Line], now: float, cloud_back_at: float | None) -> None:
        """Take events and draw if it is time; both times are Unix seconds."""
        for line in lines:
            if line.kind in _NOTED and not self._is_being_read(line):
                self._note = line
        self._cloud_back_at = cloud_back_at
        if abs(now - self._drawn_at) >= REFRESH:
            self._drawn_at = now
            size = self._live.console.size
            self._live.update(self._picture(size.width, size.height, now), refresh=True)

    def _is_being_read(self, line: Line) -> bool:
        """Whether the shown line stays in spite of ``line``."""
        note = self._note
        return note.kind in _ENDED_BADLY and line.kind not in _ENDED_BADLY and line.at - note.at < _READ

    # -- the picture -------------------------------------------------------------------------------------

    def _picture(self, width: int, height: int, now: float) -> Layout:
        picture = Layout()
        foot = len(self._tries) + 1 if height >= _LOW else 0
        room = height - _HEADER - foot
        parts = [Layout(self._header(now), size=_HEADER), self._middle(width, room, now)]
        if foot:
            parts.append(Layout(self._foot(), size=foot))
        picture.split_column(*parts)
        return picture

    def _middle(self, width: int, room: int, now: float) -> Layout:
        middle = Layout(size=room)
        if width >= _SIDE_BY_SIDE:
            right = width * 3 // 7
            middle.split_row(
                Layout(self._messages(room, width - right - 2, now)),
                Layout(Text(" "), size=2),
                Layout(self._arrivals(room), size=right),
            )
        elif room < _LOW - _HEADER - 7:
            middle.update(self._messages(room, width, now))
        else:
            below = max(4, room // 3)
            middle.split_column(
                Layout(self._messages(room - below, width, now)), Layout(self._arrivals(below), size=below)
            )
        return middle

    def _header(self, now: float) -> RenderableType:
        lines = Table.grid(expand=True)
        lines.add_column(no_wrap=True, overflow="ellipsis")
        lines.add_row(self._parts(now))
        lines.add_row(self._counters())
        lines.add_row(self._noted(now))
        return lines

    def _noted(self, now: float) -> Text:
        note = self._note
        if self._cloud_back_at is None and now - note.at > _NOTE_STAYS:
            return Text(f" {_WAY}", style="dim")
        colour = "red" if note.kind in ("rejected", "expired", "dropped", "failed") else "yellow"
        text = note.text if note.kind == "demo" else f"{note.kind}: {note.text}"
        return Text(f" {text}", style=colour)

    def _parts(self, now: float) -> Text:
        """Return the parts and their conditions; the last ones may be cut at 80 columns."""
        board = self._board
        line = Text()
        line.append(" hologram-bridge ", style="bold reverse")
        condition = board.condition()
        good = condition == "online"
        line.append(f"  {'●' if board.online else '○'} {condition}", style="green" if good else "bold yellow")
        minutes, seconds = divmod(int(board.uptime(now)), 60)
        line.append(f" {minutes}:{seconds:02}", style="dim")
        linked = board.network == "connected"
        line.append("  modem ").append(
            f"{'●' if linked else '○'} {board.signal if linked else board.network}",
            style="green" if linked else "bold yellow",
        )
        if self._cloud_back_at is None:
            line.append("  cloud ").append("● up", style="green")
        else:
            back = max(0.0, self._cloud_back_at - now)
            line.append("  cloud ").append(f"○ down, {back:.0f} s", style="bold red")
        return line.append("  broker ").append(f"● :{self._port}", style="green")

    def _counters(self) -> Text:
        board = self._board
        counts = {"delivered": 0, "rejected": 0, **board.counts}
        line = Text(" ")
        line.append(f"in {board.taken}", style="bold")
        line.append(f"  queued {len(board.open)}", style="bold yellow" if board.open else "dim")
        for state, number in counts.items():
            line.append(f"  {state} {number}", style=_COLOURS.get(state, "red") if number else "dim")
        up, down = board.spent()
        line.append(f"  ↑{up / 1000:.1f} ↓{down / 1000:.1f} kB today")
        if board.memory():
            line.append(f"  mem {board.memory() / 1e6:.0f} MB", style="dim")
        return line

    def _messages(self, room: int, width: int, now: float) -> RenderableType:
        wide = width >= 95
        table = _table()
        table.add_column("time", width=8, style="dim")
        if wide:
            table.add_column("id", width=_ID, style="dim")
        table.add_column("to", ratio=5, no_wrap=True)
        table.add_column("message", ratio=5, no_wrap=True)
        table.add_column("life", width=25)
        table.add_column("try", width=3, justify="right")
        table.add_column("bytes", width=9, justify="right", style="dim")
        for row in _newest(self._board.rows.values(), room - 2):
            table.add_row(*_cells(row, now, wide=wide))
        return _titled("what became of each message", table)

    def _arrivals(self, room: int) -> RenderableType:
        table = _table()
        table.show_header = False
        table.add_column(width=8, style="dim")
        table.add_column(width=4, style="dim")
        table.add_column(ratio=5, no_wrap=True)
        table.add_column(ratio=5, no_wrap=True)
        table.add_column(width=6, justify="right", style="dim")
        table.add_column(width=8)
        for seen in _newest(self._board.arrivals, room - 1):
            table.add_row(*_seen(seen))
        return _titled(f"what arrived at the simulated cloud: {self._board.arrived} accepted", table)

    def _foot(self) -> RenderableType:
        lines = Table.grid(padding=(0, 1))
        lines.add_column(style="dim", no_wrap=True, min_width=8)
        lines.add_column(style="cyan", no_wrap=True, overflow="ellipsis")
        for each in self._tries:
            lines.add_row(f" {each.what}", Text(each.line))
        return _titled("try in another terminal · Ctrl-C ends the demo", lines)


def _table() -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim italic")
    table.collapse_padding = False
    return table


def _titled(title: str, body: RenderableType) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_row(Rule(Text(title, style="bold"), align="left", style="blue", characters="─"))
    grid.add_row(body)
    return grid


def _newest(items: Collection[_Item], room: int) -> list[_Item]:
    return list(islice(items, max(0, len(items) - room), None))


def _cells(row: Row, now: float, *, wide: bool) -> list[Text]:
    cells = [Text(clock(row.queued_at))]
    if wide:
        cells.append(Text(row.id if len(row.id) <= _ID else "…" + row.id[1 - _ID :]))
    colour = _COLOURS.get(row.state, "red")
    text = Text(row.text) if not row.reason else Text(row.reason, style=colour)
    cells += [Text(row.to), text, _life(row, now), Text(str(row.attempts or ""))]
    cells.append(Text(f"{row.up}/{row.down}" if row.up or row.down else ""))
    return cells


def _life(row: Row, now: float) -> Text:
    colour = _COLOURS.get(row.state, "red")
    if row.state == "queued":
        return Text(f"queued {max(0.0, now - row.queued_at):.1f} s", style=f"bold {colour}")
    if not row.attempts:
        return Text(row.state, style=colour)
    line = Text("queued → ", style="dim")
    return line.append(row.state, style=colour).append(f" {row.took or 0.0:.1f} s", style="dim")


def _seen(seen: Arrival) -> list[Text]:
    verdict = Text("accepted", style="green") if seen.accepted else Text("refused", style="red")
    return [
        Text(clock(seen.at)),
        Text(seen.form),
        Text(seen.to),
        Text(seen.text),
        Text(f"{seen.size} B"),
        verdict,
    ]

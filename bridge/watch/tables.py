"""The tables of the view, and how a message becomes a row of one."""

from collections.abc import Collection
from itertools import islice
from typing import TypeVar

from rich.console import RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from bridge.watch.values import Row, clock

_WIDE, _NARROW = 95, 60
"""Columns from which ids are shown, and below which a message has only its topic and its life."""

_ID = 16
"""Columns of an id; a longer one is cut at its start, because its end distinguishes it."""

_Item = TypeVar("_Item")

_COLOURS = {
    "queued": "yellow",
    "delivered": "green",
    "received": "green",
    "done": "cyan",
    "unconfirmed": "magenta",
    "superseded": "cyan",
    "filtered": "cyan",
}


def colour_of(state: str) -> str:
    """Return the colour of a message's state."""
    return _COLOURS.get(state, "red")


def messages_table(rows: Collection[Row], room: int, width: int, now: float) -> Table:
    """Return the newest ``rows`` as a table of ``room`` lines and ``width`` columns."""
    wide, narrow = width >= _WIDE, width < _NARROW
    table = _table()
    table.add_column("time", width=8, style="dim")
    if wide:
        table.add_column("id", width=_ID, style="dim")
    table.add_column("to", ratio=5, no_wrap=True)
    if not narrow:
        table.add_column("message", ratio=5, no_wrap=True)
    table.add_column("life", width=16 if narrow else 25, no_wrap=True)
    if not narrow:
        table.add_column("try", width=3, justify="right")
        table.add_column("bytes", width=9, justify="right", style="dim")
    for row in newest(rows, room - 1):
        table.add_row(*_cells(row, now, wide=wide, narrow=narrow))
    return table


def _table() -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim italic")
    table.collapse_padding = False
    return table


def plain_table(*widths: int) -> Table:
    """Return a table without a header: dim columns of these widths, and a last one for the rest."""
    table = _table()
    table.show_header = False
    for width in widths:
        table.add_column(width=width, style="dim")
    table.add_column(ratio=5, no_wrap=True)
    return table


def titled(title: str, body: RenderableType) -> RenderableType:
    """Return ``body`` under a line with its title."""
    grid = Table.grid(expand=True)
    grid.add_row(Rule(Text(title, style="bold"), align="left", style="blue", characters="─"))
    grid.add_row(body)
    return grid


def newest(items: Collection[_Item], room: int) -> list[_Item]:
    """Return the last ``room`` items."""
    return list(islice(items, max(0, len(items) - max(0, room)), None))


def _cells(row: Row, now: float, *, wide: bool, narrow: bool) -> list[Text]:
    cells = [Text(clock(row.queued_at))]
    if wide:
        cells.append(Text(row.id if len(row.id) <= _ID else "…" + row.id[1 - _ID :]))
    cells.append(Text(row.to))
    colour = colour_of(row.state)
    if narrow:
        return [*cells, _life(row, now, short=True)]
    text = Text(row.text) if not row.reason else Text(row.reason, style=colour)
    cells += [text, _life(row, now, short=False), Text(str(row.attempts or ""))]
    cells.append(Text(f"{_amount(row.up)}/{_amount(row.down)}" if row.up or row.down else ""))
    return cells


def _life(row: Row, now: float, *, short: bool) -> Text:
    colour = colour_of(row.state)
    if row.state == "queued":
        return Text(f"queued {_waited(now - row.ours_at)}", style=f"bold {colour}")
    if not row.attempts:
        return Text(row.state, style=colour)
    line = Text("" if short else "queued → ", style="dim")
    return line.append(row.state, style=colour).append(f" {_waited(row.took or 0.0)}", style="dim")


def _waited(seconds: float) -> str:
    return f"{max(0.0, seconds):.1f} s" if seconds < 600 else long_time(seconds)


def long_time(seconds: float) -> str:
    """Return a duration as ``M:SS``, ``H:MM:SS``, or days and hours."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _amount(figure: int) -> str:
    """Return bytes in four columns; a batch may have a million."""
    if figure < 10_000:
        return str(figure)
    return f"{figure // 1000}k" if figure < 1_000_000 else f"{figure // 1_000_000}M"

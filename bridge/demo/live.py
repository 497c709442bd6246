"""The view on a terminal, with what arrived at the simulated cloud and the lines to try."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bridge.demo.board import Arrival, DemoBoard
from bridge.demo.tries import Try
from bridge.watch.live import LiveView
from bridge.watch.tables import newest, plain_table, titled
from bridge.watch.values import clock

_SIZES = 3
"""Sizes of batches in the title, which has room for so many on a terminal 80 wide."""

_ROOMY, _INSIDE = 6, 3
"""Lines of the table from which a batch is unpacked, and most lines for what is in one."""


class DemoView(LiveView):
    """Draws the demo's board; ``broker_port`` is where the broker listens."""

    def __init__(self, board: DemoBoard, tries: Sequence[Try], broker_port: int) -> None:
        super().__init__(board, f":{broker_port}")
        self._demo = board
        self._tries = tries

    def heading(self) -> str:
        """Return the title of the messages, with the bytes of a reading, alone and in batches."""
        each = self._demo.bytes_each(_SIZES)
        return " · ".join(["what became of each message", *([each] if each else [])])

    def cloud(self, now: float) -> Text:
        """Return whether the simulated cloud is there."""
        back = self._demo.cloud_back_at
        if back is None:
            return Text.assemble("  cloud ", ("● up", "green"))
        return Text.assemble("  cloud ", (f"○ down, {max(0.0, back - now):.0f} s", "bold red"))

    def second(self, room: int) -> RenderableType:
        """Return what arrived at the simulated cloud."""
        table = plain_table(8, 4)
        table.add_column(ratio=5, no_wrap=True)
        table.add_column(width=6, justify="right", style="dim")
        table.add_column(width=8)
        rows: list[list[Text]] = []
        for seen in newest(self._demo.arrivals, room - 1):
            rows += _unpacked(seen) if seen.inside and room >= _ROOMY else [_seen(seen)]
        for row in newest(rows, room - 1):
            table.add_row(*row)
        demo = self._demo
        unpacked = f", {demo.unpacked} readings in batches" if demo.unpacked else ""
        return titled(f"what arrived at the simulated cloud: {demo.arrived} accepted{unpacked}", table)

    def foot(self) -> tuple[int, RenderableType]:
        """Return the lines to try."""
        lines = Table.grid(padding=(0, 1))
        lines.add_column(style="dim", no_wrap=True, min_width=8)
        lines.add_column(style="cyan", no_wrap=True, overflow="ellipsis")
        for each in self._tries:
            lines.add_row(f" {each.what}", Text(each.line))
        return len(self._tries) + 1, titled("try in another terminal · Ctrl-C ends the demo", lines)


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


def _unpacked(seen: Arrival) -> list[list[Text]]:
    """Return a batch as a row, and rows for what is in it."""
    fit = len(seen.inside) if len(seen.inside) <= _INSIDE else _INSIDE - 1
    rows = [[Text(), Text("└"), Text(to), Text(text), Text(), Text()] for to, text in seen.inside[:fit]]
    if more := len(seen.inside) - fit:
        rows.append([Text(), Text("└"), Text(f"and {more} more"), Text(), Text(), Text()])
    return [_seen(seen._replace(text="")), *rows]

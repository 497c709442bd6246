"""What a measurement is, and how it is shown."""

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, NamedTuple


class Spread(NamedTuple):
    """The median of several values, with their extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the spread of at least one value."""
        found = list(values)
        return cls(median(found), min(found), max(found))


class Pairs(NamedTuple):
    """Baseline and product, measured in turns: A B A B."""

    baseline: list[float]
    product: list[float]

    @property
    def ratio(self) -> Spread:
        """Product over baseline, pair by pair."""
        return Spread.of(b / a for a, b in zip(self.baseline, self.product, strict=True))


def in_pairs(count: int, baseline: Callable[[], float], product: Callable[[], float]) -> Pairs:
    """Measure both in turns, ``count`` times."""
    pairs = Pairs([], [])
    for _ in range(count):
        pairs.baseline.append(baseline())
        pairs.product.append(product())
    return pairs


class Row(NamedTuple):
    """One line of the table."""

    figure: str
    what: str
    value: float | None = None
    unit: str = ""
    beside: float | None = None
    """The baseline's value, in the same unit."""
    baseline: str = ""
    """What the baseline is."""
    ratio: Spread | None = None
    aim: str = ""
    met: bool | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the row for the JSON file."""
        fields = self._asdict()
        fields["ratio"] = self.ratio._asdict() if self.ratio else None
        return fields


def paired(figure: str, what: str, unit: str, baseline: str, pairs: Pairs, **more: Any) -> Row:
    """Return the row of a paired measurement: medians, and the spread of the ratios."""
    return Row(
        figure, what, median(pairs.product), unit, median(pairs.baseline), baseline, pairs.ratio, **more
    )


HEAD = ("figure", "what", "measured", "baseline", "ratio (min-max)", "aim", "reached")


def table(rows: list[Row]) -> str:
    """Return the rows as aligned plain text, notes below it."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{row.figure}, {row.what}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes])


def _cells(row: Row) -> tuple[str, ...]:
    ratio = row.ratio
    beside = "" if row.beside is None else f"{_number(row.beside)} {row.unit} ({row.baseline})"
    return (
        row.figure,
        row.what,
        "-" if row.value is None else f"{_number(row.value)} {row.unit}",
        beside,
        "" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})",
        row.aim,
        "" if row.met is None else "yes" if row.met else "NO",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"

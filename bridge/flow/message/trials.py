"""Trials: what was in flight when the broker cut the connection is tried alone, on evidence.

A cut counts against the one publication that was in flight only where the broker, asked after it, still
answers on another connection that stood before it (`bridge.core.suspects` decides). Before each trial the
broker has answered on its own connection as well.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.core.suspects import Key, Suspects, Verdict
from bridge.core.time import Time

log = logging.getLogger("publisher")

WITNESS_WAIT = 3.0
"""Seconds for the broker to answer on both connections after a cut."""

CUT = "the broker ends the connection whenever it is published"


class Answering(Protocol):
    """A session with the broker, as far as it is asked whether the broker is there."""

    @property
    def connection(self) -> int | None:
        """The number of the connection that stands."""

    def echo(self, then: Callable[[int], None]) -> None:
        """Have the broker answer; ``then`` gets the number of the connection on which it did."""

    def explained(self) -> None:
        """The last connections were cut for a publication: the delay before the next need not grow."""


class Flight(NamedTuple):
    """A publication that is not acknowledged."""

    key: Key
    size: int
    """Bytes of topic, payload and properties."""
    since: float
    """Monotonic seconds."""


class _Charge(NamedTuple):
    """A cut while one publication alone was in flight."""

    flight: Flight
    witness: int | None
    """The other connection that stood then."""


class Trials:
    """Finds out what the broker cuts the connection for; the publisher publishes."""

    def __init__(
        self,
        time: Time,
        *,
        control: Key,
        wake: Callable[[], None],
        leave_out: Callable[[Key, str], None],
        skip: Callable[[Key], None],
    ) -> None:
        """``control`` is the smallest of what is published: one that every broker takes.

        ``wake`` is told that something can be published.

        ``leave_out`` gets what is not to be published any more, and why; ``skip`` what is not to be for now.
        """
        self.suspects = Suspects()
        self._time = time
        self._control = control
        self._wake = wake
        self._leave_out = leave_out
        self._skip = skip
        self._link: Answering | None = None
        self._witness: Answering | None = None
        self._charge: _Charge | None = None
        self._check: int | None = None
        self._checks = 0

    def attach(self, link: Answering, witness: Answering | None) -> None:
        """Ask the broker on these."""
        self._link = link
        self._witness = witness

    @property
    def checking(self) -> bool:
        """Whether the broker is being asked; nothing is published meanwhile."""
        return self._check is not None

    def down(self, flights: list[Flight], *, cut: bool) -> None:
        """The connection ended with ``flights`` in flight; ``cut`` by the broker."""
        self._check = None
        if not cut:
            return
        if len(flights) == 1 and flights[0].key in self.suspects:
            self._charge = _Charge(flights[0], self._witness.connection if self._witness else None)
        self.suspects.suspect(flight.key for flight in flights)

    def up(self) -> None:
        """A connection stands: ask first, where something is suspected."""
        link, witness, charge = self._link, self._witness, self._charge
        if not self.suspects or link is None:
            return
        self._checks += 1
        check = self._check = self._checks

        def end(witnessed: bool) -> None:
            if self._check == check:
                self._check = None
                self._judge(witnessed=witnessed)

        def ask_witness(_connection: int) -> None:
            if charge is None or witness is None or witness.connection is None:
                end(False)
            else:
                witness.echo(lambda connection: end(connection == charge.witness))

        link.echo(ask_witness)
        self._time.call_later(WITNESS_WAIT, lambda: end(False))

    def _judge(self, *, witnessed: bool) -> None:
        charge, self._charge = self._charge, None
        if charge:
            self.count(charge.flight, witnessed=witnessed, reason=CUT)
            if not witnessed and self.suspects:
                self.suspects.try_first(self._control)
        self._wake()

    def count(self, flight: Flight, *, witnessed: bool, reason: str) -> None:
        """Hold it against ``flight`` that a connection ended for it; ``reason`` is for a person."""
        key = flight.key
        if witnessed and self._link:
            self._link.explained()
        verdict = self.suspects.cut(key, witnessed=witnessed, size=flight.size)
        log.debug("a connection ended with %s alone in flight: %s", _name(key), verdict.name)
        if verdict is Verdict.SET_ASIDE:
            self._leave_out(key, reason)
        elif verdict is Verdict.WAIT:
            pause = self.suspects.pause(key)
            text = "the connection ends whenever %s is published: it waits for %d s"
            log.warning(text, _name(key), pause)
            self._skip(key)
            self._time.call_later(pause, lambda: self._again(key))

    def _again(self, key: Key) -> None:
        self.suspects.suspect([key])
        self.suspects.try_first(self._control)
        self._wake()


def _name(key: Key) -> str:
    return key if isinstance(key, str) else f"report {key}"

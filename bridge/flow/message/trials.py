"""Trials: publications that were in flight when the broker cut the connection are tried alone.

A cut counts against the only publication in flight if the broker still answers on a second connection that
was up at the time (`bridge.core.suspects` decides). Before each trial the broker has answered on the first
connection too. So a broker that dies is not mistaken for one that refuses a publication.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from bridge.core.suspects import Key, Suspects, Verdict
from bridge.core.time import Time

log = logging.getLogger("publisher")

WITNESS_WAIT = 3.0
"""Seconds that the broker has to answer on both connections after a cut."""

CUT = "the broker ends the connection whenever it is published"


class Answering(Protocol):
    """The part of a session with the broker that a trial uses."""

    @property
    def connection(self) -> int | None:
        """The number of the present connection, None without one."""

    def echo(self, then: Callable[[int], None]) -> None:
        """Make the broker answer; ``then`` takes the number of the connection on which it did."""

    def explained(self) -> None:
        """Note that a publication caused the last cuts.

        The delay before the next connection need not grow.
        """


class Flight(NamedTuple):
    """An unacknowledged publication."""

    key: Key
    size: int
    """Bytes of topic, payload and properties."""
    since: float
    """Time of publication in monotonic seconds."""
    inbound: bool = False
    """Whether it is an inbound message."""


class _Charge(NamedTuple):
    """A cut while one publication was in flight alone."""

    flight: Flight
    witness: int | None
    """The number of the second connection at that time."""


class Trials:
    """Finds the publication that the broker cuts the connection for; the publisher does the publishing."""

    def __init__(
        self,
        time: Time,
        *,
        control: Key,
        wake: Callable[[], None],
        drop: Callable[[Key, str], None],
        skip: Callable[[Key], None],
    ) -> None:
        """``control`` is the key of the smallest publication, which every broker takes.

        ``wake`` is called when publishing may go on. ``drop`` takes a publication to give up, and the reason;
        ``skip`` one to leave out for now.
        """
        self.suspects = Suspects()
        self._time = time
        self._control = control
        self._wake = wake
        self._drop = drop
        self._skip = skip
        self._link: Answering | None = None
        self._witness: Answering | None = None
        self._charge: _Charge | None = None
        self._check: int | None = None
        self._checks = 0

    def attach(self, link: Answering, witness: Answering | None) -> None:
        """Use these two sessions."""
        self._link = link
        self._witness = witness

    @property
    def checking(self) -> bool:
        """Whether the broker is being asked; nothing is published until it has answered."""
        return self._check is not None

    def down(self, flights: list[Flight], *, cut: bool) -> None:
        """Note the end of the connection with ``flights`` unacknowledged; ``cut``: the broker ended it."""
        self._check = None
        if not cut:
            return
        if len(flights) == 1 and flights[0].key in self.suspects:
            self._charge = _Charge(flights[0], self._witness.connection if self._witness else None)
        self.suspects.suspect(flight.key for flight in flights)

    def up(self) -> None:
        """Note a connection; with suspects, ask the broker on both sessions before anything is published."""
        link, witness, charge = self._link, self._witness, self._charge
        if not self.suspects or link is None:
            return
        self._checks += 1
        check = self._check = self._checks

        def end(witnessed: bool) -> None:
            # An answer that comes after the next check began belongs to an earlier connection.
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
        """Count the end of a connection against ``flight``.

        ``reason`` is a text for the person who looks at it.
        """
        key = flight.key
        if witnessed and self._link:
            self._link.explained()
        verdict = self.suspects.cut(key, witnessed=witnessed, size=flight.size)
        log.debug("a connection ended with %s alone in flight: %s", _name(key), verdict.name)
        if verdict is Verdict.SET_ASIDE:
            self._drop(key, reason)
        elif verdict is Verdict.WAIT:
            pause = self.suspects.pause(key)
            text = "the connection ends whenever %s is published; its next attempt is in %d s"
            log.warning(text, _name(key), pause)
            self._skip(key)
            self._time.call_later(pause, lambda: self._again(key))

    def _again(self, key: Key) -> None:
        self.suspects.suspect([key])
        self.suspects.try_first(self._control)
        self._wake()


def _name(key: Key) -> str:
    return key if isinstance(key, str) else f"report {key}"

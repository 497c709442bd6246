"""Filters: which readings say something new.

::

    offer ──> not new ─────────────────────> DROP
          ──> new, the interval is over ───> PASS
          ──> new, within `min_interval` ──> HOLD ──> the interval's end ──> passes

A reading is compared with the last one of its topics that passed. The first of its topics passes, and so does
one that is urgent, or that comes `max_interval` after the last that passed. A held reading is the newest one:
any later reading of its topics takes its place, or takes it back where that one is not new.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum, auto
from hashlib import blake2b
from math import inf, isfinite
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

from bridge.core.time_stamp import LOOKED_INTO

KEPT = 10_000
"""Topic lists of which the state is kept, the latest."""

HELD_BYTES = 8_000_000
"""Payload bytes of all held readings at most, because memory is scarce. What would be beyond passes."""

T = TypeVar("T")
Topics = tuple[str, ...]


class Filter(NamedTuple):
    """The filter of a route; each part works alone."""

    deadband: Decimal | None = None
    """How far the number has to have moved."""
    field: Topics = ()
    """Where the number is in a JSON object, key by key; empty: the payload is the number."""
    changed: bool = False
    """Whether the payload has to differ."""
    min_interval: float = 0.0
    """Seconds between two that pass."""
    max_interval: float = inf
    """Seconds after which one passes whatever it says."""


class Verdict(Enum):
    """What becomes of a reading."""

    PASS = auto()
    HOLD = auto()
    DROP = auto()


class _Reading(NamedTuple):
    number: Decimal | None
    digest: bytes


class _Held(NamedTuple, Generic[T]):
    """A reading that waits for the end of the interval."""

    reading: _Reading
    item: T
    size: int
    """Its bytes."""


class _Before(NamedTuple, Generic[T]):
    """The state of a topic list before an offer."""

    number: int
    """The number of the offer."""
    last: _Reading | None
    passed: float
    held: _Held[T] | None


class Offer(NamedTuple, Generic[T]):
    """The verdict on a reading, and what it means for held ones."""

    verdict: Verdict
    before: _Before[T]
    dropped: tuple[T, ...] = ()
    """A held reading that this one makes old."""
    passed: tuple[T, ...] = ()
    """A held reading of other topics whose state is no longer kept."""


class _State(Generic[T]):
    """What is known of one topic list."""

    def __init__(self, rule: Filter) -> None:
        self.rule = rule
        self.last: _Reading | None = None
        """The last that passed."""
        self.passed = -inf
        """When it did, in monotonic seconds."""
        self.held: _Held[T] | None = None
        self.number = 0
        """The number of the last change."""

    @property
    def due(self) -> float:
        return self.passed + self.rule.min_interval


class Filters(Generic[T]):
    """The state of each topic list; ``T`` is what a held reading is handed back as."""

    def __init__(self, kept: int = KEPT, held_bytes: int = HELD_BYTES) -> None:
        self._states: dict[Topics, _State[T]] = {}
        """The list that was used last is the last."""
        self._kept = kept
        self._room = held_bytes
        self._changes = 0
        """Numbers the changes of all states."""

    def offer(
        self,
        rule: Filter,
        topics: Topics,
        payload: bytes,
        item: T,
        mono: float,
        *,
        urgent: bool = False,
        hold: bool = True,
    ) -> Offer[T]:
        """Judge the reading ``payload``, which came at ``mono`` (monotonic seconds).

        It is handed back as ``item``. What would be held passes where nothing may be: ``hold`` is False.
        """
        state, reading = self._states.pop(topics, None), _read(rule, payload)
        evicted: tuple[T, ...] = ()
        if state is None or state.rule != rule:
            evicted = self._take(state) if state else ()
            state = _State[T](rule)
        self._states[topics] = state
        self._change(state)
        before = _Before(state.number, state.last, state.passed, state.held)
        dropped = self._take(state)
        verdict = self._judge(state, reading, len(payload), mono, urgent=urgent)
        if verdict is Verdict.HOLD and not hold:
            verdict = Verdict.PASS
        if verdict is Verdict.HOLD:
            self._keep(state, _Held(reading, item, len(payload)))
        elif verdict is Verdict.PASS:
            state.last, state.passed = reading, mono
        if len(self._states) > self._kept:
            evicted += self._take(self._states.pop(next(iter(self._states))))
        return Offer(verdict, before, dropped, evicted)

    def _judge(self, state: _State[T], reading: _Reading, size: int, mono: float, *, urgent: bool) -> Verdict:
        if urgent or state.last is None or mono - state.passed >= state.rule.max_interval:
            return Verdict.PASS
        if not _is_new(state.rule, reading, state.last):
            return Verdict.DROP
        return Verdict.PASS if mono >= state.due or size > self._room else Verdict.HOLD

    def _take(self, state: _State[T]) -> tuple[T, ...]:
        """Take the held reading out of ``state``."""
        if state.held is None:
            return ()
        held, state.held = state.held, None
        self._room += held.size
        return (held.item,)

    def _keep(self, state: _State[T], held: _Held[T]) -> None:
        state.held = held
        self._room -= held.size

    def _change(self, state: _State[T]) -> None:
        self._changes += 1
        state.number = self._changes

    def undo(self, topics: Topics, offer: Offer[T]) -> bool:
        """Take ``offer`` back, because it was no reading: what it dropped is held again.

        Return False, and change nothing, if another change of these topics came after it.
        """
        state, before = self._states.get(topics), offer.before
        if state is None or state.number != before.number:
            return False
        self._take(state)
        state.last, state.passed = before.last, before.passed
        if before.held:
            self._keep(state, before.held._replace(item=offer.dropped[0]))
        return True

    def due(self, topics: Topics) -> float | None:
        """Return when the held reading of ``topics`` passes, in monotonic seconds; None without one."""
        state = self._states.get(topics)
        return state.due if state and state.held else None

    def release(self, topics: Topics, mono: float) -> tuple[T, ...]:
        """Let the held reading of ``topics`` pass."""
        state = self._states.get(topics)
        if state is None or state.held is None:
            return ()
        state.last, state.passed = state.held.reading, mono
        self._change(state)
        return self._take(state)

    def release_all(self, mono: float) -> list[T]:
        """Let every held reading pass."""
        return [item for topics in self._states for item in self.release(topics, mono)]

    def drop_all(self) -> list[T]:
        """Take every held reading out; the last that passed stays what it was."""
        return [item for state in self._states.values() for item in self._take(state)]

    def held(self) -> list[T]:
        """Return the held readings."""
        return [state.held.item for state in self._states.values() if state.held]

    def forget(self, topics: Topics) -> None:
        """Let the next reading of ``topics`` pass: the last one got no further."""
        if state := self._states.get(topics):
            state.last, state.passed = None, -inf
            self._change(state)

    def renew(self, rules: Iterable[tuple[Topics, Filter | None]]) -> list[T]:
        """Begin anew with the topics whose rule is another one in ``rules``; return their held readings."""
        changed = [topics for topics, rule in rules if self._states[topics].rule != rule]
        return [item for topics in changed for item in self._take(self._states.pop(topics))]

    def topics(self) -> list[Topics]:
        """Return the topic lists of which the state is kept."""
        return list(self._states)


def _is_new(rule: Filter, reading: _Reading, last: _Reading) -> bool:
    if rule.changed and reading.digest == last.digest:
        return False
    if rule.deadband is None or reading.number is None or last.number is None:
        return True
    return abs(reading.number - last.number) >= rule.deadband


def _read(rule: Filter, payload: bytes) -> _Reading:
    number = None if rule.deadband is None else find_number(payload, rule.field)
    # A digest, because 10,000 payloads of any size would not fit into memory.
    return _Reading(number, blake2b(payload, digest_size=16).digest() if rule.changed else b"")


def find_number(payload: bytes, field: Topics) -> Decimal | None:
    """Return the number in ``payload``, or at ``field`` in its JSON object; None without one.

    It is a decimal number, because 20.2 - 20.0 is less than 0.2 in binary.
    """
    if len(payload) > LOOKED_INTO:
        return None
    try:
        value: Any = json.loads(
            payload.decode("utf-8-sig"), parse_float=_Text, parse_int=_Text, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return None
    for key in field:
        value = value.get(key) if isinstance(value, dict) else None
    return _decimal(value) if isinstance(value, _Text) else None


class _Text(str):
    """The text of a number, which few readings need as a number."""

    __slots__ = ()


def _decimal(text: str) -> Decimal | None:
    """Return the value of a number in JSON; None for one that no sensor sends, such as 1e999."""
    value = float(text)
    if not isfinite(value):
        return None
    return Decimal(text) if value and len(text) <= 64 else Decimal(repr(value))


def _refuse(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(name)

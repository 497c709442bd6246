"""The gate before the uplink: it says which messages may start, and learns what is in flight."""

from collections.abc import Collection
from typing import Protocol

from bridge.core.exchange import AnyJob
from bridge.core.messages import Queued, State


class Gate(Protocol):
    """What the uplink asks before a message, and tells of it."""

    @property
    def passed_over(self) -> Collection[int]:
        """Lanes that wait at the gate, and that others of their destination go past."""

    def admits(self, queued: Queued) -> bool:
        """Whether ``queued`` may start now; it stays where it is otherwise, and no attempt is counted."""

    def started(self, queued: Queued, job: AnyJob) -> bool:
        """Note that ``queued`` takes its slot; return False where a transaction has to precede its bytes."""

    def record(self, queued: Queued, state: State) -> None:
        """Count what ended with ``state``; runs inside the transaction of its result."""

    def freed(self, queued: Queued) -> None:
        """Note that what ``queued`` cost is durable."""


class OpenGate:
    """Admits everything, and counts nothing."""

    passed_over = ()

    def admits(self, queued: Queued) -> bool:  # noqa: ARG002  as a gate's
        """Admit it."""
        return True

    def started(self, queued: Queued, job: AnyJob) -> bool:  # noqa: ARG002  as a gate's
        """Need nothing before it."""
        return True

    def record(self, queued: Queued, state: State) -> None:
        """Count nothing."""

    def freed(self, queued: Queued) -> None:
        """Do nothing."""

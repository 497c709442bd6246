"""Those who take the commands that come by SMS, as the inbox sees them."""

from collections.abc import Callable
from typing import Protocol


class Commands(Protocol):
    """The consumer of commands, which are no messages."""

    @property
    def listening(self) -> bool:
        """Whether there are commands."""

    def is_command(self, data: bytes) -> bool:
        """Return whether ``data`` is a command, right or wrong."""

    def heard(self, text: bytes, sender: str, taken: Callable[[], None]) -> None:
        """Take a command; ``taken`` is called when the modem may delete it."""


class NoCommands:
    """The consumer where there are none."""

    listening = False

    def is_command(self, data: bytes) -> bool:  # noqa: ARG002  as those of the others
        """Return False."""
        return False

    def heard(self, text: bytes, sender: str, taken: Callable[[], None]) -> None:  # noqa: ARG002  likewise
        """Do nothing."""
        taken()

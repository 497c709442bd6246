"""The commands of ``hologram/network/set``: they change what the network manager wants, and wait.

The manager's own task (`bridge.flow.link.manager`) does the work.
"""

import asyncio
from collections.abc import Callable

from bridge.core.link import Phase
from bridge.errors import DeadlinePassed, LinkError, OperationError
from bridge.flow.link.manager import Network

COMMAND_TIMEOUT = 240.0
"""Seconds that a command to the modem may take."""


class NetworkCommands:
    """Carries out commands, any number at a time; lives in the event loop's thread."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._turn = asyncio.Lock()
        """Lock held by the modem command in progress."""

    async def carry_out(self, name: str, timeout: float | None, lifetime: float | None = None) -> str:
        """Carry out the command ``name`` within ``timeout`` seconds; return what was done.

        ``lifetime`` is the seconds left until its deadline. The deadline ends the wait; a command that the
        modem has begun goes on.

        Raises:
            DeadlinePassed: the command was not finished, or not begun, by its deadline.
            BridgeError: the command failed; the text says why.

        """
        if name not in ("connect", "disconnect", "reconnect"):
            return await self._order(name, timeout, lifetime)
        try:
            async with asyncio.timeout(lifetime):
                return await self._link(name, timeout)
        except TimeoutError:
            raise DeadlinePassed("its deadline passed first; it is tried on") from None

    async def _link(self, name: str, timeout: float | None) -> str:
        if name == "connect":
            self._network.want()
            return await self._outcome(timeout)
        if name == "disconnect":
            self._network.give_up()
            await self._down(unknown=True)
            return "disconnected"
        # The link stays wanted: a hang-up that fails must not leave a remote box offline.
        self._network.want()
        await self._down(unknown=True)
        return await self._outcome(timeout)

    async def _outcome(self, timeout: float | None) -> str:
        """Wait for the wanted link, unless another command changes the wish."""
        network = self._network
        if not network.up:
            with network.trying(timeout):
                await self._until(self._is_decided, timeout)
        link = network.link
        if link is not None:
            return f"connected: {link.interface} has {link.local_ip or 'no address'}"
        if not network.radio:
            raise LinkError("the radio was switched off meanwhile")
        why = network.failure.text if network.failure else "disconnect was asked for meanwhile"
        raise LinkError(f"{why}{'; it is tried again' if network.wanted else ''}")

    def _is_decided(self) -> bool:
        """Whether the wish for a link has an outcome, even a temporary one."""
        network = self._network
        return network.up or network.failure is not None or not network.wanted or not network.radio

    async def _down(self, *, unknown: bool = False) -> None:
        """Hang up; done once the link was down, even if it is dialled again by then."""
        network = self._network
        downs = network.downs
        network.hang_up(unknown=unknown)
        await self._until(lambda: network.phase is Phase.DISCONNECTED or network.downs != downs, None)

    async def _order(self, name: str, timeout: float | None, lifetime: float | None) -> str:
        seconds = timeout or COMMAND_TIMEOUT
        turn = asyncio.timeout(lifetime)
        try:
            with self._network.held():
                async with asyncio.timeout(seconds), turn, self._turn:
                    await self._down()
                    turn.reschedule(None)  # an interrupted command would leave the modem in an unknown state
                    return await self._network.order(name)
        except TimeoutError:
            if turn.expired():
                raise DeadlinePassed("its deadline passed before the modem was given the order") from None
            raise OperationError(f"{name} took longer than {seconds:g} s") from None

    async def _until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Wait until ``condition`` holds; raises `LinkError` after ``timeout`` seconds."""
        seconds = timeout or COMMAND_TIMEOUT
        if not await self._network.settled(condition, seconds):
            raise LinkError(f"not within {seconds:g} s; it is tried on")

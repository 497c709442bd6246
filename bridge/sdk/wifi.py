"""The Wi-Fi interface [Python SDK 0.1, "Wifi"]: the connection that the system keeps for it."""
# ruff: noqa: N802, N803  # the documented names

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from bridge.adapters.wifi.interface import Wifi as Radio
from bridge.adapters.wifi.interface import wireless
from bridge.adapters.wifi.managers import SYSTEM_PATH, Programs
from bridge.core.modem import Wifi as Facts
from bridge.errors import BridgeError, LinkError
from bridge.protocol.wifi import Samples, station
from bridge.sdk.engine.errors import NetworkError
from bridge.sdk.engine.runtime import alive, dispatcher, runtime
from bridge.sdk.event import Event
from bridge.sdk.interface import DEFAULT_NETWORK_TIMEOUT, Network

log = logging.getLogger("Wifi")


class Wifi(Network):
    """Connects to a network that the system knows; that needs root.

    Args:
        interfaceName: the interface, ``''`` for the first one.
        event: the object that broadcasts ``wifi.connected`` and ``wifi.disconnected``.
        ssid: the required network; None for any.

    """

    def __init__(self, interfaceName: str = "", event: Event | None = None, ssid: str | None = None) -> None:
        super().__init__(event)
        self.interfaceName = interfaceName
        self._ssid = ssid
        self._radio: Radio | None = None
        self._samples = Samples()

    async def _open(self) -> Radio:
        if self._radio is None:
            self._radio = Radio(
                asyncio.get_running_loop(), device=self.interfaceName or None, on_down=self._went_down
            )
        return self._radio

    def _went_down(self, reason: str) -> None:
        log.info("disconnected: %s", reason)
        for event in ("wifi.disconnected", "network.disconnected"):
            dispatcher().submit(partial(self.event.broadcast, event))

    # -- the connection ----------------------------------------------------------------------------------

    def connect(self, timeout: float = DEFAULT_NETWORK_TIMEOUT) -> bool:
        """Connect within ``timeout`` seconds, broadcast ``wifi.connected`` and return whether it worked."""

        async def connect() -> None:
            radio = await self._open()
            await radio.connect(timeout)
            found = (await radio.sample()).ssid
            if self._ssid is not None and found != self._ssid:
                raise LinkError(
                    f"connected to {found!r}, not to {self._ssid!r}: make the system know that network first"
                )

        return self._done(connect(), "connect")

    def disconnect(self) -> bool:
        """Disconnect, broadcast ``wifi.disconnected`` and return whether it worked."""

        async def disconnect() -> None:
            await (await self._open()).disconnect()

        return self._done(disconnect(), "disconnect")

    def _done(self, work: Coroutine[Any, Any, None], what: str) -> bool:
        """Do ``work`` and tell that it is done; return whether it worked."""
        try:
            runtime().wait(work)
        except BridgeError as exc:
            log.error("cannot %s: %s", what, exc)
            return False
        self.event.broadcast(f"wifi.{what}ed")
        self.event.broadcast(f"network.{what}ed")
        return True

    def is_connected(self) -> bool:
        """Return whether there is a connection."""
        return self._look().ssid is not None

    isConnected = is_connected  # noqa: N815  # the documented name

    def getConnectionStatus(self) -> int:
        """Return 1 while connected, else 0."""
        return int(self.is_connected())

    def _name(self) -> str:
        there = wireless()
        if not there:
            raise LinkError("there is no Wi-Fi interface")
        return self.interfaceName or there[0]

    def _look(self) -> Facts:
        """Return the facts of the present connection, made by this script or not."""

        async def look() -> Facts:
            if self._radio is not None and self._radio.link is not None:
                return await self._radio.sample()
            said = await Programs(SYSTEM_PATH).run("iw", "dev", self._name(), "link")
            now = station(said.out) if said.code == 0 else None
            if now is None:
                self._samples = Samples()
                return Facts()
            if now.signal is not None:
                self._samples = self._samples.add(now.signal)
            return self._samples.of(now)

        try:
            return runtime().wait(look())
        except BridgeError as exc:
            log.info("no Wi-Fi: %s", exc)
            return Facts()

    def getSSID(self) -> str:
        """Return the network's name, '' without a connection."""
        return self._look().ssid or ""

    def getAPAddress(self) -> str:
        """Return the access point's address, '' without a connection."""
        return self._look().ap or ""

    def getAvgSignalStrength(self) -> str:
        """Return the average signal of the present connection in dBm, '' without one."""
        return _text(self._look().avg_signal_dbm)

    def getMaxSignalStrength(self) -> str:
        """Return the best signal of the present connection in dBm, '' without one."""
        return _text(self._look().max_signal_dbm)

    def getMode(self) -> str:
        """Return '', as the released SDK does [hologram-python 0.10]."""
        return ""

    getWirelessName = getBitRate = getMode  # noqa: N815  # the documented names

    def setAPAddress(self, ap: str) -> None:
        """Raise `NetworkError`: the system chooses the access point."""
        raise NetworkError(
            f"ap: {ap!r} cannot be chosen; the system's own settings say which network is joined"
        )

    # -- for the clouds ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop watching; the connection is the system's and stays."""
        radio, self._radio = self._radio, None
        if radio is not None and alive():
            runtime().wait(radio.close())


def _text(value: int | None) -> str:
    return "" if value is None else str(value)

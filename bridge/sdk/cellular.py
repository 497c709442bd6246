"""The cellular interface: a modem, its connection, and its events [Python SDK 0.3, "Cellular"]."""
# ruff: noqa: N802  # the documented names

import logging
from functools import partial
from typing import Any

from bridge.core.exchange import Transport
from bridge.core.link import Code
from bridge.errors import BridgeError
from bridge.protocol.ppp.dial import Scope
from bridge.sdk.engine.errors import HologramError, ModemError, NetworkError
from bridge.sdk.engine.inbox import Inbox
from bridge.sdk.engine.runtime import dispatcher, runtime
from bridge.sdk.event import Event
from bridge.sdk.interface import Network, NetworkScope
from bridge.sdk.modem import Modem
from bridge.sdk.modems import CLASSES, modem_of, usable_modems

CLOUD_DISCONNECTED = Code.CLOUD_DISCONNECTED.value
CLOUD_CONNECTED = Code.CLOUD_CONNECTED.value
CLOUD_ERR_SIM = Code.CLOUD_ERR_SIM.value
CLOUD_ERR_SIGNAL = Code.CLOUD_ERR_SIGNAL.value
CLOUD_ERR_CONNECT = Code.CLOUD_ERR_CONNECT.value

DEFAULT_CELLULAR_TIMEOUT = 200
"""Default limit of `Cellular.connect`, in seconds."""

log = logging.getLogger("Cellular")


class Cellular(Network):
    """Connects by a modem: over PPP, which needs root, or by the modem's own sockets."""

    def __init__(
        self, event: Event | None = None, interface: str = "cellular", modem: Modem | None = None
    ) -> None:
        super().__init__(event)
        self._events: list[str] | None = None
        """Events that the script's present call broadcasts when it ends; None outside of a call."""
        self.modem = modem or CLASSES[interface](event=self.event)

    @property
    def modem(self) -> Modem:
        """The modem of the interface."""
        return self._modem

    @modem.setter
    def modem(self, modem: Modem | str) -> None:
        """Use another modem, given as an object or by the name of its kind; the previous one is closed."""
        last, self._modem = getattr(self, "_modem", None), modem_of(modem, self.event)
        modem = self._modem
        if last is not None and last is not modem:
            last.close()
        modem.event = self.event
        modem.scope = self._scope
        modem.notify = self._happened
        modem.on_change = self._changed

    def _scope(self) -> Scope:
        return "hologram" if self.scope is NetworkScope.HOLOGRAM else "system"

    def _changed(self) -> None:
        self.on_change()

    def _happened(self, event: str) -> None:
        """Note or broadcast an event; runs in the loop's thread."""
        if self._events is not None:
            self._events.append(event)
        else:
            dispatcher().submit(partial(self.event.broadcast, event))

    # -- the connection ----------------------------------------------------------------------------------

    def connect(self, timeout: float = DEFAULT_CELLULAR_TIMEOUT) -> bool:
        """Connect within ``timeout`` seconds, broadcast ``cellular.connected`` and return whether it worked.

        Raises:
            NetworkError: there is no modem.
            SerialError: another program uses the modem; the text names it.
            ModemError: the modem's port cannot be opened.

        """
        log.info("Connecting to cell network with timeout of %s seconds", timeout)
        good = self._telling(partial(self._modem.connect, timeout))
        log.info("Successfully connected to cell network" if good else "Failed to connect to cell network")
        return good

    def disconnect(self) -> bool:
        """Disconnect, broadcast ``cellular.disconnected`` and return whether it worked."""
        log.info("Disconnecting from cell network")
        return self._telling(self._modem.disconnect)

    def _telling(self, work: Any) -> bool:
        """Run ``work``, then broadcast the events that came meanwhile, in this thread."""
        self._events = []
        try:
            good: bool = work()
        finally:
            events, self._events = self._events, None
        for event in events:
            self.event.broadcast(event)
        return good

    def autodetect_modem(self) -> None:
        """Use any modem that is found, from now on [hologram-python 0.10]."""
        self.modem = CLASSES["cellular"](event=self.event)

    def load_modem_drivers(self) -> None:
        """Do nothing; kept for scripts that call it, because the system loads the drivers."""

    @staticmethod
    def scan_for_all_usable_modems() -> list[Modem]:
        """Return an object for each modem that is found by its USB id [hologram-python 0.10]."""
        return usable_modems()

    def getConnectionStatus(self) -> int:
        """Return the connection status: 0, 1, 3, 5 or 12."""
        try:
            return int(self._modem.status())
        except (NetworkError, ModemError):
            return CLOUD_ERR_CONNECT

    def is_connected(self) -> bool:
        """Return whether there is a connection."""
        return self._modem.isConnected()

    @property
    def at_sockets_available(self) -> bool:
        """Whether the modem's own sockets can carry messages now, without a `connect`."""
        return self._modem.at_sockets_available

    def disable_at_sockets_mode(self) -> None:
        """Do not use the modem's own sockets from now on, so that messages need a `connect` over PPP."""
        self._modem.disable_at_sockets_mode()

    def enable_at_sockets_mode(self) -> None:
        """Use the modem's own sockets again, if it has any."""
        self._modem.enable_at_sockets_mode()

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the modem: ``localIPAddress``, ``signal_strength``, ``popReceivedSMS``…."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._modem, name)

    # -- for the clouds ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether messages can be sent."""
        session = self._modem.opened
        return session is not None and session.up

    @property
    def sockets(self) -> Transport | None:
        """The modem's own sockets while they carry messages; otherwise None."""
        session = self._modem.opened
        return session.transport if session else None

    def prepare(self, timeout: float) -> None:
        """Bring the modem's own sockets up, if it has any and there is no connection.

        ``timeout`` is the seconds to wait for registration; after a later registration it is tried again.
        """
        try:
            session = self._modem.session
            if not session.up and session.sockets_available:
                runtime().wait(session.use_sockets(timeout))
        except BridgeError as exc:
            log.error("the modem cannot send now: %s", exc)

    @property
    def sim_identity(self) -> tuple[str | None, str | None]:
        """The SIM's number (ICCID) and IMSI; None for one that is not known yet."""
        session = self._modem.opened
        identity = session.supervisor.facts.identity if session else None
        return (identity.iccid, identity.imsi) if identity else (None, None)

    def fetch_sim_identity(self) -> tuple[str | None, str | None]:
        """Ask the SIM for its number and IMSI."""
        known = self.sim_identity
        if all(known):
            return known
        try:
            identity = runtime().wait(self._modem.session.identify())
        except HologramError:
            raise
        except BridgeError as exc:
            log.error("the SIM cannot be asked: %s", exc)
            return known
        return identity.iccid, identity.imsi

    def open_receive_socket(self, receive_port: int, inbox: Inbox) -> bool:
        """Listen by the modem's own sockets; return False if they do not carry messages."""
        return runtime().ask(self._modem.session.listen(receive_port, inbox))

    def close_receive_socket(self) -> None:
        """Stop listening by the modem's own sockets."""
        if self._modem.opened:
            runtime().ask(self._modem.opened.stop_listening())

    def close(self) -> None:
        """Hang up and close the modem."""
        self._modem.close()

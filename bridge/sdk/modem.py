"""Modems by name [Python SDK 0.3, "Modem"; hologram-python 0.10].

A modem is opened at the first query, and stays open until `close` or the end of the script.
"""
# ruff: noqa: N802, N803  # the documented names

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

from bridge.adapters.usb import sysfs as usb
from bridge.core.link import Code
from bridge.errors import BridgeError
from bridge.errors import ModemError as CoreModemError
from bridge.flow.notices import Notices
from bridge.protocol.modems import PROFILES, by_interface
from bridge.protocol.ppp.dial import Scope
from bridge.sdk.engine.at import ModemResult as ModemResult  # noqa: PLC0414  # the SDK's name and place
from bridge.sdk.engine.dialling import WantedModem
from bridge.sdk.engine.errors import HologramError, of_bridge
from bridge.sdk.engine.modem_facts import ModemFacts
from bridge.sdk.engine.modem_session import START_WAIT, Session
from bridge.sdk.engine.places import modem_port
from bridge.sdk.engine.runtime import alive, at_end, dispatcher, runtime
from bridge.sdk.engine.values import SMS
from bridge.sdk.event import Event

E303_DEVICE_NAME = "/dev/ttyUSB0"

DEFAULT_CHATSCRIPT = "../../example-script"
"""The documented default, which means the bridge's own chat script."""

DEFAULT_BAUD = "9600"

CONNECT_TIMEOUT = 200
"""Default limit of `Modem.connect`, in seconds."""

LEAST_WAIT = 0.1
"""Least seconds for a connection after the modem was opened."""

log = logging.getLogger("Modem")


class _Settings(NamedTuple):
    """The script's settings for opening a modem."""

    device: str
    baud: str
    chat: str
    apn: str


class _News(Notices):
    """Passes a modem's events to the script, and its changes to its network interface."""

    def __init__(self, modem: "Modem") -> None:
        self._modem = modem

    def event(self, event_type: str, **_: object) -> None:
        """Pass an event to the script."""
        self._modem.notify(event_type)

    def link_up(self) -> None:
        """Note that messages can be sent."""
        self._modem.on_change()


class Modem(ModemFacts):
    """A modem of any known kind; each subclass is one kind.

    Args:
        mode: ``ppp``, the only one.
        deviceName: the AT port; the default is only used if a search by USB id finds nothing.
        baudRate: pppd's speed.
        chatScriptFile: a chat script to dial with; by default the bridge's own.
        apn: the access point.
        pdp_context: 1, the only one.
        device_name, baud_rate, chatscript_file: the same by the names of release 0.10.
        event: the object that broadcasts the modem's events.

    Release 0.10 has no mode: ``Modem("/dev/ttyUSB0", 9600, "chat", event, apn, pdp_context)`` works too.

    Raises:
        HologramError: an argument is not allowed.

    """

    usb_ids: ClassVar[list[tuple[str, str]]] = []
    """USB vendor and product ids of this kind."""

    _default_device = E303_DEVICE_NAME

    def __init__(
        self,
        mode: str | None = "ppp",
        deviceName: str | int = E303_DEVICE_NAME,
        baudRate: str | int = DEFAULT_BAUD,
        chatScriptFile: str | Event = DEFAULT_CHATSCRIPT,
        apn: str = "hologram",
        pdp_context: int = 1,
        *,
        device_name: str | None = None,
        baud_rate: str | int | None = None,
        chatscript_file: str | None = None,
        event: Event | None = None,
    ) -> None:
        given: tuple[object, object, object] = (deviceName, baudRate, chatScriptFile)
        if mode is None or "/" in mode:  # release 0.10 begins with the port, and an event is the last
            event = event or (chatScriptFile if isinstance(chatScriptFile, Event) else None)
            given = (mode, _given(deviceName, self._default_device), _given(baudRate, DEFAULT_BAUD))
            mode = "ppp"
        if mode != "ppp":
            raise HologramError(f"mode: {mode!r} is not allowed; 'ppp' is")
        self.mode = mode
        self.deviceName = str(device_name or given[0] or self._default_device)
        self.baudRate = str(baud_rate or given[1] or DEFAULT_BAUD)
        self.chatScriptFile = str(chatscript_file or given[2] or DEFAULT_CHATSCRIPT)
        self.event = event or Event()
        self.apn = apn
        self.pdp_context = pdp_context
        self.scope: Callable[[], Scope] = lambda: "system"
        """Function that returns the traffic over PPP: all, or Hologram's own ranges alone."""
        self.on_change: Callable[[], None] = lambda: None
        self.notify: Callable[[str], None] = self._broadcast
        """Callback for an event, called in the loop's thread."""
        self._own_sockets = True
        """Whether the modem's own sockets may be used."""
        self._session: Session | None = None
        self._opened_with: _Settings | None = None
        self._opening = threading.RLock()
        """Held while the modem is opened or opened anew: a handler of its events asks for it meanwhile."""

    def __init_subclass__(cls) -> None:
        cls.usb_ids = list(map(_split, by_interface(cls.interface).usb_ids))

    def __repr__(self) -> str:
        return type(self).__name__

    @property
    def device_name(self) -> str:
        """The same as ``deviceName`` [hologram-python 0.10]."""
        return self.deviceName

    @device_name.setter
    def device_name(self, device_name: str) -> None:
        self.deviceName = device_name

    @property
    def baud_rate(self) -> str:
        """The same as ``baudRate`` [hologram-python 0.10]."""
        return self.baudRate

    @baud_rate.setter
    def baud_rate(self, baud_rate: str | int) -> None:
        self.baudRate = str(baud_rate)

    @property
    def chatscript_file(self) -> str:
        """The same as ``chatScriptFile`` [hologram-python 0.10]."""
        return self.chatScriptFile

    @chatscript_file.setter
    def chatscript_file(self, chatscript_file: str) -> None:
        self.chatScriptFile = chatscript_file

    @property
    def pdp_context(self) -> int:
        """1; `HologramError` for another."""
        return 1

    @pdp_context.setter
    def pdp_context(self, pdp_context: int) -> None:
        if pdp_context != 1:
            raise HologramError(f"pdp_context: {pdp_context!r} is not allowed; 1 is")

    def _broadcast(self, event: str) -> None:
        dispatcher().submit(partial(self.event.broadcast, event))

    # -- the session -------------------------------------------------------------------------------------

    def _wish(self) -> WantedModem:
        given = modem_port()
        if given is None and self.deviceName != self._default_device:
            given = self.deviceName
        return WantedModem(
            interface=self.interface,
            device=given,
            fallback=self._default_device,
            apn=self.apn,
            baud=_speed(self.baudRate),
            chat=_script(self.chatScriptFile),
        )

    def _settings(self) -> "_Settings":
        return _Settings(self.deviceName, self.baudRate, self.chatScriptFile, self.apn)

    @property
    def session(self) -> Session:
        """The opened modem, opened now if necessary; raises `NetworkError`, `SerialError`, `ModemError`.

        The modem may be silent; recovery is then in progress.
        """
        return self._opened_now(START_WAIT)

    def _opened_now(self, seconds: float) -> Session:
        with self._opening:
            return self._current() or self._new_session(seconds)

    def _current(self) -> Session | None:
        """Return the opened modem; close one with outdated settings, unless it is connected."""
        session = self._session
        if session and not session.network.up and self._opened_with != self._settings():
            self.close()
        return self._session

    def _new_session(self, seconds: float) -> Session:
        self._opened_with = self._settings()
        self._session = session = runtime().ask(self._open(seconds))
        at_end(self.close)
        return session

    async def _open(self, seconds: float) -> Session:
        session = Session(
            self._wish(),
            _News(self),
            scope=lambda: self.scope(),  # noqa: PLW0108  # set later
            own_sockets=lambda: self._own_sockets,
            on_change=lambda: self.on_change(),  # noqa: PLW0108  # set later
        )
        await session.open(seconds)
        return session

    def openSerialPort(self, device_name: str | None = None) -> bool:
        """Open the modem, at ``device_name`` if given; return whether that worked."""
        if device_name is not None:
            self.deviceName = device_name
        try:
            return self.session is not None
        except HologramError as exc:
            log.error("%s", exc)
            return False

    def initialize_serial_interface(self) -> None:
        """Open the modem, as `openSerialPort` does."""
        self.openSerialPort()

    def closeSerialPort(self) -> None:
        """Close the modem, as `close` does."""
        self.close()

    def detect_usable_serial_port(self, stop_on_first: bool = True) -> list[str]:
        """Return the ports at which modems of this kind take AT commands, found by their USB ids."""
        profile = by_interface(self.interface)
        found = [each.at_port for each in usb.find([profile] if profile.usb_ids else PROFILES)]
        return found[:1] if stop_on_first else found

    @property
    def opened(self) -> Session | None:
        """The modem's session if it is open, otherwise None."""
        return self._session

    def close(self) -> None:
        """Hang up and close the modem."""
        session, self._session = self._session, None
        if session is not None and alive():
            runtime().wait(session.close())

    # -- the connection ----------------------------------------------------------------------------------

    def connect(self, timeout: float = CONNECT_TIMEOUT) -> bool:
        """Connect within ``timeout`` seconds; return whether it worked.

        Recovery of a modem that does not answer begins at once, and continues after ``timeout``.

        Raises:
            NetworkError: there is no modem.
            SerialError: another program uses the modem; the text names it.
            ModemError: the modem's port cannot be opened.

        """
        until = time.monotonic() + timeout
        session = self._opened_now(min(timeout, START_WAIT))
        try:
            runtime().wait(session.connect(max(until - time.monotonic(), LEAST_WAIT)))
        except HologramError:
            raise
        except BridgeError as exc:
            log.error("cannot connect: %s", exc)
            return False
        return True

    def disconnect(self) -> bool:
        """Disconnect; return whether it worked."""
        if self._session is None:
            return True
        try:
            runtime().wait(self._session.disconnect())
        except BridgeError as exc:
            log.error("cannot disconnect: %s", exc)
            return False
        return True

    def isConnected(self) -> bool:
        """Return whether there is a connection."""
        return self._session is not None and self._session.network.up

    is_connected = isConnected

    def status(self) -> Code:
        """Return the connection status code."""
        return Code(self.session.network.verdict().code)

    @property
    def localIPAddress(self) -> str | None:
        """The local address; None without a connection."""
        link = self._session.network.link if self._session else None
        return link.local_ip if link else None

    @property
    def remoteIPAddress(self) -> str | None:
        """The address of the other end; None without a connection."""
        link = self._session.network.link if self._session else None
        return link.remote_ip if link else None

    def disable_at_sockets_mode(self) -> None:
        """Do not use the modem's own sockets from now on, so that messages need a `connect` over PPP."""
        self._own_sockets = False
        if self._session is not None:
            runtime().ask(self._session.release_sockets())

    def enable_at_sockets_mode(self) -> None:
        """Use the modem's own sockets again, if it has any."""
        self._own_sockets = True

    @property
    def at_sockets_available(self) -> bool:
        """Whether the modem's own sockets can carry messages now."""
        return self.session.sockets_available

    # -- commands ----------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Restart the modem, and wait until it is back."""
        runtime().ask(self.session.command("reset", None))

    def radio_power(self, power_mode: bool) -> bool:
        """Switch the radio on or off; return whether it worked."""
        try:
            runtime().wait(self.session.command("radio_on" if power_mode else "radio_off", None))
        except BridgeError as exc:
            log.error("%s", exc)
            return False
        return True

    # -- SMS ---------------------------------------------------------------------------------------------

    def enableSMS(self) -> None:
        """Take SMS; broadcast ``sms.received`` for each that waits in the modem and for each new one."""
        for _ in range(runtime().ask(self.session.count_sms())):
            self.event.broadcast("sms.received")

    def disableSMS(self) -> None:
        """Kept for scripts that call it; received SMS can still be read."""

    def send_sms_message(self, phonenumber: str, message: str, timeout: float = 10) -> bool:  # noqa: ARG002  # documented
        """Send an SMS over the air; return whether it was sent.

        False does not permit a repetition; the log says whether it may have been sent.

        Args:
            phonenumber: E.164; the plus sign may be missing, as in an `SMS`'s ``sender``.
            message: any text; a long one is sent in several parts.
            timeout: without effect; the network gets the time that it needs.

        Raises:
            HologramError: the number or text is not allowed, or there is no modem.

        """
        number = f"+{str(phonenumber).removeprefix('+')}"
        try:
            runtime().wait(self.session.send_sms(number, str(message)))
        except CoreModemError as exc:
            log.error("%s", exc)
            return False
        except BridgeError as exc:
            raise of_bridge(exc) from exc
        return True

    def popReceivedSMS(self) -> SMS | None:
        """Take the oldest whole SMS out of the modem and return it; None without one."""
        return runtime().ask(self.session.pop_sms())


IModem = Modem
"""The base class of modems, by its name in release 0.10."""


def _speed(baud: str) -> int:
    try:
        return int(baud)
    except ValueError:
        raise HologramError(f"baudRate: {baud!r} is not allowed; give a number, such as '9600'") from None


def _script(name: str) -> str | None:
    if name == DEFAULT_CHATSCRIPT and not Path(name).exists():
        return None
    path = Path(name).absolute()
    if not path.exists():
        raise HologramError(f"chatScriptFile: {path} is not there")
    return str(path)


def _split(usb_id: str) -> tuple[str, str]:
    vendor, _, product = usb_id.partition(":")
    return vendor, product


def _given(value: object, default: str) -> str | None:
    """Return ``value`` as text if the script has given it, otherwise None."""
    return None if value in (None, default) else str(value)

"""Modems by name [Python SDK 0.3, "Modem"; hologram-python 0.10].

A modem is opened when it is first asked for something, and stays open until the script ends or `close`.
"""
# ruff: noqa: N802, N803  # the documented names

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bridge.adapters.at_port import Answer
from bridge.core.link import Code
from bridge.errors import AtRefused, BridgeError, ModemSilent
from bridge.protocol.dial import Scope
from bridge.protocol.modems import by_interface
from bridge.sdk.dialling import Wish
from bridge.sdk.errors import HologramError, ModemError
from bridge.sdk.event import Event
from bridge.sdk.places import modem_port
from bridge.sdk.runtime import alive, at_end, dispatcher, runtime
from bridge.sdk.session import START_WAIT, Session
from bridge.sdk.values import SMS, Location

E303_DEVICE_NAME = "/dev/ttyUSB0"

DEFAULT_CHATSCRIPT = "../../example-script"
"""Stands for the bridge's own chat script."""

CONNECT_TIMEOUT = 200
"""Seconds that a connection may take to come up."""

LEAST_WAIT = 0.1
"""Seconds that a connection gets where the modem took all of its time."""

log = logging.getLogger("Modem")


class ModemResult:
    """How an AT command ended [hologram-python 0.10]."""

    Invalid = "Invalid"
    NoMatch = "NoMatch"
    Error = "Error"
    Timeout = "Timeout"
    OK = "OK"


class Modem:
    """Any modem that is known; the subclasses are those of one kind.

    Args:
        mode: ``ppp``, the only one.
        deviceName: its AT port; the default is only a last resort, after a search by USB id.
        baudRate: pppd's speed.
        chatScriptFile: a chat script to dial with; by default the bridge's own.
        device_name, baud_rate, chatscript_file: the same by the names of release 0.10.
        event: where its events are told.
        apn: the access point.

    Raises:
        HologramError: one of them is not allowed.

    """

    interface = "cellular"
    """Its name in ``network.interface``."""

    _default_device = E303_DEVICE_NAME

    def __init__(
        self,
        mode: str = "ppp",
        deviceName: str = E303_DEVICE_NAME,
        baudRate: str | int = "9600",
        chatScriptFile: str = DEFAULT_CHATSCRIPT,
        *,
        device_name: str | None = None,
        baud_rate: str | int | None = None,
        chatscript_file: str | None = None,
        event: Event | None = None,
        apn: str = "hologram",
    ) -> None:
        if mode != "ppp":
            raise HologramError(f"mode: {mode!r} is not allowed; 'ppp' is")
        self.mode = mode
        self.deviceName = device_name or deviceName
        self.baudRate = str(baud_rate or baudRate)
        self.chatScriptFile = chatscript_file or chatScriptFile
        self.event = event or Event()
        self.apn = apn
        self.scope: Callable[[], Scope] = lambda: "system"
        """Says whether everything goes over PPP, or Hologram's own ranges alone."""
        self.on_change: Callable[[], None] = lambda: None
        self.tell: Callable[[str], None] = self._tell
        """What is done with an event; it comes in the loop's thread."""
        self._session: Session | None = None

    def __repr__(self) -> str:
        return type(self).__name__

    def _tell(self, event: str) -> None:
        dispatcher().tell(partial(self.event.broadcast, event))

    # -- the session -------------------------------------------------------------------------------------

    def _wish(self) -> Wish:
        given = modem_port()
        if given is None and self.deviceName != self._default_device:
            given = self.deviceName
        return Wish(
            self.interface,
            given,
            self._default_device,
            self.apn,
            _speed(self.baudRate),
            _script(self.chatScriptFile),
        )

    @property
    def session(self) -> Session:
        """The opened modem, opened now if need be; raises `NetworkError`, `SerialError`, `ModemError`.

        It may be silent: it is being recovered then.
        """
        return self._session or self._new_session(START_WAIT)

    def _new_session(self, seconds: float) -> Session:
        self._session = session = runtime().wait(self._open(seconds))
        at_end(self.close)
        return session

    async def _open(self, seconds: float) -> Session:
        session = Session(
            self._wish(),
            scope=lambda: self.scope(),  # noqa: PLW0108  # set later
            on_event=lambda event, **_: self.tell(event),
            on_change=lambda: self.on_change(),  # noqa: PLW0108  # set later
        )
        await session.open(seconds)
        return session

    @property
    def opened(self) -> Session | None:
        """The opened modem, or None; nothing is opened for the question."""
        return self._session

    def close(self) -> None:
        """Hang up and let go of the modem."""
        session, self._session = self._session, None
        if session is not None and alive():
            runtime().wait(session.close())

    # -- the connection ----------------------------------------------------------------------------------

    def connect(self, timeout: float = CONNECT_TIMEOUT) -> bool:
        """Connect within ``timeout`` seconds; return whether it worked.

        A modem that does not answer is being recovered meanwhile, and after that too.

        Raises:
            NetworkError: no modem is there.
            SerialError: another program uses it; it says which.
            ModemError: its port cannot be had.

        """
        until = time.monotonic() + timeout
        session = self._session or self._new_session(min(timeout, START_WAIT))
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
        """Return whether a connection stands."""
        return self._session is not None and self._session.network.up

    is_connected = isConnected

    def status(self) -> Code:
        """Return the connection status code."""
        return Code(self.session.network.verdict().code)

    @property
    def localIPAddress(self) -> str | None:
        """Our address, None while there is no connection."""
        link = self._session.network.link if self._session else None
        return link.local_ip if link else None

    @property
    def remoteIPAddress(self) -> str | None:
        """The other end's address, None while there is no connection."""
        link = self._session.network.link if self._session else None
        return link.remote_ip if link else None

    @property
    def at_sockets_available(self) -> bool:
        """Whether the modem's own sockets can carry messages just now."""
        return self.session.sockets_available

    # -- questions ---------------------------------------------------------------------------------------

    def _ask(self, text: str, timeout: float = 10.0) -> Answer:
        session = self.session

        async def ask() -> Answer:
            return await session.modem().at(text, timeout)

        return runtime().wait(ask())

    @property
    def signal_strength(self) -> str:
        """RSSI and bit error class as the modem writes them, ``17,99``; ``99,99`` where it does not know.

        [3GPP TS 27.007, section 8.5].
        """
        try:
            lines = self._ask("AT+CSQ").lines
        except AtRefused:
            return "99,99"
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("+CSQ")), "99,99")

    @property
    def imsi(self) -> str | None:
        """The SIM's IMSI."""
        return runtime().wait(self.session.identify()).imsi

    @property
    def iccid(self) -> str | None:
        """The SIM's number."""
        return runtime().wait(self.session.identify()).iccid

    @property
    def imei(self) -> str | None:
        """The modem's IMEI."""
        return runtime().wait(self.session.identify()).imei

    @property
    def modem_id(self) -> str | None:
        """The modem's model, as it tells it."""
        return runtime().wait(self.session.identify()).model

    @property
    def version(self) -> str | None:
        """The modem's firmware."""
        return runtime().wait(self.session.identify()).firmware

    @property
    def operator(self) -> str | None:
        """The network that the modem is in."""
        session = self.session

        async def ask() -> str | None:
            await session.modem().poll()
            return session.keeper.facts.operator

        return runtime().wait(ask())

    @property
    def location(self) -> Location | None:
        """Where the modem is, None where it does not find out.

        Raises:
            ModemError: it has no means to.

        """
        session = self.session

        async def ask() -> dict[str, Any]:
            return await session.modem().location()

        try:
            place = runtime().wait(ask())
        except ModemError:
            raise
        except BridgeError as exc:
            if by_interface(session.keeper.place.interface if session.keeper.place else "").location is None:
                raise ModemError(str(exc)) from exc
            log.error("no location: %s", exc)
            return None
        return _location(place)

    @property
    def description(self) -> str:
        """The modem's name for a person."""
        place = self.session.keeper.place
        return by_interface(place.interface if place else self.interface).label

    @property
    def active_modem_interface(self) -> str:
        """The class of the modem."""
        return repr(self)

    # -- what it can be told -----------------------------------------------------------------------------

    def command(
        self, cmd: str = "", value: object = None, expected: str | None = None, timeout: float | None = None
    ) -> tuple[str, Any]:
        """Give an AT command without its AT; return how it ended (`ModemResult`) and the lines it brought.

        ``expected`` is what the first line begins with, left out where the lines need not be checked.
        """
        text = f"AT{cmd}" if value is None else f"AT{cmd}={value}"
        try:
            lines = self._ask(text, timeout or 10.0).lines
        except AtRefused:
            return ModemResult.Error, None
        except ModemSilent:
            return ModemResult.Timeout, None
        if expected is not None and not (lines and lines[0].startswith(expected)):
            return ModemResult.NoMatch, list(lines)
        return ModemResult.OK, lines[0] if len(lines) == 1 else list(lines)

    def reset(self) -> None:
        """Restart the modem, and wait until it is back."""
        runtime().wait(self.session.command("reset", None))

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
        """Take SMS: the modem is opened, and told to announce them (event ``sms.received``)."""
        assert self.session

    def disableSMS(self) -> None:
        """Kept for scripts that call it: what came in can still be read."""

    def popReceivedSMS(self) -> SMS | None:
        """Take the oldest whole SMS out of the modem and return it; None where there is none."""
        return runtime().wait(self.session.pop_text())


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


def _location(place: dict[str, Any]) -> Location:
    date, _, time = str(place["at"] or "").removesuffix("Z").partition("T")
    texts = (place[name] for name in ("latitude", "longitude", "altitude_m", "uncertainty_m"))
    return Location(date or None, time or None, *(None if each is None else f"{each:g}" for each in texts))

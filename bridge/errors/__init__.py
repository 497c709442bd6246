"""Everything this package raises on purpose, named by whose fault it was.

::

    BridgeError
    ├── ConfigError      the configuration's: names the key, the value and what is allowed (exit 78)
    ├── UsageError       the command line's (exit 2)
    ├── OperationError   a thing asked for could not be done; says what to do (exit 1)
    │   └── DeadlinePassed   not before its deadline: becomes an ``expired`` result
    ├── InvalidCommand   a publisher's: names the field, becomes a ``rejected`` result
    ├── NotMqtt          the broker's: what it sent is no MQTT; ends the connection
    ├── Unpublishable    nobody's: MQTT or this broker has no room or no form for a publication; says which
    ├── ModemError       the modem's
    │   ├── ModemGone    its port is not there, or broke
    │   ├── ModemSilent  it did not answer in time
    │   ├── AtRefused    it answered with an error: ``final`` is its line, ``code`` the number in it
    │   ├── AtOutOfStep  it answered with a success that may be another command's
    │   └── BadPdu       it handed over a text message that cannot be read
    ├── LinkError        pppd's or Wi-Fi's: the connection did not come up
    │   └── NotCalled    something on this machine keeps us from calling
    │       └── PortHeld another program has the modem's port
    └── StoreError       the disk's
        ├── StoreFull    no room is left; what is queued is safe
        ├── StoreDamaged the database cannot be read
        ├── StoreInUse   another process owns the store
        └── StoreNewer   a newer version wrote it: starting again cannot help (exit 78)

The text of each is one line for a person; nothing a user can cause ends in a traceback.
"""

from reprlib import Repr

_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring, _SHORT.maxother = 4, 20, 20, 80, 80
"""Writes out the beginning of a value: all of a long one would take long, of a deep one recurse too deep."""

WHO_MAY = "use sudo, or a user of the group hologram"
"""What helps where the system says that what is the bridge's may not be read, or asked."""


class BridgeError(Exception):
    """The root of all our errors; ``exit_code`` is what a command ends with."""

    exit_code = 1


class ConfigError(BridgeError):
    """The configuration is wrong; one line per problem."""

    exit_code = 78


class UsageError(BridgeError):
    """The command line is wrong."""

    exit_code = 2


class OperationError(BridgeError):
    """What was asked for could not be done; the text says what to do about it."""


class DeadlinePassed(OperationError):
    """The deadline of a command passed before it was done; the text says what becomes of it."""


class InvalidCommand(BridgeError):
    """An MQTT command that can never succeed: ``field`` is what is wrong with it."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        shown = repr(value[:80]) if isinstance(value, str | bytes) else _SHORT.repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "…"
        super().__init__(f"{field}: {shown} is not allowed; {allowed}")
        self.field = field
        self.reason = f"{field}: {allowed}"
        """The same without the value, for the log: it may be part of a payload."""


class NotMqtt(BridgeError):
    """What the broker sent is no MQTT; the text is what it was."""


class Unpublishable(BridgeError):
    """A publication that MQTT, or the broker by its own word, cannot take; the text says why."""


class ModemError(BridgeError):
    """The modem cannot do what it was asked for.

    ``prompted`` says that it had asked for what follows the command, and may have got it.
    """

    prompted = False


class ModemGone(ModemError):
    """The modem's port is not there, or broke while it was used."""


class ModemSilent(ModemError):
    """The modem did not answer in time."""


class AtRefused(ModemError):
    """The modem answered with an error.

    ``kind`` is ``CME``, ``CMS`` or the whole word (``ERROR``, ``NO CARRIER``, ``SEND FAIL``…); ``code`` the
    number where one was given; ``final`` the line itself.
    """

    def __init__(self, command: str, final: str, kind: str, code: int | None = None) -> None:
        super().__init__(f"the modem refused {command}: {final}")
        self.command = command
        self.final = final
        self.kind = kind
        self.code = code


class AtOutOfStep(ModemError):
    """A success that cannot be the command's own, or lacks what proves it; ``final`` is its line."""

    def __init__(self, text: str, final: str) -> None:
        super().__init__(text)
        self.final = final


class BadPdu(ModemError):
    """A PDU of a text message is not what its standard says."""


class LinkError(BridgeError):
    """A connection did not come up; the text says why, ``status`` is the status code where it is known."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class NotCalled(LinkError):
    """Nobody has called yet, for what is set or missing on this machine. No fault of the modem's."""


class PortHeld(NotCalled):
    """Another program has the modem's port; the text names it."""


class StoreError(BridgeError):
    """The outbox on disk cannot do its work."""


class StoreFull(StoreError):
    """The disk has no room; nothing that was durable is lost."""


class StoreDamaged(StoreError):
    """The database file is damaged."""


class StoreInUse(StoreError):
    """Another process holds the store."""


class StoreNewer(StoreError):
    """A newer version wrote the store: only somebody who installs that again can help."""

    exit_code = 78

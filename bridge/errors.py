"""Everything this package raises on purpose, named by whose fault it was.

::

    BridgeError
    ├── ConfigError      the configuration's: names the key, the value and what is allowed (exit 78)
    ├── UsageError       the command line's (exit 2)
    ├── OperationError   a thing asked for could not be done; says what to do (exit 1)
    ├── InvalidCommand   a publisher's: names the field, becomes a ``rejected`` result
    └── StoreError       the disk's
        ├── StoreFull    no room is left; what is queued is safe
        ├── StoreDamaged the database cannot be read
        └── StoreInUse   another process owns the store

The text of each is one line for a person; nothing a user can cause ends in a traceback.
"""


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


class InvalidCommand(BridgeError):
    """An MQTT command that can never succeed: ``field`` is what is wrong with it."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        shown = repr(value)
        if len(shown) > 80:
            shown = shown[:77] + "…"
        super().__init__(f"{field}: {shown} is not allowed; {allowed}")
        self.field = field
        self.reason = f"{field}: {allowed}"
        """The same without the value, for the log: it may be part of a payload."""


class StoreError(BridgeError):
    """The outbox on disk cannot do its work."""


class StoreFull(StoreError):
    """The disk has no room; nothing that was durable is lost."""


class StoreDamaged(StoreError):
    """The database file is damaged."""


class StoreInUse(StoreError):
    """Another process holds the store."""

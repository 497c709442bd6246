"""The device's credentials: the scripts' forms, read into the bridge's own.

Scripts give a dictionary [Python SDK 0.3, "Credentials"] or a `Credentials` object [0.1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.protocol.cloud import Credentials as Ours
from bridge.protocol.cloud import DeviceKey, LegacyKey, Totp
from bridge.sdk.engine.errors import AuthenticationError, HologramError

AUTHENTICATION_TYPES = ("csrpsk", "totp")
FIELDS = ("devicekey", "cloud_id", "cloud_key", "device_id", "private_key")
DEVICE_KEY_LEN = 8
CLOUD_KEY_LEN = 4


@dataclass(eq=False, repr=False)
class Credentials:
    """The device's credentials [Python SDK 0.1, "Credentials"].

    ``cloud_id`` and ``cloud_key`` are 4 characters each, ``device_id`` is the SIM number and ``private_key``
    the IMSI; ``devicekey``, 8 characters, came with later versions.
    """

    Credentials: "ClassVar[type[Credentials]]"
    """The class itself: release 0.1 has ``Credentials.Credentials`` too."""

    cloud_id: str = ""
    cloud_key: str = ""
    device_id: str = ""
    private_key: str = ""
    devicekey: str = ""

    def __setattr__(self, name: str, value: str) -> None:
        """Set a field; ValueError for a cloud id or key of another length."""
        if name in ("cloud_id", "cloud_key") and len(value) not in (0, CLOUD_KEY_LEN):
            raise ValueError(f"{name} must be {CLOUD_KEY_LEN} characters long")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return type(self).__name__  # no secret is ever printed


Credentials.Credentials = Credentials


def fields(credentials: object) -> dict[str, str]:
    """Return the fields of ``credentials``, a dictionary or an object, without empty ones."""
    if credentials is None:
        return {}
    if isinstance(credentials, Mapping):
        found: Mapping[Any, Any] = credentials
    else:
        found = {name: getattr(credentials, name, None) for name in FIELDS}
    if not any(name in found for name in FIELDS) and found:
        raise AuthenticationError(f"credentials: give a dictionary with {', '.join(FIELDS)}")
    return {name: str(found[name]) for name in FIELDS if found.get(name)}


def kind(credentials: object, wanted: str | None, *, sim: bool) -> str:
    """Return ``csrpsk`` or ``totp``: the ``wanted`` one, or the one that the credentials are made for.

    ``sim`` is whether there is a modem, whose SIM is used without any credentials, as by the released SDK
    [hologram-python 0.10]. Raises `HologramError` for any other name.
    """
    if wanted is not None:
        if wanted not in AUTHENTICATION_TYPES:
            raise HologramError(
                f"Invalid authentication type: {wanted}; allowed is {' or '.join(AUTHENTICATION_TYPES)}"
            )
        return wanted
    given = fields(credentials)
    if "devicekey" in given or "cloud_id" in given or "cloud_key" in given:
        return "csrpsk"
    return "totp" if sim or "device_id" in given or "private_key" in given else "csrpsk"


def is_text(text: str) -> bool:
    """Return whether ``text`` is valid UTF-8; text decoded from other bytes is not [PEP 383]."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def read(credentials: object, kind_: str, sim: tuple[str | None, str | None] = (None, None)) -> Ours:
    """Return the credentials for the cloud; ``sim`` is the SIM's ICCID and IMSI, None while unknown.

    Raises `AuthenticationError` if they are missing or malformed.
    """
    given = fields(credentials)
    for name, value in given.items():
        if not is_text(value):
            raise AuthenticationError(f"{name}: it is not UTF-8")
    if kind_ == "totp":
        device_id, private_key = given.get("device_id") or sim[0], given.get("private_key") or sim[1]
        if not device_id or not private_key:
            raise AuthenticationError("Unable to fetch device id or private key for TOTP authentication")
        if not private_key.isascii():
            raise AuthenticationError("private_key: give the SIM's IMSI, digits alone")
        return Totp(device_id, private_key)
    if key := given.get("devicekey"):
        if len(key) != DEVICE_KEY_LEN:
            raise AuthenticationError(f"Device key must be {DEVICE_KEY_LEN} characters long")
        return DeviceKey(key)
    cloud_id, cloud_key = given.get("cloud_id", ""), given.get("cloud_key", "")
    if not cloud_id and not cloud_key:
        raise AuthenticationError("Must set devicekey, or cloud_id and cloud_key, to use HologramCloud")
    if len(cloud_id) != CLOUD_KEY_LEN or len(cloud_key) != CLOUD_KEY_LEN:
        raise AuthenticationError(f"cloud_id and cloud_key must be {CLOUD_KEY_LEN} characters long each")
    return LegacyKey(cloud_id, cloud_key)


class Authentication:
    """A cloud object's ``credentials`` with their ``type``, csrpsk or totp."""

    def __init__(self, credentials: object, type: str = "csrpsk") -> None:  # noqa: A002  # documented word
        self.credentials = credentials
        self.type = type

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.type})"

"""A call by pppd and chat: its values, and the command line made of them.

Source: pppd(8) and chat(8) of ppp 2.4.9 (Debian bookworm).
"""

import itertools
import re
import shlex
from typing import Literal, NamedTuple

from bridge.errors import LinkError

LINK_NAME = "hologram-bridge"
"""The logical name of our link [pppd(8), linkname]: its pid file is ``/run/ppp-hologram-bridge.pid``."""

OWNER = "HOLOGRAM_BRIDGE_PID"
"""The variable in pppd's arguments that names its parent process [pppd(8), set]."""

DIAL_SCRIPTS = {
    "cellular-nova-r410": "chat-lte",
    "cellular-bg96": "chat-lte",
    "cellular-ec21": "chat-lte",
}
"""The chat script of each interface; the others use `DEFAULT_SCRIPT`."""

DEFAULT_SCRIPT = "chat-3g"


Scope = Literal["system", "hologram", "bridge", "backup"]
"""The traffic of the link: everything, or only Hologram's own networks, and with the last two what is bound
to its interface: the bridge's messages."""

BOUND: tuple[Scope, ...] = ("bridge", "backup")
"""Scopes in which sockets are bound to the link's interface."""

NO_SCRIPT = "/bin/true"
"""What runs in place of ``/etc/ppp/ip-up`` and ``ip-down`` [pppd(8), ip-up-script]: their scripts tell other
programs that there is a way out, and Debian's usepeerdns writes the link's name servers to resolv.conf."""


class Dial(NamedTuple):
    """The parameters of one call. ``timeout`` is in seconds, from the call to the addresses."""

    port: str
    chat: str
    """Path of the chat script, in which ``\\T`` is the APN and ``\\U`` the dial command."""
    apn: str = "hologram"
    command: str = "ATDT*99***1#"
    """The dial command [3GPP TS 27.007, section 10.2.1.1]."""
    baud: int = 115200
    user: str | None = None
    password: str | None = None
    scope: Scope = "system"
    timeout: float = 200.0

    def __repr__(self) -> str:
        """Show all fields but the user and the password."""
        return f"Dial({self.port!r}, apn={self.apn!r}, scope={self.scope!r}, timeout={self.timeout:g})"


class Check(NamedTuple):
    """The form that a value of `Dial` must have before a root process acts on it."""

    field: str
    pattern: re.Pattern[str]
    allowed: str


_CHECKS = (
    Check("port", re.compile(r"/dev/[A-Za-z0-9/]+"), "a serial port, itself and not a link to it"),
    Check("apn", re.compile(r"[A-Za-z0-9.-]{1,100}"), "1 to 100 letters, digits, dots and hyphens"),
    Check("command", re.compile(r"ATDT?[0-9*#]{1,40}"), "ATD or ATDT, digits, * and #"),
    Check("chat", re.compile(r"/[^\x00-\x1f\x7f]+"), "the path of a chat script"),
    Check("scope", re.compile(r"system|hologram|bridge|backup"), "system, hologram, bridge or backup"),
)


def check(dial: Dial) -> None:
    """Raise `LinkError` for values that must not reach the shell that pppd's connect option starts."""
    for field, pattern, allowed in _CHECKS:
        value = str(getattr(dial, field))
        if not pattern.fullmatch(value) or ".." in value.split("/"):
            raise LinkError(f"{field}: {value!r} is not allowed; {allowed}")
    for field in ("user", "password"):
        secret = getattr(dial, field)
        if secret is not None and not (secret.isprintable() and 0 < len(secret) <= 255):
            raise LinkError(f"ppp_{field}: 1 to 255 characters on one line are allowed")


def connect_command(dial: Dial, chat: str) -> str:
    """Return the shell command that dials; ``chat`` is the program.

    chat logs only to standard error (``-s -S``), which pppd joins with its own log.
    """
    return shlex.join([chat, "-v", "-s", "-S", "-T", dial.apn, "-U", dial.command, "-f", dial.chat])


def arguments(dial: Dial, *, chat: str, options: str, owner: int, secrets: str | None) -> list[str]:
    """Return pppd's arguments; ``options`` and ``secrets`` are paths, ``owner`` is the parent process.

    pppd sets no route: it keeps a replaced one only in its memory, and a killed pppd loses it. Our routes
    belong to the interface and vanish with it.
    """
    dns = ["usepeerdns"] if dial.scope in ("system", *BOUND) else []
    scripts = ["ip-up-script", NO_SCRIPT, "ip-down-script", NO_SCRIPT] if dial.scope in BOUND else []
    return [
        *(dial.port, str(dial.baud)),
        *("file", options),
        *("linkname", LINK_NAME, "ipparam", LINK_NAME, "set", f"{OWNER}={owner}"),
        *("nodetach", "nopersist", "noauth", "nodefaultroute", *dns, *scripts),
        *("connect", connect_command(dial, chat)),
        *(("file", secrets) if secrets else ()),
    ]


def secret_options(dial: Dial) -> bytes | None:
    """Return an options file of the secrets that must not be in pppd's arguments; None if there are none."""
    given = {"user": dial.user, "password": dial.password}
    lines = [f"{name} {_quoted(value)}\n" for name, value in given.items() if value]
    return "".join(lines).encode() or None


def _quoted(word: str) -> str:
    """Quote ``word`` for an options file [pppd(8), OPTIONS FILES]."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Ours(NamedTuple):
    """A running pppd that carries our mark."""

    owner: int
    """Process id of the parent that started it."""


def ours(cmdline: bytes) -> Ours | None:
    """Return the owner of a process with the arguments ``cmdline``, if it is a pppd for our link.

    ``cmdline`` is as in ``/proc/PID/cmdline``: each argument followed by a zero byte [proc(5)].
    """
    words = cmdline.decode(errors="replace").split("\0")
    pairs = set(itertools.pairwise(words))
    owner = next((word.partition("=")[2] for word in words if word.startswith(f"{OWNER}=")), "")
    if ("linkname", LINK_NAME) in pairs and owner.isdecimal() and owner.isascii():
        return Ours(int(owner))
    return None

"""AT commands by a script's hand, and how they end [hologram-python 0.10, ``Modem`` and ``UtilClasses``]."""
# ruff: noqa: N802  # the documented names

from typing import Any

from bridge.adapters.modem.at_port import Answer
from bridge.errors import AtRefused, BridgeError, ModemSilent
from bridge.sdk.engine.errors import of_bridge
from bridge.sdk.engine.modem_session import Session
from bridge.sdk.engine.runtime import runtime

DEFAULT_WAIT = 10.0
"""Seconds for an answer."""

MODEM_NO_MATCH, MODEM_ERROR, MODEM_TIMEOUT, MODEM_OK = -3, -2, -1, 0

_RESULTS = {
    MODEM_NO_MATCH: "Modem response doesn't match expected return value",
    MODEM_ERROR: "Modem error",
    MODEM_TIMEOUT: "Modem timeout",
    MODEM_OK: "Modem returned OK",
}


class ModemResult:
    """How an AT command ended."""

    Invalid = "Invalid"
    NoMatch = "NoMatch"
    Error = "Error"
    Timeout = "Timeout"
    OK = "OK"


class AtCommands:
    """Gives AT commands to the modem of a `session`."""

    @property
    def session(self) -> Session:
        """The opened modem."""
        raise NotImplementedError

    def _ask(self, text: str, timeout: float = DEFAULT_WAIT, prompt: bytes | None = None) -> Answer:
        """Give the command ``text``; raises `BridgeError`."""
        session = self.session

        async def ask() -> Answer:
            if prompt is None:
                return await session.modem_to_ask().at(text, timeout)
            return await session.modem_to_ask().port.command(text, timeout=timeout, prompt=prompt)

        return runtime().wait(ask())

    def command(
        self,
        cmd: str = "",
        value: object = None,
        expected: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        seteq: bool = False,
        read: bool = False,
        prompt: bytes | None = None,
        data: str | bytes | None = None,
        hide: bool = False,  # noqa: ARG002  # documented; secrets are hidden as they are
        commit_cmd: bytes | None = None,
    ) -> tuple[str, Any]:
        """Give an AT command without its AT; return how it ended (`ModemResult`) and the lines it brought.

        A single line of a good answer stands for itself, all else is a list. ``expected`` is what a line
        begins with, left out where the lines need not be checked. ``data`` and ``commit_cmd`` go out after
        the modem's ``prompt``; such a command is not tried again.

        Raises:
            HologramError: no modem is there, or it cannot be asked now.

        """
        if value is not None and (read or cmd.endswith("?")):
            return ModemResult.Invalid, []
        ending = f"={value}" if value is not None else "=" * seteq + "?" * read
        after = None if prompt is None or data is None else _bytes(data) + (commit_cmd or b"")
        for more in range(retries if after is None else 0, -1, -1):
            result, lines = self._try(f"AT{cmd}{ending}", timeout or DEFAULT_WAIT, after)
            if result is ModemResult.OK or not more:
                break
        if result is ModemResult.OK and expected and not any(line.startswith(expected) for line in lines):
            result = ModemResult.NoMatch
        return result, lines[0] if result is ModemResult.OK and len(lines) == 1 else lines

    def _try(self, text: str, timeout: float, after: bytes | None) -> tuple[str, list[str]]:
        try:
            return ModemResult.OK, list(self._ask(text, timeout, after).lines)
        except AtRefused as exc:
            return ModemResult.Error, [exc.final] if exc.final.startswith("+CM") else []
        except ModemSilent:
            return ModemResult.Timeout, []
        except BridgeError as exc:
            raise of_bridge(exc) from exc

    def read(
        self, cmd: str, expected: str | None = None, timeout: float | None = None, retries: int = 0
    ) -> tuple[str, Any]:
        """Ask for a value, as ``AT+CSQ?`` does; see `command`."""
        return self.command(cmd, None, expected, timeout, retries, read=True)

    def set(
        self,
        cmd: str,
        value: object,
        expected: str | None = None,
        timeout: float | None = None,
        retries: int = 0,
        prompt: bytes | None = None,
        data: str | bytes | None = None,
    ) -> tuple[str, Any]:
        """Set a value, as ``AT+CFUN=1`` does; see `command`."""
        return self.command(cmd, value, expected, timeout, retries, prompt=prompt, data=data)

    def test(
        self, cmd: str, expected: str | None = None, timeout: float | None = None, retries: int = 0
    ) -> tuple[str, Any]:
        """Ask for the values there are, as ``AT+CFUN=?`` does; see `command`."""
        return self.command(cmd, None, expected, timeout, retries, seteq=True, read=True)

    def check_registered(self, cmd: str) -> bool:
        """Return whether ``+CREG``, ``+CGREG`` or ``+CEREG`` says that the modem is in a network."""
        result, line = self.read(cmd)
        fields = str(line).partition(":")[2].split(",")
        return result is ModemResult.OK and len(fields) > 1 and fields[1].strip() in ("1", "5")

    def checkURC(self, hide: bool = False) -> None:
        """Kept for scripts that call it: what the modem says by itself is read as it comes."""

    def getResultString(self, result_code: int) -> str:
        """Return what a result of release 0.5 means."""
        return _RESULTS.get(result_code, "Unknown response code")


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data

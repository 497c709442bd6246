"""AT commands of scripts, and their results [hologram-python 0.10, ``Modem`` and ``UtilClasses``]."""
# ruff: noqa: N802  # the documented names

from typing import Any

from bridge.adapters.modem.at_port import Answer
from bridge.errors import AtRefused, BridgeError, ModemSilent
from bridge.sdk.engine.errors import of_bridge
from bridge.sdk.engine.modem_session import Session
from bridge.sdk.engine.runtime import runtime

DEFAULT_WAIT = 10.0
"""Default seconds to wait for an answer."""

MODEM_NO_MATCH, MODEM_ERROR, MODEM_TIMEOUT, MODEM_OK = -3, -2, -1, 0

_RESULTS = {
    MODEM_NO_MATCH: "Modem response doesn't match expected return value",
    MODEM_ERROR: "Modem error",
    MODEM_TIMEOUT: "Modem timeout",
    MODEM_OK: "Modem returned OK",
}


class ModemResult:
    """The result of an AT command."""

    Invalid = "Invalid"
    NoMatch = "NoMatch"
    Error = "Error"
    Timeout = "Timeout"
    OK = "OK"


class AtCommands:
    """Sends AT commands to the modem of a `session`."""

    @property
    def session(self) -> Session:
        """The opened modem."""
        raise NotImplementedError

    def _ask(self, text: str, timeout: float = DEFAULT_WAIT, prompt: bytes | None = None) -> Answer:
        """Send the command ``text``; raises `BridgeError`."""
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
        """Send an AT command, given without AT; return its result (`ModemResult`) and the answer's lines.

        A single line of a good answer is returned as a string, all else as a list. ``expected`` is the
        required prefix of a line; without it the lines are not checked. ``data`` and ``commit_cmd`` are sent
        after the modem's ``prompt``; such a command is not repeated.

        Raises:
            HologramError: there is no modem, or it cannot take a command now.

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
        """Read a value, as ``AT+CSQ?`` does; see `command`."""
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
        """Read the possible values, as ``AT+CFUN=?`` does; see `command`."""
        return self.command(cmd, None, expected, timeout, retries, seteq=True, read=True)

    def check_registered(self, cmd: str) -> bool:
        """Return whether the modem is registered, by ``+CREG``, ``+CGREG`` or ``+CEREG``."""
        result, line = self.read(cmd)
        fields = str(line).partition(":")[2].split(",")
        return result is ModemResult.OK and len(fields) > 1 and fields[1].strip() in ("1", "5")

    def checkURC(self, hide: bool = False) -> None:
        """Do nothing; kept for scripts that call it, because unsolicited codes are read as they arrive."""

    def getResultString(self, result_code: int) -> str:
        """Return the description of a result of release 0.5."""
        return _RESULTS.get(result_code, "Unknown response code")


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data

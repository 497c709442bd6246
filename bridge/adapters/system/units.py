"""Units of systemd's that do what needs root: whether one is installed, and starting it.

polkit lets the bridge's user start the listed ones [config/polkit].
"""

import asyncio
import shutil
import subprocess
from pathlib import Path

from bridge.adapters.system.threads import in_thread
from bridge.errors import OperationError

UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))


def available(name: str, folders: tuple[Path, ...] = UNIT_FOLDERS) -> str | None:
    """Return why the unit with the file ``name`` cannot be used here, or None if it can."""
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").exists():
        return "systemd does not run here"
    if not any((folder / name).exists() for folder in folders):
        return f"{name} is not installed: sudo make install"
    return None


async def start(
    loop: asyncio.AbstractEventLoop, unit: str, *, program: str = "systemctl", timeout: float
) -> None:
    """Start ``unit``, and wait up to ``timeout`` seconds until its program has ended well.

    Raises:
        OperationError: it could not be started, or its program failed; the text says why.

    """
    code, said = await _systemctl(loop, program, timeout, "start", unit)
    if code == 0:
        return
    if "uthenti" in said or "denied" in said:
        raise OperationError(f"the bridge may not start {unit}: its polkit rule is missing ({said})")
    raise OperationError(f"{said or f'{unit} failed'}; journalctl -u {unit} says why")


async def _systemctl(
    loop: asyncio.AbstractEventLoop, program: str, timeout: float, *words: str
) -> tuple[int, str]:
    command = [program, "--no-ask-password", *words]

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603  our own words
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout
        )

    try:
        done = await in_thread(loop, run)
    except subprocess.TimeoutExpired:
        raise OperationError(f"{words[-1]} was not done within {timeout:g} s") from None
    except OSError as exc:
        raise OperationError(f"{program} could not be run: {exc.strerror or exc}") from exc
    return done.returncode, next(iter(done.stderr.strip().splitlines()), "")

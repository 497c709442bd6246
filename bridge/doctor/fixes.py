"""Commands that fix findings, in a form that can be typed unchanged."""

import re
from pathlib import Path

SHIPPED = (Path("/usr/share/hologram-bridge"), Path(__file__).parents[2] / "config")
"""Folders of the examples: installed, or in the source tree."""

_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]+\.service")


def shipped(name: str) -> Path:
    """Return the path of an example such as ``mosquitto/hologram-bridge.conf``."""
    return next((folder / name for folder in SHIPPED if (folder / name).exists()), SHIPPED[0] / name)


def stop(pid: int, proc: Path) -> str:
    """Return the command that ends a process: of its service, which would restart it, or of itself.

    The service is the last part of its control group's path that ends in ``.service``
    [systemd.special(7), proc(5) /proc/PID/cgroup].
    """
    try:
        places = (proc / str(pid) / "cgroup").read_text(errors="replace").splitlines()
    except OSError:
        places = []
    for part in reversed([part for place in places for part in place.rpartition(":")[2].split("/")]):
        if _UNIT.fullmatch(part) and not part.startswith("user@"):
            return f"sudo systemctl stop {part}"
    return f"sudo kill {pid}"


def as_the_service(environment: Path) -> str:
    """Return the command that runs the doctor with the service's own ``environment`` file."""
    run = f"sudo systemd-run --quiet --pipe --wait -p EnvironmentFile={environment}"
    return f"{run} hologram-bridge doctor"

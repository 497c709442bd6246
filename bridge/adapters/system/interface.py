"""The counters of a network interface [linux: Documentation/ABI/testing/sysfs-class-net-statistics]."""

from pathlib import Path

from bridge.core.budget import Reading

SYSFS = Path("/sys/class/net")


def counters(interface: str, boot: str, *, sysfs: Path = SYSFS) -> Reading | None:
    """Return the bytes that ``interface`` has carried since it came up; None where there is none.

    One that comes up again has another index, and an index counts within its ``boot``.
    """
    folder = sysfs / interface
    try:
        index = (folder / "ifindex").read_text().strip()
        received, sent = (int((folder / "statistics" / f"{way}_bytes").read_text()) for way in ("rx", "tx"))
    except (OSError, ValueError):
        return None
    return Reading(f"{boot} {interface} {index}", received, sent)

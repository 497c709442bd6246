"""What may stand in a file's place: opening a named pipe would wait for ever, a device does what it wants."""

import stat

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def other_kind(mode: int) -> str | None:
    """Return what a mode of `stat` says that something is if not a file; None for a file."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)

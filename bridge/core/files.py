"""Kinds of files other than plain ones: opening a named pipe blocks for ever, a device may do anything."""

import stat

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def other_kind(mode: int) -> str | None:
    """Return the kind of a file by its `stat` mode, such as ``a folder``; None for a regular file."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)

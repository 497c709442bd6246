"""The files of the overrides, beside the store: whole or not there, whatever happens while they are written.

``outbox.db.overrides`` has the overrides. ``outbox.db.apn`` has the APN alone, for ``hologram-ppp.service``:
it runs as root, and takes nothing else that the bridge has written.
"""

import contextlib
import os
import re
import stat
import time
from pathlib import Path

from bridge.settings.overrides import Moment, Overrides, parse, write

SIZE = 64 * 1024
"""Bytes of the file at most; one with all keys has 8 kB."""

_APN = re.compile(rb"[A-Za-z0-9.-]{1,100}")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def moment() -> Moment:
    """Return the present moment [proc(5), boot_id; clock_gettime(2), CLOCK_BOOTTIME]."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Moment(boot, time.clock_gettime(time.CLOCK_BOOTTIME))


class OverrideFile:
    """The files beside a store; they have one writer, the daemon that holds the store."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".overrides")
        self.aside = store.with_name(store.name + ".overrides.aside")
        self._apn = apn_file(store)

    def read(self) -> Overrides:
        """Return the overrides, none where there is no file.

        Raises:
            OSError: the file cannot be read.
            ValueError: its content is not what `write` wrote; the text says why.

        """
        try:
            content = _read(self.path, SIZE + 1)
        except FileNotFoundError:
            return Overrides()
        if len(content) > SIZE:
            raise ValueError(f"it is larger than {SIZE} bytes")
        return parse(content)

    def write(self, overrides: Overrides) -> None:
        """Replace the overrides durably; raises OSError, and the file is as it was before."""
        if overrides == Overrides():
            _remove(self.path)
        else:
            _replace(self.path, write(overrides))

    def set_aside(self) -> None:
        """Take the overrides out of force, and keep them for a person to look at; raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self.path.replace(self.aside)
            _sync(self.path.parent)

    def clear(self) -> str:
        """Remove all overrides, those set aside too; return what happened, in words. Raises OSError."""
        there = [path for path in (self.path, self.aside) if os.path.lexists(path)]
        for path in (self.path, self.aside, self._apn):
            _remove(path)
        return "what was changed from afar is removed" if there else "nothing was changed from afar"

    def note_apn(self, apn: str | None) -> None:
        """Tell the unit that dials the APN, None: that of the configuration; raises OSError."""
        if apn is None:
            _remove(self._apn)
        elif _known(self._apn) != apn.encode():
            _replace(self._apn, apn.encode())


def apn_file(store: Path) -> Path:
    """Return the file with the APN for the unit that dials."""
    return store.with_name(store.name + ".apn")


def read_apn(path: Path) -> str | None:
    """Return the APN in the file at ``path``, None where there is none; for a process of root's.

    The bridge's user can write there whatever it likes. So no link is followed, nothing but a file is read,
    nobody's but that user's, and nothing but an APN is taken.

    Raises:
        ValueError: it is no such file; the text is one line that names it.

    """
    try:
        content = _read(path, 102, owner=path.parent.stat().st_uid)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ValueError(f"{path}: {exc.strerror}") from None
    content = content.removesuffix(b"\n")
    if not _APN.fullmatch(content):
        raise ValueError(f"{path}: holds no APN; allowed is 1 to 100 letters, digits, dots and hyphens")
    return content.decode("ascii")


def _read(path: Path, most: int, *, owner: int | None = None) -> bytes:
    """Return the first bytes of a file, without following a link at its end; ``owner`` has to be its own."""
    with os.fdopen(os.open(path, _READ), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "is not a file")
        if owner is not None and found.st_uid != owner:
            raise OSError(0, "belongs to another user than its folder")
        return file.read(most)


def _known(path: Path) -> bytes | None:
    try:
        return _read(path, 102)
    except OSError:
        return None


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(new, _NEW, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o640)  # whatever the umask: the folder's group may look at it
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

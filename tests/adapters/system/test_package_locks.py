"""The locks of apt and dpkg, held by other processes on real files."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.adapters.system.package_locks import LOCKS, kept_out
from bridge.errors import OperationError

LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.{call}(file, fcntl.LOCK_EX{more})
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path, call: str = "lockf", more: str = "") -> Iterator[subprocess.Popen[str]]:
    """Have a process hold a lock on ``path`` as apt and dpkg do."""
    command = [sys.executable, "-c", LOCK.format(call=call, more=more), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


@pytest.fixture
def locks(tmp_path: Path) -> tuple[Path, ...]:
    """The files of a system on which apt has run; one was never used."""
    found = tuple(tmp_path / str(number) for number in range(4))
    for path in found[:3]:
        path.touch()
    return found


def test_files_that_nobody_has_locked_say_nothing(locks: tuple[Path, ...]) -> None:
    """They stay where they are, and a system without dpkg has none."""
    with kept_out(locks):
        pass
    with kept_out(locks[3:]):
        pass


@pytest.mark.parametrize("number", range(3))
def test_each_lock_that_is_held_refuses(locks: tuple[Path, ...], number: int) -> None:
    """With its name; once its holder is gone, killed or not, it refuses no more."""
    with locked(locks[number]) as holder:
        with (
            pytest.raises(OperationError, match=f"apt or dpkg is at work: .*/{number} is locked"),
            kept_out(locks),
        ):
            pass
        holder.kill()
        holder.wait(10)
        with kept_out(locks):
            pass


def test_nobody_takes_one_meanwhile(locks: tuple[Path, ...]) -> None:
    """Apt finds them taken."""
    with kept_out(locks):
        command = [sys.executable, "-c", LOCK.format(call="lockf", more=" | fcntl.LOCK_NB"), str(locks[0])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert "BlockingIOError" in done.stderr
    with locked(locks[0]):
        pass


def test_a_link_in_the_place_of_a_lock_is_not_followed(locks: tuple[Path, ...], tmp_path: Path) -> None:
    """It is refused, in one line."""
    link = tmp_path / "link"
    link.symlink_to(locks[0])
    with pytest.raises(OperationError, match="cannot be looked at"), kept_out((link,)):
        pass


def test_the_locks_are_those_of_apt_and_dpkg() -> None:
    """The frontend's lock is the one that apt holds all the time."""
    assert {str(path) for path in LOCKS} >= {
        "/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock",
    }  # fmt: skip

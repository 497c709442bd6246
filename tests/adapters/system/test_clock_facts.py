"""What the box tells about its clock, read from files as Linux lays them out."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from bridge.adapters.system.clock_facts import (
    STA_UNSYNC,
    _Timex,
    has_hardware_clock,
    has_time_service,
    is_synchronised,
    read_facts,
)
from bridge.core.known_time import PLAUSIBLE


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_this_box_tells_something() -> None:
    """The kernel is asked without a right, and the answer agrees with ntp_gettime(3)'s."""
    read_facts()
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        assert ctypes.get_errno() in (errno.EPERM, errno.ENOSYS), os.strerror(ctypes.get_errno())
    assert is_synchronised() is (state >= 0 and not timex.status & STA_UNSYNC)


@pytest.mark.parametrize(
    ("holds", "there"),
    [
        (f"{PLAUSIBLE:.0f}\n", True),
        ("1900000000\n", True),
        ("0\n", False),
        ("946684800\n", False),
        ("", False),
    ],
)
def test_a_hardware_clock_counts_where_it_holds_the_time(tmp_path: Path, holds: str, there: bool) -> None:
    """One without a battery begins at 1970 or 2000, or cannot be read."""
    assert not has_hardware_clock(tmp_path)
    put(tmp_path / "sys/class/rtc/rtc0/since_epoch", holds)
    put(tmp_path / "dev/rtc0", "")
    assert has_hardware_clock(tmp_path) is there
    put(tmp_path / "sys/class/rtc/rtc1/since_epoch", "1900000000\n")
    assert has_hardware_clock(tmp_path), "one of two is enough"


def test_a_hardware_clock_that_only_dev_shows_counts(tmp_path: Path) -> None:
    """Without sysfs nothing more can be known of it."""
    put(tmp_path / "dev/rtc", "")
    assert has_hardware_clock(tmp_path)


def test_a_clock_that_the_kernel_refuses_to_read_does_not_count(tmp_path: Path) -> None:
    """It answers EINVAL after the battery was empty; a folder in its place fails too."""
    (tmp_path / "sys/class/rtc/rtc0/since_epoch").mkdir(parents=True)
    assert not has_hardware_clock(tmp_path)


@pytest.mark.parametrize("name", ["systemd-timesyncd", "chrony", "ntpsec"])
@pytest.mark.parametrize("folder", ["sys/fs/cgroup", "sys/fs/cgroup/systemd"])
def test_a_unit_that_runs_is_a_time_service(tmp_path: Path, folder: str, name: str) -> None:
    """Its control group is there as long as it runs, in either version of the groups."""
    (tmp_path / folder / "system.slice/ssh.service").mkdir(parents=True)
    assert not has_time_service(tmp_path)
    (tmp_path / folder / f"system.slice/{name}.service").mkdir()
    assert has_time_service(tmp_path)


@pytest.mark.parametrize("name", ["systemd-timesyn", "chronyd", "ntpd"])
def test_a_process_is_a_time_service(tmp_path: Path, name: str) -> None:
    """Where no systemd runs, the process tells."""
    put(tmp_path / "proc/12/comm", "bash\n")
    put(tmp_path / "proc/self/comm", f"{name}\n")  # not a number
    (tmp_path / "proc/13").mkdir()  # it ended while it was looked at
    assert not has_time_service(tmp_path)
    put(tmp_path / "proc/14/comm", f"{name}\n")
    assert has_time_service(tmp_path)

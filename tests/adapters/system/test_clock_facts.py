"""What the box tells about its clock, read from files as Linux lays them out."""

import asyncio
import ctypes
import errno
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.adapters.system.clock_facts import (
    STA_UNSYNC,
    SYNCHRONISED,
    ClockSource,
    _Timex,
    ask_kernel,
    ask_service,
    has_hardware_clock,
    has_time_service,
)
from bridge.core.known_time import PLAUSIBLE
from tests.harness import eventually

TIMEDATED = "/lib/systemd/systemd-timedated"
BUS = """<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*"/><allow receive_type="*"/></policy></busconfig>"""

PROTECTED = """
import ctypes, platform, struct, sys
from bridge.adapters.system.clock_facts import ask_kernel
x86 = platform.machine() == "x86_64"
load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
adjtimex, clock_adjtime = (159, 305) if x86 else (171, 266)
steps = [(load, 0, 0, 0), (equal, 2, 0, adjtimex), (equal, 1, 0, clock_adjtime), (give, 0, 0, 0x7FFF0000),
         (give, 0, 0, 0x00050001)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
print(ask_kernel())
"""
"""Asks under the filter that ``ProtectClock=yes`` sets: EPERM for both calls [seccomp(2)]."""


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_kernels_word_is_that_of_adjtimex() -> None:
    """It is asked without a right; where it may not be, nobody knows."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        assert ctypes.get_errno() in (errno.EPERM, errno.ENOSYS), os.strerror(ctypes.get_errno())
        assert ask_kernel() is None
    else:
        assert ask_kernel() is (not timex.status & STA_UNSYNC)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the numbers of the calls differ")
def test_under_the_shipped_unit_the_kernel_does_not_answer() -> None:
    """Which is no word that the clock is wrong: the others are asked then."""
    done = subprocess.run([sys.executable, "-c", PROTECTED], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def refused() -> None:
    """Stands for a kernel that may not be asked."""


def other(folder: Path, says: str, code: int = 0) -> str:
    """Return a program that answers as busctl does, and notes each question in a file."""
    program = folder / "busctl"
    program.write_text(f"#!/bin/sh\necho \"$*\" >> {folder}/asked\necho '{says}'\nexit {code}\n")
    program.chmod(0o755)
    return str(program)


def asked(folder: Path) -> list[str]:
    """Return the questions that a program of `other` got."""
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


def test_timesyncds_file_tells_where_the_kernel_may_not_be_asked(tmp_path: Path) -> None:
    """No process is needed for it; without it, and without an answer, the clock is not synchronised."""

    async def run() -> None:
        source = ClockSource(
            asyncio.get_running_loop(), tmp_path, kernel=refused, program=other(tmp_path, "b true")
        )
        assert not source.read().synchronised
        put(tmp_path / SYNCHRONISED, "")
        assert source.read().synchronised

    asyncio.run(run())
    assert asked(tmp_path) == [], "without a time service the answer decides nothing"


@pytest.mark.parametrize(
    ("says", "code", "right"), [("b true", 0, True), ("b false", 0, False), ("b true", 1, False)]
)
def test_timedated_tells_for_the_other_services(tmp_path: Path, says: str, code: int, right: bool) -> None:
    """Its answer counts at a later look, so that none waits for it; it is not asked at each look."""
    put(tmp_path / "proc/14/comm", "chronyd\n")

    async def run() -> None:
        source = ClockSource(
            asyncio.get_running_loop(), tmp_path, kernel=refused, program=other(tmp_path, says, code)
        )
        assert not source.read().synchronised
        while not asked(tmp_path) or source.read().synchronised is not right:
            await asyncio.sleep(0.01)
        for _ in range(10):
            assert source.read().synchronised is right

    asyncio.run(asyncio.wait_for(run(), 20))
    place = "org.freedesktop.timedate1 /org/freedesktop/timedate1 org.freedesktop.timedate1"
    assert asked(tmp_path) == [f"--system get-property {place} NTPSynchronized"]


def test_a_box_without_the_program_has_no_answer(tmp_path: Path) -> None:
    """It is no failure."""
    assert not ask_service(str(tmp_path / "none"))


@pytest.fixture
def timedated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A real systemd-timedated on a bus of its own."""
    path = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(BUS.format(path=path))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
    with subprocess.Popen(
        ["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--nopidfile"]
    ) as bus:
        eventually(path.exists)
        with subprocess.Popen([TIMEDATED]) as daemon:
            yield
            daemon.terminate()
        bus.terminate()


@pytest.mark.skipif(not os.access(TIMEDATED, os.X_OK), reason="there is no systemd-timedated here")
@pytest.mark.skipif(os.geteuid() != 0, reason="it takes its name on the bus as root alone")
@pytest.mark.usefixtures("timedated")
def test_a_real_timedated_agrees_with_the_kernel() -> None:
    """It passes on what adjtimex says [systemd, ntp_synced]."""
    eventually(lambda: ask_service() is bool(ask_kernel()))
    command = ["busctl", "--system", "status", "org.freedesktop.timedate1"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0, "it was asked"


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

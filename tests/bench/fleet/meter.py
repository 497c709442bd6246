"""Processor time and memory of processes that come and go, and of the machine."""

import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.harness.process import Process

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Used(NamedTuple):
    """What was used while a meter ran."""

    processor: dict[str, float]
    """Seconds of processor time of each part."""
    memory: dict[str, int]
    """Bytes of the largest process of each part."""
    busy: float
    """The share of the machine's processor time that anybody used."""


class Meter:
    """Samples each process a few times a second, so that little is missing of one that was killed."""

    def __init__(self, parts: dict[str, Sequence[Process]]) -> None:
        self._parts = parts
        self._seconds: dict[int, float] = {}
        self._names: dict[int, str] = {}
        self._memory: dict[str, int] = defaultdict(int)
        self._machine = _machine()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self._sample()

    def _sample(self) -> None:
        for name, processes in self._parts.items():
            for each in processes:
                if each.popen is not None:
                    with contextlib.suppress(OSError, IndexError):
                        self._look(name, each.popen.pid)

    def _look(self, name: str, pid: int) -> None:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        self._seconds[pid] = (int(fields[11]) + int(fields[12])) / _TICKS  # [proc(5), utime and stime]
        self._names[pid] = name
        self._memory[name] = max(self._memory[name], int(fields[21]) * _PAGE)

    def close(self) -> Used:
        """End; return what was used."""
        self._stop.set()
        self._thread.join()
        self._sample()
        total: dict[str, float] = defaultdict(float)
        for pid, seconds in self._seconds.items():
            total[self._names[pid]] += seconds
        idle, ticks = (now - before for now, before in zip(_machine(), self._machine, strict=True))
        return Used(dict(total), dict(self._memory), 1 - idle / max(1, ticks))


def _machine() -> tuple[int, int]:
    """Return the machine's idle ticks and all its ticks [proc(5), /proc/stat]."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)

"""Scripts as people have them: a file of Python, run as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.harness import Keeper, Process, free_port
from tests.harness.process import ROOT

ALONE = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Switches loopback on, which is off in a new network namespace, and becomes its arguments."""


class Scripts:
    """Writes scripts into ``folder`` and runs them; their outboxes are beside them."""

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.inbound = free_port()
        """Where a `HologramCloud` of a script takes messages."""
        self.wrap: Sequence[str] = ()
        """A command before each script's own, as for a disk of its own."""
        self._keeper = keeper
        self.env = {
            "PYTHONPATH": str(ROOT),
            "HOLOGRAM_SDK_INBOUND": f"127.0.0.1:{self.inbound}",
            # A name that is not redirected must not get out of this machine.
            "HOLOGRAM_SDK_CLOUD": "127.0.0.1:9",
        }

    def cloud(self, port: int) -> None:
        """Let the Hologram cloud of the scripts be on a port of this machine."""
        self.env["HOLOGRAM_SDK_CLOUD"] = f"127.0.0.1:{port}"

    def modem(self, at: Path) -> None:
        """Let the scripts' modem be behind this port."""
        self.env["HOLOGRAM_SDK_MODEM"] = str(at)

    def write(self, text: str, name: str = "script") -> Path:
        """Return the file that holds ``text``."""
        path = self.folder / f"{name}.py"
        path.write_text(text)
        return path

    def run(
        self,
        script: str | Path,
        *words: str,
        timeout: float = 60.0,
        check: bool = True,
        alone: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; one that fails fails the test.

        ``alone`` gives it a network of its own, in which every port is free.
        """
        path = script if isinstance(script, Path) else self.write(script)
        namespace = "-n" if os.geteuid() == 0 else "-rn"
        first = ["unshare", namespace, sys.executable, "-c", ALONE] if alone else []
        done = subprocess.run(
            [*self.wrap, *first, sys.executable, str(path), *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, **self.env},
            timeout=timeout,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, script: str | Path, *words: str, name: str = "script") -> Process:
        """Start a script and let it run."""
        path = script if isinstance(script, Path) else self.write(script, name)
        process = Process(name, self.folder / f"{name}.log")
        self._keeper.keep(process)
        process.launch([*self.wrap, sys.executable, "-u", str(path), *words], self.env)
        return process

"""How qemu is to run the guest's code: by KVM where that works, else by emulation."""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.box import recipe

_BOOTS = "Linux version"
_TCG = ("-accel", "tcg,thread=multi", "-cpu", "max")
_KVM = ("-accel", "kvm", "-cpu", "host")


def accelerator(disk: recipe.Disk) -> tuple[str, ...]:
    """Return qemu's options.

    /dev/kvm may be there, answer, and still run no kernel, so one is tried: it must say its first words
    within seconds. What came of it is kept until this machine boots again.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    verdict = recipe.cache() / f"kvm-{boot}"
    if not verdict.exists():
        for old in recipe.cache().glob("kvm-*"):
            old.unlink(missing_ok=True)
        verdict.write_text("yes" if _kvm_runs(disk) else "no")
    return _KVM if verdict.read_text() == "yes" else _TCG


def _kvm_runs(disk: recipe.Disk) -> bool:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryFile() as console:
        # No disk: the kernel soon panics for want of a root, which ends qemu.
        command = [
            *("qemu-system-x86_64", *_KVM, "-nodefaults", "-display", "none", "-no-reboot", "-m", "256"),
            *("-kernel", str(disk.kernel), "-append", "console=ttyS0 panic=-1", "-serial", "stdio"),
        ]
        probe = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.DEVNULL)
        try:
            probe.wait(10)
        except subprocess.TimeoutExpired:
            probe.kill()
            probe.wait()
        console.seek(0)
        return _BOOTS.encode() in console.read()

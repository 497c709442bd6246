"""Where pppd cannot work: root without its capability, or without the device, as in containers."""

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.adapters.ppp.pppd import Pppd, may_use_net_admin
from bridge.adapters.ppp.unit import PppdUnit
from tests.harness.process import ROOT

PROGRAM = "from bridge.adapters.ppp.pppd import Pppd; print(Pppd.available())"


@pytest.mark.root
def test_root_without_net_admin_is_told_what_to_give_the_container() -> None:
    """The capability is taken from a real process."""
    command = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"no capability can be taken here: {done.stderr}")
    assert done.stdout == (
        "pppd needs the capability NET_ADMIN: give it to the container (--cap-add=NET_ADMIN)\n"
    )
    assert may_use_net_admin()


@pytest.mark.root
@pytest.mark.skipif(Path("/dev/ppp").exists(), reason="there is a /dev/ppp here")
def test_a_missing_device_is_told() -> None:
    """The kernel may lack it, or a container."""
    assert "/dev/ppp is missing" in str(Pppd.available())
    assert "--device=/dev/ppp" in str(Pppd.available())


def test_the_capability_is_read_from_the_kernel(tmp_path: Path) -> None:
    """The bits are those of the kernel's table."""
    status = tmp_path / "status"
    for mask, has in (("0000000000000000", False), ("0000000000001000", True), ("00000000a80425fb", False)):
        status.write_text(f"Name:\tx\nCapEff:\t{mask}\n")
        assert may_use_net_admin(status) is has


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_a_user_without_systemd_is_told_that_ppp_needs_root() -> None:
    """Nobody could dial for it."""
    assert str(PppdUnit.available()).startswith("PPP needs root here")

"""A serial port that this user may not open."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.adapters.modem.at_tty import open_port
from bridge.errors import ModemGone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")


@pytest.fixture
def nobody() -> Iterator[None]:
    """Become a user who is in no group."""
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)
    os.setegid(group)
    os.setgroups(groups)


@pytest.mark.usefixtures("nobody")
def test_who_may_open_a_port_is_said() -> None:
    """Root, or the group that Debian gives serial ports to."""
    master, slave = os.openpty()
    try:
        path = Path(os.ttyname(slave))
        os.seteuid(0)
        path.chmod(0)
        os.seteuid(65534)
        with pytest.raises(ModemGone, match=r"Permission denied; use sudo, or a user of the group dialout"):
            open_port(str(path), 115200)
    finally:
        os.close(master)
        os.close(slave)

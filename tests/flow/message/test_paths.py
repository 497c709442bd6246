"""Paths: when a destination may be reached, and by which transport."""

import pytest

from bridge.core.messages import CLOUD, CLOUD_SMS, MODEM_SMS, Channel, Endpoint
from tests.doubles.heart import Heart, Link, Peer

SCADA = Endpoint(Channel.TCP, "scada", 5020)
OVER_IP = (CLOUD, CLOUD_SMS, SCADA)


@pytest.mark.parametrize("endpoint", OVER_IP)
def test_the_machines_own_network_is_taken_to_work(heart: Heart, endpoint: Endpoint) -> None:
    """The bridge does not know when it is down."""
    assert heart.paths.ready(endpoint)


@pytest.mark.parametrize("endpoint", OVER_IP)
def test_over_a_managed_link_messages_wait_until_it_is_up(heart: Heart, endpoint: Endpoint) -> None:
    """A path is closed while the link is down."""
    link = heart.paths.link = Link(carries=False)
    assert not heart.paths.ready(endpoint)
    link.carries = True
    assert heart.paths.ready(endpoint)


def test_before_the_sim_has_said_who_it_is_nothing_goes_to_the_cloud(heart: Heart) -> None:
    """Direct IP needs no credentials."""
    heart.identified = False
    assert [heart.paths.ready(endpoint) for endpoint in OVER_IP] == [False, False, True]


def test_an_sms_over_the_air_needs_a_modem_and_no_link(heart: Heart) -> None:
    """The modem has to be registered."""
    heart.paths.link = Link(carries=False)
    heart.identified = False
    assert heart.paths.ready(MODEM_SMS)
    assert heart.paths.path(MODEM_SMS).transport is heart.air
    heart.modem.air = None
    assert not heart.paths.ready(MODEM_SMS)
    heart.paths.modem = None
    assert not heart.paths.ready(MODEM_SMS)


def test_the_modems_own_sockets_carry_while_they_are_the_link(heart: Heart) -> None:
    """They carry the channels that they can; afterwards the machine's network does again."""
    sockets = Peer(heart.time)
    link = heart.paths.link = Link()
    link.sockets = {Channel.CLOUD: sockets}
    assert heart.paths.path(CLOUD).transport is sockets
    assert heart.paths.path(SCADA).transport is heart.tcp
    link.sockets.clear()
    assert heart.paths.path(CLOUD).transport is heart.cloud


def test_a_link_on_demand_is_asked_for(heart: Heart) -> None:
    """The uplink asks when a message waits."""
    link = heart.paths.link = Link()
    heart.paths.wanted()
    assert link.wanted == 1

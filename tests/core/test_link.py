"""The link's table and what users are told about it."""

import pytest

from bridge.core.link import LIFE, Code, Fault, Phase, Step, Verdict, fault, judge
from bridge.core.modem import Facts, Registration, Sim

NO_CARRIER = Fault(Code.CLOUD_ERR_CONNECT, "NO CARRIER")
LOOKING = Fault(Code.CLOUD_DISCONNECTED, "looking")


def test_the_table_leads_out_of_every_phase_and_back() -> None:
    """No phase is a dead end, and every move of the table starts and ends in a phase."""
    for phase in Phase:
        assert any(before is phase for before, _ in LIFE), f"nothing leads out of {phase}"
        assert phase in LIFE.values(), f"nothing leads to {phase}"


def test_a_lost_link_is_tidied_up_before_it_is_dialled_again() -> None:
    """A link that breaks and one that is hung up take the same way down."""
    assert LIFE[Phase.CONNECTED, Step.LOST] is LIFE[Phase.CONNECTED, Step.HANG_UP] is Phase.DISCONNECTING


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (Facts(sim=Sim.ABSENT), Code.CLOUD_ERR_SIM),
        (Facts(sim=Sim.PIN), Code.CLOUD_ERR_SIM),
        (Facts(sim=Sim.PUK), Code.CLOUD_ERR_SIM),
        (Facts(sim=Sim.FAILED), Code.CLOUD_ERR_SIM),
        (Facts(sim=Sim.READY, registration=Registration.DENIED), Code.CLOUD_ERR_SIGNAL),
        (Facts(sim=Sim.READY, registration=Registration.SEARCHING), None),
        (Facts(sim=Sim.BUSY), None),
        (Facts(), None),
    ],
)
def test_what_rules_a_link_out(facts: Facts, code: Code | None) -> None:
    """A SIM or a network that will not change by itself is trouble; a search is not."""
    found = fault(facts)
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("phase", "evidence", "failure", "verdict"),
    [
        (Phase.CONNECTED, None, None, Verdict("connected", Code.CLOUD_CONNECTED, None)),
        (Phase.CONNECTING, None, None, Verdict("connecting", Code.CLOUD_DISCONNECTED, None)),
        (Phase.CONNECTING, None, NO_CARRIER, Verdict("connecting", Code.CLOUD_DISCONNECTED, "NO CARRIER")),
        (Phase.CONNECTING, NO_CARRIER, None, Verdict("error", Code.CLOUD_ERR_CONNECT, "NO CARRIER")),
        (Phase.DISCONNECTING, None, None, Verdict("disconnecting", Code.CLOUD_DISCONNECTED, None)),
        (Phase.DISCONNECTING, None, NO_CARRIER, Verdict("error", Code.CLOUD_ERR_CONNECT, "NO CARRIER")),
        (Phase.CONNECTING, LOOKING, None, Verdict("connecting", Code.CLOUD_DISCONNECTED, "looking")),
        (Phase.DISCONNECTED, LOOKING, None, Verdict("disconnected", Code.CLOUD_DISCONNECTED, "looking")),
        (Phase.DISCONNECTED, LOOKING, NO_CARRIER, Verdict("error", Code.CLOUD_ERR_CONNECT, "NO CARRIER")),
        (Phase.DISCONNECTED, None, None, Verdict("disconnected", Code.CLOUD_DISCONNECTED, None)),
        (Phase.DISCONNECTED, None, NO_CARRIER, Verdict("error", Code.CLOUD_ERR_CONNECT, "NO CARRIER")),
    ],
)
def test_what_users_are_told(
    phase: Phase, evidence: Fault | None, failure: Fault | None, verdict: Verdict
) -> None:
    """What is known now explains more than how the last attempt ended, and a link that stands beats both."""
    assert judge(phase, evidence, failure) == verdict

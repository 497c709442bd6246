"""The table of the simulated modem's faults: each begins, and each ends by an order to clear."""

import pytest

from bridge.sim.modem.faults import NAMES, TABLE, as_text, parse_fault
from tests.harness import eventually
from tests.sim.at_host import Host
from tests.sim.conftest import MakeModem


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_begins_and_is_cleared(make_modem: MakeModem, name: str) -> None:
    """Afterwards the modem answers, has its SIM and its network, and says no word too many."""
    modem = make_modem("bg96")
    before = modem.state()
    number = {"lost": 3, "slow": 0.01, "send-slow": 0.01}.get(name)
    modem.tell("fault", name=name, **({} if number is None else {"number": number}))
    modem.tell("clear")
    eventually(lambda: modem.state()["powered"] and modem.at.exists(), what="it has power")
    modem.wait_registered()
    after = modem.state()
    assert [after[key] for key in ("silence", "sim", "registration")] == ["", "ready", before["registration"]]
    with Host(modem.at, echo=True) as host:
        host.ask("ATV1")  # numbers and the character set are the host's to set back
        assert host.ask('ATE0+CSCS="IRA"')[-1] == "OK"
        assert host.ask("AT+COPS?") == ['+COPS: 0,0,"Simulated Mobile",8', "OK"]
        assert host.ask("ATD*99***1#") == ["NO CARRIER"]  # there is no far end here


def test_the_text_for_a_person_has_each_fault_with_its_argument() -> None:
    """One that must have a number says so, and is refused without."""
    text = as_text()
    for row in TABLE:
        assert f"\n{row.name}{row.argument} " in text
        assert row.help.split()[0] in text
        order = row.name + (":3" if row.argument.startswith(":") else "")
        assert parse_fault(order).name == row.name

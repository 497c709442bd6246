"""Several clouds in one script: each sends its own messages, in this run and in those that follow."""

import sqlite3
from pathlib import Path

import pytest

from bridge.sdk import HologramCloud
from tests.harness import Cloud, Keeper, eventually
from tests.sdk.conftest import Make
from tests.sdk.scripts import Scripts
from tests.sdk.test_sends import Peer
from tests.sim.harness import Running, running

BEGINNING = """
import logging, sys, threading
from bridge.sdk import CustomCloud, HologramCloud
logging.basicConfig(level=logging.WARNING)

def device(**credentials):
    return HologramCloud(credentials, enable_inbound=False)

def kept(response):
    assert response.kept, response
"""

STAY = "\nprint('ready', flush=True)\nthreading.Event().wait()\n"


def proofs(sim: Running) -> list[tuple[bytes, str, bool]]:
    """Return what came, as what, and whether it was accepted."""
    return [
        (record.request.data or b"", str(record.request.proof), record.accepted) for record in sim.records
    ]


def only(sim: Running, data: bytes, proof: str) -> None:
    """One message has come and was accepted, of the device that ``proof`` belongs to."""
    eventually(lambda: sim.records, what="the message has come")
    ((found, by, accepted),) = proofs(sim)
    assert (found, proof in by, accepted) == (data, True, True)


def test_the_next_run_sends_as_the_right_device(scripts: Scripts, sim: Running) -> None:
    """Though other clouds were made before the one that has sent: in both runs in the same order."""
    both = "a, b = device(devicekey='abcd1234'), device(cloud_id='1d3g', cloud_key='5a7b')\n"
    path = scripts.write(BEGINNING + both + "kept(b.sendMessage('reading of B'))")
    scripts.run(path)
    scripts.cloud(sim.cloud.port)
    scripts.start(scripts.write(BEGINNING + both + STAY))
    only(sim, b"reading of B", "1d3g")


def test_one_that_is_closed_leaves_its_device_to_the_other(
    scripts: Scripts, keeper: Keeper, tmp_path: Path
) -> None:
    """A helper that makes a cloud object of its own, and closes it, takes nothing from the one that stays."""
    script = """
a = device(devicekey='abcd1234')
kept(a.sendMessage('kept'))
b = device(devicekey='abcd1234')
kept(b.sendMessage('also kept'))
b.close()
"""
    cloud = Cloud(keeper, tmp_path / "cloud")
    scripts.cloud(cloud.port)
    running = scripts.start(scripts.write(BEGINNING + script + STAY))
    eventually(lambda: "ready" in running.said(), 30, what="both are kept, and one is closed")
    cloud.start()
    eventually(lambda: len(cloud.accepted) == 2, 30, what="both have come")
    assert {each.payload for each in cloud.accepted} == {b"kept", b"also kept"}


def test_one_of_several_never_sends_as_another(scripts: Scripts, sim: Running) -> None:
    """Its messages wait, which is said, until its own credentials are there again."""
    a, b = "a = device(devicekey='abcd1234')\n", "b = device(cloud_id='1d3g', cloud_key='5a7b')\n"
    scripts.run(scripts.write(BEGINNING + a + b + "kept(b.sendMessage('reading of B'))"))
    scripts.cloud(sim.cloud.port)
    done = scripts.run(scripts.write(BEGINNING + a + "print(a.sendMessage('reading of A').code)"))
    assert done.stdout == "0\n"
    only(sim, b"reading of A", "abcd1234")
    assert "wait for their device" in done.stderr
    sim.records.clear()
    scripts.start(scripts.write(BEGINNING + a + b + STAY))
    only(sim, b"reading of B", "1d3g")


def test_a_host_of_ones_own_takes_no_device_from_the_cloud(scripts: Scripts, sim: Running) -> None:
    """A `CustomCloud` that was made first is no device: what the other has kept goes in the next run."""
    both = "own = CustomCloud(None, '127.0.0.1', 9)\ncloud = device(devicekey='abcd1234')\n"
    scripts.run(scripts.write(BEGINNING + both + "kept(cloud.sendMessage('later'))"))
    scripts.cloud(sim.cloud.port)
    scripts.start(scripts.write(BEGINNING + both + STAY))
    only(sim, b"later", "abcd1234")


def test_a_corrected_key_delivers_what_was_kept_under_the_wrong_one(scripts: Scripts, sim: Running) -> None:
    """Where the script has one device alone."""
    text = BEGINNING + "cloud = device(devicekey='{}')\n"
    scripts.run(scripts.write(text.format("wrong123") + "kept(cloud.sendMessage('later'))"))
    scripts.cloud(sim.cloud.port)
    scripts.start(scripts.write(text.format("abcd1234") + STAY))
    only(sim, b"later", "abcd1234")


@pytest.mark.parametrize("endpoint", ["cloud", '["cloud", "", 1, null]'])
def test_an_older_outbox_is_still_sent(scripts: Scripts, sim: Running, endpoint: str) -> None:
    """In which the clouds of a script were counted."""
    text = BEGINNING + "cloud = device(devicekey='abcd1234')\n"
    path = scripts.write(text + "kept(cloud.sendMessage('later'))")
    scripts.run(path)
    with sqlite3.connect(path.with_suffix(".outbox.db")) as database:
        database.execute("UPDATE lane SET endpoint = ?", (endpoint,))
    database.close()
    scripts.cloud(sim.cloud.port)
    scripts.start(scripts.write(text + STAY))
    only(sim, b"later", "abcd1234")


def test_credentials_that_change_take_along_what_was_kept(hologram: Make) -> None:
    """What a cloud has sent under other credentials is still its own."""
    with running(cloud_keys=("1d3g", "5a7b")) as sim:
        one, other = hologram(sim.cloud.port, {"devicekey": "wrong123"}), hologram(sim.cloud.port)
        one.event.broadcast("network.disconnected")
        assert one.sendMessage("kept").kept
        assert other.sendMessage("other") == 0
        one.credentials = {"cloud_id": "1d3g", "cloud_key": "5a7b"}
        one.event.broadcast("network.connected")
        assert [(data, accepted) for data, _, accepted in proofs(sim)] == [(b"other", True), (b"kept", True)]
        assert "1d3g" in proofs(sim)[1][1]


def test_a_modem_that_is_not_there_holds_up_no_host_of_ones_own(
    custom: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message goes by the network of the cloud object that sends it, or has sent to its host."""
    monkeypatch.setenv("HOLOGRAM_SDK_MODEM", str(tmp_path / "nothing"))
    peer = Peer(b"fine")
    own = custom(send_host="127.0.0.1", send_port=peer.port)
    cellular = HologramCloud(
        {"devicekey": "abcd1234"}, enable_inbound=False, network="cellular", outbox=tmp_path / "custom.db"
    )
    assert own.sendMessage("goes") == "fine"
    assert cellular.sendMessage("waits").kept
    assert own.sendMessage("goes too") == "fine"
    assert peer.got == [b"goes", b"goes too"]
    cellular.close()
    peer.stop()

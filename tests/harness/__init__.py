"""Real parts to test with: a mosquitto, the bridge and the simulated cloud as processes, and an MQTT client.

Everything a test starts goes through a `Keeper`, which ends it by its process id, also when the test fails,
and whose `tails` show what the parts said. The fixtures in ``tests/conftest.py`` build the usual set.
"""

from tests.harness.bridge import BridgeProcess
from tests.harness.client import Client, Received
from tests.harness.cloud import Cloud
from tests.harness.mosquitto import Mosquitto
from tests.harness.process import Keeper, Process, eventually, free_port

__all__ = [
    "BridgeProcess",
    "Client",
    "Cloud",
    "Keeper",
    "Mosquitto",
    "Process",
    "Received",
    "eventually",
    "free_port",
]

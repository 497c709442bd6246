"""Every code example of the SDK's documents, in a process of its own.

``text`` is the document's, changed in its import line and in print alone. What the document takes for granted
(an object made earlier, somebody who sends) stands in ``before`` and ``after``.
"""
# ruff: noqa: E501  # the documents' lines are as long as they are

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from bridge.adapters.ppp.pppd import Pppd
from bridge.sim.modem.profiles import ICCID, IMSI
from tests.harness import Keeper
from tests.harness.modem import SimModem
from tests.sdk.scripts import Scripts
from tests.sim.harness import Running, running


class Example(NamedTuple):
    """One example; ``says`` is what it prints, ``arrives`` what the cloud gets: text, topics, accepted."""

    name: str
    text: str
    before: str = ""
    after: str = ""
    says: str = ""
    arrives: tuple[tuple[str, tuple[str, ...], bool], ...] = ()
    modem: bool = False
    alone: bool = False
    """It wants a port that somebody may have just now."""


CREDENTIALS = "credentials = {'cloud_id' : '1d3g', 'cloud_key': '5a7b'}\n"

CLOUD = f"""
from bridge.sdk import HologramCloud
{CREDENTIALS}
hologram = cloud = HologramCloud(credentials)
"""

CUSTOM = """
import socket, sys, threading
from bridge.sdk import CustomCloud

def serve(listener):
    while True:
        connection, _ = listener.accept()
        print("the host got:", connection.recv(1000).decode())
        connection.sendall(b"the host says hi")
        connection.close()

listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=serve, args=[listener], daemon=True).start()
customCloud = CustomCloud(None, send_host="127.0.0.1", send_port=listener.getsockname()[1])
"""

INBOUND = """
import os, socket, threading
from bridge.sdk import CustomCloud

host, port = os.environ["HOLOGRAM_SDK_INBOUND"].split(":")
customCloud = CustomCloud(None, receive_host=host, receive_port=port, enable_inbound=True)
heard = threading.Event()
customCloud.event.subscribe('message.received', heard.set)

def somebody_sends(text):
    heard.clear()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(text.encode())
    assert heard.wait(10)
"""

CELLULAR = """
from bridge.sdk import HologramCloud
hologram = HologramCloud(dict(), enable_inbound=False, network='cellular-iota')
"""

RELEASE_0_3 = [
    Example(
        "credentials",
        """
from bridge.sdk.Hologram import Hologram
credentials = {'cloud_id' : '1d3g', 'cloud_key': '5a7b'}
""",
        after="print(Hologram(credentials).credentials['cloud_id'])",
        says="1d3g\n",
    ),
    Example(
        "version",
        """
print(cloud.getSDKVersion()) # 0.3.0
""",
        before=CLOUD,
        says="0.10.3\n",
    ),
    Example(
        "clouds",
        """
from bridge.sdk import HologramCloud
credentials = {'cloud_id': '34mg', 'cloud_key': '12ab'}

hologram1 = HologramCloud(credentials, network = 'cellular-iota') # 1st example with cellular network interface.

hologram2 = HologramCloud(credentials, enable_inbound = False) # 2nd example with inbound disabled.
""",
        after="print(hologram1.network_type, hologram2.network_type, hologram2.send_port)",
        says="Cellular Network Agnostic Mode 9\n",
        modem=True,
    ),
    Example(
        "send",
        """
# Send message with topics. This has a 5 sec socket timeout
recv = cloud.sendMessage("hi there!", topics = ["TOPIC 1","TOPIC 2"])

# Send message with a timeout of 7 seconds
recv2 = cloud.sendMessage("hi again!", topics = ["TOPIC 1","TOPIC 2"], timeout = 7)
""",
        before=CLOUD,
        after="print(recv, recv2)",
        says="Topic was formatted incorrectly. Topic was formatted incorrectly.\n",
        arrives=tuple((text, ("TOPIC 1", "TOPIC 2"), False) for text in ("hi there!", "hi again!")),
    ),
    Example(
        "sms",
        """
recv = cloud.sendSMS("+11234567890", "Hello, Python!") # Send SMS to destination number
""",
        before=CLOUD,
        after="print(recv)",
        says="The message has been sent successfully.\n",
        arrives=(("Hello, Python!", (), True),),
    ),
    Example(
        "custom-clouds",
        """
from bridge.sdk import CustomCloud
# send example
customCloud1 = CustomCloud(None, send_host = 'my.example.host.com', send_port = 9999)

# receive example with cellular network interface
customCloud2 = CustomCloud(None, receive_host = '0.0.0.0', receive_port = 57750, network = 'cellular-iota')

# send/receive with inbound connection enabled.
customCloud3 = CustomCloud(None, send_host = 'my.example.host.com', send_port = 9999,
                           receive_host = '0.0.0.0', receive_port = 57750,
                           enable_inbound = True)
""",
        after="print(customCloud1.send_host, customCloud2.network_type, customCloud3.receive_port)",
        says="my.example.host.com Cellular 57750\n",
        alone=True,
    ),
    Example(
        "custom-send",
        """
recv = customCloud.sendMessage("hello")

recv2 = customCloud.sendMessage("hello again with 7 sec timeout", timeout = 7)
""",
        before=CUSTOM,
        after="print(recv); print(recv2)",
        says="the host got: hello\nthe host got: hello again with 7 sec timeout\n"
        "the host says hi\nthe host says hi\n",
    ),
    Example(
        "open-receive-socket",
        """
# enable_inbound is set to False here. You can then manually call openReceiveSocket()
# to accept connections at a later time.
inboundCloud = CustomCloud(None, send_host = 'my.example.host.com', send_port = 9999,
                           receive_host = '0.0.0.0', receive_port = 57750,
                           enable_inbound = False)
inboundCloud.openReceiveSocket()
""",
        before="from bridge.sdk import CustomCloud",
        after="import socket; socket.create_connection(('127.0.0.1', 57750)).close(); print('open')",
        says="open\n",
        alone=True,
    ),
    Example(
        "close-receive-socket",
        """
# Closes the inbound socket connection. You can reopen this again via the .openReceiveSocket()
# call.
inboundCloud = CustomCloud(None, send_host = 'my.example.host.com', send_port = 9999,
                           receive_host = '0.0.0.0', receive_port = 57750,
                           enable_inbound = False)
# Open and then close the socket conneciton.
inboundCloud.openReceiveSocket()
# do something...
inboundCloud.closeReceiveSocket()

# Reopen the socket connection.
inboundCloud.openReceiveSocket()

""",
        before="from bridge.sdk import CustomCloud",
        after="import socket; socket.create_connection(('127.0.0.1', 57750)).close(); print('open again')",
        says="open again\n",
        alone=True,
    ),
    Example(
        "consume",
        """
# 1. someone sends a "hey there!" message
# 2. someone sends another "bye!" message
recv = customCloud.consumeReceivedMessage()
print(recv) # prints "hey there!bye!"
recv = customCloud.consumeReceivedMessage() # trying to consume more returned response.
# prints "" because nothing is sent to it since the last consumeReceivedMessage() call and the buffer is empty.
print(recv)
""",
        before=INBOUND + 'somebody_sends("hey there!"); somebody_sends("bye!")',
        says="hey there!bye!\n\n",
    ),
    Example(
        "received-1",
        """

def sayHelloReceived():
  print("hello! I received something!")

# ...
customCloud.event.subscribe('message.received', sayHelloReceived)
# someone sends a "this is the payload" message
# "hello! I received something!" is printed here
# Note that the received buffer still contains "this is a payload"
""",
        before=INBOUND,
        after="""
said = threading.Event()
customCloud.event.subscribe('message.received', said.set)
somebody_sends("this is the payload")
assert said.wait(10)
print(customCloud.consumeReceivedMessage())
""",
        says="hello! I received something!\nthis is the payload\n",
    ),
    Example(
        "received-2",
        """
# this function now consumes the received message and prints it out.
def sayHelloReceivedAndConsumeMessage():
  print("hello! I received something!")
  recv = customCloud.consumeReceivedMessage()
  print(recv)

# ...
customCloud.event.subscribe('message.received', sayHelloReceivedAndConsumeMessage)
# someone sends a "this is the payload" message
# prints "hello! I received something!"
# prints "this is the payload"
sleep(100)
recv = consumeReceivedMessage() # prints ""
""",
        before=INBOUND
        + """
consumeReceivedMessage = customCloud.consumeReceivedMessage

def sleep(seconds):
    said = threading.Event()
    customCloud.event.subscribe('message.received', said.set)
    somebody_sends("this is the payload")
    assert said.wait(10)
""",
        after="print(repr(str(recv)))",
        says="hello! I received something!\nthis is the payload\n''\n",
    ),
    Example(
        "network",
        """
customCloud = CustomCloud(None, send_host = 'my.example.host.com', send_port = 9999)
customCloud.network.connect()
customCloud.network.disconnect()
""",
        before="from bridge.sdk import CustomCloud",
        after="print(customCloud.network_type)",
        says="Network Agnostic Mode\n",
    ),
    Example(
        "interfaces",
        """
print('Available network interfaces:')
print(hologram.network.listAvailableInterfaces()) # ['cellular-e303', 'cellular-iota', 'cellular-ms2131']
""",
        before=CLOUD,
        says="Available network interfaces:\n['', 'cellular', 'cellular-bg96', 'cellular-e303', 'cellular-ec21', "
        "'cellular-iota', 'cellular-ms2131', 'cellular-nova-r410', 'cellular-nova-u201', 'wifi']\n",
    ),
    Example(
        "connect",
        """
hologram.network.connect(timeout = 7) # Connect with 7 second timeout.
""",
        before=CELLULAR,
        after="print(hologram.network.localIPAddress is not None)",
        says="{connected}\n",
        modem=True,
    ),
    Example(
        "status",
        """
# prints 1 if there's an active connection.
print('CONNECTION STATUS: ' + str(hologram.network.getConnectionStatus()))
""",
        before=CELLULAR,
        says="CONNECTION STATUS: 0\n",
        modem=True,
    ),
    Example(
        "subscribe",
        """
def messageSent():
  print('hurray!')
  # do something

def temp():
  # messageSent() will execute whenever a broadcast happens on message.sent
  # (or whenever a message is sent)
  cloud.event.subscribe('message.sent', messageSent)
""",
        before=CLOUD,
        after="temp(); print(cloud.sendMessage('x'))",
        says="hurray!\nThe message has been sent successfully.\n",
        arrives=(("x", (), True),),
    ),
    Example(
        "unsubscribe",
        """
# messageSent() will no longer be executed when a message is sent.
cloud.event.unsubscribe('message.sent', messageSent)
""",
        before=CLOUD
        + "messageSent = lambda: print('hurray!')\ncloud.event.subscribe('message.sent', messageSent)",
        after="print(cloud.sendMessage('x'))",
        says="The message has been sent successfully.\n",
        arrives=(("x", (), True),),
    ),
]

WIFI = """
from bridge.sdk import Credentials, Hologram
credentials = Credentials('1d3g', '5a7b')
hologram = Hologram(credentials, 'wifi', 'raw', 'csrpsk')
wifiIsUp = lambda: print("WiFi is up!")
sayHello = lambda: print("hello")
"""

RELEASE_0_1 = [
    Example(
        "credentials",
        """
credentials = Credentials.Credentials('xxxx', 'xxxx')
credentials.cloud_id = 'yyyy'
""",
        before="from bridge.sdk.Hologram import Credentials",
        after="print(credentials.cloud_id, credentials.cloud_key, repr(credentials.device_id))",
        says="yyyy xxxx ''\n",
    ),
    Example(
        "hologram",
        """
hologram = Hologram(credentials, 'wifi', 'raw', 'csrpsk') # first example
hologram = Hologram(credentials, 'wifi', 'cloud', 'totp') # second example
""",
        before="from bridge.sdk import Credentials, Hologram\ncredentials = Credentials('1d3g', '5a7b')",
        after="print(hologram.raw.host, hologram.raw.port, hologram.authentication.type, hologram.getSDKVersion())",
        says="127.0.0.1 9 totp 0.10.3\n",
    ),
    Example(
        "raw",
        """
hologram = Hologram(credentials, 'wifi', 'raw', 'csrpsk')
hologram.raw.host = 'host.com'
hologram.raw.port = '9999'
# <send your message here>
""",
        before="from bridge.sdk import Credentials, Hologram\ncredentials = Credentials('1d3g', '5a7b')",
        after="print(hologram.raw.host, repr(hologram.raw.port), hologram.send_port)",
        says="host.com '9999' 9999\n",
    ),
    Example(
        "wifi",
        """
credentials = Credentials.Credentials('xxxx', 'xxxx')
hologram = Hologram(credentials, 'wifi', 'cloud', 'csrpsk')
hologram.network.connect()
hologram.network.getSSID()
hologram.network.disconnect()
""",
        before="from bridge.sdk import Credentials, Hologram",
        after="print(hologram.raw.network_type)",
        says="Wifi\n",
    ),
    Example(
        "subscribe",
        """
# wifiIsUp() will execute whenever a broadcast happens on wifi.connected
# (or whenever a Wifi connection is established)
hologram.raw.event.subscribe('wifi.connected', wifiIsUp)
""",
        before=WIFI,
        after="hologram.raw.event.broadcast('wifi.connected')",
        says="WiFi is up!\n",
    ),
    Example(
        "unsubscribe",
        """
hologram.raw.event.unsubscribe('message.sent', sayHello)
""",
        before=WIFI + "hologram.raw.event.subscribe('message.sent', sayHello)",
        after="hologram.raw.event.broadcast('message.sent'); print('nobody')",
        says="nobody\n",
    ),
    Example(
        "broadcast",
        """
# This will broadcast the 'wifi.connected' event, which triggers and executes any
# event handler functions subscribed to it.
hologram.raw.event.broadcast('wifi.connected')
""",
        before=WIFI + "hologram.raw.event.subscribe('wifi.connected', wifiIsUp)",
        says="WiFi is up!\n",
    ),
]


@pytest.fixture(scope="module")
def sim_modem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimModem]:
    """A simulated iota that is in a network; its scripts have it one after the other."""
    keeper = Keeper()
    modem = SimModem(keeper, tmp_path_factory.mktemp("modem"), "iota")
    modem.start("--registration", "0.1", "--sim-delay", "0.1", "--inbound-port", "0")
    modem.wait_registered()
    yield modem
    keeper.close()


@pytest.fixture
def known() -> Iterator[Running]:
    """A cloud that knows the documents' credentials, and those of the simulated SIM."""
    with running(cloud_keys=("1d3g", "5a7b"), totp=(ICCID, IMSI)) as cloud:
        yield cloud


@pytest.mark.parametrize(
    "example",
    [
        *(pytest.param(each, id=f"0.3-{each.name}") for each in RELEASE_0_3),
        *(pytest.param(each, id=f"0.1-{each.name}") for each in RELEASE_0_1),
    ],
)
def test_the_example_runs(
    example: Example, scripts: Scripts, known: Running, request: pytest.FixtureRequest
) -> None:
    """It prints what its comments say, and the cloud gets what it sends."""
    if example.modem:
        scripts.modem(request.getfixturevalue("sim_modem").at)
    if example.arrives:
        scripts.cloud(known.cloud.port)
    script = "\n".join((example.before, example.text, example.after))
    done = scripts.run(script, alone=example.alone)
    # Where pppd may dial, the simulated modem's calls end in NO CARRIER.
    assert done.stdout == example.says.replace("{connected}", str(Pppd.available() is not None))
    arrived = [(record.request, record.accepted) for record in known.records]
    assert [((each.data or b"").decode(), each.topics, fine) for each, fine in arrived] == list(
        example.arrives
    )


LOGGED = """
import logging
logging.basicConfig(level=logging.INFO)
"""


def test_the_log_lines_are_those_of_the_documents(scripts: Scripts, known: Running) -> None:
    """``INFO:CustomCloud:Connecting to …`` [0.3], ``INFO:Raw:A buffered message has been sent …`` [0.1]."""
    scripts.cloud(known.cloud.port)
    done = scripts.run(LOGGED + CLOUD + "cloud.sendMessage('x')")
    assert "INFO:CustomCloud:Connecting to 127.0.0.1\n" in done.stderr
    raw = f"""
from bridge.sdk import Hologram
hologram = Hologram(None, '', 'raw')
hologram.raw.host, hologram.raw.port = '127.0.0.1', '{known.cloud.port}'
hologram.event.broadcast('network.disconnected')
hologram.sendMessage('kept')
hologram.event.broadcast('network.connected')
"""
    done = scripts.run(LOGGED + raw)
    assert (
        "INFO:Raw:A buffered message has been sent since an active connection is established\n" in done.stderr
    )

"""The simulated modem's AT sockets: that they reach real ones, and nothing else."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.harness import free_port
from tests.sim.at_host import Host
from tests.sim.conftest import MakeModem
from tests.sim.harness import GOOD, running
from tests.sim.local_modem import LocalModem

ALL = bytes(range(256))


class Peer:
    """A TCP server with one connection at a time: `accept` it, then talk."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.port: int = listener.getsockname()[1]

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        return connection


@pytest.fixture
def peer() -> Iterator[Peer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield Peer(listener)


def up(host: Host, modem: LocalModem) -> None:
    """Bring up the packet context."""
    if modem.options.profile.sockets == "quectel":
        assert host.ask('AT+QICSGP=1,1,"hologram","","",1') == ["OK"]
        assert host.ask("AT+QIACT=1") == ["OK"]
    elif modem.options.profile.sockets == "ublox":
        assert host.ask("AT+UPSND=0,8") == ["+UPSND: 0,8,0", "OK"]
        assert host.ask('AT+UPSD=0,1,"hologram";+UPSD=0,7,"0.0.0.0"') == ["OK"]
        assert host.ask("AT+UPSDA=0,3") == ["OK"]
        assert host.ask("AT+UPSND=0,8;+UPSND=0,0")[-3:] == [
            "+UPSND: 0,8,1",
            '+UPSND: 0,0,"10.176.23.42"',
            "OK",
        ]
    else:
        assert host.ask("AT+CGACT=1,1") == ["OK"]


# -- u-blox ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["nova-u201", "nova-r410"])
def test_ublox_speaks_to_the_cloud_in_hex(make_modem: MakeModem, profile: str) -> None:
    """The documented sequence reaches the simulated cloud; its answer and its close are told."""
    with running() as cloud:
        modem = make_modem(profile, cloud=(cloud.cloud.host, cloud.cloud.port))
        with Host(modem.at) as host:
            up(host, modem)
            assert host.ask("AT+USOCR=6") == ["+USOCR: 0", "OK"]
            assert host.ask("AT+UDCONF=1,1;+UDCONF=1") == ["+UDCONF: 1,1", "OK"]
            assert host.ask('AT+USOCO=0,"cloudsocket.hologram.io",9999') == ["OK"]
            assert host.ask("AT+USOCTL=0,10") == ["+USOCTL: 0,10,4", "OK"]
            assert host.ask(f'AT+USOWR=0,{len(GOOD)},"{GOOD.hex()}"') == [f"+USOWR: 0,{len(GOOD)}", "OK"]
            assert host.code("+UUSORD") == "+UUSORD: 0,5"
            assert host.ask("AT+USORD=0,0") == ["+USORD: 0,5", "OK"]
            assert host.ask("AT+USORD=0,2") == [f'+USORD: 0,2,"{b"[0".hex().upper()}"', "OK"]
            assert host.code("+UUSORD") == "+UUSORD: 0,3"
            assert host.ask("AT+USORD=0,1024") == [f'+USORD: 0,3,"{b",0]".hex().upper()}"', "OK"]
            assert host.code("+UUSOCL") == "+UUSOCL: 0"
            assert host.ask("AT+USORD=0,0") == ["+CME ERROR: operation not allowed"]
        [record] = cloud.records
        assert record.accepted


def test_ublox_carries_bytes_as_they_are_after_the_prompt(make_modem: MakeModem, peer: Peer) -> None:
    """Every byte value, both ways, without hex; what a second command would be is data too."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        up(host, modem)
        host.ask("AT+USOCR=6")
        assert host.ask(f'AT+USOCO=0,"127.0.0.1",{peer.port}') == ["OK"]
        with peer.accept() as connection:
            host.write(b"AT+USOWR=0,256\r")
            host.wait(rb"\r\n@")
            host.write(ALL)
            host.wait(rb"\r\n\+USOWR: 0,256\r\n\r\nOK\r\n")
            assert connection.recv(300) == ALL
            connection.sendall(ALL)
            assert host.code("+UUSORD") == "+UUSORD: 0,256"
            host.write(b"AT+USORD=0,256\r")
            assert host.wait(rb'\+USORD: 0,256,"(.{256})"\r\n\r\nOK\r\n')[1] == ALL
            assert host.ask("AT+USOCL=0") == ["OK"]
            assert connection.recv(1) == b""
        assert host.silent_for(0.05)


def test_ublox_refuses_what_the_real_one_does(make_modem: MakeModem, peer: Peer) -> None:
    """No context, no such socket, too much at once, a wrong length, nobody there, more than seven."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        assert host.ask("AT+USOCR=6") == ["+CME ERROR: operation not allowed"]
        up(host, modem)
        assert host.ask('AT+USOWR=3,1,"a"') == ["+CME ERROR: operation not allowed"]
        assert [host.ask("AT+USOCR=6")[0] for _ in range(8)][6:] == [
            "+USOCR: 6",
            "+CME ERROR: operation not allowed",
        ]
        assert host.ask(f'AT+USOCO=0,"127.0.0.1",{free_port()}')[-1] == "+CME ERROR: operation not allowed"
        assert host.code("+UUSOCL") == "+UUSOCL: 0"
        assert host.ask("AT+USOER") == ["+USOER: 111", "OK"]
        host.ask("AT+UDCONF=1,1")
        assert host.ask(f'AT+USOCO=1,"127.0.0.1",{peer.port}') == ["OK"]
        assert host.ask('AT+USOWR=1,2,"41"') == ["+CME ERROR: operation not supported"]
        assert host.ask(f'AT+USOWR=1,251,"{"41" * 251}"') == ["+CME ERROR: operation not supported"]
        assert host.ask('AT+USOWR=1,1,"4x"') == ["+CME ERROR: Incorrect parameters"]


def test_ublox_has_no_room_or_takes_half(make_modem: MakeModem, peer: Peer) -> None:
    """A full queue is an error whose number is 11; a short write says how many bytes it took."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        up(host, modem)
        host.ask("AT+USOCR=6")
        host.ask("AT+UDCONF=1,1")
        assert host.ask(f'AT+USOCO=0,"127.0.0.1",{peer.port}') == ["OK"]
        with peer.accept() as connection:
            modem.tell("fault", name="send-fail", number=1)
            modem.tell("fault", name="send-short", number=1)
            modem.tell("fault", name="send-slow", number=0.05)
            assert host.ask('AT+USOWR=0,4,"41424344"') == ["+CME ERROR: operation not allowed"]
            assert host.ask("AT+USOCTL=0,1") == ["+USOCTL: 0,1,11", "OK"]
            assert host.ask('AT+USOWR=0,4,"41424344"') == ["+USOWR: 0,2", "OK"]
            assert host.ask("AT+USOCTL=0,2") == ["+USOCTL: 0,2,2", "OK"]
            assert host.ask('AT+USOWR=0,2,"4344"') == ["+USOWR: 0,2", "OK"]
            assert connection.recv(2) + connection.recv(2) == b"ABCD"


@pytest.mark.parametrize("place", ["cloudsocket.hologram.io", "8.8.8.8", "example.com", "10.0.0.1", ""])
def test_nothing_but_this_machine_is_reached(make_modem: MakeModem, place: str) -> None:
    """Without an order where the cloud is, not even the cloud; it says so without trying."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host:
        up(host, modem)
        host.ask("AT+USOCR=6")
        assert host.ask(f'AT+USOCO=0,"{place}",9999', timeout=2)[-1] == "+CME ERROR: operation not allowed"


def test_ublox_listens_and_accepts(make_modem: MakeModem) -> None:
    """A connection gets a socket of its own; its bytes and its close are told."""
    port = free_port()
    modem = make_modem("nova-u201", inbound=(4010, port))
    with Host(modem.at) as host:
        up(host, modem)
        host.ask("AT+UDCONF=1,1")
        host.ask("AT+USOCR=6")
        assert host.ask("AT+USOLI=0,4010") == ["OK"]
        assert modem.state()["listening"] == {"4010": port}
        for text in (b"first", b"second"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                source = connection.getsockname()[1]
                connection.sendall(text)
            assert host.code("+UUSOLI") == f'+UUSOLI: 1,"127.0.0.1",{source},0,"10.176.23.42",4010'
            assert host.code("+UUSORD") == f"+UUSORD: 1,{len(text)}"
            assert host.ask("AT+USORD=1,1024") == [f'+USORD: 1,{len(text)},"{text.hex().upper()}"', "OK"]
            assert host.code("+UUSOCL") == "+UUSOCL: 1"


def test_ublox_udp_goes_both_ways(make_modem: MakeModem) -> None:
    """USOST sends one datagram, USORF reads one with its sender."""
    modem = make_modem("nova-u201")
    with Host(modem.at) as host, socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(10)
        up(host, modem)
        host.ask("AT+UDCONF=1,1")
        assert host.ask("AT+USOCR=17,5000") == ["+USOCR: 0", "OK"]
        port = peer.getsockname()[1]
        assert host.ask(f'AT+USOST=0,"127.0.0.1",{port},2,"6869"') == ["+USOST: 0,2", "OK"]
        data, source = peer.recvfrom(100)
        assert data == b"hi"
        peer.sendto(b"one", source)
        assert host.code("+UUSORD") == "+UUSORD: 0,3"
        assert host.ask("AT+USORF=0,100") == [f'+USORF: 0,"127.0.0.1",{port},3,"6F6E65"', "OK"]


@pytest.mark.parametrize(
    ("profile", "code"),
    [("nova-u201", "+UUPSDD: 0"), ("nova-r410", "+UUSOCL: 0"), ("bg96", '+QIURC: "pdpdeact",1')],
)
def test_a_context_that_is_lost_takes_its_sockets(
    make_modem: MakeModem, peer: Peer, profile: str, code: str
) -> None:
    """The make's own words, and the peer sees its connection break."""
    modem = make_modem(profile)
    with Host(modem.at) as host:
        up(host, modem)
        if profile == "bg96":
            assert host.ask(f'AT+QIOPEN=1,0,"TCP","127.0.0.1",{peer.port},0,1') == ["OK"]
            host.code("+QIOPEN: 0,0")
        else:
            host.ask("AT+USOCR=6")
            assert host.ask(f'AT+USOCO=0,"127.0.0.1",{peer.port}') == ["OK"]
        with peer.accept() as connection:
            modem.tell("pdp")
            host.code(code)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert modem.state()["sockets"] == []


# -- Quectel -----------------------------------------------------------------------------------------------


def test_quectel_speaks_to_the_cloud_and_pushes_the_answer(make_modem: MakeModem) -> None:
    """Open, SEND OK, the bytes behind their length, and the close; the number is free after QICLOSE."""
    with running() as cloud:
        modem = make_modem("bg96", cloud=(cloud.cloud.host, cloud.cloud.port))
        with Host(modem.at) as host:
            assert host.ask('AT+QIOPEN=1,0,"TCP","cloudsocket.hologram.io",9999,0,1') == ["ERROR"]
            up(host, modem)
            assert host.ask('AT+QIOPEN=1,0,"TCP","cloudsocket.hologram.io",9999,0,1') == ["OK"]
            assert host.code("+QIOPEN") == "+QIOPEN: 0,0"
            assert host.ask(f'AT+QISENDEX=0,"{GOOD.hex()}"') == ["SEND OK"]
            host.wait(rb'\r\n\+QIURC: "recv",0,5\r\n\[0,0\]\r\n')
            assert host.code("+QIURC") == '+QIURC: "closed",0'
            assert host.ask("AT+QISTATE=1,0")[0].startswith(
                '+QISTATE: 0,"TCP","cloudsocket.hologram.io",9999'
            )
            assert host.ask("AT+QICLOSE=0") == ["OK"]
            assert host.ask("AT+QISTATE?") == ["OK"]
        assert cloud.records[0].accepted


def test_quectel_carries_bytes_as_they_are(make_modem: MakeModem, peer: Peer) -> None:
    """QISEND with a length after its prompt, and the answer in buffer mode by QIRD."""
    modem = make_modem("ec21")
    with Host(modem.at) as host:
        up(host, modem)
        assert host.ask(f'AT+QIOPEN=1,2,"TCP","127.0.0.1",{peer.port},0,0') == ["OK"]
        host.code("+QIOPEN: 2,0")
        with peer.accept() as connection:
            host.write(b"AT+QISEND=2,256\r")
            host.wait(rb"\r\n> ")
            host.write(ALL)
            host.wait(rb"\r\nSEND OK\r\n")
            assert connection.recv(300) == ALL
            connection.sendall(ALL)
            assert host.code("+QIURC") == '+QIURC: "recv",2'
            host.write(b"AT+QIRD=2,1500\r")
            assert host.wait(rb"\+QIRD: 256\r\n(.{256})\r\n\r\n\r\nOK\r\n")[1] == ALL
            assert host.ask("AT+QIRD=2") == ["+QIRD: 0", "OK"]
            modem.tell("fault", name="send-fail", number=1)
            assert host.ask('AT+QISENDEX=2,"41"') == ["SEND FAIL"]
            assert host.ask('AT+QISENDEX=2,"41"') == ["SEND OK"]


def test_quectel_says_why_it_cannot_open(make_modem: MakeModem) -> None:
    """A number in use, a name that is not known, nobody there."""
    modem = make_modem("bg96")
    with Host(modem.at) as host:
        up(host, modem)
        for place, port, code in (
            ("example.com", 80, 565),
            ("8.8.8.8", 80, 566),
            ("127.0.0.1", free_port(), 566),
        ):
            assert host.ask(f'AT+QIOPEN=1,0,"TCP","{place}",{port},0,1') == ["OK"]
            assert host.code("+QIOPEN") == f"+QIOPEN: 0,{code}"
        assert host.ask("AT+QIGETERROR") == ['+QIGETERROR: 566,"Socket connect failed"', "OK"]
        assert host.ask('AT+QIOPEN=1,0,"UDP SERVICE","127.0.0.1",0,0,1') == ["OK"]
        host.code("+QIOPEN: 0,0")
        assert host.ask('AT+QIOPEN=1,0,"UDP SERVICE","127.0.0.1",0,0,1') == ["OK"]
        assert host.code("+QIOPEN") == "+QIOPEN: 0,563"


def test_quectel_listens_and_accepts(make_modem: MakeModem) -> None:
    """A connection gets a number of its own, from the top; bytes are pushed, the close is told."""
    port = free_port()
    modem = make_modem("bg96", inbound=(4010, port))
    with Host(modem.at) as host:
        up(host, modem)
        assert host.ask('AT+QIOPEN=1,1,"TCP LISTENER","127.0.0.1",0,4010,1') == ["OK"]
        assert host.code("+QIOPEN") == "+QIOPEN: 1,0"
        with socket.create_connection(("127.0.0.1", port)) as connection:
            source = connection.getsockname()[1]
            connection.sendall(b"OK\r\n\r\nERROR\r\n")
        assert host.code("+QIURC") == f'+QIURC: "incoming",11,1,"127.0.0.1",{source}'
        host.wait(rb'\r\n\+QIURC: "recv",11,13\r\nOK\r\n\r\nERROR\r\n\r\n')
        assert host.code("+QIURC") == '+QIURC: "closed",11'


def test_quectel_udp_service_goes_both_ways(make_modem: MakeModem) -> None:
    """Datagrams come with their sender, and are answered to it."""
    port = free_port()
    modem = make_modem("bg96", inbound=(4010, port))
    with Host(modem.at) as host, socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        up(host, modem)
        assert host.ask('AT+QIOPEN=1,2,"UDP SERVICE","127.0.0.1",0,4010,1') == ["OK"]
        host.code("+QIOPEN: 2,0")
        peer.sendto(b"ping", ("127.0.0.1", port))
        source = host.wait(rb'\+QIURC: "recv",2,4,"127.0.0.1",(\d+)\r\nping')[1].decode()
        host.write(f'AT+QISEND=2,4,"127.0.0.1",{source}\r'.encode())
        host.wait(rb"> ")
        host.write(b"pong")
        host.wait(rb"SEND OK")
        assert peer.recv(100) == b"pong"


def test_much_data_arrives_whole(make_modem: MakeModem, peer: Peer) -> None:
    """A quarter of a megabyte that the host reads in pieces: the sender waits, nothing is lost."""
    modem = make_modem("nova-u201")
    sent = ALL * 1024
    with Host(modem.at) as host:
        up(host, modem)
        host.ask("AT+USOCR=6")
        host.ask(f'AT+USOCO=0,"127.0.0.1",{peer.port}')
        with peer.accept() as connection:
            thread = threading.Thread(target=connection.sendall, args=(sent,))
            thread.start()
            host.code("+UUSORD: 0,")
            got = b""
            while len(got) < len(sent):
                host.write(b"AT+USORD=0,1024\r")
                size = int(host.wait(rb"\+USORD: 0,(\d+),\"")[1])
                got += host.wait(rb"(.{%d})\"\r\n\r\nOK\r\n" % size)[1]
            thread.join(10)
        assert got == sent

"""What pppd and chat say, and what is said to them."""

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.modem import Link
from bridge.errors import LinkError
from bridge.protocol.ppp.dial import Dial, arguments, check, connect_command, ours, secret_options
from bridge.protocol.ppp.pppd_log import (
    LONGEST_LINE,
    Call,
    Event,
    Kind,
    Lines,
    exit_reason,
    read_line,
    read_status,
    status_up,
)

UP = """\
pppd 2.4.9 started by root, uid 0
abort on (BUSY)
abort on (NO CARRIER)
timeout set to 12 seconds
send (AT^M)
expect (OK)
AT^M^M
OK
 -- got it
send (AT+CGDCONT=1,"IP","hologram"^M)
expect (OK)
OK
 -- got it
send (ATDT*99***1#^M)
expect (CONNECT)
^M
CONNECT
 -- got it
send ()
Serial connection established.
Using interface ppp0
Connect: ppp0 <--> /dev/ttyUSB3
PAP authentication succeeded
local  IP address 10.176.5.6
remote IP address 10.64.64.64
primary   DNS address 8.8.8.8
secondary DNS address 8.8.4.4
"""

DOWN = """\
LCP terminated by peer
Connect time 1.5 minutes.
Sent 1200 bytes, received 3400 bytes.
Modem hangup
Connection terminated.
"""


def call(log: str) -> Call:
    told = Call()
    for line in log.splitlines():
        told.take(line)
    return told


def aborted(word: str) -> str:
    dialled = "send (ATDT*99***1#^M)\nexpect (CONNECT)\n"
    return f"{dialled}{word}\n -- failed\nFailed ({word})\nConnect script failed\nExit.\n"


def test_a_call_that_comes_up_tells_its_link_and_servers() -> None:
    """Interface, addresses and DNS servers are read off the log."""
    told = call(UP)
    assert told.link == Link("ppp0", "10.176.5.6", "10.64.64.64")
    assert told.dns == ("8.8.8.8", "8.8.4.4")
    assert told.dialled
    assert told.connected
    assert not told.over


def test_the_link_stands_only_with_both_addresses() -> None:
    """Before its last address is known there is no link."""
    lines = UP.splitlines()
    before = lines[: lines.index("remote IP address 10.64.64.64")]
    assert call("\n".join(before)).link is None


@given(st.data())
def test_lines_come_out_whole_however_the_bytes_come_in(data: st.DataObject) -> None:
    """Pieces of any size give the lines of the whole, and trailing bytes give none yet."""
    whole = (UP + DOWN + "half a li").encode()
    lines, rest = Lines(), whole
    found: list[str] = []
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += lines.feed(rest[:size])
        rest = rest[size:]
    assert found == (UP + DOWN).replace(" -- ", "-- ").splitlines()
    assert list(lines.close()) == ["half a li"]


def test_lines_come_out_whole_byte_by_byte() -> None:
    """The smallest pieces give the lines of the whole."""
    lines = Lines()
    found = [line for byte in UP.encode() for line in lines.feed(bytes([byte]))]
    assert found == UP.replace(" -- ", "-- ").splitlines()


@given(st.lists(st.binary(max_size=10000), max_size=8))
def test_any_bytes_are_survived(pieces: list[bytes]) -> None:
    """Garbage raises nothing, gives no line of excess length and nothing that a terminal would obey."""
    lines, told = Lines(), Call()
    found = [line for piece in pieces for line in lines.feed(piece)] + list(lines.close())
    for line in found:
        assert len(line) <= LONGEST_LINE
        assert line.isprintable()
        told.take(line)
    assert told.reason(8)


@given(st.text())
def test_any_line_is_survived(text: str) -> None:
    """A line is an event or nothing."""
    assert isinstance(read_line(text), Event | None)


@pytest.mark.parametrize(
    "word",
    ["BUSY", "NO CARRIER", "NO ANSWER", "NO DIALTONE", "NO DIAL TONE", "VOICE", "DELAYED", "ERROR"],
)
def test_an_abort_word_of_the_modem_is_the_reason(word: str) -> None:
    """What the modem said instead of CONNECT comes first in the reason, before pppd's exit code."""
    assert call(aborted(word)).reason(8).startswith(f"{word}: ")


def test_an_abort_word_that_is_not_known_is_told_as_it_is() -> None:
    """A script of somebody's own may have other words."""
    assert call(aborted("+CGATT: 0")).reason(8) == "+CGATT: 0"


def test_silence_is_told_apart_before_and_after_dialling() -> None:
    """A port that does not answer at all is another finding than a call that is not answered."""
    assert "right port" in call("send (AT^M)\nexpect (OK)\nalarm\nFailed\nConnect script failed\n").reason(8)
    dialled = "send (ATDT*99***1#^M)\nexpect (CONNECT)\nalarm\nFailed\nConnect script failed\n"
    assert "dial command" in call(dialled).reason(8)


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        ("LCP terminated by peer", 0, "other end hung up"),
        ("LCP terminated by peer (no more credit)", 0, "no more credit"),
        ("No response to 4 echo-requests", 15, "LCP echo"),
        ("Serial link appears to be disconnected.", 15, "LCP echo"),
        ("LCP: timeout sending Config-Requests", 10, "LCP timeout"),
        ("IPCP: timeout sending Config-Requests", 10, "no address"),
        ("Modem hangup", 16, "modem hung up"),
        ("Hangup (SIGHUP)", 5, "modem hung up"),
        ("Terminating on signal 15", 5, "signal 15"),
        ("CHAP authentication failed: bad", 19, "ppp_password"),
        ("PAP authentication failed", 19, "ppp_password"),
        ("Device ttyUSB3 is locked by pid 123", 6, "pid 123"),
        ("Failed to open /dev/ttyUSB9: Device or resource busy", 7, "held by another program"),
        ("Failed to open /dev/ttyUSB9: No such file or directory", 7, "ttyUSB9"),
        ("Couldn't open the /dev/ppp device: No such file or directory", 4, "/dev/ppp"),
        ("Serial line is looped back.", 17, "not in data mode"),
    ],
)
def test_what_ends_a_call_is_the_reason(line: str, code: int, word: str) -> None:
    """Each way a call ends is told in words of its own, the line's before the code's."""
    told = call(line)
    assert told.over
    assert word in told.reason(code)
    assert "\n" not in told.reason(code)


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ("Device ttyUSB3 is locked by pid 123", True),
        ("Failed to open /dev/ttyUSB9: Device or resource busy", True),
        ("Failed to open /dev/ttyUSB9: No such file or directory", False),
        ("Connect script failed", False),
    ],
)
def test_a_port_of_another_program_is_told_apart(line: str, held: bool) -> None:
    """That no call came about for it says nothing of the modem."""
    assert call(line).held is held


def test_the_first_telling_line_is_the_reason() -> None:
    """What follows from it, such as the hangup after the other end's leave, does not hide it."""
    told = call(UP + DOWN)
    assert told.reason(16) == "the other end hung up"


def test_every_exit_code_of_pppd_has_a_sentence() -> None:
    """Codes 0 to 19 of the manual, a signal, and a code that is not in it."""
    sentences = [exit_reason(code) for code in range(20)]
    assert all(sentences)
    assert exit_reason(-9) == "pppd was killed (signal 9)"
    assert "99" in exit_reason(99)


def test_a_call_without_a_telling_line_is_told_by_the_exit_code() -> None:
    """The manual's words for the code are the reason then."""
    assert call("pppd 2.4.9 started by root, uid 0").reason(3) == "pppd needs root"


def test_the_stage_tells_how_far_a_call_came() -> None:
    """After a timeout it is said what was still missing."""
    assert Call().stage() == "not dialled yet"
    dialled = UP[: UP.index("Serial connection")]
    assert "not connected" in call(dialled).stage()
    assert "no address" in call(UP[: UP.index("local")]).stage()


DIAL = Dial("/dev/ttyUSB3", "/etc/hologram-bridge/ppp/chat-3g", user="me", password='p "q" \\ #1')


def test_the_arguments_hold_no_secret_and_set_no_route() -> None:
    """User and password go by a file; pppd leaves the routes alone."""
    words = arguments(DIAL, chat="/usr/sbin/chat", options="/o", owner=7, secrets="/proc/self/fd/9")
    assert words[0] == "/dev/ttyUSB3"
    assert "nodefaultroute" in words
    assert "me" not in words
    assert not [word for word in words if "q" in word.split()]
    assert words[-2:] == ["file", "/proc/self/fd/9"]
    assert secret_options(DIAL) == b'user "me"\npassword "p \\"q\\" \\\\ #1"\n'
    assert "q" not in repr(DIAL).replace("scope", "")
    assert secret_options(DIAL._replace(user=None, password=None)) is None


@pytest.mark.parametrize(
    ("scope", "asks"), [("system", True), ("hologram", False), ("bridge", True), ("backup", True)]
)
def test_names_are_asked_of_the_network_only_where_all_goes_there(scope: str, asks: bool) -> None:
    """With scope hologram the machine's own name servers stay."""
    dial = DIAL._replace(scope=scope)  # type: ignore[arg-type]  # one of the two by the parameters
    words = arguments(dial, chat="chat", options="/o", owner=7, secrets=None)
    assert ("usepeerdns" in words) == asks


def test_the_connect_command_is_one_shell_command() -> None:
    """A shell takes it apart into the words that went in."""
    words = shlex.split(connect_command(DIAL, "/usr/sbin/chat"))
    assert words == [
        "/usr/sbin/chat",
        "-v",
        "-s",
        "-S",
        "-T",
        "hologram",
        "-U",
        "ATDT*99***1#",
        "-f",
        DIAL.chat,
    ]
    shown = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {connect_command(DIAL, 'chat')}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines()[1:] == words[1:]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("apn", "a b"),
        ("apn", "x;reboot"),
        ("apn", "x\n"),
        ("apn", ""),
        ("apn", "$(id)"),
        ("command", "ATDT*99#;AT+CFUN=0"),
        ("command", "ATDT*99\r"),
        ("port", "ttyUSB0"),
        ("port", "/dev/../etc/passwd"),
        ("port", "/etc/passwd"),
        ("port", "/dev/tty USB"),
        ("chat", "/tmp/x\ny"),
        ("chat", "chat"),
        ("scope", "all"),
        ("user", "me\nfile /etc/shadow"),
        ("password", "x" * 256),
    ],
)
def test_what_a_shell_or_pppd_could_misread_is_refused(field: str, value: str) -> None:
    """Each value is checked before a root process acts on it; the refusal names the field and no secret."""
    with pytest.raises(LinkError) as told:
        check(DIAL._replace(**{field: value}))  # type: ignore[arg-type]  # all of them are texts
    assert field in str(told.value)
    if field in ("user", "password"):
        assert value not in str(told.value)


def test_a_call_as_configured_passes_the_check() -> None:
    """The defaults, a pseudo terminal and the values of every kind of modem are allowed."""
    check(DIAL)
    check(DIAL._replace(port="/dev/pts/12", command="ATD*99#"))


def test_a_pppd_of_ours_is_known_by_its_arguments() -> None:
    """Its mark tells who started it; others, even of the same link's name, are not ours."""
    words = ["/usr/sbin/pppd", *arguments(DIAL, chat="chat", options="/o", owner=77, secrets=None)]
    found = ours(b"\0".join(word.encode() for word in words) + b"\0")
    assert found is not None
    assert found.owner == 77
    assert ours(b"/usr/sbin/pppd\0call\0provider\0") is None
    assert ours(b"/usr/sbin/pppd\0linkname\0hologram-bridge\0") is None
    assert ours(b"") is None


@given(st.binary())
def test_any_arguments_of_others_are_survived(cmdline: bytes) -> None:
    """Whatever another process was started with is not ours."""
    assert ours(cmdline) is None


def test_the_units_status_line_comes_back_as_the_link() -> None:
    """What the root unit writes the bridge reads; any other line is no link."""
    link = Link("ppp0", "10.176.5.6", "10.64.64.64")
    assert read_status(status_up(link)) == link
    assert read_status("dialling on /dev/ttyUSB3") is None
    assert read_status("") is None


def test_the_kinds_are_told() -> None:
    """A line's event has its kind and its value."""
    assert read_line("Using interface ppp1") == Event(Kind.INTERFACE, "ppp1")
    assert read_line("send (ATDT*99***1#^M)") == Event(Kind.DIALLING, "ATDT*99***1#")
    assert read_line("expect (OK)") is None

"""A script written for the SDK loses nothing when the network drops in its middle."""

from collections import Counter
from pathlib import Path

from tests.harness import Cloud, Process, eventually
from tests.sdk.scripts import Scripts

MESSAGES = 200

SCRIPT = """
import sys, time
from bridge.sdk.Hologram.HologramCloud import HologramCloud

hologram = HologramCloud({'devicekey': 'abcd1234'}, enable_inbound=False)
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    recv = hologram.sendMessage('message %d' % number, topics=['numbers', 'n%d' % (number % 3)], timeout=2)
    print(number, repr(str(recv)))
    time.sleep(0.02)
print('end')
"""


def last(process: Process) -> int:
    """Return the number of the last message that the script has handed over."""
    numbers = [path.split()[0] for path in process.said().splitlines() if path[:1].isdigit()]
    return int(numbers[-1]) if numbers else -1


def test_a_script_loses_nothing(cloud: Cloud, scripts: Scripts) -> None:
    """The network goes and comes; the script is killed while it is away, and run again: all arrive."""
    cloud.start()
    scripts.cloud(cloud.port)
    path = scripts.write(SCRIPT)
    script = scripts.start(path, "0", str(MESSAGES))
    eventually(lambda: last(script) >= 10, what="ten messages")
    cloud.stop()
    away = last(script)
    eventually(lambda: last(script) >= away + 10, what="ten messages without the network")
    cloud.start()
    back = last(script)
    eventually(lambda: last(script) >= back + 5, what="five messages with it again")
    cloud.stop()
    gone = last(script)
    eventually(lambda: last(script) >= gone + 5, what="five more without it")
    script.kill()
    resumed = last(script) + 1
    assert 25 < resumed < MESSAGES, "it was killed in its middle"
    cloud.start()
    scripts.run(path, str(resumed), str(MESSAGES))
    expected = {f"message {number}".encode() for number in range(MESSAGES)}
    eventually(lambda: set(cloud.payloads()) == expected, what="every message has arrived")
    # In doubt are only: what was being sent when it was killed, and what was handed over again.
    again = {payload: times for payload, times in Counter(cloud.payloads()).items() if times > 1}
    assert len(again) <= 3
    assert max(again.values(), default=1) <= 2
    for each in cloud.accepted:
        number = int(each.payload.split()[1])
        assert each.topics == ("numbers", f"n{number % 3}"), "with its topics"


def test_what_is_left_goes_with_the_next_run(cloud: Cloud, scripts: Scripts) -> None:
    """A script that ends without the network leaves its messages beside it, for its next run."""
    scripts.cloud(cloud.port)
    path = scripts.write(SCRIPT)
    done = scripts.run(path, "0", "5")
    assert done.stdout == "".join(f"{number} ''\n" for number in range(5)) + "end\n"
    assert (scripts.folder / "script.outbox.db").exists()
    cloud.start()
    done = scripts.run(path, "5", "6")
    assert done.stdout == "5 'The message has been sent successfully.'\nend\n"
    eventually(lambda: len(cloud.accepted) == 6)
    assert sorted(cloud.payloads()) == [f"message {number}".encode() for number in range(6)]


def test_in_order_within_its_topics(cloud: Cloud, scripts: Scripts) -> None:
    """What was kept goes before what follows it, and none of it twice."""
    scripts.cloud(cloud.port)
    text = SCRIPT.replace("['numbers', 'n%d' % (number % 3)]", "['numbers']")
    path = scripts.write(text)
    scripts.run(path, "0", "5")
    cloud.start()
    scripts.run(path, "5", "10")
    assert cloud.payloads() == [f"message {number}".encode() for number in range(10)]


def test_a_second_script_on_the_same_outbox_is_told(cloud: Cloud, scripts: Scripts) -> None:
    """With who has it and what to do; the first goes on."""
    cloud.start()
    scripts.cloud(cloud.port)
    path = scripts.write(SCRIPT)
    first = scripts.start(path, "0", "1000")
    eventually(lambda: last(first) >= 1)
    second = scripts.run(path, "0", "1", check=False)
    assert second.returncode == 1
    said = second.stderr.splitlines()[-1]
    assert f"script.py (process {first.pid})" in said
    assert "script.outbox.db" in said
    assert "outbox=" in said
    seen = last(first)
    eventually(lambda: last(first) > seen)


def test_where_the_outbox_is(scripts: Scripts, cloud: Cloud, tmp_path: Path) -> None:
    """Beside the script; of an interactive Python in the user's state folder; where a variable says."""
    cloud.start()
    scripts.cloud(cloud.port)
    scripts.run(scripts.write(SCRIPT, "mine"), "0", "1")
    assert (scripts.folder / "mine.outbox.db").exists()
    scripts.env["XDG_STATE_HOME"] = str(tmp_path / "state")
    scripts.run("import sys; del sys.modules['__main__'].__file__\n" + SCRIPT, "0", "1")
    assert (tmp_path / "state" / "hologram-bridge" / "python.outbox.db").exists()
    assert not (scripts.folder / "script.outbox.db").exists()
    scripts.env["HOLOGRAM_SDK_OUTBOX"] = str(tmp_path / "elsewhere.db")
    scripts.run(SCRIPT, "0", "1")
    assert (tmp_path / "elsewhere.db").exists()
    assert not (scripts.folder / "script.outbox.db").exists()


def test_a_forked_child_is_told(cloud: Cloud, scripts: Scripts) -> None:
    """The outbox stays the parent's, who sends on; the child gets an error that names it."""
    cloud.start()
    scripts.cloud(cloud.port)
    done = scripts.run(
        """
import os
from bridge.sdk import HologramCloud, HologramError
cloud = HologramCloud({'devicekey': 'abcd1234'}, enable_inbound=False)
print(cloud.sendMessage('before'), flush=True)
child = os.fork()
if not child:
    try:
        cloud.sendMessage('in the child')
    except HologramError as error:
        print(f'process {os.getppid()}' in str(error), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(cloud.sendMessage('after'))
"""
    )
    fine = "The message has been sent successfully.\n"
    assert done.stdout == f"{fine}True\n{fine}"
    assert cloud.payloads() == [b"before", b"after"]

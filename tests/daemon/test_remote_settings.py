"""Settings changed from afar: on trial, confirmed, undone; on real files, in a time that a test moves."""

from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest

from bridge.daemon.begin import begin
from bridge.daemon.remote_settings import Outcome, RemoteSettings
from bridge.flow.notices import SILENT
from bridge.settings import Loaded, OverrideFile, Overrides, load
from bridge.settings.override_file import apn_file, moment, read_apn
from tests.doubles.time import Clock, MovableTime

FILE = """{{
  credentials: {{ devicekey: "abcd1234" }}
  store: {{ path: "{store}" }}
  mqtt: {{ password: "hush" }}
  {more}
}}"""


class Box:
    """A configuration, a store's folder, and the daemon's part that changes settings from afar."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "bridge.hjson"
        self.store = folder / "outbox.db"
        self.environ: dict[str, str] = {}
        self.time = MovableTime(Clock(mono=moment().mono))
        self.applied: list[Loaded] = []
        self.restarted: list[Loaded] = []
        self.write()

    def write(self, more: str = "") -> None:
        self.config.write_text(FILE.format(store=self.store, more=more))
        self.config.chmod(0o600)

    def reread(self, *, overrides: Overrides | None = None) -> Loaded:
        return load(self.config, self.environ, overrides=overrides)

    def start(self) -> RemoteSettings:
        """Start the daemon's part, as after a crash."""
        loaded, self.told = begin(self.reread(), self.reread)
        self.applied.append(loaded)
        apply, restart = self.applied.append, self.restarted.append
        remote = RemoteSettings(loaded, self.reread, self.time, SILENT, apply=apply, restart=restart)
        remote.start()
        return remote

    @property
    def timeout(self) -> float:
        """What counts: `cloud.timeout`, 5 by default."""
        return self.applied[-1].settings.cloud.timeout


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_change_counts_at_once_and_is_undone_after_ten_minutes(box: Box) -> None:
    """Without a confirmation the file's value counts again."""
    remote = box.start()
    outcome = remote.set("cloud.timeout", "9")
    assert outcome == Outcome(True, "cloud.timeout is changed; undone in 10 min unless confirmed")
    assert remote.get("cloud.timeout").text == "cloud.timeout=9 (unconfirmed, undone in 600 s)"
    assert box.timeout == 9
    box.time.pass_(599)
    assert box.timeout == 9
    box.time.pass_(1)
    assert box.timeout == 5
    assert remote.get("cloud.timeout") == Outcome(True, "cloud.timeout=5")
    assert box.start().get("cloud.timeout").text == "cloud.timeout=5"


def test_one_confirmation_accepts_five_changes(box: Box) -> None:
    """The ten minutes begin with the last of them, and they survive a start."""
    remote = box.start()
    for key, value in (
        ("cloud.timeout", "9"),
        ("cloud.parallel", "2"),
        ("budget.day", "5MB"),
        ("heartbeat.every", "1h"),
        ("log.level", "debug"),
    ):
        box.time.pass_(500)
        assert remote.set(key, value).done
    box.time.pass_(500)
    assert remote.confirm().text == (
        "confirmed: cloud.timeout, cloud.parallel, budget.day, heartbeat.every, log.level"
    )
    box.time.pass_(10_000)
    settings = box.start().loaded.settings
    assert (box.timeout, settings.budget.day, settings.heartbeat.every) == (9, 5_000_000, 3600)
    assert remote.confirm() == Outcome(True, "nothing is unconfirmed")


def test_undoing_takes_back_all_since_the_last_confirmation(box: Box) -> None:
    """What was confirmed before stays, an `unset` comes back."""
    remote = box.start()
    remote.set("cloud.timeout", "9")
    remote.confirm()
    remote.unset("cloud.timeout")
    remote.set("cloud.parallel", "2")
    assert box.timeout == 5
    box.time.pass_(600)
    assert (box.timeout, box.applied[-1].settings.cloud.parallel) == (9, 4)


def test_what_needs_a_restart_says_so(box: Box) -> None:
    """The modem's settings are read once; the undoing restarts too."""
    remote = box.start()
    outcome = remote.set("network.apn", "wrong")
    assert outcome.restart
    assert "the bridge restarts" in outcome.text
    box.time.pass_(600)
    assert len(box.restarted) == 1
    assert box.applied[-1].settings.network.apn == "hologram"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("cloud.timeout", "500", "cloud.timeout: not allowed; allowed is 0.1 to 120 seconds"),
        ("budget.warn", "[0]", "budget.warn: not allowed; allowed is a list of whole percentages"),
        ("budget.warn", "[[[[", "budget.warn: not allowed"),
        ("cloud.host", "evil.example", "not to be changed from afar"),
        ("cloud.timeuot", "5", "not to be changed from afar; did you mean 'cloud.timeout'?"),
        ("cloud", "{timeout: 5}", "not to be changed from afar"),
        ("remote.key", "k" * 24, "not to be changed from afar"),
        ("network.apn", "a" * 201, "network.apn: a value has at most 200 characters"),
        ("network.apn", "a b", "network.apn: not allowed; allowed is 1 to 100 letters"),
        ("network.apn", "", "network.apn: not allowed"),
    ],
)
def test_what_may_not_be_is_refused_and_changes_nothing(box: Box, key: str, value: str, text: str) -> None:
    """The answer does not repeat the value."""
    remote = box.start()
    outcome = remote.set(key, value)
    assert not outcome.done
    assert outcome.text.startswith(text)
    assert not outcome.restart
    assert list(box.store.parent.glob("outbox.db*")) == []
    assert not remote.unset(key).done


def test_get_tells_every_setting_and_no_secret(box: Box) -> None:
    """A section is JSON; a secret is masked in it and alone."""
    remote = box.start()
    assert remote.get("network.apn").text == "network.apn=hologram"
    assert remote.get("network.device").text == "network.device=null"
    assert remote.get("mqtt.password").text == "mqtt.password=***"
    assert remote.get("credentials").text.startswith('credentials={"devicekey":"***","cloud_id":null')
    assert remote.get("cloud.port.x").text == "unknown key; did you mean 'cloud.port'?"
    assert not remote.get("routes[0]").done


def test_the_environment_counts_more(box: Box) -> None:
    """A change that would have no effect is refused."""
    box.environ["HOLOGRAM_BRIDGE__CLOUD__TIMEOUT"] = "7"
    outcome = box.start().set("cloud.timeout", "9")
    assert not outcome.done
    assert "the environment" in outcome.text


def test_a_change_that_the_disk_does_not_take_does_not_count(box: Box) -> None:
    """It would be lost by a restart without a word."""
    remote = box.start()
    (box.store.parent / "outbox.db.overrides").mkdir()  # a file cannot take its place
    (box.store.parent / "outbox.db.overrides" / "x").touch()
    outcome = remote.set("cloud.timeout", "9")
    assert not outcome.done
    assert outcome.text.startswith("not kept: ")
    assert box.timeout == 5


@pytest.mark.parametrize("starts", [1, 2])
def test_starts_of_its_own_accord_are_forgiven_twice(box: Box, starts: int) -> None:
    """A crash or two may have other reasons; the third start of the same trial undoes it."""
    remote = box.start()
    remote.set("cloud.timeout", "9")
    remote.restarting()
    box.start()
    for _ in range(starts):
        box.start()
    assert box.timeout == 9
    if starts == 2:
        box.start()
        assert box.timeout == 5
        assert box.told == "not confirmed, and undone by this start: cloud.timeout"
        box.start()
        assert box.told is None


def test_another_boot_undoes_before_anything_is_dialled(box: Box) -> None:
    """The file says which boot the trial is of; the unit that dials has the old APN again."""
    remote = box.start()
    remote.set("network.apn", "wrong")
    box.start()
    assert read_apn(apn_file(box.store)) == "wrong"
    file = OverrideFile(box.store)
    there = file.read()
    assert there.trial
    file.write(replace(there, trial=replace(there.trial, boot="another")))
    assert box.reread().settings.network.apn == "hologram"
    box.start()
    assert box.applied[-1].settings.network.apn == "hologram"
    assert read_apn(apn_file(box.store)) is None
    assert file.read() == Overrides()


def test_an_end_while_the_daemon_was_down_undoes_at_its_start(box: Box) -> None:
    """And more than the whole time is no time that was ever set."""
    box.start().set("cloud.timeout", "9")
    file = OverrideFile(box.store)
    there = file.read()
    assert there.trial
    for until in (moment().mono - 1, moment().mono + 1000, inf, nan):
        file.write(replace(there, trial=replace(there.trial, until=until)))
        box.start()
        assert box.timeout == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"v": 2}',
        b'{"v": 1, "confirmed": {"mqtt.host": "evil"}}',
        b'{"v": 1, "confirmed": {"cloud.timeout": 9}}',
        b'{"v": 1, "confirmed": {"cloud.timeout": "9"}, "trial": {}}',
        b'{"v": 1, "confirmed": {"cloud.timeout": "9"}, "trial": {"values": {}, "boot": 1, "until": "x"}}',
        b'{"v": 1, "confirmed": {"budget.warn": "[[[["}}',
        b"[" * 60_000,
        b" " * 70_000,
    ],
)
def test_a_file_that_is_none_never_stops_a_start(box: Box, content: bytes) -> None:
    """The file alone counts, what was found is kept aside, and a change begins anew."""
    file = OverrideFile(box.store)
    file.path.write_bytes(content)
    remote = box.start()
    assert box.timeout == 5
    assert box.told
    assert "the file alone counts" in box.told
    assert file.aside.read_bytes() == content
    assert remote.set("cloud.timeout", "9").done
    assert box.timeout == 9
    assert remote.clear().text == "what was changed from afar is removed"
    assert box.timeout == 5
    assert not file.aside.exists()


def test_an_edit_of_the_file_that_makes_them_invalid_sets_them_aside(box: Box) -> None:
    """At a reload as at a start; all of them, confirmed or not."""
    remote = box.start()
    remote.set("inbound.timeout", "9")
    remote.confirm()
    remote.set("cloud.timeout", "9")
    box.write('inbound: { allow: ["10.0.0.0/8"] }')
    loaded = box.reread()
    assert loaded.settings.inbound.timeout == 9
    text = (
        OverrideFile(box.store)
        .path.read_bytes()
        .replace(b'"inbound.timeout": "9"', b'"inbound.timeout": "x"')
    )
    OverrideFile(box.store).path.write_bytes(text)
    loaded = box.reread()
    assert loaded.refused
    assert loaded.refused.startswith("inbound.timeout: ")
    assert "(inbound.timeout, cloud.timeout) does not" in loaded.refused
    remote.adopt(loaded)
    assert remote.get("cloud.timeout").text == "cloud.timeout=5"
    assert OverrideFile(box.store).aside.exists()


def test_undoing_needs_neither_the_disk_nor_a_valid_file(box: Box) -> None:
    """What counted before is used, by the restart too."""
    remote = box.start()
    remote.set("cloud.timeout", "9")
    remote.set("network.apn", "wrong")
    box.config.write_text("{ half a file")
    path = OverrideFile(box.store).path
    path.unlink()
    path.mkdir()
    (path / "x").touch()
    box.time.pass_(600)
    assert (box.timeout, box.applied[-1].settings.network.apn) == (5, "hologram")
    assert [each.settings.network.apn for each in box.restarted] == ["hologram"]
    again, told = begin(box.restarted[-1], box.reread)
    assert (again, told) == (box.restarted[-1], None)


def test_a_start_that_cannot_be_counted_is_not_tried(box: Box) -> None:
    """On a disk that takes nothing the change would never end by itself."""
    box.start().set("cloud.timeout", "9")
    path = OverrideFile(box.store).path
    (box.store.parent / (path.name + ".new")).mkdir()  # where it is written first
    box.start()
    assert box.timeout == 5


def test_what_cannot_be_read_now_is_not_set_aside(box: Box) -> None:
    """A fault of the disk must not take a confirmed APN away for good."""
    remote = box.start()
    remote.set("cloud.timeout", "9")
    remote.confirm()
    path = OverrideFile(box.store).path
    path.rename(path.with_name("there"))
    path.symlink_to("there")  # no link is followed
    box.start()
    assert box.timeout == 5
    assert box.told
    assert "cannot be read" in box.told
    path.unlink()
    path.with_name("there").rename(path)
    box.start()
    assert box.timeout == 9


def test_what_the_environment_hides_is_said(box: Box) -> None:
    """A change that was confirmed before the variable was set."""
    remote = box.start()
    remote.set("cloud.timeout", "9")
    remote.confirm()
    box.environ["HOLOGRAM_BRIDGE__CLOUD"] = "{ timeout: 7 }"
    loaded = box.reread()
    assert loaded.settings.cloud.timeout == 7
    assert loaded.changes() == (
        "changed from afar: cloud.timeout; the environment counts instead for cloud.timeout"
    )

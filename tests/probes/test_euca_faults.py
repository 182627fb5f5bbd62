# SPDX-License-Identifier: Apache-2.0
"""Blocks of the fault logs: their form, and that each is read once, through rotation, cuts and bounds."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import euca_faults
from nephoscope.probes.euca_faults import Block, Parser, Silenced

from tests.probes.fault_logs import (
    DISK,
    EUCANETD,
    LOGIN,
    NOW,
    RUSSIAN,
    STARS,
    Fixed,
    Host,
    in_c,
    in_java,
    packed,
    stamp,
)


def blocks(data):
    parser = Parser()
    parser.feed(data if isinstance(data, bytes) else data.encode())
    parser.end()
    return parser.blocks


class Runs:
    """Runs of the probe that keep what they return, as the frame does."""

    def __init__(self, host):
        self.host, self.before = host, None

    def __call__(self, shift=0.0, **words):
        run = Run(before=self.before, root=str(self.host.root), clock=Fixed(shift))
        found = euca_faults.look(run, **words)
        self.before = found.kept
        return found


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.fixture
def run(host):
    return Runs(host)


def told(found):
    return [(fault.of, fault.times) for fault in sorted(found.faults)]


def test_c_form():
    assert blocks(in_c("1008", NOW)) == [
        Block(
            1008,
            stamp(NOW),
            NOW,
            "eucanetd is not running",
            "Can't find running eucanetd process",
            "unknown",
            "eucalyptus",
            "eucanetd daemon on localhost",
            "1) Install eucanetd 2) Run eucanetd",
        )
    ]


def test_java_form_has_no_z_and_several_follow_each_other():
    text = in_java(1003, NOW) + in_java(10, NOW - 5)
    assert [(one.id, one.raised, one.initiator) for one in blocks(text)] == [
        (1003, NOW, "cloud"),
        (10, NOW - 5, "cloud"),
    ]


def test_translated_labels_stand_in_the_same_order():
    (block,) = blocks(in_c("1003", NOW, DISK, RUSSIAN))
    assert (block.initiator, block.location) == ("cloud", "Disk partition that hosts /var/lib/eucalyptus")
    assert block.resolution.startswith("1) Delete")


def test_values_of_several_lines_and_no_password():
    (block,) = blocks(in_java(2003, NOW, LOGIN))
    assert block.cause == (
        "Failed to login to storage target as the following command returned an error: "
        "Command: iscsiadm --password *** Error: code 24"
    )
    assert (block.initiator, block.location) == ("sc", "open iSCSI on sc")
    assert block.resolution == "1) Look 2) Think: then act"


@pytest.mark.parametrize(
    "header, expected",
    [
        ("  ERR-1008 0000-00-00 00:00:00Z x", (1008, "0000-00-00 00:00:00", None, "x")),  # localtime_r failed
        ("  ERR-1008 x", (1008, "", None, "x")),
        ("ERR-1008", (1008, "", None, "(no words)")),
        ("  ERR-99999 2013-06-11 25:61:61 x", (99999, "2013-06-11 25:61:61", time.mktime((2013, 6, 11, 25, 61, 61, 0, 0, -1)), "x")),
    ],
)  # fmt: skip
def test_a_header_that_is_odd_is_a_fault_all_the_same(header, expected):
    (block,) = blocks(f"{STARS}\n{header}\n{STARS}\n")
    assert block[:4] == expected


def test_a_block_without_its_end_and_one_without_its_beginning():
    whole = in_c("1008", NOW)
    cut = whole[: whole.index("Initiator")]
    found = blocks(cut + "\n" + in_java(1003, NOW))
    assert [one.id for one in found] == [1008, 1003]
    assert found[0].location == ""
    parser = Parser()
    parser.feed(whole[whole.index("   Cause") :].encode())
    assert (parser.blocks, parser.strange) == ([], 6)


def test_windows_line_ends_zeros_and_bytes_that_are_no_text():
    text = in_c("1008", NOW).replace("\n", "\r\n").encode()
    assert blocks(text)[0].location == "eucanetd daemon on localhost"
    assert blocks(b"\0" * 40 + in_c("1008", NOW).encode()[73:])[0].message == "eucanetd is not running"
    assert (
        blocks(in_c("1008", NOW).encode().replace(b"localhost", b"\xff\xfe|"))[0].location
        == "eucanetd daemon on \ufffd\ufffd|"
    )


def test_a_block_that_never_ends_is_bounded():
    parser = Parser()
    parser.feed((f"{STARS}\n  ERR-1008 {stamp(NOW)}Z x\n" + "y" * 100 + "\n" * 1 + ("z" * 100 + "\n") * 2000).encode())
    assert [one.id for one in parser.blocks] == [1008]
    assert parser.open is None


def test_a_fault_stays_when_its_log_is_quiet_and_counts_when_it_comes_again(host, run):
    host.log("cc", in_c("1008", NOW - 100))
    first = run()
    assert (first.beginning, told(first)) == (True, [("ERR-1008@cc", 1)])
    assert told(run(86400 * 30)) == [("ERR-1008@cc", 1)]
    host.log("cc", in_c("1008", NOW - 10))
    found = run(86400 * 31)
    assert told(found) == [("ERR-1008@cc", 2)]
    assert (found.faults[0].since, found.faults[0].last) == (stamp(NOW - 100), stamp(NOW - 10))
    assert found.faults[0].age == 86400 * 31 + 100


def test_what_names_the_object_tells_faults_apart_and_what_varies_does_not(host, run):
    other = (
        "dhcpd is not running",
        ("Can't find running dhcpd process", "unknown", "eucalyptus", "dhcpd daemon on x"),
        "",
    )
    worse = (EUCANETD[0], ("Something else", "7 of 9", *EUCANETD[1][2:]), "")
    host.log("nc", in_c("1008", NOW - 9), in_c("1008", NOW - 8, other), in_c("1008", NOW - 7, worse))
    host.log("cc", in_c("1008", NOW - 9))
    assert told(run()) == [("ERR-1008@cc", 1), ("ERR-1008@nc", 1), ("ERR-1008@nc", 2)]


def test_an_earlier_time_is_another_event_when_the_bytes_are_new(host, run):
    host.log("nc", in_c("1008", NOW - 100))
    run()
    host.log("nc", in_c("1008", NOW - 3700))  # the hour that comes twice
    assert told(run()) == [("ERR-1008@nc", 2)]


def test_a_block_that_is_being_written_is_told_at_once_and_latched_once(host, run):
    whole = in_c("1008", NOW)
    place = whole.index("Location") + 12
    path = host.log("nc", whole[:place])
    found = run()
    assert (told(found), found.faults[0].location, found.kept["latched"]) == ([("ERR-1008@nc", 1)], "", {})
    host.log("nc", whole[place:])
    found = run(5)
    assert (told(found), found.faults[0].location) == ([("ERR-1008@nc", 1)], "eucanetd daemon on localhost")
    assert len(found.kept["latched"]) == 1
    host.log("nc", in_c("1003", NOW, DISK)[:200])
    run(10)
    os.utime(path, (NOW - 120, NOW - 120))  # its writer died
    assert len(run(15).kept["latched"]) == 2
    assert len(run(20).faults) == 2
    host.log("nc", in_c("1013", NOW, DISK)[:100])  # within the header's line
    assert len(run(25).faults) == 2
    os.utime(path, (NOW - 120, NOW - 120))
    assert told(run(30))[-1] == ("ERR-1013@nc", 1)


def test_rotation_between_two_runs_loses_nothing(host, run):
    path = host.log("cloud", in_java(1003, NOW - 100))
    run()
    host.log("cloud", in_java(1006, NOW - 50))
    path.rename(path.with_name("cloud-fault.log.1"))
    host.log("cloud", in_java(1500, NOW - 20))
    assert told(run(10)) == [("ERR-1003@cloud", 1), ("ERR-1006@cloud", 1), ("ERR-1500@cloud", 1)]
    path.with_name("cloud-fault.log.1").rename(path.with_name("cloud-fault.log.2"))
    path.rename(path.with_name("cloud-fault.log.1"))
    host.log("cloud", in_java(1501, NOW - 20))
    assert told(run(20))[-1] == ("ERR-1501@cloud", 1)
    assert all(times == 1 for _, times in told(run(30)))


def test_rotation_within_a_block(host, run):
    whole = in_java(1003, NOW - 100)
    path = host.log("cloud", whole[:150])
    run()
    host.log("cloud", whole[150:])
    path.rename(path.with_name("cloud-fault.log.1"))
    host.log("cloud", in_java(1006, NOW))
    found = run(10)
    assert told(found) == [("ERR-1003@cloud", 1), ("ERR-1006@cloud", 1)]
    assert (found.gaps, found.strange) == ((), ())


def test_a_process_that_goes_on_writing_to_the_renamed_log(host, run):
    """A component of C opens its fault log once in its life: rotated without copytruncate it grows under another name."""
    path = host.log("nc", in_c("1008", NOW - 100))
    with path.open("a") as writer:
        run()
        path.rename(path.with_name("nc-fault.log.1"))
        host.log("nc")
        for step in range(1, 6):
            assert len(run(step * 3000).faults) == 1
        path.with_name("nc-fault.log.1").rename(path.with_name("nc-fault.log.2"))
        path.rename(path.with_name("nc-fault.log.1"))
        host.log("nc")
        run(20000)
        writer.write(in_c("1013", NOW + 20000))
        writer.flush()
        assert told(run(30000)) == [("ERR-1008@nc", 1), ("ERR-1013@nc", 1)]


def test_compressed_and_truncated(host, run):
    path = host.log("nc", in_c("1008", NOW - 100))
    run()
    host.log("nc", in_c("1013", NOW - 50))
    rotated = path.with_name("nc-fault.log.1")
    rotated.write_bytes(path.read_bytes())
    path.write_text("")
    packed(rotated)
    assert told(run(10)) == [("ERR-1008@nc", 1), ("ERR-1013@nc", 1)]
    host.log("nc", in_c("2001", NOW))
    assert told(run(20)) == [("ERR-1008@nc", 1), ("ERR-1013@nc", 1), ("ERR-2001@nc", 1)]


def test_what_was_thrown_away_unread_is_a_gap_for_a_day_and_what_was_latched_stays(host, run):
    path = host.log("nc", in_c("1008", NOW - 100))
    run()
    path.unlink()
    host.log("nc", in_c("1013", NOW))
    gap = ("/var/log/eucalyptus/nc-fault.log", "the file that was read last time is gone, or its archive can't be read")
    found = run(10)
    assert (told(found), found.gaps) == ([("ERR-1008@nc", 1), ("ERR-1013@nc", 1)], (gap,))
    assert run(86400).gaps == (gap,)
    assert run(86420).gaps == ()


def test_a_log_that_is_gone_is_missed_for_a_day(host, run):
    path = host.log("nc", in_c("1008", NOW - 100))
    host.log("cc")
    run()
    path.unlink()
    gone = Failed(ABSENT, "/var/log/eucalyptus/nc-fault.log", "", "is gone; what it raised before is kept")
    assert run(10).failures == (gone,)
    assert run(86400).failures == (gone,)
    found = run(86420)
    assert (found.failures, told(found)) == ((), [("ERR-1008@nc", 1)])


def test_a_log_that_was_renamed_and_not_made_again_is_read_once(host, run):
    path = host.log("nc", in_c("1008", NOW - 100))
    run()
    host.log("nc", in_c("1008", NOW - 50), in_c("1008", NOW - 40))
    path.rename(path.with_name("nc-fault.log.1"))
    assert told(run(10)) == [("ERR-1008@nc", 3)]
    assert told(run(20)) == [("ERR-1008@nc", 3)]
    host.log("nc", in_c("1008", NOW - 30))
    assert told(run(30)) == [("ERR-1008@nc", 4)]


def test_a_first_look_takes_the_archives_too(host, run):
    path = host.log("cloud", in_java(1004, NOW - 300))
    path.rename(path.with_name("cloud-fault.log.2"))
    packed(path.with_name("cloud-fault.log.2"))
    host.log("cloud", in_java(1005, NOW - 200)).rename(path.with_name("cloud-fault.log.1"))
    host.log("cloud", in_java(1006, NOW - 100))
    assert told(run()) == [("ERR-1004@cloud", 1), ("ERR-1005@cloud", 1), ("ERR-1006@cloud", 1)]
    assert told(run(10)) == [("ERR-1004@cloud", 1), ("ERR-1005@cloud", 1), ("ERR-1006@cloud", 1)]


def test_a_huge_log_is_read_bit_by_bit(host, run):
    noise = [in_java(1003, NOW - 5000 + number) for number in range(1000)]
    host.log("cloud", *noise, in_java(1006, NOW))
    found = run(most=1 << 16)
    ((path, left),) = found.behind
    assert path == "/var/log/eucalyptus/cloud-fault.log"
    assert 0 < left < len("".join(noise))
    for step in range(1, 20):
        found = run(step, most=1 << 16)
        if not found.behind:
            break
    assert told(found) == [("ERR-1003@cloud", 1000), ("ERR-1006@cloud", 1)]


def test_a_flood_of_different_faults_is_bounded(host, run, monkeypatch):
    monkeypatch.setattr(euca_faults, "MOST", 3)
    texts = [(f"message {number}", DISK[1], "") for number in range(9)]
    host.log("cloud", *(in_java(1003, NOW - 9 + number, text) for number, text in enumerate(texts)))
    found = run()
    assert [times for _, times in told(found)] == [1, 1, 1, 6]
    host.log("cloud", *(in_java(number, NOW - 9, DISK) for number in range(70000, 70009)))
    assert [times for _, times in told(run())][-1] == 1
    assert len(run.before["latched"]) == 5
    host.log("cloud", *(in_java(number, NOW - number, DISK) for number in range(70000, 70009)))
    assert len(run().faults) == 5


def test_acknowledged_ones_make_room(host, run, monkeypatch):
    monkeypatch.setattr(euca_faults, "MOST", 2)
    host.log("cloud", in_java(1003, NOW - 9), in_java(1004, NOW - 8))
    run()
    run(1, ack=("1003",), reason="x")
    host.log("cloud", in_java(1006, NOW - 7))
    assert told(run(2)) == [("ERR-1004@cloud", 1), ("ERR-1006@cloud", 1)]


def test_a_damaged_state_begins_anew_from_the_logs(host, run):
    host.log("nc", in_c("1008", NOW - 100))
    for rubbish in (
        {"logs": 7, "latched": [1]},
        {"logs": {"/var/log/eucalyptus/nc-fault.log": []}, "latched": {"x": {"id": "1"}, "y": None}, "quiet": 3},
        {"logs": {"/var/log/eucalyptus/nc-fault.log": {"marks": [[1]], "seen": "x", "gap": 7, "gone": "y"}}},
        [],
        "x",
    ):
        run.before = rubbish
        assert told(run()) == [("ERR-1008@nc", 1)]


def test_lines_that_are_no_fault_are_counted(host, run):
    host.log("nc", "java.lang.NullPointerException\n\tat x\n", in_c("1008", NOW))
    found = run()
    assert found.strange == (("/var/log/eucalyptus/nc-fault.log", 2),)
    assert run(10).strange == ()


def test_a_damaged_archive_is_a_gap(host, run):
    path = host.log("nc", in_c("1008", NOW - 100))
    path.with_name("nc-fault.log.1.gz").write_bytes(b"\x1f\x8b\x08 no archive")
    found = run()
    assert told(found) == [("ERR-1008@nc", 1)]
    assert "nc-fault.log.1.gz can't be unpacked" in found.gaps[0][1]


def test_no_fault_log_is_not_no_fault(host, run, tmp_path):
    absent = Failed(ABSENT, "/var/log/eucalyptus", "look for /var/log/eucalyptus/*-fault.log", "no such file")
    assert (run().failures, run().seen) == ((absent,), "")
    with pytest.raises(Failed) as caught:
        euca_faults.look(Run(root=str(tmp_path / "nowhere")))
    assert caught.value.error == "Eucalyptus is not installed here"


def test_silenced_by_the_operator_and_not_by_what_he_gave_a_text(host, run):
    host.log("nc")
    host.silence(1014)
    host.silence(1015, where="usr/share/eucalyptus/faults")
    host.silence(1008, where="usr/share/eucalyptus/faults")
    host.silence(1008, text="<eucafaults/>")
    host.silence(1003, locale="ru_RU")
    assert run().silenced == (
        Silenced(1003, "/etc/eucalyptus/faults/ru_RU/1003.xml"),
        Silenced(1014, "/etc/eucalyptus/faults/en_US/1014.xml"),
        Silenced(1015, "/usr/share/eucalyptus/faults/en_US/1015.xml"),
    )


@pytest.mark.parametrize(
    "text, expected",
    [("1008", "1008"), ("ERR-1008@nc", "1008@nc"), ("err-0010", "10"), ("1008@clc.example", "1008@clc.example")],
)
def test_names_of_faults(text, expected):
    assert euca_faults.number(text) == expected


@pytest.mark.parametrize("text", ["", "all", "1008@", "@nc", "10 08", "12345678", "-1"])
def test_names_that_are_none(text):
    with pytest.raises(ValueError, match="names no fault: write 1008, or 1008@nc as line 1 has it"):
        euca_faults.number(text)


def test_acknowledged_and_raised_again(host, run, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "anna")
    host.log("nc", in_c("1008", NOW - 100))
    host.log("cc", in_c("1008", NOW - 100))
    run()
    found = run(60, ack=("1008@nc",), reason="restarted")
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW + 60))
    assert found.done == ("ERR-1008@nc",)
    states = {fault.where: fault.acknowledged for fault in run(70).faults}
    assert states == {"nc": f"by anna on {at}: restarted", "cc": ""}
    host.log("nc", in_c("1008", NOW + 80))
    again = next(fault for fault in run(90).faults if fault.where == "nc")
    assert (again.acknowledged, again.times, again.since) == ("", 1, stamp(NOW + 80))


@pytest.mark.parametrize("ours", ["node7", "Node7.cloud.example"])
@pytest.mark.parametrize("place", ["", "@nc", "@NC", "@localhost", "@node7", "@NODE7.cloud.example"])
def test_ways_to_name_it(host, run, place, ours, monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=ours))
    host.log("nc", in_c("1008", NOW - 100))
    run()
    assert run(5, ack=(f"1008{place}",), reason="x").done == ("ERR-1008@nc",)


@pytest.mark.parametrize(
    "place", ["cc", "node", "node77", "node8.cloud.example", "node7.other.example", "cloud", "127.0.0.1"]
)
def test_another_component_or_host_is_not_meant(host, run, place, monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="node7.cloud.example"))
    host.log("nc", in_c("1008", NOW - 100))
    run()
    with pytest.raises(Failed, match="is not among the open faults"):
        run(5, ack=(f"1008@{place}",), reason="x")


def test_a_log_that_is_there_by_its_rotated_file_alone(host, run):
    """Renamed and not made again before the first look: a component of C goes on writing to it."""
    host.log("cc")
    path = host.log("nc", in_c("1008", NOW - 100))
    path.rename(path.with_name("nc-fault.log.1"))
    path.with_name("nc-fault.log.swp").write_text("what an editor leaves")
    gone = Failed(ABSENT, "/var/log/eucalyptus/nc-fault.log", "", "is gone; what it raised before is kept")
    found = run()
    assert (told(found), found.failures) == ([("ERR-1008@nc", 1)], (gone,))
    with path.with_name("nc-fault.log.1").open("a") as writer:
        writer.write(in_c("1013", NOW + 90000))
    found = run(90000)
    assert (told(found), found.failures) == ([("ERR-1008@nc", 1), ("ERR-1013@nc", 1)], ())
    path.with_name("nc-fault.log.1").rename(path.with_name("nc-fault.log.2"))
    host.log("nc", in_c("2001", NOW + 90005))
    found = run(90010)
    assert (told(found)[-1], len(found.faults), found.failures, found.gaps) == (("ERR-2001@nc", 1), 3, (), ())


def test_what_of_a_first_look_can_not_be_read_is_a_gap(host, run):
    path = host.log("nc")
    path.with_name("nc-fault.log.2").symlink_to("nowhere")
    ((of, text),) = run().gaps
    assert (of, text.partition("/var/log")[2]) == (
        "/var/log/eucalyptus/nc-fault.log", "/eucalyptus/nc-fault.log.2 can't be read: No such file or directory",
    )  # fmt: skip


def test_an_archive_of_a_kind_that_can_not_be_unpacked_is_a_gap(host, run):
    path = host.log("nc")
    path.with_name("nc-fault.log.1.zst").write_bytes(b"(\xb5/\xfd...")
    found = run()
    assert (found.strange, found.gaps[0][1].endswith("nc-fault.log.1.zst can't be unpacked here")) == ((), True)


def test_a_log_put_back_from_a_copy_opens_nothing_that_was_acknowledged(host, run):
    path = host.log("nc", in_c("1008", NOW - 300), in_c("1008", NOW - 200), in_c("1008", NOW - 100))
    run()
    run(10, ack=("1008",), reason="known")
    copy = path.read_bytes()
    path.rename(host.root / "kept")  # so that its inode is not used again
    path.write_bytes(copy)
    host.log("nc", in_c("1013", NOW + 15))
    found = run(20)
    assert [(fault.id, bool(fault.acknowledged)) for fault in found.faults] == [(1013, False), (1008, True)]
    assert len(found.gaps) == 1


def test_a_clock_that_is_set_back_loses_nothing(host, run):
    path = host.log("nc", in_c("1008", NOW + 86400))
    run(86400)  # a day ahead
    run(86410, ack=("1008",), reason="known")
    path.unlink()
    host.log("nc", in_c("1013", NOW - 60)).rename(path.with_name("nc-fault.log.1"))
    os.utime(path.with_name("nc-fault.log.1"), (NOW - 60, NOW - 60))
    host.log("nc", in_c("1008", NOW - 30))
    found = run(0)
    assert ("ERR-1013@nc", 1) in told(found)
    assert len(found.gaps) == 1
    host.log("nc", in_c("1008", NOW + 50))  # again, but before what was acknowledged by its time
    assert [(fault.id, bool(fault.acknowledged)) for fault in run(60).faults] == [(1008, False), (1013, False)]


def test_texts_that_cannot_be_looked_at_are_told_once(host, run):
    """What silences a fault may be among them: that none is silenced is not known then."""
    host.log("nc")
    host.silence(1014)
    folder = host.root / "etc/eucalyptus/faults/en_US"
    for number in (1003, 1008):
        (folder / f"{number}.xml").symlink_to(f"{number}.xml")  # a loop: what even root can't stat
    (folder / "1009.xml").symlink_to("nothing")
    failures = run().failures
    assert [(failed.kind, failed.of.rpartition("/")[0]) for failed in failures] == [
        (UNREADABLE, "/etc/eucalyptus/faults/en_US")
    ]


def test_a_file_with_a_strange_number_is_no_text_of_a_fault(host, run):
    host.log("nc")
    folder = host.root / "etc/eucalyptus/faults/en_US"
    folder.mkdir(parents=True)
    (folder / "10\u00b2.xml").touch()
    assert run().silenced == ()


def test_what_nobody_has_seen_is_not_acknowledged_with_the_rest(host, run):
    host.log("nc", in_c("1008", NOW - 100))
    with pytest.raises(Failed) as caught:
        run(0, ack=("1008",), reason="x")
    alone = "no earlier run is known: acknowledge as the scheduler's user, with the same options"
    assert caught.value == Failed(UNREADABLE, "ERR-1008", "acknowledge 1008", alone)
    run()
    host.log("nc", in_c("1008", NOW - 10))
    with pytest.raises(Failed) as caught:
        run(10, ack=("1008",), reason="x")
    assert caught.value.error == "was found just now: look at it first"
    assert run(20).faults[0].acknowledged == ""
    with pytest.raises(Failed) as caught:
        run(30, ack=("1008", "2000"), reason="x")
    assert caught.value.error == "is not among the open faults: run without --ack"


def test_a_silenced_fault_is_accepted_by_its_number(host, run):
    host.log("nc")
    host.silence(1014)
    run()
    assert run(5, ack=("1014",), reason="no ELB here").done == ("ERR-1014 (silenced)",)
    (entry,) = run(10).silenced
    assert entry.acknowledged.endswith(": no ELB here")

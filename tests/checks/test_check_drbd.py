# SPDX-License-Identifier: Apache-2.0
"""Answers in the forms of tests/probes/test_drbd.py, which names their sources."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Clock, Failed
from nephoscope.checks.storage.check_drbd import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.drbd import Survey

from tests.probes import stand_ins
from tests.probes.test_drbd import (
    GOOD,
    GOOD_COPY,
    HEAD_9,
    HEAD_83,
    HEAD_84,
    SYNC_83,
    VERIFY,
    copy,
    device,
    disk,
    peer,
    resource,
    status,
    tree,
)

PEER = GOOD.peers[0]
SECONDARY = GOOD._replace(role="Secondary")
UNHEARD = PEER._replace(connection="Connecting", role="Unknown")


def judged(*resources, argv=(), **words):
    return list(judge(Survey("9.2.4", resources, **words), CHECK.parse(*argv)))


def test_good():
    assert judged(GOOD, argv=("--expect", "r0", "--expect", "drbd1000", "--role", "primary")) == [
        Finding(OK, "r0", "role is Primary"),
        Finding(OK, "r0/0", "disk is UpToDate"),
        Finding(OK, "r0/b", "connection is Connected"),
        Finding(OK, "r0/b/0", "replication is Established"),
        Finding(OK, "r0/b/0", "the peer's disk is UpToDate"),
        Metric("outofsync", 0, "r0/b/0"),
        Finding(OK, "", "1 resources of DRBD 9.2.4 are up"),
    ]


def test_what_was_not_measured_and_what_can_not_be():
    def measured(**words):
        copies = (GOOD_COPY._replace(**words),)
        found = judged(GOOD._replace(peers=(PEER._replace(copies=copies),)))
        return [metric for metric in found if isinstance(metric, Metric)]

    assert measured(out_of_sync=None) == [Metric("outofsync", None, "r0/b/0")]
    assert measured(out_of_sync=None, counted=False) == []
    assert measured(out_of_sync=4096, done=50.0) == [
        Metric("outofsync", 4096, "r0/b/0"),
        Metric("resync", 50.0, "r0/b/0", 0, 100),
    ]


@pytest.mark.parametrize(
    ("asked", "here", "there", "expected"),
    [
        ("primary", "Primary", "Secondary", None),
        ("primary", "Secondary", "Primary", (WARNING, "is primary on b, and should be here")),
        ("primary", "Secondary", "Secondary", (CRITICAL, "has no primary that is known")),
        ("primary", "Secondary", None, (CRITICAL, "has no primary that is known")),
        ("secondary", "Secondary", "Primary", None),
        ("secondary", "Secondary", "Secondary", None),
        ("secondary", "Secondary", None, None),
        ("secondary", "Primary", "Secondary", (WARNING, "is primary here, and should be secondary")),
        ("one", "Primary", None, None),
        ("one", "Secondary", "Primary", None),
        ("one", "Secondary", "Secondary", (CRITICAL, "has no primary that is known")),
        ("one", "Secondary", None, (UNKNOWN, "has no primary that is known")),
        (None, "Secondary", "Secondary", None),
        (None, "Primary", "Primary", (CRITICAL, "has 2 primaries: this host, b")),
    ],
)  # fmt: skip
def test_roles(asked, here, there, expected):
    other = UNHEARD if there is None else PEER._replace(role=there)
    found = judged(GOOD._replace(role=here, peers=(other,)), argv=("--role", asked) if asked else ())
    told = [(finding.state, finding.text) for finding in found if "primar" in getattr(finding, "text", "")]
    assert told == ([expected] if expected else [])


def test_two_primaries_that_are_meant():
    both = GOOD._replace(peers=(PEER._replace(role="Primary"),))
    assert [finding for finding in judged(both, argv=("--dual-primary",)) if getattr(finding, "state", OK) != OK] == []
    others = SECONDARY._replace(peers=(PEER._replace(role="Primary"), PEER._replace(of="r0/c", role="Primary")))
    assert Finding(CRITICAL, "r0", "has 2 primaries: b, c") in judged(others)


def test_what_is_expected():
    assert Finding(CRITICAL, "r1", "is not up") in judged(GOOD, argv=("--expect", "r1"))
    assert judged(argv=("--expect", "r1")) == [Finding(CRITICAL, "r1", "no resource of DRBD is up")]
    unnamed = judged(GOOD, argv=("--expect", "r1"), named=False)
    assert Finding(UNKNOWN, "r1", "is not known: no link below /dev/drbd/by-res tells the names") in unnamed


def test_nothing_and_less_than_all():
    (failed,) = judged()
    assert failed.kind == ABSENT
    less = Failed(UNREADABLE, "", "run drbdsetup status", "x")
    assert judged(GOOD, failures=(less,))[0] == less


def bound(folder, monkeypatch, **scripts):
    """Put scripts in the place of programs; the state is then that user's, too."""
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    if os.getuid() == 0:
        os.chown(folder / "state", 1000, 1000)
    stand_ins.put(folder / "bin", monkeypatch, **scripts)
    if os.getuid() != 0:
        monkeypatch.setattr(os, "geteuid", os.getuid)


UP = "r0_b_0-ce1d08_outofsync"
NINE, LINK = status(resource()), {"r0/0": "../../../drbd1"}
WELL = f"OK - 1 resources of DRBD 9.2.4 are up | {UP}=0B;0"


@pytest.mark.parametrize(
    ("argv", "text", "expected"),
    [
        # 8.3 and 8.4: /proc/drbd
        ([], HEAD_84 + device(), "OK - 1 resources of DRBD 8.4.10 are up | r0_outofsync=0B;0"),
        (["--expect", "r0", "--role", "primary"], HEAD_84 + device(), "OK - 1 resources of DRBD 8.4.10 are up | r0_outofsync=0B;0"),
        ([], HEAD_84 + device(cs="WFConnection", ro="Primary/Unknown", ds="UpToDate/DUnknown", oos=4), "WARNING - r0 outofsync 4 KiB is above 0 B, r0/peer connection is WFConnection | r0_outofsync=4096B;0"),
        ([], HEAD_84 + device(cs="StandAlone", ro="Primary/Unknown", ds="UpToDate/DUnknown", flags="  r-----"), "CRITICAL - r0/peer connection is StandAlone | r0_outofsync=0B;0"),
        ([], HEAD_84 + device(ro="Primary/Primary"), "CRITICAL - r0 has 2 primaries: this host, peer | r0_outofsync=0B;0"),
        (["--dual-primary"], HEAD_84 + device(ro="Primary/Primary"), "OK - 1 resources of DRBD 8.4.10 are up | "),
        (["--role", "primary"], HEAD_84 + device(ro="Secondary/Secondary"), "CRITICAL - r0 has no primary that is known | "),
        (["--role", "primary"], HEAD_84 + device(ro="Secondary/Primary"), "WARNING - r0 is primary on peer, and should be here | "),
        ([], HEAD_84 + device(ds="Diskless/UpToDate"), "CRITICAL - r0 disk is Diskless"),
        ([], HEAD_84 + device(ds="UpToDate/Failed"), "CRITICAL - r0 the peer's disk is Failed | "),
        ([], HEAD_84 + device(oos=8), "WARNING - r0 outofsync 8 KiB is above 0 B | r0_outofsync=8192B;0"),
        ([], HEAD_84 + device(flags="C s-----"), "CRITICAL - r0 I/O is suspended: its flags say so | "),
        ([], HEAD_84 + VERIFY, "WARNING - r0 replication is VerifyS, 5 % done, and it is stalled | r0_outofsync=0B;0 r0_resync=5%;;;0;100"),
        ([], HEAD_83 + SYNC_83, "WARNING - drbd0 disk is Inconsistent, and is being synchronised, drbd0 replication is SyncTarget, 20.8 % done, drbd0 outofsync 795 MiB is above 0 B | drbd0_outofsync=833187840B;0 drbd0_resync=20.8%;;;0;100"),
        ([], HEAD_84 + device(cs="TOO_LARGE"), "UNKNOWN - r0/peer connection is TOO_LARGE | "),
        ([], HEAD_84 + device(ds="TOO_LARGE/UpToDate"), "UNKNOWN - r0 disk is TOO_LARGE | "),
        ([], HEAD_84 + device().replace(" oos:0", ""), "UNKNOWN - r0 outofsync was not measured"),
        (["--expect", "drbd9"], HEAD_84 + device(), "CRITICAL - drbd9 is not up | "),
        (["--expect", "r9"], HEAD_84 + device(), "CRITICAL - r9 is not up | "),
        (["--expect", "r0"], HEAD_84 + device(2), "UNKNOWN - r0 is not known: no link below /dev/drbd/by-res tells the names | "),
        ([], HEAD_84 + " 1: cs:Unconfigured\n", "UNKNOWN - no resource of DRBD is up: name by --expect what should be up"),
        (["--expect", "r0"], HEAD_84 + " 1: cs:Unconfigured\n", "CRITICAL - r0 no resource of DRBD is up"),
        ([], None, "UNKNOWN - the kernel has no DRBD (its module is not loaded): name by --expect what should be up"),
        (["--expect", "r0"], None, "CRITICAL - r0 the kernel has no DRBD (its module is not loaded)"),
        (["--absent-state", "ok"], None, "OK - the kernel has no DRBD (its module is not loaded)"),
        ([], "<html>", "UNKNOWN - drbd: not understood: '<html>' (read /proc/drbd)"),
        ([], HEAD_84 + " 1: cs:Connected\n", "UNKNOWN - drbd: a device that is not understood: '1: cs:Connected' (read /proc/drbd)"),
    ],
)  # fmt: skip
def test_first_lines_of_8(tmp_path, monkeypatch, argv, text, expected):
    bound(tmp_path, monkeypatch, drbdsetup="exit 7", sudo="exit 7")  # nobody is asked
    root = tree(tmp_path, text, LINK)
    line = CHECK.run([*argv, "--state-dir", str(tmp_path / "state")], root=root).line
    assert line.startswith(f"DRBD {expected}"), line


@pytest.mark.parametrize(
    ("argv", "script", "expected"),
    [
        (["--expect", "r0"], stand_ins.says(NINE), WELL),
        ([], stand_ins.says(status(resource(peers=[peer(copy(0, "Off", "DUnknown"), state="StandAlone", role="Unknown")]))), f"CRITICAL - r0/b connection is StandAlone | {UP}=0B;0"),
        ([], stand_ins.says(status(resource(peers=[peer(copy(0, "Off", "DUnknown", 4), state="Connecting", role="Unknown")]))), f"WARNING - r0/b connection is Connecting, r0/b/0 outofsync 4 KiB is above 0 B | {UP}=4096B;0"),
        ([], stand_ins.says(status(resource(peers=[peer(role="Primary")]))), "CRITICAL - r0 has 2 primaries: this host, b | "),
        ([], stand_ins.says(status(resource(peers=[peer(congested=True)]))), "WARNING - r0/b connection is congested | "),
        ([], stand_ins.says(status(resource(peers=[]))), "WARNING - r0 has no peer"),
        ([], stand_ins.says(status(resource(devices=[]))), "WARNING - r0 has no volume"),
        ([], stand_ins.says(status(resource(devices=[disk(state="Diskless")]))), "CRITICAL - r0/0 disk is Diskless"),
        ([], stand_ins.says(status(resource(devices=[disk(state="Diskless", client=True)]))), "OK - 1 resources of DRBD 9.2.4 are up"),
        ([], stand_ins.says(status(resource(devices=[disk(state="Inconsistent")]))), "CRITICAL - r0/0 disk is Inconsistent | "),
        ([], stand_ins.says(status(resource(devices=[disk(quorum=False)]))), "CRITICAL - r0/0 has lost quorum | "),
        ([], stand_ins.says(status(resource(**{"suspended": True, "suspended-quorum": True}))), "CRITICAL - r0 I/O is suspended: quorum | "),
        ([], stand_ins.says(status(resource(peers=[peer(copy(0, "SyncSource", "Inconsistent", 1, **{"percent-resync-done": 99.5}))]))), "WARNING - r0/b/0 replication is SyncSource, 99.5 % done, r0/b/0 the peer's disk is Inconsistent, and is being synchronised, r0/b/0 outofsync 1 KiB is above 0 B | "),
        ([], stand_ins.says(status(resource(**{"force-io-failures": True}))), "CRITICAL - r0 I/O is made to fail (force-io-failures) | "),
        ([], stand_ins.says(status(resource(devices=[disk(quorum="false")]))), "UNKNOWN - drbd: not its JSON: "),
        ([], stand_ins.says(status(resource(role="?"))), "UNKNOWN - r0 role is ? | "),
        ([], stand_ins.says(status(resource(peers=[peer(role="Unknown")]))), "UNKNOWN - r0/b role of the peer is Unknown | "),
        ([], stand_ins.says(status(resource(peers=[peer(copy(0, "Quite", "New"))]))), "UNKNOWN - r0/b/0 replication is Quite, r0/b/0 the peer's disk is New | "),
        (["--include", "r0"], stand_ins.says("[\n]\n"), "UNKNOWN - no resource of DRBD is up: name by --expect what should be up"),
        (["--expect", "r0"], stand_ins.says("[\n]\n"), "CRITICAL - r0 no resource of DRBD is up"),
        ([], "echo '<html>'", "UNKNOWN - drbd: not its JSON: '<html>' (run drbdsetup status)"),
        ([], "echo 'no netlink' >&2; exit 20", "UNKNOWN - drbd: it ended with 20: no netlink (run drbdsetup status)"),
        (["-t", "2"], "exec sleep 20", "CRITICAL - drbd: no answer in 1 s (run drbdsetup status --json)"),
    ],
)  # fmt: skip
def test_first_lines_of_9(tmp_path, monkeypatch, argv, script, expected):
    bound(tmp_path, monkeypatch, drbdsetup=script)
    line = CHECK.run([*argv, "--state-dir", str(tmp_path / "state")], root=tree(tmp_path, HEAD_9, blocks=["sda"])).line
    assert line.replace("in 0.9 s", "in 1 s").startswith(f"DRBD {expected}"), line


def test_without_the_right_or_the_program(tmp_path, monkeypatch):
    root, argv = tree(tmp_path, HEAD_9), ["--state-dir", str(tmp_path / "state")]
    bound(tmp_path, monkeypatch, drbdsetup="exit 0", sudo=stand_ins.REFUSES)
    assert CHECK.run(argv, root=root).line.startswith(
        "DRBD UNKNOWN - drbd: sudo: a password is required: needs a sudoers line for `/usr/sbin/drbdsetup status --json`"
    )
    (tmp_path / "bin/drbdsetup").unlink()
    bound(tmp_path, monkeypatch)
    line = CHECK.run(argv, root=root).line
    assert line.startswith("DRBD UNKNOWN - drbd: drbdsetup is not installed (run drbdsetup status --json)"), line


def test_what_the_kernel_has_and_nobody_lists_is_not_dropped_by_a_filter(tmp_path, monkeypatch):
    bound(tmp_path, monkeypatch, drbdsetup=stand_ins.says(NINE))
    root = tree(tmp_path, HEAD_9, blocks=["drbd1000", "drbd1001"])
    line = CHECK.run(["--include", "r0*", "--state-dir", str(tmp_path / "state")], root=root).line
    said = "it does not list drbd1001, which the kernel has (run drbdsetup status)"
    assert line == f"DRBD UNKNOWN - {said} | {UP}=0B;0", line


def test_a_hundred_and_fifty_resources(tmp_path, monkeypatch):
    many = [resource(f"r{n}", devices=[disk(minor=n)]) for n in range(150)]
    bound(tmp_path, monkeypatch, drbdsetup=stand_ins.says(status(*many)))
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state")], root=tree(tmp_path, HEAD_9))
    assert outcome.state == OK
    assert [item.partition("=")[0] for item in outcome.perfdata] == ["outofsync", "outofsync_sum"]


def test_a_resource_that_has_a_device_s_word_in_its_name(tmp_path):
    root = tree(tmp_path, HEAD_84 + device(), {"drbd-data/0": "../../../drbd1"})
    line = CHECK.run(["--expect", "r9", "--state-dir", str(tmp_path / "state")], root=root).line
    assert line.startswith("DRBD CRITICAL - r9 is not up | "), line


def test_what_was_up_and_is_not_any_more(tmp_path):
    def run(text, *argv, shift=0, links=LINK):
        place = tmp_path / f"at{shift}"
        place.mkdir(exist_ok=True)
        state = ("--state-dir", str(tmp_path / "state"), "--save")
        return CHECK.run([*argv, *state], root=tree(place, text, links), clock=Clock(shift)).line

    two = HEAD_84 + device() + device(2)
    assert run(two).startswith("DRBD OK - 2 resources")
    # Without udev's links its name is another, and it is there.
    assert run(two, shift=60, links={}).startswith("DRBD OK - 2 resources")
    assert run(two, shift=120).startswith("DRBD OK - 2 resources")
    assert run(HEAD_84 + device(), shift=720).startswith("DRBD WARNING - drbd2 is no longer up, it was 10 min ago | ")
    assert run(None, "--absent-state", "ok", shift=780).startswith(
        "DRBD WARNING - drbd2 is no longer up, it was 11 min ago, r0 is no longer up"
    )
    assert run(HEAD_84 + device(), shift=605000).startswith("DRBD OK - 1 resources")

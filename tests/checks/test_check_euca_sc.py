# SPDX-License-Identifier: Apache-2.0
"""check_euca_sc against the simulated cloud, over a recorded tree with stand-ins of tgtadm and vgs, and its judge by equality."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path

import pytest
from nephoscope.base import UNREACHABLE, Clock, Failed
from nephoscope.checks.eucalyptus.check_euca_sc import CHECK, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import euca_storage, heartbeat, mounts
from nephoscope.probes.euca_storage import Address, Backend, Storage, Volumes
from nephoscope.probes.lvm import VolumeGroup
from nephoscope.probes.tgt import Lun, Target, Targets

from tests.probes import stand_ins, test_lvm, test_tgt
from tests.probes.unprivileged import as_nobody

HERE = ["target", "group", "san", "space", "snapshots"]
OVERLAY = "euca-ebs-storage-vg-vol-1A2B3C4D"


def modes(*names):
    return [word for name in names for word in ("--mode", name)]


def found(storage, *argv):
    return list(judge(storage, CHECK.parse(*argv)))


def heart(enabled=True, local=True):
    others = (
        heartbeat.Component("objectstorage", True, True, True),
        heartbeat.Component("eucalyptus", True, True, True),
    )
    return heartbeat.Heartbeat("h:8773", 0.01, (*others, heartbeat.Component("storage", enabled, local, True)))


# The judge


@pytest.mark.parametrize(
    "beat, argv, finding",
    [
        (heart(), [], Finding(OK, "", "storage is enabled")),
        (heart(enabled=False), [], Finding(CRITICAL, "storage", "is registered on this host and not enabled")),
        (heart(False, False), [], Finding(CRITICAL, "storage", "is not registered on this host")),
        # On a separated cloud a Heartbeat may show a type enabled by another host's service: it does not live here.
        (heart(True, False), [], Finding(CRITICAL, "storage", "is not registered on this host")),
        (heart(enabled=False), ["--standby"], Finding(OK, "", "storage is not enabled, as a standby should be")),
        (heart(), ["--standby"], Finding(WARNING, "storage", "is enabled: the standby has taken over")),
        (heart(False, False), ["--standby"], Finding(CRITICAL, "storage", "is not registered on this host")),
    ],
)
def test_the_service(beat, argv, finding):
    assert found(Storage(heart=beat), *argv) == [finding, Metric("time", 0.01)]


def test_the_object_storage_is_not_the_storage():
    beat = heart()._replace(components=heart().components[:2])
    assert found(Storage(heart=beat))[0] == Finding(CRITICAL, "storage", "is not registered on this host")


def test_targets():
    lun = Lun(1, "disk", 1 << 20, True, "/dev/x")
    both = Targets(0.2, (Target(1, "iqn.x:1", "ready", (lun,)), Target(2, "iqn.x:2", "offline", (lun,))))
    assert found(Storage(targets=both)) == [
        Metric("target_time", 0.2),
        Metric("targets", 2),
        Finding(CRITICAL, "iqn.x:2", "is offline"),
    ]


DAS = VolumeGroup("euca-ebs-storage-vg-Zk3_x9Qw-1", 100, 15, 1, 0, 3, 0, False)


def test_groups():
    broken = VolumeGroup(OVERLAY, 100, 0, 1, 1, 1, 0, True)
    assert found(Storage(backend=Backend(""), groups=(broken, DAS))) == [
        Finding(CRITICAL, OVERLAY, "1 of 1 disks are missing"),
        Finding(OK, DAS.name, "is whole"),
        Metric("group_used", 85.0, of=DAS.name),
    ]


def test_backends():
    late = Failed(UNREACHABLE, "192.0.2.9:443", "connect", "no answer in 1 s")
    assert found(Storage(backend=Backend("das", ("data",)), groups=())) == [
        Finding(CRITICAL, "back-end", "no volume group data")
    ]
    # DAS takes the group that its device is in already, whatever that is called (updateVolumeGroup in DASManager).
    assert found(Storage(backend=Backend("das"), groups=())) == [
        Finding(
            UNKNOWN, "back-end", "is DAS, and no volume group has Eucalyptus' name: say by --group which one it uses"
        )
    ]
    assert found(Storage(backend=Backend("das", ("data",)), groups=(DAS._replace(name="data", free=50),))) == [
        Finding(OK, "data", "is whole"),
        Metric("group_used", 50.0, of="data"),
    ]
    assert found(Storage(backend=Backend("overlay"), groups=())) == []
    assert found(Storage(backend=Backend("ceph"))) == [
        Finding(OK, "back-end", "is Ceph, which is not looked at here (check_ceph)")
    ]
    assert found(Storage(backend=Backend("san"))) == [
        Finding(UNKNOWN, "back-end", "is an array whose management end-point nothing names: say it by --san")
    ]
    array = Backend("san", (), (Address("192.0.2.8", 443), Address("192.0.2.9", 443)))
    assert found(Storage(backend=array, san={"192.0.2.8:443": 0.1, "192.0.2.9:443": late})) == [
        Finding(OK, "192.0.2.8:443", "opens"),
        late,
    ]


def test_volumes():
    assert found(Storage(room=mounts.Room(100, 19), volumes=Volumes({}))) == [
        Metric("volumes_used", 81.0),
        Metric("snapshots_running", 0),
        Metric("snapshot_age", 0.0),
    ]
    # DAS makes no file: the snapshot is in the group while it is copied.
    das = Storage(groups=(DAS._replace(snapshots=2), DAS._replace(name=OVERLAY, snapshots=1)), volumes=Volumes({}))
    assert Metric("snapshots_running", 2) in found(das)
    assert found(Storage(volumes=Volumes({"vol-1A2B3C4Dxyz": 90.0}))) == [
        Metric("snapshots_running", 1),
        Metric("snapshot_age", 90.0, of="vol-1A2B3C4Dxyz"),
    ]


@pytest.mark.parametrize(
    "text, address",
    [
        ("array.example", Address("array.example", 443)),
        ("192.0.2.8:22", Address("192.0.2.8", 22)),
        ("[2001:db8::8]:8080", Address("2001:db8::8", 8080)),
        ("2001:db8::8", Address("2001:db8::8", 443)),
        ("[2001:db8::8]", Address("2001:db8::8", 443)),
    ],
)
def test_addresses(text, address):
    assert euca_storage.address(text) == address


@pytest.mark.parametrize("text", ["", ":22", "host:", "host:0", "host:99999", "host:ssh"])
def test_no_addresses(text):
    with pytest.raises(ValueError, match="is not HOST"):
        euca_storage.address(text)


# From afar


@pytest.fixture
def demo():
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as cloud:
        yield cloud


@pytest.fixture
def check(tmp_path):
    def run(*argv, **words):
        return CHECK.run([*map(str, argv), "--state-dir", str(tmp_path / "state")], **words)

    return run


@pytest.mark.parametrize("version", ["3.4.3", "4.1.2", "4.4.2", "5.1.0"])
def test_each_version_by_one_request(check, version):
    with Demo(sample(version=version, zones=1, nodes=1)) as demo:
        outcome = check("-H", demo.address("one-cc"))
        assert (outcome.state, outcome.reason) == (OK, "storage is enabled")
        assert [(seen.method, seen.path) for seen in demo.requests] == [("GET", "/services/Heartbeat")]


def test_another_host_of_the_cloud(check, demo):
    outcome = check("-H", demo.address("clc"))
    assert (outcome.state, outcome.reason) == (CRITICAL, "storage is not registered on this host")


@pytest.mark.parametrize("state", ["BROKEN", "NOTREADY", "DISABLED", "STOPPED"])
def test_not_enabled(check, demo, state):
    demo.tell("state", "one-sc-1", state, "")
    outcome = check("-H", demo.address("one-cc"))
    assert (outcome.state, outcome.reason) == (CRITICAL, "storage is registered on this host and not enabled")
    outcome = check("-H", demo.address("one-cc"), "--standby")
    assert (outcome.state, outcome.reason) == (OK, "storage is not enabled, as a standby should be")


@pytest.mark.parametrize(
    "word, state, said",
    [
        ("stop", CRITICAL, "Connection refused (GET /services/Heartbeat)"),
        ("error500", CRITICAL, "HTTP 500 (GET /services/Heartbeat)"),
        ("cut", CRITICAL, "the connection was cut before the answer was whole (GET /services/Heartbeat)"),
        ("html", UNKNOWN, "not a line of a Heartbeat: '<!DOCTYPE html>' (GET /services/Heartbeat)"),
        ("login", UNKNOWN, "HTTP 302, to https://sso.example/login (GET /services/Heartbeat)"),
        ("huge", UNKNOWN, "more than 1 MiB (GET /services/Heartbeat)"),
    ],
)
def test_trouble(check, demo, word, state, said):
    demo.tell(word, "one-cc")
    outcome = check("-H", demo.address("one-cc"))
    assert (outcome.state, outcome.line) == (
        state,
        f"EUCA_SC {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[state]} - {demo.address('one-cc')}:8773: {said}",
    )


@pytest.mark.parametrize("word", ["hang", "drip"])
def test_silence_is_cut_at_the_deadline(check, demo, word):
    demo.tell(word, "one-cc")
    begun = time.monotonic()
    outcome = check("-H", demo.address("one-cc"), "-t", "2")
    assert time.monotonic() - begun < 2.5
    said = f"{demo.address('one-cc')}:8773: no answer in 1.0 s (GET /services/Heartbeat)"
    assert (outcome.state, outcome.reason) == (CRITICAL, said)


def test_the_other_port_and_a_slow_answer(check, demo):
    outcome = check("-H", demo.address("one-cc"), "-p", "1")
    assert outcome.reason == f"{demo.address('one-cc')}:1: Connection refused (GET /services/Heartbeat)"
    assert check("-H", demo.address("one-cc"), "-w", "time=0").state == WARNING


def test_modes_of_this_host_are_refused_from_afar(check):
    outcome = check("-H", "192.0.2.1", "--mode", "target", "--mode", "service")
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "mode target looks at the host that the check runs on, not at 192.0.2.1: run it there, by NRPE or an agent,"
        " without -H or with --local",
    )


# What the volumes lie on


def test_the_property_names_the_back_end(check, demo, tmp_path, monkeypatch):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    demo.credentials(tmp_path / "euca.ini", user="monitor")
    argv = [
        "--local",
        "-H",
        demo.address("one-cc"),
        "--credentials",
        tmp_path / "euca.ini",
        *modes("target", "group", "san"),
    ]
    demo.tell("property", "one.storage.blockstoragemanager", "ceph-rbd")
    outcome = check(*argv)
    assert (outcome.state, outcome.reason) == (OK, "back-end is Ceph, which is not looked at here (check_ceph)")
    assert [seen.host for seen in demo.requests] == ["clc"]
    with socket.create_server(("127.0.0.1", 0)) as array, socket.create_server(("127.0.0.1", 0)) as gone:
        opens, shut = (server.getsockname()[1] for server in (array, gone))
        gone.close()
        demo.tell("property", "one.storage.blockstoragemanager", "netapp")
        demo.tell("property", "one.storage.sanhost", f"127.0.0.1:{opens},127.0.0.1:{shut}")
        outcome = check(*argv)
        assert (outcome.state, outcome.reason) == (CRITICAL, f"127.0.0.1:{shut}: Connection refused (connect)")
        assert f"127.0.0.1:{opens} opens" in outcome.text


def test_the_property_names_the_directory_and_the_port(check, demo, tmp_path, monkeypatch):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    demo.credentials(tmp_path / "euca.ini", user="monitor")
    argv = ["--credentials", tmp_path / "euca.ini"]
    usual, moved = "/var/lib/eucalyptus/volumes", "/srv/volumes"
    for path in ("etc/eucalyptus", usual[1:], moved[1:]):
        (tmp_path / "tree" / path).mkdir(parents=True)
    (tmp_path / "tree/etc/eucalyptus/eucalyptus.conf").write_text("")
    for path, files in ((usual, 1), (moved, 2)):
        for number in range(files):
            (tmp_path / "tree" / path[1:] / f"vol-1A2B3C4D{number}xyz").write_bytes(b"")
    demo.tell("property", "one.storage.volumesdir", moved)
    outcome = check(*argv, *modes("snapshots"), root=str(tmp_path / "tree"))
    assert outcome.perfdata[0] == "snapshots_running=2"
    outcome = check(*argv, *modes("snapshots"), "--volumes", usual, root=str(tmp_path / "tree"))
    assert outcome.perfdata[0] == "snapshots_running=1"
    demo.tell("property", "one.storage.blockstoragemanager", "equallogic")
    demo.tell("property", "one.storage.sanhost", "127.0.0.1")
    monkeypatch.setattr(euca_storage, "opened", lambda run, addresses, seconds: {one.of: 0.1 for one in addresses})
    assert check(*argv, *modes("san")).reason == "127.0.0.1:22 opens"


@pytest.mark.parametrize(
    "device, groups, state, said",
    [
        ("data", ["data"], OK, "data is whole"),
        ("data", [], CRITICAL, "back-end no volume group data"),
        ("/dev/data", ["data"], OK, "data is whole"),
        # A bare device is in a group of Eucalyptus' own name, and its own is none.
        ("/dev/sdb", ["euca-ebs-storage-vg-Zk3_x9Qw-1"], OK, "euca-ebs-storage-vg-Zk3_x9Qw-1 is whole"),
        (
            "/dev/sdb",
            ["rhel"],
            UNKNOWN,
            "back-end is DAS, and no volume group has Eucalyptus' name: say by --group which",
        ),
    ],
)
def test_the_property_names_the_device_of_das(host, demo, tmp_path, device, groups, state, said):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    demo.credentials(tmp_path / "euca.ini", user="monitor")
    demo.tell("property", "one.storage.blockstoragemanager", "das")
    demo.tell("property", "one.storage.dasdevice", device)
    vgs = stand_ins.says(test_lvm.report(*(test_lvm.row(group) for group in groups)))
    outcome = host("--credentials", str(tmp_path / "euca.ini"), *modes("group"), vgs=vgs)
    assert (outcome.state, said in outcome.reason) == (state, True), outcome.line


def test_properties_that_do_not_tell(check, demo, tmp_path):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    demo.credentials(tmp_path / "euca.ini", user="monitor")
    argv = ["--credentials", tmp_path / "euca.ini", *modes("san")]
    demo.tell("property", "one.storage.blockstoragemanager", "")
    outcome = check(*argv)
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "back-end: one.storage.blockstoragemanager is not set: the storage controller stays BROKEN (DescribeProperties)",
    )
    outcome = check(*argv, "--zone", "elsewhere")
    said = "no property elsewhere.storage.… is shown (DescribeProperties): needs a user of account eucalyptus"
    assert (outcome.state, outcome.reason.startswith(said)) == (UNKNOWN, True), outcome.line


def test_two_zones_want_to_be_told_apart(check, tmp_path):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    with Demo(sample(version="4.4.2", zones=2, nodes=1)) as demo:
        demo.credentials(tmp_path / "euca.ini", user="monitor")
        outcome = check("--credentials", tmp_path / "euca.ini", *modes("san"))
        said = "back-end: which of the zones one, two is it? Say it by --zone (DescribeProperties)"
        assert (outcome.state, outcome.reason) == (UNKNOWN, said)


# This host


def test_the_files_of_a_simulated_storage_controller(check, demo, tmp_path):
    demo.write("one-cc", tmp_path / "host")
    outcome = check(*modes("snapshots"), root=str(tmp_path / "host"))
    assert (outcome.state, outcome.perfdata[0]) == (OK, "snapshots_running=0")


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A storage controller's tree: two volumes, a snapshot; programs as the test says; the file system 40 % full."""
    tree = tmp_path / "tree"
    volumes = tree / "var/lib/eucalyptus/volumes"
    volumes.mkdir(parents=True)
    (tree / "etc/eucalyptus").mkdir(parents=True)
    (tree / "etc/eucalyptus/eucalyptus.conf").write_text('EUCALYPTUS="/"\n')
    for name in ("vol-1A2B3C4D", "vol-0123456789abcdef0", "snap-9F8E7D6C"):
        (volumes / name).write_bytes(b"")
    monkeypatch.setattr(mounts, "_measure", lambda *_, **__: [1000, 600, 10, 5])
    tools = {
        "tgtadm": stand_ins.says(test_tgt.target()),
        "vgs": stand_ins.says(test_lvm.report(test_lvm.row("rhel", free=0), test_lvm.row(OVERLAY, free=0))),
    }

    def run(*argv, clock=None, **changed):
        stand_ins.put(tmp_path / "bin", monkeypatch, **{**tools, **changed})
        words = [*argv, "--state-dir", str(tmp_path / "state")]
        return CHECK.run(
            words if "--mode" in argv or "--local" in argv else [*modes(*HERE), *words], root=str(tree), clock=clock
        )

    run.volumes = volumes
    return run


def test_a_host_that_is_well(host):
    outcome = host()
    assert (outcome.state, outcome.reason.partition(", ")[2]) == (
        OK,
        "targets 1, volumes used 40 %, snapshots running 0, snapshot age 0 s, euca-ebs-storage-vg-vol-1A2B3C4D is whole",
    )
    labels = [item.partition("=")[0] for item in outcome.perfdata]
    assert labels == ["target_time", "targets", "volumes_used", "snapshots_running", "snapshot_age"]


def test_here_and_from_afar_at_once(host, demo):
    outcome = host("--local", "-H", demo.address("one-cc"))
    assert (outcome.state, outcome.reason) == (OK, "storage is enabled")
    assert outcome.perfdata[0].startswith("time=")


@pytest.mark.parametrize(
    "changed, state, said",
    [
        (
            {"tgtadm": f'echo "{test_tgt.GONE}" >&2; exit 107'},
            CRITICAL,
            f"tgtd: not running: {test_tgt.GONE}",
        ),
        ({"tgtadm": stand_ins.says("garbage")}, UNKNOWN, "tgtd: not understood: 'garbage\\n' (tgtadm --op show)"),
        (
            {"tgtadm": stand_ins.says(test_tgt.target(state="offline"))},
            CRITICAL,
            "iqn.2009-06.com.eucalyptus.one:store1 is offline",
        ),
        (
            {"vgs": stand_ins.says(test_lvm.report(test_lvm.row(OVERLAY, "wz-pn-", 0, 1)))},
            CRITICAL,
            f"{OVERLAY} 1 of 2 disks are missing",
        ),
        (
            {"vgs": stand_ins.says(test_lvm.report(test_lvm.row("euca-ebs-storage-vg-Zk3_x9Qw-1", free=1000000)))},
            CRITICAL,
            "euca-ebs-storage-vg-Zk3_x9Qw-1 group used 97.4 % is above 90 %",
        ),
        ({"vgs": "exit 5"}, UNKNOWN, "lvm: it ended with 5: no word why (run vgs)"),
    ],
)
def test_each_fault_of_the_back_end(host, changed, state, said):
    outcome = host("--backend", "overlay", *modes(*HERE), **changed)
    assert (outcome.state, outcome.reason) == (state, said)


def test_a_hung_tgtd_is_found_within_its_share(host):
    begun = time.monotonic()
    outcome = host("-t", "3", tgtadm="exec sleep 30")
    assert time.monotonic() - begun < 3.5
    assert (outcome.state, outcome.reason) == (
        CRITICAL,
        "tgtd: no answer in 1.4 s (run tgtadm --lld iscsi --mode target --op …):"
        " on Ceph or an array there need be none: say so by --backend",
    )
    assert "volumes used 40 %" in outcome.text


def test_a_busy_tgtd_has_its_five_seconds(host):
    """Its owner waits ten (timeoutinmillis): an answer is slow, and not hung, for most of the deadline."""
    outcome = host("-t", "4", "-w", "target_time=1", tgtadm=f"sleep 1.8\n{stand_ins.says(test_tgt.target())}")
    assert (outcome.state, outcome.reason.partition(" 1.")[0]) == (WARNING, "target time"), outcome.line


def test_sudo_that_refuses(host):
    outcome = host(*modes("target"), sudo=stand_ins.REFUSES)
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "tgtd: sudo: a password is required: needs a sudoers line for"
        " `/usr/sbin/tgtadm --lld iscsi --mode target --op show` (nephoscope export sudoers)",
    )


def test_arrays_and_ceph_want_no_tgtd(host):
    outcome = host("--backend", "ceph", *modes(*HERE), tgtadm="exit 1", vgs="exit 1")
    assert (outcome.state, "back-end is Ceph" in outcome.text) == (OK, True)
    outcome = host("--backend", "san", *modes("target", "san"), tgtadm="exit 1")
    said = "back-end is an array whose management end-point nothing names: say it by --san"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)


def test_an_array_is_asked_whether_it_opens(host):
    with socket.create_server(("127.0.0.1", 0)) as array:
        port = array.getsockname()[1]
        outcome = host("--san", f"127.0.0.1:{port}", *modes("target", "san"), tgtadm="exit 1")
        assert (outcome.state, outcome.reason) == (OK, f"127.0.0.1:{port} opens")
    outcome = host("--san", f"127.0.0.1:{port}", *modes("san"))
    assert (outcome.state, outcome.reason) == (CRITICAL, f"127.0.0.1:{port}: Connection refused (connect)")
    outcome = host("--san", "127.0.0.1:ssh", *modes("san"))
    assert (outcome.state, outcome.reason) == (UNKNOWN, "option --san: '127.0.0.1:ssh' is not HOST or HOST:PORT")


@pytest.mark.parametrize("backend", [["--backend", "das"], []])
def test_das_without_its_group(host, backend):
    outcome = host(*backend, "--group", "data", *modes("group"))
    assert (outcome.state, outcome.reason) == (CRITICAL, "back-end no volume group data")


def test_a_snapshot_of_das_is_in_its_group(host):
    group = test_lvm.report(test_lvm.row("euca-ebs-storage-vg-Zk3_x9Qw-1"))
    outcome = host("--backend", "das", *modes("snapshots"), vgs=stand_ins.says(group))
    assert (outcome.state, outcome.perfdata[0]) == (OK, "snapshots_running=1")


def test_the_directory_fills(host, monkeypatch):
    monkeypatch.setattr(mounts, "_measure", lambda *_, **__: [1000, 150, 10, 5])
    assert host(*modes("space")).reason == "volumes used 85 % is above 80 %"
    monkeypatch.setattr(mounts, "_measure", lambda *_, **__: [1000, 50, 10, 5])
    outcome = host(*modes("space"))
    assert (outcome.state, outcome.reason) == (CRITICAL, "volumes used 95 % is above 90 %")


def test_what_a_failed_snapshot_left(host):
    for name in ("vol-1A2B3C4DaZ-_xY09", "snap-9F8E7D6C.tmp"):
        (host.volumes / name).write_bytes(b"")
    (host.volumes / "lost+found").mkdir()
    running = host(*modes("snapshots"))
    assert (running.state, running.perfdata[0]) == (OK, "snapshots_running=2")
    outcome = host(*modes("snapshots"), clock=Clock(shift=172_900))
    assert (outcome.state, outcome.reason) == (
        WARNING,
        "snap-9F8E7D6C.tmp snapshot age 2 d is above 2 d, vol-1A2B3C4DaZ-_xY09 snapshot age 2 d is above 2 d",
    )


def test_no_directory_no_eucalyptus_no_right(host, tmp_path, monkeypatch):
    outcome = host(*modes("snapshots"), "--volumes", "/srv/none")
    host.volumes.rename(host.volumes.with_name("elsewhere"))
    monkeypatch.undo()
    gone = CHECK.run([*modes("space"), "--state-dir", str(tmp_path / "s")], root=str(tmp_path / "tree"))
    path = "/var/lib/eucalyptus/volumes"
    assert (gone.state, gone.reason) == (
        UNKNOWN,
        f"{path}: No such file or directory (ask the file system for its size)",
    )
    empty = CHECK.run([*modes("space"), "--state-dir", str(tmp_path / "s")], root=str(tmp_path / "nothing"))
    said = "eucalyptus.conf: Eucalyptus is not installed here (read /etc/eucalyptus/eucalyptus.conf)"
    assert (empty.state, empty.reason, empty.absent) == (UNKNOWN, said, True)
    said = "/srv/none: No such file or directory (look into the volumes directory)"
    assert (outcome.state, outcome.reason) == (UNKNOWN, said)


@pytest.fixture
def closed(host, monkeypatch):
    """The directory is 0700, as the storage controller makes it at each start (checkVolumesDir in OverlayManager)."""
    real = os.scandir

    def refuse(path):
        if str(path).endswith("/volumes"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (host.volumes / "vol-1A2B3C4DaZ-_xY09").write_bytes(b"")
    return host


def test_a_closed_directory_is_listed_by_sudo(closed):
    outcome = closed(*modes("snapshots"), clock=Clock(shift=172_900))
    said = "vol-1A2B3C4DaZ-_xY09 snapshot age 2 d is above 2 d"
    assert (outcome.state, outcome.reason, outcome.perfdata[0]) == (WARNING, said, "snapshots_running=1")


def test_a_closed_directory_that_is_a_link(closed):
    elsewhere = closed.volumes.with_name("big")
    closed.volumes.rename(elsewhere)
    closed.volumes.symlink_to(elsewhere)
    assert closed(*modes("snapshots")).perfdata[0] == "snapshots_running=1"


def test_a_closed_directory_without_sudo(closed):
    """Its room is told to everybody."""
    outcome = closed(*modes("space", "snapshots"), sudo=stand_ins.REFUSES)
    assert (outcome.state, outcome.reason.partition(" `")[0]) == (
        UNKNOWN,
        "/var/lib/eucalyptus/volumes: sudo: a password is required: needs a sudoers line for",
    )
    assert outcome.perfdata[0].startswith("volumes_used=40%")


def test_a_closed_directory(monkeypatch):
    monkeypatch.setattr(mounts, "_measure", lambda *_, **__: [1000, 600, 10, 5])
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        os.chmod(root, 0o755)
        volumes = Path(root, "srv/volumes")
        volumes.mkdir(parents=True)
        volumes.chmod(0)
        space = as_nobody(CHECK, ["--volumes", "/srv/volumes", *modes("space")], root=root)
        state, line = as_nobody(CHECK, ["--volumes", "/srv/volumes", *modes("snapshots")], root=root)
        volumes.chmod(0o755)
    assert space == (OK, "EUCA_SC OK - volumes used 40 % | volumes_used=40%;80;90")
    assert (state, line.startswith("EUCA_SC UNKNOWN - /srv/volumes: sudo")) == (UNKNOWN, True), line
    assert " -maxdepth 1 -printf %T@: -print0` (nephoscope export sudoers)" in line

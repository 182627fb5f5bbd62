# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import shutil

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import iscsi_session
from nephoscope.probes.iscsi_session import Place, Session

from tests.probes.iscsi_tree import TARGET, multipath, processes, session
from tests.probes.kernel_tree import put, refuse

T1, P = TARGET.format(1), "192.0.2.10:3260"


def look(root, before=None, shift=0.0, expected=(), paths=(), **words):
    run = Run(root=str(root), before=before, clock=Clock(shift), **words)
    return iscsi_session.survey(run, expected, paths=paths)


def lay(root, *address, **words):
    processes(root, "systemd", "iscsid")
    return session(root, 1, *address, **{"disk": "sdb", **words})


def test_a_good_session(tmp_path):
    seen = look(lay(tmp_path))
    assert seen.sessions == (Session(f"{T1} {P}", T1, P, "LOGGED_IN", "ok", "", 1, 0.0, None, "", "ok", ""),)
    assert (seen.most, seen.daemon, seen.counted) == ({T1: 1}, True, True)


@pytest.mark.parametrize(
    ("state", "connection", "health", "said"),
    [
        ("LOGGED_IN", "up", "ok", ""),
        ("LOGGED_IN", None, "ok", ""),
        ("LOGGED_IN", "down", "recovering", "has a connection that is down"),
        ("LOGGED_IN", "failed", "recovering", "has a connection that is failed"),
        ("LOGGED_IN", "bound", "recovering", "has a connection that is bound"),
        ("LOGGED_IN", "unknown", "unknown", "has a connection that is 'unknown', which is not understood"),
        ("FAILED", "failed", "recovering", "is FAILED"),
        ("FREE", "down", "recovering", "is FREE: not logged in"),
        ("(null)", "up", "unknown", "is '(null)', which is not understood"),
        ("", "up", "unknown", "is '', which is not understood"),
    ],
)
def test_every_state(tmp_path, state, connection, health, said):
    (found,) = look(lay(tmp_path, state=state, connection=connection)).good
    assert (found.health, found.said) == (health, said)


@pytest.mark.parametrize(
    ("tmo", "seconds", "health"),
    [
        ("120", 119, "recovering"),
        ("120", 121, "failed"),
        ("15", 16, "failed"),
        ("off", 119, "recovering"),
        ("off", 121, "failed"),
    ],
)
def test_failed_for_longer_than_the_session_s_own_time(tmp_path, tmo, seconds, health):
    before = look(lay(tmp_path, state="FAILED", tmo=tmo)).kept
    (found,) = look(tmp_path, before, seconds).good
    assert (found.health, found.said) == (health, f"is FAILED for {seconds} s")


def test_free_is_the_end_of_one_that_was_seen(tmp_path):
    before = look(lay(tmp_path)).kept
    (found,) = look(lay(tmp_path, state="FREE"), before, 60).good
    assert (found.health, found.said) == ("failed", "is FREE: its recovery was given up")


def test_one_without_a_disk(tmp_path):
    first = look(lay(tmp_path, disk=""))
    assert (first.good[0].disks, first.good[0].idle) == (0, 0.0)
    assert round(look(tmp_path, first.kept, 90).good[0].idle) == 90


@pytest.mark.parametrize(("tmo", "timeout"), [("120", 120.0), ("5", 5.0), ("off", None)])
def test_under_multipath_the_time_of_recovery_counts(tmp_path, tmo, timeout):
    lay(tmp_path, tmo=tmo)
    assert look(tmp_path).good[0].timeout is None
    multipath(tmp_path, "sdb")
    assert look(tmp_path).good[0].timeout == timeout


def test_two_interfaces_of_one_portal_are_two_objects(tmp_path):
    lay(tmp_path)
    session(tmp_path, 2, iface="tcp.eth1", disk="sdc")
    assert [found.name for found in look(tmp_path).good] == [f"{T1} {P}", f"{T1} {P} tcp.eth1"]


def test_fewer_sessions_of_a_target(tmp_path):
    lay(tmp_path)
    session(tmp_path, 2, "2001:db8::1", disk="sdc")
    before = look(tmp_path)
    assert before.good[1].portal == "[2001:db8::1]:3260"
    shutil.rmtree(f"{tmp_path}/sys/class/iscsi_session/session2")
    assert look(tmp_path, before.kept, 60).most == {T1: 2}
    assert look(tmp_path, before.kept, 8 * 86400).most == {T1: 1}


def test_the_daemon(tmp_path):
    lay(tmp_path)
    processes(tmp_path, "systemd", "sshd")
    assert look(tmp_path).daemon is False
    shutil.rmtree(f"{tmp_path}/proc/1")
    cure = "the group that /proc is mounted with (gid=)"
    assert look(tmp_path).daemon == Failed(
        NOT_ALLOWED, "iscsid", "look for iscsid", "other users' processes are hidden", cure
    )


def test_adapters_that_log_in_by_themselves_need_no_daemon(tmp_path):
    assert look(lay(tmp_path, iface="qla4xxx.00:0e:1e:00:00:01.ipv4.0", driver="")).daemon is None


def test_no_session(tmp_path):
    for _ in range(2):
        with pytest.raises(Failed) as caught:
            look(tmp_path)
        assert caught.value == Failed(ABSENT, "", "list /sys/class/iscsi_session", "there is no iSCSI session")
        assert look(tmp_path, expected=["x"]).sessions == ()
        os.makedirs(f"{tmp_path}/sys/class/iscsi_session", exist_ok=True)


def test_one_that_goes_while_it_is_read_is_none_and_one_that_is_left_out_is_not_told(tmp_path):
    os.makedirs(f"{tmp_path}/sys/class/iscsi_session/session9")
    with pytest.raises(Failed, match="there is no iSCSI session"):
        look(tmp_path)
    lay(tmp_path)
    assert [found.name for found in look(tmp_path).good] == [f"{T1} {P}"]
    assert look(tmp_path, exclude=["*vol1*"]).sessions == ()


def test_one_that_may_not_be_read(tmp_path, monkeypatch):
    lay(tmp_path)
    refuse(monkeypatch, "session1/state")
    seen = look(tmp_path, exclude=["*"])
    path = "/sys/class/iscsi_session/session1/state"
    assert seen.sessions == (Failed(NOT_ALLOWED, "", f"read {path}", "Permission denied"),)
    assert (seen.counted, seen.daemon) == (False, True)


@pytest.mark.parametrize(
    ("text", "portal"),
    [
        ("192.0.2.10", "192.0.2.10:3260"), ("192.0.2.10:3261", "192.0.2.10:3261"), ("san.example", "san.example:3260"),
        ("[2001:db8::1]", "[2001:db8::1]:3260"), ("[2001:db8::1]:3261", "[2001:db8::1]:3261"),
        ("2001:db8::1", "[2001:db8::1]:3260"),
    ],
)  # fmt: skip
def test_portals(text, portal):
    assert iscsi_session.portal(text) == portal


@pytest.mark.parametrize("text", ["a b", "host:port", "[::1]x", ":3260", "192.0.2.1:0", "192.0.2.1:65536"])
def test_portals_that_are_none(text):
    with pytest.raises(ValueError, match="is not ADDRESS"):
        iscsi_session.portal(text)


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("running", "ok"), ("created", "recovering"), ("cancel", "recovering"), ("deleted", "recovering"),
        ("quiesce", "recovering"), ("blocked", "recovering"), ("created-blocked", "recovering"), ("offline", "failed"),
        ("transport-offline", "failed"), ("resting", "unknown"), ("", "ok"),
    ],
)  # fmt: skip
def test_every_state_of_a_disk_whose_session_is_logged_in(tmp_path, word, health):
    (found,) = look(lay(tmp_path, disk_state=word)).good
    said = f"has disks that do not run: sdb {word}" if word not in ("", "running") else ""
    assert (found.health, found.disk, found.ill) == ("ok", health, said)
    (found,) = look(lay(tmp_path, disk_state=word, state="FAILED")).good
    assert (found.disk, found.ill) == ("ok", "")


def test_an_interface_s_name_is_no_driver_s(tmp_path):
    """Eucalyptus calls its interfaces iface0, iface1, …: over TCP, for which iscsid is needed."""
    root = lay(tmp_path, iface="iface0")
    assert look(root).daemon is True
    processes(root, "systemd", "sshd")
    assert look(root).daemon is False
    assert look(lay(root, iface="mine", driver="qla4xxx")).daemon is None


@pytest.mark.parametrize("file", ["recovery_tmo", "ifacename", "session1/device", "connection1:0/state"])
def test_what_may_not_be_read_is_no_default(tmp_path, monkeypatch, file):
    lay(tmp_path)
    refuse(monkeypatch, file)
    (found,) = look(tmp_path).sessions
    assert (found.kind, found.of, found.error) == (NOT_ALLOWED, "", "Permission denied")


def test_processes_whose_names_are_hidden(tmp_path, monkeypatch):
    """hidepid=1 shows the numbers of others' processes and no more."""
    lay(tmp_path)
    refuse(monkeypatch, "/comm")
    cure = "the group that /proc is mounted with (gid=)"
    hidden = Failed(NOT_ALLOWED, "iscsid", "look for iscsid", "other users' processes are hidden", cure)
    assert look(tmp_path).daemon == hidden


def test_a_target_is_remembered_while_its_sessions_can_t_be_read(tmp_path, monkeypatch):
    lay(tmp_path)
    session(tmp_path, 2, "192.0.2.11", disk="sdc")
    before = look(tmp_path).kept
    with monkeypatch.context() as patched:
        refuse(patched, "/targetname")
        unread = look(tmp_path, before, 60).kept
    shutil.rmtree(f"{tmp_path}/sys/class/iscsi_session/session2")
    assert look(tmp_path, unread, 120).most == {T1: 2}


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("192.0.2.10", [Place(P)]), ("192.0.2.10, 192.0.2.11", [Place(P), Place("192.0.2.11:3260")]),
        ("iface0:192.0.2.10,iface1:192.0.2.11", [Place(P, "iface0"), Place("192.0.2.11:3260", "iface1")]),
        ("iface0:192.0.2.10:3261", [Place("192.0.2.10:3261", "iface0")]), ("san.example:3260,", [Place("san.example:3260")]),
        ("fe80::1,iface0:[fe80::2]", [Place("[fe80::1]:3260"), Place("[fe80::2]:3260", "iface0")]),
    ],
)  # fmt: skip
def test_paths_of_a_zone(text, places):
    assert iscsi_session.paths(text) == tuple(places)


@pytest.mark.parametrize("text", ["", " , ", "{}", "iface0:", "iface0:iface1:192.0.2.1", "a b"])
def test_paths_that_are_none(text):
    with pytest.raises(ValueError, match="is not "):
        iscsi_session.paths(text)


def test_interfaces_of_paths_are_devices_by_eucalyptus_conf(tmp_path):
    lay(tmp_path, netdev="eth1")
    put(tmp_path, "/etc/eucalyptus/eucalyptus.conf", 'STORAGE_INTERFACES="iface0=eth1, iface1=br0"')
    paths = iscsi_session.paths("iface0:192.0.2.10,iface1:192.0.2.10,iface2:192.0.2.10,192.0.2.10")
    seen = look(tmp_path, paths=paths)
    lacks = "no device for iface2 in STORAGE_INTERFACES, and no volume can be attached"
    assert seen.paths == (
        Place(P, "iface0", "eth1"),
        Place(P, "iface1", "br0"),
        Failed(UNREADABLE, f"{P} by iface2", "read eucalyptus.conf", lacks),
        Place(P),
    )
    assert [place.serves(seen.good[0]) for place in seen.paths if isinstance(place, Place)] == [True, False, True]
    assert seen.paths[1].of == f"{P} by br0"


def test_interfaces_of_paths_without_eucalyptus_conf(tmp_path):
    paths = iscsi_session.paths("iface0:192.0.2.10")
    said = ("read /etc/eucalyptus/eucalyptus.conf", "Eucalyptus is not installed here")
    assert look(lay(tmp_path), paths=paths).paths == (Failed(UNREADABLE, "paths", *said),)


def test_what_nobody_has_set(tmp_path):
    """An adapter that logs in by itself has no name for its interface, and tells the portal that it uses alone."""
    lay(tmp_path, "(null)", iface="(null)", driver="qla4xxx")
    assert look(tmp_path).good[0].name == f"{T1} session1"
    home = "/sys/class/iscsi_connection/connection1:0"
    put(tmp_path, f"{home}/address", "192.0.2.10")
    assert look(tmp_path).good[0].name == f"{T1} {P}"
    put(tmp_path, f"{home}/port", "3261")
    assert look(tmp_path).good[0].portal == "192.0.2.10:3261"


def test_a_connection_that_is_down_has_no_address(tmp_path, monkeypatch):
    lay(tmp_path, "(null)")
    refuse(monkeypatch, "connection1:0/address", error=OSError(errno.ENOTCONN, "Transport endpoint is not connected"))
    assert look(tmp_path).good[0].portal == ""


def test_the_tree_with_links_as_the_kernel_has_them(tmp_path):
    """Each class is a directory of links into /sys/devices, and each `device` a link back (Linux 6.1, iscsi_tcp)."""
    host = "/sys/devices/platform/host3"
    home = f"{host}/session1"
    unit = f"{home}/target3:0:0/3:0:0:1"
    for path, text in {
        f"{home}/iscsi_session/session1/targetname": T1, f"{home}/iscsi_session/session1/state": "LOGGED_IN",
        f"{home}/iscsi_session/session1/recovery_tmo": "15", f"{home}/iscsi_session/session1/ifacename": "iface0",
        f"{home}/connection1:0/iscsi_connection/connection1:0/persistent_address": "192.0.2.10",
        f"{home}/connection1:0/iscsi_connection/connection1:0/persistent_port": "3260",
        f"{home}/connection1:0/iscsi_connection/connection1:0/state": "up",
        f"{host}/iscsi_host/host3/netdev": "eth1", f"{host}/scsi_host/host3/proc_name": "iscsi_tcp",
        f"{unit}/state": "transport-offline", f"{unit}/block/sdb/size": "8",
        "/sys/devices/virtual/block/dm-0/dm/uuid": "mpath-3600",
    }.items():  # fmt: skip
        put(tmp_path, path, text)
    processes(tmp_path, "systemd", "iscsid")
    links = {
        "/sys/class/iscsi_session/session1": f"{home}/iscsi_session/session1",
        f"{home}/iscsi_session/session1/device": home,
        "/sys/class/iscsi_connection/connection1:0": f"{home}/connection1:0/iscsi_connection/connection1:0",
        "/sys/class/iscsi_host/host3": f"{host}/iscsi_host/host3",
        f"{host}/iscsi_host/host3/device": host,
        "/sys/class/scsi_host/host3": f"{host}/scsi_host/host3",
        "/sys/block/sdb": f"{unit}/block/sdb",
        "/sys/block/dm-0": "/sys/devices/virtual/block/dm-0",
        f"{unit}/block/sdb/holders/dm-0": "/sys/devices/virtual/block/dm-0",
    }
    for link, to in links.items():
        os.makedirs(os.path.dirname(f"{tmp_path}{link}"), exist_ok=True)
        os.symlink(os.path.relpath(f"{tmp_path}{to}", os.path.dirname(f"{tmp_path}{link}")), f"{tmp_path}{link}")
    ill = ("failed", "has disks that do not run: sdb transport-offline")
    place = (f"{T1} {P} iface0", T1, P, "LOGGED_IN", "ok", "", 1, 0.0, 15.0, "eth1")
    assert look(tmp_path).sessions == (Session(*place, *ill),)

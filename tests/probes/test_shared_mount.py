# SPDX-License-Identifier: Apache-2.0
"""The trees and their sources are in shared_trees.py."""

from __future__ import annotations

import errno
import json
import os

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Collecting, Failed, Run
from nephoscope.probes import mounts, shared_mount
from nephoscope.probes.mounts import Listed
from nephoscope.probes.shared_mount import Brick, Shared

from tests.probes.shared_trees import GLUSTER, NOVA, stats, tree


def survey(root, before=None, shift=0.0, include=(), exclude=(), **words):
    run = Run(8, before, root=root, clock=Clock(shift=shift), include=include, exclude=exclude)
    return shared_mount.survey(run, **words)


def runs(tmp_path, *moments, every=60.0):
    """Surveys of one NFS mount whose mountstats change from moment to moment."""
    found, before = [], None
    for at, text in enumerate(moments):
        found.append(survey(tree(tmp_path, NOVA, mountstats=text), before, at * every))
        before = json.loads(json.dumps(found[-1].keep()))
    return found


def values(survey):
    (mount,) = survey.mounts
    return {name: "collecting" if isinstance(value, Collecting) else value for name, value in mount.values.items()}


def test_what_is_mounted_is_looked_at(tmp_path):
    (mount,) = survey(tree(tmp_path, NOVA)).mounts
    assert (mount.path, mount.kind, mount.source) == ("/srv/nova", "nfs4", "nas.example:/nova")
    assert (mount.access, mount.failed, mount.silent) == ("writable", None, None)
    assert mount.seconds > 0
    assert 0 < mount.free <= mount.size
    assert mount.has("hard") and mount.has("vers=4.*") and not mount.has("soft")
    assert mount.conditions((), (), (), ()) == [("ok", "is mounted from nas.example:/nova (nfs4, writable)")]


@pytest.mark.parametrize("kind", sorted(shared_mount.SHARED))
def test_every_type(tmp_path, kind):
    line = f"60 21 0:60 / /srv/x rw - {kind} host:/x rw"
    (mount,) = survey(tree(tmp_path, line)).mounts
    assert mount.kind == kind


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", "fuse.lxcfs", "autofs", "nfsd"])
def test_what_is_not_shared_is_not_looked_at(tmp_path, kind):
    with pytest.raises(Failed) as caught:
        survey(tree(tmp_path, f"60 21 0:60 / /srv/x rw - {kind} x rw"))
    assert (caught.value.kind, caught.value.error[:34]) == (ABSENT, "no shared file system is mounted, ")


def test_types_by_option(tmp_path):
    root = tree(tmp_path, NOVA, "60 21 0:60 / /srv/x rw - fuse.stub x rw")
    assert [m.path for m in survey(root, types=("fuse.s*",)).mounts] == ["/srv/x"]
    found = survey(root, paths=("/srv/x",), types=("nfs*",))
    assert (found.mounts, found.missing) == ((), {"/srv/x": "what is mounted there is x, fuse.stub"})


def test_one_directory_is_asked_once_by_the_name_that_fstab_has(tmp_path):
    again = NOVA.replace("194 21", "195 21").replace("/srv/nova", "/srv/again")
    found = survey(tree(tmp_path, again, NOVA, fstab="nas.example:/nova /srv/nova nfs4 defaults 0 0\n"))
    assert ([m.path for m in found.mounts], found.again) == (["/srv/nova"], ["/srv/again"])
    assert found.summary() == "1 looked at: /srv/nova; 1 more mounts of the same"
    found = survey(str(tmp_path), paths=("/srv/again/", "/srv/nova"))
    assert [m.path for m in found.mounts] == ["/srv/again", "/srv/nova"]


def test_what_is_not_mounted_is_never_the_disk_below(tmp_path):
    root = tree(tmp_path, NOVA)
    (tmp_path / "srv/plain").mkdir()
    disk = "it lies on / (/dev/sda1, ext4)"
    found = survey(root, paths=("/srv/plain", "/srv/gone", "/srv"))
    assert found.mounts == ()
    assert found.missing == {"/srv/plain": disk, "/srv/gone": "there is no such directory", "/srv": disk}
    (tmp_path / "srv/nova/below").mkdir()
    assert survey(root, paths=("/srv/nova/below",)).missing == {
        "/srv/nova/below": "it lies on /srv/nova (nas.example:/nova, nfs4)"
    }
    assert survey(root, paths=("/",)).missing == {"/": "what is mounted there is /dev/sda1, ext4"}


def test_a_link_is_followed(tmp_path):
    root = tree(tmp_path, NOVA)
    os.symlink(f"{tmp_path}/srv/nova", tmp_path / "link")
    (mount,) = survey(root, paths=("/link",)).mounts
    assert (mount.path, mount.source) == ("/link", "nas.example:/nova")
    assert "rtt" in mount.values


FSTAB = """# a comment
nas.example:/nova    /srv/nova  nfs4       defaults,_netdev     0 0
nas.example:/glance  /srv/g     nfs        ro,nofail            0 0
192.0.2.7:/vol       /srv/gv    glusterfs  defaults             0 0
nas.example:/manual  /srv/m     nfs        noauto               0 0
/dev/sda1            /          ext4       errors=remount-ro    0 1
"""


def test_what_fstab_lists_must_be_mounted(tmp_path):
    found = survey(tree(tmp_path, NOVA, fstab=FSTAB))
    assert [m.path for m in found.mounts] == ["/srv/nova"]
    assert sorted(found.missing) == ["/srv/g", "/srv/gv"]
    assert sorted(survey(str(tmp_path), exclude=("/srv/g*",)).missing) == []


@pytest.mark.parametrize(
    ("listed", "glob"),
    [
        ("nfs", "nfs4"),
        ("nfs4", "nfs*"),
        ("cifs", "smb3"),
        ("glusterfs", "fuse.glusterfs"),
        ("fuse.sshfs", "fuse.sshfs"),
    ],
)
def test_a_type_has_another_name_in_fstab(tmp_path, listed, glob):
    root = tree(tmp_path, NOVA, fstab=f"nas.example:/x /srv/x {listed} defaults 0 0\n")
    assert sorted(survey(root, types=(glob,)).missing) == ["/srv/x"]


def test_the_older_lines_of_fuse(tmp_path):
    """mount.fuse(8): the type may stand before the source, as TYPE#SOURCE of the type fuse."""
    lines = "s3fs#images /srv/s3 fuse defaults 0 0\nsshfs#u@nas.example:/x /srv/x fuse defaults 0 0\nother /srv/y fuse noauto 0 0\n"
    there = "50 21 0:41 / /srv/x rw,relatime - fuse.sshfs u@nas.example:/x rw,user_id=0,group_id=0"
    found = survey(tree(tmp_path, there, fstab=lines))
    assert sorted(found.missing) == ["/srv/s3"]
    assert [(mount.path, mount.listed) for mount in found.mounts] == [("/srv/x", "")]


def test_an_fstab_that_may_not_be_read_is_told(tmp_path):
    found = survey(tree(tmp_path, NOVA, fstab="one two\n"))
    assert found.fstab.kind == UNREADABLE
    assert [m.path for m in found.mounts] == ["/srv/nova"]


def test_what_is_mounted_on_demand_is_waited_for(tmp_path, monkeypatch):
    demand = "60 21 0:60 / /srv/nova rw - autofs /etc/auto.direct rw,direct"
    root = tree(tmp_path, demand)
    assert survey(root, paths=("/srv/nova",)).missing == {
        "/srv/nova": "it lies on /srv/nova (/etc/auto.direct, autofs)"
    }
    went = []

    def go(run, path):  # the kernel mounts when somebody goes there
        went.append(path)
        tree(tmp_path, demand, NOVA.replace("194 21", "194 60"))
        return path

    monkeypatch.setattr(shared_mount, "_go", go)
    (mount,) = survey(root, paths=("/srv/nova",)).mounts
    assert mount.kind == "nfs4"
    indirect = "60 21 0:60 / /auto rw - autofs /etc/auto.home rw,indirect"
    monkeypatch.undo()
    assert survey(tree(tmp_path, indirect), paths=("/auto/x",)).missing == {"/auto/x": "autofs does not mount it"}


@pytest.mark.parametrize(
    ("listed", "mounted", "kind", "other"),
    [
        ("nas:/a", "nas:/a/", "nfs", False),
        ("nas:/a", "NAS:/a", "nfs4", False),
        ("nas:/a", "nas2:/a", "nfs4", True),
        ("nas:/a", "nas:/b", "nfs4", True),
        ("[2001:db8::1]:/a", "[2001:db8::1]:/a", "nfs4", False),
        ("s1,s2:/vol", "s2:/vol", "fuse.glusterfs", False),
        ("s1:vol", "s1:/vol", "fuse.glusterfs", False),
        ("//nas/share", "//nas/share", "cifs", False),
        ("//nas/share", "//nas/other", "cifs", True),
        ("mon1,mon2:/", "192.0.2.1:6789,192.0.2.2:6789:/", "ceph", False),
        ("LABEL=ocfs", "/dev/sdb", "ocfs2", False),
        ("", "x", "nfs", False),
    ],
)
def test_sources_by_fstab(listed, mounted, kind, other):
    mount = mounts.Mount(1, 0, "0:1", "/", "/x", "rw", kind, mounted, "rw")
    assert shared_mount._other_source(mount, Listed("/x", kind, (), listed)) == (listed if other else "")


@pytest.mark.parametrize(
    "number", [errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.ETIMEDOUT, errno.ENOENT, errno.EHOSTDOWN]
)
@pytest.mark.parametrize("step", ["stat", "statvfs", "list"])
def test_every_step_may_fail(tmp_path, monkeypatch, step, number):
    root = tree(tmp_path, NOVA)
    name = {"list": "scandir"}.get(step, step)
    real = getattr(os, name)

    def broken(path, *words, **more):
        if isinstance(path, bytes) and path.endswith(b"/srv/nova"):
            raise OSError(number, os.strerror(number))
        return real(path, *words, **more)

    monkeypatch.setattr(os, name, broken)
    (mount,) = survey(root).mounts
    tried = f"{step}, mounted from nas.example:/nova"
    assert mount.failed == Failed(UNREACHABLE, "/srv/nova", tried, os.strerror(number))
    assert (mount.seconds, mount.conditions((), (), (), ())) == (None, [])


def test_no_right_to_look_is_not_an_answer(tmp_path, monkeypatch):
    root = tree(tmp_path, NOVA)

    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "statvfs", denied)
    (mount,) = survey(root).mounts
    assert mount.failed == Failed(NOT_ALLOWED, "/srv/nova", "statvfs", "Permission denied", shared_mount.CURE)
    assert mount.conditions((), (), (), ()) == []


def test_one_that_goes_while_it_is_looked_at(tmp_path, monkeypatch):
    root = tree(tmp_path, NOVA)
    monkeypatch.setattr(shared_mount, "_write", lambda *_: tree(tmp_path) and ())
    found = survey(root)
    assert (found.mounts, found.missing) == ((), {"/srv/nova": "was unmounted just now"})


X = Shared("/x", "nfs4", "nas:/x", options=("rw", "hard", "vers=4.2"))


@pytest.mark.parametrize(
    ("mount", "words", "expected"),
    [
        (X, {"sources": ("nas:/*",)}, ("ok", "is mounted from nas:/x (nfs4, writable)")),
        (X, {"sources": ("nas:/x/",)}, ("ok", "is mounted from nas:/x (nfs4, writable)")),
        (X, {"sources": ("a:/x", "b:/x")}, ("failed", "is mounted from nas:/x, not from a:/x or b:/x")),
        (X._replace(listed="old:/x"), {}, ("degraded", "is mounted from nas:/x, /etc/fstab says old:/x")),
        (X._replace(listed="old:/x"), {"sources": ("nas:/x",)}, ("ok", "is mounted from nas:/x (nfs4, writable)")),
        (X, {"wanted": ("hard", "vers=4*")}, ("ok", "is mounted from nas:/x (nfs4, writable)")),
        (X, {"wanted": ("nosuid",)}, ("degraded", "is mounted without nosuid")),
        (X, {"unwanted": ("hard",)}, ("degraded", "is mounted with hard")),
        (X._replace(access="read-only"), {}, ("failed", "is read-only, and neither /etc/fstab nor --read-only says so")),
        (X._replace(access="read-only here"), {}, ("failed", "is read-only here, and neither /etc/fstab nor --read-only says so")),
        (X._replace(access="read-only"), {"read_only": ("/x*",)}, ("ok", "is mounted from nas:/x (nfs4, read-only)")),
        (X._replace(access="read-only", read_only=True), {}, ("ok", "is mounted from nas:/x (nfs4, read-only)")),
        (X._replace(access="stopped"), {"read_only": ("*",)}, ("failed", "was stopped by the kernel after an error and takes no writes")),
        (X._replace(silent=90.4), {}, ("failed", "its server has answered nothing for 90 s")),
        (X._replace(bricks=(Brick("h:/b", "enough"),)), {}, ("degraded", "does not reach brick h:/b, a copy")),
        (X._replace(bricks=(Brick("h:/b", "too few"),)), {}, ("failed", "does not reach brick h:/b, nor enough of its copies")),
        (X._replace(bricks=(Brick("h:/b", "none"),)), {}, ("failed", "does not reach brick h:/b, which has no copy")),
    ],
)  # fmt: skip
def test_conditions(mount, words, expected):
    words = {"sources": (), "wanted": (), "unwanted": (), "read_only": (), **words}
    assert mount.conditions(**words) == [expected]


@pytest.mark.parametrize(
    ("options", "line", "expected"),
    [("ro", NOVA.replace("rw,relatime", "ro,relatime"), True), ("rw,ro", NOVA, True), ("ro,rw", NOVA, False)],
)
def test_what_fstab_wants_read_only(tmp_path, options, line, expected):
    (mount,) = survey(tree(tmp_path, line, fstab=f"nas.example:/nova /srv/nova nfs4 {options} 0 0\n")).mounts
    assert mount.read_only is expected


# -- NFS ------------------------------------------------------------------------------------------------------------------


def test_calls_of_nfs(tmp_path):
    first, second, third = runs(
        tmp_path, stats(), stats(read="1398 1404 6 0 0 6 79586 79807"), stats(read="1398 1404 6 0 0 6 79586 79807")
    )
    assert values(first) == dict.fromkeys(("rtt", "exec", "retrans", "timeouts_rate"), "collecting")
    assert values(second) == {
        "rtt": pytest.approx(0.002), "exec": pytest.approx(0.004), "retrans": pytest.approx(6),
        "timeouts_rate": pytest.approx(0.1, rel=0.01),
    }  # fmt: skip
    assert values(third)["timeouts_rate"] == pytest.approx(0.05, rel=0.01)


def test_no_call_is_no_time(tmp_path):
    second = runs(tmp_path, stats(), stats())[-1]
    assert values(second) == {**dict.fromkeys(("rtt", "exec", "retrans"), "collecting"), "timeouts_rate": 0.0}
    assert second.mounts[0].values["rtt"].why == "no call was made"


def test_a_mount_made_anew_begins_anew(tmp_path):
    second = runs(tmp_path, stats(), stats(read="5 5 0 0 0 0 1 1"))[-1]
    assert values(second) == {**dict.fromkeys(("rtt", "exec", "retrans"), "collecting"), "timeouts_rate": 0.0}
    assert second.mounts[0].values["rtt"].why == ""


def silences(tmp_path, *pairs, every=60.0):
    found = runs(tmp_path, *(stats(sends=sends, recvs=recvs) for sends, recvs in pairs), every=every)
    return [None if s.mounts[0].silent is None else round(s.mounts[0].silent) for s in found]


def test_a_server_that_answers_nothing(tmp_path):
    assert silences(tmp_path, (100, 100), (101, 100), (101, 100), (102, 100), (103, 103)) == [None, None, 60, 120, None]


@pytest.mark.parametrize(
    "pairs",
    [
        ((100, 100), (100, 100), (100, 100)),  # idle
        ((100, 90), (100, 90), (100, 90)),  # lost in broken connections, long ago
        ((100, 100), (101, 100), (102, 101), (103, 102)),  # one is always on its way
        ((100, 100), (150, 149), (150, 149)),  # answers came with it
    ],
)
def test_a_server_that_answers(tmp_path, pairs):
    assert set(silences(tmp_path, *pairs)) == {None}


def test_a_moment_is_no_silence_and_five_minutes_are(tmp_path):
    assert silences(tmp_path, (100, 100), (101, 100), (101, 100), every=20) == [None, None, None]
    assert silences(tmp_path, (100, 100), (101, 100), (101, 100), every=300) == [None, None, 300]


@pytest.mark.parametrize(
    ("xprt", "sends", "recvs"),
    [
        ("udp 832 0 6428 6427 0 12154 0 24 26 5726", 6428, 6427),
        ("tcp 832 0 1 0 11 7 6 0 12154 0 24 26 5726\n\txprt:\ttcp 833 0 1 0 11 5 5 0 1 0 2 3 4", 12, 11),  # nconnect=2
        ("rdma 0 0 1 0 11 9 8 0 12 0 0 0 0 0 0 0 0 0 0 0", 9, 8),
        ("local 0 0 1 0 11 9 8 0 12 0 0 0 0", 9, 8),
    ],
)
def test_every_transport(tmp_path, xprt, sends, recvs):
    kept = survey(tree(tmp_path, NOVA, mountstats=stats(xprt=xprt))).keep()["calls"]["/srv/nova"]
    assert kept[1:] == [sends - recvs, recvs, None]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (stats(read="1 2"), r"a line is not understood: b'\t        READ: 1 2'"),
        (stats(read="1 x 3 4 5 6 7 8"), "a line is not understood: b'"),
        (stats(xprt="tcp 1"), r"a line is not understood: b'\txprt:\ttcp 1'"),
    ],
)
def test_stats_that_are_not_understood(tmp_path, text, error):
    found = survey(tree(tmp_path, NOVA, mountstats=text))
    assert (found.stats.kind, found.stats.error[: len(error)]) == (UNREADABLE, error)
    assert [m.path for m in found.mounts] == ["/srv/nova"]


def test_a_mount_without_stats_is_not_measured(tmp_path):
    (mount,) = survey(tree(tmp_path, NOVA, mountstats=stats("/srv/other"))).mounts
    assert (mount.values, mount.unseen.error) == ({}, "it does not list this mount")


@pytest.mark.parametrize("before", [[], "x", {"samples": 5, "calls": 7}, {"calls": {"/srv/nova": ["x", "y"]}}])
def test_a_foreign_state_is_none(tmp_path, before):
    (mount,) = survey(tree(tmp_path, NOVA), before).mounts
    assert (mount.silent, mount.failed) == (None, None)


# -- GlusterFS: files of .meta as version 10.3 shows them -----------------------------------------------------------------


def meta(tmp_path, copies=True, connected=("1", "1"), private=None, down=()):
    graph = tmp_path / "srv/gv/.meta/graphs/active"
    for number, word in enumerate(connected):
        part = graph / f"vol-client-{number}"
        (part / "options").mkdir(parents=True, exist_ok=True)
        (part / "type").write_text("protocol/client\n")
        text = f"[xlator.protocol.client.vol-client-{number}.priv]\nconnected = {word}\ntotal_bytes_read = 6676\n"
        (part / "private").write_text(text if private is None else private)
        (part / "options/remote-host").write_text("192.0.2.7\n")
        (part / "options/remote-subvolume").write_text(f"/bricks/{number}\n")
    status = ""
    for number in range(len(connected) // 2) if copies else ():
        name = f"vol-replicate-{number}"
        (graph / name / "subvolumes").mkdir(parents=True)
        (graph / name / "type").write_text("cluster/replicate\n")
        for link in (0, 1):
            (graph / name / f"subvolumes/{link}").symlink_to(f"../../vol-client-{2 * number + link}")
        status += (
            f"subvolumes[{number}] = cluster/replicate.{name}\nsubvolume_status[{number}] = {int(number not in down)}\n"
        )
    (graph / "vol-dht").mkdir(parents=True, exist_ok=True)
    (graph / "vol-dht/type").write_text("cluster/distribute\n")
    (graph / "vol-dht/private").write_text(f"[xlator.cluster.dht.vol-dht.priv]\n{status}search_unhashed = 1\n")
    (graph / "volfile").touch()


def gluster(tmp_path, monkeypatch, counts=(b"0\0",), **words):
    root = tree(tmp_path, GLUSTER)
    meta(tmp_path, **words)
    (tmp_path / "srv/gv/disk").touch()
    left = list(counts)

    def getxattr(path, name, follow_symlinks=True):
        assert name == "glusterfs.xattrop_index_count"
        if not left:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return left.pop(0)

    monkeypatch.setattr(os, "getxattr", getxattr)
    (mount,) = survey(root).mounts
    return mount


def test_bricks_and_backlog(tmp_path, monkeypatch):
    mount = gluster(tmp_path, monkeypatch)
    assert (mount.bricks, mount.backlog, mount.unseen) == ((), 0, None)


def test_the_most_that_a_copy_knows_of(tmp_path, monkeypatch):
    assert gluster(tmp_path, monkeypatch, counts=(b"0\0", b"4\0")).backlog == 4


@pytest.mark.parametrize("copies", [True, False])
def test_a_brick_that_is_not_reached(tmp_path, monkeypatch, copies):
    mount = gluster(tmp_path, monkeypatch, copies=copies, connected=("1", "0"))
    assert mount.bricks == (Brick("192.0.2.7:/bricks/1", "enough" if copies else "none"),)
    assert mount.backlog == (0 if copies else None)
    assert mount.unseen is None


@pytest.mark.parametrize(
    ("connected", "down", "copies"),
    [
        ("0011", (0,), ["too few", "too few"]),
        ("0011", (), ["too few", "too few"]),  # none is reached, whatever else is said
        ("0101", (), ["enough", "enough"]),
        ("0101", (1,), ["enough", "too few"]),  # its quorum is lost
    ],
)
def test_a_volume_of_several_sets_of_copies(tmp_path, monkeypatch, connected, down, copies):
    """The rest of the files are there, and the root answers: only the sets know that some are not."""
    mount = gluster(tmp_path, monkeypatch, connected=tuple(connected), down=down)
    assert [brick.copies for brick in mount.bricks] == copies
    assert (mount.backlog, mount.unseen) == (0, None)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ({"counts": ()}, "it does not tell how many files wait to be healed"),
        ({"counts": (b"x",)}, "it does not tell how many files wait to be healed"),
        ({"connected": ()}, "it shows no brick"),
        ({"private": "up = 1\n"}, "vol-client-0/private does not say whether it is connected"),
        ({"private": "connected = 2\n"}, "vol-client-0/private does not say whether it is connected"),
    ],
)
def test_what_is_not_told_is_no_zero(tmp_path, monkeypatch, words, error):
    mount = gluster(tmp_path, monkeypatch, **words)
    assert mount.unseen == Failed(UNREADABLE, "/srv/gv", "read .meta/graphs/active", error)
    assert mount.backlog is None


def test_no_meta(tmp_path):
    (mount,) = survey(tree(tmp_path, GLUSTER)).mounts
    assert mount.unseen.error == "No such file or directory"

# SPDX-License-Identifier: Apache-2.0
"""The kernel's mount table and fstab, as recorded; sizes come from the file system of the test's own folder."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run, child
from nephoscope.probes import growth, mounts

# Recorded on Debian 12 (Linux 6.18) with ext4 on loop devices, a bind mount of a directory, an overlay, a squashfs and a tmpfs;
# the device numbers are as they were.
RECORDED = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,errors=remount-ro
25 27 0:23 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=24684092k
43 27 7:0 / /srv/my\040disk rw,relatime - ext4 /dev/loop0 rw
44 27 7:0 /inner /mnt/bound rw,relatime shared:1 master:2 - ext4 /dev/loop0 rw
45 27 0:46 / /mnt/layers rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c
46 27 7:1 / /snap/core ro,nodev,relatime - squashfs /dev/loop1 ro,errors=continue
47 27 0:50 / /mnt/nfs rw,relatime - nfs4 10.0.0.9:/export rw,vers=4.2
"""


def tree(tmp_path, mountinfo=RECORDED, fstab=None):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_bytes(mountinfo)
    if fstab is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/fstab").write_bytes(fstab)
    for line in mountinfo.split(b"\n"):
        path = mounts.plain(line.split(b" ")[4]) if line.count(b" ") > 5 else ""
        os.makedirs(os.fsencode(tmp_path) + path.encode("utf-8", "surrogateescape"), exist_ok=True)
    return str(tmp_path)


def survey(root, before=None, clock=None, include=(), exclude=(), **words):
    return mounts.survey(Run(8, before, root=root, clock=clock, include=include, exclude=exclude), **words)


def paths(found):
    return [system.of if isinstance(system, Failed) else system.path for system in found.systems]


def test_one_of_each_file_system_that_can_fill_and_the_rest_is_counted(tmp_path):
    found = survey(tree(tmp_path))
    assert paths(found) == ["/", "/mnt/nfs", "/srv/my disk"]
    assert found.left_out == {"kernel": 2, "tmpfs": 1, "overlay": 1, "squashfs": 1}
    room = os.statvfs(tmp_path)
    root = found.systems[0]
    assert root.size == (room.f_blocks - room.f_bfree + room.f_bavail) * room.f_frsize
    assert root.free == pytest.approx(room.f_bavail * room.f_frsize, rel=0.05)
    assert root.used == pytest.approx(100 * (1 - root.free / root.size), abs=0.01)
    assert (root.access, root.wanted, root.why) == ("writable", "", "")
    assert found.present == () and found.fstab is None


def test_a_bind_mount_counts_only_when_it_is_asked_for_by_name(tmp_path):
    root = tree(tmp_path)
    assert paths(survey(root, include=["/mnt/*"])) == ["/mnt/bound", "/mnt/nfs"]
    # Leaving a file system out must not bring it back under another name.
    assert paths(survey(root, exclude=["/srv/*"])) == ["/", "/mnt/nfs"]


def test_what_is_left_out_is_not_touched(tmp_path):
    root = tree(tmp_path)
    os.rmdir(tmp_path / "mnt/nfs")
    assert [type(system) for system in survey(root, exclude=["/mnt/nfs"]).systems] == [mounts.FileSystem] * 2
    failed = survey(root).systems[1]
    assert failed == Failed(UNREACHABLE, "/mnt/nfs", mounts.TRIED, "no such directory, though it is mounted")


def test_types_asked_for(tmp_path):
    assert paths(survey(tree(tmp_path), types=["tmpfs", "over*"])) == ["/mnt/layers", "/run"]


def test_the_root_counts_even_as_an_overlay(tmp_path):
    line = b"27 1 0:46 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c\n"
    assert paths(survey(tree(tmp_path, line))) == ["/"]


def test_an_image_is_full_by_nature(tmp_path):
    (image,) = survey(tree(tmp_path), types=["squashfs"]).systems
    assert (image.used, image.inodes, image.access, image.wanted) == (None, None, "read-only", "read-only")


def test_names_with_blanks_quotes_pipes_newlines_backslashes_and_bytes_that_are_no_utf8(tmp_path):
    line = (
        b"27 1 254:0 / / rw - ext4 /dev/vda rw\n43 27 7:0 / /s/a|'\"\\040\\134\\012\x0b\r\xff rw - ext4 /dev/loop0 rw\n"
    )
    run = Run(root=tree(tmp_path, line))
    assert mounts.mounted(run)[1].path == "/s/a|'\" \\\n\x0b\r\udcff"
    found = mounts.survey(run)
    assert paths(found) == ["/", "/s/a|'\" \\\n\x0b\r\\xff"]
    assert isinstance(found.systems[1], mounts.FileSystem)


def test_what_is_hidden_under_a_later_mount_is_not_there(tmp_path):
    table = b"""27 1 254:0 / / rw - ext4 /dev/vda rw
30 27 7:0 / /data rw - ext4 /dev/loop0 rw
31 30 7:1 / /data rw - ext4 /dev/loop1 rw
32 27 7:2 / /mnt/a rw - ext4 /dev/loop2 rw
33 32 7:3 / /mnt/a/deep rw - ext4 /dev/loop3 rw
37 32 7:7 / /mnt/a rw - ext4 /dev/loop7 rw
34 27 7:4 / /mnt rw - ext4 /dev/loop4 rw
35 34 7:5 / /mnt/b rw - ext4 /dev/loop5 rw
36 27 7:6 / /run/gone//deleted rw - ext4 /dev/loop6 rw
"""
    reachable = [(mount.path, mount.source) for mount in mounts.mounted(Run(root=tree(tmp_path, table)))]
    assert reachable == [("/", "/dev/vda"), ("/data", "/dev/loop1"), ("/mnt", "/dev/loop4"), ("/mnt/b", "/dev/loop5")]


def test_a_host_of_containers_has_thousands_of_mounts(tmp_path):
    lines = [b"27 1 254:0 / / rw - ext4 /dev/vda rw"]
    lines += [b"%d 27 0:%d / /var/lib/pods/%d/volumes/tmp rw - tmpfs tmpfs rw" % (n, n, n) for n in range(100, 5100)]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_bytes(b"\n".join(lines))
    found = mounts.survey(Run(root=str(tmp_path)))
    assert (paths(found), found.left_out) == (["/"], {"tmpfs": 5000})


@pytest.mark.parametrize("line", [b"garbage", b"27 1 254:0 / / rw", b"x 1 254:0 / / rw - ext4 /dev/vda rw"])
def test_a_table_that_is_not_understood(tmp_path, line):
    with pytest.raises(Failed) as caught:
        survey(tree(tmp_path, line + b"\n"))
    assert caught.value.kind == UNREADABLE


def test_no_table(tmp_path):
    with pytest.raises(Failed) as caught:
        survey(str(tmp_path))
    assert caught.value.kind == ABSENT


# -- read-only by surprise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "super_options", "fstab", "words", "before", "expected"),
    [
        ("rw", "rw", b"", {}, None, ("writable", "", "")),
        ("rw", "rw,errors=remount-ro", b"", {}, None, ("writable", "", "")),
        ("ro", "ro", b"", {}, None, ("read-only", "", "")),
        ("rw", "ro", b"", {}, None, ("read-only", "", "")),
        ("ro", "rw", b"", {}, None, ("read-only here", "", "")),
        ("rw", "rw,emergency_ro", b"", {}, None, ("stopped", "", "")),
        ("rw", "rw,shutdown", b"", {}, None, ("stopped", "", "")),
        ("ro", "ro", b"UUID=1 /data/ ext4 defaults 0 2", {}, None, ("read-only", "writable", "/etc/fstab")),
        ("ro", "ro", b"UUID=1\t/data\text4\tnoatime,ro\t0 2", {}, None, ("read-only", "read-only", "/etc/fstab")),
        ("ro", "ro", b"UUID=1 /data ext4 ro,rw", {}, None, ("read-only", "writable", "/etc/fstab")),
        ("ro", "ro", b"UUID=1 /data ext4", {}, None, ("read-only", "writable", "/etc/fstab")),
        ("ro", "ro", b"#UUID=1 /data ext4 rw", {}, None, ("read-only", "", "")),
        ("ro", "ro", b"", {"writable": ["/data/in"]}, None, ("read-only", "writable", "--writable /data/in")),
        ("ro", "ro", b"u /data ext4 rw", {"read_only": ["/da*"]}, None, ("read-only", "read-only", "--read-only")),
        ("ro", "ro", b"", {}, {"writable": ["/data"]}, ("read-only", "writable", "it was on an earlier run")),
    ],
)
def test_who_wants_it_how(tmp_path, options, super_options, fstab, words, before, expected):
    table = f"27 1 254:0 / / rw - ext4 /dev/vda rw\n30 27 7:0 / /data {options} - ext4 /dev/loop0 {super_options}\n"
    root = tree(tmp_path, table.encode(), fstab)
    (tmp_path / "data/in").mkdir()
    data = survey(root, before, **words).systems[1]
    assert (data.access, data.wanted, data.why) == expected


def test_the_operators_word_is_about_the_very_place(tmp_path):
    line = b"30 27 7:0 / /data ro - ext4 /dev/loop0 rw\n"
    root = tree(tmp_path, line)
    assert survey(root, writable=["/data"]).systems[0].access == "read-only"
    assert survey(root).systems[0].access == "read-only here"


def test_what_was_writable_once_is_remembered_while_it_is_mounted(tmp_path):
    first = survey(tree(tmp_path))
    assert first.keep()["writable"] == ["/", "/mnt/nfs", "/srv/my disk"]
    table = b"27 1 254:0 / / rw - ext4 /dev/vda ro\n"
    (tmp_path / "proc/self/mountinfo").write_bytes(table)
    second = survey(str(tmp_path), first.keep())
    third = survey(str(tmp_path), second.keep())
    assert [system.wanted for system in (*second.systems, *third.systems)] == ["writable", "writable"]
    assert third.keep()["writable"] == ["/"]


def test_an_export_mounted_read_only_may_be_meant(tmp_path):
    line = b"47 27 0:50 / /mnt/nfs ro,relatime - nfs4 10.0.0.9:/export ro,vers=4.2\n"
    assert survey(tree(tmp_path, line)).systems[0].wanted == "read-only"


# -- fstab ----------------------------------------------------------------------------------------------------------------

FSTAB = rb"""# comment
UUID=0a1b / ext4 errors=remount-ro 0 1
/dev/loop0 /srv/my\040disk ext4 defaults 0 2
/dev/sdb1 /var/lib/nova/instances xfs defaults 0 2
/dev/sdc1 /backup ext4 nofail 0 2
/dev/sdd1 /media ext4 noauto 0 0
/dev/sde1 none swap sw 0 0
"""


def test_what_fstab_lists_and_is_not_mounted(tmp_path):
    found = survey(tree(tmp_path, fstab=FSTAB))
    assert found.missing == {"/var/lib/nova/instances": False, "/backup": True}
    assert found.present == ("/", "/srv/my disk")


def test_of_the_paths_asked_for_only_what_should_hold_them(tmp_path):
    root = tree(tmp_path, fstab=FSTAB)
    (tmp_path / "var/lib/nova/instances/a").mkdir(parents=True)
    found = survey(root, paths=["/var/lib/nova/instances/a"])
    assert paths(found) == ["/"]
    assert found.missing == {"/var/lib/nova/instances": False}


def test_a_mount_point_of_fstab_behind_a_symbolic_link_is_not_missing(tmp_path):
    root = tree(tmp_path, fstab=b"/dev/loop0 /link ext4 defaults\n/dev/loop1 /other ext4 defaults\n")
    os.symlink(tmp_path / "srv/my disk", tmp_path / "link")
    os.symlink(tmp_path / "srv", tmp_path / "other")
    assert survey(root).missing == {"/other": False}


def test_an_automount_that_nobody_has_used_is_not_missing(tmp_path):
    table = RECORDED + b"48 27 0:51 / /auto rw - autofs systemd-1 rw,fd=40\n"
    assert survey(tree(tmp_path, table, b"/dev/x /auto ext4 x-systemd.automount\n")).missing == {}


def test_an_fstab_that_is_not_understood_does_not_stop_the_rest(tmp_path):
    found = survey(tree(tmp_path, fstab=b"/dev/sda1 /data\n"))
    assert found.fstab == Failed(UNREADABLE, "/etc/fstab", "read /etc/fstab", "line 1 has fewer than three fields")
    assert len(found.systems) == 3


# -- directories asked for ------------------------------------------------------------------------------------------------


def test_directories_lead_to_their_file_systems_once(tmp_path):
    root = tree(tmp_path)
    (tmp_path / "srv/my disk/a").mkdir()
    (tmp_path / "etc").mkdir()
    os.symlink(tmp_path / "srv/my disk", tmp_path / "data")
    found = survey(root, paths=["/etc", "/data/a", "/srv/my disk", "/mnt/bound", "/nowhere", "/run"])
    assert paths(found) == ["/nowhere", "/", "/run", "/srv/my disk"]
    assert found.systems[0] == Failed(ABSENT, "/nowhere", mounts.TRIED, "No such file or directory")


NODE = (
    RECORDED
    + rb"""50 27 8:16 / /srv/node/sdb1 rw,noatime - xfs /dev/sdb1 rw
51 27 8:32 / /srv/node/sdc1 rw,noatime - xfs /dev/sdc1 rw
52 27 8:16 /x /srv/node/again rw,noatime - xfs /dev/sdb1 rw
53 27 0:60 / /srv/node/memory rw - tmpfs tmpfs rw
54 27 8:48 / /srv/nodes rw - xfs /dev/sdd1 rw
"""
)


def test_directories_lead_to_what_is_mounted_below_them(tmp_path):
    root = tree(tmp_path, NODE)
    os.symlink(tmp_path / "srv/node", tmp_path / "node")
    for asked in ("/srv/node", "/node"):
        found = survey(root, paths=[asked])
        assert paths(found) == ["/", "/srv/node/sdb1", "/srv/node/sdc1"]
        assert found.left_out == {"tmpfs": 1}
    assert paths(survey(root, paths=["/srv/node"], types=["tmpfs"])) == ["/", "/srv/node/memory"]
    assert paths(survey(root, paths=["/srv/node"], exclude=["*/sdc1"])) == ["/", "/srv/node/sdb1"]
    assert paths(survey(root, paths=["/srv/node/sdb1", "/srv/node/again"])) == ["/srv/node/sdb1"]


def test_what_is_mounted_below_a_directory_fails_alone(tmp_path):
    root = tree(tmp_path, NODE)
    os.rmdir(tmp_path / "srv/node/sdc1")
    found = survey(root, paths=["/srv/node"])
    assert paths(found) == ["/", "/srv/node/sdb1", "/srv/node/sdc1"]
    assert found.systems[2] == Failed(
        UNREACHABLE, "/srv/node/sdc1", mounts.TRIED, "no such directory, though it is mounted"
    )


def test_what_should_be_mounted_below_a_directory_is_missed(tmp_path):
    fstab = b"LABEL=d1 /srv/node/sdb1 xfs noatime 0 0\nLABEL=d9 /srv/node/sdi1 xfs nofail 0 0\n/dev/x /srv/nodes/a xfs rw 0 0\n"
    root = tree(tmp_path, NODE, fstab)
    os.symlink(tmp_path / "srv/node", tmp_path / "node")
    for asked in ("/srv/node", "/node"):
        found = survey(root, paths=[asked])
        assert found.missing == {"/srv/node/sdi1": True}
        assert found.present == ("/srv/node/sdb1",)


@pytest.mark.parametrize("words", [{}, {"paths": ["/shut/disk"]}])
def test_a_mount_below_a_directory_that_may_not_be_entered_names_the_right(words):
    """As nobody where this is root, who may enter everything."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        root = tree(Path(folder), b"30 27 7:0 / /shut/disk rw - ext4 /dev/loop0 rw\n")
        os.chmod(f"{folder}/shut", 0o000)

        def job():
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            return [list(system.args) for system in survey(root, **words).systems]

        ((kind, of, _, error, cure),) = child.each(Run(), {"x": job}, tried="look")["x"]
        os.chmod(f"{folder}/shut", 0o700)
    assert (kind, of, error) == (NOT_ALLOWED, "/shut/disk", "Permission denied")
    assert "search permission (x) on its parent directories" in cure
    assert "setfacl -m u:nagios:x" in cure
    assert "--exclude" in cure


def test_a_directory_that_is_not_there_is_told_once(tmp_path):
    found = survey(tree(tmp_path), paths=["/nowhere"], writable=["/nowhere"])
    assert len(found.systems) == 1


# -- forecast -------------------------------------------------------------------------------------------------------------


HOUR = 3600.0


def test_the_slope_of_a_straight_line_and_of_a_noisy_one():
    assert growth.slope([[at * HOUR, 1000.0 + 5 * at * HOUR] for at in range(13)], 24 * HOUR) == pytest.approx(5)
    assert growth.slope([[at * HOUR, 1000.0 - 5 * at * HOUR] for at in range(13)], 24 * HOUR) == pytest.approx(-5)
    noisy = [[at * HOUR, 5 * at * HOUR + (-1) ** at * 1000] for at in range(24)]
    assert growth.slope(noisy, 24 * HOUR) == pytest.approx(5, rel=0.01)


def hourly(used):
    """What the forecast says each hour: bytes by hour -> hour -> seconds until 100 GB are full."""
    told = {}
    for now in range(len(used)):
        samples = [[at * HOUR, used[at]] for at in range(max(0, now - 26), now + 1) if now - at <= 26.4]
        told[now] = growth.full_in(100e9 - used[now], growth.slope(samples, 24 * HOUR))
    return told


@pytest.mark.parametrize("first", range(1, 30))
def test_a_step_is_no_growth_at_any_hour(first):
    """20 GB, and 28 GB from one hour to the next: an upgrade, a download."""
    told = hourly([20e9 if at < first else 28e9 for at in range(72)])
    assert {told[at] for at in range(12)} == {COLLECTING}
    assert {told[at] for at in range(12, 72)} == {growth.YEAR}


def test_two_steps_in_a_day_are_no_growth_of_a_week():
    told = hourly([20e9 + 4e9 * (at >= 20) + 4e9 * (at >= 28) for at in range(72)])
    assert min(told[at] for at in range(12, 72)) > 7 * 86400


def test_steady_growth_alarms_in_time():
    told = hourly([20e9 + 1e9 * at for at in range(72)])
    assert told[12] == pytest.approx(68 * HOUR)
    assert told[60] == pytest.approx(20 * HOUR)


def test_growth_that_begins_late_alarms_while_it_lasts_and_no_longer():
    told = hourly([20e9 + 1e9 * min(max(0, at - 24), 30) for at in range(72)])
    assert told[24] == growth.YEAR
    assert told[38] < 7 * 86400
    assert told[50] == pytest.approx(54 * HOUR)
    assert told[54 + 12] == growth.YEAR


@pytest.mark.parametrize(
    ("pace", "value"),
    [(COLLECTING, COLLECTING), (0.0, growth.YEAR), (-5.0, growth.YEAR), (2.0, 50.0), (1e-9, growth.YEAR)],
)
def test_the_time_until_it_is_full(pace, value):
    assert growth.full_in(100.0, pace) == value


@pytest.mark.parametrize(
    "samples", [[[0, 1]], [[0, 1], [50000, 2]], [[0, 1], [60, 2], [120, 3]], [[0, 1], [9000, 2], [43199, 3]]]
)
def test_too_few_samples_or_too_short_a_time_say_nothing(samples):
    assert growth.slope(samples, 86400) is COLLECTING


def test_samples_are_kept_spaced_and_bounded_and_growth_comes_of_them(tmp_path):
    root, kept, growths = tree(tmp_path), None, []
    for minutes in range(0, 30 * 60, 30):
        found = survey(root, kept, Clock(shift=minutes * 60))
        kept = found.keep()
        growths.append(found.systems[0].full_in)
    assert growths[:24] == [COLLECTING] * 24
    assert isinstance(growths[24], float)  # twelve hours: half the span
    history = kept["samples"]["/"]
    assert 20 <= len(history) <= 27
    assert all(later[0] - sooner[0] >= 3599 for sooner, later in zip(history, history[1:]))


@pytest.mark.parametrize(
    "before", ["x", {"samples": {"/": [1, "x", [None, 2], [1]]}}, {"samples": 5}, {"writable": None}]
)
def test_damaged_state_begins_anew(tmp_path, before):
    assert survey(tree(tmp_path), before).systems[0].full_in is COLLECTING


def test_samples_from_the_future_do_not_count(tmp_path):
    now = Clock().time()
    before = {"samples": {"/": [[now + 90000, 1.0], [now + 99000, 2.0]]}}
    found = survey(tree(tmp_path), before)
    assert found.systems[0].full_in is COLLECTING
    assert len(found.keep()["samples"]["/"]) == 1

# SPDX-License-Identifier: Apache-2.0
"""The kernel's tree and multipathd's answer, hand-made (see multipath_host); the words are those of print.c and scsi_sysfs.c."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import multipath

from tests.probes import stand_ins
from tests.probes.kernel_tree import refuse
from tests.probes.multipath_host import WWID, answer, daemon, four, made, path, sysfs


@pytest.fixture
def root():
    """A short path: a Unix socket's name has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="mp") as folder:
        yield folder


def look(root, *maps, told=None, clock=None, before=None, **words):
    sysfs(root, *maps, **words)
    with daemon(root, answer(*(maps if told is None else told))) as asked:
        host = multipath.survey(Run(root=root, before=before, **({"clock": clock} if clock else {})))
    assert asked == [b"show maps json\0"]
    return host


def said(host):
    return [(one.name, one.usable, one.said) for one in host.good[0].paths if one.said]


def test_a_good_map(root):
    host = look(root, made())
    (found,) = host.good
    assert (found.name, found.wwid, found.known, found.waits) == ("mpatha", WWID.format(0), True, False)
    assert (found.usable, found.adapters, found.targets, found.most, found.suspended) == (4, 2, 2, 4, 0.0)
    assert found.faults is COLLECTING
    assert host.unheard is None
    assert host.names == {"mpatha", WWID.format(0)}
    assert host.counted


@pytest.mark.parametrize(
    ("word", "usable"),
    [
        ("ready", True), ("ghost", True), ("faulty", False), ("shaky", False), ("i/o pending", False),
        ("i/o timeout", False), ("delayed", False), ("disconnected", False), ("undef", None), ("zombie", None),
    ],
)  # fmt: skip
def test_every_word_of_the_checker(root, word, usable):
    (found,) = look(root, made(paths=[path("sda", chk_st=word)])).good
    assert found.paths[0].usable is usable
    assert found.paths[0].said == {
        True: "", False: word, None: f"chk_st {word!r}" + (" is not understood" if word == "zombie" else ""),
    }[usable]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "word", "usable"),
    [
        ("dm_st", "active", True), ("dm_st", "failed", False), ("dm_st", "undef", None), ("dm_st", "x", None),
        ("dev_st", "running", True), ("dev_st", "offline", False), ("dev_st", "unknown", None), ("dev_st", "x", None),
        ("marginal_st", "normal", True), ("marginal_st", "marginal", True), ("marginal_st", "x", None),
    ],
)  # fmt: skip
def test_every_other_word_of_multipathd(root, key, word, usable):
    (found,) = look(root, made(paths=[path("sda", **{key: word})])).good
    assert found.paths[0].usable is usable
    assert word in found.paths[0].said or word in ("active", "running", "normal")


@pytest.mark.parametrize(
    ("word", "usable"),
    [
        *((word, True) for word in ("running", "live", None)),
        *(
            (word, False)
            for word in ("created", "cancel", "deleted", "quiesce", "offline", "transport-offline", "blocked")
        ),
        *((word, False) for word in ("created-blocked", "new", "resetting", "connecting", "deleting", "dead")),
        ("deleting (no IO)", False),
        ("zombie", None),
    ],
)
def test_every_word_of_the_kernel_outranks_what_the_checker_last_saw(root, word, usable):
    (found,) = look(root, made(paths=[path("sda")]), states={"sda": word}).good
    assert found.paths[0].usable is usable


@pytest.mark.parametrize(
    ("queueing", "features", "waits"),
    [
        ("off", "0", False), ("on", "1 queue_if_no_path", True), ("12 chk", "0", True), ("25 sec", "0", True),
        ("-", "0", False), ("-", "1 queue_if_no_path", True),
    ],
)  # fmt: skip
def test_what_happens_without_a_path(root, queueing, features, waits):
    (found,) = look(root, made(queueing=queueing, features=features)).good
    assert found.waits is waits


def test_a_path_that_only_one_of_both_has(root):
    kernel, told = made(paths=four()[:3]), made(paths=four()[1:])
    assert said(look(root, kernel, told=[told])) == [
        ("sdd", False, "not in the kernel's map"), ("sda", None, "not known to multipathd"),
    ]  # fmt: skip


def test_a_map_that_multipathd_does_not_know(root):
    (found,) = look(root, made(), told=[]).good
    assert (found.known, found.usable, found.most) == (False, 4, 0)


def test_older_ones_tell_less(root):
    paths = [{key: one[key] for key in ("dev", "dm_st", "chk_st")} for one in four()]
    (found,) = look(root, made(paths=paths)).good
    assert (found.usable, found.adapters, found.targets) == (4, 0, 0)


@pytest.mark.parametrize(
    ("adapter", "adapters"),
    [
        ("0000:81:00.0", 1), ("10000:e1:00.1", 1), ("0.0.1800", 1), ("[undef]", 0), ("192.0.2.1", 0), ("fe80::1", 0),
        ("2001:db8:0:0:0:0:0:1", 0),
    ],
)  # fmt: skip
def test_an_initiator_s_address_is_no_adapter(root, adapter, adapters):
    """A bond has one address for two adapters: a host that is well would be warned of."""
    (found,) = look(root, made(paths=[path("sda", adapter, "[undef]")])).good
    assert (found.usable, found.adapters, found.targets) == (1, adapters, 0)


def test_a_name_with_a_slash_is_written_as_sysfs_has_it(root):
    (found,) = look(root, made(paths=[path("cciss!c0d0")]), told=[made(paths=[path("cciss/c0d0")])]).good
    assert found.usable == 1


def test_other_device_mapper_devices_are_none(root):
    sysfs(root, made())
    for name, uuid in (("dm-7", "LVM-abc"), ("dm-8", "part1-mpath-3600"), ("dm-9", None)):
        os.makedirs(f"{root}/sys/block/{name}/dm")
        if uuid:
            with open(f"{root}/sys/block/{name}/dm/uuid", "w") as file:
                file.write(uuid)
    assert [found.name for found in look(root, made()).good] == ["mpatha"]


def test_fewer_paths_than_before_are_missed_by_the_identity_of_the_lun(root, tmp_path):
    before = look(root, made()).kept
    renamed = made(name="data", paths=four()[:2])
    host = look(str(tmp_path), renamed, before=before, clock=Clock(shift=60))
    assert (host.good[0].usable, host.good[0].most) == (2, 4)
    assert look(str(tmp_path), renamed, before=host.kept, clock=Clock(shift=8 * 86400)).good[0].most == 2


def test_how_long_it_is_suspended(root):
    first = look(root, made(), suspended="1")
    second = look(root, made(), suspended="1", before=first.kept, clock=Clock(shift=120))
    third = look(root, made(), suspended="0", before=second.kept, clock=Clock(shift=180))
    assert [round(host.good[0].suspended) for host in (first, second, third)] == [0, 120, 0]


def test_failures_of_the_last_minutes(root):
    first = look(root, made(path_faults=7))
    second = look(root, made(path_faults=9), before=first.kept, clock=Clock(shift=60))
    restarted = look(root, made(path_faults=1), before=second.kept, clock=Clock(shift=120))
    assert second.good[0].faults == 2
    assert restarted.good[0].faults is COLLECTING


def test_what_was_kept_outlives_a_run_without_multipathd(root):
    before = look(root, made()).kept
    host = multipath.survey(Run(root=root, before=before, seconds=5))
    assert host.unheard.kind in (ABSENT, NOT_ALLOWED, UNREACHABLE)
    assert host.kept["most"] == before["most"]
    assert host.kept["faults"] == before["faults"]


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("timeout\n", UNREACHABLE, "it is too busy: timeout"),
        ("fail\n", UNREADABLE, "not its JSON: 'fail'"),
        ("<html>", UNREADABLE, "not its JSON: '<html>'"),
        ("[]", UNREADABLE, "not its JSON: '[]'"),
        ('{"maps": [{"uuid": 1}]}', UNREADABLE, 'not its JSON: \'{"maps": [{"uuid": 1}]}\''),
        ('{"maps": null}', UNREADABLE, "not its JSON: '{\"maps\": null}'"),
        (answer(made(path_faults=None))[:90], UNREADABLE, None),
        (answer(made(path_faults=None)), UNREADABLE, None),
        (answer(made(paths=[path("sda", chk_st=1)])), UNREADABLE, None),
        ("[" * 100000, UNREADABLE, None),
    ],
)
def test_answers_that_are_none(text, kind, error):
    with pytest.raises(Failed) as caught:
        multipath.parse(text)
    assert caught.value.kind == kind
    assert error in (None, caught.value.error)


def test_an_array_s_control_characters_are_no_harm():
    assert list(multipath.parse(answer(made()).replace("ME4", "ME\t4\x01"))) == [WWID.format(0)]


@pytest.mark.parametrize(
    ("words", "kind", "error"),
    [
        ({"cut": 100}, UNREACHABLE, "it was cut before the answer was whole"),
        ({"hang": True}, UNREACHABLE, "no answer in time"),
        ({"announced": 0}, UNREADABLE, "an answer of 0 bytes was announced"),
        ({"announced": 1 << 40}, UNREADABLE, f"an answer of {1 << 40} bytes was announced"),
    ],
)
def test_a_daemon_that_does_not_answer_well(root, words, kind, error):
    with daemon(root, answer(made()), **words), pytest.raises(Failed) as caught:
        multipath.ask(Run(root=root, seconds=2.5))
    assert caught.value == Failed(kind, "", "ask multipathd", error)


def test_an_answer_of_many_megabytes(root):
    text = answer(*(made(f"m{at}", at, four()) for at in range(6000)))
    assert len(text) > 20 << 20
    with daemon(root, text):
        assert multipath.ask(Run(root=root, seconds=30)) == text.rstrip("\n")


def test_somebody_else_at_the_socket(root, monkeypatch):
    with ExitStack() as stack:
        other = 65534 if os.getuid() == 0 else os.getuid()
        os.chmod(root, 0o777)
        os.seteuid(other)  # the kernel notes who calls listen(2)
        try:
            stack.enter_context(daemon(root, answer(made())))
        finally:
            os.seteuid(os.getuid())
        if os.getuid():
            monkeypatch.setattr(os, "geteuid", lambda: 4321)
        with pytest.raises(Failed) as caught:
            multipath.ask(Run(root=root))
    assert caught.value.error == f"user {other} listens at its socket, not root"


def test_sudo_where_the_socket_refuses(root, tmp_path, monkeypatch):
    stand_ins.put(
        tmp_path / "bin", monkeypatch, multipathd=f'[ "$*" = "show maps json" ] && {stand_ins.says(answer(made()))}'
    )
    assert list(multipath.parse(multipath.ask(Run(root=root)))) == [WWID.format(0)]
    if os.getuid() == 0:
        monkeypatch.setattr(os, "geteuid", os.getuid)
        with daemon(root, "permission deny: need to be root\n"):
            assert list(multipath.parse(multipath.ask(Run(root=root)))) == [WWID.format(0)]


def test_neither_socket_nor_sudo(root, tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch, sudo=stand_ins.REFUSES, multipathd="exit 9")
    with pytest.raises(Failed) as caught:
        multipath.ask(Run(root=root))
    line = "/usr/sbin/multipathd show maps json"
    cure = f"a sudoers line for `{line}` (nephoscope export sudoers); its socket said No such file or directory"
    assert caught.value == Failed(NOT_ALLOWED, "", "", "path states not seen", cure)


def test_a_client_that_finds_no_daemon(root, tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch, multipathd="echo 'ERROR: failed to connect to multipathd' >&2; exit 1")
    with pytest.raises(Failed) as caught:
        multipath.ask(Run(root=root))
    asked = "/usr/sbin/multipathd show maps json"
    assert caught.value == Failed(UNREACHABLE, "", asked, "ERROR: failed to connect to multipathd")


def test_no_map(root):
    sysfs(root)
    with pytest.raises(Failed) as caught:
        multipath.survey(Run(root=root))
    assert caught.value == Failed(ABSENT, "", "list /sys/block", "the kernel has no multipath map")
    assert multipath.survey(Run(root=root), ["mpatha"]) == multipath.Host((), None, None)


def test_the_kernel_s_word_may_be_unreadable(root, monkeypatch):
    sysfs(root, made())
    refuse(monkeypatch, "sda/device/state")
    assert said(look(root, made())) == [("sda", None, "state 'unread: Permission denied' is not understood")]


def test_a_device_that_was_taken_out_leaves_a_link_to_nowhere(root):
    """The map keeps its holder's link until it is reloaded; multipathd may not have looked yet."""
    sysfs(root, made())
    os.unlink(f"{root}/sys/block/dm-0/slaves/sda/device/state")
    os.rmdir(f"{root}/sys/block/dm-0/slaves/sda/device")
    os.rmdir(f"{root}/sys/block/dm-0/slaves/sda")
    os.symlink("../../../../devices/host3/block/sda", f"{root}/sys/block/dm-0/slaves/sda")
    with daemon(root, answer(made())):
        host = multipath.survey(Run(root=root))
    assert said(host) == [("sda", False, "gone")]


def test_a_map_is_remembered_while_it_can_t_be_read(root, monkeypatch):
    before = look(root, made()).kept
    with monkeypatch.context() as patched:
        refuse(patched, "dm/name")
        unread = look(root, made(), before=before, clock=Clock(shift=60))
    said = ("read /sys/block/dm-0/dm/name", "Permission denied", "read access to /sys/block")
    assert unread.maps == (Failed(NOT_ALLOWED, "", *said),)
    assert not unread.named
    shrunk = made(paths=four()[:2])
    for name in ("sdc", "sdd"):
        os.unlink(f"{root}/sys/block/dm-0/slaves/{name}/device/state")
        os.rmdir(f"{root}/sys/block/dm-0/slaves/{name}/device")
        os.rmdir(f"{root}/sys/block/dm-0/slaves/{name}")
    assert look(root, shrunk, before=unread.kept, clock=Clock(shift=120)).good[0].most == 4

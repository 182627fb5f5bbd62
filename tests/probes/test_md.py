# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import md
from nephoscope.probes.conditions import HEALTH, Condition, Reading

from tests.probes import disks_told
from tests.probes.disks_told import put


def look(root, **words):
    return md.arrays(Run(root=disks_told.md(root, **words)))


def array(told, name="md0"):
    """The one condition of the array itself."""
    (found,) = [condition for condition in told.conditions if condition.of == name]
    return found.health, found.text


def test_a_good_mirror(tmp_path):
    told = look(tmp_path)
    assert list(told.conditions) == [
        Condition("ok", "md0", "raid1 of 2 disks is clean"),
        Condition("ok", "md0/sda1", "is in_sync"),
        Condition("ok", "md0/sdb1", "is in_sync"),
    ]
    assert list(told.readings) == [Reading("mismatches", "md0", 0)]
    assert told.seen == {"md md0": "md0"}
    assert (told.failures, told.summary) == ([], "1 md arrays")


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("inactive", "failed"), ("broken", "failed"), ("suspended", "degraded"), ("readonly", "degraded"),
        ("read-auto", "ok"), ("clean", "ok"), ("active", "ok"), ("write-pending", "ok"), ("active-idle", "ok"),
        ("dreaming", "unknown"), ("", "unknown"),
    ],
)  # fmt: skip
def test_each_state_of_an_array(tmp_path, word, health):
    assert array(look(tmp_path, array_state=word))[0] == health


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("in_sync", "ok"), ("in_sync,write_mostly", "ok"), ("in_sync,writemostly", "ok"), ("journal", "ok"),
        ("in_sync,failfast", "ok"), ("in_sync,external_bbl", "ok"), ("replacement,spare", "spare"), ("spare", "spare"),
        ("faulty", "degraded"), ("faulty,blocked", "degraded"), ("in_sync,write_error", "degraded"),
        ("in_sync,want_replacement", "degraded"), ("in_sync,blocked", "degraded"), ("in_sync,dreaming", "unknown"),
        ("", "unknown"),
    ],
)  # fmt: skip
def test_each_state_of_a_member(tmp_path, word, health):
    told = look(tmp_path, members={"sda1": word})
    assert [condition.health for condition in told.conditions if condition.of == "md0/sda1"] == [health]


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("idle", "ok"), ("check", "ok"), ("repair", "ok"), ("resync", "rebuilding"), ("recover", "rebuilding"),
        ("reshape", "rebuilding"), ("frozen", "degraded"), ("dreaming", "unknown"),
    ],
)  # fmt: skip
def test_each_action(tmp_path, word, health):
    assert array(look(tmp_path, sync_action=word))[0] == health


@pytest.mark.parametrize(
    ("level", "disks", "missing", "action", "health", "text"),
    [
        ("raid1", 2, 1, "idle", "exposed", "raid1 lacks 1 of 2 disks, no other may fail"),
        ("raid1", 3, 1, "idle", "degraded", "raid1 lacks 1 of 3 disks"),
        ("raid1", 3, 2, "idle", "exposed", "raid1 lacks 2 of 3 disks, no other may fail"),
        ("raid4", 3, 1, "idle", "exposed", "raid4 lacks 1 of 3 disks, no other may fail"),
        ("raid5", 3, 1, "idle", "exposed", "raid5 lacks 1 of 3 disks, no other may fail"),
        ("raid5", 3, 1, "frozen", "exposed", "raid5 lacks 1 of 3 disks, no other may fail, frozen"),
        ("raid5", 3, 1, "recover", "rebuilding", "raid5 lacks 1 of 3 disks, recover (25.0 % done)"),
        ("raid5", 3, 2, "idle", "failed", "raid5 lacks 2 of 3 disks, more than it can bear"),
        ("raid5", 3, 2, "recover", "failed", "raid5 lacks 2 of 3 disks, recover (25.0 % done)"),
        ("raid6", 4, 1, "idle", "degraded", "raid6 lacks 1 of 4 disks"),
        ("raid6", 4, 2, "idle", "exposed", "raid6 lacks 2 of 4 disks, no other may fail"),
        ("raid6", 4, 3, "idle", "failed", "raid6 lacks 3 of 4 disks, more than it can bear"),
        ("raid10", 4, 1, "idle", "exposed", "raid10 lacks 1 of 4 disks, no other may fail"),
        ("raid10", 4, 2, "idle", "exposed", "raid10 lacks 2 of 4 disks, no other may fail"),
    ],
)
def test_missing_disks(tmp_path, level, disks, missing, action, health, text):
    told = look(tmp_path, level=level, disks=disks, degraded=missing, sync_action=action, sync_completed="25 / 100")
    assert array(told) == (health, text)


def test_how_far_a_rebuild_is(tmp_path):
    told = look(tmp_path, sync_action="resync", sync_completed="1 / 3")
    assert Reading("rebuilding", "md0", 100 / 3) in told.readings
    assert array(told) == ("rebuilding", "raid1 of 2 disks is clean, resync (33.3 % done)")
    (tmp_path / "b").mkdir()
    told = look(tmp_path / "b", sync_action="resync", sync_completed="delayed")
    assert array(told) == ("rebuilding", "raid1 of 2 disks is clean, resync (waiting)")
    assert [reading.name for reading in told.readings] == ["mismatches"]


def test_a_check_that_runs_is_no_rebuild(tmp_path):
    told = look(tmp_path, sync_action="check", sync_completed="1 / 4")
    assert [reading.name for reading in told.readings] == ["mismatches"]


@pytest.mark.parametrize(
    ("level", "health"), [("raid1", "degraded"), ("raid10", "degraded"), ("raid5", "failed"), ("raid6", "failed")]
)
def test_copies_that_differ(tmp_path, level, health):
    told = look(tmp_path, level=level, disks=4, mismatch_cnt=128)
    assert Condition(health, "md0", "has 128 sectors whose copies differ (mismatch_cnt)") in told.conditions


def test_without_redundancy_nothing_is_degraded(tmp_path):
    assert array(look(tmp_path, level="raid0")) == ("ok", "raid0 of 2 disks is clean")


def test_a_level_that_is_not_known(tmp_path):
    assert array(look(tmp_path, level="raid7")) == ("unknown", "has a level that is not known: raid7")


def test_while_it_is_reshaped(tmp_path):
    assert array(look(tmp_path, level="raid5", raid_disks="4 (3)", sync_action="reshape"))[1].startswith(
        "raid5 of 4 disks"
    )


def test_idle_spares_are_remembered_by_their_number(tmp_path):
    """Their names change at a boot; one that is being filled is a spare as well, in a slot of the array."""
    root = disks_told.md(tmp_path, members={"sda1": "in_sync", "sdb1": "spare", "sdc1": "spare", "sdd1": "spare"})
    for device, slot in (("sda1", "0"), ("sdb1", "1"), ("sdc1", "none"), ("sdd1", "none")):
        put(root, f"/sys/block/md0/md/dev-{device}/slot", slot)
    seen = md.arrays(Run(root=root)).seen
    assert seen == {"md md0": "md0", "md md0/spare 1": "md0/spare 1", "md md0/spare 2": "md0/spare 2"}


@pytest.mark.parametrize("name", ["md127", "md_d0", "md_my-data", "md_a.b"])
def test_each_name_of_an_array(tmp_path, name):
    assert array(look(tmp_path, name=name), name) == ("ok", "raid1 of 2 disks is clean")


@pytest.mark.parametrize("within", ["external:/md127/0", "external:-md127/0"])
def test_an_array_of_a_container_is_none_itself(tmp_path, within):
    told = look(tmp_path, array_state="inactive", level="", metadata_version=within)
    assert array(told) == ("failed", "is inactive")


def test_a_container_is_no_array(tmp_path):
    disks_told.md(tmp_path, "md127", "container", array_state="inactive", metadata_version="external:imsm")
    told = look(tmp_path, metadata_version="external:/md127/0")
    assert {condition.of for condition in told.conditions} == {"md0", "md0/sda1", "md0/sdb1"}


@pytest.mark.parametrize(
    "words", [{"array_state": "clear"}, {"level": "container", "metadata_version": "external:ddf"}]
)
def test_nothing_but_nodes(tmp_path, words):
    with pytest.raises(Failed) as caught:
        look(tmp_path, **words)
    assert caught.value == Failed(ABSENT, "md", "list /sys/block", "the kernel has no md array")


@pytest.mark.parametrize("file", ["array_state", "level", "raid_disks", "degraded", "sync_action"])
def test_a_file_that_is_not_there_is_no_absent_array(tmp_path, file):
    told = look(tmp_path, **{file: None})
    (failed,) = told.failures
    assert (failed.kind, failed.of, failed.tried) == (UNREADABLE, "md0", f"read /sys/block/md0/md/{file}")


@pytest.mark.parametrize("file", ["degraded", "raid_disks", "mismatch_cnt"])
def test_what_is_no_number(tmp_path, file):
    (failed,) = look(tmp_path, **{file: "<html>"}).failures
    assert failed == Failed(UNREADABLE, "md0", f"read {file}", "not a number: '<html>'")


def test_one_that_may_not_be_read_hides_no_other(tmp_path, monkeypatch):
    disks_told.md(tmp_path, "md1")
    real = os.open

    def refuse(path, *words, **more):
        if str(path).endswith("md0/md/level"):
            raise PermissionError(13, "Permission denied")
        return real(path, *words, **more)

    monkeypatch.setattr(os, "open", refuse)
    told = look(tmp_path)
    assert [(failed.kind, failed.of) for failed in told.failures] == [("not-allowed", "md0")]
    assert array(told, "md1")[0] == "ok"


def test_other_disks_are_none_of_ours(tmp_path):
    put(tmp_path, "/sys/block/sda/size", 1)
    told = look(tmp_path)
    assert told.summary == "1 md arrays"


def test_words_are_the_suites():
    assert {*md.ARRAYS.values(), *md.ACTIONS.values(), *md.MEMBERS.values()} <= set(HEALTH)

# SPDX-License-Identifier: Apache-2.0
"""check_ceph against a real cluster, whose health is made bad in each way, with the least rights that its page names."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest
from nephoscope.base import Clock
from nephoscope.checks.storage.check_ceph import CHECK
from nephoscope.probes.ceph import CAPS

from tests.lab import ceph
from tests.lab.support import need_root, private_folder

pytestmark = pytest.mark.lab
NAME = "client.nagios"
WELL = "CEPH OK - HEALTH_OK: 3 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups"
UNKNOWN_NUMBERS = "UNKNOWN: mgr placement groups, space and slow operations are not known: no manager answers"
GRANT = rf"`ceph auth get-or-create (client\.\w+) {CAPS}`"


def caps(text):
    """Words of a grant ("mon 'allow r' mgr 'allow r'") as arguments."""
    return [word.strip("'") for word in re.findall(r"'[^']*'|\S+", text)]


@pytest.fixture(scope="module")
def cluster():
    with private_folder("nephoscope-ceph-") as folder, ceph.cluster(folder) as running:
        running.begin_monitor()
        running.user(NAME, *caps(CAPS))
        running.first = check(running, "--hold", "0")
        running.begin()
        yield running


def check(cluster, *argv, user=NAME, keyring=None, conf=None, shift=0, state="state"):
    """The first line without its numbers, of a check with the rights of a user."""
    keyring = keyring or cluster.keyring(user)
    given = ["--user", user, "--keyring", str(keyring), "--conf", str(conf or cluster.conf)]
    return CHECK.run([*given, "--state-dir", str(cluster.folder / state), *argv], clock=Clock(shift)).line


def lasting(cluster, pattern, *argv, seconds=30, **words):
    """Ask until the first line is as expected: what was done to the cluster takes a moment to show."""
    end = time.monotonic() + seconds
    line = ""
    while time.monotonic() < end:
        line = check(cluster, *argv, **words)
        if re.match(pattern, line):
            return line
        time.sleep(0.3)
    raise AssertionError(line)


@contextlib.contextmanager
def undone(cluster, *commands):
    """Run the administrator's commands when the block is left, and wait until all is well, as the check sees it."""
    try:
        yield
    finally:
        for command in commands:
            cluster.tell(*command)
        cluster.wait_until_well()
        lasting(cluster, WELL, seconds=10)


def frozen(pid):
    @contextlib.contextmanager
    def block():
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    return block()


def test_a_monitor_alone_says_that_health_is_ok(cluster):
    lacks = "UNKNOWN: the cluster has no OSD, the cluster has no pool"
    assert cluster.first.startswith("CEPH CRITICAL - mgr none is active, UNKNOWN: "), cluster.first
    assert lacks.partition(": ")[2] in cluster.first, cluster.first


def test_all_is_well_with_the_least_rights(cluster):
    cluster.wait_until_well()
    line = check(
        cluster, "--expect", "osd=3", "--expect", "mon=1", "--expect", "mgr=1", "--pool", "vms", "--one-version"
    )
    number = r"[\d.]+"
    expected = (
        rf"{WELL}, rates collecting \| osd_up=3;;;0;3 osd_in=3;;;0;3 osd_down=0%;;;0;100 osds_down_together=0%;;10;0;100 mons=1;;;0;1 slow=0 "
        rf"pgs_bad=0;;;0;9 degraded=0%;;;0;100 misplaced=0%;;;0;100 used={number}%;75;85;0;100 osd_used={number}%;75;85 "
        rf"vms_pool_used={number}%;75;85;0;100 read_rate=\d+B write_rate=\d+B recovery_rate=\d+B"
    )
    assert re.fullmatch(expected, line), line
    refused = subprocess.run(
        ["ceph", "-c", cluster.conf, "-n", NAME, "-k", cluster.keyring(NAME), "osd", "set", "noout"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "EACCES" in refused.stderr


def test_rights_and_keys_that_are_missing(cluster):
    cluster.user("client.mononly", "mon", "allow r")
    cluster.user("client.nothing")
    line = check(cluster, user="client.mononly")
    asked = "may not ask this (run ceph osd df): needs `ceph auth caps client.mononly"
    assert line.startswith(f"CEPH UNKNOWN - mgr: client.mononly {asked} {CAPS}` | osd_up=3"), line
    refused = rf"CEPH UNKNOWN - the cluster refuses (client\.\w+): no such user, or another key \(run ceph status\): needs {GRANT}"
    found = re.fullmatch(refused, check(cluster, user="client.nothing"))
    assert found and found[1] == found[2] == "client.nothing"

    def key(name, text):
        path = cluster.folder / name
        path.write_text(text)
        return path

    secret = cluster.run("ceph-authtool", "--gen-print-key").strip()
    # Its own configuration names no other place for a key.
    conf = key("other.conf", cluster.conf.read_text().replace("$name.keyring", "$name.none"))
    wrong = key("wrong", f"[{NAME}]\n\tkey = {secret}\n")
    assert re.fullmatch(refused, check(cluster, keyring=wrong, conf=conf))
    stranger = key("stranger", f"[client.stranger]\n\tkey = {secret}\n")
    assert re.fullmatch(refused, check(cluster, user="client.stranger", keyring=stranger, conf=conf))
    damaged = key("damaged", f"[{NAME}]\n\tkay = {secret}\n")
    line = check(cluster, keyring=damaged, conf=conf)
    assert line.startswith(
        f"CEPH UNKNOWN - the keyring {damaged} is damaged (run ceph status): needs a key for {NAME}: "
    ), line
    assert secret not in line
    line = check(cluster, user="client.gone")
    gone = cluster.keyring("client.gone")
    assert line.startswith(
        f"CEPH UNKNOWN - no key for client.gone: no {gone} (run ceph status): needs a key: `ceph auth "
    ), line
    line = check(cluster, conf=cluster.folder / "none")
    assert line == f"CEPH UNKNOWN - there is no {cluster.folder}/none (run ceph status)"
    line = check(cluster, conf=damaged)
    assert line.startswith("CEPH UNKNOWN - "), line


def test_a_key_that_may_not_be_read(cluster):
    need_root("to become another user")
    state = cluster.folder / "nobody"
    state.mkdir(0o700)
    os.chown(state, 65534, 65534)
    cluster.keyring(NAME).chmod(0o600)
    os.seteuid(65534)
    try:
        line = check(cluster, state="nobody")
    finally:
        os.seteuid(0)
    said = (
        f"the keyring {cluster.keyring(NAME)} may not be read (run ceph status): needs read on it, by group, mode 0640"
    )
    assert line == f"CEPH UNKNOWN - {said}"


def test_a_flag_is_held_told_expected_and_muted(cluster):
    lasting(cluster, WELL)
    with undone(cluster, ("osd", "unset", "noout"), ("health", "unmute", "OSDMAP_FLAGS")):
        cluster.tell("osd", "set", "noout")
        head = "CEPH OK - HEALTH_WARN: 3 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups"
        held = rf"{head}, OSDMAP_FLAGS noout flag\(s\) set \(not well for \d+ s, counts after 600 s\), rates collecting \| "
        lasting(cluster, held, "--save")
        warning = r"CEPH WARNING - OSDMAP_FLAGS noout flag\(s\) set"
        assert re.match(rf"{warning} \| ", check(cluster, shift=700))
        assert re.match(
            rf"{warning} \(--maintenance has ended\) \| ", check(cluster, "--maintenance", "2020-01-01", shift=700)
        )
        right = check(cluster, "--maintenance", "2100-01-01", shift=700)
        assert right.startswith(f"{head}, OSDMAP_FLAGS noout flag(s) set (right by --maintenance), rates"), right
        ignored = check(cluster, "--ignore", "OSDMAP_FLAGS", shift=700)
        assert ignored.startswith(f"{head}, OSDMAP_FLAGS noout flag(s) set (ignored), rates"), ignored
        cluster.tell("health", "mute", "OSDMAP_FLAGS", "--sticky")
        muted = re.escape(f"{WELL}, OSDMAP_FLAGS is muted for good, OSDMAP_FLAGS noout flag(s) set (muted), rates")
        lasting(cluster, muted, "--save")
        line = check(cluster, shift=8 * 86400)
        assert line.startswith("CEPH WARNING - OSDMAP_FLAGS muted 8 d is above 7 d | "), line
        cluster.tell("osd", "set", "pause")
        stopped = r"CEPH CRITICAL - OSDMAP_FLAGS noout,pauserd,pausewr flag\(s\) set|CEPH CRITICAL - OSDMAP_FLAGS pauserd,pausewr,noout"
        cluster.tell("health", "unmute", "OSDMAP_FLAGS")
        lasting(cluster, stopped, "--maintenance", "2100-01-01")
        cluster.tell("osd", "unset", "pause")


def test_an_osd_that_is_taken_out(cluster):
    with undone(cluster, ("osd", "in", "2")):
        cluster.tell("osd", "out", "2")
        line = lasting(
            cluster,
            r"CEPH WARNING - (active\+\S+ \d placement groups, )*osd\.2 is out \| osd_up=3;;;0;3 osd_in=2",
            "--hold",
            "0",
        )
        assert "osd_down=0%" in line


def test_an_osd_that_dies(cluster):
    with undone(cluster, ("osd", "pool", "set", "vms", "min_size", "2"), ("osd", "in", "2")):
        # Placement groups that want all three serve nobody then: told at once, whatever the cluster waits for.
        cluster.tell("osd", "pool", "set", "vms", "min_size", "3")
        cluster.stop("osd.2")
        soft = ("--hold", "0")
        peered = r"CEPH CRITICAL - (PG_AVAILABILITY [^|]+|undersized\+(degraded\+)?peered 8 placement groups)"
        lasting(cluster, rf"{peered}, WARNING: OSD_DOWN 1 osds down \(osd\.2 ", *soft)
        cluster.tell("osd", "pool", "set", "vms", "min_size", "2")
        alone = r"CEPH CRITICAL - osd down 33\.3 % is above 10 % \| osd_up=2;;;0;3 osd_in=3"
        lasting(cluster, alone, "-c", "osd_down=10", "--mode", "osds", "--hold", "1h")
        lasting(cluster, r"CEPH WARNING - OSD_DOWN 1 osds down \(osd\.2 \(root=default,host=\S+\) is down\), ", *soft)
        # Out, as after ten minutes by itself: the cluster tells it no more.
        cluster.tell("osd", "out", "2")
        others = ("--exclude", "PG_*", "--exclude", "active+*")
        lasting(cluster, r"CEPH WARNING - osd\.2 is down and out \| osd_up=2;;;0;3 osd_in=2", *others, *soft)
        assert "OSD_DOWN" not in cluster.asked("health", "detail")["checks"]
        cluster.start("osd.2")


def test_full(cluster):
    restore = (
        ("osd", "set-full-ratio", "0.95"), ("osd", "set-backfillfull-ratio", "0.9"), ("osd", "set-nearfull-ratio", "0.85"),
        ("osd", "pool", "set-quota", "vms", "max_objects", "0"),
    )  # fmt: skip
    data = cluster.folder / "data"
    data.write_bytes(b"x" * (4 << 20))
    rados = ["rados", "-p", "vms"]
    with undone(cluster, *restore):
        for number in range(2):
            cluster.run(*rados, "put", f"o{number}", str(data))
        cluster.tell("osd", "set-full-ratio", "0.5")
        order = r"CEPH CRITICAL - OSD_OUT_OF_ORDER_FULL full ratio\(s\) out of order \([^|]+\) \| "
        lasting(cluster, order)
        cluster.tell("osd", "set-full-ratio", "0.95")
        small = ("--hold", "0", "-w", "osd_used=5", "-c", "osd_used=90")
        lasting(
            cluster,
            r"CEPH WARNING - osd\.0 osd used 6\.\d+ % is above 5 %, osd\.1 osd used 6\.\d+ % is above 5 %, ",
            *small,
        )
        cluster.tell("osd", "set-nearfull-ratio", "0.02")
        cluster.tell("osd", "pool", "set-quota", "vms", "max_objects", "2")
        quota = r"POOL_FULL 1 pool\(s\) full \(pool 'vms' is full \(running out of quota\)\)"
        near = r"OSD_NEARFULL 3 nearfull osd\(s\) \(osd\.0 is near full; osd\.1 is near full; osd\.2 is near full\)"
        lasting(cluster, rf"CEPH CRITICAL - {quota}, WARNING: {near}", "--hold", "0")
        cluster.tell("osd", "pool", "set-quota", "vms", "max_objects", "0")
        cluster.tell("osd", "set-full-ratio", "0.03")
        cluster.tell("osd", "set-backfillfull-ratio", "0.025")
        lasting(
            cluster, r"CEPH CRITICAL - OSD_FULL 3 full osd\(s\) \(osd\.0 is full; osd\.1 is full; osd\.2 is full\), "
        )
    for number in range(2):
        cluster.run(*rados, "rm", f"o{number}")


def test_a_pool_that_is_not_there(cluster):
    line = check(cluster, "--preset", "nova", "--preset", "glance")
    assert line.startswith("CEPH CRITICAL - images is no pool of the cluster | "), line
    assert " vms_pool_used=" in line


def test_slow_operations(cluster):
    writers = []
    cluster.tell("osd", "set", "nodown")
    with undone(cluster, ("osd", "unset", "nodown")):
        with frozen(cluster.pid("osd.1")):
            for number in range(6):
                argv = ["rados", "-c", str(cluster.conf), "-k", str(cluster.keyring("client.admin")), "-p", "vms"]
                writers.append(
                    subprocess.Popen([*argv, "put", f"s{number}", "/etc/hostname"], stderr=subprocess.DEVNULL)
                )
            told = (
                r"SLOW_OPS \d+ slow ops, oldest one blocked for \d+ sec, (osd\.\d has|daemons \[[^]]+\] have) slow ops"
            )
            argv = ("--hold", "0", "-w", "slow=0", "--ignore", "OSDMAP_FLAGS", "--mode", "health")
            line = lasting(cluster, rf"CEPH WARNING - slow \d+ is above 0, {told}|CEPH WARNING - {told}", *argv)
            assert re.search(r" slow=[1-9]\d*;0", line), line
        for writer in writers:
            assert writer.wait(20) == 0


def test_a_manager_that_dies(cluster):
    with undone(cluster):
        cluster.stop("mgr.x")
        line = check(cluster)
        silent = rf"CEPH CRITICAL - mgr: no answer in \d\.\d s \(run ceph osd df\), {UNKNOWN_NUMBERS} \| "
        told = rf"CEPH CRITICAL - MGR_DOWN no active mgr, {UNKNOWN_NUMBERS} \| osd_up=3;;;0;3 osd_in=3;;;0;3 osd_down=0%;;;0;100 osds_down_together=0%;;10;0;100 mons=1;;;0;1$"
        assert re.match(f"{silent}|{told}", line), line
        lasting(cluster, told)
        line = check(cluster, "--ignore", "MGR_DOWN")
        assert line.startswith("CEPH UNKNOWN - mgr placement groups, space"), line
        cluster.start("mgr.x")


def test_a_monitor_that_is_frozen_or_refuses(cluster):
    silent = "CEPH CRITICAL - no monitor answered in 3 s (run ceph status)"
    with frozen(cluster.pid("mon.a")):
        begun = time.monotonic()
        assert check(cluster) == silent
        assert time.monotonic() - begun < 7.5
    lasting(cluster, WELL)
    elsewhere = cluster.write(cluster.folder / "elsewhere.conf", "v2:127.0.0.1:9")
    assert check(cluster, "--unreachable-state", "unknown", conf=elsewhere) == silent.replace("CRITICAL", "UNKNOWN")
